/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/engine_chain.h"
#include "hvsim/engine_internal.h"
#include "hvsim/sim_file.h"

/*
 * ExportSystemDefinition of one checkpoint (CopySnapshotConfiguration 3): the vm's configuration and each of its disks
 * as one file, the whole of it or, with a reference point as base, a differencing file of what changed since, whose
 * parent is not there.  What a real host calls the files is not known; these are no names that a reader could guess.
 */
#define STEP ((size_t)1024 * 1024)

uint32_t
export_start(struct sim_host *h, const struct sim_export *what, struct guid *job,
             struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_vm *other = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_refpoint *base = NULL;
    struct sim_job *j = NULL;
    uint32_t rc = find_checkpoint(h, &what->checkpoint, &vm, &c, err);

    if (rc == SIM_OK && !guid_is_zero(&what->base)) {
        rc = find_refpoint(h, &what->base, &other, &base, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    if (!guid_equal(&vm->id, &what->vm) || (other != NULL && other != vm)) {
        return sim_fail(err, 32773u, "checkpoint, reference point and vm do not belong together");
    }
    if (c->busy || (base != NULL && base->busy)) {
        return sim_fail(err, SIM_INVALID_STATE, "a job works on vm '%s'", vm->name);
    }
    if (strlen(what->dir) >= sizeof(j->dir)) {
        return sim_fail(err, 32773u, "the folder's name is too long");
    }
    c->busy = true;
    if (!what->storage) {
        vm->merge_enabled = false; /* as a real host does, until somebody enables it again */
        rc = vm_save(vm, err);
    }
    j = job_new(h, SIM_JOB_EXPORT, &vm->id);
    j->subject = what->checkpoint;
    j->base = what->base;
    j->storage = what->storage;
    (void)snprintf(j->dir, sizeof(j->dir), "%s", what->dir);
    *job = j->id;
    return rc;
}

static uint32_t
copy_extent(struct vhdx *to, struct chain *from, const struct sim_extent *e, bool zeros_too,
            uint8_t *buf, struct sim_error *err)
{
    uint64_t end = e->offset + e->length;
    uint32_t rc = SIM_OK;

    for (uint64_t off = e->offset; rc == SIM_OK && off < end;) {
        size_t n = end - off < STEP ? (size_t)(end - off) : STEP;

        rc = chain_read(from, buf, n, off, err);
        if (rc == SIM_OK && (zeros_too || !sim_all_zero(buf, n))) {
            rc = vhdx_write(to, buf, n, off, err);
        }
        off += n;
    }
    return rc;
}

/* What changed on the disk since the base, in the file that the checkpoint froze. */
static uint32_t
changed(struct sim_host *h, const struct sim_vm *vm, const struct sim_refpoint *base,
        struct sim_disk *d, const struct guid *file, struct sim_extent **list, size_t *count,
        struct sim_error *err)
{
    const char *since = "";
    uint64_t processed = 0;
    char *path = vm_disk_path(vm, disk_file(d, file));
    uint32_t rc;

    for (size_t i = 0; i < base->disk_count; i++) {
        if (guid_equal(&base->disks[i].disk, &d->id)) {
            since = base->disks[i].change_id;
        }
    }
    rc = changes_query(h, path, since, 0, d->size, 4096, list, count, &processed, err);
    if (rc == SIM_OK && processed != d->size) {
        rc = sim_fail(err, SIM_FAILED, "more than 4096 ranges changed");
    } else if (rc != SIM_OK) {
        char why[160];

        (void)snprintf(why, sizeof(why), "%s", err->text);
        rc = sim_fail(err, SIM_FAILED, "%s", why); /* the number that a job gives */
    }
    free(path);
    return rc;
}

static uint32_t
export_disk(struct sim_host *h, struct sim_vm *vm, const struct sim_refpoint *base,
            const struct sim_moment_disk *m, const char *folder, struct sim_error *err)
{
    struct vhdx_spec spec = {.block_size = VHDX_BASE_BLOCK, .disk_id = m->disk};
    struct sim_extent whole = {0, 0};
    struct sim_extent *list = NULL;
    struct sim_disk *d = NULL;
    struct chain *from = NULL;
    struct vhdx *to = NULL;
    uint8_t *buf = sim_alloc(STEP);
    struct guid name;
    char text[GUID_TEXT_SIZE];
    char *path = NULL;
    size_t count = 1;
    uint32_t rc = find_disk(vm, &m->disk, &d, err);

    sim_random_guid(&h->random, &name);
    guid_format_upper(&name, text);
    if (rc == SIM_OK) {
        whole.length = d->size;
        spec.size = d->size;
        spec.logical_sector = d->logical_sector;
        spec.physical_sector = d->physical_sector;
        rc = chain_open(&from, h, vm, d, &m->file, err);
    }
    if (rc == SIM_OK && base != NULL) {
        spec.block_size = VHDX_CHILD_BLOCK;
        spec.parent_name = "the file of the last export.vhdx";
        sim_random_guid(&h->random, &spec.parent_linkage);
        rc = changed(h, vm, base, d, &m->file, &list, &count, err);
    }
    if (rc == SIM_OK) {
        path = sim_printf("%s/%s.%s", folder, text, base != NULL ? "avhdx" : "vhdx");
        rc = vhdx_create(path, &spec, &h->random, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_open(&to, path, &h->random, err);
    }
    for (size_t i = 0; rc == SIM_OK && i < count; i++) {
        rc = copy_extent(to, from, base != NULL ? &list[i] : &whole, base != NULL, buf, err);
    }
    vhdx_close(to);
    chain_close(from);
    free(path);
    free(list);
    free(buf);
    return rc;
}

static uint32_t
write_config(const struct sim_vm *vm, const struct sim_checkpoint *c, const char *folder,
             struct sim_error *err)
{
    char id[GUID_TEXT_SIZE];
    char *path = NULL;
    char *text = NULL;
    uint32_t rc;

    guid_format_upper(&vm->id, id);
    path = sim_printf("%s/%s.vmcx", folder, id);
    text = sim_printf("VMCX\n%s", c->config);
    rc = sim_write_text(path, text, err);
    free(text);
    free(path);
    path = sim_printf("%s/%s.vmgs", folder, id);
    rc = rc == SIM_OK ? vm_copy_guest_state(vm, path, err) : rc;
    free(path);
    return rc;
}

uint32_t
export_do(struct sim_host *h, struct sim_job *j, struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_vm *other = NULL;
    struct sim_checkpoint *c = NULL;
    struct sim_refpoint *base = NULL;
    char *disks = sim_printf("%s/%s", j->dir, SIM_DISKS_DIR);
    char *config = sim_printf("%s/%s", j->dir, SIM_CONFIG_DIR);
    uint32_t rc = find_checkpoint(h, &j->subject, &vm, &c, err);

    if (rc == SIM_OK && !guid_is_zero(&j->base)) {
        rc = find_refpoint(h, &j->base, &other, &base, err);
    }
    if (rc == SIM_OK) {
        rc = sim_mkdir(j->dir, err);
    }
    if (rc == SIM_OK) {
        rc = sim_mkdir(config, err);
    }
    if (rc == SIM_OK) {
        rc = write_config(vm, c, config, err);
    }
    if (rc == SIM_OK && j->storage) {
        rc = sim_mkdir(disks, err);
    }
    for (size_t i = 0; rc == SIM_OK && j->storage && i < c->disk_count; i++) {
        rc = export_disk(h, vm, base, &c->disks[i], disks, err);
    }
    free(disks);
    free(config);
    return rc;
}
