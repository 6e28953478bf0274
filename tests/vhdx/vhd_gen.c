/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/vhd_gen.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"

#define SECTOR        512u
#define HEADER_OFFSET 512u
#define ABSOLUTE_AT   4096u
#define TABLE_AT      8192u /* as Windows puts them */
#define RELATIVE_AT   (TABLE_AT + 4096u)
#define BLOCKS_AT     (RELATIVE_AT + 4096u)

static void
put_sum(uint8_t *p, size_t len, size_t field)
{
    uint32_t sum = 0;
    size_t i;

    put_be32(p + field, 0);
    for (i = 0; i < len; i++) {
        sum += p[i];
    }
    put_be32(p + field, ~sum);
}

static void
make_footer(const struct vhd_gen *g, uint8_t p[SECTOR])
{
    memset(p, 0, SECTOR);
    memcpy(p, "conectix", 8);
    put_be32(p + 8, 2);
    put_be32(p + 12, 0x00010000);
    put_be64(p + 16, HEADER_OFFSET);
    put_be32(p + 24, 0x2a000000);
    memcpy(p + 28, "win ", 4);
    put_be32(p + 32, 0x000a0000);
    memcpy(p + 36, "Wi2k", 4);
    put_be64(p + 40, g->virtual_size);
    put_be64(p + 48, g->virtual_size);
    put_be16(p + 56, 65535);
    p[58] = 16;
    p[59] = 255;
    put_be32(p + 60, g->child ? 4 : 3);
    memcpy(p + 68, g->id.bytes, 16);
    put_sum(p, SECTOR, 64);
}

/* Names in tests are ASCII. */
static uint32_t
put_name(uint8_t *p, const char *text, bool big_endian)
{
    uint32_t n = 0;

    for (; text[n] != '\0'; n++) {
        if (big_endian) {
            put_be16(p + 2 * n, (uint8_t)text[n]);
        } else {
            put_le16(p + 2 * n, (uint8_t)text[n]);
        }
    }
    return 2 * n;
}

static void
make_header(const struct vhd_gen *g, uint8_t p[1024], uint32_t blocks)
{
    memset(p, 0, 1024);
    memcpy(p, "cxsparse", 8);
    put_be64(p + 8, UINT64_MAX);
    put_be64(p + 16, TABLE_AT);
    put_be32(p + 24, 0x00010000);
    put_be32(p + 28, blocks);
    put_be32(p + 32, g->block_size);
    if (g->child) {
        memcpy(p + 40, g->parent_id.bytes, 16);
        (void)put_name(p + 64, g->parent_name, true);
        if (g->absolute_path != NULL) {
            memcpy(p + 576, "W2ku", 4);
            put_be32(p + 580, 4096);
            put_be32(p + 584, (uint32_t)strlen(g->absolute_path) * 2);
            put_be64(p + 592, ABSOLUTE_AT);
        }
        if (g->relative_path != NULL) {
            memcpy(p + 600, "W2ru", 4);
            put_be32(p + 604, 4096);
            put_be32(p + 608, (uint32_t)strlen(g->relative_path) * 2);
            put_be64(p + 616, RELATIVE_AT);
        }
    }
    put_sum(p, 1024, 36);
}

static bool
block_is_used(const struct vhd_gen *g, uint64_t first, uint64_t end)
{
    uint64_t s;

    for (s = first; g->has_sector != NULL && s < end; s++) {
        if (g->has_sector(g->arg, s)) {
            return true;
        }
    }
    return false;
}

/* Bitmap and sectors of one block; buf has room for both. */
static void
make_block(const struct vhd_gen *g, uint8_t *buf, size_t bitmap, uint64_t first, uint64_t end)
{
    uint64_t s;

    memset(buf, 0, bitmap);
    memset(buf + bitmap, g->junk, g->block_size);
    for (s = first; s < end; s++) {
        if (g->has_sector(g->arg, s)) {
            uint64_t n = s - first;

            buf[n / 8] |= (uint8_t)(0x80u >> (n % 8));
            g->bytes(g->arg, buf + bitmap + n * SECTOR, s);
        }
    }
}

enum varve_err
vhd_gen_write(const struct vhd_gen *g, struct fs *fs, const char *path, struct varve_error *err)
{
    struct file *f = NULL;
    uint32_t blocks = (uint32_t)div_round_up_u64(g->virtual_size, g->block_size);
    uint64_t per_block = g->block_size / SECTOR;
    size_t bitmap = (size_t)(div_round_up_u64(per_block / 8, SECTOR) * SECTOR);
    uint64_t sectors = g->virtual_size / SECTOR;
    uint64_t at = BLOCKS_AT;
    uint8_t small[1024];
    uint8_t *buf = NULL;
    uint8_t *table = NULL;
    uint32_t b;
    enum varve_err rc;

    rc = file_open(fs, &f, path, FILE_CREATE_NEW, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    buf = malloc(bitmap + g->block_size);
    table = malloc((size_t)4096);
    if (buf == NULL || table == NULL || blocks > 1024) {
        rc = varve_error_nomem(err);
        goto out;
    }
    memset(table, 0xff, 4096);
    for (b = 0; b < blocks && rc == VARVE_OK; b++) {
        uint64_t first = b * per_block;
        uint64_t end = first + per_block < sectors ? first + per_block : sectors;

        if (block_is_used(g, first, end)) {
            make_block(g, buf, bitmap, first, end);
            rc = file_write(f, buf, bitmap + g->block_size, at, err);
            put_be32(table + 4 * (size_t)b, (uint32_t)(at / SECTOR));
            at += bitmap + g->block_size;
        }
    }
    make_footer(g, small);
    if (rc == VARVE_OK) {
        rc = file_write(f, small, SECTOR, 0, err);
    }
    if (rc == VARVE_OK) {
        rc = file_write(f, small, SECTOR, at, err);
    }
    make_header(g, small, blocks);
    if (rc == VARVE_OK) {
        rc = file_write(f, small, sizeof(small), HEADER_OFFSET, err);
    }
    if (rc == VARVE_OK) {
        rc = file_write(f, table, 4096, TABLE_AT, err);
    }
    memset(small, 0, sizeof(small));
    if (rc == VARVE_OK && g->child && g->absolute_path != NULL) {
        rc = file_write(f, small, put_name(small, g->absolute_path, false), ABSOLUTE_AT, err);
    }
    if (rc == VARVE_OK && g->child && g->relative_path != NULL) {
        rc = file_write(f, small, put_name(small, g->relative_path, false), RELATIVE_AT, err);
    }
out:
    free(buf);
    free(table);
    file_close(f);
    return rc;
}
