/* SPDX-License-Identifier: Apache-2.0 */

/*
 * plan_like FILE [LINKAGE RELATIVE_PATH ABSOLUTE_PATH VOLUME_PATH]
 *
 * Plans a file with the parameters of FILE, which Windows made, and compares structures byte for byte:
 * the first 512 bytes of both headers without checksum, number and ids, both region tables, the used
 * part of the metadata table (Windows leaves a stale entry behind it), all of the items; of a disk
 * without parent, the BAT too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/image.h"
#include "vhdx/vhdx_edit.h"
#include "vhdx/vhdx_plan.h"

#define MIB ((uint64_t)1024 * 1024)

static struct varve_error err;

static int
compare(struct file *f, const struct vhdx_plan *p, const char *what, uint64_t off, size_t len)
{
    uint8_t *theirs = malloc(len);
    uint8_t *ours = calloc(1, len);
    uint64_t at = off;
    int status = 1;

    if (theirs == NULL || ours == NULL || file_read_exact(f, theirs, len, off, &err) != VARVE_OK) {
        goto out;
    }
    while (at < off + len) {
        struct vhdx_segment s;
        size_t n;

        vhdx_plan_segment(p, at, &s);
        n = s.length < off + len - at ? (size_t)s.length : (size_t)(off + len - at);
        if (s.kind == VHDX_SEGMENT_META) {
            vhdx_plan_meta(p, at, ours + (at - off), n);
        }
        at += n;
    }
    if (off == EDIT_HEADER1 || off == EDIT_HEADER2) {
        memset(theirs + 4, 0, 44);
        memset(ours + 4, 0, 44);
    }
    status = memcmp(theirs, ours, len) != 0;
    (void)printf("%s %s\n", what, status == 0 ? "equal" : "DIFFERENT");
out:
    free(theirs);
    free(ours);
    return status;
}

static enum varve_err
add_data(struct image *img, struct vhdx_plan *p, uint64_t size)
{
    uint64_t off = 0;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && off < size) {
        uint64_t len = 0;
        enum image_map_kind kind = IMAGE_MAP_ZERO;

        rc = image_map(img, off, size - off, &len, &kind, &err);
        if (rc == VARVE_OK && kind == IMAGE_MAP_DATA) {
            rc = vhdx_plan_add(p, off, len, &err);
        }
        off += len;
    }
    return rc;
}

static int
compare_all(const char *path, const struct vhdx_plan *p, bool child)
{
    struct file *f = NULL;
    int status = 1;

    if (file_open(fs_system(), &f, path, FILE_READ, &err) == VARVE_OK) {
        status = compare(f, p, "header 1", EDIT_HEADER1, 512);
        status |= compare(f, p, "header 2", EDIT_HEADER2, 512);
        status |= compare(f, p, "region table 1", EDIT_REGION1, 65536);
        status |= compare(f, p, "region table 2", EDIT_REGION2, 65536);
        status |= compare(f, p, "metadata table", EDIT_METADATA, child ? 32 + 6 * 32 : 32 + 5 * 32);
        status |= compare(f, p, "metadata items", EDIT_ITEMS, MIB - 65536);
        if (!child) {
            status |= compare(f, p, "BAT", EDIT_BAT, MIB);
        }
    }
    file_close(f);
    return status;
}

int
main(int argc, char **argv)
{
    struct image *img = NULL;
    struct image_info info;
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    int status = 1;
    enum varve_err rc;

    if (argc != 2 && argc != 6) {
        return 2;
    }
    memset(&params, 0, sizeof(params));
    rc = image_open(&img, fs_system(), argv[1], IMAGE_NO_PARENT, &err);
    if (rc != VARVE_OK) {
        goto out;
    }
    image_get_info(img, &info);
    params.virtual_size = info.virtual_size;
    params.block_size = info.block_size;
    params.logical_sector = info.logical_sector;
    params.physical_sector = info.physical_sector;
    params.fixed = info.type == IMAGE_FIXED;
    params.disk_id = info.disk_id;
    params.data_write_guid = info.data_write_guid;
    if (argc == 6) {
        params.parent.present = true;
        params.parent.relative_path = argv[3];
        params.parent.absolute_path = argv[4];
        params.parent.volume_path = argv[5];
        if (!guid_parse(&params.parent.linkage, argv[2])) {
            goto out;
        }
    }
    rc = vhdx_plan_new(&p, &params, &err);
    if (rc == VARVE_OK) {
        rc = add_data(img, p, info.virtual_size);
    }
    if (rc == VARVE_OK) {
        rc = vhdx_plan_seal(p, &err);
    }
    if (rc == VARVE_OK) {
        status = compare_all(argv[1], p, params.parent.present);
    }
out:
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
    }
    vhdx_plan_free(p);
    image_close(img);
    return status;
}
