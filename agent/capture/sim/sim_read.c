/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "capture/sim/sim_internal.h"

enum varve_err
sim_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk, const char *since,
            uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
            struct varve_error *err)
{
    const struct capture_frozen_disk *d = &frozen->disks[disk];
    const json_t *ranges = NULL;
    const json_t *range;
    json_t *reply = NULL;
    size_t i;
    enum varve_err rc;

    rc = sim_query((struct sim *)c, "changes.query",
                   json_pack("{s:s, s:s, s:I, s:I, s:i}", "path", d->path, "change_id", since,
                             "offset", (json_int_t)off, "length", (json_int_t)len, "max_ranges",
                             4096),
                   &reply, err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "ranges", 4096, &ranges, err);
    }
    if (rc == VARVE_OK) {
        rc = sim_get_u64(reply, "processed", processed, err);
    }
    if (rc == VARVE_OK) {
        json_array_foreach(ranges, i, range)
        {
            json_int_t at = json_integer_value(json_array_get(range, 0));
            json_int_t n = json_integer_value(json_array_get(range, 1));

            if (json_array_size(range) != 2 || at < 0 || n < 0 || n > INT64_MAX - at) {
                rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                                     "the host's answer to 'changes.query' has a bad range");
                break;
            }
            rc = extent_list_add(out, (uint64_t)at, (uint64_t)n, EXTENT_UNKNOWN, err);
            if (rc != VARVE_OK) {
                break;
            }
        }
    }
    json_decref(reply);
    return rc;
}

enum varve_err
sim_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
          struct varve_error *err)
{
    (void)c;
    (void)frozen;
    (void)disk;
    (void)err;
    return VARVE_OK; /* the host keeps the files of a checkpoint as they are */
}

static enum varve_err
take_file(struct capture_file *out, const json_t *file, size_t *total, struct varve_error *err)
{
    const char *name = NULL;
    const char *text = NULL;
    size_t cap;
    enum varve_err rc;

    rc = sim_get_text(file, "name", &name, err);
    if (rc == VARVE_OK) {
        rc = sim_get_text(file, "data", &text, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    cap = strlen(text) / 4 * 3 + 3;
    if (cap > CAPTURE_FILE_MAX || *total + cap > CAPTURE_FILES_BYTES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "configuration file '%s' of %zu bytes is too large", name, cap);
    }
    out->name = sim_copy_string(name);
    out->data = malloc(cap);
    if (out->name == NULL || out->data == NULL) {
        return varve_error_nomem(err);
    }
    if (sodium_base642bin(out->data, cap, text, strlen(text), NULL, &out->len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "configuration file '%s' is not base64",
                               name);
    }
    *total += out->len;
    return VARVE_OK;
}

enum varve_err
sim_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
          struct varve_error *err)
{
    struct capture_files files = {0};
    json_t *reply = NULL;
    const json_t *list = NULL;
    size_t total = 0;
    size_t i;
    enum varve_err rc;

    rc = sim_query((struct sim *)c, "vm.config",
                   json_pack("{s:s}", "checkpoint", frozen->checkpoint), &reply, err);
    if (rc == VARVE_OK) {
        rc = sim_get_array(reply, "files", CAPTURE_FILES_MAX, &list, err);
    }
    if (rc == VARVE_OK) {
        files.items = calloc(json_array_size(list) + 1, sizeof(*files.items));
        if (files.items == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < json_array_size(list); i++) {
        files.count = i + 1;
        rc = take_file(&files.items[i], json_array_get(list, i), &total, err);
    }
    json_decref(reply);
    if (rc != VARVE_OK) {
        capture_files_release(&files);
        return rc;
    }
    *out = files;
    return VARVE_OK;
}
