/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "session/session_testing.h"

/* The operator's order of how a vm is to be frozen, on its way to the vm's host. */

static const struct test_vm web = {.id = {{1}}, .name = "web", .disks = 1};
static const struct test_vm db = {.id = {{2}}, .name = "db", .disks = 1};

struct cast {
    struct identity *id;
    struct peer agent;
    struct peer op;
};

static void
enter(struct cast *k, struct stage *st, uint32_t minor)
{
    const struct test_vm vms[] = {web, db};

    memset(k, 0, sizeof(*k));
    (void)stage_host(st, "node-1", &k->id);
    assert_ok(peer_dial(&k->agent, st, k->id, NULL), &err);
    k->agent.minor = minor;
    assert_ok(peer_hello(&k->agent, VARVE__V1__ROLE__ROLE_AGENT, false, NULL), &err);
    assert_ok(agent_inventory(&k->agent, vms, 2), &err);
    peer_operator(&k->op, st);
}

static void
leave(struct cast *k)
{
    peer_close(&k->agent);
    peer_close(&k->op);
    identity_free(k->id);
}

static void
backup(struct cast *k, const char *vm, const char *method, uint64_t *id)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BackupRun body = VARVE__V1__BACKUP_RUN__INIT;
    char *vms[1] = {(char *)(uintptr_t)vm};

    body.vms = vms;
    body.n_vms = 1;
    body.method = (char *)(uintptr_t)method;
    head.body_case = VARVE__V1__ENVELOPE__BODY_BACKUP_RUN;
    head.backup_run = &body;
    assert_ok(peer_send(&k->op, &head, NULL, 0, id), &err);
}

/* The host is asked for a run by that method, and refuses it. */
static void
assert_asked(struct cast *k, const char *vm, const char *order, const char *method)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error refusal = VARVE__V1__ERROR__INIT;
    char text[] = "enough";
    struct envelope_in in;
    uint64_t id = 0;

    backup(k, vm, order, &id);
    assert_ok(peer_request(&k->agent, VARVE__V1__ENVELOPE__BODY_START_RUN, &in), &err);
    assert_string_equal(in.head->start_run->method, method);
    refusal.code = VARVE_ERR_LIMIT;
    refusal.message = text;
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_ERROR;
    head.error = &refusal;
    envelope_release(&in);
    assert_ok(peer_send(&k->agent, &head, NULL, 0, NULL), &err);
    assert_ok(operator_backup_end(&k->op, id, &in), &err);
    envelope_release(&in);
}

static void
change_policies(struct cast *k, Varve__V1__PolicyChange body)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;

    head.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE;
    head.policy_change = &body;
    assert_ok(
        peer_call(&k->op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY, NULL),
        &err);
}

static void
an_order_for_a_run_goes_before_the_policy_of_the_vm(void **state)
{
    Varve__V1__PolicyChange put = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__PolicyChange assign = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__Policy policy = VARVE__V1__POLICY__INIT;
    char name[] = "old";
    char method[] = "vss";
    char vm[] = "web";
    struct cast k;

    enter(&k, *state, 3);
    policy.name = name;
    policy.last = 2;
    policy.method = method;
    put.put = &policy;
    change_policies(&k, put);
    assign.assign = true;
    assign.policy = name;
    assign.vm = vm;
    change_policies(&k, assign);
    assert_asked(&k, "web", "", "vss");
    assert_asked(&k, "web", "refpoint", "refpoint");
    assert_asked(&k, "web", "auto", "auto");
    assert_asked(&k, "db", "", "");
    assert_asked(&k, "db", "export", "export");
    leave(&k);
}

/* Its Policy has no place for one. */
static void
a_command_of_before_methods_changes_a_policy_and_leaves_its_method(void **state)
{
    Varve__V1__PolicyChange put = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__PolicyChange look = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__Policy policy = VARVE__V1__POLICY__INIT;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    struct stage *st = *state;
    static const struct {
        uint32_t minor;
        const char *says;
        const char *method; /* then */
    } steps[] = {{2, "", ""}, {3, "vss", "vss"}, {2, "", "vss"}, {3, "", ""}};
    char name[] = "old";

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct envelope_in in;
        struct cast k;

        assert_ok(peer_dial(&k.op, st, st->operator_id, NULL), &err);
        k.op.minor = steps[i].minor;
        assert_ok(peer_hello(&k.op, VARVE__V1__ROLE__ROLE_OPERATOR, false, NULL), &err);
        policy.name = name;
        policy.last = (uint32_t)i + 1;
        policy.method = (char *)(uintptr_t)steps[i].says;
        put.put = &policy;
        change_policies(&k, put);
        head.id = 0;
        head.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE;
        head.policy_change = &look;
        assert_ok(
            peer_call(&k.op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY, &in),
            &err);
        assert_int_equal(in.head->policy_change_reply->policies[0]->last, i + 1);
        assert_string_equal(in.head->policy_change_reply->policies[0]->method, steps[i].method);
        envelope_release(&in);
        peer_close(&k.op);
    }
}

static void
an_agent_that_is_too_old_for_an_order_gets_no_run(void **state)
{
    struct envelope_in in;
    uint64_t id = 0;
    struct cast k;

    enter(&k, *state, 2);
    backup(&k, "web", "vss", &id);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_string_equal(in.head->backup_run_reply->runs[0]->phase, "failed");
    assert_int_equal(in.head->backup_run_reply->runs[0]->error->code, VARVE_ERR_UNSUPPORTED);
    assert_non_null(strstr(in.head->backup_run_reply->runs[0]->error->message, "too old"));
    envelope_release(&in);
    assert_asked(&k, "web", "", ""); /* without one it does as always */
    leave(&k);
}

static void
a_word_that_can_be_no_method_is_refused_before_a_run_is_made(void **state)
{
    struct envelope_in in;
    uint64_t id = 0;
    struct cast k;

    enter(&k, *state, 3);
    backup(&k, "web", "VSS!", &id);
    assert_err(operator_backup_end(&k.op, id, &in), VARVE_ERR_INVALID, &err);
    backup(&k, "web", "a-method-of-many-letters", &id);
    assert_err(operator_backup_end(&k.op, id, &in), VARVE_ERR_INVALID, &err);
    leave(&k);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(an_order_for_a_run_goes_before_the_policy_of_the_vm),
        STAGE_CASE(a_command_of_before_methods_changes_a_policy_and_leaves_its_method),
        STAGE_CASE(an_agent_that_is_too_old_for_an_order_gets_no_run),
        STAGE_CASE(a_word_that_can_be_no_method_is_refused_before_a_run_is_made),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
