/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_FILE_BED_H
#define VARVE_OS_FILE_BED_H

#include "os/file_fault.h"
#include "os/file_mem.h"

/* For tests: a file system in memory, empty but for its root, that can fail. */
struct file_bed {
    struct mem_fs *mem;
    struct fault_fs *fault;
    struct fs *fs; /* fault's */
};

/* Setup and teardown of a case of cmocka: *state is the bed. */
int file_bed_make(void **state);
int file_bed_free(void **state);

#endif
