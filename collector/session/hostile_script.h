/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_HOSTILE_SCRIPT_H
#define VARVE_SESSION_HOSTILE_SCRIPT_H

#include "session/session_testing.h"

/* The words of one run, packed before the first is said, with lies among them where a plan says so. */
#define CHUNKS     32u
#define PUT_CHUNKS 8u
#define SCRIPT_MAX 32u

struct blob {
    uint8_t *data;
    size_t len;
};

struct script {
    struct blob words[SCRIPT_MAX];
    size_t count;
};

enum word {
    W_BEGIN,
    W_DISK,
    W_OFFER,
    W_PUT, /* four of them */
    W_DISK_END = W_PUT + CHUNKS / PUT_CHUNKS,
    W_COMMIT,
    W_COUNT
};

/* What is said otherwise than an honest host would; zero: nothing. */
struct plan {
    bool wrong_bytes;
    bool garbage; /* bytes that do not unpack */
    int bulk_delta;
    uint64_t disk_size;
    uint64_t offer_first;
    int names_delta;
    uint32_t put_index; /* added to the index of the first chunk */
    bool another_run;
    unsigned twice; /* this word comes twice; 0 (BeginRun): none */
    unsigned skip;  /* this word is left out; 0: none */
    unsigned cut;   /* the line is cut behind this word; 0: it is not */
};

/* A run of one disk that is read as a whole and holds im, CHUNKS chunks of it. */
void write_script(struct script *s, const struct plan *plan, struct guid *run,
                  const struct image *im);
void script_free(struct script *s);

#endif
