/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/mem_fs.h"
#include "vhdx/chain_gen.h"
#include "vhdx/image.h"

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

static void
mark(void *arg, void *buf, size_t len, uint64_t off)
{
    (void)off;
    memset(buf, *(const uint8_t *)arg, len);
}

/* A disk of 2 MiB named after its id; it holds the sector of that number.  parent 0: none. */
static void
write_link(struct mem_fs *m, unsigned id, unsigned parent)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    char name[32];
    char relative[32];
    uint8_t fill = (uint8_t)(id % 251 + 1);

    memset(&params, 0, sizeof(params));
    params.virtual_size = 2 << 20;
    params.block_size = 1 << 20;
    params.logical_sector = 512;
    params.physical_sector = 512;
    params.data_write_guid.bytes[0] = (uint8_t)id;
    params.data_write_guid.bytes[1] = (uint8_t)(id >> 8);
    if (parent != 0) {
        params.parent.present = true;
        params.parent.linkage.bytes[0] = (uint8_t)parent;
        params.parent.linkage.bytes[1] = (uint8_t)(parent >> 8);
        params.parent.relative_path = relative;
        (void)snprintf(relative, sizeof(relative), ".\\%u.vhdx", parent);
    }
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    assert_ok(vhdx_plan_add(p, (uint64_t)id * 512, 512, &err), &err);
    assert_ok(vhdx_plan_seal(p, &err), &err);
    (void)snprintf(name, sizeof(name), "d/%u.vhdx", id);
    assert_ok(chain_write_plan(p, mem_fs_fs(m), name, mark, &fill, &err), &err);
    vhdx_plan_free(p);
}

struct edge {
    uint64_t offset;
    uint64_t length;
};

/* A child whose extents read as 0x5a, over a parent that is 0x33 all over. */
static void
check_edges(uint64_t size, uint32_t block, const struct edge *edges, size_t count, uint64_t cut)
{
    struct mem_fs *m = mem_fs_new();
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    struct image *img = NULL;
    uint8_t *want = malloc((size_t)size);
    uint8_t *got = malloc((size_t)size);
    uint8_t fill = 0x5a;
    uint8_t below = 0x33;
    size_t i;

    assert_non_null(m);
    assert_non_null(want);
    assert_non_null(got);
    memset(want, below, (size_t)size);
    memset(&params, 0, sizeof(params));
    params.virtual_size = size;
    params.block_size = block;
    params.logical_sector = 512;
    params.physical_sector = 512;
    params.data_write_guid.bytes[0] = 1;
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    assert_ok(vhdx_plan_add(p, 0, size, &err), &err);
    assert_ok(vhdx_plan_seal(p, &err), &err);
    assert_ok(chain_write_plan(p, mem_fs_fs(m), "d/base.vhdx", mark, &below, &err), &err);
    vhdx_plan_free(p);
    params.data_write_guid.bytes[0] = 2;
    params.parent.present = true;
    params.parent.linkage.bytes[0] = 1;
    params.parent.relative_path = "base.vhdx";
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    for (i = 0; i < count; i++) {
        assert_ok(vhdx_plan_add(p, edges[i].offset, edges[i].length, &err), &err);
        memset(want + edges[i].offset, fill, (size_t)edges[i].length);
    }
    assert_ok(vhdx_plan_seal(p, &err), &err);
    assert_ok(chain_write_plan(p, mem_fs_fs(m), "d/leaf.avhdx", mark, &fill, &err), &err);
    assert_ok(mem_fs_set_size(m, "d/leaf.avhdx", vhdx_plan_file_size(p) - cut, &err), &err);
    vhdx_plan_free(p);
    assert_ok(image_open(&img, mem_fs_fs(m), "d/leaf.avhdx", 0, &err), &err);
    assert_ok(image_read(img, got, (size_t)size, 0, &err), &err);
    assert_memory_equal(got, want, (size_t)size);
    image_close(img);
    mem_fs_free(m);
    free(want);
    free(got);
}

#define MIB ((uint64_t)1024 * 1024)

static void
a_bit_may_change_where_a_piece_of_the_bitmap_ends(void **state)
{
    /* The bitmap is read 512 bytes at a time: 2 MiB of disk. */
    static const struct edge edges[] = {{0, 2 * MIB}, {6 * MIB, 2 * MIB}, {12 * MIB, MIB}};

    (void)state;
    check_edges(16 * MIB, 8 << 20, edges, 3, 0);
}

static void
a_last_sector_may_be_missing_between_two_full_blocks(void **state)
{
    static const struct edge edges[] = {{0, 2 * MIB - 512}, {2 * MIB, 2 * MIB}, {6 * MIB, 2 * MIB}};

    (void)state;
    check_edges(10 * MIB, 2 << 20, edges, 3, 0);
}

static void
a_last_sector_may_be_all_that_stands_between_two_gaps(void **state)
{
    static const struct edge edges[] = {{2 * MIB - 512, 512}, {4 * MIB, 512}};

    (void)state;
    check_edges(6 * MIB, 2 << 20, edges, 2, 0);
}

static void
what_the_disk_does_not_have_of_its_last_block_may_be_missing(void **state)
{
    static const struct edge edges[] = {{0, 512}, {4 * MIB, MIB}};

    (void)state;
    check_edges(5 * MIB, 4 << 20, edges, 2, 3 * MIB);
}

static void
a_chain_of_256_files_is_read_and_one_more_is_refused(void **state)
{
    struct mem_fs *m = mem_fs_new();
    struct image *img = NULL;
    struct image_info info;
    unsigned id;

    (void)state;
    assert_non_null(m);
    for (id = 1; id <= IMAGE_CHAIN_MAX + 1; id++) {
        write_link(m, id, id - 1);
    }
    assert_ok(image_open(&img, mem_fs_fs(m), "d/256.vhdx", 0, &err), &err);
    image_get_info(img, &info);
    assert_int_equal(info.chain_length, 256);
    for (id = 1; id <= 256; id++) {
        uint8_t byte = 0;

        assert_ok(image_read(img, &byte, 1, (uint64_t)id * 512 + 7, &err), &err);
        assert_int_equal(byte, id % 251 + 1);
    }
    image_close(img);
    assert_err(image_open(&img, mem_fs_fs(m), "d/257.vhdx", 0, &err), VARVE_ERR_LIMIT, &err);
    mem_fs_free(m);
}

static void
two_disks_that_are_each_others_parent_are_refused(void **state)
{
    struct mem_fs *m = mem_fs_new();
    struct image *img = NULL;

    (void)state;
    assert_non_null(m);
    write_link(m, 1, 2);
    write_link(m, 2, 1);
    assert_err(image_open(&img, mem_fs_fs(m), "d/1.vhdx", 0, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "comes back to 'd/1.vhdx'"));
    mem_fs_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_of_a_chain_reads_as_it_was_written),
        cmocka_unit_test(a_disk_of_several_bitmap_blocks_reads_as_it_was_written),
        cmocka_unit_test(a_bit_may_change_where_a_piece_of_the_bitmap_ends),
        cmocka_unit_test(a_last_sector_may_be_missing_between_two_full_blocks),
        cmocka_unit_test(a_last_sector_may_be_all_that_stands_between_two_gaps),
        cmocka_unit_test(what_the_disk_does_not_have_of_its_last_block_may_be_missing),
        cmocka_unit_test(a_chain_of_256_files_is_read_and_one_more_is_refused),
        cmocka_unit_test(two_disks_that_are_each_others_parent_are_refused),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
