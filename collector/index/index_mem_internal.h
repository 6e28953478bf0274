/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_MEM_INTERNAL_H
#define VARVE_INDEX_INDEX_MEM_INTERNAL_H

#include "index/index.h"
#include "os/thread.h"

/* A hash table of all places; several places of one name are several nodes of one chain, the one
 * that counts first.  Names are keyed hashes: their first bytes are the hash. */
struct mem_node {
    struct mem_node *next;
    struct record_name name;
    struct index_place place;
};

/* Counts: the same kind of table, by the key a name is counted under. */
struct mem_ref {
    struct mem_ref *next;
    uint8_t key[RECORD_NAME_SIZE];
    uint32_t count;
};

struct mem_ref_table {
    struct mem_ref **buckets; /* NULL: none yet */
    size_t bucket_count;      /* power of two */
    size_t count;
};

/* Ascending by key. */
struct mem_row {
    uint8_t key[INDEX_ROW_KEY_MAX];
    size_t key_len;
    uint8_t *value;
    size_t value_len;
};

struct index_mem {
    struct index base;
    struct mutex lock; /* everything below */
    struct mem_node **buckets;
    size_t bucket_count; /* power of two */
    size_t node_count;
    struct index_pack *packs;
    size_t pack_count;
    size_t pack_cap;
    size_t condemned; /* of the packs */
    uint64_t names;
    uint64_t damaged;
    struct mem_ref_table refs[CHUNK_NODE + 1]; /* by kind */
    struct mem_row *rows;
    size_t row_count;
    size_t row_cap;
};

static inline struct index_mem *
mem_of(struct index *ix)
{
    return (struct index_mem *)ix;
}

struct mem_node *mem_find_locked(struct index_mem *m, const struct record_name *name);
struct index_pack *mem_find_pack_locked(struct index_mem *m, const struct pack_id *id);
/* The place of a name moves, from node (NULL: from nowhere) to `to`. */
void mem_place_moved_locked(struct index_mem *m, const struct mem_node *node,
                            const struct index_place *to);
/* Frees a node that is out of its chain. */
void mem_node_gone_locked(struct index_mem *m, struct mem_node *n);
struct mem_node **mem_chain_locked(struct index_mem *m, const struct record_name *name);
void mem_refs_release(struct index_mem *m);

/* The members of struct index_ops that index_mem_refs.c has. */
enum varve_err mem_apply(struct index *ix, struct index_change *change, struct varve_error *err);
enum varve_err mem_ref_get(struct index *ix, enum chunk_kind kind, const struct record_name *names,
                           size_t count, uint32_t *out, struct varve_error *err);
enum varve_err mem_ref_scan(struct index *ix, enum chunk_kind kind,
                            bool (*cb)(void *arg, const uint8_t *key, size_t key_len,
                                       uint32_t count),
                            void *arg, struct varve_error *err);
enum varve_err mem_row_scan(struct index *ix, const void *prefix, size_t prefix_len, bool backwards,
                            bool (*cb)(void *arg, const void *key, size_t key_len,
                                       const void *value, size_t value_len),
                            void *arg, struct varve_error *err);
enum varve_err mem_list_marked(struct index *ix,
                               bool (*cb)(void *arg, const struct index_pack *pack), void *arg,
                               struct varve_error *err);
enum varve_err mem_mark_packs(struct index *ix, const struct index_pack *packs, size_t count,
                              struct varve_error *err);
enum varve_err mem_drop_entries(struct index *ix, const struct pack_id *id,
                                const struct pack_entry *entries, size_t count,
                                uint64_t *operations, struct varve_error *err);

#endif
