/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 * The machine's file system.  What each durability promise of file.h rests on:
 *
 *   file_sync   fdatasync(2): the data, and as much metadata as is needed to read it again (the
 *               size is, times are not).
 *   sync_dir    fsync(2) of the folder.
 *   sync_dirs   syncfs(2): all of the file system.  Reports what could not be written since Linux 5.8.
 *   rename_new  renameat2(RENAME_NOREPLACE).  Where the file system does not know it (EINVAL: some
 *               network ones), link(2) and unlink(2): also atomic and also create-only; a crash
 *               between the two leaves the file under both names.
 */
struct posix_file {
    struct file base;
    int fd;
    char *path; /* for messages */
};

/* One call moves at most this much; larger requests are split (read(2) stops at 0x7ffff000). */
#define IO_MAX ((size_t)1 << 30)

const char *const file_private_hint = "run 'chmod 600'";

static struct posix_file *
of(struct file *f)
{
    return (struct posix_file *)f;
}

/* Offsets past off_t are the caller's error, not a wrap to a negative number. */
static bool
offset_fits(uint64_t off, size_t len)
{
    return off <= INT64_MAX && len <= (uint64_t)INT64_MAX - off;
}

static enum varve_err
offset_error(const struct posix_file *pf, uint64_t off, size_t len, struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_INVALID,
                           "%zu bytes at %" PRIu64 " of '%s' are beyond any file", len, off,
                           pf->path);
}

static enum varve_err
posix_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
           struct varve_error *err)
{
    struct posix_file *pf = NULL;
    enum varve_err rc;
    int flags = O_CLOEXEC;

    switch (mode) {
    case FILE_READ:
        flags |= O_RDONLY;
        break;
    case FILE_READ_WRITE:
        flags |= O_RDWR;
        break;
    case FILE_CREATE_NEW:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    pf = calloc(1, sizeof(*pf));
    if (pf == NULL) {
        return varve_error_nomem(err);
    }
    pf->fd = -1;
    pf->path = strdup(path);
    if (pf->path == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    do {
        pf->fd = open(path, flags, 0600);
    } while (pf->fd < 0 && errno == EINTR);
    if (pf->fd < 0) {
        rc = varve_error_errno(err, errno, "%s '%s'",
                               mode == FILE_CREATE_NEW ? "creating" : "opening", path);
        goto out;
    }
    pf->base.ops = fs->ops;
    *out = &pf->base;
    pf = NULL;
    rc = VARVE_OK;
out:
    if (pf != NULL) {
        free(pf->path);
        free(pf);
    }
    return rc;
}

static void
posix_close(struct file *f)
{
    struct posix_file *pf = of(f);

    /* Whoever needs to know about the data has called file_sync(). */
    (void)close(pf->fd);
    free(pf->path);
    free(pf);
}

static enum varve_err
posix_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got,
           struct varve_error *err)
{
    struct posix_file *pf = of(f);
    size_t done = 0;

    if (!offset_fits(off, len)) {
        return offset_error(pf, off, len, err);
    }
    while (done < len) {
        size_t part = len - done < IO_MAX ? len - done : IO_MAX;
        ssize_t n = pread(pf->fd, (uint8_t *)buf + done, part, (off_t)(off + done));

        if (n == 0) {
            break;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return varve_error_errno(err, errno, "reading %zu bytes at %" PRIu64 " of '%s'", len,
                                     off, pf->path);
        }
        done += (size_t)n;
    }
    *got = done;
    return VARVE_OK;
}

static enum varve_err
posix_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct posix_file *pf = of(f);
    size_t done = 0;

    if (!offset_fits(off, len)) {
        return offset_error(pf, off, len, err);
    }
    while (done < len) {
        size_t part = len - done < IO_MAX ? len - done : IO_MAX;
        ssize_t n = pwrite(pf->fd, (const uint8_t *)buf + done, part, (off_t)(off + done));

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return varve_error_errno(err, errno, "writing %zu bytes at %" PRIu64 " of '%s'", len,
                                     off, pf->path);
        }
        done += (size_t)n;
    }
    return VARVE_OK;
}

static enum varve_err
posix_sync(struct file *f, struct varve_error *err)
{
    struct posix_file *pf = of(f);

    /* Not repeated after a failure other than EINTR: the kernel may have dropped the dirty pages,
     * and a second call would then lie. */
    while (fdatasync(pf->fd) != 0) {
        if (errno != EINTR) {
            return varve_error_errno(err, errno, "syncing '%s'", pf->path);
        }
    }
    return VARVE_OK;
}

static enum varve_err
posix_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    struct posix_file *pf = of(f);

    if (!offset_fits(size, 0)) {
        return offset_error(pf, size, 0, err);
    }
    while (ftruncate(pf->fd, (off_t)size) != 0) {
        if (errno != EINTR) {
            return varve_error_errno(err, errno, "setting the size of '%s' to %" PRIu64 " bytes",
                                     pf->path, size);
        }
    }
    return VARVE_OK;
}

static void
stat_from(struct file_stat *out, const struct stat *st)
{
    out->size = st->st_size < 0 ? 0 : (uint64_t)st->st_size;
    out->mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
    out->inode = (uint64_t)st->st_ino;
    out->device = (uint64_t)st->st_dev;
    out->is_dir = S_ISDIR(st->st_mode);
    out->is_regular = S_ISREG(st->st_mode);
    out->is_private = (st->st_mode & 077) == 0;
}

static enum varve_err
posix_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    struct posix_file *pf = of(f);
    struct stat st;

    if (fstat(pf->fd, &st) != 0) {
        return varve_error_errno(err, errno, "looking at '%s'", pf->path);
    }
    stat_from(out, &st);
    return VARVE_OK;
}

/* lseek(2) moves a file pointer that nobody uses.  Whatever it fails with, the answer "not a hole" is
 * never wrong. */
static enum varve_err
posix_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
           struct varve_error *err)
{
    struct posix_file *pf = of(f);
    off_t next;

    (void)err;
    *hole = false;
    *len = max;
    if (off > INT64_MAX) {
        return VARVE_OK;
    }
    next = lseek(pf->fd, (off_t)off, SEEK_DATA);
    if (next < 0 && errno == ENXIO) { /* no data up to the end, or off is past it */
        off_t end = lseek(pf->fd, 0, SEEK_END);

        *hole = end > (off_t)off;
        next = end;
    } else if (next > (off_t)off) {
        *hole = true;
    } else if (next == (off_t)off) {
        next = lseek(pf->fd, (off_t)off, SEEK_HOLE);
    }
    if (next > (off_t)off && (uint64_t)next - off < max) {
        *len = (uint64_t)next - off;
    }
    return VARVE_OK;
}

static enum varve_err
posix_allocate(struct file *f, uint64_t off, uint64_t len, struct varve_error *err)
{
    struct posix_file *pf = of(f);

    if (off > INT64_MAX || len > (uint64_t)INT64_MAX - off) {
        return offset_error(pf, off, 0, err);
    }
    while (fallocate(pf->fd, 0, (off_t)off, (off_t)len) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS) {
            return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                                   "the file system of '%s' does not take space before it is "
                                   "written",
                                   pf->path);
        }
        if (errno != EINTR) {
            return varve_error_errno(err, errno, "taking space for '%s'", pf->path);
        }
    }
    return VARVE_OK;
}

/* copy_file_range(2).  An end of the source is left to whoever reads it, to be told from where. */
static enum varve_err
posix_copy(struct file *from, uint64_t from_off, struct file *to, uint64_t to_off, uint64_t len,
           struct varve_error *err)
{
    struct posix_file *in = of(from);
    struct posix_file *out = of(to);
    off_t at = (off_t)from_off;
    off_t place = (off_t)to_off;

    if (from_off > INT64_MAX - len || to_off > INT64_MAX - len) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%" PRIu64 " bytes beyond any file", len);
    }
    while (len > 0) {
        ssize_t n =
            copy_file_range(in->fd, &at, out->fd, &place, len < IO_MAX ? (size_t)len : IO_MAX, 0);

        if (n > 0) {
            len -= (uint64_t)n;
        } else if (n == 0 || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
                   errno == ENOSYS || errno == EPERM || errno == EIO) {
            return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                                   "'%s' is not copied to '%s' by the "
                                   "system",
                                   in->path, out->path);
        } else if (errno != EINTR) {
            return varve_error_errno(err, errno, "copying '%s' to '%s'", in->path, out->path);
        }
    }
    return VARVE_OK;
}

static enum varve_err
posix_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    struct stat st;

    (void)fs;
    if (stat(path, &st) != 0) {
        return varve_error_errno(err, errno, "looking at '%s'", path);
    }
    stat_from(out, &st);
    return VARVE_OK;
}

static enum varve_err
posix_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return VARVE_OK;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return varve_error_errno(err, errno, "renaming '%s' to '%s'", from, to);
    }
    if (link(from, to) != 0) {
        return varve_error_errno(err, errno, "renaming '%s' to '%s' (by a second link)", from, to);
    }
    if (unlink(from) != 0) {
        return varve_error_errno(err, errno, "removing '%s' after linking it to '%s'", from, to);
    }
    return VARVE_OK;
}

static enum varve_err
posix_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    if (rename(from, to) != 0) {
        return varve_error_errno(err, errno, "renaming '%s' to '%s'", from, to);
    }
    return VARVE_OK;
}

static enum varve_err
posix_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    if (remove(path) != 0) { /* unlink(2), or rmdir(2) for a folder */
        return varve_error_errno(err, errno, "removing '%s'", path);
    }
    return VARVE_OK;
}

static enum varve_err
posix_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    if (mkdir(path, 0700) != 0) {
        return varve_error_errno(err, errno, "making folder '%s'", path);
    }
    return VARVE_OK;
}

static enum varve_err
sync_by(int (*call)(int fd), const char *path, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return varve_error_errno(err, errno, "opening folder '%s' to sync it", path);
    }
    while (call(fd) != 0) {
        if (errno != EINTR) {
            rc = varve_error_errno(err, errno, "syncing folder '%s'", path);
            break;
        }
    }
    (void)close(fd);
    return rc;
}

static enum varve_err
posix_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return sync_by(fsync, path, err);
}

static enum varve_err
posix_sync_dirs(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return sync_by(syncfs, path, err);
}

/* A symbolic link is not a folder here, so that a walk cannot leave its tree or run in a circle. */
static bool
entry_is_dir(DIR *dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static enum varve_err
posix_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
           void *arg, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct dirent *entry;
    DIR *dir;

    (void)fs;
    dir = opendir(path);
    if (dir == NULL) {
        return varve_error_errno(err, errno, "listing folder '%s'", path);
    }
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) {
                rc = varve_error_errno(err, errno, "listing folder '%s'", path);
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!cb(arg, entry->d_name, entry_is_dir(dir, entry))) {
            break;
        }
    }
    (void)closedir(dir);
    return rc;
}

static enum varve_err
posix_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    struct statvfs st;

    (void)fs;
    if (statvfs(path, &st) != 0) {
        return varve_error_errno(err, errno, "asking for the free space of '%s'", path);
    }
    *out = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
    return VARVE_OK;
}

static const struct fs_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .fstat = posix_fstat,
    .hole = posix_hole,
    .allocate = posix_allocate,
    .copy = posix_copy,
    .stat = posix_stat,
    .rename_new = posix_rename_new,
    .rename_over = posix_rename_over,
    .remove = posix_remove,
    .mkdir = posix_mkdir,
    .sync_dir = posix_sync_dir,
    .sync_dirs = posix_sync_dirs,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
};

struct fs *
fs_system(void)
{
    static struct fs system = {&posix_ops};

    return &system;
}
