/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/image_internal.h"
#include "vhdx/vhd_set.h"
#include "vhdx/vhdx_format.h"

enum varve_err
layer_read_plain(struct layer *l, void *buf, size_t len, uint64_t file_offset,
                 struct varve_error *err)
{
    return file_read_exact(l->f.file, buf, len, file_offset, err);
}

const struct guid *
layer_link_id(const struct layer *l)
{
    return l->info.format == IMAGE_VHDX ? &l->info.data_write_guid : &l->info.disk_id;
}

void
layer_file_close(struct layer_file *f)
{
    file_close(f->file);
    free(f->path);
    memset(f, 0, sizeof(*f));
}

void
layer_release(struct layer *l)
{
    parent_hint_release(&l->parent);
    layer_file_close(&l->f);
}

void
layer_free(struct layer *l)
{
    if (l != NULL) {
        l->ops->free(l);
    }
}

/*
 * The first bytes of a raw disk and of a fixed VHD were written by the guest, which must not choose
 * how its disk is read (nor that other files are opened as its parents).  So the name has a say: these
 * are raw whatever is in them, and a file named as a VHD is looked at as one first.
 */
static bool
is_named_raw(const char *path)
{
    return path_has_suffix(path, ".img") || path_has_suffix(path, ".raw");
}

static bool
is_named_vhd(const char *path)
{
    return path_has_suffix(path, ".vhd") || path_has_suffix(path, ".avhd");
}

/* A broken VHDX must not become a raw disk of nonsense. */
static bool
may_be_raw(const char *path)
{
    return !is_named_vhd(path) && !path_has_suffix(path, ".vhdx") &&
           !path_has_suffix(path, ".avhdx") && !path_has_suffix(path, ".vhds");
}

enum varve_err
layer_file_format(enum image_format *out, const struct layer_file *f, unsigned flags,
                  struct varve_error *err)
{
    uint8_t start[8] = {0};
    size_t got = 0;
    enum varve_err rc;

    rc = file_read(f->file, start, sizeof(start), 0, &got, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if ((flags & IMAGE_ALLOW_RAW) != 0 && is_named_raw(f->path)) {
        *out = IMAGE_RAW;
    } else if (is_named_vhd(f->path) && vhd_has_footer(f->file, f->size)) {
        *out = IMAGE_VHD;
    } else if (memcmp(start, VHDX_SIGNATURE, sizeof(start)) == 0) {
        *out = IMAGE_VHDX;
    } else if (vhd_has_footer(f->file, f->size)) {
        *out = IMAGE_VHD;
    } else if (!may_be_raw(f->path)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "neither the signature of a VHDX at offset 0 nor the footer of a "
                               "VHD at the end of %" PRIu64 " bytes",
                               f->size);
    } else if ((flags & IMAGE_ALLOW_RAW) != 0) {
        *out = IMAGE_RAW;
    } else {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "neither VHDX nor VHD");
    }
    return VARVE_OK;
}

static enum varve_err
open_one(struct layer_file *out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct layer_file f;
    struct file_stat st;
    size_t len = strlen(path) + 1;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    f.fs = fs;
    f.path = malloc(len);
    if (f.path == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(f.path, path, len);
    rc = fs_stat(fs, path, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (!st.is_regular) { /* opening a pipe would wait for its other end */
        rc = varve_error_set(err, VARVE_ERR_INVALID, "not a regular file");
        goto out;
    }
    rc = file_open(fs, &f.file, path, FILE_READ, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_fstat(f.file, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    f.size = st.size;
    f.device = st.device;
    f.inode = st.inode;
    *out = f;
    memset(&f, 0, sizeof(f));
out:
    layer_file_close(&f);
    return rc;
}

static enum varve_err
is_set(bool *out, const struct layer_file *f, struct varve_error *err)
{
    uint8_t start[8] = {0};
    size_t got = 0;
    enum varve_err rc;

    *out = false;
    if (!path_has_suffix(f->path, ".vhds")) {
        return VARVE_OK;
    }
    rc = file_read(f->file, start, sizeof(start), 0, &got, err);
    if (rc == VARVE_OK) {
        *out = memcmp(start, VHD_SET_SIGNATURE, sizeof(start)) == 0;
    }
    return rc;
}

enum varve_err
layer_file_open(struct layer_file *out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct layer_file set;
    char *name = NULL;
    char *folder = NULL;
    char *backing = NULL;
    bool found = false;
    enum varve_err rc;

    memset(&set, 0, sizeof(set));
    rc = open_one(&set, fs, path, err);
    if (rc == VARVE_OK) {
        rc = is_set(&found, &set, err);
    }
    if (rc != VARVE_OK || !found) {
        goto out;
    }
    rc = vhd_set_read(&name, set.file, set.size, err);
    if (rc == VARVE_OK) {
        rc = path_dirname(&folder, path, err);
    }
    if (rc == VARVE_OK) {
        rc = path_join(&backing, folder, name, err);
    }
    layer_file_close(&set);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = open_one(&set, fs, backing, err);
    if (rc != VARVE_OK) {
        (void)varve_error_prefix(err, "VHD set: its backing file '%s'", name);
    }
    set.in_set = true;
out:
    if (rc == VARVE_OK) {
        *out = set;
    } else {
        layer_file_close(&set);
    }
    free(name);
    free(folder);
    free(backing);
    return rc;
}

/* A file of one piece need not be asked again and again. */
static bool
has_holes(const struct layer_file *f)
{
    struct varve_error ignored;
    bool hole = false;
    uint64_t len = 0;

    return f->size > 0 && file_hole(f->file, 0, f->size, &hole, &len, &ignored) == VARVE_OK &&
           (hole || len < f->size);
}

enum varve_err
layer_open(struct layer **out, struct fs *fs, const char *path, unsigned flags,
           struct varve_error *err)
{
    struct layer_file f;
    enum image_format format = IMAGE_RAW;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    rc = layer_file_open(&f, fs, path, err);
    if (rc == VARVE_OK) {
        rc = layer_file_format(&format, &f, flags, err);
    }
    if (rc != VARVE_OK) {
        goto out;
    }
    switch (format) {
    case IMAGE_VHDX:
        rc = vhdx_layer_open(out, &f, err);
        break;
    case IMAGE_VHD:
        rc = vhd_layer_open(out, &f, err);
        break;
    case IMAGE_RAW:
        rc = raw_layer_open(out, &f, err);
        break;
    }
    if (rc == VARVE_OK) {
        (*out)->info.in_set = (*out)->f.in_set;
        (*out)->sparse = (*out)->overlay == 0 && has_holes(&(*out)->f);
    }
out:
    layer_file_close(&f);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "disk '%s'", path);
}
