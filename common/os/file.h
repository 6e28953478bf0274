/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_FILE_H
#define VARVE_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Files.  Everything that must survive a power cut goes through a struct fs, an interface with three
 * members: fs_system() (the machine's file system), mem_fs() (file_mem.h: in memory, forgets what
 * was not synced when its power is cut) and fault_fs() (file_fault.h: a wrapper that fails the n-th
 * call).  file_contract_test.c runs the same cases over all of them.  Paths are UTF-8 with '/'.
 *
 * What is promised about durability: bytes written to a file survive a power cut once file_sync()
 * of that file has returned VARVE_OK; a name created, renamed or removed survives once fs_sync_dir()
 * of its folder has.  Nothing else is promised in any order.
 *
 * Threads: one struct file may be read and written by many threads at once at different offsets
 * (positioned calls only, there is no file pointer); close when nobody uses it any more.
 */
struct fs;
struct file;

enum file_mode {
    FILE_READ,       /* must exist */
    FILE_READ_WRITE, /* must exist */
    FILE_CREATE_NEW  /* must not exist (VARVE_ERR_EXISTS); read and write; mode 0600 */
};

struct file_stat {
    uint64_t size;
    int64_t mtime_us;
    uint64_t inode; /* with device: identity of the file, for cycle checks */
    uint64_t device;
    bool is_dir;
    bool is_regular;
    bool is_private; /* nobody but the owner may use it (mode & 077 is 0) */
};

struct fs_ops {
    enum varve_err (*open)(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
                           struct varve_error *err);
    void (*close)(struct file *f);
    /* Reads up to len bytes at off; *got < len only at the end of the file. */
    enum varve_err (*read)(struct file *f, void *buf, size_t len, uint64_t off, size_t *got,
                           struct varve_error *err);
    enum varve_err (*write)(struct file *f, const void *buf, size_t len, uint64_t off,
                            struct varve_error *err); /* all of it or an error */
    enum varve_err (*sync)(struct file *f, struct varve_error *err);
    enum varve_err (*truncate)(struct file *f, uint64_t size, struct varve_error *err);
    enum varve_err (*fstat)(struct file *f, struct file_stat *out, struct varve_error *err);
    /* NULL: this file system knows of no holes.  See file_hole(). */
    enum varve_err (*hole)(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
                           struct varve_error *err);
    /* NULL: it cannot.  See file_allocate(). */
    enum varve_err (*allocate)(struct file *f, uint64_t off, uint64_t len, struct varve_error *err);
    /* NULL: it cannot.  See file_copy(). */
    enum varve_err (*copy)(struct file *from, uint64_t from_off, struct file *to, uint64_t to_off,
                           uint64_t len, struct varve_error *err);

    enum varve_err (*stat)(struct fs *fs, const char *path, struct file_stat *out,
                           struct varve_error *err);
    /* Fails with VARVE_ERR_EXISTS when `to` is there. */
    enum varve_err (*rename_new)(struct fs *fs, const char *from, const char *to,
                                 struct varve_error *err);
    enum varve_err (*rename_over)(struct fs *fs, const char *from, const char *to,
                                  struct varve_error *err);
    enum varve_err (*remove)(struct fs *fs, const char *path, struct varve_error *err);
    enum varve_err (*mkdir)(struct fs *fs, const char *path, struct varve_error *err); /* 0700 */
    enum varve_err (*sync_dir)(struct fs *fs, const char *path, struct varve_error *err);
    /* NULL: it cannot.  See fs_sync_dirs(). */
    enum varve_err (*sync_dirs)(struct fs *fs, const char *path, struct varve_error *err);
    /* Calls cb for each entry but "." and "..", in no order; a false from cb ends the walk. */
    enum varve_err (*list)(struct fs *fs, const char *path,
                           bool (*cb)(void *arg, const char *name, bool is_dir), void *arg,
                           struct varve_error *err);
    enum varve_err (*free_bytes)(struct fs *fs, const char *path, uint64_t *out,
                                 struct varve_error *err);
};

struct fs {
    const struct fs_ops *ops;
};

struct file {
    const struct fs_ops *ops;
};

struct fs *fs_system(void);

/* How an operator makes a file of this system private, for messages. */
extern const char *const file_private_hint;

/* Thin calls over the table; errors name the path. */
VARVE_CHECK enum varve_err file_open(struct fs *fs, struct file **out, const char *path,
                                     enum file_mode mode, struct varve_error *err);
void file_close(struct file *f); /* NULL is fine */
VARVE_CHECK enum varve_err file_read(struct file *f, void *buf, size_t len, uint64_t off,
                                     size_t *got, struct varve_error *err);
/* Fewer than len bytes is VARVE_ERR_CORRUPT ("ends at ..."). */
VARVE_CHECK enum varve_err file_read_exact(struct file *f, void *buf, size_t len, uint64_t off,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err file_write(struct file *f, const void *buf, size_t len, uint64_t off,
                                      struct varve_error *err);
VARVE_CHECK enum varve_err file_sync(struct file *f, struct varve_error *err);
VARVE_CHECK enum varve_err file_truncate(struct file *f, uint64_t size, struct varve_error *err);
VARVE_CHECK enum varve_err file_fstat(struct file *f, struct file_stat *out,
                                      struct varve_error *err);
/* What stands at off, and for how long (1 to max bytes): a hole, which reads as zeros, or anything
 * else.  A file system that does not know, and whatever is past the end, says anything else. */
VARVE_CHECK enum varve_err file_hole(struct file *f, uint64_t off, uint64_t max, bool *hole,
                                     uint64_t *len, struct varve_error *err);
/* Takes the space of [off, off + len) now: the file grows to it, reads as zeros where nothing was
 * written, and is not sparse there.  VARVE_ERR_UNSUPPORTED where that cannot be had; a full disk is
 * VARVE_ERR_NOSPACE. */
VARVE_CHECK enum varve_err file_allocate(struct file *f, uint64_t off, uint64_t len,
                                         struct varve_error *err);
/* Copies bytes from file to file without passing them through us; both are of one struct fs.
 * VARVE_ERR_UNSUPPORTED where that cannot be had (then read and write): part of it may be done. */
VARVE_CHECK enum varve_err file_copy(struct file *from, uint64_t from_off, struct file *to,
                                     uint64_t to_off, uint64_t len, struct varve_error *err);
VARVE_CHECK enum varve_err fs_stat(struct fs *fs, const char *path, struct file_stat *out,
                                   struct varve_error *err);
VARVE_CHECK enum varve_err fs_rename_new(struct fs *fs, const char *from, const char *to,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err fs_rename_over(struct fs *fs, const char *from, const char *to,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err fs_remove(struct fs *fs, const char *path, struct varve_error *err);
/* An existing folder is fine. */
VARVE_CHECK enum varve_err fs_mkdir(struct fs *fs, const char *path, struct varve_error *err);
/* As fs_mkdir(), and once it has returned VARVE_OK the folder survives a power cut if the one above it does: what is
 * made durable in it relies on that.  Synced also when it is there: the call that made it may have been cut off. */
VARVE_CHECK enum varve_err fs_mkdir_durable(struct fs *fs, const char *path,
                                            struct varve_error *err);
/* That for all folders of path that are missing, and for the last one that is not. */
VARVE_CHECK enum varve_err fs_mkdir_parents(struct fs *fs, const char *path,
                                            struct varve_error *err);
VARVE_CHECK enum varve_err fs_sync_dir(struct fs *fs, const char *path, struct varve_error *err);
/* As fs_sync_dir() of every folder on the file system on which path is, in one call: for many of them.  Writes out
 * whatever else is dirty there.  VARVE_ERR_UNSUPPORTED where that cannot be had. */
VARVE_CHECK enum varve_err fs_sync_dirs(struct fs *fs, const char *path, struct varve_error *err);
VARVE_CHECK enum varve_err fs_list(struct fs *fs, const char *path,
                                   bool (*cb)(void *arg, const char *name, bool is_dir), void *arg,
                                   struct varve_error *err);
VARVE_CHECK enum varve_err fs_free_bytes(struct fs *fs, const char *path, uint64_t *out,
                                         struct varve_error *err);

/* The whole file into fresh memory (caller frees); larger than limit is VARVE_ERR_LIMIT. */
VARVE_CHECK enum varve_err fs_read_all(struct fs *fs, const char *path, size_t limit, uint8_t **out,
                                       size_t *out_len, struct varve_error *err);
/* Writes path.tmp, syncs it, renames it over path (or, with create_only, only if path is not there:
 * VARVE_ERR_EXISTS), syncs the folder.  After a crash path is the old or the new content, whole.
 * One writer per path at a time. */
VARVE_CHECK enum varve_err fs_write_durable(struct fs *fs, const char *path, const void *buf,
                                            size_t len, bool create_only, struct varve_error *err);

#endif
