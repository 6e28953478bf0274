/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/check_internal.h"
#include "vhdx/vhdx_internal.h"

static const char *const header_names[2] = {"header 1", "header 2"};
static const uint64_t header_places[2] = {VHDX_HEADER1_OFFSET, VHDX_HEADER2_OFFSET};
static const char *const table_names[2] = {"region table 1", "region table 2"};
static const uint64_t table_places[2] = {VHDX_REGION1_OFFSET, VHDX_REGION2_OFFSET};

static enum varve_err
check_headers(struct checker *c, struct file *f, struct varve_error *err)
{
    struct vhdx_header h[2];
    bool valid[2] = {false, false};
    unsigned i;

    for (i = 0; i < 2; i++) {
        enum varve_err rc = vhdx_header_read_one(&h[i], &valid[i], i, f, err);

        if (rc != VARVE_OK) {
            return rc;
        }
    }
    for (i = 0; i < 2; i++) {
        if (!valid[i] && valid[1 - i]) {
            checker_find(c, header_names[i], header_places[i], IMAGE_REPAIRABLE,
                         "signature or checksum is wrong; the other header is good");
        }
    }
    if (valid[0] && valid[1] && h[0].sequence == h[1].sequence) {
        checker_find(c, header_names[1], header_places[1], IMAGE_CLEAN,
                     "both headers have sequence number %" PRIu64 "; the first counts",
                     h[0].sequence);
    }
    return VARVE_OK;
}

static enum varve_err
check_regions(struct checker *c, struct vhdx_layer *v, struct varve_error *err)
{
    uint8_t *tables = malloc((size_t)2 * VHDX_REGION_SIZE);
    bool valid[2] = {false, false};
    enum varve_err rc = VARVE_OK;
    unsigned i;

    if (tables == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < 2 && rc == VARVE_OK; i++) {
        rc = vhdx_region_read_one(v, tables + (size_t)i * VHDX_REGION_SIZE, &valid[i], i, err);
    }
    for (i = 0; i < 2 && rc == VARVE_OK; i++) {
        if (!valid[i] && valid[1 - i]) {
            checker_find(c, table_names[i], table_places[i], IMAGE_REPAIRABLE,
                         "signature or checksum is wrong; the other table is good");
        }
    }
    if (rc == VARVE_OK && valid[0] && valid[1] &&
        memcmp(tables, tables + VHDX_REGION_SIZE, VHDX_REGION_SIZE) != 0) {
        checker_find(c, table_names[1], table_places[1], IMAGE_REPAIRABLE,
                     "differs from the first table, which counts");
    }
    free(tables);
    return rc;
}

/* What every reader lives with, but a user may want to know. */
static void
note_oddities(struct checker *c, const struct vhdx_layer *v, const struct table_counts *counts)
{
    if (v->log.replayed) {
        checker_find(c, "log", v->header.log_offset, IMAGE_REPAIRABLE,
                     "was not empty when the disk was closed; %zu changed pieces are read from it",
                     v->log.patch_count);
    }
    if (guid_is_zero(&v->base.info.disk_id)) {
        checker_find(c, "metadata", v->metadata.offset, IMAGE_CLEAN,
                     "no virtual disk id (SCSI page 83)");
    }
    if (v->base.has_parent && v->base.parent.path_count == 0) {
        checker_find(c, "parent locator", v->metadata.offset, IMAGE_REPAIRABLE,
                     "no path to the parent, only its id");
    }
    if (v->fixed && !v->base.has_parent && counts->present < counts->blocks) {
        checker_find(c, "BAT", v->bat.offset, IMAGE_CLEAN,
                     "%" PRIu64 " of %" PRIu64 " blocks of a fixed disk are not in the file",
                     counts->blocks - counts->present, counts->blocks);
    }
    if (v->size > v->base.f.size) {
        checker_find(c, "file", v->base.f.size, IMAGE_CLEAN,
                     "ends before %" PRIu64 ", which the log says it should have", v->size);
    }
    if (v->base.f.size % VHDX_MIB != 0) {
        checker_find(c, "file", v->base.f.size, IMAGE_CLEAN, "its length is not whole MiB");
    }
    if (counts->unused > 0) {
        checker_find(c, "file", 0, IMAGE_CLEAN, "%" PRIu64 " bytes of it belong to nothing",
                     counts->unused);
    }
}

enum varve_err
vhdx_check(struct checker *c, struct layer **out, struct layer_file *f, struct table_counts *counts,
           struct varve_error *err)
{
    struct table_check check = {checker_table_fault, c, counts};
    struct vhdx_layer *v = NULL;
    struct layer_step step = {"file", 0};
    enum varve_err rc;

    rc = check_headers(c, f->file, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    c->table = "BAT";
    rc = vhdx_layer_make(&v, f, &check, &step, err);
    if (rc != VARVE_OK) {
        return checker_refusal(c, &step, err);
    }
    rc = check_regions(c, v, err);
    if (rc == VARVE_OK) {
        note_oddities(c, v, counts);
    }
    *out = &v->base;
    return rc;
}
