/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/folder/folder.h"
#include "os/process.h"

static char top[64];

static void
write_file(const char *name, size_t size)
{
    struct varve_error err;
    struct file *f = NULL;
    uint8_t *bytes = calloc(1, size + 1);
    char path[256];

    assert_non_null(bytes);
    bytes[0] = 1;
    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    (void)remove(path);
    assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, bytes, size, 0, &err), &err);
    file_close(f);
    free(bytes);
}

static void
make_dir(const char *name)
{
    struct varve_error err;
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", top, name);
    assert_ok(fs_mkdir(fs_system(), path, &err), &err);
}

static void
drop(const char *name)
{
    struct varve_error err;
    char path[256];

    (void)snprintf(path, sizeof(path), "%s%s%s", top, name[0] == '\0' ? "" : "/", name);
    if (fs_remove(fs_system(), path, &err) != VARVE_OK) {
        fprintf(stderr, "%s\n", err.msg); /* what a failed test did not make */
    }
}

static int
make_folder(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/varve-folder-%" PRIu32, process_id());
    make_dir("");
    write_file("plain.raw", 1024 * 1024);
    write_file("random.vhdx", 70000);
    write_file("notes.txt", 10);
    write_file(".hidden.raw", 512);
    make_dir("two");
    write_file("two/b.img", 2048);
    write_file("two/a.img", 1024);
    make_dir("nothing");
    write_file("nothing/readme", 3);
    return 0;
}

static int
drop_folder(void **state)
{
    static const char *const names[] = {
        "plain.raw", "random.vhdx", "notes.txt",      ".hidden.raw", "two/b.img",
        "two/a.img", "two",         "nothing/readme", "nothing",     ""};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        drop(names[i]);
    }
    return 0;
}

static struct capture *
open_folder(const char *seed)
{
    struct varve_error err;
    struct capture *c = NULL;

    assert_ok(capture_folder_open(&c, fs_system(), top, seed, strlen(seed), &err), &err);
    return c;
}

static void
images_and_folders_of_images_are_vms(void **state)
{
    struct capture *c = open_folder("seed");
    struct capture_inventory inv;
    struct varve_error err;

    (void)state;
    assert_ok(c->ops->list(c, &inv, &err), &err);
    assert_int_equal(inv.count, 3);
    assert_string_equal(inv.vms[0].name, "plain.raw");
    assert_int_equal(inv.vms[0].disk_count, 1);
    assert_int_equal(inv.vms[0].disks[0].size, 1024 * 1024);
    assert_string_equal(inv.vms[0].disks[0].format, "raw");
    assert_null(inv.vms[0].disks[0].problem);
    assert_string_equal(inv.vms[1].name, "random.vhdx");
    assert_non_null(inv.vms[1].disks[0].problem);
    assert_non_null(strstr(inv.vms[1].disks[0].problem, "random.vhdx"));
    assert_string_equal(inv.vms[2].name, "two");
    assert_int_equal(inv.vms[2].disk_count, 2);
    assert_string_equal(inv.vms[2].disks[0].name, "a.img");
    assert_string_equal(inv.vms[2].disks[1].name, "b.img");
    capture_inventory_release(&inv);
    capture_close(c);
}

static void
ids_stay_and_differ_between_hosts(void **state)
{
    struct capture *c[3] = {open_folder("one"), open_folder("one"), open_folder("two")};
    struct capture_inventory inv[3];
    struct varve_error err;
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_ok(c[i]->ops->list(c[i], &inv[i], &err), &err);
    }
    assert_true(guid_equal(&inv[0].vms[0].id, &inv[1].vms[0].id));
    assert_true(guid_equal(&inv[0].vms[2].disks[1].id, &inv[1].vms[2].disks[1].id));
    assert_false(guid_equal(&inv[0].vms[0].id, &inv[2].vms[0].id));
    assert_false(guid_equal(&inv[0].vms[0].id, &inv[0].vms[1].id));
    assert_false(guid_equal(&inv[0].vms[0].id, &inv[0].vms[0].disks[0].id));
    for (i = 0; i < 3; i++) {
        capture_inventory_release(&inv[i]);
        capture_close(c[i]);
    }
}

static void
begin_vm(struct capture *c, size_t vm, enum varve_err want, struct capture_frozen *out)
{
    struct capture_inventory inv;
    struct notes notes = {0};
    struct varve_error err;
    struct guid run = {{1}};

    assert_ok(c->ops->list(c, &inv, &err), &err);
    assert_int_equal(c->ops->begin(c, &inv.vms[vm].id, &run, NULL, out, &notes, &err), want);
    capture_inventory_release(&inv);
}

static void
an_image_that_changes_while_it_is_read_is_noticed(void **state)
{
    struct capture *c = open_folder("seed");
    struct capture_frozen frozen;
    struct varve_error err;

    (void)state;
    begin_vm(c, 2, VARVE_OK, &frozen);
    assert_int_equal(frozen.disk_count, 2);
    assert_int_equal(frozen.consistency, CAPTURE_OFFLINE);
    assert_ok(c->ops->check(c, &frozen, 0, &err), &err);
    write_file("two/a.img", 1536);
    assert_err(c->ops->check(c, &frozen, 0, &err), VARVE_ERR_BUSY, &err);
    assert_non_null(strstr(err.msg, "two/a.img"));
    assert_ok(c->ops->check(c, &frozen, 1, &err), &err);
    capture_frozen_release(&frozen);
    write_file("two/a.img", 1024);
    capture_close(c);
}

static void
an_image_that_is_none_cannot_be_frozen(void **state)
{
    struct capture *c = open_folder("seed");
    struct capture_frozen frozen;

    (void)state;
    begin_vm(c, 1, VARVE_ERR_CORRUPT, &frozen);
    capture_close(c);
}

static void
a_changed_header_is_read_again(void **state)
{
    struct capture *c = open_folder("seed");
    struct capture_inventory inv;
    struct varve_error err;

    (void)state;
    assert_ok(c->ops->list(c, &inv, &err), &err);
    capture_inventory_release(&inv);
    write_file("plain.raw", 2 * 1024 * 1024);
    assert_ok(c->ops->list(c, &inv, &err), &err);
    assert_int_equal(inv.vms[0].disks[0].size, 2 * 1024 * 1024);
    capture_inventory_release(&inv);
    capture_close(c);
}

static void
a_folder_that_is_not_there_is_named(void **state)
{
    struct capture *c = NULL;
    struct varve_error err;
    char path[128];

    (void)state;
    assert_err(capture_folder_open(&c, fs_system(), "/nonexistent/images", "x", 1, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "/nonexistent/images"));
    (void)snprintf(path, sizeof(path), "%s/plain.raw", top);
    assert_err(capture_folder_open(&c, fs_system(), path, "x", 1, &err), VARVE_ERR_INVALID, &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_and_folders_of_images_are_vms),
        cmocka_unit_test(ids_stay_and_differ_between_hosts),
        cmocka_unit_test(an_image_that_changes_while_it_is_read_is_noticed),
        cmocka_unit_test(an_image_that_is_none_cannot_be_frozen),
        cmocka_unit_test(a_changed_header_is_read_again),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
