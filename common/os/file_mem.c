/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file_mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/file_mem_internal.h"

struct mem_file {
    struct file base;
    struct mem_fs *fs;
    struct mem_inode *inode;
    uint64_t generation;
    bool writable;
    char *path;
};

static const struct fs_ops mem_ops;

static struct mem_fs *
of_fs(struct fs *fs)
{
    return (struct mem_fs *)fs;
}

static struct mem_file *
of(struct file *f)
{
    return (struct mem_file *)f;
}

/* ---- making and ending ---- */

struct mem_inode *
mem_inode_new(struct mem_fs *m, bool is_dir)
{
    struct mem_inode *inode = calloc(1, sizeof(*inode));

    if (inode == NULL) {
        return NULL;
    }
    inode->number = m->next_number++;
    inode->is_dir = is_dir;
    inode->mtime_us = time_now_us();
    inode->pending_tail = &inode->pending;
    inode->next = m->inodes;
    m->inodes = inode;
    return inode;
}

enum varve_err
mem_fs_new(struct mem_fs **out, struct varve_error *err)
{
    struct mem_fs *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return varve_error_nomem(err);
    }
    m->base.ops = &mem_ops;
    m->next_number = 1;
    m->changes_tail = &m->changes;
    m->capacity_pages = MEM_FILE_MAX / MEM_PAGE_SIZE;
    m->root = mem_inode_new(m, true);
    if (m->root == NULL) {
        free(m);
        return varve_error_nomem(err);
    }
    m->root->names = 1;
    mutex_init(&m->lock);
    *out = m;
    return VARVE_OK;
}

void
mem_fs_free(struct mem_fs *m)
{
    if (m == NULL) {
        return;
    }
    while (m->changes != NULL) {
        struct mem_change *c = m->changes;

        m->changes = c->next;
        mem_change_free(c);
    }
    while (m->inodes != NULL) {
        struct mem_inode *inode = m->inodes;

        m->inodes = inode->next;
        mem_pages_release(&inode->current);
        mem_pages_release(&inode->durable);
        mem_writes_free(inode);
        mem_dir_release(&inode->current_dir);
        mem_dir_release(&inode->durable_dir);
        free(inode);
    }
    mutex_destroy(&m->lock);
    free(m);
}

struct fs *
mem_fs(struct mem_fs *m)
{
    return &m->base;
}

struct mem_fs *
mem_fs_from(struct fs *fs)
{
    return fs->ops == &mem_ops ? of_fs(fs) : NULL;
}

void
mem_fs_set_capacity(struct mem_fs *m, uint64_t bytes)
{
    mutex_lock(&m->lock);
    m->capacity_pages = bytes / MEM_PAGE_SIZE;
    mutex_unlock(&m->lock);
}

/* ---- files ---- */

static enum varve_err
mem_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
         struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_file *mf = calloc(1, sizeof(*mf));
    char *copy = strdup(path);
    int rc;

    if (mf == NULL || copy == NULL) {
        free(copy);
        free(mf);
        return varve_error_nomem(err);
    }
    mutex_lock(&m->lock);
    rc = mem_open_locked(m, path, mode, &mf->inode);
    if (rc == 0) {
        mf->inode->opens++;
        mf->generation = m->generation;
    }
    mutex_unlock(&m->lock);
    if (rc != 0) {
        free(copy);
        free(mf);
        return varve_error_errno(err, rc, "%s '%s'",
                                 mode == FILE_CREATE_NEW ? "creating" : "opening", path);
    }
    mf->base.ops = fs->ops;
    mf->fs = m;
    mf->writable = mode != FILE_READ;
    mf->path = copy;
    *out = &mf->base;
    return VARVE_OK;
}

static void
mem_close(struct file *f)
{
    struct mem_file *mf = of(f);

    mutex_lock(&mf->fs->lock);
    mf->inode->opens--;
    mem_inode_settle(mf->fs, mf->inode);
    mutex_unlock(&mf->fs->lock);
    free(mf->path);
    free(mf);
}

/* Locks, and refuses a file of before the last power cut. */
static int
enter(struct mem_file *mf)
{
    mutex_lock(&mf->fs->lock);
    return mf->generation == mf->fs->generation ? 0 : EIO;
}

static int
leave(struct mem_file *mf, int rc)
{
    mutex_unlock(&mf->fs->lock);
    return rc;
}

static bool
offset_fits(uint64_t off, size_t len)
{
    return off <= INT64_MAX && len <= (uint64_t)INT64_MAX - off;
}

static enum varve_err
mem_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);

    if (rc == 0 && mf->inode->is_dir) {
        rc = EISDIR;
    } else if (rc == 0 && !offset_fits(off, len)) {
        rc = EINVAL;
    }
    if (rc == 0) {
        uint64_t size = mf->inode->current_size;
        uint64_t left = off < size ? size - off : 0;

        *got = left < len ? (size_t)left : len;
        mem_pages_read(&mf->inode->current, off, buf, *got);
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK
                   : varve_error_errno(err, rc, "reading %zu bytes at %" PRIu64 " of '%s'", len,
                                       off, mf->path);
}

/* Pages that were never written, or were given back.  A call looks at so many, not more. */
#define HOLE_PAGES 65536u

static enum varve_err
mem_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
         struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);
    uint64_t page = off / MEM_PAGE_SIZE;
    uint64_t end = page + HOLE_PAGES;

    *hole = false;
    *len = max;
    if (rc == 0 && off < mf->inode->current_size) {
        uint64_t left = mf->inode->current_size - off;
        const struct mem_pages *pages = &mf->inode->current;

        *len = left < max ? left : max;
        *hole = !mem_pages_has(pages, page);
        while (page < end && page * MEM_PAGE_SIZE < off + *len &&
               mem_pages_has(pages, page) != *hole) {
            page++;
        }
        *len = page * MEM_PAGE_SIZE < off + *len ? page * MEM_PAGE_SIZE - off : *len;
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "looking for holes of '%s'", mf->path);
}

/* Appends to inode->pending; data is copied. */
static bool
remember_locked(struct mem_inode *inode, uint64_t off, uint64_t len, const void *data,
                uint64_t size_after)
{
    struct mem_write *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return false;
    }
    if (data != NULL) {
        w->data = malloc((size_t)len);
        if (w->data == NULL) {
            free(w);
            return false;
        }
        memcpy(w->data, data, (size_t)len);
    }
    w->off = off;
    w->len = len;
    w->size_after = size_after;
    w->changes_size = size_after != inode->current_size;
    inode->current_size = size_after;
    inode->mtime_us = time_now_us();
    *inode->pending_tail = w;
    inode->pending_tail = &w->next;
    return true;
}

/* How much of [off, off + len) has room. */
static size_t
room_locked(const struct mem_fs *m, const struct mem_inode *inode, uint64_t off, size_t len)
{
    uint64_t pages = m->capacity_pages > m->used_pages ? m->capacity_pages - m->used_pages : 0;
    uint64_t at = off;
    uint64_t end = off + len;

    while (at < end) {
        if (!mem_pages_has(&inode->current, at / MEM_PAGE_SIZE)) {
            if (pages == 0) {
                break;
            }
            pages--;
        }
        at = (at / MEM_PAGE_SIZE + 1) * MEM_PAGE_SIZE;
    }
    return (size_t)((at < end ? at : end) - off);
}

static int
write_locked(struct mem_file *mf, const void *buf, size_t len, uint64_t off)
{
    struct mem_inode *inode = mf->inode;
    struct mem_fs *m = mf->fs;
    uint64_t pages = inode->current.page_count;
    size_t fits;
    bool ok;

    if (!mf->writable) {
        return EBADF;
    }
    if (!offset_fits(off, len)) {
        return EINVAL;
    }
    if (off > MEM_FILE_MAX || len > MEM_FILE_MAX - off) {
        return EFBIG;
    }
    fits = room_locked(m, inode, off, len);
    if (fits > 0) {
        uint64_t end = off + fits;

        if (!remember_locked(inode, off, fits, buf,
                             end > inode->current_size ? end : inode->current_size)) {
            return ENOMEM;
        }
        ok = mem_pages_write(&inode->current, off, buf, fits);
        m->used_pages += inode->current.page_count - pages;
        if (!ok) {
            return ENOMEM;
        }
    }
    return fits == len ? 0 : ENOSPC;
}

static enum varve_err
mem_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);

    if (rc == 0) {
        rc = write_locked(mf, buf, len, off);
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK
                   : varve_error_errno(err, rc, "writing %zu bytes at %" PRIu64 " of '%s'", len,
                                       off, mf->path);
}

static int
truncate_locked(struct mem_file *mf, uint64_t size)
{
    struct mem_inode *inode = mf->inode;
    uint64_t pages = inode->current.page_count;
    uint64_t cut;

    if (!mf->writable || !offset_fits(size, 0)) {
        return EINVAL;
    }
    if (size > MEM_FILE_MAX) {
        return EFBIG;
    }
    cut = size < inode->current_size ? inode->current_size - size : 0;
    if (!remember_locked(inode, size, cut, NULL, size)) {
        return ENOMEM;
    }
    mem_pages_zero(&inode->current, size, UINT64_MAX);
    mf->fs->used_pages -= pages - inode->current.page_count;
    return 0;
}

static enum varve_err
mem_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);

    if (rc == 0) {
        rc = truncate_locked(mf, size);
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK
                   : varve_error_errno(err, rc, "setting the size of '%s' to %" PRIu64 " bytes",
                                       mf->path, size);
}

static int
sync_locked(struct mem_inode *inode)
{
    for (const struct mem_write *w = inode->pending; w != NULL; w = w->next) {
        if (w->forgotten) {
            continue;
        }
        if (w->data == NULL) {
            mem_pages_zero(&inode->durable, w->off, w->off + w->len);
        } else if (!mem_pages_write(&inode->durable, w->off, w->data, (size_t)w->len)) {
            return ENOMEM; /* nothing is taken from pending: the next sync does it again */
        }
        if (w->changes_size) {
            inode->durable_size = w->size_after;
        } else if (w->data != NULL && w->off + w->len > inode->durable_size) {
            inode->durable_size = w->off + w->len; /* what grew the file was forgotten */
        }
    }
    mem_writes_free(inode);
    return 0;
}

static enum varve_err
mem_sync(struct file *f, struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);

    if (rc == 0 && !mf->inode->is_dir) {
        rc = sync_locked(mf->inode);
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "syncing '%s'", mf->path);
}

void
mem_file_forget_dirty(struct file *f)
{
    struct mem_file *mf = of(f);

    mutex_lock(&mf->fs->lock);
    for (struct mem_write *w = mf->inode->pending; w != NULL; w = w->next) {
        w->forgotten = true;
    }
    mutex_unlock(&mf->fs->lock);
}

static enum varve_err
mem_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    struct mem_file *mf = of(f);
    int rc = enter(mf);

    if (rc == 0) {
        mem_stat_locked(mf->inode, out);
    }
    rc = leave(mf, rc);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "looking at '%s'", mf->path);
}

static const struct fs_ops mem_ops = {
    .open = mem_open,
    .close = mem_close,
    .read = mem_read,
    .write = mem_write,
    .sync = mem_sync,
    .truncate = mem_truncate,
    .fstat = mem_fstat,
    .hole = mem_hole,
    .stat = mem_stat,
    .rename_new = mem_rename_new,
    .rename_over = mem_rename_over,
    .remove = mem_remove,
    .mkdir = mem_mkdir,
    .sync_dir = mem_sync_dir,
    .sync_dirs = mem_sync_dirs,
    .list = mem_list,
    .free_bytes = mem_free_bytes,
};
