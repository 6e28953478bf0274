/* SPDX-License-Identifier: Apache-2.0 */
#include "session/hostile_script.h"

#include <stdlib.h>
#include <string.h>

#include "hash/chunk_id.h"

static struct blob
pack(Varve__V1__Envelope *head, const void *bulk, size_t len)
{
    size_t head_len = varve__v1__envelope__get_packed_size(head);
    struct blob b = {malloc(head_len + len + 16), 0};
    size_t left = len;

    assert_non_null(b.data);
    b.len = varve__v1__envelope__pack(head, b.data);
    if (bulk != NULL) { /* field 15, length-delimited */
        b.data[b.len++] = 15u << 3 | 2u;
        while (left >= 0x80) {
            b.data[b.len++] = (uint8_t)(left | 0x80);
            left >>= 7;
        }
        b.data[b.len++] = (uint8_t)left;
        memcpy(b.data + b.len, bulk, len);
        b.len += len;
    }
    return b;
}

static void
add(struct script *s, Varve__V1__Envelope *head, Varve__V1__Envelope__BodyCase what, void *body,
    const void *bulk, size_t len)
{
    head->id = 1000 + s->count;
    head->body_case = what;
    head->begin_run = body; /* all bodies are pointers in one place */
    s->words[s->count++] = pack(head, bulk, len);
}

static void
add_puts(struct script *s, const struct plan *plan, ProtobufCBinaryData run, const struct image *im)
{
    uint8_t *bulk = malloc((PUT_CHUNKS + 1) * CHUNK);

    assert_non_null(bulk);
    for (uint32_t p = 0; p < CHUNKS / PUT_CHUNKS; p++) {
        Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__Put put = VARVE__V1__PUT__INIT;
        uint32_t index[PUT_CHUNKS];
        uint32_t len[PUT_CHUNKS];
        size_t total = PUT_CHUNKS * CHUNK;

        memcpy(bulk, im->data + (size_t)p * PUT_CHUNKS * CHUNK, total);
        for (uint32_t i = 0; i < PUT_CHUNKS; i++) {
            index[i] = p * PUT_CHUNKS + i;
            len[i] = CHUNK;
        }
        index[0] += plan->put_index;
        if (plan->wrong_bytes) {
            bulk[5] ^= 1;
        }
        if (plan->garbage) {
            len[PUT_CHUNKS - 1] = 100;
            total -= CHUNK - 100;
        }
        put.run_id = run;
        put.first_chunk = plan->offer_first;
        put.index = index;
        put.n_index = PUT_CHUNKS;
        put.stored_len = len;
        put.n_stored_len = PUT_CHUNKS;
        add(s, &head, VARVE__V1__ENVELOPE__BODY_PUT, &put, bulk, total + (size_t)plan->bulk_delta);
    }
    free(bulk);
}

void
write_script(struct script *s, const struct plan *plan, struct guid *run, const struct image *im)
{
    Varve__V1__Envelope heads[W_COUNT];
    Varve__V1__BeginRun begin = VARVE__V1__BEGIN_RUN__INIT;
    Varve__V1__DiskBegin disk = VARVE__V1__DISK_BEGIN__INIT;
    Varve__V1__Offer offer = VARVE__V1__OFFER__INIT;
    Varve__V1__DiskEnd end = VARVE__V1__DISK_END__INIT;
    Varve__V1__Commit commit = VARVE__V1__COMMIT__INIT;
    Varve__V1__CommitDisk commit_disk = VARVE__V1__COMMIT_DISK__INIT;
    Varve__V1__CommitDisk *commit_disks[] = {&commit_disk};
    ProtobufCBinaryData id = {sizeof(run->bytes), run->bytes};
    struct guid disk_id = {{4, 4, 4}};
    struct chunk_id names[CHUNKS + 1];
    uint8_t bits[CHUNKS / 8];
    char name[] = "system.vhdx";
    char change[] = "c1";
    char word[] = "sim";

    memset(s, 0, sizeof(*s));
    memset(names, 7, sizeof(names));
    for (size_t i = 0; i < W_COUNT; i++) {
        varve__v1__envelope__init(&heads[i]);
    }
    for (size_t i = 0; i < CHUNKS; i++) {
        chunk_id_of(&names[i], im->data + i * CHUNK, CHUNK);
    }
    begin.run_id = id;
    add(s, &heads[W_BEGIN], VARVE__V1__ENVELOPE__BODY_BEGIN_RUN, &begin, NULL, 0);
    disk.run_id = id;
    disk.disk_id.data = disk_id.bytes;
    disk.disk_id.len = sizeof(disk_id.bytes);
    disk.name = name;
    disk.size = plan->disk_size != 0 ? plan->disk_size : im->size;
    disk.logical_sector = 512;
    add(s, &heads[W_DISK], VARVE__V1__ENVELOPE__BODY_DISK_BEGIN, &disk, NULL, 0);
    memset(bits, 0xff, sizeof(bits));
    offer.run_id = id;
    offer.first_chunk = plan->offer_first;
    offer.count = CHUNKS;
    offer.data.data = bits;
    offer.data.len = sizeof(bits);
    add(s, &heads[W_OFFER], VARVE__V1__ENVELOPE__BODY_OFFER, &offer, names,
        CHUNKS * CHUNK_ID_SIZE + (size_t)plan->names_delta);
    add_puts(s, plan, id, im);
    end.run_id = id;
    add(s, &heads[W_DISK_END], VARVE__V1__ENVELOPE__BODY_DISK_END, &end, NULL, 0);
    commit_disk.change_id = change;
    commit.run_id = id;
    commit.consistency = VARVE__V1__CONSISTENCY__CONSISTENCY_CRASH;
    commit.disks = commit_disks;
    commit.n_disks = 1;
    commit.capture = word;
    commit.source = word;
    add(s, &heads[W_COMMIT], VARVE__V1__ENVELOPE__BODY_COMMIT, &commit, NULL, 0);
    assert_int_equal(s->count, W_COUNT);
}

void
script_free(struct script *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->words[i].data);
    }
    memset(s, 0, sizeof(*s));
}
