/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

/*
 * A frozen file that no checkpoint needs any more takes in its only child, while the guest goes on
 * writing.  The child's content is copied into it, and guest writes to the child go to both; at the
 * end the model says in one save that the parent stands in the child's place.
 *
 * 1. Before the parent changes, its new DataWriteGuid is noted in the child as parent_linkage2.
 * 2. Until the save, the child with whatever the parent has become reads as before: what was copied
 *    is the same in both, so a merge may end at any moment and start again from the beginning.
 * 3. Children of the child are linked to the parent before the save, the child is removed after it.
 */

#define MERGE_SLICE  UINT64_C(8388608) /* bytes copied per call */
#define MERGE_STEP   ((size_t)1024 * 1024)
#define RETRY_MS     200u
#define EVENT_MERGED 19080u
#define EVENT_FAILED 19100u

static struct sim_disk_file *
only_child(struct sim_disk *d, const struct guid *parent)
{
    for (size_t i = 0; i < d->file_count; i++) {
        if (guid_equal(&d->files[i].parent, parent)) {
            return &d->files[i];
        }
    }
    return NULL;
}

static bool
merge_planned(const struct sim_vm *vm, const struct sim_disk *d)
{
    for (size_t i = 0; i < vm->merge_count; i++) {
        if (guid_equal(&vm->merges[i].disk, &d->id)) {
            return true;
        }
    }
    return false;
}

static void
remove_file(struct sim_vm *vm, struct sim_disk *d, struct sim_disk_file *f)
{
    disk_unlink_file(vm, f);
    sim_array_remove(d->files, &d->file_count, sizeof(*f), (size_t)(f - d->files));
}

/* Files without children, owner or guest: what a revert left. */
static bool
prune_dead_leaf(struct sim_vm *vm, struct sim_disk *d)
{
    for (size_t i = 0; i < d->file_count; i++) {
        struct sim_disk_file *f = &d->files[i];

        if (!guid_equal(&f->id, &d->active) && disk_child_count(d, &f->id) == 0 &&
            !disk_is_frozen_by(vm, d, &f->id)) {
            remove_file(vm, d, f);
            return true;
        }
    }
    return false;
}

void
merge_plan(struct sim_host *h, struct sim_vm *vm)
{
    struct sim_error err;

    for (size_t i = 0; i < vm->disk_count; i++) {
        struct sim_disk *d = &vm->disks[i];

        if (merge_planned(vm, d)) {
            continue;
        }
        while (prune_dead_leaf(vm, d)) {
        }
        /* Newest first, as Hyper-V does: the guest's own file goes into its parent. */
        for (size_t k = d->file_count; k-- > 0;) {
            struct sim_disk_file *f = &d->files[k];

            if (!guid_equal(&f->id, &d->active) && disk_child_count(d, &f->id) == 1 &&
                !disk_is_frozen_by(vm, d, &f->id)) {
                struct sim_merge *m = sim_array_add(&vm->merges, &vm->merge_count, sizeof(*m));

                m->disk = d->id;
                m->into = f->id;
                m->child = only_child(d, &f->id)->id;
                break;
            }
        }
    }
    if (vm_save(vm, &err) != SIM_OK) {
        host_event(h, EVENT_FAILED, &vm->id, "%s", err.text);
    }
}

static void
close_merge(struct sim_disk *d, struct sim_merge *m)
{
    if (m->source != d->vhdx) {
        vhdx_close(m->source);
    }
    vhdx_close(m->target);
    m->source = NULL;
    m->target = NULL;
    m->cursor = 0;
}

void
merge_stop(struct sim_vm *vm)
{
    struct sim_error ignored;
    struct sim_disk *d = NULL;

    for (size_t i = 0; i < vm->merge_count; i++) {
        if (find_disk(vm, &vm->merges[i].disk, &d, &ignored) == SIM_OK) {
            close_merge(d, &vm->merges[i]);
        }
    }
}

/* A write lease is given only when nobody else has the file open: what a sharing violation is here. */
static bool
held_by_others(const char *path)
{
    bool held = false;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    } else {
        held = errno == EAGAIN; /* other errors: a file system without leases */
    }
    (void)close(fd);
    return held;
}

static uint32_t
check_nobody_reads(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
                   const struct sim_disk_file *f, struct sim_error *err)
{
    bool active = guid_equal(&f->id, &d->active);
    char *path = vm_disk_path(vm, f);
    uint32_t rc = SIM_OK;

    if (active) {
        vhdx_close(d->vhdx);
        d->vhdx = NULL;
    }
    if (held_by_others(path)) {
        rc = sim_fail(err, SIM_SHARING, "'%s' is held open by another process", f->name);
    }
    if (active) {
        struct sim_error open_err;

        if (vhdx_open(&d->vhdx, path, &h->random, &open_err) != SIM_OK) {
            *err = open_err;
            rc = open_err.code;
        }
    }
    free(path);
    return rc;
}

static uint32_t
open_merge(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct sim_merge *m,
           struct sim_error *err)
{
    struct sim_disk_file *child = disk_file(d, &m->child);
    struct sim_disk_file *into = disk_file(d, &m->into);
    char *child_path = vm_disk_path(vm, child);
    char *into_path = vm_disk_path(vm, into);
    struct guid before;
    struct guid after;
    uint32_t rc = check_nobody_reads(h, vm, d, child, err);

    if (rc == SIM_OK) {
        rc = check_nobody_reads(h, vm, d, into, err);
    }
    if (rc == SIM_OK && guid_equal(&m->child, &d->active)) {
        m->source = d->vhdx;
    } else if (rc == SIM_OK) {
        rc = vhdx_open(&m->source, child_path, &h->random, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_open(&m->target, into_path, &h->random, err);
    }
    if (rc == SIM_OK) {
        vhdx_data_write_guid(m->target, &before);
        sim_random_guid(&h->random, &after);
        rc = vhdx_set_parent(m->source, into->name, &before, &after, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_set_data_guid(m->target, &after, err);
    }
    if (rc != SIM_OK) {
        close_merge(d, m);
    }
    free(child_path);
    free(into_path);
    return rc;
}

static uint32_t
copy_present(struct sim_merge *m, uint8_t *buf, uint64_t off, uint64_t len, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && len > 0) {
        size_t n = len < MERGE_STEP ? (size_t)len : MERGE_STEP;

        rc = vhdx_read_present(m->source, buf, n, off, err);
        if (rc == SIM_OK) {
            rc = vhdx_write(m->target, buf, n, off, err);
        }
        off += n;
        len -= n;
    }
    return rc;
}

static uint32_t
copy_slice(struct sim_disk *d, struct sim_merge *m, uint64_t *copied, struct sim_error *err)
{
    uint8_t *buf = sim_alloc(MERGE_STEP);
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && m->cursor < d->size && *copied < MERGE_SLICE) {
        enum vhdx_kind kind = VHDX_PARENT;
        uint64_t len = 0;

        rc = vhdx_map(m->source, m->cursor, d->size - m->cursor, &kind, &len, err);
        if (rc == SIM_OK && kind == VHDX_PRESENT) {
            rc = copy_present(m, buf, m->cursor, len, err);
            *copied += len;
        } else if (rc == SIM_OK && kind == VHDX_ZERO) {
            rc = vhdx_unmap(m->target, m->cursor, len, err);
        }
        m->cursor += rc == SIM_OK ? len : 0;
    }
    free(buf);
    return rc;
}

static uint32_t
relink_grandchildren(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct sim_merge *m,
                     struct sim_error *err)
{
    struct sim_disk_file *into = disk_file(d, &m->into);
    struct guid linkage;
    uint32_t rc = SIM_OK;

    vhdx_data_write_guid(m->target, &linkage);
    for (size_t i = 0; rc == SIM_OK && i < d->file_count; i++) {
        struct sim_disk_file *f = &d->files[i];
        struct vhdx *v = NULL;

        if (!guid_equal(&f->parent, &m->child)) {
            continue;
        }
        if (guid_equal(&f->id, &d->active)) {
            rc = vhdx_set_parent(d->vhdx, into->name, &linkage, NULL, err);
        } else {
            char *path = vm_disk_path(vm, f);

            rc = vhdx_open(&v, path, &h->random, err);
            if (rc == SIM_OK) {
                rc = vhdx_set_parent(v, into->name, &linkage, NULL, err);
            }
            vhdx_close(v);
            free(path);
        }
    }
    return rc;
}

static void
replace_in_checkpoints(struct sim_vm *vm, const struct sim_disk *d, const struct sim_merge *m)
{
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        for (size_t k = 0; k < vm->checkpoints[i].disk_count; k++) {
            struct sim_moment_disk *x = &vm->checkpoints[i].disks[k];

            if (guid_equal(&x->disk, &d->id) && guid_equal(&x->file, &m->child)) {
                x->file = m->into;
            }
        }
    }
}

static uint32_t
finish_merge(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, size_t index,
             struct sim_error *err)
{
    struct sim_merge m = vm->merges[index];
    struct sim_disk_file gone = *disk_file(d, &m.child);
    struct sim_disk_file *into = disk_file(d, &m.into);
    uint32_t rc = relink_grandchildren(h, vm, d, &vm->merges[index], err);

    if (rc != SIM_OK) {
        return rc;
    }
    replace_in_checkpoints(vm, d, &m);
    for (size_t i = 0; i < d->file_count; i++) {
        if (guid_equal(&d->files[i].parent, &m.child)) {
            d->files[i].parent = m.into;
        }
    }
    into->sealed_epoch = gone.sealed_epoch;
    if (guid_equal(&d->active, &m.child)) {
        vhdx_close(d->vhdx);
        d->vhdx = m.target;
        d->active = m.into;
    } else {
        vhdx_close(m.source);
        vhdx_close(m.target);
    }
    sim_array_remove(vm->merges, &vm->merge_count, sizeof(m), index);
    for (size_t i = 0; i < d->file_count; i++) {
        if (guid_equal(&d->files[i].id, &gone.id)) {
            sim_array_remove(d->files, &d->file_count, sizeof(gone), i);
            break;
        }
    }
    if (vm_save(vm, err) == SIM_OK) {
        disk_unlink_file(vm, &gone);
        host_event(h, EVENT_MERGED, &vm->id, "'%s' was merged", gone.name);
    } else {
        /* The child stays on disk: after a restart the merge is done again. */
        host_event(h, EVENT_FAILED, &vm->id, "%s", err->text);
    }
    merge_plan(h, vm);
    return SIM_OK;
}

static void
merge_failed(struct sim_host *h, struct sim_vm *vm, struct sim_merge *m,
             const struct sim_error *err)
{
    if (!m->blocked) {
        host_event(h, EVENT_FAILED, &vm->id, "background disk merge failed: %s (0x%08X)", err->text,
                   err->code);
    }
    m->blocked = true;
    vm->merge_retry_ms = sim_clock_ms() + RETRY_MS;
}

static void
pace(struct sim_host *h, struct sim_vm *vm, uint64_t copied)
{
    uint64_t rate = h->options.merge_mib_per_s;

    if (rate != 0) {
        vm->merge_budget_ms = sim_clock_ms() + copied * 1000 / (rate * 1024 * 1024);
    }
}

/* One that can go on; else one that waits for a file, once its time has come. */
static struct sim_merge *
choose_merge(struct sim_vm *vm, uint64_t *not_before)
{
    for (size_t i = 0; i < vm->merge_count; i++) {
        if (!vm->merges[i].blocked) {
            *not_before = vm->merge_budget_ms;
            return &vm->merges[i];
        }
    }
    *not_before = vm->merge_retry_ms;
    return vm->merge_count > 0 ? &vm->merges[vm->merge_turn++ % vm->merge_count] : NULL;
}

static uint32_t
work_on_merge(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct sim_merge *m,
              struct sim_error *err)
{
    uint64_t copied = 0;
    uint32_t rc = SIM_OK;

    if (m->target == NULL) {
        rc = open_merge(h, vm, d, m, err);
        m->blocked = rc == SIM_OK ? false : m->blocked;
    }
    if (rc == SIM_OK) {
        rc = copy_slice(d, m, &copied, err);
        pace(h, vm, copied);
    }
    if (rc == SIM_OK && m->cursor >= d->size) {
        rc = finish_merge(h, vm, d, (size_t)(m - vm->merges), err);
    }
    return rc;
}

bool
merge_step(struct sim_host *h, struct sim_vm *vm, uint64_t *wait_ms)
{
    struct sim_merge *m = NULL;
    struct sim_disk *d = NULL;
    struct sim_error err;
    uint64_t now = sim_clock_ms();
    uint64_t not_before = 0;
    uint32_t rc;

    if (vm->merge_count == 0 || !vm->merge_enabled) {
        return false;
    }
    m = choose_merge(vm, &not_before);
    if (now < not_before) {
        *wait_ms = not_before - now < *wait_ms ? not_before - now : *wait_ms;
        return false;
    }
    rc = find_disk(vm, &m->disk, &d, &err);
    if (rc == SIM_OK) {
        rc = work_on_merge(h, vm, d, m, &err);
    }
    if (rc != SIM_OK) {
        /* Nothing was taken out of the list: m is still what it was. */
        merge_failed(h, vm, m, &err);
        if (d != NULL) {
            close_merge(d, m);
        }
    }
    return true;
}

uint32_t
merge_mirror(struct sim_vm *vm, struct sim_disk *d, const void *data, uint64_t off, uint64_t len,
             struct sim_error *err)
{
    for (size_t i = 0; i < vm->merge_count; i++) {
        struct sim_merge *m = &vm->merges[i];

        if (m->target != NULL && m->source == d->vhdx && guid_equal(&m->disk, &d->id)) {
            return data != NULL ? vhdx_write(m->target, data, (size_t)len, off, err)
                                : vhdx_unmap(m->target, off, len, err);
        }
    }
    return SIM_OK;
}
