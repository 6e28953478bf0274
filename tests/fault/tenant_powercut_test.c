/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "jobs/tenants.h"
#include "store/store_testing.h"

/*
 * Tenants come and go, with a fault at each change of the store (sweep.h).  The state file is SQLite's, on the
 * machine's own file system: it has what its last commit said, whatever the store has lost.
 */
static char *folder;
static char *state_path;

struct table {
    struct lab_book book;
    struct guid alpha;
    struct guid beta;
    bool added; /* alpha, it was said */
    bool removed;
};

static enum varve_err
add(struct state *st, struct lab *l, const char *name, struct guid *id, struct varve_error *err)
{
    struct tenant t;
    enum varve_err rc = tenants_add(st, l->cs, name, &t, err);

    if (rc == VARVE_OK) {
        *id = t.id;
        tenant_release(&t);
    }
    return rc;
}

static enum varve_err
drop(struct state *st, struct lab *l, const char *name, struct varve_error *err)
{
    struct tenant t;
    enum varve_err rc = state_tenant_select(st, name, &t, err);

    if (rc == VARVE_OK) {
        rc = tenants_remove(st, l->cs, l->catalog, &t, err);
        tenant_release(&t);
    }
    return rc;
}

static void *
prepare(struct fs *fs)
{
    struct table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    (void)!fs_remove(fs_system(), state_path, &err);
    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_backup(&l, 1, 1, &err), &err);
    t->book.tried[1][1] = 1;
    t->book.acked[1][1] = 1;
    lab_close(&l);
    return t;
}

static void
run(void *table, struct fs *fs)
{
    struct table *t = table;
    struct state *st = NULL;
    struct varve_error err;
    struct lab l;

    assert_ok(state_open(&st, fs_system(), state_path, &err), &err);
    if (lab_open(&l, fs, "/data", NULL, NULL, &err) == VARVE_OK) {
        t->added = add(st, &l, "alpha", &t->alpha, &err) == VARVE_OK;
        if (t->added) {
            assert_ok(chunk_store_domain(l.cs, &t->alpha, &l.domains[0], &err), &err);
        }
        for (unsigned n = 1; t->added && n <= 2; n++) {
            t->book.tried[0][n] = 1;
            t->book.acked[0][n] = lab_backup(&l, 0, n, &err) == VARVE_OK;
        }
        if (add(st, &l, "beta", &t->beta, &err) == VARVE_OK) {
            t->removed = drop(st, &l, "beta", &err) == VARVE_OK;
        }
    }
    lab_close(&l);
    state_close(st);
}

/* Nobody is a tenant without a domain; who was added is one, who was removed is none. */
static enum varve_err
check_tenants(struct table *t, struct state *st, struct lab *l, struct varve_error *err)
{
    struct chunk_domain *domain = NULL;
    struct tenant *list = NULL;
    bool alpha = false;
    size_t count = 0;
    enum varve_err rc = state_tenant_list(st, &list, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = chunk_store_domain(l->cs, &list[i].id, &domain, err);
        if (rc == VARVE_OK && t->added && guid_equal(&list[i].id, &t->alpha)) {
            alpha = true;
            l->domains[0] = domain;
        }
        if (rc == VARVE_OK && t->removed && guid_equal(&list[i].id, &t->beta)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a removed tenant is there");
        }
    }
    if (rc == VARVE_OK && t->added && !alpha) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "a tenant is gone");
    }
    tenant_list_free(list, count);
    if (rc == VARVE_OK && t->removed &&
        chunk_store_domain(l->cs, &t->beta, &domain, err) == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "the key of a removed tenant is there");
    }
    return rc;
}

static enum varve_err
check(void *table, struct fs *fs, struct varve_error *err)
{
    struct table *t = table;
    struct state *st = NULL;
    struct guid again;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = state_open(&st, fs_system(), state_path, err);
    }
    if (rc == VARVE_OK) {
        rc = tenants_adopt(st, l.cs, err);
    }
    if (rc == VARVE_OK) {
        rc = check_tenants(t, st, &l, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_collects(&l, &t->book, err);
    }
    if (rc == VARVE_OK) { /* it goes on */
        rc = drop(st, &l, "beta", err);
        rc = rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    if (rc == VARVE_OK) {
        rc = add(st, &l, "beta", &again, err);
    }
    if (rc == VARVE_OK) {
        rc = drop(st, &l, "beta", err);
    }
    state_close(st);
    lab_close(&l);
    return rc;
}

static const struct sweep_case tenants = {
    .name = "tenants", .prepare = prepare, .run = run, .check = check};

static void
a_tenant_is_there_with_its_key_or_not_at_all(void **state)
{
    (void)state;
    sweep(&tenants);
}

static void
the_sweeps_notice_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&tenants, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_is_there_with_its_key_or_not_at_all),
        cmocka_unit_test(the_sweeps_notice_folders_that_are_not_synced),
    };
    struct varve_error err;
    int failed;

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    folder = test_folder_make();
    state_path = test_path(folder, "state.db");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_folder_remove(folder);
    free(state_path);
    return failed;
}
