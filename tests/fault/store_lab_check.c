/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_lab.h"

#include <stdlib.h>
#include <string.h>

/* The promises. */

static enum varve_err
check_listed(struct lab *l, const struct lab_book *book, struct point **list, size_t count,
             struct varve_error *err)
{
    static uint8_t seen[LAB_VMS][LAB_RUNS_MAX];
    enum varve_err rc = VARVE_OK;

    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (vm >= LAB_VMS || number >= LAB_RUNS_MAX || !book->tried[vm][number]) {
            return varve_error_set(err, VARVE_ERR_INTERNAL, "run %u of vm %u was never published",
                                   number, vm);
        }
        seen[vm][number] = 1;
        rc = lab_verify(l, list[i], err);
    }
    for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) {
        for (unsigned n = 0; rc == VARVE_OK && n < LAB_RUNS_MAX; n++) {
            if (book->acked[vm][n] && !seen[vm][n]) {
                rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                                     "run %u of vm %u was acknowledged and is not listed", n, vm);
            }
        }
    }
    return rc;
}

enum varve_err
lab_fill(struct lab *l, struct lab_book *book, unsigned vms, unsigned runs, struct varve_error *err)
{
    for (unsigned n = 1; n <= runs; n++) {
        for (unsigned vm = 0; vm < vms; vm++) {
            enum varve_err rc;

            book->tried[vm][n] = 1;
            rc = lab_backup(l, vm, n, err);
            if (rc != VARVE_OK) {
                return rc;
            }
            book->acked[vm][n] = 1;
        }
    }
    return VARVE_OK;
}

enum varve_err
lab_check(struct lab *l, const struct lab_book *book, unsigned *points, struct varve_error *err)
{
    struct catalog_damage *damage = NULL;
    struct point **list = NULL;
    size_t damaged = 0;
    size_t count = 0;
    enum varve_err rc;

    rc = catalog_damaged(l->catalog, &damage, &damaged, err);
    if (rc == VARVE_OK && damaged > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "object '%s' is damaged: %s", damage[0].name,
                             damage[0].reason);
    }
    free(damage);
    if (rc == VARVE_OK) {
        rc = catalog_list(l->catalog, NULL, &list, &count, err);
    }
    if (rc == VARVE_OK) {
        rc = check_listed(l, book, list, count, err);
        *points = (unsigned)count;
        catalog_list_free(list, count);
    }
    return rc;
}

enum varve_err
lab_check_goes_on(struct lab *l, struct lab_book *book, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (unsigned vm = 0; rc == VARVE_OK && vm < LAB_VMS; vm++) {
        struct guid id = lab_vm_id(vm);
        struct point *p = NULL;
        unsigned number = LAB_RUNS_MAX - 1;

        while (number > 1 && !book->tried[vm][number - 1]) {
            number--;
        }
        book->tried[vm][number] = 1;
        rc = lab_backup(l, vm, number, err);
        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "the next run");
        }
        book->acked[vm][number] = 1;
        catalog_latest(l->catalog, &id, &p);
        rc = lab_verify(l, p, err);
        point_unref(p);
    }
    return rc;
}

enum varve_err
lab_collect(struct lab *l, unsigned percent, struct gc_result *out, struct varve_error *err)
{
    const struct gc_options options = {.now_us = LAB_NOW, .move_percent = percent};
    struct gc_result unused;
    enum varve_err rc;

    out = out == NULL ? &unused : out;
    rc = gc_collect(l->gc, &options, out, err);
    if (rc == VARVE_OK && out->blocked.code != VARVE_OK) {
        *err = out->blocked;
        rc = err->code;
    }
    return rc;
}

/* Every count is what a full mark says. */
static enum varve_err
check_counts(struct lab *l, struct varve_error *err)
{
    struct account_check counts;
    enum varve_err rc = gc_check(l->gc, NULL, &counts, err);

    if (rc == VARVE_OK && (counts.missing > 0 || counts.extra > 0)) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "%llu counts too low, %llu too high",
                             (unsigned long long)counts.missing, (unsigned long long)counts.extra);
    }
    return rc;
}

enum varve_err
lab_check_collects(struct lab *l, struct lab_book *book, struct varve_error *err)
{
    unsigned points = 0;
    enum varve_err rc = lab_check(l, book, &points, err);

    if (rc == VARVE_OK) {
        rc = check_counts(l, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_collect(l, 101, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check(l, book, &points, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_check_goes_on(l, book, err);
    }
    if (rc == VARVE_OK) {
        rc = check_counts(l, err);
    }
    return rc == VARVE_OK ? lab_check(l, book, &points, err) : rc;
}
