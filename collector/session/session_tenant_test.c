/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_marks.h"
#include "jobs/tenants.h"
#include "os/thread.h"
#include "session/wire_in.h"

/* Tenants and quotas as hosts and operators meet them, over the real channel. */

static const struct test_vm mail = {{{0x11, 1, 2, 3}}, "mail", 1};

struct member {
    struct identity *id;
    struct guid host;
    struct peer agent;
};

/* A host of the tenant, made when it is not there; NULL: the default.  It lists vm. */
static void
join(struct member *m, struct stage *st, const char *name, const char *tenant,
     const struct test_vm *vm)
{
    struct tenant t;

    memset(m, 0, sizeof(*m));
    m->host = stage_host(st, name, &m->id);
    if (tenant != NULL) {
        if (state_tenant_select(st->c.state, tenant, &t, &err) != VARVE_OK) {
            assert_ok(tenants_add(st->c.state, st->c.chunks, tenant, &t, &err), &err);
        }
        assert_ok(state_host_set_tenant(st->c.state, &m->host, &t.id, &err), &err);
        tenant_release(&t);
    }
    peer_agent(&m->agent, st, m->id);
    assert_ok(agent_inventory(&m->agent, vm, 1), &err);
}

static void
leave(struct member *m)
{
    peer_close(&m->agent);
    identity_free(m->id);
}

/* The id that the collector gives to the vm of that host, once the vm is the host's. */
static struct guid
vm_at(struct stage *st, const struct guid *host)
{
    struct guid id = {0};

    for (int tries = 0; tries < 1000 && guid_is_zero(&id); tries++) {
        struct vm_row *rows = NULL;
        size_t count = 0;

        assert_ok(state_vm_list(st->c.state, registry_host_connected, st->c.registry, &rows, &count,
                                &err),
                  &err);
        for (size_t i = 0; i < count; i++) {
            if (guid_equal(&rows[i].host, host)) {
                id = rows[i].vm.id;
            }
        }
        vm_list_free(rows, count);
        if (guid_is_zero(&id)) {
            thread_sleep_ms(5); /* an older session is still ending */
        }
    }
    assert_false(guid_is_zero(&id));
    return id;
}

struct outcome {
    char phase[16];
    enum varve_err code;
    char said[300];
    uint64_t sent;
};

/* Backs up the member's vm whole and says how it ended; nothing else runs. */
static void
tenant_backup(struct stage *st, struct member *m, const struct image *im, struct outcome *out)
{
    struct guid vm = vm_at(st, &m->host);
    char selector[GUID_TEXT_SIZE];
    struct envelope_in in;
    const Varve__V1__RunInfo *info;
    struct guid run;
    struct guid point;
    struct guid asked;
    uint64_t backup = 0;
    struct peer op;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    guid_format(&vm, selector);
    peer_operator(&op, st);
    assert_ok(operator_backup(&op, selector, true, &backup), &err);
    if (im != NULL) { /* it gets as far as the host */
        assert_ok(agent_accept_run(&m->agent, &run, &asked), &err);
        assert_true(guid_equal(&asked, &mail.id)); /* the host hears its own name of the vm */
        rc = agent_whole_run(&m->agent, &run, im, &point);
        if (rc != VARVE_OK) {
            struct varve_error why = err;

            assert_ok(agent_end(&m->agent, &run, &why), &err);
        }
    }
    assert_ok(operator_backup_end(&op, backup, &in), &err);
    info = in.head->backup_run_reply->runs[0];
    (void)snprintf(out->phase, sizeof(out->phase), "%s", info->phase);
    out->sent = info->sent_bytes;
    if (info->error != NULL) {
        out->code = (enum varve_err)info->error->code;
        (void)snprintf(out->said, sizeof(out->said), "%s", info->error->message);
    }
    envelope_release(&in);
    peer_close(&op);
}

static void
equal_disks_of_two_tenants_travel_and_are_charged_as_if_alone(void **state)
{
    struct stage *st = *state;
    struct image im = image_new(20 * CHUNK + 7, 42);
    struct quota_figures first;
    struct quota_figures second;
    struct outcome a;
    struct outcome b;
    struct outcome c;
    struct member acme;
    struct member bolt;
    struct member bolt2;
    struct guid vm_a;
    struct guid vm_b;

    join(&acme, st, "node-a", "acme", &mail);
    join(&bolt, st, "node-b", "bolt", &mail);
    tenant_backup(st, &acme, &im, &a);
    tenant_backup(st, &bolt, &im, &b);
    assert_string_equal(a.phase, "done");
    assert_string_equal(b.phase, "done");
    assert_true(a.sent > 0);
    assert_int_equal(a.sent, b.sent); /* nothing that acme stored made bolt's backup shorter */
    assert_ok(quotas_figures(st->c.quotas, QUOTA_HOST, &acme.host, &first, &err), &err);
    assert_ok(quotas_figures(st->c.quotas, QUOTA_HOST, &bolt.host, &second, &err), &err);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_equal(first.stored, a.sent);
    assert_int_equal(first.logical, im.size);

    /* The same vm id at two tenants: two vms, each with its own point. */
    vm_a = vm_at(st, &acme.host);
    vm_b = vm_at(st, &bolt.host);
    assert_false(guid_equal(&vm_a, &vm_b));
    assert_latest_holds(st, &vm_a, &im);
    assert_latest_holds(st, &vm_b, &im);

    /* Within a tenant it is shared, and the vm has moved with its points. */
    peer_close(&bolt.agent);
    join(&bolt2, st, "node-b2", "bolt", &mail);
    tenant_backup(st, &bolt2, &im, &c);
    assert_string_equal(c.phase, "done");
    assert_int_equal(c.sent, 0);
    leave(&acme);
    identity_free(bolt.id);
    leave(&bolt2);
    free(im.data);
}

static void
a_host_that_claims_another_tenants_vm_gets_nothing_of_it(void **state)
{
    struct stage *st = *state;
    struct image secret = image_new(10 * CHUNK, 1);
    struct image other = image_new(10 * CHUNK, 2);
    struct point **points = NULL;
    struct outcome a;
    struct outcome e;
    struct member acme;
    struct member evil;
    struct guid vm_a;
    size_t count = 0;

    join(&acme, st, "node-a", "acme", &mail);
    tenant_backup(st, &acme, &secret, &a);
    vm_a = vm_at(st, &acme.host);
    peer_close(&acme.agent); /* its owner is away: the claim is not even contested */
    join(&evil, st, "evil", "evil-corp", &mail);
    tenant_backup(st, &evil, &other, &e);
    assert_string_equal(e.phase, "done");
    assert_latest_holds(st, &vm_a, &secret);
    assert_ok(catalog_list(st->c.catalog, &vm_a, &points, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&points[0]->host, &acme.host));
    catalog_list_free(points, count);
    leave(&evil);
    identity_free(acme.id);
    free(secret.data);
    free(other.data);
}

/* ---- quotas ---- */

static void
set_quota(struct stage *st, enum quota_scope scope, const struct guid *id, struct quota q)
{
    q.scope = scope;
    q.id = *id;
    assert_ok(quotas_set(st->c.quotas, &q, &err), &err);
}

static void
expect_limit(const struct outcome *o, const char *said)
{
    assert_string_equal(o->phase, "failed");
    assert_int_equal(o->code, VARVE_ERR_LIMIT);
    if (strstr(o->said, said) == NULL) {
        fail_msg("'%s' does not say '%s'", o->said, said);
    }
}

static void
a_run_that_would_pass_a_quota_ends_and_nothing_is_harmed(void **state)
{
    struct stage *st = *state;
    struct image small = image_new(8 * CHUNK, 1);
    struct image large = image_new(64 * CHUNK, 2);
    struct member m;
    struct outcome o;
    struct guid vm;

    join(&m, st, "node-a", "acme", &mail);
    tenant_backup(st, &m, &small, &o);
    assert_string_equal(o.phase, "done");
    vm = vm_at(st, &m.host);

    set_quota(st, QUOTA_HOST, &m.host, (struct quota){.logical = 32 * CHUNK});
    tenant_backup(st, &m, &large, &o);
    expect_limit(&o, "quota of host 'node-a': what is protected would be");
    assert_non_null(strstr(o.said, "'varve quota set --host node-a --logical N' raises it"));

    set_quota(st, QUOTA_HOST, &m.host, (struct quota){.stored = 16 * CHUNK});
    tenant_backup(st, &m, &large, &o);
    expect_limit(&o, "quota of host 'node-a': what is stored would be");

    set_quota(st, QUOTA_HOST, &m.host, (struct quota){.daily = 4 * CHUNK});
    tenant_backup(st, &m, NULL, &o); /* those runs have sent more than that: not even begun */
    expect_limit(&o, "what was sent today");

    set_quota(st, QUOTA_HOST, &m.host, (struct quota){.scope = QUOTA_HOST});
    assert_latest_holds(st, &vm, &small);
    tenant_backup(st, &m, &large, &o);
    assert_string_equal(o.phase, "done");
    assert_latest_holds(st, &vm, &large);
    leave(&m);
    free(small.data);
    free(large.data);
}

static void
the_quota_of_a_tenant_is_shared_by_its_hosts(void **state)
{
    struct stage *st = *state;
    struct test_vm web = {{{0x22}}, "web", 1};
    struct image im = image_new(8 * CHUNK, 1);
    struct tenant t;
    struct member a;
    struct member b;
    struct outcome o;
    uint64_t backup = 0;
    struct envelope_in in;
    struct peer op;

    join(&a, st, "node-a", "acme", &mail);
    join(&b, st, "node-b", "acme", &web);
    assert_ok(state_tenant_select(st->c.state, "acme", &t, &err), &err);
    set_quota(st, QUOTA_TENANT, &t.id, (struct quota){.vms = 1});
    tenant_backup(st, &a, &im, &o);
    assert_string_equal(o.phase, "done");
    tenant_backup(st, &a, &im, &o); /* the same vm again is no more vms */
    assert_string_equal(o.phase, "done");
    peer_operator(&op, st);
    assert_ok(operator_backup(&op, "web", true, &backup), &err);
    assert_ok(operator_backup_end(&op, backup, &in), &err);
    assert_string_equal(in.head->backup_run_reply->runs[0]->phase, "failed");
    assert_non_null(strstr(in.head->backup_run_reply->runs[0]->error->message,
                           "quota of tenant 'acme': vms would be 2 of 1"));
    envelope_release(&in);
    peer_close(&op);
    tenant_release(&t);
    leave(&a);
    leave(&b);
    free(im.data);
}

/* ---- the operator's words ---- */

static enum varve_err
ask(struct peer *op, Varve__V1__Envelope__BodyCase what, void *body,
    Varve__V1__Envelope__BodyCase want, struct envelope_in *in)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;

    head.body_case = what;
    head.tenant_add = body; /* all bodies are pointers in one place */
    return peer_call(op, &head, NULL, 0, want, in);
}

static void
an_operator_makes_fills_and_removes_a_tenant(void **state)
{
    static char acme[] = "acme";
    static char node[] = "node-a";
    static char home[] = "default";
    struct stage *st = *state;
    Varve__V1__TenantAdd add = VARVE__V1__TENANT_ADD__INIT;
    Varve__V1__TenantList list = VARVE__V1__TENANT_LIST__INIT;
    Varve__V1__TenantRemove gone = VARVE__V1__TENANT_REMOVE__INIT;
    Varve__V1__HostMove move = VARVE__V1__HOST_MOVE__INIT;
    Varve__V1__QuotaSet set = VARVE__V1__QUOTA_SET__INIT;
    Varve__V1__QuotaShow show = VARVE__V1__QUOTA_SHOW__INIT;
    Varve__V1__QuotaLimits limits = VARVE__V1__QUOTA_LIMITS__INIT;
    struct envelope_in in;
    struct member m;
    struct peer op;

    join(&m, st, "node-a", NULL, &mail);
    peer_operator(&op, st);
    add.name = acme;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_TENANT_ADD, &add,
                  VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, NULL),
              &err);
    assert_err(ask(&op, VARVE__V1__ENVELOPE__BODY_TENANT_ADD, &add,
                   VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, NULL),
               VARVE_ERR_EXISTS, &err);
    move.host = node;
    move.tenant = acme;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_HOST_MOVE, &move,
                  VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY, &in),
              &err);
    assert_string_equal(in.head->host_move_reply->host->tenant, "acme");
    envelope_release(&in);
    assert_int_not_equal(peer_ending(&m.agent), VARVE_OK); /* it must begin anew */
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_TENANT_LIST, &list,
                  VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, &in),
              &err);
    assert_int_equal(in.head->tenant_reply->n_tenants, 2);
    assert_string_equal(in.head->tenant_reply->tenants[1]->name, "acme");
    assert_int_equal(in.head->tenant_reply->tenants[1]->hosts, 1);
    envelope_release(&in);
    set.tenant = acme;
    set.limits = &limits;
    set.mask = 2;
    limits.stored = 1000;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_QUOTA_SET, &set,
                  VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY, NULL),
              &err);
    set.mask = 8;
    limits.stored = 0;
    limits.vms = 5;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_QUOTA_SET, &set,
                  VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY, NULL),
              &err);
    show.tenant = acme;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_QUOTA_SHOW, &show,
                  VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY, &in),
              &err);
    assert_int_equal(in.head->quota_reply->quotas[0]->limits->stored, 1000);
    assert_int_equal(in.head->quota_reply->quotas[0]->limits->vms, 5);
    envelope_release(&in);
    gone.name = acme;
    assert_err(ask(&op, VARVE__V1__ENVELOPE__BODY_TENANT_REMOVE, &gone,
                   VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, NULL),
               VARVE_ERR_BUSY, &err);
    move.tenant = home;
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_HOST_MOVE, &move,
                  VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY, NULL),
              &err);
    assert_ok(ask(&op, VARVE__V1__ENVELOPE__BODY_TENANT_REMOVE, &gone,
                  VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, NULL),
              &err);
    peer_close(&op);
    leave(&m);
}

static void
a_tenant_whose_points_can_be_undeleted_keeps_its_key(void **state)
{
    struct stage *st = *state;
    struct image im = image_new(4 * CHUNK, 1);
    struct point *p = NULL;
    struct outcome o;
    struct member m;
    struct tenant t;
    struct guid vm;

    join(&m, st, "node-a", "acme", &mail);
    tenant_backup(st, &m, &im, &o);
    vm = vm_at(st, &m.host);
    peer_close(&m.agent);
    assert_ok(state_host_revoke(st->c.state, &m.host, &err), &err);
    assert_ok(state_tenant_select(st->c.state, "acme", &t, &err), &err);
    assert_err(tenants_remove(st->c.state, st->c.chunks, st->c.catalog, &t, &err), VARVE_ERR_BUSY,
               &err);
    catalog_latest(st->c.catalog, &vm, &p);
    assert_non_null(p);
    assert_ok(catalog_delete(st->c.catalog, p, 1, INT64_MAX, "me", "", &err), &err);
    assert_err(tenants_remove(st->c.state, st->c.chunks, st->c.catalog, &t, &err), VARVE_ERR_BUSY,
               &err);
    assert_ok(catalog_undelete(st->c.catalog, p, &err), &err);
    assert_latest_holds(st, &vm, &im);
    point_unref(p);
    tenant_release(&t);
    identity_free(m.id);
    free(im.data);
}

static void
tenants_come_back_when_the_state_file_was_lost(void **state)
{
    struct stage *st = *state;
    struct tenant t;
    struct tenant again;

    assert_ok(tenants_add(st->c.state, st->c.chunks, "acme", &t, &err), &err);
    assert_ok(state_tenant_remove(st->c.state, &t.id, &err), &err); /* as a fresh file would be */
    assert_ok(tenants_adopt(st->c.state, st->c.chunks, &err), &err);
    assert_ok(state_tenant_select(st->c.state, "acme", &again, &err), &err);
    assert_true(guid_equal(&t.id, &again.id));
    tenant_release(&t);
    tenant_release(&again);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(equal_disks_of_two_tenants_travel_and_are_charged_as_if_alone),
        STAGE_CASE(a_host_that_claims_another_tenants_vm_gets_nothing_of_it),
        STAGE_CASE(a_run_that_would_pass_a_quota_ends_and_nothing_is_harmed),
        STAGE_CASE(the_quota_of_a_tenant_is_shared_by_its_hosts),
        STAGE_CASE(an_operator_makes_fills_and_removes_a_tenant),
        STAGE_CASE(a_tenant_whose_points_can_be_undeleted_keeps_its_key),
        STAGE_CASE(tenants_come_back_when_the_state_file_was_lost),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
