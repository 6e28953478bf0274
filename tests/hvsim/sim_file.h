/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SIM_FILE_H
#define HVSIM_SIM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hvsim/sim_base.h"

/*
 * Whole reads and writes, sparse copies, and state files that are old or new but never torn.
 * Nothing is synced: the simulator must survive its own SIGKILL, not a power cut of the machine
 * it runs on, and the page cache does survive that.
 */

VARVE_CHECK uint32_t sim_pread(int fd, void *buf, size_t len, uint64_t off, const char *name,
                               struct sim_error *err);
VARVE_CHECK uint32_t sim_pwrite(int fd, const void *buf, size_t len, uint64_t off, const char *name,
                                struct sim_error *err);
/* Zeros without allocated blocks; past the end of the file nothing is done. */
VARVE_CHECK uint32_t sim_punch(int fd, uint64_t off, uint64_t len, const char *name,
                               struct sim_error *err);
VARVE_CHECK uint32_t sim_truncate(int fd, uint64_t size, const char *name, struct sim_error *err);
VARVE_CHECK uint32_t sim_size(int fd, uint64_t *out, const char *name, struct sim_error *err);

/* The next stretch at or after off that may hold data; false: only a hole is left up to size. */
bool sim_next_data(int fd, uint64_t off, uint64_t size, uint64_t *start, uint64_t *end);

/* A new file `to` (must not exist) with the content of `from`, holes kept. */
VARVE_CHECK uint32_t sim_copy_sparse(const char *from, const char *to, struct sim_error *err);

/* Replaces the file by way of a temporary one. */
VARVE_CHECK uint32_t sim_write_text(const char *path, const char *text, struct sim_error *err);
VARVE_CHECK uint32_t sim_mkdir(const char *path, struct sim_error *err); /* existing is fine */
VARVE_CHECK uint32_t sim_remove_tree(const char *path, struct sim_error *err);

bool sim_all_zero(const void *buf, size_t len);

#endif
