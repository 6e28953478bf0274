/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/path.h"
#include "vhdx/chain_gen.h"
#include "vhdx/check_agree.h"
#include "vhdx/image.h"

/*
 * Where a parent is looked for, in real folders.  Each case puts a parent and a child somewhere, gives the
 * child the paths of its locator, and says whether the parent is found by them, by its id among
 * the disks of the folder (which a check calls repairable), or not at all.
 */
enum outcome { BY_PATH, BY_ID, NOT_FOUND };

struct placed {
    const char *parent; /* below the test's folder */
    const char *child;
    const char *relative;
    const char *absolute; /* "@" at its start stands for the test's folder */
    const char *volume;
    enum outcome outcome;
};

#define VOLUME "\\\\?\\Volume{0eba351e-5634-46d6-a8cf-4ddc2d6ac0b9}\\"

static const struct placed cases[] = {
    {"vm/base.vhdx", "vm/c.avhdx", ".\\base.vhdx", NULL, NULL, BY_PATH},
    {"vm/base.vhdx", "vm/c.avhdx", "base.vhdx", NULL, NULL, BY_PATH},
    {"vm/base.vhdx", "vm/c.avhdx", "./base.vhdx", NULL, NULL, BY_PATH},
    {"vm/disks/base.vhdx", "vm/snap/c.avhdx", "..\\disks\\base.vhdx", NULL, NULL, BY_PATH},
    /* Windows does not tell the case of letters apart. */
    {"vm/Disks/Base.VHDX", "vm/snap/c.avhdx", "..\\disks\\BASE.vhdx", NULL, NULL, BY_PATH},
    {"vm/BASE.vhdx", "vm/c.avhdx", NULL, "C:\\other\\base.vhdx", NULL, BY_PATH},
    /* Names that are no ASCII, and one that needs surrogates. */
    {"vm/Pr\xc3\xbc"
     "fung \xf0\x9f\x92\xbe.vhdx",
     "vm/c.avhdx",
     ".\\Pr\xc3\xbc"
     "fung \xf0\x9f\x92\xbe.vhdx",
     NULL, NULL, BY_PATH},
    /* A tree that was copied elsewhere: the end of the path is still right. */
    {"copy/vm/disks/base.vhdx", "copy/vm/snap/c.avhdx", NULL, "D:\\vm\\disks\\base.vhdx", NULL,
     BY_PATH},
    {"copy/vm/disks/base.vhdx", "copy/vm/snap/c.avhdx", NULL, NULL, VOLUME "vm\\disks\\base.vhdx",
     BY_PATH},
    {"vm/disks/base.vhdx", "vm/snap/c.avhdx", NULL, "\\\\server\\share\\vm\\disks\\base.vhdx", NULL,
     BY_PATH},
    {"vm/disks/base.vhdx", "vm/snap/c.avhdx", NULL, "\\\\?\\UNC\\server\\share\\disks\\base.vhdx",
     NULL, BY_PATH},
    {"vm/disks/base.vhdx", "vm/snap/c.avhdx", NULL, "\\\\?\\C:\\vm\\disks\\base.vhdx", NULL,
     BY_PATH},
    {"disks/base.vhdx", "vm/snap/c.avhdx", "..\\..\\..\\gone\\disks\\base.vhdx", NULL, NULL,
     BY_PATH},
    {"vm/base.vhdx", "vm/c.avhdx", "C:\\vm\\base.vhdx", NULL, NULL, BY_PATH}, /* not relative */
    /* A path of this machine, as tools on Linux write it. */
    {"far/away/base.vhdx", "vm/a/b/c/d/e/c.avhdx", NULL, "@/far/away/base.vhdx", NULL, BY_PATH},
    /* The path is stale, the volume's is not. */
    {"vm/new.vhdx", "vm/c.avhdx", ".\\old.vhdx", "C:\\vm\\old.vhdx", VOLUME "vm\\new.vhdx",
     BY_PATH},
    {"vm/renamed.vhdx", "vm/c.avhdx", ".\\base.vhdx", "C:\\vm\\base.vhdx", NULL, BY_ID},
    {"vm/renamed.AVHDX", "vm/c.avhdx", NULL, NULL, NULL, BY_ID},
    {"elsewhere/base.vhdx", "vm/c.avhdx", ".\\base.vhdx", NULL, NULL, NOT_FOUND},
    {"vm/base.bin", "vm/c.avhdx", ".\\base.vhdx", NULL, NULL, NOT_FOUND},
};

static struct varve_error err;
static char top[64];
static char root[80]; /* of one case, below the top */

static void
fill(void *arg, void *buf, size_t len, uint64_t off)
{
    (void)off;
    memset(buf, *(int *)arg, len);
}

static char *
make_folders(const char *path)
{
    char *full = NULL;
    char *folder = NULL;

    assert_ok(path_join(&full, root, path, &err), &err);
    assert_ok(path_dirname(&folder, full, &err), &err);
    assert_ok(fs_mkdir_parents(fs_system(), folder, &err), &err);
    free(folder);
    return full;
}

static void
write_disk(const char *path, const struct placed *c)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    char absolute[256] = "";
    int byte = c == NULL ? 1 : 2;

    memset(&params, 0, sizeof(params));
    params.virtual_size = 1 << 20;
    params.block_size = 1 << 20;
    params.logical_sector = 512;
    params.physical_sector = 512;
    params.data_write_guid.bytes[0] = (uint8_t)byte;
    if (c != NULL) {
        params.parent.present = true;
        params.parent.linkage.bytes[0] = 1;
        /* A plan insists on one; this one says nothing. */
        params.parent.relative_path = c->relative != NULL ? c->relative : ".";
        params.parent.volume_path = c->volume;
        if (c->absolute != NULL) {
            bool here = c->absolute[0] == '@';

            (void)snprintf(absolute, sizeof(absolute), "%s%s", here ? root : "",
                           c->absolute + (here ? 1 : 0));
            params.parent.absolute_path = absolute;
        }
    }
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    assert_ok(vhdx_plan_add(p, c == NULL ? 0 : 4096, 4096, &err), &err);
    assert_ok(vhdx_plan_seal(p, &err), &err);
    assert_ok(chain_write_plan(p, fs_system(), path, fill, &byte, &err), &err);
    vhdx_plan_free(p);
}

static void
check_case(const struct placed *c)
{
    struct image *img = NULL;
    uint8_t got[8192];
    char *parent = make_folders(c->parent);
    char *child = make_folders(c->child);
    enum varve_err rc;

    write_disk(parent, NULL);
    write_disk(child, c);
    rc = image_open(&img, fs_system(), child, 0, &err);
    if ((rc == VARVE_OK) != (c->outcome != NOT_FOUND)) {
        fail_msg("'%s' from '%s': %s", c->parent, c->child, rc == VARVE_OK ? "found" : err.msg);
    }
    if (rc == VARVE_OK) {
        struct image_info info;

        assert_ok(image_read(img, got, sizeof(got), 0, &err), &err);
        assert_int_equal(got[0], 1);
        assert_int_equal(got[8191], 2);
        assert_int_equal(image_get_file(img, 1, &info)[0], '/');
    } else {
        assert_int_equal(rc, VARVE_ERR_NOT_FOUND);
    }
    image_close(img);
    assert_int_equal(check_verdict(fs_system(), child, 0), c->outcome == BY_PATH ? IMAGE_CLEAN
                                                           : c->outcome == BY_ID ? IMAGE_REPAIRABLE
                                                                                 : IMAGE_BROKEN);
    assert_ok(fs_remove(fs_system(), parent, &err), &err);
    assert_ok(fs_remove(fs_system(), child, &err), &err);
    free(parent);
    free(child);
}

static void
a_parent_is_found_wherever_its_paths_may_mean(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(root, sizeof(root), "%s/%zu", top, i);
        check_case(&cases[i]);
    }
}

/* A disk of another id at the place that the path names does not hide the right one. */
static void
another_disk_of_the_parents_name_is_passed_over(void **state)
{
    static const struct placed c = {"vm/disks/base.vhdx",
                                    "vm/snap/c.avhdx",
                                    ".\\base.vhdx",
                                    "C:\\vm\\disks\\base.vhdx",
                                    NULL,
                                    BY_PATH};
    static const struct placed other = {NULL, NULL, ".\\nothing.vhdx", NULL, NULL, BY_PATH};
    char *decoy;

    (void)state;
    (void)snprintf(root, sizeof(root), "%s/decoy", top);
    decoy = make_folders("vm/snap/base.vhdx");
    write_disk(decoy, &other); /* its id is the child's */
    check_case(&c);
    free(decoy);
}

/* Nobody will ever write into it: opening it would wait for good. */
static void
a_pipe_in_the_folder_is_no_disk(void **state)
{
    static const struct placed c = {"vm/p.vhdx", "vm/q.avhdx", ".\\a.vhdx", NULL, NULL, BY_ID};
    struct image *img = NULL;
    char *decoy;

    (void)state;
    (void)snprintf(root, sizeof(root), "%s/pipe", top);
    decoy = make_folders("vm/a.vhdx");
    assert_int_equal(mkfifo(decoy, 0600), 0);
    assert_err(image_open(&img, fs_system(), decoy, 0, &err), VARVE_ERR_INVALID, &err);
    check_case(&c);
    free(decoy);
}

static int
set_up(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/varve-parent-XXXXXX");
    return mkdtemp(top) == NULL ? -1 : 0;
}

static bool
remove_below(void *arg, const char *name, bool is_dir)
{
    char *path = NULL;

    assert_ok(path_join(&path, arg, name, &err), &err);
    if (is_dir) {
        assert_ok(fs_list(fs_system(), path, remove_below, path, &err), &err);
    }
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    free(path);
    return true;
}

static int
tear_down(void **state)
{
    (void)state;
    return fs_list(fs_system(), top, remove_below, top, &err) == VARVE_OK &&
                   fs_remove(fs_system(), top, &err) == VARVE_OK
               ? 0
               : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parent_is_found_wherever_its_paths_may_mean),
        cmocka_unit_test(another_disk_of_the_parents_name_is_passed_over),
        cmocka_unit_test(a_pipe_in_the_folder_is_no_disk),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
