/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/testing.h"
#include "crypto/identity.h"
#include "fault/lab_place.h"
#include "hash/crc32c.h"
#include "store/store_testing.h"

/*
 * Collections where something is damaged.  A name stands in two packs and one of the two copies is damaged:
 * whatever the index knows of that, and whichever of the two it has chosen, no collection removes the other
 * one (docs/format/store.md section 13.1).  Counts in the index have rotted: nothing is removed for that.
 */
static struct varve_error err;

static int
setup(void **state)
{
    *state = lab_place_new(false);
    return 0;
}

static int
teardown(void **state)
{
    lab_place_free(*state);
    return 0;
}

static struct gc_result
collect(struct lab_place *f, unsigned move_percent)
{
    const struct gc_options options = {.now_us = LAB_NOW, .move_percent = move_percent};
    struct gc_result r;

    assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
    assert_int_equal(r.blocked.code, VARVE_OK);
    return r;
}

/* ---- packs ---- */

/* One bit in the stored bytes of every record; the same once more takes it back. */
static unsigned
flip_records(struct lab_place *f, const struct pack_id *id)
{
    struct fs *fs = mem_fs(f->mem);
    char path[LAB_PACK_PATH_SIZE];
    struct pack_record r;
    uint8_t *bytes = NULL;
    struct file *file = NULL;
    size_t len = 0;
    size_t at = PACK_HEADER_SIZE;
    unsigned flipped = 0;

    lab_pack_path(id, path);
    assert_ok(fs_read_all(fs, path, 64u << 20, &bytes, &len, &err), &err);
    assert_ok(file_open(fs, &file, path, FILE_READ_WRITE, &err), &err);
    while (len - at >= PACK_RECORD_HEADER && pack_record_decode(&r, bytes + at, &err) == VARVE_OK) {
        uint8_t b = bytes[at + PACK_RECORD_HEADER + 3] ^ 0x10;

        assert_ok(file_write(file, &b, 1, at + PACK_RECORD_HEADER + 3, &err), &err);
        at += PACK_RECORD_HEADER + r.entry.stored_len;
        flipped++;
    }
    file_close(file);
    free(bytes);
    return flipped;
}

static void
hide(struct lab_place *f, const struct lab_packs *p, bool back)
{
    for (size_t i = 0; i < p->count; i++) {
        char there[LAB_PACK_PATH_SIZE];
        char away[32];

        lab_pack_path(&p->id[i], there);
        (void)snprintf(away, sizeof(away), "/data/hidden-%zu", i);
        assert_ok(fs_rename_new(mem_fs(f->mem), back ? away : there, back ? there : away, &err),
                  &err);
    }
}

/* Two points of each vm; every record of the packs of chunks is damaged, found, and healed by a run that
 * reads everything. */
static void
damage_and_heal(struct lab_place *f, struct lab_packs *damaged, struct lab_packs *healed)
{
    unsigned records = 0;

    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_backup(&f->l, 0, n, &err), &err);
        assert_ok(lab_backup(&f->l, 1, n, &err), &err);
    }
    (void)collect(f, 0);
    *damaged = lab_data_packs(f);
    for (size_t i = 0; i < damaged->count; i++) {
        records += flip_records(f, &damaged->id[i]);
    }
    assert_true(records > 100);
    assert_int_equal(lab_packs_scrub(f, damaged), records);
    assert_err(lab_place_read_all(f, &err), VARVE_ERR_CORRUPT, &err);
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_offer_all(&f->l, 0, n, &err), &err);
        assert_ok(lab_offer_all(&f->l, 1, n, &err), &err);
    }
    assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
    *healed = lab_packs_fresh(f, damaged);
    assert_true(healed->count > 0);
    assert_ok(lab_place_read_all(f, &err), &err);
}

static void
collect_all_ways(struct lab_place *f)
{
    for (unsigned i = 0; i < 2; i++) {
        (void)collect(f, 0);
        assert_ok(lab_place_read_all(f, &err), &err);
        (void)collect(f, 101);
        assert_ok(lab_place_read_all(f, &err), &err);
        lab_place_reopen(f);
    }
    assert_ok(lab_place_read_all(f, &err), &err);
}

/* Index and list of damage are lost; the new index has taken the damaged copy, or the whole one. */
static void
a_new_index_that_chose_the_damaged_copy_costs_nothing(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    lab_place_remove_index(f, true);
    hide(f, &healed, false);
    lab_place_open(f); /* the damaged ones are all there is */
    lab_close(&f->l);
    hide(f, &healed, true);
    lab_place_open(f);
    collect_all_ways(f);
    lab_packs_assert_gone(f, &damaged);
}

static void
a_new_index_that_chose_the_whole_copy_lets_the_damaged_one_go(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    lab_place_remove_index(f, true);
    hide(f, &damaged, false);
    lab_place_open(f);
    lab_close(&f->l);
    hide(f, &damaged, true);
    lab_place_open(f);
    collect_all_ways(f);
    lab_packs_assert_gone(f, &damaged);
}

/* The list of damage is there, the index is not: the same, and known at once. */
static void
a_new_index_beside_its_list_of_damage_costs_nothing(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    lab_place_remove_index(f, false);
    lab_place_open(f);
    collect_all_ways(f);
    lab_packs_assert_gone(f, &damaged);
}

/* What was wrong passed (a cable, a controller), and then the copy that healed it rots. */
static void
a_copy_that_the_index_forgot_takes_over_when_the_known_one_is_damaged(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs healed;

    damage_and_heal(f, &damaged, &healed);
    for (size_t i = 0; i < damaged.count; i++) {
        (void)flip_records(f, &damaged.id[i]);
    }
    for (size_t i = 0; i < healed.count; i++) {
        (void)flip_records(f, &healed.id[i]);
    }
    assert_true(lab_packs_scrub(f, &healed) > 100);
    (void)collect(f, 0);
    collect_all_ways(f);
}

/* Nobody has looked at the copy that stays: a collection does, before the other one goes. */
static void
a_copy_that_rots_unnoticed_is_found_before_the_other_one_goes(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs healed;

    damage_and_heal(f, &damaged, &healed);
    for (size_t i = 0; i < damaged.count; i++) {
        (void)flip_records(f, &damaged.id[i]);
    }
    for (size_t i = 0; i < healed.count; i++) {
        (void)flip_records(f, &healed.id[i]);
    }
    (void)collect(f, 0);
    collect_all_ways(f);
}

enum rot {
    ROT_KEY,  /* one bit of the key: the count is not found, as if there were none */
    ROT_COUNT /* one less */
};

/* Counts of chunks and nodes in the file of the index, found by their checks. */
static unsigned
rot_counts(struct lab_place *f, enum rot rot)
{
    static const size_t keys[] = {INDEX_REF_CHUNK_KEY, RECORD_NAME_SIZE};
    char *path = test_path(f->index, "index.mdb");
    struct file *file = NULL;
    uint8_t *db = NULL;
    size_t len = 0;
    unsigned rotten = 0;

    assert_ok(fs_read_all(fs_system(), path, 64u << 20, &db, &len, &err), &err);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    for (size_t i = 0; i + RECORD_NAME_SIZE + 8 <= len; i += 2) {
        for (size_t k = 0; k < 2; k++) {
            size_t at = i + keys[k];
            uint32_t count = get_le32(db + at);

            if (crc32c(db + i, keys[k] + 4) != get_le32(db + at + 4)) {
                continue;
            }
            if (count > 0) {
                at -= rot == ROT_KEY ? 1 : 0;
                db[at] = rot == ROT_KEY ? db[at] ^ 1 : (uint8_t)(count - 1);
                assert_ok(file_write(file, db + at, 1, at, &err), &err);
                rotten++;
            }
            break;
        }
    }
    file_close(file);
    free(db);
    free(path);
    return rotten;
}

/* counted_off: the points that go are counted off before the counts rot, so that only a look at the packs
 * can show it. */
static void
rot_and_collect(struct lab_place *f, enum rot rot, bool counted_off)
{
    const struct gc_options options = {.now_us = LAB_NOW, .move_percent = 101};
    char *doubt = test_path(f->index, "doubt");
    struct collect_cost cost = {.operations = 0};
    struct file_stat st;
    uint64_t removed = 0;
    struct gc_result r;

    for (unsigned n = 1; n <= 3; n++) {
        assert_ok(lab_backup(&f->l, 0, n, &err), &err);
        assert_ok(lab_backup(&f->l, 1, n, &err), &err);
    }
    (void)collect(f, 0);
    lab_place_delete(f, 0, 1, 0);
    lab_place_delete(f, 1, 1, 0);
    if (counted_off) {
        assert_ok(gc_purge(f->l.gc, LAB_NOW, &removed, &cost, &err), &err);
        assert_int_equal(removed, 2);
        assert_ok(gc_account(f->l.gc, NULL, &cost, &err), &err);
    }
    assert_true(rot_counts(f, rot) > 100); /* below a running process: an open would see it */
    assert_int_equal(gc_collect(f->l.gc, &options, &r, &err),
                     counted_off ? VARVE_OK : VARVE_ERR_CORRUPT);
    assert_ok(lab_place_read_all(f, &err), &err);
    assert_ok(fs_stat(fs_system(), doubt, &st, &err), &err);
    lab_place_reopen(f);
    assert_err(fs_stat(fs_system(), doubt, &st, &err), VARVE_ERR_NOT_FOUND, &err);
    r = collect(f, 101);
    assert_true(r.packs_removed > 0);
    assert_ok(lab_place_read_all(f, &err), &err);
    free(doubt);
}

static void
counts_that_are_lost_remove_nothing_and_have_the_index_built_anew(void **state)
{
    rot_and_collect(*state, ROT_KEY, true);
}

static void
counts_that_would_fall_below_zero_have_the_index_built_anew(void **state)
{
    rot_and_collect(*state, ROT_KEY, false);
}

static void
counts_that_have_rotted_remove_nothing_and_have_the_index_built_anew(void **state)
{
    rot_and_collect(*state, ROT_COUNT, true);
}

static void
counts_that_have_rotted_are_not_counted_on(void **state)
{
    rot_and_collect(*state, ROT_COUNT, false);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_new_index_that_chose_the_damaged_copy_costs_nothing),
        TEST(a_new_index_that_chose_the_whole_copy_lets_the_damaged_one_go),
        TEST(a_new_index_beside_its_list_of_damage_costs_nothing),
        TEST(a_copy_that_the_index_forgot_takes_over_when_the_known_one_is_damaged),
        TEST(a_copy_that_rots_unnoticed_is_found_before_the_other_one_goes),
        TEST(counts_that_are_lost_remove_nothing_and_have_the_index_built_anew),
        TEST(counts_that_would_fall_below_zero_have_the_index_built_anew),
        TEST(counts_that_have_rotted_remove_nothing_and_have_the_index_built_anew),
        TEST(counts_that_have_rotted_are_not_counted_on),
    };

    log_set_sink(drop_line); /* damage is the point of this test; its lines are not */
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
