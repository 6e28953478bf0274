/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/testing.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "hash/crc32c.h"
#include "jobs/damage_points.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * Collections where something is damaged.  A name stands in two packs and one of the two copies is damaged:
 * whatever the index knows of that, and whichever of the two it has chosen, no collection removes the other
 * one (docs/format/store.md section 13.1).  Counts in the index have rotted: nothing is removed for that.
 */
#define NOW 1000000000ll

struct fixture {
    struct mem_fs *mem; /* the store; its index, which LMDB writes, is in a folder */
    char *folder;
    char *index;
    struct lab l;
};

static struct varve_error err;

static void
open_lab(struct fixture *f)
{
    assert_ok(lab_open(&f->l, mem_fs(f->mem), "/data", f->index, NULL, &err), &err);
}

static void
reopen(struct fixture *f)
{
    lab_close(&f->l);
    open_lab(f);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_ok(mem_fs_new(&f->mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(f->mem), "/data", &err), &err);
    f->folder = test_folder_make();
    f->index = test_path(f->folder, "index");
    open_lab(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    lab_close(&f->l);
    mem_fs_free(f->mem);
    test_folder_remove(f->folder);
    free(f->index);
    free(f);
    return 0;
}

static struct gc_result
collect(struct fixture *f, unsigned move_percent)
{
    const struct gc_options options = {.now_us = NOW, .move_percent = move_percent};
    struct gc_result r;

    assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
    assert_int_equal(r.blocked.code, VARVE_OK);
    return r;
}

/* Every listed point reads back. */
static enum varve_err
read_all(struct fixture *f)
{
    struct point **list = NULL;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    assert_true(count > 0);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = lab_verify(&f->l, list[i], &err);
    }
    catalog_list_free(list, count);
    return rc;
}

/* ---- packs ---- */

#define PACKS_MAX      64u
#define PACK_PATH_SIZE (PACK_OBJECT_NAME_SIZE + 16)

struct packs {
    struct pack_id id[PACKS_MAX];
    uint64_t size[PACKS_MAX];
    size_t count;
};

static bool
note_data_pack(void *arg, const struct index_pack *pack)
{
    struct packs *p = arg;

    assert_true(p->count < PACKS_MAX);
    if (pack->kind == CHUNK_DATA) {
        p->id[p->count] = pack->id;
        p->size[p->count++] = pack->size;
    }
    return true;
}

static struct packs
data_packs(struct fixture *f)
{
    struct packs p = {.count = 0};

    assert_ok(index_list_packs(chunk_store_index(f->l.cs), note_data_pack, &p, &err), &err);
    return p;
}

static bool
holds(const struct packs *p, const struct pack_id *id)
{
    bool found = false;

    for (size_t i = 0; i < p->count; i++) {
        found = found || memcmp(p->id[i].bytes, id->bytes, PACK_ID_SIZE) == 0;
    }
    return found;
}

/* The data packs of now that were not there before. */
static struct packs
fresh_packs(struct fixture *f, const struct packs *before)
{
    struct packs now = data_packs(f);
    struct packs fresh = {.count = 0};

    for (size_t i = 0; i < now.count; i++) {
        if (!holds(before, &now.id[i])) {
            fresh.id[fresh.count] = now.id[i];
            fresh.size[fresh.count++] = now.size[i];
        }
    }
    return fresh;
}

static void
pack_path(const struct pack_id *id, char out[PACK_PATH_SIZE])
{
    char name[PACK_OBJECT_NAME_SIZE];

    pack_object_name(id, name);
    (void)snprintf(out, PACK_PATH_SIZE, "/data/store/%s", name);
}

/* One bit in the stored bytes of every record; the same once more takes it back. */
static unsigned
flip_records(struct fixture *f, const struct pack_id *id)
{
    struct fs *fs = mem_fs(f->mem);
    char path[PACK_PATH_SIZE];
    struct pack_record r;
    uint8_t *bytes = NULL;
    struct file *file = NULL;
    size_t len = 0;
    size_t at = PACK_HEADER_SIZE;
    unsigned flipped = 0;

    pack_path(id, path);
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

static uint64_t
scrub(struct fixture *f, const struct packs *p)
{
    uint64_t damaged = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct chunk_check check;

        assert_ok(chunk_store_check_pack(f->l.cs, &p->id[i], p->size[i], &check, &err), &err);
        damaged += check.damaged;
    }
    return damaged;
}

static void
hide(struct fixture *f, const struct packs *p, bool back)
{
    for (size_t i = 0; i < p->count; i++) {
        char there[PACK_PATH_SIZE];
        char away[32];

        pack_path(&p->id[i], there);
        (void)snprintf(away, sizeof(away), "/data/hidden-%zu", i);
        assert_ok(fs_rename_new(mem_fs(f->mem), back ? away : there, back ? there : away, &err),
                  &err);
    }
}

static void
remove_index(struct fixture *f, bool list_too)
{
    static const char *const names[] = {"index.mdb", "index.mdb-lock", "state", "quarantine"};

    for (size_t i = 0; i < (list_too ? 4u : 3u); i++) {
        char *path = test_path(f->index, names[i]);
        enum varve_err rc = fs_remove(fs_system(), path, &err);

        assert_true(rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND);
        free(path);
    }
}

/* Two points of each vm; every record of the packs of chunks is damaged, found, and healed by a run that
 * reads everything. */
static void
damage_and_heal(struct fixture *f, struct packs *damaged, struct packs *healed)
{
    unsigned records = 0;

    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_backup(&f->l, 0, n, &err), &err);
        assert_ok(lab_backup(&f->l, 1, n, &err), &err);
    }
    (void)collect(f, 0);
    *damaged = data_packs(f);
    for (size_t i = 0; i < damaged->count; i++) {
        records += flip_records(f, &damaged->id[i]);
    }
    assert_true(records > 100);
    assert_int_equal(scrub(f, damaged), records);
    assert_err(read_all(f), VARVE_ERR_CORRUPT, &err);
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_offer_all(&f->l, 0, n, &err), &err);
        assert_ok(lab_offer_all(&f->l, 1, n, &err), &err);
    }
    assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
    *healed = fresh_packs(f, damaged);
    assert_true(healed->count > 0);
    assert_ok(read_all(f), &err);
}

static void
collect_all_ways(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        (void)collect(f, 0);
        assert_ok(read_all(f), &err);
        (void)collect(f, 101);
        assert_ok(read_all(f), &err);
        reopen(f);
    }
    assert_ok(read_all(f), &err);
}

static void
assert_gone(struct fixture *f, const struct packs *damaged)
{
    const struct packs now = data_packs(f);

    for (size_t i = 0; i < damaged->count; i++) {
        assert_false(holds(&now, &damaged->id[i]));
    }
}

/* Index and list of damage are lost; the new index has taken the damaged copy, or the whole one. */
static void
a_new_index_that_chose_the_damaged_copy_costs_nothing(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    remove_index(f, true);
    hide(f, &healed, false);
    open_lab(f); /* the damaged ones are all there is */
    lab_close(&f->l);
    hide(f, &healed, true);
    open_lab(f);
    collect_all_ways(f);
    assert_gone(f, &damaged);
}

static void
a_new_index_that_chose_the_whole_copy_lets_the_damaged_one_go(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    remove_index(f, true);
    hide(f, &damaged, false);
    open_lab(f);
    lab_close(&f->l);
    hide(f, &damaged, true);
    open_lab(f);
    collect_all_ways(f);
    assert_gone(f, &damaged);
}

/* The list of damage is there, the index is not: the same, and known at once. */
static void
a_new_index_beside_its_list_of_damage_costs_nothing(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs healed;

    damage_and_heal(f, &damaged, &healed);
    lab_close(&f->l);
    remove_index(f, false);
    open_lab(f);
    collect_all_ways(f);
    assert_gone(f, &damaged);
}

/* What was wrong passed (a cable, a controller), and then the copy that healed it rots. */
static void
a_copy_that_the_index_forgot_takes_over_when_the_known_one_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs healed;

    damage_and_heal(f, &damaged, &healed);
    for (size_t i = 0; i < damaged.count; i++) {
        (void)flip_records(f, &damaged.id[i]);
    }
    for (size_t i = 0; i < healed.count; i++) {
        (void)flip_records(f, &healed.id[i]);
    }
    assert_true(scrub(f, &healed) > 100);
    (void)collect(f, 0);
    collect_all_ways(f);
}

/* Nobody has looked at the copy that stays: a collection does, before the other one goes. */
static void
a_copy_that_rots_unnoticed_is_found_before_the_other_one_goes(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs healed;

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
rot_counts(struct fixture *f, enum rot rot)
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

static void
delete_first_points(struct fixture *f)
{
    struct point **list = NULL;
    size_t count = 0;

    assert_ok(catalog_list(f->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (number == 1) {
            assert_ok(gc_delete_point(f->l.gc, list[i], NOW, NOW, "t", "t", &err), &err);
        }
    }
    catalog_list_free(list, count);
}

/* counted_off: the points that go are counted off before the counts rot, so that only a look at the packs
 * can show it. */
static void
rot_and_collect(struct fixture *f, enum rot rot, bool counted_off)
{
    const struct gc_options options = {.now_us = NOW, .move_percent = 101};
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
    delete_first_points(f);
    if (counted_off) {
        assert_ok(gc_purge(f->l.gc, NOW, &removed, &cost, &err), &err);
        assert_int_equal(removed, 2);
        assert_ok(gc_account(f->l.gc, NULL, &cost, &err), &err);
    }
    assert_true(rot_counts(f, rot) > 100); /* below a running process: an open would see it */
    assert_int_equal(gc_collect(f->l.gc, &options, &r, &err),
                     counted_off ? VARVE_OK : VARVE_ERR_CORRUPT);
    assert_ok(read_all(f), &err);
    assert_ok(fs_stat(fs_system(), doubt, &st, &err), &err);
    reopen(f);
    assert_err(fs_stat(fs_system(), doubt, &st, &err), VARVE_ERR_NOT_FOUND, &err);
    r = collect(f, 101);
    assert_true(r.packs_removed > 0);
    assert_ok(read_all(f), &err);
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

/* ---- packs that have lost their footers ---- */

static void
flip_at(struct fixture *f, const struct pack_id *id, uint64_t at, size_t count)
{
    char path[PACK_PATH_SIZE];
    struct file *file = NULL;
    uint8_t b = 0;

    pack_path(id, path);
    assert_ok(file_open(mem_fs(f->mem), &file, path, FILE_READ_WRITE, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_ok(file_read_exact(file, &b, 1, at + i, &err), &err);
        b ^= 0x55;
        assert_ok(file_write(file, &b, 1, at + i, &err), &err);
    }
    file_close(file);
}

static void
back_up_and_lose_footers(struct fixture *f, struct packs *out)
{
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_backup(&f->l, 0, n, &err), &err);
        assert_ok(lab_backup(&f->l, 1, n, &err), &err);
    }
    (void)collect(f, 0);
    *out = data_packs(f);
    for (size_t i = 0; i < out->count; i++) {
        flip_at(f, &out->id[i], out->size[i] - PACK_TAIL_SIZE - 20, 1);
    }
}

static void
packs_without_footers_are_emptied_into_whole_ones(void **state)
{
    struct fixture *f = *state;
    struct account_check check;
    struct packs damaged;

    back_up_and_lose_footers(f, &damaged);
    (void)collect(f, 0);
    assert_true(holds(&damaged, &data_packs(f).id[0])); /* nobody has looked at them yet */
    assert_int_equal(scrub(f, &damaged), 0);
    (void)collect(f, 0);
    assert_gone(f, &damaged);
    assert_ok(read_all(f), &err);
    reopen(f);
    assert_ok(read_all(f), &err);
    assert_ok(gc_check(f->l.gc, NULL, &check, &err), &err);
    assert_int_equal(check.missing, 0);
}

static void
count_hit(void *arg, const struct damage_hit *h)
{
    (void)h;
    (*(unsigned *)arg)++;
}

/* What is lost with the footer stays as it is until no point misses it: somebody might still get it out. */
static void
what_is_lost_in_a_pack_without_a_footer_is_named_and_goes_when_it_is_healed(void **state)
{
    struct fixture *f = *state;
    struct packs damaged;
    struct packs now;
    unsigned hits = 0;

    back_up_and_lose_footers(f, &damaged);
    for (size_t i = 0; i < damaged.count; i++) { /* a record's header, and another one's bytes */
        flip_at(f, &damaged.id[i], PACK_HEADER_SIZE + 2, 10);
        flip_at(f, &damaged.id[i], damaged.size[i] / 2, 1);
    }
    assert_true(scrub(f, &damaged) > 0);
    assert_ok(damage_points(f->l.cs, f->l.catalog, count_hit, &hits, NULL, NULL, &err), &err);
    assert_true(hits > 0);
    (void)collect(f, 0);
    assert_true(fresh_packs(f, &damaged).count > 0); /* what is whole is copied ... */
    now = data_packs(f);
    for (size_t i = 0; i < damaged.count; i++) { /* ... and nothing is thrown away */
        assert_true(holds(&now, &damaged.id[i]));
    }
    reopen(f);
    hits = 0;
    assert_int_equal(scrub(f, &damaged) > 0, false); /* the index has heard of it */
    assert_ok(damage_points(f->l.cs, f->l.catalog, count_hit, &hits, NULL, NULL, &err), &err);
    assert_true(hits > 0);
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_heal(&f->l, 0, n, &err), &err);
        assert_ok(lab_heal(&f->l, 1, n, &err), &err);
    }
    assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
    assert_ok(read_all(f), &err);
    hits = 0;
    assert_ok(damage_points(f->l.cs, f->l.catalog, count_hit, &hits, NULL, NULL, &err), &err);
    assert_int_equal(hits, 0);
    (void)collect(f, 0);
    assert_gone(f, &damaged);
    assert_ok(read_all(f), &err);
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
        TEST(packs_without_footers_are_emptied_into_whole_ones),
        TEST(what_is_lost_in_a_pack_without_a_footer_is_named_and_goes_when_it_is_healed),
    };

    log_set_sink(drop_line); /* damage is the point of this test; its lines are not */
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
