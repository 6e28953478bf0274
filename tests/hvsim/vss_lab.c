/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vss_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct vss_lab *l = arg;

    if (l->guest_writes) {
        refpoint_lab_write(&l->hv, (unsigned)disk, 65536 * 3);
    }
    return source_file_open(out, fs_system(), frozen->disks[disk].path, frozen->allow_raw, err);
}

void
vss_lab_capture(struct vss_lab *l)
{
    struct vss_options o = {
        .fs = &l->job.fs,
        .host_fs = fs_system(),
        .state_dir = "/state",
        .no_saved_state = l->no_saved_state,
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .call_ms = 5000,
        .busy_ms = 20,
        .pause_ms = 1};
    struct varve_error err;

    o.vss = l->vss;
    o.wmi = l->hv.wmi;
    assert_ok(capture_vss_open(&l->capture, &o, &err), &err);
    l->job.env.capture = l->capture;
}

void
vss_lab_reopen(struct vss_lab *l)
{
    capture_close(l->capture);
    vss_port_close(l->vss);
    l->vss = vss_fake_new(&l->hv.script, &l->options);
    vss_lab_capture(l);
}

void
vss_lab_open(struct vss_lab *l)
{
    const struct wmi_fake_options wmi_options = {0};

    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, &wmi_options, REFPOINT_APPLICATION, &l->job.fs, "/state");
    l->hv.script.dead = &l->job.dead;
    l->vss = vss_fake_new(&l->hv.script, &l->options);
    vss_lab_capture(l);
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
    l->job.request.vm = l->hv.vm;
}

void
vss_lab_close(struct vss_lab *l)
{
    capture_close(l->capture);
    vss_port_close(l->vss);
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

struct sim_vm *
vss_lab_vm(struct vss_lab *l)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->hv.host, &l->hv.vm, &vm, &err));
    return vm;
}

void
vss_lab_take_base(struct vss_lab *l)
{
    lab_take_base_of(&l->job, &l->hv.vm);
}

void
vss_lab_check_point(struct vss_lab *l)
{
    const struct sim_vm *vm = vss_lab_vm(l);
    const struct sim_truth *t = &vm->truths[vm->truth_count - 1];
    uint8_t *got = malloc(LAB_DISK_SIZE);
    uint8_t *want = malloc(LAB_DISK_SIZE);
    unsigned i;

    assert_non_null(got);
    assert_non_null(want);
    for (i = 0; i < 2; i++) {
        char *path = truth_file(vm, &t->checkpoint, &l->hv.disks[i]);
        FILE *f = fopen(path, "rb");

        assert_non_null(f);
        assert_int_equal(fread(want, 1, LAB_DISK_SIZE, f), LAB_DISK_SIZE);
        (void)fclose(f);
        free(path);
        assert_true(peer_fake_content(l->job.fake, i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
    }
    free(got);
    free(want);
}

static void
count_run(void *arg, const struct guid *run)
{
    (void)run;
    (*(size_t *)arg)++;
}

void
vss_lab_check_clean(struct vss_lab *l, bool names)
{
    const struct sim_vm *vm = vss_lab_vm(l);
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(&l->hv);
    assert_int_equal(l->hv.host->vss.count, 0);
    assert_int_equal(vss_fake_open_count(l->vss), 0);
    assert_string_equal(l->hv.script.violation, "");
    assert_int_equal(vm->state, SIM_VM_RUNNING);
    assert_int_equal(vm->checkpoint_count, 0);
    assert_int_equal(refpoint_lab_files(&l->hv), 2);
    assert_ok(names_list(&l->job.fs, "/state", &l->hv.vm, count_run, &count, &err), &err);
    assert_int_equal(count, names ? 2 : 0);
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

void
vss_lab_write(struct vss_lab *l)
{
    refpoint_lab_write_both(&l->hv);
}

void
vss_lab_good_run(struct vss_lab *l)
{
    struct varve_error err;

    assert_ok(lab_run(&l->job, &err), &err);
    vss_lab_check_point(l);
    vss_lab_check_clean(l, true);
    vss_lab_take_base(l);
}

void
vss_lab_check_end(struct vss_lab *l, enum varve_err rc, const struct varve_error *err)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    if (rc == VARVE_OK) {
        vss_lab_check_point(l);
        vss_lab_check_clean(l, seen.reference_point[0] != '\0');
    } else {
        assert_true(err->msg[0] != '\0');
        vss_lab_check_clean(l, l->job.request.base_refpoint[0] != '\0');
    }
    vss_lab_take_base(l);
}

static void
faults_write(void *arg)
{
    vss_lab_write(arg);
}

static void
faults_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    vss_lab_check_end(arg, rc, err);
}

static void
faults_good_run(void *arg)
{
    vss_lab_good_run(arg);
}

static void
faults_restart(void *arg)
{
    struct vss_lab *l = arg;

    capture_close(l->capture);
    sim_vss_caller_gone(l->hv.host, 0);
    vss_lab_capture(l);
}

struct fault_lab
vss_lab_faults(struct vss_lab *l)
{
    const struct fault_lab f = {.arg = l,
                                .job = &l->job,
                                .script = &l->hv.script,
                                .prepare = faults_write,
                                .check_end = faults_check,
                                .good_run = faults_good_run,
                                .restart = faults_restart};

    return f;
}
