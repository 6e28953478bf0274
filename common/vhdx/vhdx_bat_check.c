/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "vhdx/image_check.h"
#include "vhdx/vhdx_internal.h"

/*
 * The whole BAT, entry by entry: what each says, and that no two things own the same MiB of the file.
 * Who owns what is kept in one bit per MiB of a window of the file; a file that is longer than the
 * window is gone over again, with the next window.
 */
#define READ_A_GO   65536u
#define WINDOW_BITS ((uint64_t)IMAGE_CHECK_CLAIMS * 8)

struct walk {
    struct vhdx_layer *v;
    const struct table_check *check;
    uint8_t *buf;
    uint8_t *bits;
    uint64_t first; /* MiB where the window begins */
    uint64_t count; /* MiB in it */
    bool stopped;   /* the callback has had enough */
    bool needs_bitmap;
    uint64_t data_end; /* up to here the file is known to have no hole */
    struct table_counts counts;
};

/* False when one of these MiB is owned already. */
static bool
claim(struct walk *w, uint64_t offset, uint64_t length)
{
    uint64_t i = offset / VHDX_MIB;
    uint64_t end = div_round_up_u64(offset + length, VHDX_MIB);

    i = i > w->first ? i : w->first;
    end = end < w->first + w->count ? end : w->first + w->count;
    for (; i < end; i++) {
        uint64_t at = i - w->first;
        uint8_t bit = (uint8_t)(1u << (at % 8));

        if ((w->bits[at / 8] & bit) != 0) {
            return false;
        }
        w->bits[at / 8] |= bit;
    }
    return true;
}

/* That these do not overlap was seen when the region table was read. */
static void
claim_regions(struct walk *w)
{
    const struct vhdx_layer *v = w->v;
    size_t i;

    (void)claim(w, 0, VHDX_MIB);
    (void)claim(w, v->header.log_offset, v->header.log_length);
    (void)claim(w, v->bat.offset, v->bat.length);
    (void)claim(w, v->metadata.offset, v->metadata.length);
    for (i = 0; i < v->other_count; i++) {
        (void)claim(w, v->others[i].offset, v->others[i].length);
    }
}

/* What is wrong is told, if somebody listens. */
static enum varve_err
fault(struct walk *w, uint64_t index, struct varve_error *err)
{
    if (w->check->fault == NULL || err->code != VARVE_ERR_CORRUPT) {
        return err->code;
    }
    w->stopped = !w->check->fault(w->check->arg, vhdx_bat_entry_offset(w->v, index), err);
    return VARVE_OK;
}

static void
count_block(struct walk *w, enum vhdx_payload_state state)
{
    switch (state) {
    case VHDX_NOT_PRESENT:
        break;
    case VHDX_FULLY_PRESENT:
        w->counts.present++;
        break;
    case VHDX_PARTIALLY_PRESENT:
        w->counts.partial++;
        break;
    default:
        w->counts.zero++;
        break;
    }
}

static enum varve_err
check_block(struct walk *w, uint64_t index, uint64_t block, uint64_t raw, struct varve_error *err)
{
    struct vhdx_bat_entry e;
    bool first_go = w->first == 0;
    enum varve_err rc = vhdx_bat_decode(w->v, block, raw, &e, err);

    if (rc != VARVE_OK) {
        return first_go ? fault(w, index, err) : VARVE_OK;
    }
    if (first_go) {
        count_block(w, e.state);
    }
    w->needs_bitmap = w->needs_bitmap || e.state == VHDX_PARTIALLY_PRESENT;
    if (e.offset != 0 && !claim(w, e.offset, w->v->base.info.block_size)) {
        (void)vhdx_bat_entry_error(w->v, index, raw, "points to a place that something else owns",
                                   err);
        rc = fault(w, index, err);
    }
    return rc;
}

static enum varve_err
check_bitmap(struct walk *w, uint64_t index, uint64_t raw, struct varve_error *err)
{
    bool needed = w->needs_bitmap;
    bool first_go = w->first == 0;
    uint64_t offset = 0;
    enum varve_err rc = vhdx_bat_decode_bitmap(w->v, index, raw, &offset, err);

    w->needs_bitmap = false;
    if (rc != VARVE_OK) {
        return first_go ? fault(w, index, err) : VARVE_OK;
    }
    if (needed && offset == 0 && first_go) {
        (void)vhdx_bat_entry_error(w->v, index, raw, "has no bitmap for a partially present block",
                                   err);
        rc = fault(w, index, err);
    } else if (offset != 0 && !claim(w, offset, VHDX_BITMAP_LENGTH)) {
        (void)vhdx_bat_entry_error(w->v, index, raw, "points to a place that something else owns",
                                   err);
        rc = fault(w, index, err);
    }
    return rc;
}

static bool
is_zero(const uint8_t *p, size_t len)
{
    return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* n entries from index, as they stand in the buffer. */
static enum varve_err
check_entries(struct walk *w, uint64_t index, size_t n, struct varve_error *err)
{
    uint64_t ratio = w->v->chunk_ratio;
    uint64_t chunk = index / (ratio + 1);
    uint64_t in_chunk = index % (ratio + 1);
    enum varve_err rc = VARVE_OK;
    size_t i;

    for (i = 0; i < n && rc == VARVE_OK && !w->stopped; i++) {
        uint64_t raw = get_le64(w->buf + i * VHDX_BAT_ENTRY_SIZE);
        uint64_t block = chunk * ratio + in_chunk;

        if (in_chunk == ratio) {
            rc = check_bitmap(w, index + i, raw, err);
            chunk++;
            in_chunk = 0;
            continue;
        }
        if (block < w->v->blocks) { /* what is behind is padding */
            rc = check_block(w, index + i, block, raw, err);
        }
        in_chunk++;
    }
    return rc;
}

/* How many of n entries from index stand in a hole of the file: nothing is there to be read. */
static uint64_t
entries_in_hole(struct walk *w, uint64_t index, uint64_t n)
{
    struct vhdx_layer *v = w->v;
    uint64_t off = vhdx_bat_entry_offset(v, index);
    struct varve_error ignored;
    bool hole = false;
    uint64_t len = 0;

    if (v->log.patch_count > 0 || w->needs_bitmap || off < w->data_end) {
        return 0;
    }
    if (file_hole(v->base.f.file, off, n * VHDX_BAT_ENTRY_SIZE, &hole, &len, &ignored) !=
            VARVE_OK ||
        !hole) {
        w->data_end = off + len;
        return 0;
    }
    return len / VHDX_BAT_ENTRY_SIZE;
}

static enum varve_err
check_window(struct walk *w, struct varve_error *err)
{
    const struct vhdx_layer *v = w->v;
    uint64_t entries = vhdx_bat_entries(v->blocks, v->chunk_ratio, v->base.has_parent);
    uint64_t index = 0;
    enum varve_err rc = VARVE_OK;

    claim_regions(w);
    w->needs_bitmap = false;
    w->data_end = 0;
    while (index < entries && rc == VARVE_OK && !w->stopped) {
        uint64_t left = (entries - index) * VHDX_BAT_ENTRY_SIZE;
        size_t len = left < READ_A_GO ? (size_t)left : READ_A_GO;
        uint64_t empty = entries_in_hole(w, index, entries - index);

        if (empty > 0) {
            index += empty;
            continue;
        }
        rc = vhdx_file_read(w->v, w->buf, len, vhdx_bat_entry_offset(v, index), err);
        if (rc == VARVE_OK && (w->needs_bitmap || !is_zero(w->buf, len))) {
            rc = check_entries(w, index, len / VHDX_BAT_ENTRY_SIZE, err);
        }
        index += len / VHDX_BAT_ENTRY_SIZE;
    }
    return rc;
}

static uint64_t
count_free(const struct walk *w)
{
    uint64_t free_bits = 0;
    uint64_t i;

    for (i = 0; i < w->count; i++) {
        free_bits += (w->bits[i / 8] >> (i % 8) & 1) == 0 ? 1 : 0;
    }
    return free_bits;
}

enum varve_err
vhdx_bat_check(struct vhdx_layer *v, const struct table_check *check, struct varve_error *err)
{
    uint64_t total = div_round_up_u64(v->size, VHDX_MIB);
    struct walk w;
    enum varve_err rc = VARVE_OK;

    memset(&w, 0, sizeof(w));
    w.v = v;
    w.check = check;
    w.counts.blocks = v->blocks;
    w.buf = malloc(READ_A_GO);
    w.bits = calloc(1, (size_t)((total < WINDOW_BITS ? total : WINDOW_BITS) / 8 + 1));
    if (w.buf == NULL || w.bits == NULL) {
        rc = varve_error_nomem(err);
    }
    for (; w.first < total && rc == VARVE_OK && !w.stopped; w.first += WINDOW_BITS) {
        w.count = total - w.first < WINDOW_BITS ? total - w.first : WINDOW_BITS;
        if (w.first > 0) {
            memset(w.bits, 0, (size_t)(w.count / 8 + 1));
        }
        rc = check_window(&w, err);
        if (check->counts != NULL) {
            w.counts.unused += count_free(&w) * VHDX_MIB;
        }
    }
    if (check->counts != NULL) {
        *check->counts = w.counts;
    }
    free(w.buf);
    free(w.bits);
    return rc;
}
