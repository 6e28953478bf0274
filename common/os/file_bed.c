/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file_bed.h"

#include <stdlib.h>

int
file_bed_make(void **state)
{
    struct file_bed *b = calloc(1, sizeof(*b));
    struct varve_error err;

    if (b == NULL || mem_fs_new(&b->mem, &err) != VARVE_OK ||
        fault_fs_new(&b->fault, mem_fs(b->mem), &err) != VARVE_OK) {
        return -1;
    }
    b->fs = fault_fs(b->fault);
    *state = b;
    return 0;
}

int
file_bed_free(void **state)
{
    struct file_bed *b = *state;

    fault_fs_free(b->fault);
    mem_fs_free(b->mem);
    free(b);
    return 0;
}
