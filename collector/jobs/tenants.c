/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/tenants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "catalog/catalog_marks.h"
#include "crypto/identity.h"

struct adopting {
    struct state *st;
    const struct tenant *known;
    size_t known_count;
    struct varve_error *err;
    enum varve_err rc;
};

static bool
is_known(const struct adopting *a, const struct guid *id)
{
    for (size_t i = 0; i < a->known_count; i++) {
        if (guid_equal(&a->known[i].id, id)) {
            return true;
        }
    }
    return false;
}

static bool
adopt(void *arg, struct chunk_domain *d)
{
    struct adopting *a = arg;
    char id[GUID_TEXT_SIZE];

    if (is_known(a, chunk_domain_id(d))) {
        return true;
    }
    guid_format(chunk_domain_id(d), id);
    a->rc =
        state_tenant_add(a->st, chunk_domain_id(d), chunk_domain_name(d), time_now_us(), a->err);
    if (a->rc == VARVE_ERR_EXISTS || a->rc == VARVE_ERR_INVALID) {
        /* Another has the name by now. */
        a->rc = state_tenant_add(a->st, chunk_domain_id(d), id, time_now_us(), a->err);
    }
    if (a->rc == VARVE_OK) {
        log_warn("tenant",
                 "the store has a domain '%s' (%s) that the state file did not know: "
                 "it is a tenant again",
                 chunk_domain_name(d), id);
    }
    return a->rc == VARVE_OK;
}

enum varve_err
tenants_adopt(struct state *st, struct chunk_store *cs, struct varve_error *err)
{
    struct adopting a = {.st = st, .err = err};
    struct tenant *known = NULL;
    struct chunk_domain *d = NULL;
    struct varve_error missing;
    size_t count = 0;
    enum varve_err rc = state_tenant_list(st, &known, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    a.known = known;
    a.known_count = count;
    chunk_store_each_domain(cs, adopt, &a);
    for (size_t i = 0; i < count; i++) {
        if (chunk_store_domain(cs, &known[i].id, &d, &missing) != VARVE_OK) {
            log_error("tenant", "tenant '%s' cannot back up or restore: %s", known[i].name,
                      missing.msg);
        }
    }
    tenant_list_free(known, count);
    return a.rc;
}

enum varve_err
tenants_add(struct state *st, struct chunk_store *cs, const char *name, struct tenant *out,
            struct varve_error *err)
{
    struct chunk_domain *d = NULL;
    struct varve_error undo;
    struct tenant t;
    uint8_t random[16];
    enum varve_err rc;

    memset(&t, 0, sizeof(t));
    crypto_random(random, sizeof(random));
    guid_from_random(&t.id, random);
    t.created_at_us = time_now_us();
    rc = state_tenant_select(st, name, out, &undo);
    if (rc == VARVE_OK) {
        tenant_release(out);
        return varve_error_set(err, VARVE_ERR_EXISTS, "there is a tenant '%.64s' already", name);
    }
    t.name = strdup(name);
    if (t.name == NULL) {
        return varve_error_nomem(err);
    }
    rc = chunk_store_make_domain(cs, &t.id, name, &d, err);
    if (rc == VARVE_OK) {
        rc = state_tenant_add(st, &t.id, name, t.created_at_us, err);
        if (rc != VARVE_OK && chunk_store_remove_domain(cs, d, &undo) != VARVE_OK) {
            log_warn("tenant", "a domain nobody uses stays: %s", undo.msg);
        }
    }
    if (rc != VARVE_OK) {
        tenant_release(&t);
        return rc;
    }
    *out = t;
    return VARVE_OK;
}

/* Adds those of the tenant; frees the list. */
static void
count_list(struct point **points, size_t count, const struct guid *tenant, size_t *n)
{
    for (size_t i = 0; i < count; i++) {
        *n += guid_equal(&points[i]->domain, tenant) ? 1 : 0;
    }
    catalog_list_free(points, count);
}

enum varve_err
tenants_count_points(struct catalog *catalog, const struct guid *tenant, size_t *out,
                     struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    size_t n = 0;
    enum varve_err rc = catalog_list(catalog, NULL, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    count_list(points, count, tenant, &n);
    points = NULL;
    count = 0;
    rc = catalog_list_gone(catalog, NULL, &points, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    count_list(points, count, tenant, &n);
    *out = n + catalog_count_missed(catalog, tenant);
    return VARVE_OK;
}

enum varve_err
tenants_remove(struct state *st, struct chunk_store *cs, struct catalog *catalog,
               const struct tenant *t, struct varve_error *err)
{
    struct chunk_domain *d = NULL;
    struct varve_error missing;
    size_t points = 0;
    enum varve_err rc;

    if (guid_is_zero(&t->id)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the default tenant cannot be removed: hosts without one are its");
    }
    rc = tenants_count_points(catalog, &t->id, &points, err);
    if (rc == VARVE_OK && points > 0) {
        rc = varve_error_set(
            err, VARVE_ERR_BUSY,
            "tenant '%.64s' still has %zu points, deleted ones that can be undeleted and lost ones "
            "included; delete them and let their time pass first",
            t->name, points);
    }
    if (rc == VARVE_OK) { /* from here on no host can become its */
        rc = state_tenant_remove(st, &t->id, err);
    }
    if (rc == VARVE_OK && chunk_store_domain(cs, &t->id, &d, &missing) == VARVE_OK) {
        rc = chunk_store_remove_domain(cs, d, err);
    }
    return rc;
}
