/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "ingest/quota.h"
#include "store/store_testing.h"

/* Figures as points come and go; how runs meet them is in session_tenant_test. */

#define MIB ((uint64_t)1 << 20)

static const struct guid HOST_A = {{0xa}};
static const struct guid HOST_B = {{0xb}};
static const struct guid HOME; /* the default tenant */

struct lab {
    char *folder;
    char *key_path;
    char *state_path;
    struct store *store;
    struct chunk_store *cs;
    struct catalog *catalog;
    struct state *st;
    struct quotas *q;
};

static void
open_lab(struct lab *l)
{
    const struct chunk_store_options options = {.key_path = l->key_path};

    assert_ok(chunk_store_open(&l->cs, l->store, fs_system(), &options, &err), &err);
    assert_ok(catalog_open(&l->catalog, l->cs, &err), &err);
    assert_ok(state_open(&l->st, fs_system(), l->state_path, &err), &err);
    assert_ok(quotas_new(&l->q, l->st, l->catalog, &err), &err);
}

static void
close_lab(struct lab *l)
{
    quotas_free(l->q);
    state_close(l->st);
    catalog_close(l->catalog);
    chunk_store_close(l->cs);
}

static int
lab_set_up(void **state)
{
    struct lab *l = calloc(1, sizeof(*l));

    assert_non_null(l);
    l->folder = test_folder_make();
    l->key_path = test_path(l->folder, "store.key");
    l->state_path = test_path(l->folder, "state.db");
    assert_ok(store_mem_open(&l->store, &err), &err);
    open_lab(l);
    *state = l;
    return 0;
}

static int
lab_tear_down(void **state)
{
    struct lab *l = *state;

    close_lab(l);
    store_close(l->store);
    test_folder_remove(l->folder);
    free(l->key_path);
    free(l->state_path);
    free(l);
    return 0;
}

static struct guid
vm_of(uint8_t vm)
{
    struct guid g = {{0x11, vm}};

    return g;
}

/* A point of a vm with one disk of `size`, for which a run sends `sent` bytes. */
static enum varve_err
run_once(struct lab *l, uint8_t vm, const struct guid *host, uint64_t size, uint64_t sent)
{
    static uint8_t runs;
    const struct quota_subject who = {
        .host = *host, .vm = vm_of(vm), .host_name = "node", .tenant_name = "default"};
    struct quota_run *run = NULL;
    struct point *p = NULL;
    enum varve_err rc;

    rc = quotas_run_open(l->q, &who, &run, &err);
    if (rc == VARVE_OK) {
        rc = quota_run_disk(run, size, &err);
    }
    for (uint64_t done = 0; rc == VARVE_OK && done < sent; done += MIB) {
        rc = quota_run_take(run, sent - done < MIB ? sent - done : MIB, &err);
    }
    if (rc == VARVE_OK) {
        p = point_new();
        p->vm = who.vm;
        p->host = *host;
        p->run = (struct guid){{0x22, ++runs}};
        p->consistency = POINT_CRASH;
        p->vm_name = strdup("vm");
        p->host_name = strdup("node");
        p->capture = strdup("sim");
        p->source = strdup("file");
        p->reason = strdup("");
        p->reference_point = strdup("");
        p->disks = calloc(1, sizeof(*p->disks));
        p->disk_count = 1;
        p->disks[0].id = (struct guid){{0x44}};
        p->disks[0].name = strdup("d.vhdx");
        p->disks[0].path = strdup("");
        p->disks[0].change_id = strdup("");
        p->disks[0].reason = strdup("");
        p->disks[0].size = size;
        p->disks[0].logical_sector = 512;
        p->disks[0].physical_sector = 512;
        p->disks[0].root.chunk_count = (size + CHUNK - 1) / CHUNK;
        p->disks[0].sent_bytes = sent;
        assert_ok(catalog_publish(l->catalog, p, chunk_store_loss_count(l->cs), NULL, &err), &err);
        quota_run_published(run);
        point_unref(p);
    }
    quota_run_close(run);
    return rc;
}

static void
delete_point(struct lab *l, uint8_t vm, unsigned seq)
{
    struct guid id = vm_of(vm);
    char text[GUID_TEXT_SIZE];
    char name[STORE_NAME_MAX + 1];

    guid_format(&id, text);
    (void)snprintf(name, sizeof(name), "point/%s/%016x", text, seq);
    close_lab(l);
    assert_ok(store_remove(l->store, name, &err), &err);
    open_lab(l);
}

static struct quota_figures
figures(struct lab *l, const struct guid *host)
{
    struct quota_figures f;

    assert_ok(quotas_figures(l->q, QUOTA_HOST, host, &f, &err), &err);
    return f;
}

static void
deleting_points_lowers_what_is_stored_but_not_below_what_is_needed(void **state)
{
    struct lab *l = *state;

    assert_ok(run_once(l, 1, &HOST_A, 100 * MIB, 80 * MIB), &err);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 80);
    for (int i = 0; i < 4; i++) {
        assert_ok(run_once(l, 1, &HOST_A, 100 * MIB, 10 * MIB), &err);
    }
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 120);
    /* The full point goes; what it brought is still stood upon. */
    delete_point(l, 1, 1);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 90 + 30);
    /* With the next ones the oldest is charged no more than its disk can hold. */
    delete_point(l, 1, 2);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 100 + 20);
    delete_point(l, 1, 3);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 100 + 10);
    delete_point(l, 1, 5);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 100);
    assert_int_equal(figures(l, &HOST_A).vms, 1);
    delete_point(l, 1, 4);
    assert_int_equal(figures(l, &HOST_A).stored, 0);
    assert_int_equal(figures(l, &HOST_A).vms, 0);
    assert_int_equal(figures(l, &HOST_A).today / MIB, 120); /* the day forgets nothing */
}

static void
a_vm_counts_at_the_host_of_its_newest_point(void **state)
{
    struct lab *l = *state;
    struct quota_figures tenant;

    assert_ok(run_once(l, 1, &HOST_A, 20 * MIB, 10 * MIB), &err);
    assert_ok(run_once(l, 2, &HOST_A, 20 * MIB, 10 * MIB), &err);
    assert_ok(run_once(l, 1, &HOST_B, 30 * MIB, 1 * MIB), &err);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 10);
    assert_int_equal(figures(l, &HOST_B).stored / MIB, 11);
    assert_int_equal(figures(l, &HOST_A).logical / MIB, 20);
    assert_int_equal(figures(l, &HOST_B).logical / MIB, 30);
    assert_ok(quotas_figures(l->q, QUOTA_TENANT, &HOME, &tenant, &err), &err);
    assert_int_equal(tenant.stored / MIB, 21);
    assert_int_equal(tenant.vms, 2);
}

static void
room_that_deleting_made_is_used(void **state)
{
    struct lab *l = *state;
    struct quota q = {.scope = QUOTA_HOST, .id = HOST_A, .stored = 50 * MIB};

    assert_ok(run_once(l, 1, &HOST_A, 40 * MIB, 40 * MIB), &err);
    assert_ok(quotas_set(l->q, &q, &err), &err);
    assert_err(run_once(l, 2, &HOST_A, 40 * MIB, 20 * MIB), VARVE_ERR_LIMIT, &err);
    assert_int_equal(figures(l, &HOST_A).stored / MIB, 40); /* nothing is left of the run */
    assert_int_equal(figures(l, &HOST_A).runs, 0);
    delete_point(l, 1, 1);
    assert_ok(run_once(l, 2, &HOST_A, 40 * MIB, 20 * MIB), &err);
}

static void
runs_at_a_time_are_counted_for_host_and_tenant(void **state)
{
    struct lab *l = *state;
    struct quota q = {.scope = QUOTA_TENANT, .id = HOME, .runs = 2};
    const struct quota_subject a = {
        .host = HOST_A, .vm = vm_of(1), .host_name = "a", .tenant_name = "default"};
    const struct quota_subject b = {
        .host = HOST_B, .vm = vm_of(2), .host_name = "b", .tenant_name = "default"};
    struct quota_run *first = NULL;
    struct quota_run *second = NULL;

    assert_ok(quotas_set(l->q, &q, &err), &err);
    assert_ok(quotas_run_open(l->q, &a, &first, &err), &err);
    assert_true(quotas_room_for_run(l->q, &HOST_B, &HOME));
    assert_ok(quotas_run_open(l->q, &b, &second, &err), &err);
    assert_false(quotas_room_for_run(l->q, &HOST_B, &HOME));
    quota_run_close(first);
    assert_true(quotas_room_for_run(l->q, &HOST_B, &HOME));
    quota_run_close(second);
}

int
main(void)
{
#define LAB_CASE(name) cmocka_unit_test_setup_teardown(name, lab_set_up, lab_tear_down)
    const struct CMUnitTest tests[] = {
        LAB_CASE(deleting_points_lowers_what_is_stored_but_not_below_what_is_needed),
        LAB_CASE(a_vm_counts_at_the_host_of_its_newest_point),
        LAB_CASE(room_that_deleting_made_is_used),
        LAB_CASE(runs_at_a_time_are_counted_for_host_and_tenant),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
