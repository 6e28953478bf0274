/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capture/export/export_internal.h"

#define MIB ((uint64_t)1024 * 1024)

/* Blocks of a differencing VHDX as Hyper-V makes it; one that holds anything takes all of its room. */
#define BLOCK (2 * MIB)

/* The vm's configuration: .vmcx and .vmrs without memory are small, a .vmgs is of 4 MiB. */
#define CONFIG (8 * MIB)

/* Ranges are asked for until a disk is through; a host that answers in crumbs is not asked for ever. */
#define ANSWERS_MAX 4096u

/* ---- what an export takes ---- */

/* Headers, log, metadata, the block table, and the bitmaps that go with each 4 GiB. */
static uint64_t
frame_of_disk(uint64_t size)
{
    return (5 + size / (4096 * MIB)) * MIB + size / BLOCK * 8;
}

/* No more than the files of the disk's chain together and a frame; where they are out of reach, the size of the disk. */
static uint64_t
room_of_disk(struct export *x, const struct capture_frozen_disk *d)
{
    struct image *img = NULL;
    struct image_info info;
    struct varve_error err;
    uint64_t bytes = frame_of_disk(d->size);
    unsigned chain;
    unsigned n;

    if (export_open_image(x, d->path, &img, &err) != VARVE_OK) {
        return d->size + frame_of_disk(d->size);
    }
    image_get_info(img, &info);
    chain = info.chain_length;
    for (n = 0; n < chain; n++) {
        (void)image_get_file(img, n, &info);
        bytes += info.file_size;
    }
    image_close(img);
    return bytes;
}

struct counted {
    uint64_t bytes;     /* in blocks */
    uint64_t block_end; /* of the last one that was counted */
};

/* Ranges need not come in order: what is counted twice is still a bound. */
static bool
count_ranges(struct counted *c, const struct wmi_object *answer, uint64_t off, uint64_t len)
{
    size_t n = wmi_count(answer, "ChangedByteOffsets");
    size_t i;

    if (n != wmi_count(answer, "ChangedByteLengths")) {
        return false;
    }
    for (i = 0; i < n; i++) {
        uint64_t at = (uint64_t)wmi_integer_at(answer, "ChangedByteOffsets", i, -1);
        uint64_t size = (uint64_t)wmi_integer_at(answer, "ChangedByteLengths", i, -1);
        uint64_t from;
        uint64_t end;

        if (at < off || at - off > len || size > len - (at - off)) {
            return false;
        }
        if (size == 0) {
            continue;
        }
        from = at / BLOCK * BLOCK;
        end = (at + size + BLOCK - 1) / BLOCK * BLOCK;
        from = from < c->block_end && end >= c->block_end ? c->block_end : from;
        c->bytes += end > from ? end - from : 0;
        c->block_end = end;
    }
    return true;
}

/*
 * What tracking says of a disk (Msvm_ImageManagementService.GetVirtualDiskChanges); false: nothing.  The reference asks for
 * less than the disk at a time, and an answer may be of less than was asked.
 */
static bool
room_by_tracking(struct export *x, const char *service, const struct capture_frozen_disk *d,
                 const char *since, uint64_t *out)
{
    struct wmi_port *port = x->host.wmi.port;
    struct counted c = {0, 0};
    uint64_t off = 0;
    unsigned answers;

    for (answers = 0; off < d->size; answers++) {
        uint64_t len = off == 0 ? d->size / 2 / 4096 * 4096 : d->size - off;
        const struct wmi_param params[] = {
            {.name = "Path", .type = WMI_STRING, .text = d->path},
            {.name = "LimitId", .type = WMI_STRING, .text = since},
            {.name = "ByteOffset", .type = WMI_UINT64, .integer = (int64_t)off},
            {.name = "ByteLength", .type = WMI_UINT64, .integer = (int64_t)len},
        };
        struct wmi_result r;
        struct varve_error err;
        uint64_t done;
        bool good;

        if (len == 0 || answers == ANSWERS_MAX ||
            port->ops->exec(port, service, "GetVirtualDiskChanges", params, 4, &r, &err) !=
                VARVE_OK) {
            return false;
        }
        done = (uint64_t)wmi_integer_or(&r.out, "ProcessedByteLength", 0);
        good = r.return_value == 0 && done > 0 && done <= len && count_ranges(&c, &r.out, off, len);
        wmi_result_release(&r);
        if (!good) {
            return false;
        }
        off += done;
    }
    *out = c.bytes + frame_of_disk(d->size);
    return true;
}

uint64_t
export_need(struct export *x, const struct capture_frozen *frozen, const char *const *since)
{
    struct varve_error err;
    char *service = NULL;
    uint64_t need = CONFIG;
    size_t i;
    bool ask = since != NULL &&
               wmi_service(&x->host.wmi, "Msvm_ImageManagementService", &service, &err) == VARVE_OK;

    for (i = 0; i < frozen->disk_count; i++) {
        uint64_t all = room_of_disk(x, &frozen->disks[i]);
        uint64_t bytes = 0;

        need +=
            ask && room_by_tracking(x, service, &frozen->disks[i], since[i], &bytes) && bytes < all
                ? bytes
                : all;
    }
    free(service);
    return need;
}

/* ---- what there is ---- */

/* Files of the folder that can be asked for their size; one that is not there yet has none. */
static uint64_t
bytes_in(struct fs *fs, const char *folder)
{
    struct export_tree t = {0};
    struct varve_error err;
    uint64_t bytes = 0;
    size_t i;

    if (export_tree_read(fs, folder, &t, &err) != VARVE_OK) {
        return 0;
    }
    for (i = 0; i < t.count; i++) {
        struct file_stat st;

        if (!t.items[i].is_dir && fs_stat(fs, t.items[i].path, &st, &err) == VARVE_OK) {
            bytes += st.size;
        }
    }
    export_tree_release(&t);
    return bytes;
}

/* What those that were listed before m will still write. */
static enum varve_err
promised(struct export *x, const struct export_made *m, uint64_t *out, struct varve_error *err)
{
    struct export_tree others = {0};
    const struct export_made *o;
    uint64_t *needs = NULL;
    size_t count = 0;
    size_t i;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&x->lock);
    for (o = m->next; o != NULL; o = o->next) {
        count++;
    }
    others.items = calloc(count + 1, sizeof(*others.items));
    needs = calloc(count + 1, sizeof(*needs));
    for (o = m->next; others.items != NULL && needs != NULL && o != NULL; o = o->next) {
        if (o->need > 0) {
            needs[others.count] = o->need;
            others.items[others.count].path = refpoint_copy(o->folder);
            others.count++;
        }
    }
    mutex_unlock(&x->lock);
    if (others.items == NULL || needs == NULL) {
        rc = varve_error_nomem(err);
    }
    *out = 0;
    for (i = 0; rc == VARVE_OK && i < others.count; i++) {
        uint64_t there =
            others.items[i].path != NULL ? bytes_in(x->host_fs, others.items[i].path) : 0;

        *out += there < needs[i] ? needs[i] - there : 0;
    }
    export_tree_release(&others);
    free(needs);
    return rc;
}

enum varve_err
export_check_room(struct export *x, const struct export_made *m, bool differential,
                  struct varve_error *err)
{
    uint64_t others = 0;
    uint64_t room = 0;
    enum varve_err rc = fs_free_bytes(x->host_fs, x->folder, &room, err);

    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "export-folder");
    }
    rc = promised(x, m, &others, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (others <= room && m->need <= room - others) {
        return VARVE_OK;
    }
    return varve_error_set(err, VARVE_ERR_NOSPACE,
                           "'%s' has %" PRIu64 " MiB free, %" PRIu64
                           " MiB of them for other exports, and the %s export may need %" PRIu64
                           " MiB: set 'export-folder' to one with room",
                           x->folder, room / MIB, (others + MIB - 1) / MIB,
                           differential ? "differential" : "full", (m->need + MIB - 1) / MIB);
}

void
export_written(struct export *x, struct export_made *m)
{
    mutex_lock(&x->lock);
    m->need = 0;
    mutex_unlock(&x->lock);
}
