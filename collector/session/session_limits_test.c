/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* Peers that say more than a session takes: what it does then, and that nobody else notices. */

static const struct test_vm mail = {{{0x11, 1, 2, 3}}, "mail", 1};

static void
inventories_that_are_too_large_are_refused(void **state)
{
    struct stage *st = *state;
    struct test_vm *many = calloc(INVENTORY_VMS_MAX + 1, sizeof(*many));
    struct test_vm fat = {{{1}}, "fat", INVENTORY_DISKS_MAX + 1};
    struct test_vm twice[2] = {mail, mail};
    struct identity *id = NULL;
    struct peer p;

    assert_non_null(many);
    for (uint32_t i = 0; i <= INVENTORY_VMS_MAX; i++) {
        memcpy(many[i].id.bytes, &i, 4);
        many[i].name = "v";
    }
    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    assert_err(agent_inventory(&p, many, INVENTORY_VMS_MAX + 1), VARVE_ERR_LIMIT, &err);
    assert_err(agent_inventory(&p, &fat, 1), VARVE_ERR_LIMIT, &err);
    assert_err(agent_inventory(&p, twice, 2), VARVE_ERR_PROTOCOL, &err);
    assert_ok(agent_inventory(&p, many, INVENTORY_VMS_MAX), &err);
    peer_close(&p);
    identity_free(id);
    free(many);
    assert_serves(st);
}

static void
strings_that_are_too_long_or_not_text_end_the_session(void **state)
{
    struct stage *st = *state;
    char longest[WIRE_STRING_MAX + 1];
    char too_long[WIRE_STRING_MAX + 2];
    const char *const names[2] = {too_long, "caf\xe9"};
    struct vm_row *rows = NULL;
    struct identity *id = NULL;
    size_t count = 0;
    struct peer p;

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    (void)stage_host(st, "node-1", &id);
    for (size_t i = 0; i < 2; i++) {
        struct test_vm vm = {{{1}}, names[i], 1};

        peer_agent(&p, st, id);
        assert_err(agent_inventory(&p, &vm, 1), VARVE_ERR_PROTOCOL, &err);
        assert_int_not_equal(peer_ending(&p), VARVE_OK);
        peer_close(&p);
    }
    peer_agent(&p, st, id);
    {
        struct test_vm vms[2] = {{{{1}}, longest, 1}, {{{2}}, "a\x1b[2Jb", 1}};

        assert_ok(agent_inventory(&p, vms, 2), &err);
    }
    assert_ok(state_vm_list(st->c.state, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(rows[0].vm.name, "a?[2Jb"); /* nothing that a terminal would obey */
    vm_list_free(rows, count);
    peer_close(&p);
    identity_free(id);
}

/* A run of an agent that has offered all of im; the Puts are the test's. */
struct offered_run {
    struct identity *id;
    struct peer agent;
    struct peer op;
    struct guid run;
    struct image im;
};

static void
offer_all(struct offered_run *o, struct stage *st, uint64_t chunks)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Offer body = VARVE__V1__OFFER__INIT;
    uint8_t bits[INGEST_OFFER_CHUNKS_MAX / 8];
    struct ingest_position at[4];
    struct chunk_id *ids = calloc(chunks, sizeof(*ids));
    uint64_t next = 0;
    size_t count = 0;
    bool committed = false;

    assert_non_null(ids);
    memset(o, 0, sizeof(*o));
    o->im = image_new(chunks * CHUNK, 77);
    (void)stage_host(st, "node-1", &o->id);
    peer_agent(&o->agent, st, o->id);
    assert_ok(agent_inventory(&o->agent, &mail, 1), &err);
    peer_operator(&o->op, st);
    assert_ok(operator_backup(&o->op, "mail", false, NULL), &err);
    assert_ok(agent_accept_run(&o->agent, &o->run, NULL), &err);
    assert_ok(agent_begin(&o->agent, &o->run, at, &count, &committed), &err);
    assert_ok(agent_disk_begin(&o->agent, &o->run, 0, &o->im, false, &next), &err);
    memset(bits, 0xff, sizeof(bits));
    for (uint64_t i = 0; i < chunks; i++) {
        chunk_id_of(&ids[i], o->im.data + i * CHUNK, CHUNK);
    }
    body.run_id.data = o->run.bytes;
    body.run_id.len = 16;
    body.count = chunks;
    body.data.data = bits;
    body.data.len = (size_t)chunks / 8;
    head.body_case = VARVE__V1__ENVELOPE__BODY_OFFER;
    head.offer = &body;
    assert_ok(peer_call(&o->agent, &head, ids, chunks * CHUNK_ID_SIZE,
                        VARVE__V1__ENVELOPE__BODY_NEED, NULL),
              &err);
    free(ids);
}

static void
done_with(struct offered_run *o)
{
    peer_close(&o->agent);
    peer_close(&o->op);
    identity_free(o->id);
    free(o->im.data);
}

/* A Put of chunks first.. of the only Offer, as they are. */
static enum varve_err
send_put(struct offered_run *o, uint32_t first, uint32_t count, size_t lengths, size_t bulk,
         uint64_t *id)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Put body = VARVE__V1__PUT__INIT;
    uint32_t index[INGEST_OFFER_CHUNKS_MAX];
    uint32_t len[INGEST_OFFER_CHUNKS_MAX];

    for (uint32_t i = 0; i < count; i++) {
        index[i] = first + i;
        len[i] = CHUNK;
    }
    body.run_id.data = o->run.bytes;
    body.run_id.len = 16;
    body.index = index;
    body.n_index = count;
    body.stored_len = len;
    body.n_stored_len = lengths;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT;
    head.put = &body;
    return peer_send(&o->agent, &head, o->im.data + first * CHUNK, bulk, id);
}

static void
a_put_that_is_too_large_or_lopsided_ends_the_run(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct stage *st = stage_new();
        struct offered_run o;
        struct envelope_in in;
        uint64_t id = 0;

        stage_open(st);
        offer_all(&o, st, 64);
        if (i == 0) {
            assert_ok(send_put(&o, 0, 33, 33, 33 * CHUNK, &id), &err); /* 2 MiB and a chunk */
        } else {
            assert_ok(send_put(&o, 0, 2, 1, CHUNK, &id), &err);
        }
        assert_err(peer_answer(&o.agent, id, &in), VARVE_ERR_PROTOCOL, &err);
        assert_ok(send_put(&o, 0, 1, 1, CHUNK, &id), &err);
        assert_err(peer_answer(&o.agent, id, &in), VARVE_ERR_PROTOCOL, &err);
        assert_serves(st);
        done_with(&o);
        stage_free(st);
    }
    (void)state;
}

static void
bytes_beyond_the_credit_end_the_session(void **state)
{
    struct stage *st = stage_new();
    struct offered_run o;
    enum varve_err rc = VARVE_OK;

    /* No worker is quick enough to take 64 MiB away while they are sent, and one is not one: the
     * first Put blocks it. */
    st->options.workers = 1;
    st->options.credit_bytes = 2u << 20;
    stage_open(st);
    offer_all(&o, st, 1024);
    for (uint32_t i = 0; i < 32 && rc == VARVE_OK; i++) {
        rc = send_put(&o, i * 32, 32, 32, 32 * CHUNK, NULL);
    }
    rc = peer_ending(&o.agent);
    assert_true(rc == VARVE_ERR_IO || rc == VARVE_ERR_CLOSED);
    assert_serves(st);
    done_with(&o);
    stage_free(st);
    (void)state;
}

static void
many_small_puts_only_make_the_session_wait(void **state)
{
    struct stage *st = *state;
    struct offered_run o;
    struct guid point;
    uint64_t first = 0;
    uint64_t id = 0;

    offer_all(&o, st, 1024);
    for (uint32_t batch = 0; batch < 8; batch++) {
        unsigned answers = 0;

        for (uint32_t i = 0; i < 128; i++) {
            assert_ok(send_put(&o, batch * 128 + i, 1, 1, CHUNK, &id), &err);
            first = i == 0 ? id : first;
        }
        while (answers < 128) {
            struct envelope_in in;

            assert_ok(envelope_recv(o.agent.ch, &in, &err), &err);
            assert_int_equal(in.head->body_case, VARVE__V1__ENVELOPE__BODY_PUT_REPLY);
            assert_true(in.head->id >= first && in.head->id <= id);
            envelope_release(&in);
            answers++;
        }
    }
    assert_ok(agent_disk_end(&o.agent, &o.run, 0, 0), &err);
    assert_ok(agent_commit(&o.agent, &o.run, 1, &point), &err);
    assert_ok(agent_end(&o.agent, &o.run, NULL), &err);
    assert_latest_holds(st, &mail.id, &o.im);
    done_with(&o);
}

static void
a_flood_of_progress_is_mostly_not_heard(void **state)
{
    struct stage *st = *state;
    struct vm_row *rows = NULL;
    struct ingest_run *run = NULL;
    struct run_info info;
    struct offered_run o;
    struct guid point;
    uint64_t last = 0;
    size_t count = 0;
    bool heard = true;

    offer_all(&o, st, 8);
    assert_ok(state_vm_list(st->c.state, NULL, NULL, &rows, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_ok(ingest_find(st->c.ingest, &rows[0].host, &o.run, &run, &err), &err);
    vm_list_free(rows, count);
    /* By chance a second begins with the last of them; not three times. */
    for (int flood = 0; flood < 3 && heard; flood++) {
        for (int i = 0; i < 2000; i++) {
            Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
            Varve__V1__Progress body = VARVE__V1__PROGRESS__INIT;

            body.run_id.data = o.run.bytes;
            body.run_id.len = 16;
            body.planned_bytes = ++last;
            head.body_case = VARVE__V1__ENVELOPE__BODY_PROGRESS;
            head.progress = &body;
            assert_ok(envelope_send(o.agent.ch, &head, NULL, 0, &err), &err);
        }
        assert_ok(agent_inventory(&o.agent, &mail, 1), &err); /* behind all of them */
        ingest_run_info(run, &info);
        assert_true(info.planned_bytes >= 1);
        heard = info.planned_bytes == last;
    }
    assert_false(heard);
    ingest_run_unref(run);
    assert_ok(send_put(&o, 0, 8, 8, 8 * CHUNK, NULL), &err);
    {
        struct envelope_in in;

        assert_ok(envelope_recv(o.agent.ch, &in, &err), &err);
        assert_int_equal(in.head->body_case, VARVE__V1__ENVELOPE__BODY_PUT_REPLY);
        envelope_release(&in);
    }
    assert_ok(agent_disk_end(&o.agent, &o.run, 0, 0), &err);
    assert_ok(agent_commit(&o.agent, &o.run, 1, &point), &err);
    assert_ok(agent_end(&o.agent, &o.run, NULL), &err);
    assert_latest_holds(st, &mail.id, &o.im);
    done_with(&o);
}

static void
inventories_behind_the_first_few_wait(void **state)
{
    struct stage *st = *state;
    struct identity *id = NULL;
    struct peer p;
    uint64_t before;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&p, st, id);
    before = time_mono_ns();
    for (unsigned i = 0; i < SESSION_INVENTORY_BURST + 2; i++) {
        assert_ok(agent_inventory(&p, &mail, 1), &err);
    }
    /* Never too early; how late it may be is not looked at. */
    assert_true(time_mono_ns() - before >= (uint64_t)SESSION_INVENTORY_MS * 1000000u);
    assert_serves(st);
    peer_close(&p);
    identity_free(id);
}

static void
more_sessions_than_allowed_are_turned_away(void **state)
{
    struct stage *st = stage_new();
    struct peer peers[3];

    st->options.sessions = 2;
    stage_open(st);
    peer_operator(&peers[0], st);
    peer_operator(&peers[1], st);
    if (peer_dial(&peers[2], st, st->operator_id, NULL) == VARVE_OK) {
        assert_int_not_equal(peer_hello(&peers[2], VARVE__V1__ROLE__ROLE_OPERATOR, false, NULL),
                             VARVE_OK);
    }
    assert_ok(operator_status(&peers[0]), &err);
    for (int i = 0; i < 3; i++) {
        peer_close(&peers[i]);
    }
    stage_free(st);
    (void)state;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(inventories_that_are_too_large_are_refused),
        STAGE_CASE(strings_that_are_too_long_or_not_text_end_the_session),
        cmocka_unit_test(a_put_that_is_too_large_or_lopsided_ends_the_run),
        cmocka_unit_test(bytes_beyond_the_credit_end_the_session),
        STAGE_CASE(many_small_puts_only_make_the_session_wait),
        STAGE_CASE(a_flood_of_progress_is_mostly_not_heard),
        STAGE_CASE(inventories_behind_the_first_few_wait),
        cmocka_unit_test(more_sessions_than_allowed_are_turned_away),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
