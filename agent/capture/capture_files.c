/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/capture.h"

/* Which of a vm's configuration files a point keeps: all that fit.  The others are named to whoever watches the run. */

static void
leave_out(struct capture_files *f, const char *name, const char *why)
{
    log_warn("capture", "left out of the point: '%s': %s", name, why);
    notes_add(&f->left_out, "configuration file '%.80s' is not in this point: %.100s", name, why);
}

/* Takes data. */
static enum varve_err
add(struct capture_files *f, const char *name, uint8_t *data, size_t len, struct varve_error *err)
{
    struct capture_file *file;
    char *copy = NULL;

    if (f->count == CAPTURE_FILES_MAX || len > CAPTURE_FILES_BYTES_MAX - f->bytes) {
        leave_out(f, name, f->count == CAPTURE_FILES_MAX ? "there are too many" : "too large");
        free(data);
        return VARVE_OK;
    }
    if (f->items == NULL) {
        f->items = calloc(CAPTURE_FILES_MAX, sizeof(*f->items));
    }
    copy = strdup(name);
    if (f->items == NULL || copy == NULL) {
        free(copy);
        free(data);
        return varve_error_nomem(err);
    }
    file = &f->items[f->count++];
    file->name = copy;
    file->data = data;
    file->len = len;
    f->bytes += len;
    return VARVE_OK;
}

enum varve_err
capture_files_add(struct capture_files *f, const char *name, const void *data, size_t len,
                  struct varve_error *err)
{
    uint8_t *copy = NULL;

    if (len > CAPTURE_FILE_MAX) {
        leave_out(f, name, "too large");
        return VARVE_OK;
    }
    copy = malloc(len + 1);
    if (copy == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(copy, data, len);
    return add(f, name, copy, len, err);
}

enum varve_err
capture_files_read(struct capture_files *f, struct fs *host_fs, const char *path,
                   struct varve_error *err)
{
    const char *name = path + strlen(path);
    uint8_t *data = NULL;
    size_t len = 0;
    enum varve_err rc = fs_read_all(host_fs, path, CAPTURE_FILE_MAX, &data, &len, err);

    while (name > path && name[-1] != '/' && name[-1] != '\\') {
        name--;
    }
    if (rc == VARVE_ERR_LIMIT) { /* saved memory */
        leave_out(f, name, "too large");
        return VARVE_OK;
    }
    return rc == VARVE_OK ? add(f, name, data, len, err) : rc;
}
