/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "hvsim/port_server_internal.h"
#include "hvsim/sim_base.h"
#include "wmi/hresult.h"

#define RANGES_MAX 4096u

static int64_t
integer_of(const struct port_call *c, const char *key)
{
    return json_integer_value(json_object_get(c->request, key));
}

static struct vdisk *
disk_of(const struct port_call *c, struct varve_error *err)
{
    struct port_server *s = c->server;
    struct vdisk *found = NULL;

    mutex_lock(&s->lock);
    for (size_t i = 0; i < s->handle_count; i++) {
        if (s->handles[i].id == integer_of(c, "disk") && s->handles[i].pid == c->pid) {
            found = s->handles[i].disk;
        }
    }
    mutex_unlock(&s->lock);
    if (found == NULL) {
        (void)native_error(err, 6, "no such handle"); /* ERROR_INVALID_HANDLE */
    }
    return found;
}

static json_t *
open_disk(struct port_call *c, struct varve_error *err)
{
    const char *path = json_string_value(json_object_get(c->request, "path"));
    const char *id = json_string_value(json_object_get(c->request, "resiliency"));
    struct port_server *s = c->server;
    struct vdisk_how how = {.version = (uint32_t)integer_of(c, "version"),
                            .access_mask = (uint32_t)integer_of(c, "mask"),
                            .flags = (uint32_t)integer_of(c, "flags"),
                            .get_info_only = integer_of(c, "info_only") != 0,
                            .read_only = integer_of(c, "read_only") != 0};
    struct port_handle *h;
    struct vdisk *disk = NULL;
    json_int_t number;
    char *local;
    enum varve_err rc;

    if (path == NULL || id == NULL || !guid_parse(&how.resiliency, id)) {
        (void)native_error(err, 87, "vdisk.open");
        return NULL;
    }
    local = port_server_to_linux(path);
    rc = s->vdisk->ops->open(s->vdisk, local, &how, &disk, err);
    free(local);
    if (rc != VARVE_OK) {
        return NULL;
    }
    mutex_lock(&s->lock);
    h = sim_array_add(&s->handles, &s->handle_count, sizeof(*h));
    h->id = ++s->next_handle;
    h->pid = c->pid;
    h->disk = disk;
    number = h->id;
    mutex_unlock(&s->lock);
    return json_pack("{s:I}", "disk", number);
}

static json_t *
close_disk(struct port_call *c, struct varve_error *err)
{
    struct port_server *s = c->server;
    struct vdisk *disk = disk_of(c, err);

    if (disk == NULL) {
        return NULL;
    }
    mutex_lock(&s->lock);
    for (size_t i = 0; i < s->handle_count; i++) {
        if (s->handles[i].disk == disk) {
            sim_array_remove(s->handles, &s->handle_count, sizeof(s->handles[0]), i);
            break;
        }
    }
    mutex_unlock(&s->lock);
    disk->ops->close_disk(disk);
    return json_object();
}

void
port_server_forget(struct port_server *s, int64_t pid)
{
    for (size_t i = s->handle_count; i-- > 0;) {
        struct vdisk *disk = s->handles[i].disk;

        if (pid == 0 || s->handles[i].pid == pid) {
            sim_array_remove(s->handles, &s->handle_count, sizeof(s->handles[0]), i);
            disk->ops->close_disk(disk);
            s->left_open++;
        }
    }
}

static json_t *
info(struct port_call *c, struct vdisk *disk, struct varve_error *err)
{
    struct vdisk_info i;
    char id[GUID_TEXT_SIZE];

    if (disk->ops->info(disk, (enum vdisk_info_version)integer_of(c, "version"), &i, err) !=
        VARVE_OK) {
        return NULL;
    }
    guid_format(&i.id, id);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:i,s:i,s:s}", "virtual_size",
                     (json_int_t)i.virtual_size, "physical_size", (json_int_t)i.physical_size,
                     "block_size", (json_int_t)i.block_size, "sector_size",
                     (json_int_t)i.sector_size, "device_id", (json_int_t)i.device_id, "subtype",
                     (json_int_t)i.subtype, "physical_sector", (json_int_t)i.physical_sector, "id",
                     id, "tracking_enabled", i.tracking_enabled, "newer_changes", i.newer_changes,
                     "most_recent_id", i.most_recent_id);
}

static json_t *
changes(struct port_call *c, struct vdisk *disk, struct varve_error *err)
{
    const char *id = json_string_value(json_object_get(c->request, "id"));
    uint32_t count = (uint32_t)integer_of(c, "max");
    struct vdisk_range *ranges;
    json_t *list = NULL;
    uint64_t processed = 0;

    if (id == NULL || count > RANGES_MAX) {
        (void)native_error(err, 87, "vdisk.changes");
        return NULL;
    }
    ranges = sim_alloc((count + 1) * sizeof(*ranges));
    if (disk->ops->query_changes(disk, id, (uint64_t)integer_of(c, "offset"),
                                 (uint64_t)integer_of(c, "length"), ranges, &count, &processed,
                                 err) == VARVE_OK) {
        list = json_array();
        for (uint32_t i = 0; i < count; i++) {
            (void)json_array_append_new(list, json_pack("[I,I]", (json_int_t)ranges[i].offset,
                                                        (json_int_t)ranges[i].length));
        }
    }
    free(ranges);
    return list != NULL ? json_pack("{s:o,s:I}", "ranges", list, "processed", (json_int_t)processed)
                        : NULL;
}

/* As the program's own buffer is, so is ours aligned: the fake judges it. */
static json_t *
read_disk(struct port_call *c, struct vdisk *disk, struct varve_error *err)
{
    struct port_server *s = c->server;
    uint32_t len = (uint32_t)integer_of(c, "length");
    uint8_t *buf = c->buf + (uint64_t)integer_of(c, "align") % VDISK_ALIGN;
    struct vdisk_io *io = NULL;
    uint32_t got = 0;
    enum varve_err rc;

    if (len > VDISK_READ_MAX) {
        port_script_violation(&s->script, "a read of %u bytes", len);
        (void)native_error(err, 87, "vdisk.read");
        return NULL;
    }
    rc = disk->ops->io_new(disk, &io, err);
    if (rc != VARVE_OK) {
        return NULL;
    }
    rc = io->ops->read_begin(io, buf, len, (uint64_t)integer_of(c, "offset"), err);
    if (rc == VARVE_OK) {
        rc = io->ops->read_end(io, UINT32_MAX, &got, err);
    }
    io->ops->io_free(io);
    if (rc != VARVE_OK) {
        return NULL;
    }
    mutex_lock(&s->lock);
    s->reads++;
    s->read_bytes += got;
    mutex_unlock(&s->lock);
    c->payload = buf;
    c->payload_len = got;
    return json_pack("{s:I}", "bytes", (json_int_t)got);
}

json_t *
port_server_vdisk(struct port_call *c, const char *op, struct varve_error *err)
{
    struct vdisk *disk;

    if (strcmp(op, "vdisk.open") == 0) {
        return open_disk(c, err);
    }
    if (strcmp(op, "vdisk.close") == 0) {
        return close_disk(c, err);
    }
    disk = disk_of(c, err);
    if (disk == NULL) {
        return NULL;
    }
    if (strcmp(op, "vdisk.info") == 0) {
        return info(c, disk, err);
    }
    if (strcmp(op, "vdisk.changes") == 0) {
        return changes(c, disk, err);
    }
    if (strcmp(op, "vdisk.read") == 0) {
        return read_disk(c, disk, err);
    }
    if (strcmp(op, "vdisk.attach") == 0) {
        return disk->ops->attach(disk, (uint32_t)integer_of(c, "flags"), err) == VARVE_OK
                   ? json_object()
                   : NULL;
    }
    if (strcmp(op, "vdisk.detach") == 0) {
        return disk->ops->detach(disk, err) == VARVE_OK ? json_object() : NULL;
    }
    (void)hresult_error(err, 0x80070057u, "no such op", "'%.40s'", op);
    return NULL;
}
