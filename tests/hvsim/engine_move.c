/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Migration with storage: the vm's folder goes from one host to another by one rename each, on one
 * file system.  Ids, chain, reference points and tracking are in it.
 *
 * A live migration is refused while the vm is worked on.  A failover is not a matter of choice: a node
 * that has died leaves the files on a shared volume as they were, recovery checkpoints included; its
 * jobs are nobody's.
 */

static uint32_t
check_may_leave(const struct sim_host *h, const struct sim_vm *vm, struct sim_error *err)
{
    if (!engine_idle(h, &vm->id)) {
        return sim_fail(err, SIM_INVALID_STATE, "vm '%s' is busy", vm->name);
    }
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        if (vm->checkpoints[i].type == SIM_CHECKPOINT_RECOVERY) {
            return sim_fail(err, SIM_INVALID_STATE, "vm '%s' is being backed up", vm->name);
        }
    }
    return SIM_OK;
}

static void
forget_jobs(struct sim_host *h, const struct guid *vm)
{
    for (size_t i = h->job_count; i > 0; i--) {
        if (guid_equal(&h->jobs[i - 1].vm, vm)) {
            sim_array_remove(h->jobs, &h->job_count, sizeof(h->jobs[0]), i - 1);
        }
    }
}

uint32_t
vm_move_out(struct sim_host *h, const struct guid *id, const char *to, bool failover,
            struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    char *folder = NULL;
    uint32_t rc = find_vm(h, id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (!failover) {
        rc = check_may_leave(h, vm, err);
        if (rc != SIM_OK) {
            return rc;
        }
    }
    if (access(to, F_OK) == 0) {
        return sim_fail(err, SIM_INVALID, "'%s' exists already", to);
    }
    folder = sim_strdup(vm->folder);
    if (rename(folder, to) != 0) {
        rc = sim_fail_errno(err, errno, "moving '%s' to '%s'", folder, to);
        goto out;
    }
    forget_jobs(h, id);
    for (size_t i = 0; i < h->vm_count; i++) {
        if (h->vms[i] == vm) {
            sim_array_remove(h->vms, &h->vm_count, sizeof(h->vms[0]), i);
            break;
        }
    }
    vm_free(vm);
out:
    free(folder);
    return rc;
}

uint32_t
vm_move_in(struct sim_host *h, const char *from, struct guid *id, struct sim_error *err)
{
    char text[GUID_TEXT_SIZE];
    struct sim_error ignored;
    struct sim_vm *vm = NULL;
    struct sim_vm *same = NULL;
    struct sim_vm **slot = NULL;
    char *folder = NULL;
    uint32_t rc = vm_load(&vm, from, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (find_vm(h, &vm->id, &same, &ignored) == SIM_OK) {
        rc = sim_fail(err, SIM_INVALID_STATE, "vm '%s' is on this host already", vm->name);
        goto out;
    }
    guid_format_upper(&vm->id, text);
    folder = sim_printf("%s/vms/%s", h->dir, text);
    if (rename(from, folder) != 0) {
        rc = sim_fail_errno(err, errno, "moving '%s' to '%s'", from, folder);
        goto out;
    }
    free(vm->folder);
    vm->folder = folder;
    folder = NULL;
    rc = vm_remove_leftovers(vm, err);
    if (rc == SIM_OK) {
        rc = vm_open_disks(h, vm, err);
    }
    if (rc == SIM_OK) {
        *id = vm->id;
        merge_plan(h, vm);
        slot = sim_array_add(&h->vms, &h->vm_count, sizeof(*slot));
        *slot = vm;
        vm = NULL;
    }
out:
    vm_free(vm);
    free(folder);
    return rc;
}
