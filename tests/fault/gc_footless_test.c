/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "crypto/identity.h"
#include "fault/lab_place.h"
#include "fault/sweep.h"
#include "jobs/damage_points.h"

/*
 * Packs that have lost their footers, or all they held (docs/format/store.md section 13.2): what is whole goes to whole packs, the rest goes when
 * no point misses anything, and what somebody else wrote, or a missing key hides, stays.
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

static void
collect_at(struct lab_place *f, int64_t now_us, unsigned move_percent)
{
    const struct gc_options options = {.now_us = now_us, .move_percent = move_percent};
    struct gc_result r;

    assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
    assert_int_equal(r.blocked.code, VARVE_OK);
}

static void
collect(struct lab_place *f, unsigned move_percent)
{
    collect_at(f, LAB_NOW, move_percent);
}

static void
back_up_twice(struct lab_place *f, struct lab_packs *out)
{
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_backup(&f->l, 0, n, &err), &err);
        assert_ok(lab_backup(&f->l, 1, n, &err), &err);
    }
    collect(f, 0);
    *out = lab_data_packs(f);
}

static void
heal(struct lab_place *f)
{
    for (unsigned n = 1; n <= 2; n++) {
        assert_ok(lab_heal(&f->l, 0, n, &err), &err);
        assert_ok(lab_heal(&f->l, 1, n, &err), &err);
    }
    assert_ok(chunk_store_barrier(f->l.cs, &err), &err);
}

static void
count_hit(void *arg, const struct damage_hit *h)
{
    (void)h;
    (*(unsigned *)arg)++;
}

/* What listed points miss, as the patrol finds it out. */
static unsigned
walk(struct lab_place *f)
{
    unsigned hits = 0;

    assert_ok(damage_points(f->l.cs, f->l.catalog, count_hit, &hits, NULL, NULL, &err), &err);
    return hits;
}

/* ---- without footers ---- */

static void
back_up_and_lose_footers(struct lab_place *f, struct lab_packs *out)
{
    back_up_twice(f, out);
    for (size_t i = 0; i < out->count; i++) {
        lab_pack_flip(f, &out->id[i], out->size[i] - PACK_TAIL_SIZE - 20, 1);
    }
}

static void
packs_without_footers_are_emptied_into_whole_ones(void **state)
{
    struct lab_place *f = *state;
    struct account_check check;
    struct lab_packs damaged;

    back_up_and_lose_footers(f, &damaged);
    collect(f, 0);
    assert_true(
        lab_packs_hold(&damaged, &lab_data_packs(f).id[0])); /* nobody has looked at them yet */
    assert_int_equal(lab_packs_scrub(f, &damaged), 0);
    collect(f, 0);
    lab_packs_assert_gone(f, &damaged);
    assert_ok(lab_place_read_all(f, &err), &err);
    lab_place_reopen(f);
    assert_ok(lab_place_read_all(f, &err), &err);
    assert_ok(gc_check(f->l.gc, NULL, &check, &err), &err);
    assert_int_equal(check.missing, 0);
}

/* A record's header, and another one's bytes. */
static void
lose_records(struct lab_place *f, const struct lab_packs *packs)
{
    for (size_t i = 0; i < packs->count; i++) {
        lab_pack_flip(f, &packs->id[i], PACK_HEADER_SIZE + 2, 10);
        lab_pack_flip(f, &packs->id[i], packs->size[i] / 2, 1);
    }
    assert_true(lab_packs_scrub(f, packs) > 0);
}

/* What is lost with the footer stays as it is until no point misses it: somebody might still get it out. */
static void
what_is_lost_in_a_pack_without_a_footer_is_named_and_goes_when_it_is_healed(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs now;

    back_up_and_lose_footers(f, &damaged);
    lose_records(f, &damaged);
    assert_true(walk(f) > 0);
    collect(f, 0);
    assert_true(lab_packs_fresh(f, &damaged).count > 0); /* what is whole is copied ... */
    now = lab_data_packs(f);
    for (size_t i = 0; i < damaged.count; i++) { /* ... and nothing is thrown away */
        assert_true(lab_packs_hold(&now, &damaged.id[i]));
    }
    lab_place_reopen(f);
    assert_int_equal(lab_packs_scrub(f, &damaged) > 0, false); /* the index has heard of it */
    assert_true(walk(f) > 0);
    heal(f);
    assert_ok(lab_place_read_all(f, &err), &err);
    assert_int_equal(walk(f), 0);
    collect(f, 0);
    lab_packs_assert_gone(f, &damaged);
    assert_ok(lab_place_read_all(f, &err), &err);
}

/* They may be undeleted, and somebody may still get out what they miss. */
static void
what_only_deleted_points_miss_stays_until_they_cannot_come_back(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs damaged;
    struct lab_packs now;

    back_up_and_lose_footers(f, &damaged);
    lose_records(f, &damaged);
    lab_place_delete(f, LAB_VMS, 0, 1000);
    assert_int_equal(walk(f), 0); /* nobody is told of them */
    collect(f, 0);
    now = lab_data_packs(f);
    for (size_t i = 0; i < damaged.count; i++) {
        assert_true(lab_packs_hold(&now, &damaged.id[i]));
    }
    collect_at(f, LAB_NOW + 1000, 0);
    assert_int_equal(walk(f), 0);
    collect_at(f, LAB_NOW + 1000, 0);
    lab_packs_assert_gone(f, &damaged);
    assert_int_equal(lab_place_stored_bytes(f), 0);
}

/* ---- nothing can be read ---- */

static bool
is_there(struct lab_place *f, const struct pack_id *id)
{
    char path[LAB_PACK_PATH_SIZE];
    struct file_stat st;
    enum varve_err rc;

    lab_pack_path(id, path);
    rc = fs_stat(mem_fs(f->mem), path, &st, &err);
    assert_true(rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND);
    return rc == VARVE_OK;
}

static void
ruin(struct lab_place *f, const struct lab_packs *p)
{
    for (size_t i = 0; i < p->count; i++) {
        lab_pack_flip(f, &p->id[i], 0, (size_t)p->size[i]);
    }
}

static void
open_with_a_new_index(struct lab_place *f)
{
    lab_close(&f->l);
    lab_place_remove_index(f, true);
    lab_place_open(f);
}

static void
assert_there(struct lab_place *f, const struct lab_packs *p, bool there)
{
    for (size_t i = 0; i < p->count; i++) {
        assert_int_equal(is_there(f, &p->id[i]), there);
    }
}

static void
packs_of_which_nothing_is_left_go_when_no_point_misses_anything(void **state)
{
    struct lab_place *f = *state;
    struct lab_packs ruined;

    back_up_twice(f, &ruined);
    ruin(f, &ruined);
    open_with_a_new_index(f);
    collect(f, 0);
    assert_there(f, &ruined, true); /* nobody has walked the manifests */
    assert_true(walk(f) > 0);
    collect(f, 0);
    assert_there(f, &ruined, true); /* points miss what was in them */
    lab_place_reopen(f);
    assert_true(walk(f) > 0);
    collect(f, 101);
    assert_there(f, &ruined, true);
    heal(f);
    collect(f, 0);
    assert_there(f, &ruined, true); /* that they do not is to be seen first */
    assert_int_equal(walk(f), 0);
    collect(f, 0);
    assert_there(f, &ruined, false);
    assert_ok(lab_place_read_all(f, &err), &err);
    open_with_a_new_index(f);
    assert_ok(lab_place_read_all(f, &err), &err);
    lab_place_delete(f, LAB_VMS, 0, 0);
    collect(f, 0);
    collect(f, 0);
    assert_int_equal(lab_place_stored_bytes(f), 0);
}

/* What was wrong has passed: whoever opens the store next has all of it, and nothing was thrown away. */
static void
a_pack_that_can_be_read_again_is_taken_by_the_next_start(void **state)
{
    (void)state;
    for (unsigned healed = 0; healed < 2; healed++) {
        struct lab_place *f = lab_place_new(false);
        struct lab_packs ruined;

        back_up_twice(f, &ruined);
        ruin(f, &ruined);
        open_with_a_new_index(f);
        assert_true(walk(f) > 0);
        if (healed) {
            heal(f);
            assert_int_equal(walk(f), 0);
        }
        ruin(f, &ruined); /* the same once more */
        collect(f, 0);
        assert_there(f, &ruined, true);
        lab_place_reopen(f);
        assert_int_equal(walk(f), 0);
        assert_ok(lab_place_read_all(f, &err), &err);
        collect(f, 101);
        assert_ok(lab_place_read_all(f, &err), &err);
        lab_place_free(f);
    }
}

static struct pack_id
leave_file(struct lab_place *f, uint8_t number, const void *bytes, size_t len)
{
    struct pack_id id = {{0x77, number}};
    char path[LAB_PACK_PATH_SIZE];

    lab_pack_path(&id, path);
    path[strlen(path) - 2 * PACK_ID_SIZE - 1] = '\0';
    assert_true(fs_mkdir(mem_fs(f->mem), path, &err) == VARVE_OK || err.code == VARVE_ERR_EXISTS);
    lab_pack_path(&id, path);
    assert_ok(fs_write_durable(mem_fs(f->mem), path, bytes, len, true, &err), &err);
    return id;
}

/* As a file system leaves files that it could not repair. */
static void
files_that_are_no_packs_go_too(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 200, 5000};
    struct lab_place *f = *state;
    static const uint8_t zeros[5000];
    struct lab_packs before;
    struct pack_id ids[6];

    back_up_twice(f, &before);
    lab_close(&f->l);
    for (uint8_t i = 0; i < 6; i++) {
        ids[i] = leave_file(f, i, zeros, sizes[i]);
    }
    lab_place_open(f);
    assert_int_equal(walk(f), 0);
    collect(f, 0);
    for (size_t i = 0; i < 6; i++) {
        assert_false(is_there(f, &ids[i]));
    }
    assert_ok(lab_place_read_all(f, &err), &err);
}

/* ---- what is not ours to throw away ---- */

static void
packs_of_another_store_stay(void **state)
{
    struct lab_place *f = *state;
    struct lab_place *other = lab_place_new(true);
    struct lab_packs before;
    struct lab_packs theirs;
    struct pack_id ids[2];
    char path[LAB_PACK_PATH_SIZE];
    uint8_t *bytes = NULL;
    size_t len = 0;

    back_up_twice(other, &theirs);
    back_up_twice(f, &before);
    lab_close(&f->l);
    lab_pack_path(&theirs.id[0], path);
    assert_ok(fs_read_all(mem_fs(other->mem), path, 64u << 20, &bytes, &len, &err), &err);
    ids[0] = leave_file(f, 1, bytes, len);
    memset(bytes + len - PACK_TAIL_SIZE, 0, PACK_TAIL_SIZE);
    memset(bytes, 0, PACK_HEADER_SIZE);
    ids[1] = leave_file(f, 2, bytes, len);
    for (unsigned i = 0; i < 2; i++) {
        lab_place_open(f);
        assert_int_equal(walk(f), 0);
        collect(f, 101);
        assert_true(is_there(f, &ids[0]));
        assert_true(is_there(f, &ids[1]));
        lab_close(&f->l);
        lab_place_remove_index(f, true);
    }
    lab_place_open(f);
    free(bytes);
    lab_place_free(other);
}

static const struct guid domain_id = {{7, 7}};

/* The object of a domain is missing, and its packs have lost their footers, their headers too or not. */
static void
hide_a_key(bool new_index, bool header_too)
{
    static const char object[] = "/data/store/cfg/domain/07070000-0000-0000-0000-000000000000";
    const struct gc_options options = {.now_us = LAB_NOW, .move_percent = 101};
    struct lab_place *f = lab_place_new(false);
    struct lab_packs first;
    struct lab_packs theirs;
    struct gc_result r;

    assert_ok(lab_backup(&f->l, 0, 1, &err), &err);
    collect(f, 0);
    first = lab_data_packs(f);
    assert_ok(chunk_store_make_domain(f->l.cs, &domain_id, "tenant", &f->l.domains[1], &err), &err);
    assert_ok(lab_backup(&f->l, 1, 1, &err), &err);
    collect(f, 0);
    theirs = lab_packs_fresh(f, &first);
    assert_true(theirs.count > 0);
    for (size_t i = 0; i < theirs.count; i++) {
        lab_pack_flip(f, &theirs.id[i], 16, header_too ? 32 : 0);
        lab_pack_flip(f, &theirs.id[i], theirs.size[i] - PACK_TAIL_SIZE, 8);
    }
    lab_close(&f->l);
    if (new_index) {
        lab_place_remove_index(f, true);
    }
    assert_ok(fs_rename_new(mem_fs(f->mem), object, "/data/away", &err), &err);
    lab_place_open(f);
    (void)lab_packs_scrub(f, &theirs);
    assert_int_equal(walk(f), 0);
    for (unsigned i = 0; i < 2; i++) { /* with a new index nobody knows what their points need */
        assert_ok(gc_collect(f->l.gc, &options, &r, &err), &err);
        assert_int_equal(r.blocked.code, new_index ? VARVE_ERR_CORRUPT : VARVE_OK);
    }
    assert_there(f, &theirs, true);
    assert_true(new_index || lab_packs_hold(&theirs, &lab_packs_fresh(f, &first).id[0]));
    lab_close(&f->l);
    assert_ok(fs_rename_new(mem_fs(f->mem), "/data/away", object, &err), &err);
    lab_place_open(f);
    assert_ok(lab_place_read_all(f, &err), &err);
    lab_place_free(f);
}

static void
what_a_missing_key_hides_stays(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        hide_a_key((how & 1) != 0, (how & 2) != 0);
    }
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(packs_without_footers_are_emptied_into_whole_ones),
        TEST(what_is_lost_in_a_pack_without_a_footer_is_named_and_goes_when_it_is_healed),
        TEST(what_only_deleted_points_miss_stays_until_they_cannot_come_back),
        TEST(packs_of_which_nothing_is_left_go_when_no_point_misses_anything),
        cmocka_unit_test(a_pack_that_can_be_read_again_is_taken_by_the_next_start),
        TEST(files_that_are_no_packs_go_too),
        TEST(packs_of_another_store_stay),
        cmocka_unit_test(what_a_missing_key_hides_stays),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
