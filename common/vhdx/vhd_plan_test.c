/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "base/endian.h"
#include "vhdx/disk_plan.h"
#include "vhdx/vhd_plan.h"

#define MIB (UINT64_C(1024) * 1024)
#define GIB (1024 * MIB)

static struct varve_error err;

static struct vhd_params
good_params(uint64_t size)
{
    struct vhd_params p = {.virtual_size = size};

    p.id.bytes[3] = 7;
    p.created_us = (INT64_C(946684800) + 86400) * 1000000;
    return p;
}

static struct vhd_plan *
plan(const struct vhd_params *params)
{
    struct vhd_plan *p = NULL;

    assert_ok(vhd_plan_new(&p, params, &err), &err);
    return p;
}

/* 10 MiB: and 127 GiB as samples made by Windows have it; 1 GiB and 2040 GiB: as any table of IDE disks does. */
static void
the_geometry_is_that_of_the_specification(void **state)
{
    static const struct {
        uint64_t size;
        uint16_t cylinders;
        uint8_t heads;
        uint8_t sectors;
    } cases[] = {
        {512, 0, 4, 17},
        {10 * MIB, 301, 4, 17},
        {200 * MIB, 825, 16, 31},
        {500 * MIB, 1015, 16, 63},
        {GIB, 2080, 16, 63},
        {127 * GIB, 65278, 16, 255},
        {2040 * GIB, 65535, 16, 255},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vhd_params params = good_params(cases[i].size);
        struct vhd_plan *p = plan(&params);
        uint8_t f[512];

        assert_ok(vhd_plan_seal(p, &err), &err);
        vhd_plan_meta(p, 0, f, sizeof(f));
        assert_int_equal(get_be64(f + 40), cases[i].size);
        assert_int_equal(get_be64(f + 48), cases[i].size);
        assert_int_equal(get_be16(f + 56), cases[i].cylinders);
        assert_int_equal(f[58], cases[i].heads);
        assert_int_equal(f[59], cases[i].sectors);
        assert_int_equal(get_be32(f + 24), 86400);
        vhd_plan_free(p);
    }
}

static void
what_no_vhd_can_be_is_refused(void **state)
{
    struct vhd_params cases[4];
    struct disk_params big_sectors = {.format = DISK_VHD};
    struct disk_plan *d = NULL;
    struct vhd_plan *p = NULL;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        cases[i] = good_params(10 * MIB);
    }
    cases[0].virtual_size = 0;
    cases[1].virtual_size = 1000;
    cases[2].virtual_size = 2040 * GIB + 512;
    memset(&cases[3].id, 0, sizeof(cases[3].id));
    for (size_t i = 0; i < 4; i++) {
        assert_err(vhd_plan_new(&p, &cases[i], &err), VARVE_ERR_INVALID, &err);
    }
    assert_err(vhd_plan_new(&p, &cases[2], &err), VARVE_ERR_INVALID, &err);
    assert_non_null(strstr(err.msg, "2040 GiB"));
    big_sectors.disk.virtual_size = 10 * MIB;
    big_sectors.disk.logical_sector = 4096;
    big_sectors.disk.disk_id.bytes[0] = 1;
    assert_err(disk_plan_new(&d, &big_sectors, &err), VARVE_ERR_INVALID, &err);
}

static void
data_of_a_dynamic_vhd_stands_at_multiples_of_4_kib(void **state)
{
    struct vhd_params params = good_params(9 * MIB);
    struct vhd_plan *p = plan(&params);
    struct vhdx_segment s;
    uint8_t entry[4];
    uint64_t size;

    (void)state;
    assert_ok(vhd_plan_add(p, 2 * MIB, 512, &err), &err);
    assert_int_equal(vhd_plan_place(p, 2 * MIB + 100) % 4096, 100);
    assert_ok(vhd_plan_add(p, 9 * MIB - 512, 512, &err), &err);
    assert_err(vhd_plan_add(p, 4 * MIB, 512, &err), VARVE_ERR_INVALID, &err);
    size = vhd_plan_size_so_far(p);
    assert_ok(vhd_plan_seal(p, &err), &err);
    assert_int_equal(vhd_plan_file_size(p), size);
    for (unsigned i = 0; i < 5; i++) {
        vhd_plan_meta(p, 1536 + i * 4, entry, 4);
        assert_int_equal(get_be32(entry), i == 1 ? 7 : i == 4 ? 7 + 4104 : 0xffffffff);
    }
    vhd_plan_segment(p, 7 * 512, &s);
    assert_int_equal(s.kind, VHDX_SEGMENT_META);
    assert_int_equal(s.length, 512);
    vhd_plan_segment(p, 4096, &s);
    assert_int_equal(s.kind, VHDX_SEGMENT_DISK);
    assert_int_equal(s.disk_offset, 2 * MIB);
    assert_int_equal(s.length, 2 * MIB);
    /* The last block is longer than the disk. */
    vhd_plan_segment(p, (7 + 4104 + 1) * 512, &s);
    assert_int_equal(s.kind, VHDX_SEGMENT_DISK);
    assert_int_equal(s.disk_offset, 8 * MIB);
    assert_int_equal(s.length, MIB);
    vhd_plan_segment(p, (7 + 4104 + 1) * 512 + MIB, &s);
    assert_int_equal(s.kind, VHDX_SEGMENT_ZERO);
    vhd_plan_free(p);
}

static void
the_largest_vhd_can_be_planned(void **state)
{
    struct vhd_params params = good_params(2040 * GIB);
    struct vhd_plan *p = plan(&params);
    uint8_t entry[4];

    (void)state;
    assert_ok(vhd_plan_add(p, 0, 2040 * GIB, &err), &err);
    assert_ok(vhd_plan_seal(p, &err), &err);
    vhd_plan_meta(p, 1536 + (2040 * 512 - 1) * 4, entry, 4);
    assert_true(get_be32(entry) < 0xffffffff);
    assert_int_equal((get_be32(entry) + 4104) * UINT64_C(512) + 512, vhd_plan_file_size(p));
    vhd_plan_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_geometry_is_that_of_the_specification),
        cmocka_unit_test(what_no_vhd_can_be_is_refused),
        cmocka_unit_test(data_of_a_dynamic_vhd_stands_at_multiples_of_4_kib),
        cmocka_unit_test(the_largest_vhd_can_be_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
