/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"

/* What is true of the machine's file system only; the rest is in file_contract_test.c. */

static char root[64];

static int
make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/varve-file-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int
remove_root(void **state)
{
    (void)state;
    return rmdir(root);
}

static void
new_files_and_folders_are_for_their_owner_only(void **state)
{
    struct varve_error err;
    struct file *f = NULL;
    char path[128];
    struct stat st;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/a", root);
    assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
    file_close(f);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0177, 0);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    assert_ok(fs_mkdir(fs_system(), path, &err), &err);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
}

static bool
says_no_folder(void *arg, const char *name, bool is_dir)
{
    (void)name;
    *(bool *)arg = !is_dir;
    return true;
}

static void
a_link_to_a_folder_is_listed_as_no_folder(void **state)
{
    struct varve_error err;
    bool ok = false;
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/link", root);
    assert_int_equal(symlink("/", path), 0);
    assert_ok(fs_list(fs_system(), root, says_no_folder, &ok, &err), &err);
    assert_true(ok);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
}

static void
a_device_without_room_is_no_space(void **state)
{
    struct varve_error err;
    struct file *f = NULL;

    (void)state;
    assert_ok(file_open(fs_system(), &f, "/dev/full", FILE_READ_WRITE, &err), &err);
    assert_err(file_write(f, "x", 1, 0, &err), VARVE_ERR_NOSPACE, &err);
    assert_string_equal(err.msg, "writing 1 bytes at 0 of '/dev/full': No space left on device");
    file_close(f);
}

static void
closing_nothing_is_fine(void **state)
{
    (void)state;
    file_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_files_and_folders_are_for_their_owner_only),
        cmocka_unit_test(a_link_to_a_folder_is_listed_as_no_folder),
        cmocka_unit_test(a_device_without_room_is_no_space),
        cmocka_unit_test(closing_nothing_is_fine),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
