/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/group.h"
#include "hvsim/sim_file.h"

#define VMS_MAX 1000u

static uint32_t
check_name(const char *name, struct sim_error *err)
{
    size_t len = strlen(name);

    if (len == 0 || len > SIM_NAME_MAX) {
        return sim_fail(err, SIM_INVALID, "a vm's name has 1 to %d bytes", SIM_NAME_MAX);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] < 0x20) {
            return sim_fail(err, SIM_INVALID, "a vm's name has no control characters");
        }
    }
    return SIM_OK;
}

static uint32_t
make_folders(const struct sim_vm *vm, struct sim_error *err)
{
    static const char *const names[] = {"", SIM_DISKS_DIR, SIM_CONFIG_DIR, "rct", "truth"};
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = sim_printf("%s/%s", vm->folder, names[i]);

        rc = sim_mkdir(path, err);
        free(path);
    }
    return rc;
}

static uint32_t
open_intent(struct sim_vm *vm, struct sim_error *err)
{
    char *path = sim_printf("%s/intent", vm->folder);
    uint32_t rc = SIM_OK;

    vm->intent_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (vm->intent_fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", path);
    }
    free(path);
    return rc;
}

uint32_t
vm_create(struct sim_host *h, const struct vm_spec *spec, struct guid *id, struct sim_error *err)
{
    char text[GUID_TEXT_SIZE];
    struct sim_vm *vm = NULL;
    struct sim_vm **slot = NULL;
    uint32_t rc = check_name(spec->name, err);

    if (rc == SIM_OK && h->vm_count >= VMS_MAX) {
        rc = sim_fail(err, SIM_FAILED, "this host has %u vms already", VMS_MAX);
    }
    if (rc == SIM_OK && (spec->generation < 1 || spec->generation > 2)) {
        rc = sim_fail(err, SIM_INVALID, "a vm's generation is 1 or 2");
    }
    if (rc != SIM_OK) {
        return rc;
    }
    vm = sim_alloc(sizeof(*vm));
    vm->intent_fd = -1;
    sim_random_guid(&h->random, &vm->id);
    guid_format_upper(&vm->id, text);
    vm->folder = sim_printf("%s/vms/%s", h->dir, text);
    (void)snprintf(vm->name, sizeof(vm->name), "%s", spec->name);
    (void)snprintf(vm->config_version, sizeof(vm->config_version), "%s", spec->config_version);
    vm->generation = spec->generation;
    vm->state = spec->state;
    vm->integration = spec->integration;
    vm->merge_enabled = true;
    vm->truth = spec->truth;
    rc = make_folders(vm, err);
    if (rc == SIM_OK) {
        rc = open_intent(vm, err);
    }
    if (rc == SIM_OK) {
        rc = vm_save(vm, err);
    }
    if (rc != SIM_OK) {
        vm_free(vm);
        return rc;
    }
    *id = vm->id;
    slot = sim_array_add(&h->vms, &h->vm_count, sizeof(*slot));
    *slot = vm;
    return SIM_OK;
}

uint32_t
vm_delete(struct sim_host *h, const struct guid *id, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    char *state = NULL;
    char *folder = NULL;
    uint32_t rc = find_vm(h, id, &vm, err);

    if (rc != SIM_OK) {
        return rc;
    }
    folder = sim_strdup(vm->folder);
    state = sim_printf("%s/vm.json", folder);
    for (size_t i = 0; i < h->vm_count; i++) {
        if (h->vms[i] == vm) {
            sim_array_remove(h->vms, &h->vm_count, sizeof(h->vms[0]), i);
            break;
        }
    }
    vm_free(vm);
    (void)unlink(state); /* from here on it is gone, whatever happens to the rest */
    rc = sim_remove_tree(folder, err);
    free(state);
    free(folder);
    return rc;
}

uint32_t
vm_set(struct sim_host *h, const struct guid *id, const char *name, int state, int integration,
       int merge_enabled, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    uint32_t rc = find_vm(h, id, &vm, err);

    if (rc == SIM_OK && name != NULL) {
        rc = check_name(name, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    if (name != NULL) {
        (void)snprintf(vm->name, sizeof(vm->name), "%s", name);
    }
    if (state >= 0 && (enum sim_vm_state)state != vm->state) {
        vm->state = (enum sim_vm_state)state;
        for (size_t i = 0; i < vm->disk_count; i++) {
            if (vm->disks[i].vhdx != NULL) {
                vhdx_end_session(vm->disks[i].vhdx);
            }
        }
    }
    if (integration >= 0) {
        vm->integration = integration != 0;
    }
    if (merge_enabled >= 0) {
        vm->merge_enabled = merge_enabled != 0;
        vm->merge_retry_ms = 0;
    }
    return vm_save(vm, err);
}

uint32_t
vm_say(struct sim_host *h, const struct guid *id, const struct sim_says *says,
       struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    uint32_t rc = find_vm(h, id, &vm, err);

    if (rc == SIM_OK) {
        vm->says = *says;
    }
    return rc;
}

/* 6.2 and later keep reference points (facts of several vendors); 5.0 (2012 R2) does not. */
bool
vm_supports_refpoints(const struct sim_vm *vm)
{
    char *dot = NULL;
    unsigned long major = strtoul(vm->config_version, &dot, 10);
    unsigned long minor = *dot == '.' ? strtoul(dot + 1, NULL, 10) : 0;

    return major > 6 || (major == 6 && minor >= 2);
}

bool
vm_merging(const struct sim_vm *vm)
{
    for (size_t i = 0; i < vm->merge_count; i++) {
        if (vm->merge_enabled && !vm->merges[i].blocked) {
            return true;
        }
    }
    return false;
}

bool
vm_has_job(const struct sim_host *h, const struct sim_vm *vm, enum sim_job_kind kind)
{
    for (size_t i = 0; i < h->job_count; i++) {
        if (job_is_for(h, &h->jobs[i], &vm->id) && job_kind_for_vm(h->jobs[i].kind) == kind &&
            !job_finished(&h->jobs[i])) {
            return true;
        }
    }
    return false;
}

char *
vm_disk_path(const struct sim_vm *vm, const struct sim_disk_file *f)
{
    return sim_printf("%s/" SIM_DISKS_DIR "/%s", vm->folder, f->name);
}

/* Names the place on the controller (facts: "Microsoft:<GUID>\<device GUID>\<controller>\<location>\D"). */
char *
disk_instance_id(const struct sim_vm *vm, const struct sim_disk *d)
{
    char id[GUID_TEXT_SIZE];
    char slot[GUID_TEXT_SIZE];

    guid_format_upper(&vm->id, id);
    guid_format_upper(&d->slot_id, slot);
    return sim_printf("Microsoft:%s\\%s\\0\\%u\\D", id, slot, d->slot);
}

/* What stands in the .vmcx: enough to register the vm again, and naming its present disk files. */
char *
vm_config_text(const struct sim_vm *vm)
{
    char id[GUID_TEXT_SIZE];
    json_t *o = json_object();
    json_t *disks = json_array();
    char *text = NULL;

    guid_format_upper(&vm->id, id);
    for (size_t i = 0; i < vm->disk_count; i++) {
        const struct sim_disk *d = &vm->disks[i];
        char disk_id[GUID_TEXT_SIZE];
        const char *file = "";

        for (size_t k = 0; k < d->file_count; k++) {
            if (guid_equal(&d->files[k].id, &d->active)) {
                file = d->files[k].name;
            }
        }
        guid_format_upper(&d->id, disk_id);
        (void)json_array_append_new(disks, json_pack("{s:I,s:s,s:s}", "slot", (json_int_t)d->slot,
                                                     "disk", disk_id, "file", file));
    }
    (void)json_object_set_new(o, "vm", json_string(id));
    (void)json_object_set_new(o, "name", json_string(vm->name));
    (void)json_object_set_new(o, "generation", json_integer(vm->generation));
    (void)json_object_set_new(o, "version", json_string(vm->config_version));
    (void)json_object_set_new(o, "disks", disks);
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text != NULL ? text : sim_strdup("{}");
}

char *
vm_guest_state(const struct sim_vm *vm)
{
    char id[GUID_TEXT_SIZE];
    char *path;

    guid_format_upper(&vm->id, id);
    path = sim_printf("%s/" SIM_CONFIG_DIR "/%s.vmgs", vm->folder, id);
    if (access(path, R_OK) != 0) {
        free(path);
        return NULL;
    }
    return path;
}

uint32_t
vm_copy_guest_state(const struct sim_vm *vm, const char *to, struct sim_error *err)
{
    char *from = vm_guest_state(vm);
    uint32_t rc = SIM_OK;

    if (from != NULL) {
        (void)unlink(to);
        rc = sim_copy_sparse(from, to, err);
    }
    free(from);
    return rc;
}

uint32_t
vm_open_disks(struct sim_host *h, struct sim_vm *vm, struct sim_error *err)
{
    uint32_t rc = open_intent(vm, err);

    for (size_t i = 0; rc == SIM_OK && i < vm->disk_count; i++) {
        rc = disk_open(h, vm, &vm->disks[i], err);
    }
    return rc;
}

/* ---- what calls that did not happen left behind ---- */

static bool
disk_file_known(const struct sim_vm *vm, const char *name)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        for (size_t k = 0; k < vm->disks[i].file_count; k++) {
            const char *known = vm->disks[i].files[k].name;
            size_t len = strlen(known);

            if (strncmp(name, known, len) == 0 &&
                (name[len] == 0 || strcmp(name + len, ".rct") == 0 ||
                 strcmp(name + len, ".mrt") == 0)) {
                return true;
            }
        }
    }
    return false;
}

static bool
map_known(const struct sim_vm *vm, const char *name)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        char id[GUID_TEXT_SIZE];

        guid_format_upper(&vm->disks[i].id, id);
        if (strncmp(name, id, strlen(id)) == 0 && name[strlen(id)] == '-') {
            return strtoull(name + strlen(id) + 1, NULL, 10) <= vm->disks[i].epoch;
        }
    }
    return false;
}

static bool
truth_known(const struct sim_vm *vm, const char *name)
{
    struct guid id;
    char first[GUID_TEXT_SIZE];

    (void)snprintf(first, sizeof(first), "%s", name);
    if (!guid_parse(&id, first)) {
        return false;
    }
    for (size_t i = 0; i < vm->disk_count; i++) {
        if (guid_equal(&vm->disks[i].id, &id)) {
            return true;
        }
    }
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        if (guid_equal(&vm->checkpoints[i].id, &id)) {
            return true;
        }
    }
    for (size_t i = 0; i < vm->truth_count; i++) {
        if (guid_equal(&vm->truths[i].checkpoint, &id)) {
            return true;
        }
    }
    return false;
}

static uint32_t
sweep(const struct sim_vm *vm, const char *sub, bool (*known)(const struct sim_vm *, const char *),
      struct sim_error *err)
{
    char *path = sim_printf("%s/%s", vm->folder, sub);
    struct dirent *entry = NULL;
    uint32_t rc = SIM_OK;
    DIR *dir = opendir(path);

    if (dir == NULL) {
        rc = sim_fail_errno(err, errno, "listing '%s'", path);
        goto out;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && !known(vm, entry->d_name)) {
            char *file = sim_printf("%s/%s", path, entry->d_name);

            (void)unlink(file);
            free(file);
        }
    }
    (void)closedir(dir);
out:
    free(path);
    return rc;
}

uint32_t
vm_remove_leftovers(struct sim_vm *vm, struct sim_error *err)
{
    uint32_t rc = make_folders(vm, err);

    if (rc == SIM_OK) {
        rc = sweep(vm, SIM_DISKS_DIR, disk_file_known, err);
    }
    if (rc == SIM_OK) {
        rc = sweep(vm, "rct", map_known, err);
    }
    return rc == SIM_OK ? sweep(vm, "truth", truth_known, err) : rc;
}
