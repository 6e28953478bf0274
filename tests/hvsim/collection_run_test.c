/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/collection/collection.h"
#include "hvsim/fault_loop.h"
#include "hvsim/group.h"
#include "hvsim/refpoint_lab.h"
#include "source/source_virtdisk.h"

/*
 * Runs of one node of a guest cluster on the simulated host, through the ports: what a checkpoint of the group freezes, and what is
 * left when any call fails or is the last thing the agent does.  The set's bytes come from the simulator here;
 * tests/rsvd/cluster.sh reads them from a file server.
 */
#define SET_PATH "\\\\fs1\\vms\\quorum.vhds"
#define SET_SIZE ((uint64_t)1024 * 1024)

struct run_lab {
    struct lab job;
    struct refpoint_lab hv;
    struct capture *capture;
    struct guid other; /* the other node */
    struct guid set;
    struct guid group;
    size_t foreign; /* somebody else's reference points of the group */
    bool set_is_away;
};

static enum varve_err
open_set(void *arg, const char *path, const struct guid *snapshot, struct source **out,
         struct varve_error *err)
{
    struct run_lab *l = arg;
    struct sim_set *s;
    char *raw;
    enum varve_err rc;

    assert_string_equal(path, SET_PATH);
    if (l->set_is_away) {
        return varve_error_set(err, VARVE_ERR_IO, "the file server is away");
    }
    mutex_lock(&l->hv.lock);
    s = set_of_path(l->hv.host, path);
    raw = set_truth(l->hv.host, s, snapshot);
    mutex_unlock(&l->hv.lock);
    rc = source_file_open(out, fs_system(), raw, true, err);
    free(raw);
    return rc;
}

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct run_lab *l = arg;
    enum varve_err rc = capture_collection_source(l->capture, frozen, disk, out, err);

    return rc != VARVE_OK || *out != NULL
               ? rc
               : source_virtdisk_open(out, l->hv.vdisk, fs_system(), frozen->disks[disk].path, err);
}

static void
make_cluster(struct run_lab *l, bool grouped)
{
    const struct vm_spec spec = {.name = "node2",
                                 .generation = 2,
                                 .config_version = "9.0",
                                 .state = SIM_VM_RUNNING,
                                 .integration = true,
                                 .truth = true};
    const struct disk_spec disk = {.size = LAB_DISK_SIZE,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .tracked = true};
    struct guid vms[2] = {l->hv.vm};
    struct set_spec set = {
        .path = SET_PATH, .control = "", .size = SET_SIZE, .vms = vms, .vm_count = 2};
    struct guid unused;
    struct sim_error err;

    must_work(vm_create(l->hv.host, &spec, &l->other, &err));
    must_work(disk_add(l->hv.host, &l->other, &disk, &unused, &err));
    vms[1] = l->other;
    must_work(set_create(l->hv.host, &set, &l->set, &err));
    if (grouped) {
        must_work(group_create(l->hv.host, "sql", vms, 2, &l->group, &err));
    }
}

static void
run_lab_open(struct run_lab *l, const struct wmi_fake_options *options, bool grouped)
{
    struct collection_options o = {
        .host = {.fs = NULL,
                 .host_fs = fs_system(),
                 .state_dir = "/state",
                 .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
                 .create_ms = 5000,
                 .convert_ms = 5000,
                 .busy_ms = 5000,
                 .pause_ms = 1},
        .open_set = open_set,
        .open_arg = l};
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, options, REFPOINT_APPLICATION, &l->job.fs, "/state");
    make_cluster(l, grouped);
    o.host.wmi = l->hv.wmi;
    o.host.vdisk = l->hv.vdisk;
    o.host.fs = &l->job.fs;
    assert_ok(capture_collection_open(&l->capture, &o, &err), &err);
    l->hv.script.dead = &l->job.dead;
    l->job.env.capture = l->capture;
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
    l->job.request.vm = l->hv.vm;
}

static void
run_lab_close(struct run_lab *l)
{
    capture_close(l->capture);
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

static void
write_some(struct run_lab *l)
{
    struct sim_extent e = {8192 * (uint64_t)(l->hv.writes % 100), 8192};
    struct sim_error err;

    refpoint_lab_write(&l->hv, l->hv.writes % 2, 65536 * (uint64_t)(l->hv.writes % 30));
    mutex_lock(&l->hv.lock);
    must_work(set_write(l->hv.host, &l->set, l->hv.writes % 2 == 0 ? &l->hv.vm : &l->other, &e, 1,
                        l->hv.writes, &err));
    mutex_unlock(&l->hv.lock);
}

/* ---- what is left ---- */

static size_t
collections(struct run_lab *l, bool points)
{
    size_t n = 0;

    for (size_t i = 0; i < l->hv.host->cluster->moment_count; i++) {
        n += l->hv.host->cluster->moments[i].point == points ? 1 : 0;
    }
    return n;
}

/* Both nodes and the set. */
static void
check_clean(struct run_lab *l, size_t points)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(&l->hv);
    points += l->foreign;
    assert_int_equal(collections(l, false), 0);
    assert_int_equal(collections(l, true), points);
    for (size_t i = 0; i < l->hv.host->vm_count; i++) {
        assert_int_equal(l->hv.host->vms[i]->checkpoint_count, 0);
        assert_int_equal(l->hv.host->vms[i]->refpoint_count, points);
        assert_int_equal(l->hv.host->vms[i]->merge_count, 0);
    }
    assert_int_equal(l->hv.host->cluster->sets[0].snapshot_count, points);
    assert_int_equal(vdisk_fake_open_count(l->hv.vdisk), 0);
    assert_string_equal(l->hv.script.violation, "");
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

static void
check_point(struct run_lab *l)
{
    uint8_t *got = malloc(LAB_DISK_SIZE);
    char *live = set_truth(l->hv.host, &l->hv.host->cluster->sets[0], NULL);
    uint8_t *want = malloc(SET_SIZE);
    FILE *f = fopen(live, "rb");

    assert_non_null(got);
    assert_non_null(want);
    assert_non_null(f);
    assert_int_equal(fread(want, 1, SET_SIZE, f), SET_SIZE);
    (void)fclose(f);
    assert_true(peer_fake_content(l->job.fake, 2, got, SET_SIZE));
    assert_memory_equal(got, want, SET_SIZE);
    free(want);
    for (unsigned i = 0; i < 2; i++) {
        want = refpoint_lab_content(&l->hv, i);
        assert_true(peer_fake_content(l->job.fake, i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
        free(want);
    }
    free(live);
    free(got);
}

static void
good_run(struct run_lab *l)
{
    struct varve_error err;

    write_some(l);
    assert_ok(lab_run(&l->job, &err), &err);
    check_point(l);
    check_clean(l, 1);
    lab_take_base_of(&l->job, &l->hv.vm);
}

/* ---- */

static void
a_run_of_a_node_freezes_its_group(void **state)
{
    const struct wmi_fake_options options = {0};
    struct peer_fake_seen seen;
    struct sim_error err;
    struct guid id;
    struct guid job;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, true);
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_APPLICATION);
    assert_int_equal(seen.file_count, 2);
    /* The set's own snapshot is what the next run asks about. */
    assert_int_equal(strncmp(seen.change_id[2], COLLECTION_FAMILY, 6), 0);
    assert_true(guid_parse(&id, seen.change_id[2] + 6));
    assert_true(guid_equal(&id, &l.hv.host->cluster->sets[0].snapshots[0].id));
    good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    /* The simulator refuses what Hyper-V refuses. */
    assert_int_equal(
        checkpoint_create(l.hv.host, &l.hv.vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "x", &job, &err),
        SIM_NO_SUPPORT);
    run_lab_close(&l);
}

static void
what_documents_leave_open_is_asked_for_in_both_ways(void **state)
{
    static const struct wmi_fake_options options[] = {
        {.group_32768 = true}, {.no_snapshot_id = true}, {.server_2016 = true}};

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        struct run_lab l;

        run_lab_open(&l, &options[i], true);
        good_run(&l);
        run_lab_close(&l);
    }
}

static void
a_snapshot_that_is_only_likely_is_not_taken(void **state)
{
    const struct wmi_fake_options options = {.no_snapshot_id = true};
    const struct guid someone = {{1}};
    struct sim_error err;
    struct varve_error why;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, true);
    must_work(set_snapshot(l.hv.host, &l.hv.host->cluster->sets[0], &someone, &err));
    assert_int_equal(lab_run(&l.job, &why), VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.msg, "which snapshot of"));
    must_work(set_snapshot_delete(&l.hv.host->cluster->sets[0], &someone, false, &err));
    check_clean(&l, 0);
    run_lab_close(&l);
}

static void
a_node_without_a_group_is_refused_with_the_way_out(void **state)
{
    const struct wmi_fake_options options = {0};
    struct capture_inventory inv;
    struct varve_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, false);
    assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
    assert_int_equal(inv.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct capture_vm *vm = &inv.vms[i];

        assert_true(capture_collection_claims(vm));
        assert_non_null(strstr(vm->disks[vm->disk_count - 1].problem, "New-VMGroup"));
    }
    capture_inventory_release(&inv);
    assert_int_equal(lab_run(&l.job, &err), VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "New-VMGroup"));
    check_clean(&l, 0);
    run_lab_close(&l);
}

static void
the_inventory_names_a_set_once_its_group_is_known(void **state)
{
    const struct wmi_fake_options options = {0};
    struct capture_inventory inv;
    struct varve_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, true);
    assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
    for (size_t i = 0; i < inv.count; i++) {
        const struct capture_disk *d = &inv.vms[i].disks[inv.vms[i].disk_count - 1];

        assert_null(d->problem);
        assert_true(d->shared && d->tracked);
        assert_true(guid_equal(&d->id, &l.set));
        assert_int_equal(d->size, SET_SIZE);
        assert_string_equal(d->path, SET_PATH);
        assert_string_equal(d->name, "quorum.vhds");
        assert_non_null(strstr(inv.vms[i].reason, "vm group 'sql'"));
    }
    capture_inventory_release(&inv);
    run_lab_close(&l);
}

static void
a_set_that_cannot_be_read_fails_the_run_and_leaves_nothing(void **state)
{
    const struct wmi_fake_options options = {0};
    struct varve_error err;
    struct run_lab l;

    (void)state;
    run_lab_open(&l, &options, true);
    good_run(&l);
    l.set_is_away = true;
    assert_int_equal(lab_run(&l.job, &err), VARVE_ERR_IO);
    assert_non_null(strstr(err.msg, "the file server is away"));
    check_clean(&l, 1);
    l.set_is_away = false;
    good_run(&l);
    run_lab_close(&l);
}

/* ---- one call fails, or is the last (of these each third) ---- */

static void
make_foreign(struct run_lab *l)
{
    struct guid job;
    struct guid id;
    struct sim_error err;

    must_work(group_freeze(l->hv.host, &l->group, SIM_CRASH, &job, &err));
    assert_int_equal(test_finish_job(l->hv.host, &job, &id), SIM_OK);
    must_work(group_start(l->hv.host, &id, SIM_JOB_GROUP_CONVERT, &job, &err));
    assert_int_equal(test_finish_job(l->hv.host, &job, &id), SIM_OK);
    test_settle(l->hv.host);
    l->foreign = 1;
}

static void
faults_write(void *arg)
{
    write_some(arg);
}

static void
faults_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    struct run_lab *l = arg;
    struct peer_fake_seen seen;

    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    assert_true(rc == VARVE_OK || err->msg[0] != '\0');
    if (seen.committed) {
        check_point(l);
        check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        check_clean(l, l->job.request.base_refpoint[0] != '\0' ? 1 : 0);
    }
    lab_take_base_of(&l->job, &l->hv.vm);
}

static void
faults_good_run(void *arg)
{
    good_run(arg);
}

static void
each_call(bool die)
{
    static const struct fault_kind kinds[] = {{PORT_FAULT_BEFORE, 0x80041001u},
                                              {PORT_FAULT_AFTER, 0x800706BAu}};
    const struct wmi_fake_options options = {0};
    struct run_lab l;
    const struct fault_lab f = {.arg = &l,
                                .job = &l.job,
                                .script = &l.hv.script,
                                .prepare = faults_write,
                                .check_end = faults_check,
                                .good_run = faults_good_run};

    run_lab_open(&l, &options, true);
    make_foreign(&l);
    good_run(&l);
    if (die) {
        (void)fault_loop_deaths(&f, 0x80041001u, 3, 60);
    } else {
        (void)fault_loop_calls(&f, kinds, 2, 60);
    }
    good_run(&l);
    run_lab_close(&l);
}

static void
any_one_call_may_fail(void **state)
{
    (void)state;
    each_call(false);
}

static void
the_agent_may_die_at_any_call(void **state)
{
    (void)state;
    each_call(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_a_node_freezes_its_group),
        cmocka_unit_test(what_documents_leave_open_is_asked_for_in_both_ways),
        cmocka_unit_test(a_snapshot_that_is_only_likely_is_not_taken),
        cmocka_unit_test(a_node_without_a_group_is_refused_with_the_way_out),
        cmocka_unit_test(the_inventory_names_a_set_once_its_group_is_known),
        cmocka_unit_test(a_set_that_cannot_be_read_fails_the_run_and_leaves_nothing),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
