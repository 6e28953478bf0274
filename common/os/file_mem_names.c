/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/file_mem_internal.h"

/* The names of a mem_fs: paths, folders, and the changes that a sync makes durable. */

static struct mem_fs *
of_fs(struct fs *fs)
{
    return (struct mem_fs *)fs;
}

/* ---- paths ---- */

/* The next part of *path, which moves behind it; 0 at the end. */
static size_t
next_part(const char **path, const char **part)
{
    size_t len;

    do {
        while (**path == '/') {
            (*path)++;
        }
        *part = *path;
        len = strcspn(*path, "/");
        *path += len;
    } while (len == 1 && (*part)[0] == '.');
    return len;
}

/*
 * Follows path.  Gives 0 and the inode, or an errno.  With dir and name: stops before the last part
 * and gives its folder and its start in path; *out is then NULL when the name is not there, and that
 * is no error.
 */
static int
walk_locked(struct mem_fs *m, const char *path, struct mem_inode **out, struct mem_inode **dir,
            const char **name, size_t *name_len)
{
    struct mem_inode *at = m->root;
    struct mem_inode *above = NULL;
    const char *last = NULL;
    size_t last_len = 0;
    const char *part;
    size_t len;

    while ((len = next_part(&path, &part)) > 0) {
        if (at == NULL) {
            return ENOENT;
        }
        if (!at->is_dir) {
            return ENOTDIR;
        }
        if (len == 2 && memcmp(part, "..", 2) == 0) {
            return EINVAL;
        }
        above = at;
        last = part;
        last_len = len;
        at = mem_dir_find(&at->current_dir, part, len);
    }
    *out = at;
    if (dir == NULL) {
        return at == NULL ? ENOENT : 0;
    }
    if (above == NULL) {
        return EBUSY; /* the root itself */
    }
    *dir = above;
    *name = last;
    *name_len = last_len;
    return 0;
}

/* ---- changes of names ---- */

struct target {
    struct mem_inode *dir;
    const char *name;
    size_t len;
    struct mem_inode *inode; /* NULL: not there */
};

static int
find_target(struct mem_fs *m, const char *path, struct target *t)
{
    return walk_locked(m, path, &t->inode, &t->dir, &t->name, &t->len);
}

static bool
slot_set(struct mem_slot *slot, const struct target *t, struct mem_inode *after)
{
    slot->name = calloc(1, t->len + 1);
    if (slot->name == NULL) {
        return false;
    }
    memcpy(slot->name, t->name, t->len);
    slot->dir = t->dir;
    slot->after = after;
    return true;
}

/* a leads to a_after from now on and, where b is given, b to b_after; both in one change. */
static int
change_locked(struct mem_fs *m, const struct target *a, struct mem_inode *a_after,
              const struct target *b, struct mem_inode *b_after)
{
    struct mem_change *c = calloc(1, sizeof(*c));

    if (c == NULL || !slot_set(&c->slots[0], a, a_after) ||
        (b != NULL && !slot_set(&c->slots[1], b, b_after))) {
        goto nomem;
    }
    c->moves_dir = b != NULL && a_after != NULL && a_after->is_dir;
    for (size_t i = 0; i < 2; i++) {
        struct mem_slot *slot = &c->slots[i];
        struct mem_inode *before;

        if (slot->dir == NULL) {
            continue;
        }
        before = mem_dir_find(&slot->dir->current_dir, slot->name, strlen(slot->name));
        if (!mem_dir_set(&slot->dir->current_dir, slot->name, slot->after)) {
            goto nomem; /* only the first slot can need memory: the second replaces or follows it */
        }
        slot->dir->mtime_us = time_now_us();
        if (slot->after != NULL) {
            slot->after->names++;
        }
        if (before != NULL) {
            before->names--;
            mem_inode_settle(m, before);
        }
    }
    *m->changes_tail = c;
    m->changes_tail = &c->next;
    return 0;
nomem:
    if (c != NULL) {
        mem_change_free(c);
    }
    return ENOMEM;
}

int
mem_open_locked(struct mem_fs *m, const char *path, enum file_mode mode, struct mem_inode **out)
{
    struct mem_inode *made;
    struct target t;
    int rc;

    if (mode != FILE_CREATE_NEW) {
        rc = walk_locked(m, path, out, NULL, NULL, NULL);
        if (rc == 0 && (*out)->is_dir && mode == FILE_READ_WRITE) {
            rc = EISDIR;
        }
        return rc;
    }
    rc = find_target(m, path, &t);
    if (rc != 0) {
        return rc;
    }
    if (t.inode != NULL) {
        return EEXIST;
    }
    made = mem_inode_new(m, false);
    if (made == NULL) {
        return ENOMEM;
    }
    *out = made;
    return change_locked(m, &t, made, NULL, NULL);
}

void
mem_stat_locked(const struct mem_inode *inode, struct file_stat *out)
{
    out->size = inode->current_size;
    out->mtime_us = inode->mtime_us;
    out->inode = inode->number;
    out->device = UINT64_C(0x6D656D);
    out->is_dir = inode->is_dir;
    out->is_regular = !inode->is_dir;
    out->is_private = true;
}

/* ---- names ---- */

enum varve_err
mem_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_inode *inode;
    int rc;

    mutex_lock(&m->lock);
    rc = walk_locked(m, path, &inode, NULL, NULL, NULL);
    if (rc == 0) {
        mem_stat_locked(inode, out);
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "looking at '%s'", path);
}

static bool
contains(const struct mem_inode *dir, const struct mem_inode *inode)
{
    if (dir == inode) {
        return true;
    }
    for (size_t i = 0; i < dir->current_dir.count; i++) {
        const struct mem_inode *child = dir->current_dir.entries[i].inode;

        if (child->is_dir && contains(child, inode)) {
            return true;
        }
    }
    return false;
}

/* The rules of rename(2). */
static int
rename_locked(struct mem_fs *m, const char *from, const char *to, bool replace)
{
    struct target a;
    struct target b;
    int rc;

    rc = find_target(m, from, &a);
    if (rc != 0) {
        return rc;
    }
    if (a.inode == NULL) {
        return ENOENT;
    }
    rc = find_target(m, to, &b);
    if (rc != 0) {
        return rc;
    }
    if (b.inode != NULL && !replace) {
        return EEXIST;
    }
    if (a.inode == b.inode) {
        return 0;
    }
    if (a.inode->is_dir && contains(a.inode, b.dir)) {
        return EINVAL;
    }
    if (b.inode != NULL && b.inode->is_dir && !a.inode->is_dir) {
        return EISDIR;
    }
    if (b.inode != NULL && !b.inode->is_dir && a.inode->is_dir) {
        return ENOTDIR;
    }
    if (b.inode != NULL && b.inode->is_dir && b.inode->current_dir.count > 0) {
        return ENOTEMPTY;
    }
    return change_locked(m, &b, a.inode, &a, NULL);
}

static enum varve_err
rename_any(struct fs *fs, const char *from, const char *to, bool replace, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    int rc;

    mutex_lock(&m->lock);
    rc = rename_locked(m, from, to, replace);
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "renaming '%s' to '%s'", from, to);
}

enum varve_err
mem_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    return rename_any(fs, from, to, false, err);
}

enum varve_err
mem_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    return rename_any(fs, from, to, true, err);
}

enum varve_err
mem_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct target t;
    int rc;

    mutex_lock(&m->lock);
    rc = find_target(m, path, &t);
    if (rc == 0 && t.inode == NULL) {
        rc = ENOENT;
    } else if (rc == 0 && t.inode->current_dir.count > 0) {
        rc = ENOTEMPTY;
    }
    if (rc == 0) {
        rc = change_locked(m, &t, NULL, NULL, NULL);
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "removing '%s'", path);
}

enum varve_err
mem_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_inode *made;
    struct target t;
    int rc;

    mutex_lock(&m->lock);
    rc = find_target(m, path, &t);
    if (rc == EBUSY || (rc == 0 && t.inode != NULL)) {
        rc = EEXIST;
    }
    if (rc == 0) {
        made = mem_inode_new(m, true);
        rc = made == NULL ? ENOMEM : change_locked(m, &t, made, NULL, NULL);
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "making folder '%s'", path);
}

static bool
touches(const struct mem_change *c, const struct mem_inode *dir)
{
    return c->slots[0].dir == dir || c->slots[1].dir == dir;
}

static void
commit_chosen_locked(struct mem_fs *m)
{
    struct mem_change **link = &m->changes;

    while (*link != NULL) {
        struct mem_change *c = *link;

        if (c->chosen) {
            *link = c->next;
            mem_change_commit(c);
        } else {
            link = &c->next;
        }
    }
    m->changes_tail = link;
}

/* Commits each change of dir and whatever those need. */
static void
sync_dir_locked(struct mem_fs *m, const struct mem_inode *dir)
{
    bool more = true;

    for (struct mem_change *c = m->changes; c != NULL; c = c->next) {
        c->chosen = touches(c, dir);
    }
    while (more) {
        more = false;
        for (const struct mem_change *b = m->changes; b != NULL; b = b->next) {
            for (struct mem_change *a = m->changes; a != b && b->chosen; a = a->next) {
                if (!a->chosen && mem_change_needs(b, a)) {
                    a->chosen = true;
                    more = true;
                }
            }
        }
    }
    commit_chosen_locked(m);
}

enum varve_err
mem_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_inode *dir;
    int rc;

    mutex_lock(&m->lock);
    rc = walk_locked(m, path, &dir, NULL, NULL, NULL);
    if (rc == 0 && !dir->is_dir) {
        rc = ENOTDIR;
    }
    if (rc == 0) {
        sync_dir_locked(m, dir);
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "syncing folder '%s'", path);
}

/* Names only: what is in files is as durable as before. */
enum varve_err
mem_sync_dirs(struct fs *fs, const char *path, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_inode *dir;
    int rc;

    mutex_lock(&m->lock);
    rc = walk_locked(m, path, &dir, NULL, NULL, NULL);
    for (struct mem_change *c = m->changes; rc == 0 && c != NULL; c = c->next) {
        c->chosen = true;
    }
    if (rc == 0) {
        commit_chosen_locked(m);
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK : varve_error_errno(err, rc, "syncing the folders of '%s'", path);
}

/* The callback may call back into this file system: it gets a copy, and no lock is held. */
enum varve_err
mem_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
         void *arg, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_dir copy = {0};
    struct mem_inode *dir;
    int rc;

    mutex_lock(&m->lock);
    rc = walk_locked(m, path, &dir, NULL, NULL, NULL);
    if (rc == 0 && !dir->is_dir) {
        rc = ENOTDIR;
    }
    for (size_t i = 0; rc == 0 && i < dir->current_dir.count; i++) {
        const struct mem_entry *e = &dir->current_dir.entries[i];

        rc = mem_dir_set(&copy, e->name, e->inode) ? 0 : ENOMEM;
    }
    mutex_unlock(&m->lock);
    if (rc != 0) {
        mem_dir_release(&copy);
        return varve_error_errno(err, rc, "listing folder '%s'", path);
    }
    /* is_dir never changes and inodes live as long as the file system: no lock is needed. */
    for (size_t i = 0; i < copy.count; i++) {
        if (!cb(arg, copy.entries[i].name, copy.entries[i].inode->is_dir)) {
            break;
        }
    }
    mem_dir_release(&copy);
    return VARVE_OK;
}

enum varve_err
mem_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    struct mem_fs *m = of_fs(fs);
    struct mem_inode *inode;
    int rc;

    mutex_lock(&m->lock);
    rc = walk_locked(m, path, &inode, NULL, NULL, NULL);
    if (rc == 0) {
        *out = m->capacity_pages > m->used_pages
                   ? (m->capacity_pages - m->used_pages) * MEM_PAGE_SIZE
                   : 0;
    }
    mutex_unlock(&m->lock);
    return rc == 0 ? VARVE_OK
                   : varve_error_errno(err, rc, "asking for the free space of '%s'", path);
}
