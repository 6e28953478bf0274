/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/image_internal.h"
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

static void
layer_file_close(struct layer_file *f)
{
    file_close(f->file);
    free(f->path);
    memset(f, 0, sizeof(*f));
}

void
layer_release(struct layer *l)
{
    unsigned i;

    for (i = 0; i < l->parent.path_count; i++) {
        free(l->parent.paths[i]);
    }
    layer_file_close(&l->f);
}

void
layer_free(struct layer *l)
{
    if (l != NULL) {
        l->ops->free(l);
    }
}

/* A broken VHDX must not become a raw disk of nonsense. */
static bool
may_be_raw(const char *path)
{
    static const char *const endings[] = {".vhdx", ".avhdx", ".vhd", ".avhd", ".vhds"};
    size_t i;

    for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (path_has_suffix(path, endings[i])) {
            return false;
        }
    }
    return true;
}

static enum varve_err
layer_file_open(struct layer_file *out, struct fs *fs, const char *path, struct varve_error *err)
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
    rc = file_open(fs, &f.file, path, FILE_READ, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_fstat(f.file, &st, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (!st.is_regular) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "not a regular file");
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

enum varve_err
layer_open(struct layer **out, struct fs *fs, const char *path, unsigned flags,
           struct varve_error *err)
{
    struct layer_file f;
    uint8_t start[8] = {0};
    size_t got = 0;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    rc = layer_file_open(&f, fs, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_read(f.file, start, sizeof(start), 0, &got, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (memcmp(start, VHDX_SIGNATURE, sizeof(start)) == 0) {
        rc = vhdx_layer_open(out, &f, err);
    } else if (vhd_has_footer(f.file, f.size)) {
        rc = vhd_layer_open(out, &f, err);
    } else if (!may_be_raw(path)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "neither the signature of a VHDX at offset 0 nor the footer of a VHD "
                             "at the end of %" PRIu64 " bytes",
                             f.size);
    } else if ((flags & IMAGE_ALLOW_RAW) != 0) {
        rc = raw_layer_open(out, &f, err);
    } else {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED, "neither VHDX nor VHD");
    }
out:
    layer_file_close(&f);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "disk '%s'", path);
}
