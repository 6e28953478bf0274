/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/image_check.h"
#include "vhdx/vhd_internal.h"

/*
 * No two blocks may share bytes.  The file is divided into pieces as long as a block with its bitmap:
 * in each at most one block may begin, and not before the one of the piece before has ended.  A window
 * of pieces is looked at per go over the table.
 */
#define READ_A_GO   65536u
#define TABLE_REACH (UINT64_C(512) << 32) /* sector numbers have 32 bits */
#define PIECES_A_GO (IMAGE_CHECK_CLAIMS / sizeof(uint32_t))

struct walk {
    struct vhd_layer *v;
    const struct table_check *check;
    uint8_t *buf;
    uint32_t *begin; /* sector where a block begins in this piece; 0: none does */
    uint32_t before; /* the same of the piece before the window */
    uint64_t first;  /* piece */
    uint64_t count;  /* pieces in the window */
    uint64_t length; /* of a piece */
    bool stopped;
    struct table_counts counts;
};

static enum varve_err
fault(struct walk *w, uint64_t offset, struct varve_error *err)
{
    if (w->check->fault == NULL || err->code != VARVE_ERR_CORRUPT) {
        return err->code;
    }
    w->stopped = !w->check->fault(w->check->arg, offset, err);
    return VARVE_OK;
}

static enum varve_err
check_entry(struct walk *w, uint32_t block, uint32_t raw, struct varve_error *err)
{
    uint64_t entry = w->v->table_offset + (uint64_t)block * 4;
    uint64_t start = 0;
    uint64_t piece;
    enum varve_err rc = vhd_table_decode(w->v, block, raw, &start, err);

    if (rc != VARVE_OK) {
        return w->first == 0 ? fault(w, entry, err) : VARVE_OK;
    }
    if (start == 0) {
        return VARVE_OK;
    }
    w->counts.present += w->first == 0 && !w->v->base.has_parent ? 1 : 0;
    w->counts.partial += w->first == 0 && w->v->base.has_parent ? 1 : 0;
    piece = start / w->length;
    if (piece < w->first || piece - w->first >= w->count) {
        return VARVE_OK;
    }
    if (w->begin[piece - w->first] != 0) {
        (void)varve_error_set(err, VARVE_ERR_CORRUPT,
                              "block table: entry %" PRIu32 " at offset %" PRIu64
                              " points into another block",
                              block, entry);
        return fault(w, entry, err);
    }
    w->begin[piece - w->first] = raw;
    return VARVE_OK;
}

static enum varve_err
read_table(struct walk *w, struct varve_error *err)
{
    struct vhd_layer *v = w->v;
    uint32_t block = 0;
    enum varve_err rc = VARVE_OK;

    while (block < v->blocks && rc == VARVE_OK && !w->stopped) {
        uint32_t n = v->blocks - block < READ_A_GO / 4 ? v->blocks - block : READ_A_GO / 4;
        uint32_t i;

        rc = file_read_exact(v->base.f.file, w->buf, (size_t)n * 4,
                             v->table_offset + (uint64_t)block * 4, err);
        for (i = 0; i < n && rc == VARVE_OK && !w->stopped; i++) {
            rc = check_entry(w, block + i, get_be32(w->buf + (size_t)i * 4), err);
        }
        block += n;
    }
    return rc;
}

/* Neighbours; the one before the window is the last of the window before. */
static enum varve_err
check_neighbours(struct walk *w, struct varve_error *err)
{
    uint32_t before = w->before;
    enum varve_err rc = VARVE_OK;
    uint64_t i;

    for (i = 0; i < w->count && rc == VARVE_OK && !w->stopped; i++) {
        uint32_t here = w->begin[i];

        if (here != 0 && before != 0 && (uint64_t)(here - before) * VHD_SECTOR < w->length) {
            (void)varve_error_set(err, VARVE_ERR_CORRUPT,
                                  "block table: the blocks at offsets %" PRIu64 " and %" PRIu64
                                  " overlap",
                                  (uint64_t)before * VHD_SECTOR, (uint64_t)here * VHD_SECTOR);
            rc = fault(w, w->v->table_offset, err);
        }
        before = here;
    }
    w->before = before;
    return rc;
}

enum varve_err
vhd_table_check(struct vhd_layer *v, const struct table_check *check, struct varve_error *err)
{
    uint64_t reach = v->base.f.size < TABLE_REACH ? v->base.f.size : TABLE_REACH;
    uint64_t length = (uint64_t)v->bitmap_bytes + v->base.info.block_size;
    uint64_t pieces = reach / length + 1;
    struct walk w;
    enum varve_err rc = VARVE_OK;

    memset(&w, 0, sizeof(w));
    w.v = v;
    w.check = check;
    w.length = length;
    w.counts.blocks = v->blocks;
    w.buf = malloc(READ_A_GO);
    w.begin = calloc((size_t)(pieces < PIECES_A_GO ? pieces : PIECES_A_GO), sizeof(*w.begin));
    if (w.buf == NULL || w.begin == NULL) {
        rc = varve_error_nomem(err);
    }
    for (; w.first < pieces && rc == VARVE_OK && !w.stopped; w.first += PIECES_A_GO) {
        w.count = pieces - w.first < PIECES_A_GO ? pieces - w.first : PIECES_A_GO;
        if (w.first > 0) {
            memset(w.begin, 0, (size_t)w.count * sizeof(*w.begin));
        }
        rc = read_table(&w, err);
        if (rc == VARVE_OK && !w.stopped) {
            rc = check_neighbours(&w, err);
        }
    }
    if (check->counts != NULL) {
        uint64_t used = (w.counts.present + w.counts.partial) * length + (uint64_t)v->blocks * 4;

        w.counts.unused = reach > used ? reach - used : 0;
        *check->counts = w.counts;
    }
    free(w.buf);
    free(w.begin);
    return rc;
}
