/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "sched/keeper.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

/* ---- the stage ---- */

struct stage *
stage_new(void)
{
    struct stage *st = calloc(1, sizeof(*st));

    assert_non_null(st);
    st->folder = test_folder_make();
    st->paths[0] = test_path(st->folder, "state.db");
    st->paths[1] = test_path(st->folder, "store.key");
    st->paths[2] = test_path(st->folder, "sock");
    st->paths[3] = test_path(st->folder, "time");
    (void)snprintf(st->url, sizeof(st->url), "ipc://%s", st->paths[2]);
    assert_ok(store_mem_open(&st->mem, &err), &err);
    assert_ok(store_fault_open(&st->store, st->mem, &err), &err);
    assert_ok(identity_generate(&st->own, &err), &err);
    assert_ok(identity_generate(&st->operator_id, &err), &err);
    return st;
}

void
stage_open(struct stage *st)
{
    const struct chunk_store_options options = {.key_path = st->paths[1]};
    const struct keeper_options keep = {.collect_every_ms = 0};
    struct sched_port port;

    assert_ok(state_open(&st->c.state, fs_system(), st->paths[0], &err), &err);
    assert_ok(chunk_store_open(&st->c.chunks, st->store, fs_system(), &options, &err), &err);
    assert_ok(catalog_open(&st->c.catalog, st->c.chunks, &err), &err);
    assert_ok(quotas_new(&st->c.quotas, st->c.state, st->c.catalog, &err), &err);
    st->ingest.quotas = st->c.quotas;
    st->sched.quotas = st->c.quotas;
    assert_ok(gc_open(&st->gc, st->c.chunks, st->c.catalog, &err), &err);
    assert_ok(store_time_open(&st->time, fs_system(), st->paths[3], &store_clocks_system, 0, &err),
              &err);
    assert_ok(keeper_new(&st->c.keeper, st->c.chunks, st->c.catalog, st->gc, st->time, &keep, &err),
              &err);
    assert_ok(ingest_new(&st->c.ingest, st->c.chunks, st->c.catalog, &st->ingest, &err), &err);
    st->options.store = "mem";
    st->options.key_path = st->paths[1];
    st->options.started_at_us = time_now_us();
    st->c.options = &st->options;
    assert_ok(
        registry_new(&st->c.registry, &st->c, st->own, identity_public(st->operator_id), &err),
        &err);
    port = registry_sched_port(st->c.registry);
    assert_ok(
        sched_new(&st->c.sched, st->c.ingest, st->c.catalog, st->c.state, &st->sched, &port, &err),
        &err);
    assert_ok(registry_listen(st->c.registry, st->url, &err), &err);
}

void
stage_close(struct stage *st)
{
    registry_stop(st->c.registry);
    sched_free(st->c.sched);
    registry_free(st->c.registry);
    ingest_free(st->c.ingest);
    quotas_free(st->c.quotas);
    keeper_free(st->c.keeper);
    gc_close(st->gc);
    store_time_close(st->time);
    catalog_close(st->c.catalog);
    chunk_store_close(st->c.chunks);
    state_close(st->c.state);
    memset(&st->c, 0, sizeof(st->c));
}

void
stage_free(struct stage *st)
{
    if (st->c.registry != NULL) {
        stage_close(st);
    }
    store_close(st->store);
    store_close(st->mem);
    identity_free(st->own);
    identity_free(st->operator_id);
    test_folder_remove(st->folder);
    for (size_t i = 0; i < 4; i++) {
        free(st->paths[i]);
    }
    free(st);
}

int
stage_set_up(void **state)
{
    struct stage *st = stage_new();

    stage_open(st);
    *state = st;
    return 0;
}

int
stage_tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

struct guid
stage_host(struct stage *st, const char *name, struct identity **id)
{
    uint8_t secret[STATE_SECRET_SIZE];
    struct guid host;
    struct host h;
    int64_t now = time_now_us();

    crypto_random(secret, sizeof(secret));
    assert_ok(identity_generate(id, &err), &err);
    assert_ok(
        state_host_invite(st->c.state, name, now, now + 1000000000, secret, secret, &host, &err),
        &err);
    assert_ok(state_host_enrol(st->c.state, secret, identity_public(*id), now, &h, &err), &err);
    host_release(&h);
    return host;
}

/* ---- peers ---- */

enum varve_err
peer_dial(struct peer *p, struct stage *st, const struct identity *id,
          const struct channel_secret *secret)
{
    memset(p, 0, sizeof(*p));
    return channel_dial(&p->ch, st->url, id, identity_public(st->own), secret, 10000, NULL, &err);
}

static void
drop_requests(struct peer *p)
{
    for (size_t i = 0; i < p->request_count; i++) {
        envelope_release(&p->requests[i]);
    }
    p->request_count = 0;
}

void
peer_cut(struct peer *p)
{
    if (p->ch != NULL) {
        channel_abort(p->ch);
    }
    peer_close(p);
}

void
peer_close(struct peer *p)
{
    drop_requests(p);
    channel_close(p->ch);
    p->ch = NULL;
}

enum varve_err
peer_send(struct peer *p, Varve__V1__Envelope *head, const void *bulk, size_t len, uint64_t *id)
{
    struct aead_part part = {bulk, len};
    enum varve_err rc;

    if (p->cut_after != 0 && p->sent == p->cut_after) {
        channel_abort(p->ch);
        return varve_error_set(&err, VARVE_ERR_IO, "cut by the test");
    }
    p->sent++;
    if (head->id == 0 && !head->reply) {
        head->id = ++p->last_id;
    }
    if (id != NULL) {
        *id = head->id;
    }
    rc = envelope_send(p->ch, head, bulk != NULL ? &part : NULL, bulk != NULL ? 1 : 0, &err);
    if (p->cut_behind && p->sent == p->cut_after) {
        channel_abort(p->ch);
    }
    return rc;
}

static enum varve_err
error_of(const struct envelope_in *in)
{
    const Varve__V1__Error *e = in->head->error;

    return varve_error_set(&err, (enum varve_err)e->code, "%s", e->message);
}

enum varve_err
peer_answer(struct peer *p, uint64_t id, struct envelope_in *in)
{
    for (;;) {
        struct envelope_in got;
        enum varve_err rc = envelope_recv(p->ch, &got, &err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (!got.head->reply) {
            assert_true(p->request_count < 16);
            p->requests[p->request_count++] = got;
            continue;
        }
        if (got.head->id != id) {
            fail_msg("answer to %u, awaited %u", (unsigned)got.head->id, (unsigned)id);
        }
        if (got.head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
            rc = error_of(&got);
            envelope_release(&got);
            return rc == VARVE_OK ? VARVE_ERR_INTERNAL : rc;
        }
        *in = got;
        return VARVE_OK;
    }
}

enum varve_err
peer_call(struct peer *p, Varve__V1__Envelope *head, const void *bulk, size_t len,
          Varve__V1__Envelope__BodyCase want, struct envelope_in *in)
{
    struct envelope_in got = {0};
    uint64_t id = 0;
    enum varve_err rc = peer_send(p, head, bulk, len, &id);

    if (rc == VARVE_OK) {
        rc = peer_answer(p, id, &got);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    assert_int_equal(got.head->body_case, want);
    if (in != NULL) {
        *in = got;
    } else {
        envelope_release(&got);
    }
    return VARVE_OK;
}

enum varve_err
peer_request(struct peer *p, Varve__V1__Envelope__BodyCase want, struct envelope_in *in)
{
    enum varve_err rc = VARVE_OK;

    if (p->request_count > 0) {
        *in = p->requests[0];
        p->request_count--;
        memmove(p->requests, p->requests + 1, p->request_count * sizeof(p->requests[0]));
    } else {
        rc = envelope_recv(p->ch, in, &err);
    }
    if (rc == VARVE_OK && (in->head->reply || in->head->body_case != want)) {
        fail_msg("message of kind %d, awaited %d", (int)in->head->body_case, (int)want);
    }
    return rc;
}

enum varve_err
peer_ending(struct peer *p)
{
    for (;;) {
        struct envelope_in in;
        enum varve_err rc = envelope_recv(p->ch, &in, &err);

        if (rc != VARVE_OK) {
            return rc;
        }
        envelope_release(&in);
    }
}

enum varve_err
peer_hello(struct peer *p, Varve__V1__Role role, bool enrol, struct envelope_in *reply)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Hello body = VARVE__V1__HELLO__INIT;
    char software[] = "test 1";

    body.major = 1;
    body.minor = p->minor;
    body.role = role;
    body.software = software;
    body.enrol = enrol;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HELLO;
    head.hello = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_HELLO_REPLY, reply);
}

void
peer_agent(struct peer *p, struct stage *st, const struct identity *id)
{
    assert_ok(peer_dial(p, st, id, NULL), &err);
    assert_ok(peer_hello(p, VARVE__V1__ROLE__ROLE_AGENT, false, NULL), &err);
}

void
peer_operator(struct peer *p, struct stage *st)
{
    assert_ok(peer_dial(p, st, st->operator_id, NULL), &err);
    assert_ok(peer_hello(p, VARVE__V1__ROLE__ROLE_OPERATOR, false, NULL), &err);
}
