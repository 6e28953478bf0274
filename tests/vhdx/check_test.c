/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "vhdx/check_agree.h"
#include "vhdx/two_files.h"
#include "vhdx/vhd_gen.h"
#include "vhdx/vhdx_edit.h"

/* What image_check() calls clean, repairable and broken. */
#define SET "d/set.vhds"

static struct varve_error err;

struct found {
    const char *path;
    const char *structure;
    uint64_t offset;
    enum image_verdict weight;
    const char *text; /* part of it */
    unsigned count;
};

static void
look_for(void *arg, const struct image_finding *f)
{
    struct found *want = arg;

    if (strcmp(f->path, want->path) == 0 && strcmp(f->structure, want->structure) == 0 &&
        f->offset == want->offset && f->weight == want->weight &&
        strstr(f->text, want->text) != NULL) {
        want->count++;
    }
}

static void
expect(struct mem_fs *m, const char *path, enum image_verdict verdict, struct found want)
{
    struct image_check_result r;

    assert_ok(image_check(&r, mem_fs_fs(m), path, 0, look_for, &want, &err), &err);
    if (r.verdict != verdict) {
        fail_msg("'%s' is called %s", path, image_verdict_name(r.verdict));
    }
    if (want.count != 1) {
        fail_msg("'%s' in %s is found %u times", want.text, want.structure, want.count);
    }
    assert_int_equal(open_and_check(mem_fs_fs(m), path, 0, &err) == VARVE_OK,
                     verdict != IMAGE_BROKEN);
}

static void
a_chain_as_we_write_it_is_clean_without_a_note(void **state)
{
    struct two_files *l = *state;
    struct image_check_result r;

    assert_ok(image_check(&r, mem_fs_fs(l->m), CHILD, 0, NULL, NULL, &err), &err);
    assert_int_equal(r.verdict, IMAGE_CLEAN);
    assert_int_equal(r.findings, 0);
    assert_int_equal(r.files, 2);
    assert_int_equal(r.blocks, 3);
    assert_int_equal(r.blocks_present + r.blocks_partial, 3);
    assert_int_equal(r.unused_bytes, 0);
}

static void
one_bad_header_or_table_of_two_can_be_repaired(void **state)
{
    struct two_files *l = *state;

    edit_flip(l->m, BASE, EDIT_HEADER2 + 9, 1);
    expect(l->m, BASE, IMAGE_REPAIRABLE,
           (struct found){BASE, "header 2", EDIT_HEADER2, IMAGE_REPAIRABLE, "other header", 0});
    expect(l->m, CHILD, IMAGE_REPAIRABLE, /* it is as good as its parent */
           (struct found){BASE, "header 2", EDIT_HEADER2, IMAGE_REPAIRABLE, "other header", 0});
    edit_flip(l->m, BASE, EDIT_REGION1 + 3000, 1);
    expect(
        l->m, BASE, IMAGE_REPAIRABLE,
        (struct found){BASE, "region table 1", EDIT_REGION1, IMAGE_REPAIRABLE, "other table", 0});
    edit_flip(l->m, BASE, EDIT_REGION2, 1);
    expect(l->m, BASE, IMAGE_BROKEN,
           (struct found){BASE, "region table 1", EDIT_REGION1, IMAGE_BROKEN, "no valid one", 0});
    edit_flip(l->m, BASE, EDIT_HEADER1 + 9, 1);
    expect(l->m, BASE, IMAGE_BROKEN,
           (struct found){BASE, "header 1", EDIT_HEADER1, IMAGE_BROKEN, "no valid one", 0});
}

static void
every_bad_entry_of_a_block_table_is_told(void **state)
{
    struct two_files *l = *state;
    uint64_t first = edit_get_le64(l->m, BASE, EDIT_BAT);

    edit_le64(l->m, BASE, EDIT_BAT + 8, first);
    edit_le64(l->m, BASE, EDIT_BAT + 16, 5);
    expect(l->m, BASE, IMAGE_BROKEN,
           (struct found){BASE, "BAT", EDIT_BAT + 8, IMAGE_BROKEN, "something else owns", 0});
    expect(l->m, BASE, IMAGE_BROKEN,
           (struct found){BASE, "BAT", EDIT_BAT + 16, IMAGE_BROKEN, "no known state", 0});
    expect(l->m, CHILD, IMAGE_BROKEN,
           (struct found){BASE, "BAT", EDIT_BAT + 16, IMAGE_BROKEN, "no known state", 0});
    edit_le64(l->m, CHILD, EDIT_BAT + 2048 * 8, 0);
    expect(l->m, CHILD, IMAGE_BROKEN,
           (struct found){CHILD, "BAT", EDIT_BAT + 2048 * 8, IMAGE_BROKEN, "no bitmap", 0});
}

static void
count_all(void *arg, const struct image_finding *f)
{
    unsigned *n = arg;

    n[0]++;
    n[1] += strstr(f->text, "more findings of this kind") != NULL ? 1 : 0;
}

static void
a_thousand_bad_entries_are_a_hundred_findings_and_one(void **state)
{
    struct two_files *l = *state;
    struct image_check_result r;
    unsigned n[2] = {0, 0};
    unsigned i;

    edit_le64(l->m, BASE, EDIT_ITEMS + 8, 4096 * MIB);
    for (i = 0; i < 1000; i++) {
        edit_le64(l->m, BASE, EDIT_BAT + 64 + 8 * (uint64_t)i, 4);
    }
    assert_ok(image_check(&r, mem_fs_fs(l->m), BASE, 0, count_all, n, &err), &err);
    assert_int_equal(r.verdict, IMAGE_BROKEN);
    assert_int_equal(r.findings, 1000);
    assert_int_equal(n[0], IMAGE_CHECK_REPORTS + 1);
    assert_int_equal(n[1], 1);
}

static void
a_log_to_be_replayed_can_be_repaired_and_a_lost_one_not(void **state)
{
    static struct edit_entry e;
    static uint8_t page[4096];
    struct two_files *l = *state;

    mem_fs_get(l->m, BASE, page, sizeof(page), EDIT_BAT);
    e.guid = edit_log_guid;
    e.sequence = 7;
    e.flushed = mem_fs_size(l->m, BASE);
    e.last = e.flushed;
    e.count = 1;
    e.descriptors[0].offset = EDIT_BAT;
    e.descriptors[0].page = page;
    (void)edit_log_write(l->m, BASE, (uint32_t)MIB, 0, &e);
    edit_log_open(l->m, BASE);
    expect(l->m, BASE, IMAGE_REPAIRABLE,
           (struct found){BASE, "log", EDIT_LOG, IMAGE_REPAIRABLE, "was not empty", 0});
    edit_flip(l->m, BASE, EDIT_LOG + 100, 2);
    expect(l->m, BASE, IMAGE_BROKEN,
           (struct found){BASE, "log", EDIT_LOG, IMAGE_BROKEN, "no whole sequence", 0});
}

static void
what_writers_do_and_readers_live_with_is_only_noted(void **state)
{
    struct two_files *l = *state;
    uint64_t size = mem_fs_size(l->m, BASE);

    edit_le64(l->m, BASE, EDIT_HEADER2 + 8, 1);
    edit_fix_checksums(l->m, BASE);
    assert_ok(mem_fs_set_size(l->m, BASE, size + MIB + 512, &err), &err);
    expect(l->m, BASE, IMAGE_CLEAN,
           (struct found){BASE, "header 2", EDIT_HEADER2, IMAGE_CLEAN, "sequence number 1", 0});
    expect(l->m, BASE, IMAGE_CLEAN,
           (struct found){BASE, "file", size + MIB + 512, IMAGE_CLEAN, "not whole MiB", 0});
    expect(l->m, BASE, IMAGE_CLEAN,
           (struct found){BASE, "file", 0, IMAGE_CLEAN, "belong to nothing", 0});
}

static void
linkage_is_judged_too(void **state)
{
    struct two_files *l = *state;

    edit_copy(l->m, BASE, "d/renamed.vhdx");
    edit_headers_le64(l->m, BASE, 32, 1);
    expect(l->m, CHILD, IMAGE_REPAIRABLE,
           (struct found){CHILD, "parent locator", 0, IMAGE_REPAIRABLE, "'d/renamed.vhdx'", 0});
    edit_headers_le64(l->m, "d/renamed.vhdx", 32, 1);
    expect(l->m, CHILD, IMAGE_BROKEN,
           (struct found){CHILD, "chain", 0, IMAGE_BROKEN, "is another disk", 0});
    assert_int_equal(check_verdict(mem_fs_fs(l->m), CHILD, IMAGE_NO_PARENT), IMAGE_CLEAN);
}

static void
vhd_bytes(void *arg, uint8_t out[512], uint64_t sector)
{
    (void)arg;
    memset(out, (int)sector & 0x7f, 512);
}

static bool
vhd_has(void *arg, uint64_t sector)
{
    (void)arg;
    return sector % 3 == 0;
}

static void
a_vhd_is_judged_by_footers_header_and_table(void **state)
{
    struct two_files *l = *state;
    struct vhd_gen g = {.virtual_size = 300 * 1024, .block_size = 65536, .has_sector = vhd_has};
    uint8_t place[8];
    uint64_t table;
    uint64_t size;

    g.bytes = vhd_bytes;
    g.id.bytes[3] = 9;
    assert_ok(vhd_gen_write(&g, mem_fs_fs(l->m), "d/x.vhd", &err), &err);
    assert_int_equal(check_verdict(mem_fs_fs(l->m), "d/x.vhd", 0), IMAGE_CLEAN);
    size = mem_fs_size(l->m, "d/x.vhd");
    edit_flip(l->m, "d/x.vhd", size - 512 + 100, 1);
    expect(l->m, "d/x.vhd", IMAGE_REPAIRABLE,
           (struct found){"d/x.vhd", "footer", size - 512, IMAGE_REPAIRABLE, "checksum", 0});
    assert_ok(mem_fs_set_size(l->m, "d/x.vhd", size - 512, &err), &err);
    expect(l->m, "d/x.vhd", IMAGE_REPAIRABLE,
           (struct found){"d/x.vhd", "footer", size - 512, IMAGE_REPAIRABLE, "none at the end", 0});
    mem_fs_get(l->m, "d/x.vhd", place, sizeof(place), 512 + 16);
    table = get_be64(place);
    edit_put(l->m, "d/x.vhd", table + 4, "\0\0\0\2", 4);
    expect(l->m, "d/x.vhd", IMAGE_BROKEN,
           (struct found){"d/x.vhd", "block table", table + 4, IMAGE_BROKEN, "into the header", 0});
    edit_flip(l->m, "d/x.vhd", 512 + 600, 1);
    expect(l->m, "d/x.vhd", IMAGE_BROKEN,
           (struct found){"d/x.vhd", "dynamic header", 512, IMAGE_BROKEN, "checksum", 0});
}

/* ---- VHD Sets: as the one public file is laid out ---- */

static void
make_set(struct mem_fs *m, const char *name)
{
    uint8_t page[4096];
    uint32_t i;
    uint32_t len = (uint32_t)strlen(name) + 1;

    edit_put(m, SET, 0, "vhdsetv1", 8);
    for (i = 0; i < 2; i++) {
        memset(page, 0, sizeof(page));
        memcpy(page, "shdr", 4);
        put_le32(page + 4, 0xffffe000);
        put_le64(page + 8, i);
        put_le32(page + 16, 1);
        put_le32(page + 24, 7);
        put_le32(page + 28, 0x40000);
        put_le32(page + 32, len * 2);
        put_le32(page + 20, crc32c(page, sizeof(page)));
        edit_put(m, SET, 0x10000 * (uint64_t)(i + 1), page, sizeof(page));
    }
    for (i = 0; i < len; i++) {
        uint8_t c[2] = {(uint8_t)name[i], 0};

        edit_put(m, SET, 0x40000 + 2 * (uint64_t)i, c, 2);
    }
    assert_ok(mem_fs_set_size(m, SET, 266240, &err), &err);
}

static void
a_vhd_set_gives_the_disk_it_names(void **state)
{
    struct two_files *l = *state;
    struct image *img = NULL;
    struct image_info info;

    make_set(l->m, "1.avhdx");
    assert_ok(image_open(&img, mem_fs_fs(l->m), SET, 0, &err), &err);
    assert_string_equal(image_get_file(img, 0, &info), CHILD);
    assert_true(info.in_set);
    assert_int_equal(info.chain_length, 2);
    assert_string_equal(image_get_file(img, 1, &info), BASE);
    assert_false(info.in_set);
    image_close(img);
    assert_int_equal(check_verdict(mem_fs_fs(l->m), SET, 0), IMAGE_CLEAN);
    edit_flip(l->m, SET, 0x10000 + 50, 1);
    expect(l->m, SET, IMAGE_REPAIRABLE,
           (struct found){SET, "set header 1", 0x10000, IMAGE_REPAIRABLE, "other header", 0});
    edit_flip(l->m, SET, 0x20000 + 50, 1);
    expect(l->m, SET, IMAGE_BROKEN,
           (struct found){SET, "file", 0, IMAGE_BROKEN, "VHD set: no valid header", 0});
}

static void
a_vhd_set_whose_disk_cannot_be_had_says_which(void **state)
{
    static const struct {
        const char *name;
        enum varve_err code;
        const char *part;
    } cases[] = {
        {"gone.avhdx", VARVE_ERR_NOT_FOUND, "backing file 'gone.avhdx'"},
        {"set.vhds", VARVE_ERR_UNSUPPORTED, "no name of a VHDX"},
        {"..", VARVE_ERR_UNSUPPORTED, "no name of a VHDX"},
        {"", VARVE_ERR_UNSUPPORTED, "no name of a VHDX"},
        {"C:\\cluster\\1.avhdx", VARVE_OK, ""}, /* only the name counts */
    };
    struct two_files *l = *state;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        make_set(l->m, cases[i].name);
        assert_int_equal(open_and_check(mem_fs_fs(l->m), SET, 0, &err), cases[i].code);
        if (cases[i].code != VARVE_OK && strstr(err.msg, cases[i].part) == NULL) {
            fail_msg("'%s' does not say '%s'", err.msg, cases[i].part);
        }
    }
    edit_put(l->m, SET, 0, "vhdxfile", 8); /* a set that is none */
    assert_err(open_and_check(mem_fs_fs(l->m), SET, 0, &err), VARVE_ERR_CORRUPT, &err);
}

/* ---- the machine's errors are not the file's ---- */

/* Fails one call and passes the others on. */
struct failing {
    struct fs fs;
    struct fs *inner;
    unsigned calls;
    unsigned fail_at; /* counted from 1 */
};

struct failing_file {
    struct file file;
    struct file *inner;
    struct failing *of;
};

static enum varve_err
spoil(struct failing *f, struct varve_error *e)
{
    f->calls++;
    return f->calls == f->fail_at ? varve_error_set(e, VARVE_ERR_IO, "the disk is gone") : VARVE_OK;
}

static enum varve_err
failing_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
             struct varve_error *e)
{
    struct failing *f = (struct failing *)fs;
    struct failing_file *ff = calloc(1, sizeof(*ff));
    enum varve_err rc = spoil(f, e);

    assert_non_null(ff);
    if (rc == VARVE_OK) {
        rc = file_open(f->inner, &ff->inner, path, mode, e);
    }
    if (rc != VARVE_OK) {
        free(ff);
        return rc;
    }
    ff->file.ops = fs->ops;
    ff->of = f;
    *out = &ff->file;
    return VARVE_OK;
}

static void
failing_close(struct file *f)
{
    file_close(((struct failing_file *)f)->inner);
    free(f);
}

static enum varve_err
failing_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got,
             struct varve_error *e)
{
    struct failing_file *ff = (struct failing_file *)f;
    enum varve_err rc = spoil(ff->of, e);

    return rc == VARVE_OK ? file_read(ff->inner, buf, len, off, got, e) : rc;
}

static enum varve_err
failing_fstat(struct file *f, struct file_stat *out, struct varve_error *e)
{
    struct failing_file *ff = (struct failing_file *)f;
    enum varve_err rc = spoil(ff->of, e);

    return rc == VARVE_OK ? file_fstat(ff->inner, out, e) : rc;
}

static enum varve_err
failing_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *e)
{
    struct failing *f = (struct failing *)fs;
    enum varve_err rc = spoil(f, e);

    return rc == VARVE_OK ? fs_stat(f->inner, path, out, e) : rc;
}

static enum varve_err
failing_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
             void *arg, struct varve_error *e)
{
    return fs_list(((struct failing *)fs)->inner, path, cb, arg, e);
}

static const struct fs_ops failing_ops = {
    .open = failing_open,
    .close = failing_close,
    .read = failing_read,
    .fstat = failing_fstat,
    .stat = failing_stat,
    .list = failing_list,
};

static void
what_the_machine_does_wrong_is_no_verdict(void **state)
{
    struct two_files *l = *state;
    struct failing f = {.fs = {&failing_ops}, .inner = mem_fs_fs(l->m)};
    unsigned n;

    for (n = 1; n == 1 || f.calls >= f.fail_at; n++) {
        struct image_check_result r;
        struct image *img = NULL;
        enum varve_err rc;

        f.fail_at = n;
        f.calls = 0;
        rc = image_open(&img, &f.fs, CHILD, 0, &err);
        image_close(img);
        if (rc != VARVE_OK && rc != VARVE_ERR_IO) {
            fail_msg("call %u: %s: %s", n, varve_err_name(rc), err.msg);
        }
        f.calls = 0;
        if (image_check(&r, &f.fs, CHILD, 0, NULL, NULL, &err) == VARVE_OK) {
            assert_int_not_equal(r.verdict, IMAGE_BROKEN);
        } else {
            assert_int_equal(err.code, VARVE_ERR_IO);
        }
    }
    assert_true(n > 50);
}

int
main(void)
{
#define CHECK_TEST(f)                                                                              \
    cmocka_unit_test_setup_teardown(f, two_files_of_extents, two_files_of_extents_end)
    const struct CMUnitTest tests[] = {
        CHECK_TEST(a_chain_as_we_write_it_is_clean_without_a_note),
        CHECK_TEST(one_bad_header_or_table_of_two_can_be_repaired),
        CHECK_TEST(every_bad_entry_of_a_block_table_is_told),
        CHECK_TEST(a_thousand_bad_entries_are_a_hundred_findings_and_one),
        CHECK_TEST(a_log_to_be_replayed_can_be_repaired_and_a_lost_one_not),
        CHECK_TEST(what_writers_do_and_readers_live_with_is_only_noted),
        CHECK_TEST(linkage_is_judged_too),
        CHECK_TEST(a_vhd_is_judged_by_footers_header_and_table),
        CHECK_TEST(a_vhd_set_gives_the_disk_it_names),
        CHECK_TEST(a_vhd_set_whose_disk_cannot_be_had_says_which),
        CHECK_TEST(what_the_machine_does_wrong_is_no_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
