/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "crypto/identity.h"

/* Vms that move, and hosts that both say they have one. */

static char running[] = "running";
static char nothing[] = "";
static char vm_name[] = "mail";
static char disk_name[] = "system.vhdx";
static char on_csv[] = "C:\\ClusterStorage\\Volume1\\mail\\system.vhdx";
static char on_drive[] = "D:\\vms\\system.vhdx";

/* Host n of the port, enrolled. */
static void
enrol(struct scene *s, uint8_t n)
{
    uint8_t secret[STATE_SECRET_SIZE];
    uint8_t key[STATE_KEY_SIZE];
    struct guid host;
    struct host h;
    char name[16];

    crypto_random(secret, sizeof(secret));
    crypto_random(key, sizeof(key));
    (void)snprintf(name, sizeof(name), "node-%u", n);
    assert_ok(state_host_invite(s->st, name, 1, 1000, secret, secret, &host, &err), &err);
    assert_ok(state_host_enrol(s->st, secret, key, 2, &h, &err), &err);
    host_release(&h);
    s->port.enrolled[n] = host;
}

static void
lists_disks(struct scene *s, uint8_t host, size_t vms, const char *path, bool shared)
{
    struct inv_disk disks[9]; /* of vm i: i, and when it is shared the last one */
    struct inv_disk both[8][2];
    struct inv_vm list[8];
    struct inventory inv;

    memset(&inv, 0, sizeof(inv));
    memset(list, 0, sizeof(list));
    memset(disks, 0, sizeof(disks));
    for (size_t i = 0; i < vms; i++) {
        disks[i].id = guid_of(4, (uint8_t)(i + 1));
        disks[i].name = disk_name;
        disks[i].path = (char *)(uintptr_t)path;
        disks[i].format = nothing;
        disks[i].problem = nothing;
        list[i].id = guid_of(2, (uint8_t)(i + 1));
        list[i].name = vm_name;
        list[i].state = running;
        list[i].capture = nothing;
        list[i].source = nothing;
        list[i].reason = nothing;
        list[i].disks = &disks[i];
        list[i].disk_count = 1;
        if (shared) {
            disks[8] = disks[0];
            disks[8].id = guid_of(4, 99);
            disks[8].shared = true;
            both[i][0] = disks[i];
            both[i][1] = disks[8];
            list[i].disks = both[i];
            list[i].disk_count = 2;
        }
    }
    inv.vms = list;
    inv.vm_count = vms;
    inv.provider = nothing;
    assert_ok(state_inventory_set(s->st, &s->port.enrolled[host], &inv, time_now_us(), &err), &err);
    ingest_host_listed(s->f->ing);
}

static void
lists(struct scene *s, uint8_t host, size_t vms, const char *path)
{
    lists_disks(s, host, vms, path, false);
}

static struct ingest_run *
ask_of(struct scene *s, uint8_t n, uint8_t host)
{
    struct ingest_request request = {.run = guid_of(1, n),
                                     .vm = guid_of(2, n),
                                     .host = s->port.enrolled[host],
                                     .vm_name = "mail",
                                     .host_name = "node"};
    struct ingest_run *run = NULL;

    assert_ok(ingest_run_new(s->f->ing, &request, &run, &err), &err);
    return run;
}

static struct guid
host_of_start(struct scene *s, size_t i)
{
    struct guid host;

    mutex_lock(&s->port.lock);
    host = s->port.hosts[i];
    mutex_unlock(&s->port.lock);
    return host;
}

static void
assert_started_on(struct scene *s, size_t i, uint8_t host)
{
    struct guid on;

    await_started(s, i + 1);
    on = host_of_start(s, i);
    assert_true(guid_equal(&on, &s->port.enrolled[host]));
}

static void
await_waits(struct ingest_run *run, const char *part)
{
    for (int i = 0; i < 1000 && strstr(info_of(run).waits, part) == NULL; i++) {
        thread_sleep_ms(10);
    }
    if (strstr(info_of(run).waits, part) == NULL) {
        fail_msg("it waits for '%s', not for '%s'", info_of(run).waits, part);
    }
}

static size_t
counted(struct scene *s, const size_t *what)
{
    size_t n;

    mutex_lock(&s->port.lock);
    n = *what;
    mutex_unlock(&s->port.lock);
    return n;
}

static void
await_count(struct scene *s, const size_t *what, size_t n)
{
    for (int i = 0; i < 1000 && counted(s, what) < n; i++) {
        thread_sleep_ms(10);
    }
    assert_true(counted(s, what) >= n);
}

static struct ingest_run *
await_next(struct ingest_run *run)
{
    struct ingest_run *next = NULL;

    for (int i = 0; i < 1000 && next == NULL; i++) {
        next = ingest_run_next(run);
        thread_sleep_ms(next == NULL ? 10 : 0);
    }
    assert_non_null(next);
    return next;
}

static void
fail_run(struct ingest_run *run, enum varve_err code)
{
    struct varve_error why;

    (void)varve_error_set(&why, code, "as the test wants");
    ingest_run_fail(run, &why, true);
}

/* Ends it, and waits until the scheduler has seen that. */
static void
end_run_of(struct ingest_run *run)
{
    fail_run(run, VARVE_ERR_CANCELLED);
    for (int i = 0; i < 1000 && !ingest_run_is_settled(run); i++) {
        thread_sleep_ms(10);
    }
    assert_true(ingest_run_is_settled(run));
    ingest_run_unref(run);
}

static void
a_waiting_run_goes_where_its_vm_is_when_its_turn_comes(void **state)
{
    struct scene *s = *state;
    struct ingest_run *first;
    struct ingest_run *second;

    enrol(s, 0);
    enrol(s, 1);
    lists(s, 0, 2, on_drive);
    first = ask_of(s, 1, 0);
    second = ask_of(s, 2, 0);
    start_sched(s, 8, 1);
    assert_started_on(s, 0, 0);
    await_waits(second, "1 runs of host 'node' go on (runs-per-host)");
    lists(s, 0, 1, on_drive); /* vm 2 has left */
    assert_int_equal(started(s), 1);
    lists(s, 1, 2, on_drive);
    lists(s, 0, 1, on_drive); /* and keeps vm 1 */
    assert_started_on(s, 1, 1);
    assert_string_equal(info_of(second).host_name, "node-1");
    assert_string_equal(info_of(second).waits, "");
    stop_run(first);
    stop_run(second);
}

static void
a_run_waits_while_two_hosts_have_its_vm_and_begins_once(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;

    enrol(s, 0);
    enrol(s, 1);
    lists(s, 0, 1, on_csv);
    lists(s, 1, 1, on_csv); /* it arrives here; the other one has not looked yet */
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    await_count(s, &s->port.asks, 1);
    await_waits(run, "two hosts have the vm");
    assert_int_equal(started(s), 0);
    assert_err(ingest_run_new(s->f->ing,
                              &(struct ingest_request){.run = guid_of(1, 9),
                                                       .vm = guid_of(2, 1),
                                                       .host = s->port.enrolled[1],
                                                       .vm_name = "mail",
                                                       .host_name = "node"},
                              &(struct ingest_run *){NULL}, &err),
               VARVE_ERR_BUSY, &err);
    lists(s, 0, 0, on_csv); /* asked, it says that it has none */
    assert_started_on(s, 0, 1);
    end_run_of(run);

    /* The same, but the older host says that it has it: it keeps it. */
    lists(s, 0, 2, on_csv);
    lists(s, 1, 2, on_csv);
    run = ask_of(s, 2, 1);
    await_waits(run, "two hosts have the vm");
    lists(s, 0, 2, on_csv);
    assert_started_on(s, 1, 0);
    stop_run(run);
}

static void
a_host_that_does_not_answer_has_lost_the_vm_to_the_newest_list(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;

    enrol(s, 0);
    enrol(s, 1);
    lists(s, 0, 1, on_csv);
    lists(s, 1, 1, on_csv);
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    await_waits(run, "two hosts have the vm");
    clock_forward(s, 9999);
    await_waits(run, "two hosts have the vm");
    assert_int_equal(started(s), 0);
    clock_forward(s, 1);
    assert_started_on(s, 0, 1);
    stop_run(run);
}

static void
a_run_that_lost_its_vm_is_followed_on_the_host_that_has_it(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;
    struct ingest_run *next;
    struct ingest_run *last;

    enrol(s, 0);
    enrol(s, 1);
    lists(s, 0, 1, on_csv);
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    assert_started_on(s, 0, 0);
    fail_run(run, VARVE_ERR_NOT_FOUND);
    next = await_next(run); /* nobody else has it yet: it is looked for */
    await_waits(next, "not on host 'node-0' any more");
    await_count(s, &s->port.asks, 1);
    assert_int_equal(started(s), 1);
    lists(s, 1, 1, on_csv);
    lists(s, 0, 0, on_csv);
    assert_started_on(s, 1, 1);

    /* It moves back in the middle of the run: any error will do, for it is elsewhere. */
    lists(s, 0, 1, on_csv);
    lists(s, 1, 0, on_csv);
    fail_run(next, VARVE_ERR_IO);
    last = await_next(next);
    assert_started_on(s, 2, 0);

    /* Three hosts are enough. */
    lists(s, 1, 1, on_csv);
    lists(s, 0, 0, on_csv);
    ingest_run_ref(last);
    end_run_of(last);
    assert_null(ingest_run_next(last));
    assert_int_equal(started(s), 3);
    ingest_run_unref(run);
    ingest_run_unref(next);
    ingest_run_unref(last);
}

static void
a_vm_that_is_nowhere_fails_the_run_with_the_first_error(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;
    struct ingest_run *next;

    enrol(s, 0);
    lists(s, 0, 1, on_csv);
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    assert_started_on(s, 0, 0);
    fail_run(run, VARVE_ERR_NOT_FOUND);
    next = await_next(run);
    await_waits(next, "not on host");
    lists(s, 0, 0, on_csv); /* a vm that vanished is an ordinary event */
    clock_forward(s, 45001);
    await_phase(next, RUN_FAILED);
    assert_int_equal(info_of(next).error.code, VARVE_ERR_NOT_FOUND);
    assert_string_equal(info_of(next).error.msg, "as the test wants");
    assert_int_equal(started(s), 1);
    ingest_run_unref(run);
    ingest_run_unref(next);
}

static void
a_failed_run_whose_vm_stays_is_not_followed(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;

    enrol(s, 0);
    lists(s, 0, 1, on_csv);
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    assert_started_on(s, 0, 0);
    ingest_run_ref(run);
    end_run_of(run);
    assert_null(ingest_run_next(run));
    ingest_run_unref(run);
}

static void
a_volume_has_as_many_runs_as_allowed_whatever_the_host(void **state)
{
    struct scene *s = *state;
    struct ingest_run *runs[4];

    for (uint8_t h = 0; h < 3; h++) {
        enrol(s, h);
    }
    lists(s, 0, 4, on_csv);
    for (uint8_t i = 0; i < 4; i++) {
        runs[i] = ask_of(s, (uint8_t)(i + 1), 0);
    }
    start_sched(s, 8, 8);
    await_started(s, 2);
    await_waits(runs[2], "2 runs on volume '\\clusterstorage\\volume1' go on");
    await_waits(runs[3], "runs-per-volume");
    assert_int_equal(started(s), 2);
    stop_run(runs[0]);
    await_started(s, 3);
    stop_run(runs[1]);
    await_started(s, 4);
    stop_run(runs[2]);
    stop_run(runs[3]);
}

/* Two rounds of what is done once a second. */
static void
pass_time(struct scene *s, uint32_t ms)
{
    for (int i = 0; i < 2; i++) {
        size_t ticks = counted(s, &s->port.ticks);

        clock_forward(s, ms);
        await_count(s, &s->port.ticks, ticks + 1);
    }
}

static void
what_a_run_left_is_handed_to_the_host_that_has_the_vm(void **state)
{
    struct scene *s = *state;
    struct ingest_run *run;
    struct trace t;
    const struct guid nobody = {{0}};

    enrol(s, 0);
    enrol(s, 1);
    lists(s, 0, 1, on_csv);
    run = ask_of(s, 1, 0);
    start_sched(s, 8, 2);
    assert_started_on(s, 0, 0);
    memset(&t, 0, sizeof(t));
    t.run = guid_of(1, 1);
    t.vm = guid_of(2, 1);
    t.host = s->port.enrolled[0];
    t.at_us = time_now_us();
    t.checkpoint = nothing;
    assert_ok(state_trace_put(s->st, &t, &err), &err);
    lists(s, 1, 1, on_csv);
    lists(s, 0, 0, on_csv);
    pass_time(s, 2000);
    assert_int_equal(counted(s, &s->port.cleans), 0); /* the run goes on */
    stop_run(run);
    clock_forward(s, 2000);
    await_count(s, &s->port.cleans, 1);
    assert_true(guid_equal(&s->port.cleaned, &t.run));
    assert_true(guid_equal(&s->port.clean_host, &s->port.enrolled[1]));
    assert_false(s->port.clean_committed);
    /* No answer: asked again after a minute, not before. */
    clock_forward(s, 50000);
    clock_forward(s, 20000);
    await_count(s, &s->port.cleans, 2);
    /* It has taken it on, and lost the vm again to the first. */
    assert_ok(state_trace_pass(s->st, &t.run, &t.host, &s->port.enrolled[1], &err), &err);
    pass_time(s, 70000);
    assert_int_equal(counted(s, &s->port.cleans), 2); /* it does it by itself */
    assert_ok(state_trace_pass(s->st, &t.run, &s->port.enrolled[1], &nobody, &err), &err);
    lists(s, 0, 1, on_csv);
    lists(s, 1, 0, on_csv);
    await_count(s, &s->port.cleans, 3);
    assert_true(guid_equal(&s->port.clean_host, &s->port.enrolled[0]));
}

static void
a_trace_goes_when_nobody_has_had_its_vm_for_long(void **state)
{
    struct scene *s = *state;
    struct trace *list = NULL;
    struct trace t;
    size_t count = 9;

    enrol(s, 0);
    lists(s, 0, 1, on_csv);
    lists(s, 0, 0, on_csv);
    memset(&t, 0, sizeof(t));
    t.vm = guid_of(2, 1);
    t.host = s->port.enrolled[0];
    t.checkpoint = nothing;
    t.run = guid_of(1, 1);
    t.at_us = time_now_us() - INT64_C(31) * 24 * 3600 * 1000000;
    assert_ok(state_trace_put(s->st, &t, &err), &err);
    t.run = guid_of(1, 2);
    t.at_us = time_now_us() - INT64_C(29) * 24 * 3600 * 1000000;
    assert_ok(state_trace_put(s->st, &t, &err), &err);
    start_sched(s, 8, 2);
    for (int i = 0; i < 1000 && count != 1; i++) {
        assert_ok(state_trace_list(s->st, &list, &count, &err), &err);
        trace_list_free(list, count);
        thread_sleep_ms(10);
    }
    assert_int_equal(count, 1);
}

static void
a_disk_of_two_vms_is_read_for_one_of_them(void **state)
{
    struct scene *s = *state;
    const struct guid disk = guid_of(4, 99);
    struct ingest_run *run;

    enrol(s, 0);
    lists_disks(s, 0, 2, on_csv, true);
    start_sched(s, 8, 2);
    run = ask_of(s, 2, 0);
    await_started(s, 1);
    assert_int_equal(counted(s, &s->port.skip_count), 1);
    assert_true(guid_equal(&s->port.skipped, &disk));
    end_run_of(run);
    run = ask_of(s, 1, 0);
    await_started(s, 2);
    assert_int_equal(counted(s, &s->port.skip_count), 0);
    end_run_of(run);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(a_waiting_run_goes_where_its_vm_is_when_its_turn_comes),
        SCENE(a_run_waits_while_two_hosts_have_its_vm_and_begins_once),
        SCENE(a_host_that_does_not_answer_has_lost_the_vm_to_the_newest_list),
        SCENE(a_run_that_lost_its_vm_is_followed_on_the_host_that_has_it),
        SCENE(a_vm_that_is_nowhere_fails_the_run_with_the_first_error),
        SCENE(a_failed_run_whose_vm_stays_is_not_followed),
        SCENE(a_volume_has_as_many_runs_as_allowed_whatever_the_host),
        SCENE(a_trace_goes_when_nobody_has_had_its_vm_for_long),
        SCENE(a_disk_of_two_vms_is_read_for_one_of_them),
        SCENE(what_a_run_left_is_handed_to_the_host_that_has_the_vm),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
