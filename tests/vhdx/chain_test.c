/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vhdx/chain_gen.h"

/*
 * Chains made by chance, written by the plan and read back by the reader at every level.  Other
 * programs are asked by readers.sh.  VARVE_VHDX_SEEDS: how many more than the usual number.
 */
#define USUAL_SEEDS 30u

static struct varve_error err;
static char folder[] = "/tmp/varve-chain-XXXXXX";

static int
make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void
remove_levels(unsigned count)
{
    char path[512];
    unsigned i;

    for (i = 0; i < count; i++) {
        chain_gen_name(path, sizeof(path), folder, i);
        (void)unlink(path);
    }
}

static void
run_shape(const struct chain_shape *shape, uint64_t seed)
{
    struct chain_gen g;
    enum varve_err rc;

    rc = chain_gen_init(&g, shape, seed, &err);
    while (rc == VARVE_OK && g.level < shape->levels) {
        rc = chain_gen_next(&g, fs_system(), folder, &err);
        if (rc == VARVE_OK) {
            rc = chain_gen_check(&g, fs_system(), folder, &err);
        }
    }
    remove_levels(g.level + 1);
    chain_gen_release(&g);
    if (rc != VARVE_OK) {
        fail_msg("seed %" PRIu64 ": %s", seed, err.msg);
    }
}

static void
every_level_of_a_chain_reads_as_it_was_written(void **state)
{
    const char *more = getenv("VARVE_VHDX_SEEDS");
    uint64_t seeds = USUAL_SEEDS + (more == NULL ? 0 : (uint64_t)strtoull(more, NULL, 10));
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= seeds; seed++) {
        struct chain_shape shape;

        chain_shape_random(&shape, seed);
        run_shape(&shape, seed);
    }
}

static void
a_disk_of_several_bitmap_blocks_reads_as_it_was_written(void **state)
{
    struct chain_shape shape = {
        .virtual_size = (UINT64_C(4) << 30) + (100 << 20),
        .block_size = {32 << 20, 2 << 20},
        .logical_sector = 512,
        .levels = 2,
        .extents = 40,
    };

    (void)state;
    run_shape(&shape, 4711);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_of_a_chain_reads_as_it_was_written),
        cmocka_unit_test(a_disk_of_several_bitmap_blocks_reads_as_it_was_written),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
