/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_IMAGE_H
#define VARVE_VHDX_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "extent/extent.h"
#include "os/file.h"

/*
 * Reads virtual disk files: VHDX (dynamic, fixed, differencing, any legal block and sector size),
 * VHD (fixed, dynamic, differencing), VHD Sets (.vhds: the file that the set names, as far as one
 * public sample tells, see vhd_set.h; snapshots of a set are not found) and raw.  The file is never
 * written: a dirty VHDX log is replayed into memory.  Format sources: MS-VHDX v20240423; Microsoft VHD
 * specification 1.0.  What exactly is accepted: docs/format/vhdx.md.
 *
 * Hostile files get VARVE_ERR_CORRUPT naming structure and offset; nothing is allocated beyond the
 * limits below.  A differencing file opens its parents too (found by every locator key, checked by
 * linkage, in this folder or where the tree was moved) unless IMAGE_NO_PARENT is given.
 *
 * Memory of one image, its parents included: IMAGE_BAT_CACHE for block tables and bitmaps (at least
 * 80 KiB for each file), what its logs hold (IMAGE_LOG_MAX), and while a file is opened at most
 * IMAGE_CHECK_CLAIMS (image_check.h).  Nothing grows with the virtual size.
 *
 * Threads: reading, mapping and locating from many threads at once on one image, without waiting for
 * each other's I/O; open and close alone.
 */
struct image;

#define IMAGE_CHAIN_MAX 256u
#define IMAGE_BAT_CACHE (8u * 1024 * 1024)  /* bytes of block tables kept per image */
#define IMAGE_LOG_MAX   (64u * 1024 * 1024) /* longest VHDX log replayed, of all files together */

enum image_format { IMAGE_RAW = 1, IMAGE_VHD = 2, IMAGE_VHDX = 3 };
enum image_type { IMAGE_FIXED = 1, IMAGE_DYNAMIC = 2, IMAGE_DIFFERENCING = 3 };

enum image_flags {
    IMAGE_NO_PARENT = 1 << 0, /* do not open parents; image_map() says IMAGE_MAP_PARENT */
    /*
     * A file that is neither VHDX nor VHD is a raw disk, if its size is a multiple of 512 and its
     * name does not end in .vhd(x) or .avhd(x).  One whose name ends in .img or .raw is raw whatever
     * it begins with: these bytes are the guest's.
     */
    IMAGE_ALLOW_RAW = 1 << 1
};

struct image_info {
    enum image_format format;
    enum image_type type;
    uint64_t virtual_size;
    uint64_t file_size;
    uint32_t block_size;     /* 0 for fixed VHD and raw */
    uint32_t logical_sector; /* 512 or 4096 */
    uint32_t physical_sector;
    struct guid disk_id;         /* VHDX: page 83 id; VHD: unique id; raw: zero */
    struct guid data_write_guid; /* VHDX only */
    bool log_replayed;
    bool in_set;           /* the path that was opened is a VHD Set; this is its backing file */
    unsigned chain_length; /* 1 = no parent */
    char creator[64];      /* UTF-8, "" unknown, cut if longer */
};

VARVE_CHECK enum varve_err image_open(struct image **out, struct fs *fs, const char *path,
                                      unsigned flags, struct varve_error *err);
void image_close(struct image *img); /* NULL is fine */
void image_get_info(const struct image *img, struct image_info *out);
/* The files of the chain, leaf first: n < chain_length.  The path lives as long as the image; out may
 * be NULL. */
const char *image_get_file(const struct image *img, unsigned n, struct image_info *out);

/* Exactly len bytes at off (inside the virtual size), through the chain.  With IMAGE_NO_PARENT bytes
 * that stand in the parent are VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err image_read(struct image *img, void *buf, size_t len, uint64_t off,
                                      struct varve_error *err);

enum image_map_kind { IMAGE_MAP_DATA = 1, IMAGE_MAP_ZERO = 2, IMAGE_MAP_PARENT = 3 };

/* What stands at off, and for how long (at most max, at least one sector): merged over the chain, or
 * with IMAGE_NO_PARENT of this file alone.  *len may end before the kind does: the work of one call is
 * bounded.  Undefined, zero and unmapped blocks are IMAGE_MAP_ZERO, in a child too. */
VARVE_CHECK enum varve_err image_map(struct image *img, uint64_t off, uint64_t max, uint64_t *len,
                                     enum image_map_kind *kind, struct varve_error *err);

/*
 * The same with more said.  Both ZERO and HOLE read as zeros: ZERO is what a file says so of (a VHDX
 * block of state 2), HOLE what none says anything of (never written, unmapped, undefined, a hole of a
 * sparse file under data).  In a child with IMAGE_NO_PARENT both hide what the parent has.
 */
enum image_extent_kind {
    IMAGE_EXTENT_DATA = 1,
    IMAGE_EXTENT_ZERO = 2,
    IMAGE_EXTENT_HOLE = 3,
    IMAGE_EXTENT_PARENT = 4
};

struct image_extent {
    uint64_t offset; /* of the disk */
    uint64_t length; /* at least one sector, unless the disk ends */
    enum image_extent_kind kind;
    unsigned file;        /* which of the chain says so, as in image_get_file() */
    uint64_t file_offset; /* IMAGE_EXTENT_DATA: where it stands there, in one piece */
};

/* The extent at off < virtual size.  It may end before the next of another kind begins: the work of one
 * call is bounded.  Go on at offset + length. */
VARVE_CHECK enum varve_err image_next_extent(struct image *img, uint64_t off,
                                             struct image_extent *out, struct varve_error *err);

/*
 * Where the bytes at off stand in one piece in one of the files, for who wants to copy them without
 * reading: *len of them, at most max.  *file NULL: nowhere (zeros, a parent that is not open, bytes that a
 * log changes); read them.  The file belongs to the image.
 */
VARVE_CHECK enum varve_err image_locate(struct image *img, uint64_t off, uint64_t max,
                                        struct file **file, uint64_t *file_offset, uint64_t *len,
                                        struct varve_error *err);

#endif
