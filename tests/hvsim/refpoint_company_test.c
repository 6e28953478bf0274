/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/refpoint/refpoint_internal.h"

/*
 * Somebody else on the same vm: another backup program, and people with checkpoints of their own, between our runs and
 * during them; and what holds up a merge. Nothing of theirs is ever touched, and our chain is right or read again.
 */

static const struct wmi_fake_options plain = {0};

static void
open_with_a_point(struct run_lab *l)
{
    run_lab_open(l, &plain, REFPOINT_APPLICATION);
    run_lab_write(l);
    run_lab_good_run(l);
}

static void
assert_incremental(struct run_lab *l)
{
    run_lab_check_disk(l, &l->hv.disks[0], NULL);
    run_lab_check_disk(l, &l->hv.disks[1], NULL);
}

static size_t
warnings(struct run_lab *l)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->job.fake, &seen);
    return seen.warnings;
}

/* ---- between runs ---- */

static void
another_programs_chain_and_ours_go_on_side_by_side(void **state)
{
    struct guid theirs[4];
    struct run_lab l;

    (void)state;
    open_with_a_point(&l);
    for (unsigned i = 0; i < 4; i++) {
        run_lab_write(&l);
        theirs[i] = run_lab_other(&l, true);
        run_lab_write(&l);
        run_lab_good_run(&l);
        assert_incremental(&l);
        if (i % 2 == 1) { /* it keeps the one before as well, for a while */
            run_lab_other_ends(&l, &theirs[i - 1]);
        }
        run_lab_write(&l);
        run_lab_good_run(&l);
        assert_incremental(&l);
    }
    run_lab_close(&l);
}

static void
checkpoints_of_people_lie_below_and_above_ours(void **state)
{
    struct guid first;
    struct guid second;
    struct run_lab l;

    (void)state;
    open_with_a_point(&l);
    first = run_lab_person(&l, "before");
    for (unsigned i = 0; i < 2; i++) {
        run_lab_write(&l);
        run_lab_good_run(&l);
        assert_incremental(&l);
    }
    run_lab_write(&l);
    second = run_lab_person(&l, "after");
    run_lab_write(&l);
    run_lab_good_run(&l);
    assert_incremental(&l);
    run_lab_other_ends(&l, &first); /* merges below what we ask about */
    run_lab_write(&l);
    run_lab_good_run(&l);
    assert_incremental(&l);
    run_lab_other_ends(&l, &second);
    run_lab_write(&l);
    run_lab_good_run(&l);
    assert_incremental(&l);
    run_lab_close(&l);
}

/* ---- during runs ---- */

struct somebody {
    struct run_lab *l;
    unsigned kind;
    struct guid refpoint;   /* made before the run, to be destroyed during it */
    struct guid checkpoint; /* likewise */
    unsigned acts[5];
};

static void
forget_other(struct run_lab *l, const struct guid *id)
{
    for (size_t i = 0; i < l->other_count; i++) {
        if (guid_equal(&l->others[i], id)) {
            l->others[i] = l->others[--l->other_count];
        }
    }
}

/* What they ask for may be refused, as on a host that is busy with our request. */
static bool
make(struct run_lab *l, enum sim_checkpoint_type type, bool convert)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    if (checkpoint_create(l->hv.host, &l->hv.vm, type, SIM_CRASH, "Other backup", &job, &err) !=
            SIM_OK ||
        test_finish_job(l->hv.host, &job, &id) != SIM_OK) {
        return false;
    }
    if (convert && (refpoint_convert(l->hv.host, &id, &job, &err) != SIM_OK ||
                    test_finish_job(l->hv.host, &job, &id) != SIM_OK)) {
        fail_msg("the other program lost its checkpoint");
    }
    l->others[l->other_count++] = id;
    return true;
}

static void
act(void *arg)
{
    struct somebody *s = arg;
    struct run_lab *l = s->l;
    struct sim_error err;
    struct guid job;
    bool done = false;

    mutex_lock(&l->hv.lock);
    switch (s->kind) {
    case 0:
        done = make(l, SIM_CHECKPOINT_RECOVERY, true);
        break;
    case 1:
        done = make(l, SIM_CHECKPOINT_RECOVERY, false);
        break;
    case 2:
        done = make(l, SIM_CHECKPOINT_USER, false);
        break;
    case 3:
        done = refpoint_destroy(l->hv.host, &s->refpoint, &job, &err) == SIM_OK &&
               test_finish_job(l->hv.host, &job, NULL) == SIM_OK;
        if (done) {
            forget_other(l, &s->refpoint);
        }
        break;
    default:
        done = checkpoint_destroy(l->hv.host, &s->checkpoint, &job, &err) == SIM_OK &&
               test_finish_job(l->hv.host, &job, NULL) == SIM_OK;
        if (done) {
            forget_other(l, &s->checkpoint);
        }
        break;
    }
    mutex_unlock(&l->hv.lock);
    s->acts[s->kind] += done;
}

static void
somebody_acts_at_any_call_of_a_run(void **state)
{
    const unsigned stride = getenv("VARVE_FAULTS") != NULL ? 1 : 3;
    struct somebody s = {0};
    struct run_lab l;
    unsigned good = 0;
    unsigned runs = 0;
    bool happened = true;

    (void)state;
    s.l = &l;
    open_with_a_point(&l);
    for (unsigned nth = 1; happened && nth < 1000; nth += stride) {
        struct varve_error err;
        enum varve_err rc;

        s.kind = (nth / stride) % 5;
        s.refpoint = run_lab_other(&l, true);
        s.checkpoint = run_lab_other(&l, false);
        run_lab_write(&l);
        run_lab_event(&l, nth, act, &s);
        rc = lab_run(&l.job, &err);
        happened = l.hv.script.nth == 0;
        l.hv.script.nth = 0;
        run_lab_check_end(&l, rc, &err);
        good += rc == VARVE_OK;
        runs++;
        while (l.other_count > 0) {
            run_lab_other_ends(&l, &l.others[0]);
        }
        run_lab_write(&l);
        run_lab_good_run(&l);
    }
    print_message("%u runs, %u good; they acted %u %u %u %u %u times\n", runs, good, s.acts[0],
                  s.acts[1], s.acts[2], s.acts[3], s.acts[4]);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(s.acts[i] >= 3);
    }
    assert_true(good >= runs * 3 / 4);
    run_lab_close(&l);
}

/* ---- merges ---- */

static void
on_call(struct run_lab *l, const char *call, void (*event)(void *arg), void *arg)
{
    run_lab_event(l, 1, event, arg);
    (void)snprintf(l->hv.script.only, sizeof(l->hv.script.only), "%s", call);
}

struct holder {
    char *path;
    int fd;
};

static void
hold(void *arg)
{
    struct holder *h = arg;

    h->fd = open(h->path, O_RDONLY | O_CLOEXEC);
    assert_true(h->fd >= 0);
}

static void
a_file_that_somebody_holds_open_delays_the_merge_and_is_reported(void **state)
{
    struct holder h = {0};
    struct varve_error err;
    struct run_lab l;
    struct sim_vm *vm;

    (void)state;
    open_with_a_point(&l);
    vm = refpoint_lab_vm(&l.hv);
    h.path = vm_disk_path(vm, &vm->disks[0].files[0]);
    run_lab_write(&l);
    on_call(&l, "wmi exec ConvertToReferencePoint", hold, &h);
    l.job.env.merge_ms = 50;
    assert_ok(lab_run(&l.job, &err), &err);
    l.hv.script.only[0] = '\0';
    assert_int_equal(warnings(&l), 1); /* the point is good, the merge is not done */
    run_lab_check_point(&l);
    run_lab_take_base(&l);
    assert_int_equal(refpoint_lab_files(&l.hv), 3);

    ((struct refpoint *)l.hv.capture)->busy_ms = 50;
    assert_err(lab_run(&l.job, &err), VARVE_ERR_BUSY, &err);
    assert_int_equal(err.native, SIM_SHARING);
    assert_int_equal(refpoint_lab_checkpoints(&l.hv), 0);
    assert_int_equal(refpoint_lab_points(&l.hv), 1);
    assert_int_equal(close(h.fd), 0);
    free(h.path);

    ((struct refpoint *)l.hv.capture)->busy_ms = 5000;
    l.job.env.merge_ms = 5000;
    run_lab_write(&l);
    run_lab_good_run(&l);
    assert_incremental(&l);
    assert_int_equal(warnings(&l), 0);
    run_lab_close(&l);
}

static void
stop_merging(void *arg)
{
    struct run_lab *l = arg;
    struct sim_error err;

    mutex_lock(&l->hv.lock);
    must_work(vm_set(l->hv.host, &l->hv.vm, NULL, -1, -1, 0, &err));
    mutex_unlock(&l->hv.lock);
}

static void
merging_that_another_program_stopped_is_started_by_this_run_or_the_next(void **state)
{
    struct varve_error err;
    struct run_lab l;

    (void)state;
    open_with_a_point(&l);
    run_lab_write(&l);
    on_call(&l, "wmi exec ConvertToReferencePoint", stop_merging, &l);
    assert_ok(lab_run(&l.job, &err), &err);
    l.hv.script.only[0] = '\0';
    assert_int_equal(warnings(&l), 1);
    run_lab_check_point(&l);
    run_lab_check_clean(&l, 1);
    run_lab_take_base(&l);

    /* Stopped after this run had looked: its merge does not come to an end. */
    run_lab_write(&l);
    on_call(&l, "wmi query Msvm_DiskMergeSettingData", stop_merging, &l);
    l.hv.script.mode = PORT_FAULT_BEFORE;
    l.hv.script.number = 0x80041001u;
    stop_merging(&l);
    l.job.env.merge_ms = 50;
    assert_ok(lab_run(&l.job, &err), &err);
    l.hv.script.only[0] = '\0';
    assert_int_equal(l.hv.script.nth, 0);
    assert_int_equal(warnings(&l), 1);
    assert_int_equal(refpoint_lab_files(&l.hv), 4);
    run_lab_check_point(&l);
    run_lab_take_base(&l);

    l.job.env.merge_ms = 5000;
    run_lab_write(&l);
    run_lab_good_run(&l);
    assert_incremental(&l);
    assert_int_equal(warnings(&l), 1); /* it says what it found */
    run_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_programs_chain_and_ours_go_on_side_by_side),
        cmocka_unit_test(checkpoints_of_people_lie_below_and_above_ours),
        cmocka_unit_test(somebody_acts_at_any_call_of_a_run),
        cmocka_unit_test(a_file_that_somebody_holds_open_delays_the_merge_and_is_reported),
        cmocka_unit_test(merging_that_another_program_stopped_is_started_by_this_run_or_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
