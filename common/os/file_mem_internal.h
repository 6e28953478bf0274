/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_FILE_MEM_INTERNAL_H
#define VARVE_OS_FILE_MEM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/file_mem.h"
#include "os/thread.h"

/* ---- pages: sparse bytes (file_mem_pages.c) ---- */

#define MEM_PAGE_SIZE   4096u
#define MEM_GROUP_PAGES 512u

struct mem_page_group {
    uint8_t *page[MEM_GROUP_PAGES]; /* NULL: zeros */
};

struct mem_pages {
    struct mem_page_group **groups;
    size_t group_count;
    uint64_t page_count;
};

bool mem_pages_has(const struct mem_pages *p, uint64_t page);
void mem_pages_read(const struct mem_pages *p, uint64_t off, void *buf, size_t len);
/* False: no memory; some of the bytes may have been written. */
bool mem_pages_write(struct mem_pages *p, uint64_t off, const void *data, size_t len);
/* [from, to) reads as zero; whole pages are given back. */
void mem_pages_zero(struct mem_pages *p, uint64_t from, uint64_t to);
void mem_pages_release(struct mem_pages *p);

/* ---- state (guarded by mem_fs.lock) ---- */

/* One change of a file's content that no sync has made durable yet. */
struct mem_write {
    struct mem_write *next;
    uint64_t off;
    uint64_t len;
    uint8_t *data;       /* NULL: zeros (a truncation) */
    uint64_t size_after; /* of the file */
    bool changes_size;
    bool forgotten; /* a failed sync dropped it: the next one skips it */
};

struct mem_entry {
    char *name;
    struct mem_inode *inode;
};

struct mem_dir {
    struct mem_entry *entries;
    size_t count;
    size_t cap;
};

struct mem_inode {
    struct mem_inode *next; /* all of them, in mem_fs.inodes */
    uint64_t number;
    bool is_dir;
    int64_t mtime_us;
    unsigned names; /* entries of current folders that lead here */
    unsigned opens;

    /* A file: what programs see, and what the last sync made durable.  current is always
     * durable plus all of pending, in order.  Bytes beyond a size are zero. */
    struct mem_pages current;
    uint64_t current_size;
    struct mem_pages durable;
    uint64_t durable_size;
    struct mem_write *pending;
    struct mem_write **pending_tail;

    /* A folder, likewise; what lies between is in mem_fs.changes. */
    struct mem_dir current_dir;
    struct mem_dir durable_dir;
};

/* One change of one or two names (a rename has two) that no sync has made durable yet. */
struct mem_slot {
    struct mem_inode *dir; /* NULL: unused */
    char *name;
    struct mem_inode *after; /* what the name leads to then; NULL: nothing */
};

struct mem_change {
    struct mem_change *next;
    struct mem_slot slots[2];
    bool moves_dir;
    bool chosen; /* used while the list is walked */
};

struct mem_fs {
    struct fs base;
    struct mutex lock;
    struct mem_inode *root;
    struct mem_inode *inodes;
    struct mem_change *changes; /* in the order they happened */
    struct mem_change **changes_tail;
    uint64_t next_number;
    uint64_t capacity_pages;
    uint64_t used_pages;
    uint64_t generation; /* rises with each power cut; older files are dead */
};

/* ---- file_mem_state.c ---- */

struct mem_inode *mem_dir_find(const struct mem_dir *d, const char *name, size_t len);
/* inode NULL removes the entry.  False: no memory. */
bool mem_dir_set(struct mem_dir *d, const char *name, struct mem_inode *inode);
void mem_dir_release(struct mem_dir *d);

/* Gives back the current pages of a file that has no name and is not open. */
void mem_inode_settle(struct mem_fs *m, struct mem_inode *inode);
void mem_writes_free(struct mem_inode *inode);
/* Applies the slots to the durable folders and frees the change. */
void mem_change_commit(struct mem_change *c);
void mem_change_free(struct mem_change *c);
/* a is earlier than b: keeping b without a would reorder a name or break the tree. */
bool mem_change_needs(const struct mem_change *b, const struct mem_change *a);

/* ---- file_mem.c ---- */

/* NULL: no memory. */
struct mem_inode *mem_inode_new(struct mem_fs *m, bool is_dir);

/* ---- file_mem_names.c; the first two with the lock held, 0 or an errno ---- */

int mem_open_locked(struct mem_fs *m, const char *path, enum file_mode mode,
                    struct mem_inode **out);
void mem_stat_locked(const struct mem_inode *inode, struct file_stat *out);

enum varve_err mem_stat(struct fs *fs, const char *path, struct file_stat *out,
                        struct varve_error *err);
enum varve_err mem_rename_new(struct fs *fs, const char *from, const char *to,
                              struct varve_error *err);
enum varve_err mem_rename_over(struct fs *fs, const char *from, const char *to,
                               struct varve_error *err);
enum varve_err mem_remove(struct fs *fs, const char *path, struct varve_error *err);
enum varve_err mem_mkdir(struct fs *fs, const char *path, struct varve_error *err);
enum varve_err mem_sync_dirs(struct fs *fs, const char *path, struct varve_error *err);
enum varve_err mem_sync_dir(struct fs *fs, const char *path, struct varve_error *err);
enum varve_err mem_list(struct fs *fs, const char *path,
                        bool (*cb)(void *arg, const char *name, bool is_dir), void *arg,
                        struct varve_error *err);
enum varve_err mem_free_bytes(struct fs *fs, const char *path, uint64_t *out,
                              struct varve_error *err);

#endif
