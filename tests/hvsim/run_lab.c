/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/run_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/source_virtdisk.h"

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct run_lab *l = arg;

    return source_virtdisk_open(out, l->hv.vdisk, &l->hv.files.base, frozen->disks[disk].path, err);
}

static void
said(void *arg, const char *what)
{
    struct run_lab *l = arg;

    port_script_note(&l->hv.script, "collector %s", what);
}

static void
use_host(struct run_lab *l)
{
    l->job.env.capture = l->hv.capture;
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
}

void
run_lab_open(struct run_lab *l, const struct wmi_fake_options *options,
             enum refpoint_consistency consistency)
{
    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, options, consistency, &l->job.fs, "/state");
    l->hv.script.dead = &l->job.dead;
    l->job.said = said;
    l->job.said_arg = l;
    use_host(l);
    l->job.request.vm = l->hv.vm;
}

void
run_lab_close(struct run_lab *l)
{
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

void
run_lab_write(struct run_lab *l)
{
    const struct sim_vm *vm = refpoint_lab_vm(&l->hv);
    size_t i;

    for (i = 0; i < vm->disk_count; i++) {
        uint64_t places = vm->disks[i].size / 65536 - 1;
        const struct sim_extent e = {65536 * (l->hv.writes * (i == 1 ? 7u : 1u) % places), 4096};
        struct sim_error err;

        mutex_lock(&l->hv.lock);
        must_work(guest_write(l->hv.host, &l->hv.vm, &vm->disks[i].id, &e, 1, NULL, ++l->hv.writes,
                              &err));
        mutex_unlock(&l->hv.lock);
    }
}

/* ---- others ---- */

static void
remember(struct run_lab *l, const struct guid *id)
{
    assert_true(l->other_count < RUN_LAB_OTHERS);
    l->others[l->other_count++] = *id;
}

struct guid
run_lab_other(struct run_lab *l, bool refpoint)
{
    struct guid id = refpoint_lab_foreign(&l->hv, refpoint);

    remember(l, &id);
    return id;
}

struct guid
run_lab_finish(struct run_lab *l, const struct guid *job)
{
    struct guid id;

    mutex_lock(&l->hv.lock);
    assert_int_equal(test_finish_job(l->hv.host, job, &id), SIM_OK);
    mutex_unlock(&l->hv.lock);
    return id;
}

struct guid
run_lab_person(struct run_lab *l, const char *name)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    mutex_lock(&l->hv.lock);
    must_work(
        checkpoint_create(l->hv.host, &l->hv.vm, SIM_CHECKPOINT_USER, SIM_CRASH, name, &job, &err));
    mutex_unlock(&l->hv.lock);
    id = run_lab_finish(l, &job);
    remember(l, &id);
    return id;
}

void
run_lab_other_ends(struct run_lab *l, const struct guid *id)
{
    struct sim_checkpoint *cp = NULL;
    struct sim_vm *vm = NULL;
    struct sim_error err;
    struct guid job;
    size_t i;

    mutex_lock(&l->hv.lock);
    if (find_checkpoint(l->hv.host, id, &vm, &cp, &err) == SIM_OK) {
        must_work(checkpoint_destroy(l->hv.host, id, &job, &err));
    } else {
        must_work(refpoint_destroy(l->hv.host, id, &job, &err));
    }
    mutex_unlock(&l->hv.lock);
    (void)run_lab_finish(l, &job);
    refpoint_lab_settle(&l->hv);
    for (i = 0; i < l->other_count; i++) {
        if (guid_equal(&l->others[i], id)) {
            l->others[i] = l->others[--l->other_count];
            break;
        }
    }
}

/* ---- what a run leaves ---- */

void
run_lab_take_base(struct run_lab *l)
{
    lab_take_base_of(&l->job, &l->hv.vm);
}

/* By its reference point, or by the run's name: a run that died in between may have either one only. */
static const struct sim_truth *
truth_of_run(struct run_lab *l)
{
    const struct sim_vm *vm = refpoint_lab_vm(&l->hv);
    struct peer_fake_seen seen;
    struct guid refpoint = {0};
    char id[GUID_TEXT_SIZE];
    char tag[64];
    size_t i;

    peer_fake_seen(l->job.fake, &seen);
    if (seen.reference_point[0] != '\0') {
        assert_true(guid_parse(&refpoint, strchr(seen.reference_point, ':') + 1));
    }
    guid_format(&l->job.request.run, id);
    (void)snprintf(tag, sizeof(tag), "varve run %s", id);
    for (i = vm->truth_count; i-- > 0;) {
        if ((!guid_is_zero(&refpoint) && guid_equal(&vm->truths[i].refpoint, &refpoint)) ||
            strncmp(vm->truths[i].tag, tag, strlen(tag)) == 0) { /* " of OWNER" follows */
            return &vm->truths[i];
        }
    }
    fail_msg("no moment is called '%s'", tag);
    return NULL;
}

static void
check_content(struct run_lab *l, const struct sim_truth *truth, uint32_t place,
              const struct guid *disk, uint64_t size)
{
    char *path = truth_file(refpoint_lab_vm(&l->hv), &truth->checkpoint, disk);
    uint8_t *want = malloc(size);
    uint8_t *got = malloc(size);
    FILE *f = fopen(path, "rb");

    assert_non_null(want);
    assert_non_null(got);
    assert_non_null(f);
    assert_int_equal(fread(want, 1, size, f), size);
    assert_int_equal(fgetc(f), EOF);
    (void)fclose(f);
    assert_true(peer_fake_content(l->job.fake, place, got, size));
    assert_memory_equal(got, want, size);
    free(want);
    free(got);
    free(path);
}

void
run_lab_check_point(struct run_lab *l)
{
    const struct sim_truth *truth = truth_of_run(l);
    struct peer_fake_seen seen;
    uint32_t i;

    peer_fake_seen(l->job.fake, &seen);
    assert_true(seen.committed);
    assert_int_equal(seen.disk_count, truth->disk_count);
    for (i = 0; i < seen.disk_count; i++) {
        check_content(l, truth, i, &seen.disk_id[i], seen.disk_size[i]);
    }
}

static bool
is_others(const struct run_lab *l, const struct guid *id)
{
    size_t i;

    for (i = 0; i < l->other_count; i++) {
        if (guid_equal(&l->others[i], id)) {
            return true;
        }
    }
    return false;
}

void
run_lab_check_clean(struct run_lab *l, size_t points)
{
    const struct sim_vm *vm = refpoint_lab_vm(&l->hv);
    struct guid *runs = NULL;
    struct varve_error err;
    size_t theirs = 0;
    size_t ours = 0;
    size_t count = 0;
    size_t i;

    refpoint_lab_settle(&l->hv);
    for (i = 0; i < vm->checkpoint_count; i++) {
        theirs += is_others(l, &vm->checkpoints[i].id);
    }
    assert_int_equal(vm->checkpoint_count, theirs);
    for (i = 0; i < vm->refpoint_count; i++) {
        if (is_others(l, &vm->refpoints[i].id)) {
            theirs++;
        } else {
            ours++;
        }
    }
    assert_int_equal(theirs, l->other_count);
    assert_int_equal(ours, points);
    assert_int_equal(refpoint_lab_files(&l->hv), vm->disk_count * (1 + vm->checkpoint_count));
    assert_int_equal(vdisk_fake_open_count(l->hv.vdisk), 0);
    assert_string_equal(l->hv.script.violation, "");
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

void
run_lab_check_end(struct run_lab *l, enum varve_err rc, const struct varve_error *err)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    if (rc == VARVE_OK) {
        run_lab_check_point(l);
        run_lab_check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        assert_true(err->msg[0] != '\0');
        run_lab_check_clean(l, l->job.request.base_refpoint[0] != '\0' ? 1 : 0);
    }
    run_lab_take_base(l);
}

void
run_lab_good_run(struct run_lab *l)
{
    struct varve_error err;
    struct sim_error why;

    assert_ok(lab_run(&l->job, &err), &err);
    run_lab_check_point(l);
    run_lab_check_clean(l, 1);
    run_lab_take_base(l);
    assert_int_equal(truth_drop(refpoint_lab_vm(&l->hv), NULL, &why), SIM_OK);
}

void
run_lab_check_disk(struct run_lab *l, const struct guid *disk, const char *reason)
{
    struct peer_fake_seen seen;
    size_t i;

    peer_fake_seen(l->job.fake, &seen);
    for (i = 0; i < seen.disk_count && !guid_equal(&seen.disk_id[i], disk); i++) {
    }
    assert_true(i < seen.disk_count);
    if (seen.incremental[i] != (reason == NULL) ||
        (reason != NULL && strstr(seen.reason[i], reason) == NULL)) {
        fail_msg("disk %zu is %s: '%s'; wanted: %s", i,
                 seen.incremental[i] ? "incremental" : "read as a whole", seen.reason[i],
                 reason != NULL ? reason : "incremental");
    }
}

/* ---- the agent dies ---- */

void
run_lab_restart(struct run_lab *l, uint64_t power)
{
    l->hv.script.die = false;
    l->hv.script.nth = 0;
    if (power > 0) {
        mem_fs_power_cut(l->job.disk, power);
    }
    lab_be(&l->job, 0);
    use_host(l);
    lab_recover(&l->job);
}

void
run_lab_event(struct run_lab *l, unsigned nth, void (*event)(void *arg), void *arg)
{
    l->hv.script.mode = PORT_FAULT_EVENT;
    l->hv.script.event = event;
    l->hv.script.event_arg = arg;
    l->hv.script.times = 1;
    l->hv.script.nth = nth;
}

void
run_lab_after_a_death(struct run_lab *l, uint64_t power)
{
    const struct varve_error died = {.msg = "the agent died"};
    struct peer_fake_seen seen;

    run_lab_restart(l, power);
    peer_fake_seen(l->job.fake, &seen);
    run_lab_check_end(l, seen.committed ? VARVE_OK : VARVE_ERR_IO, &died);
    run_lab_good_run(l);
}

/* ---- loops ---- */

static void
faults_write(void *arg)
{
    run_lab_write(arg);
}

static void
faults_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    run_lab_check_end(arg, rc, err);
}

static void
faults_good_run(void *arg)
{
    run_lab_good_run(arg);
}

struct fault_lab
run_lab_faults(struct run_lab *l)
{
    const struct fault_lab f = {.arg = l,
                                .job = &l->job,
                                .script = &l->hv.script,
                                .prepare = faults_write,
                                .check_end = faults_check,
                                .good_run = faults_good_run};

    return f;
}
