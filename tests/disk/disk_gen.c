/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_gen SEED FOLDER
 *
 * Makes disk files by chance, from a seed, and beside each the disk it must read as.  Even seeds give a
 * chain of 1 to 8 VHDX files (a plan each), odd ones the same disk in every format that is written
 * (disk_writer.h).  Prints a line for each file, fields divided by tabs:
 *
 *   FORMAT SECTOR SIZE TRUTH FILE [PARENT...]        nearest parent first
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/chain_gen.h"
#include "vhdx/disk_writer.h"

#define MIB        ((uint64_t)1024 * 1024)
#define PIECE      ((size_t)65536)
#define LEVELS_MAX 8u

static uint64_t
size_by_chance(struct chain_gen *g, uint32_t sector)
{
    uint64_t size = 2 * sector * (1 + chain_gen_random(g, 64)); /* tiny */

    switch (chain_gen_random(g, 10)) {
    case 0:
    case 1:
        return size;
    case 2:
        return (24 + chain_gen_random(g, 40)) * MIB;
    case 3: /* an odd number of sectors, which 7-Zip refuses */
        return chain_gen_random(g, 8) * MIB + size + sector;
    default:
        return chain_gen_random(g, 16) * MIB + size;
    }
}

static void
shape_by_chance(struct chain_shape *out, uint64_t seed)
{
    struct chain_gen g;

    memset(&g, 0, sizeof(g));
    memset(out, 0, sizeof(*out));
    g.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 5;
    (void)chain_gen_random(&g, 2);
    out->logical_sector = seed % 2 == 0 && chain_gen_random(&g, 3) == 0 ? 4096 : 512;
    out->levels = seed % 2 == 0 ? 1 + (unsigned)chain_gen_random(&g, LEVELS_MAX) : 1;
    out->extents = 1 + (unsigned)chain_gen_random(&g, 80);
    out->fixed_base = chain_gen_random(&g, 5) == 0;
    out->virtual_size = size_by_chance(&g, out->logical_sector);
    for (unsigned i = 0; i < LEVELS_MAX; i++) {
        /* Mostly small ones: of the large ones hardly any disk here has two. */
        out->block_size[i] =
            (uint32_t)(MIB << chain_gen_random(&g, chain_gen_random(&g, 4) == 0 ? 9 : 3));
    }
}

static enum varve_err
write_truth(const struct chain_gen *g, const char *folder, struct varve_error *err)
{
    static uint8_t buf[PIECE];
    struct file *f = NULL;
    char path[512];
    uint64_t size = g->shape.virtual_size;
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/%u.truth", folder, g->level - 1);
    rc = file_open(fs_system(), &f, path, FILE_CREATE_NEW, err);
    if (rc == VARVE_OK) {
        rc = file_truncate(f, size, err);
    }
    for (uint64_t off = 0; rc == VARVE_OK && off < size; off += PIECE) {
        size_t n = size - off < PIECE ? (size_t)(size - off) : PIECE;

        chain_gen_expected(g, buf, n, off);
        rc = file_write(f, buf, n, off, err);
    }
    file_close(f);
    return rc;
}

static void
print_line(const struct chain_gen *g, const char *format, const char *file)
{
    (void)printf("%s\t%" PRIu32 "\t%" PRIu64 "\t%u.truth\t%s", format, g->shape.logical_sector,
                 g->shape.virtual_size, g->level - 1, file);
}

static enum varve_err
make_chain(struct chain_gen *g, const char *folder, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && g->level < g->shape.levels) {
        rc = chain_gen_next(g, fs_system(), folder, err);
        if (rc == VARVE_OK) {
            rc = write_truth(g, folder, err);
        }
        for (unsigned i = g->level; rc == VARVE_OK && i-- > 0;) {
            char path[32];

            chain_gen_name(path, sizeof(path), "", i);
            if (i + 1 == g->level) {
                print_line(g, "vhdx", path + 1);
            } else {
                (void)printf("\t%s", path + 1);
            }
        }
        (void)printf("\n");
    }
    return rc;
}

static enum varve_err
write_extents(struct chain_gen *g, struct disk_writer *w, struct varve_error *err)
{
    static uint8_t buf[PIECE];
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < g->extent_count; i++) {
        uint64_t off = g->extents[i].offset;
        uint64_t end = off + g->extents[i].length;

        while (rc == VARVE_OK && off < end) {
            size_t n = end - off < PIECE ? (size_t)(end - off) : PIECE;

            chain_gen_expected(g, buf, n, off);
            rc = disk_writer_put(w, off, buf, n, err);
            off += n;
        }
    }
    return rc;
}

static enum varve_err
make_file(struct chain_gen *g, const char *folder, enum disk_format format, const char *name,
          struct varve_error *err)
{
    struct disk_params params = {.format = format};
    struct disk_writer *w = NULL;
    char path[512];
    enum varve_err rc;

    params.disk.virtual_size = g->shape.virtual_size;
    params.disk.block_size = g->shape.block_size[0];
    params.disk.logical_sector = 512;
    params.disk.physical_sector = chain_gen_random(g, 2) == 0 ? 512 : 4096;
    params.disk.disk_id = g->write_id[0];
    params.disk.data_write_guid = g->write_id[0];
    params.disk.file_write_guid = g->write_id[0];
    params.created_us = (INT64_C(1700000000) + (int64_t)(g->seed % 1000)) * 1000000;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    rc = disk_writer_new(
        &w, fs_system(), path, &params,
        DISK_WRITER_NO_SYNC | (chain_gen_random(g, 2) == 0 ? DISK_WRITER_SPARSE : 0u), err);
    if (rc == VARVE_OK) {
        rc = write_extents(g, w, err);
    }
    if (rc == VARVE_OK) {
        rc = disk_writer_finish(w, err);
    }
    (void)disk_writer_free(w);
    if (rc == VARVE_OK) {
        print_line(g, disk_format_text(format), name);
        (void)printf("\n");
    }
    return rc;
}

static enum varve_err
make_files(struct chain_gen *g, const char *folder, struct varve_error *err)
{
    static const struct {
        enum disk_format format;
        const char *name;
    } files[] = {
        {DISK_RAW, "w.raw"},
        {DISK_VHD, "w.vhd"},
        {DISK_VHD_FIXED, "w-fixed.vhd"},
        {DISK_VHDX, "w.vhdx"},
        {DISK_VHDX_FIXED, "w-fixed.vhdx"},
    };
    /* The chain's base knows where its data are; it is one more file to compare. */
    enum varve_err rc = make_chain(g, folder, err);

    for (size_t i = 0; rc == VARVE_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        rc = make_file(g, folder, files[i].format, files[i].name, err);
    }
    return rc;
}

int
main(int argc, char **argv)
{
    struct varve_error err;
    struct chain_shape shape;
    struct chain_gen g;
    uint64_t seed;
    enum varve_err rc;

    if (argc != 3) {
        (void)fprintf(stderr, "usage: disk_gen SEED FOLDER\n");
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    shape_by_chance(&shape, seed);
    rc = chain_gen_init(&g, &shape, seed, &err);
    if (rc == VARVE_OK) {
        rc = seed % 2 == 0 ? make_chain(&g, argv[2], &err) : make_files(&g, argv[2], &err);
        chain_gen_release(&g);
    }
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, err.msg);
    }
    return rc == VARVE_OK ? 0 : 1;
}
