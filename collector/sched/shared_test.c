/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "sched/shared.h"

/* Vms with a disk of their own and one that may be the same. */

#define VMS 4u

static char own_path[] = "C:\\ClusterStorage\\V1\\own.vhdx";
static char set_path[] = "C:\\ClusterStorage\\V1\\quorum.vhds";
static char set_path_too[] = "c:\\clusterstorage\\v1/QUORUM.vhds";
static char other_path[] = "C:\\ClusterStorage\\V2\\quorum.vhds";
static char local_path[] = "D:\\vms\\quorum.vhdx";
static char name[] = "node";

struct scene {
    struct inv_disk disks[VMS][2];
    struct vm_row rows[VMS];
    unsigned holder; /* whose newest point holds the disk; VMS: nobody's */
};

static struct guid
guid_of(uint8_t kind, uint8_t n)
{
    struct guid g;

    memset(&g, 0, sizeof(g));
    g.bytes[0] = kind;
    g.bytes[15] = n;
    return g;
}

/* Each on a host of its own. */
static void
set_up(struct scene *s, char *path)
{
    memset(s, 0, sizeof(*s));
    s->holder = VMS;
    for (uint8_t i = 0; i < VMS; i++) {
        s->disks[i][0].id = guid_of(4, i);
        s->disks[i][0].path = own_path;
        s->disks[i][1].id = guid_of(5, 0);
        s->disks[i][1].path = path;
        s->disks[i][1].shared = true;
        s->rows[i].vm.id = guid_of(2, i);
        s->rows[i].vm.name = name;
        s->rows[i].vm.disks = s->disks[i];
        s->rows[i].vm.disk_count = 2;
        s->rows[i].host = guid_of(3, i);
        s->rows[i].present = true;
    }
}

static bool
holds(void *arg, const struct guid *vm, const struct guid *disk)
{
    const struct scene *s = arg;

    return disk->bytes[0] == 5 && s->holder < VMS && guid_equal(vm, &s->rows[s->holder].vm.id);
}

/* How many disks are left out of vm i's run. */
static size_t
skips(struct scene *s, unsigned i)
{
    struct ingest_skip *list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(shared_skips(&list, &count, s->rows, VMS, &s->rows[i], holds, s, &err), &err);
    if (count > 0) {
        assert_true(guid_equal(&list[0].disk, &s->disks[i][1].id));
        assert_non_null(strstr(list[0].reason, s->holder < VMS && s->rows[s->holder].present
                                                   ? "in the points"
                                                   : "back that up"));
    }
    free(list);
    return count;
}

static size_t
all_skips(struct scene *s)
{
    size_t n = 0;

    for (unsigned i = 0; i < VMS; i++) {
        n += skips(s, i);
    }
    return n;
}

static void
a_shared_disk_is_in_the_points_of_one_vm(void **state)
{
    struct scene s;

    (void)state;
    set_up(&s, set_path);
    s.disks[2][1].path = set_path_too; /* the same, written otherwise */
    assert_int_equal(all_skips(&s), VMS - 1);
    assert_int_equal(skips(&s, 0), 0);
    s.holder = 2; /* it stays where it is */
    assert_int_equal(all_skips(&s), VMS - 1);
    assert_int_equal(skips(&s, 2), 0);
    s.rows[2].present = false; /* that vm is gone: another one has it from now on */
    assert_int_equal(skips(&s, 0), 0);
    assert_int_equal(skips(&s, 1) + skips(&s, 3), 2);
}

static void
disks_that_only_look_alike_are_all_read(void **state)
{
    struct scene s;

    (void)state;
    set_up(&s, set_path);
    for (unsigned i = 0; i < VMS; i++) {
        s.disks[i][1].shared = false; /* copies of a template */
    }
    assert_int_equal(all_skips(&s), 0);
    set_up(&s, local_path); /* one path, as many files as hosts */
    assert_int_equal(all_skips(&s), 0);
    s.rows[1].host = s.rows[0].host;
    assert_int_equal(all_skips(&s), 1);
    set_up(&s, set_path);
    s.disks[1][1].id = guid_of(5, 1); /* another disk at that path */
    s.disks[2][1].path = other_path;  /* its copy */
    s.rows[3].tenant = guid_of(9, 1); /* another tenant's */
    assert_int_equal(all_skips(&s), 0);
}

static void
a_vm_is_never_left_without_any_disk(void **state)
{
    struct scene s;

    (void)state;
    set_up(&s, set_path);
    s.rows[3].vm.disks = &s.disks[3][1];
    s.rows[3].vm.disk_count = 1;
    assert_int_equal(skips(&s, 3), 0);
    assert_int_equal(skips(&s, 1), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_disk_is_in_the_points_of_one_vm),
        cmocka_unit_test(disks_that_only_look_alike_are_all_read),
        cmocka_unit_test(a_vm_is_never_left_without_any_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
