/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "codec/lz4.h"
#include "job/job_internal.h"

/* The vm's configuration files as they travel in a Commit. */

/* Smaller ones travel, and are kept, as they are. */
#define PACK_FROM (64u * 1024)

/* *packed NULL: as it is. */
static enum varve_err
pack(const struct capture_file *f, uint8_t **packed, size_t *len, struct varve_error *err)
{
    uint8_t *shorter = NULL;

    *packed = malloc(f->len);
    if (*packed == NULL) {
        return varve_error_nomem(err);
    }
    *len = codec_lz4_pack(f->data, f->len, *packed, f->len);
    if (*len == 0) {
        free(*packed);
        *packed = NULL;
        *len = f->len;
        return VARVE_OK;
    }
    shorter = realloc(*packed, *len);
    if (shorter != NULL) {
        *packed = shorter;
    }
    return VARVE_OK;
}

enum varve_err
job_files_pack(struct job *j, const struct capture_files *files, struct job_files *out,
               struct varve_error *err)
{
    struct peer_limits limits;
    size_t room;
    size_t i;
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    j->peer->ops->get_limits(j->peer, &limits);
    room = limits.takes_packed ? PEER_FILES_BYTES_MAX : PEER_FILES_PLAIN_MAX;
    for (i = 0; i < files->left_out.count; i++) {
        notes_add(&j->notes, "%s", files->left_out.text[i]);
    }
    for (i = 0; rc == VARVE_OK && i < files->count; i++) {
        const struct capture_file *f = &files->items[i];
        uint8_t *packed = NULL;
        size_t len = f->len;

        if (limits.takes_packed && f->len >= PACK_FROM) {
            rc = pack(f, &packed, &len, err);
        }
        if (rc == VARVE_OK && len > room) {
            log_warn("job", "left out of the point: '%s' of %zu bytes", f->name, f->len);
            notes_add(&j->notes,
                      "configuration file '%.80s' is not in this point: %zu bytes are too many",
                      f->name, f->len);
            free(packed);
        } else if (rc == VARVE_OK) {
            out->packed[out->count] = packed;
            out->items[out->count++] = (struct peer_file){.name = f->name,
                                                          .data = packed != NULL ? packed : f->data,
                                                          .len = len,
                                                          .size = f->len};
            room -= len;
        }
    }
    if (rc != VARVE_OK) {
        job_files_release(out);
    }
    return rc;
}

void
job_files_release(struct job_files *f)
{
    size_t i;

    for (i = 0; i < f->count; i++) {
        free(f->packed[i]);
    }
    memset(f, 0, sizeof(*f));
}
