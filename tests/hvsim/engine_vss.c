/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/engine_internal.h"
#include "hvsim/sim_file.h"

/*
 * The Volume Shadow Copy Service with the Hyper-V writer, for requesters with non-persistent snapshots: one volume, the
 * whole of it.  A shadow copy is a folder that shows the files of the vms of the set under their absolute paths.
 *
 * As on Server 2012 R2 and later a running vm's disk is, in the shadow copy, some moments behind what the guest had
 * put in order: its own files hold bytes that a child beside them, NAME-AutoRecovery.avhdx, sets right.  Who
 * reads only the disk of the vm reads junk.
 */
const struct guid sim_vss_writer_id = {{0x66, 0x84, 0x1c, 0xd4, 0x6d, 0xed, 0x4f, 0x4b, 0x8f, 0x17,
                                        0xfd, 0x23, 0xf8, 0xdd, 0xc3, 0xde}};

#define STATE_STABLE        1u
#define STATE_WAITING       5u
#define STATE_FAILED_PREP   7u
#define STATE_FAILED_FREEZE 9u
#define STATE_FAILED_END    12u

#define SESSIONS_MAX 64u
#define JUNK_PLACES  8u
#define JUNK_SIZE    4096u

/* ---- sessions ---- */

uint32_t
sim_vss_open(struct sim_host *h, struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;

    if (h->vss.count >= SESSIONS_MAX) {
        return sim_fail(err, SIM_IO, "%u requesters are at it", SESSIONS_MAX);
    }
    s = sim_array_add(&h->vss.sessions, &h->vss.count, sizeof(*s));
    sim_random_guid(&h->random, &s->id);
    s->caller = h->vss.caller;
    s->step = SIM_VSS_NEW;
    s->writer_state = STATE_STABLE;
    *session = s->id;
    return SIM_OK;
}

uint32_t
sim_vss_find(struct sim_host *h, const struct guid *id, struct sim_vss_session **out,
             struct sim_error *err)
{
    for (size_t i = 0; i < h->vss.count; i++) {
        if (guid_equal(&h->vss.sessions[i].id, id)) {
            *out = &h->vss.sessions[i];
            return SIM_OK;
        }
    }
    return sim_fail(err, SIM_VSS_NOT_FOUND, "no such session");
}

/* The session, in this step and no other. */
static uint32_t
find_at(struct sim_host *h, const struct guid *id, enum sim_vss_step step,
        struct sim_vss_session **out, struct sim_error *err)
{
    uint32_t rc = sim_vss_find(h, id, out, err);

    if (rc == SIM_OK && (*out)->step != step) {
        rc = sim_fail(err, SIM_VSS_BAD_STATE, "the session is at step %u, not %u",
                      (unsigned)(*out)->step, (unsigned)step);
    }
    return rc;
}

char *
sim_vss_device(const struct sim_host *h, const struct guid *snapshot)
{
    char id[GUID_TEXT_SIZE];

    guid_format(snapshot, id);
    return sim_printf("%s/shadow/%s", h->dir, id);
}

static void
remove_shadow(struct sim_host *h, struct sim_vss_session *s)
{
    struct sim_error ignored;

    if (!guid_is_zero(&s->snapshot)) {
        char *path = sim_vss_device(h, &s->snapshot);
        uint32_t rc = sim_remove_tree(path, &ignored);

        (void)rc;
        free(path);
    }
    memset(&s->set, 0, sizeof(s->set));
    memset(&s->snapshot, 0, sizeof(s->snapshot));
}

/* Vms that the writer saved run again. */
static void
resume(struct sim_host *h, struct sim_vss_session *s)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        struct sim_error ignored;

        if (s->vms[i].saved) {
            uint32_t rc = vm_set(h, &s->vms[i].vm, NULL, SIM_VM_RUNNING, -1, -1, &ignored);

            (void)rc;
            s->vms[i].saved = false;
        }
    }
}

static void
end_session(struct sim_host *h, size_t index)
{
    struct sim_vss_session *s = &h->vss.sessions[index];

    resume(h, s);
    remove_shadow(h, s);
    free(s->vms);
    sim_array_remove(h->vss.sessions, &h->vss.count, sizeof(*s), index);
}

uint32_t
sim_vss_release(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = sim_vss_find(h, session, &s, err);

    if (rc == SIM_OK) {
        end_session(h, (size_t)(s - h->vss.sessions));
    }
    return rc;
}

void
sim_vss_caller_gone(struct sim_host *h, uint64_t caller)
{
    for (size_t i = h->vss.count; i-- > 0;) {
        if (h->vss.sessions[i].caller == caller) {
            end_session(h, i);
        }
    }
}

void
sim_vss_forget(struct sim_host *h)
{
    while (h->vss.count > 0) {
        end_session(h, h->vss.count - 1);
    }
    free(h->vss.sessions);
    h->vss.sessions = NULL;
}

uint32_t
sim_vss_start(struct sim_host *h, struct sim_error *err)
{
    char *path = sim_printf("%s/shadow", h->dir);
    struct sim_random own; /* so that what else the seed gives stays as it is without VSS */
    uint32_t rc = sim_remove_tree(path, err);

    if (rc == SIM_OK) {
        rc = sim_mkdir(path, err);
    }
    sim_random_seed(&own, h->seed ^ (h->boots * UINT64_C(0xD1B54A32D192ED03)));
    sim_random_guid(&own, &h->vss.instance);
    free(path);
    return rc;
}

/* ---- up to the freeze ---- */

uint32_t
sim_vss_begin(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_NEW, &s, err);

    if (rc == SIM_OK) {
        s->step = SIM_VSS_BEGUN;
    }
    return rc;
}

uint32_t
sim_vss_enable(struct sim_host *h, const struct guid *session, const struct guid *writer,
               struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_BEGUN, &s, err);

    if (rc == SIM_OK) {
        s->writer_enabled = guid_equal(writer, &sim_vss_writer_id);
    }
    return rc;
}

uint32_t
sim_vss_gather(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_BEGUN, &s, err);

    if (rc == SIM_OK) {
        s->step = SIM_VSS_GATHERED;
    }
    return rc;
}

uint32_t
sim_vss_add(struct sim_host *h, const struct guid *session, const struct guid *instance,
            const struct guid *vm_id, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    struct sim_vss_vm *added = NULL;
    struct sim_vm *vm = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_GATHERED, &s, err);

    if (rc != SIM_OK) {
        return rc;
    }
    if (!guid_equal(instance, &h->vss.instance) || find_vm(h, vm_id, &vm, err) != SIM_OK) {
        return sim_fail(err, SIM_VSS_NOT_FOUND, "the writer has no such component");
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        if (guid_equal(&s->vms[i].vm, vm_id)) {
            return sim_fail(err, 0x8004230Du, "the component is there already");
        }
    }
    added = sim_array_add(&s->vms, &s->vm_count, sizeof(*added));
    added->vm = *vm_id;
    return SIM_OK;
}

uint32_t
sim_vss_start_set(struct sim_host *h, const struct guid *session, struct guid *set,
                  struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_GATHERED, &s, err);

    for (size_t i = 0; rc == SIM_OK && i < h->vss.count; i++) {
        if (h->vss.sessions[i].step == SIM_VSS_SET || h->vss.sessions[i].step == SIM_VSS_PREPARED) {
            rc = sim_fail(err, SIM_VSS_IN_PROGRESS, "another set is being made");
        }
    }
    if (rc == SIM_OK) {
        sim_random_guid(&h->random, &s->set);
        s->step = SIM_VSS_SET;
        *set = s->set;
    }
    return rc;
}

uint32_t
sim_vss_add_volume(struct sim_host *h, const struct guid *session, const char *volume,
                   struct guid *snapshot, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_SET, &s, err);

    if (rc == SIM_OK && strcmp(volume, "/") != 0) {
        rc = sim_fail(err, SIM_VSS_NOT_FOUND, "no volume '%s'", volume);
    }
    if (rc == SIM_OK && !guid_is_zero(&s->snapshot)) {
        rc = sim_fail(err, 0x8004230Du, "the volume is in the set already");
    }
    if (rc == SIM_OK) {
        sim_random_guid(&h->random, &s->snapshot);
        *snapshot = s->snapshot;
    }
    return rc;
}

/* The writer fails at a step, if that was asked for: the call succeeds, its status tells. */
static bool
writer_fails(struct sim_host *h, struct sim_vss_session *s, enum sim_vss_step step, uint32_t state)
{
    struct sim_vss_fault *f = &h->vss.fault;

    if (f->step != step || f->times == 0) {
        return false;
    }
    f->times--;
    s->writer_state = state;
    s->writer_failure = f->hresult;
    return true;
}

uint32_t
sim_vss_prepare(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_SET, &s, err);

    if (rc == SIM_OK && (guid_is_zero(&s->snapshot) || s->vm_count == 0)) {
        rc = sim_fail(err, SIM_VSS_BAD_STATE, "no volume, or no component");
    }
    if (rc == SIM_OK) {
        s->step = SIM_VSS_PREPARED;
        (void)writer_fails(h, s, SIM_VSS_PREPARED, STATE_FAILED_PREP);
    }
    return rc;
}

/* ---- the shadow copy ---- */

static uint32_t
make_folders(const char *path, struct sim_error *err)
{
    char *copy = sim_strdup(path);
    uint32_t rc = SIM_OK;

    for (char *p = copy + 1; rc == SIM_OK && *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            rc = sim_mkdir(copy, err);
            *p = '/';
        }
    }
    rc = rc == SIM_OK ? sim_mkdir(copy, err) : rc;
    free(copy);
    return rc;
}

static uint32_t
copy_disk(const struct sim_vm *vm, const struct sim_disk *d, const char *to, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < d->file_count; i++) {
        char *from = vm_disk_path(vm, &d->files[i]);
        char *copy = sim_printf("%s/%s", to, d->files[i].name);

        rc = sim_copy_sparse(from, copy, err);
        free(from);
        free(copy);
    }
    return rc;
}

/* Junk at some places of the file that the vm wrote to, and in the child what ought to stand there. */
static uint32_t
swap_bytes(struct sim_host *h, struct sim_disk *d, struct vhdx *leaf, struct vhdx *child,
           const uint64_t *places, struct sim_error *err)
{
    uint8_t junk[JUNK_SIZE];
    uint8_t right[JUNK_SIZE];
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < JUNK_PLACES; i++) {
        if (leaf != NULL) {
            sim_random_fill(junk, sizeof(junk), sim_random_next(&h->random), places[i]);
            rc = vhdx_write(leaf, junk, sizeof(junk), places[i], err);
        } else {
            rc = sim_pread(d->truth_fd, right, sizeof(right), places[i], d->name, err);
            rc = rc == SIM_OK ? vhdx_write(child, right, sizeof(right), places[i], err) : rc;
        }
    }
    return rc;
}

static uint32_t
recover_disk(struct sim_host *h, struct sim_disk *d, const char *folder, struct sim_error *err)
{
    const struct sim_disk_file *active = disk_file(d, &d->active);
    struct vhdx_spec spec = {
        .size = d->size,
        .block_size = VHDX_CHILD_BLOCK,
        .logical_sector = d->logical_sector,
        .physical_sector = d->physical_sector,
        .disk_id = d->id,
        .parent_name = active->name,
    };
    uint64_t places[JUNK_PLACES];
    const char *dot = strrchr(active->name, '.');
    char *leaf_path = sim_printf("%s/%s", folder, active->name);
    char *child_path =
        sim_printf("%s/%.*s-AutoRecovery.avhdx", folder, (int)(dot - active->name), active->name);
    struct vhdx *leaf = NULL;
    struct vhdx *child = NULL;
    uint32_t rc = vhdx_open(&leaf, leaf_path, &h->random, err);

    for (size_t i = 0; i < JUNK_PLACES; i++) {
        places[i] = sim_random_below(&h->random, d->size / JUNK_SIZE) * JUNK_SIZE;
    }
    if (rc == SIM_OK && d->truth_fd >= 0) {
        rc = swap_bytes(h, d, leaf, NULL, places, err);
    }
    if (rc == SIM_OK) {
        vhdx_data_write_guid(leaf, &spec.parent_linkage);
        rc = vhdx_create(child_path, &spec, &h->random, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_open(&child, child_path, &h->random, err);
    }
    if (rc == SIM_OK && d->truth_fd >= 0) {
        rc = swap_bytes(h, d, NULL, child, places, err);
    }
    vhdx_close(leaf);
    vhdx_close(child);
    free(leaf_path);
    free(child_path);
    return rc;
}

static uint32_t
write_config(const struct sim_vm *vm, const char *folder, struct sim_error *err)
{
    char id[GUID_TEXT_SIZE];
    char *config = vm_config_text(vm);
    char *path;
    char *text = sim_printf("VMCX\n%s", config);
    uint32_t rc;

    guid_format_upper(&vm->id, id);
    path = sim_printf("%s/%s.%s", folder, id, sim_vss_config_suffix(vm));
    rc = sim_write_text(path, text, err);
    free(path);
    path = sim_printf("%s/%s.vmgs", folder, id);
    rc = rc == SIM_OK ? vm_copy_guest_state(vm, path, err) : rc;
    free(path);
    free(text);
    free(config);
    return rc;
}

/* What the writer leaves of the checkpoint that it made for the guest. */
static uint32_t
write_snapshot(const struct sim_vm *vm, const char *device, struct sim_error *err)
{
    char *folder = sim_printf("%s%s/" SIM_SNAPSHOTS_DIR, device, vm->folder);
    char *path = sim_printf("%s/BackupSnapshot.xml", folder);
    uint32_t rc = make_folders(folder, err);

    rc = rc == SIM_OK ? sim_write_text(path, "<snapshot/>", err) : rc;
    free(folder);
    free(path);
    return rc;
}

static uint32_t
copy_vm(struct sim_host *h, struct sim_vss_session *s, const struct sim_vss_vm *sv, bool recovers,
        struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    char *device = sim_vss_device(h, &s->snapshot);
    char *disks = NULL;
    char *config = NULL;
    uint32_t rc = find_vm(h, &sv->vm, &vm, err);

    if (rc != SIM_OK) {
        free(device);
        return rc;
    }
    disks = sim_printf("%s%s/" SIM_DISKS_DIR, device, vm->folder);
    config = sim_printf("%s%s/" SIM_CONFIG_DIR, device, vm->folder);
    rc = make_folders(disks, err);
    rc = rc == SIM_OK ? make_folders(config, err) : rc;
    rc = rc == SIM_OK ? write_config(vm, config, err) : rc;
    if (rc == SIM_OK && sv->online) {
        rc = write_snapshot(vm, device, err);
    }
    for (size_t i = 0; rc == SIM_OK && i < vm->disk_count; i++) {
        rc = copy_disk(vm, &vm->disks[i], disks, err);
        if (rc == SIM_OK && sv->online && recovers) {
            rc = recover_disk(h, &vm->disks[i], disks, err);
        }
    }
    if (rc == SIM_OK) {
        rc = truth_note(vm, &s->set, "vss", sv->online, err);
        rc = rc == SIM_OK ? vm_save(vm, err) : rc;
    }
    free(device);
    free(disks);
    free(config);
    return rc;
}

uint32_t
sim_vss_freeze(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    bool fails;
    uint32_t rc = find_at(h, session, SIM_VSS_PREPARED, &s, err);

    if (rc != SIM_OK) {
        return rc;
    }
    s->step = SIM_VSS_FROZEN;
    for (size_t i = 0; rc == SIM_OK && i < s->vm_count; i++) {
        struct sim_vm *vm = NULL;

        rc = find_vm(h, &s->vms[i].vm, &vm, err);
        s->vms[i].online = rc == SIM_OK && sim_vss_vm_is_online(vm);
        if (rc == SIM_OK && vm->state == SIM_VM_RUNNING && !s->vms[i].online) {
            s->vms[i].saved = true;
            rc = vm_set(h, &vm->id, NULL, SIM_VM_SAVED, -1, -1, err);
        }
    }
    fails = rc == SIM_OK && s->writer_failure == 0 &&
            writer_fails(h, s, SIM_VSS_FROZEN, STATE_FAILED_FREEZE);
    for (size_t i = 0; rc == SIM_OK && i < s->vm_count; i++) {
        rc = copy_vm(h, s, &s->vms[i], !fails, err);
    }
    if (rc == SIM_OK && s->writer_failure == 0) {
        s->writer_state = STATE_WAITING;
        resume(h, s);
    }
    return rc;
}

/* ---- after it ---- */

uint32_t
sim_vss_succeeded(struct sim_host *h, const struct guid *session, const struct guid *vm, bool yes,
                  struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_FROZEN, &s, err);

    for (size_t i = 0; rc == SIM_OK && i < s->vm_count; i++) {
        if (guid_equal(&s->vms[i].vm, vm)) {
            s->vms[i].succeeded = yes;
            return SIM_OK;
        }
    }
    return rc == SIM_OK ? sim_fail(err, SIM_VSS_NOT_FOUND, "no such component") : rc;
}

uint32_t
sim_vss_complete(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = find_at(h, session, SIM_VSS_FROZEN, &s, err);

    if (rc == SIM_OK) {
        s->step = SIM_VSS_COMPLETE;
        if (!writer_fails(h, s, SIM_VSS_COMPLETE, STATE_FAILED_END)) {
            s->writer_state = STATE_STABLE;
        }
    }
    return rc;
}

/* Only what is under way can be aborted. */
uint32_t
sim_vss_abort(struct sim_host *h, const struct guid *session, struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = sim_vss_find(h, session, &s, err);

    if (rc == SIM_OK && (s->step < SIM_VSS_BEGUN || s->step > SIM_VSS_FROZEN)) {
        rc = sim_fail(err, SIM_VSS_BAD_STATE, "nothing is under way");
    }
    if (rc == SIM_OK) {
        resume(h, s);
        remove_shadow(h, s);
        s->step = SIM_VSS_ABORTED;
        s->writer_state = STATE_STABLE;
    }
    return rc;
}

uint32_t
sim_vss_delete_set(struct sim_host *h, const struct guid *session, const struct guid *set,
                   struct sim_error *err)
{
    struct sim_vss_session *s = NULL;
    uint32_t rc = sim_vss_find(h, session, &s, err);

    if (rc == SIM_OK && (guid_is_zero(&s->set) || !guid_equal(&s->set, set))) {
        rc = sim_fail(err, SIM_VSS_NOT_FOUND, "no such set");
    }
    if (rc == SIM_OK && s != NULL) {
        remove_shadow(h, s);
    }
    return rc;
}
