/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "hvsim/group.h"
#include "hvsim/sim_file.h"

#define EVENTS_KEPT 10000u

static const struct sim_options default_options = {
    .job_ms = 30,
    .job_ttl_ms = 300000, /* TimeBeforeRemoval of Msvm_ConcreteJob */
    .rct_granularity = 65536,
    .truth = true,
};

static uint32_t
lock_dir(struct sim_host *h, struct sim_error *err)
{
    char *path = sim_printf("%s/lock", h->dir);
    uint32_t rc = SIM_OK;

    h->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (h->lock_fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", path);
    } else if (flock(h->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = sim_fail(err, SIM_SHARING, "'%s' belongs to a simulator that is running", h->dir);
    }
    free(path);
    return rc;
}

static uint32_t
load_vm(struct sim_host *h, const char *folder, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_vm **slot = NULL;
    char *state = sim_printf("%s/vm.json", folder);
    uint32_t rc;

    if (access(state, F_OK) != 0) {
        rc = sim_remove_tree(folder,
                             err); /* a vm.create that did not happen, or a vm.delete that did */
        goto out;
    }
    rc = vm_load(&vm, folder, err);
    if (rc == SIM_OK) {
        rc = vm_remove_leftovers(vm, err);
    }
    if (rc == SIM_OK) {
        rc = vm_open_disks(h, vm, err);
    }
    if (rc == SIM_OK) {
        rc = guest_recover(vm, err);
    }
    if (rc == SIM_OK) {
        merge_plan(h, vm);
        slot = sim_array_add(&h->vms, &h->vm_count, sizeof(*slot));
        *slot = vm;
        vm = NULL;
    }
out:
    vm_free(vm);
    free(state);
    return rc;
}

static int
compare_vms(const void *a, const void *b)
{
    const struct sim_vm *const *x = a;
    const struct sim_vm *const *y = b;
    int by_name = strcmp((*x)->name, (*y)->name);

    return by_name != 0 ? by_name : guid_compare(&(*x)->id, &(*y)->id);
}

static uint32_t
load_vms(struct sim_host *h, struct sim_error *err)
{
    char *root = sim_printf("%s/vms", h->dir);
    struct dirent *entry = NULL;
    struct guid id;
    DIR *dir = NULL;
    uint32_t rc = sim_mkdir(root, err);

    if (rc != SIM_OK) {
        goto out;
    }
    dir = opendir(root);
    if (dir == NULL) {
        rc = sim_fail_errno(err, errno, "listing '%s'", root);
        goto out;
    }
    while (rc == SIM_OK && (entry = readdir(dir)) != NULL) {
        if (guid_parse(&id, entry->d_name)) {
            char *folder = sim_printf("%s/%s", root, entry->d_name);

            rc = load_vm(h, folder, err);
            free(folder);
        }
    }
    if (h->vm_count > 1) {
        qsort(h->vms, h->vm_count, sizeof(h->vms[0]), compare_vms);
    }
out:
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(root);
    return rc;
}

static uint32_t
start_host(struct sim_host *h, struct sim_error *err)
{
    uint64_t mix = h->seed;
    uint32_t rc;

    h->boots++;
    /* The name too: two hosts of one seed must not make vms with the same ids. */
    for (const char *p = h->name; *p != 0; p++) {
        mix = (mix ^ (unsigned char)*p) * UINT64_C(0x100000001B3);
    }
    sim_random_seed(&h->random, mix ^ (h->boots * UINT64_C(0x9E3779B97F4A7C15)));
    rc = host_save(h, err);
    rc = rc == SIM_OK ? load_vms(h, err) : rc;
    rc = rc == SIM_OK ? cluster_load(h, err) : rc;
    return rc == SIM_OK ? sim_vss_start(h, err) : rc;
}

uint32_t
host_open(struct sim_host **out, const char *dir, const char *name, uint64_t seed,
          struct sim_error *err)
{
    struct sim_host *h = sim_alloc(sizeof(*h));
    char *absolute = NULL;
    bool found = false;
    uint32_t rc = sim_mkdir(dir, err);

    h->lock_fd = -1;
    (void)signal(SIGIO, SIG_IGN); /* of leases, see engine_merge.c */
    if (rc != SIM_OK) {
        goto out;
    }
    absolute = realpath(dir, NULL);
    if (absolute == NULL) {
        rc = sim_fail_errno(err, errno, "'%s'", dir);
        goto out;
    }
    h->dir = sim_strdup(absolute);
    h->seed = seed;
    h->options = default_options;
    (void)snprintf(h->name, sizeof(h->name), "%s", name);
    rc = lock_dir(h, err);
    if (rc == SIM_OK) {
        rc = host_load(h, &found, err);
    }
    if (rc == SIM_OK) {
        rc = start_host(h, err);
    }
    if (rc == SIM_OK) {
        *out = h;
        h = NULL;
    }
out:
    free(absolute);
    host_close(h);
    return rc;
}

static void
forget_everything(struct sim_host *h)
{
    sim_vss_forget(h);
    cluster_forget(h);
    for (size_t i = 0; i < h->vm_count; i++) {
        vm_free(h->vms[i]);
    }
    free(h->vms);
    free(h->jobs);
    free(h->events);
    h->vms = NULL;
    h->jobs = NULL;
    h->events = NULL;
    h->vm_count = 0;
    h->job_count = 0;
    h->event_count = 0;
}

void
host_close(struct sim_host *h)
{
    if (h == NULL) {
        return;
    }
    forget_everything(h);
    free(h->faults);
    if (h->lock_fd >= 0) {
        (void)close(h->lock_fd);
    }
    free(h->dir);
    free(h);
}

uint32_t
host_restart(struct sim_host *h, bool power, struct sim_error *err)
{
    for (size_t i = 0; power && i < h->vm_count; i++) {
        for (size_t k = 0; k < h->vms[i]->disk_count; k++) {
            if (h->vms[i]->disks[k].rct != NULL) {
                rct_coarsen(h->vms[i]->disks[k].rct);
            }
        }
    }
    forget_everything(h);
    return start_host(h, err);
}

uint32_t
host_set_options(struct sim_host *h, const struct sim_options *options, struct sim_error *err)
{
    uint64_t g = options->rct_granularity;

    if (g < 512 || g > 16 * 1024 * 1024 || (g & (g - 1)) != 0) {
        return sim_fail(err, SIM_INVALID,
                        "rct_granularity %llu is no power of two of 512 to 16 MiB",
                        (unsigned long long)g);
    }
    if (options->rct_overreport > 100) {
        return sim_fail(err, SIM_INVALID, "rct_overreport is a percentage");
    }
    h->options = *options;
    return host_save(h, err);
}

void
host_event(struct sim_host *h, unsigned number, const struct guid *vm, const char *fmt, ...)
{
    struct sim_event *e = NULL;
    va_list ap;

    if (h->event_count >= EVENTS_KEPT) {
        sim_array_remove(h->events, &h->event_count, sizeof(*e), 0);
    }
    e = sim_array_add(&h->events, &h->event_count, sizeof(*e));
    e->seq = ++h->event_seq;
    e->number = number;
    e->vm = *vm;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
}

uint64_t
engine_tick(struct sim_host *h)
{
    uint64_t wait_ms = UINT64_MAX;
    bool more = jobs_step(h, &wait_ms);

    for (size_t i = 0; i < h->vm_count; i++) {
        more = merge_step(h, h->vms[i], &wait_ms) || more;
    }
    return more ? 0 : wait_ms;
}

bool
engine_idle(const struct sim_host *h, const struct guid *vm)
{
    for (size_t i = 0; i < h->job_count; i++) {
        if ((vm == NULL || job_is_for(h, &h->jobs[i], vm)) && !job_finished(&h->jobs[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < h->vm_count; i++) {
        if ((vm == NULL || guid_equal(vm, &h->vms[i]->id)) && h->vms[i]->merge_count != 0) {
            return false;
        }
    }
    return true;
}

/* ---- finding ---- */

static uint32_t
not_found(struct sim_error *err, const char *what, const struct guid *id)
{
    char text[GUID_TEXT_SIZE];

    guid_format_upper(id, text);
    return sim_fail(err, SIM_NOT_FOUND, "no such %s '%s'", what, text);
}

uint32_t
find_vm(struct sim_host *h, const struct guid *id, struct sim_vm **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->vm_count; i++) {
        if (guid_equal(&h->vms[i]->id, id)) {
            *out = h->vms[i];
            return SIM_OK;
        }
    }
    return not_found(err, "vm", id);
}

uint32_t
find_disk(struct sim_vm *vm, const struct guid *id, struct sim_disk **out, struct sim_error *err)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        if (guid_equal(&vm->disks[i].id, id)) {
            *out = &vm->disks[i];
            return SIM_OK;
        }
    }
    return not_found(err, "disk", id);
}

uint32_t
find_checkpoint(struct sim_host *h, const struct guid *id, struct sim_vm **vm,
                struct sim_checkpoint **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->vm_count; i++) {
        for (size_t k = 0; k < h->vms[i]->checkpoint_count; k++) {
            if (guid_equal(&h->vms[i]->checkpoints[k].id, id)) {
                *vm = h->vms[i];
                *out = &h->vms[i]->checkpoints[k];
                return SIM_OK;
            }
        }
    }
    return not_found(err, "checkpoint", id);
}

uint32_t
find_refpoint(struct sim_host *h, const struct guid *id, struct sim_vm **vm,
              struct sim_refpoint **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->vm_count; i++) {
        for (size_t k = 0; k < h->vms[i]->refpoint_count; k++) {
            if (guid_equal(&h->vms[i]->refpoints[k].id, id)) {
                *vm = h->vms[i];
                *out = &h->vms[i]->refpoints[k];
                return SIM_OK;
            }
        }
    }
    return not_found(err, "reference point", id);
}

uint32_t
find_job(struct sim_host *h, const struct guid *id, struct sim_job **out, struct sim_error *err)
{
    for (size_t i = 0; i < h->job_count; i++) {
        if (guid_equal(&h->jobs[i].id, id)) {
            *out = &h->jobs[i];
            return SIM_OK;
        }
    }
    return not_found(err, "job", id);
}

struct sim_disk_file *
disk_file(struct sim_disk *d, const struct guid *id)
{
    for (size_t i = 0; i < d->file_count; i++) {
        if (guid_equal(&d->files[i].id, id)) {
            return &d->files[i];
        }
    }
    return NULL;
}
