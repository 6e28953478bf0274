/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "index/index_pages.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * One bit is flipped in one file of the index's folder, sampled over all of them with a fixed seed (VARVE_INDEX_FLIPS,
 * 1500 unless set; VARVE_SEED).  Names and keys are random all the same; index_flip_test has ones that are not, and flips
 * bit after bit.  After every 16th a process of its own opens the store, reads every point, takes backups, deletes,
 * collects, and starts again.  Whatever the bit was: nothing wrong is read, no point that is listed has lost
 * anything, what is counted is right after the index was built anew, and the process goes on.
 */
#define NOW      1000000000ll
#define RUNS     3u
#define ENDED    10 /* of a child: a promise was broken */
#define PATIENCE 60 /* seconds for one child */

static struct varve_error err;
static const char *const files[] = {"index.mdb", "index.mdb-lock", "filter", "state", "quarantine"};
#define FILES (sizeof(files) / sizeof(files[0]))

/* ---- what stands in the folder ---- */

struct folder {
    uint8_t *bytes[FILES];
    size_t len[FILES];
};

static void
keep(struct folder *f, const char *path)
{
    for (size_t i = 0; i < FILES; i++) {
        char *name = test_path(path, files[i]);

        assert_ok(fs_read_all(fs_system(), name, 64u << 20, &f->bytes[i], &f->len[i], &err), &err);
        assert_true(f->len[i] > 0);
        free(name);
    }
}

/* No sync: it is for a moment. */
static void
put_back(const struct folder *f, const char *path)
{
    char *doubt = test_path(path, "doubt");

    (void)!fs_remove(fs_system(), doubt, &err);
    for (size_t i = 0; i < FILES; i++) {
        char *name = test_path(path, files[i]);
        struct file *out = NULL;

        (void)!fs_remove(fs_system(), name, &err);
        assert_ok(file_open(fs_system(), &out, name, FILE_CREATE_NEW, &err), &err);
        assert_ok(file_write(out, f->bytes[i], f->len[i], 0, &err), &err);
        file_close(out);
        free(name);
    }
    free(doubt);
}

/* ---- the store ---- */

static bool
check_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct chunk_check check;

    assert_ok(chunk_store_check_pack(arg, id, size, &check, &err), &err);
    return true;
}

static bool
damage_first_pack(void *arg, const char *name, uint64_t size)
{
    char path[STORE_NAME_MAX + 32];
    struct file *f = NULL;
    uint8_t byte = 0;

    (void)snprintf(path, sizeof(path), "/data/store/%s", name);
    assert_ok(file_open(mem_fs(arg), &f, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(f, &byte, 1, size / 2, &err), &err);
    byte ^= 1;
    assert_ok(file_write(f, &byte, 1, size / 2, &err), &err);
    assert_ok(file_sync(f, &err), &err);
    file_close(f);
    return false;
}

static void
delete_runs(struct lab *l, unsigned run)
{
    struct point **list = NULL;
    size_t count = 0;

    if (catalog_list(l->catalog, NULL, &list, &count, &err) != VARVE_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (number == run) {
            (void)!gc_delete_point(l->gc, list[i], NOW, NOW, "t", "t", &err);
        }
    }
    catalog_list_free(list, count);
}

/* Points, deleted points that are not collected, damage that was set aside and healed, and damage that was not. */
static struct mem_fs *
make_store(const char *index)
{
    const struct gc_options options = {.now_us = NOW};
    struct mem_fs *mem = NULL;
    struct gc_result r;
    struct lab l;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(lab_open(&l, mem_fs(mem), "/data", index, NULL, &err), &err);
    for (unsigned n = 1; n <= RUNS; n++) {
        for (unsigned vm = 0; vm < LAB_VMS; vm++) {
            assert_ok(lab_backup(&l, vm, n, &err), &err);
        }
        assert_ok(gc_collect(l.gc, &options, &r, &err), &err);
    }
    assert_ok(store_list(l.store, "pack/", damage_first_pack, mem, &err), &err);
    assert_ok(chunk_store_list_packs(l.cs, check_pack, l.cs, &err), &err);
    for (unsigned n = 1; n <= RUNS; n++) {
        for (unsigned vm = 0; vm < LAB_VMS; vm++) {
            assert_ok(lab_heal(&l, vm, n, &err), &err);
        }
    }
    assert_ok(chunk_store_barrier(l.cs, &err), &err);
    delete_runs(&l, 1);
    lab_close(&l);
    return mem;
}

/* ---- a life with it; in a child ---- */

static void
end(const char *what)
{
    (void)fprintf(stderr, "    %s: %s\n", what, err.msg);
    _exit(ENDED);
}

static void
must(enum varve_err rc, const char *what)
{
    if (rc != VARVE_OK) {
        end(what);
    }
}

static void
read_all(struct lab *l, size_t want, const char *when)
{
    struct point **list = NULL;
    size_t count = 0;

    must(catalog_list(l->catalog, NULL, &list, &count, &err), when);
    if (count != want) {
        (void)varve_error_set(&err, VARVE_ERR_INTERNAL, "%zu points of %zu", count, want);
        end(when);
    }
    for (size_t i = 0; i < count; i++) {
        must(lab_verify(l, list[i], &err), when);
    }
    catalog_list_free(list, count);
}

/* What the index says wrong may refuse a run or a collection, by name; then it is built anew. */
static void
live(struct mem_fs *mem, const char *index)
{
    const struct gc_options options = {.now_us = NOW, .move_percent = 101};
    size_t points = LAB_VMS * (RUNS - 1);
    struct account_check check;
    struct gc_result r;
    struct lab l;

    must(lab_open(&l, mem_fs(mem), "/data", index, NULL, &err), "opening");
    read_all(&l, points, "reading");
    (void)!gc_collect(l.gc, &options, &r, &err);
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        points += lab_backup(&l, vm, RUNS + 1, &err) == VARVE_OK ? 1 : 0;
    }
    delete_runs(&l, 2);
    points -= LAB_VMS;
    (void)!gc_collect(l.gc, &options, &r, &err);
    for (unsigned vm = 0; vm < LAB_VMS; vm++) { /* disks that shrank: old content is new again */
        points += lab_backup(&l, vm, RUNS + 2, &err) == VARVE_OK ? 1 : 0;
    }
    (void)!gc_collect(l.gc, &options, &r, &err);
    read_all(&l, points, "reading after a collection");
    lab_close(&l);

    must(lab_open(&l, mem_fs(mem), "/data", index, NULL, &err), "opening again");
    must(gc_collect(l.gc, &options, &r, &err), "collecting after the next start");
    must(gc_check(l.gc, NULL, &check, &err), "counting");
    if (check.missing > 0 || r.blocked.code != VARVE_OK) {
        (void)varve_error_set(&err, VARVE_ERR_INTERNAL, "%llu counts are too low, %s",
                              (unsigned long long)check.missing, r.blocked.msg);
        end("after the next start");
    }
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        must(lab_backup(&l, vm, RUNS + 3, &err), "a backup after the next start");
    }
    points += LAB_VMS;
    must(gc_collect(l.gc, &options, &r, &err), "collecting once more");
    lab_close(&l);
    /* From the packs alone: what the index said is one thing, what there is another. */
    must(lab_open(&l, mem_fs(mem), "/data", NULL, NULL, &err), "opening without the index");
    read_all(&l, points, "reading without the index");
    lab_close(&l);
}

static bool
survives(struct mem_fs *mem, const char *index)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(PATIENCE);
        live(mem, index);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "    ended by signal %d\n", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- flips ---- */

static uint64_t
number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

/* Do the pages alone show it?  Then an open builds the index anew, and one life in many is enough. */
static bool
pages_show_it(const char *index)
{
    char *path = test_path(index, "index.mdb");
    struct index_pages *p = NULL;
    struct file *f = NULL;
    enum varve_err rc;

    assert_ok(file_open(fs_system(), &f, path, FILE_READ, &err), &err);
    rc = index_pages_open(&p, f, UINT64_MAX, &err);
    if (rc == VARVE_OK) {
        rc = index_pages_finish(p, NULL, &err);
    }
    index_pages_close(p);
    file_close(f);
    free(path);
    return rc == VARVE_ERR_CORRUPT;
}

/* Of ten flips, seven are in the pages. */
static size_t
choose_file(struct test_random *r)
{
    uint64_t n = test_random_below(r, 10);

    return n < 7 ? 0 : n == 7 ? 1 + test_random_below(r, 2) : n == 8 ? 3 : 4;
}

/* Names and keys are others in every run: what there is to know goes out now.  VARVE_KEEP=1: the folder stays, flipped. */
static void
tell(struct folder *f, char *index, size_t which, uint64_t at, uint8_t bit, bool seen)
{
    uint64_t from = at < 32 ? 0 : at - 32;

    (void)fprintf(stderr,
                  "    %s of %zu bytes, byte %llu (page %llu, %llu) bit %02x, %s; from %llu:",
                  files[which], f->len[which], (unsigned long long)at,
                  (unsigned long long)(at / 4096), (unsigned long long)(at % 4096), bit,
                  seen ? "shown by the pages" : "not shown by the pages", (unsigned long long)from);
    for (uint64_t i = from; i < from + 96 && i < f->len[which]; i++) {
        (void)fprintf(stderr, "%s%02x", i == at ? " >" : " ", f->bytes[which][i]);
    }
    (void)fprintf(stderr, "\n");
    if (getenv("VARVE_KEEP") != NULL) {
        put_back(f, index);
        (void)fprintf(stderr, "    the index is in '%s'\n", index);
    }
}

static void
a_flipped_bit_of_the_index_loses_nothing_and_wrongs_nobody(void **state)
{
    uint64_t flips = number_of("VARVE_INDEX_FLIPS", 1500);
    struct test_random r = {.state = number_of("VARVE_SEED", 20)};
    char *index = test_folder_make();
    struct mem_fs *mem = make_store(index);
    struct folder whole;
    unsigned lived = 0;
    unsigned shown = 0;

    (void)state;
    keep(&whole, index);
    assert_true(survives(mem, index)); /* without a flip */
    for (uint64_t i = 0; i < flips; i++) {
        size_t which = choose_file(&r);
        uint64_t at = test_random_below(&r, whole.len[which]);
        uint8_t bit = (uint8_t)(1u << test_random_below(&r, 8));
        bool seen;

        whole.bytes[which][at] ^= bit;
        put_back(&whole, index);
        seen = which == 0 && pages_show_it(index);
        shown += seen ? 1 : 0;
        if (i % 16 == 0) {
            lived++;
            if (!survives(mem, index)) {
                tell(&whole, index, which, at, bit, seen);
                fail_msg("%s byte %llu bit %02x", files[which], (unsigned long long)at, bit);
            }
        }
        whole.bytes[which][at] ^= bit;
    }
    print_message("%llu bits flipped in %zu files, %u shown by the pages, %u lives\n",
                  (unsigned long long)flips, FILES, shown, lived);
    assert_true(flips < 100 || (shown > 0 && lived > 0));
    for (size_t i = 0; i < FILES; i++) {
        free(whole.bytes[i]);
    }
    mem_fs_free(mem);
    test_folder_remove(index);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_of_the_index_loses_nothing_and_wrongs_nobody),
    };

    log_set_sink(drop_line); /* damage is the point of this test; its lines are not */
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
