/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"

/* Two nodes on the wire: traces, CleanVm, a run that goes on where its vm is. */

static const struct test_vm mail = {{{2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}}, "mail", 1};
static char foreign[] = "foreign";
static char ours[] = "ours";
static char *marks[] = {foreign, ours};

struct nodes {
    struct stage *st;
    struct identity *ids[2];
    struct guid hosts[2];
    struct peer agents[2];
    struct peer op;
};

static void
open_nodes(struct nodes *n, struct stage *st)
{
    memset(n, 0, sizeof(*n));
    n->st = st;
    n->hosts[0] = stage_host(st, "node-0", &n->ids[0]);
    n->hosts[1] = stage_host(st, "node-1", &n->ids[1]);
    for (int i = 0; i < 2; i++) {
        peer_agent(&n->agents[i], st, n->ids[i]);
    }
    peer_operator(&n->op, st);
}

static void
close_nodes(struct nodes *n)
{
    for (int i = 0; i < 2; i++) {
        peer_close(&n->agents[i]);
        identity_free(n->ids[i]);
    }
    peer_close(&n->op);
}

static enum varve_err
say_trace(struct peer *p, const struct guid *run, size_t mark_count, char **list)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RunTrace body = VARVE__V1__RUN_TRACE__INIT;
    char checkpoint[] = "cp";

    body.run_id.data = (uint8_t *)(uintptr_t)run->bytes;
    body.run_id.len = 16;
    body.checkpoint = checkpoint;
    body.keep_tried = true;
    body.marks = list;
    body.n_marks = mark_count;
    body.kept = list + 1;
    body.n_kept = mark_count > 0 ? 1 : 0;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RUN_TRACE;
    head.run_trace = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_RUN_TRACE_REPLY, NULL);
}

static enum varve_err
say_end(struct peer *p, const struct guid *run, bool failed, Varve__V1__Leaves leaves)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRun body = VARVE__V1__END_RUN__INIT;
    Varve__V1__Error why = VARVE__V1__ERROR__INIT;
    char text[] = "the vm is not here";

    body.run_id.data = (uint8_t *)(uintptr_t)run->bytes;
    body.run_id.len = 16;
    body.leaves = leaves;
    why.code = VARVE_ERR_NOT_FOUND;
    why.message = text;
    body.error = failed ? &why : NULL;
    head.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN;
    head.end_run = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_END_RUN_REPLY, NULL);
}

static size_t
traces(struct nodes *n, struct guid *host)
{
    struct trace *list = NULL;
    size_t count = 0;

    assert_ok(state_trace_list(n->st->c.state, &list, &count, &err), &err);
    if (count > 0 && host != NULL) {
        *host = list[0].host;
    }
    trace_list_free(list, count);
    return count;
}

/* A run that node 0 has begun and told what it may leave. */
static struct guid
begin_on_node_0(struct nodes *n)
{
    struct ingest_position at[4];
    struct guid run;
    size_t count = 0;
    bool committed = false;

    assert_ok(agent_inventory(&n->agents[0], &mail, 1), &err);
    assert_ok(operator_backup(&n->op, "mail", false, NULL), &err);
    assert_ok(agent_accept_run(&n->agents[0], &run, NULL), &err);
    assert_ok(agent_begin(&n->agents[0], &run, at, &count, &committed), &err);
    assert_ok(say_trace(&n->agents[0], &run, 2, marks), &err);
    return run;
}

/* Until something else is asked. */
static void
skip_looks(struct peer *p)
{
    for (;;) {
        struct envelope_in in;

        if (p->request_count == 0) {
            assert_ok(envelope_recv(p->ch, &in, &err), &err);
            p->requests[p->request_count++] = in;
        }
        if (p->requests[0].head->body_case != VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN) {
            return;
        }
        assert_ok(peer_request(p, VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN, &in), &err);
        envelope_release(&in);
    }
}

/* What node 1 is asked next. */
static void
take_clean(struct peer *p, const struct guid *run)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CleanVmReply body = VARVE__V1__CLEAN_VM_REPLY__INIT;
    struct envelope_in in;

    skip_looks(p);
    assert_ok(peer_request(p, VARVE__V1__ENVELOPE__BODY_CLEAN_VM, &in), &err);
    assert_memory_equal(in.head->clean_vm->run_id.data, run->bytes, 16);
    assert_memory_equal(in.head->clean_vm->vm_id.data, mail.id.bytes, 16);
    assert_false(in.head->clean_vm->committed);
    assert_true(in.head->clean_vm->keep_tried);
    assert_string_equal(in.head->clean_vm->checkpoint, "cp");
    assert_int_equal(in.head->clean_vm->n_marks, 2);
    assert_string_equal(in.head->clean_vm->marks[1], "ours");
    assert_int_equal(in.head->clean_vm->n_kept, 1);
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_CLEAN_VM_REPLY;
    head.clean_vm_reply = &body;
    envelope_release(&in);
    assert_ok(peer_send(p, &head, NULL, 0, NULL), &err);
}

static void
await_traces(struct nodes *n, size_t want)
{
    for (int i = 0; i < 1000 && traces(n, NULL) != want; i++) {
        thread_sleep_ms(10);
    }
    assert_int_equal(traces(n, NULL), want);
}

static void
a_run_whose_vm_moved_goes_on_there_behind_the_cleaning_up(void **state)
{
    struct nodes n;
    struct image im = image_new(4 * CHUNK, 1);
    struct envelope_in in;
    struct guid run;
    struct guid next;
    struct guid host;
    struct guid point;

    open_nodes(&n, *state);
    run = begin_on_node_0(&n);
    assert_ok(agent_inventory(&n.agents[1], &mail, 1), &err);
    assert_ok(agent_inventory(&n.agents[0], &mail, 0), &err);
    assert_int_equal(traces(&n, &host), 1);
    assert_true(guid_equal(&host, &n.hosts[0]));
    assert_ok(say_end(&n.agents[0], &run, true, VARVE__V1__LEAVES__LEAVES_WITH_VM), &err);
    take_clean(&n.agents[1], &run); /* before the run */
    assert_ok(agent_accept_run(&n.agents[1], &next, NULL), &err);
    assert_false(guid_equal(&run, &next));
    assert_ok(agent_whole_run(&n.agents[1], &next, &im, &point), &err);
    assert_int_equal(traces(&n, &host), 1);
    assert_true(guid_equal(&host, &n.hosts[1]));
    /* Its first host has no say in it any more. */
    assert_ok(say_end(&n.agents[0], &run, true, VARVE__V1__LEAVES__LEAVES_NOTHING), &err);
    assert_int_equal(traces(&n, NULL), 1);
    assert_ok(say_end(&n.agents[1], &run, false, VARVE__V1__LEAVES__LEAVES_NOTHING), &err);
    assert_int_equal(traces(&n, NULL), 0);
    assert_latest_holds(n.st, &mail.id, &im);
    /* The operator, who asked once, hears of one run that went well. */
    assert_ok(operator_backup_end(&n.op, n.op.last_id, &in), &err);
    for (size_t i = 0; i < in.head->backup_run_reply->n_runs; i++) {
        assert_string_equal(in.head->backup_run_reply->runs[i]->phase, "done");
        assert_string_equal(in.head->backup_run_reply->runs[i]->host_name, "node-1");
    }
    envelope_release(&in);
    close_nodes(&n);
    free(im.data);
}

static void
a_host_that_does_not_come_back_is_cleaned_up_after_by_the_other(void **state)
{
    struct nodes n;
    struct image im = image_new(4 * CHUNK, 1);
    struct guid run;
    struct guid next;
    struct guid point;

    open_nodes(&n, *state);
    run = begin_on_node_0(&n);
    peer_cut(&n.agents[0]);
    assert_ok(agent_inventory(&n.agents[1], &mail, 1), &err);
    take_clean(&n.agents[1], &run); /* its host was given up */
    assert_ok(agent_accept_run(&n.agents[1], &next, NULL), &err);
    assert_ok(say_end(&n.agents[1], &run, false, VARVE__V1__LEAVES__LEAVES_NOTHING), &err);
    await_traces(&n, 0);
    assert_ok(agent_whole_run(&n.agents[1], &next, &im, &point), &err);
    assert_latest_holds(n.st, &mail.id, &im);
    close_nodes(&n);
    free(im.data);
}

static void
traces_are_of_runs_of_the_host_that_go_on(void **state)
{
    struct nodes n;
    const struct guid unknown = guid_of(1, 200);
    char **many = calloc(TRACE_IDS_MAX + 1, sizeof(char *));
    struct guid run;

    assert_non_null(many);
    for (size_t i = 0; i <= TRACE_IDS_MAX; i++) {
        many[i] = marks[0];
    }
    open_nodes(&n, *state);
    run = begin_on_node_0(&n);
    assert_err(say_trace(&n.agents[0], &unknown, 2, marks), VARVE_ERR_NOT_FOUND, &err);
    assert_err(say_trace(&n.agents[1], &run, 2, marks), VARVE_ERR_NOT_FOUND, &err);
    assert_err(say_trace(&n.agents[0], &run, TRACE_IDS_MAX + 1, many), VARVE_ERR_LIMIT, &err);
    assert_ok(say_trace(&n.agents[0], &run, TRACE_IDS_MAX, many), &err);
    assert_int_equal(traces(&n, NULL), 1); /* the last one counts */
    assert_ok(say_end(&n.agents[1], &run, false, VARVE__V1__LEAVES__LEAVES_NOTHING), &err);
    assert_int_equal(traces(&n, NULL), 1);
    assert_ok(say_end(&n.agents[0], &run, true, VARVE__V1__LEAVES__LEAVES_FOR_LATER), &err);
    assert_int_equal(traces(&n, NULL), 1);
    assert_true(say_trace(&n.agents[0], &run, 2, marks) != VARVE_OK); /* it is over */
    assert_ok(say_end(&n.agents[0], &run, true, VARVE__V1__LEAVES__LEAVES_NOTHING), &err);
    assert_int_equal(traces(&n, NULL), 0);
    close_nodes(&n);
    free(many);
}

static int
set_up_nodes(void **state)
{
    struct stage *st = stage_new();

    st->sched.away_ms = 100;
    stage_open(st);
    *state = st;
    return 0;
}

#define NODES_CASE(name) cmocka_unit_test_setup_teardown(name, set_up_nodes, stage_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        NODES_CASE(a_run_whose_vm_moved_goes_on_there_behind_the_cleaning_up),
        NODES_CASE(a_host_that_does_not_come_back_is_cleaned_up_after_by_the_other),
        NODES_CASE(traces_are_of_runs_of_the_host_that_go_on),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
