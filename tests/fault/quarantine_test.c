/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/lab_damage.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"

/*
 * Damage is found and written down, with a fault at each change (sweep.h), and the index is lost: what was
 * written down is known at once, nothing that is whole is called damaged, the rest is found again, all of it is healed.
 */
#define RUNS 2u

struct table {
    struct lab_book book;
    uint64_t flipped;
    uint64_t known; /* written down, for all that was said */
};

static unsigned unwritten;

static void
count_line(enum log_level level, const char *line)
{
    (void)level;
    unwritten += strstr(line, "could not be w") != NULL ? 1 : 0; /* written down, written */
}

static enum varve_err
open_lab(struct lab *l, struct fs *fs, struct varve_error *err)
{
    const struct chunk_store_options options = {.notes_fs = fs, .notes_path = "/data"};

    return lab_open_with(l, fs, "/data", &options, NULL, err);
}

static void *
prepare(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, LAB_VMS, RUNS, &err), &err);
    lab_close(&l);
    t->flipped = lab_damage_records(fs, CHUNK_DATA, 11);
    unwritten = 0;
    return t;
}

static bool
check_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct lab *l = arg;
    struct chunk_check result;
    struct varve_error err;

    (void)!chunk_store_check_pack(l->cs, id, size, &result, &err);
    return true;
}

static bool
check_pack_and_note(void *arg, const struct pack_id *id, uint64_t size)
{
    struct table *t = ((void **)arg)[1];
    struct lab *l = ((void **)arg)[0];
    struct varve_error err;
    uint64_t damaged = 0;

    (void)check_pack(l, id, size);
    if (unwritten == 0 && chunk_store_count_damaged(l->cs, &damaged, &err) == VARVE_OK) {
        t->known = unwritten == 0 ? damaged : t->known;
    }
    return true;
}

static void
run(void *table, struct fs *fs)
{
    struct varve_error err;
    struct lab l;
    void *both[2] = {&l, table};

    if (open_lab(&l, fs, &err) == VARVE_OK) {
        (void)!chunk_store_list_packs(l.cs, check_pack_and_note, both, &err);
    }
    lab_close(&l);
}

static enum varve_err
expect_damaged(struct lab *l, uint64_t least, uint64_t most, const char *when,
               struct varve_error *err)
{
    uint64_t damaged = 0;
    enum varve_err rc = chunk_store_count_damaged(l->cs, &damaged, err);

    if (rc == VARVE_OK && (damaged < least || damaged > most)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%s %llu are damaged, not %llu to %llu", when,
                             (unsigned long long)damaged, (unsigned long long)least,
                             (unsigned long long)most);
    }
    return rc;
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    struct lab l;
    enum varve_err rc = open_lab(&l, fs, err);

    if (rc == VARVE_OK) {
        rc = expect_damaged(&l, t->known, t->flipped, "after the start", err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_list_packs(l.cs, check_pack, &l, err);
    }
    if (rc == VARVE_OK) {
        rc = expect_damaged(&l, t->flipped, t->flipped, "after a check", err);
    }
    lab_close(&l);
    if (rc == VARVE_OK) { /* once more, with all that is known now */
        rc = open_lab(&l, fs, err);
        rc = rc == VARVE_OK ? expect_damaged(&l, t->flipped, t->flipped, "later", err) : rc;
        for (unsigned n = 1; rc == VARVE_OK && n <= RUNS; n++) {
            for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) {
                rc = lab_offer_all(&l, vm, n, err);
            }
        }
        rc = rc == VARVE_OK ? chunk_store_barrier(l.cs, err) : rc;
        rc = rc == VARVE_OK ? expect_damaged(&l, 0, 0, "after healing", err) : rc;
        rc = rc == VARVE_OK ? lab_check_collects(&l, &t->book, err) : rc;
        lab_close(&l);
    }
    return rc;
}

static const struct sweep_case noting = {
    .name = "damage", .prepare = prepare, .run = run, .check = check};

static void
damage_that_was_written_down_is_known_after_any_fault(void **state)
{
    (void)state;
    sweep(&noting);
}

static void
the_sweep_notices_syncs_that_do_nothing(void **state)
{
    (void)state;
    sweep_must_break(&noting, lying_files);
    sweep_must_break(&noting, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_that_was_written_down_is_known_after_any_fault),
        cmocka_unit_test(the_sweep_notices_syncs_that_do_nothing),
    };
    struct varve_error err;

    log_set_sink(count_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
