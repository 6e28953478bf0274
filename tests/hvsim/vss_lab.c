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
    struct job_request *r = &l->job.request;
    struct peer_fake_seen seen;
    size_t i;

    peer_fake_seen(l->job.fake, &seen);
    if (!seen.committed) {
        return;
    }
    job_request_release(r);
    r->vm = l->hv.vm;
    r->base = calloc(2, sizeof(*r->base));
    assert_non_null(r->base);
    r->base_count = 2;
    (void)snprintf(r->base_refpoint, sizeof(r->base_refpoint), "%s", seen.reference_point);
    for (i = 0; i < 2; i++) {
        r->base[i].id = l->hv.disks[i];
        r->base[i].size = LAB_DISK_SIZE;
        (void)snprintf(r->base[i].change_id, sizeof(r->base[i].change_id), "%s", seen.change_id[i]);
    }
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
    refpoint_lab_write(&l->hv, 0, 65536 * (uint64_t)(l->hv.writes % 30));
    refpoint_lab_write(&l->hv, 1, 65536 * (uint64_t)((l->hv.writes * 7) % 30));
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
