/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_DIR_INTERNAL_H
#define VARVE_STORE_STORE_DIR_INTERNAL_H

#include "os/file.h"
#include "os/thread.h"
#include "store/store.h"

/*
 * Open files kept for reading: objects are immutable, so an open file stays right until the object is
 * removed.  As many are kept beyond those in use as a quarter of what the process may have open, from
 * FILE_CACHE_MIN to FILE_CACHE_MAX: a new point stands in many packs, and its chunks come from one after
 * the other.  Threads: any.
 */
#define FILE_CACHE_MIN  64u
#define FILE_CACHE_MAX  1024u
#define FILE_CACHE_NONE UINT32_MAX

struct cached_file {
    char path[STORE_NAME_MAX + 1]; /* object name; "" = free, or forgotten while in use */
    uint64_t hash;
    struct file *file;
    unsigned users;
    uint32_t next;  /* with the same bucket */
    uint32_t older; /* by last use; the list has every slot */
    uint32_t newer;
};

struct file_cache {
    struct fs *fs;
    const char *root;
    struct mutex lock; /* everything below */
    struct cached_file *slots;
    uint32_t *buckets; /* first slot; as many as slots */
    uint32_t count;    /* power of two */
    uint32_t oldest;
    uint32_t newest;
};

/* Release in any case. */
VARVE_CHECK enum varve_err file_cache_init(struct file_cache *c, struct fs *fs, const char *root,
                                           struct varve_error *err);
void file_cache_release(struct file_cache *c);
VARVE_CHECK enum varve_err file_cache_read(struct file_cache *c, const char *name, uint64_t off,
                                           void *buf, size_t len, struct varve_error *err);
/* The object was removed. */
void file_cache_forget(struct file_cache *c, const char *name);

#define TMP_PREFIX   ".tmp-"
#define TMP_NAME_LEN (sizeof(TMP_PREFIX) - 1 + 16)

struct store_dir {
    struct store base;
    struct fs *fs;
    char *root;
    bool read_only;
    int lock_fd; /* -1: another struct fs than the system's */
    struct file_cache cache;

    struct mutex dirs_lock; /* dirs, dir_count, dir_cap */
    char **dirs;            /* folders known to be durable, sorted, relative to root */
    size_t dir_count;
    size_t dir_cap;
};

static inline struct store_dir *
store_dir_of(struct store *s)
{
    return (struct store_dir *)s;
}

/* "root/name"; the caller frees. */
char *store_dir_path(const struct store_dir *d, const char *name);

/* The member `list` of struct store_ops. */
enum varve_err store_dir_list(struct store *s, const char *prefix,
                              bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
                              struct varve_error *err);
/* Removes what puts of an earlier process left half done, and makes durable what they left whole.
 * Costs one look into each folder and 256 syncs at most, where fs_sync_dirs() can be had. */
VARVE_CHECK enum varve_err store_dir_clean(struct store_dir *d, struct varve_error *err);

/* Holds root/.lock against other processes until dir_lock_drop(). */
VARVE_CHECK enum varve_err dir_lock_take(int *out_fd, const char *root, struct varve_error *err);
void dir_lock_drop(int fd);

#endif
