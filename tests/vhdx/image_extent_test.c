/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/image.h"
#include "vhdx/two_files.h"
#include "vhdx/vhd_gen.h"
#include "vhdx/vhdx_edit.h"

/* What the iterator says of every state a block can be in. */

static struct varve_error err;

static void
expect(struct image *img, const struct image_extent *want, size_t count)
{
    struct image_info info;
    uint64_t off = 0;
    size_t i;

    image_get_info(img, &info);
    for (i = 0; i < count; i++) {
        struct image_extent e;

        assert_ok(image_next_extent(img, off, &e, &err), &err);
        if (e.offset != off || e.length != want[i].length || e.kind != want[i].kind ||
            e.file != want[i].file || e.file_offset != want[i].file_offset) {
            fail_msg("extent %zu: %" PRIu64 " bytes of kind %d in file %u at %" PRIu64, i, e.length,
                     e.kind, e.file, e.file_offset);
        }
        off += e.length;
    }
    assert_int_equal(off, info.virtual_size);
}

static void
set_state(struct mem_fs *m, const char *path, unsigned block, unsigned state)
{
    uint64_t raw = edit_get_le64(m, path, EDIT_BAT + 8 * (uint64_t)block);

    edit_le64(m, path, EDIT_BAT + 8 * (uint64_t)block, (raw & ~UINT64_C(7)) | state);
}

static void
every_state_of_a_block_has_its_kind(void **state)
{
    static const struct image_extent want[] = {
        {0, 2 * MIB, IMAGE_EXTENT_DATA, 0, 4 * MIB}, {0, MIB, IMAGE_EXTENT_ZERO, 0, 0},
        {0, 3 * MIB, IMAGE_EXTENT_HOLE, 0, 0},       {0, MIB, IMAGE_EXTENT_ZERO, 0, 0},
        {0, MIB, IMAGE_EXTENT_DATA, 0, 11 * MIB},
    };
    struct mem_fs *m = *state;
    struct image *img = NULL;

    set_state(m, BASE, 2, 2);
    set_state(m, BASE, 3, 0); /* never written */
    set_state(m, BASE, 4, 1); /* undefined */
    set_state(m, BASE, 5, 3); /* unmapped */
    set_state(m, BASE, 6, 2);
    assert_ok(image_open(&img, mem_fs_fs(m), BASE, 0, &err), &err);
    expect(img, want, sizeof(want) / sizeof(want[0]));
    image_close(img);
}

static void
a_child_hides_its_parent_or_asks_it(void **state)
{
    static const struct image_extent merged[] = {
        {0, MIB / 2, IMAGE_EXTENT_DATA, 1, 4 * MIB},
        {0, MIB / 2, IMAGE_EXTENT_DATA, 0, 5 * MIB + MIB / 2},
        {0, MIB, IMAGE_EXTENT_ZERO, 0, 0},
        {0, MIB, IMAGE_EXTENT_HOLE, 0, 0},
        {0, 5 * MIB, IMAGE_EXTENT_DATA, 1, 7 * MIB},
    };
    static const struct image_extent own[] = {
        {0, MIB / 2, IMAGE_EXTENT_PARENT, 0, 0},
        {0, MIB / 2, IMAGE_EXTENT_DATA, 0, 5 * MIB + MIB / 2},
        {0, MIB, IMAGE_EXTENT_ZERO, 0, 0},
        {0, MIB, IMAGE_EXTENT_HOLE, 0, 0},
        {0, 5 * MIB, IMAGE_EXTENT_PARENT, 0, 0},
    };
    struct mem_fs *m = *state;
    struct image *img = NULL;
    unsigned i;

    set_state(m, CHILD, 1, 2);
    set_state(m, CHILD, 2, 3);
    for (i = 3; i < BLOCKS; i++) {
        set_state(m, CHILD, i, 0);
    }
    assert_ok(image_open(&img, mem_fs_fs(m), CHILD, 0, &err), &err);
    expect(img, merged, sizeof(merged) / sizeof(merged[0]));
    image_close(img);
    assert_ok(image_open(&img, mem_fs_fs(m), CHILD, IMAGE_NO_PARENT, &err), &err);
    expect(img, own, sizeof(own) / sizeof(own[0]));
    image_close(img);
}

/* Gives the pages of [from, to) back, as a file system does that punches holes. */
static void
punch(struct mem_fs *m, const char *path, uint64_t from, uint64_t to)
{
    uint64_t size = mem_fs_size(m, path);
    size_t len = (size_t)(size - to);
    uint8_t *tail = malloc(len);

    assert_non_null(tail);
    mem_fs_get(m, path, tail, len, to);
    assert_ok(mem_fs_set_size(m, path, from, &err), &err);
    edit_put(m, path, to, tail, len);
    free(tail);
}

static void
a_hole_of_the_file_under_data_is_one_of_the_disk(void **state)
{
    static const struct image_extent want[] = {
        {0, MIB, IMAGE_EXTENT_DATA, 0, 4 * MIB},
        {0, 3 * MIB, IMAGE_EXTENT_HOLE, 0, 0},
        {0, 4 * MIB, IMAGE_EXTENT_DATA, 0, 8 * MIB},
    };
    struct mem_fs *m = *state;
    struct image *img = NULL;
    enum image_map_kind kind = IMAGE_MAP_DATA;
    uint64_t len = 0;

    punch(m, BASE, 5 * MIB, 8 * MIB);
    assert_ok(image_open(&img, mem_fs_fs(m), BASE, 0, &err), &err);
    expect(img, want, sizeof(want) / sizeof(want[0]));
    assert_ok(image_map(img, MIB, 7 * MIB, &len, &kind, &err), &err);
    assert_int_equal(kind, IMAGE_MAP_ZERO);
    assert_int_equal(len, 3 * MIB);
    image_close(img);
}

/* What the log writes into a hole stands nowhere in the file but in the log. */
static void
a_hole_under_a_replayed_log_is_data(void **state)
{
    static struct edit_entry e;
    static uint8_t page[4096];
    struct mem_fs *m = *state;
    struct image *img = NULL;
    enum image_map_kind kind = IMAGE_MAP_ZERO;
    uint64_t len = 0;

    punch(m, BASE, 5 * MIB, 8 * MIB);
    memset(page, 0x77, sizeof(page));
    e.guid = edit_log_guid;
    e.sequence = 7;
    e.flushed = mem_fs_size(m, BASE);
    e.last = e.flushed;
    e.count = 1;
    e.descriptors[0].offset = 6 * MIB;
    e.descriptors[0].page = page;
    (void)edit_log_write(m, BASE, (uint32_t)MIB, 0, &e);
    edit_log_open(m, BASE);
    assert_ok(image_open(&img, mem_fs_fs(m), BASE, 0, &err), &err);
    assert_ok(image_map(img, 2 * MIB, 4096, &len, &kind, &err), &err);
    assert_int_equal(kind, IMAGE_MAP_DATA);
    assert_ok(image_read(img, page, 1, 2 * MIB + 4095, &err), &err);
    assert_int_equal(page[0], 0x77);
    image_close(img);
}

static bool
every_sector(void *arg, uint64_t sector)
{
    (void)arg;
    return sector < 256;
}

static void
vhd_bytes(void *arg, uint8_t out[512], uint64_t sector)
{
    (void)arg;
    memset(out, (int)(sector % 250) + 1, 512);
}

/* Blocks of a VHD begin at sectors, holes at pages: the two do not meet. */
static void
holes_that_end_inside_sectors_of_no_page_are_mapped_in_sectors(void **state)
{
    struct vhd_gen g = {.virtual_size = 256 * 512, .block_size = 65536, .has_sector = every_sector};
    struct mem_fs *m = *state;
    struct image *img = NULL;
    uint64_t off;
    uint64_t len;
    uint64_t zeros = 0;

    g.bytes = vhd_bytes;
    assert_ok(vhd_gen_write(&g, mem_fs_fs(m), "d/x.vhd", &err), &err);
    punch(m, "d/x.vhd", 40960, 53248);
    assert_ok(image_open(&img, mem_fs_fs(m), "d/x.vhd", 0, &err), &err);
    for (off = 0; off < g.virtual_size; off += len) {
        enum image_map_kind kind = IMAGE_MAP_DATA;
        uint8_t sector[512];

        assert_ok(image_map(img, off, g.virtual_size - off, &len, &kind, &err), &err);
        assert_int_equal(len % 512, 0);
        assert_ok(image_read(img, sector, sizeof(sector), off, &err), &err);
        assert_int_equal(kind == IMAGE_MAP_ZERO, sector[0] == 0);
        zeros += kind == IMAGE_MAP_ZERO ? len : 0;
    }
    assert_int_equal(zeros, 53248 - 40960);
    image_close(img);
}

static void
holes_of_a_raw_disk_are_not_read(void **state)
{
    static const struct image_extent want[] = {
        {0, MIB, IMAGE_EXTENT_HOLE, 0, 0},
        {0, 4096, IMAGE_EXTENT_DATA, 0, MIB},
        {0, MIB - 4096 + 512, IMAGE_EXTENT_HOLE, 0, 0},
    };
    struct mem_fs *m = *state;
    struct image *img = NULL;

    edit_put(m, "d/x.img", MIB + 100, "x", 1);
    assert_ok(mem_fs_set_size(m, "d/x.img", 2 * MIB + 512, &err), &err);
    assert_ok(image_open(&img, mem_fs_fs(m), "d/x.img", IMAGE_ALLOW_RAW, &err), &err);
    expect(img, want, sizeof(want) / sizeof(want[0]));
    image_close(img);
}

static void
an_extent_past_the_end_is_invalid(void **state)
{
    struct mem_fs *m = *state;
    struct image *img = NULL;
    struct image_extent e;

    assert_ok(image_open(&img, mem_fs_fs(m), BASE, 0, &err), &err);
    assert_err(image_next_extent(img, BLOCKS * MIB, &e, &err), VARVE_ERR_INVALID, &err);
    assert_err(image_next_extent(img, UINT64_MAX, &e, &err), VARVE_ERR_INVALID, &err);
    image_close(img);
}

int
main(void)
{
#define EXTENT_TEST(f)                                                                             \
    cmocka_unit_test_setup_teardown(f, two_files_of_blocks, two_files_of_blocks_end)
    const struct CMUnitTest tests[] = {
        EXTENT_TEST(every_state_of_a_block_has_its_kind),
        EXTENT_TEST(a_child_hides_its_parent_or_asks_it),
        EXTENT_TEST(a_hole_of_the_file_under_data_is_one_of_the_disk),
        EXTENT_TEST(a_hole_under_a_replayed_log_is_data),
        EXTENT_TEST(holes_that_end_inside_sectors_of_no_page_are_mapped_in_sectors),
        EXTENT_TEST(holes_of_a_raw_disk_are_not_read),
        EXTENT_TEST(an_extent_past_the_end_is_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
