/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "crypto/identity.h"
#include "ingest/ingest_testing.h"
#include "jobs/patrol.h"
#include "os/thread.h"
#include "store/pack.h"
#include "store/store_testing.h"

/* The store is looked over, what is damaged is named, and the next backup heals it. */

struct pack_pick {
    enum chunk_kind kind;
    struct store *store;
    char name[STORE_NAME_MAX + 1];
    uint64_t size;
};

static bool
pick(void *arg, const char *name, uint64_t size)
{
    struct pack_pick *p = arg;
    uint8_t head[PACK_HEADER_SIZE];
    struct pack_header h;

    assert_ok(store_get(p->store, name, 0, head, sizeof(head), &err), &err);
    assert_ok(pack_header_decode(&h, head, &err), &err);
    if (h.kind == p->kind) {
        (void)snprintf(p->name, sizeof(p->name), "%s", name);
        p->size = size;
    }
    return true;
}

static bool
pick_any(void *arg, const char *name, uint64_t size)
{
    struct pack_pick *p = arg;

    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    p->size = size;
    return false;
}

static struct pack_pick
last_pack(struct fixture *f, enum chunk_kind kind)
{
    struct pack_pick p = {.kind = kind, .store = f->mem};

    assert_ok(store_list(f->mem, "pack/", pick, &p, &err), &err);
    assert_true(p.size > 0);
    return p;
}

static void
flip(struct fixture *f, const struct pack_pick *p, uint64_t at)
{
    uint8_t *bytes = malloc(p->size + 1);
    const struct store_part part = {.data = bytes, .len = p->size};

    assert_ok(store_get(f->mem, p->name, 0, bytes, p->size, &err), &err);
    bytes[at] ^= 4;
    assert_ok(store_remove(f->mem, p->name, &err), &err);
    assert_ok(store_put(f->mem, p->name, &part, 1, &err), &err);
    free(bytes);
}

static struct patrol_state
pass(struct fixture *f)
{
    struct patrol_state s;

    assert_ok(patrol_pass(f->cs, f->catalog, f->ing, &s, &err), &err);
    return s;
}

/* The next run is not allowed to build upon what is damaged, and reads everything; then all is well, the older
 * point too. */
static void
assert_heals(struct fixture *f, struct point *old, const struct image *im, uint8_t n)
{
    struct ingest_run *run = start_run(f, n);
    const struct ingest_disk_params incremental = params(0, im, true);
    struct ingest_position position;
    struct patrol_state s;
    struct point *p;

    assert_err(ingest_disk_begin(run, &incremental, &position, &err), VARVE_ERR_PROTOCOL, &err);
    ingest_run_fail(run, &err, true);
    ingest_run_unref(run);
    assert_int_equal(ingest_count_full(f->ing), 1);
    p = back_up(f, (uint8_t)(n + 1), im);
    assert_int_equal(ingest_count_full(f->ing), 0);
    assert_point_holds(f, p, 0, im);
    assert_point_holds(f, old, 0, im);
    s = pass(f);
    assert_int_equal(s.damaged, 0);
    assert_int_equal(s.points_hit, 0);
    assert_int_equal(s.disks_waiting, 0);
    point_unref(p);
}

static void
a_whole_store_has_nothing_to_tell(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 11, 1);
    struct point *p = back_up(f, 1, &im);
    struct patrol_state s = pass(f);

    assert_int_equal(s.problems, 0);
    assert_int_equal(s.damaged, 0);
    assert_int_equal(s.points_hit, 0);
    assert_true(s.bytes_total > 0);
    assert_int_equal(s.bytes_done, s.bytes_total);
    assert_true(s.last_finished_us > 0);
    point_unref(p);
    free(im.data);
}

static void
a_damaged_chunk_in_an_unchanged_part_of_the_disk_is_named_and_healed_by_the_next_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 11, 2);
    struct point *p = back_up(f, 1, &im);
    struct pack_pick pack = last_pack(f, CHUNK_DATA);
    struct patrol_state s;

    flip(f, &pack, pack.size / 2);
    s = pass(f);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.points_hit, 1);
    assert_int_equal(s.disks_waiting, 1);
    assert_non_null(strstr(s.first_hit, "65536 bytes at "));
    assert_heals(f, p, &im, 2);
    point_unref(p);
    free(im.data);
}

static void
a_damaged_manifest_node_is_healed_by_the_next_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(300 * CHUNK, 3);
    struct point *p = back_up(f, 1, &im);
    struct pack_pick pack = last_pack(f, CHUNK_NODE);
    struct patrol_state s;

    flip(f, &pack, PACK_HEADER_SIZE + PACK_RECORD_HEADER + 20);
    s = pass(f);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.points_hit, 1);
    assert_heals(f, p, &im, 2);
    point_unref(p);
    free(im.data);
}

static void
a_pack_that_is_gone_is_missed_and_healed_by_the_next_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK, 4);
    struct point *p = back_up(f, 1, &im);
    struct pack_pick pack = last_pack(f, CHUNK_DATA);
    struct patrol_state s;

    assert_ok(store_remove(f->mem, pack.name, &err), &err);
    close_all(f);
    open_all(f);
    s = pass(f);
    assert_int_equal(s.points_hit, 1);
    assert_int_equal(s.disks_waiting, 1);
    assert_heals(f, p, &im, 2);
    point_unref(p);
    free(im.data);
}

static void
flip_first(struct fixture *f, const char *prefix)
{
    struct pack_pick p = {.store = f->mem};

    assert_ok(store_list(f->mem, prefix, pick_any, &p, &err), &err);
    assert_true(p.size > 0);
    flip(f, &p, 40);
}

static void
a_point_or_a_setting_of_which_one_copy_is_damaged_is_named(void **state)
{
    static const char *const prefixes[] = {"point/", "cfg/"};
    struct fixture *f = *state;
    struct image im = image_new(4 * CHUNK, 8);
    struct point *p = back_up(f, 1, &im);
    struct patrol_state s;

    for (size_t i = 0; i < 2; i++) {
        flip_first(f, prefixes[i]);
        s = pass(f);
        assert_int_equal(s.problems, 1);
        assert_int_equal(s.damaged, 1);
        assert_int_equal(s.points_hit, 0);
        assert_non_null(strstr(s.first_hit, prefixes[i]));
        flip_first(f, prefixes[i]); /* back */
        s = pass(f);
        assert_int_equal(s.problems, 0);
        assert_int_equal(s.damaged, 0);
        assert_string_equal(s.first_hit, "");
    }
    point_unref(p);
    free(im.data);
}

struct byte_pick {
    struct pack_pick pack;
    uint64_t at; /* counted over all packs */
    uint64_t sum;
    uint64_t offset;
};

static bool
pick_byte(void *arg, const char *name, uint64_t size)
{
    struct byte_pick *b = arg;

    if (b->at >= b->sum && b->at < b->sum + size) {
        (void)snprintf(b->pack.name, sizeof(b->pack.name), "%s", name);
        b->pack.size = size;
        b->offset = b->at - b->sum;
    }
    b->sum += size;
    return true;
}

/* Sampled over every byte of every pack.  What hits a point is asked for by the next run, though its name is in the
 * index, and heals it; what does not is found all the same. */
static void
a_flipped_bit_anywhere_in_a_pack_is_found_and_healed_by_a_real_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 11, 9);
    struct point *p = back_up(f, 1, &im);
    struct test_random r = {.state = 3};
    unsigned healed = 0;

    for (uint8_t i = 0; i < 60; i++) {
        struct byte_pick b = {.at = UINT64_MAX};
        struct patrol_state s;

        assert_ok(store_list(f->mem, "pack/", pick_byte, &b, &err), &err);
        b = (struct byte_pick){.at = test_random_below(&r, b.sum)};
        assert_ok(store_list(f->mem, "pack/", pick_byte, &b, &err), &err);
        flip(f, &b.pack, b.offset);
        s = pass(f);
        assert_true(s.problems > 0);
        if (s.points_hit > 0) {
            assert_heals(f, p, &im, (uint8_t)(2 + 2 * i));
            healed++;
        }
        flip(f, &b.pack, b.offset); /* what was flipped has another copy now, or was a frame */
        s = pass(f);
        assert_int_equal(s.problems, 0);
        assert_point_holds(f, p, 0, &im);
    }
    print_message("60 bits flipped, %u healed by a run\n", healed);
    assert_true(healed > 2);
    point_unref(p);
    free(im.data);
}

#define BACKUPS 6u

struct every {
    struct fixture *f;
    struct pack_pick packs[64];
    size_t count;
};

static bool
note_chunk_pack(void *arg, const char *name, uint64_t size)
{
    struct every *e = arg;
    struct pack_pick p = {.kind = CHUNK_DATA, .store = e->f->mem};

    assert_true(pick(&p, name, size));
    if (p.size > 0) {
        assert_true(e->count < sizeof(e->packs) / sizeof(e->packs[0]));
        e->packs[e->count++] = p;
    }
    return true;
}

static void
damage_in_many_packs_is_found_by_one_pass(void **state)
{
    struct fixture *f = *state;
    struct every e = {.f = f};
    struct patrol_state s;

    for (uint8_t i = 1; i <= BACKUPS; i++) { /* each has packs of its own */
        struct image im = image_new(12 * CHUNK, 60u + i);

        point_unref(back_up(f, i, &im));
        free(im.data);
    }
    assert_ok(store_list(f->mem, "pack/", note_chunk_pack, &e, &err), &err);
    assert_true(e.count >= BACKUPS);
    for (size_t i = 0; i < e.count; i++) {
        flip(f, &e.packs[i], e.packs[i].size / 2);
    }
    s = pass(f);
    assert_int_equal(s.damaged, e.count);
    assert_int_equal(s.points_hit, BACKUPS);
    assert_int_equal(s.bytes_done, s.bytes_total);
    s = pass(f);
    assert_int_equal(s.damaged, e.count);
}

static void
a_patrol_goes_on_by_itself_and_ends_when_it_is_told(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK, 5);
    struct point *p = back_up(f, 1, &im);
    char *path = test_path(f->folder, "patrol");
    const struct patrol_options options = {
        .fs = fs_system(), .path = path, .age_ms = 24 * 3600 * 1000};
    struct patrol_state s = {.last_finished_us = 0};
    struct patrol *patrol = NULL;
    struct file_stat st;

    assert_ok(patrol_new(&patrol, f->cs, f->catalog, f->ing, &options, &err), &err);
    for (int i = 0; i < 600 && s.last_finished_us == 0; i++) {
        thread_sleep_ms(100);
        patrol_state(patrol, &s);
    }
    assert_true(s.last_finished_us > 0);
    patrol_free(patrol);
    assert_ok(fs_stat(fs_system(), path, &st, &err), &err);
    patrol = NULL;
    assert_ok(patrol_new(&patrol, f->cs, f->catalog, f->ing, &options, &err), &err);
    patrol_state(patrol, &s);
    assert_true(s.last_finished_us > 0); /* known from before */
    patrol_free(patrol);
    free(path);
    point_unref(p);
    free(im.data);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_store_has_nothing_to_tell),
        TEST(a_damaged_chunk_in_an_unchanged_part_of_the_disk_is_named_and_healed_by_the_next_run),
        TEST(a_damaged_manifest_node_is_healed_by_the_next_run),
        TEST(a_pack_that_is_gone_is_missed_and_healed_by_the_next_run),
        TEST(a_point_or_a_setting_of_which_one_copy_is_damaged_is_named),
        TEST(a_flipped_bit_anywhere_in_a_pack_is_found_and_healed_by_a_real_run),
        TEST(damage_in_many_packs_is_found_by_one_pass),
        TEST(a_patrol_goes_on_by_itself_and_ends_when_it_is_told),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
