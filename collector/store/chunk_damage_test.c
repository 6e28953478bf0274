/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/aead.h"
#include "index/index.h"
#include "store/chunk_collect.h"
#include "store/pack.h"
#include "store/store_config.h"

/* What becomes of bytes that turn wrong on the disk. */
#define CHUNK 4096u

static int
setup(void **state)
{
    *state = chunk_lab_begin(CHUNK);
    return 0;
}

static int
teardown(void **state)
{
    chunk_lab_end(*state);
    return 0;
}

static void
put(struct chunk_lab *f, unsigned first, unsigned count)
{
    uint8_t buf[CHUNK];
    struct chunk_id id;
    struct varve_error err;

    for (unsigned i = 0; i < count; i++) {
        test_chunk(first + i, buf, CHUNK, &id);
        assert_ok(
            chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, CHUNK, CHUNK, &err),
            &err);
    }
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
}

static bool
has(struct chunk_lab *f, unsigned n)
{
    uint8_t buf[CHUNK];
    struct chunk_id id;
    struct varve_error err;
    uint8_t have = 0;

    test_chunk(n, buf, CHUNK, &id);
    assert_ok(chunk_store_has(chunk_store_default(f->cs), &id, 1, &have, &err), &err);
    return have != 0;
}

/* Asks for count names at once, as an agent does that sends a disk again. */
static unsigned
has_of(struct chunk_lab *f, unsigned first, unsigned count)
{
    struct chunk_id *ids = calloc(count, sizeof(*ids));
    uint8_t *have = calloc(count, 1);
    uint8_t buf[CHUNK];
    struct varve_error err;
    unsigned yes = 0;

    for (unsigned i = 0; i < count; i++) {
        test_chunk(first + i, buf, CHUNK, &ids[i]);
    }
    assert_ok(chunk_store_has(chunk_store_default(f->cs), ids, count, have, &err), &err);
    for (unsigned i = 0; i < count; i++) {
        yes += have[i];
    }
    free(have);
    free(ids);
    return yes;
}

/* The bytes, or an error; never other bytes. */
static enum varve_err
get(struct chunk_lab *f, unsigned n, struct varve_error *err)
{
    uint8_t want[CHUNK];
    uint8_t got[CHUNK];
    struct chunk_id id;
    size_t len = 0;
    enum varve_err rc;

    test_chunk(n, want, CHUNK, &id);
    rc = chunk_store_get(chunk_store_default(f->cs), &id, got, sizeof(got), &len, err);
    if (rc == VARVE_OK) {
        assert_int_equal(len, CHUNK);
        assert_memory_equal(want, got, CHUNK);
    }
    return rc;
}

struct packs {
    struct pack_id id[16];
    uint64_t size[16];
    size_t count;
};

static bool
note_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct packs *p = arg;

    assert_true(p->count < 16);
    p->id[p->count] = *id;
    p->size[p->count++] = size;
    return true;
}

static void
flip(struct chunk_lab *f, const struct pack_id *id, uint64_t bit)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct varve_error err;
    struct file *file = NULL;
    char *path = NULL;
    uint8_t b = 0;

    pack_object_name(id, name);
    path = test_path(f->store_path, name);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(file, &b, 1, bit / 8, &err), &err);
    b ^= (uint8_t)(1u << (bit % 8));
    assert_ok(file_write(file, &b, 1, bit / 8, &err), &err);
    file_close(file);
    free(path);
}

static uint64_t
count_damaged(struct chunk_lab *f)
{
    struct varve_error err;
    uint64_t n = 0;

    assert_ok(chunk_store_count_damaged(f->cs, &n, &err), &err);
    return n;
}

static void
remove_index(struct chunk_lab *f, bool list_too)
{
    static const char *const names[] = {"index.mdb", "index.mdb-lock", "state", "quarantine"};
    struct varve_error err;

    for (size_t i = 0; i < (list_too ? 4u : 3u); i++) {
        char *path = test_path(f->index_path, names[i]);

        assert_ok(fs_remove(fs_system(), path, &err), &err);
        free(path);
    }
}

static void
what_a_check_finds_is_set_aside_over_restarts_and_a_new_index_until_it_comes_again(void **state)
{
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct chunk_check check;
    struct varve_error err;

    put(f, 0, 10);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    assert_int_equal(packs.count, 1);
    assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
    assert_int_equal(check.records, 10);
    assert_int_equal(check.problems, 0);
    assert_int_equal(check.bytes, 10 * CHUNK);

    flip(f, &packs.id[0], 8 * (PACK_HEADER_SIZE + PACK_RECORD_HEADER + 99)); /* in chunk 0 */
    assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
    assert_int_equal(check.damaged, 1);
    assert_false(has(f, 0));
    assert_true(has(f, 1));
    assert_int_equal(count_damaged(f), 1);

    chunk_lab_close(f);
    chunk_lab_open(f);
    assert_false(has(f, 0));
    assert_int_equal(count_damaged(f), 1);

    chunk_lab_close(f);
    remove_index(f, false);
    chunk_lab_open(f);
    assert_false(has(f, 0));
    assert_err(get(f, 0, &err), VARVE_ERR_CORRUPT, &err);

    put(f, 0, 1);
    assert_true(has(f, 0));
    assert_ok(get(f, 0, &err), &err);
    assert_int_equal(count_damaged(f), 0);
    chunk_lab_close(f);
    chunk_lab_open(f);
    assert_ok(get(f, 0, &err), &err);
    assert_int_equal(count_damaged(f), 0);
}

static void
without_its_list_of_damage_the_next_check_finds_it_again(void **state)
{
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct chunk_check check;
    struct varve_error err;

    put(f, 0, 3);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    flip(f, &packs.id[0], 8 * (PACK_HEADER_SIZE + PACK_RECORD_HEADER + 5));
    assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
    chunk_lab_close(f);
    remove_index(f, true);
    chunk_lab_open(f);
    assert_true(has(f, 0)); /* not known yet */
    assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
    assert_false(has(f, 0));
}

/* So many that they are gathered first: index_build_begin(). */
static void
a_lost_index_of_many_packs_is_built_anew_with_its_damage(void **state)
{
    struct chunk_lab *f = *state;
    struct chunk_store_stats before;
    struct chunk_store_stats after;
    struct varve_error err;
    struct packs one = {.count = 0};

    put(f, 0, 3);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &one, &err), &err);
    for (unsigned n = 1; n < 20; n++) {
        put(f, 3 * n, 3);
    }
    flip(f, &one.id[0], 8 * (PACK_HEADER_SIZE + PACK_RECORD_HEADER + 99)); /* in chunk 0 */
    assert_err(get(f, 0, &err), VARVE_ERR_CORRUPT, &err);
    assert_ok(chunk_store_get_stats(f->cs, &before, &err), &err);
    chunk_lab_close(f);
    remove_index(f, false);
    chunk_lab_open(f);
    assert_ok(chunk_store_get_stats(f->cs, &after, &err), &err);
    assert_int_equal(after.packs, 20);
    assert_int_equal(after.chunks, before.chunks);
    assert_int_equal(after.stored_bytes, before.stored_bytes);
    assert_int_equal(after.raw_bytes, before.raw_bytes);
    assert_int_equal(has_of(f, 0, 70), 59);
    for (unsigned n = 1; n < 60; n++) {
        assert_ok(get(f, n, &err), &err);
    }
}

/* The second backup of a disk is answered from the footers of packs: index/index_locality.h. */
static void
damage_counts_where_the_names_of_a_pack_are_kept_in_memory(void **state)
{
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct index_stats stats;
    struct varve_error err;
    uint32_t record = PACK_RECORD_HEADER + CHUNK + AEAD_TAG_SIZE;

    put(f, 0, 500);
    put(f, 500, 500);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    assert_int_equal(has_of(f, 0, 1100), 1000);
    index_get_stats(chunk_store_index(f->cs), &stats);
    assert_int_equal(stats.packs_loaded, 2);
    assert_true(stats.asked_table < 40);

    flip(f, &packs.id[0], 8 * (PACK_HEADER_SIZE + 7 * record + PACK_RECORD_HEADER + 99));
    assert_int_equal(has_of(f, 0, 1000), 1000); /* nobody knows */
    for (unsigned n = 0; n < 2; n++) {          /* the pack with a lower id comes first */
        (void)get(f, 7, &err);
        (void)get(f, 507, &err);
        assert_int_equal(has_of(f, 0, 1000), 999);
        chunk_lab_close(f);
        chunk_lab_open(f);
    }
    put(f, 7, 1);
    put(f, 507, 1);
    assert_int_equal(has_of(f, 0, 1000), 1000);
    assert_int_equal(count_damaged(f), 0);

    flip(f, &packs.id[1], 8 * (packs.size[1] - PACK_TAIL_SIZE - 20)); /* its footer */
    chunk_lab_close(f);
    chunk_lab_open(f);
    assert_int_equal(has_of(f, 0, 1000), 1000); /* name by name */
    assert_int_equal(count_damaged(f), 0);
}

/* The packs of both places of a name are damaged, which is known, and one of them is put back from a copy. */
static void
of_two_places_that_are_flagged_the_one_that_is_whole_again_is_read(void **state)
{
    const uint64_t bit = 8 * (PACK_HEADER_SIZE + PACK_RECORD_HEADER + 99);
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct varve_error err;

    put(f, 0, 1);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    flip(f, &packs.id[0], bit);
    assert_err(get(f, 0, &err), VARVE_ERR_CORRUPT, &err);
    put(f, 0, 1);
    flip(f, &packs.id[0], bit);
    chunk_lab_close(f);
    remove_index(f, true);
    chunk_lab_open(f);
    packs.count = 0;
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    assert_int_equal(packs.count, 2);
    flip(f, &packs.id[0], bit);
    flip(f, &packs.id[1], bit);
    for (unsigned again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 2; i++) {
            assert_err(get(f, 0, &err), VARVE_ERR_CORRUPT, &err);
            assert_int_equal(count_damaged(f), 1);
            flip(f, &packs.id[i], bit);
            assert_ok(get(f, 0, &err), &err);
            assert_int_equal(count_damaged(f), 1); /* of one copy, until the next backup */
            assert_false(has(f, 0));
            flip(f, &packs.id[i], bit);
        }
        chunk_lab_close(f);
        chunk_lab_open(f);
    }
    put(f, 0, 1);
    assert_ok(get(f, 0, &err), &err);
    assert_int_equal(count_damaged(f), 0);
}

/* Every seventh bit of a pack of three records: found, nothing wrong handed out, the others read. */
static void
any_flipped_bit_of_a_pack_is_found_and_takes_one_record_at_most(void **state)
{
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct varve_error err;
    unsigned flips = 0;

    put(f, 0, 3);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    for (uint64_t bit = 0; bit < packs.size[0] * 8; bit += 151, flips++) {
        struct chunk_check check;
        unsigned lost = 0;

        flip(f, &packs.id[0], bit);
        assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
        assert_in_range(check.problems, 1, 2);
        for (unsigned n = 0; n < 3; n++) {
            lost += get(f, n, &err) == VARVE_OK ? 0 : 1;
        }
        assert_int_equal(lost, check.damaged);
        assert_in_range(lost, 0, 1);
        flip(f, &packs.id[0], bit);
        chunk_lab_close(f);
        remove_index(f, lost > 0);
        chunk_lab_open(f);
    }
    print_message("%u bits flipped\n", flips);
    for (unsigned n = 0; n < 3; n++) {
        assert_ok(get(f, n, &err), &err);
    }
}

static void
a_torn_list_of_damage_keeps_its_whole_lines(void **state)
{
    struct chunk_lab *f = *state;
    struct packs packs = {.count = 0};
    struct chunk_check check;
    struct varve_error err;
    struct file *file = NULL;
    struct file_stat st;
    char *path = test_path(f->index_path, "quarantine");

    put(f, 0, 4);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, &packs, &err), &err);
    flip(f, &packs.id[0], 8 * (PACK_HEADER_SIZE + PACK_RECORD_HEADER + 5));
    assert_ok(chunk_store_check_pack(f->cs, &packs.id[0], packs.size[0], &check, &err), &err);
    chunk_lab_close(f);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_fstat(file, &st, &err), &err);
    assert_ok(file_write(file, "0123456789", 10, st.size, &err), &err);
    file_close(file);
    remove_index(f, false);
    chunk_lab_open(f);
    assert_false(has(f, 0));
    assert_int_equal(count_damaged(f), 1);
    assert_ok(fs_stat(fs_system(), path, &st, &err), &err);
    assert_int_equal(st.size, 107); /* one line */
    free(path);
}

/* Bits of a name and of its place in the index file, while it is in use: right bytes come out, nothing sound is set aside, and the
 * next open has an index that is right. */
static void
a_name_or_a_place_in_the_index_that_rots_costs_time_and_nothing_else(void **state)
{
    struct chunk_lab *f = *state;
    struct varve_error err;
    char *path = test_path(f->index_path, "index.mdb");
    char *doubt = test_path(f->index_path, "doubt");
    unsigned doubted = 0;
    unsigned flips = 0;

    put(f, 0, 2);
    put(f, 2, 2); /* a second pack */
    for (unsigned bit = 0; bit < 384; bit += bit < 256 ? 32 : 3) {
        uint8_t raw[CHUNK];
        struct record_name name;
        struct chunk_id id;
        struct file *file = NULL;
        struct file_stat st;
        uint8_t *bytes = NULL;
        size_t len = 0;
        struct store_params params;
        struct store_secret *secret = NULL;
        struct store_keys *keys = NULL;

        test_chunk(1, raw, CHUNK, &id);
        chunk_lab_close(f);
        assert_ok(store_dir_open_read(&f->store, fs_system(), f->store_path, &err), &err);
        assert_ok(store_params_load(&params, f->store, &err), &err);
        assert_ok(store_secret_load(&secret, fs_system(), STORE_SECRET_KEY_FILE, f->key_path, &err),
                  &err);
        assert_ok(store_params_unlock(&params, secret, &keys, NULL, &err), &err);
        store_keys_name(keys, &id, &name);
        store_keys_free(keys);
        store_secret_free(secret);
        store_params_release(&params);
        store_close(f->store);

        chunk_lab_open(
            f); /* which looks at all of the index; what rots now is met by who reads it */
        assert_ok(fs_read_all(fs_system(), path, 64u << 20, &bytes, &len, &err), &err);
        assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
        for (size_t at = 0; at + 48 <= len; at++) { /* old pages have it too */
            if (memcmp(bytes + at, name.bytes, sizeof(name.bytes)) == 0) {
                uint8_t b = bytes[at + bit / 8] ^ (uint8_t)(1u << (bit % 8));

                assert_ok(file_write(file, &b, 1, at + bit / 8, &err), &err);
                flips++;
            }
        }
        file_close(file);
        free(bytes);
        for (unsigned n = 0; n < 4; n++) {
            assert_ok(get(f, n, &err), &err);
        }
        assert_int_equal(count_damaged(f), 0);
        doubted += fs_stat(fs_system(), doubt, &st, &err) == VARVE_OK ? 1 : 0;
        chunk_lab_close(f);
        chunk_lab_open(f);
        assert_err(fs_stat(fs_system(), doubt, &st, &err), VARVE_ERR_NOT_FOUND, &err);
        for (unsigned n = 0; n < 4; n++) {
            assert_ok(get(f, n, &err), &err);
        }
    }
    print_message("%u bits flipped, %u times the index was doubted\n", flips, doubted);
    assert_true(doubted > 10);
    free(doubt);
    free(path);
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_a_check_finds_is_set_aside_over_restarts_and_a_new_index_until_it_comes_again),
        TEST(without_its_list_of_damage_the_next_check_finds_it_again),
        TEST(a_lost_index_of_many_packs_is_built_anew_with_its_damage),
        TEST(damage_counts_where_the_names_of_a_pack_are_kept_in_memory),
        TEST(of_two_places_that_are_flagged_the_one_that_is_whole_again_is_read),
        TEST(any_flipped_bit_of_a_pack_is_found_and_takes_one_record_at_most),
        TEST(a_torn_list_of_damage_keeps_its_whole_lines),
        TEST(a_name_or_a_place_in_the_index_that_rots_costs_time_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
