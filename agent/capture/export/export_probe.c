/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/export/export_internal.h"

void
export_probe(struct refpoint_finding *out, struct fs *fs, const char *folder)
{
    struct varve_error err;
    struct file *f = NULL;
    uint64_t room = 0;
    char *path = capture_join(folder, "varve-doctor.tmp");
    enum varve_err rc = path != NULL ? VARVE_OK : varve_error_nomem(&err);

    if (rc == VARVE_OK) {
        rc = file_open(fs, &f, path, FILE_CREATE_NEW, &err);
    }
    file_close(f);
    if (rc == VARVE_OK) {
        rc = fs_remove(fs, path, &err);
    }
    if (rc == VARVE_OK) {
        rc = fs_free_bytes(fs, folder, &room, &err);
    }
    free(path);
    out->code = rc;
    if (rc == VARVE_OK) {
        (void)snprintf(out->text, sizeof(out->text),
                       "exports go to '%s', where %" PRIu64
                       " MiB are free; the host itself must be able to write there too",
                       folder, room / (1024 * 1024));
    } else {
        (void)snprintf(out->text, sizeof(out->text),
                       "exports cannot be written: %s; set 'export-folder' to a folder that this "
                       "host's computer account may write to",
                       err.msg);
    }
}
