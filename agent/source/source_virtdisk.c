/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_virtdisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "os/thread.h"
#include "vhdx/image.h"

#define IO_COUNT   8u
#define READ_MS    120000u
#define BOUNCE_LEN VDISK_READ_MAX

/* A read in flight and, for callers whose buffer is not aligned, a buffer. */
struct slot {
    struct vdisk_io *io;
    uint8_t *memory; /* allocated when first needed */
    uint8_t *aligned;
    bool busy;
};

struct source_virtdisk {
    struct source base;
    struct vdisk *disk;
    bool attached;
    struct image *image; /* for map(); NULL: nothing is known */
    struct source_info info;
    uint32_t unit;     /* offsets and lengths of reads */
    struct mutex lock; /* busy of slots */
    struct cond freed;
    struct slot slots[IO_COUNT];
};

enum varve_err
virtdisk_open_frozen(struct vdisk_port *port, const char *path, struct vdisk **out,
                     struct varve_error *err)
{
    struct vdisk_how how = {.version = 2, .read_only = true};
    uint8_t random[16];

    randombytes_buf(random, sizeof(random));
    guid_from_random(&how.resiliency, random);
    return port->ops->open(port, path, &how, out, err);
}

static void
source_virtdisk_close(struct source *s)
{
    struct source_virtdisk *v = (struct source_virtdisk *)s;
    struct varve_error ignored;
    size_t i;

    for (i = 0; i < IO_COUNT; i++) {
        if (v->slots[i].io != NULL) {
            v->slots[i].io->ops->io_free(v->slots[i].io);
        }
        free(v->slots[i].memory);
    }
    image_close(v->image);
    if (v->attached) {
        enum varve_err rc = v->disk->ops->detach(v->disk, &ignored);

        (void)rc; /* closing the handle detaches too */
    }
    if (v->disk != NULL) {
        v->disk->ops->close_disk(v->disk);
    }
    cond_destroy(&v->freed);
    mutex_destroy(&v->lock);
    free(v);
}

static void
source_virtdisk_get_info(const struct source *s, struct source_info *out)
{
    *out = ((const struct source_virtdisk *)s)->info;
}

static enum varve_err
source_virtdisk_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len,
                    enum extent_kind *kind, struct varve_error *err)
{
    struct source_virtdisk *v = (struct source_virtdisk *)s;
    enum image_map_kind found;

    if (v->image != NULL && image_map(v->image, off, max, len, &found, err) == VARVE_OK) {
        *kind = found == IMAGE_MAP_ZERO ? EXTENT_ZERO : EXTENT_DATA;
        return VARVE_OK;
    }
    *len = max;
    *kind = EXTENT_UNKNOWN;
    return VARVE_OK;
}

/* ---- reading ---- */

/* A free slot; NULL when there is none and wait is false. */
static struct slot *
take_slot(struct source_virtdisk *v, bool wait)
{
    struct slot *found = NULL;
    size_t i;

    mutex_lock(&v->lock);
    for (;;) {
        for (i = 0; i < IO_COUNT && found == NULL; i++) {
            found = v->slots[i].busy ? NULL : &v->slots[i];
        }
        if (found != NULL || !wait) {
            break;
        }
        cond_wait(&v->freed, &v->lock);
    }
    if (found != NULL) {
        found->busy = true;
    }
    mutex_unlock(&v->lock);
    return found;
}

static void
give_slot(struct source_virtdisk *v, struct slot *slot)
{
    mutex_lock(&v->lock);
    slot->busy = false;
    cond_signal(&v->freed);
    mutex_unlock(&v->lock);
}

/* One piece of a read. */
struct piece {
    struct slot *slot;
    uint8_t *to;     /* where the caller wants it */
    size_t want;     /* bytes of it */
    size_t skip;     /* bytes read before them, for alignment */
    uint32_t length; /* of the read */
    bool bounced;
};

static enum varve_err
begin_piece(struct source_virtdisk *v, struct piece *p, uint8_t *buf, size_t len, uint64_t off,
            struct varve_error *err)
{
    uint64_t start = off / v->unit * v->unit;
    uint64_t end;
    uint8_t *target = buf;

    p->to = buf;
    p->skip = (size_t)(off - start);
    p->want = len < VDISK_READ_MAX - p->skip ? len : VDISK_READ_MAX - p->skip;
    end = (off + p->want + v->unit - 1) / v->unit * v->unit;
    end = end > v->info.size ? v->info.size : end; /* a multiple of the sector */
    p->length = (uint32_t)(end - start);
    p->bounced = p->skip != 0 || p->length != p->want || (uintptr_t)buf % VDISK_ALIGN != 0;
    if (p->bounced) {
        if (p->slot->memory == NULL) {
            p->slot->memory = malloc(BOUNCE_LEN + VDISK_ALIGN);
            if (p->slot->memory == NULL) {
                return varve_error_nomem(err);
            }
            p->slot->aligned =
                p->slot->memory + VDISK_ALIGN - (uintptr_t)p->slot->memory % VDISK_ALIGN;
        }
        target = p->slot->aligned;
    }
    return p->slot->io->ops->read_begin(p->slot->io, target, p->length, start, err);
}

static enum varve_err
end_piece(struct piece *p, struct varve_error *err)
{
    uint32_t got = 0;
    enum varve_err rc = p->slot->io->ops->read_end(p->slot->io, READ_MS, &got, err);

    if (rc == VARVE_OK && got != p->length) {
        rc = varve_error_set(err, VARVE_ERR_IO, "a read of %u bytes gave %u", (unsigned)p->length,
                             (unsigned)got);
    }
    if (rc == VARVE_OK && p->bounced) {
        memcpy(p->to, p->slot->aligned + p->skip, p->want);
    }
    return rc;
}

static enum varve_err
source_virtdisk_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_virtdisk *v = (struct source_virtdisk *)s;
    struct piece pieces[IO_COUNT];
    struct varve_error why;
    uint8_t *to = buf;
    size_t count;
    size_t i;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && len > 0) {
        /* The first slot is waited for, more are taken only when they are free: no two readers
         * wait for each other. */
        for (count = 0; rc == VARVE_OK && len > 0 && count < IO_COUNT; count++) {
            struct piece *p = &pieces[count];

            p->slot = take_slot(v, count == 0);
            if (p->slot == NULL) {
                break;
            }
            rc = begin_piece(v, p, to, len, off, err);
            if (rc != VARVE_OK) {
                give_slot(v, p->slot);
                break;
            }
            to += p->want;
            off += p->want;
            len -= p->want;
        }
        for (i = 0; i < count; i++) {
            enum varve_err ended = end_piece(&pieces[i], &why);

            if (ended != VARVE_OK && rc == VARVE_OK) {
                rc = ended;
                *err = why;
            }
            give_slot(v, pieces[i].slot);
        }
    }
    return rc;
}

static const struct source_ops source_virtdisk_ops = {
    .close = source_virtdisk_close,
    .get_info = source_virtdisk_get_info,
    .map = source_virtdisk_map,
    .read = source_virtdisk_read,
};

/* ---- opening ---- */

static enum varve_err
read_info(struct source_virtdisk *v, struct varve_error *err)
{
    struct vdisk_info size;
    struct vdisk_info id;
    struct vdisk_info type;
    struct vdisk_info physical;
    enum varve_err rc = v->disk->ops->info(v->disk, VDISK_INFO_SIZE, &size, err);

    if (rc == VARVE_OK) {
        rc = v->disk->ops->info(v->disk, VDISK_INFO_ID, &id, err);
    }
    if (rc == VARVE_OK) {
        rc = v->disk->ops->info(v->disk, VDISK_INFO_STORAGE_TYPE, &type, err);
    }
    if (rc == VARVE_OK) {
        rc = v->disk->ops->info(v->disk, VDISK_INFO_PHYSICAL_SECTOR, &physical, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if ((size.sector_size != 512 && size.sector_size != 4096) || size.virtual_size == 0 ||
        size.virtual_size % size.sector_size != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "a disk with sectors of %u bytes",
                               (unsigned)size.sector_size);
    }
    v->info.size = size.virtual_size;
    v->info.logical_sector = size.sector_size;
    v->info.physical_sector = physical.physical_sector;
    v->info.block_size = size.block_size;
    v->info.has_page83 = !guid_is_zero(&id.id);
    v->info.page83 = id.id;
    (void)snprintf(v->info.format, sizeof(v->info.format), "%s",
                   type.device_id == 2 ? "vhd" : "vhdx");
    v->unit = size.virtual_size % VDISK_ALIGN == 0 ? VDISK_ALIGN : size.sector_size;
    return VARVE_OK;
}

/* The block table of the file, when it is the same disk. */
static void
open_map(struct source_virtdisk *v, struct fs *fs, const char *path)
{
    struct image_info info;
    struct varve_error ignored;

    if (fs == NULL || image_open(&v->image, fs, path, 0, &ignored) != VARVE_OK) {
        v->image = NULL;
        return;
    }
    image_get_info(v->image, &info);
    if (info.virtual_size != v->info.size ||
        (info.format == IMAGE_VHDX && !guid_equal(&info.disk_id, &v->info.page83))) {
        image_close(v->image);
        v->image = NULL;
    }
}

enum varve_err
source_virtdisk_open(struct source **out, struct vdisk_port *port, struct fs *fs, const char *path,
                     struct varve_error *err)
{
    struct source_virtdisk *v = calloc(1, sizeof(*v));
    size_t i;
    enum varve_err rc;

    if (v == NULL) {
        return varve_error_nomem(err);
    }
    v->base.ops = &source_virtdisk_ops;
    mutex_init(&v->lock);
    cond_init(&v->freed);
    rc = virtdisk_open_frozen(port, path, &v->disk, err);
    if (rc == VARVE_OK) {
        rc = read_info(v, err);
    }
    if (rc == VARVE_OK) {
        rc =
            v->disk->ops->attach(v->disk, VDISK_ATTACH_READ_ONLY | VDISK_ATTACH_NO_LOCAL_HOST, err);
        v->attached = rc == VARVE_OK;
    }
    for (i = 0; rc == VARVE_OK && i < IO_COUNT; i++) {
        rc = v->disk->ops->io_new(v->disk, &v->slots[i].io, err);
    }
    if (rc != VARVE_OK) {
        source_virtdisk_close(&v->base);
        return varve_error_prefix(err, "'%s'", path);
    }
    open_map(v, fs, path);
    *out = &v->base;
    return VARVE_OK;
}
