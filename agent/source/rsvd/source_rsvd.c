/* SPDX-License-Identifier: Apache-2.0 */
#include "source/rsvd/source_rsvd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "crypto/identity.h"
#include "source/rsvd/rsvd_disk.h"

#define UNIT 4096u /* of reads, where the disk is a multiple of it */

struct source_rsvd {
    struct source base;
    struct smb *smb;
    struct rsvd_disk *set;      /* the disk itself: what it is, and what changed in it */
    struct rsvd_disk *snapshot; /* what is read; NULL: the disk itself */
    struct guid target;
    struct source_info info;
    uint32_t unit;
};

static void
rsvd_source_close(struct source *s)
{
    struct source_rsvd *r = (struct source_rsvd *)s;

    rsvd_close(r->snapshot);
    rsvd_close(r->set);
    smb_close(r->smb);
    free(r);
}

static void
rsvd_source_info(const struct source *s, struct source_info *out)
{
    *out = ((const struct source_rsvd *)s)->info;
}

static enum varve_err
rsvd_source_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len, enum extent_kind *kind,
                struct varve_error *err)
{
    (void)s;
    (void)off;
    (void)err;
    *len = max;
    *kind = EXTENT_UNKNOWN;
    return VARVE_OK;
}

/* A piece inside one unit, by way of a buffer of our own. */
static enum varve_err
read_inside(struct source_rsvd *r, struct rsvd_disk *d, uint8_t *to, size_t len, uint64_t off,
            struct varve_error *err)
{
    uint8_t unit[UNIT];
    uint64_t start = off / r->unit * r->unit;
    enum varve_err rc = rsvd_read(d, unit, r->unit, start, err);

    if (rc == VARVE_OK) {
        memcpy(to, unit + (off - start), len);
    }
    return rc;
}

static enum varve_err
rsvd_source_read(struct source *s, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct source_rsvd *r = (struct source_rsvd *)s;
    struct rsvd_disk *d = r->snapshot != NULL ? r->snapshot : r->set;
    uint8_t *to = buf;
    enum varve_err rc = VARVE_OK;

    if (!checked_range(off, len, r->info.size)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%zu bytes at %" PRIu64 " are past the end",
                               len, off);
    }
    while (rc == VARVE_OK && len > 0) {
        size_t skip = (size_t)(off % r->unit);
        size_t part;

        if (skip > 0 || len < r->unit) {
            part = r->unit - skip < len ? r->unit - skip : len;
            rc = read_inside(r, d, to, part, off, err);
        } else {
            part = len / r->unit * r->unit;
            rc = rsvd_read(d, to, part, off, err);
        }
        to += part;
        off += part;
        len -= part;
    }
    return rc;
}

static const struct source_ops rsvd_source_ops = {
    .close = rsvd_source_close,
    .get_info = rsvd_source_info,
    .map = rsvd_source_map,
    .read = rsvd_source_read,
};

static enum varve_err
describe(struct source_rsvd *r, const char *path, struct varve_error *err)
{
    struct rsvd_disk_info disk;
    struct rsvd_info info;
    enum varve_err rc = rsvd_get_disk_info(r->set, &disk, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rsvd_get_info(r->set, &info);
    if (!guid_is_zero(&r->target) && (info.version < 2 || disk.format != RSVD_FORMAT_SET)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "'%s' is no VHD set on a server of 2016 or later: it has no "
                               "snapshots; convert it to a set (ConvertVirtualHardDiskToVHDSet)",
                               path);
    }
    r->info.size = info.virtual_size;
    r->info.logical_sector = info.sector;
    r->info.physical_sector = info.physical;
    r->info.block_size = disk.block_size;
    r->info.has_page83 = !guid_is_zero(&disk.disk_id);
    r->info.page83 = disk.disk_id;
    memcpy(r->info.format, "vhdx", 5); /* what a set holds, and is restored as */
    r->unit = info.virtual_size % UNIT == 0 ? UNIT : info.sector;
    return VARVE_OK;
}

enum varve_err
source_rsvd_open(struct source **out, struct smb *smb, const char *path,
                 const struct guid *snapshot, struct varve_error *err)
{
    struct source_rsvd *r = calloc(1, sizeof(*r));
    struct guid initiator;
    struct rsvd_entry entry;
    uint8_t random[16];
    enum varve_err rc;

    if (r == NULL) {
        smb_close(smb);
        return varve_error_nomem(err);
    }
    r->base.ops = &rsvd_source_ops;
    r->smb = smb;
    r->target = *snapshot;
    crypto_random(random, sizeof(random));
    guid_from_random(&initiator, random);
    rc = rsvd_disk_open(&r->set, smb, path, &initiator, err);
    if (rc == VARVE_OK) {
        rc = describe(r, path, err);
    }
    if (rc == VARVE_OK && !guid_is_zero(snapshot)) {
        rc = rsvd_snapshot_entry(r->set, snapshot, &entry, err);
        if (rc == VARVE_OK && !entry.valid) {
            rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the snapshot is not valid any more");
        }
        if (rc == VARVE_OK) {
            rc = rsvd_snapshot_open(&r->snapshot, smb, path, snapshot, &initiator, err);
        }
    }
    if (rc != VARVE_OK) {
        rsvd_source_close(&r->base);
        return rc;
    }
    *out = &r->base;
    return VARVE_OK;
}

/* ---- what changed ---- */

static enum varve_err
query(void *arg, uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
      struct varve_error *err)
{
    const struct source_rsvd_since *since = arg;
    struct source_rsvd *r = (struct source_rsvd *)since->source;

    return rsvd_changes(r->set, &r->target, &since->since, off, len, out, processed, err);
}

enum varve_err
source_rsvd_changes(struct source *s, struct source_rsvd_since *since, struct walk_changes *changes,
                    struct varve_error *err)
{
    struct source_rsvd *r = (struct source_rsvd *)s;
    struct rsvd_entry entry;
    enum varve_err rc;

    if (s->ops != &rsvd_source_ops || guid_is_zero(&r->target)) {
        return varve_error_set(err, VARVE_ERR_STALE, "only snapshots of a set know what changed");
    }
    since->source = s;
    rc = rsvd_snapshot_entry(r->set, &since->since, &entry, err);
    if (rc == VARVE_OK && !entry.valid) {
        rc = varve_error_set(err, VARVE_ERR_STALE, "the set's last reference point is not valid");
    } else if (rc != VARVE_OK && (rc == VARVE_ERR_NOT_FOUND || err->source == VARVE_SRC_NTSTATUS)) {
        (void)varve_error_prefix(err, "the set does not know the last reference point");
        rc = err->code = VARVE_ERR_STALE;
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    changes->query = query;
    changes->arg = since;
    return VARVE_OK;
}
