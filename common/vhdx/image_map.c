/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "vhdx/image_internal.h"

/*
 * Where the bytes of a disk stand, and reading them.
 *
 * A layer answers for its own file; what is not in it is asked of the next.  Within one call each
 * layer's last answer is kept (struct cursor), so that a layer that says much at once, as a parent under
 * a child of many small extents does, is not asked again for every one of them: a call costs as many
 * questions as the layers have runs, not that times the depth of the chain.
 */

/* Runs that one call of image_map() joins at most; a caller who wants more calls again. */
#define MAP_RUNS_MAX 1024u

struct cursor {
    uint64_t start;
    struct layer_run run; /* length 0: none yet */
};

struct walk {
    struct image *img;
    uint64_t end; /* of the disk bytes the call is about */
    struct cursor cursors[IMAGE_CHAIN_MAX];
};

/* What of the disk one layer gives. */
struct piece {
    unsigned layer;
    struct layer_run run;
};

static enum varve_err
walk_init(struct walk *w, struct image *img, uint64_t off, uint64_t len, struct varve_error *err)
{
    const struct layer *leaf = img->layers[0];
    unsigned i;

    if (!checked_range(off, len, leaf->info.virtual_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "disk '%s': %" PRIu64 " bytes at %" PRIu64
                               " asked for, it has %" PRIu64,
                               leaf->f.path, len, off, leaf->info.virtual_size);
    }
    w->img = img;
    w->end = off + len;
    for (i = 0; i < img->count; i++) {
        w->cursors[i].start = 0;
        w->cursors[i].run.length = 0;
    }
    return VARVE_OK;
}

/* Who holds the byte at off < end, and for how long.  The kind PARENT comes back only when the parents
 * were not opened. */
static enum varve_err
walk_at(struct walk *w, uint64_t off, struct piece *out, struct varve_error *err)
{
    uint64_t max = w->end - off;
    unsigned i;

    for (i = 0; i < w->img->count; i++) {
        struct cursor *c = &w->cursors[i];
        struct layer *l = w->img->layers[i];
        uint64_t in_run;

        if (off - c->start >= c->run.length) {
            enum varve_err rc = l->ops->map(l, off, w->end - off, &c->run, err);

            if (rc != VARVE_OK) {
                return varve_error_prefix(err, "disk '%s'", l->f.path);
            }
            c->start = off;
        }
        in_run = off - c->start;
        max = max < c->run.length - in_run ? max : c->run.length - in_run;
        out->layer = i;
        out->run = c->run;
        out->run.length = max;
        out->run.file_offset += in_run;
        if (c->run.kind != IMAGE_MAP_PARENT) {
            break;
        }
    }
    return VARVE_OK;
}

/* Holes of the file where its format says data: they read as zeros, so nobody needs to read them. */
static enum varve_err
look_for_hole(struct walk *w, struct piece *p, struct varve_error *err)
{
    const struct layer *l = w->img->layers[p->layer];
    uint64_t sector = l->info.logical_sector;
    uint64_t len = 0;
    bool hole = false;
    enum varve_err rc;

    if (p->run.kind != IMAGE_MAP_DATA || !l->sparse) {
        return VARVE_OK;
    }
    rc = file_hole(l->f.file, p->run.file_offset, p->run.length, &hole, &len, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "disk '%s'", l->f.path);
    }
    if (len <
        p->run.length) { /* holes end where the file system's blocks do, not where sectors do */
        len = hole ? len / sector * sector : div_round_up_u64(len, sector) * sector;
        hole = hole && len > 0;
        len = len > 0 ? len : sector;
        p->run.length = len < p->run.length ? len : p->run.length;
    }
    if (hole) {
        p->run.kind = IMAGE_MAP_ZERO;
        p->run.hole = true;
    }
    return VARVE_OK;
}

enum varve_err
image_read(struct image *img, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct walk w;
    uint8_t *p = buf;
    enum varve_err rc;

    rc = walk_init(&w, img, off, len, err);
    while (rc == VARVE_OK && off < w.end) {
        struct piece piece;
        struct layer *l;

        rc = walk_at(&w, off, &piece, err);
        if (rc != VARVE_OK) {
            break;
        }
        l = img->layers[piece.layer];
        if (piece.run.kind == IMAGE_MAP_ZERO) {
            memset(p, 0, (size_t)piece.run.length);
        } else if (piece.run.kind == IMAGE_MAP_DATA) {
            rc = l->ops->read(l, p, (size_t)piece.run.length, piece.run.file_offset, err);
            if (rc != VARVE_OK) {
                (void)varve_error_prefix(err, "disk '%s'", l->f.path);
            }
        } else {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "disk '%s': the bytes at %" PRIu64
                                 " are in its parent, which was not opened",
                                 l->f.path, off);
        }
        p += piece.run.length;
        off += piece.run.length;
    }
    return rc;
}

/* The piece at off, holes known. */
static enum varve_err
walk_map(struct walk *w, uint64_t off, struct piece *out, struct varve_error *err)
{
    enum varve_err rc = walk_at(w, off, out, err);

    return rc == VARVE_OK ? look_for_hole(w, out, err) : rc;
}

enum varve_err
image_map(struct image *img, uint64_t off, uint64_t max, uint64_t *len, enum image_map_kind *kind,
          struct varve_error *err)
{
    struct walk w;
    uint64_t total = 0;
    enum image_map_kind first = IMAGE_MAP_DATA;
    unsigned runs;
    enum varve_err rc;

    rc = walk_init(&w, img, off, max, err);
    if (rc == VARVE_OK && max == 0) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "a map of no bytes was asked for");
    }
    for (runs = 0; runs < MAP_RUNS_MAX && total < max && rc == VARVE_OK; runs++) {
        struct piece piece;

        rc = walk_map(&w, off + total, &piece, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (runs == 0) {
            first = piece.run.kind;
        } else if (piece.run.kind != first) {
            break;
        }
        total += piece.run.length;
    }
    if (rc == VARVE_OK) {
        *len = total;
        *kind = first;
    }
    return rc;
}

static enum image_extent_kind
extent_kind(const struct layer_run *run)
{
    switch (run->kind) {
    case IMAGE_MAP_DATA:
        return IMAGE_EXTENT_DATA;
    case IMAGE_MAP_ZERO:
        return run->hole ? IMAGE_EXTENT_HOLE : IMAGE_EXTENT_ZERO;
    case IMAGE_MAP_PARENT:
        break;
    }
    return IMAGE_EXTENT_PARENT;
}

/* Does b, which follows a on the disk, belong to the same extent? */
static bool
continues(const struct image_extent *a, const struct piece *b)
{
    return extent_kind(&b->run) == a->kind && b->layer == a->file &&
           (a->kind != IMAGE_EXTENT_DATA || b->run.file_offset == a->file_offset + a->length);
}

enum varve_err
image_next_extent(struct image *img, uint64_t off, struct image_extent *out,
                  struct varve_error *err)
{
    struct walk w;
    struct image_extent e = {off, 0, IMAGE_EXTENT_DATA, 0, 0};
    uint64_t size = img->layers[0]->info.virtual_size;
    unsigned runs;
    enum varve_err rc = walk_init(&w, img, off, off < size ? size - off : 1, err);

    for (runs = 0; runs < MAP_RUNS_MAX && off + e.length < size && rc == VARVE_OK; runs++) {
        struct piece piece;

        rc = walk_map(&w, off + e.length, &piece, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (runs == 0) {
            e.kind = extent_kind(&piece.run);
            e.file = piece.layer;
            e.file_offset = e.kind == IMAGE_EXTENT_DATA ? piece.run.file_offset : 0;
        } else if (!continues(&e, &piece)) {
            break;
        }
        e.length += piece.run.length;
    }
    if (rc == VARVE_OK) {
        *out = e;
    }
    return rc;
}

enum varve_err
image_locate(struct image *img, uint64_t off, uint64_t max, struct file **file,
             uint64_t *file_offset, uint64_t *len, struct varve_error *err)
{
    struct walk w;
    struct piece piece = {0, {0, IMAGE_MAP_ZERO, false, 0}};
    const struct layer *owner;
    enum varve_err rc = walk_init(&w, img, off, max, err);

    if (rc == VARVE_OK) {
        rc = walk_at(&w, off, &piece, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    owner = img->layers[piece.layer];
    *file = piece.run.kind == IMAGE_MAP_DATA && !owner->info.log_replayed ? owner->f.file : NULL;
    *file_offset = piece.run.file_offset;
    *len = piece.run.length;
    return VARVE_OK;
}
