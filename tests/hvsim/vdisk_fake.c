/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vdisk_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"
#include "vhdx/image.h"
#include "wmi/hresult.h"

#define SHARING_VIOLATION 32u
#define FILE_MISSING      2u

struct fake_port {
    struct vdisk_port base;
    struct port_script *script;
    struct vdisk_fake_options options;
    size_t open;
    size_t in_flight;
    size_t in_flight_max;
};

struct fake_disk {
    struct vdisk base;
    struct fake_port *port;
    struct image *image; /* the file is really open: a merge is blocked by it */
    char *path;
    bool info_only;
    bool attached;
    struct guid id;
    uint64_t size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    bool tracked;
    bool vhd;
    char change_id[VDISK_CHANGE_ID_MAX];
};

struct fake_io {
    struct vdisk_io base;
    struct fake_disk *disk;
    bool in_flight;
    uint32_t length;
    enum varve_err rc;
    struct varve_error err;
};

static void
count_open(struct fake_port *p, int by)
{
    mutex_lock(&p->script->lock);
    p->open = by > 0 ? p->open + 1 : p->open - 1;
    mutex_unlock(&p->script->lock);
}

static enum varve_err
injected(const struct fake_port *p, const char *what, struct varve_error *err)
{
    return native_error(err, p->script->number, "%s (injected)", what);
}

static void
fake_close(struct vdisk_port *port)
{
    struct fake_port *p = (struct fake_port *)port;

    if (p->open != 0) {
        port_script_violation(p->script, "%zu handles were left open", p->open);
    }
    free(p);
}

static bool
fake_has_query_changes(struct vdisk_port *port)
{
    return !((struct fake_port *)port)->options.no_query_changes;
}

static bool
fake_may_attach(struct vdisk_port *port)
{
    return !((struct fake_port *)port)->options.no_privilege;
}

static const char *
text_of(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    return v != NULL ? v : "";
}

static enum varve_err
look_up(struct fake_disk *d, struct varve_error *err)
{
    uint32_t number = 0;
    char text[160];
    json_t *o = port_script_ask(d->port->script, "file.info", json_pack("{s:s}", "path", d->path),
                                &number, text);
    const char *id = json_string_value(json_object_get(o, "disk"));

    if (o == NULL) {
        return native_error(err, number == 0x80070002u ? FILE_MISSING : 0xC03A0015u,
                            "OpenVirtualDisk of '%s'", d->path);
    }
    if (id == NULL || !guid_parse(&d->id, id)) {
        memset(&d->id, 0, sizeof(d->id));
    }
    d->size = (uint64_t)json_integer_value(json_object_get(o, "size"));
    d->logical_sector = (uint32_t)json_integer_value(json_object_get(o, "logical_sector"));
    d->physical_sector = (uint32_t)json_integer_value(json_object_get(o, "physical_sector"));
    d->tracked = json_is_true(json_object_get(o, "tracked"));
    d->vhd = strcmp(text_of(o, "format"), "vhd") == 0;
    (void)snprintf(d->change_id, sizeof(d->change_id), "%s", text_of(o, "change_id"));
    number = json_is_true(json_object_get(o, "in_use")) && !d->info_only ? SHARING_VIOLATION : 0;
    json_decref(o);
    return number == 0 ? VARVE_OK : native_error(err, number, "OpenVirtualDisk of '%s'", d->path);
}

static void
free_disk(struct fake_disk *d)
{
    image_close(d->image);
    count_open(d->port, -1);
    free(d->path);
    free(d);
}

static void
fake_close_disk(struct vdisk *disk)
{
    struct fake_disk *d = (struct fake_disk *)disk;

    port_script_note(d->port->script, "vdisk close");
    free_disk(d);
}

static enum varve_err
fake_open(struct vdisk_port *port, const char *path, const struct vdisk_how *how,
          struct vdisk **out, struct varve_error *err)
{
    struct fake_port *p = (struct fake_port *)port;
    struct fake_disk *d;
    bool after;
    enum varve_err rc;

    if (port_script_call(p->script, &after, "vdisk open")) {
        return injected(p, "OpenVirtualDisk", err);
    }
    if ((how->version == 2 && how->access_mask != 0) || how->version == 0 || how->version > 2) {
        port_script_violation(p->script, "OpenVirtualDisk version %u with mask 0x%X", how->version,
                              how->access_mask);
        return native_error(err, 87, "OpenVirtualDisk");
    }
    if (!how->read_only || guid_is_zero(&how->resiliency)) {
        port_script_violation(p->script, "'%s' opened for writing or without an id", path);
    }
    d = sim_alloc(sizeof(*d));
    d->base.ops = port->ops;
    d->port = p;
    d->info_only = how->get_info_only;
    d->path = sim_strdup(path);
    count_open(p, 1);
    rc = look_up(d, err);
    if (rc == VARVE_OK && !d->info_only) {
        rc = image_open(&d->image, fs_system(), path, 0, err);
    }
    if (rc != VARVE_OK) {
        free_disk(d);
        return rc;
    }
    *out = &d->base;
    return VARVE_OK;
}

static enum varve_err
fake_info(struct vdisk *disk, enum vdisk_info_version version, struct vdisk_info *out,
          struct varve_error *err)
{
    struct fake_disk *d = (struct fake_disk *)disk;
    bool after;

    if (port_script_call(d->port->script, &after, "vdisk info %u", (unsigned)version)) {
        return injected(d->port, "GetVirtualDiskInformation", err);
    }
    memset(out, 0, sizeof(*out));
    out->virtual_size = d->size;
    out->sector_size = d->logical_sector;
    out->block_size = 2 * 1024 * 1024;
    out->device_id = d->vhd ? 2 : 3;
    out->subtype = 3;
    out->physical_sector = d->physical_sector;
    out->id = d->id;
    out->tracking_enabled = d->tracked;
    (void)snprintf(out->most_recent_id, sizeof(out->most_recent_id), "%s", d->change_id);
    return VARVE_OK;
}

static enum varve_err
fake_set(struct vdisk *disk, enum vdisk_set_version version, const struct vdisk_set *value,
         struct varve_error *err)
{
    struct fake_disk *d = (struct fake_disk *)disk;

    (void)version;
    (void)value;
    port_script_violation(d->port->script, "SetVirtualDiskInformation on a frozen disk");
    return native_error(err, 5, "SetVirtualDiskInformation");
}

static enum varve_err
fake_query_changes(struct vdisk *disk, const char *change_id, uint64_t off, uint64_t len,
                   struct vdisk_range *ranges, uint32_t *count, uint64_t *processed,
                   struct varve_error *err)
{
    struct fake_disk *d = (struct fake_disk *)disk;
    uint32_t number = 0;
    char text[160];
    json_t *o;
    json_t *pair;
    size_t i;
    bool after;

    if (port_script_call(d->port->script, &after, "vdisk query_changes")) {
        return injected(d->port, "QueryChangesVirtualDisk", err);
    }
    o = port_script_ask(d->port->script, "changes.query",
                        json_pack("{s:s,s:s,s:I,s:I,s:i}", "path", d->path, "change_id", change_id,
                                  "offset", (json_int_t)off, "length", (json_int_t)len,
                                  "max_ranges", (int)*count),
                        &number, text);
    if (o == NULL) {
        number = number == 0x80070057u ? 87u : number == 0x80070020u ? 32u : number;
        return native_error(err, number, "QueryChangesVirtualDisk");
    }
    *count = 0;
    json_array_foreach(json_object_get(o, "ranges"), i, pair)
    {
        ranges[i].offset = (uint64_t)json_integer_value(json_array_get(pair, 0));
        ranges[i].length = (uint64_t)json_integer_value(json_array_get(pair, 1)) +
                           (d->port->options.past_end ? 1024 * 1024 : 0);
        (*count)++;
    }
    *processed =
        d->port->options.stuck ? 0 : (uint64_t)json_integer_value(json_object_get(o, "processed"));
    *processed += d->port->options.too_far ? 512 : 0;
    json_decref(o);
    return VARVE_OK;
}

static enum varve_err
fake_attach(struct vdisk *disk, uint32_t flags, struct varve_error *err)
{
    struct fake_disk *d = (struct fake_disk *)disk;
    bool after;

    if (port_script_call(d->port->script, &after, "vdisk attach")) {
        return injected(d->port, "AttachVirtualDisk", err);
    }
    if (flags != (VDISK_ATTACH_READ_ONLY | VDISK_ATTACH_NO_LOCAL_HOST) || d->attached) {
        port_script_violation(d->port->script, "AttachVirtualDisk flags 0x%X", flags);
    }
    if (d->port->options.no_privilege) {
        return native_error(err, 1300, "AttachVirtualDisk");
    }
    d->attached = true;
    return VARVE_OK;
}

static enum varve_err
fake_detach(struct vdisk *disk, struct varve_error *err)
{
    struct fake_disk *d = (struct fake_disk *)disk;
    bool after;

    if (port_script_call(d->port->script, &after, "vdisk detach")) {
        return injected(d->port, "DetachVirtualDisk", err);
    }
    d->attached = false;
    return VARVE_OK;
}

static enum varve_err
fake_io_new(struct vdisk *disk, struct vdisk_io **out, struct varve_error *err)
{
    struct fake_io *io = sim_alloc(sizeof(*io));

    (void)err;
    io->base.ops = disk->ops;
    io->disk = (struct fake_disk *)disk;
    count_open(io->disk->port, 1);
    *out = &io->base;
    return VARVE_OK;
}

static void
fake_io_free(struct vdisk_io *vio)
{
    struct fake_io *io = (struct fake_io *)vio;

    if (io->in_flight) {
        port_script_violation(io->disk->port->script, "a read was freed in flight");
    }
    count_open(io->disk->port, -1);
    free(io);
}

static enum varve_err
fake_read_begin(struct vdisk_io *vio, void *buf, uint32_t len, uint64_t off,
                struct varve_error *err)
{
    struct fake_io *io = (struct fake_io *)vio;
    struct fake_disk *d = io->disk;
    struct fake_port *p = d->port;
    bool after;

    if (port_script_call(p->script, &after, "vdisk read")) {
        return injected(p, "ReadFile", err);
    }
    if (off % d->logical_sector != 0 || len % d->logical_sector != 0 || len > VDISK_READ_MAX ||
        (uintptr_t)buf % VDISK_ALIGN != 0 || len == 0 || off + len > d->size) {
        port_script_violation(p->script, "ReadFile of %u bytes at %llu into %p", len,
                              (unsigned long long)off, buf);
        return native_error(err, 87, "ReadFile");
    }
    if (!d->attached) {
        return native_error(err, 22, "ReadFile");
    }
    io->in_flight = true;
    io->length = len;
    io->rc = image_read(d->image, buf, len, off, &io->err);
    mutex_lock(&p->script->lock);
    p->in_flight++;
    p->in_flight_max = p->in_flight > p->in_flight_max ? p->in_flight : p->in_flight_max;
    mutex_unlock(&p->script->lock);
    return VARVE_OK;
}

static enum varve_err
fake_read_end(struct vdisk_io *vio, uint32_t timeout_ms, uint32_t *got, struct varve_error *err)
{
    struct fake_io *io = (struct fake_io *)vio;
    struct fake_port *p = io->disk->port;

    (void)timeout_ms;
    mutex_lock(&p->script->lock);
    p->in_flight--;
    mutex_unlock(&p->script->lock);
    io->in_flight = false;
    *got = io->length;
    if (io->rc != VARVE_OK) {
        *err = io->err;
    }
    return io->rc;
}

static const struct vdisk_port_ops fake_ops = {
    .close = fake_close,
    .has_query_changes = fake_has_query_changes,
    .may_attach = fake_may_attach,
    .open = fake_open,
    .close_disk = fake_close_disk,
    .info = fake_info,
    .set = fake_set,
    .query_changes = fake_query_changes,
    .attach = fake_attach,
    .detach = fake_detach,
    .io_new = fake_io_new,
    .io_free = fake_io_free,
    .read_begin = fake_read_begin,
    .read_end = fake_read_end,
};

struct vdisk_port *
vdisk_fake_new(struct port_script *script, const struct vdisk_fake_options *options)
{
    struct fake_port *p = sim_alloc(sizeof(*p));

    p->base.ops = &fake_ops;
    p->script = script;
    p->options = *options;
    return &p->base;
}

size_t
vdisk_fake_open_count(const struct vdisk_port *p)
{
    return ((const struct fake_port *)p)->open;
}

size_t
vdisk_fake_in_flight_max(const struct vdisk_port *p)
{
    return ((const struct fake_port *)p)->in_flight_max;
}
