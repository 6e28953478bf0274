/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"
#include "codec/zero.h"

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

enum varve_err
operator_status(struct peer *p)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Status body = VARVE__V1__STATUS__INIT;

    head.body_case = VARVE__V1__ENVELOPE__BODY_STATUS;
    head.status = &body;
    return peer_call(p, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_STATUS_REPLY, NULL);
}

/* ---- what must hold ---- */

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

void
assert_serves(struct stage *st)
{
    struct image im = image_new(20 * CHUNK + 7, 42);
    struct identity *id = NULL;
    struct envelope_in in;
    struct guid run;
    struct guid point;
    struct peer agent;
    struct peer op;
    uint64_t backup = 0;
    struct test_vm vm = {{{0x99}}, "witness", 1};

    (void)stage_host(st, "honest", &id);
    peer_agent(&agent, st, id);
    assert_ok(agent_inventory(&agent, &vm, 1), &err);
    peer_operator(&op, st);
    assert_ok(operator_backup(&op, "witness", false, &backup), &err);
    assert_ok(agent_accept_run(&agent, &run, NULL), &err);
    assert_ok(agent_whole_run(&agent, &run, &im, &point), &err);
    assert_ok(operator_backup_end(&op, backup, &in), &err);
    assert_string_equal(in.head->backup_run_reply->runs[0]->phase, "done");
    envelope_release(&in);
    assert_latest_holds(st, &vm.id, &im);
    peer_close(&agent);
    peer_close(&op);
    identity_free(id);
    free(im.data);
}
