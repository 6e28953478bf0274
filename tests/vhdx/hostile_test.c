/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/check_agree.h"
#include "vhdx/image.h"
#include "vhdx/two_files.h"
#include "vhdx/vhdx_edit.h"
#include "vhdx/vhdx_format.h"

/*
 * Broken files: each change must give the code and the words that are said here, or leave the disk
 * readable.
 */
#define SIZE (6 * MIB)

/* Items behind EDIT_ITEMS, and their entries in the table. */
#define ITEM_BLOCK    (EDIT_ITEMS + 0)
#define ITEM_FLAGS    (EDIT_ITEMS + 4)
#define ITEM_SIZE     (EDIT_ITEMS + 8)
#define ITEM_LOGICAL  (EDIT_ITEMS + 16)
#define ITEM_PHYSICAL (EDIT_ITEMS + 20)
#define ITEM_LOCATOR  (EDIT_ITEMS + 40)
#define ENTRY(n)      (EDIT_METADATA + 32 + 32 * (uint64_t)(n))
#define REGION(n)     (16 + 32 * (uint64_t)(n))

static struct varve_error err;

static enum varve_err
open_and_close(struct mem_fs *m, const char *path, unsigned flags)
{
    return open_and_check(mem_fs_fs(m), path, flags, &err);
}

static void
expect_refusal(struct mem_fs *m, const char *path, enum varve_err code, const char *part)
{
    assert_err(open_and_close(m, path, 0), code, &err);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("'%s' does not say '%s'", err.msg, part);
    }
}

/* One change of up to 8 bytes, made to a copy of a good file. */
struct change {
    const char *file;
    uint64_t off;
    uint64_t width; /* bytes, little-endian */
    uint64_t value;
    enum varve_err code;
    const char *part; /* of the message */
};

static void
apply(struct mem_fs *m, const char *path, uint64_t off, uint64_t width, uint64_t value)
{
    uint8_t p[8];

    put_le64(p, value);
    edit_put(m, path, off, p, (size_t)width);
}

/* Headers and region tables stand twice: both are changed. */
static void
check_changes(struct two_files *l, const struct change *changes, size_t count, uint64_t twin)
{
    size_t i;

    for (i = 0; i < count; i++) {
        const struct change *c = &changes[i];
        const char *copy = strcmp(c->file, BASE) == 0 ? "d/copy.vhdx" : "d/copy.avhdx";

        edit_copy(l->m, c->file, copy);
        apply(l->m, copy, c->off, c->width, c->value);
        if (twin != 0) {
            apply(l->m, copy, c->off + twin, c->width, c->value);
        }
        edit_fix_checksums(l->m, copy);
        if (c->code == VARVE_OK) {
            assert_ok(open_and_close(l->m, copy, 0), &err);
        } else {
            if (open_and_close(l->m, copy, 0) == VARVE_OK) {
                fail_msg("change %zu (%s) was accepted", i, c->part);
            }
            expect_refusal(l->m, copy, c->code, c->part);
        }
    }
}

static void
headers_that_cannot_be_are_refused(void **state)
{
    static const struct change changes[] = {
        {BASE, EDIT_HEADER1, 4, 0, VARVE_ERR_CORRUPT, "header: no valid one"},
        {BASE, EDIT_HEADER1 + 66, 2, 2, VARVE_ERR_UNSUPPORTED, "VHDX version 2"},
        {BASE, EDIT_HEADER1 + 66, 2, 0, VARVE_ERR_UNSUPPORTED, "VHDX version 0"},
        {BASE, EDIT_HEADER1 + 68, 4, 4096, VARVE_ERR_CORRUPT, "header: log of 4096 bytes"},
        {BASE, EDIT_HEADER1 + 68, 4, 0xfff00000, VARVE_ERR_CORRUPT, "header: log of"},
        {BASE, EDIT_HEADER1 + 72, 8, 0, VARVE_ERR_CORRUPT, "header: log of"},
        {BASE, EDIT_HEADER1 + 72, 8, UINT64_MAX - MIB + 1, VARVE_ERR_CORRUPT, "header: log of"},
        {BASE, EDIT_HEADER1 + 72, 8, 2 * MIB, VARVE_ERR_CORRUPT, "overlaps the log"},
        {BASE, EDIT_HEADER1 + 68, 4, 0, VARVE_OK, ""}, /* no log, nothing to replay */
    };

    check_changes(*state, changes, sizeof(changes) / sizeof(changes[0]),
                  EDIT_HEADER2 - EDIT_HEADER1);
}

static void
one_good_header_is_enough(void **state)
{
    struct two_files *l = *state;

    edit_flip(l->m, BASE, EDIT_HEADER1 + 20, 0);
    assert_ok(open_and_close(l->m, CHILD, 0), &err);
    edit_flip(l->m, BASE, EDIT_HEADER1 + 20, 0);
    edit_flip(l->m, BASE, EDIT_HEADER2 + 4000, 0);
    assert_ok(open_and_close(l->m, CHILD, 0), &err);
    edit_flip(l->m, BASE, EDIT_HEADER1 + 20, 0);
    expect_refusal(l->m, BASE, VARVE_ERR_CORRUPT, "header: no valid one");
}

static void
of_two_headers_of_one_number_the_first_counts(void **state)
{
    struct two_files *l = *state;
    struct image *img = NULL;
    struct image_info info;

    edit_le64(l->m, BASE, EDIT_HEADER2 + 8, 1);
    edit_le64(l->m, BASE, EDIT_HEADER2 + 32, 99);
    edit_fix_checksums(l->m, BASE);
    assert_ok(image_open(&img, mem_fs_fs(l->m), BASE, 0, &err), &err);
    image_get_info(img, &info);
    assert_true(guid_equal(&info.data_write_guid, &l->g.write_id[0]));
    image_close(img);
}

static void
region_tables_that_cannot_be_are_refused(void **state)
{
    static const struct change changes[] = {
        {BASE, EDIT_REGION1, 4, 0, VARVE_ERR_CORRUPT, "region table: no valid one"},
        {BASE, EDIT_REGION1 + 8, 4, 2048, VARVE_ERR_CORRUPT, "region table: no valid one"},
        {BASE, EDIT_REGION1 + 8, 4, 1, VARVE_ERR_CORRUPT, "no metadata region"},
        {BASE, EDIT_REGION1 + 8, 4, 0, VARVE_ERR_CORRUPT, "no BAT region"},
        {BASE, EDIT_REGION1 + REGION(0), 4, 7, VARVE_ERR_UNSUPPORTED, "required region {00000007"},
        {BASE, EDIT_REGION1 + REGION(0) + 28, 4, 0, VARVE_OK, ""}, /* as QEMU writes it */
        {BASE, EDIT_REGION1 + REGION(0) + 16, 8, 2 * MIB, VARVE_ERR_CORRUPT, "overlaps the log"},
        {BASE, EDIT_REGION1 + REGION(0) + 16, 8, MIB, VARVE_ERR_CORRUPT, "overlaps the log"},
        {BASE, EDIT_REGION1 + REGION(0) + 16, 8, 0, VARVE_ERR_CORRUPT, "not whole MiB inside"},
        {BASE, EDIT_REGION1 + REGION(0) + 16, 8, 512, VARVE_ERR_CORRUPT, "not whole MiB inside"},
        {BASE, EDIT_REGION1 + REGION(0) + 16, 8, UINT64_MAX - MIB + 1, VARVE_ERR_CORRUPT,
         "not whole MiB inside"},
        {BASE, EDIT_REGION1 + REGION(0) + 24, 4, 0, VARVE_ERR_CORRUPT, "not whole MiB inside"},
        {BASE, EDIT_REGION1 + REGION(0) + 24, 4, 0xfff00000, VARVE_ERR_CORRUPT,
         "not whole MiB inside"},
        {BASE, EDIT_REGION1 + REGION(1) + 24, 4, 2 * MIB, VARVE_ERR_CORRUPT, "overlaps the log"},
    };

    check_changes(*state, changes, sizeof(changes) / sizeof(changes[0]),
                  EDIT_REGION2 - EDIT_REGION1);
}

static void
a_region_that_stands_twice_is_refused(void **state)
{
    struct two_files *l = *state;
    uint8_t entry[32];
    unsigned i;

    mem_fs_get(l->m, BASE, entry, sizeof(entry), EDIT_REGION1 + REGION(0));
    for (i = 0; i < 2; i++) {
        uint64_t table = i == 0 ? EDIT_REGION1 : EDIT_REGION2;

        edit_put(l->m, BASE, table + REGION(2), entry, sizeof(entry));
        edit_le32(l->m, BASE, table + 8, 3);
    }
    edit_fix_checksums(l->m, BASE);
    expect_refusal(l->m, BASE, VARVE_ERR_CORRUPT, "stands twice");
}

static void
a_region_nobody_must_know_is_left_alone_and_its_place_too(void **state)
{
    struct two_files *l = *state;
    uint64_t free_place = mem_fs_size(l->m, BASE);
    uint64_t payload = edit_get_le64(l->m, BASE, EDIT_BAT) & VHDX_BAT_OFFSET_MASK;
    unsigned i;

    assert_int_not_equal(payload, 0);
    assert_ok(mem_fs_set_size(l->m, BASE, free_place + MIB, &err), &err);
    for (i = 0; i < 2; i++) {
        uint64_t table = i == 0 ? EDIT_REGION1 : EDIT_REGION2;

        edit_le32(l->m, BASE, table + REGION(2), 4711);
        edit_le64(l->m, BASE, table + REGION(2) + 16, free_place);
        edit_le32(l->m, BASE, table + REGION(2) + 24, (uint32_t)MIB);
        edit_le32(l->m, BASE, table + 8, 3);
    }
    edit_fix_checksums(l->m, BASE);
    assert_ok(open_and_close(l->m, BASE, 0), &err);
    for (i = 0; i < 2; i++) {
        edit_le64(l->m, BASE, (i == 0 ? EDIT_REGION1 : EDIT_REGION2) + REGION(2) + 16, payload);
    }
    edit_fix_checksums(l->m, BASE);
    expect_refusal(l->m, BASE, VARVE_ERR_CORRUPT, "something else owns");
}

static void
metadata_that_cannot_be_is_refused(void **state)
{
    static const struct change changes[] = {
        {BASE, EDIT_METADATA, 8, 0, VARVE_ERR_CORRUPT,
         "metadata: no valid table at offset 2097152"},
        {BASE, EDIT_METADATA + 10, 2, 2048, VARVE_ERR_CORRUPT, "metadata: no valid table"},
        {BASE, EDIT_METADATA + 10, 2, 2047, VARVE_OK, ""}, /* the rest is empty items */
        {BASE, EDIT_METADATA + 10, 2, 0, VARVE_ERR_CORRUPT, "no file parameters"},
        {BASE, EDIT_METADATA + 10, 2, 1, VARVE_ERR_CORRUPT, "no virtual disk size"},
        {BASE, EDIT_METADATA + 10, 2, 2, VARVE_ERR_CORRUPT, "no logical sector size"},
        {BASE, EDIT_METADATA + 10, 2, 3, VARVE_OK, ""}, /* physical sector and id can be missed */
        {BASE, ENTRY(0), 4, 9, VARVE_ERR_UNSUPPORTED, "required item {00000009"},
        {BASE, ENTRY(0) + 16, 4, 0, VARVE_ERR_CORRUPT, "lies outside it"},
        {BASE, ENTRY(0) + 16, 4, 0xffffffff, VARVE_ERR_CORRUPT, "lies outside it"},
        {BASE, ENTRY(0) + 16, 4, (uint32_t)MIB - 4, VARVE_ERR_CORRUPT, "lies outside it"},
        {BASE, ENTRY(0) + 20, 4, 0, VARVE_ERR_CORRUPT, "lies outside it"},
        {BASE, ENTRY(0) + 20, 4, 4, VARVE_ERR_CORRUPT, "file parameters has 4 bytes"},
        {BASE, ENTRY(0) + 20, 4, 0xfffffff0, VARVE_ERR_CORRUPT, "lies outside it"},
        {BASE, ENTRY(4) + 20, 4, 17, VARVE_ERR_CORRUPT, "virtual disk id has 17 bytes"},
        {BASE, ITEM_BLOCK, 4, 0, VARVE_ERR_CORRUPT, "block size of 0"},
        {BASE, ITEM_BLOCK, 4, 3 << 20, VARVE_ERR_CORRUPT, "block size of 3145728"},
        {BASE, ITEM_BLOCK, 4, 512 << 20, VARVE_ERR_CORRUPT, "block size of 536870912"},
        {BASE, ITEM_BLOCK, 4, 1 << 19, VARVE_ERR_CORRUPT, "block size of 524288"},
        {BASE, ITEM_SIZE, 8, 0, VARVE_ERR_CORRUPT, "virtual size of 0"},
        {BASE, ITEM_SIZE, 8, SIZE + 1, VARVE_ERR_CORRUPT, "virtual size of"},
        {BASE, ITEM_SIZE, 8, (UINT64_C(64) << 40) + 512, VARVE_ERR_CORRUPT, "virtual size of"},
        {BASE, ITEM_SIZE, 8, UINT64_C(64) << 40, VARVE_ERR_CORRUPT, "have no room for"},
        {BASE, ITEM_LOGICAL, 4, 1024, VARVE_ERR_CORRUPT, "sector sizes of 1024"},
        {BASE, ITEM_LOGICAL, 4, 0, VARVE_ERR_CORRUPT, "sector sizes of 0"},
        {BASE, ITEM_PHYSICAL, 4, 8192, VARVE_ERR_CORRUPT, "sector sizes of 512 and 8192"},
        {BASE, ITEM_FLAGS, 4, 2, VARVE_ERR_CORRUPT, "without a parent locator"},
    };

    check_changes(*state, changes, sizeof(changes) / sizeof(changes[0]), 0);
}

static void
a_half_made_file_is_refused(void **state)
{
    struct two_files *l = *state;
    uint8_t id[16];

    guid_to_mixed(&vhdx_guid_incomplete, id);
    edit_put(l->m, BASE, ENTRY(5), id, sizeof(id));
    edit_le32(l->m, BASE, ENTRY(5) + 24, VHDX_META_REQUIRED);
    edit_le16(l->m, BASE, EDIT_METADATA + 10, 6);
    expect_refusal(l->m, BASE, VARVE_ERR_CORRUPT, "half made");
}

static void
an_item_that_stands_twice_is_refused(void **state)
{
    struct two_files *l = *state;
    uint8_t entry[32];

    mem_fs_get(l->m, BASE, entry, sizeof(entry), ENTRY(1));
    edit_put(l->m, BASE, ENTRY(5), entry, sizeof(entry));
    edit_le16(l->m, BASE, EDIT_METADATA + 10, 6);
    expect_refusal(l->m, BASE, VARVE_ERR_CORRUPT, "virtual disk size stands twice");
}

static void
items_nobody_must_know_are_left_alone(void **state)
{
    struct two_files *l = *state;

    /* One of the system that is not required, one of a user that is: ours to ignore both. */
    edit_le32(l->m, BASE, ENTRY(5), 1234);
    edit_le32(l->m, BASE, ENTRY(6), 5678);
    edit_le32(l->m, BASE, ENTRY(6) + 24, VHDX_META_USER | VHDX_META_REQUIRED);
    edit_le16(l->m, BASE, EDIT_METADATA + 10, 7);
    assert_ok(open_and_close(l->m, BASE, 0), &err);
}

static void
block_tables_that_cannot_be_are_refused(void **state)
{
    /* Base: payload at 4, 6 and 8 MiB.  Child: bitmap block at 4 MiB, payload from 5 MiB. */
    static const uint64_t bitmap = EDIT_BAT + 2048 * 8;
    const struct change changes[] = {
        {BASE, EDIT_BAT, 8, 4 * MIB + 4, VARVE_ERR_CORRUPT, "entry 0 at offset 3145728"},
        {BASE, EDIT_BAT, 8, 4 * MIB + 5, VARVE_ERR_CORRUPT, "has no known state"},
        {BASE, EDIT_BAT + 8, 8, 4 * MIB + 7, VARVE_ERR_CORRUPT, "disk without parent"},
        {BASE, EDIT_BAT, 8, 6, VARVE_ERR_CORRUPT, "points outside the file"},
        {BASE, EDIT_BAT, 8, MIB + 6, VARVE_ERR_CORRUPT, "something else owns"},
        {BASE, EDIT_BAT, 8, 2 * MIB + 6, VARVE_ERR_CORRUPT, "something else owns"},
        {BASE, EDIT_BAT, 8, 5 * MIB + 6, VARVE_ERR_CORRUPT, "something else owns"},
        {BASE, EDIT_BAT + 8, 8, 4 * MIB + 6, VARVE_ERR_CORRUPT, "entry 1 at offset 3145736"},
        {BASE, EDIT_BAT, 8, (UINT64_C(1) << 40) + 6, VARVE_ERR_CORRUPT, "points outside the file"},
        {BASE, EDIT_BAT, 8, UINT64_MAX - MIB + 1 + 6, VARVE_ERR_CORRUPT, "outside the file"},
        {BASE, EDIT_BAT, 8, 4 * MIB + 6 + 8, VARVE_ERR_CORRUPT, "reserved bits"},
        {BASE, EDIT_BAT, 8, UINT64_MAX - 5, VARVE_OK, ""},      /* unmapped: the offset is stale */
        {BASE, EDIT_BAT + 3 * 8, 8, 4 * MIB + 6, VARVE_OK, ""}, /* behind the last block */
        {CHILD, bitmap, 8, 0, VARVE_ERR_CORRUPT, "entry 2048 at offset 3162112"},
        {CHILD, bitmap, 8, 4 * MIB + 7, VARVE_ERR_CORRUPT, "no bitmap block may have"},
        {CHILD, bitmap, 8, UINT64_C(1) << 42 | 6, VARVE_ERR_CORRUPT, "points outside the file"},
        {CHILD, bitmap, 8, 6 * MIB + 6, VARVE_ERR_CORRUPT, "something else owns"},
        {CHILD, bitmap, 8, 3 * MIB + 6, VARVE_ERR_CORRUPT, "something else owns"},
        {CHILD, bitmap, 8, 4 * MIB + 6 + 16, VARVE_ERR_CORRUPT, "reserved bits"},
    };

    check_changes(*state, changes, sizeof(changes) / sizeof(changes[0]), 0);
}

static void
locators_that_cannot_be_are_refused(void **state)
{
    static const struct change changes[] = {
        {CHILD, ITEM_LOCATOR, 4, 0, VARVE_ERR_UNSUPPORTED, "type {00000000"},
        {CHILD, ITEM_LOCATOR + 18, 2, 257, VARVE_ERR_CORRUPT, "257 pairs"},
        {CHILD, ITEM_LOCATOR + 18, 2, 0, VARVE_ERR_CORRUPT, "no parent_linkage"},
        {CHILD, ITEM_LOCATOR + 20, 4, 0, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 20, 4, 0xfffffffe, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 24, 4, 0x7fffffff, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 28, 2, 3, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 30, 2, 0xffff, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 30, 2, 0, VARVE_ERR_CORRUPT, "pair 0"},
        {CHILD, ITEM_LOCATOR + 20 + 12 * 3, 4, 0xfffffff0, VARVE_ERR_CORRUPT, "pair 3"},
    };

    check_changes(*state, changes, sizeof(changes) / sizeof(changes[0]), 0);
}

static void
a_child_whose_parent_is_gone_says_what_it_looked_for(void **state)
{
    struct two_files *l = *state;

    edit_copy(l->m, CHILD, "e/1.avhdx");
    edit_headers_le64(l->m, BASE, 32, 1); /* another data write id */
    expect_refusal(l->m, "e/1.avhdx", VARVE_ERR_NOT_FOUND, "'0.vhdx'");
    expect_refusal(l->m, CHILD, VARVE_ERR_CORRUPT, "'d/0.vhdx' is another disk");
    assert_ok(open_and_close(l->m, CHILD, IMAGE_NO_PARENT), &err);
}

static void
a_chain_that_comes_back_to_itself_is_refused(void **state)
{
    struct two_files *l = *state;
    uint8_t id[16];

    /* The child becomes the parent that it names: by id and, in another folder, by name. */
    guid_to_mixed(&l->g.write_id[0], id);
    edit_put(l->m, CHILD, EDIT_HEADER1 + 32, id, 16);
    edit_put(l->m, CHILD, EDIT_HEADER2 + 32, id, 16);
    edit_fix_checksums(l->m, CHILD);
    edit_copy(l->m, CHILD, "e/0.vhdx");
    expect_refusal(l->m, "e/0.vhdx", VARVE_ERR_CORRUPT, "comes back to");
}

static void
a_parent_of_another_size_is_refused(void **state)
{
    struct two_files *l = *state;

    edit_le64(l->m, BASE, ITEM_SIZE, SIZE - 512);
    expect_refusal(l->m, CHILD, VARVE_ERR_CORRUPT, "was resized");
}

static void
a_parent_of_another_sector_size_is_refused(void **state)
{
    struct two_files *l = *state;

    edit_le32(l->m, BASE, ITEM_LOGICAL, 4096);
    expect_refusal(l->m, CHILD, VARVE_ERR_CORRUPT, "sectors of 512");
}

static void
the_second_linkage_is_as_good_as_the_first_unless_it_is_zero(void **state)
{
    struct two_files *l = *state;
    uint8_t text[76];
    uint32_t at;
    uint8_t entry[12];

    /* Swap the values of the first and the last pair: the linkage is now of zeros. */
    mem_fs_get(l->m, CHILD, entry, sizeof(entry), ITEM_LOCATOR + 20);
    at = get_le32(entry + 4);
    mem_fs_get(l->m, CHILD, text, sizeof(text), ITEM_LOCATOR + at);
    edit_le32(l->m, CHILD, ITEM_LOCATOR + 20 + 4,
              (uint32_t)edit_get_le64(l->m, CHILD, ITEM_LOCATOR + 20 + 12 * 3 + 4));
    edit_le32(l->m, CHILD, ITEM_LOCATOR + 20 + 12 * 3 + 4, at);
    assert_ok(open_and_close(l->m, CHILD, 0), &err);
    /* Both of zeros: no parent may match, whatever its id. */
    edit_le32(l->m, CHILD, ITEM_LOCATOR + 20 + 12 * 3 + 4,
              (uint32_t)edit_get_le64(l->m, CHILD, ITEM_LOCATOR + 20 + 4));
    expect_refusal(l->m, CHILD, VARVE_ERR_CORRUPT, "no parent_linkage");
}

static void
copy_between(struct mem_fs *to, const char *to_path, struct mem_fs *from, const char *from_path)
{
    static uint8_t page[4096];
    uint64_t off;

    for (off = 0; off < mem_fs_size(from, from_path); off += sizeof(page)) {
        mem_fs_get(from, from_path, page, sizeof(page), off);
        edit_put(to, to_path, off, page, sizeof(page));
    }
}

static void
a_renamed_parent_is_found_by_its_id(void **state)
{
    struct two_files *l = *state;
    struct mem_fs *m = mem_fs_new();

    assert_non_null(m);
    copy_between(m, "f/renamed.VHDX", l->m, BASE);
    copy_between(m, "f/1.avhdx", l->m, CHILD);
    assert_ok(open_and_close(m, "f/1.avhdx", 0), &err);
    mem_fs_free(m);
}

/* Either refused, or every byte of the disk is right. */
static void
check_truncated(struct two_files *l, uint64_t size)
{
    static uint8_t got[SIZE];
    static uint8_t want[SIZE];
    struct image *img = NULL;

    edit_copy(l->m, CHILD, "d/cut.avhdx");
    assert_ok(mem_fs_set_size(l->m, "d/cut.avhdx", size, &err), &err);
    if (image_open(&img, mem_fs_fs(l->m), "d/cut.avhdx", 0, &err) != VARVE_OK) {
        assert_int_equal(err.code, VARVE_ERR_CORRUPT);
        return;
    }
    chain_gen_expected(&l->g, want, SIZE, 0);
    if (image_read(img, got, SIZE, 0, &err) == VARVE_OK && memcmp(got, want, SIZE) != 0) {
        fail_msg("cut to %" PRIu64 " bytes it reads wrong", size);
    }
    image_close(img);
}

static void
a_file_cut_anywhere_is_refused_or_reads_right(void **state)
{
    struct two_files *l = *state;
    uint64_t whole = mem_fs_size(l->m, CHILD);
    uint64_t size;

    for (size = 0; size < whole; size += 65536) {
        check_truncated(l, size);
        check_truncated(l, size + 1);
        check_truncated(l, size + 4095);
    }
    check_truncated(l, whole - 1);
    /* Nothing is left that could be missed: the last block is used to its end. */
    expect_refusal(l->m, "d/cut.avhdx", VARVE_ERR_CORRUPT, "points outside the file");
}

static void
read_here_and_there(struct image *img)
{
    static uint8_t got[8192];
    struct image_info info;
    uint64_t off;

    image_get_info(img, &info);
    for (off = 0; off + sizeof(got) <= info.virtual_size && off < SIZE; off += 77 * 4096) {
        if (image_read(img, got, sizeof(got), off, &err) != VARVE_OK) {
            assert_int_not_equal(err.msg[0], '\0');
        }
    }
}

/* Not one bit may lead to anything but an error or bytes. */
static void
any_flipped_bit_gives_an_error_or_bytes(void **state)
{
    static const struct {
        uint64_t off;
        uint64_t len;
    } places[] = {
        {0, 32},
        {EDIT_HEADER1, 84},
        {EDIT_HEADER2, 84},
        {EDIT_REGION1, 84},
        {EDIT_METADATA, 256},
        {EDIT_ITEMS, 600},
        {EDIT_BAT, 40},
        {EDIT_BAT + 2048 * 8, 8},
    };
    struct two_files *l = *state;
    unsigned mode;
    size_t i;

    /* mode 0: as it is; 1: with checksums made right, so that the flip is looked at. */
    for (mode = 0; mode < 2; mode++) {
        for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            uint64_t bit;

            for (bit = 0; bit < places[i].len * 8; bit++) {
                struct image *img = NULL;
                uint64_t off = places[i].off + bit / 8;

                edit_flip(l->m, CHILD, off, bit % 8);
                if (mode == 1) {
                    edit_fix_checksums(l->m, CHILD);
                }
                if (bit % 3 == 0) {
                    (void)check_verdict(mem_fs_fs(l->m), CHILD, 0);
                }
                if (image_open(&img, mem_fs_fs(l->m), CHILD, 0, &err) == VARVE_OK) {
                    read_here_and_there(img);
                } else {
                    assert_int_not_equal(err.msg[0], '\0');
                }
                image_close(img);
                edit_flip(l->m, CHILD, off, bit % 8);
                if (mode == 1) {
                    edit_fix_checksums(l->m, CHILD);
                }
            }
        }
    }
    assert_ok(chain_gen_check(&l->g, mem_fs_fs(l->m), "d", &err), &err);
}

static void
what_is_no_disk_is_named_so(void **state)
{
    struct two_files *l = *state;
    uint8_t page[1024] = {1, 2, 3};

    edit_put(l->m, "d/x.vhdx", 0, page, sizeof(page));
    edit_put(l->m, "d/x.img", 0, page, sizeof(page));
    edit_put(l->m, "d/odd.img", 0, page, 1000);
    edit_put(l->m, "d/short.avhd", 0, page, 5);
    expect_refusal(l->m, "d/x.vhdx", VARVE_ERR_CORRUPT, "'d/x.vhdx': neither the signature");
    expect_refusal(l->m, "d/x.img", VARVE_ERR_UNSUPPORTED, "neither VHDX nor VHD");
    assert_ok(open_and_close(l->m, "d/x.img", IMAGE_ALLOW_RAW), &err);
    assert_err(open_and_close(l->m, "d/x.vhdx", IMAGE_ALLOW_RAW), VARVE_ERR_CORRUPT, &err);
    assert_err(open_and_close(l->m, "d/odd.img", IMAGE_ALLOW_RAW), VARVE_ERR_CORRUPT, &err);
    expect_refusal(l->m, "d/short.avhd", VARVE_ERR_CORRUPT, "neither the signature");
    expect_refusal(l->m, "d/none.vhdx", VARVE_ERR_NOT_FOUND, "d/none.vhdx");
}

/* What a guest writes into its first sector must not decide how its disk is read. */
static void
a_guest_cannot_make_a_vhdx_of_its_raw_disk(void **state)
{
    struct two_files *l = *state;
    struct image *img = NULL;
    struct image_info info;
    char start[8];

    edit_copy(l->m, CHILD, "d/disk.img");
    assert_ok(image_open(&img, mem_fs_fs(l->m), "d/disk.img", IMAGE_ALLOW_RAW, &err), &err);
    image_get_info(img, &info);
    assert_int_equal(info.format, IMAGE_RAW);
    assert_int_equal(info.virtual_size, mem_fs_size(l->m, CHILD));
    assert_ok(image_read(img, start, sizeof(start), 0, &err), &err);
    assert_memory_equal(start, "vhdxfile", 8);
    image_close(img);
}

static void
reads_past_the_end_are_invalid(void **state)
{
    struct two_files *l = *state;
    struct image *img = NULL;
    uint8_t byte;
    uint64_t len;
    enum image_map_kind kind;

    assert_ok(image_open(&img, mem_fs_fs(l->m), CHILD, 0, &err), &err);
    assert_ok(image_read(img, &byte, 1, SIZE - 1, &err), &err);
    assert_err(image_read(img, &byte, 1, SIZE, &err), VARVE_ERR_INVALID, &err);
    assert_err(image_read(img, &byte, 1, UINT64_MAX, &err), VARVE_ERR_INVALID, &err);
    assert_err(image_map(img, SIZE, 1, &len, &kind, &err), VARVE_ERR_INVALID, &err);
    assert_err(image_map(img, 0, 0, &len, &kind, &err), VARVE_ERR_INVALID, &err);
    image_close(img);
}

int
main(void)
{
#define HOSTILE_TEST(f)                                                                            \
    cmocka_unit_test_setup_teardown(f, two_files_of_extents, two_files_of_extents_end)
    const struct CMUnitTest tests[] = {
        HOSTILE_TEST(headers_that_cannot_be_are_refused),
        HOSTILE_TEST(one_good_header_is_enough),
        HOSTILE_TEST(of_two_headers_of_one_number_the_first_counts),
        HOSTILE_TEST(region_tables_that_cannot_be_are_refused),
        HOSTILE_TEST(a_region_that_stands_twice_is_refused),
        HOSTILE_TEST(a_region_nobody_must_know_is_left_alone_and_its_place_too),
        HOSTILE_TEST(metadata_that_cannot_be_is_refused),
        HOSTILE_TEST(a_half_made_file_is_refused),
        HOSTILE_TEST(an_item_that_stands_twice_is_refused),
        HOSTILE_TEST(items_nobody_must_know_are_left_alone),
        HOSTILE_TEST(block_tables_that_cannot_be_are_refused),
        HOSTILE_TEST(locators_that_cannot_be_are_refused),
        HOSTILE_TEST(a_child_whose_parent_is_gone_says_what_it_looked_for),
        HOSTILE_TEST(a_chain_that_comes_back_to_itself_is_refused),
        HOSTILE_TEST(a_parent_of_another_size_is_refused),
        HOSTILE_TEST(a_parent_of_another_sector_size_is_refused),
        HOSTILE_TEST(the_second_linkage_is_as_good_as_the_first_unless_it_is_zero),
        HOSTILE_TEST(a_renamed_parent_is_found_by_its_id),
        HOSTILE_TEST(a_file_cut_anywhere_is_refused_or_reads_right),
        HOSTILE_TEST(any_flipped_bit_gives_an_error_or_bytes),
        HOSTILE_TEST(what_is_no_disk_is_named_so),
        HOSTILE_TEST(a_guest_cannot_make_a_vhdx_of_its_raw_disk),
        HOSTILE_TEST(reads_past_the_end_are_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
