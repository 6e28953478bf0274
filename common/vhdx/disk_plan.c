/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/disk_plan.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/vhd_plan.h"
#include "vhdx/vhdx_format.h"

/* One of the two, or none for a raw image. */
struct disk_plan {
    uint64_t virtual_size;
    struct vhdx_plan *vhdx;
    struct vhd_plan *vhd;
};

static const struct {
    enum disk_format format;
    const char *text;
} formats[] = {
    {DISK_RAW, "raw"},
    {DISK_VHD, "vhd"},
    {DISK_VHDX, "vhdx"},
    {DISK_VHD_FIXED, "vhd-fixed"},
    {DISK_VHDX_FIXED, "vhdx-fixed"},
};

const char *
disk_format_text(enum disk_format format)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (formats[i].format == format) {
            return formats[i].text;
        }
    }
    return "unknown";
}

bool
disk_format_parse(enum disk_format *out, const char *text)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i].text, text) == 0) {
            *out = formats[i].format;
            return true;
        }
    }
    return false;
}

static enum varve_err
new_vhd(struct disk_plan *p, const struct disk_params *params, struct varve_error *err)
{
    const struct vhd_params vhd = {
        .virtual_size = params->disk.virtual_size,
        .fixed = params->format == DISK_VHD_FIXED,
        .id = params->disk.disk_id,
        .created_us = params->created_us,
    };

    if (params->disk.logical_sector != 512) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a VHD has sectors of 512 bytes and this disk has them of %" PRIu32
                               ": its partitions would not be found; make it a VHDX",
                               params->disk.logical_sector);
    }
    return vhd_plan_new(&p->vhd, &vhd, err);
}

enum varve_err
disk_plan_new(struct disk_plan **out, const struct disk_params *params, struct varve_error *err)
{
    struct disk_plan *p = calloc(1, sizeof(*p));
    struct vhdx_params vhdx = params->disk;
    enum varve_err rc = VARVE_OK;

    if (p == NULL) {
        return varve_error_nomem(err);
    }
    p->virtual_size = params->disk.virtual_size;
    switch (params->format) {
    case DISK_RAW:
        break;
    case DISK_VHD:
    case DISK_VHD_FIXED:
        rc = new_vhd(p, params, err);
        break;
    case DISK_VHDX:
    case DISK_VHDX_FIXED:
        vhdx.fixed = params->format == DISK_VHDX_FIXED;
        rc = vhdx_plan_new(&p->vhdx, &vhdx, err);
        break;
    }
    if (rc != VARVE_OK) {
        disk_plan_free(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

void
disk_plan_free(struct disk_plan *p)
{
    if (p != NULL) {
        vhdx_plan_free(p->vhdx);
        vhd_plan_free(p->vhd);
        free(p);
    }
}

enum varve_err
disk_plan_add(struct disk_plan *p, uint64_t offset, uint64_t length, struct varve_error *err)
{
    if (p->vhdx != NULL) {
        return vhdx_plan_add(p->vhdx, offset, length, err);
    }
    if (p->vhd != NULL) {
        return vhd_plan_add(p->vhd, offset, length, err);
    }
    return VARVE_OK;
}

uint64_t
disk_plan_place(const struct disk_plan *p, uint64_t offset)
{
    return p->vhdx != NULL  ? vhdx_plan_place(p->vhdx, offset)
           : p->vhd != NULL ? vhd_plan_place(p->vhd, offset)
                            : offset;
}

uint64_t
disk_plan_size_so_far(const struct disk_plan *p)
{
    return p->vhdx != NULL  ? vhdx_plan_size_so_far(p->vhdx)
           : p->vhd != NULL ? vhd_plan_size_so_far(p->vhd)
                            : p->virtual_size;
}

enum varve_err
disk_plan_seal(struct disk_plan *p, struct varve_error *err)
{
    return p->vhdx != NULL  ? vhdx_plan_seal(p->vhdx, err)
           : p->vhd != NULL ? vhd_plan_seal(p->vhd, err)
                            : VARVE_OK;
}

void
disk_plan_identity(const struct disk_plan *p, uint64_t *head, uint64_t *tail)
{
    *head = p->vhdx != NULL ? VHDX_MIB : p->vhd != NULL ? VHD_PLAN_HEAD : 0;
    *tail = p->vhd != NULL ? VHD_PLAN_FOOTER : 0;
}

uint64_t
disk_plan_file_size(const struct disk_plan *p)
{
    return p->vhdx != NULL  ? vhdx_plan_file_size(p->vhdx)
           : p->vhd != NULL ? vhd_plan_file_size(p->vhd)
                            : p->virtual_size;
}

void
disk_plan_segment(const struct disk_plan *p, uint64_t off, struct vhdx_segment *out)
{
    if (p->vhdx != NULL) {
        vhdx_plan_segment(p->vhdx, off, out);
    } else if (p->vhd != NULL) {
        vhd_plan_segment(p->vhd, off, out);
    } else {
        out->kind = VHDX_SEGMENT_DISK;
        out->disk_offset = off;
        out->length = p->virtual_size - off;
    }
}

void
disk_plan_meta(const struct disk_plan *p, uint64_t off, void *buf, size_t len)
{
    if (p->vhdx != NULL) {
        vhdx_plan_meta(p->vhdx, off, buf, len);
    } else {
        assert(p->vhd != NULL); /* a raw image has no such segment */
        vhd_plan_meta(p->vhd, off, buf, len);
    }
}
