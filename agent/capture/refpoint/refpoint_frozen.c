/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"
#include "source/source_virtdisk.h"

#define RANGES 4096u

enum varve_err
refpoint_checkpoint(struct refpoint *r, const struct guid *vm, const char *id,
                    struct wmi_object *out, struct varve_error *err)
{
    struct wmi_object machine = {0};
    struct wmi_objects list = {0};
    size_t i;
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    if (rc == VARVE_OK) {
        rc = refpoint_checkpoints(r, machine.path, &list, err);
    }
    if (rc == VARVE_OK) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the vm has no checkpoint '%s'", id);
        for (i = 0; rc != VARVE_OK && i < list.count; i++) {
            if (refpoint_is_recovery(&list.items[i]) &&
                strcmp(wmi_text_or(&list.items[i], "InstanceID", ""), id) == 0) {
                *out = list.items[i];
                memset(&list.items[i], 0, sizeof(list.items[i]));
                rc = VARVE_OK;
            }
        }
        wmi_objects_release(&list);
    }
    wmi_object_release(&machine);
    return rc;
}

/* ---- the frozen disks ---- */

static enum varve_err
name_disk(struct capture_frozen_disk *out, const char *path, struct varve_error *err)
{
    out->path = refpoint_copy(path);
    out->name = refpoint_disk_name(path);
    return out->path != NULL && out->name != NULL ? VARVE_OK : varve_error_nomem(err);
}

/* By VMMS, where the files themselves may be out of reach. */
static enum varve_err
attach_by_wmi(struct refpoint *r, struct capture_frozen_disk *out, const char *path, bool keeps,
              struct varve_error *err)
{
    struct wmi_object image = {0};
    char *service = NULL;
    enum varve_err rc = wmi_service(&r->wmi, "Msvm_ImageManagementService", &service, err);

    if (rc == VARVE_OK) {
        rc = refpoint_image(r, service, path, &image, err);
    }
    if (rc == VARVE_OK && !guid_parse(&out->id, wmi_text_or(&image, "VirtualDiskId", ""))) {
        rc =
            varve_error_set(err, VARVE_ERR_PROTOCOL, "the host does not name the id of '%s'", path);
    }
    if (rc == VARVE_OK) {
        out->size = (uint64_t)wmi_integer_or(&image, "MaxInternalSize", 0);
        out->tracked = keeps && (wmi_integer_or(&image, "Format", 0) == 3 || refpoint_is_set(path));
        rc = name_disk(out, path, err);
    }
    wmi_object_release(&image);
    free(service);
    return rc;
}

static enum varve_err
attach_disk(struct refpoint *r, struct capture_frozen_disk *out, const char *path, bool keeps,
            struct varve_error *err)
{
    struct vdisk_info size;
    struct vdisk_info id;
    struct vdisk_info type;
    struct vdisk_info tracking;
    struct varve_error why;
    struct vdisk *d = NULL;
    enum varve_err rc;

    if (r->vdisk == NULL || refpoint_is_set(path)) {
        return attach_by_wmi(r, out, path, keeps, err);
    }
    rc = virtdisk_open_frozen(r->vdisk, path, &d, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = d->ops->info(d, VDISK_INFO_ID, &id, err);
    if (rc == VARVE_OK) {
        rc = d->ops->info(d, VDISK_INFO_SIZE, &size, err);
    }
    if (rc == VARVE_OK) {
        rc = d->ops->info(d, VDISK_INFO_STORAGE_TYPE, &type, err);
    }
    /* There is no RCT for VHD.  What is not said here, the question for changes will say. */
    if (rc == VARVE_OK && keeps && type.device_id == 3) {
        out->tracked = true;
        if (d->ops->info(d, VDISK_INFO_TRACKING, &tracking, &why) == VARVE_OK) {
            out->tracked = tracking.tracking_enabled;
            (void)snprintf(out->change_id, sizeof(out->change_id), "%s", tracking.most_recent_id);
        }
    }
    d->ops->close_disk(d);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "'%s'", path);
    }
    out->id = id.id;
    out->size = size.virtual_size;
    return name_disk(out, path, err);
}

enum varve_err
refpoint_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
                struct capture_frozen *out, struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    struct wmi_object machine = {0};
    struct wmi_object cp = {0};
    struct wmi_objects disks = {0};
    struct capture_frozen f;
    struct guid snapshot;
    struct guid branch;
    size_t i;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    rc = refpoint_vm(r, vm, &machine, err);
    if (rc == VARVE_OK) {
        rc = refpoint_branch(r, machine.path, &branch, err);
    }
    if (rc == VARVE_OK) {
        rc = refpoint_checkpoint(r, vm, checkpoint, &cp, err);
    }
    if (rc == VARVE_OK) {
        rc = refpoint_disks(r, refpoint_part(&cp), &disks, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    f.vm = *vm;
    f.generation = strstr(wmi_text_or(&cp, "VirtualSystemSubType", ""), ":2") != NULL ? 2 : 1;
    (void)snprintf(f.checkpoint, sizeof(f.checkpoint), "%s", checkpoint);
    if (!refpoint_time(&f.frozen_at_us, wmi_text_or(&cp, "CreationTime", ""))) {
        f.frozen_at_us = time_now_us();
    }
    /* A checkpoint does not say how it was made: begin() knows, a resumed run claims less. */
    f.consistency = CAPTURE_CRASH;
    if (wmi_integer_or(&machine, "EnabledState", 0) == 3) {
        f.consistency = CAPTURE_OFFLINE;
    }
    f.keeps = refpoint_version_keeps(wmi_text_or(&cp, "Version", ""));
    (void)snprintf(f.reason, sizeof(f.reason), "recovery checkpoint%s",
                   f.keeps ? " and reference point"
                           : "; this vm's configuration version has no reference points");
    f.disks = calloc(disks.count + 1, sizeof(*f.disks));
    rc = f.disks != NULL ? VARVE_OK : varve_error_nomem(err);
    for (i = 0; rc == VARVE_OK && i < disks.count; i++) {
        f.disk_count = i + 1;
        rc = attach_disk(r, &f.disks[i], wmi_text_at(&disks.items[i], "HostResource", 0), f.keeps,
                         err);
        if (rc == VARVE_OK &&
            guid_parse(&snapshot, wmi_text_or(&disks.items[i], "SnapshotId", ""))) {
            memcpy(f.disks[i].stamp, snapshot.bytes, sizeof(snapshot.bytes)); /* of a VHD set */
        }
        refpoint_branch_note(&f.disks[i], &branch);
    }
    if (rc == VARVE_OK) {
        *out = f;
        memset(&f, 0, sizeof(f));
    }
out:
    capture_frozen_release(&f);
    wmi_object_release(&machine);
    wmi_object_release(&cp);
    wmi_objects_release(&disks);
    return rc;
}

static const char *
stale_name(int64_t number)
{
    switch (number) {
    case 0xC03A0020:
        return "change tracking has no log of the disk";
    case 0xC03A0021:
        return "the log of changes has grown too large";
    case 0xC03A0022:
        return "the disk was resized, compacted or changed offline";
    case 0xC03A0024:
        return "the log of changes is damaged";
    case 0xC03A0029:
        return "the disk does not know the change id";
    case 0xC03A002A:
        return "change tracking is off for the disk";
    case 0xC03A0030:
        return "the host keeps that change id no more";
    default:
        return "change tracking cannot tell";
    }
}

/* What virtdisk.dll says of change tracking is in here; not all of the numbers are documented.  An answer to a query
 * for changes they all mean the same. */
#define TRACKING_FIRST 0xC03A0020ll
#define TRACKING_LAST  0xC03A0030ll

enum varve_err
refpoint_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                 const char *since, uint64_t off, uint64_t len, struct extent_list *out,
                 uint64_t *processed, struct varve_error *err)
{
    struct refpoint *r = (struct refpoint *)c;
    const struct capture_frozen_disk *fd = &frozen->disks[disk];
    struct vdisk_range *ranges = calloc(RANGES, sizeof(*ranges));
    struct vdisk *d = NULL;
    char id[CAPTURE_ID_MAX];
    uint64_t done = 0;
    uint32_t count = RANGES;
    uint32_t i;
    enum varve_err rc =
        ranges != NULL ? refpoint_branch_take(fd, since, id, err) : varve_error_nomem(err);

    if (rc == VARVE_OK) {
        rc = virtdisk_open_frozen(r->vdisk, fd->path, &d, err);
    }
    if (rc == VARVE_OK) {
        rc = d->ops->query_changes(d, id, off, len, ranges, &count, &done, err);
        d->ops->close_disk(d);
        if (rc != VARVE_OK && err->source == VARVE_SRC_HRESULT && err->native >= TRACKING_FIRST &&
            err->native <= TRACKING_LAST) {
            err->code = VARVE_ERR_STALE;
            rc = varve_error_prefix(err, "%s", stale_name(err->native));
        }
    }
    if (rc == VARVE_OK && (done == 0 || done > len || count > RANGES)) {
        rc = varve_error_set(err, VARVE_ERR_STALE,
                             "QueryChangesVirtualDisk covered %" PRIu64 " of %" PRIu64 " bytes",
                             done, len);
    }
    for (i = 0; rc == VARVE_OK && i < count; i++) {
        uint64_t at = ranges[i].offset;
        uint64_t n = ranges[i].length;

        /* Order, overlap and the last range's end are not documented. */
        if (at < fd->size && n > 0) {
            n = n > fd->size - at ? fd->size - at : n;
            rc = extent_list_add(out, at, n, EXTENT_UNKNOWN, err);
        }
    }
    if (rc == VARVE_OK) {
        *processed = done;
    }
    free(ranges);
    return rc;
}

/* ---- configuration files ---- */

/* A .vmrs and a .vmgs need not be there. */
static enum varve_err
take_file(struct refpoint *r, struct capture_files *files, const char *root, const char *stem,
          const char *suffix, struct varve_error *err)
{
    char separator = strchr(root, '\\') != NULL ? '\\' : '/';
    size_t size = strlen(root) + strlen(stem) + strlen(suffix) + 2;
    char *path = malloc(size);
    enum varve_err rc;

    if (path == NULL) {
        return varve_error_nomem(err);
    }
    (void)snprintf(path, size, "%s%c%s%s", root, separator, stem, suffix);
    rc = capture_files_read(files, r->host_fs, path, err);
    free(path);
    return rc == VARVE_ERR_NOT_FOUND && strcmp(suffix, ".vmcx") != 0 ? VARVE_OK : rc;
}

enum varve_err
refpoint_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
               struct varve_error *err)
{
    static const char *const suffixes[] = {".vmcx", ".vmrs", ".vmgs"};
    struct refpoint *r = (struct refpoint *)c;
    struct capture_files files = {0};
    struct wmi_object cp = {0};
    char *stem = NULL;
    char *dot;
    size_t i;
    enum varve_err rc = refpoint_checkpoint(r, &frozen->vm, frozen->checkpoint, &cp, err);

    if (rc == VARVE_OK) {
        stem = refpoint_copy(wmi_text_or(&cp, "ConfigurationFile", ""));
        rc = stem != NULL ? VARVE_OK : varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        dot = strrchr(stem, '.');
        if (dot == NULL) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the checkpoint names no .vmcx");
        } else {
            *dot = '\0';
        }
    }
    for (i = 0; rc == VARVE_OK && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        rc = take_file(r, &files, wmi_text_or(&cp, "ConfigurationDataRoot", ""), stem, suffixes[i],
                       err);
    }
    wmi_object_release(&cp);
    free(stem);
    if (rc != VARVE_OK) {
        capture_files_release(&files);
        return varve_error_prefix(err, "the vm's configuration");
    }
    *out = files;
    return VARVE_OK;
}
