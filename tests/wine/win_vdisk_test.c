/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "os/file.h"
#include "os/process.h"
#include "source/win_vdisk.h"
#include "wine/standin_virtdisk.h"

/* win_vdisk at the real boundary: LoadLibrary, handles, overlapped reads; virtdisk.dll is the stand-in
 * of this folder, which the test's runner puts into the prefix's system folder. */

#define DISK_SIZE (4u * 1024 * 1024)

static standin_report_fn take_report;
static standin_fail_fn fail_at;
static struct vdisk_port *port;
static char disk_path[128];
static const struct vdisk_how backup = {.version = 2, .read_only = true};

static uint8_t
byte_at(size_t off)
{
    return (uint8_t)(off / 512 * 31 + off);
}

static void
write_file(const char *path, const void *data, size_t len)
{
    struct varve_error err;
    struct file *f = NULL;

    assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, data, len, 0, &err), &err);
    file_close(f);
}

static int
make(void **state)
{
    static const char changes[] = "rct:now:3 1\nrct:old:1 0 4096\nrct:old:1 1048576 65536\n"
                                  "rct:old:1 3145728 512\n";
    struct varve_error err;
    char path[160];
    uint8_t *data = malloc(DISK_SIZE);
    HMODULE dll;

    (void)state;
    (void)snprintf(disk_path, sizeof(disk_path), "Z:\\tmp\\varve-vdisk-%" PRIu32 ".avhdx",
                   process_id());
    for (size_t i = 0; data != NULL && i < DISK_SIZE; i++) {
        data[i] = byte_at(i);
    }
    write_file(disk_path, data, DISK_SIZE);
    free(data);
    (void)snprintf(path, sizeof(path), "%s.changes", disk_path);
    write_file(path, changes, strlen(changes));
    if (win_vdisk_open(&port, &err) != VARVE_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    dll = GetModuleHandleW(L"virtdisk.dll");
    take_report = (standin_report_fn)(void (*)(void))GetProcAddress(dll, "StandinReport");
    fail_at = (standin_fail_fn)(void (*)(void))GetProcAddress(dll, "StandinFail");
    return take_report == NULL || fail_at == NULL ? -1 : 0;
}

static int
destroy(void **state)
{
    struct varve_error err;
    char path[160];

    (void)state;
    vdisk_port_close(port);
    (void)snprintf(path, sizeof(path), "%s.changes", disk_path);
    (void)(fs_remove(fs_system(), path, &err) == VARVE_OK);
    return fs_remove(fs_system(), disk_path, &err) == VARVE_OK ? 0 : -1;
}

static struct standin_report
expect_clean(const char *log)
{
    struct standin_report r;

    take_report(&r);
    assert_string_equal(r.breach, "");
    assert_int_equal(r.breaches, 0);
    assert_int_equal(r.open_handles, 0);
    if (log != NULL) {
        assert_string_equal(r.log, log);
    }
    return r;
}

/* All of a backup's calls in their order; the first that fails ends it.  Everything is given back. */
static enum varve_err
one_backup(uint64_t *bytes, struct varve_error *err)
{
    const struct vdisk_port_ops *ops = port->ops;
    struct vdisk *d = NULL;
    struct vdisk_io *io[2] = {NULL, NULL};
    struct vdisk_info info;
    struct vdisk_range ranges[2];
    uint32_t count = 2;
    uint32_t got = 0;
    uint64_t processed = 0;
    uint8_t *buf = VirtualAlloc(NULL, 131072, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    bool attached = false;
    enum varve_err rc = ops->open(port, disk_path, &backup, &d, err);

    assert_non_null(buf);
    if (rc == VARVE_OK) {
        rc = ops->info(d, VDISK_INFO_SIZE, &info, err);
    }
    if (rc == VARVE_OK) {
        assert_true(info.virtual_size == DISK_SIZE);
        assert_int_equal(info.sector_size, 512);
        rc = ops->info(d, VDISK_INFO_ID, &info, err);
    }
    if (rc == VARVE_OK) {
        char text[GUID_TEXT_SIZE];

        guid_format(&info.id, text);
        assert_string_equal(text, "11223344-5566-7788-0102-030405060708");
        rc = ops->info(d, VDISK_INFO_TRACKING, &info, err);
    }
    if (rc == VARVE_OK) {
        assert_true(info.tracking_enabled && info.newer_changes);
        assert_string_equal(info.most_recent_id, "rct:now:3");
        rc = ops->query_changes(d, "rct:old:1", 0, DISK_SIZE, ranges, &count, &processed, err);
    }
    if (rc == VARVE_OK) {
        assert_int_equal(count, 2);
        assert_true(ranges[1].offset == 1048576 && ranges[1].length == 65536);
        assert_true(processed == 1048576 + 65536); /* the array was full */
        rc = ops->attach(d, VDISK_ATTACH_READ_ONLY | VDISK_ATTACH_NO_LOCAL_HOST, err);
        attached = rc == VARVE_OK;
    }
    for (unsigned i = 0; rc == VARVE_OK && i < 2; i++) {
        rc = ops->io_new(d, &io[i], err);
    }
    if (rc == VARVE_OK) {
        rc = ops->read_begin(io[0], buf, 4096, 0, err);
    }
    if (rc == VARVE_OK) {
        rc = ops->read_begin(io[1], buf + 65536, 65536, 1048576, err);
        if (rc == VARVE_OK) {
            rc = ops->read_end(io[1], 10000, &got, err);
            assert_int_equal(got, 65536);
            assert_int_equal(buf[65536 + 65535], byte_at(1048576 + 65535));
        }
        assert_ok(ops->read_end(io[0], 10000, &got, err), err);
        assert_int_equal(got, 4096);
        assert_int_equal(buf[4095], byte_at(4095));
        *bytes += got;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (io[i] != NULL) {
            ops->io_free(io[i]);
        }
    }
    if (attached) {
        struct varve_error ignored;

        (void)(ops->detach(d, rc == VARVE_OK ? err : &ignored) == VARVE_OK);
    }
    if (d != NULL) {
        ops->close_disk(d);
    }
    (void)VirtualFree(buf, 0, MEM_RELEASE);
    return rc;
}

static void
a_backup_is_these_calls_in_this_order(void **state)
{
    struct standin_report r;
    struct varve_error err;
    uint64_t bytes = 0;

    (void)state;
    assert_true(port->ops->has_query_changes(port));
    assert_ok(one_backup(&bytes, &err), &err);
    r = expect_clean("open info:1 info:14 info:15 changes attach:9 read read detach close");
    assert_int_equal(r.reads, 2);
    assert_true(r.read_bytes == 4096 + 65536);
}

static void
each_call_may_fail_and_nothing_is_left_open(void **state)
{
    struct varve_error err;
    uint64_t bytes = 0;

    (void)state;
    for (uint32_t n = 1; n <= 8; n++) {
        fail_at(n, ERROR_SHARING_VIOLATION);
        assert_err(one_backup(&bytes, &err), VARVE_ERR_BUSY, &err);
        assert_int_equal(err.source, VARVE_SRC_WIN32);
        assert_int_equal(err.native, ERROR_SHARING_VIOLATION);
        (void)expect_clean(NULL);
    }
    fail_at(0, 0);
    assert_ok(one_backup(&bytes, &err), &err);
    (void)expect_clean(NULL);
}

static void
lost_tracking_is_stale_with_its_number(void **state)
{
    struct vdisk_range ranges[4];
    struct varve_error err;
    struct vdisk *d = NULL;
    uint64_t processed = 0;
    uint32_t count = 4;

    (void)state;
    assert_ok(port->ops->open(port, disk_path, &backup, &d, &err), &err);
    assert_err(
        port->ops->query_changes(d, "rct:unknown", 0, DISK_SIZE, ranges, &count, &processed, &err),
        VARVE_ERR_STALE, &err);
    assert_true(err.native == INT64_C(0xC03A0029));
    port->ops->close_disk(d);
    assert_err(port->ops->open(port, "Z:\\tmp\\no such disk.vhdx", &backup, &d, &err),
               VARVE_ERR_NOT_FOUND, &err);
    (void)expect_clean("open changes close open");
}

static void
a_disk_that_is_not_attached_cannot_be_read(void **state)
{
    uint8_t *buf = VirtualAlloc(NULL, 4096, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    struct varve_error err;
    struct vdisk *d = NULL;
    struct vdisk_io *io = NULL;

    (void)state;
    assert_non_null(buf);
    assert_ok(port->ops->open(port, disk_path, &backup, &d, &err), &err);
    assert_ok(port->ops->io_new(d, &io, &err), &err);
    assert_true(port->ops->read_begin(io, buf, 4096, 0, &err) != VARVE_OK);
    assert_int_equal(err.native, ERROR_BAD_COMMAND);
    port->ops->io_free(io);
    port->ops->close_disk(d);
    (void)VirtualFree(buf, 0, MEM_RELEASE);
    (void)expect_clean("open read close");
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backup_is_these_calls_in_this_order),
        cmocka_unit_test(each_call_may_fail_and_nothing_is_left_open),
        cmocka_unit_test(lost_tracking_is_stale_with_its_number),
        cmocka_unit_test(a_disk_that_is_not_attached_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, make, destroy);
}
