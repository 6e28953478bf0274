/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_VHDX_CHAIN_GEN_H
#define VARVE_TESTS_VHDX_CHAIN_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "os/file.h"
#include "vhdx/vhdx_plan.h"

/*
 * Makes chains of VHDX files by chance, from a seed, and knows what each of their virtual disks must
 * read as.  The bytes of a sector follow from its number and from the level that wrote it last, so
 * only one byte per sector is kept.
 *
 * Level 0 is the base; level n writes over level n - 1.  Files are named "0.vhdx", "1.avhdx", ...
 */
struct chain_shape {
    uint64_t virtual_size;
    uint32_t block_size[8]; /* per level */
    uint32_t logical_sector;
    unsigned levels;  /* 1 to 8 */
    unsigned extents; /* most of them per level */
    bool fixed_base;
};

struct chain_extent {
    uint64_t offset;
    uint64_t length;
};

struct chain_gen {
    struct chain_shape shape;
    uint64_t seed;
    uint64_t random;
    uint8_t *owner; /* per sector: 0 zeros, else who wrote it */
    unsigned level; /* levels made so far */
    struct guid write_id[8];
    struct chain_extent *extents; /* what the last level wrote, ascending */
    size_t extent_count;
};

/* A small shape that any reader gets through in a second; other seeds, other shapes. */
void chain_shape_random(struct chain_shape *out, uint64_t seed);

VARVE_CHECK enum varve_err chain_gen_init(struct chain_gen *g, const struct chain_shape *shape,
                                          uint64_t seed, struct varve_error *err);
void chain_gen_release(struct chain_gen *g);

/* Writes the next level into the folder. */
VARVE_CHECK enum varve_err chain_gen_next(struct chain_gen *g, struct fs *fs, const char *folder,
                                          struct varve_error *err);
void chain_gen_name(char *out, size_t size, const char *folder, unsigned level);

/* What the last level made must read as. */
void chain_gen_expected(const struct chain_gen *g, void *buf, size_t len, uint64_t off);
/* Did a level that was made write this sector, and is it zero? */
bool chain_gen_is_zero(const struct chain_gen *g, uint64_t sector);

uint64_t chain_gen_random(struct chain_gen *g, uint64_t below);

/* Writes a sealed plan as a file; disk bytes come from the callback. */
typedef void (*chain_disk_bytes)(void *arg, void *buf, size_t len, uint64_t off);
VARVE_CHECK enum varve_err chain_write_plan(const struct vhdx_plan *p, struct fs *fs,
                                            const char *path, chain_disk_bytes bytes, void *arg,
                                            struct varve_error *err);

/*
 * Opens the file of the last level with the reader and compares content, maps and own extents with
 * what was meant; the error says where they differ.
 */
VARVE_CHECK enum varve_err chain_gen_check(struct chain_gen *g, struct fs *fs, const char *folder,
                                           struct varve_error *err);

#endif
