/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_SOURCE_H
#define VARVE_SOURCE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "extent/extent.h"
#include "os/file.h"

/*
 * A source reads the bytes of one frozen disk.  How the disk was frozen is no business of it: it is
 * given a path.  Members: source_file (our own reader of VHDX, VHD and raw images), source_virtdisk
 * (virtdisk.dll of a Hyper-V host), source_rsvd (a VHD set on a file server), source_export (a
 * differential export), source_fault (fails the n-th call of another source), source_trace (counts
 * what another source was asked).
 * source_contract_test.c runs the same cases over all of them.
 *
 * What every source promises:
 *   1. source_read() gives exactly what the frozen disk holds, or an error; never fewer bytes.
 *   2. source_map() says EXTENT_ZERO only where source_read() would give zeros.  EXTENT_DATA and
 *      EXTENT_UNKNOWN promise nothing: the bytes may turn out to be zero.
 *   3. source_map() and source_read() do not change the disk.
 *
 * Threads: source_map() and source_read() from many threads at once; source_close() when nobody
 * uses the source any more.
 */
struct source;

struct source_info {
    uint64_t size; /* of the virtual disk, bytes */
    uint32_t logical_sector;
    uint32_t physical_sector;
    uint32_t block_size; /* of the image's format; 0 none */
    bool has_page83;
    struct guid page83;
    char format[8]; /* "vhdx", "vhd", "raw" */
};

struct source_ops {
    void (*close)(struct source *s);
    void (*get_info)(const struct source *s, struct source_info *out);
    enum varve_err (*map)(struct source *s, uint64_t off, uint64_t max, uint64_t *len,
                          enum extent_kind *kind, struct varve_error *err);
    enum varve_err (*read)(struct source *s, void *buf, size_t len, uint64_t off,
                           struct varve_error *err);
};

struct source {
    const struct source_ops *ops;
};

/* A frozen disk in a file: VHDX or VHD (parents are found by themselves) or, with allow_raw, a raw
 * image. */
VARVE_CHECK enum varve_err source_file_open(struct source **out, struct fs *fs, const char *path,
                                            bool allow_raw, struct varve_error *err);

/*
 * One disk of a differential export: a differencing VHDX or VHD whose parent is not there.  What it has not, nobody
 * asks for, but for the rest of a chunk that changed in part: that comes from under, the frozen disk itself.  under
 * NULL: reading it is VARVE_ERR_INVALID.
 */
VARVE_CHECK enum varve_err source_export_open(struct source **out, struct fs *fs, const char *path,
                                              const char *under, struct varve_error *err);

/* Takes inner.  The nth call of map or read from now on (1 = the next) fails with code; 0: none. */
VARVE_CHECK enum varve_err source_fault_new(struct source **out, struct source *inner, unsigned nth,
                                            enum varve_err code, struct varve_error *err);

struct source_trace_counts {
    uint64_t reads;
    uint64_t read_bytes;
    uint64_t maps;
    uint64_t in_flight_max; /* most reads at one time */
    uint64_t meet; /* set by the caller: a read waits, 10 s at most, until as many were in flight */
};

/* Takes inner.  *counts is the caller's, lives longer than the source and may be looked at when no
 * call is going on. */
VARVE_CHECK enum varve_err source_trace_new(struct source **out, struct source *inner,
                                            struct source_trace_counts *counts,
                                            struct varve_error *err);

void source_close(struct source *s); /* NULL is fine */
void source_get_info(const struct source *s, struct source_info *out);

/* What stands at off < size, for how long: *len is 1 to max, and does not pass the end. */
VARVE_CHECK enum varve_err source_map(struct source *s, uint64_t off, uint64_t max, uint64_t *len,
                                      enum extent_kind *kind, struct varve_error *err);

/* All len bytes at off; past the end of the disk is VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err source_read(struct source *s, void *buf, size_t len, uint64_t off,
                                       struct varve_error *err);

#endif
