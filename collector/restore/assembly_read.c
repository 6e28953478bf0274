/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "restore/assembly_internal.h"

/* A hole shorter than this is handed out as zeros: the piece would cost more than it saves. */
#define HOLE_MIN 4096u

#define NAMES_PER_READ (ASSEMBLY_READ_MAX / CHUNK_SIZE_MIN + 2)

/* ---- manifest readers ---- */

/* From the idle ones, or a new one. */
static enum varve_err
take_reader(struct assembly *a, const struct manifest_root *root, struct manifest_reader **out,
            struct varve_error *err)
{
    struct manifest_reader *r = NULL;

    mutex_lock(&a->idle_lock);
    for (size_t i = a->idle_count; i-- > 0;) {
        if (chunk_id_equal(&a->idle[i].root, &root->id)) {
            r = a->idle[i].reader;
            memmove(&a->idle[i], &a->idle[i + 1], (a->idle_count - i - 1) * sizeof(a->idle[0]));
            a->idle_count--;
            break;
        }
    }
    mutex_unlock(&a->idle_lock);
    if (r != NULL) {
        *out = r;
        return VARVE_OK;
    }
    return manifest_reader_new(out, a->domain, root, err);
}

/* Not after a failed call: free such a reader. */
static void
give_reader(struct assembly *a, const struct manifest_root *root, struct manifest_reader *r)
{
    struct manifest_reader *old = NULL;

    mutex_lock(&a->idle_lock);
    if (a->idle_count == READERS_IDLE_MAX) { /* the one unused for longest goes */
        old = a->idle[0].reader;
        memmove(&a->idle[0], &a->idle[1], (READERS_IDLE_MAX - 1) * sizeof(a->idle[0]));
        a->idle_count--;
    }
    a->idle[a->idle_count].reader = r;
    a->idle[a->idle_count].root = root->id;
    a->idle_count++;
    mutex_unlock(&a->idle_lock);
    manifest_reader_free(old);
}

/* ---- pieces ---- */

/* The last piece grows, or a new one begins.  emit_hole() leaves the room this needs. */
static uint8_t *
emit_bytes(struct assembly_data *d, size_t len)
{
    uint8_t *p = d->buf + d->buf_len;

    if (d->piece_count == 0 || d->pieces[d->piece_count - 1].hole) {
        d->pieces[d->piece_count].hole = false;
        d->pieces[d->piece_count].length = 0;
        d->piece_count++;
    }
    d->pieces[d->piece_count - 1].length += (uint32_t)len;
    d->buf_len += len;
    return p;
}

static void
emit_hole(struct assembly_data *d, size_t len)
{
    if (d->piece_count > 0 && d->pieces[d->piece_count - 1].hole) {
        d->pieces[d->piece_count - 1].length += (uint32_t)len;
    } else if (len < HOLE_MIN || d->piece_count + 2 > ASSEMBLY_PIECES_MAX) {
        memset(emit_bytes(d, len), 0, len);
    } else {
        d->pieces[d->piece_count].hole = true;
        d->pieces[d->piece_count].length = (uint32_t)len;
        d->piece_count++;
    }
}

/* ---- disk bytes ---- */

/* Part [skip, skip + len) of one chunk that has chunk_len bytes. */
static enum varve_err
emit_chunk(struct assembly *a, const struct chunk_id *id, size_t chunk_len, size_t skip, size_t len,
           uint8_t **scratch, struct assembly_data *d, struct varve_error *err)
{
    uint8_t *to = emit_bytes(d, len);
    bool whole = len == chunk_len;
    size_t got = 0;
    enum varve_err rc;

    if (!whole && *scratch == NULL) {
        *scratch = malloc(a->chunk_size);
        if (*scratch == NULL) {
            return varve_error_nomem(err);
        }
    }
    rc = chunk_store_get(a->domain, id, whole ? to : *scratch, chunk_len, &got, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (got != chunk_len) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a chunk has %zu bytes instead of %zu", got,
                               chunk_len);
    }
    if (!whole) {
        memcpy(to, *scratch + skip, len);
    }
    return VARVE_OK;
}

static enum varve_err
emit_disk(struct assembly *a, const struct vfile *f, uint64_t off, size_t len,
          struct assembly_data *d, struct varve_error *err)
{
    const struct point_disk *disk = f->info.disk;
    uint64_t first = off / a->chunk_size;
    size_t count = (size_t)((off + len - 1) / a->chunk_size - first + 1);
    struct chunk_id ids[NAMES_PER_READ];
    struct manifest_reader *r = NULL;
    uint8_t *scratch = NULL;
    enum varve_err rc;

    rc = take_reader(a, &disk->root, &r, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = manifest_read(r, first, count, ids, err);
    if (rc != VARVE_OK) {
        manifest_reader_free(r);
        goto out;
    }
    give_reader(a, &disk->root, r);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        uint64_t start = (first + i) * a->chunk_size;
        uint64_t left = disk->size - start;
        size_t chunk_len = left < a->chunk_size ? (size_t)left : a->chunk_size;
        size_t skip = off > start ? (size_t)(off - start) : 0;
        size_t part = chunk_len - skip < len ? chunk_len - skip : len;

        if (chunk_id_is_hole(&ids[i])) {
            emit_hole(d, part);
        } else {
            rc = emit_chunk(a, &ids[i], chunk_len, skip, part, &scratch, d, err);
            if (rc != VARVE_OK) {
                rc = varve_error_prefix(err, "disk '%s' at offset %" PRIu64, disk->name, start);
            }
        }
        off += part;
        len -= part;
    }
out:
    free(scratch);
    return rc;
}

/* ---- files ---- */

static enum varve_err
read_planned(struct assembly *a, const struct vfile *f, uint64_t off, size_t len,
             struct assembly_data *d, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && len > 0) {
        struct vhdx_segment s;
        size_t n;

        disk_plan_segment(f->plan, off, &s);
        n = s.length < len ? (size_t)s.length : len;
        switch (s.kind) {
        case VHDX_SEGMENT_META:
            disk_plan_meta(f->plan, off, emit_bytes(d, n), n);
            break;
        case VHDX_SEGMENT_DISK:
            rc = emit_disk(a, f, s.disk_offset, n, d, err);
            break;
        case VHDX_SEGMENT_ZERO:
            emit_hole(d, n);
            break;
        }
        off += n;
        len -= n;
    }
    return rc;
}

static enum varve_err
check_file(const struct assembly *a, size_t file, uint64_t off, uint64_t len,
           struct varve_error *err)
{
    if (file >= a->file_count) {
        return varve_error_set(err, VARVE_ERR_INVALID, "the restore has no file %zu", file);
    }
    if (!checked_range(off, len, a->files[file].info.size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%" PRIu64 " bytes at offset %" PRIu64
                               " are not inside '%s' of %" PRIu64 " bytes",
                               len, off, a->files[file].name, a->files[file].info.size);
    }
    return VARVE_OK;
}

enum varve_err
assembly_read(struct assembly *a, size_t file, uint64_t off, size_t len, struct assembly_data *out,
              struct varve_error *err)
{
    const struct vfile *f;
    enum varve_err rc;

    out->buf_len = 0;
    out->piece_count = 0;
    if (len == 0 || len > ASSEMBLY_READ_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a read is 1 to %u bytes long, not %zu",
                               ASSEMBLY_READ_MAX, len);
    }
    rc = check_file(a, file, off, len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    f = &a->files[file];
    if (f->config != NULL) {
        memcpy(emit_bytes(out, len), f->config->data + off, len);
        return VARVE_OK;
    }
    rc = f->plan == NULL ? emit_disk(a, f, off, len, out, err)
                         : read_planned(a, f, off, len, out, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "'%s'", f->name);
    }
    return VARVE_OK;
}

/* ---- the map of a file ---- */

struct stretches {
    struct assembly_stretch *items;
    size_t cap;
    size_t count;
};

/* False: there is no room for it. */
static bool
add_stretch(struct stretches *s, uint64_t off, uint64_t len)
{
    struct assembly_stretch *last = s->count == 0 ? NULL : &s->items[s->count - 1];

    if (last != NULL && last->offset + last->length == off) {
        last->length += len;
        return true;
    }
    if (s->count == s->cap) {
        return false;
    }
    s->items[s->count].offset = off;
    s->items[s->count].length = len;
    s->count++;
    return true;
}

/* Disk bytes [disk_off, disk_off + len) stand at file_off.  *done: how far the file is mapped now.
 * False: there was no room for all. */
static bool
map_disk(const struct assembly *a, const struct vfile *f, uint64_t disk_off, uint64_t file_off,
         uint64_t len, struct stretches *s, uint64_t *done)
{
    uint64_t end = disk_off + len;
    uint64_t limit = div_round_up_u64(end, a->chunk_size);
    uint64_t at = disk_off / a->chunk_size;
    struct chunk_run run;

    *done = file_off;
    while (chunk_set_next(&f->data, at, limit, &run)) {
        uint64_t from = run.first * a->chunk_size;
        uint64_t to = (run.first + run.count) * a->chunk_size;

        from = from < disk_off ? disk_off : from;
        to = to > end ? end : to;
        if (!add_stretch(s, file_off + (from - disk_off), to - from)) {
            return false;
        }
        *done = file_off + (to - disk_off);
        at = run.first + run.count;
    }
    *done = file_off + len;
    return true;
}

enum varve_err
assembly_map(struct assembly *a, size_t file, uint64_t off, struct assembly_stretch *out,
             size_t cap, size_t *count, uint64_t *next, struct varve_error *err)
{
    struct stretches s = {.items = out, .cap = cap};
    const struct vfile *f;
    uint64_t size;
    bool room = true;
    enum varve_err rc;

    rc = check_file(a, file, off, 0, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    f = &a->files[file];
    size = f->info.size;
    if (off < size && f->config != NULL) {
        room = add_stretch(&s, off, size - off);
        off = room ? size : off;
    } else if (off < size && f->plan == NULL) {
        room = map_disk(a, f, off, off, size - off, &s, &off);
    }
    while (room && off < size) {
        struct vhdx_segment seg;
        uint64_t done;

        disk_plan_segment(f->plan, off, &seg);
        done = off + seg.length;
        if (seg.kind == VHDX_SEGMENT_META) {
            room = add_stretch(&s, off, seg.length);
            done = room ? done : off;
        } else if (seg.kind == VHDX_SEGMENT_DISK) {
            room = map_disk(a, f, seg.disk_offset, off, seg.length, &s, &done);
        }
        off = done;
    }
    *count = s.count;
    *next = off;
    return VARVE_OK;
}
