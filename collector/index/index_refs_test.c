/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "store/store_testing.h"

/* Counts, marks of packs and rows: what a collection needs, run over each member. */

/* Adds delta to the counts of chunks [first, first + count). */
static enum varve_err
count_all(struct index *ix, uint64_t first, size_t count, int delta, struct varve_error *err)
{
    struct index_change change = {.delta_count = count};
    enum varve_err rc;

    change.deltas = calloc(count, sizeof(*change.deltas));
    for (size_t i = 0; i < count; i++) {
        change.deltas[i] = (struct index_delta){
            .name = name_of(first + i), .kind = CHUNK_DATA, .delta = (int8_t)delta};
    }
    rc = index_apply(ix, &change, err);
    assert_true(rc != VARVE_OK || change.operations >= count);
    free(change.deltas);
    return rc;
}

static uint32_t
count_of(struct index *ix, uint64_t n)
{
    struct record_name name = name_of(n);
    struct varve_error err;
    uint32_t count = 77;

    assert_ok(index_ref_get(ix, CHUNK_DATA, &name, 1, &count, &err), &err);
    return count;
}

struct marked {
    struct index_pack packs[16];
    size_t count;
};

static bool
note_marked(void *arg, const struct index_pack *pack)
{
    struct marked *m = arg;

    assert_true(m->count < 16);
    m->packs[m->count++] = *pack;
    return true;
}

/* The marked pack number n; NULL: it is not marked. */
static const struct index_pack *
marked_pack(struct index *ix, struct marked *m, uint64_t n)
{
    struct pack_id id = pack_of(n);
    struct varve_error err;

    m->count = 0;
    assert_ok(index_list_marked(ix, note_marked, m, &err), &err);
    for (size_t i = 0; i < m->count; i++) {
        if (memcmp(m->packs[i].id.bytes, id.bytes, PACK_ID_SIZE) == 0) {
            return &m->packs[i];
        }
    }
    return NULL;
}

static void
mark(struct index *ix, uint64_t n, uint64_t live, bool candidate, bool condemned)
{
    struct index_pack pack = {
        .id = pack_of(n), .live_bytes = live, .candidate = candidate, .condemned = condemned};
    struct varve_error err;

    assert_ok(index_mark_packs(ix, &pack, 1, &err), &err);
}

static void
live_bytes_follow_the_counts(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    const struct index_pack *p = NULL;
    struct varve_error err;
    struct marked m;

    add(ix, 2, 0, 100);
    p = marked_pack(ix, &m, 2); /* new, and nobody needs it */
    assert_non_null(p);
    assert_true(p->candidate && !p->condemned && p->live_bytes == 0);
    assert_ok(count_all(ix, 0, 50, 1, &err), &err);
    assert_ok(count_all(ix, 0, 50, 1, &err), &err);
    assert_int_equal(count_of(ix, 0), 2);
    p = marked_pack(ix, &m, 2);
    assert_int_equal(p->live_bytes, 50 * (900 + 64));
    mark(ix, 2, p->live_bytes, false, false);
    assert_null(marked_pack(ix, &m, 2));
    assert_ok(count_all(ix, 0, 50, -1, &err), &err);
    assert_null(marked_pack(ix, &m, 2)); /* nothing has died */
    assert_ok(count_all(ix, 0, 10, -1, &err), &err);
    p = marked_pack(ix, &m, 2);
    assert_non_null(p);
    assert_int_equal(p->live_bytes, 40 * (900 + 64));
    assert_int_equal(count_of(ix, 0), 0);
    assert_int_equal(count_of(ix, 10), 1);
}

/* Names that stand twice: whichever copy goes, none is alive in two packs. */
static void
live_bytes_are_never_above_what_the_counts_say(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct varve_error err;
    struct marked m;

    add(ix, 2, 0, 10);
    add(ix, 3, 0, 10);
    add(ix, 4, 0, 10);
    assert_ok(count_all(ix, 0, 10, 1, &err), &err);
    assert_int_equal(marked_pack(ix, &m, 2)->live_bytes, 10 * 964);
    drop(ix, 3);
    assert_int_equal(marked_pack(ix, &m, 2)->live_bytes, 10 * 964);
    assert_int_equal(marked_pack(ix, &m, 4)->live_bytes, 0);
    drop(ix, 2);
    assert_true(marked_pack(ix, &m, 4)->live_bytes <= 10 * 964);
}

static void
no_count_falls_below_zero(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct varve_error err;

    add(ix, 2, 0, 10);
    assert_ok(count_all(ix, 0, 5, 1, &err), &err);
    assert_err(count_all(ix, 0, 6, -1, &err), VARVE_ERR_CORRUPT, &err);
    assert_int_equal(count_of(ix, 0), 1); /* nothing of it was done */
    drop(ix, 2);
    assert_int_equal(count_of(ix, 0), 1); /* a name that lost its place keeps its count */
    assert_ok(count_all(ix, 0, 5, -1, &err), &err);
}

static void
names_of_a_condemned_pack_are_absent_for_backups_and_move(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    const struct index_pack *p = NULL;
    struct varve_error err;
    struct marked m;

    add(ix, 2, 0, 10);
    assert_ok(count_all(ix, 0, 4, 1, &err), &err);
    assert_true(present(ix, 0));
    mark(ix, 2, 4 * 964, true, true);
    assert_false(present(ix, 0));
    assert_int_equal(pack_at(ix, 0), 2); /* a restore still finds it */
    add(ix, 4, 0, 2);
    assert_true(present(ix, 0));
    assert_int_equal(pack_at(ix, 0), 4);
    assert_int_equal(pack_at(ix, 2), 2);
    p = marked_pack(ix, &m, 4);
    assert_int_equal(p->live_bytes, 2 * 964);
    p = marked_pack(ix, &m, 2);
    assert_true(p->condemned);
    assert_int_equal(p->live_bytes, 2 * 964);
    mark(ix, 2, 2 * 964, false, false);
    assert_true(present(ix, 3));
}

static void
a_pack_is_dropped_at_the_cost_of_its_entries(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct pack_entry entries[20];
    struct pack_id id = pack_of(2);
    struct index_stats stats;
    struct varve_error err;
    uint64_t operations = 0;
    struct marked m;

    add(ix, 2, 0, 20);
    add(ix, 4, 10, 20);
    add(ix, 6, 100, 200);
    for (uint32_t i = 0; i < 20; i++) {
        entries[i] = (struct pack_entry){.name = name_of(i)};
    }
    assert_ok(index_drop_entries(ix, &id, entries, 20, &operations, &err), &err);
    assert_in_range(operations, 20, 80);
    assert_int_equal(pack_at(ix, 5), -1);
    assert_int_equal(pack_at(ix, 15), 4);
    assert_null(marked_pack(ix, &m, 2));
    index_get_stats(ix, &stats);
    assert_int_equal(stats.packs, 2);
    assert_int_equal(stats.names, 220);
    id = pack_of(4);
    add(ix, 8, 10, 5); /* second places: they go with their own pack */
    id = pack_of(8);
    for (uint32_t i = 0; i < 5; i++) {
        entries[i] = (struct pack_entry){.name = name_of(10 + i)};
    }
    assert_ok(index_drop_entries(ix, &id, entries, 5, &operations, &err), &err);
    assert_int_equal(pack_at(ix, 10), 4);
    drop(ix, 4);
    assert_int_equal(pack_at(ix, 10), -1);
    assert_ok(index_drop_entries(ix, &id, entries, 5, &operations, &err), &err); /* again */
}

struct rows_seen {
    char text[64];
};

static bool
note_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct rows_seen *s = arg;
    size_t at = strlen(s->text);

    (void)snprintf(s->text + at, sizeof(s->text) - at, "%.*s=%.*s ", (int)key_len,
                   (const char *)key, (int)value_len, (const char *)value);
    return strlen(s->text) < 40;
}

static void
rows_change_with_the_counts_and_come_in_order(void **state)
{
    static const struct index_row rows[] = {
        {"b2", 2, "two", 3, false}, {"b1", 2, "one", 3, false},    {"a", 1, "x", 1, false},
        {"c", 1, "y", 1, false},    {"b1", 2, "eins", 4, false},   {"b3", 2, "three", 5, false},
        {"b3", 2, NULL, 0, true},   {"nothing", 7, NULL, 0, true},
    };
    struct index *ix = ((struct member *)*state)->ix;
    struct index_change change = {.rows = rows, .row_count = sizeof(rows) / sizeof(rows[0])};
    struct rows_seen seen = {""};
    struct varve_error err;

    assert_ok(index_apply(ix, &change, &err), &err);
    assert_ok(index_row_scan(ix, "b", 1, false, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "b1=eins b2=two ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "b", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "b2=two b1=eins ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "c", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "c=y ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "d", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(live_bytes_follow_the_counts),
        EACH(live_bytes_are_never_above_what_the_counts_say),
        EACH(no_count_falls_below_zero),
        EACH(names_of_a_condemned_pack_are_absent_for_backups_and_move),
        EACH(a_pack_is_dropped_at_the_cost_of_its_entries),
        EACH(rows_change_with_the_counts_and_come_in_order),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
