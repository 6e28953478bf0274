/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/chain_gen.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

#define MIB       ((uint64_t)1024 * 1024)
#define PIECE     ((size_t)1024 * 1024)
#define ZERO_FLAG 0x80u /* this level wrote zeros */

uint64_t
chain_gen_random(struct chain_gen *g, uint64_t below)
{
    g->random ^= g->random >> 12;
    g->random ^= g->random << 25;
    g->random ^= g->random >> 27;
    return (g->random * UINT64_C(2685821657736338717) >> 16) % below;
}

void
chain_shape_random(struct chain_shape *out, uint64_t seed)
{
    struct chain_gen g;
    unsigned i;

    memset(&g, 0, sizeof(g));
    g.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    (void)chain_gen_random(&g, 2);
    memset(out, 0, sizeof(*out));
    out->logical_sector = chain_gen_random(&g, 3) == 0 ? 4096 : 512;
    out->levels = 1 + (unsigned)chain_gen_random(&g, 8);
    out->extents = 1 + (unsigned)chain_gen_random(&g, 60);
    out->fixed_base = chain_gen_random(&g, 5) == 0;
    /* An even number of sectors: 7-Zip opens no others. */
    out->virtual_size = (1 + chain_gen_random(&g, 24)) * MIB;
    if (chain_gen_random(&g, 2) == 0) {
        out->virtual_size += 2 * out->logical_sector * chain_gen_random(&g, 100);
    }
    for (i = 0; i < 8; i++) {
        out->block_size[i] = (uint32_t)(MIB << chain_gen_random(&g, i == 0 ? 6 : 3));
    }
}

enum varve_err
chain_gen_init(struct chain_gen *g, const struct chain_shape *shape, uint64_t seed,
               struct varve_error *err)
{
    memset(g, 0, sizeof(*g));
    g->shape = *shape;
    g->seed = seed;
    g->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 77;
    g->owner = calloc(1, (size_t)(shape->virtual_size / shape->logical_sector));
    g->extents = calloc(shape->extents, sizeof(*g->extents));
    if (g->owner == NULL || g->extents == NULL) {
        chain_gen_release(g);
        return varve_error_nomem(err);
    }
    return VARVE_OK;
}

void
chain_gen_release(struct chain_gen *g)
{
    free(g->owner);
    free(g->extents);
    memset(g, 0, sizeof(*g));
}

void
chain_gen_name(char *out, size_t size, const char *folder, unsigned level)
{
    (void)snprintf(out, size, "%s/%u.%s", folder, level, level == 0 ? "vhdx" : "avhdx");
}

bool
chain_gen_is_zero(const struct chain_gen *g, uint64_t sector)
{
    return g->owner[sector] == 0 || (g->owner[sector] & ZERO_FLAG) != 0;
}

/* 16 bytes again and again: compresses well, and tells who wrote them where. */
static void
sector_bytes(const struct chain_gen *g, uint8_t *buf, uint64_t sector)
{
    uint32_t size = g->shape.logical_sector;
    uint32_t i;

    if (chain_gen_is_zero(g, sector)) {
        memset(buf, 0, size);
        return;
    }
    put_le64(buf, sector + 1);
    put_le64(buf + 8, (g->seed << 8) + g->owner[sector]);
    for (i = 16; i < size; i *= 2) {
        memcpy(buf + i, buf, i);
    }
}

void
chain_gen_expected(const struct chain_gen *g, void *buf, size_t len, uint64_t off)
{
    uint8_t *p = buf;
    uint8_t sector[4096];
    uint32_t size = g->shape.logical_sector;

    while (len > 0) {
        size_t skip = (size_t)(off % size);
        size_t n = size - skip < len ? size - skip : len;

        sector_bytes(g, sector, off / size);
        memcpy(p, sector + skip, n);
        p += n;
        off += n;
        len -= n;
    }
}

/* Single sectors, runs over several blocks, and whatever is between; some of them zeros. */
static void
choose_extents(struct chain_gen *g)
{
    uint32_t size = g->shape.logical_sector;
    uint64_t sectors = g->shape.virtual_size / size;
    uint64_t at = 0;
    uint64_t gap = sectors / g->shape.extents * 2 + 2;
    uint8_t mark = (uint8_t)(g->level + 1);

    assert(g->owner != NULL && g->extents != NULL);
    g->extent_count = 0;
    while (g->extent_count < g->shape.extents && at < sectors) {
        uint64_t most = UINT64_C(1) << chain_gen_random(g, 14);
        uint64_t start = at + (chain_gen_random(g, 4) == 0 ? 0 : chain_gen_random(g, gap));
        uint64_t n = 1 + chain_gen_random(g, most);
        bool zero = chain_gen_random(g, 5) == 0;

        if (start >= sectors) {
            break;
        }
        if (n > sectors - start || (chain_gen_random(g, 40) == 0 && sectors - start < 65536)) {
            n = sectors - start;
        }
        memset(g->owner + start, zero ? mark | ZERO_FLAG : mark, (size_t)n);
        g->extents[g->extent_count].offset = start * size;
        g->extents[g->extent_count].length = n * size;
        g->extent_count++;
        at = start + n;
    }
}

static void
random_guid(struct chain_gen *g, struct guid *out)
{
    uint8_t bytes[16];
    size_t i;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)chain_gen_random(g, 256);
    }
    guid_from_random(out, bytes);
}

static void
gen_bytes(void *arg, void *buf, size_t len, uint64_t off)
{
    chain_gen_expected(arg, buf, len, off);
}

enum varve_err
chain_write_plan(const struct vhdx_plan *p, struct fs *fs, const char *path, chain_disk_bytes bytes,
                 void *arg, struct varve_error *err)
{
    struct file *f = NULL;
    uint8_t *buf = NULL;
    uint64_t off = 0;
    enum varve_err rc;

    rc = file_open(fs, &f, path, FILE_CREATE_NEW, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_truncate(f, vhdx_plan_file_size(p), err);
    buf = malloc(PIECE);
    if (rc == VARVE_OK && buf == NULL) {
        rc = varve_error_nomem(err);
    }
    while (rc == VARVE_OK && buf != NULL && off < vhdx_plan_file_size(p)) {
        struct vhdx_segment s;
        size_t n;

        vhdx_plan_segment(p, off, &s);
        n = s.length < PIECE ? (size_t)s.length : PIECE;
        if (s.kind == VHDX_SEGMENT_ZERO) {
            off += s.length;
            continue;
        }
        if (s.kind == VHDX_SEGMENT_META) {
            vhdx_plan_meta(p, off, buf, n);
        } else {
            bytes(arg, buf, n, s.disk_offset);
        }
        rc = file_write(f, buf, n, off, err);
        off += n;
    }
out:
    free(buf);
    file_close(f);
    return rc;
}

enum varve_err
chain_gen_next(struct chain_gen *g, struct fs *fs, const char *folder, struct varve_error *err)
{
    struct vhdx_plan *p = NULL;
    struct vhdx_params params;
    char path[512];
    char relative[32];
    char absolute[64];
    size_t i;
    enum varve_err rc;

    memset(&params, 0, sizeof(params));
    params.virtual_size = g->shape.virtual_size;
    params.block_size = g->shape.block_size[g->level];
    params.logical_sector = g->shape.logical_sector;
    params.physical_sector = 4096;
    params.fixed = g->level == 0 && g->shape.fixed_base;
    random_guid(g, &params.disk_id);
    random_guid(g, &params.data_write_guid);
    random_guid(g, &params.file_write_guid);
    g->write_id[g->level] = params.data_write_guid;
    if (g->level > 0) {
        const char *ending = g->level == 1 ? "vhdx" : "avhdx";

        (void)snprintf(relative, sizeof(relative), ".\\%u.%s", g->level - 1, ending);
        (void)snprintf(absolute, sizeof(absolute), "C:\\vm\\%u.%s", g->level - 1, ending);
        params.parent.present = true;
        params.parent.linkage = g->write_id[g->level - 1];
        params.parent.relative_path = relative;
        params.parent.absolute_path = absolute;
    }
    choose_extents(g);
    rc = vhdx_plan_new(&p, &params, err);
    for (i = 0; i < g->extent_count && rc == VARVE_OK; i++) {
        rc = vhdx_plan_add(p, g->extents[i].offset, g->extents[i].length, err);
    }
    if (rc == VARVE_OK) {
        rc = vhdx_plan_seal(p, err);
    }
    if (rc == VARVE_OK) {
        chain_gen_name(path, sizeof(path), folder, g->level);
        rc = chain_write_plan(p, fs, path, gen_bytes, g, err);
    }
    if (rc == VARVE_OK) {
        g->level++;
    }
    vhdx_plan_free(p);
    return rc;
}
