/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/disk_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "codec/zero.h"
#include "os/path.h"
#include "vhdx/vhdx_format.h"

#define SUFFIX     ".partial"
#define PIECE      ((size_t)1024 * 1024)
#define TAKE_AHEAD (UINT64_C(256) * 1024 * 1024) /* space taken at a time */

struct disk_writer {
    struct fs *fs;
    struct file *file;
    char *path;
    char *partial;
    struct disk_plan *plan;
    unsigned flags;
    uint64_t taken; /* space below this is the file's; zeros where nothing was written */
    bool no_allocate;
    const char *made; /* the name of what is on disk; NULL: nothing yet */
    bool finished;
};

static enum varve_err
check_free_name(const struct disk_writer *w, struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc = fs_stat(w->fs, w->path, &st, err);

    if (rc == VARVE_OK) {
        return varve_error_set(err, VARVE_ERR_EXISTS,
                               "'%s' exists and is not replaced: remove it or name a new file",
                               w->path);
    }
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

static enum varve_err
open_partial(struct disk_writer *w, struct varve_error *err)
{
    enum varve_err rc = file_open(w->fs, &w->file, w->partial, FILE_CREATE_NEW, err);

    if (rc == VARVE_OK) {
        w->made = w->partial;
        return VARVE_OK;
    }
    w->file = NULL;
    if (rc == VARVE_ERR_EXISTS) {
        return varve_error_set(
            err, VARVE_ERR_EXISTS,
            "'%s' exists: another program is writing it, or one was killed while "
            "it did; remove it then",
            w->partial);
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                               "the folder of '%s' does not exist: make it first", w->path);
    }
    return rc;
}

enum varve_err
disk_writer_new(struct disk_writer **out, struct fs *fs, const char *path,
                const struct disk_params *params, unsigned flags, struct varve_error *err)
{
    size_t size = strlen(path) + sizeof(SUFFIX);
    struct disk_writer *w = calloc(1, sizeof(*w));
    enum varve_err rc;

    if (w == NULL) {
        return varve_error_nomem(err);
    }
    w->fs = fs;
    w->flags = flags;
    w->path = strdup(path);
    w->partial = malloc(size);
    if (w->path == NULL || w->partial == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    (void)snprintf(w->partial, size, "%s" SUFFIX, path);
    rc = disk_plan_new(&w->plan, params, err);
    if (rc == VARVE_OK) {
        rc = check_free_name(w, err);
    }
    if (rc == VARVE_OK) {
        rc = open_partial(w, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = w;
    w = NULL;
out:
    (void)disk_writer_free(w);
    return rc;
}

static enum varve_err
fill_zeros(struct disk_writer *w, uint64_t end, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    uint8_t *zeros = calloc(1, PIECE);

    if (zeros == NULL) {
        return varve_error_nomem(err);
    }
    while (rc == VARVE_OK && w->taken < end) {
        size_t n = end - w->taken < PIECE ? (size_t)(end - w->taken) : PIECE;

        rc = file_write(w->file, zeros, n, w->taken, err);
        w->taken += n;
    }
    free(zeros);
    return rc;
}

/* The file has its space up to `end` before anything is written there. */
static enum varve_err
take_space(struct disk_writer *w, uint64_t end, struct varve_error *err)
{
    uint64_t ahead = div_round_up_u64(end, TAKE_AHEAD) * TAKE_AHEAD;
    enum varve_err rc;

    if ((w->flags & DISK_WRITER_SPARSE) != 0 || end <= w->taken) {
        return VARVE_OK;
    }
    if (!w->no_allocate) {
        rc = file_allocate(w->file, w->taken, ahead - w->taken, err);
        if (rc == VARVE_ERR_NOSPACE) { /* perhaps without the part that is ahead */
            ahead = end;
            rc = file_allocate(w->file, w->taken, ahead - w->taken, err);
        }
        if (rc == VARVE_OK) {
            w->taken = ahead;
        }
        if (rc != VARVE_ERR_UNSUPPORTED) {
            return rc;
        }
        w->no_allocate = true;
    }
    return fill_zeros(w, end, err);
}

enum varve_err
disk_writer_reserve(struct disk_writer *w, uint64_t offset, uint64_t length, uint64_t *place,
                    struct varve_error *err)
{
    enum varve_err rc = disk_plan_add(w->plan, offset, length, err);

    if (rc == VARVE_OK) {
        rc = take_space(w, disk_plan_size_so_far(w->plan), err);
    }
    if (rc == VARVE_OK) {
        *place = disk_plan_place(w->plan, offset);
    }
    return rc;
}

enum varve_err
disk_writer_write(struct disk_writer *w, const void *buf, size_t len, uint64_t place,
                  struct varve_error *err)
{
    return file_write(w->file, buf, len, place, err);
}

enum varve_err
disk_writer_copy(struct disk_writer *w, struct file *from, uint64_t from_off, uint64_t len,
                 uint64_t place, struct varve_error *err)
{
    return file_copy(from, from_off, w->file, place, len, err);
}

bool
disk_writer_is_sparse(const struct disk_writer *w)
{
    return (w->flags & DISK_WRITER_SPARSE) != 0;
}

enum varve_err
disk_writer_put(struct disk_writer *w, uint64_t offset, const void *buf, size_t len,
                struct varve_error *err)
{
    const uint8_t *p = buf;
    enum varve_err rc = VARVE_OK;

    /* No block is smaller than a MiB, and each begins at a multiple of one. */
    while (rc == VARVE_OK && len > 0) {
        size_t n = (size_t)(VHDX_MIB - offset % VHDX_MIB);
        uint64_t place = 0;

        n = n < len ? n : len;
        rc = disk_writer_reserve(w, offset, n, &place, err);
        if (rc == VARVE_OK) {
            rc = disk_writer_write(w, p, n, place, err);
        }
        p += n;
        offset += n;
        len -= n;
    }
    return rc;
}

/* One structure of the file; what is zero is there already. */
static enum varve_err
write_segment(struct disk_writer *w, uint64_t off, uint64_t length, uint8_t *buf,
              struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && length > 0) {
        size_t n = length < PIECE ? (size_t)length : PIECE;

        disk_plan_meta(w->plan, off, buf, n);
        if (!codec_is_zero(buf, n)) {
            rc = file_write(w->file, buf, n, off, err);
        }
        off += n;
        length -= n;
    }
    return rc;
}

static enum varve_err
write_structures(struct disk_writer *w, uint64_t from, uint64_t to, struct varve_error *err)
{
    uint8_t *buf = malloc(PIECE);
    struct vhdx_segment s;
    enum varve_err rc = buf == NULL ? varve_error_nomem(err) : VARVE_OK;

    for (uint64_t off = from; rc == VARVE_OK && off < to; off += s.length) {
        disk_plan_segment(w->plan, off, &s);
        s.length = s.length < to - off ? s.length : to - off;
        if (s.kind == VHDX_SEGMENT_META) {
            rc = write_segment(w, off, s.length, buf, err);
        }
    }
    free(buf);
    return rc;
}

static enum varve_err
sync_file(struct disk_writer *w, struct varve_error *err)
{
    return (w->flags & DISK_WRITER_NO_SYNC) != 0 ? VARVE_OK : file_sync(w->file, err);
}

static enum varve_err
give_name(struct disk_writer *w, struct varve_error *err)
{
    char *folder = NULL;
    enum varve_err rc;

    file_close(w->file);
    w->file = NULL;
    rc = fs_rename_new(w->fs, w->partial, w->path, err);
    if (rc == VARVE_ERR_EXISTS) {
        return varve_error_set(err, VARVE_ERR_EXISTS, "'%s' was made by somebody else meanwhile",
                               w->path);
    }
    w->made = rc == VARVE_OK ? w->path : w->partial;
    if (rc == VARVE_OK && (w->flags & DISK_WRITER_NO_SYNC) == 0) {
        rc = path_dirname(&folder, w->path, err);
        if (rc == VARVE_OK) {
            rc = fs_sync_dir(w->fs, folder, err);
        }
        free(folder);
    }
    return rc;
}

enum varve_err
disk_writer_finish(struct disk_writer *w, struct varve_error *err)
{
    uint64_t head = 0;
    uint64_t tail = 0;
    uint64_t size;
    enum varve_err rc = disk_plan_seal(w->plan, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    size = disk_plan_file_size(w->plan);
    disk_plan_identity(w->plan, &head, &tail);
    rc = take_space(w, size, err);
    if (rc == VARVE_OK) { /* gives back what was taken too much */
        rc = file_truncate(w->file, size, err);
    }
    if (rc == VARVE_OK) {
        rc = write_structures(w, head, size - tail, err);
    }
    if (rc == VARVE_OK) {
        rc = sync_file(w, err);
    }
    if (rc == VARVE_OK) {
        rc = write_structures(w, 0, head, err);
    }
    if (rc == VARVE_OK) {
        rc = write_structures(w, size - tail, size, err);
    }
    if (rc == VARVE_OK && head + tail > 0) {
        rc = sync_file(w, err);
    }
    if (rc == VARVE_OK) {
        rc = give_name(w, err);
    }
    w->finished = rc == VARVE_OK;
    return rc;
}

uint64_t
disk_writer_file_size(const struct disk_writer *w)
{
    return disk_plan_file_size(w->plan);
}

bool
disk_writer_free(struct disk_writer *w)
{
    struct varve_error ignored;
    bool clean = true;

    if (w == NULL) {
        return true;
    }
    file_close(w->file);
    if (!w->finished && w->made != NULL) {
        clean = fs_remove(w->fs, w->made, &ignored) == VARVE_OK;
    }
    disk_plan_free(w->plan);
    free(w->path);
    free(w->partial);
    free(w);
    return clean;
}
