/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/file.h"
#include "os/process.h"
#include "source/rsvd/rsvd_fake.h"
#include "source/rsvd/source_rsvd.h"
#include "source/source_mem.h"
#include "vhdx/disk_writer.h"

/* The promises of source.h, over every member. */

#define DISK_SIZE (3u * 1024 * 1024 + 512)

struct fixture {
    char path[64];
    char whole[64];   /* the same disk as a VHDX, */
    char changed[64]; /* and every second 32 KiB of it in a child without parent */
    uint8_t *bytes;
};

static void
write_vhdx(const char *path, const uint8_t *bytes, bool child)
{
    struct disk_params params = {
        .format = DISK_VHDX,
        .disk = {.virtual_size = DISK_SIZE,
                 .logical_sector = 512,
                 .physical_sector = 512,
                 .disk_id = {{1}},
                 .data_write_guid = {{2}},
                 .file_write_guid = {{3}},
                 .parent = {.present = child, .linkage = {{9}}, .relative_path = ".\\gone.vhdx"}}};
    struct disk_writer *w = NULL;
    struct varve_error err;
    size_t step = 32768;
    size_t off;

    assert_ok(disk_writer_new(&w, fs_system(), path, &params, DISK_WRITER_NO_SYNC, &err), &err);
    for (off = 0; off < DISK_SIZE; off += child ? 2 * step : step) {
        size_t n = DISK_SIZE - off < step ? DISK_SIZE - off : step;

        assert_ok(disk_writer_put(w, off, bytes + off, n, &err), &err);
    }
    assert_ok(disk_writer_finish(w, &err), &err);
    assert_true(disk_writer_free(w));
}

static int
make_image(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;
    struct file *file = NULL;
    uint32_t random = 7;
    size_t i;

    if (f == NULL) {
        return -1;
    }
    (void)snprintf(f->path, sizeof(f->path), "/tmp/varve-source-%" PRIu32 ".img", process_id());
    f->bytes = calloc(1, DISK_SIZE);
    if (f->bytes == NULL) {
        return -1;
    }
    for (i = 0; i < DISK_SIZE; i++) {
        random = random * 1103515245u + 12345u;
        f->bytes[i] = i / (256u * 1024) % 2 == 0 ? (uint8_t)(random >> 16) : 0;
    }
    (void)remove(f->path);
    if (file_open(fs_system(), &file, f->path, FILE_CREATE_NEW, &err) != VARVE_OK ||
        file_write(file, f->bytes, DISK_SIZE, 0, &err) != VARVE_OK) {
        return -1;
    }
    file_close(file);
    (void)snprintf(f->whole, sizeof(f->whole), "%s.whole.vhdx", f->path);
    (void)snprintf(f->changed, sizeof(f->changed), "%s.avhdx", f->path);
    (void)remove(f->whole);
    (void)remove(f->changed);
    write_vhdx(f->whole, f->bytes, false);
    write_vhdx(f->changed, f->bytes, true);
    *state = f;
    return 0;
}

static int
drop_image(void **state)
{
    struct fixture *f = *state;

    (void)remove(f->path);
    (void)remove(f->whole);
    (void)remove(f->changed);
    free(f->bytes);
    free(f);
    return 0;
}

static struct source *
open_file(const struct fixture *f)
{
    struct varve_error err;
    struct source *s = NULL;

    assert_ok(source_file_open(&s, fs_system(), f->path, true, &err), &err);
    return s;
}

/* A snapshot in a set on a file server that is made up; NULL where there is no crypto to talk to it. */
static struct source *
open_rsvd(const struct fixture *f)
{
    static struct rsvd_fake disk;
    static const struct smb_fake server = {.answer = rsvd_fake_answer, .arg = &disk};
    struct smb_options options = {.server = "fake", .share = "s"};
    struct source *s = NULL;
    struct varve_error err;
    struct smb *smb = NULL;
    struct guid snapshot;
    uint8_t mac[SMB_MAC_SIZE];
    uint8_t key[SMB_KEY_SIZE] = {0};

    if (smb_aes_cmac(mac, key, "", 0, &err) == VARVE_ERR_UNSUPPORTED) {
        print_message("without RSVD: %s\n", err.msg);
        return NULL;
    }
    disk = (struct rsvd_fake){f->bytes, DISK_SIZE};
    memcpy(snapshot.bytes, rsvd_fake_snapshot, sizeof(snapshot.bytes));
    assert_ok(smb_fake_open(&smb, &server, &options, &err), &err);
    assert_ok(source_rsvd_open(&s, smb, "d/s.vhds", &snapshot, &err), &err);
    return s;
}

static struct source *
open_member(const struct fixture *f, unsigned member, struct source_trace_counts *counts)
{
    struct varve_error err;
    struct source *s = NULL;

    switch (member) {
    case 0:
        return open_file(f);
    case 1:
        assert_ok(source_fault_new(&s, open_file(f), 0, VARVE_ERR_IO, &err), &err);
        return s;
    case 2:
        assert_ok(source_trace_new(&s, open_file(f), counts, &err), &err);
        return s;
    case 3:
        return source_mem_new(f->bytes, DISK_SIZE, NULL);
    case 4:
        assert_ok(source_export_open(&s, fs_system(), f->changed, f->whole, &err), &err);
        return s;
    case 5:
        return open_rsvd(f);
    default:
        return NULL;
    }
}

static void
every_member_reads_what_the_disk_holds(void **state)
{
    const struct fixture *f = *state;
    struct source_trace_counts counts = {0};
    struct source *s;
    unsigned member;

    for (member = 0; (s = open_member(f, member, &counts)) != NULL; member++) {
        static uint8_t buf[DISK_SIZE];
        struct source_info info;
        struct varve_error err;

        source_get_info(s, &info);
        assert_int_equal(info.size, DISK_SIZE);
        assert_int_equal(info.logical_sector, 512);
        assert_string_equal(info.format, member >= 4 ? "vhdx" : "raw");
        assert_ok(source_read(s, buf, DISK_SIZE, 0, &err), &err);
        assert_memory_equal(buf, f->bytes, DISK_SIZE);
        assert_ok(source_read(s, buf, 777, DISK_SIZE - 777, &err), &err);
        assert_memory_equal(buf, f->bytes + DISK_SIZE - 777, 777);
        assert_err(source_read(s, buf, 2, DISK_SIZE - 1, &err), VARVE_ERR_INVALID, &err);
        assert_err(source_read(s, buf, 1, UINT64_MAX, &err), VARVE_ERR_INVALID, &err);
        source_close(s);
    }
    assert_int_equal(counts.reads, 2);
    assert_int_equal(counts.read_bytes, DISK_SIZE + 777);
}

static void
every_member_says_zero_only_of_zeros(void **state)
{
    const struct fixture *f = *state;
    struct source_trace_counts counts = {0};
    struct source *s;
    unsigned member;

    for (member = 0; (s = open_member(f, member, &counts)) != NULL; member++) {
        uint64_t off = 0;

        while (off < DISK_SIZE) {
            struct varve_error err;
            enum extent_kind kind;
            uint64_t len = 0;
            uint64_t i;

            assert_ok(source_map(s, off, 100000, &len, &kind, &err), &err);
            assert_in_range(len, 1, 100000);
            assert_true(len <= DISK_SIZE - off);
            for (i = 0; kind == EXTENT_ZERO && i < len; i++) {
                assert_int_equal(f->bytes[off + i], 0);
            }
            off += len;
        }
        source_close(s);
    }
}

static void
the_nth_call_fails_as_told(void **state)
{
    const struct fixture *f = *state;
    struct varve_error err;
    struct source *s = NULL;
    uint8_t buf[16];

    assert_ok(source_fault_new(&s, open_file(f), 2, VARVE_ERR_CORRUPT, &err), &err);
    assert_ok(source_read(s, buf, 16, 0, &err), &err);
    assert_err(source_read(s, buf, 16, 0, &err), VARVE_ERR_CORRUPT, &err);
    assert_ok(source_read(s, buf, 16, 0, &err), &err);
    source_close(s);
}

static void
what_an_export_has_not_is_an_error_and_no_zeros(void **state)
{
    const struct fixture *f = *state;
    struct varve_error err;
    struct source *s = NULL;
    uint8_t buf[1024];

    assert_ok(source_export_open(&s, fs_system(), f->changed, NULL, &err), &err);
    assert_ok(source_read(s, buf, 1024, 32768 - 1024, &err), &err);
    assert_memory_equal(buf, f->bytes + 32768 - 1024, 1024);
    assert_err(source_read(s, buf, 1024, 32768 - 512, &err), VARVE_ERR_INVALID, &err);
    source_close(s);
}

static void
a_file_that_is_not_there_is_named(void **state)
{
    struct varve_error err;
    struct source *s = NULL;

    (void)state;
    assert_err(source_file_open(&s, fs_system(), "/nonexistent/x.vhdx", true, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "/nonexistent/x.vhdx"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_reads_what_the_disk_holds),
        cmocka_unit_test(every_member_says_zero_only_of_zeros),
        cmocka_unit_test(the_nth_call_fails_as_told),
        cmocka_unit_test(what_an_export_has_not_is_an_error_and_no_zeros),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    struct varve_error err;

    assert_ok(crypto_init(&err), &err);
    return cmocka_run_group_tests(tests, make_image, drop_image);
}
