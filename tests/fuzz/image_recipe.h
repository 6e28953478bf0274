/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FUZZ_IMAGE_RECIPE_H
#define VARVE_TESTS_FUZZ_IMAGE_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/mem_fs.h"

/*
 * One byte of flags, then records until the end:
 *
 *     file(1)  offset(4, little-endian)  length(2, little-endian)  bytes(length)
 *
 * file 0, 1, 2: bytes at an offset of the leaf, its parent, its grandparent; with 0x80 added offset is
 * the size of the file and length 0.  A cut record ends the recipe.
 */
enum image_recipe_flags {
    IMAGE_RECIPE_CHECKSUMS = 1 << 0, /* make them right */
    IMAGE_RECIPE_NO_PARENT = 1 << 1,
    IMAGE_RECIPE_VHD = 1 << 2, /* names end in .vhd, not .vhdx */
    IMAGE_RECIPE_RAW = 1 << 3  /* the leaf's name ends in .img */
};

#define IMAGE_RECIPE_SIZE_MAX (64u * 1024 * 1024)

/* False when the recipe is none. */
bool image_recipe_make(struct mem_fs *m, unsigned *flags, const uint8_t *data, size_t size);
const char *image_recipe_leaf(unsigned flags);
const char *image_recipe_name(unsigned flags, unsigned file);

/* Appends records that make `file` what `path` is. */
VARVE_CHECK enum varve_err image_recipe_write(struct mem_fs *m, const char *path, unsigned file,
                                              const char *recipe, struct fs *out, uint64_t *at,
                                              struct varve_error *err);

#endif
