/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/*
 * Building: names come in the order of packs and go to random places of the table, and each place costs the copy
 * of a page and of its parents.  So a million of them is gathered, or a 25th of what is expected, sorted, and written
 * from the first to the last in transactions that each stay in one stretch of the table: the more at a time, the more of them
 * share a page.
 *
 * While one such load is being written, the file holds rows of packs whose names are not all there: the row
 * "building" says so, and an open that finds it starts anew.  It comes with the first transaction and goes with
 * the last.
 */
#define SLICES    256u /* of a load */
#define SLICE_MIN 16u  /* names */

#define PACK_NAMES 256u /* about as many as a pack has */
#define LOADS      25u
#define LOAD_MIN   (1024u * 1024)
#define LOAD_MAX   (8u * 1024 * 1024) /* names; 384 MiB */

struct gathered {
    struct record_name name;
    uint8_t place[PLACE_SIZE]; /* the number being the pack's place in the load */
};

struct index_build {
    uint64_t packs_expected; /* of the whole build */
    uint32_t load;           /* names that are gathered at a time */
    struct gathered *names;  /* a load, and what one pack may add */
    uint32_t count;
    struct index_pack *packs;
    uint32_t *numbers;
    uint32_t pack_count;
    uint32_t pack_cap;
    bool sized; /* the filter is made for the whole build */
};

static int
compare_gathered(const void *a, const void *b)
{
    const struct gathered *p = a;
    const struct gathered *q = b;
    int d = memcmp(p->name.bytes, q->name.bytes, RECORD_NAME_SIZE);
    uint32_t m = get_le32(p->place);
    uint32_t n = get_le32(q->place);

    return d != 0 ? d : m < n ? -1 : m > n ? 1 : 0; /* the first pack's place comes first */
}

static void
swap_gathered(struct gathered *a, struct gathered *b)
{
    struct gathered c = *a;

    *a = *b;
    *b = c;
}

/* In place: qsort() of all would take as much memory again.  Names are hashes, so their first bytes make even parts. */
static void
sort_gathered(struct gathered *names, uint32_t count)
{
    uint32_t end[256] = {0};
    uint32_t at[256];
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        end[names[i].name.bytes[0]]++;
    }
    for (unsigned b = 0; b < 256; b++) {
        at[b] = sum;
        sum += end[b];
        end[b] = sum;
    }
    for (unsigned b = 0; b < 256; b++) {
        while (at[b] < end[b]) {
            uint8_t to = names[at[b]].name.bytes[0];

            if (to == b) {
                at[b]++;
            } else {
                swap_gathered(&names[at[b]], &names[at[to]++]);
            }
        }
    }
    for (unsigned b = 0; b < 256; b++) {
        uint32_t first = b == 0 ? 0 : end[b - 1];

        qsort(names + first, end[b] - first, sizeof(names[0]), compare_gathered);
    }
}

struct slice {
    struct index_build *b;
    uint32_t at;
    uint32_t names;
    bool first;
    bool last;
};

static int
slice_txn(struct index_lmdb *x, MDB_txn *txn, void *arg)
{
    struct slice *s = arg;
    struct index_build *b = s->b;
    MDB_val key = {.mv_size = strlen(LMDB_META_BUILDING),
                   .mv_data = (void *)(uintptr_t)LMDB_META_BUILDING};
    MDB_val v = key;
    int r = s->first ? mdb_put(txn, x->meta, &key, &v, 0) : 0;

    for (uint32_t i = 0; s->first && r == 0 && i < b->pack_count; i++) {
        r = lmdb_add_pack_row(x, txn, &b->packs[i], &b->numbers[i]);
    }
    for (uint32_t i = s->at; r == 0 && i < b->count && i - s->at < s->names; i++) {
        uint8_t place[PLACE_SIZE];

        memcpy(place, b->names[i].place, sizeof(place));
        put_le32(place, b->numbers[get_le32(place)]);
        r = lmdb_add_name(x, txn, &b->names[i].name, place);
    }
    return r == 0 && s->last ? mdb_del(txn, x->meta, &key, NULL) : r;
}

/* A filter that grew from nothing would have many layers, each wrong now and then. */
static enum varve_err
size_filter(struct index_lmdb *x, struct index_build *b, struct varve_error *err)
{
    struct index_stats stats;
    enum varve_err rc = VARVE_OK;

    if (b->sized) {
        return VARVE_OK;
    }
    b->sized = true;
    lmdb_stats(&x->base, &stats);
    if (stats.names == 0) {
        double each = (double)b->count / (double)b->pack_count;

        rc = lmdb_filter_expect(x, (uint64_t)(each * (double)b->packs_expected * 1.25), err);
    }
    return rc;
}

static enum varve_err
write_load(struct index_lmdb *x, struct index_build *b, struct varve_error *err)
{
    uint32_t names = b->load / SLICES < SLICE_MIN ? SLICE_MIN : b->load / SLICES;
    enum varve_err rc;

    if (b->pack_count == 0) {
        return VARVE_OK;
    }
    rc = size_filter(x, b, err);
    for (uint32_t i = 0; rc == VARVE_OK && i < b->count; i++) { /* before the index */
        (void)index_filter_add(x->filter, &b->names[i].name);
    }
    sort_gathered(b->names, b->count);
    for (uint32_t at = 0; rc == VARVE_OK && (at < b->count || at == 0); at += names) {
        struct slice s = {
            .b = b, .at = at, .names = names, .first = at == 0, .last = b->count - at <= names};

        rc = lmdb_run_write(x, slice_txn, &s, err);
    }
    mutex_lock(&x->lock);
    for (uint32_t i = 0; rc == VARVE_OK && i < b->pack_count; i++) {
        x->totals.packs++;
        x->totals.stored_bytes += b->packs[i].size;
        x->totals.raw_bytes += b->packs[i].raw_bytes;
    }
    mutex_unlock(&x->lock);
    b->count = 0;
    b->pack_count = 0;
    return rc;
}

static bool
reserve_pack(struct index_build *b)
{
    uint32_t cap = b->pack_cap == 0 ? 1024 : b->pack_cap * 2;
    struct index_pack *packs = NULL;
    uint32_t *numbers = NULL;

    if (b->pack_count < b->pack_cap) {
        return true;
    }
    packs = realloc(b->packs, cap * sizeof(*packs));
    if (packs == NULL) {
        return false;
    }
    b->packs = packs;
    numbers = realloc(b->numbers, cap * sizeof(*numbers));
    if (numbers == NULL) {
        return false;
    }
    b->numbers = numbers;
    b->pack_cap = cap;
    return true;
}

enum varve_err
lmdb_build_add(struct index_lmdb *x, const struct index_pack *pack,
               const struct pack_entry *entries, struct varve_error *err)
{
    struct index_build *b = x->build;

    if (pack->records > PACK_RECORDS_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%u records in a pack", pack->records);
    }
    if (!reserve_pack(b)) {
        return varve_error_nomem(err);
    }
    for (uint32_t i = 0; i < pack->records; i++) {
        struct gathered *g = &b->names[b->count++];

        g->name = entries[i].name;
        lmdb_place_encode(g->place, b->pack_count, &entries[i]);
    }
    b->packs[b->pack_count++] = *pack;
    return b->count < b->load ? VARVE_OK : write_load(x, b, err);
}

/* Two bytes of memory for each name that is expected: with the filter less than the budget has, docs/design/index.md. */
static uint32_t
load_of(const struct index_lmdb *x, uint64_t packs)
{
    uint64_t part = (packs > UINT32_MAX ? UINT32_MAX : packs) * PACK_NAMES / LOADS;

    part = part > LOAD_MAX ? LOAD_MAX : part;
    return x->build_names != 0 ? x->build_names : part > LOAD_MIN ? (uint32_t)part : LOAD_MIN;
}

enum varve_err
lmdb_build_begin(struct index *ix, uint64_t packs, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    struct index_build *b = calloc(1, sizeof(*b));

    if (b == NULL) {
        return varve_error_nomem(err);
    }
    b->load = load_of(x, packs);
    b->names = malloc(((size_t)b->load + PACK_RECORDS_MAX) * sizeof(b->names[0]));
    if (b->names == NULL) {
        free(b);
        return varve_error_nomem(err);
    }
    b->packs_expected = packs;
    x->build = b;
    return VARVE_OK;
}

void
lmdb_build_free(struct index_lmdb *x)
{
    struct index_build *b = x->build;

    if (b != NULL) {
        free(b->names);
        free(b->packs);
        free(b->numbers);
        free(b);
        x->build = NULL;
    }
}

enum varve_err
lmdb_build_end(struct index *ix, struct varve_error *err)
{
    struct index_lmdb *x = lmdb_of(ix);
    enum varve_err rc = write_load(x, x->build, err);

    if (rc == VARVE_OK) { /* else it stays, for nothing but a close may follow */
        lmdb_build_free(x);
    }
    return rc;
}
