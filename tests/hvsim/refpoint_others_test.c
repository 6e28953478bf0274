/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"
#include "job/journal.h"
#include "job/runner.h"

/* What is not of this run: checkpoints of people and of other programs, what an earlier run left, reference points that
 * appear beside ours, and no more room for any. */

static struct guid
user_checkpoint(struct refpoint_lab *l, const char *name)
{
    struct guid job;
    struct guid id;
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(checkpoint_create(l->host, &l->vm, SIM_CHECKPOINT_USER, SIM_CRASH, name, &job, &err));
    assert_int_equal(test_finish_job(l->host, &job, &id), SIM_OK);
    mutex_unlock(&l->lock);
    return id;
}

static void
rename_checkpoint(struct refpoint_lab *l, const struct guid *id, const char *name)
{
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(checkpoint_rename(l->host, id, name, &err));
    mutex_unlock(&l->lock);
}

/* ---- what an earlier run left ---- */

static bool
knows_one(void *arg, const struct guid *run)
{
    return guid_equal(run, arg);
}

static void
sweep(struct refpoint_lab *l, struct guid *known, struct notes *notes)
{
    struct varve_error err;

    memset(notes, 0, sizeof(*notes));
    assert_ok(l->capture->ops->sweep(l->capture, &l->vm, knows_one, known, NULL, notes, &err),
              &err);
}

static void
a_checkpoint_whose_run_nobody_knows_is_removed(void **state)
{
    struct guid known = {{1}};
    struct guid other = {{2}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct notes notes;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    (void)user_checkpoint(&l, "before the update");
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    capture_frozen_release(&m.frozen); /* and the agent dies */
    sweep(&l, &known, &notes);
    assert_int_equal(notes.count, 0);
    assert_int_equal(refpoint_lab_checkpoints(&l), 2);
    sweep(&l, &other, &notes);
    assert_int_equal(notes.count, 1);
    assert_non_null(strstr(notes.text[0], "removed"));
    refpoint_lab_settle(&l);
    assert_int_equal(refpoint_lab_checkpoints(&l), 1); /* that of a person */
    sweep(&l, &other, &notes);
    assert_int_equal(notes.count, 0);
    l.vm.bytes[0] ^= 1; /* one that has moved */
    sweep(&l, &other, &notes);
    l.vm.bytes[0] ^= 1;
    refpoint_lab_close(&l);
}

static void
what_cannot_be_proved_to_be_ours_is_told_and_left(void **state)
{
    static const char *const names[] = {
        "Backup", "varve run 03000000-0000-0000-0000-000000000000",
        "varve run 03000000-0000-0000-0000-000000000000 of 11111111-2222-4333-8444-555555555555",
        "varve run 03000000-0000-0000-0000-000000000000 of nobody"};
    static const char *const around[][2] = {{"spare", ""}, {"varve", " (copy)"}};
    struct guid other = {{2}};
    struct refpoint_lab l;
    struct notes notes;
    struct varve_error err;
    struct guid owner;
    struct guid id;
    char text[GUID_TEXT_SIZE];
    char *name;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    id = refpoint_lab_foreign(&l, false);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        rename_checkpoint(&l, &id, names[i]);
        sweep(&l, &other, &notes);
        assert_int_equal(notes.count, 1);
        assert_non_null(strstr(notes.text[0], "left alone"));
        assert_non_null(strstr(notes.text[0], names[i]));
        assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    }
    /* Our own id in a name that is not ours proves nothing. */
    assert_ok(refpoint_owner((struct refpoint *)l.capture, &owner, &err), &err);
    guid_format(&owner, text);
    for (i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        name = sim_printf("%s run 03000000-0000-0000-0000-000000000000 of %s%s", around[i][0], text,
                          around[i][1]);
        rename_checkpoint(&l, &id, name);
        free(name);
        sweep(&l, &other, &notes);
        assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    }
    refpoint_lab_close(&l);
}

/* ---- whose a checkpoint is ---- */

static enum varve_err
find(struct refpoint_lab *l, const struct guid *run, struct guid *out)
{
    struct varve_error err;
    char id[CAPTURE_ID_MAX];
    enum varve_err rc = l->capture->ops->find(l->capture, &l->vm, run, id, &err);

    if (rc == VARVE_OK) {
        assert_true(guid_parse(out, id + strlen("Microsoft:")));
    }
    return rc;
}

static void
write_note(struct refpoint_lab *l, const struct guid *run, int64_t begun_us)
{
    const struct capture_note note = {.begun_us = begun_us};
    struct varve_error err;

    assert_ok(refpoint_note_write((struct refpoint *)l->capture, run, &note, &err), &err);
}

static void
a_nameless_checkpoint_is_ours_only_when_all_of_it_says_so(void **state)
{
    static const char another[] =
        "varve run 03000000-0000-0000-0000-000000000000 of 11111111-2222-4333-8444-555555555555";
    const int64_t hour = INT64_C(3600000000);
    const struct guid run = {{7}};
    struct refpoint_lab l;
    struct guid ours;
    struct guid id;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    write_note(&l, &run, time_now_us());
    (void)user_checkpoint(&l, "Automatic Checkpoint");
    assert_int_equal(find(&l, &run, &id), VARVE_ERR_NOT_FOUND);
    ours = refpoint_lab_foreign(&l, false);
    assert_int_equal(find(&l, &run, &id), VARVE_OK); /* a person's beside it changes nothing */
    assert_true(guid_equal(&id, &ours));
    write_note(&l, &run, time_now_us() - hour); /* begun too long ago to be the one */
    assert_int_equal(find(&l, &run, &id), VARVE_ERR_NOT_FOUND);
    write_note(&l, &run, time_now_us() + hour); /* it was there before */
    assert_int_equal(find(&l, &run, &id), VARVE_ERR_NOT_FOUND);
    write_note(&l, &run, time_now_us());
    rename_checkpoint(&l, &ours, another); /* another agent's, made at the same time */
    assert_int_equal(find(&l, &run, &id), VARVE_ERR_NOT_FOUND);
    refpoint_lab_close(&l);
}

static void
of_two_runs_each_finds_its_own_checkpoint(void **state)
{
    static const char second[] =
        "varve run 02000000-0000-0000-0000-000000000000 of 11111111-2222-4333-8444-555555555555";
    static const char third[] = "varve run 03000000-0000-0000-0000-000000000000";
    const struct guid runs[] = {{{1}}, {{2}}, {{3}}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct capture_note note;
    struct varve_error err;
    char checkpoint[CAPTURE_ID_MAX];
    char text[GUID_TEXT_SIZE];
    struct guid persons;
    struct guid theirs;
    struct guid id;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    theirs = refpoint_lab_foreign(&l, false);
    rename_checkpoint(&l, &theirs, second);
    persons = user_checkpoint(&l, third); /* what a person named so is a person's */
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(find(&l, &runs[0], &id), VARVE_OK);
    assert_non_null(strstr(m.frozen.checkpoint, "Microsoft:"));
    assert_false(guid_equal(&id, &theirs));
    assert_int_equal(find(&l, &runs[1], &id), VARVE_OK);
    assert_true(guid_equal(&id, &theirs));
    assert_int_equal(find(&l, &runs[2], &id), VARVE_ERR_NOT_FOUND);
    /* By its name from now on: a note that stays would take a nameless one of the same time for it later. */
    assert_err(refpoint_note_read((struct refpoint *)l.capture, &runs[0], &note, &err),
               VARVE_ERR_NOT_FOUND, &err);
    refpoint_lab_end(&l, &m);
    assert_int_equal(refpoint_lab_checkpoints(&l), 2);
    assert_int_equal(find(&l, &runs[1], &id), VARVE_OK); /* it was ours that went */
    /* Whatever is told of it, a person's is destroyed by nobody. */
    guid_format_upper(&persons, text);
    (void)snprintf(checkpoint, sizeof(checkpoint), "Microsoft:%s", text);
    assert_ok(l.capture->ops->abort(l.capture, &l.vm, checkpoint, NULL, &err), &err);
    assert_int_equal(refpoint_lab_checkpoints(&l), 2);
    refpoint_lab_close(&l);
}

/* VMMS is gone from that call on: nobody can look, and what was written before is all there is to go by. */
static void
what_could_not_be_undone_is_known_when_the_host_is_back(void **state)
{
    const struct guid run = {{1}};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    struct guid id;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_CRASH);
    refpoint_lab_fail(&l, "wmi exec CreateSnapshot", PORT_FAULT_AFTER, 0x80041001u, 1);
    l.script.die = true;
    assert_true(refpoint_lab_begin(&l, &m, 1, NULL, &err) != VARVE_OK);
    *l.script.dead = false;
    l.script.die = false;
    refpoint_lab_settle(&l);
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    assert_int_equal(find(&l, &run, &id), VARVE_OK);
    refpoint_lab_close(&l);
}

/* Two collectors back up one host, each by an agent of its own. */
static void
two_agents_on_one_host_leave_each_other_alone(void **state)
{
    struct guid nobody = {{9}};
    struct refpoint_options o;
    struct capture *second = NULL;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct notes notes = {0};
    struct varve_error err;
    struct capture *first;
    char checkpoint[CAPTURE_ID_MAX];
    char *dir;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    first = l.capture;
    dir = sim_printf("%s/second", l.dir);
    assert_ok(fs_mkdir(fs_system(), dir, &err), &err);
    o = (struct refpoint_options){.wmi = l.wmi,
                                  .vdisk = l.vdisk,
                                  .fs = fs_system(),
                                  .host_fs = fs_system(),
                                  .state_dir = dir,
                                  .wmi_times = {1, 1, 2, 1000},
                                  .pause_ms = 1};
    assert_ok(capture_refpoint_open(&second, &o, &err), &err);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    l.capture = second;
    sweep(&l, &nobody, &notes);
    assert_int_equal(notes.count, 1);
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    /* Who is told of the run, as after a failover, finds it. */
    assert_ok(second->ops->find(second, &l.vm, &m.run, checkpoint, &err), &err);
    assert_string_equal(checkpoint, m.frozen.checkpoint);
    l.capture = first;
    sweep(&l, &nobody, &notes);
    assert_int_equal(refpoint_lab_checkpoints(&l), 0);
    capture_frozen_release(&m.frozen);
    capture_close(second);
    refpoint_lab_close(&l);
    free(dir);
}

static void
an_agent_knows_itself_after_a_restart(void **state)
{
    struct refpoint_lab l;
    struct refpoint *r;
    struct varve_error err;
    struct guid first;
    struct guid again;
    char *path;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    r = (struct refpoint *)l.capture;
    assert_ok(refpoint_owner(r, &first, &err), &err);
    assert_false(guid_is_zero(&first));
    memset(&r->owner, 0, sizeof(r->owner)); /* as a new process is */
    assert_ok(refpoint_owner(r, &again, &err), &err);
    assert_true(guid_equal(&first, &again));
    /* A file that is none any more makes a new agent: what was its is somebody else's then. */
    path = sim_printf("%s/refpoint/owner", l.dir);
    assert_ok(fs_write_durable(fs_system(), path, "?", 1, false, &err), &err);
    memset(&r->owner, 0, sizeof(r->owner));
    assert_ok(refpoint_owner(r, &again, &err), &err);
    assert_false(guid_is_zero(&again) || guid_equal(&first, &again));
    free(path);
    refpoint_lab_close(&l);
}

static struct job_env
env_of(struct refpoint_lab *l, struct cancel *stopping, struct cancel *halt)
{
    return (struct job_env){.fs = fs_system(),
                            .state_dir = l->dir,
                            .capture = l->capture,
                            .stopping = stopping,
                            .halt = halt};
}

/* The journal knows every run that has something on the host. */
static void
an_agent_that_starts_sweeps_what_its_journal_has_not(void **state)
{
    struct journal_entry e = {.state = JOURNAL_FREEZING};
    struct runner *runner = NULL;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct cancel stopping;
    struct cancel halt;
    struct notes notes = {0};
    struct job_env env;
    struct varve_error err;
    unsigned tries;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    cancel_init(&stopping);
    cancel_init(&halt);
    env = env_of(&l, &stopping, &halt);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    capture_frozen_release(&m.frozen);
    e.run = m.run;
    e.vm = l.vm;
    assert_ok(journal_write(fs_system(), l.dir, &e, &err), &err);
    job_sweep(&env, NULL, &notes);
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    assert_ok(journal_remove(fs_system(), l.dir, &e.run, &err), &err);
    assert_ok(runner_new(&runner, &env, 1, &err), &err);
    assert_ok(runner_recover(runner, &err), &err);
    assert_ok(runner_go(runner, &err), &err);
    for (tries = 0; tries < 500 && refpoint_lab_checkpoints(&l) > 0; tries++) {
        thread_sleep_ms(10);
    }
    assert_true(runner_stop(runner, 5000));
    runner_free(runner);
    assert_int_equal(refpoint_lab_checkpoints(&l), 0);
    cancel_destroy(&stopping);
    cancel_destroy(&halt);
    refpoint_lab_close(&l);
}

/* ---- reference points that appear beside ours ---- */

static void
of_two_new_reference_points_ours_has_our_moment(void **state)
{
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    char refpoint[CAPTURE_ID_MAX];
    struct guid theirs;
    char id[GUID_TEXT_SIZE];

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    theirs = refpoint_lab_foreign(&l, true);
    refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_AFTER, 0x800706BAu, 1);
    assert_ok(l.capture->ops->keep(l.capture, &m.frozen, &none, NULL, &kept, &err), &err);
    guid_format_upper(&theirs, id);
    assert_null(strstr(kept.refpoint, id));
    assert_true(kept.change_ids[0][0] != '\0');
    /* A crash in between has no moment to compare: none is taken. */
    assert_err(
        l.capture->ops->find_kept(l.capture, &l.vm, m.frozen.checkpoint, &none, refpoint, &err),
        VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "2 reference points"));
    capture_frozen_release(&m.frozen);
    assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, NULL, &err), &err);
    assert_int_equal(refpoint_lab_points(&l), 1);
    capture_kept_release(&kept);
    refpoint_lab_settle(&l);
    refpoint_lab_close(&l);
}

/* Not knowing which is worse than a point without a successor. */
static void
of_two_new_reference_points_none_is_taken_when_nothing_tells_them_apart(void **state)
{
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    for (i = 0; i < m.frozen.disk_count; i++) {
        m.frozen.disks[i].change_id[0] = '\0'; /* the disks did not say */
    }
    (void)refpoint_lab_foreign(&l, true);
    refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_AFTER, 0x80041001u, 1);
    assert_err(l.capture->ops->keep(l.capture, &m.frozen, &none, NULL, &kept, &err), VARVE_ERR_IO,
               &err);
    assert_int_equal(refpoint_lab_points(&l), 2); /* nothing was destroyed on suspicion */
    capture_frozen_release(&m.frozen);
    refpoint_lab_settle(&l);
    refpoint_lab_close(&l);
}

/* Ours was not made: its checkpoint is there. */
static void
a_new_reference_point_is_not_ours_while_our_checkpoint_stands(void **state)
{
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    char refpoint[CAPTURE_ID_MAX];

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    (void)refpoint_lab_foreign(&l, true);
    assert_err(
        l.capture->ops->find_kept(l.capture, &l.vm, m.frozen.checkpoint, &none, refpoint, &err),
        VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "was not converted"));
    refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_BEFORE, 0x80041001u, 1);
    assert_err(l.capture->ops->keep(l.capture, &m.frozen, &none, NULL, &kept, &err), VARVE_ERR_IO,
               &err);
    assert_int_equal(refpoint_lab_points(&l), 1); /* theirs */
    refpoint_lab_end(&l, &m);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

/* An older one is somebody else's, whatever became of our checkpoint; of a new one nobody can say so while the host does
 * not tell whether our checkpoint stands. */
static void
a_reference_point_is_ours_only_when_it_is_new_and_our_checkpoint_gone(void **state)
{
    struct capture_marks before = {0};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    char refpoint[CAPTURE_ID_MAX];

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l, true);
    assert_ok(l.capture->ops->marks(l.capture, &l.vm, &before, &err), &err);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_ok(l.capture->ops->abort(l.capture, &l.vm, m.frozen.checkpoint, NULL, &err), &err);
    assert_err(
        l.capture->ops->find_kept(l.capture, &l.vm, m.frozen.checkpoint, &before, refpoint, &err),
        VARVE_ERR_NOT_FOUND, &err);
    capture_frozen_release(&m.frozen);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    (void)refpoint_lab_foreign(&l, true);
    refpoint_lab_fail(&l, "wmi assoc Msvm_SnapshotOfVirtualSystem", PORT_FAULT_BEFORE, 0x80041001u,
                      1);
    assert_err(
        l.capture->ops->find_kept(l.capture, &l.vm, m.frozen.checkpoint, &before, refpoint, &err),
        VARVE_ERR_IO, &err);
    refpoint_lab_end(&l, &m);
    capture_marks_release(&before);
    refpoint_lab_check_clean(&l);
    refpoint_lab_close(&l);
}

static void
reference_points_of_replica_are_none_of_ours(void **state)
{
    const struct wmi_fake_options options = {.log_points = true};
    struct capture_marks marks = {0};
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, &options, REFPOINT_APPLICATION);
    assert_ok(l.capture->ops->marks(l.capture, &l.vm, &marks, &err), &err);
    assert_int_equal(marks.count, 0);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_fail(&l, "wmi exec ConvertToReferencePoint", PORT_FAULT_AFTER, 0x800706BAu, 1);
    assert_ok(l.capture->ops->keep(l.capture, &m.frozen, &none, NULL, &kept, &err), &err);
    assert_null(strstr(kept.refpoint, "AAAAAAAA"));
    capture_frozen_release(&m.frozen);
    capture_kept_release(&kept);
    refpoint_lab_settle(&l);
    refpoint_lab_close(&l);
}

/* ---- no more of them ---- */

static void
a_full_list_of_reference_points_or_checkpoints_is_named(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct sim_options o;
    struct varve_error why;
    struct sim_error err;
    unsigned i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    o = l.host->options;
    o.max_refpoints = 1;
    must_work(host_set_options(l.host, &o, &err));
    (void)refpoint_lab_foreign(&l, true);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_err(refpoint_lab_keep(&l, &m, NULL, &why), VARVE_ERR_IO, &why);
    assert_non_null(strstr(why.msg, "reference points already"));
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    refpoint_lab_end(&l, &m);
    assert_int_equal(refpoint_lab_points(&l), 1);
    for (i = 0; i < 50; i++) {
        (void)user_checkpoint(&l, "one more");
    }
    assert_err(refpoint_lab_begin(&l, &m, 2, NULL, &why), VARVE_ERR_IO, &why);
    assert_non_null(strstr(why.msg, "50 checkpoints already"));
    assert_int_equal(refpoint_lab_checkpoints(&l), 50);
    refpoint_lab_close(&l);
}

/* ---- checkpoints of people ---- */

static void
checkpoints_of_people_may_stand_below_and_above_ours(void **state)
{
    struct capture_kept kept;
    struct extent_list list;
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct notes notes = {0};
    struct varve_error err;
    uint8_t *before;
    uint8_t *after;
    uint64_t done = 0;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_write(&l, 0, 0);
    (void)user_checkpoint(&l, "below");
    refpoint_lab_write(&l, 0, 65536);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_write(&l, 0, 131072);
    (void)user_checkpoint(&l, "above");
    assert_ok(refpoint_lab_keep(&l, &m, &kept, &err), &err);
    assert_ok(l.capture->ops->wait_merged(l.capture, &l.vm, 5000, NULL, &notes, &err), &err);
    assert_int_equal(refpoint_lab_checkpoints(&l), 2); /* both of people */
    before = refpoint_lab_content(&l, 0);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    extent_list_init(&list, 100);
    assert_ok(l.capture->ops->changes(l.capture, &m.frozen, 0, kept.change_ids[0], 0, LAB_DISK_SIZE,
                                      &list, &done, &err),
              &err);
    assert_int_equal(done, LAB_DISK_SIZE);
    assert_int_equal(extent_list_bytes(&list),
                     65536); /* since the first of ours, not since theirs */
    assert_int_equal(list.items[0].offset, 131072);
    extent_list_release(&list);
    refpoint_lab_end(&l, &m);
    assert_int_equal(refpoint_lab_checkpoints(&l), 2);
    after = refpoint_lab_content(&l, 0);
    assert_memory_equal(before, after, LAB_DISK_SIZE);
    free(before);
    free(after);
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
}

/* Below a person's checkpoint no file of the vm's own says it: only its status does. */
static void
a_merge_below_a_checkpoint_of_a_person_is_waited_for(void **state)
{
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct sim_options o;
    struct notes notes = {0};
    struct cancel end;
    struct varve_error why;
    struct sim_error err;
    unsigned i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    o = l.host->options;
    o.merge_mib_per_s = 1;
    must_work(host_set_options(l.host, &o, &err));
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    for (i = 0; i < 32; i++) {
        refpoint_lab_write_both(&l);
    }
    (void)user_checkpoint(&l, "above");
    assert_ok(l.capture->ops->abort(l.capture, &l.vm, m.frozen.checkpoint, NULL, &why), &why);
    capture_frozen_release(&m.frozen);
    assert_true(vm_merging(refpoint_lab_vm(&l)));
    cancel_init(&end);
    cancel_set(&end); /* the agent is to end */
    assert_err(l.capture->ops->wait_merged(l.capture, &l.vm, 20000, &end, &notes, &why),
               VARVE_ERR_CANCELLED, &why);
    cancel_destroy(&end);
    assert_ok(l.capture->ops->wait_merged(l.capture, &l.vm, 20000, NULL, &notes, &why), &why);
    assert_false(vm_merging(refpoint_lab_vm(&l)));
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_whose_run_nobody_knows_is_removed),
        cmocka_unit_test(what_cannot_be_proved_to_be_ours_is_told_and_left),
        cmocka_unit_test(a_nameless_checkpoint_is_ours_only_when_all_of_it_says_so),
        cmocka_unit_test(of_two_runs_each_finds_its_own_checkpoint),
        cmocka_unit_test(what_could_not_be_undone_is_known_when_the_host_is_back),
        cmocka_unit_test(two_agents_on_one_host_leave_each_other_alone),
        cmocka_unit_test(an_agent_knows_itself_after_a_restart),
        cmocka_unit_test(an_agent_that_starts_sweeps_what_its_journal_has_not),
        cmocka_unit_test(of_two_new_reference_points_ours_has_our_moment),
        cmocka_unit_test(of_two_new_reference_points_none_is_taken_when_nothing_tells_them_apart),
        cmocka_unit_test(a_new_reference_point_is_not_ours_while_our_checkpoint_stands),
        cmocka_unit_test(a_reference_point_is_ours_only_when_it_is_new_and_our_checkpoint_gone),
        cmocka_unit_test(reference_points_of_replica_are_none_of_ours),
        cmocka_unit_test(a_full_list_of_reference_points_or_checkpoints_is_named),
        cmocka_unit_test(checkpoints_of_people_may_stand_below_and_above_ours),
        cmocka_unit_test(a_merge_below_a_checkpoint_of_a_person_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
