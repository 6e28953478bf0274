/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "catalog/catalog_internal.h"
#include "store/chunk_record.h"

/* Marks as they are found when the catalog is opened, after the points. */

struct mark_names {
    struct catalog_mark *list;
    size_t count;
    size_t cap;
    bool nomem;
};

static bool
note_name(void *arg, const char *name, uint64_t size)
{
    struct mark_names *n = arg;
    struct catalog_mark m;

    (void)size;
    if (!mark_object_name_parse(&m, name)) {
        return true;
    }
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 64 : n->cap * 2;
        struct catalog_mark *p = realloc(n->list, cap * sizeof(*p));

        if (p == NULL) {
            n->nomem = true;
            return false;
        }
        n->list = p;
        n->cap = cap;
    }
    n->list[n->count++] = m;
    return true;
}

/* *domain: that of the record, NULL where it cannot be opened. */
static enum varve_err
read_mark(struct catalog *c, struct catalog_mark *m, const char *name, struct chunk_domain **domain,
          struct varve_error *err)
{
    struct store *store = chunk_store_objects(c->cs);
    uint8_t sealed[2 * MARK_RECORD_MAX + 8192]; /* the record stands twice */
    struct catalog_mark said = {.kind = MARK_GONE};
    uint8_t *plain = NULL;
    uint64_t size = 0;
    size_t len = 0;
    enum varve_err rc = store_size(store, name, &size, err);

    if (rc == VARVE_OK && size > sizeof(sealed)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no mark", size);
    }
    if (rc == VARVE_OK) {
        rc = chunk_record_read(store, name, sealed, (size_t)size, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_open_record(c->cs, name, sealed, (size_t)size, &plain, &len, domain, err);
    }
    if (rc == VARVE_OK) {
        rc = mark_decode(&said, plain, len, err);
    }
    free(plain);
    if (rc == VARVE_OK && said.kind != m->kind) {
        mark_release(&said);
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the mark is of another kind");
    }
    if (rc == VARVE_OK) {
        said.vm = m->vm;
        said.seq = m->seq;
        said.tag = m->tag;
        *m = said;
    }
    return rc;
}

/* What is known of a mark that cannot be read: a lock's moment is in its name, anything else holds. */
static enum varve_err
make_of_name(struct catalog_mark *m, struct varve_error *err)
{
    m->until_us = m->kind != MARK_LOCK                     ? 0
                  : m->tag > (uint64_t)INT64_MAX / 1000000 ? INT64_MAX
                                                           : (int64_t)m->tag * 1000000;
    m->kind = m->kind == MARK_LOCK ? MARK_LOCK : MARK_HOLD;
    m->who = strdup("");
    m->why = strdup("its mark cannot be read");
    if (m->who == NULL || m->why == NULL) {
        mark_release(m);
        return varve_error_nomem(err);
    }
    return VARVE_OK;
}

/* Of a point that is there. */
static enum varve_err
adopt_mark(struct catalog *c, struct catalog_mark *m, const char *name, const struct point *p,
           struct varve_error *err)
{
    struct chunk_domain *domain = NULL;
    struct varve_error why;
    enum varve_err rc = read_mark(c, m, name, &domain, &why);

    if (rc == VARVE_ERR_NOMEM) {
        *err = why;
        return rc;
    }
    if (rc == VARVE_OK && m->kind != MARK_LOCK && !guid_equal(&m->point, &p->id)) {
        mark_release(m);
        rc = varve_error_set(&why, VARVE_ERR_CORRUPT, "the mark is of another point");
    }
    if (rc != VARVE_OK) {
        log_error("catalog", "a mark cannot be read, its point is held object=%s reason=%s", name,
                  why.msg);
        rc = make_of_name(m, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    rc = catalog_insert_mark(c, m, err);
    if (rc != VARVE_OK) {
        mark_release(m);
        return rc;
    }
    if (m->kind == MARK_GONE) {
        rc = catalog_reserve_gone(c, err);
        if (rc == VARVE_OK) {
            catalog_move_to_gone(c, p);
        }
    }
    return rc;
}

/*
 * Of a point that has no object.  Nothing is removed here: only who knows the time can tell a purge that was cut off from a point that
 * was lost.  A gone mark of a domain whose key is not there is what a purge left before a tenant was removed.
 */
static enum varve_err
adopt_without_point(struct catalog *c, struct catalog_mark *m, const char *name,
                    struct varve_error *err)
{
    struct chunk_domain *domain = NULL;
    struct varve_error why;
    enum varve_err rc = read_mark(c, m, name, &domain, &why);

    if (rc == VARVE_ERR_NOMEM) {
        *err = why;
        return rc;
    }
    if (rc != VARVE_OK) {
        bool purged = rc == VARVE_ERR_AUTH && m->kind == MARK_GONE;

        log_error("catalog", "a mark without a point cannot be read object=%s reason=%s", name,
                  why.msg);
        rc = make_of_name(m, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        m->kind = purged ? MARK_GONE : m->kind;
    }
    rc = catalog_note_missing(c, m, domain == NULL ? NULL : chunk_domain_id(domain), err);
    if (rc == VARVE_OK) {
        rc = catalog_insert_mark(c, m, err);
    }
    if (rc != VARVE_OK) {
        mark_release(m);
    }
    return rc;
}

static enum varve_err
look_at_mark(struct catalog *c, struct catalog_mark *m, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    struct catalog_vm *row = NULL;
    struct point *p = NULL;
    size_t at = 0;

    mark_object_name(m, name);
    mutex_lock(&c->lock);
    p = catalog_find_locked(c, &m->vm, m->seq, &at) ? c->points[at] : NULL;
    for (size_t i = 0; p == NULL && i < c->gone_count; i++) {
        if (c->gone[i]->seq == m->seq && guid_equal(&c->gone[i]->vm, &m->vm)) {
            p = c->gone[i];
        }
    }
    if (p == NULL) { /* its number must not be given again while the mark is there */
        row = catalog_vm_locked(c, &m->vm);
        if (row != NULL && row->last_seq < m->seq) {
            row->last_seq = m->seq;
        }
    }
    mutex_unlock(&c->lock);
    if (p != NULL) {
        return adopt_mark(c, m, name, p, err);
    }
    if (row == NULL) {
        return varve_error_nomem(err);
    }
    return catalog_is_damaged(c, &m->vm, m->seq) ? VARVE_OK : adopt_without_point(c, m, name, err);
}

enum varve_err
catalog_load_marks(struct catalog *c, struct varve_error *err)
{
    static const char *const prefixes[] = {"hold/", "lock/", "gone/"};
    struct mark_names names = {.count = 0};
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        rc = store_list(chunk_store_objects(c->cs), prefixes[i], note_name, &names, err);
    }
    if (rc == VARVE_OK && names.nomem) {
        rc = varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < names.count; i++) {
        rc = look_at_mark(c, &names.list[i], err);
    }
    if (rc == VARVE_OK) {
        catalog_judge_missing(c);
    }
    free(names.list);
    return rc;
}
