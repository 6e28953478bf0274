/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

/*
 * The process is killed at the n-th change of the file system, for every n, while the machine stays up: what it
 * wrote is seen by the next one, synced or not.  That one relies on what it sees (chunks that are there,
 * points that are listed, the key file, a domain), publishes, and then the power is cut.
 */
#define CHANGES_MAX 400u

static const struct guid domain_id = {{9, 9}};

struct tally {
    uint64_t places;
    uint64_t points;
    uint64_t broken;
    char first[320];
};

/* Both vms, the second one in a domain of its own.  Stops where something fails. */
static enum varve_err
backups(struct lab *l, struct lab_book *book, unsigned number, struct varve_error *err)
{
    enum varve_err rc = chunk_store_domain(l->cs, &domain_id, &l->domains[1], err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = chunk_store_make_domain(l->cs, &domain_id, "tenant", &l->domains[1], err);
    }
    for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) {
        book->tried[vm][number] = 1;
        rc = lab_backup(l, vm, number, err);
        book->acked[vm][number] = rc == VARVE_OK;
    }
    return rc;
}

/* A repeated run is told of a point that is listed: that is as good as an acknowledgement. */
static enum varve_err
rely_on_what_is_listed(struct lab *l, struct lab_book *book, struct varve_error *err)
{
    struct point **list = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(l->catalog, NULL, &list, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        book->acked[vm][number] = 1;
    }
    if (rc == VARVE_OK) {
        catalog_list_free(list, count);
    }
    return rc;
}

static enum varve_err
next_process(struct fs *fs, struct lab_book *book, struct varve_error *err)
{
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = rely_on_what_is_listed(&l, book, err);
    }
    if (rc == VARVE_OK) {
        rc = backups(&l, book, 3, err);
    }
    lab_close(&l);
    return rc;
}

static enum varve_err
last_process(struct fs *fs, const struct lab_book *book, struct tally *t, struct varve_error *err)
{
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = lab_check(&l, book, &points, err);
    }
    t->points += points;
    lab_close(&l);
    return rc;
}

/* False when the first process makes fewer than n changes. */
static bool
kill_at(uint64_t n, uint64_t seed, struct tally *t)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    struct lab l;
    enum varve_err rc;
    bool killed;

    assert_non_null(book);
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    fault_fs_cut_at(ff, n);
    rc = lab_open(&l, fault_fs(ff), "/data", NULL, NULL, &err);
    for (unsigned number = 1; rc == VARVE_OK && number <= 2; number++) {
        rc = backups(&l, book, number, &err);
    }
    lab_close(&l);
    killed = fault_fs_is_cut(ff);

    rc = next_process(mem_fs(mem), book, &err);
    if (rc == VARVE_OK) {
        mem_fs_power_cut(mem, seed);
        rc = last_process(mem_fs(mem), book, t, &err);
    }
    if (rc != VARVE_OK && t->broken++ == 0) {
        (void)snprintf(t->first, sizeof(t->first),
                       "killed at change %" PRIu64 ", cut %" PRIu64 ": %s", n, seed, err.msg);
    }
    fault_fs_free(ff);
    mem_fs_free(mem);
    free(book);
    return killed;
}

static void
what_a_killed_process_left_is_durable_before_the_next_one_relies_on_it(void **state)
{
    struct tally t = {0};
    bool killed = true;

    (void)state;
    for (uint64_t n = 1; killed && n < CHANGES_MAX; n++) {
        /* All that may be lost is lost, then a mixture (file_mem.h). */
        (void)kill_at(n, 0, &t);
        killed = kill_at(n, n * 16 + 3, &t);
        t.places++;
    }
    print_message("%" PRIu64 " places, %" PRIu64 " points read back, %" PRIu64 " broken promises\n",
                  t.places, t.points, t.broken);
    assert_false(killed);
    if (t.broken > 0) {
        fail_msg("%s", t.first);
    }
    assert_true(t.places > 60);
}

#define FOLDERS 600u

static void
folder_object(unsigned n, char out[64])
{
    (void)snprintf(out, 64, "/data/point/%08x/0000000000000001", n);
}

/* FOLDERS objects that are written and whose names are not synced, a start over them, a power cut. */
static uint64_t
start_over_many_folders(bool at_once)
{
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct store *store = NULL;
    struct varve_error err;
    struct fs_ops one_by_one;
    struct file_stat st;
    char path[64];
    uint64_t syncs;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    for (unsigned n = 0; n < FOLDERS; n++) {
        struct file *file = NULL;
        char *end;

        folder_object(n, path);
        end = strrchr(path, '/');
        *end = '\0';
        assert_ok(fs_mkdir_parents(mem_fs(mem), path, &err), &err);
        *end = '/';
        assert_ok(file_open(mem_fs(mem), &file, path, FILE_CREATE_NEW, &err), &err);
        assert_ok(file_write(file, "whole", 5, 0, &err), &err);
        assert_ok(file_sync(file, &err), &err);
        file_close(file);
    }
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    one_by_one = *fault_fs(ff)->ops;
    one_by_one.sync_dirs = NULL;
    if (!at_once) {
        fault_fs(ff)->ops = &one_by_one;
    }
    assert_ok(store_dir_open(&store, fault_fs(ff), "/data", &err), &err);
    store_close(store);
    syncs = fault_fs_calls(ff, FAULT_SYNC_DIR);
    mem_fs_power_cut(mem, 0);
    for (unsigned n = 0; n < FOLDERS; n++) {
        folder_object(n, path);
        assert_ok(fs_stat(mem_fs(mem), path, &st, &err), &err);
        assert_int_equal(st.size, 5);
    }
    fault_fs_free(ff);
    mem_fs_free(mem);
    return syncs;
}

static void
names_in_many_folders_are_durable_at_the_price_of_few_syncs(void **state)
{
    (void)state;
    assert_in_range(start_over_many_folders(true), 1, 300);
    assert_in_range(start_over_many_folders(false), FOLDERS, 2 * FOLDERS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_many_folders_are_durable_at_the_price_of_few_syncs),
        cmocka_unit_test(what_a_killed_process_left_is_durable_before_the_next_one_relies_on_it),
    };
    struct varve_error err;

    /* Hundreds of failures are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL || crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
