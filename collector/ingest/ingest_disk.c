/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "ingest/ingest_internal.h"
#include "os/path.h"

/* One disk of a run: opened, closed, and its manifest in between. */

void
ingest_disk_free(struct ingest_disk *d)
{
    if (d == NULL) {
        return;
    }
    manifest_builder_free(d->builder);
    range_queue_clear(&d->ranges);
    free(d->facts.name);
    free(d->facts.path);
    free(d->facts.reason);
    cond_destroy(&d->idle);
    mutex_destroy(&d->lock);
    free(d);
}

static bool
is_sector_size(uint32_t size)
{
    return size == 512 || size == 4096;
}

static enum varve_err
check_params(const struct ingest_disk_params *p, struct varve_error *err)
{
    if (p->disk >= POINT_DISKS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "disk %u: a vm has at most %u disks", p->disk,
                               POINT_DISKS_MAX);
    }
    if (p->size == 0 || p->size > INGEST_DISK_SIZE_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "disk %u has %" PRIu64 " bytes; 1 byte to 64 TiB can be kept",
                               p->disk, p->size);
    }
    if (!is_sector_size(p->logical_sector) ||
        (p->physical_sector != 0 && !is_sector_size(p->physical_sector))) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk %u: sectors of %u and %u bytes; only 512 and 4096 exist",
                               p->disk, p->logical_sector, p->physical_sector);
    }
    if (p->block_size != 0 && !is_power_of_two_u64(p->block_size)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk %u: a block size of %u bytes is no power of two", p->disk,
                               p->block_size);
    }
    if (guid_is_zero(&p->id) || !path_is_plain_name(p->name)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "disk %u has no usable %s", p->disk,
                               guid_is_zero(&p->id) ? "id" : "name");
    }
    return VARVE_OK;
}

static const struct point_disk *
find_base(const struct ingest_run *run, const struct guid *id)
{
    for (size_t i = 0; run->base != NULL && i < run->base->disk_count; i++) {
        if (guid_equal(&run->base->disks[i].id, id)) {
            return &run->base->disks[i];
        }
    }
    return NULL;
}

/* Only what StartRun offered may be built upon. */
static enum varve_err
check_incremental(const struct ingest_run *run, const struct ingest_disk_params *p,
                  const struct point_disk *base, struct varve_error *err)
{
    if (!p->incremental) {
        return VARVE_OK;
    }
    if (run->full || base == NULL || base->change_id[0] == '\0' ||
        ingest_run_rereads(run, &p->id)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk '%.64s' is called incremental, but no change id was given "
                               "for it",
                               p->name);
    }
    if (base->size != p->size) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk '%.64s' is called incremental, but was resized from %" PRIu64
                               " to %" PRIu64 " bytes",
                               p->name, base->size, p->size);
    }
    return VARVE_OK;
}

static enum varve_err
make_disk(struct ingest_run *run, const struct ingest_disk_params *p, const struct point_disk *base,
          struct ingest_disk **out, struct varve_error *err)
{
    struct ingest_disk *d = NULL;
    uint32_t chunk = chunk_store_chunk_size(run->ing->cs);
    enum varve_err rc;

    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&d->lock);
    cond_init(&d->idle);
    range_queue_init(&d->ranges);
    d->facts.id = p->id;
    d->facts.size = p->size;
    d->facts.logical_sector = p->logical_sector;
    d->facts.physical_sector = p->physical_sector != 0 ? p->physical_sector : p->logical_sector;
    d->facts.block_size = p->block_size;
    d->facts.page83 = p->page83;
    d->facts.incremental = p->incremental;
    d->facts.tracked_bytes = p->tracked_bytes;
    d->facts.name = strdup(p->name);
    d->facts.path = strdup(p->path);
    d->facts.reason = strdup(p->reason);
    if (d->facts.name == NULL || d->facts.path == NULL || d->facts.reason == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    d->chunk_size = chunk;
    d->chunk_count = div_round_up_u64(p->size, chunk);
    d->last_len = (uint32_t)(p->size - (d->chunk_count - 1) * chunk);
    rc = manifest_builder_new(&d->builder, run->domain, d->chunk_count,
                              p->incremental ? &base->root : NULL, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = d;
    d = NULL;
out:
    ingest_disk_free(d);
    return rc;
}

static bool
is_same_disk(const struct ingest_disk *d, const struct ingest_disk_params *p)
{
    return guid_equal(&d->facts.id, &p->id) && d->facts.size == p->size &&
           d->facts.incremental == p->incremental;
}

enum varve_err
ingest_disk_begin(struct ingest_run *run, const struct ingest_disk_params *p,
                  struct ingest_position *out, struct varve_error *err)
{
    const struct point_disk *base = find_base(run, &p->id);
    struct ingest_disk *d = NULL;
    enum varve_err rc = ingest_enter(run, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = check_params(p, err);
    if (rc == VARVE_OK) {
        rc = check_incremental(run, p, base, err);
    }
    if (rc != VARVE_OK) {
        return ingest_leave(run, rc, err);
    }
    for (uint32_t i = 0; i < POINT_DISKS_MAX; i++) {
        struct ingest_disk *other = run->disks[i]; /* only this thread adds any */

        if (other != NULL &&
            (i == p->disk ? !is_same_disk(other, p) : guid_equal(&other->facts.id, &p->id))) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                                 "disk %u was begun as another disk, or this one twice", i);
            return ingest_leave(run, rc, err);
        }
    }
    d = run->disks[p->disk];
    if (d == NULL) {
        rc = ingest_quota(run, p->size, 0, err);
        if (rc != VARVE_OK) {
            return ingest_leave(run, rc, err);
        }
        rc = make_disk(run, p, base, &d, err);
        if (rc != VARVE_OK) {
            (void)varve_error_prefix(err, "disk '%.64s'", p->name);
            return ingest_leave(run, rc, err);
        }
        mutex_lock(&run->lock);
        run->disks[p->disk] = d;
        if (run->info.phase == RUN_FREEZE || run->info.phase == RUN_WAITING) {
            run->info.phase = RUN_READ;
        }
        mutex_unlock(&run->lock);
        ingest_note_change(run->ing);
    }
    mutex_lock(&d->lock);
    out->disk = p->disk;
    out->next_chunk = d->taken_to;
    out->closed = d->closed;
    mutex_unlock(&d->lock);
    return VARVE_OK;
}

void
ingest_disk_rewind(struct ingest_run *run, struct ingest_disk *d)
{
    mutex_lock(&d->lock);
    (void)atomic_fetch_sub(&run->ranges, d->ranges.count);
    (void)atomic_fetch_sub(&run->names, d->ranges.names);
    range_queue_clear(&d->ranges);
    d->offered_to = d->taken_to;
    mutex_unlock(&d->lock);
}

/* The offered chunks [from, to) of r, neighbours that begin at chunk `first` of the disk; name: the
 * next of the range's names. */
static enum varve_err
take_stretch(struct ingest_disk *d, const struct ingest_range *r, uint64_t from, uint64_t to,
             uint64_t first, size_t *name, struct varve_error *err)
{
    uint64_t holes_from = first;
    enum varve_err rc;

    for (uint64_t i = from; i < to && r->data != NULL; i++) {
        uint64_t chunk = first + (i - from);

        if (!bit_get(r->data, (size_t)i)) {
            continue;
        }
        if (chunk > holes_from) {
            rc = manifest_builder_set_holes(d->builder, holes_from, chunk - holes_from, err);
            if (rc != VARVE_OK) {
                return rc;
            }
        }
        rc = manifest_builder_set(d->builder, chunk, &r->names[(*name)++], err);
        if (rc != VARVE_OK) {
            return rc;
        }
        holes_from = chunk + 1;
    }
    if (first + (to - from) > holes_from) {
        return manifest_builder_set_holes(d->builder, holes_from, first + (to - from) - holes_from,
                                          err);
    }
    return VARVE_OK;
}

static enum varve_err
take_one(struct ingest_disk *d, const struct ingest_range *r, struct varve_error *err)
{
    uint64_t chunk = r->first;
    uint64_t from = 0;
    size_t name = 0;
    enum varve_err rc = VARVE_OK;

    for (size_t g = 0; g <= r->gap_count && rc == VARVE_OK; g++) {
        uint64_t to = g < r->gap_count ? r->gaps[g].at : r->count;

        rc = take_stretch(d, r, from, to, chunk, &name, err);
        chunk += to - from;
        chunk += g < r->gap_count ? r->gaps[g].chunks : 0;
        from = to;
    }
    return rc;
}

/* A damaged older manifest is the one failure with a way out of its own. */
static enum varve_err
manifest_failed(const struct ingest_disk *d, struct varve_error *err)
{
    bool older = d->facts.incremental &&
                 (err->code == VARVE_ERR_CORRUPT || err->code == VARVE_ERR_NOT_FOUND);

    return varve_error_prefix(err, "%s of disk '%.64s'%s", older ? "older manifest" : "manifest",
                              d->facts.name, older ? " (back up with --full)" : "");
}

enum varve_err
ingest_disk_take_locked(struct ingest_run *run, struct ingest_disk *d, struct varve_error *err)
{
    struct ingest_range *r;

    while (!d->broken && (r = range_queue_head(&d->ranges)) != NULL && r->missing == 0) {
        enum varve_err rc = take_one(d, r, err);

        if (rc != VARVE_OK) {
            d->broken = true;
            return manifest_failed(d, err);
        }
        d->taken_to = r->end;
        (void)atomic_fetch_sub(&run->ranges, 1);
        (void)atomic_fetch_sub(&run->names, r->name_count);
        range_queue_pop(&d->ranges);
    }
    return VARVE_OK;
}

/* Everything is there, and for a disk that was read whole really everything. */
static enum varve_err
check_complete_locked(const struct ingest_disk *d, struct varve_error *err)
{
    const struct ingest_range *r = range_queue_head(&d->ranges);

    if (r != NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk '%.64s' was ended while %u chunks asked for at chunk %" PRIu64
                               " had not come",
                               d->facts.name, r->missing, r->first);
    }
    if (!d->facts.incremental && d->offered_to != d->chunk_count) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "disk '%.64s' was ended at chunk %" PRIu64 " of %" PRIu64
                               "; a disk that is not incremental is offered whole",
                               d->facts.name, d->offered_to, d->chunk_count);
    }
    return VARVE_OK;
}

enum varve_err
ingest_disk_end(struct ingest_run *run, uint32_t disk, uint64_t read_bytes, struct varve_error *err)
{
    struct ingest_disk *d = NULL;
    enum varve_err rc = ingest_enter(run, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = ingest_get_disk(run, disk, &d, err);
    if (rc != VARVE_OK) {
        return ingest_leave(run, rc, err);
    }
    mutex_lock(&d->lock);
    while (d->puts_under_way > 0) {
        cond_wait(&d->idle, &d->lock);
    }
    if (!d->closed) {
        rc = d->broken
                 ? varve_error_set(err, VARVE_ERR_INTERNAL, "disk '%.64s' is broken", d->facts.name)
                 : check_complete_locked(d, err);
        if (rc == VARVE_OK) {
            rc = manifest_builder_finish(d->builder, &d->facts.root, err);
            rc = rc == VARVE_OK ? VARVE_OK : manifest_failed(d, err);
        }
        if (rc == VARVE_OK) {
            manifest_builder_free(d->builder);
            d->builder = NULL;
            d->closed = true;
            d->facts.read_bytes = read_bytes;
            range_queue_clear(&d->ranges);
        }
    }
    mutex_unlock(&d->lock);
    if (rc == VARVE_OK) {
        log_debug("ingest", "disk closed disk='%s' chunks=%" PRIu64 " read=%" PRIu64, d->facts.name,
                  d->chunk_count, read_bytes);
    }
    return ingest_leave(run, rc, err);
}
