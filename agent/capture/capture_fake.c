/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_capture {
    struct capture base;
    struct fake_host *host;
    unsigned node; /* whose agent's this is */
};

static struct fake_host *
host_of(struct capture *c)
{
    return ((struct fake_capture *)c)->host;
}

static char *
fake_text(const char *text)
{
    size_t len = strlen(text) + 1;
    char *p = malloc(len);

    if (p == NULL) {
        abort();
    }
    return memcpy(p, text, len);
}

static void
fake_close(struct capture *c)
{
    free(c);
}

static enum varve_err
fake_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    size_t i;

    (void)err;
    memset(out, 0, sizeof(*out));
    out->vms = calloc(1, sizeof(*out->vms));
    if (out->vms == NULL) {
        abort();
    }
    out->count = 1;
    out->vms[0].id = h->vm;
    out->vms[0].name = fake_text("fake");
    out->vms[0].generation = 2;
    (void)snprintf(out->vms[0].state, sizeof(out->vms[0].state), "running");
    out->vms[0].reason = fake_text("for tests");
    out->vms[0].disks = calloc(FAKE_DISKS, sizeof(*out->vms[0].disks));
    if (out->vms[0].disks == NULL) {
        abort();
    }
    out->vms[0].disk_count = FAKE_DISKS;
    for (i = 0; i < FAKE_DISKS; i++) {
        struct capture_disk *d = &out->vms[0].disks[i];

        d->id = h->disks[i];
        d->name = fake_text("fake.vhdx");
        d->path = fake_text("/fake.vhdx");
        d->size = FAKE_DISK_SIZE;
        (void)snprintf(d->format, sizeof(d->format), "vhdx");
        d->logical_sector = 512;
        d->tracked = true;
    }
    (void)snprintf(out->provider, sizeof(out->provider), "fake");
    return VARVE_OK;
}

static enum varve_err
fake_check_vm(struct capture *c, const struct guid *vm, struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    bool here;

    mutex_lock(&h->lock);
    here = guid_equal(&h->vm, vm) && h->node == ((struct fake_capture *)c)->node;
    mutex_unlock(&h->lock);
    return here ? VARVE_OK : varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such vm");
}

static enum varve_err
fake_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
           struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    struct capture_marks marks = {0};
    size_t i;
    enum varve_err rc = fake_check_vm(c, vm, err);

    mutex_lock(&h->lock);
    for (i = 0; rc == VARVE_OK && i < FAKE_POINTS; i++) {
        char id[CAPTURE_ID_MAX];

        if (h->points[i].kind == POINT_REFPOINT) {
            fake_point_id(&h->points[i], POINT_REFPOINT, id);
            rc = capture_marks_add(&marks, id, err);
        }
    }
    mutex_unlock(&h->lock);
    if (rc == VARVE_OK) {
        *out = marks;
    }
    return rc;
}

static void
fake_describe(const struct fake_host *h, const struct fake_point *p, struct capture_frozen *out)
{
    size_t i;

    memset(out, 0, sizeof(*out));
    out->vm = h->vm;
    out->generation = 2;
    fake_point_id(p, POINT_CHECKPOINT, out->checkpoint);
    out->frozen_at_us = p->at_us;
    out->consistency = CAPTURE_APPLICATION;
    out->keeps = true;
    (void)snprintf(out->reason, sizeof(out->reason), "for tests");
    out->disks = calloc(FAKE_DISKS, sizeof(*out->disks));
    if (out->disks == NULL) {
        abort();
    }
    out->disk_count = FAKE_DISKS;
    for (i = 0; i < FAKE_DISKS; i++) {
        char path[64];

        (void)snprintf(path, sizeof(path), "/cp-%u/%zu", p->moment, i);
        out->disks[i].id = h->disks[i];
        out->disks[i].name = fake_text(i == 0 ? "a.vhdx" : "b.vhdx");
        out->disks[i].path = fake_text(path);
        out->disks[i].size = FAKE_DISK_SIZE;
        out->disks[i].tracked = true;
    }
}

static enum varve_err
fake_begin(struct capture *c, const struct guid *vm, const struct guid *run, struct cancel *cancel,
           struct capture_frozen *out, struct notes *notes, struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    char tag[GUID_TEXT_SIZE];
    enum varve_err rc = fake_check_vm(c, vm, err);

    (void)cancel;
    (void)notes;
    if (rc != VARVE_OK) {
        return rc;
    }
    guid_format(run, tag);
    mutex_lock(&h->lock);
    fake_describe(h, fake_point_new(h, POINT_CHECKPOINT, tag), out);
    mutex_unlock(&h->lock);
    return VARVE_OK;
}

static enum varve_err
fake_find(struct capture *c, const struct guid *vm, const struct guid *run,
          char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    char tag[GUID_TEXT_SIZE];
    enum varve_err rc = fake_check_vm(c, vm, err);
    size_t i;

    if (rc != VARVE_OK) {
        return rc;
    }
    guid_format(run, tag);
    rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such checkpoint");
    mutex_lock(&h->lock);
    for (i = 0; i < FAKE_POINTS; i++) {
        if (h->points[i].kind == POINT_CHECKPOINT && strcmp(h->points[i].tag, tag) == 0) {
            fake_point_id(&h->points[i], POINT_CHECKPOINT, checkpoint);
            rc = VARVE_OK;
        }
    }
    mutex_unlock(&h->lock);
    return rc;
}

static enum varve_err
fake_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
            struct capture_frozen *out, struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    const struct fake_point *p;
    enum varve_err rc = fake_check_vm(c, vm, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_lock(&h->lock);
    p = fake_point_find(h, POINT_CHECKPOINT, checkpoint);
    if (p != NULL) {
        fake_describe(h, p, out);
    } else {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such checkpoint");
    }
    mutex_unlock(&h->lock);
    return rc;
}

static enum varve_err
fake_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk, const char *since,
             uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
             struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    const struct fake_point *now;
    const struct fake_point *then = NULL;
    unsigned long moment = 0;
    unsigned long of_disk = 0;
    uint64_t at;
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (!fake_numbers(since, '.', &moment, &of_disk) || of_disk != disk) {
        return varve_error_set(err, VARVE_ERR_STALE, "change id '%s' is not of this disk", since);
    }
    mutex_lock(&h->lock);
    now = fake_point_find(h, POINT_CHECKPOINT, frozen->checkpoint);
    for (i = 0; i < FAKE_POINTS; i++) {
        if (h->points[i].kind == POINT_REFPOINT && h->points[i].moment == moment) {
            then = &h->points[i];
        }
    }
    if (now == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such checkpoint");
    } else if (then == NULL || moment < h->lost_below) {
        rc = varve_error_set(err, VARVE_ERR_STALE, "change id '%s' is not kept any more", since);
    }
    for (at = off; rc == VARVE_OK && at < off + len; at += FAKE_GRANULE) {
        if (memcmp(now->bytes[disk] + at, then->bytes[disk] + at, FAKE_GRANULE) != 0) {
            rc = extent_list_add(out, at, FAKE_GRANULE, EXTENT_UNKNOWN, err);
        }
    }
    mutex_unlock(&h->lock);
    *processed = len;
    return rc;
}

static enum varve_err
fake_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
           struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK;
}

static enum varve_err
fake_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
           struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    uint8_t *state = NULL;
    uint32_t random = 7;
    size_t i;
    enum varve_err rc = capture_files_add(out, "fake.vmcx", "configuration", 13, err);

    (void)frozen;
    if (rc != VARVE_OK || h->guest_state == 0) {
        return rc;
    }
    state = malloc(h->guest_state);
    if (state == NULL) {
        abort();
    }
    for (i = 0; i < h->guest_state; i++) {
        random = random * 1664525u + 1013904223u;
        state[i] = h->guest_state_packs ? (uint8_t)(i / 4096) : (uint8_t)(random >> 24);
    }
    rc = capture_files_add(out, "fake.vmgs", state, h->guest_state, err);
    free(state);
    return rc;
}

static enum varve_err
fake_keep(struct capture *c, const struct capture_frozen *frozen,
          const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
          struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    struct fake_point *p;
    size_t i;
    enum varve_err rc = fake_check_vm(c, &frozen->vm, err);

    (void)before;
    (void)cancel;
    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_lock(&h->lock);
    p = fake_point_find(h, POINT_CHECKPOINT, frozen->checkpoint);
    if (p == NULL) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such checkpoint");
    } else if (h->refuse_keep) {
        if (h->foreign_while_keeping) {
            fake_host_foreign_refpoint(h);
            h->foreign_while_keeping = false;
        }
        rc = varve_error_set(err, VARVE_ERR_IO, "converting was made to fail");
    } else {
        p->kind = POINT_REFPOINT;
        p->tag[0] = '\0';
        fake_point_id(p, POINT_REFPOINT, out->refpoint);
        out->change_ids = calloc(FAKE_DISKS, sizeof(*out->change_ids));
        if (out->change_ids == NULL) {
            abort();
        }
        out->count = FAKE_DISKS;
        for (i = 0; i < FAKE_DISKS; i++) {
            (void)snprintf(out->change_ids[i], CAPTURE_ID_MAX, "%u.%zu", p->moment, i);
        }
    }
    mutex_unlock(&h->lock);
    return rc;
}

static enum varve_err
fake_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
               const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
               struct varve_error *err)
{
    struct capture_marks now;
    size_t found = 0;
    size_t i;
    bool there;
    enum varve_err rc;

    mutex_lock(&host_of(c)->lock);
    there = fake_point_find(host_of(c), POINT_CHECKPOINT, checkpoint) != NULL;
    mutex_unlock(&host_of(c)->lock);
    rc = fake_marks(c, vm, &now, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; i < now.count; i++) {
        if (!capture_marks_has(before, now.ids[i])) {
            memcpy(refpoint, now.ids[i], CAPTURE_ID_MAX);
            found++;
        }
    }
    capture_marks_release(&now);
    if (there || found != 1) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "nothing was kept");
    }
    return VARVE_OK;
}

static enum varve_err
fake_let_go(struct capture *c, const struct guid *vm, enum point_kind kind, const char *id,
            struct varve_error *err)
{
    struct fake_host *h = host_of(c);
    struct fake_point *p;

    if (fake_check_vm(c, vm, err) != VARVE_OK) {
        return VARVE_OK; /* what is not there is gone */
    }
    mutex_lock(&h->lock);
    p = fake_point_find(h, kind, id);
    if (p != NULL) {
        fake_point_drop(h, p);
    }
    mutex_unlock(&h->lock);
    return VARVE_OK;
}

static enum varve_err
fake_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
          struct varve_error *err)
{
    (void)cancel;
    return fake_let_go(c, vm, POINT_REFPOINT, refpoint, err);
}

static enum varve_err
fake_abort(struct capture *c, const struct guid *vm, const char *checkpoint, struct cancel *cancel,
           struct varve_error *err)
{
    (void)cancel;
    return fake_let_go(c, vm, POINT_CHECKPOINT, checkpoint, err);
}

static enum varve_err
fake_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                 struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    (void)timeout_ms;
    (void)cancel;
    (void)notes;
    if (host_of(c)->merging) {
        return varve_error_set(err, VARVE_ERR_TIMEOUT, "the host still merges");
    }
    return fake_check_vm(c, vm, err);
}

static const struct capture_ops fake_ops = {
    .close = fake_close,
    .list = fake_list,
    .marks = fake_marks,
    .begin = fake_begin,
    .find = fake_find,
    .attach = fake_attach,
    .changes = fake_changes,
    .check = fake_check,
    .files = fake_files,
    .keep = fake_keep,
    .find_kept = fake_find_kept,
    .drop = fake_drop,
    .abort = fake_abort,
    .wait_merged = fake_wait_merged,
};

struct capture *
fake_host_capture_at(struct fake_host *h, unsigned node)
{
    struct fake_capture *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        abort();
    }
    c->base.ops = &fake_ops;
    c->base.name = "fake";
    c->base.source = "fake";
    c->base.tracks = true;
    c->host = h;
    c->node = node;
    return &c->base;
}

struct capture *
fake_host_capture(struct fake_host *h)
{
    return fake_host_capture_at(h, 0);
}
