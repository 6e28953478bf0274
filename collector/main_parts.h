/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_COLLECTOR_MAIN_PARTS_H
#define VARVE_COLLECTOR_MAIN_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "crypto/identity.h"
#include "session/registry.h"
#include "store/store.h"

/*
 * The collector's options, and the collector as one thing that is opened and closed.  Only main.c
 * uses this.
 */
struct collector_conf {
    char *state_dir;
    char *store;
    char *store_key;             /* NULL: <state-dir>/store.key */
    char *store_passphrase_file; /* NULL: the key file */
    char *listen;                /* URLs, commas between them */
    int64_t workers;
    uint64_t credit;
    uint64_t run_grace;   /* ms */
    uint64_t run_silence; /* ms */
    int64_t runs;
    int64_t runs_per_host;
    int64_t runs_per_volume;
    int64_t sessions;
    uint64_t chunk_size;
    uint64_t collect_every; /* ms; 0: only when asked */
    uint64_t collect_rate;  /* bytes per second; 0: no limit */
    unsigned log_level;
    uint64_t verify_age;  /* ms */
    uint64_t verify_rate; /* bytes a second; 0: none */
    bool check_config;
};

extern const struct conf_program collector_program;

/* What the table cannot say: addresses, sizes that are powers of two. */
VARVE_CHECK enum varve_err collector_conf_check(const struct collector_conf *conf,
                                                struct varve_error *err);
/* The URL number i of conf->listen; the caller frees.  NULL in *out: there are no more. */
VARVE_CHECK enum varve_err collector_conf_listen(const struct collector_conf *conf, size_t i,
                                                 char **out, struct varve_error *err);

struct parts {
    struct collector c;
    struct collector_options options;
    struct identity *own;
    struct store *objects;
    struct gc *gc;
    struct store_time *time;
    struct reserve *reserve;
    struct state_copier *copier;
    char *state_dir; /* absolute */
    char *store_path;
    char *access_path;
    char *store_key;
    bool access_was_made;
};

/* Everything but the listeners: keys and files are made when this is the first start. */
VARVE_CHECK enum varve_err parts_open(struct parts *p, const struct collector_conf *conf,
                                      struct varve_error *err);
VARVE_CHECK enum varve_err parts_listen(struct parts *p, const struct collector_conf *conf,
                                        struct varve_error *err);
/* Ends sessions, then runs, then flushes.  A zeroed or half opened struct is fine. */
void parts_close(struct parts *p);

#endif
