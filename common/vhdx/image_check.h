/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_IMAGE_CHECK_H
#define VARVE_VHDX_IMAGE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"
#include "vhdx/image.h"

/*
 * Looks at every structure of a virtual disk file (VHDX, VHD, VHD Set) and of its parents: headers,
 * log, region tables, metadata, every entry of the block table, overlaps, linkage.  Payload is not
 * read.  Nothing is written.
 *
 * Verdicts, of a finding, of a file and of all of them (the worst counts):
 *
 *   CLEAN       every structure is as the specification has it.  Findings of this weight are notes:
 *               things that writers do and readers live with (a length that is not whole MiB, space
 *               that belongs to nothing, two headers of one number).
 *   REPAIRABLE  every byte of the disk can be had, and image_open() opens it, but the file is not as
 *               it should be: a log to be replayed, one of two headers or region tables broken, a
 *               footer missing that has a good copy, a parent found by its id although the paths lead
 *               elsewhere.  Windows mends most of these by opening the disk; a converted copy is
 *               free of all of them.
 *   BROKEN      image_open() refuses the file, or would if it got that far: bytes of the disk cannot
 *               be told for certain.  Restore it from a backup.
 *
 * So BROKEN is said if and only if image_open() with the same flags fails for another reason than the
 * machine (memory, I/O, rights).
 *
 * Memory: the caches of image.h and at most IMAGE_CHECK_CLAIMS bytes for the overlap check, whatever
 * the size of the disk: a file of more MiB than these have bits is gone over several times.
 *
 * Threads: any; an image_check() shares nothing with another.
 */
#define IMAGE_CHECK_CLAIMS ((size_t)8 * 1024 * 1024)
/* Findings reported per file and structure; the last one says how many more there are. */
#define IMAGE_CHECK_REPORTS 100u

enum image_verdict { IMAGE_CLEAN = 0, IMAGE_REPAIRABLE = 1, IMAGE_BROKEN = 2 };

const char *image_verdict_name(enum image_verdict v); /* "clean", "repairable", "broken" */

struct image_finding {
    const char *path;      /* the file; borrowed during the call, as are the other strings */
    const char *structure; /* "header 1", "log", "region table 2", "metadata", "BAT", "bitmap",
                              "parent locator", "chain", "file"; VHD: "footer", "footer copy",
                              "dynamic header", "block table"; VHD Set: "set header 1", ... */
    uint64_t offset;       /* in the file, of the structure or of the entry that is meant */
    enum image_verdict weight;
    const char *text; /* one line, lower case, no full stop */
};

typedef void (*image_check_report)(void *arg, const struct image_finding *f);

struct image_check_result {
    enum image_verdict verdict;
    unsigned files;    /* looked at, parents included */
    uint64_t findings; /* of any weight; those not reported too */
    bool log_replayed; /* of the leaf */

    /* Of the leaf; what was counted before it broke. */
    uint64_t blocks;         /* the disk has */
    uint64_t blocks_present; /* in the file, wholly */
    uint64_t blocks_partial; /* in the file, partly: differencing disks */
    uint64_t blocks_zero;    /* known to be zeros: states 1, 2, 3 */
    uint64_t unused_bytes;   /* of the file that belong to nothing */
};

/*
 * flags as for image_open(): with IMAGE_NO_PARENT the parents are not looked for.  report may be NULL.
 * VARVE_OK when the check was carried out, whatever it found; an error when it was not: no such file,
 * no right to read it, no memory, a disk that cannot be read (then *out is not set).  A file that is no
 * virtual disk at all is BROKEN, not an error.
 */
VARVE_CHECK enum varve_err image_check(struct image_check_result *out, struct fs *fs,
                                       const char *path, unsigned flags, image_check_report report,
                                       void *arg, struct varve_error *err);

#endif
