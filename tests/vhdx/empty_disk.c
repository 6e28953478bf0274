/* SPDX-License-Identifier: Apache-2.0 */

/*
 * empty_disk vhdx|vhd FILE SIZE ID
 *
 * A dynamic disk without a block, as parent of a child whose real parent is not at hand.  ID is what
 * children know it by: the data write id of a VHDX, the unique id of a VHD.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/chain_gen.h"
#include "vhdx/vhd_gen.h"

static void
no_bytes(void *arg, void *buf, size_t len, uint64_t off)
{
    (void)arg;
    (void)off;
    memset(buf, 0, len);
}

static enum varve_err
make_vhdx(const char *path, uint64_t size, const struct guid *id, struct varve_error *err)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    enum varve_err rc;

    memset(&params, 0, sizeof(params));
    params.virtual_size = size;
    params.logical_sector = 512;
    params.physical_sector = 4096;
    params.data_write_guid = *id;
    params.file_write_guid = *id;
    params.disk_id = *id;
    rc = vhdx_plan_new(&p, &params, err);
    if (rc == VARVE_OK) {
        rc = vhdx_plan_seal(p, err);
    }
    if (rc == VARVE_OK) {
        rc = chain_write_plan(p, fs_system(), path, no_bytes, NULL, err);
    }
    vhdx_plan_free(p);
    return rc;
}

int
main(int argc, char **argv)
{
    struct varve_error err;
    struct guid id;
    char *end = NULL;
    uint64_t size;
    enum varve_err rc;

    if (argc != 5 || !guid_parse(&id, argv[4])) {
        (void)fprintf(stderr, "usage: empty_disk vhdx|vhd FILE SIZE ID\n");
        return 2;
    }
    errno = 0;
    size = strtoull(argv[3], &end, 10);
    if (errno != 0 || *end != '\0') {
        return 2;
    }
    if (strcmp(argv[1], "vhdx") == 0) {
        rc = make_vhdx(argv[2], size, &id, &err);
    } else {
        struct vhd_gen g;

        memset(&g, 0, sizeof(g));
        g.virtual_size = size;
        g.block_size = 2 << 20;
        g.id = id;
        rc = vhd_gen_write(&g, fs_system(), argv[2], &err);
    }
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
    }
    return rc == VARVE_OK ? 0 : 1;
}
