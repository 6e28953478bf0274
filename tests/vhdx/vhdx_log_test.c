/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "vhdx/image.h"
#include "vhdx/vhdx_edit.h"
#include "vhdx/vhdx_plan.h"

/*
 * Dirty logs.  The disk has 4 MiB in blocks of 1 MiB, all of them in the file, at 4 to 8 MiB; a ring
 * of 1 MiB stands at 1 MiB.  Entries are played over the blocks and over the BAT.
 */
#define MIB    (1024u * 1024)
#define PAGE   4096u
#define DISK   (4u * MIB)
#define DATA   ((uint64_t)4 * MIB) /* offset of block 0 in the file */
#define RING   MIB
#define FILE_A "disk.vhdx"

static struct varve_error err;

struct lab {
    struct mem_fs *m;
    struct edit_entry e;
    uint8_t truth[DISK]; /* what the disk must read as */
    uint8_t pages[64][PAGE];
    size_t page_count;
    uint32_t seed;
};

static uint32_t
next_random(struct lab *l, uint32_t below)
{
    l->seed = l->seed * 1664525u + 1013904223u;
    return (l->seed >> 8) % below;
}

static void
write_disk(struct lab *l)
{
    struct vhdx_params params = {
        .virtual_size = DISK,
        .block_size = MIB,
        .logical_sector = 512,
        .physical_sector = 4096,
        .fixed = true,
        .data_write_guid = {{1}},
        .file_write_guid = {{2}},
    };
    struct vhdx_plan *p = NULL;
    static uint8_t meta[4 * MIB];

    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    assert_ok(vhdx_plan_seal(p, &err), &err);
    assert_int_equal(vhdx_plan_file_size(p), DATA + DISK);
    vhdx_plan_meta(p, 0, meta, 0x50000);
    vhdx_plan_meta(p, EDIT_METADATA, meta + EDIT_METADATA, 2 * PAGE + 0x10000);
    vhdx_plan_meta(p, EDIT_BAT, meta + EDIT_BAT, PAGE);
    edit_put(l->m, FILE_A, 0, meta, sizeof(meta));
    edit_put(l->m, FILE_A, DATA, l->truth, DISK);
    vhdx_plan_free(p);
}

static int
set_up(void **state)
{
    struct lab *l = calloc(1, sizeof(*l));
    size_t i;

    if (l == NULL) {
        return -1;
    }
    l->m = mem_fs_new();
    if (l->m == NULL) {
        free(l);
        return -1;
    }
    for (i = 0; i < DISK; i++) {
        l->truth[i] = (uint8_t)(0x20 + i / MIB + i / PAGE);
    }
    write_disk(l);
    l->e.guid = edit_log_guid;
    l->e.flushed = DATA + DISK;
    l->e.last = DATA + DISK;
    *state = l;
    return 0;
}

static int
tear_down(void **state)
{
    struct lab *l = *state;

    mem_fs_free(l->m);
    free(l);
    return 0;
}

/* A page of the next entry, at a place in the file. */
static void
add_page(struct lab *l, uint64_t offset, uint8_t fill)
{
    uint8_t *page = l->pages[l->page_count++];

    assert_true(l->page_count <= 64);
    memset(page, fill, PAGE);
    put_le64(page, offset + fill);
    put_le32(page + PAGE - 4, ~(uint32_t)(offset + fill));
    l->e.descriptors[l->e.count].offset = offset;
    l->e.descriptors[l->e.count].length = 0;
    l->e.descriptors[l->e.count].page = page;
    l->e.count++;
    if (offset >= DATA && offset < DATA + DISK) {
        memcpy(l->truth + (offset - DATA), page, PAGE);
    }
}

static void
add_zeros(struct lab *l, uint64_t offset, uint64_t length)
{
    l->e.descriptors[l->e.count].offset = offset;
    l->e.descriptors[l->e.count].length = length;
    l->e.descriptors[l->e.count].page = NULL;
    l->e.count++;
    if (offset >= DATA && offset < DATA + DISK) {
        memset(l->truth + (offset - DATA), 0, (size_t)length);
    }
}

/* Writes the collected entry and begins the next. */
static uint32_t
write_entry(struct lab *l, uint32_t at, uint64_t sequence, uint32_t tail)
{
    uint32_t len;

    l->e.sequence = sequence;
    l->e.tail = tail;
    len = edit_log_write(l->m, FILE_A, RING, at, &l->e);
    l->e.count = 0;
    l->page_count = 0;
    return (at + len) % RING;
}

static enum varve_err
open_disk(struct lab *l, struct image **out)
{
    *out = NULL;
    return image_open(out, mem_fs_fs(l->m), FILE_A, 0, &err);
}

static void
expect_truth(struct lab *l, bool replayed)
{
    static uint8_t got[DISK];
    struct image *img = NULL;
    struct image_info info;

    assert_ok(open_disk(l, &img), &err);
    image_get_info(img, &info);
    assert_int_equal(info.log_replayed, replayed);
    assert_ok(image_read(img, got, DISK, 0, &err), &err);
    assert_memory_equal(got, l->truth, DISK);
    image_close(img);
}

static void
expect_refusal(struct lab *l, enum varve_err code, const char *part)
{
    struct image *img = NULL;

    assert_err(open_disk(l, &img), code, &err);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("'%s' does not say '%s'", err.msg, part);
    }
}

static void
a_page_in_the_log_is_read_instead_of_the_file(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA + 3 * PAGE, 0xaa);
    (void)write_entry(l, 0, 7, 0);
    expect_truth(l, true);
}

static void
the_block_table_is_read_through_the_log(void **state)
{
    struct lab *l = *state;
    uint8_t bat[PAGE];
    static const uint8_t zeros[PAGE];

    mem_fs_get(l->m, FILE_A, bat, PAGE, EDIT_BAT);
    edit_put(l->m, FILE_A, EDIT_BAT, zeros, PAGE);
    edit_log_open(l->m, FILE_A);
    l->e.descriptors[0].offset = EDIT_BAT;
    l->e.descriptors[0].page = bat;
    l->e.count = 1;
    (void)write_entry(l, 0, 1, 0);
    expect_truth(l, true);
}

static void
the_file_itself_stays_as_it_is(void **state)
{
    struct lab *l = *state;
    size_t before;
    uint8_t page[PAGE];
    uint8_t again[PAGE];

    edit_log_open(l->m, FILE_A);
    mem_fs_get(l->m, FILE_A, page, PAGE, DATA);
    add_page(l, DATA, 0xbb);
    (void)write_entry(l, 0, 7, 0);
    before = mem_fs_used(l->m);
    expect_truth(l, true);
    mem_fs_get(l->m, FILE_A, again, PAGE, DATA);
    assert_memory_equal(page, again, PAGE);
    assert_int_equal(mem_fs_used(l->m), before);
}

static void
an_entry_may_wrap_around_the_end_of_the_ring(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 1);
    add_page(l, DATA + PAGE, 2);
    add_page(l, DATA + 2 * PAGE, 3);
    (void)write_entry(l, RING - 2 * PAGE, 9, RING - 2 * PAGE);
    expect_truth(l, true);
}

static void
more_than_126_descriptors_go_on_in_the_next_sector(void **state)
{
    struct lab *l = *state;
    uint32_t i;

    edit_log_open(l->m, FILE_A);
    for (i = 0; i < 300; i++) {
        add_zeros(l, DATA + (uint64_t)(i * 2) * PAGE, PAGE);
    }
    add_page(l, DATA + 601 * PAGE, 0x44);
    (void)write_entry(l, 5 * PAGE, 9, 5 * PAGE);
    expect_truth(l, true);
}

static void
only_entries_from_the_tail_on_are_played(void **state)
{
    struct lab *l = *state;
    uint8_t before[DISK / 1024];
    uint32_t at;
    uint32_t tail;

    edit_log_open(l->m, FILE_A);
    memcpy(before, l->truth, sizeof(before));
    add_page(l, DATA, 1);
    at = write_entry(l, 0, 5, 0);
    memcpy(l->truth, before, sizeof(before)); /* number 5 is before the tail */
    tail = at;
    add_page(l, DATA + PAGE, 2);
    at = write_entry(l, at, 6, 0);
    add_page(l, DATA + 2 * PAGE, 3);
    (void)write_entry(l, at, 7, tail);
    expect_truth(l, true);
}

static void
the_run_with_the_larger_numbers_counts(void **state)
{
    struct lab *l = *state;
    uint8_t before[PAGE];

    edit_log_open(l->m, FILE_A);
    memcpy(before, l->truth, PAGE);
    add_page(l, DATA, 1);
    (void)write_entry(l, 0, 50, 0);
    memcpy(l->truth, before, PAGE);
    add_page(l, DATA + PAGE, 2);
    (void)write_entry(l, 64 * PAGE, 90, 64 * PAGE);
    memcpy(before, l->truth + 2 * PAGE, PAGE);
    add_page(l, DATA + 2 * PAGE, 3);
    (void)write_entry(l, 128 * PAGE, 70, 128 * PAGE);
    memcpy(l->truth + 2 * PAGE, before, PAGE);
    expect_truth(l, true);
}

static void
a_torn_last_entry_is_dropped(void **state)
{
    struct lab *l = *state;
    uint8_t before[PAGE];
    uint32_t at;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 1);
    at = write_entry(l, 0, 5, 0);
    memcpy(before, l->truth + PAGE, PAGE);
    add_page(l, DATA + PAGE, 2);
    (void)write_entry(l, at, 6, 0);
    memcpy(l->truth + PAGE, before, PAGE);
    edit_flip(l->m, FILE_A, EDIT_LOG + at + PAGE + 100, 3);
    expect_truth(l, true);
}

static void
entries_of_another_log_are_not_played(void **state)
{
    struct lab *l = *state;
    uint8_t before[PAGE];
    uint32_t at;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 1);
    at = write_entry(l, 0, 5, 0);
    memcpy(before, l->truth + PAGE, PAGE);
    add_page(l, DATA + PAGE, 2);
    l->e.guid.bytes[3] ^= 1;
    (void)write_entry(l, at, 6, 0);
    memcpy(l->truth + PAGE, before, PAGE);
    expect_truth(l, true);
}

static void
without_a_log_id_entries_mean_nothing(void **state)
{
    struct lab *l = *state;
    uint8_t before[PAGE];

    memcpy(before, l->truth, PAGE);
    add_page(l, DATA, 1);
    l->e.guid = (struct guid){{0}};
    (void)write_entry(l, 0, 5, 0);
    memcpy(l->truth, before, PAGE);
    expect_truth(l, false);
}

static void
an_empty_entry_may_be_the_tail(void **state)
{
    struct lab *l = *state;
    uint32_t at;

    edit_log_open(l->m, FILE_A);
    at = write_entry(l, 0, 5, 0);
    add_page(l, DATA, 2);
    (void)write_entry(l, at, 6, 0);
    expect_truth(l, true);
}

static void
the_log_may_make_the_file_longer(void **state)
{
    struct lab *l = *state;
    uint8_t bat[PAGE];

    /* Block 3 moves behind the end of the file: one page of it is in the log, the rest is zeros. */
    mem_fs_get(l->m, FILE_A, bat, PAGE, EDIT_BAT);
    put_le64(bat + 24, (DATA + DISK) | 6);
    edit_log_open(l->m, FILE_A);
    l->e.descriptors[0].offset = EDIT_BAT;
    l->e.descriptors[0].page = bat;
    l->e.count = 1;
    add_page(l, DATA + DISK + PAGE, 9);
    memset(l->truth + 3 * MIB, 0, MIB);
    memcpy(l->truth + 3 * MIB + PAGE, l->pages[0], PAGE);
    l->e.last = DATA + DISK + MIB;
    (void)write_entry(l, 0, 1, 0);
    expect_truth(l, true);
}

static void
a_log_id_without_entries_is_refused(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    expect_refusal(l, VARVE_ERR_CORRUPT, "no whole sequence");
}

static void
a_tail_outside_the_run_is_refused(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 2);
    (void)write_entry(l, 0, 6, 64 * PAGE);
    expect_refusal(l, VARVE_ERR_CORRUPT, "no whole sequence");
}

/* Entries that follow each other all around the ring: the walk ends where the numbers do. */
static void
a_ring_full_of_entries_has_one_head(void **state)
{
    struct lab *l = *state;
    uint32_t i;

    edit_log_open(l->m, FILE_A);
    for (i = 0; i < RING / PAGE; i++) {
        if (i % 16 == 15) {
            add_zeros(l, DATA + (i % 64) * PAGE, PAGE);
        }
        (void)write_entry(l, (uint32_t)((i + 100) * PAGE % RING), 1000 + i, 100 * PAGE);
    }
    expect_truth(l, true);
}

/* Every entry claims that the next one is the oldest, or that it has the number of all others. */
static void
entries_that_point_at_each_other_are_refused(void **state)
{
    struct lab *l = *state;
    uint32_t i;

    edit_log_open(l->m, FILE_A);
    for (i = 0; i < RING / PAGE; i++) {
        (void)write_entry(l, i * PAGE, 7, (i + 1) % (RING / PAGE) * PAGE);
    }
    expect_refusal(l, VARVE_ERR_CORRUPT, "no whole sequence");
    for (i = 0; i < RING / PAGE; i++) { /* descending numbers: nobody follows anybody */
        (void)write_entry(l, i * PAGE, 1000 - i, (i + 1) % (RING / PAGE) * PAGE);
    }
    expect_refusal(l, VARVE_ERR_CORRUPT, "no whole sequence");
}

/* A number that has no successor. */
static void
the_largest_sequence_number_is_followed_by_nobody(void **state)
{
    struct lab *l = *state;
    uint32_t at;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA + PAGE, 3);
    at = write_entry(l, 0, UINT64_MAX - 1, 0);
    add_page(l, DATA + 2 * PAGE, 4);
    at = write_entry(l, at, UINT64_MAX, 0);
    l->e.guid.bytes[0] ^= 1; /* of another log, so that sequence 0 is not the reason */
    (void)write_entry(l, at, 1, 0);
    l->e.guid.bytes[0] ^= 1;
    expect_truth(l, true);
}

static void
a_file_shorter_than_the_log_remembers_is_refused(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 2);
    l->e.flushed = DATA + DISK + MIB;
    (void)write_entry(l, 0, 6, 0);
    expect_refusal(l, VARVE_ERR_CORRUPT, "cut short");
}

static void
entries_must_not_write_where_none_may(void **state)
{
    static const struct {
        uint64_t offset;
        uint64_t length;
    } bad[] = {
        {0, PAGE},
        {EDIT_HEADER1, PAGE},
        {EDIT_HEADER2, PAGE},
        {0x2f000, 2 * PAGE},
        {EDIT_LOG, PAGE},
        {EDIT_LOG - PAGE, 2 * PAGE},
        {EDIT_LOG + RING - PAGE, PAGE},
        {DATA + 1, PAGE},
        {DATA, 512},
        {DATA, UINT64_MAX - PAGE + 1},
        {UINT64_MAX - PAGE + 1, PAGE},
        {UINT64_C(1) << 60, PAGE},
        {0x40000, UINT64_C(1) << 50},
    };
    struct lab *l = *state;
    size_t i;

    edit_log_open(l->m, FILE_A);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        l->e.descriptors[0].offset = bad[i].offset;
        l->e.descriptors[0].length = bad[i].length;
        l->e.descriptors[0].page = NULL;
        l->e.count = 1;
        (void)write_entry(l, 0, 6, 0);
        expect_refusal(l, VARVE_ERR_CORRUPT, "where no entry may");
    }
}

static void
a_last_offset_past_any_file_is_refused(void **state)
{
    struct lab *l = *state;

    edit_log_open(l->m, FILE_A);
    add_page(l, DATA, 2);
    l->e.last = UINT64_C(1) << 62;
    (void)write_entry(l, 0, 6, 0);
    expect_refusal(l, VARVE_ERR_CORRUPT, "last file offset");
}

static void
a_bad_shape_makes_an_entry_invalid(void **state)
{
    struct lab *l = *state;
    static const struct {
        uint32_t at;
        uint32_t value;
    } changes[] = {
        {8, PAGE},       /* too short for its data sector */
        {8, 3 * PAGE},   /* too long */
        {8, 0},          /* nothing */
        {8, PAGE + 512}, /* not whole sectors */
        {8, RING},       /* the whole ring */
        {8, 0xfffff000}, /* longer than the ring */
        {12, 512},       /* tail not a sector */
        {12, RING},      /* tail outside */
        {16, 0},         /* sequence 0 */
        {24, 0xffffffff},
        {24, 2},
        {64, 0x12345678},        /* descriptor signature */
        {64 + 24, 8},            /* sequence of the descriptor */
        {PAGE, 0x12345678},      /* data signature */
        {PAGE + 4, 8},           /* data sequence, high */
        {PAGE + PAGE - 4, 1000}, /* data sequence, low */
    };
    size_t i;

    edit_log_open(l->m, FILE_A);
    for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        add_page(l, DATA, 2);
        (void)write_entry(l, 0, 6, 0);
        edit_le32(l->m, FILE_A, EDIT_LOG + changes[i].at, changes[i].value);
        edit_fix_checksums(l->m, FILE_A);
        expect_refusal(l, VARVE_ERR_CORRUPT, "no whole sequence");
    }
}

static void
a_log_of_a_newer_version_is_refused(void **state)
{
    struct lab *l = *state;

    edit_le16(l->m, FILE_A, EDIT_HEADER1 + 64, 1);
    edit_le16(l->m, FILE_A, EDIT_HEADER2 + 64, 1);
    edit_fix_checksums(l->m, FILE_A);
    expect_truth(l, false);
    edit_log_open(l->m, FILE_A);
    expect_refusal(l, VARVE_ERR_UNSUPPORTED, "log version");
}

/* Pages and zero ranges that overlap in any way; the model just does one after the other. */
static void
the_later_write_wins_wherever_entries_overlap(void **state)
{
    struct lab *l = *state;
    uint32_t round;

    edit_log_open(l->m, FILE_A);
    for (round = 1; round <= 200; round++) {
        uint32_t entries;
        uint32_t at;
        uint32_t first;
        uint32_t i;
        uint32_t n;

        l->seed = round;
        write_disk(l);
        edit_log_open(l->m, FILE_A);
        entries = 1 + next_random(l, 6);
        at = next_random(l, RING / PAGE) * PAGE;
        first = at;
        for (i = 0; i < entries; i++) {
            for (n = next_random(l, 12); n > 0; n--) {
                uint32_t page = next_random(l, 40);

                if (next_random(l, 2) == 0) {
                    add_page(l, DATA + (uint64_t)page * PAGE, (uint8_t)next_random(l, 256));
                } else {
                    add_zeros(l, DATA + (uint64_t)page * PAGE, (uint64_t)next_random(l, 20) * PAGE);
                }
            }
            at = write_entry(l, at, (uint64_t)round * 100 + i, first);
        }
        expect_truth(l, true);
    }
}

int
main(void)
{
#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_page_in_the_log_is_read_instead_of_the_file),
        LOG_TEST(the_block_table_is_read_through_the_log),
        LOG_TEST(the_file_itself_stays_as_it_is),
        LOG_TEST(an_entry_may_wrap_around_the_end_of_the_ring),
        LOG_TEST(more_than_126_descriptors_go_on_in_the_next_sector),
        LOG_TEST(only_entries_from_the_tail_on_are_played),
        LOG_TEST(the_run_with_the_larger_numbers_counts),
        LOG_TEST(a_torn_last_entry_is_dropped),
        LOG_TEST(entries_of_another_log_are_not_played),
        LOG_TEST(without_a_log_id_entries_mean_nothing),
        LOG_TEST(an_empty_entry_may_be_the_tail),
        LOG_TEST(the_log_may_make_the_file_longer),
        LOG_TEST(a_log_id_without_entries_is_refused),
        LOG_TEST(a_tail_outside_the_run_is_refused),
        LOG_TEST(a_ring_full_of_entries_has_one_head),
        LOG_TEST(entries_that_point_at_each_other_are_refused),
        LOG_TEST(the_largest_sequence_number_is_followed_by_nobody),
        LOG_TEST(a_file_shorter_than_the_log_remembers_is_refused),
        LOG_TEST(entries_must_not_write_where_none_may),
        LOG_TEST(a_last_offset_past_any_file_is_refused),
        LOG_TEST(a_bad_shape_makes_an_entry_invalid),
        LOG_TEST(a_log_of_a_newer_version_is_refused),
        LOG_TEST(the_later_write_wins_wherever_entries_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
