/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "store/store_fault.h"
#include "wire/access.h"

/* What sessions do for peers that keep to the protocol. */

static const struct test_vm mail = {{{0x11, 1, 2, 3}}, "mail", 1};
static const struct test_vm web = {{{0x22, 1, 2, 3}}, "web", 1};
static const struct test_vm db = {{{0x33, 1, 2, 3}}, "db", 1};

/* An agent with these vms, an operator, and nothing done yet. */
struct cast {
    struct stage *st;
    struct identity *id;
    struct guid host;
    struct peer agent;
    struct peer op;
};

static void
enter(struct cast *k, struct stage *st, const struct test_vm *vms, size_t count)
{
    memset(k, 0, sizeof(*k));
    k->st = st;
    k->host = stage_host(st, "node-1", &k->id);
    peer_agent(&k->agent, st, k->id);
    assert_ok(agent_inventory(&k->agent, vms, count), &err);
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
assert_run(const struct envelope_in *in, const char *phase, enum varve_err code)
{
    const Varve__V1__BackupRunReply *reply = in->head->backup_run_reply;

    assert_int_equal(reply->n_runs, 1);
    assert_string_equal(reply->runs[0]->phase, phase);
    if (code == VARVE_OK) {
        assert_null(reply->runs[0]->error);
    } else {
        assert_non_null(reply->runs[0]->error);
        assert_int_equal(reply->runs[0]->error->code, code);
    }
}

static void
hello_tells_an_agent_what_it_must_keep_to(void **state)
{
    struct stage *st = *state;
    struct identity *id = NULL;
    struct guid host = stage_host(st, "node-1", &id);
    const Varve__V1__HelloReply *reply;
    struct envelope_in in;
    struct peer p;

    assert_ok(peer_dial(&p, st, id, NULL), &err);
    assert_ok(peer_hello(&p, VARVE__V1__ROLE__ROLE_AGENT, false, &in), &err);
    reply = in.head->hello_reply;
    assert_int_equal(reply->major, 1);
    assert_int_equal(reply->host_id.len, 16);
    assert_memory_equal(reply->host_id.data, host.bytes, 16);
    assert_string_equal(reply->host_name, "node-1");
    assert_int_equal(reply->chunk_size, CHUNK);
    assert_int_equal(reply->credit_bytes, REGISTRY_CREDIT_DEFAULT);
    assert_int_equal(reply->offers_in_flight, REGISTRY_OFFERS);
    envelope_release(&in);
    peer_close(&p);
    identity_free(id);
}

static void
a_token_enrols_a_host_once(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInvite body = VARVE__V1__HOST_INVITE__INIT;
    char name[] = "node-1";
    char address[] = "tcp://backup.example:4627";
    struct identity *id = NULL;
    struct access_token token;
    struct envelope_in in;
    struct peer p;

    peer_operator(&p, st);
    body.name = name;
    body.address = address;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HOST_INVITE;
    head.host_invite = &body;
    assert_ok(peer_call(&p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY, &in),
              &err);
    assert_ok(access_token_parse(&token, in.head->host_invite_reply->token, &err), &err);
    assert_true(in.head->host_invite_reply->expires_at_us > time_now_us());
    envelope_release(&in);
    peer_close(&p);
    assert_string_equal(token.address, address);
    assert_memory_equal(token.collector, identity_public(st->own), 32);

    assert_ok(identity_generate(&id, &err), &err);
    assert_err(peer_dial(&p, st, id, NULL), VARVE_ERR_AUTH, &err); /* not known yet */
    assert_ok(peer_dial(&p, st, id, &token.secret), &err);
    assert_ok(peer_hello(&p, VARVE__V1__ROLE__ROLE_AGENT, true, &in), &err);
    assert_string_equal(in.head->hello_reply->host_name, "node-1");
    envelope_release(&in);
    peer_close(&p);
    assert_err(peer_dial(&p, st, id, &token.secret), VARVE_ERR_AUTH, &err); /* spent */
    peer_agent(&p, st, id);
    peer_close(&p);
    identity_free(id);
}

static void
an_invitation_without_an_address_that_others_reach_is_refused(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInvite body = VARVE__V1__HOST_INVITE__INIT;
    char name[] = "node-1";
    struct peer p;

    peer_operator(&p, st);
    body.name = name;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HOST_INVITE;
    head.host_invite = &body;
    assert_err(peer_call(&p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY, NULL),
               VARVE_ERR_INVALID, &err);
    assert_non_null(strstr(err.msg, "--address"));
    peer_close(&p);
}

static void
a_backup_goes_from_the_operators_word_to_a_point(void **state)
{
    struct image im = image_new(100 * CHUNK + 512, 1);
    struct envelope_in in;
    struct guid run;
    struct guid vm;
    struct guid point;
    struct cast k;
    uint64_t id = 0;

    zero_chunk(&im, 30);
    enter(&k, *state, &mail, 1);
    for (int round = 0; round < 2; round++) {
        const Varve__V1__RunInfo *info;

        assert_ok(operator_backup(&k.op, "MAIL", false, &id), &err);
        assert_ok(agent_accept_run(&k.agent, &run, &vm), &err);
        assert_true(guid_equal(&vm, &mail.id));
        assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
        assert_ok(operator_backup_end(&k.op, id, &in), &err);
        assert_run(&in, "done", VARVE_OK);
        info = in.head->backup_run_reply->runs[0];
        assert_memory_equal(info->run_id.data, run.bytes, 16);
        assert_memory_equal(info->point_id.data, point.bytes, 16);
        assert_int_equal(info->point_seq, round + 1);
        assert_true(info->new_bytes == (round == 0 ? 99 * CHUNK + 512 : 0));
        assert_true(info->ended_at_us >= info->started_at_us);
        assert_string_equal(info->host_name, "node-1");
        envelope_release(&in);
        assert_latest_holds(k.st, &mail.id, &im);
    }
    leave(&k);
    free(im.data);
}

static void
start_run_carries_the_change_ids_of_the_last_point_unless_full(void **state)
{
    struct image im = image_new(4 * CHUNK, 1);
    struct envelope_in in;
    struct guid run;
    struct guid point;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, &mail, 1);
    for (int round = 0; round < 3; round++) {
        struct envelope_in start;

        assert_ok(operator_backup(&k.op, "mail", round == 2, &id), &err);
        assert_ok(peer_request(&k.agent, VARVE__V1__ENVELOPE__BODY_START_RUN, &start), &err);
        assert_int_equal(start.head->start_run->n_base_disks, round == 1 ? 1 : 0);
        assert_int_equal(start.head->start_run->full, round == 2);
        if (round == 1) {
            assert_string_equal(start.head->start_run->base_disks[0]->change_id, "change-1");
            assert_true(start.head->start_run->base_disks[0]->size == im.size);
        }
        k.agent.requests[0] = start;
        k.agent.request_count = 1;
        assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
        assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
        assert_ok(operator_backup_end(&k.op, id, &in), &err);
        envelope_release(&in);
    }
    leave(&k);
    free(im.data);
}

static void
cut_after_every_message(struct stage *st, bool behind)
{
    struct image im = image_new(40 * CHUNK + 512, 1);
    struct cast k;
    bool whole = false;

    enter(&k, st, &mail, 1);
    for (uint64_t cut = 1; !whole; cut++) {
        struct test_vm vm = mail;
        struct envelope_in in;
        struct guid run;
        struct guid point;
        uint64_t id = 0;
        enum varve_err rc;

        /* Another vm and other bytes each time, so that the store helps nobody. */
        vm.id.bytes[15] = (uint8_t)cut;
        for (uint64_t c = 0; c < chunks_of(&im); c++) {
            im.data[c * CHUNK] ^= (uint8_t)(cut + c + 1);
            im.data[c * CHUNK + 1] = (uint8_t)cut;
        }
        assert_ok(agent_inventory(&k.agent, &vm, 1), &err);
        assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
        assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
        k.agent.cut_after = k.agent.sent + cut;
        k.agent.cut_behind = behind;
        rc = agent_whole_run(&k.agent, &run, &im, &point);
        whole = rc == VARVE_OK;
        if (!whole) {
            peer_cut(&k.agent);
            peer_agent(&k.agent, k.st, k.id);
            assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
        }
        k.agent.cut_after = 0;
        assert_ok(operator_backup_end(&k.op, id, &in), &err);
        assert_run(&in, "done", VARVE_OK);
        envelope_release(&in);
        assert_latest_holds(k.st, &vm.id, &im);
    }
    leave(&k);
    free(im.data);
}

static void
a_run_survives_a_cut_before_every_message(void **state)
{
    cut_after_every_message(*state, false);
}

static void
a_run_survives_a_cut_before_every_answer(void **state)
{
    cut_after_every_message(*state, true);
}

static void
a_newer_session_of_a_host_ends_the_older(void **state)
{
    struct stage *st = *state;
    struct identity *id = NULL;
    struct peer first;
    struct peer second;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&first, st, id);
    peer_agent(&second, st, id);
    assert_int_equal(peer_ending(&first), VARVE_ERR_IO);
    assert_ok(agent_inventory(&second, &mail, 1), &err);
    assert_int_equal(registry_hosts_connected(st->c.registry), 1);
    peer_close(&first);
    peer_close(&second);
    identity_free(id);
}

static void
a_run_goes_on_when_its_operator_leaves(void **state)
{
    struct image im = image_new(20 * CHUNK, 1);
    struct guid run;
    struct guid point;
    struct cast k;

    enter(&k, *state, &mail, 1);
    assert_ok(operator_backup(&k.op, "mail", false, NULL), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    peer_cut(&k.op);
    assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
    assert_latest_holds(k.st, &mail.id, &im);
    leave(&k);
    free(im.data);
}

static void
what_cannot_be_backed_up_now_says_why(void **state)
{
    const struct test_vm vms[2] = {mail, {{{0x44}}, "Mail", 1}};
    struct envelope_in in;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, vms, 2);
    assert_ok(operator_backup(&k.op, "nothing", false, &id), &err);
    assert_err(operator_backup_end(&k.op, id, &in), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_err(operator_backup_end(&k.op, id, &in), VARVE_ERR_INVALID, &err); /* two of them */
    assert_non_null(strstr(err.msg, "44000000-0000"));

    assert_ok(agent_inventory(&k.agent, &mail, 1), &err);
    peer_close(&k.agent);
    while (registry_host_connected(k.st->c.registry, &k.host)) {
        thread_sleep_ms(1);
    }
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_run(&in, "failed", VARVE_ERR_IO);
    assert_non_null(strstr(in.head->backup_run_reply->runs[0]->error->message, "node-1"));
    envelope_release(&in);
    leave(&k);
}

static void
an_agent_that_refuses_a_run_fails_it(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error e = VARVE__V1__ERROR__INIT;
    char message[] = "vm is busy";
    struct envelope_in in;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, &mail, 1);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(peer_request(&k.agent, VARVE__V1__ENVELOPE__BODY_START_RUN, &in), &err);
    e.code = VARVE_ERR_BUSY;
    e.message = message;
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_ERROR;
    head.error = &e;
    envelope_release(&in);
    assert_ok(peer_send(&k.agent, &head, NULL, 0, NULL), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_run(&in, "failed", VARVE_ERR_BUSY);
    assert_non_null(strstr(in.head->backup_run_reply->runs[0]->error->message, "vm is busy"));
    envelope_release(&in);
    leave(&k);
}

static void
a_host_has_as_many_runs_at_a_time_as_allowed(void **state)
{
    const struct test_vm vms[3] = {mail, web, db};
    struct image im = image_new(4 * CHUNK, 1);
    struct envelope_in in;
    struct guid runs[3];
    struct guid point;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, vms, 3);
    assert_ok(operator_backup(&k.op, NULL, false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &runs[0], NULL), &err);
    assert_ok(agent_accept_run(&k.agent, &runs[1], NULL), &err);
    thread_sleep_ms(50);
    assert_ok(agent_inventory(&k.agent, vms, 3), &err); /* no third StartRun came with the answer */
    assert_int_equal(k.agent.request_count, 0);
    assert_ok(agent_whole_run(&k.agent, &runs[0], &im, &point), &err);
    assert_ok(agent_accept_run(&k.agent, &runs[2], NULL), &err);
    assert_ok(agent_whole_run(&k.agent, &runs[1], &im, &point), &err);
    assert_ok(agent_whole_run(&k.agent, &runs[2], &im, &point), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_int_equal(in.head->backup_run_reply->n_runs, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(in.head->backup_run_reply->runs[i]->phase, "done");
    }
    envelope_release(&in);
    leave(&k);
    free(im.data);
}

static void
a_full_store_is_told_to_agent_and_operator_and_the_next_run_works(void **state)
{
    const struct store_fault_plan full = {.kinds = STORE_FAULT_PUT,
                                          .fail_at = 1,
                                          .fail_forever = true,
                                          .fail_code = VARVE_ERR_NOSPACE};
    const struct store_fault_plan fine = {.fail_at = 0};
    struct image im = image_new(40 * CHUNK, 1);
    struct envelope_in in;
    struct guid run;
    struct guid point;
    struct varve_error told;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, &mail, 1);
    store_fault_set(k.st->store, &full);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    assert_err(agent_whole_run(&k.agent, &run, &im, &point), VARVE_ERR_NOSPACE, &err);
    told = err;
    assert_ok(agent_end(&k.agent, &run, &told), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_run(&in, "failed", VARVE_ERR_NOSPACE);
    envelope_release(&in);

    store_fault_set(k.st->store, &fine);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_run(&in, "done", VARVE_OK);
    envelope_release(&in);
    assert_latest_holds(k.st, &mail.id, &im);
    leave(&k);
    free(im.data);
}

static enum varve_err
revoke(struct peer *op, const char *host)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostRevoke body = VARVE__V1__HOST_REVOKE__INIT;

    body.host = (char *)(uintptr_t)host;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HOST_REVOKE;
    head.host_revoke = &body;
    return peer_call(op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_HOST_REVOKE_REPLY, NULL);
}

static void
a_host_revoked_in_the_middle_of_a_run_is_out_at_once(void **state)
{
    struct image im = image_new(40 * CHUNK, 1);
    struct ingest_position at[4];
    struct envelope_in in;
    struct guid run;
    struct peer second;
    struct cast k;
    uint64_t next = 0;
    uint64_t id = 0;
    size_t count = 0;
    bool committed = false;

    enter(&k, *state, &mail, 1);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    assert_ok(agent_begin(&k.agent, &run, at, &count, &committed), &err);
    assert_ok(agent_disk_begin(&k.agent, &run, 0, &im, false, &next), &err);
    assert_ok(agent_chunks(&k.agent, &run, 0, &im, 0, 16), &err);
    peer_operator(&second, k.st);
    assert_ok(revoke(&second, "node-1"), &err);
    peer_close(&second);
    assert_int_equal(peer_ending(&k.agent), VARVE_ERR_IO);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    assert_run(&in, "failed", VARVE_ERR_DENIED);
    envelope_release(&in);
    peer_close(&k.agent);
    assert_err(peer_dial(&k.agent, k.st, k.id, NULL), VARVE_ERR_AUTH, &err);
    leave(&k);
    free(im.data);
}

static void
a_stopped_collector_says_farewell_and_settles_its_runs(void **state)
{
    struct image im = image_new(4 * CHUNK, 1);
    struct ingest_position at[4];
    struct run_info *runs = NULL;
    struct guid run;
    struct cast k;
    size_t count = 0;
    uint64_t id = 0;
    bool committed = false;

    enter(&k, *state, &mail, 1);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    assert_ok(agent_begin(&k.agent, &run, at, &count, &committed), &err);
    stage_close(k.st);
    assert_int_equal(peer_ending(&k.agent), VARVE_ERR_CLOSED);
    assert_int_equal(peer_ending(&k.op), VARVE_ERR_CLOSED);
    leave(&k);
    k.id = NULL;
    stage_open(k.st);
    assert_ok(state_run_list(k.st->c.state, false, 10, &runs, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(runs[0].phase, RUN_FAILED);
    assert_int_equal(runs[0].error.code, VARVE_ERR_CANCELLED);
    free(runs);
    free(im.data);
}

static void
status_counts_what_there_is(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Status body = VARVE__V1__STATUS__INIT;
    struct image im = image_new(10 * CHUNK, 1);
    struct envelope_in in;
    struct guid run;
    struct guid point;
    struct cast k;
    uint64_t id = 0;

    enter(&k, *state, &mail, 1);
    assert_ok(operator_backup(&k.op, "mail", false, &id), &err);
    assert_ok(agent_accept_run(&k.agent, &run, NULL), &err);
    assert_ok(agent_whole_run(&k.agent, &run, &im, &point), &err);
    assert_ok(operator_backup_end(&k.op, id, &in), &err);
    envelope_release(&in);
    head.body_case = VARVE__V1__ENVELOPE__BODY_STATUS;
    head.status = &body;
    assert_ok(peer_call(&k.op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_STATUS_REPLY, &in), &err);
    assert_int_equal(in.head->status_reply->hosts, 1);
    assert_int_equal(in.head->status_reply->hosts_connected, 1);
    assert_int_equal(in.head->status_reply->vms, 1);
    assert_int_equal(in.head->status_reply->points, 1);
    assert_true(in.head->status_reply->logical_bytes == im.size);
    assert_true(in.head->status_reply->chunks >= 10);
    assert_int_equal(in.head->status_reply->n_runs, 0);
    assert_int_equal(in.head->status_reply->chunk_size, CHUNK);
    envelope_release(&in);
    leave(&k);
    free(im.data);
}

struct parallel {
    struct thread thread;
    struct stage *st;
    struct identity *id;
    struct test_vm vm;
    struct image im;
};

static void
run_one_agent(void *arg)
{
    struct parallel *a = arg;
    struct guid run;
    struct guid point;
    struct peer p;

    peer_agent(&p, a->st, a->id);
    assert_ok(agent_inventory(&p, &a->vm, 1), &err);
    for (int round = 0; round < 3; round++) {
        a->im.data[(unsigned)round * CHUNK] ^= (uint8_t)(a->vm.id.bytes[0] + 1);
        assert_ok(agent_accept_run(&p, &run, NULL), &err);
        assert_ok(agent_whole_run(&p, &run, &a->im, &point), &err);
        assert_latest_holds(a->st, &a->vm.id, &a->im);
    }
    peer_close(&p);
}

static size_t
known_vms(struct stage *st)
{
    struct vm_row *rows = NULL;
    size_t count = 0;

    assert_ok(state_vm_list(st->c.state, NULL, NULL, &rows, &count, &err), &err);
    vm_list_free(rows, count);
    return count;
}

static void
agents_with_shared_content_run_side_by_side(void **state)
{
    const struct test_vm vms[3] = {mail, web, db};
    const char *const names[3] = {"node-1", "node-2", "node-3"};
    struct stage *st = *state;
    struct parallel agents[3];
    struct peer op;

    for (size_t i = 0; i < 3; i++) {
        agents[i].st = st;
        agents[i].vm = vms[i];
        agents[i].im = image_new(300 * CHUNK, 7);
        (void)stage_host(st, names[i], &agents[i].id);
        assert_ok(thread_start(&agents[i].thread, "agent", run_one_agent, &agents[i], &err), &err);
    }
    while (known_vms(st) < 3) {
        thread_sleep_ms(1);
    }
    peer_operator(&op, st);
    for (int round = 0; round < 3; round++) {
        struct envelope_in in;
        uint64_t id = 0;

        assert_ok(operator_backup(&op, NULL, false, &id), &err);
        assert_ok(operator_backup_end(&op, id, &in), &err);
        assert_int_equal(in.head->backup_run_reply->n_runs, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_string_equal(in.head->backup_run_reply->runs[i]->phase, "done");
        }
        envelope_release(&in);
    }
    for (size_t i = 0; i < 3; i++) {
        thread_join(&agents[i].thread);
        free(agents[i].im.data);
        identity_free(agents[i].id);
    }
    peer_close(&op);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(hello_tells_an_agent_what_it_must_keep_to),
        STAGE_CASE(a_token_enrols_a_host_once),
        STAGE_CASE(an_invitation_without_an_address_that_others_reach_is_refused),
        STAGE_CASE(a_backup_goes_from_the_operators_word_to_a_point),
        STAGE_CASE(start_run_carries_the_change_ids_of_the_last_point_unless_full),
        STAGE_CASE(a_run_survives_a_cut_before_every_message),
        STAGE_CASE(a_run_survives_a_cut_before_every_answer),
        STAGE_CASE(a_newer_session_of_a_host_ends_the_older),
        STAGE_CASE(a_run_goes_on_when_its_operator_leaves),
        STAGE_CASE(what_cannot_be_backed_up_now_says_why),
        STAGE_CASE(an_agent_that_refuses_a_run_fails_it),
        STAGE_CASE(a_host_has_as_many_runs_at_a_time_as_allowed),
        STAGE_CASE(a_full_store_is_told_to_agent_and_operator_and_the_next_run_works),
        STAGE_CASE(a_host_revoked_in_the_middle_of_a_run_is_out_at_once),
        STAGE_CASE(a_stopped_collector_says_farewell_and_settles_its_runs),
        STAGE_CASE(status_counts_what_there_is),
        STAGE_CASE(agents_with_shared_content_run_side_by_side),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
