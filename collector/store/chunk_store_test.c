/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/pack.h"
#include "store/store_fault.h"

#define CHUNK 65536u

static int
setup(void **state)
{
    *state = chunk_lab_begin(0);
    return 0;
}

static int
teardown(void **state)
{
    chunk_lab_end(*state);
    return 0;
}

/* Chunk number n of a seed: every third one packs well. */
static size_t
make_chunk(uint64_t n, uint8_t buf[CHUNK])
{
    struct test_random r = {.state = n * 7919};

    test_random_fill(&r, buf, CHUNK);
    if (n % 3 == 0) {
        for (size_t i = 64; i < CHUNK; i++) {
            buf[i] = buf[i % 64];
        }
    }
    return n % 10 == 9 ? 1000 + (size_t)n % 5000 : CHUNK;
}

static enum varve_err
put_chunk(struct chunk_store *cs, uint64_t n, struct chunk_id *id, struct varve_error *err)
{
    uint8_t *raw = malloc(CHUNK);
    uint8_t *packed = malloc(2 * CHUNK);
    size_t len = make_chunk(n, raw);
    size_t packed_len = codec_lz4_pack(raw, len, packed, 2 * CHUNK);
    enum varve_err rc;

    chunk_id_of(id, raw, len);
    rc =
        packed_len > 0
            ? chunk_store_put(chunk_store_default(cs), CHUNK_DATA, id, packed, packed_len, len, err)
            : chunk_store_put(chunk_store_default(cs), CHUNK_DATA, id, raw, len, len, err);
    free(packed);
    free(raw);
    return rc;
}

static void
chunk_name(uint64_t n, struct chunk_id *id)
{
    uint8_t *raw = malloc(CHUNK);

    chunk_id_of(id, raw, make_chunk(n, raw));
    free(raw);
}

static enum varve_err
get_chunk(struct chunk_store *cs, uint64_t n, struct varve_error *err)
{
    uint8_t *want = malloc(CHUNK);
    uint8_t *got = malloc(CHUNK);
    size_t want_len = make_chunk(n, want);
    struct chunk_id id;
    size_t len = 0;
    enum varve_err rc;

    chunk_id_of(&id, want, want_len);
    rc = chunk_store_get(chunk_store_default(cs), &id, got, CHUNK, &len, err);
    if (rc == VARVE_OK && (len != want_len || memcmp(want, got, len) != 0)) {
        abort();
    }
    free(got);
    free(want);
    return rc;
}

static uint8_t
has_chunk(struct chunk_store *cs, uint64_t n)
{
    struct varve_error err;
    struct chunk_id id;
    uint8_t have = 7;

    chunk_name(n, &id);
    assert_ok(chunk_store_has(chunk_store_default(cs), &id, 1, &have, &err), &err);
    return have;
}

static void
put_chunks(struct chunk_store *cs, uint64_t first, uint64_t count)
{
    struct varve_error err;
    struct chunk_id id;

    for (uint64_t n = first; n < first + count; n++) {
        assert_ok(put_chunk(cs, n, &id, &err), &err);
    }
}

static void
get_chunks(struct chunk_store *cs, uint64_t first, uint64_t count)
{
    struct varve_error err;

    for (uint64_t n = first; n < first + count; n++) {
        assert_ok(get_chunk(cs, n, &err), &err);
    }
}

static void
a_chunk_reads_back_while_pending_and_when_durable(void **state)
{
    struct chunk_lab *f = *state;
    struct varve_error err;

    assert_int_equal(has_chunk(f->cs, 1), 0);
    put_chunks(f->cs, 0, 40);
    assert_int_equal(has_chunk(f->cs, 1), 1);
    get_chunks(f->cs, 0, 40);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_int_equal(has_chunk(f->cs, 1), 1);
    assert_int_equal(has_chunk(f->cs, 41), 0);
    get_chunks(f->cs, 0, 40);
    assert_err(get_chunk(f->cs, 41, &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
everything_before_a_barrier_is_there_after_reopening(void **state)
{
    struct chunk_lab *f = *state;
    struct chunk_store_stats before;
    struct chunk_store_stats after;
    struct varve_error err;

    put_chunks(f->cs, 0, 700); /* more than one pack */
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &before, &err), &err);
    assert_int_equal(before.chunks, 700);
    assert_true(before.packs >= 2);
    chunk_lab_close(f);
    chunk_lab_open(f);
    assert_ok(chunk_store_get_stats(f->cs, &after, &err), &err);
    assert_int_equal(after.chunks, 700);
    assert_int_equal(after.packs, before.packs);
    assert_int_equal(after.stored_bytes, before.stored_bytes);
    assert_int_equal(after.raw_bytes, before.raw_bytes);
    get_chunks(f->cs, 0, 700);
}

static void
a_lost_index_is_rebuilt_from_the_packs(void **state)
{
    struct chunk_lab *f = *state;

    put_chunks(f->cs, 0, 300);
    chunk_lab_close(f);
    chunk_lab_lose_index(f);
    chunk_lab_open(f);
    get_chunks(f->cs, 0, 300);
}

static bool
note_pack(void *arg, const char *name, uint64_t size)
{
    (void)size;
    memcpy(arg, name, strlen(name) + 1);
    return true;
}

/* Name of the pack that lists last. */
static void
last_pack(struct chunk_lab *f, char out[STORE_NAME_MAX + 1])
{
    struct varve_error err;

    out[0] = '\0';
    assert_ok(store_list(f->dir, "pack/", note_pack, out, &err), &err);
    assert_true(out[0] != '\0');
}

static void
packs_that_came_and_went_behind_the_index_are_noticed(void **state)
{
    struct chunk_lab *f = *state;
    char name[STORE_NAME_MAX + 1];
    struct varve_error err;
    char *path = NULL;
    char *aside = NULL;

    put_chunks(f->cs, 0, 20);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    last_pack(f, name);
    chunk_lab_close(f);
    path = test_path(f->store_path, name);
    aside = test_path(f->folder, "aside");
    assert_ok(fs_rename_new(fs_system(), path, aside, &err), &err);
    chunk_lab_open(f);
    assert_int_equal(has_chunk(f->cs, 3), 0);
    chunk_lab_close(f);
    assert_ok(fs_rename_new(fs_system(), aside, path, &err), &err);
    chunk_lab_open(f);
    assert_int_equal(has_chunk(f->cs, 3), 1);
    get_chunks(f->cs, 0, 20);
    free(path);
    free(aside);
}

static void
putting_a_present_chunk_writes_nothing(void **state)
{
    struct chunk_lab *f = *state;
    struct chunk_store_stats before;
    struct chunk_store_stats after;
    struct varve_error err;

    put_chunks(f->cs, 0, 5);
    put_chunks(f->cs, 0, 5);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &before, &err), &err);
    assert_int_equal(before.chunks, 5);
    put_chunks(f->cs, 0, 5);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &after, &err), &err);
    assert_int_equal(after.packs, before.packs);
    assert_int_equal(after.stored_bytes, before.stored_bytes);
}

static void
bytes_that_are_not_the_named_ones_are_refused(void **state)
{
    struct chunk_lab *f = *state;
    struct varve_error err;
    struct chunk_id id;
    uint8_t buf[100] = "right";
    uint8_t have = 7;

    chunk_id_of(&id, buf, sizeof(buf));
    buf[0] = 'w';
    assert_err(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, 100, 100, &err),
               VARVE_ERR_CORRUPT, &err);
    assert_err(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, 50, 100, &err),
               VARVE_ERR_CORRUPT, &err);
    assert_err(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, 100, 50, &err),
               VARVE_ERR_INVALID, &err);
    assert_err(
        chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, 100, CHUNK + 1, &err),
        VARVE_ERR_INVALID, &err);
    assert_err(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, buf, 0, 0, &err),
               VARVE_ERR_INVALID, &err);
    assert_ok(chunk_store_has(chunk_store_default(f->cs), &id, 1, &have, &err), &err);
    assert_int_equal(have, 0);
}

static void
a_pack_that_cannot_be_stored_takes_its_names_back(void **state)
{
    struct store_fault_plan plan = {
        .kinds = STORE_FAULT_PUT, .fail_at = 1, .fail_code = VARVE_ERR_NOSPACE};
    struct chunk_lab *f = *state;
    struct varve_error err;
    uint64_t loss = chunk_store_loss_count(f->cs);

    put_chunks(f->cs, 0, 5);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_int_equal(chunk_store_loss_count(f->cs), loss);
    store_fault_set(f->store, &plan);
    put_chunks(f->cs, 5, 5);
    assert_int_equal(has_chunk(f->cs, 7), 1);
    assert_err(chunk_store_barrier(f->cs, &err), VARVE_ERR_NOSPACE, &err);
    assert_int_equal(chunk_store_loss_count(f->cs), loss + 1);
    assert_int_equal(has_chunk(f->cs, 7), 0);
    assert_int_equal(has_chunk(f->cs, 2), 1);
    put_chunks(f->cs, 5, 5);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    get_chunks(f->cs, 0, 10);
}

/* Turns one bit of a file over. */
static void
damage_file(const char *path, uint64_t off)
{
    struct varve_error err;
    struct file *file = NULL;
    uint8_t b = 0;

    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(file, &b, 1, off, &err), &err);
    b ^= 0x40;
    assert_ok(file_write(file, &b, 1, off, &err), &err);
    file_close(file);
}

static void
a_damaged_chunk_is_never_handed_out_and_heals_when_it_comes_again(void **state)
{
    struct chunk_lab *f = *state;
    char name[STORE_NAME_MAX + 1];
    struct chunk_store_stats stats;
    struct varve_error err;
    char *path = NULL;

    put_chunks(f->cs, 1, 1);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    last_pack(f, name);
    path = test_path(f->store_path, name);
    damage_file(path, PACK_HEADER_SIZE + PACK_RECORD_HEADER + 777);
    assert_int_equal(has_chunk(f->cs, 1), 1);
    assert_err(get_chunk(f->cs, 1, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, name));
    assert_err(get_chunk(f->cs, 1, &err), VARVE_ERR_CORRUPT, &err);
    assert_ok(chunk_store_get_stats(f->cs, &stats, &err), &err);
    assert_int_equal(stats.damaged, 1);
    assert_int_equal(has_chunk(f->cs, 1), 0);

    put_chunks(f->cs, 1, 1);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_int_equal(has_chunk(f->cs, 1), 1);
    get_chunks(f->cs, 1, 1);

    /* Without the index the damaged place may come first: the other one takes over. */
    for (unsigned i = 0; i < 2; i++) {
        chunk_lab_close(f);
        chunk_lab_lose_index(f);
        chunk_lab_open(f);
        get_chunks(f->cs, 1, 1);
    }
    free(path);
}

static void
a_chunk_that_cannot_be_read_is_taken_again(void **state)
{
    struct store_fault_plan bad = {
        .kinds = STORE_FAULT_GET, .fail_at = 1, .fail_forever = true, .fail_code = VARVE_ERR_IO};
    struct store_fault_plan good = {.kinds = 0};
    struct chunk_lab *f = *state;
    struct varve_error err;

    put_chunks(f->cs, 1, 1);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    store_fault_set(f->store, &bad);
    assert_err(get_chunk(f->cs, 1, &err), VARVE_ERR_IO, &err);
    assert_int_equal(has_chunk(f->cs, 1), 0);
    store_fault_set(f->store, &good);
    get_chunks(f->cs, 1, 1); /* it was a passing trouble; the bytes are taken again all the same */
    put_chunks(f->cs, 1, 1);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_int_equal(has_chunk(f->cs, 1), 1);
    get_chunks(f->cs, 1, 1);
}

static void
a_pack_with_a_damaged_footer_is_read_record_by_record(void **state)
{
    struct chunk_lab *f = *state;
    char name[STORE_NAME_MAX + 1];
    struct varve_error err;
    struct file_stat st;
    char *path = NULL;

    put_chunks(f->cs, 0, 20);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    last_pack(f, name);
    chunk_lab_close(f);
    path = test_path(f->store_path, name);
    assert_ok(fs_stat(fs_system(), path, &st, &err), &err);
    damage_file(path, st.size - PACK_TAIL_SIZE - 100);
    chunk_lab_lose_index(f);
    chunk_lab_open(f);
    get_chunks(f->cs, 0, 20);
    free(path);
}

static void
a_pack_that_was_cut_is_noticed_at_open_and_its_whole_records_are_kept(void **state)
{
    struct chunk_lab *f = *state;
    char name[STORE_NAME_MAX + 1];
    struct chunk_store_stats stats;
    struct varve_error err;
    struct file *file = NULL;
    struct file_stat st;
    char *path = NULL;

    put_chunks(f->cs, 0, 20);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    last_pack(f, name);
    chunk_lab_close(f);
    path = test_path(f->store_path, name);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_fstat(file, &st, &err), &err);
    assert_ok(file_truncate(file, st.size / 2, &err), &err);
    file_close(file);
    chunk_lab_open(f);
    assert_ok(chunk_store_get_stats(f->cs, &stats, &err), &err);
    assert_in_range(stats.chunks, 5, 15);
    for (uint64_t n = 0; n < 20; n++) {
        assert_int_equal(has_chunk(f->cs, n), n < stats.chunks);
    }
    get_chunks(f->cs, 0, stats.chunks);
    put_chunks(f->cs, 0, 20);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    get_chunks(f->cs, 0, 20);
    free(path);
}

static void
a_store_without_its_key_or_with_another_is_refused_untouched(void **state)
{
    struct chunk_lab *f = *state;
    struct chunk_store_options options = chunk_lab_options(f);
    struct chunk_store *cs = NULL;
    struct varve_error err;
    struct file_stat st;
    char *aside = NULL;
    char *other = NULL;

    assert_true(chunk_store_key_was_made(f->cs));
    put_chunks(f->cs, 0, 3);
    chunk_store_close(f->cs);
    f->cs = NULL;
    aside = test_path(f->folder, "aside");
    other = test_path(f->folder, "other.key");
    assert_ok(fs_rename_new(fs_system(), f->key_path, aside, &err), &err);
    assert_err(chunk_store_open(&cs, f->store, fs_system(), &options, &err), VARVE_ERR_AUTH, &err);
    assert_non_null(strstr(err.msg, f->key_path));
    assert_err(fs_stat(fs_system(), f->key_path, &st, &err), VARVE_ERR_NOT_FOUND, &err);

    assert_ok(fs_write_durable(fs_system(), f->key_path,
                               "varve-store-key-1\n"
                               "00112233445566778899aabbccddeeff"
                               "00112233445566778899aabbccddeeff\n",
                               83, true, &err),
              &err);
    assert_err(chunk_store_open(&cs, f->store, fs_system(), &options, &err), VARVE_ERR_AUTH, &err);
    assert_ok(fs_remove(fs_system(), f->key_path, &err), &err);
    assert_ok(fs_write_durable(fs_system(), f->key_path, "hello\n", 6, true, &err), &err);
    assert_err(chunk_store_open(&cs, f->store, fs_system(), &options, &err), VARVE_ERR_CORRUPT,
               &err);
    assert_ok(fs_remove(fs_system(), f->key_path, &err), &err);

    assert_ok(fs_rename_new(fs_system(), aside, f->key_path, &err), &err);
    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
    assert_false(chunk_store_key_was_made(f->cs));
    get_chunks(f->cs, 0, 3);
    free(aside);
    free(other);
}

static void
a_store_that_lost_its_parameters_is_not_overwritten(void **state)
{
    struct chunk_lab *f = *state;
    struct chunk_store_options options = chunk_lab_options(f);
    struct chunk_store *cs = NULL;
    struct varve_error err;

    put_chunks(f->cs, 0, 3);
    chunk_store_close(f->cs);
    f->cs = NULL;
    assert_ok(store_remove(f->store, "cfg/store", &err), &err);
    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
    get_chunks(f->cs, 0, 3); /* the key object has them too */
    chunk_store_close(f->cs);
    f->cs = NULL;
    assert_ok(store_remove(f->store, "cfg/store", &err), &err);
    assert_ok(store_remove(f->store, "cfg/keys/0000000000000001", &err), &err);
    assert_err(chunk_store_open(&cs, f->store, fs_system(), &options, &err), VARVE_ERR_CORRUPT,
               &err);
    assert_non_null(strstr(err.msg, "cfg/store"));
}

static void
a_chunk_size_that_cannot_be_is_refused(void **state)
{
    static const uint32_t sizes[] = {1, 4095, 65537, 2 * CHUNK_SIZE_MAX};
    struct chunk_lab *f = *state;
    struct chunk_store_options options = chunk_lab_options(f);
    struct chunk_store *cs = NULL;
    struct store *mem = NULL;
    struct varve_error err;

    options.index_path = NULL;
    assert_ok(store_mem_open(&mem, &err), &err);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        options.chunk_size = sizes[i];
        assert_err(chunk_store_open(&cs, mem, fs_system(), &options, &err), VARVE_ERR_INVALID,
                   &err);
    }
    store_close(mem);
}

struct crew {
    struct chunk_store *cs;
    struct thread thread;
    uint64_t seed;
};

#define CREW        4u
#define CREW_CHUNKS 600u

/* Puts chunks that others put too, reads what must be there, and asks for barriers. */
static void
crew_work(void *arg)
{
    struct crew *c = arg;
    struct test_random r = {.state = c->seed};
    struct varve_error err;
    struct chunk_id id;

    for (unsigned i = 0; i < CREW_CHUNKS; i++) {
        uint64_t n = test_random_below(&r, CREW_CHUNKS);

        if (put_chunk(c->cs, n, &id, &err) != VARVE_OK || get_chunk(c->cs, n, &err) != VARVE_OK) {
            abort();
        }
        if (i % 200 == 199 && chunk_store_barrier(c->cs, &err) != VARVE_OK) {
            abort();
        }
    }
}

static void
many_threads_put_and_get_at_once(void **state)
{
    struct chunk_lab *f = *state;
    struct crew crews[CREW];
    struct varve_error err;
    unsigned seen = 0;

    for (unsigned i = 0; i < CREW; i++) {
        crews[i] = (struct crew){.cs = f->cs, .seed = i + 1};
        assert_ok(thread_start(&crews[i].thread, "crew", crew_work, &crews[i], &err), &err);
    }
    for (unsigned i = 0; i < CREW; i++) {
        thread_join(&crews[i].thread);
    }
    chunk_lab_close(f);
    chunk_lab_open(f);
    for (uint64_t n = 0; n < CREW_CHUNKS; n++) {
        if (has_chunk(f->cs, n)) {
            get_chunks(f->cs, n, 1);
            seen++;
        }
    }
    assert_true(seen > CREW_CHUNKS / 2);
}

static void
puts_wait_for_a_slow_disk_instead_of_taking_memory(void **state)
{
    struct store_fault_plan plan = {.kinds = STORE_FAULT_PUT, .delay_ms = 20};
    struct chunk_lab *f = *state;
    struct varve_error err;

    store_fault_set(f->store, &plan);
    put_chunks(f->cs, 0, 2500); /* about 110 MiB: more than all packs in memory */
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_true(store_fault_calls(f->store) >= 6);
    get_chunks(f->cs, 2400, 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_chunk_reads_back_while_pending_and_when_durable),
        TEST(everything_before_a_barrier_is_there_after_reopening),
        TEST(a_lost_index_is_rebuilt_from_the_packs),
        TEST(packs_that_came_and_went_behind_the_index_are_noticed),
        TEST(putting_a_present_chunk_writes_nothing),
        TEST(bytes_that_are_not_the_named_ones_are_refused),
        TEST(a_pack_that_cannot_be_stored_takes_its_names_back),
        TEST(a_damaged_chunk_is_never_handed_out_and_heals_when_it_comes_again),
        TEST(a_chunk_that_cannot_be_read_is_taken_again),
        TEST(a_pack_with_a_damaged_footer_is_read_record_by_record),
        TEST(a_pack_that_was_cut_is_noticed_at_open_and_its_whole_records_are_kept),
        TEST(a_store_without_its_key_or_with_another_is_refused_untouched),
        TEST(a_store_that_lost_its_parameters_is_not_overwritten),
        TEST(a_chunk_size_that_cannot_be_is_refused),
        TEST(many_threads_put_and_get_at_once),
        TEST(puts_wait_for_a_slow_disk_instead_of_taking_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
