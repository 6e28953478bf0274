/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_NAMES_NAMES_H
#define VARVE_NAMES_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "hash/chunk_id.h"
#include "os/file.h"

/*
 * What the chunks of a disk were called in one run: the agent's own copy of the names in a point's manifest,
 * kept where a host has no change tracking.  The next run hashes every chunk and says nothing of those
 * that have the same name in the same place: an unchanged disk costs a read and no byte on the wire.
 *
 * One file for each disk of a run, <state-dir>/names/<vm>.<run>.<disk>.part while the run goes on and
 * .names once it is kept (docs/format/names.md).  Which run's names may be used is not decided here: the collector
 * hands back the change id of its last committed point, and that id says the run.
 *
 * What is promised: names_same() calls a chunk the same only if names_put() of that run said so.  A place that was
 * never written, was not synced before the power went, or is damaged, is not the same as anything.  What is kept
 * was finished: it has all that was read of the disk.
 *
 * Size: 32 bytes a chunk, 512 MiB for each TiB at 64 KiB; stretches that a disk's map calls zero take no
 * space where the file system has holes.
 *
 * Threads: put and same from many threads at once, of different chunks; the others alone.
 */
struct names;

#define NAMES_BATCH 256u /* chunks of one put or same */

struct names_key {
    struct guid vm;
    struct guid run;
    struct guid disk;
};

/* A name of one kind fits a disk of one size that is cut into chunks of one size. */
struct names_shape {
    uint64_t size;
    uint32_t chunk_size;
};

/* Begins the names of a disk, or goes on with those of the same run. */
VARVE_CHECK enum varve_err names_begin(struct names **out, struct fs *fs, const char *state_dir,
                                       const struct names_key *key, const struct names_shape *shape,
                                       struct varve_error *err);
/* Names that were kept.  VARVE_ERR_NOT_FOUND; VARVE_ERR_STALE: of a disk of another shape, or damaged. */
VARVE_CHECK enum varve_err names_open(struct names **out, struct fs *fs, const char *state_dir,
                                      const struct names_key *key, const struct names_shape *shape,
                                      struct varve_error *err);
void names_close(struct names *n); /* NULL is fine */

/*
 * Chunks first to first + count (at most NAMES_BATCH): a bit of `present` for each that is not all zero, and
 * ids for those.  A write that fails is told by names_finish().
 */
void names_put(struct names *n, uint64_t first, size_t count, const uint8_t *present,
               const struct chunk_id *ids);
/* Sets same[i] for the chunks that were put as they are now. */
void names_same(struct names *n, uint64_t first, size_t count, const uint8_t *present,
                const struct chunk_id *ids, bool *same);
/* All of the disk was put: it is made durable and called whole, so that it can be kept.  Or the first error of a put. */
VARVE_CHECK enum varve_err names_finish(struct names *n, struct varve_error *err);

/* ---- of all disks of a run ---- */

/* From .part to .names, durably; those that were not finished go.  VARVE_ERR_NOT_FOUND: none was. */
VARVE_CHECK enum varve_err names_keep(struct fs *fs, const char *state_dir, const struct guid *vm,
                                      const struct guid *run, struct varve_error *err);
/* Whether those of a disk were kept. */
bool names_are_kept(struct fs *fs, const char *state_dir, const struct names_key *key);
/* Those of every run that was not kept: no run goes on. */
void names_sweep(struct fs *fs, const char *state_dir);
/* Of either kind; none is fine. */
VARVE_CHECK enum varve_err names_remove(struct fs *fs, const char *state_dir, const struct guid *vm,
                                        const struct guid *run, struct varve_error *err);
/* Calls cb for each run of the vm that has kept names, once for each disk. */
VARVE_CHECK enum varve_err names_list(struct fs *fs, const char *state_dir, const struct guid *vm,
                                      void (*cb)(void *arg, const struct guid *run), void *arg,
                                      struct varve_error *err);

#endif
