/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

/* What people do to the disks of a vm between two backups: take them away, move them, change them behind tracking's
 * back. */

/* A disk on one file, of a vm whose checkpoints would otherwise still name it as it was. */
static uint32_t
find_at_rest(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
             struct sim_vm **vm, struct sim_disk **d, struct sim_error *err)
{
    uint32_t rc = find_vm(h, vm_id, vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(*vm, disk, d, err);
    }
    if (rc == SIM_OK && ((*vm)->checkpoint_count != 0 || (*d)->file_count != 1)) {
        rc = sim_fail(err, SIM_INVALID_STATE, "disk '%s' has checkpoints", (*d)->name);
    }
    return rc;
}

uint32_t
disk_remove(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
            struct sim_error *err)
{
    struct sim_disk_file file;
    struct sim_disk *d = NULL;
    struct sim_vm *vm = NULL;
    uint32_t rc = find_at_rest(h, vm_id, disk, &vm, &d, err);

    if (rc != SIM_OK) {
        return rc;
    }
    file = d->files[0];
    disk_close(d);
    free(d->files);
    free(d->ids);
    sim_array_remove(vm->disks, &vm->disk_count, sizeof(*d), (size_t)(d - vm->disks));
    rc = vm_save(vm, err);
    disk_unlink_file(vm, &file);
    return rc;
}

uint32_t
disk_place(struct sim_host *h, const struct guid *vm_id, const struct guid *disk, unsigned slot,
           struct sim_error *err)
{
    struct sim_disk *d = NULL;
    struct sim_vm *vm = NULL;
    uint32_t rc = find_at_rest(h, vm_id, disk, &vm, &d, err);

    for (size_t i = 0; rc == SIM_OK && i < vm->disk_count; i++) {
        if (vm->disks[i].slot == slot && &vm->disks[i] != d) {
            rc = sim_fail(err, SIM_INVALID, "place %u is taken", slot);
        }
    }
    if (rc != SIM_OK) {
        return rc;
    }
    d->slot = slot;
    sim_random_guid(&h->random, &d->slot_id);
    return vm_save(vm, err);
}

uint32_t
disk_migrate(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
             const char *name, bool tracking, struct sim_error *err)
{
    struct sim_disk_file old;
    struct sim_disk *d = NULL;
    struct sim_vm *vm = NULL;
    char *from = NULL;
    char *to = NULL;
    uint32_t rc = find_at_rest(h, vm_id, disk, &vm, &d, err);

    if (rc == SIM_OK &&
        (strlen(name) < 6 || strlen(name) >= sizeof(d->name) || strchr(name, '/') != NULL ||
         strcmp(name + strlen(name) - 5, ".vhdx") != 0)) {
        rc = sim_fail(err, SIM_INVALID, "'%s' is no file name that ends in .vhdx", name);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    old = d->files[0];
    from = vm_disk_path(vm, &old);
    (void)snprintf(d->files[0].name, sizeof(d->files[0].name), "%s", name);
    (void)snprintf(d->name, sizeof(d->name), "%s", name);
    to = vm_disk_path(vm, &d->files[0]);
    disk_close(d);
    if (rename(from, to) != 0) {
        rc = sim_fail_errno(err, errno, "renaming '%s'", from);
    }
    if (rc == SIM_OK && d->tracked) {
        rc = disk_side_files(vm, &d->files[0], err);
    }
    disk_unlink_file(vm, &old); /* what stood beside it */
    if (rc == SIM_OK) {
        rc = disk_open(h, vm, d, err);
    }
    if (rc == SIM_OK) {
        rc = tracking ? vm_save(vm, err) : tracking_set(h, vm_id, disk, SIM_TRACKING_LOST, err);
    }
    free(from);
    free(to);
    return rc;
}

uint32_t
disk_write_offline(struct sim_host *h, const struct guid *vm_id, const struct guid *disk,
                   const struct sim_extent *extent, uint64_t seed, struct sim_error *err)
{
    struct sim_disk *d = NULL;
    struct sim_vm *vm = NULL;
    struct rct *rct;
    uint32_t rc = find_at_rest(h, vm_id, disk, &vm, &d, err);

    if (rc == SIM_OK && vm->state != SIM_VM_OFF) {
        rc = sim_fail(err, SIM_SHARING, "the vm uses '%s'", d->name);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    rct = d->rct;
    d->rct = NULL; /* nobody tracks this */
    rc = guest_write(h, vm_id, disk, extent, 1, NULL, seed, err);
    d->rct = rct;
    tracking_kill_all(d, SIM_ID_OFFLINE);
    return rc == SIM_OK ? vm_save(vm, err) : rc;
}
