/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_SECRET_POOL_H
#define VARVE_CRYPTO_SECRET_POOL_H

#include <stddef.h>

/*
 * Memory for keys of which a process has thousands at a time: those of connections.
 *
 * sodium_malloc() gives each piece guard pages of its own, four mappings of the process; at two keys a
 * connection the kernel's limit (vm.max_map_count, 65530) was near at some 5,000 connections.  Here many
 * small pieces share one such region: locked, out of core dumps, with guard pages around the region, wiped when
 * they are freed.  A region is kept for the next keys once it was made.
 *
 * Threads: any.
 */

/* Zeroed, aligned to 64 bytes.  NULL: no memory. */
void *secret_alloc(size_t size);
/* Wipes; NULL is fine.  size: as allocated. */
void secret_free(void *p, size_t size);

#endif
