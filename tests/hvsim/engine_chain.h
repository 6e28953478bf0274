/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_ENGINE_CHAIN_H
#define HVSIM_ENGINE_CHAIN_H

#include "hvsim/engine_internal.h"

/*
 * A disk as seen from one of its files, down to the base.  The active file is borrowed from the
 * disk, the others are opened anew, so a chain lives only within one call.
 */
struct chain;

VARVE_CHECK uint32_t chain_open(struct chain **out, struct sim_host *h, struct sim_vm *vm,
                                struct sim_disk *d, const struct guid *file, struct sim_error *err);
void chain_close(struct chain *c); /* NULL is fine */
VARVE_CHECK uint32_t chain_read(struct chain *c, void *buf, size_t len, uint64_t off,
                                struct sim_error *err);

#endif
