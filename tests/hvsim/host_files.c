/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/host_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"

struct host_file {
    struct file base;
    struct host_files *files;
    struct file *real;
    char suffix[16];
};

static struct file *
real(struct file *f)
{
    return ((struct host_file *)f)->real;
}

static enum varve_err
refuse(struct fs *fs, const char *path, struct varve_error *err)
{
    struct host_files *f = (struct host_files *)fs;

    port_script_violation(f->script, "'%.80s' of the host was to be changed", path);
    return varve_error_set(err, VARVE_ERR_DENIED, "'%s' is the host's", path);
}

static enum varve_err
host_open_file(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
               struct varve_error *err)
{
    struct host_files *files = (struct host_files *)fs;
    const char *dot = strrchr(path, '.');
    struct host_file *f;
    enum varve_err rc;

    if (mode != FILE_READ) {
        return refuse(fs, path, err);
    }
    f = sim_alloc(sizeof(*f));
    rc = file_open(fs_system(), &f->real, path, mode, err);
    if (rc != VARVE_OK) {
        free(f);
        return rc;
    }
    f->base.ops = fs->ops;
    f->files = files;
    (void)snprintf(f->suffix, sizeof(f->suffix), "%s", dot != NULL ? dot : "");
    port_script_note(files->script, "file open %s", f->suffix);
    *out = &f->base;
    return VARVE_OK;
}

static void
host_close_file(struct file *file)
{
    struct host_file *f = (struct host_file *)file;

    port_script_note(f->files->script, "file close %s", f->suffix);
    file_close(f->real);
    free(f);
}

static enum varve_err
host_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *err)
{
    return file_read(real(f), buf, len, off, got, err);
}

static enum varve_err
host_write(struct file *f, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    (void)buf;
    (void)len;
    (void)off;
    return refuse(&((struct host_file *)f)->files->base, "a file", err);
}

static enum varve_err
host_sync(struct file *f, struct varve_error *err)
{
    return refuse(&((struct host_file *)f)->files->base, "a file", err);
}

static enum varve_err
host_truncate(struct file *f, uint64_t size, struct varve_error *err)
{
    (void)size;
    return refuse(&((struct host_file *)f)->files->base, "a file", err);
}

static enum varve_err
host_fstat(struct file *f, struct file_stat *out, struct varve_error *err)
{
    return file_fstat(real(f), out, err);
}

static enum varve_err
host_hole(struct file *f, uint64_t off, uint64_t max, bool *hole, uint64_t *len,
          struct varve_error *err)
{
    return file_hole(real(f), off, max, hole, len, err);
}

static enum varve_err
host_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    (void)fs;
    return fs_stat(fs_system(), path, out, err);
}

static enum varve_err
host_rename(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)to;
    return refuse(fs, from, err);
}

static enum varve_err
host_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
          void *arg, struct varve_error *err)
{
    (void)fs;
    return fs_list(fs_system(), path, cb, arg, err);
}

static enum varve_err
host_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    return fs_free_bytes(fs_system(), path, out, err);
}

void
host_files_init(struct host_files *f, struct port_script *script)
{
    static const struct fs_ops ops = {
        .open = host_open_file,
        .close = host_close_file,
        .read = host_read,
        .write = host_write,
        .sync = host_sync,
        .truncate = host_truncate,
        .fstat = host_fstat,
        .hole = host_hole,
        .stat = host_stat,
        .rename_new = host_rename,
        .rename_over = host_rename,
        .remove = refuse,
        .mkdir = refuse,
        .sync_dir = refuse,
        .list = host_list,
        .free_bytes = host_free_bytes,
    };

    f->base.ops = &ops;
    f->script = script;
}
