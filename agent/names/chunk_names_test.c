/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "names/names.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

#define CHUNK  65536u
#define CHUNKS 600u

static const struct names_key key = {{{1}}, {{2}}, {{3}}};
static const struct names_shape shape = {(uint64_t)CHUNK * CHUNKS, CHUNK};

static struct mem_fs *
new_fs(void)
{
    struct mem_fs *m = NULL;
    struct varve_error err;

    assert_ok(mem_fs_new(&m, &err), &err);
    assert_ok(fs_mkdir(mem_fs(m), "/state", &err), &err);
    assert_ok(fs_mkdir(mem_fs(m), "/state/names", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(m), "/", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(m), "/state", &err), &err);
    return m;
}

static struct chunk_id
id_of(unsigned chunk, unsigned version)
{
    const unsigned both[2] = {chunk, version};
    struct chunk_id id;

    chunk_id_of(&id, both, sizeof(both));
    return id;
}

/* Every fifth chunk is zero, every seventh is not told at all. */
static void
put_all(struct names *n, unsigned version)
{
    unsigned i;

    for (i = 0; i < CHUNKS; i++) {
        const struct chunk_id id = id_of(i, version);
        const uint8_t present = i % 5 == 0 ? 0 : 1;

        if (i % 7 != 0) {
            names_put(n, i, 1, &present, &id);
        }
    }
}

/* How many places say they are as in that version; fails when one says so that was not told. */
static unsigned
count_same(struct names *n, unsigned version)
{
    unsigned found = 0;
    unsigned i;

    for (i = 0; i < CHUNKS; i++) {
        const struct chunk_id id = id_of(i, version);
        const uint8_t zero = 0;
        const uint8_t one = 1;
        bool same = false;
        bool same_zero = false;

        names_same(n, i, 1, &one, &id, &same);
        names_same(n, i, 1, &zero, NULL, &same_zero);
        assert_false(same && (i % 5 == 0 || i % 7 == 0));
        assert_false(same_zero && (i % 5 != 0 || i % 7 == 0));
        found += same || same_zero ? 1 : 0;
    }
    return found;
}

#define TOLD (CHUNKS - (CHUNKS + 6) / 7)

static void
write_and_keep(struct fs *fs, const struct names_key *k, unsigned version)
{
    struct names *n = NULL;
    struct varve_error err;

    assert_ok(names_begin(&n, fs, "/state", k, &shape, &err), &err);
    put_all(n, version);
    assert_ok(names_finish(n, &err), &err);
    names_close(n);
    assert_ok(names_keep(fs, "/state", &k->vm, &k->run, &err), &err);
}

static void
what_was_put_is_the_same_and_nothing_else(void **state)
{
    struct mem_fs *m = new_fs();
    struct names *n = NULL;
    struct varve_error err;

    (void)state;
    write_and_keep(mem_fs(m), &key, 1);
    assert_ok(names_open(&n, mem_fs(m), "/state", &key, &shape, &err), &err);
    assert_int_equal(count_same(n, 1), TOLD);
    assert_true(count_same(n, 2) < TOLD / 4); /* the zeros are zeros still */
    names_close(n);
    mem_fs_free(m);
}

static void
whole_batches_with_zeros_between_are_told_and_asked(void **state)
{
    struct chunk_id ids[NAMES_BATCH];
    uint8_t present[NAMES_BATCH / 8];
    bool same[NAMES_BATCH];
    struct mem_fs *m = new_fs();
    struct names *n = NULL;
    struct varve_error err;
    unsigned i;

    (void)state;
    memset(present, 0xAA, sizeof(present)); /* each second one */
    for (i = 0; i < NAMES_BATCH / 2; i++) {
        ids[i] = id_of(i, 3);
    }
    assert_ok(names_begin(&n, mem_fs(m), "/state", &key, &shape, &err), &err);
    names_put(n, 100, NAMES_BATCH, present, ids);
    ids[10] = id_of(10, 4);
    names_same(n, 100, NAMES_BATCH, present, ids, same);
    for (i = 0; i < NAMES_BATCH; i++) {
        assert_int_equal(same[i], i != 21);
    }
    names_same(n, CHUNKS - 10, NAMES_BATCH, present, ids, same); /* past the end: nothing */
    for (i = 0; i < NAMES_BATCH; i++) {
        assert_false(same[i]);
    }
    names_close(n);
    mem_fs_free(m);
}

static void
another_size_another_disk_and_a_damaged_head_are_stale(void **state)
{
    const struct names_shape larger = {shape.size + CHUNK, CHUNK};
    const struct names_shape finer = {shape.size, CHUNK / 2};
    struct names_key other = key;
    struct mem_fs *m = new_fs();
    struct file *f = NULL;
    struct names *n = NULL;
    struct varve_error err;

    (void)state;
    write_and_keep(mem_fs(m), &key, 1);
    assert_err(names_open(&n, mem_fs(m), "/state", &key, &larger, &err), VARVE_ERR_STALE, &err);
    assert_err(names_open(&n, mem_fs(m), "/state", &key, &finer, &err), VARVE_ERR_STALE, &err);
    other.disk.bytes[0] = 9;
    assert_err(names_open(&n, mem_fs(m), "/state", &other, &shape, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_ok(file_open(mem_fs(m), &f,
                        "/state/names/01000000-0000-0000-0000-000000000000."
                        "02000000-0000-0000-0000-000000000000."
                        "03000000-0000-0000-0000-000000000000.names",
                        FILE_READ_WRITE, &err),
              &err);
    assert_ok(file_write(f, "x", 1, 80, &err), &err);
    file_close(f);
    assert_err(names_open(&n, mem_fs(m), "/state", &key, &shape, &err), VARVE_ERR_STALE, &err);
    mem_fs_free(m);
}

static void
count_run(void *arg, const struct guid *run)
{
    (void)run;
    (*(unsigned *)arg)++;
}

static void
runs_are_listed_when_kept_and_removed_one_by_one(void **state)
{
    struct names_key second = key;
    struct names_key third = key;
    struct mem_fs *m = new_fs();
    struct names *n = NULL;
    struct varve_error err;
    unsigned runs = 0;

    (void)state;
    second.run.bytes[0] = 77;
    write_and_keep(mem_fs(m), &key, 1);
    assert_ok(names_begin(&n, mem_fs(m), "/state", &second, &shape, &err), &err);
    assert_ok(names_finish(n, &err), &err);
    names_close(n);
    third.run.bytes[0] = 78;
    assert_ok(names_begin(&n, mem_fs(m), "/state", &third, &shape, &err), &err);
    names_close(n);
    assert_err(names_keep(mem_fs(m), "/state", &key.vm, &third.run, &err), VARVE_ERR_NOT_FOUND,
               &err); /* it was not finished */
    assert_true(names_are_kept(mem_fs(m), "/state", &key));
    assert_false(names_are_kept(mem_fs(m), "/state", &second));
    assert_ok(names_list(mem_fs(m), "/state", &key.vm, count_run, &runs, &err), &err);
    assert_int_equal(runs, 1);
    assert_ok(names_keep(mem_fs(m), "/state", &key.vm, &second.run, &err), &err);
    assert_ok(names_remove(mem_fs(m), "/state", &key.vm, &key.run, &err), &err);
    assert_err(names_open(&n, mem_fs(m), "/state", &key, &shape, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(names_open(&n, mem_fs(m), "/state", &second, &shape, &err), &err);
    names_close(n);
    assert_err(names_keep(mem_fs(m), "/state", &key.vm, &key.run, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(names_begin(&n, mem_fs(m), "/state", &third, &shape, &err), &err);
    assert_ok(names_finish(n, &err), &err);
    names_close(n);
    names_sweep(mem_fs(m), "/state");
    assert_err(names_keep(mem_fs(m), "/state", &key.vm, &third.run, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_true(names_are_kept(mem_fs(m), "/state", &second));
    mem_fs_free(m);
}

/* Two runs one after the other; the power goes at the nth change. */
static bool
run_twice(struct fault_fs *ff, unsigned *done)
{
    struct varve_error err;
    unsigned run;

    *done = 0;
    for (run = 1; run <= 2; run++) {
        struct names_key k = key;
        struct names *n = NULL;
        enum varve_err rc;

        k.run.bytes[0] = (uint8_t)run;
        rc = names_begin(&n, fault_fs(ff), "/state", &k, &shape, &err);
        if (rc == VARVE_OK) {
            put_all(n, run);
            rc = names_finish(n, &err);
            names_close(n);
        }
        if (rc == VARVE_OK) {
            rc = names_keep(fault_fs(ff), "/state", &k.vm, &k.run, &err);
        }
        if (rc == VARVE_OK && run == 2) {
            k.run.bytes[0] = 1;
            rc = names_remove(fault_fs(ff), "/state", &k.vm, &k.run, &err);
        }
        if (rc != VARVE_OK) {
            return false;
        }
        *done = run;
    }
    return true;
}

static void
a_power_cut_never_makes_a_chunk_the_same(void **state)
{
    unsigned nth;
    bool all = false;

    (void)state;
    for (nth = 1; !all; nth += nth % 50 == 0 ? 37 : 1) {
        uint64_t seed;

        for (seed = 1; seed <= 3; seed++) {
            struct mem_fs *m = new_fs();
            struct fault_fs *ff = NULL;
            struct varve_error err;
            unsigned done = 0;
            unsigned run;

            assert_ok(fault_fs_new(&ff, mem_fs(m), &err), &err);
            fault_fs_cut_at(ff, nth);
            all = run_twice(ff, &done);
            fault_fs_free(ff);
            mem_fs_power_cut(m, seed);
            for (run = 1; run <= 2; run++) {
                struct names_key k = key;
                struct names *n = NULL;
                enum varve_err rc;

                k.run.bytes[0] = (uint8_t)run;
                rc = names_open(&n, mem_fs(m), "/state", &k, &shape, &err);
                if (rc == VARVE_OK) {
                    assert_int_equal(count_same(n, run), TOLD); /* kept is whole */
                    names_close(n);
                } else {
                    assert_int_equal(rc, VARVE_ERR_NOT_FOUND);
                    assert_true(run > done || (run == 1 && done >= 1));
                }
            }
            mem_fs_free(m);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_the_same_and_nothing_else),
        cmocka_unit_test(whole_batches_with_zeros_between_are_told_and_asked),
        cmocka_unit_test(another_size_another_disk_and_a_damaged_head_are_stale),
        cmocka_unit_test(runs_are_listed_when_kept_and_removed_one_by_one),
        cmocka_unit_test(a_power_cut_never_makes_a_chunk_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
