/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hvsim/sim_file.h"

#define RANGES_MAX 4096u

/* ---- ids ---- */

uint32_t
tracking_seal(struct sim_host *h, struct sim_disk *d, char out[96], struct sim_error *err)
{
    char id[GUID_TEXT_SIZE];
    struct sim_change_id *c = NULL;
    uint32_t rc;

    out[0] = 0;
    if (d->rct == NULL) {
        d->epoch++;
        return SIM_OK;
    }
    rc = rct_seal(d->rct, err);
    if (rc != SIM_OK) {
        return rc;
    }
    guid_format(&d->id, id);
    c = sim_array_add(&d->ids, &d->id_count, sizeof(*c));
    c->epoch = d->epoch;
    c->state = SIM_ID_ALIVE;
    d->epoch = rct_epoch(d->rct);
    /* Opaque on a real host too; a random part, so that nobody can count his way to the next one. */
    (void)snprintf(c->text, sizeof(c->text), "rctX:%.8s:%.4s:%.12s:%08llx", id, id + 9, id + 24,
                   (unsigned long long)(sim_random_next(&h->random) & 0xFFFFFFFFu));
    memcpy(out, c->text, sizeof(c->text));
    return SIM_OK;
}

void
tracking_kill_all(struct sim_disk *d, enum sim_id_state how)
{
    for (size_t i = 0; i < d->id_count; i++) {
        if (d->ids[i].state == SIM_ID_ALIVE) {
            d->ids[i].state = how;
        }
    }
}

static bool
moment_has_id(const struct sim_moment_disk *disks, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(disks[i].change_id, text) == 0) {
            return true;
        }
    }
    return false;
}

static bool
id_is_kept(const struct sim_vm *vm, const char *text)
{
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        if (moment_has_id(vm->checkpoints[i].disks, vm->checkpoints[i].disk_count, text)) {
            return true;
        }
    }
    for (size_t i = 0; i < vm->refpoint_count; i++) {
        if (moment_has_id(vm->refpoints[i].disks, vm->refpoints[i].disk_count, text)) {
            return true;
        }
    }
    return false;
}

void
tracking_forget_unused(struct sim_vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct sim_disk *d = &vm->disks[i];
        uint64_t oldest = d->epoch;

        for (size_t k = 0; k < d->id_count; k++) {
            if (d->ids[k].state != SIM_ID_ALIVE) {
                continue;
            }
            if (!id_is_kept(vm, d->ids[k].text)) {
                d->ids[k].state = SIM_ID_UNKNOWN;
            } else if (d->ids[k].epoch < oldest) {
                oldest = d->ids[k].epoch;
            }
        }
        if (d->rct != NULL && oldest > 0) {
            rct_drop_through(d->rct, oldest);
        }
    }
}

uint32_t
tracking_set(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
             enum sim_tracking how, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = find_vm(h, vm_id, &vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(vm, disk, &d, err);
    }
    if (rc == SIM_OK && how == SIM_TRACKING_ON && !vm_supports_refpoints(vm)) {
        rc = sim_fail(err, SIM_UNSUPPORTED, "configuration version %s knows no change tracking",
                      vm->config_version);
    }
    if (rc == SIM_OK && how == SIM_TRACKING_OFFLINE && vm->state != SIM_VM_OFF) {
        rc = sim_fail(err, SIM_SHARING, "vm '%s' has its disks open", vm->name);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    merge_stop(vm); /* it may work on the files that are closed below */
    tracking_kill_all(d, how == SIM_TRACKING_OFFLINE ? SIM_ID_OFFLINE : SIM_ID_LOST);
    if (how == SIM_TRACKING_OFF || how == SIM_TRACKING_ON) {
        d->tracked = how == SIM_TRACKING_ON;
    }
    d->epoch++;
    for (size_t i = 0; i < d->file_count; i++) {
        /* No frozen file can answer across the gap. */
        d->files[i].sealed_epoch = d->files[i].sealed_epoch != 0 ? d->epoch - 1 : 0;
    }
    disk_close(d);
    rc = disk_open(h, vm, d, err);
    return rc == SIM_OK ? vm_save(vm, err) : rc;
}

/* ---- the query ---- */

static uint32_t
find_path(struct sim_host *h, const char *path, struct sim_vm **vm, struct sim_disk **d,
          struct sim_disk_file **f, struct sim_error *err)
{
    struct stat asked;
    struct stat known;

    if (stat(path, &asked) != 0) {
        return sim_fail(err, SIM_FILE_MISSING, "no such file '%s'", path);
    }
    for (size_t i = 0; i < h->vm_count; i++) {
        for (size_t k = 0; k < h->vms[i]->disk_count; k++) {
            struct sim_disk *disk = &h->vms[i]->disks[k];

            for (size_t n = 0; n < disk->file_count; n++) {
                char *own = vm_disk_path(h->vms[i], &disk->files[n]);
                bool same = stat(own, &known) == 0 && known.st_ino == asked.st_ino &&
                            known.st_dev == asked.st_dev;

                free(own);
                if (same) {
                    *vm = h->vms[i];
                    *d = disk;
                    *f = &disk->files[n];
                    return SIM_OK;
                }
            }
        }
    }
    return sim_fail(err, SIM_CT_DISABLED, "'%s' is no disk of this host: it is not tracked", path);
}

static bool
file_in_use(const struct sim_vm *vm, const struct sim_disk *d, const struct sim_disk_file *f)
{
    if (guid_equal(&f->id, &d->active)) {
        return vm->state == SIM_VM_RUNNING || vm->state == SIM_VM_PAUSED;
    }
    for (size_t i = 0; i < vm->merge_count; i++) {
        if (vm->merges[i].target != NULL &&
            (guid_equal(&f->id, &vm->merges[i].into) || guid_equal(&f->id, &vm->merges[i].child))) {
            return true;
        }
    }
    return false;
}

uint32_t
file_of_path(struct sim_host *h, const char *path, struct sim_vm **vm, struct sim_disk **d,
             struct sim_disk_file **f, bool *in_use, struct sim_error *err)
{
    uint32_t rc = find_path(h, path, vm, d, f, err);

    if (rc == SIM_OK) {
        *in_use = file_in_use(*vm, *d, *f);
    }
    return rc;
}

static uint32_t
check_id(const struct sim_disk *d, const char *text, uint64_t last, uint64_t *first,
         struct sim_error *err)
{
    for (size_t i = 0; i < d->id_count; i++) {
        const struct sim_change_id *c = &d->ids[i];

        if (strcmp(c->text, text) != 0) {
            continue;
        }
        switch (c->state) {
        case SIM_ID_LOST:
            return sim_fail(err, SIM_CT_LOST, "the change log was lost after '%s'", text);
        case SIM_ID_OFFLINE:
            return sim_fail(err, SIM_CT_OFFLINE, "disk '%s' was changed offline after '%s'",
                            d->name, text);
        case SIM_ID_UNKNOWN:
            return sim_fail(err, SIM_CT_MISSING, "nothing keeps '%s' any more", text);
        case SIM_ID_ALIVE:
            break;
        }
        if (c->epoch > last) {
            return sim_fail(err, SIM_CT_INVALID_ID, "'%s' is younger than the file", text);
        }
        *first = c->epoch + 1;
        return SIM_OK;
    }
    return sim_fail(err, SIM_CT_INVALID_ID, "disk '%s' never had change id '%s'", d->name, text);
}

/* With quirks: what the documentation leaves open is used. */
static void
apply_quirks(struct sim_host *h, struct sim_extent *r, size_t count, uint64_t granularity,
             uint64_t span_end)
{
    for (size_t i = 0; i + 1 < count; i++) {
        if (sim_random_below(&h->random, 4) == 0 && r[i].offset + r[i].length < span_end) {
            uint64_t longer = r[i].length + granularity;
            uint64_t room = span_end - r[i].offset;

            r[i].length = longer < room ? longer : room; /* may overlap the next one */
        }
    }
    for (size_t i = count; i > 1; i--) {
        size_t k = (size_t)sim_random_below(&h->random, i);
        struct sim_extent swap = r[i - 1];

        r[i - 1] = r[k];
        r[k] = swap;
    }
}

static void
collect(const uint8_t *bits, uint64_t granularity, uint64_t off, uint64_t end, size_t max,
        struct sim_extent *ranges, size_t *count, uint64_t *covered)
{
    uint64_t g = off / granularity;

    *covered = end;
    while (g * granularity < end) {
        uint64_t start = g;

        while (g * granularity < end && (bits[g / 8] >> (g % 8) & 1) != 0) {
            g++;
        }
        if (g > start) {
            uint64_t from = start * granularity < off ? off : start * granularity;
            uint64_t to = g * granularity > end ? end : g * granularity;

            if (*count == max) {
                *covered = ranges[max - 1].offset + ranges[max - 1].length;
                return;
            }
            ranges[*count].offset = from;
            ranges[*count].length = to - from;
            *count += 1;
        } else {
            g++;
        }
    }
}

uint32_t
changes_query(struct sim_host *h, const char *path, const char *change_id, uint64_t offset,
              uint64_t length, size_t max_ranges, struct sim_extent **ranges, size_t *count,
              uint64_t *processed, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    struct sim_disk_file *f = NULL;
    uint8_t *bits = NULL;
    uint64_t granules = 0;
    uint64_t first = 0;
    uint64_t last;
    uint64_t covered = 0;
    uint32_t rc = find_path(h, path, &vm, &d, &f, err);

    if (rc != SIM_OK || f == NULL) {
        return rc;
    }
    if (file_in_use(vm, d, f)) {
        return sim_fail(err, SIM_SHARING, "'%s' is in use", path);
    }
    if (offset > d->size || length > d->size - offset || max_ranges == 0 ||
        max_ranges > RANGES_MAX) {
        return sim_fail(err, SIM_INVALID, "%llu bytes at %llu, %zu ranges: the disk has %llu bytes",
                        (unsigned long long)length, (unsigned long long)offset, max_ranges,
                        (unsigned long long)d->size);
    }
    if (!d->tracked || d->rct == NULL) {
        return sim_fail(err, SIM_CT_DISABLED, "change tracking of disk '%s' is off", d->name);
    }
    last = f->sealed_epoch != 0 ? f->sealed_epoch : d->epoch;
    rc = check_id(d, change_id, last, &first, err);
    if (rc == SIM_OK) {
        rc = rct_union(d->rct, first, last, &bits, &granules, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    *ranges = sim_alloc(max_ranges * sizeof(**ranges));
    *count = 0;
    collect(bits, d->granularity, offset, offset + length, max_ranges, *ranges, count, &covered);
    *processed = covered - offset;
    if (h->options.rct_quirks) {
        apply_quirks(h, *ranges, *count, d->granularity, covered);
    }
    free(bits);
    return SIM_OK;
}
