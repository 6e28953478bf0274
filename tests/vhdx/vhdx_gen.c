/* SPDX-License-Identifier: Apache-2.0 */

/*
 * vhdx_gen SEED FOLDER [LEVELS LOGICAL_SECTOR SIZE]
 *
 * Makes a chain of VHDX files and, for every level, "N.raw": what it must read as.  Checks the chain
 * with our own reader; others are asked by readers.sh.  Prints the shape.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/chain_gen.h"

#define PIECE ((size_t)65536)

static enum varve_err
write_raw(const struct chain_gen *g, const char *folder, struct varve_error *err)
{
    static uint8_t buf[PIECE];
    struct file *f = NULL;
    char path[512];
    uint64_t off;
    uint64_t size = g->shape.virtual_size;
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/%u.raw", folder, g->level - 1);
    rc = file_open(fs_system(), &f, path, FILE_CREATE_NEW, err);
    if (rc == VARVE_OK) {
        rc = file_truncate(f, size, err);
    }
    for (off = 0; rc == VARVE_OK && off < size; off += PIECE) {
        size_t n = size - off < PIECE ? (size_t)(size - off) : PIECE;
        uint64_t s = off / g->shape.logical_sector;
        uint64_t end = (off + n) / g->shape.logical_sector;

        while (s < end && chain_gen_is_zero(g, s)) {
            s++;
        }
        if (s < end) {
            chain_gen_expected(g, buf, n, off);
            rc = file_write(f, buf, n, off, err);
        }
    }
    file_close(f);
    return rc;
}

static bool
number(uint64_t *out, const char *text)
{
    char *end = NULL;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

int
main(int argc, char **argv)
{
    struct varve_error err;
    struct chain_shape shape;
    struct chain_gen g;
    uint64_t seed = 0;
    uint64_t levels = 0;
    uint64_t sector = 0;
    enum varve_err rc;

    if ((argc != 3 && argc != 6) || !number(&seed, argv[1])) {
        (void)fprintf(stderr, "usage: vhdx_gen SEED FOLDER [LEVELS LOGICAL_SECTOR SIZE]\n");
        return 2;
    }
    chain_shape_random(&shape, seed);
    if (argc == 6) {
        if (!number(&levels, argv[3]) || levels < 1 || levels > 8 || !number(&sector, argv[4]) ||
            !number(&shape.virtual_size, argv[5])) {
            return 2;
        }
        shape.levels = (unsigned)levels;
        shape.logical_sector = (uint32_t)sector;
    }
    (void)printf("seed=%" PRIu64 " levels=%u size=%" PRIu64 " sector=%" PRIu32 " block=%" PRIu32
                 " fixed=%d extents=%u\n",
                 seed, shape.levels, shape.virtual_size, shape.logical_sector, shape.block_size[0],
                 shape.fixed_base, shape.extents);
    rc = chain_gen_init(&g, &shape, seed, &err);
    while (rc == VARVE_OK && g.level < shape.levels) {
        rc = chain_gen_next(&g, fs_system(), argv[2], &err);
        if (rc == VARVE_OK) {
            rc = chain_gen_check(&g, fs_system(), argv[2], &err);
        }
        if (rc == VARVE_OK) {
            rc = write_raw(&g, argv[2], &err);
        }
    }
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, err.msg);
    }
    chain_gen_release(&g);
    return rc == VARVE_OK ? 0 : 1;
}
