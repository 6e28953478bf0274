/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/collection_lab.h"

#include <stdlib.h>
#include <string.h>

#include "capture/collection/collection_internal.h"

/*
 * Runs of one node of a guest cluster on the simulated host, through the ports: what a checkpoint of the group freezes, what is
 * left when any call fails or is the last thing the agent does, and what is swept when the journal is lost.
 * Where the group stands is collection_place_test's, several hosts are collection_move_test's.
 */

static void
open_lab(struct collection_lab *l, const struct wmi_fake_options *host, bool grouped)
{
    const struct collection_lab_options o = {.host = *host, .space = grouped ? SIM_SPACE_HOST : 0};

    collection_lab_open(l, &o);
}

static void
a_run_of_a_node_freezes_its_group(void **state)
{
    const struct wmi_fake_options options = {0};
    struct peer_fake_seen seen;
    struct sim_error err;
    struct guid id;
    struct guid job;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &options, true);
    collection_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_int_equal(seen.consistency, PEER_CONSISTENCY_APPLICATION);
    assert_int_equal(seen.file_count, 2);
    /* The set's own snapshot is what the next run asks about. */
    assert_int_equal(strncmp(seen.change_id[2], COLLECTION_FAMILY, 6), 0);
    assert_true(guid_parse(&id, seen.change_id[2] + 6));
    assert_true(guid_equal(&id, &collection_lab_host(&l)->cluster->sets[0].snapshots[0].id));
    collection_lab_good_run(&l);
    peer_fake_seen(l.job.fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    /* The simulator refuses what Hyper-V refuses. */
    assert_int_equal(checkpoint_create(collection_lab_host(&l), &l.vms[0], SIM_CHECKPOINT_RECOVERY,
                                       SIM_CRASH, "x", &job, &err),
                     SIM_NO_SUPPORT);
    collection_lab_close(&l);
}

static void
what_documents_leave_open_is_asked_for_in_both_ways(void **state)
{
    static const struct wmi_fake_options options[] = {
        {.group_32768 = true}, {.no_snapshot_id = true}, {.server_2016 = true}};

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        struct collection_lab l;

        open_lab(&l, &options[i], true);
        collection_lab_good_run(&l);
        collection_lab_close(&l);
    }
}

/* Numbers of a group's checkpoint that the field knows, each refused with the guest and without. */
static void
a_refusal_that_is_known_says_the_way_out(void **state)
{
    static const struct {
        uint32_t number;
        const char *words;
    } cases[] = {{32768, "the cluster service in the guests has to answer"},
                 {32770, "must not be a cluster shared volume"}};
    static const struct wmi_fake_options plain;
    struct varve_error err;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &plain, true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refpoint_lab_fail(&l.nodes[0].hv, "wmi exec CreateSnapshot", PORT_FAULT_BEFORE,
                          cases[i].number, 2);
        assert_true(collection_lab_run(&l, 0, &err) != VARVE_OK);
        assert_int_equal(err.native, cases[i].number);
        assert_non_null(strstr(err.msg, "vm group 'sql'"));
        assert_non_null(strstr(err.msg, cases[i].words));
    }
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

static void
a_snapshot_that_is_only_likely_is_not_taken(void **state)
{
    const struct wmi_fake_options options = {.no_snapshot_id = true};
    const struct guid someone = {{1}};
    const struct guid run = {{0x51, 3}};
    struct capture_frozen f;
    struct notes notes = {0};
    struct cancel none;
    struct sim_error err;
    struct varve_error why;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &options, true);
    cancel_init(&none);
    must_work(set_snapshot(collection_lab_host(&l), &collection_lab_host(&l)->cluster->sets[0],
                           &someone, &err));
    assert_int_equal(l.nodes[0].capture->ops->begin(l.nodes[0].capture, &l.vms[0], &run, &none, &f,
                                                    &notes, &why),
                     VARVE_ERR_UNSUPPORTED);
    assert_int_equal(collection_lab_count(&l, false), 0); /* nobody else would know of it */
    cancel_destroy(&none);
    assert_int_equal(collection_lab_run(&l, 0, &why), VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.msg, "which snapshot of"));
    must_work(
        set_snapshot_delete(&collection_lab_host(&l)->cluster->sets[0], &someone, false, &err));
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

/* After a restart too: a set that is opened without a snapshot is what the guests write now. */
static void
a_run_that_goes_on_reads_the_snapshot_of_its_checkpoint(void **state)
{
    const struct wmi_fake_options options = {.no_snapshot_id = true};
    const struct guid run = {{0x51, 4}};
    struct capture_frozen f;
    struct capture_frozen again;
    struct notes notes = {0};
    struct cancel none;
    struct varve_error err;
    struct collection_lab l;
    struct capture *c;

    (void)state;
    open_lab(&l, &options, true);
    c = l.job.env.capture;
    cancel_init(&none);
    assert_ok(c->ops->begin(c, &l.vms[0], &run, &none, &f, &notes, &err), &err);
    assert_ok(c->ops->attach(c, &l.vms[0], f.checkpoint, &again, &err), &err);
    assert_memory_equal(again.disks[2].stamp,
                        collection_lab_host(&l)->cluster->sets[0].snapshots[0].id.bytes, 16);
    assert_ok(c->ops->abort(c, &l.vms[0], f.checkpoint, NULL, &err), &err);
    capture_frozen_release(&f);
    capture_frozen_release(&again);
    cancel_destroy(&none);
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

static void
a_node_without_a_group_is_refused_with_the_way_out(void **state)
{
    const struct wmi_fake_options options = {0};
    struct capture_inventory inv;
    struct varve_error err;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &options, false);
    assert_ok(l.nodes[0].capture->ops->list(l.nodes[0].capture, &inv, &err), &err);
    assert_int_equal(inv.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct capture_vm *vm = &inv.vms[i];

        assert_true(capture_collection_claims(vm));
        assert_non_null(strstr(vm->disks[vm->disk_count - 1].problem, "New-VMGroup"));
    }
    capture_inventory_release(&inv);
    assert_int_equal(collection_lab_run(&l, 0, &err), VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "New-VMGroup"));
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

static void
the_inventory_names_a_set_once_its_group_is_known(void **state)
{
    const struct wmi_fake_options options = {0};
    struct capture_inventory inv;
    struct varve_error err;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &options, true);
    assert_ok(l.nodes[0].capture->ops->list(l.nodes[0].capture, &inv, &err), &err);
    for (size_t i = 0; i < inv.count; i++) {
        const struct capture_disk *d = &inv.vms[i].disks[inv.vms[i].disk_count - 1];

        assert_null(d->problem);
        assert_true(d->shared && d->tracked);
        assert_true(guid_equal(&d->id, &l.set));
        assert_int_equal(d->size, COLLECTION_SET_SIZE);
        assert_string_equal(d->path, COLLECTION_SET_PATH);
        assert_string_equal(d->name, "quorum.vhds");
        assert_non_null(strstr(inv.vms[i].reason, "vm group 'sql'"));
    }
    capture_inventory_release(&inv);
    collection_lab_close(&l);
}

static void
a_set_that_cannot_be_read_fails_the_run_and_leaves_nothing(void **state)
{
    const struct wmi_fake_options options = {0};
    struct varve_error err;
    struct collection_lab l;

    (void)state;
    open_lab(&l, &options, true);
    collection_lab_good_run(&l);
    l.set_is_away = true;
    assert_int_equal(collection_lab_run(&l, 0, &err), VARVE_ERR_IO);
    assert_non_null(strstr(err.msg, "the file server is away"));
    collection_lab_check_clean(&l, 1);
    l.set_is_away = false;
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

/* ---- change ids ---- */

static void
change_ids_of_another_way_are_stale(void **state)
{
    static const struct wmi_fake_options plain;
    static const struct {
        size_t disk;
        const char *since;
        const char *words;
    } cases[] = {{0, "rctX:5", "another way"},
                 {2, "11111111-2222-4333-8444-555555555555", "another way"},
                 {2, COLLECTION_FAMILY "rctX:5", "no snapshot of a VHD set"}};
    const struct guid run = {{0x51, 2}};
    struct collection_lab l;
    struct capture_frozen f;
    struct notes notes = {0};
    struct cancel none;
    struct varve_error err;
    struct capture *c;

    (void)state;
    open_lab(&l, &plain, true);
    c = l.job.env.capture;
    cancel_init(&none);
    assert_ok(c->ops->begin(c, &l.vms[0], &run, &none, &f, &notes, &err), &err);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t done = 0;

        assert_int_equal(
            c->ops->changes(c, &f, cases[i].disk, cases[i].since, 0, 65536, NULL, &done, &err),
            VARVE_ERR_STALE);
        assert_non_null(strstr(err.msg, cases[i].words));
    }
    assert_ok(c->ops->abort(c, &l.vms[0], f.checkpoint, NULL, &err), &err);
    capture_frozen_release(&f);
    cancel_destroy(&none);
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

/* None is none: the word of the family alone would be asked about the next time. */
static void
a_disk_without_a_change_id_gets_none(void **state)
{
    char path[] = "C:\\vms\\a.vhdx";
    struct capture_frozen_disk disks[2] = {{.path = path}, {.path = path}};
    struct capture_frozen f = {.disks = disks, .disk_count = 2};
    char ids[2][CAPTURE_ID_MAX] = {"", "rctX:5"};
    struct capture_kept kept = {.change_ids = ids, .count = 2};

    (void)state;
    collection_name_ids(&f, &kept);
    assert_string_equal(ids[0], "");
    assert_string_equal(ids[1], COLLECTION_FAMILY "rctX:5");
}

/* ---- one call fails, or is the last (of these each third) ---- */

static void
each_call(bool die)
{
    static const struct fault_kind kinds[] = {{PORT_FAULT_BEFORE, 0x80041001u},
                                              {PORT_FAULT_AFTER, 0x800706BAu}};
    const struct wmi_fake_options options = {0};
    struct collection_lab l;
    struct fault_lab f;

    open_lab(&l, &options, true);
    (void)collection_lab_foreign(&l, true);
    collection_lab_good_run(&l);
    f = collection_lab_faults(&l);
    f.step = VARVE_SANITIZED ? 3 : 1;
    if (die) {
        (void)fault_loop_deaths(&f, 0x80041001u, 3, 60);
    } else {
        (void)fault_loop_calls(&f, kinds, 2, 60);
    }
    collection_lab_good_run(&l);
    collection_lab_close(&l);
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

/* ---- the journal is lost ---- */

static bool
knows_one(void *arg, const struct guid *run)
{
    return guid_equal(run, arg);
}

static void
sweep(struct collection_lab *l, size_t vm, struct guid *known, struct notes *notes)
{
    struct capture *c = l->job.env.capture;
    struct varve_error err;

    memset(notes, 0, sizeof(*notes));
    assert_ok(c->ops->sweep(c, &l->vms[vm], knows_one, known, NULL, notes, &err), &err);
}

static bool
is_told(const struct notes *notes, const char *what)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (strstr(notes->text[i], what) != NULL) {
            return true;
        }
    }
    return false;
}

/* A frozen group that no journal knows of; the run's id. */
static struct guid
leave_behind(struct collection_lab *l)
{
    struct capture *c = l->job.env.capture;
    const struct guid run = {{0x51, 1}};
    struct capture_frozen f;
    struct notes notes = {0};
    struct cancel none;
    struct varve_error err;

    cancel_init(&none);
    assert_ok(c->ops->begin(c, &l->vms[0], &run, &none, &f, &notes, &err), &err);
    capture_frozen_release(&f);
    cancel_destroy(&none);
    return run;
}

static void
what_the_journal_forgot_is_swept_and_nothing_else(void **state)
{
    static const struct wmi_fake_options plain;
    struct guid nobody = {{9}};
    struct collection_lab l;
    struct notes notes;
    struct guid run;
    struct guid theirs;

    (void)state;
    open_lab(&l, &plain, true);
    theirs = collection_lab_foreign(&l, false); /* another product's, which stays */
    run = leave_behind(&l);
    assert_int_equal(collection_lab_count(&l, false), 2);
    sweep(&l, 0, &run, &notes);
    assert_int_equal(collection_lab_count(&l, false), 2); /* a run that goes on */
    assert_true(is_told(&notes, "somebody else's checkpoint of the vm group is left alone"));
    sweep(&l, 1, &nobody, &notes); /* by whichever of its vms */
    assert_true(is_told(&notes, "a checkpoint that an earlier run left was removed"));
    assert_int_equal(collection_lab_count(&l, false), 1);
    assert_true(guid_equal(&collection_lab_host(&l)->cluster->moments[0].id, &theirs));
    sweep(&l, 0, &nobody, &notes);
    assert_false(is_told(&notes, "was removed"));
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

static void
another_agents_checkpoint_of_the_group_is_not_swept(void **state)
{
    static const struct wmi_fake_options plain;
    struct guid nobody = {{9}};
    struct collection_lab l;
    struct notes notes;
    struct varve_error err;

    (void)state;
    open_lab(&l, &plain, true);
    (void)leave_behind(&l);
    assert_ok(fs_remove(&l.job.fs, "/state/refpoint/owner", &err), &err);
    capture_close(l.nodes[0].capture); /* it has lost all of its state, its owner too */
    collection_lab_reopen(&l);
    sweep(&l, 0, &nobody, &notes);
    assert_int_equal(collection_lab_count(&l, false), 1);
    assert_true(is_told(&notes, "somebody else's checkpoint of the vm group"));
    collection_lab_close(&l);
}

/* Hyper-V destroys a group's checkpoint as a whole: whoever sweeps single vms leaves its parts alone. */
static void
a_part_of_a_groups_checkpoint_is_not_swept_alone(void **state)
{
    static const struct wmi_fake_options plain;
    struct guid nobody = {{9}};
    struct collection_lab l;
    struct capture *alone;
    struct notes notes = {0};
    struct varve_error err;

    (void)state;
    open_lab(&l, &plain, true);
    (void)leave_behind(&l);
    alone = l.nodes[0].hv.capture;
    assert_ok(alone->ops->sweep(alone, NULL, knows_one, &nobody, NULL, &notes, &err), &err);
    assert_int_equal(collection_lab_count(&l, false), 1);
    assert_int_equal(notes.count, 0);
    assert_int_equal(collection_lab_calls(&l, "wmi exec DestroySnapshot"), 0);
    sweep(&l, 0, &nobody, &notes);
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_a_node_freezes_its_group),
        cmocka_unit_test(what_documents_leave_open_is_asked_for_in_both_ways),
        cmocka_unit_test(a_refusal_that_is_known_says_the_way_out),
        cmocka_unit_test(a_snapshot_that_is_only_likely_is_not_taken),
        cmocka_unit_test(a_run_that_goes_on_reads_the_snapshot_of_its_checkpoint),
        cmocka_unit_test(a_node_without_a_group_is_refused_with_the_way_out),
        cmocka_unit_test(the_inventory_names_a_set_once_its_group_is_known),
        cmocka_unit_test(a_set_that_cannot_be_read_fails_the_run_and_leaves_nothing),
        cmocka_unit_test(change_ids_of_another_way_are_stale),
        cmocka_unit_test(a_disk_without_a_change_id_gets_none),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(what_the_journal_forgot_is_swept_and_nothing_else),
        cmocka_unit_test(another_agents_checkpoint_of_the_group_is_not_swept),
        cmocka_unit_test(a_part_of_a_groups_checkpoint_is_not_swept_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
