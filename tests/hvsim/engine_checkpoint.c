/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "hvsim/group.h"
#include "hvsim/sim_file.h"

#define CHECKPOINTS_MAX 50u /* of Hyper-V, per vm */
#define NAME_MAX_BYTES  100u

/* A merge that ought to run but cannot: its files stay open for writing by nobody knows whom. */
static bool
merge_is_stuck(const struct sim_vm *vm)
{
    return vm->merge_count != 0 && !vm_merging(vm);
}

/* What the vm is said to be refuses a checkpoint. */
static uint32_t
check_says(const struct sim_vm *vm, struct sim_error *err)
{
    if (vm->says.work != 0 || vm->says.replication == 2 || vm->says.replication == 4) {
        return sim_fail(err, SIM_INVALID_STATE, "vm '%s' cannot have a checkpoint now", vm->name);
    }
    if (vm->says.health == 25 || vm->says.status == 5) {
        return sim_fail(err, SIM_NO_SPACE, "the volume of vm '%s' is full", vm->name);
    }
    if (vm->says.status == 11) {
        return sim_fail(err, SIM_IN_USE, "vm '%s' is in service", vm->name);
    }
    return vm->says.status == 3
               ? sim_fail(err, SIM_FAILED, "the files of vm '%s' cannot be reached", vm->name)
               : SIM_OK;
}

uint32_t
checkpoint_create(struct sim_host *h, const struct guid *vm_id, enum sim_checkpoint_type type,
                  enum sim_consistency consistency, const char *name, struct guid *job,
                  struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_vm(h, vm_id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (strlen(name) > NAME_MAX_BYTES) {
        return sim_fail(err, SIM_INVALID, "a checkpoint's name has at most %u bytes",
                        NAME_MAX_BYTES);
    }
    if (vm_has_set(h, &vm->id)) { /* which number Hyper-V has for it is not documented */
        return sim_fail(err, SIM_NO_SUPPORT, "vm '%s' shares a VHD set: its group can be frozen",
                        vm->name);
    }
    rc = check_says(vm, err);
    if (rc != SIM_OK) {
        return rc;
    }
    if (cluster_works_on(h, &vm->id)) {
        return sim_fail(err, SIM_INVALID_STATE, "a job works on vm '%s'", vm->name);
    }
    if (vm_merging(vm)) {
        return sim_fail(err, SIM_INVALID_STATE, "vm '%s' is merging disks", vm->name);
    }
    j = job_new(h, SIM_JOB_CREATE, &vm->id);
    j->type = type;
    j->want_application = consistency != SIM_CRASH;
    j->fall_back = consistency == SIM_APPLICATION_OR_CRASH;
    (void)snprintf(j->name, sizeof(j->name), "%s", name);
    sim_random_guid(&h->random, &j->subject);
    *job = j->id;
    return SIM_OK;
}

/* ---- the configuration of the moment, as files ---- */

static const char *const config_suffixes[] = {"vmcx", "vmrs", "vmgs"};

static char *
config_path(const struct sim_vm *vm, const struct guid *checkpoint, size_t i)
{
    char id[GUID_TEXT_SIZE];

    guid_format_upper(checkpoint, id);
    return sim_printf("%s/" SIM_CONFIG_DIR "/%s.%s", vm->folder, id, config_suffixes[i]);
}

static uint32_t
write_config(const struct sim_vm *vm, const struct sim_checkpoint *c, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < 3; i++) {
        char *path = config_path(vm, &c->id, i);
        char *text = sim_printf("%s\n%s", i == 0 ? "VMCX" : "VMRS", i == 0 ? c->config : "");

        rc = i < 2 ? sim_write_text(path, text, err) : vm_copy_guest_state(vm, path, err);
        free(path);
        free(text);
    }
    return rc;
}

static void
remove_config(const struct sim_vm *vm, const struct guid *checkpoint)
{
    for (size_t i = 0; i < 3; i++) {
        char *path = config_path(vm, checkpoint, i);

        (void)unlink(path);
        free(path);
    }
}

uint32_t
checkpoint_rename(struct sim_host *h, const struct guid *id, const char *name,
                  struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    uint32_t rc = find_checkpoint(h, id, &vm, &c, err);

    if (rc == SIM_OK && strlen(name) > NAME_MAX_BYTES) {
        rc = sim_fail(err, SIM_INVALID, "a checkpoint's name has at most %u bytes", NAME_MAX_BYTES);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    for (size_t i = 0; i < vm->truth_count; i++) {
        if (guid_equal(&vm->truths[i].checkpoint, id)) {
            (void)snprintf(vm->truths[i].tag, sizeof(vm->truths[i].tag), "%s", name);
        }
    }
    (void)snprintf(c->name, sizeof(c->name), "%s", name);
    return vm_save(vm, err);
}

/* ---- freezing ---- */

struct freeze {
    struct sim_disk_file *children; /* one per disk */
    struct sim_moment_disk *moments;
    size_t done;
};

static uint32_t
freeze_disk(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct freeze *f,
            struct sim_error *err)
{
    struct sim_moment_disk *m = &f->moments[f->done];
    struct sim_disk_file *active = disk_file(d, &d->active);
    uint32_t rc = disk_make_child(h, vm, d, active, d->vhdx, &f->children[f->done], err);

    if (rc == SIM_OK) {
        m->disk = d->id;
        m->file = d->active;
        f->done++;
    }
    return rc;
}

/* From here on nothing is undone: the children exist, only the model and the open files change. */
static uint32_t
switch_disk(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct sim_disk_file *child,
            struct sim_moment_disk *m, struct sim_error *err)
{
    struct sim_disk_file *added = NULL;
    char *path = vm_disk_path(vm, child);
    uint64_t sealed = d->epoch;
    uint32_t rc = tracking_seal(h, d, m->change_id, err);

    if (rc == SIM_OK) {
        vhdx_close(d->vhdx);
        d->vhdx = NULL;
        rc = vhdx_open(&d->vhdx, path, &h->random, err);
    }
    if (rc == SIM_OK) {
        disk_file(d, &d->active)->sealed_epoch = sealed;
        d->active = child->id;
        added = sim_array_add(&d->files, &d->file_count, sizeof(*added));
        *added = *child;
    }
    free(path);
    return rc;
}

static void
note_truth(struct sim_vm *vm, const struct sim_checkpoint *c)
{
    struct sim_truth *t = NULL;

    if (!vm->truth || c->type != SIM_CHECKPOINT_RECOVERY) {
        return;
    }
    t = sim_array_add(&vm->truths, &vm->truth_count, sizeof(*t));
    t->checkpoint = c->id;
    (void)snprintf(t->tag, sizeof(t->tag), "%s", c->name);
    t->application = c->application;
    t->created_us = c->created_us;
    for (size_t i = 0; i < c->disk_count; i++) {
        struct sim_moment_disk *m = sim_array_add(&t->disks, &t->disk_count, sizeof(*m));

        *m = c->disks[i];
    }
}

static uint32_t
check_can_freeze(const struct sim_vm *vm, struct sim_job *j, struct sim_error *err)
{
    if (vm->checkpoint_count >= CHECKPOINTS_MAX) {
        return sim_fail(err, SIM_FAILED, "vm '%s' has %u checkpoints already", vm->name,
                        CHECKPOINTS_MAX);
    }
    if (merge_is_stuck(vm)) {
        return sim_fail(err, SIM_SHARING,
                        "a disk file of vm '%s' waits for its merge and is in use", vm->name);
    }
    j->application = j->want_application;
    /* Nobody answers in a guest that is paused or saved either; one that is off has nothing to say. */
    if (j->want_application && vm->state != SIM_VM_OFF &&
        (!vm->integration || vm->state != SIM_VM_RUNNING)) {
        if (!j->fall_back) {
            return sim_fail(err, SIM_FAILED,
                            "the backup service of the guest in vm '%s' does not answer", vm->name);
        }
        j->application = false;
    }
    return SIM_OK;
}

uint32_t
checkpoint_do_create(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct freeze f = {0};
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    char *config = NULL;
    uint32_t rc = find_vm(h, &j->vm, &vm, err);

    if (rc == SIM_OK) {
        rc = check_can_freeze(vm, j, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    config = vm_config_text(vm); /* names the files that are frozen now */
    f.children = sim_alloc(vm->disk_count * sizeof(f.children[0]));
    f.moments = sim_alloc(vm->disk_count * sizeof(f.moments[0]));
    for (size_t i = 0; rc == SIM_OK && i < vm->disk_count; i++) {
        rc = freeze_disk(h, vm, &vm->disks[i], &f, err);
    }
    if (rc == SIM_OK) {
        rc = truth_freeze(vm, &j->subject, err);
    }
    for (size_t i = 0; rc != SIM_OK && i < f.done; i++) {
        disk_unlink_file(vm, &f.children[i]);
    }
    for (size_t i = 0; rc == SIM_OK && i < vm->disk_count; i++) {
        rc = switch_disk(h, vm, &vm->disks[i], &f.children[i], &f.moments[i], err);
    }
    if (rc == SIM_OK) {
        c = sim_array_add(&vm->checkpoints, &vm->checkpoint_count, sizeof(*c));
        c->id = j->subject;
        c->type = j->type;
        c->application = j->application;
        c->created_us = time_now_us();
        c->config = config;
        config = NULL;
        (void)snprintf(c->name, sizeof(c->name), "%s", j->name);
        c->disks = f.moments;
        c->disk_count = f.done;
        f.moments = NULL;
        note_truth(vm, c);
        j->result = c->id;
        rc = write_config(vm, c, err);
        rc = rc == SIM_OK ? vm_save(vm, err) : rc;
    }
    free(config);
    free(f.children);
    free(f.moments);
    return rc;
}

/* ---- removing ---- */

static uint32_t
start_on_checkpoint(struct sim_host *h, const struct guid *id, enum sim_job_kind kind,
                    enum sim_checkpoint_type only, struct guid *job, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_checkpoint(h, id, &vm, &c, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (c->busy || cluster_works_on(h, &vm->id)) {
        return sim_fail(err, SIM_INVALID_STATE, "a job works on vm '%s'", vm->name);
    }
    if (only != 0 && c->type != only) {
        return sim_fail(err, SIM_INVALID, "checkpoint '%s' is of the other type", c->name);
    }
    c->busy = true;
    j = job_new(h, kind, &vm->id);
    j->subject = *id;
    *job = j->id;
    return SIM_OK;
}

void
checkpoint_set_busy(struct sim_host *h, const struct sim_job *j, bool busy)
{
    struct sim_error ignored;
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_refpoint *r = NULL;

    if (find_checkpoint(h, &j->subject, &vm, &c, &ignored) == SIM_OK) {
        c->busy = busy;
    }
    if (find_refpoint(h, &j->subject, &vm, &r, &ignored) == SIM_OK) {
        r->busy = busy;
    }
}

uint32_t
checkpoint_destroy(struct sim_host *h, const struct guid *id, struct guid *job,
                   struct sim_error *err)
{
    return start_on_checkpoint(h, id, SIM_JOB_DESTROY, (enum sim_checkpoint_type)0, job, err);
}

uint32_t
checkpoint_apply(struct sim_host *h, const struct guid *id, struct guid *job, struct sim_error *err)
{
    return start_on_checkpoint(h, id, SIM_JOB_APPLY, SIM_CHECKPOINT_USER, job, err);
}

uint32_t
refpoint_convert(struct sim_host *h, const struct guid *checkpoint, struct guid *job,
                 struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    uint32_t rc = find_checkpoint(h, checkpoint, &vm, &c, err);

    if (rc == SIM_OK && !vm_supports_refpoints(vm)) {
        rc = sim_fail(err, SIM_UNSUPPORTED, "configuration version %s keeps no reference points",
                      vm->config_version);
    }
    return rc == SIM_OK ? start_on_checkpoint(h, checkpoint, SIM_JOB_CONVERT,
                                              SIM_CHECKPOINT_RECOVERY, job, err)
                        : rc;
}

uint32_t
checkpoint_remove(struct sim_host *h, struct sim_vm *vm, size_t index, struct sim_error *err)
{
    struct sim_checkpoint *c = &vm->checkpoints[index];
    uint32_t rc;

    for (size_t i = 0; c->type == SIM_CHECKPOINT_USER && i < c->disk_count; i++) {
        char *path = truth_file(vm, &c->id, &c->disks[i].disk);

        (void)unlink(path);
        free(path);
    }
    remove_config(vm, &c->id);
    if (guid_equal(&vm->applied, &c->id)) {
        memset(&vm->applied, 0, sizeof(vm->applied));
    }
    checkpoint_release(c);
    sim_array_remove(vm->checkpoints, &vm->checkpoint_count, sizeof(*c), index);
    tracking_forget_unused(vm);
    rc = vm_save(vm, err);
    merge_plan(h, vm);
    return rc;
}

uint32_t
checkpoint_do_destroy(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    uint32_t rc = find_checkpoint(h, &j->subject, &vm, &c, err);

    return rc == SIM_OK ? checkpoint_remove(h, vm, (size_t)(c - vm->checkpoints), err) : rc;
}

/* ---- applying: the vm goes back ---- */

static uint32_t
revert_disk(struct sim_host *h, struct sim_vm *vm, const struct sim_checkpoint *c,
            struct sim_disk *d, const struct sim_moment_disk *m, struct sim_error *err)
{
    struct sim_disk_file *frozen = disk_file(d, &m->file);
    struct sim_disk_file child;
    struct sim_disk_file *added = NULL;
    struct vhdx *v = NULL;
    char *path = vm_disk_path(vm, frozen);
    char *live = truth_live_file(vm, &d->id);
    char *then = truth_file(vm, &c->id, &d->id);
    uint64_t then_epoch = frozen->sealed_epoch;
    uint32_t rc = vhdx_open(&v, path, &h->random, err);

    if (rc == SIM_OK) {
        rc = disk_make_child(h, vm, d, frozen, v, &child, err);
    }
    if (rc == SIM_OK && vm->truth) {
        (void)unlink(live);
        rc = sim_copy_sparse(then, live, err);
    }
    if (rc != SIM_OK) {
        goto out;
    }
    for (size_t i = 0; i < d->id_count; i++) {
        if (d->ids[i].state == SIM_ID_ALIVE && d->ids[i].epoch > then_epoch &&
            !h->options.rct_ignores_apply) {
            d->ids[i].state = SIM_ID_UNKNOWN;
        }
    }
    disk_file(d, &d->active)->sealed_epoch = d->epoch;
    d->active = child.id;
    added = sim_array_add(&d->files, &d->file_count, sizeof(*added));
    *added = child;
    d->epoch++;
    disk_close(d);
    rc = disk_open(h, vm, d, err);
out:
    vhdx_close(v);
    free(path);
    free(live);
    free(then);
    return rc;
}

uint32_t
checkpoint_do_apply(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = find_checkpoint(h, &j->subject, &vm, &c, err);

    if (rc != SIM_OK) {
        return rc;
    }
    merge_stop(vm);
    vm->merge_count = 0;
    for (size_t i = 0; rc == SIM_OK && i < c->disk_count; i++) {
        rc = find_disk(vm, &c->disks[i].disk, &d, err);
        if (rc == SIM_OK) {
            rc = revert_disk(h, vm, c, d, &c->disks[i], err);
        }
    }
    c->busy = false;
    vm->applied = c->id;
    if (rc == SIM_OK) {
        rc = vm_save(vm, err);
    }
    merge_plan(h, vm); /* the branch that was left may have no owner any more */
    return rc;
}
