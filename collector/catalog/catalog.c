/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/catalog_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "catalog/point_internal.h"
#include "catalog/point_record.h"
#include "store/chunk_record.h"

#define POINT_PREFIX   "point/"
#define SEQ_DIGITS     16
#define POINT_NAME_LEN (sizeof(POINT_PREFIX) - 1 + GUID_TEXT_SIZE - 1 + 1 + SEQ_DIGITS)
/* Sealing adds 52 or 68 bytes, and the record stands twice (docs/format/store.md section 7). */
#define POINT_OBJECT_MAX (2 * (POINT_RECORD_MAX + 8192u))

void
catalog_object_name(const struct guid *vm, uint64_t seq, char out[STORE_NAME_MAX + 1])
{
    char text[GUID_TEXT_SIZE];

    guid_format(vm, text);
    (void)snprintf(out, STORE_NAME_MAX + 1, POINT_PREFIX "%s/%016" PRIx64, text, seq);
}

bool
catalog_object_name_parse(const char *name, struct guid *vm, uint64_t *seq)
{
    char text[GUID_TEXT_SIZE];
    char again[STORE_NAME_MAX + 1];

    if (strlen(name) != POINT_NAME_LEN) {
        return false;
    }
    memcpy(text, name + sizeof(POINT_PREFIX) - 1, GUID_TEXT_SIZE - 1);
    text[GUID_TEXT_SIZE - 1] = '\0';
    if (!guid_parse(vm, text)) {
        return false;
    }
    *seq = strtoull(name + POINT_NAME_LEN - SEQ_DIGITS, NULL, 16);
    catalog_object_name(vm, *seq, again);
    return *seq > 0 && strcmp(again, name) == 0;
}

/* ---- the tables ---- */

static int
compare_place(const struct point *p, const struct guid *vm, uint64_t seq)
{
    int d = guid_compare(&p->vm, vm);

    if (d != 0) {
        return d;
    }
    return p->seq < seq ? -1 : p->seq > seq ? 1 : 0;
}

/* Index of the first point that is not before (vm, seq). */
static size_t
lower_bound_locked(const struct catalog *c, const struct guid *vm, uint64_t seq)
{
    size_t lo = 0;
    size_t hi = c->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare_place(c->points[mid], vm, seq) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

void
catalog_range_locked(struct catalog *c, const struct guid *vm, size_t *first, size_t *count)
{
    *first = lower_bound_locked(c, vm, 0);
    *count = lower_bound_locked(c, vm, UINT64_MAX) - *first;
}

bool
catalog_find_locked(const struct catalog *c, const struct guid *vm, uint64_t seq, size_t *at)
{
    *at = lower_bound_locked(c, vm, seq);
    return *at < c->count && compare_place(c->points[*at], vm, seq) == 0;
}

static bool
grow(void **list, size_t count, size_t *cap, size_t item)
{
    size_t n = *cap == 0 ? 32 : *cap * 2;
    void *p = NULL;

    if (count < *cap) {
        return true;
    }
    p = realloc(*list, n * item);
    if (p == NULL) {
        return false;
    }
    *list = p;
    *cap = n;
    return true;
}

enum varve_err
catalog_reserve_locked(struct catalog *c, struct varve_error *err)
{
    void *list = c->points;

    if (!grow(&list, c->count + c->reserved, &c->cap, sizeof(c->points[0]))) {
        return varve_error_nomem(err);
    }
    c->points = list;
    c->reserved++;
    return VARVE_OK;
}

void
catalog_insert_locked(struct catalog *c, struct point *p)
{
    size_t at = lower_bound_locked(c, &p->vm, p->seq);

    memmove(&c->points[at + 1], &c->points[at], (c->count - at) * sizeof(c->points[0]));
    c->points[at] = p;
    c->count++;
    c->reserved--;
}

struct catalog_vm *
catalog_vm_locked(struct catalog *c, const struct guid *id)
{
    void *list = c->vms;
    size_t lo = 0;
    size_t hi = c->vm_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (guid_compare(&c->vms[mid].id, id) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo < c->vm_count && guid_equal(&c->vms[lo].id, id)) {
        return &c->vms[lo];
    }
    if (!grow(&list, c->vm_count, &c->vm_cap, sizeof(c->vms[0]))) {
        return NULL;
    }
    c->vms = list;
    memmove(&c->vms[lo + 1], &c->vms[lo], (c->vm_count - lo) * sizeof(c->vms[0]));
    c->vms[lo] = (struct catalog_vm){.id = *id};
    c->vm_count++;
    return &c->vms[lo];
}

static enum varve_err
add_damage_locked(struct catalog *c, const char *name, const char *reason, struct varve_error *err)
{
    void *list = c->damaged;
    struct catalog_damage *d = NULL;

    if (!grow(&list, c->damaged_count, &c->damaged_cap, sizeof(c->damaged[0]))) {
        return varve_error_nomem(err);
    }
    c->damaged = list;
    d = &c->damaged[c->damaged_count++];
    (void)snprintf(d->name, sizeof(d->name), "%s", name);
    (void)snprintf(d->reason, sizeof(d->reason), "%s", reason);
    return VARVE_OK;
}

/* ---- reading objects ---- */

enum varve_err
catalog_check(struct catalog *c, const struct point *p, struct varve_error *err)
{
    uint32_t chunk_size = chunk_store_chunk_size(c->cs);

    for (size_t i = 0; i < p->disk_count; i++) {
        const struct point_disk *d = &p->disks[i];

        if (div_round_up_u64(d->size, chunk_size) != d->root.chunk_count) {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "disk '%s' of %" PRIu64 " bytes has a manifest of %" PRIu64
                                   " chunks",
                                   d->name, d->size, d->root.chunk_count);
        }
    }
    return VARVE_OK;
}

/* An object, and what is sealed in it. */
struct opened {
    uint8_t *sealed;
    size_t sealed_len;
    uint8_t *plain;
    size_t len;
    struct chunk_domain *domain;
};

static void
opened_release(struct opened *o)
{
    free(o->plain);
    free(o->sealed);
    memset(o, 0, sizeof(*o));
}

/* The object stands under `object` and was sealed as `name`.  Release in any case. */
static enum varve_err
open_object(struct catalog *c, const char *object, const char *name, struct opened *o,
            struct varve_error *err)
{
    struct store *store = chunk_store_objects(c->cs);
    uint64_t size = 0;
    enum varve_err rc = store_size(store, object, &size, err);

    if (rc == VARVE_OK && size > POINT_OBJECT_MAX) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are too many for a point",
                             size);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    o->sealed_len = (size_t)size;
    o->sealed = malloc(o->sealed_len + 1);
    if (o->sealed == NULL) {
        return varve_error_nomem(err);
    }
    rc = chunk_record_read(store, object, o->sealed, o->sealed_len, err);
    if (rc == VARVE_OK) {
        rc = chunk_store_open_record(c->cs, name, o->sealed, o->sealed_len, &o->plain, &o->len,
                                     &o->domain, err);
    }
    return rc;
}

enum varve_err
catalog_read_object(struct catalog *c, const char *object, const char *name, uint8_t **out,
                    size_t *out_len, struct varve_error *err)
{
    struct opened o = {.sealed = NULL};
    enum varve_err rc = open_object(c, object, name, &o, err);

    if (rc == VARVE_OK && out != NULL) {
        *out = o.sealed;
        *out_len = o.sealed_len;
        o.sealed = NULL;
    }
    opened_release(&o);
    return rc;
}

static enum varve_err
read_point(struct catalog *c, const char *name, const struct guid *vm, uint64_t seq,
           bool with_files, struct point **out, struct varve_error *err)
{
    struct opened o = {.sealed = NULL};
    char aside[STORE_NAME_MAX + 1];
    struct varve_error ignored;
    struct point *p = NULL;
    enum varve_err rc = open_object(c, name, name, &o, err);

    if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO || rc == VARVE_ERR_NOT_FOUND) {
        catalog_lost_name(name, aside);
        opened_release(&o);
        rc = open_object(c, aside, name, &o, &ignored) == VARVE_OK ? VARVE_OK : err->code;
    }
    if (rc == VARVE_OK) {
        rc = point_decode(&p, o.plain, o.len, with_files, err);
    }
    if (rc == VARVE_OK) {
        p->domain = *chunk_domain_id(o.domain);
    }
    if (rc == VARVE_OK && (!guid_equal(&p->vm, vm) || p->seq != seq)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the point is of another vm or number");
    }
    if (rc == VARVE_OK) {
        rc = catalog_check(c, p, err);
    }
    if (rc == VARVE_OK) {
        *out = p;
        p = NULL;
    }
    point_unref(p);
    opened_release(&o);
    return rc;
}

void
catalog_compact(struct catalog *c, struct point **p)
{
    struct point *like = NULL;
    struct point *compact = NULL;

    catalog_latest(c, &(*p)->vm, &like);
    compact = point_compact(*p, like);
    point_unref(like);
    if (compact != NULL) {
        point_unref(*p);
        *p = compact;
    }
}

enum varve_err
catalog_adopt(struct catalog *c, const char *name, struct varve_error *err)
{
    struct catalog_vm *row = NULL;
    struct point *p = NULL;
    struct guid vm;
    uint64_t seq = 0;
    enum varve_err rc;

    if (!catalog_object_name_parse(name, &vm, &seq)) {
        return VARVE_OK;
    }
    rc = read_point(c, name, &vm, seq, false, &p, err);
    if (rc == VARVE_ERR_NOMEM) {
        return rc;
    }
    if (p != NULL) {
        catalog_compact(c, &p);
    }
    mutex_lock(&c->lock);
    row = catalog_vm_locked(c, &vm);
    if (row == NULL) {
        rc = varve_error_nomem(err);
    } else {
        if (seq > row->last_seq) {
            row->last_seq = seq;
        }
        if (p != NULL) {
            rc = catalog_reserve_locked(c, err);
            if (rc == VARVE_OK) {
                catalog_insert_locked(c, p);
                p = NULL;
            }
        } else {
            log_error("catalog", "a point cannot be read object=%s reason=%s", name, err->msg);
            rc = add_damage_locked(c, name, err->msg, err);
        }
    }
    mutex_unlock(&c->lock);
    point_unref(p);
    return rc;
}

/* ---- open and close ---- */

struct loading {
    struct catalog *c;
    struct varve_error *err;
    enum varve_err rc;
};

static bool
load_one(void *arg, const char *name, uint64_t size)
{
    struct loading *l = arg;

    (void)size;
    l->rc = catalog_adopt(l->c, name, l->err);
    return l->rc == VARVE_OK;
}

enum varve_err
catalog_open(struct catalog **out, struct chunk_store *cs, struct varve_error *err)
{
    struct catalog *c = NULL;
    struct varve_error reason = {.code = VARVE_OK};
    struct loading l;
    enum varve_err rc;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return varve_error_nomem(err);
    }
    c->cs = cs;
    mutex_init(&c->lock);
    mutex_init(&c->marks_lock);
    cond_init(&c->published);
    l = (struct loading){.c = c, .err = &reason, .rc = VARVE_OK};
    rc = catalog_finish_lost(c, err);
    if (rc == VARVE_OK) {
        rc = store_list(chunk_store_objects(cs), POINT_PREFIX, load_one, &l, err);
    }
    if (rc == VARVE_OK && l.rc != VARVE_OK) {
        *err = reason;
        rc = l.rc;
    }
    if (rc == VARVE_OK) {
        rc = catalog_adopt_lost(c, err);
    }
    if (rc == VARVE_OK) {
        rc = catalog_load_marks(c, err);
    }
    if (rc != VARVE_OK) {
        catalog_close(c);
        return varve_error_prefix(err, "reading the catalog");
    }
    *out = c;
    return VARVE_OK;
}

void
catalog_close(struct catalog *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        point_unref(c->points[i]);
    }
    for (size_t i = 0; i < c->gone_count; i++) {
        point_unref(c->gone[i]);
    }
    for (size_t i = 0; i < c->mark_count; i++) {
        mark_release(&c->marks[i]);
    }
    free(c->hits);
    free(c->missing);
    free(c->unsettled);
    free(c->marks);
    free(c->gone);
    free(c->points);
    free(c->vms);
    free(c->damaged);
    cond_destroy(&c->published);
    mutex_destroy(&c->marks_lock);
    mutex_destroy(&c->lock);
    free(c);
}

/* ---- answers ---- */

static int
newest_first(const void *a, const void *b)
{
    const struct point *p = *(struct point *const *)a;
    const struct point *q = *(struct point *const *)b;
    int d = p->published_at_us < q->published_at_us   ? 1
            : p->published_at_us > q->published_at_us ? -1
                                                      : guid_compare(&p->vm, &q->vm);

    return d != 0 ? d : p->seq < q->seq ? 1 : p->seq > q->seq ? -1 : 0;
}

enum varve_err
catalog_list_by_vm(struct catalog *c, const struct guid *vm, struct point ***out, size_t *count,
                   struct varve_error *err)
{
    struct point **list = NULL;
    size_t first = 0;
    size_t n;

    mutex_lock(&c->lock);
    n = c->count;
    if (vm != NULL) {
        catalog_range_locked(c, vm, &first, &n);
    }
    list = calloc(n > 0 ? n : 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < n; i++) {
        list[i] = c->points[first + n - 1 - i];
        point_ref(list[i]);
    }
    mutex_unlock(&c->lock);
    if (list == NULL) {
        return varve_error_nomem(err);
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

enum varve_err
catalog_list(struct catalog *c, const struct guid *vm, struct point ***out, size_t *count,
             struct varve_error *err)
{
    enum varve_err rc = catalog_list_by_vm(c, vm, out, count, err);

    if (rc == VARVE_OK && vm == NULL && *count > 1) {
        qsort(*out, *count, sizeof(**out), newest_first);
    }
    return rc;
}

void
catalog_list_free(struct point **points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        point_unref(points[i]);
    }
    free(points);
}

void
catalog_latest(struct catalog *c, const struct guid *vm, struct point **out)
{
    size_t first;
    size_t count;

    *out = NULL;
    mutex_lock(&c->lock);
    catalog_range_locked(c, vm, &first, &count);
    if (count > 0) {
        *out = c->points[first + count - 1];
        point_ref(*out);
    }
    mutex_unlock(&c->lock);
}

enum varve_err
catalog_load(struct catalog *c, const struct point *p, struct point **out, struct varve_error *err)
{
    char name[STORE_NAME_MAX + 1];
    enum varve_err rc;

    catalog_object_name(&p->vm, p->seq, name);
    rc = read_point(c, name, &p->vm, p->seq, true, out, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading point '%s'", name);
}

enum varve_err
catalog_damaged(struct catalog *c, struct catalog_damage **out, size_t *count,
                struct varve_error *err)
{
    struct catalog_damage *list = NULL;
    int64_t now_us = catalog_now(c);

    mutex_lock(&c->lock);
    list = calloc(c->damaged_count + c->missing_count + 1, sizeof(*list));
    if (list != NULL) {
        if (c->damaged_count > 0) {
            memcpy(list, c->damaged, c->damaged_count * sizeof(*list));
        }
        *count = c->damaged_count;
        *count += catalog_missed_locked(c, now_us, list + c->damaged_count, c->missing_count);
        *out = list;
    }
    mutex_unlock(&c->lock);
    return list != NULL ? VARVE_OK : varve_error_nomem(err);
}

/* ---- for who counts, keeps and deletes ---- */

enum varve_err
catalog_list_gone(struct catalog *c, const struct guid *vm, struct point ***out, size_t *count,
                  struct varve_error *err)
{
    struct point **list = NULL;
    size_t n = 0;

    mutex_lock(&c->lock);
    list = calloc(c->gone_count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < c->gone_count; i++) {
        if (vm == NULL || guid_equal(&c->gone[i]->vm, vm)) {
            list[n++] = c->gone[i];
            point_ref(c->gone[i]);
        }
    }
    mutex_unlock(&c->lock);
    if (list == NULL) {
        return varve_error_nomem(err);
    }
    if (n > 1) {
        qsort(list, n, sizeof(*list), newest_first);
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

enum varve_err
catalog_list_all(struct catalog *c, struct point ***out, size_t *count, size_t *unreadable,
                 struct varve_error *err)
{
    struct point **list = NULL;
    size_t n = 0;

    mutex_lock(&c->lock);
    list = calloc(c->count + c->gone_count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < c->count + c->gone_count; i++) {
        list[n] = i < c->count ? c->points[i] : c->gone[i - c->count];
        point_ref(list[n++]);
    }
    *unreadable = c->damaged_count + catalog_count_missing_locked(c);
    mutex_unlock(&c->lock);
    if (list == NULL) {
        return varve_error_nomem(err);
    }
    *out = list;
    *count = n;
    return VARVE_OK;
}

static bool
is_damaged_locked(const struct catalog *c, const struct guid *vm, uint64_t seq)
{
    char name[STORE_NAME_MAX + 1];
    bool found = false;

    catalog_object_name(vm, seq, name);
    for (size_t i = 0; !found && i < c->damaged_count; i++) {
        found = strcmp(c->damaged[i].name, name) == 0;
    }
    return found;
}

bool
catalog_is_damaged(struct catalog *c, const struct guid *vm, uint64_t seq)
{
    bool found;

    mutex_lock(&c->lock);
    found = is_damaged_locked(c, vm, seq);
    mutex_unlock(&c->lock);
    return found;
}

bool
catalog_is_unreadable(struct catalog *c, const struct guid *vm, uint64_t seq)
{
    bool found;

    mutex_lock(&c->lock);
    found = is_damaged_locked(c, vm, seq) || catalog_is_missing_locked(c, vm, seq);
    mutex_unlock(&c->lock);
    return found;
}

void
catalog_on_publish(struct catalog *c, void (*cb)(void *arg, const struct point *p), void *arg)
{
    c->on_publish = cb;
    c->on_publish_arg = arg;
}

void
catalog_set_clock(struct catalog *c, int64_t (*now_us)(void *arg), void *arg)
{
    c->now_us = now_us;
    c->now_arg = arg;
}
