/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "vhdx/two_files.h"

static struct varve_error err;

static void
bytes(void *arg, void *buf, size_t len, uint64_t off)
{
    (void)off;
    memset(buf, *(int *)arg, len);
}

static void
write_disk(struct mem_fs *m, const char *path, int level)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    int fill = level + 1;
    unsigned i;

    memset(&params, 0, sizeof(params));
    params.virtual_size = BLOCKS * MIB;
    params.block_size = 1 << 20;
    params.logical_sector = 512;
    params.physical_sector = 4096;
    params.data_write_guid.bytes[0] = (uint8_t)(level + 1);
    if (level > 0) {
        params.parent.present = true;
        params.parent.linkage.bytes[0] = (uint8_t)level;
        params.parent.relative_path = ".\\0.vhdx";
    }
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    for (i = 0; i < BLOCKS; i++) {
        assert_ok(
            vhdx_plan_add(p, i * MIB + (level > 0 ? MIB / 2 : 0), level > 0 ? MIB / 2 : MIB, &err),
            &err);
    }
    assert_ok(vhdx_plan_seal(p, &err), &err);
    assert_ok(chain_write_plan(p, mem_fs_fs(m), path, bytes, &fill, &err), &err);
    vhdx_plan_free(p);
}

int
two_files_of_blocks(void **state)
{
    struct mem_fs *m = mem_fs_new();

    if (m == NULL) {
        return -1;
    }
    write_disk(m, BASE, 0);
    write_disk(m, CHILD, 1);
    *state = m;
    return 0;
}

int
two_files_of_blocks_end(void **state)
{
    mem_fs_free(*state);
    return 0;
}

int
two_files_of_extents(void **state)
{
    static const struct chain_shape shape = {
        .virtual_size = 6 * MIB,
        .block_size = {2 << 20, 2 << 20},
        .logical_sector = 512,
        .levels = 2,
        .extents = 20,
    };
    struct two_files *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        return -1;
    }
    l->m = mem_fs_new();
    if (l->m == NULL || chain_gen_init(&l->g, &shape, 5, &err) != VARVE_OK ||
        chain_gen_next(&l->g, mem_fs_fs(l->m), "d", &err) != VARVE_OK ||
        chain_gen_next(&l->g, mem_fs_fs(l->m), "d", &err) != VARVE_OK) {
        mem_fs_free(l->m);
        free(l);
        return -1;
    }
    *state = l;
    return 0;
}

int
two_files_of_extents_end(void **state)
{
    struct two_files *l = *state;

    chain_gen_release(&l->g);
    mem_fs_free(l->m);
    free(l);
    return 0;
}
