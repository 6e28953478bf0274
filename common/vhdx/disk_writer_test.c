/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file_fault.h"
#include "os/file_mem.h"
#include "vhdx/disk_writer.h"
#include "vhdx/image.h"

#define MIB  (UINT64_C(1024) * 1024)
#define SIZE (7 * MIB + 4096)

static struct varve_error err;

static const enum disk_format formats[] = {DISK_RAW, DISK_VHD, DISK_VHD_FIXED, DISK_VHDX,
                                           DISK_VHDX_FIXED};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* What the disk holds: a few stretches, one over the end of a block, one at the end of the disk. */
static const struct {
    uint64_t offset;
    size_t length;
} stretches[] = {{512, 1024}, {3 * MIB - 4096, 8192}, {SIZE - 512, 512}};
#define STRETCHES (sizeof(stretches) / sizeof(stretches[0]))

static struct disk_params
params_of(enum disk_format format)
{
    struct disk_params p = {.format = format};

    p.disk.virtual_size = SIZE;
    p.disk.block_size = 1 << 20;
    p.disk.logical_sector = 512;
    p.disk.physical_sector = 4096;
    p.disk.disk_id.bytes[0] = 1;
    p.disk.data_write_guid.bytes[0] = 2;
    p.disk.file_write_guid.bytes[0] = 3;
    return p;
}

static const char *
name_of(enum disk_format format)
{
    switch (format) {
    case DISK_VHD:
    case DISK_VHD_FIXED:
        return "/d.vhd";
    case DISK_VHDX:
    case DISK_VHDX_FIXED:
        return "/d.vhdx";
    case DISK_RAW:
        break;
    }
    return "/d.raw";
}

static void
fill(uint8_t *buf, size_t stretch, size_t length)
{
    memset(buf, 0xa0 + (int)stretch, length);
}

static enum varve_err
write_disk(struct fs *fs, enum disk_format format, unsigned flags, bool *left)
{
    const struct disk_params params = params_of(format);
    struct disk_writer *w = NULL;
    uint8_t buf[8192];
    enum varve_err rc;

    rc = disk_writer_new(&w, fs, name_of(format), &params, flags, &err);
    for (size_t i = 0; rc == VARVE_OK && i < STRETCHES; i++) {
        fill(buf, i, stretches[i].length);
        rc = disk_writer_put(w, stretches[i].offset, buf, stretches[i].length, &err);
    }
    if (rc == VARVE_OK) {
        rc = disk_writer_finish(w, &err);
    }
    *left = !disk_writer_free(w);
    return rc;
}

static bool
disk_is_right(struct image *img)
{
    uint8_t *want = calloc(1, SIZE);
    uint8_t *got = malloc(SIZE);
    struct image_info info;
    bool right;

    assert_non_null(want);
    assert_non_null(got);
    image_get_info(img, &info);
    for (size_t i = 0; i < STRETCHES; i++) {
        fill(want + stretches[i].offset, i, stretches[i].length);
    }
    right = info.virtual_size == SIZE && image_read(img, got, SIZE, 0, &err) == VARVE_OK &&
            memcmp(want, got, SIZE) == 0;
    free(want);
    free(got);
    return right;
}

static bool
exists(struct fs *fs, const char *path)
{
    struct file_stat st;

    return fs_stat(fs, path, &st, &err) == VARVE_OK;
}

/* The file of that name is no disk for any reader, or the right one. */
static void
expect_whole_or_none(struct fs *fs, const char *path, bool must_open)
{
    struct image *img = NULL;
    enum varve_err rc = image_open(&img, fs, path, must_open ? IMAGE_ALLOW_RAW : 0, &err);

    if (rc == VARVE_OK) {
        assert_true(disk_is_right(img));
        image_close(img);
    } else {
        assert_false(must_open);
    }
}

static void
what_is_put_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS * 2; i++) {
        enum disk_format format = formats[i / 2];
        struct mem_fs *mem = NULL;
        bool left = true;

        assert_ok(mem_fs_new(&mem, &err), &err);
        assert_ok(write_disk(mem_fs(mem), format, i % 2 == 0 ? 0u : DISK_WRITER_SPARSE, &left),
                  &err);
        assert_false(left);
        expect_whole_or_none(mem_fs(mem), name_of(format), true);
        mem_fs_free(mem);
    }
}

/* Written as data came, and planned with all of it known: the same bytes. */
static void
the_file_is_the_one_a_plan_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        const struct disk_params params = params_of(formats[i]);
        struct disk_plan *plan = NULL;
        struct mem_fs *mem = NULL;
        struct file *f = NULL;
        struct file_stat st;
        bool left = false;

        assert_ok(mem_fs_new(&mem, &err), &err);
        assert_ok(write_disk(mem_fs(mem), formats[i], 0, &left), &err);
        assert_ok(disk_plan_new(&plan, &params, &err), &err);
        for (size_t k = 0; k < STRETCHES; k++) {
            assert_ok(disk_plan_add(plan, stretches[k].offset, stretches[k].length, &err), &err);
        }
        assert_ok(disk_plan_seal(plan, &err), &err);
        assert_ok(file_open(mem_fs(mem), &f, name_of(formats[i]), FILE_READ, &err), &err);
        assert_ok(file_fstat(f, &st, &err), &err);
        assert_int_equal(st.size, disk_plan_file_size(plan));
        for (uint64_t off = 0, n; off < st.size; off += n) {
            uint8_t planned[4096];
            uint8_t written[4096];
            struct vhdx_segment s;

            disk_plan_segment(plan, off, &s);
            n = s.length < sizeof(planned) ? s.length : sizeof(planned);
            memset(planned, 0, sizeof(planned));
            if (s.kind == VHDX_SEGMENT_META) {
                disk_plan_meta(plan, off, planned, (size_t)n);
            }
            assert_ok(file_read_exact(f, written, (size_t)n, off, &err), &err);
            assert_true(s.kind == VHDX_SEGMENT_DISK || memcmp(planned, written, (size_t)n) == 0);
        }
        file_close(f);
        disk_plan_free(plan);
        mem_fs_free(mem);
    }
}

static void
what_exists_is_not_replaced(void **state)
{
    struct mem_fs *mem = NULL;
    struct file *f = NULL;
    bool left = false;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(file_open(mem_fs(mem), &f, "/d.vhdx", FILE_CREATE_NEW, &err), &err);
    file_close(f);
    assert_err(write_disk(mem_fs(mem), DISK_VHDX, 0, &left), VARVE_ERR_EXISTS, &err);
    assert_true(exists(mem_fs(mem), "/d.vhdx"));
    assert_ok(fs_rename_new(mem_fs(mem), "/d.vhdx", "/d.vhdx.partial", &err), &err);
    assert_err(write_disk(mem_fs(mem), DISK_VHDX, 0, &left), VARVE_ERR_EXISTS, &err);
    assert_true(exists(mem_fs(mem), "/d.vhdx.partial"));
    mem_fs_free(mem);
}

/* Every change fails once: an error comes back and nothing is left. */
static void
a_failure_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        enum varve_err rc = VARVE_ERR_IO;

        for (uint64_t n = 1; rc != VARVE_OK; n++) {
            const struct fault_rule rule = {.ops = FAULT_CHANGES & ~(unsigned)FAULT_REMOVE,
                                            .nth = n,
                                            .times = 1,
                                            .action = FAULT_FAIL};
            struct mem_fs *mem = NULL;
            struct fault_fs *ff = NULL;
            bool left = false;

            assert_true(n < 100);
            assert_ok(mem_fs_new(&mem, &err), &err);
            assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
            assert_ok(fault_fs_set(ff, &rule, &err), &err);
            rc = write_disk(fault_fs(ff), formats[i], 0, &left);
            assert_int_equal(rc == VARVE_OK, fault_fs_hits(ff) == 0);
            assert_false(left);
            assert_int_equal(exists(mem_fs(mem), name_of(formats[i])), rc == VARVE_OK);
            assert_false(exists(mem_fs(mem), "/d.raw.partial") ||
                         exists(mem_fs(mem), "/d.vhd.partial") ||
                         exists(mem_fs(mem), "/d.vhdx.partial"));
            fault_fs_free(ff);
            mem_fs_free(mem);
        }
    }
}

/* disk_writer.h, invariants 1 to 3. */
static void
check_after_cut(struct fs *fs, enum disk_format format, bool finished)
{
    char partial[32];

    (void)snprintf(partial, sizeof(partial), "%s.partial", name_of(format));
    if (finished || exists(fs, name_of(format))) {
        expect_whole_or_none(fs, name_of(format), true);
    }
    if (exists(fs, partial) && format != DISK_RAW) {
        expect_whole_or_none(fs, partial, false);
    }
}

static void
a_power_cut_leaves_no_half_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < FORMATS; i++) {
        bool cut = true;

        for (uint64_t n = 1; cut; n++) {
            for (uint64_t seed = 0; seed < 24; seed++) {
                struct mem_fs *mem = NULL;
                struct fault_fs *ff = NULL;
                bool left = false;
                bool finished;

                assert_ok(mem_fs_new(&mem, &err), &err);
                assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
                fault_fs_cut_at(ff, n);
                finished =
                    write_disk(fault_fs(ff), formats[i], DISK_WRITER_SPARSE, &left) == VARVE_OK;
                cut = fault_fs_is_cut(ff);
                mem_fs_power_cut(mem, seed);
                check_after_cut(mem_fs(mem), formats[i], finished);
                fault_fs_free(ff);
                mem_fs_free(mem);
            }
            assert_true(n < 100);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(the_file_is_the_one_a_plan_gives),
        cmocka_unit_test(what_exists_is_not_replaced),
        cmocka_unit_test(a_failure_leaves_nothing),
        cmocka_unit_test(a_power_cut_leaves_no_half_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
