/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_fs_lying.h"
#include "fault/store_lab.h"
#include "fault/sweep.h"
#include "gc/policy.h"
#include "store/key_change.h"
#include "store/store_config.h"

/* What is said about points, how long they are kept, and who can open the store: changed with a fault at each
 * change (sweep.h). */
#define NOW    LAB_NOW
#define WINDOW 3600000000ll

enum said { NO, MAYBE, YES };

static enum said
said(enum varve_err rc, enum said when_done)
{
    return rc == VARVE_OK ? when_done : MAYBE;
}

/* ---- marks ---- */

#define POINTS 5u /* runs 1 to 5 of vm 0 */

struct marks_table {
    struct lab_book book;
    enum said there[POINTS + 1];
    enum said gone[POINTS + 1];
    enum said held[POINTS + 1];
    int64_t locked_least[POINTS + 1];
    int64_t locked_most[POINTS + 1];
};

static void *
marks_prepare(struct fs *fs)
{
    struct marks_table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, 1, POINTS, &err), &err);
    for (unsigned n = 1; n <= POINTS; n++) {
        t->there[n] = YES;
    }
    lab_close(&l);
    return t;
}

static struct point *
find(struct lab *l, unsigned number, bool *is_gone)
{
    struct point *found = NULL;
    struct varve_error err;

    for (int gone = 0; gone < 2 && found == NULL; gone++) {
        struct point **list = NULL;
        size_t count = 0;

        assert_ok(gone != 0 ? catalog_list_gone(l->catalog, NULL, &list, &count, &err)
                            : catalog_list(l->catalog, NULL, &list, &count, &err),
                  &err);
        for (size_t i = 0; i < count && found == NULL; i++) {
            unsigned vm = 0;
            unsigned n = 0;

            lab_identify(list[i], &vm, &n);
            if (vm == 0 && n == number) {
                found = list[i];
                point_ref(found);
                *is_gone = gone != 0;
            }
        }
        catalog_list_free(list, count);
    }
    return found;
}

static void
lock_until(struct marks_table *t, struct lab *l, const struct point *p, unsigned n, int64_t until)
{
    struct varve_error err;

    t->locked_most[n] = until;
    if (catalog_lock(l->catalog, p, NOW, until, "ann", "law", &err) == VARVE_OK) {
        t->locked_least[n] = until;
    }
}

static void
delete_until(struct marks_table *t, struct lab *l, const struct point *p, unsigned n, int64_t until)
{
    struct varve_error err;

    t->book.acked[0][n] = 0; /* listed or not */
    t->gone[n] = MAYBE;
    t->gone[n] = said(gc_delete_point(l->gc, p, NOW, until, "ann", "old", &err), YES);
}

static void
marks_run(void *table, struct fs *fs)
{
    struct point *p[POINTS + 1] = {NULL};
    struct marks_table *t = table;
    struct collect_cost cost = {.operations = 0};
    struct varve_error err;
    uint64_t removed = 0;
    size_t holds = 0;
    bool twice = false;
    bool gone = false;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, NULL, &err) != VARVE_OK) {
        lab_close(&l);
        return;
    }
    for (unsigned n = 1; n <= POINTS; n++) {
        p[n] = find(&l, n, &gone);
        assert_non_null(p[n]);
    }
    t->held[1] = said(catalog_hold(l.catalog, p[1], NOW, "ann", "audit", &err), YES);
    t->held[2] = said(catalog_hold(l.catalog, p[2], NOW, "ann", "audit", &err), YES);
    twice = catalog_hold(l.catalog, p[2], NOW, "ben", "once more", &err) == VARVE_OK;
    if (twice) {
        t->held[2] = t->held[2] == YES ? YES : MAYBE;
    }
    /* A hold that failed may be there all the same, and shows at the next open. */
    twice = twice && t->held[2] == YES;
    t->held[2] = said(catalog_release_holds(l.catalog, p[2], &holds, &err), twice ? NO : MAYBE);
    lock_until(t, &l, p[2], 2, NOW + WINDOW);
    lock_until(t, &l, p[2], 2, NOW + 2 * WINDOW);
    lock_until(t, &l, p[3], 3, NOW + WINDOW);
    delete_until(t, &l, p[4], 4, NOW + WINDOW);
    t->gone[4] = said(catalog_undelete(l.catalog, p[4], &err), NO);
    t->book.acked[0][4] = t->gone[4] == NO;
    delete_until(t, &l, p[5], 5, NOW);
    if (t->gone[5] == YES) {
        t->there[5] = said(gc_purge(l.gc, NOW, &removed, &cost, &err), NO);
        t->book.tried[0][5] = t->there[5] != NO;
    }
    for (unsigned n = 1; n <= POINTS; n++) {
        point_unref(p[n]);
    }
    lab_close(&l);
}

static enum varve_err
check_marks(struct marks_table *t, struct lab *l, unsigned n, struct varve_error *err)
{
    struct catalog_marks m;
    bool gone = false;
    struct point *p = find(l, n, &gone);
    enum varve_err rc;

    if ((p == NULL && t->there[n] == YES) || (p != NULL && t->there[n] == NO)) {
        point_unref(p);
        return varve_error_set(err, VARVE_ERR_INTERNAL, "point %u is %sthere", n,
                               p == NULL ? "not " : "");
    }
    if (p == NULL) {
        return VARVE_OK;
    }
    rc = catalog_marks_get(l->catalog, p, &m, err);
    if (rc == VARVE_OK) {
        if ((t->gone[n] == YES && !gone) || (t->gone[n] == NO && gone)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "point %u is %sdeleted", n,
                                 gone ? "" : "not ");
        } else if ((t->held[n] == YES && !m.held) || (t->held[n] == NO && m.held)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "point %u is %sheld", n,
                                 m.held ? "" : "not ");
        } else if (m.locked_until_us < t->locked_least[n] ||
                   m.locked_until_us > t->locked_most[n]) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "point %u is locked until %lld", n,
                                 (long long)m.locked_until_us);
        }
        catalog_marks_release(&m);
    }
    if (rc == VARVE_OK) {
        rc = lab_verify(l, p, err); /* deleted ones too: they can be undeleted */
    }
    point_unref(p);
    return rc;
}

static enum varve_err
marks_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct marks_table *t = table;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    for (unsigned n = 1; rc == VARVE_OK && n <= POINTS; n++) {
        rc = check_marks(t, &l, n, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_collects(&l, &t->book, err);
    }
    lab_close(&l);
    return rc;
}

static const struct sweep_case marks_case = {
    .name = "marks", .prepare = marks_prepare, .run = marks_run, .check = marks_check};

static void
marks_of_points_are_there_or_not_as_was_said(void **state)
{
    (void)state;
    sweep(&marks_case);
}

/* ---- policies ---- */

struct policy_table {
    struct lab_book book;
    uint32_t least; /* the last that was said to be saved; 0: none */
    uint32_t most;  /* the last that was tried */
};

static void *
policy_prepare(struct fs *fs)
{
    struct policy_table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, 1, 1, &err), &err);
    lab_close(&l);
    return t;
}

static void
policy_run(void *table, struct fs *fs)
{
    struct policy_table *t = table;
    struct varve_error err;
    struct lab l;

    if (lab_open(&l, fs, "/data", NULL, NULL, &err) == VARVE_OK) {
        for (uint32_t i = 1; i <= 4; i++) {
            struct policy_set set = {.count = 0};
            const struct policy p = {.name = "nightly", .last = i};

            assert_ok(policy_put(&set, &p, &err), &err);
            t->most = i;
            if (policy_save(l.cs, &set, &err) == VARVE_OK) {
                t->least = i;
            }
            policy_set_release(&set);
        }
    }
    lab_close(&l);
}

static enum varve_err
policy_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct policy_set set = {.count = 0};
    struct policy_table *t = table;
    const struct policy *p = NULL;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = lab_open(&l, fs, "/data", NULL, NULL, err);

    if (rc == VARVE_OK) {
        rc = policy_load(l.cs, &set, err);
    }
    if (rc == VARVE_OK) {
        uint32_t last;

        p = policy_find(&set, "nightly");
        last = p == NULL ? 0 : p->last;
        if (last < t->least || last > t->most) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "policy %u, %u to %u were saved", last,
                                 t->least, t->most);
        }
    }
    if (rc == VARVE_OK) { /* and it can be changed */
        const struct policy next = {.name = "nightly", .last = 9};

        rc = policy_put(&set, &next, err);
        rc = rc == VARVE_OK ? policy_save(l.cs, &set, err) : rc;
        policy_set_release(&set);
        memset(&set, 0, sizeof(set));
        rc = rc == VARVE_OK ? policy_load(l.cs, &set, err) : rc;
        p = policy_find(&set, "nightly");
        if (rc == VARVE_OK && (p == NULL || p->last != 9)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL, "the next policy is not in force");
        }
    }
    policy_set_release(&set);
    if (rc == VARVE_OK) {
        rc = lab_check(&l, &t->book, &points, err);
    }
    lab_close(&l);
    return rc;
}

static const struct sweep_case policy_case = {
    .name = "policies", .prepare = policy_prepare, .run = policy_run, .check = policy_check};

static void
policies_are_those_that_were_saved_last(void **state)
{
    (void)state;
    sweep(&policy_case);
}

/* ---- keys ---- */

#define SECRETS 3u

struct key_table {
    struct lab_book book;
    enum said opens[SECRETS];
};

static struct store_secret *
secret_of(struct fs *fs, unsigned which)
{
    uint8_t bytes[STORE_RECOVERY_SIZE];
    struct store_secret *s = NULL;
    struct varve_error err;

    if (which == 0) {
        assert_ok(store_secret_load(&s, fs, STORE_SECRET_KEY_FILE, "/data/store.key", &err), &err);
        return s;
    }
    memset(bytes, (int)which, sizeof(bytes));
    assert_ok(store_secret_new(&s, STORE_SECRET_RECOVERY, bytes, sizeof(bytes), "a test", &err),
              &err);
    return s;
}

/* id NULL: the secret `what` is added.  Errors are the caller's to look at. */
static enum varve_err
change(struct fs *fs, struct store_secret *own, struct store_secret *what, uint32_t *id,
       struct varve_error *err)
{
    struct store *objects = NULL;
    struct key_change c;
    enum varve_err rc = store_dir_open(&objects, fs, "/data/store", err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = key_change_begin(&c, objects, own, err);
    if (rc == VARVE_OK) {
        rc = what != NULL ? key_change_add(&c, what, KEY_COST_FLOOR, "a test", id, err)
                          : key_change_remove(&c, *id, err);
        key_change_end(&c);
    }
    store_close(objects);
    return rc;
}

static void *
key_prepare(struct fs *fs)
{
    struct key_table *t = calloc(1, sizeof(*t));
    struct varve_error err;
    struct lab l;

    assert_ok(lab_open(&l, fs, "/data", NULL, NULL, &err), &err);
    assert_ok(lab_fill(&l, &t->book, 1, 1, &err), &err);
    t->opens[0] = YES;
    lab_close(&l);
    return t;
}

static void
key_run(void *table, struct fs *fs)
{
    struct store_secret *secrets[SECRETS];
    struct key_table *t = table;
    struct varve_error err;
    uint32_t first = 0;
    uint32_t second = 0;

    for (unsigned i = 0; i < SECRETS; i++) {
        secrets[i] = secret_of(fs, i); /* reads only: no fault yet */
    }
    t->opens[1] = said(change(fs, secrets[0], secrets[1], &first, &err), YES);
    if (t->opens[1] == YES) {
        t->opens[2] = said(change(fs, secrets[1], secrets[2], &second, &err), YES);
        t->opens[1] = said(change(fs, secrets[0], NULL, &first, &err), NO);
    }
    for (unsigned i = 0; i < SECRETS; i++) {
        store_secret_free(secrets[i]);
    }
}

static enum varve_err
opens(struct fs *fs, unsigned which, struct varve_error *err)
{
    struct store_secret *s = secret_of(fs, which);
    struct store_params params = {.ring = NULL};
    struct store_keys *keys = NULL;
    struct store *objects = NULL;
    enum varve_err rc = store_dir_open_read(&objects, fs, "/data/store", err);

    if (rc == VARVE_OK) {
        rc = store_params_load(&params, objects, err);
    }
    if (rc == VARVE_OK) {
        rc = store_params_unlock(&params, s, &keys, NULL, err);
    }
    store_keys_free(keys);
    store_params_release(&params);
    store_close(objects);
    store_secret_free(s);
    return rc;
}

static enum varve_err
key_check(void *table, struct fs *fs, struct varve_error *err)
{
    struct key_table *t = table;
    unsigned points = 0;
    struct lab l;
    enum varve_err rc = VARVE_OK;

    for (int round = 0; rc == VARVE_OK && round < 2; round++) { /* before and after an open */
        for (unsigned i = 0; rc == VARVE_OK && i < SECRETS; i++) {
            enum varve_err one = opens(fs, i, err);

            if (one != VARVE_OK && one != VARVE_ERR_AUTH) {
                rc = one;
            } else if ((one == VARVE_OK && t->opens[i] == NO) ||
                       (one != VARVE_OK && t->opens[i] == YES)) {
                rc = varve_error_set(err, VARVE_ERR_INTERNAL, "secret %u opens the store: %s", i,
                                     one == VARVE_OK ? "yes" : "no");
            }
        }
        if (rc == VARVE_OK) {
            rc = lab_open(&l, fs, "/data", NULL, NULL, err);
            rc = rc == VARVE_OK ? lab_check(&l, &t->book, &points, err) : rc;
            lab_close(&l);
        }
    }
    return rc;
}

static const struct sweep_case key_case = {
    .name = "recipients", .prepare = key_prepare, .run = key_run, .check = key_check};

static void
a_change_of_recipients_locks_nobody_out_and_lets_nobody_in(void **state)
{
    (void)state;
    sweep(&key_case);
}

static void
the_sweeps_notice_folders_that_are_not_synced(void **state)
{
    (void)state;
    sweep_must_break(&marks_case, lying_folders);
    sweep_must_break(&policy_case, lying_folders);
    sweep_must_break(&key_case, lying_folders);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_of_points_are_there_or_not_as_was_said),
        cmocka_unit_test(policies_are_those_that_were_saved_last),
        cmocka_unit_test(a_change_of_recipients_locks_nobody_out_and_lets_nobody_in),
        cmocka_unit_test(the_sweeps_notice_folders_that_are_not_synced),
    };
    struct varve_error err;

    sweep_no_log();
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
