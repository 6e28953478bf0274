/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/vhdx_plan.h"

#define MIB (UINT64_C(1024) * 1024)

static struct varve_error err;

static struct vhdx_params
good_params(void)
{
    struct vhdx_params p;

    memset(&p, 0, sizeof(p));
    p.virtual_size = 100 * MIB;
    p.block_size = 2 << 20;
    p.logical_sector = 512;
    p.physical_sector = 4096;
    p.data_write_guid.bytes[0] = 1;
    p.file_write_guid.bytes[0] = 2;
    p.disk_id.bytes[0] = 3;
    return p;
}

static void
make_child(struct vhdx_params *p)
{
    p->parent.present = true;
    p->parent.linkage.bytes[0] = 9;
    p->parent.relative_path = ".\\base.vhdx";
}

static struct vhdx_plan *
plan(const struct vhdx_params *params)
{
    struct vhdx_plan *p = NULL;

    assert_ok(vhdx_plan_new(&p, params, &err), &err);
    return p;
}

static void
add(struct vhdx_plan *p, uint64_t offset, uint64_t length)
{
    assert_ok(vhdx_plan_add(p, offset, length, &err), &err);
}

static void
seal(struct vhdx_plan *p)
{
    assert_ok(vhdx_plan_seal(p, &err), &err);
}

static uint64_t
bat_entry(const struct vhdx_plan *p, uint64_t index)
{
    uint8_t raw[8];

    vhdx_plan_meta(p, 3 * MIB + index * 8, raw, sizeof(raw));
    return get_le64(raw);
}

static void
expect_segment(const struct vhdx_plan *p, uint64_t off, enum vhdx_segment_kind kind,
               uint64_t length, uint64_t disk_offset)
{
    struct vhdx_segment s;

    vhdx_plan_segment(p, off, &s);
    assert_int_equal(s.kind, kind);
    assert_int_equal(s.length, length);
    if (kind == VHDX_SEGMENT_DISK) {
        assert_int_equal(s.disk_offset, disk_offset);
    }
}

static void
impossible_parameters_are_refused(void **state)
{
    struct vhdx_params cases[14];
    struct vhdx_plan *p = NULL;
    size_t i;

    (void)state;
    for (i = 0; i < 14; i++) {
        cases[i] = good_params();
    }
    cases[0].virtual_size = 0;
    cases[1].virtual_size = 511;
    cases[2].virtual_size = (UINT64_C(64) << 40) + 512;
    cases[3].block_size = 3 << 20;
    cases[4].block_size = 512 << 10;
    cases[5].block_size = 512 << 20;
    cases[6].logical_sector = 1024;
    cases[7].physical_sector = 0;
    cases[8].data_write_guid.bytes[0] = 0;
    make_child(&cases[9]);
    cases[9].parent.linkage.bytes[0] = 0;
    make_child(&cases[10]);
    cases[10].parent.relative_path = NULL;
    make_child(&cases[11]);
    cases[11].fixed = true;
    make_child(&cases[12]);
    cases[12].parent.relative_path = "\xff";
    make_child(&cases[13]);
    cases[13].parent.absolute_path = "";
    for (i = 0; i < 14; i++) {
        if (vhdx_plan_new(&p, &cases[i], &err) != VARVE_ERR_INVALID) {
            fail_msg("case %zu was accepted", i);
        }
    }
}

static void
the_default_block_size_depends_on_the_parent(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;
    uint8_t raw[4];

    (void)state;
    params.block_size = 0;
    p = plan(&params);
    seal(p);
    vhdx_plan_meta(p, 2 * MIB + 65536, raw, 4);
    assert_int_equal(get_le32(raw), 32 << 20);
    vhdx_plan_free(p);
    make_child(&params);
    p = plan(&params);
    seal(p);
    vhdx_plan_meta(p, 2 * MIB + 65536, raw, 4);
    assert_int_equal(get_le32(raw), 2 << 20);
    vhdx_plan_free(p);
}

static void
extents_out_of_order_or_place_are_refused(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p = plan(&params);

    (void)state;
    add(p, 10 * MIB, 4096);
    assert_err(vhdx_plan_add(p, 10 * MIB, 512, &err), VARVE_ERR_INVALID, &err);
    assert_err(vhdx_plan_add(p, 0, 512, &err), VARVE_ERR_INVALID, &err);
    assert_err(vhdx_plan_add(p, 11 * MIB + 1, 512, &err), VARVE_ERR_INVALID, &err);
    assert_err(vhdx_plan_add(p, 11 * MIB, 100, &err), VARVE_ERR_INVALID, &err);
    assert_err(vhdx_plan_add(p, 100 * MIB - 512, 1024, &err), VARVE_ERR_INVALID, &err);
    assert_err(vhdx_plan_add(p, UINT64_MAX - 511, 512, &err), VARVE_ERR_INVALID, &err);
    add(p, 100 * MIB - 512, 512);
    seal(p);
    assert_err(vhdx_plan_seal(p, &err), VARVE_ERR_INVALID, &err);
    vhdx_plan_free(p);
}

static void
blocks_of_a_dynamic_disk_stand_in_ascending_order(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p = plan(&params);

    (void)state;
    params.virtual_size = 100 * MIB;
    add(p, 4 * MIB + 512, 512);
    add(p, 9 * MIB, 4 * MIB); /* blocks 4, 5 and 6 */
    seal(p);
    assert_int_equal(vhdx_plan_file_size(p), (4 + 4 * 2) * MIB);
    assert_int_equal(bat_entry(p, 0), 0);
    assert_int_equal(bat_entry(p, 2), 4 * MIB + 6);
    assert_int_equal(bat_entry(p, 3), 0);
    assert_int_equal(bat_entry(p, 4), 6 * MIB + 6);
    assert_int_equal(bat_entry(p, 5), 8 * MIB + 6);
    assert_int_equal(bat_entry(p, 6), 10 * MIB + 6);
    assert_int_equal(bat_entry(p, 49), 0);
    expect_segment(p, 4 * MIB, VHDX_SEGMENT_DISK, 2 * MIB, 4 * MIB);
    expect_segment(p, 6 * MIB + 100, VHDX_SEGMENT_DISK, 2 * MIB - 100, 8 * MIB + 100);
    expect_segment(p, 12 * MIB - 1, VHDX_SEGMENT_DISK, 1, 14 * MIB - 1);
    vhdx_plan_free(p);
}

static void
a_fixed_disk_has_every_block_and_zeros_where_nothing_was_added(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;

    (void)state;
    params.fixed = true;
    params.virtual_size = 5 * MIB;
    p = plan(&params);
    add(p, 2 * MIB, 512);
    add(p, 4 * MIB, 512);
    seal(p);
    assert_int_equal(vhdx_plan_file_size(p), 10 * MIB);
    assert_int_equal(bat_entry(p, 0), 4 * MIB + 6);
    assert_int_equal(bat_entry(p, 2), 8 * MIB + 6);
    expect_segment(p, 4 * MIB, VHDX_SEGMENT_ZERO, 2 * MIB, 0);
    expect_segment(p, 6 * MIB, VHDX_SEGMENT_DISK, 2 * MIB, 2 * MIB);
    /* The last block is longer than the disk. */
    expect_segment(p, 8 * MIB, VHDX_SEGMENT_DISK, MIB, 4 * MIB);
    expect_segment(p, 9 * MIB, VHDX_SEGMENT_ZERO, MIB, 0);
    vhdx_plan_free(p);
}

static void
a_child_holds_what_was_added_and_nothing_else(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;
    uint8_t bits[1024];

    (void)state;
    make_child(&params);
    p = plan(&params);
    add(p, 2 * MIB + 512, 1024);
    add(p, 2 * MIB + 2048, 512);
    add(p, 7 * MIB, 2 * MIB);
    seal(p);
    /* One bitmap block, then blocks 1, 3 and 4. */
    assert_int_equal(vhdx_plan_file_size(p), (5 + 3 * 2) * MIB);
    assert_int_equal(bat_entry(p, 0), 0);
    assert_int_equal(bat_entry(p, 1), 5 * MIB + 7);
    assert_int_equal(bat_entry(p, 3), 7 * MIB + 7);
    assert_int_equal(bat_entry(p, 4), 9 * MIB + 7);
    assert_int_equal(bat_entry(p, 2048), 4 * MIB + 6);
    vhdx_plan_meta(p, 4 * MIB + 512, bits, sizeof(bits)); /* of blocks 1 and 2 */
    assert_int_equal(bits[0], 0x16);
    assert_int_equal(bits[1], 0);
    vhdx_plan_meta(p, 4 * MIB + 3 * 512, bits, sizeof(bits)); /* of blocks 3 and 4 */
    assert_int_equal(bits[255], 0);
    assert_int_equal(bits[256], 0xff);
    assert_int_equal(bits[512 + 255], 0xff);
    assert_int_equal(bits[512 + 256], 0);
    expect_segment(p, 5 * MIB, VHDX_SEGMENT_ZERO, 512, 0);
    expect_segment(p, 5 * MIB + 512, VHDX_SEGMENT_DISK, 1024, 2 * MIB + 512);
    expect_segment(p, 5 * MIB + 1536, VHDX_SEGMENT_ZERO, 512, 0);
    expect_segment(p, 5 * MIB + 2048, VHDX_SEGMENT_DISK, 512, 2 * MIB + 2048);
    expect_segment(p, 5 * MIB + 2560, VHDX_SEGMENT_ZERO, 2 * MIB - 2560, 0);
    expect_segment(p, 8 * MIB, VHDX_SEGMENT_DISK, MIB, 7 * MIB);
    expect_segment(p, 9 * MIB, VHDX_SEGMENT_DISK, MIB, 8 * MIB);
    expect_segment(p, 10 * MIB, VHDX_SEGMENT_ZERO, MIB, 0);
    vhdx_plan_free(p);
}

static void
every_chunk_of_a_child_has_its_bitmap_block(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;

    (void)state;
    make_child(&params);
    params.virtual_size = 9 * 1024 * MIB; /* three chunks of 4 GiB */
    p = plan(&params);
    add(p, 5 * 1024 * MIB, 512);
    seal(p);
    assert_int_equal(vhdx_plan_file_size(p), (4 + 3 + 2) * MIB);
    assert_int_equal(bat_entry(p, 2048), 4 * MIB + 6);
    assert_int_equal(bat_entry(p, 2 * 2048 + 1), 5 * MIB + 6);
    assert_int_equal(bat_entry(p, 3 * 2048 + 2), 6 * MIB + 6);
    assert_int_equal(bat_entry(p, 2560 + 1), 7 * MIB + 7);
    expect_segment(p, 4 * MIB, VHDX_SEGMENT_ZERO, MIB, 0);
    expect_segment(p, 5 * MIB + 10, VHDX_SEGMENT_META, MIB - 10, 0);
    expect_segment(p, 6 * MIB, VHDX_SEGMENT_ZERO, MIB, 0);
    vhdx_plan_free(p);
}

/* All META bytes, asked for in pieces of `step`. */
static void
collect(const struct vhdx_plan *p, uint8_t *out, size_t step)
{
    uint64_t off = 0;

    memset(out, 0, (size_t)vhdx_plan_file_size(p));
    while (off < vhdx_plan_file_size(p)) {
        struct vhdx_segment s;
        size_t n;

        vhdx_plan_segment(p, off, &s);
        assert_true(s.length > 0 && s.length <= vhdx_plan_file_size(p) - off);
        n = s.length < step ? (size_t)s.length : step;
        if (s.kind == VHDX_SEGMENT_META) {
            vhdx_plan_meta(p, off, out + off, n);
            off += n;
        } else {
            off += s.length;
        }
    }
}

static void
pieces_of_any_size_are_the_same_file(void **state)
{
    static const size_t steps[] = {1000, 4097, 7, 65536};
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;
    uint8_t *whole;
    uint8_t *pieces;
    size_t size;
    size_t i;

    (void)state;
    make_child(&params);
    p = plan(&params);
    add(p, 512, 3 * MIB);
    add(p, 50 * MIB, 77 * 512);
    seal(p);
    size = (size_t)vhdx_plan_file_size(p);
    whole = malloc(size);
    pieces = malloc(size);
    assert_non_null(whole);
    assert_non_null(pieces);
    collect(p, whole, SIZE_MAX);
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        collect(p, pieces, steps[i]);
        assert_memory_equal(whole, pieces, size);
    }
    free(whole);
    free(pieces);
    vhdx_plan_free(p);
}

static void
the_largest_disk_can_be_planned(void **state)
{
    struct vhdx_params params = good_params();
    struct vhdx_plan *p;
    uint64_t blocks = UINT64_C(1) << 26;
    uint64_t payload;

    (void)state;
    params.virtual_size = UINT64_C(64) << 40;
    params.block_size = 1 << 20;
    p = plan(&params);
    add(p, 0, MIB);
    add(p, 2 * MIB, params.virtual_size - 2 * MIB);
    seal(p);
    payload = vhdx_plan_file_size(p) - (blocks - 1) * MIB;
    assert_int_equal(payload, (3 + 513) * MIB); /* 2^26 entries and 2^14 - 1 of bitmaps */
    assert_int_equal(bat_entry(p, blocks - 1 + (blocks - 1) / 4096),
                     (payload + (blocks - 2) * MIB) | 6);
    expect_segment(p, vhdx_plan_file_size(p) - MIB, VHDX_SEGMENT_DISK, MIB,
                   params.virtual_size - MIB);
    vhdx_plan_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_parameters_are_refused),
        cmocka_unit_test(the_default_block_size_depends_on_the_parent),
        cmocka_unit_test(extents_out_of_order_or_place_are_refused),
        cmocka_unit_test(blocks_of_a_dynamic_disk_stand_in_ascending_order),
        cmocka_unit_test(a_fixed_disk_has_every_block_and_zeros_where_nothing_was_added),
        cmocka_unit_test(a_child_holds_what_was_added_and_nothing_else),
        cmocka_unit_test(every_chunk_of_a_child_has_its_bitmap_block),
        cmocka_unit_test(pieces_of_any_size_are_the_same_file),
        cmocka_unit_test(the_largest_disk_can_be_planned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
