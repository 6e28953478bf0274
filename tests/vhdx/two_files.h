/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_TWO_FILES_H
#define VARVE_VHDX_TWO_FILES_H

#include "lib/mem_fs.h"
#include "vhdx/chain_gen.h"

/*
 * What tests of single bytes work on: a dynamic disk and its child, in memory.  For cmocka's set-up and tear-down.
 */
#define MIB   (UINT64_C(1024) * 1024)
#define BASE  "d/0.vhdx"
#define CHILD "d/1.avhdx"

/*
 * Whole blocks: the base holds 8 blocks of 1 MiB full of 1, at 4 to 12 MiB of the file; its child has 2 in the second
 * half of every block: its bitmap block stands at 4 MiB, its blocks from 5 MiB on.  *state is the struct mem_fs.
 */
#define BLOCKS 8u

int two_files_of_blocks(void **state);
int two_files_of_blocks_end(void **state);

/* Random extents, 6 MiB in blocks of 2 MiB.  *state is a struct two_files. */
struct two_files {
    struct mem_fs *m;
    struct chain_gen g;
};

int two_files_of_extents(void **state);
int two_files_of_extents_end(void **state);

#endif
