/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state_testing.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

static const struct guid ACME = {{0xac, 1}};
static const struct guid BOLT = {{0xb0, 2}};
static const struct guid VM = {{0x11, 1, 2, 3, 4, 5, 0x46, 7, 0x88}};

static char nothing[] = "";
static char word[] = "word";

static void
list_vm(struct place *p, const struct guid *host, const struct guid *vm)
{
    struct inv_disk disk = {.id = {{9}}, .name = word, .path = word, .size = 5};
    struct inv_vm one = {.id = *vm, .name = word, .state = word, .disks = &disk, .disk_count = 1};
    struct inventory inv = {.vms = &one, .vm_count = 1, .provider = nothing};

    disk.format = word;
    disk.problem = nothing;
    one.capture = nothing;
    one.source = nothing;
    one.reason = nothing;
    assert_ok(state_inventory_set(p->st, host, &inv, NOW, &err), &err);
}

static size_t
vms_of(struct place *p, struct vm_row **rows)
{
    size_t count = 0;

    assert_ok(state_vm_list(p->st, NULL, NULL, rows, &count, &err), &err);
    return count;
}

static void
the_default_tenant_is_always_there(void **state)
{
    struct place *p = *state;
    struct tenant *list = NULL;
    struct tenant t;
    size_t count = 0;

    assert_ok(state_tenant_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, "default");
    assert_true(guid_is_zero(&list[0].id));
    tenant_list_free(list, count);
    assert_err(state_tenant_add(p->st, &ACME, "Default", NOW, &err), VARVE_ERR_EXISTS, &err);
    assert_err(state_tenant_add(p->st, &ACME, "a b", NOW, &err), VARVE_ERR_INVALID, &err);
    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    assert_err(state_tenant_add(p->st, &BOLT, "ACME", NOW, &err), VARVE_ERR_EXISTS, &err);
    reopen(p);
    assert_ok(state_tenant_select(p->st, "Acme", &t, &err), &err);
    assert_true(guid_equal(&t.id, &ACME));
    tenant_release(&t);
    assert_err(state_tenant_select(p->st, "bolt", &t, &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_tenant_with_hosts_stays(void **state)
{
    struct place *p = *state;
    struct guid host = enrolled(p, "node-1", 1);
    struct host h;

    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    assert_ok(state_host_set_tenant(p->st, &host, &ACME, &err), &err);
    reopen(p);
    assert_ok(state_host_get(p->st, &host, &h, &err), &err);
    assert_true(guid_equal(&h.tenant, &ACME));
    host_release(&h);
    assert_err(state_tenant_remove(p->st, &ACME, &err), VARVE_ERR_BUSY, &err);
    assert_ok(state_host_revoke(p->st, &host, &err), &err);
    assert_ok(state_tenant_remove(p->st, &ACME, &err), &err);
}

static void
one_vm_at_hosts_of_two_tenants_is_two_vms(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct guid c = enrolled(p, "node-c", 3);
    struct vm_row *rows = NULL;
    size_t count;

    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    assert_ok(state_tenant_add(p->st, &BOLT, "bolt", NOW, &err), &err);
    assert_ok(state_host_set_tenant(p->st, &a, &ACME, &err), &err);
    assert_ok(state_host_set_tenant(p->st, &b, &BOLT, &err), &err);
    list_vm(p, &a, &VM);
    list_vm(p, &b, &VM);
    list_vm(p, &c, &VM);
    count = vms_of(p, &rows);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        struct guid id;

        assert_true(guid_equal(&rows[i].vm.native, &VM));
        assert_int_equal(rows[i].vm.disk_count, 1);
        state_vm_id(&rows[i].tenant, &VM, &id);
        assert_true(guid_equal(&rows[i].vm.id, &id));
        assert_int_equal(state_vm_id_is_derived(&id), !guid_is_zero(&rows[i].tenant));
        for (size_t k = 0; k < i; k++) {
            assert_false(guid_equal(&rows[i].vm.id, &rows[k].vm.id));
        }
    }
    vm_list_free(rows, count);
}

static void
a_host_cannot_claim_the_derived_id_of_a_tenants_vm(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct guid b = enrolled(p, "node-b", 2);
    struct vm_row *rows = NULL;
    struct guid derived;

    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    assert_ok(state_host_set_tenant(p->st, &a, &ACME, &err), &err);
    state_vm_id(&ACME, &VM, &derived);
    list_vm(p, &b, &derived); /* of the default tenant, before and after */
    list_vm(p, &a, &VM);
    list_vm(p, &b, &derived);
    assert_int_equal(vms_of(p, &rows), 1);
    assert_true(guid_equal(&rows[0].host, &a));
    vm_list_free(rows, 1);
}

static void
a_host_that_moves_leaves_its_vms_behind(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct vm_row *rows = NULL;
    struct guid before;

    assert_ok(state_tenant_add(p->st, &ACME, "acme", NOW, &err), &err);
    list_vm(p, &a, &VM);
    assert_int_equal(vms_of(p, &rows), 1);
    before = rows[0].vm.id;
    vm_list_free(rows, 1);
    assert_ok(state_host_set_tenant(p->st, &a, &ACME, &err), &err);
    assert_int_equal(vms_of(p, &rows), 0);
    vm_list_free(rows, 0);
    list_vm(p, &a, &VM);
    assert_int_equal(vms_of(p, &rows), 1);
    assert_false(guid_equal(&rows[0].vm.id, &before));
    vm_list_free(rows, 1);
}

static void
quotas_and_usage_outlive_the_program(void **state)
{
    struct place *p = *state;
    struct quota q = {QUOTA_TENANT, ACME, 1, 2, 3, 4, 5};
    struct quota_usage u = {{{1}}, ACME, 20000, 30};
    struct vm_usage v = {VM, 7};
    struct vm_usage *vms = NULL;
    struct quota_usage *usage = NULL;
    struct quota *list = NULL;
    size_t count = 0;

    assert_ok(state_quota_put(p->st, &q, &err), &err);
    assert_ok(state_usage_put(p->st, &u, &err), &err);
    q.stored = 22;
    assert_ok(state_quota_put(p->st, &q, &err), &err);
    u.taken = 33;
    assert_ok(state_vm_usage_put(p->st, &v, &err), &err);
    v.sent = 8;
    assert_ok(state_vm_usage_put(p->st, &v, &err), &err);
    assert_ok(state_usage_put(p->st, &u, &err), &err);
    reopen(p);
    assert_ok(state_quota_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].scope, QUOTA_TENANT);
    assert_int_equal(list[0].logical + list[0].vms + list[0].runs, 1 + 4 + 5);
    assert_int_equal(list[0].stored, 22);
    assert_int_equal(list[0].daily, 3);
    free(list);
    assert_ok(state_usage_list(p->st, &usage, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(usage[0].day, 20000);
    assert_int_equal(usage[0].taken, 33);
    free(usage);
    assert_ok(state_vm_usage_list(p->st, &vms, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&vms[0].vm, &VM));
    assert_int_equal(vms[0].sent, 8);
    free(vms);
    q = (struct quota){.scope = QUOTA_TENANT, .id = ACME};
    assert_ok(state_quota_put(p->st, &q, &err), &err);
    assert_ok(state_quota_list(p->st, &list, &count, &err), &err);
    assert_int_equal(count, 0);
    free(list);
}

/* Takes the file back to what version 1 was. */
static void
make_old(struct place *p)
{
    sqlite3 *db = NULL;

    state_close(p->st);
    p->st = NULL;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "DROP TABLE tenants; DROP TABLE quotas; DROP TABLE usage; DROP TABLE vm_usage;"
                     "DROP TABLE traces; DROP TABLE sums; ALTER TABLE vms DROP COLUMN listed_at;"
                     "ALTER TABLE vm_disks DROP COLUMN shared;"
                     "ALTER TABLE hosts DROP COLUMN tenant;"
                     "ALTER TABLE vms DROP COLUMN native; PRAGMA user_version = 1",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
a_file_of_the_first_version_is_brought_up_to_date(void **state)
{
    struct place *p = *state;
    struct guid a = enrolled(p, "node-a", 1);
    struct vm_row *rows = NULL;
    struct host h;

    list_vm(p, &a, &VM);
    make_old(p);
    for (int i = 0; i < 2; i++) {
        assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
        assert_ok(state_host_get(p->st, &a, &h, &err), &err);
        assert_true(guid_is_zero(&h.tenant));
        assert_int_equal(h.state, HOST_ENROLLED);
        host_release(&h);
        assert_int_equal(vms_of(p, &rows), 1);
        assert_true(guid_equal(&rows[0].vm.id, &VM));
        assert_true(guid_equal(&rows[0].vm.native, &VM));
        vm_list_free(rows, 1);
        state_close(p->st);
    }
    assert_ok(state_open(&p->st, fs_system(), p->path, &err), &err);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_default_tenant_is_always_there),
        CASE(a_tenant_with_hosts_stays),
        CASE(one_vm_at_hosts_of_two_tenants_is_two_vms),
        CASE(a_host_cannot_claim_the_derived_id_of_a_tenants_vm),
        CASE(a_host_that_moves_leaves_its_vms_behind),
        CASE(quotas_and_usage_outlive_the_program),
        CASE(a_file_of_the_first_version_is_brought_up_to_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
