/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_SOURCE_MEM_H
#define VARVE_SOURCE_SOURCE_MEM_H

#include "source/source.h"

/*
 * A source in memory, for tests.  map says, byte per 4 KiB, what source_map() answers: 0 zero, 1 data,
 * 2 unknown; NULL: all is data.  bytes NULL: a disk of zeros of any size.  Both are borrowed.
 */
struct source *source_mem_new(const uint8_t *bytes, uint64_t size, const uint8_t *map);

#endif
