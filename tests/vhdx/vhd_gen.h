/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_VHDX_VHD_GEN_H
#define VARVE_TESTS_VHDX_VHD_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"
#include "os/file.h"

/* Writes a dynamic or differencing VHD: footer copy, header, locators, table, blocks, footer. */
struct vhd_gen {
    uint64_t virtual_size;
    uint32_t block_size;
    struct guid id;
    bool child;
    struct guid parent_id;
    const char *parent_name;   /* in the header; "" none */
    const char *relative_path; /* W2ru; NULL: none */
    const char *absolute_path; /* W2ku; NULL: none */

    /* Sectors that stand in the file; NULL: none do. */
    bool (*has_sector)(void *arg, uint64_t sector);
    void (*bytes)(void *arg, uint8_t out[512], uint64_t sector);
    void *arg;
    uint8_t junk; /* what unset sectors of a block in the file hold */
};

VARVE_CHECK enum varve_err vhd_gen_write(const struct vhd_gen *g, struct fs *fs, const char *path,
                                         struct varve_error *err);

#endif
