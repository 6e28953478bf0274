/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_ACCOUNT_INTERNAL_H
#define VARVE_GC_ACCOUNT_INTERNAL_H

#include "gc/account.h"
#include "index/index.h"
#include "manifest/manifest.h"

/*
 * Rows: "p" vm seq -> the roots of the point, each as a node.
 *       "t" number -> sign 1 (0 or 1), node: one whose count is to change.
 *       "d" number -> the same, sign 0: a lowering that waits until the node can be read.
 *       "o" keyed name -> node: opaque.
 * A node: level 1, domain 16, name 32.
 * Numbers are big-endian, so that rows come in their order, and "t" and "d" have theirs from one sequence.  The queue is taken
 * from its end: it then never holds more than a path's siblings.
 */
#define GUID_BYTES sizeof(struct guid)
#define POINT_KEY  (1u + GUID_BYTES + 8u)
#define TODO_KEY   9u
#define OPAQUE_KEY (1u + RECORD_NAME_SIZE)
#define NODE_VALUE (1u + GUID_BYTES + CHUNK_ID_SIZE)
#define TODO_VALUE (1u + NODE_VALUE)
#define BATCH      32u
#define ROWS_MAX   (BATCH * (MANIFEST_FANOUT + 3u))
#define DELTAS_MAX (BATCH * (MANIFEST_FANOUT + 1u))

/* What a node's row says. */
struct node_ref {
    uint8_t level;
    struct chunk_domain *domain;
    struct chunk_id id;
};

struct task {
    uint8_t key[TODO_KEY];
    uint8_t value[TODO_VALUE];
    bool add;
    struct node_ref ref; /* domain NULL: its key is not in the store */
    struct record_name name;
    uint32_t count; /* now */
    bool opaque;    /* it is known as one */
    bool turns;     /* its count begins or ends with this task */
    bool unreadable;
    struct manifest_node node; /* when it turns and could be read */
};

/* A row being made; key and value are here so that struct index_row can point to them. */
struct row_room {
    uint8_t key[OPAQUE_KEY];
    uint8_t value[TODO_VALUE];
};

struct account {
    struct chunk_store *cs;
    struct index *index;
    uint64_t next_todo;
    size_t opaque;
    size_t deferred;
    uint64_t tried; /* the deferred one that was tried last; 0: none, in this pass through them */
    struct task tasks[BATCH];
    size_t task_count;
    bool more; /* rows were left that had no room */
    struct index_delta deltas[DELTAS_MAX];
    struct index_row rows[ROWS_MAX];
    struct row_room rooms[ROWS_MAX];
    struct index_change change;
    struct varve_error trouble; /* of a row that was read */
};

/* ---- account_queue.c ---- */

void account_node_encode(uint8_t out[NODE_VALUE], const struct node_ref *ref);
void account_change_begin(struct account *a);
void account_change_row(struct account *a, const void *key, size_t key_len, const void *value,
                        size_t value_len, bool remove);
/* node is what a node's row says; its domain need not be there. */
void account_change_todo(struct account *a, bool add, const uint8_t node[NODE_VALUE]);
VARVE_CHECK enum varve_err account_change_apply(struct account *a, struct collect_cost *cost,
                                                struct varve_error *err);
/* Empties the queue. */
VARVE_CHECK enum varve_err account_drain(struct account *a, struct cancel *cancel,
                                         struct collect_cost *cost, struct varve_error *err);
/* What an earlier process left: where the numbers go on, what is opaque, what is deferred. */
VARVE_CHECK enum varve_err account_queue_open(struct account *a, struct varve_error *err);
bool account_note_found(void *arg, const void *key, size_t key_len, const void *value,
                        size_t value_len);

#endif
