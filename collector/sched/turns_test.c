/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/turns.h"

/* Turns are counted, not timed: a round starts what may start, then the oldest run ends. */

#define MANY 64u

static char volume_a[] = "\\clusterstorage\\a";
static char volume_b[] = "\\clusterstorage\\b";
static char *on_a[] = {volume_a};
static char *on_b[] = {volume_b};
static char *on_both[] = {volume_a, volume_b};
static const struct volumes a = {.names = on_a, .count = 1};
static const struct volumes b = {.names = on_b, .count = 1};
static const struct volumes both = {.names = on_both, .count = 2};

static struct guid
guid_of(uint8_t kind, uint8_t n)
{
    struct guid g;

    memset(&g, 0, sizeof(g));
    g.bytes[0] = kind;
    g.bytes[15] = n;
    return g;
}

static struct turn
turn(uint8_t host, uint8_t tenant, const struct volumes *volumes)
{
    struct turn t;

    memset(&t, 0, sizeof(t));
    t.host = guid_of(1, host);
    t.tenant = guid_of(2, tenant);
    t.volumes = volumes;
    return t;
}

/* Starts all that fit; how many. */
static size_t
start_all(struct turn *turns, size_t count, const struct turn_limits *limits, struct turn_why *why)
{
    size_t started = 0;
    size_t next;

    while ((next = turns_next(turns, count, limits, why)) != count) {
        assert_false(turns[next].going);
        turns_begin(turns, why, next);
        started++;
    }
    return started;
}

static size_t
going_on(const struct turn *turns, size_t count, const struct volumes *v)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0;
             turns[i].going && turns[i].volumes != NULL && k < turns[i].volumes->count; k++) {
            n += strcmp(turns[i].volumes->names[k], v->names[0]) == 0 ? 1 : 0;
        }
    }
    return n;
}

static void
the_limits_of_all_hosts_and_volumes_are_kept(void **state)
{
    static const unsigned limits_of[][3] = {{1, 9, 9}, {5, 2, 9}, {9, 3, 2}, {4, 1, 1}, {0, 0, 1}};
    struct turn turns[MANY];
    struct turn_why why[MANY];

    (void)state;
    for (size_t c = 0; c < sizeof(limits_of) / sizeof(limits_of[0]); c++) {
        const struct turn_limits limits = {
            .runs = limits_of[c][0], .per_host = limits_of[c][1], .per_volume = limits_of[c][2]};
        size_t done = 0;

        for (size_t i = 0; i < MANY; i++) {
            turns[i] = turn((uint8_t)(i % 3), 0, i % 4 == 0 ? &both : i % 2 == 0 ? &a : &b);
        }
        while (done < MANY) {
            size_t count = MANY - done;
            size_t of_host[3] = {0};
            size_t all = 0;

            (void)start_all(turns, count, &limits, why);
            for (size_t i = 0; i < count; i++) {
                all += turns[i].going ? 1 : 0;
                of_host[turns[i].host.bytes[15]] += turns[i].going ? 1 : 0;
            }
            assert_true(all > 0); /* something always goes on */
            assert_true(limits.runs == 0 || all <= limits.runs);
            for (size_t h = 0; h < 3; h++) {
                assert_true(limits.per_host == 0 || of_host[h] <= limits.per_host);
            }
            assert_true(going_on(turns, count, &a) <= limits.per_volume);
            assert_true(going_on(turns, count, &b) <= limits.per_volume);
            for (size_t i = 0; i < count; i++) { /* the oldest that goes on ends */
                if (turns[i].going) {
                    memmove(&turns[i], &turns[i + 1], (count - i - 1) * sizeof(turns[0]));
                    break;
                }
            }
            done++;
        }
    }
}

static void
what_does_not_fit_lets_others_pass_and_says_what_it_waits_for(void **state)
{
    const struct turn_limits limits = {.runs = 3, .per_host = 2, .per_volume = 1};
    struct turn turns[6] = {turn(1, 0, &a),   turn(1, 0, &a),   turn(1, 0, &b),
                            turn(1, 0, NULL), turn(2, 0, NULL), turn(3, 0, NULL)};
    struct turn_why why[6];

    (void)state;
    assert_int_equal(start_all(turns, 6, &limits, why), 3);
    assert_true(turns[0].going && turns[2].going && turns[4].going);
    (void)turns_next(turns, 6, &limits, why);
    assert_int_equal(why[1].wait, TURN_RUNS);
    turns[4].going = false;
    turns[4].held = true;
    assert_int_equal(turns_next(turns, 6, &limits, why), 5);
    assert_int_equal(why[1].wait, TURN_HOST);
    assert_int_equal(why[1].going, 2);
    assert_int_equal(why[4].wait, TURN_HELD);
    turns[2].going = false;
    turns[2].held = true;
    (void)turns_next(turns, 6, &limits, why);
    assert_int_equal(why[1].wait, TURN_VOLUME);
    assert_string_equal(why[1].volume, volume_a);
}

static void
tenants_take_turns(void **state)
{
    const struct turn_limits limits = {.runs = 4};
    struct turn turns[8];
    struct turn_why why[8];

    (void)state;
    for (uint8_t i = 0; i < 8; i++) {
        turns[i] = turn(i, i < 6 ? 1 : 2, NULL);
    }
    assert_int_equal(start_all(turns, 8, &limits, why), 4);
    assert_true(turns[0].going && turns[1].going && turns[6].going && turns[7].going);
}

/* It needs both volumes, which are never free at the same time as long as others come. */
static void
nobody_is_passed_for_ever(void **state)
{
    const struct turn_limits limits = {.per_volume = 1};
    struct turn turns[3] = {turn(1, 0, &both), turn(2, 0, &a), turn(3, 0, &b)};
    struct turn_why why[3];
    unsigned rounds = 0;

    (void)state;
    turns[1].going = true;
    turns[2].going = true;
    while (start_all(turns, 3, &limits, why) > 0 || rounds == 0) {
        if (turns[0].going) {
            break;
        }
        /* The run on one volume ends, and another one like it comes. */
        turns[1 + rounds % 2] = rounds % 2 == 0 ? turn(4, 0, &a) : turn(5, 0, &b);
        rounds++;
        assert_true(rounds < 100);
    }
    /* From now on none passes: it begins when the one on the other volume has ended too. */
    assert_int_equal(turns[0].passed, TURNS_PASSED_MAX);
    turns[1 + rounds % 2].going = false;
    turns[1 + rounds % 2].held = true;
    (void)start_all(turns, 3, &limits, why);
    assert_true(turns[0].going);
    assert_int_equal(rounds, TURNS_PASSED_MAX + 1);
}

static bool
only_odd(void *arg, size_t i)
{
    (void)arg;
    return i % 2 == 1;
}

static void
a_quota_that_is_used_up_holds_its_own_only(void **state)
{
    const struct turn_limits limits = {.room = only_odd};
    struct turn turns[4] = {turn(1, 0, NULL), turn(1, 0, NULL), turn(1, 0, NULL), turn(1, 0, NULL)};
    struct turn_why why[4];

    (void)state;
    assert_int_equal(start_all(turns, 4, &limits, why), 2);
    assert_int_equal(why[0].wait, TURN_ROOM);
    assert_int_equal(turns[0].passed, 0); /* it was no place that was taken */
}

static void
of_vms_that_share_a_disk_one_has_its_turn(void **state)
{
    static char one[] = "\\\\sofs\\vms\\quorum.vhds";
    static char two[] = "\\\\sofs\\vms\\data.vhds";
    static char *has_one[] = {one};
    static char *has_both[] = {one, two};
    const struct volumes first = {.shared = has_one, .shared_count = 1};
    const struct volumes second = {.shared = has_both, .shared_count = 2};
    const struct turn_limits limits = {0};
    struct turn turns[4];
    struct turn_why why[4];

    (void)state;
    turns[0] = turn(0, 0, &first);
    turns[1] = turn(1, 0, &second);
    turns[2] = turn(1, 0, &a);     /* nobody's disk but its own */
    turns[3] = turn(2, 1, &first); /* another tenant's name for another disk */
    assert_int_equal(start_all(turns, 4, &limits, why), 3);
    assert_int_equal(why[1].wait, TURN_SHARED);
    assert_string_equal(why[1].volume, one);
    turns[0].going = false;
    turns[0].held = true; /* it has ended */
    assert_int_equal(start_all(turns, 4, &limits, why), 1);
    assert_true(turns[1].going);
}

static void
a_volume_of_another_tenant_is_another_volume(void **state)
{
    const struct turn_limits limits = {.per_volume = 1};
    struct turn turns[4] = {turn(1, 1, &a), turn(2, 2, &a), turn(3, 1, &a), turn(4, 2, &both)};
    struct turn_why why[4];

    (void)state;
    assert_int_equal(start_all(turns, 4, &limits, why), 2);
    assert_true(turns[0].going && turns[1].going);
    assert_int_equal(why[2].wait, TURN_VOLUME);
    assert_int_equal(why[2].going, 1);
    assert_int_equal(why[3].wait, TURN_VOLUME);
    /* Nobody is passed by who takes nothing of his. */
    turns[1].going = false;
    turns[1].held = true;
    assert_int_equal(start_all(turns, 4, &limits, why), 1);
    assert_true(turns[3].going);
    assert_int_equal(turns[2].passed, 0);
}

static void
a_shared_disk_is_one_wherever_its_path_is(void **state)
{
    static const struct {
        const char *path;
        bool shared;
        const char *disk; /* NULL: none */
    } cases[] = {
        {"\\\\SOFS\\VMs/sql/data.vhds", true, "\\\\sofs\\vms\\sql\\data.vhds"},
        {"\\\\?\\UNC\\sofs\\vms\\sql\\DATA.vhds", true, "\\\\sofs\\vms\\sql\\data.vhds"},
        {"C:\\ClusterStorage\\Volume1\\a.vhds", true, "\\clusterstorage\\volume1\\a.vhds"},
        {"D:\\a.vhds", true, "d:\\a.vhds of node-1"},
        {"D:\\a.vhds", false, NULL},
    };
    struct varve_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *host = strdup("node-1");
        char *path = strdup(cases[i].path);
        struct inv_disk disk = {.path = path, .shared = cases[i].shared};
        struct vm_row row = {.host_name = host};
        struct volumes v;

        row.vm.disks = &disk;
        row.vm.disk_count = 1;
        assert_ok(volumes_of_vm(&v, &row, &err), &err);
        assert_int_equal(v.shared_count, cases[i].disk != NULL ? 1 : 0);
        if (cases[i].disk != NULL) {
            assert_string_equal(v.shared[0], cases[i].disk);
        }
        volumes_release(&v);
        free(host);
        free(path);
    }
}

static void
volumes_are_told_from_paths(void **state)
{
    static const struct {
        const char *path;
        const char *volume;
        bool common;
    } cases[] = {
        {"C:\\ClusterStorage\\Volume1\\web\\web.vhdx", "\\clusterstorage\\volume1", true},
        {"c:\\clusterstorage\\VOLUME1\\x.vhdx", "\\clusterstorage\\volume1", true},
        {"\\\\?\\C:\\ClusterStorage\\Volume1\\x.vhdx", "\\clusterstorage\\volume1", true},
        {"D:\\vms\\web.vhdx", "D: of node-1", false},
        {"\\\\?\\d:\\vms\\web.vhdx", "D: of node-1", false},
        {"\\\\SOFS\\VMs\\web\\web.vhdx", "\\\\sofs\\vms", true},
        {"\\\\?\\UNC\\sofs\\vms\\web.vhdx", "\\\\sofs\\vms", true},
        {"/srv/vms/web.vhdx", "the disks of node-1", false},
        {"C:\\ClusterStorageX\\web.vhdx", "C: of node-1", false},
        {"\\\\.\\PhysicalDrive3", "the disks of node-1", false},
        {"", "the disks of node-1", false},
        {"\\\\", "\\\\", true},
    };
    struct varve_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct inv_disk disks[2];
        struct vm_row row;
        struct volumes v;
        char *host = strdup("node-1");
        char *path = strdup(cases[i].path);

        memset(&row, 0, sizeof(row));
        memset(disks, 0, sizeof(disks));
        disks[0].path = path;
        disks[1].path = path;
        row.vm.disks = disks;
        row.vm.disk_count = 2;
        row.host_name = host;
        assert_ok(volumes_of_vm(&v, &row, &err), &err);
        assert_int_equal(v.count, 1);
        assert_string_equal(v.names[0], cases[i].volume);
        assert_int_equal(volume_path_is_common(path), cases[i].common);
        volumes_release(&v);
        free(host);
        free(path);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limits_of_all_hosts_and_volumes_are_kept),
        cmocka_unit_test(what_does_not_fit_lets_others_pass_and_says_what_it_waits_for),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(nobody_is_passed_for_ever),
        cmocka_unit_test(a_quota_that_is_used_up_holds_its_own_only),
        cmocka_unit_test(of_vms_that_share_a_disk_one_has_its_turn),
        cmocka_unit_test(a_volume_of_another_tenant_is_another_volume),
        cmocka_unit_test(a_shared_disk_is_one_wherever_its_path_is),
        cmocka_unit_test(volumes_are_told_from_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
