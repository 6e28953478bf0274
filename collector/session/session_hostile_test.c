/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "session/wire_in.h"

/* Peers that do not keep to the protocol: what each is told, and that nobody else notices. */

static const struct test_vm mail = {{{0x11, 1, 2, 3}}, "mail", 1};

static void
strangers_are_refused_in_the_handshake(void **state)
{
    struct stage *st = *state;
    struct channel_secret secret;
    struct identity *id = NULL;
    struct peer p;

    memset(&secret, 5, sizeof(secret));
    assert_ok(identity_generate(&id, &err), &err);
    assert_err(peer_dial(&p, st, id, NULL), VARVE_ERR_AUTH, &err);
    assert_err(peer_dial(&p, st, id, &secret), VARVE_ERR_AUTH, &err);
    identity_free(id);
    assert_serves(st);
}

static void
a_key_has_one_role(void **state)
{
    struct stage *st = *state;
    struct identity *id = NULL;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    assert_ok(peer_dial(&p, st, id, NULL), &err);
    assert_err(peer_hello(&p, VARVE__V1__ROLE__ROLE_OPERATOR, false, NULL), VARVE_ERR_DENIED, &err);
    assert_int_not_equal(peer_ending(&p), VARVE_OK);
    peer_close(&p);
    assert_ok(peer_dial(&p, st, st->operator_id, NULL), &err);
    assert_err(peer_hello(&p, VARVE__V1__ROLE__ROLE_AGENT, false, NULL), VARVE_ERR_DENIED, &err);
    peer_close(&p);
    assert_ok(peer_dial(&p, st, id, NULL), &err);
    assert_err(peer_hello(&p, VARVE__V1__ROLE__ROLE_UNSPECIFIED, false, NULL), VARVE_ERR_DENIED,
               &err);
    peer_close(&p);
    /* Enrolled by key only: there is nothing to enrol. */
    assert_ok(peer_dial(&p, st, id, NULL), &err);
    assert_err(peer_hello(&p, VARVE__V1__ROLE__ROLE_AGENT, true, NULL), VARVE_ERR_PROTOCOL, &err);
    peer_close(&p);
    identity_free(id);
    assert_serves(st);
}

static void
another_major_version_is_refused(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Hello body = VARVE__V1__HELLO__INIT;
    struct peer p;

    body.major = 2;
    body.role = VARVE__V1__ROLE__ROLE_OPERATOR;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HELLO;
    head.hello = &body;
    assert_ok(peer_dial(&p, st, st->operator_id, NULL), &err);
    assert_err(peer_call(&p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_HELLO_REPLY, NULL),
               VARVE_ERR_UNSUPPORTED, &err);
    peer_close(&p);
}

static void
nothing_is_heard_before_hello(void **state)
{
    struct stage *st = *state;
    struct vm_row *rows = NULL;
    struct identity *id = NULL;
    size_t count = 9;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    assert_ok(peer_dial(&p, st, id, NULL), &err);
    assert_err(agent_inventory(&p, &mail, 1), VARVE_ERR_PROTOCOL, &err);
    assert_int_not_equal(peer_ending(&p), VARVE_OK);
    peer_close(&p);
    assert_ok(state_vm_list(st->c.state, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 0);
    vm_list_free(rows, count);
    identity_free(id);
}

static void
after_an_enrolment_only_the_end_may_follow(void **state)
{
    struct stage *st = *state;
    struct identity *id = NULL;
    struct channel_secret secret;
    struct guid host;
    struct peer p;

    memset(&secret, 5, sizeof(secret));
    assert_ok(identity_generate(&id, &err), &err);
    assert_ok(state_host_invite(st->c.state, "node-1", 1, INT64_MAX, secret.id, secret.secret,
                                &host, &err),
              &err);
    assert_ok(peer_dial(&p, st, id, &secret), &err);
    assert_ok(peer_hello(&p, VARVE__V1__ROLE__ROLE_AGENT, true, NULL), &err);
    assert_err(agent_inventory(&p, &mail, 1), VARVE_ERR_PROTOCOL, &err);
    peer_close(&p);
    identity_free(id);
}

static void
each_role_asks_only_its_own_questions(void **state)
{
    struct stage *st = *state;
    struct ingest_position at[4];
    struct identity *id = NULL;
    struct guid run = guid_of(1, 1);
    size_t count = 0;
    bool committed = false;
    struct peer agent;
    struct peer op;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&agent, st, id);
    peer_operator(&op, st);
    assert_err(operator_status(&agent), VARVE_ERR_DENIED, &err);
    assert_err(agent_inventory(&op, &mail, 1), VARVE_ERR_DENIED, &err);
    assert_err(agent_begin(&op, &run, at, &count, &committed), VARVE_ERR_DENIED, &err);
    /* Both sessions go on. */
    assert_ok(agent_inventory(&agent, &mail, 1), &err);
    assert_ok(operator_status(&op), &err);
    peer_close(&agent);
    peer_close(&op);
    identity_free(id);
}

static void
runs_of_others_are_unknown(void **state)
{
    struct stage *st = *state;
    struct image im = image_new(4 * CHUNK, 1);
    struct ingest_position at[4];
    struct identity *ids[2] = {NULL, NULL};
    struct peer agents[2];
    struct peer op;
    struct guid run;
    struct guid point;
    uint64_t next = 0;
    size_t count = 0;
    bool committed = false;

    (void)stage_host(st, "node-1", &ids[0]);
    (void)stage_host(st, "node-2", &ids[1]);
    peer_agent(&agents[0], st, ids[0]);
    peer_agent(&agents[1], st, ids[1]);
    assert_ok(agent_inventory(&agents[0], &mail, 1), &err);
    /* The second claims the same vm; it stays with the first, which still has it when it is asked. */
    assert_ok(agent_inventory(&agents[1], &mail, 1), &err);
    peer_operator(&op, st);
    assert_ok(operator_backup(&op, "mail", false, NULL), &err);
    assert_ok(agent_look_again(&agents[0], &mail, 1), &err);
    assert_ok(agent_accept_run(&agents[0], &run, NULL), &err);
    assert_err(agent_begin(&agents[1], &run, at, &count, &committed), VARVE_ERR_NOT_FOUND, &err);
    assert_err(agent_disk_begin(&agents[1], &run, 0, &im, false, &next), VARVE_ERR_NOT_FOUND, &err);
    assert_err(agent_chunks(&agents[1], &run, 0, &im, 0, 4), VARVE_ERR_NOT_FOUND, &err);
    assert_err(agent_commit(&agents[1], &run, 1, &point), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(agent_end(&agents[1], &run, NULL), &err); /* changes nothing */
    assert_ok(agent_whole_run(&agents[0], &run, &im, &point), &err);
    assert_latest_holds(st, &mail.id, &im);
    for (int i = 0; i < 2; i++) {
        peer_close(&agents[i]);
        identity_free(ids[i]);
    }
    peer_close(&op);
    free(im.data);
}

/* ---- words out of place ---- */

static void
a_request_without_an_id_ends_the_session(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRun body = VARVE__V1__END_RUN__INIT;
    struct identity *id = NULL;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    head.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN;
    head.end_run = &body;
    assert_ok(envelope_send(p.ch, &head, NULL, 0, &err), &err);
    assert_int_not_equal(peer_ending(&p), VARVE_OK);
    peer_close(&p);
    identity_free(id);
}

/* The answer must not be lost in the reset that unread bytes would cause. */
static void
who_breaks_the_rules_hears_why_even_while_it_sends_on(void **state)
{
    enum { LONG = 5000, FLOOD = 64, FLOOD_BYTES = 256 * 1024 };

    struct stage *st = *state;
    uint8_t *bulk = calloc(1, FLOOD_BYTES);
    char *text = calloc(1, LONG + 1);
    struct identity *id = NULL;

    (void)stage_host(st, "node-1", &id);
    memset(text, 'x', LONG);
    for (int i = 0; i < 10; i++) {
        Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__Inventory body = VARVE__V1__INVENTORY__INIT;
        enum varve_err rc = VARVE_OK;
        struct envelope_in in;
        uint64_t wrong = 0;
        struct peer p;

        peer_agent(&p, st, id);
        body.provider = text;
        head.body_case = VARVE__V1__ENVELOPE__BODY_INVENTORY;
        head.inventory = &body;
        assert_ok(peer_send(&p, &head, NULL, 0, &wrong), &err);
        for (int n = 0; n < FLOOD && rc == VARVE_OK; n++) {
            Varve__V1__Envelope more = VARVE__V1__ENVELOPE__INIT;
            Varve__V1__Offer offer = VARVE__V1__OFFER__INIT;

            more.body_case = VARVE__V1__ENVELOPE__BODY_OFFER;
            more.offer = &offer;
            rc = peer_send(&p, &more, bulk, FLOOD_BYTES, NULL);
        }
        assert_err(peer_answer(&p, wrong, &in), VARVE_ERR_PROTOCOL, &err);
        assert_non_null(strstr(err.msg, "'provider' has 5000 bytes"));
        assert_int_equal(peer_ending(&p), VARVE_ERR_CLOSED);
        peer_close(&p);
    }
    assert_serves(st);
    identity_free(id);
    free(text);
    free(bulk);
}

static void
an_answer_that_nobody_asked_for_ends_the_session(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StartRunReply body = VARVE__V1__START_RUN_REPLY__INIT;
    struct identity *id = NULL;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    head.id = 17;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_START_RUN_REPLY;
    head.start_run_reply = &body;
    assert_ok(peer_send(&p, &head, NULL, 0, NULL), &err);
    assert_int_not_equal(peer_ending(&p), VARVE_OK);
    peer_close(&p);
    identity_free(id);
    assert_serves(st);
}

static void
bytes_that_are_no_envelope_end_the_session(void **state)
{
    static const uint8_t garbage[][8] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                                         {0x08, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
                                         {0xa2, 0x01, 0x7f, 0x00, 0x00, 0x00, 0x00, 0x00}};
    struct stage *st = *state;
    struct identity *id = NULL;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    for (size_t i = 0; i < 3; i++) {
        struct aead_part part = {garbage[i], sizeof(garbage[i])};

        peer_agent(&p, st, id);
        assert_ok(channel_send(p.ch, &part, 1, &err), &err);
        assert_int_not_equal(peer_ending(&p), VARVE_OK);
        peer_close(&p);
    }
    identity_free(id);
    assert_serves(st);
}

static void
a_flood_of_failing_requests_is_ended(void **state)
{
    struct stage *st = *state;
    struct ingest_position at[4];
    struct identity *id = NULL;
    struct guid run = guid_of(1, 1);
    size_t count = 0;
    bool committed = false;
    unsigned failed = 0;
    enum varve_err rc;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    do {
        rc = agent_begin(&p, &run, at, &count, &committed);
        failed += rc == VARVE_ERR_NOT_FOUND ? 1 : 0;
    } while (rc == VARVE_ERR_NOT_FOUND && failed < 5000);
    assert_true(rc == VARVE_ERR_IO || rc == VARVE_ERR_CLOSED);
    assert_int_equal(failed, 1025);
    peer_close(&p);
    identity_free(id);
    assert_serves(st);
}

static void
a_flood_of_log_lines_does_not_end_the_session(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Log body = VARVE__V1__LOG__INIT;
    char area[] = "x";
    char text[] = "again and again";
    struct identity *id = NULL;
    struct peer p;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    body.level = 2;
    body.area = area;
    body.text = text;
    head.body_case = VARVE__V1__ENVELOPE__BODY_LOG;
    head.log = &body;
    for (int i = 0; i < 2000; i++) {
        assert_ok(envelope_send(p.ch, &head, NULL, 0, &err), &err);
    }
    assert_ok(agent_inventory(&p, &mail, 1), &err);
    peer_close(&p);
    identity_free(id);
}

static void
an_error_of_a_peer_is_cut_to_what_fits(void **state)
{
    Varve__V1__Error field = VARVE__V1__ERROR__INIT;
    char message[600];
    struct varve_error got;

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(message); i += 2) {
        memcpy(message + i, "\xc3\xa9", 2); /* two bytes each: a cut may not split one */
    }
    message[598] = '\0';
    field.code = 10;
    field.source = 3;
    field.native = -7;
    field.message = message;
    wire_error(&got, &field);
    assert_int_equal(got.code, VARVE_ERR_NOSPACE);
    assert_int_equal(got.source, VARVE_SRC_HRESULT);
    assert_true(got.native == -7);
    assert_int_equal(strlen(got.msg), 238);
    field.code = 4711;
    field.source = 99;
    message[0] = '\n';
    message[1] = '\xff';
    wire_error(&got, &field);
    assert_int_equal(got.code, VARVE_ERR_INTERNAL);
    assert_int_equal(got.source, VARVE_SRC_NONE);
    assert_memory_equal(got.msg, "??", 2);
    field.code = 0;
    wire_error(&got, &field);
    assert_int_equal(got.code, VARVE_ERR_INTERNAL); /* an error that says all is well is none */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(strangers_are_refused_in_the_handshake),
        STAGE_CASE(a_key_has_one_role),
        STAGE_CASE(another_major_version_is_refused),
        STAGE_CASE(nothing_is_heard_before_hello),
        STAGE_CASE(after_an_enrolment_only_the_end_may_follow),
        STAGE_CASE(each_role_asks_only_its_own_questions),
        STAGE_CASE(runs_of_others_are_unknown),
        STAGE_CASE(a_request_without_an_id_ends_the_session),
        STAGE_CASE(who_breaks_the_rules_hears_why_even_while_it_sends_on),
        STAGE_CASE(an_answer_that_nobody_asked_for_ends_the_session),
        STAGE_CASE(bytes_that_are_no_envelope_end_the_session),
        STAGE_CASE(a_flood_of_failing_requests_is_ended),
        STAGE_CASE(a_flood_of_log_lines_does_not_end_the_session),
        cmocka_unit_test(an_error_of_a_peer_is_cut_to_what_fits),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
