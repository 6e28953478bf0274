/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file_fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/file_mem.h"
#include "os/thread.h"

#define OP_COUNT 13

struct fault_fs {
    struct fs base;
    struct fs *inner; /* constant */

    struct mutex lock; /* what follows; not held while inner is called */
    bool has_rule;
    struct fault_rule rule;
    char *path_part; /* rule.path_part */
    uint64_t matched;
    uint64_t hits;
    bool cut;
    void (*on_cut)(void *arg); /* may be NULL */
    void *on_cut_arg;
    uint64_t calls[OP_COUNT];
};

struct fault_file {
    struct file base;
    struct fault_fs *ff;
    struct file *inner;
    char *path;
};

static const struct fs_ops fault_ops;

static struct fault_fs *
of_fs(struct fs *fs)
{
    return (struct fault_fs *)fs;
}

static struct fault_file *
of(struct file *f)
{
    return (struct fault_file *)f;
}

enum varve_err
fault_fs_new(struct fault_fs **out, struct fs *inner, struct varve_error *err)
{
    struct fault_fs *ff = calloc(1, sizeof(*ff));

    if (ff == NULL) {
        return varve_error_nomem(err);
    }
    ff->base.ops = &fault_ops;
    ff->inner = inner;
    mutex_init(&ff->lock);
    *out = ff;
    return VARVE_OK;
}

void
fault_fs_free(struct fault_fs *ff)
{
    if (ff == NULL) {
        return;
    }
    mutex_destroy(&ff->lock);
    free(ff->path_part);
    free(ff);
}

struct fs *
fault_fs(struct fault_fs *ff)
{
    return &ff->base;
}

/* Takes path_part. */
static void
set_rule(struct fault_fs *ff, const struct fault_rule *rule, char *path_part)
{
    mutex_lock(&ff->lock);
    free(ff->path_part);
    ff->path_part = path_part;
    ff->has_rule = rule != NULL;
    if (rule != NULL) {
        ff->rule = *rule;
        ff->rule.path_part = path_part;
    }
    ff->matched = 0;
    ff->hits = 0;
    ff->cut = false;
    mutex_unlock(&ff->lock);
}

enum varve_err
fault_fs_set(struct fault_fs *ff, const struct fault_rule *rule, struct varve_error *err)
{
    char *path_part = NULL;

    if (rule != NULL && rule->path_part != NULL) {
        path_part = strdup(rule->path_part);
        if (path_part == NULL) {
            return varve_error_nomem(err);
        }
    }
    set_rule(ff, rule, path_part);
    return VARVE_OK;
}

void
fault_fs_cut_at(struct fault_fs *ff, uint64_t nth)
{
    const struct fault_rule rule = {.ops = FAULT_CHANGES, .nth = nth, .action = FAULT_CUT};

    set_rule(ff, &rule, NULL);
}

void
fault_fs_on_cut(struct fault_fs *ff, void (*cb)(void *arg), void *arg)
{
    mutex_lock(&ff->lock);
    ff->on_cut = cb;
    ff->on_cut_arg = arg;
    mutex_unlock(&ff->lock);
}

uint64_t
fault_fs_hits(struct fault_fs *ff)
{
    uint64_t hits;

    mutex_lock(&ff->lock);
    hits = ff->hits;
    mutex_unlock(&ff->lock);
    return hits;
}

bool
fault_fs_is_cut(struct fault_fs *ff)
{
    bool cut;

    mutex_lock(&ff->lock);
    cut = ff->cut;
    mutex_unlock(&ff->lock);
    return cut;
}

uint64_t
fault_fs_calls(struct fault_fs *ff, unsigned ops)
{
    uint64_t sum = 0;

    mutex_lock(&ff->lock);
    for (unsigned i = 0; i < OP_COUNT; i++) {
        sum += (ops & (1u << i)) != 0 ? ff->calls[i] : 0;
    }
    mutex_unlock(&ff->lock);
    return sum;
}

void
fault_fs_reset_counts(struct fault_fs *ff)
{
    mutex_lock(&ff->lock);
    memset(ff->calls, 0, sizeof(ff->calls));
    mutex_unlock(&ff->lock);
}

/* ---- deciding ---- */

/* What becomes of one call. */
struct verdict {
    bool call; /* inner is called */
    bool half; /* a write: with the first half */
    int fail;  /* then the call fails with this; 0: it gives what inner gave */
};

static bool
matches(const struct fault_fs *ff, enum fault_op op, const char *path, const char *other)
{
    if (!ff->has_rule || (ff->rule.ops & (unsigned)op) == 0) {
        return false;
    }
    return ff->path_part == NULL || strstr(path, ff->path_part) != NULL ||
           (other != NULL && strstr(other, ff->path_part) != NULL);
}

static struct verdict
spoil_locked(struct fault_fs *ff, enum fault_op op)
{
    bool sync = op == FAULT_SYNC || op == FAULT_SYNC_DIR;
    int errnum = ff->rule.errnum == 0 ? EIO : ff->rule.errnum;

    ff->hits++;
    switch (ff->rule.action) {
    case FAULT_FAIL:
        return (struct verdict){false, false, errnum};
    case FAULT_FAIL_AFTER:
        return (struct verdict){true, op == FAULT_WRITE, errnum};
    case FAULT_CUT:
        break;
    }
    if (!ff->cut && ff->on_cut != NULL) {
        ff->on_cut(ff->on_cut_arg);
    }
    ff->cut = true;
    return (struct verdict){!sync, false, EIO};
}

/* other is the second name of a rename, else NULL. */
static struct verdict
decide(struct fault_fs *ff, enum fault_op op, const char *path, const char *other)
{
    struct verdict v = {true, false, 0};

    mutex_lock(&ff->lock);
    for (unsigned i = 0; i < OP_COUNT; i++) {
        ff->calls[i] += (unsigned)op == 1u << i ? 1 : 0;
    }
    if (ff->cut) {
        ff->hits++;
        v = (struct verdict){false, false, EIO};
    } else if (matches(ff, op, path, other)) {
        ff->matched++;
        if (ff->matched >= ff->rule.nth &&
            (ff->rule.times == 0 || ff->matched - ff->rule.nth < ff->rule.times)) {
            v = spoil_locked(ff, op);
        }
    }
    mutex_unlock(&ff->lock);
    return v;
}

static enum varve_err
injected(struct varve_error *err, const struct verdict *v, const char *what, const char *path)
{
    return varve_error_errno(err, v->fail, "%s '%s' (injected)", what, path);
}

/* ---- files ---- */

static enum varve_err
fault_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
           struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    bool create = mode == FILE_CREATE_NEW;
    struct verdict v = decide(ff, create ? FAULT_CREATE : FAULT_OPEN, path, NULL);
    struct fault_file *wrapper = NULL;
    enum varve_err rc = VARVE_OK;

    wrapper = calloc(1, sizeof(*wrapper));
    if (wrapper == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    wrapper->base.ops = &fault_ops;
    wrapper->ff = ff;
    wrapper->path = strdup(path);
    if (wrapper->path == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    if (v.call) {
        rc = file_open(ff->inner, &wrapper->inner, path, mode, err);
    }
    if (rc == VARVE_OK && v.fail != 0) {
        rc = injected(err, &v, create ? "creating" : "opening", path);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    *out = &wrapper->base;
    wrapper = NULL;
out:
    if (wrapper != NULL) {
        file_close(wrapper->inner);
        free(wrapper->path);
        free(wrapper);
    }
    return rc;
}

static void
fault_close(struct file *f)
{
    struct fault_file *file = of(f);

    file_close(file->inner);
    free(file->path);
    free(file);
}

static enum varve_err
fault_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got,
           struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_READ, file->path, NULL);

    if (v.fail != 0) {
        return injected(err, &v, "reading", file->path);
    }
    return file_read(file->inner, buf, len, off, got, err);
}

static enum varve_err
fault_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_WRITE, file->path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = file_write(file->inner, buf, v.half ? len / 2 : len, off, err);
    }
    return v.fail != 0 ? injected(err, &v, "writing", file->path) : rc;
}

static enum varve_err
fault_sync(struct file *f, struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_SYNC, file->path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = file_sync(file->inner, err);
    } else if (!fault_fs_is_cut(file->ff) && mem_fs_from(file->ff->inner) != NULL) {
        mem_file_forget_dirty(file->inner);
    }
    return v.fail != 0 ? injected(err, &v, "syncing", file->path) : rc;
}

static enum varve_err
fault_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_TRUNCATE, file->path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = file_truncate(file->inner, size, err);
    }
    return v.fail != 0 ? injected(err, &v, "setting the size of", file->path) : rc;
}

static enum varve_err
fault_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_STAT, file->path, NULL);

    return v.fail != 0 ? injected(err, &v, "looking at", file->path)
                       : file_fstat(file->inner, out, err);
}

/* Never wrong, so never spoiled. */
static enum varve_err
fault_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
           struct varve_error *err)
{
    return file_hole(of(f)->inner, off, max, hole, len, err);
}

static enum varve_err
fault_allocate(struct file *f, uint64_t off, uint64_t len, struct varve_error *err)
{
    struct fault_file *file = of(f);
    struct verdict v = decide(file->ff, FAULT_TRUNCATE, file->path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = file_allocate(file->inner, off, len, err);
    }
    return v.fail != 0 ? injected(err, &v, "taking space for", file->path) : rc;
}

/* ---- names ---- */

static enum varve_err
fault_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_STAT, path, NULL);

    return v.fail != 0 ? injected(err, &v, "looking at", path) : fs_stat(ff->inner, path, out, err);
}

static enum varve_err
fault_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_RENAME, from, to);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = fs_rename_new(ff->inner, from, to, err);
    }
    return v.fail != 0 ? injected(err, &v, "renaming to", to) : rc;
}

static enum varve_err
fault_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_RENAME, from, to);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = fs_rename_over(ff->inner, from, to, err);
    }
    return v.fail != 0 ? injected(err, &v, "renaming to", to) : rc;
}

static enum varve_err
fault_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_REMOVE, path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = fs_remove(ff->inner, path, err);
    }
    return v.fail != 0 ? injected(err, &v, "removing", path) : rc;
}

static enum varve_err
fault_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_MKDIR, path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = ff->inner->ops->mkdir(ff->inner, path, err); /* fs_mkdir() above us accepts EXISTS */
    }
    return v.fail != 0 ? injected(err, &v, "making folder", path) : rc;
}

static enum varve_err
fault_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_SYNC_DIR, path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = fs_sync_dir(ff->inner, path, err);
    }
    return v.fail != 0 ? injected(err, &v, "syncing folder", path) : rc;
}

static enum varve_err
fault_sync_dirs(struct fs *fs, const char *path, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_SYNC_DIR, path, NULL);
    enum varve_err rc = VARVE_OK;

    if (v.call) {
        rc = fs_sync_dirs(ff->inner, path, err);
    }
    return v.fail != 0 ? injected(err, &v, "syncing the folders of", path) : rc;
}

static enum varve_err
fault_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
           void *arg, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_LIST, path, NULL);

    return v.fail != 0 ? injected(err, &v, "listing folder", path)
                       : fs_list(ff->inner, path, cb, arg, err);
}

static enum varve_err
fault_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    struct fault_fs *ff = of_fs(fs);
    struct verdict v = decide(ff, FAULT_FREE_BYTES, path, NULL);

    return v.fail != 0 ? injected(err, &v, "asking for the free space of", path)
                       : fs_free_bytes(ff->inner, path, out, err);
}

static const struct fs_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .fstat = fault_fstat,
    .hole = fault_hole,
    .allocate = fault_allocate,
    .stat = fault_stat,
    .rename_new = fault_rename_new,
    .rename_over = fault_rename_over,
    .remove = fault_remove,
    .mkdir = fault_mkdir,
    .sync_dir = fault_sync_dir,
    .sync_dirs = fault_sync_dirs,
    .list = fault_list,
    .free_bytes = fault_free_bytes,
};
