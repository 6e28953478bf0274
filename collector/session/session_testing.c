/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "codec/lz4.h"
#include "codec/zero.h"
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
            return rc;
        }
        *in = got;
        return VARVE_OK;
    }
}

enum varve_err
peer_call(struct peer *p, Varve__V1__Envelope *head, const void *bulk, size_t len,
          Varve__V1__Envelope__BodyCase want, struct envelope_in *in)
{
    struct envelope_in got;
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

/* ---- an agent's words ---- */

static ProtobufCBinaryData
bytes_of(const struct guid *g)
{
    ProtobufCBinaryData b = {sizeof(g->bytes), (uint8_t *)(uintptr_t)g->bytes};

    return b;
}

enum varve_err
agent_inventory(struct peer *p, const struct test_vm *vms, size_t count)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Inventory body = VARVE__V1__INVENTORY__INIT;
    Varve__V1__InventoryVm *list = calloc(count + 1, sizeof(*list));
    Varve__V1__InventoryVm **pointers = calloc(count + 1, sizeof(Varve__V1__InventoryVm *));
    Varve__V1__InventoryDisk *disk = calloc(1, sizeof(*disk));
    Varve__V1__InventoryDisk **disks = calloc(300, sizeof(Varve__V1__InventoryDisk *));
    struct guid disk_id = guid_of(4, 0);
    char state[] = "running";
    enum varve_err rc;

    assert_non_null(list);
    assert_non_null(pointers);
    assert_non_null(disk);
    assert_non_null(disks);
    varve__v1__inventory_disk__init(disk);
    disk->id = bytes_of(&disk_id);
    disk->size = 1u << 20;
    for (size_t i = 0; i < 300; i++) {
        disks[i] = disk;
    }
    for (size_t i = 0; i < count; i++) {
        varve__v1__inventory_vm__init(&list[i]);
        list[i].id = bytes_of(&vms[i].id);
        list[i].name = (char *)(uintptr_t)vms[i].name;
        list[i].state = state;
        list[i].disks = disks;
        list[i].n_disks = vms[i].disks;
        pointers[i] = &list[i];
    }
    body.vms = pointers;
    body.n_vms = count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_INVENTORY;
    head.inventory = &body;
    rc = peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_INVENTORY_REPLY, NULL);
    free(list);
    free(pointers);
    free(disk);
    free(disks);
    return rc;
}

enum varve_err
agent_look_again(struct peer *p, const struct test_vm *vms, size_t count)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__LookAgainReply body = VARVE__V1__LOOK_AGAIN_REPLY__INIT;
    struct envelope_in in;
    enum varve_err rc = peer_request(p, VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN, &in);

    if (rc == VARVE_OK) {
        head.id = in.head->id;
        head.reply = true;
        head.body_case = VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN_REPLY;
        head.look_again_reply = &body;
        envelope_release(&in);
        rc = peer_send(p, &head, NULL, 0, NULL);
    }
    return rc == VARVE_OK ? agent_inventory(p, vms, count) : rc;
}

enum varve_err
agent_accept_run(struct peer *p, struct guid *run, struct guid *vm)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StartRunReply body = VARVE__V1__START_RUN_REPLY__INIT;
    struct envelope_in in;
    enum varve_err rc = peer_request(p, VARVE__V1__ENVELOPE__BODY_START_RUN, &in);

    if (rc != VARVE_OK) {
        return rc;
    }
    assert_int_equal(in.head->start_run->run_id.len, 16);
    memcpy(run->bytes, in.head->start_run->run_id.data, 16);
    if (vm != NULL) {
        memcpy(vm->bytes, in.head->start_run->vm_id.data, 16);
    }
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_START_RUN_REPLY;
    head.start_run_reply = &body;
    envelope_release(&in);
    return peer_send(p, &head, NULL, 0, NULL);
}

enum varve_err
agent_begin(struct peer *p, const struct guid *run, struct ingest_position positions[4],
            size_t *count, bool *committed)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BeginRun body = VARVE__V1__BEGIN_RUN__INIT;
    const Varve__V1__BeginRunReply *reply;
    struct envelope_in in;
    enum varve_err rc;

    body.run_id = bytes_of(run);
    head.body_case = VARVE__V1__ENVELOPE__BODY_BEGIN_RUN;
    head.begin_run = &body;
    rc = peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_BEGIN_RUN_REPLY, &in);
    if (rc != VARVE_OK) {
        return rc;
    }
    reply = in.head->begin_run_reply;
    assert_true(reply->n_disks <= 4);
    *count = reply->n_disks;
    for (size_t i = 0; i < reply->n_disks; i++) {
        positions[i].disk = reply->disks[i]->disk;
        positions[i].next_chunk = reply->disks[i]->next_chunk;
        positions[i].closed = reply->disks[i]->closed;
    }
    *committed = reply->committed;
    envelope_release(&in);
    return VARVE_OK;
}

enum varve_err
agent_disk_begin(struct peer *p, const struct guid *run, uint32_t disk, const struct image *im,
                 bool incremental, uint64_t *next)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskBegin body = VARVE__V1__DISK_BEGIN__INIT;
    struct guid id = guid_of(4, (uint8_t)disk);
    char name[] = "system.vhdx";
    struct envelope_in in;
    enum varve_err rc;

    body.run_id = bytes_of(run);
    body.disk = disk;
    body.disk_id = bytes_of(&id);
    body.name = name;
    body.size = im->size;
    body.logical_sector = 512;
    body.physical_sector = 4096;
    body.incremental = incremental;
    head.body_case = VARVE__V1__ENVELOPE__BODY_DISK_BEGIN;
    head.disk_begin = &body;
    rc = peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_DISK_BEGIN_REPLY, &in);
    if (rc == VARVE_OK) {
        *next = in.head->disk_begin_reply->next_chunk;
        envelope_release(&in);
    }
    return rc;
}

/* The bulk and lists of a Put are made while the Need is at hand. */
static enum varve_err
put_needed_chunks(struct peer *p, const struct guid *run, uint32_t disk, const struct image *im,
                  uint64_t first, const uint64_t *chunk, size_t names,
                  const ProtobufCBinaryData *need)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Put body = VARVE__V1__PUT__INIT;
    uint32_t index[INGEST_OFFER_CHUNKS_MAX];
    uint32_t len[INGEST_OFFER_CHUNKS_MAX];
    uint8_t *bulk = malloc(names * (CHUNK + 1024) + 1);
    size_t at = 0;
    enum varve_err rc = VARVE_OK;

    assert_non_null(bulk);
    body.index = index;
    body.stored_len = len;
    for (size_t i = 0; i < names; i++) {
        const uint8_t *raw = im->data + chunk[i] * CHUNK;
        size_t raw_len = chunk_len(im, chunk[i]);

        if (i / 8 >= need->len || !bit_get(need->data, i)) {
            continue;
        }
        index[body.n_index++] = (uint32_t)i;
        len[body.n_stored_len] = (uint32_t)codec_lz4_pack(raw, raw_len, bulk + at, CHUNK + 1024);
        if (len[body.n_stored_len] == 0) {
            memcpy(bulk + at, raw, raw_len);
            len[body.n_stored_len] = (uint32_t)raw_len;
        }
        at += len[body.n_stored_len++];
    }
    if (body.n_index > 0) {
        body.run_id = bytes_of(run);
        body.disk = disk;
        body.first_chunk = first;
        head.body_case = VARVE__V1__ENVELOPE__BODY_PUT;
        head.put = &body;
        rc = peer_call(p, &head, bulk, at, VARVE__V1__ENVELOPE__BODY_PUT_REPLY, NULL);
    }
    free(bulk);
    return rc;
}

enum varve_err
agent_chunks(struct peer *p, const struct guid *run, uint32_t disk, const struct image *im,
             uint64_t first, uint64_t count)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Offer body = VARVE__V1__OFFER__INIT;
    uint8_t bits[INGEST_OFFER_CHUNKS_MAX / 8] = {0};
    struct chunk_id ids[INGEST_OFFER_CHUNKS_MAX];
    uint64_t chunk[INGEST_OFFER_CHUNKS_MAX];
    struct envelope_in in;
    size_t names = 0;
    enum varve_err rc;

    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *raw = im->data + (first + i) * CHUNK;

        if (!codec_is_zero(raw, chunk_len(im, first + i))) {
            bit_set(bits, (size_t)i);
            chunk[names] = first + i;
            chunk_id_of(&ids[names++], raw, chunk_len(im, first + i));
        }
    }
    body.run_id = bytes_of(run);
    body.disk = disk;
    body.first_chunk = first;
    body.count = count;
    body.data.data = bits;
    body.data.len = names > 0 ? (size_t)(count + 7) / 8 : 0;
    head.body_case = VARVE__V1__ENVELOPE__BODY_OFFER;
    head.offer = &body;
    rc = peer_call(p, &head, names > 0 ? ids : NULL, names * CHUNK_ID_SIZE,
                   VARVE__V1__ENVELOPE__BODY_NEED, &in);
    if (rc == VARVE_OK) {
        rc = put_needed_chunks(p, run, disk, im, first, chunk, names, &in.head->need->bitmap);
        envelope_release(&in);
    }
    return rc;
}

enum varve_err
agent_disk_end(struct peer *p, const struct guid *run, uint32_t disk, uint64_t read_bytes)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__DiskEnd body = VARVE__V1__DISK_END__INIT;

    body.run_id = bytes_of(run);
    body.disk = disk;
    body.read_bytes = read_bytes;
    head.body_case = VARVE__V1__ENVELOPE__BODY_DISK_END;
    head.disk_end = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_DISK_END_REPLY, NULL);
}

enum varve_err
agent_commit(struct peer *p, const struct guid *run, uint32_t disks, struct guid *point)
{
    return agent_commit_files(p, run, disks, NULL, 0, NULL, 0, point);
}

enum varve_err
agent_commit_files(struct peer *p, const struct guid *run, uint32_t disks,
                   Varve__V1__ConfigFile **files, size_t file_count, const void *bulk, size_t len,
                   struct guid *point)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Commit body = VARVE__V1__COMMIT__INIT;
    Varve__V1__CommitDisk list[4];
    Varve__V1__CommitDisk *pointers[4];
    char change[] = "change-1";
    struct envelope_in in;
    enum varve_err rc;

    for (uint32_t i = 0; i < disks; i++) {
        varve__v1__commit_disk__init(&list[i]);
        list[i].disk = i;
        list[i].change_id = change;
        pointers[i] = &list[i];
    }
    body.run_id = bytes_of(run);
    body.frozen_at_us = 1;
    body.consistency = VARVE__V1__CONSISTENCY__CONSISTENCY_CRASH;
    body.disks = pointers;
    body.n_disks = disks;
    body.files = files;
    body.n_files = file_count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_COMMIT;
    head.commit = &body;
    rc = peer_call(p, &head, bulk, len, VARVE__V1__ENVELOPE__BODY_COMMIT_REPLY, &in);
    if (rc == VARVE_OK) {
        assert_int_equal(in.head->commit_reply->point_id.len, 16);
        memcpy(point->bytes, in.head->commit_reply->point_id.data, 16);
        envelope_release(&in);
    }
    return rc;
}

enum varve_err
agent_end(struct peer *p, const struct guid *run, const struct varve_error *error)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRun body = VARVE__V1__END_RUN__INIT;
    Varve__V1__Error e = VARVE__V1__ERROR__INIT;

    body.run_id = bytes_of(run);
    if (error != NULL) {
        op_wire_error(&e, error);
        body.error = &e;
    }
    head.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN;
    head.end_run = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_END_RUN_REPLY, NULL);
}

enum varve_err
agent_whole_run(struct peer *p, const struct guid *run, const struct image *im, struct guid *point)
{
    bool committed = false;
    enum varve_err rc = agent_send_all(p, run, im, &committed);

    if (rc == VARVE_OK && !committed) {
        rc = agent_commit(p, run, 1, point);
    }
    return rc == VARVE_OK ? agent_end(p, run, NULL) : rc;
}

enum varve_err
agent_send_all(struct peer *p, const struct guid *run, const struct image *im, bool *committed)
{
    struct ingest_position positions[4];
    size_t count = 0;
    bool closed = false;
    uint64_t next = 0;
    enum varve_err rc = agent_begin(p, run, positions, &count, committed);

    if (rc == VARVE_OK && !*committed) {
        closed = count > 0 && positions[0].closed;
        rc = agent_disk_begin(p, run, 0, im, false, &next);
        while (rc == VARVE_OK && next < chunks_of(im)) {
            uint64_t n = chunks_of(im) - next < 16 ? chunks_of(im) - next : 16;

            rc = agent_chunks(p, run, 0, im, next, n);
            next += n;
        }
        if (rc == VARVE_OK && !closed) {
            rc = agent_disk_end(p, run, 0, im->size);
        }
    }
    return rc;
}

/* ---- an operator's words ---- */

enum varve_err
operator_backup(struct peer *p, const char *vm, bool full, uint64_t *id)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BackupRun body = VARVE__V1__BACKUP_RUN__INIT;
    char *vms[1] = {(char *)(uintptr_t)vm};

    body.vms = vms;
    body.n_vms = vm != NULL ? 1 : 0;
    body.full = full;
    head.body_case = VARVE__V1__ENVELOPE__BODY_BACKUP_RUN;
    head.backup_run = &body;
    return peer_send(p, &head, NULL, 0, id);
}

enum varve_err
operator_backup_end(struct peer *p, uint64_t id, struct envelope_in *in)
{
    for (;;) {
        enum varve_err rc = peer_answer(p, id, in);

        if (rc != VARVE_OK || !in->head->more) {
            return rc;
        }
        assert_int_equal(in->head->body_case, VARVE__V1__ENVELOPE__BODY_BACKUP_RUN_REPLY);
        envelope_release(in);
    }
}

void
assert_latest_holds(struct stage *st, const struct guid *vm, const struct image *im)
{
    struct fixture f;
    struct point *p = NULL;

    memset(&f, 0, sizeof(f));
    f.cs = st->c.chunks;
    catalog_latest(st->c.catalog, vm, &p);
    assert_non_null(p);
    assert_point_holds(&f, p, 0, im);
    point_unref(p);
}
