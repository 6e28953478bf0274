/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"

/* What state/ keeps of inventories and runs. */

static struct inv_vm
vm(uint8_t seed, const char *name, size_t disks)
{
    struct inv_vm v;

    memset(&v, 0, sizeof(v));
    fill(v.id.bytes, 16, seed);
    v.name = strdup(name);
    v.generation = 2;
    v.state = strdup("running");
    v.capture = strdup("sim");
    v.source = strdup("file");
    v.reason = strdup("");
    v.disks = calloc(disks + 1, sizeof(*v.disks));
    v.disk_count = disks;
    for (size_t i = 0; i < disks; i++) {
        fill(v.disks[i].id.bytes, 16, (uint8_t)(seed + 100 + i));
        v.disks[i].name = strdup(i == 0 ? "system.vhdx" : "data.vhdx");
        v.disks[i].path = strdup("C:\\vms\\x.vhdx");
        v.disks[i].size = 4096 * (i + 1);
        v.disks[i].format = strdup("vhdx");
        v.disks[i].logical_sector = 512;
        v.disks[i].tracked = true;
        v.disks[i].problem = strdup("");
    }
    return v;
}

static void
has_vms(struct place *p, const struct guid *host, int64_t now, size_t count, struct inv_vm *vms)
{
    struct inventory inv;

    memset(&inv, 0, sizeof(inv));
    inv.vms = calloc(count + 1, sizeof(*vms));
    assert_non_null(inv.vms);
    if (count > 0) {
        memcpy(inv.vms, vms, count * sizeof(*vms));
    }
    inv.vm_count = count;
    inv.provider = strdup("hvsim 1.0");
    assert_ok(state_inventory_set(p->st, host, &inv, now, &err), &err);
    inventory_release(&inv);
}

static void
an_inventory_comes_back_as_it_was(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm list[2] = {vm(1, "mail", 2), vm(2, "db", 1)};
    struct vm_row *rows = NULL;
    size_t count = 0;
    struct host h;

    has_vms(p, &host, NOW, 2, list);
    reopen(p);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].vm.name, "db");
    assert_string_equal(rows[1].vm.name, "mail");
    assert_string_equal(rows[1].host_name, "node-1");
    assert_true(rows[1].present);
    assert_false(rows[1].connected);
    assert_int_equal(rows[1].vm.disk_count, 2);
    assert_string_equal(rows[1].vm.disks[0].name, "system.vhdx");
    assert_true(rows[1].vm.disks[1].size == 8192);
    assert_true(rows[1].vm.disks[1].tracked);
    vm_list_free(rows, count);
    assert_ok(state_host_get(p->st, &host, &h, &err), &err);
    assert_string_equal(h.provider, "hvsim 1.0");
    host_release(&h);
}

static void
a_vm_that_went_is_remembered_as_gone(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm one = vm(1, "mail", 1);
    struct vm_row *rows = NULL;
    size_t count = 0;

    has_vms(p, &host, NOW, 1, &one);
    has_vms(p, &host, NOW + 1, 0, NULL);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_false(rows[0].present);
    assert_int_equal(rows[0].vm.disk_count, 0);
    vm_list_free(rows, count);
}

static bool
is_connected(void *arg, const struct guid *host)
{
    return guid_equal(arg, host);
}

static struct guid
owner(struct place *p, struct guid *connected)
{
    struct vm_row *rows = NULL;
    struct guid host;
    size_t count = 0;

    assert_ok(state_vm_list(p->st, connected != NULL ? is_connected : NULL, connected, &rows,
                            &count, &err),
              &err);
    assert_int_equal(count, 1);
    host = rows[0].host;
    vm_list_free(rows, count);
    return host;
}

static bool
all_connected(void *arg, const struct guid *host)
{
    (void)arg;
    (void)host;
    return true;
}

static struct vm_row
owner_of_mail(struct place *p)
{
    struct inv_vm v = vm(1, "mail", 0);
    struct vm_row row;

    assert_ok(state_vm_owner(p->st, &v.id, all_connected, NULL, &row, &err), &err);
    inv_vm_release(&v);
    return row;
}

static void
lists_mail(struct place *p, const struct guid *host, int64_t now)
{
    struct inv_vm v = vm(1, "mail", 1);

    has_vms(p, host, now, 1, &v);
}

static void
a_vm_that_two_hosts_list_stays_with_the_first_while_it_repeats_its_list(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct guid now;

    lists_mail(p, &a, NOW);
    lists_mail(p, &b, NOW + 1);
    lists_mail(p, &a, NOW + 2);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
    lists_mail(p, &b, NOW + 3);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
    /* The other one is there, the first is not: it has failed over. */
    now = owner(p, &b);
    assert_true(guid_equal(&now, &b));
    /* The first gives it up. */
    has_vms(p, &a, NOW + 4, 0, NULL);
    now = owner(p, &a);
    assert_true(guid_equal(&now, &b));
    /* A revoked host owns nothing. */
    assert_ok(state_host_revoke(p->st, &b, &err), &err);
    now = owner(p, NULL);
    assert_true(guid_equal(&now, &a));
}

static void
the_newest_list_has_the_vm_until_the_older_host_was_heard(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct vm_row row;

    lists_mail(p, &a, NOW);
    row = owner_of_mail(p);
    assert_true(guid_equal(&row.host, &a));
    assert_false(row.contested);
    vm_row_release(&row);

    lists_mail(p, &b, NOW - 5); /* the clock went back: a list is newer all the same */
    row = owner_of_mail(p);
    assert_true(guid_equal(&row.host, &b));
    assert_true(row.contested);
    assert_int_equal(row.vm.disk_count, 1);
    vm_row_release(&row);

    lists_mail(p, &a, NOW - 5); /* it still has it */
    row = owner_of_mail(p);
    assert_true(guid_equal(&row.host, &a));
    assert_false(row.contested);
    vm_row_release(&row);

    has_vms(p, &a, NOW, 0, NULL); /* now it has not */
    row = owner_of_mail(p);
    assert_true(guid_equal(&row.host, &b));
    assert_false(row.contested);
    vm_row_release(&row);
}

/* ---- traces ---- */

static char first_mark[] = "rp-1";
static char second_mark[] = "rp two";
static char checkpoint_id[] = "cp";
static char *mark_ids[] = {first_mark, second_mark};

static struct trace
trace(uint8_t run_seed, const struct guid *host, int64_t at)
{
    struct trace t;

    memset(&t, 0, sizeof(t));
    fill(t.run.bytes, 16, run_seed);
    fill(t.vm.bytes, 16, 1);
    t.host = *host;
    t.at_us = at;
    t.checkpoint = checkpoint_id;
    t.keep_tried = true;
    t.marks.ids = mark_ids;
    t.marks.count = 2;
    t.begun_us = 77;
    t.before.ids = mark_ids + 1;
    t.before.count = 1;
    return t;
}

static void
a_trace_comes_back_as_it_was_and_goes_when_its_host_says_so(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct trace first = trace(1, &a, NOW);
    struct trace *list = NULL;
    size_t count = 0;

    assert_ok(state_trace_put(p->st, &first, &err), &err);
    reopen(p);
    assert_ok(state_trace_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].checkpoint, "cp");
    assert_true(list[0].keep_tried);
    assert_int_equal(list[0].marks.count, 2);
    assert_string_equal(list[0].marks.ids[1], "rp two");
    assert_int_equal(list[0].kept.count, 0);
    assert_true(list[0].begun_us == 77);
    assert_int_equal(list[0].before.count, 1);
    assert_string_equal(list[0].before.ids[0], "rp two");
    trace_list_free(list, count);

    assert_ok(state_trace_remove(p->st, &first.run, &b, &err), &err); /* not its own */
    assert_ok(state_trace_pass(p->st, &first.run, &a, &b, &err), &err);
    assert_ok(state_trace_remove(p->st, &first.run, &a, &err), &err); /* not any more */
    assert_ok(state_trace_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&list[0].host, &b));
    trace_list_free(list, count);
    assert_ok(state_trace_remove(p->st, &first.run, &b, &err), &err);
    assert_ok(state_trace_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 0);
    trace_list_free(list, count);
}

static void
a_vm_has_a_bounded_number_of_traces(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct trace *list = NULL;
    size_t count = 0;

    for (unsigned i = 0; i < TRACES_PER_VM_MAX + 3; i++) {
        struct trace t = trace((uint8_t)(i + 1), &a, NOW + (int64_t)i);

        assert_ok(state_trace_put(p->st, &t, &err), &err);
    }
    assert_ok(state_trace_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, TRACES_PER_VM_MAX);
    assert_true(list[0].at_us == NOW + 3);
    trace_list_free(list, count);
}

static void
vms_are_selected_and_ambiguity_is_told(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 7);
    struct inv_vm list[3] = {vm(1, "mail", 1), vm(2, "Web", 1), vm(3, "web", 1)};
    struct vm_row *rows = NULL;
    char id[GUID_TEXT_SIZE];
    size_t count = 0;
    size_t row = 9;

    has_vms(p, &host, NOW, 3, list);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_ok(vm_list_select(rows, count, "MAIL", &row, &err), &err);
    assert_string_equal(rows[row].vm.name, "mail");
    assert_err(vm_list_select(rows, count, "web", &row, &err), VARVE_ERR_INVALID, &err);
    guid_format(&rows[0].vm.id, id);
    id[13] = '\0';
    assert_non_null(strstr(err.msg, id));
    assert_ok(vm_list_select(rows, count, id, &row, &err), &err);
    assert_int_equal(row, 0);
    assert_err(vm_list_select(rows, count, "mai", &row, &err), VARVE_ERR_NOT_FOUND, &err);
    vm_list_free(rows, count);

    /* One of the two is gone: the name means the other. */
    list[0] = vm(3, "web", 1);
    has_vms(p, &host, NOW + 1, 1, list);
    assert_ok(state_vm_list(p->st, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_ok(vm_list_select(rows, count, "web", &row, &err), &err);
    assert_true(rows[row].present);
    assert_ok(vm_list_select(rows, count, "mail", &row, &err), &err);
    assert_false(rows[row].present);
    vm_list_free(rows, count);
}

/* ---- runs ---- */

static struct run_info
run(uint8_t seed, int64_t started, int64_t ended)
{
    struct run_info info;

    memset(&info, 0, sizeof(info));
    fill(info.id.bytes, 16, seed);
    fill(info.vm.bytes, 16, 1);
    fill(info.host.bytes, 16, 2);
    (void)snprintf(info.vm_name, sizeof(info.vm_name), "mail");
    (void)snprintf(info.host_name, sizeof(info.host_name), "node-1");
    info.phase = ended != 0 ? RUN_DONE : RUN_READ;
    info.started_at_us = started;
    info.ended_at_us = ended;
    return info;
}

static void
the_history_keeps_what_a_run_said(void **state)
{
    struct place *p = *state;
    struct run_info first = run(1, NOW, NOW + 5);
    struct run_info second = run(2, NOW + 10, 0);
    struct run_info *list = NULL;
    size_t count = 0;

    first.phase = RUN_FAILED;
    (void)varve_error_set(&first.error, VARVE_ERR_NOSPACE, "disk full");
    first.error.source = VARVE_SRC_HRESULT;
    first.error.native = -5;
    first.warning_count = 2;
    (void)snprintf(first.warnings[0], RUN_WARNING_SIZE, "merge goes on");
    (void)snprintf(first.warnings[1], RUN_WARNING_SIZE, "slow");
    first.new_bytes = 77;
    assert_ok(state_run_put(p->st, &first, &err), &err);
    assert_ok(state_run_put(p->st, &second, &err), &err);
    reopen(p);
    assert_ok(state_run_list(p->st, false, 10, &list, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_true(guid_equal(&list[0].id, &second.id));
    assert_int_equal(list[1].phase, RUN_FAILED);
    assert_int_equal(list[1].error.code, VARVE_ERR_NOSPACE);
    assert_int_equal(list[1].error.source, VARVE_SRC_HRESULT);
    assert_true(list[1].error.native == -5);
    assert_string_equal(list[1].error.msg, "disk full");
    assert_int_equal(list[1].warning_count, 2);
    assert_string_equal(list[1].warnings[1], "slow");
    assert_true(list[1].new_bytes == 77);
    free(list);

    assert_ok(state_run_list(p->st, true, 10, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&list[0].id, &second.id));
    free(list);
}

static void
a_run_that_has_ended_is_not_opened_again(void **state)
{
    struct place *p = *state;
    struct run_info ended = run(1, NOW, NOW + 5);
    struct run_info late = run(1, NOW, 0);
    struct run_info *list = NULL;
    size_t count = 0;

    assert_ok(state_run_put(p->st, &ended, &err), &err);
    assert_ok(state_run_put(p->st, &late, &err), &err);
    assert_ok(state_run_list(p->st, true, 10, &list, &count, &err), &err);
    assert_int_equal(count, 0);
    free(list);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_inventory_comes_back_as_it_was),
        CASE(a_vm_that_went_is_remembered_as_gone),
        CASE(a_vm_that_two_hosts_list_stays_with_the_first_while_it_repeats_its_list),
        CASE(the_newest_list_has_the_vm_until_the_older_host_was_heard),
        CASE(a_trace_comes_back_as_it_was_and_goes_when_its_host_says_so),
        CASE(a_vm_has_a_bounded_number_of_traces),
        CASE(vms_are_selected_and_ambiguity_is_told),
        CASE(the_history_keeps_what_a_run_said),
        CASE(a_run_that_has_ended_is_not_opened_again),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
