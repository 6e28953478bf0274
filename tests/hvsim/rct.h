/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_RCT_H
#define HVSIM_RCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hvsim/sim_base.h"

/*
 * Resilient change tracking of one disk: for each epoch a bitmap of the granules written in it, one
 * file per epoch.  Sealing ends an epoch; a change id means "the end of epoch e", and what changed
 * between it and a later sealed moment f is the union of the epochs e + 1 to f.
 *
 * The maps are shared mappings: a bit set before a write is there after a SIGKILL.
 */
struct rct;

#define RCT_COARSE ((uint64_t)1024 * 1024) /* what a power cut leaves of the unsealed epoch */

/* epoch is the current one; its map is made when missing. */
VARVE_CHECK uint32_t rct_open(struct rct **out, const char *folder, const char *disk, uint64_t size,
                              uint64_t granularity, uint64_t epoch, struct sim_error *err);
void rct_close(struct rct *r); /* NULL is fine */

uint64_t rct_epoch(const struct rct *r);
void rct_mark(struct rct *r, uint64_t off, uint64_t len);
/* Ends the current epoch and begins the next. */
VARVE_CHECK uint32_t rct_seal(struct rct *r, struct sim_error *err);
/* What a crash with loss of the fine log makes of the current epoch. */
void rct_coarsen(struct rct *r);
/* Maps of epochs up to this one are needed no more. */
void rct_drop_through(struct rct *r, uint64_t epoch);

/* The union of epochs first to last, one bit per granule, LSB first; the caller frees. */
VARVE_CHECK uint32_t rct_union(struct rct *r, uint64_t first, uint64_t last, uint8_t **bits,
                               uint64_t *granules, struct sim_error *err);

#endif
