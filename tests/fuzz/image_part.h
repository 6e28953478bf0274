/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FUZZ_IMAGE_PART_H
#define VARVE_TESTS_FUZZ_IMAGE_PART_H

#include <stddef.h>
#include <stdint.h>

#include "lib/mem_fs.h"

/*
 * One structure of an otherwise good image is what the input says; checksums are made right, so that
 * what is behind them is reached.  The images are made once and put right again after each input: a
 * VHDX and its child of 6 MiB each, a VHD and its child, a VHD Set of the VHDX child.
 *
 * The first byte of an input are flags; what follows replaces the bytes of the structure from its
 * start, as far as it goes:
 *
 *   HEADER    96 bytes of header 1, then header 2
 *   REGION    272 bytes of region table 1 (8 entries), then table 2
 *   METADATA  288 bytes of the table (8 items), then the items
 *   LOCATOR   the item, whose length becomes that of the input; no flags
 *   BAT       entries: 1 byte of state, 2 of the MiB it points to; with 0x80 in the first byte the
 *             8 bytes behind it are the entry as it is.  First those of the blocks, the fourth is
 *             that of the bitmap block
 *   LOG       entries of the ring, see image_part_log.c
 *   VHD       96 bytes of both footers, 64 of the dynamic header, 192 of its locators, then the table
 *   SET       64 bytes of header 1, 64 of header 2, then the name
 */
enum image_part {
    IMAGE_PART_HEADER,
    IMAGE_PART_REGION,
    IMAGE_PART_METADATA,
    IMAGE_PART_LOCATOR,
    IMAGE_PART_BAT,
    IMAGE_PART_LOG,
    IMAGE_PART_VHD,
    IMAGE_PART_SET,
    IMAGE_PART_COUNT
};

enum image_part_flags {
    IMAGE_PART_AS_IT_IS = 1 << 0,  /* checksums are left alone */
    IMAGE_PART_NO_PARENT = 1 << 1, /* opened without its parent */
    IMAGE_PART_BASE = 1 << 2       /* the parent is changed, not the child */
};

const char *image_part_name(enum image_part part);

/* Makes the images when first called; ends the program when it cannot. */
void image_part_run(enum image_part part, const uint8_t *data, size_t size);

/* The input that leaves everything as it is; its length, at most size.  For the corpus. */
size_t image_part_seed(enum image_part part, unsigned flags, uint8_t *out, size_t size);

/* image_part_log.c: writes the entries; the ring was zeros. */
void image_part_log(struct mem_fs *m, const char *path, const uint8_t *data, size_t size);

#endif
