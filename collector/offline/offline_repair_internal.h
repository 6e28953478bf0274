/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OFFLINE_OFFLINE_REPAIR_INTERNAL_H
#define VARVE_OFFLINE_OFFLINE_REPAIR_INTERNAL_H

#include "offline/offline_internal.h"
#include "os/thread.h"

struct repair {
    const struct offline_repair_options *o;
    struct store *objects;
    struct chunk_store *cs;
    struct offline_store *from;
    struct mutex lock; /* out, while names are read */
    struct offline_repair_result *out;
};

struct repair_bytes {
    void *buf; /* room for cap */
    size_t cap;
    size_t len;   /* 0: nobody has them */
    bool missing; /* here, until now */
    bool copied;  /* from there */
};

/* Reads a name here; where that fails, there, and stores it. */
VARVE_CHECK enum varve_err repair_bring(struct repair *r, struct chunk_domain *domain,
                                        enum chunk_kind kind, const struct chunk_id *id,
                                        struct repair_bytes *b, struct varve_error *err);

/* offline_repair_waiting.c: nodes that no point needs, and counts wait for. */
VARVE_CHECK enum varve_err repair_waited_for(struct repair *r, struct varve_error *err);

#endif
