/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/refpoint/refpoint_internal.h"
#include "hvsim/engine_internal.h"
#include "source/source_virtdisk.h"

/* What a host does to a run: no room, jobs that take too long, a VMMS that starts again, disks of every kind,
 * and another backup program at the same time. */

static void
assert_as_before(struct refpoint_lab *l, size_t checkpoints, size_t points)
{
    refpoint_lab_settle(l);
    assert_int_equal(refpoint_lab_checkpoints(l), checkpoints);
    assert_int_equal(refpoint_lab_points(l), points);
    assert_int_equal(vdisk_fake_open_count(l->vdisk), 0);
}

static void
fail_next(struct refpoint_lab *l, const char *op, enum sim_fault_phase phase)
{
    struct sim_fault f = {.times = 1, .hresult = SIM_NO_SPACE, .phase = phase};
    struct sim_error err;

    (void)snprintf(f.op, sizeof(f.op), "%s", op);
    must_work(fault_set(l->host, &f, &err));
}

/* ---- a full volume ---- */

static void
a_full_volume_is_named_and_leaves_nothing_behind(void **state)
{
    static const enum sim_fault_phase phases[] = {SIM_FAULT_CALL, SIM_FAULT_JOB};
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    for (i = 0; i < 2; i++) {
        fail_next(&l, "checkpoint.create", phases[i]);
        assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_NOSPACE, &err);
        assert_int_equal(err.native, SIM_NO_SPACE);
        assert_as_before(&l, 0, 0);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
        fail_next(&l, "refpoint.convert", phases[i]);
        assert_err(refpoint_lab_keep(&l, &m, NULL, &err), VARVE_ERR_NOSPACE, &err);
        assert_as_before(&l, 1, 0); /* as promised: the checkpoint is still there */
        refpoint_lab_end(&l, &m);
        assert_as_before(&l, 0, 0);
        assert_int_equal(refpoint_lab_files(&l), 2);
    }
    refpoint_lab_close(&l);
}

/* ---- jobs ---- */

static void
a_job_that_takes_too_long_is_stopped(void **state)
{
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_job_ms(&l, 60000);
    ((struct refpoint *)l.capture)->create_ms = 30;
    assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_IO, &err);
    assert_non_null(strstr(err.msg, "not done within"));
    refpoint_lab_job_ms(&l, 1);
    assert_as_before(&l, 0, 0);
    ((struct refpoint *)l.capture)->create_ms = 5000;
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

static void
a_cancelled_run_stops_its_job(void **state)
{
    struct cancel cancel;
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_job_ms(&l, 60000);
    cancel_init(&cancel);
    cancel_set(&cancel);
    assert_err(refpoint_lab_begin(&l, &m, 1, &cancel, &err), VARVE_ERR_CANCELLED, &err);
    cancel_destroy(&cancel);
    refpoint_lab_job_ms(&l, 1);
    assert_as_before(&l, 0, 0);
    refpoint_lab_close(&l);
}

/* Starts VMMS again as soon as a job is under way. */
static void
restart_in_a_job(void *arg)
{
    struct refpoint_lab *l = arg;
    struct sim_options o;
    struct sim_error err;
    bool done = false;

    while (!done) {
        mutex_lock(&l->lock);
        if (l->host->job_count > 0 && !job_finished(&l->host->jobs[l->host->job_count - 1])) {
            must_work(host_restart(l->host, false, &err));
            o = l->host->options;
            o.job_ms = 1;
            must_work(host_set_options(l->host, &o, &err));
            done = true;
        }
        mutex_unlock(&l->lock);
        thread_sleep_ms(1);
    }
}

static void
a_vmms_that_starts_again_forgets_the_job_and_the_run_goes_on(void **state)
{
    struct thread restarter;
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_job_ms(&l, 60000); /* nothing of it is done before the restart */
    assert_ok(thread_start(&restarter, "vmms", restart_in_a_job, &l, &err), &err);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    thread_join(&restarter);
    assert_as_before(&l, 1, 0);

    refpoint_lab_job_ms(&l, 60000);
    assert_ok(thread_start(&restarter, "vmms", restart_in_a_job, &l, &err), &err);
    assert_ok(refpoint_lab_keep(&l, &m, NULL, &err), &err);
    thread_join(&restarter);
    assert_as_before(&l, 0, 1);
    refpoint_lab_close(&l);
}

/* ---- disks of every kind ---- */

static void
a_fixed_disk_with_sectors_of_4_kib_is_read_and_tracked(void **state)
{
    const struct disk_spec spec = {.size = LAB_DISK_SIZE,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .fixed = true,
                                   .logical_sector = 4096,
                                   .physical_sector = 4096,
                                   .tracked = true};
    const struct sim_extent e = {1048576, 8192};
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct extent_list list;
    struct source_info info;
    struct source *s = NULL;
    struct refpoint_lab l;
    struct sim_error err;
    struct varve_error why;
    struct refpoint_moment m;
    uint8_t *buf = malloc(LAB_DISK_SIZE);
    uint8_t *want;
    uint64_t done;
    size_t at = 0;

    (void)state;
    assert_non_null(buf);
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    must_work(disk_add(l.host, &l.vm, &spec, &l.disks[1], &err));
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_ok(l.capture->ops->keep(l.capture, &m.frozen, &none, NULL, &kept, &why), &why);
    capture_frozen_release(&m.frozen);
    refpoint_lab_settle(&l);
    must_work(guest_write(l.host, &l.vm, &l.disks[1], &e, 1, NULL, 99, &err));
    want = refpoint_lab_content(&l, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
    assert_int_equal(m.frozen.disk_count, 3);
    while (!guid_equal(&m.frozen.disks[at].id, &l.disks[1])) {
        at++;
    }
    extent_list_init(&list, 100);
    assert_ok(l.capture->ops->changes(l.capture, &m.frozen, at, kept.change_ids[at], 0,
                                      LAB_DISK_SIZE, &list, &done, &why),
              &why);
    assert_int_equal(extent_list_bytes(&list), 65536);
    extent_list_release(&list);
    assert_ok(source_virtdisk_open(&s, l.vdisk, fs_system(), m.frozen.disks[at].path, &why), &why);
    source_get_info(s, &info);
    assert_int_equal(info.logical_sector, 4096);
    assert_ok(source_read(s, buf, LAB_DISK_SIZE, 0, &why), &why);
    assert_memory_equal(buf, want, LAB_DISK_SIZE);
    assert_ok(source_read(s, buf, 777, 1048577, &why), &why); /* the source aligns it */
    assert_memory_equal(buf, want + 1048577, 777);
    source_close(s);
    capture_kept_release(&kept);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
    free(want);
    free(buf);
}

static void
a_disk_shared_by_a_guest_cluster_is_listed_with_what_is_wrong(void **state)
{
    const struct wmi_fake_options options = {.shared = true};
    struct capture_inventory inv;
    struct refpoint_lab l;
    struct varve_error err;

    (void)state;
    refpoint_lab_start(&l, &options, REFPOINT_APPLICATION);
    assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
    assert_int_equal(inv.vms[0].disk_count, 2);
    assert_int_equal(inv.vms[0].disks[1].problem_code, VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(inv.vms[0].disks[1].problem, "guest cluster"));
    capture_inventory_release(&inv);
    refpoint_lab_close(&l);
}

/* ---- another backup program ---- */

static void
what_another_program_makes_during_our_run_is_never_touched(void **state)
{
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l, true);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    (void)refpoint_lab_foreign(&l, false); /* theirs stands above ours */
    refpoint_lab_end(&l, &m);
    assert_as_before(&l, 1, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    assert_ok(refpoint_lab_keep(&l, &m, NULL, &err), &err);
    assert_as_before(&l, 1, 2);
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_volume_is_named_and_leaves_nothing_behind),
        cmocka_unit_test(a_job_that_takes_too_long_is_stopped),
        cmocka_unit_test(a_cancelled_run_stops_its_job),
        cmocka_unit_test(a_vmms_that_starts_again_forgets_the_job_and_the_run_goes_on),
        cmocka_unit_test(a_fixed_disk_with_sectors_of_4_kib_is_read_and_tracked),
        cmocka_unit_test(a_disk_shared_by_a_guest_cluster_is_listed_with_what_is_wrong),
        cmocka_unit_test(what_another_program_makes_during_our_run_is_never_touched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
