/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_OPERATOR_HANDLERS_H
#define VARVE_SESSION_OPERATOR_HANDLERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "crypto/aead.h"
#include "envelope.pb-c.h"
#include "store/chunk_store.h"

/*
 * How a request of the operator's command is answered.
 *
 * A module is a table of handlers, one per request message, and whatever it keeps per session
 * (open restores, ...).  session/ has authenticated the peer as an operator, said Hello and checked
 * that the request has an id before a handler sees it; strings in it may still be anything of at
 * most 1024 bytes.
 *
 * A handler returns VARVE_OK after it has sent its last answer, or an error, which is then sent as
 * the answer.  It never logs that error.
 */

/* The parts of a collector, constant while it runs; handlers borrow them. */
struct collector {
    struct chunk_store *chunks;
    struct catalog *catalog;
    struct state *state;       /* state/state.h */
    struct ingest *ingest;     /* ingest/ingest.h */
    struct quotas *quotas;     /* ingest/quota.h */
    struct sched *sched;       /* sched/sched.h */
    struct patrol *patrol;     /* jobs/patrol.h; NULL: none */
    struct keeper *keeper;     /* sched/keeper.h */
    struct registry *registry; /* session/registry.h: who is connected */
    const struct collector_options *options;
};

/* Where the answers to one request go. */
struct op_sink;

/*
 * Sends an answer: body of head set by the caller (id and reply are filled in here), bulk parts
 * borrowed.  more: further answers to the same request follow.  Blocks while the peer is slow.
 * An error means that the peer is gone: give up and return it.  Threads: any, one call at a time
 * per sink.
 */
VARVE_CHECK enum varve_err op_reply(struct op_sink *sink, Varve__V1__Envelope *head,
                                    const struct aead_part *bulk, size_t bulk_parts, bool more,
                                    struct varve_error *err);
/* The peer is gone or the collector is about to stop: long work ends early, answer or not. */
bool op_gone(struct op_sink *sink);
/* Whether the operator's command knows of methods; one of before says none, and means nothing by it. */
bool op_knows_methods(const struct op_sink *sink);

/* Fills a wire error that borrows err's text. */
void op_wire_error(Varve__V1__Error *out, const struct varve_error *err);

enum op_where {
    /* On the session's thread, in order: quick questions to memory. */
    OP_INLINE,
    /* On the worker pool, many of one session at a time and in any order: bounded work of
     * milliseconds, such as one RestoreRead. */
    OP_POOL,
    /* On a thread of its own: minutes or hours; at most 8 at a time per session. */
    OP_THREAD
};

struct op_handler {
    Varve__V1__Envelope__BodyCase request;
    enum op_where where;
    /*
     * slot: what the module's session_begin() gave for this session.  head and bulk are borrowed
     * until the call returns.
     */
    enum varve_err (*handle)(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
                             struct op_sink *sink, struct varve_error *err);
};

struct op_module {
    const char *name;
    const struct op_handler *handlers;
    size_t handler_count;
    /* Both may be NULL.  session_end() runs when no handler of the session runs any more. */
    enum varve_err (*session_begin)(const struct collector *c, void **slot,
                                    struct varve_error *err);
    void (*session_end)(const struct collector *c, void *slot);
};

/*
 * The modules there are; the list is in operator_modules.c.  A new one is a line there.
 * session/ owns hosts, vms, backup, points and status; restore and verify come from
 * restore/ and jobs/verify_job.
 */
#define OP_MODULES_MAX 16u
extern const struct op_module *const op_modules[];
extern const size_t op_module_count;

/* Copies of plain structs as messages, for several modules.  op_point_info() borrows from p and
 * allocates the lists only; release with op_point_info_release(). */
VARVE_CHECK enum varve_err op_point_info(Varve__V1__PointInfo *out, const struct point *p,
                                         struct varve_error *err);
void op_point_info_release(Varve__V1__PointInfo *info);

#endif
