/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/check_agree.h"
#include "vhdx/image.h"
#include "vhdx/vhd_gen.h"
#include "vhdx/vhdx_edit.h"

/*
 * VHD files, made by the test: a chain of three of 3 MiB less 512 bytes, in blocks of 512 KiB, with
 * sectors set at random and junk in those that are not.
 */
#define SECTOR  512u
#define SIZE    (3u * 1024 * 1024 - 512)
#define SECTORS (SIZE / SECTOR)
#define BLOCK   (512u * 1024)
#define LEVELS  3u

static struct varve_error err;

struct lab {
    struct mem_fs *m;
    unsigned level;
    uint8_t has[LEVELS][SECTORS];
    uint8_t truth[LEVELS][SIZE];
};

static const char *const names[LEVELS] = {"d/base.vhd", "d/child1.avhd", "d/child2.avhd"};

static bool
has_sector(void *arg, uint64_t sector)
{
    const struct lab *l = arg;

    return l->has[l->level][sector] != 0;
}

static void
bytes(void *arg, uint8_t out[SECTOR], uint64_t sector)
{
    const struct lab *l = arg;

    memcpy(out, l->truth[l->level] + sector * SECTOR, SECTOR);
}

static struct vhd_gen
gen(struct lab *l)
{
    struct vhd_gen g;

    memset(&g, 0, sizeof(g));
    g.virtual_size = SIZE;
    g.block_size = BLOCK;
    g.id.bytes[15] = (uint8_t)(l->level + 1);
    g.child = l->level > 0;
    g.parent_id.bytes[15] = (uint8_t)l->level;
    g.parent_name = l->level == 1 ? "base.vhd" : "child1.avhd";
    g.relative_path = l->level == 1 ? ".\\base.vhd" : ".\\child1.avhd";
    g.absolute_path = l->level == 1 ? "C:\\vm\\base.vhd" : "C:\\vm\\child1.avhd";
    g.has_sector = has_sector;
    g.bytes = bytes;
    g.arg = l;
    /* A dynamic disk has zeros where nothing was written. */
    g.junk = l->level > 0 ? 0xee : 0;
    return g;
}

static void
fill_level(struct lab *l)
{
    uint32_t x = 99 + l->level;
    uint32_t s;
    uint32_t i;

    if (l->level > 0) {
        memcpy(l->truth[l->level], l->truth[l->level - 1], SIZE);
    }
    for (s = 0; s < SECTORS; s++) {
        x = x * 1664525u + 1013904223u;
        /* Block 2 stays empty; elsewhere runs of all lengths and single sectors. */
        l->has[l->level][s] = (x >> 28) < 5 && s / (BLOCK / SECTOR) != 2;
        if (s % 97 < 40 && s / (BLOCK / SECTOR) == 3) {
            l->has[l->level][s] = 1;
        }
        for (i = 0; l->has[l->level][s] != 0 && i < SECTOR; i += 4) {
            put_be32(l->truth[l->level] + s * SECTOR + i, s * 16 + l->level + 1);
        }
    }
}

static int
set_up(void **state)
{
    struct lab *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        return -1;
    }
    l->m = mem_fs_new();
    for (l->level = 0; l->m != NULL && l->level < LEVELS; l->level++) {
        struct vhd_gen g;

        fill_level(l);
        g = gen(l);
        if (vhd_gen_write(&g, mem_fs_fs(l->m), names[l->level], &err) != VARVE_OK) {
            return -1;
        }
    }
    *state = l;
    return l->m == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
    struct lab *l = *state;

    mem_fs_free(l->m);
    free(l);
    return 0;
}

static void
expect_level(struct lab *l, const char *path, unsigned level)
{
    static uint8_t got[SIZE];
    struct image *img = NULL;
    struct image_info info;
    uint64_t off;

    assert_ok(image_open(&img, mem_fs_fs(l->m), path, 0, &err), &err);
    image_get_info(img, &info);
    assert_int_equal(info.format, IMAGE_VHD);
    assert_int_equal(info.chain_length, level + 1);
    assert_int_equal(info.virtual_size, SIZE);
    assert_ok(image_read(img, got, SIZE, 0, &err), &err);
    assert_memory_equal(got, l->truth[level], SIZE);
    memset(got, 0x55, SIZE);
    for (off = 0; off < SIZE; off += 1237) {
        size_t n = SIZE - off < 1237 ? (size_t)(SIZE - off) : 1237;

        assert_ok(image_read(img, got + off, n, off, &err), &err);
    }
    assert_memory_equal(got, l->truth[level], SIZE);
    image_close(img);
}

static void
expect_refusal(struct lab *l, const char *path, enum varve_err code, const char *part)
{
    struct image *img = NULL;

    assert_err(image_open(&img, mem_fs_fs(l->m), path, 0, &err), code, &err);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("'%s' does not say '%s'", err.msg, part);
    }
}

static void
every_level_of_a_chain_reads_right(void **state)
{
    struct lab *l = *state;
    unsigned level;

    for (level = 0; level < LEVELS; level++) {
        expect_level(l, names[level], level);
    }
}

static void
a_child_alone_tells_its_own_sectors(void **state)
{
    struct lab *l = *state;
    struct image *img = NULL;
    uint64_t off = 0;

    assert_ok(image_open(&img, mem_fs_fs(l->m), names[2], IMAGE_NO_PARENT, &err), &err);
    while (off < SIZE) {
        uint64_t len = 0;
        uint64_t s;
        enum image_map_kind kind = IMAGE_MAP_ZERO;

        assert_ok(image_map(img, off, SIZE - off, &len, &kind, &err), &err);
        for (s = off / SECTOR; s < (off + len) / SECTOR; s++) {
            assert_int_equal(kind, l->has[2][s] != 0 ? IMAGE_MAP_DATA : IMAGE_MAP_PARENT);
        }
        off += len;
    }
    image_close(img);
}

static void
the_copy_of_the_footer_serves_when_the_end_is_gone(void **state)
{
    struct lab *l = *state;
    uint64_t size = mem_fs_size(l->m, names[0]);

    assert_ok(mem_fs_set_size(l->m, names[0], size - 512, &err), &err);
    expect_level(l, names[0], 0);
    expect_level(l, names[2], 2);
}

static void
what_the_disk_does_not_have_of_its_last_block_may_be_missing(void **state)
{
    struct lab *l = *state;
    uint64_t size = mem_fs_size(l->m, names[0]);

    /* The disk ends one sector before its last block does. */
    assert_ok(mem_fs_set_size(l->m, names[0], size - 512 - SECTOR, &err), &err);
    expect_level(l, names[0], 0);
    assert_ok(mem_fs_set_size(l->m, names[0], size - 512 - 2 * SECTOR, &err), &err);
    expect_refusal(l, names[0], VARVE_ERR_CORRUPT, "points outside the file");
}

static void
a_footer_of_511_bytes_is_enough(void **state)
{
    struct lab *l = *state;
    static const uint8_t zeros[512];

    edit_put(l->m, names[0], 0, zeros, sizeof(zeros)); /* the copy is gone */
    assert_ok(mem_fs_set_size(l->m, names[0], mem_fs_size(l->m, names[0]) - 1, &err), &err);
    expect_level(l, names[0], 0);
}

static void
a_wrong_footer_checksum_is_taken_where_the_header_is_right(void **state)
{
    struct lab *l = *state;
    uint64_t footer = mem_fs_size(l->m, names[0]) - 512;

    edit_flip(l->m, names[0], footer + 65, 0);
    expect_level(l, names[0], 0); /* by the copy */
    edit_flip(l->m, names[0], 65, 0);
    expect_level(l, names[0], 0); /* by the header */
    edit_flip(l->m, names[0], 512 + 37, 0);
    expect_refusal(l, names[0], VARVE_ERR_CORRUPT, "dynamic header: signature or checksum");
}

static void
a_parent_is_found_by_the_names_that_are_left(void **state)
{
    struct lab *l = *state;
    uint8_t locators[48];
    static const uint8_t zeros[48];

    mem_fs_get(l->m, names[2], locators, sizeof(locators), 512 + 576);
    /* Only the absolute path. */
    edit_put(l->m, names[2], 512 + 600, zeros, 24);
    edit_fix_checksums(l->m, names[2]);
    expect_level(l, names[2], 2);
    /* Only the name in the header. */
    edit_put(l->m, names[2], 512 + 576, zeros, 48);
    edit_fix_checksums(l->m, names[2]);
    expect_level(l, names[2], 2);
    /* No name at all: by id. */
    edit_put(l->m, names[2], 512 + 64, zeros, 48);
    edit_fix_checksums(l->m, names[2]);
    expect_level(l, names[2], 2);
    /* Locators that point nowhere are left out. */
    put_be64(locators + 16, UINT64_MAX - 5);
    put_be32(locators + 24 + 8, 0xffffffff);
    edit_put(l->m, names[2], 512 + 576, locators, sizeof(locators));
    edit_fix_checksums(l->m, names[2]);
    expect_level(l, names[2], 2);
}

/* The only locator of the child says this in this code; the name in the header is gone.  That the
 * folder was not searched is seen by the check, which would call that repairable. */
static void
a_locator_of_any_platform_leads_to_the_parent(void **state)
{
    static const struct {
        const char *code;
        const char *text;
        bool wide;
        enum image_verdict verdict;
    } cases[] = {
        {"W2ru", ".\\base.vhd", true, IMAGE_CLEAN},
        {"W2ku", "C:\\vm\\base.vhd", true, IMAGE_CLEAN},
        {"W2ku", "C:\\vm\\other.vhd", true, IMAGE_REPAIRABLE},
        {"Wi2r", ".\\base.vhd", false, IMAGE_CLEAN},
        {"Wi2k", "C:\\vm\\base.vhd", false, IMAGE_CLEAN},
        {"MacX", "file://./base.vhd", false, IMAGE_CLEAN}, /* as XenServer writes it */
        {"MacX", "file://localhost/vm/b%61se.vhd", false, IMAGE_CLEAN},
        {"MacX", "file:///vm/base.vhd", false, IMAGE_CLEAN},
        {"MacX", "base.vhd", false, IMAGE_CLEAN},
        {"MacX", "%", false, IMAGE_REPAIRABLE},
        {"Mac ", "base.vhd", false, IMAGE_REPAIRABLE}, /* an alias of a Macintosh: not text */
        {"Wi2x", "base.vhd", false, IMAGE_REPAIRABLE},
    };
    struct lab *l = *state;
    uint8_t zeros[512] = {0};
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t entry[24] = {0};
        size_t len = strlen(cases[i].text);
        size_t k;

        edit_copy(l->m, names[1], "d/odd.avhd");
        for (k = 0; k < len; k++) {
            uint8_t c[2] = {(uint8_t)cases[i].text[k], 0};

            edit_put(l->m, "d/odd.avhd", 4096 + k * (cases[i].wide ? 2 : 1), c,
                     cases[i].wide ? 2 : 1);
        }
        memcpy(entry, cases[i].code, 4);
        put_be32(entry + 8, (uint32_t)(len * (cases[i].wide ? 2 : 1)));
        put_be64(entry + 16, 4096);
        edit_put(l->m, "d/odd.avhd", 512 + 64, zeros, 512);
        edit_put(l->m, "d/odd.avhd", 512 + 576, zeros, 192);
        edit_put(l->m, "d/odd.avhd", 512 + 576 + 24 * 3, entry, sizeof(entry));
        edit_fix_checksums(l->m, "d/odd.avhd");
        if (check_verdict(mem_fs_fs(l->m), "d/odd.avhd", 0) != cases[i].verdict) {
            fail_msg("'%s' in %s", cases[i].text, cases[i].code);
        }
        expect_level(l, "d/odd.avhd", 1);
    }
}

static void
a_parent_of_another_id_is_refused(void **state)
{
    struct lab *l = *state;
    uint64_t footer = mem_fs_size(l->m, names[1]) - 512;

    edit_flip(l->m, names[1], footer + 70, 0);
    edit_flip(l->m, names[1], 70, 0);
    edit_fix_checksums(l->m, names[1]);
    expect_refusal(l, names[2], VARVE_ERR_CORRUPT, "'d/child1.avhd' is another disk");
}

struct change {
    uint64_t off;
    uint32_t value; /* big-endian */
    const char *part;
};

static void
structures_that_cannot_be_are_refused(void **state)
{
    /* The table stands at 8192, blocks begin at 16384. */
    static const struct change changes[] = {
        {512 + 32, 0, "block size of 0"},
        {512 + 32, 3 << 20, "block size of 3145728"},
        {512 + 32, 512, "block size of 512"},
        {512 + 32, 0x80000000, "block size of 2147483648"},
        {512 + 28, 1, "block table: 1 entries"},
        {512 + 16, 0x7fffffff, "block table: "},
        {512 + 20, 0x7fffffff, "block table: "},
        {8192, 0, "points outside the file"},
        {8192, 0xfffffffe, "points outside the file"},
        {8192, 1, "into the header or the table"},
        {8192, 16, "into the header or the table"},
        {8192, 33, "overlap"},
        {8196, 32, "points into another block"},
    };
    struct lab *l = *state;
    size_t i;

    for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t p[4];

        edit_copy(l->m, names[0], "d/copy.vhd");
        put_be32(p, changes[i].value);
        edit_put(l->m, "d/copy.vhd", changes[i].off, p, sizeof(p));
        edit_fix_checksums(l->m, "d/copy.vhd");
        expect_refusal(l, "d/copy.vhd", VARVE_ERR_CORRUPT, changes[i].part);
    }
}

/* Both footers alike. */
static void
edit_footers(struct lab *l, const char *path, uint64_t field, const void *data, size_t len)
{
    edit_put(l->m, path, field, data, len);
    edit_put(l->m, path, mem_fs_size(l->m, path) - 512 + field, data, len);
    edit_fix_checksums(l->m, path);
}

static void
footers_that_cannot_be_are_refused(void **state)
{
    struct lab *l = *state;
    uint8_t p[8];

    put_be64(p, (UINT64_C(2040) << 30) + 512);
    edit_copy(l->m, names[0], "d/copy.vhd");
    edit_footers(l, "d/copy.vhd", 48, p, 8);
    expect_refusal(l, "d/copy.vhd", VARVE_ERR_CORRUPT, "up to 2040 GiB");
    put_be64(p, 0);
    edit_footers(l, "d/copy.vhd", 48, p, 8);
    expect_refusal(l, "d/copy.vhd", VARVE_ERR_CORRUPT, "virtual size of 0");
    edit_copy(l->m, names[0], "d/copy.vhd");
    put_be64(p, UINT64_MAX - 100);
    edit_footers(l, "d/copy.vhd", 16, p, 8);
    expect_refusal(l, "d/copy.vhd", VARVE_ERR_CORRUPT, "dynamic header: offset");
    edit_copy(l->m, names[0], "d/copy.vhd");
    put_be32(p, 5);
    edit_footers(l, "d/copy.vhd", 60, p, 4);
    expect_refusal(l, "d/copy.vhd", VARVE_ERR_UNSUPPORTED, "disk type 5");
    edit_copy(l->m, names[1], "d/copy.vhd");
    memset(p, 0, sizeof(p));
    edit_put(l->m, "d/copy.vhd", 512 + 48, p, 8); /* the second half of the parent's id */
    edit_fix_checksums(l->m, "d/copy.vhd");
    expect_refusal(l, "d/copy.vhd", VARVE_ERR_CORRUPT, "without the id of its parent");
}

static void
a_guest_cannot_make_a_vhdx_of_its_fixed_vhd(void **state)
{
    static const uint8_t fixed[4] = {0, 0, 0, 2};
    struct lab *l = *state;
    struct image *img = NULL;
    struct image_info info;
    uint8_t footer[512];
    char start[8];

    mem_fs_get(l->m, names[0], footer, sizeof(footer), 0);
    edit_put(l->m, "d/fixed.vhd", SIZE, footer, sizeof(footer));
    edit_put(l->m, "d/fixed.vhd", SIZE + 60, fixed, sizeof(fixed));
    edit_put(l->m, "d/fixed.vhd", 0, "vhdxfile", 8);
    edit_fix_checksums(l->m, "d/fixed.vhd");
    assert_ok(image_open(&img, mem_fs_fs(l->m), "d/fixed.vhd", 0, &err), &err);
    image_get_info(img, &info);
    assert_int_equal(info.format, IMAGE_VHD);
    assert_int_equal(info.type, IMAGE_FIXED);
    assert_ok(image_read(img, start, sizeof(start), 0, &err), &err);
    assert_memory_equal(start, "vhdxfile", 8);
    image_close(img);
}

static void
the_size_follows_from_who_wrote_the_file(void **state)
{
    /* 4 * 16 * 63 sectors by the geometry, SIZE by the field */
    static const struct {
        const char *creator;
        uint64_t size;
    } cases[] = {
        {"win ", SIZE},
        {"qem2", SIZE},
        {"vbox", SIZE},
        {"vpc ", 4 * 16 * 63 * 512},
        {"qemu", 4 * 16 * 63 * 512},
        {"vs  ", 4 * 16 * 63 * 512},
    };
    static const uint8_t chs[4] = {0, 4, 16, 63};
    struct lab *l = *state;
    size_t i;

    edit_footers(l, names[0], 56, chs, 4);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image *img = NULL;
        struct image_info info;

        edit_footers(l, names[0], 28, cases[i].creator, 4);
        assert_ok(image_open(&img, mem_fs_fs(l->m), names[0], 0, &err), &err);
        image_get_info(img, &info);
        assert_int_equal(info.virtual_size, cases[i].size);
        image_close(img);
    }
}

static void
a_file_cut_anywhere_is_refused_or_reads_right(void **state)
{
    static uint8_t got[SIZE];
    struct lab *l = *state;
    uint64_t whole = mem_fs_size(l->m, names[2]);
    uint64_t size;

    for (size = 0; size < whole; size += 4096 + 511) {
        struct image *img = NULL;

        edit_copy(l->m, names[2], "d/cut.avhd");
        assert_ok(mem_fs_set_size(l->m, "d/cut.avhd", size, &err), &err);
        if (image_open(&img, mem_fs_fs(l->m), "d/cut.avhd", 0, &err) != VARVE_OK) {
            assert_int_equal(err.code, VARVE_ERR_CORRUPT);
            continue;
        }
        if (image_read(img, got, SIZE, 0, &err) == VARVE_OK) {
            assert_memory_equal(got, l->truth[2], SIZE);
        }
        image_close(img);
    }
}

int
main(void)
{
#define VHD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        VHD_TEST(every_level_of_a_chain_reads_right),
        VHD_TEST(a_child_alone_tells_its_own_sectors),
        VHD_TEST(the_copy_of_the_footer_serves_when_the_end_is_gone),
        VHD_TEST(what_the_disk_does_not_have_of_its_last_block_may_be_missing),
        VHD_TEST(a_footer_of_511_bytes_is_enough),
        VHD_TEST(a_wrong_footer_checksum_is_taken_where_the_header_is_right),
        VHD_TEST(a_parent_is_found_by_the_names_that_are_left),
        VHD_TEST(a_locator_of_any_platform_leads_to_the_parent),
        VHD_TEST(a_parent_of_another_id_is_refused),
        VHD_TEST(structures_that_cannot_be_are_refused),
        VHD_TEST(footers_that_cannot_be_are_refused),
        VHD_TEST(a_guest_cannot_make_a_vhdx_of_its_fixed_vhd),
        VHD_TEST(the_size_follows_from_who_wrote_the_file),
        VHD_TEST(a_file_cut_anywhere_is_refused_or_reads_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
