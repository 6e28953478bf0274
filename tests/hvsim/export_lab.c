/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/export_lab.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct export_lab *l = arg;

    return capture_export_source(l->capture, frozen, disk, out, err);
}

void
export_lab_capture(struct export_lab *l, struct fs *host_fs)
{
    struct export_options o = {
        .fs = &l->job.fs,
        .host_fs = host_fs,
        .state_dir = "/state",
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .create_ms = 5000,
        .convert_ms = 5000,
        .export_ms = l->export_ms != 0 ? l->export_ms : 20000,
        .busy_ms = l->busy_ms != 0 ? l->busy_ms : 5000,
        .pause_ms = 1};
    struct varve_error err;

    o.wmi = l->hv.wmi;
    o.folder = l->share != NULL ? l->share : l->folder;
    o.server = l->server;
    assert_ok(capture_export_open(&l->capture, &o, &err), &err);
    l->job.env.capture = l->capture;
}

void
export_lab_open(struct export_lab *l)
{
    const struct wmi_fake_options options = {0};

    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    refpoint_lab_open(&l->hv, &options, REFPOINT_APPLICATION, &l->job.fs, "/state");
    l->hv.script.dead = &l->job.dead;
    l->folder = sim_printf("%s/exports", l->hv.dir);
    assert_int_equal(mkdir(l->folder, 0700), 0);
    export_lab_capture(l, fs_system());
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
    l->job.request.vm = l->hv.vm;
}

void
export_lab_close(struct export_lab *l)
{
    capture_close(l->capture);
    free(l->folder);
    refpoint_lab_close(&l->hv);
    lab_close(&l->job);
}

size_t
export_lab_folders(const struct export_lab *l)
{
    DIR *d = opendir(l->folder);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n - 2;
}

void
export_lab_take_base(struct export_lab *l)
{
    lab_take_base_of(&l->job, &l->hv.vm);
}

void
export_lab_check_point(struct export_lab *l)
{
    uint8_t *got = malloc(LAB_DISK_SIZE);
    unsigned i;

    assert_non_null(got);
    for (i = 0; i < 2; i++) {
        uint8_t *want = refpoint_lab_content(&l->hv, i);

        assert_true(peer_fake_content(l->job.fake, i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
        free(want);
    }
    free(got);
}

void
export_lab_check_clean(struct export_lab *l, size_t points)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(&l->hv);
    assert_int_equal(refpoint_lab_checkpoints(&l->hv), 0);
    assert_int_equal(refpoint_lab_points(&l->hv), points);
    assert_int_equal(refpoint_lab_files(&l->hv), 2);
    assert_string_equal(l->hv.script.violation, "");
    assert_int_equal(export_lab_folders(l), 0);
    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

void
export_lab_write(struct export_lab *l)
{
    refpoint_lab_write_both(&l->hv);
}

void
export_lab_good_run(struct export_lab *l)
{
    struct varve_error err;

    assert_ok(lab_run(&l->job, &err), &err);
    export_lab_check_point(l);
    export_lab_check_clean(l, 1);
    export_lab_take_base(l);
}

void
export_lab_check_end(struct export_lab *l, enum varve_err rc, const struct varve_error *err)
{
    struct peer_fake_seen seen;

    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    if (rc == VARVE_OK) {
        export_lab_check_point(l);
        export_lab_check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        assert_true(err->msg[0] != '\0');
        export_lab_check_clean(l, l->job.request.base_refpoint[0] != '\0' ? 1 : 0);
    }
    export_lab_take_base(l);
}

static void
faults_write(void *arg)
{
    export_lab_write(arg);
}

static void
faults_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    export_lab_check_end(arg, rc, err);
}

static void
faults_good_run(void *arg)
{
    export_lab_good_run(arg);
}

static void
faults_restart(void *arg)
{
    struct export_lab *l = arg;

    capture_close(l->capture); /* what it knew is gone */
    export_lab_capture(l, fs_system());
}

struct fault_lab
export_lab_faults(struct export_lab *l)
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

struct sim_vm *
export_lab_vm(struct export_lab *l)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->hv.host, &l->hv.vm, &vm, &err));
    return vm;
}
