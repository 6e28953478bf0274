/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

#define DISKS_MAX   64u
#define IMPORT_STEP ((size_t)1024 * 1024)
#define IMPORT_UNIT ((size_t)64 * 1024) /* all-zero units of an image stay unallocated */
#define SIDE_SIZE   ((size_t)4096)

uint32_t
disk_open(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d, struct sim_error *err)
{
    struct sim_disk_file *active = disk_file(d, &d->active);
    char *path = active != NULL ? vm_disk_path(vm, active) : NULL;
    char *maps = sim_printf("%s/rct", vm->folder);
    char *truth = truth_live_file(vm, &d->id);
    char id[GUID_TEXT_SIZE];
    uint32_t rc;

    guid_format_upper(&d->id, id);
    if (path == NULL) {
        rc = sim_fail(err, SIM_IO, "'%s/vm.json' names no active file for disk '%s'", vm->folder,
                      id);
        goto out;
    }
    rc = vhdx_open(&d->vhdx, path, &h->random, err);
    if (rc == SIM_OK && d->tracked) {
        rc = rct_open(&d->rct, maps, id, d->size, d->granularity, d->epoch, err);
    }
    if (rc == SIM_OK && vm->truth) {
        d->truth_fd = open(truth, O_RDWR | O_CLOEXEC);
        if (d->truth_fd < 0) {
            rc = sim_fail_errno(err, errno, "opening '%s'", truth);
        }
    }
out:
    free(path);
    free(maps);
    free(truth);
    return rc;
}

void
disk_close(struct sim_disk *d)
{
    vhdx_close(d->vhdx);
    rct_close(d->rct);
    if (d->truth_fd >= 0) {
        (void)close(d->truth_fd);
    }
    d->vhdx = NULL;
    d->rct = NULL;
    d->truth_fd = -1;
}

size_t
disk_child_count(const struct sim_disk *d, const struct guid *file)
{
    size_t n = 0;

    for (size_t i = 0; i < d->file_count; i++) {
        n += guid_equal(&d->files[i].parent, file) ? 1 : 0;
    }
    return n;
}

bool
disk_is_frozen_by(const struct sim_vm *vm, const struct sim_disk *d, const struct guid *file)
{
    for (size_t i = 0; i < vm->checkpoint_count; i++) {
        for (size_t k = 0; k < vm->checkpoints[i].disk_count; k++) {
            const struct sim_moment_disk *m = &vm->checkpoints[i].disks[k];

            if (guid_equal(&m->disk, &d->id) && guid_equal(&m->file, file)) {
                return true;
            }
        }
    }
    return false;
}

/* The change tracking files that stand beside a disk on a host; their inside is opaque there too. */
uint32_t
disk_side_files(const struct sim_vm *vm, const struct sim_disk_file *f, struct sim_error *err)
{
    static const char *const suffixes[] = {".rct", ".mrt"};
    uint32_t rc = SIM_OK;

    for (size_t i = 0; rc == SIM_OK && i < 2; i++) {
        char *path = sim_printf("%s/" SIM_DISKS_DIR "/%s%s", vm->folder, f->name, suffixes[i]);
        uint8_t page[SIDE_SIZE] = {0};
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0) {
            rc = sim_fail_errno(err, errno, "creating '%s'", path);
        } else {
            memcpy(page, i == 0 ? "rctfile" : "mrtfile", 7);
            rc = sim_pwrite(fd, page, sizeof(page), 0, path, err);
            (void)close(fd);
        }
        free(path);
    }
    return rc;
}

void
disk_unlink_file(const struct sim_vm *vm, const struct sim_disk_file *f)
{
    static const char *const suffixes[] = {"", ".rct", ".mrt"};

    for (size_t i = 0; i < 3; i++) {
        char *path = sim_printf("%s/" SIM_DISKS_DIR "/%s%s", vm->folder, f->name, suffixes[i]);

        (void)unlink(path);
        free(path);
    }
}

uint32_t
disk_make_child(struct sim_host *h, struct sim_vm *vm, struct sim_disk *d,
                const struct sim_disk_file *parent, struct vhdx *parent_vhdx,
                struct sim_disk_file *child, struct sim_error *err)
{
    struct vhdx_spec spec = {
        .size = d->size,
        .block_size = VHDX_CHILD_BLOCK,
        .logical_sector = d->logical_sector,
        .physical_sector = d->physical_sector,
        .disk_id = d->id,
        .parent_name = parent->name,
    };
    char text[GUID_TEXT_SIZE];
    char *path = NULL;
    uint32_t rc;

    memset(child, 0, sizeof(*child));
    sim_random_guid(&h->random, &child->id);
    child->parent = parent->id;
    guid_format_upper(&child->id, text);
    (void)snprintf(child->name, sizeof(child->name), "%.*s_%s.avhdx", (int)(strlen(d->name) - 5),
                   d->name, text);
    vhdx_data_write_guid(parent_vhdx, &spec.parent_linkage);
    path = vm_disk_path(vm, child);
    rc = vhdx_create(path, &spec, &h->random, err);
    if (rc == SIM_OK && d->tracked) {
        rc = disk_side_files(vm, child, err);
    }
    if (rc != SIM_OK) {
        disk_unlink_file(vm, child);
    }
    free(path);
    return rc;
}

/* ---- adding ---- */

static uint32_t
name_disk(const struct sim_vm *vm, const struct disk_spec *spec, char *out, size_t size,
          struct sim_error *err)
{
    char *own = sim_printf("%s-%zu.vhdx", vm->name, vm->disk_count + 1);
    size_t len = (size_t)snprintf(out, size, "%s", spec->name != NULL ? spec->name : own);

    free(own);
    if (len < 6 || len > SIM_NAME_MAX + 16 || strcmp(out + len - 5, ".vhdx") != 0) {
        return sim_fail(err, SIM_INVALID, "'%s' is no file name that ends in .vhdx", out);
    }
    for (const char *p = out; *p != 0; p++) {
        if ((unsigned char)*p < 0x20 || strchr("/\\:*?\"<>|", *p) != NULL) {
            return sim_fail(err, SIM_INVALID, "'%s' has a character no Windows file name has", out);
        }
    }
    for (size_t i = 0; i < vm->disk_count; i++) {
        if (strcmp(vm->disks[i].name, out) == 0) {
            return sim_fail(err, SIM_INVALID, "the vm has a disk '%s' already", out);
        }
    }
    return SIM_OK;
}

static uint32_t
import_step(struct vhdx *v, const uint8_t *buf, size_t n, uint64_t off, struct sim_error *err)
{
    uint32_t rc = SIM_OK;
    size_t at = 0;

    while (rc == SIM_OK && at < n) {
        size_t start = at;

        while (at < n && !sim_all_zero(buf + at, n - at < IMPORT_UNIT ? n - at : IMPORT_UNIT)) {
            at += n - at < IMPORT_UNIT ? n - at : IMPORT_UNIT;
        }
        if (at > start) {
            rc = vhdx_write(v, buf + start, at - start, off + start, err);
        } else {
            at += n - at < IMPORT_UNIT ? n - at : IMPORT_UNIT;
        }
    }
    return rc;
}

static uint32_t
import_raw(struct vhdx *v, const char *raw, struct sim_error *err)
{
    uint8_t *buf = sim_alloc(IMPORT_STEP);
    uint64_t size = vhdx_size(v);
    uint64_t start = 0;
    uint64_t end = 0;
    uint32_t rc = SIM_OK;
    int fd = open(raw, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", raw);
        goto out;
    }
    for (uint64_t off = 0; rc == SIM_OK && sim_next_data(fd, off, size, &start, &end); off = end) {
        start -= start % IMPORT_UNIT;
        end += (IMPORT_UNIT - end % IMPORT_UNIT) % IMPORT_UNIT;
        end = end > size ? size : end;
        while (rc == SIM_OK && start < end) {
            size_t n = end - start < IMPORT_STEP ? (size_t)(end - start) : IMPORT_STEP;

            rc = sim_pread(fd, buf, n, start, raw, err);
            if (rc == SIM_OK) {
                rc = import_step(v, buf, n, start, err);
            }
            start += n;
        }
    }
    (void)close(fd);
out:
    free(buf);
    return rc;
}

static uint32_t
size_of_spec(const struct disk_spec *spec, uint64_t *out, struct sim_error *err)
{
    uint32_t rc = SIM_OK;
    int fd;

    if (spec->raw == NULL) {
        *out = spec->size;
        return SIM_OK;
    }
    fd = open(spec->raw, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sim_fail_errno(err, errno, "opening '%s'", spec->raw);
    }
    rc = sim_size(fd, out, spec->raw, err);
    (void)close(fd);
    return rc;
}

static uint32_t
make_truth(const struct sim_vm *vm, const struct sim_disk *d, const char *raw,
           struct sim_error *err)
{
    char *path = truth_live_file(vm, &d->id);
    uint32_t rc = SIM_OK;
    int fd = -1;

    if (raw != NULL) {
        rc = sim_copy_sparse(raw, path, err);
        goto out;
    }
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        rc = sim_fail_errno(err, errno, "creating '%s'", path);
        goto out;
    }
    rc = sim_truncate(fd, d->size, path, err);
    (void)close(fd);
out:
    free(path);
    return rc;
}

static uint32_t
make_base(struct sim_host *h, const struct sim_vm *vm, const struct sim_disk *d,
          const struct disk_spec *spec, struct sim_error *err)
{
    struct vhdx_spec file = {
        .size = d->size,
        .block_size = spec->block_size,
        .logical_sector = d->logical_sector,
        .physical_sector = d->physical_sector,
        .fixed = d->fixed,
        .disk_id = d->id,
    };
    char *path = vm_disk_path(vm, &d->files[0]);
    struct vhdx *v = NULL;
    uint32_t rc = vhdx_create(path, &file, &h->random, err);

    if (rc == SIM_OK && spec->raw != NULL) {
        rc = vhdx_open(&v, path, &h->random, err);
        if (rc == SIM_OK) {
            rc = import_raw(v, spec->raw, err);
        }
        vhdx_close(v);
    }
    if (rc == SIM_OK && d->tracked) {
        rc = disk_side_files(vm, &d->files[0], err);
    }
    free(path);
    return rc;
}

static void
undo_add(struct sim_vm *vm, struct sim_disk *d)
{
    char *truth = truth_live_file(vm, &d->id);

    disk_close(d);
    disk_unlink_file(vm, &d->files[0]);
    (void)unlink(truth);
    free(truth);
    free(d->files);
    vm->disk_count--;
}

uint32_t
disk_add(struct sim_host *h, const struct guid *vm_id, const struct disk_spec *spec,
         struct guid *id, struct sim_error *err)
{
    char name[SIM_NAME_MAX * 2];
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    struct sim_disk_file *base = NULL;
    uint64_t size = 0;
    uint32_t rc = find_vm(h, vm_id, &vm, err);

    if (rc == SIM_OK && vm->disk_count >= DISKS_MAX) {
        rc = sim_fail(err, SIM_FAILED, "a SCSI controller has %u places", DISKS_MAX);
    }
    if (rc == SIM_OK && vm->checkpoint_count != 0) {
        rc = sim_fail(err, SIM_INVALID_STATE, "the vm has checkpoints: no disk is added now");
    }
    if (rc == SIM_OK) {
        rc = name_disk(vm, spec, name, sizeof(name), err);
    }
    if (rc == SIM_OK) {
        rc = size_of_spec(spec, &size, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    d = sim_array_add(&vm->disks, &vm->disk_count, sizeof(*d));
    d->truth_fd = -1;
    d->slot = vm->disk_count > 1 ? vm->disks[vm->disk_count - 2].slot + 1 : 0;
    sim_random_guid(&h->random, &d->id);
    sim_random_guid(&h->random, &d->slot_id);
    (void)snprintf(d->name, sizeof(d->name), "%s", name);
    d->size = size;
    d->logical_sector = spec->logical_sector;
    d->physical_sector = spec->physical_sector;
    d->fixed = spec->fixed;
    d->vhd = spec->vhd;
    d->tracked = spec->tracked && !spec->vhd && vm_supports_refpoints(vm);
    d->granularity = h->options.rct_granularity;
    d->epoch = 1;
    base = sim_array_add(&d->files, &d->file_count, sizeof(*base));
    sim_random_guid(&h->random, &base->id);
    (void)snprintf(base->name, sizeof(base->name), "%s", name);
    d->active = base->id;
    rc = make_base(h, vm, d, spec, err);
    if (rc == SIM_OK && vm->truth) {
        rc = make_truth(vm, d, spec->raw, err);
    }
    if (rc == SIM_OK) {
        rc = disk_open(h, vm, d, err);
    }
    if (rc == SIM_OK) {
        rc = vm_save(vm, err);
    }
    if (rc != SIM_OK) {
        undo_add(vm, d);
        return rc;
    }
    *id = d->id;
    return SIM_OK;
}

uint32_t
disk_resize(struct sim_host *h, const struct guid *vm_id, const struct guid *disk, uint64_t size,
            struct sim_error *err)
{
    struct sim_vm *vm = NULL;
    struct sim_disk *d = NULL;
    uint32_t rc = find_vm(h, vm_id, &vm, err);

    if (rc == SIM_OK) {
        rc = find_disk(vm, disk, &d, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    if (d->file_count != 1) {
        return sim_fail(err, SIM_INVALID_STATE, "disk '%s' has checkpoints", d->name);
    }
    if (size == d->size) {
        return sim_fail(err, SIM_INVALID, "disk '%s' has %llu bytes already", d->name,
                        (unsigned long long)d->size);
    }
    rc = size > d->size ? vhdx_grow(d->vhdx, size, err) : vhdx_shrink(d->vhdx, size, err);
    if (rc == SIM_OK && d->truth_fd >= 0) {
        rc = sim_truncate(d->truth_fd, size, d->name, err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    d->size = size;
    d->epoch++; /* maps of another size are never mixed: every id dies */
    tracking_kill_all(d, SIM_ID_OFFLINE);
    disk_close(d);
    rc = disk_open(h, vm, d, err);
    return rc == SIM_OK ? vm_save(vm, err) : rc;
}
