/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <stdlib.h>

static void
fill_refpoint(struct sim_vm *vm, struct sim_refpoint *r, const struct sim_checkpoint *c)
{
    r->application = c->application;
    for (size_t i = 0; i < c->disk_count; i++) {
        if (c->disks[i].change_id[0] != 0) {
            struct sim_moment_disk *m = sim_array_add(&r->disks, &r->disk_count, sizeof(*m));

            *m = c->disks[i];
        }
    }
    for (size_t i = 0; i < vm->truth_count; i++) {
        if (guid_equal(&vm->truths[i].checkpoint, &c->id)) {
            vm->truths[i].refpoint = r->id;
        }
    }
}

uint32_t
refpoint_do_convert(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_refpoint *r = NULL;
    uint32_t rc = find_checkpoint(h, &j->subject, &vm, &c, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (h->options.max_refpoints != 0 && vm->refpoint_count >= h->options.max_refpoints) {
        return sim_fail(err, SIM_FAILED, "vm '%s' has %zu reference points already", vm->name,
                        vm->refpoint_count);
    }
    r = sim_array_add(&vm->refpoints, &vm->refpoint_count, sizeof(*r));
    sim_random_guid(&h->random, &r->id);
    fill_refpoint(vm, r, c);
    j->result = r->id;
    return checkpoint_remove(h, vm, (size_t)(c - vm->checkpoints), err);
}

uint32_t
refpoint_destroy(struct sim_host *h, const struct guid *id, struct guid *job, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_refpoint *r = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_refpoint(h, id, &vm, &r, err);

    if (rc == SIM_OK && r->busy) {
        rc = sim_fail(err, SIM_INVALID_STATE, "a job works on this reference point");
    }
    if (rc != SIM_OK) {
        return rc;
    }
    r->busy = true;
    j = job_new(h, SIM_JOB_REFPOINT_DESTROY, &vm->id);
    j->subject = *id;
    *job = j->id;
    return SIM_OK;
}

uint32_t
refpoint_do_destroy(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_refpoint *r = NULL;
    uint32_t rc = find_refpoint(h, &j->subject, &vm, &r, err);

    if (rc != SIM_OK) {
        return rc;
    }
    free(r->disks);
    sim_array_remove(vm->refpoints, &vm->refpoint_count, sizeof(*r), (size_t)(r - vm->refpoints));
    tracking_forget_unused(vm);
    return vm_save(vm, err);
}
