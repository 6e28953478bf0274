/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plan and the reader against each other: whatever extents are added, the planned file is opened by
 * the reader without complaint and holds them, and nothing else, as data.
 *
 * Input: shape(1), blocks(1), then extents: gap(2) and length(2) in sectors, little-endian.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "lib/mem_fs.h"
#include "vhdx/chain_gen.h"
#include "vhdx/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MIB         ((uint64_t)1024 * 1024)
#define SECTORS_MAX 16384u

static uint8_t wanted[SECTORS_MAX]; /* per sector: was added */

static void
fill(void *arg, void *buf, size_t len, uint64_t off)
{
    uint32_t sector = *(const uint32_t *)arg;
    uint8_t *p = buf;

    while (len > 0) {
        uint64_t s = off / sector;
        size_t n = sector - (size_t)(off % sector);

        n = n < len ? n : len;
        memset(p, wanted[s] != 0 ? (int)(1 + s % 255) : 0, n);
        p += n;
        off += n;
        len -= n;
    }
}

static void
require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static struct vhdx_plan *
make_plan(struct vhdx_params *params, const uint8_t *data, size_t size)
{
    struct vhdx_plan *p = NULL;
    struct varve_error err;
    uint64_t sectors;
    uint64_t at = 0;
    size_t i;

    memset(params, 0, sizeof(*params));
    params->logical_sector = (data[0] & 1) != 0 ? 4096 : 512;
    params->physical_sector = 4096;
    params->block_size = (uint32_t)(MIB << ((data[0] >> 1) & 3));
    params->fixed = (data[0] & 0x10) != 0;
    params->parent.present = (data[0] & 0x20) != 0 && !params->fixed;
    params->parent.relative_path = ".\\base.vhdx";
    params->parent.linkage.bytes[3] = 1;
    params->data_write_guid.bytes[0] = 1;
    params->virtual_size = ((data[1] % 6) * MIB + (data[1] + 1u) * 4096) & ~UINT64_C(4095);
    sectors = params->virtual_size / params->logical_sector;
    memset(wanted, 0, sizeof(wanted));
    require(sectors <= SECTORS_MAX && vhdx_plan_new(&p, params, &err) == VARVE_OK);
    for (i = 2; i + 4 <= size; i += 4) {
        uint64_t start = at + get_le16(data + i);
        uint64_t n = get_le16(data + i + 2);

        if (start + n > sectors) {
            require(vhdx_plan_add(p, start * params->logical_sector, n * params->logical_sector,
                                  &err) != VARVE_OK ||
                    n == 0);
            break;
        }
        require(vhdx_plan_add(p, start * params->logical_sector, n * params->logical_sector,
                              &err) == VARVE_OK);
        memset(wanted + start, 1, (size_t)n);
        at = start + n;
    }
    require(vhdx_plan_seal(p, &err) == VARVE_OK);
    return p;
}

/* A child alone: DATA where it was added, PARENT elsewhere.  Else: all of the disk reads right. */
static void
compare(struct image *img, const struct vhdx_params *params)
{
    static uint8_t got[65536];
    static uint8_t want[65536];
    struct varve_error err;
    uint32_t sector = params->logical_sector;
    uint64_t off = 0;

    while (off < params->virtual_size) {
        uint64_t len = 0;
        uint64_t s;
        enum image_map_kind kind = IMAGE_MAP_DATA;
        size_t n;

        require(image_map(img, off, params->virtual_size - off, &len, &kind, &err) == VARVE_OK);
        for (s = off / sector; s < (off + len) / sector; s++) {
            require(kind == IMAGE_MAP_DATA ? !params->parent.present || wanted[s] != 0
                                           : wanted[s] == 0);
        }
        n = len < sizeof(got) ? (size_t)len : sizeof(got);
        if (kind != IMAGE_MAP_PARENT) {
            require(image_read(img, got, n, off, &err) == VARVE_OK);
            fill(&sector, want, n, off);
            require(memcmp(got, want, n) == 0);
        }
        off += len;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    struct mem_fs *m = mem_fs_new();
    struct image *img = NULL;
    struct varve_error err;

    if (m == NULL || size < 2) {
        goto out;
    }
    p = make_plan(&params, data, size);
    require(chain_write_plan(p, mem_fs_fs(m), "d/leaf.vhdx", fill, &params.logical_sector, &err) ==
            VARVE_OK);
    require(image_open(&img, mem_fs_fs(m), "d/leaf.vhdx", IMAGE_NO_PARENT, &err) == VARVE_OK);
    compare(img, &params);
out:
    image_close(img);
    vhdx_plan_free(p);
    mem_fs_free(m);
    return 0;
}
