/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/envelope.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

/* Protocol Buffers encoding: a key is (field number << 3 | wire type). */
#define BULK_FIELD 15u
#define BULK_KEY   ((BULK_FIELD << 3) | WIRE_BYTES)
#define FIELD_MAX  ((1u << 29) - 1)
enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Parts that are listed without asking for memory. */
#define FEW_PARTS 66u

/* ---- sending ---- */

static size_t
put_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

/* The head packed, with room behind it for the key and the length of bulk; NULL: as *err says. */
static uint8_t *
pack_head(const Varve__V1__Envelope *head, size_t *out_len, struct varve_error *err)
{
    uint8_t *packed = NULL;
    size_t len;

    if (head->bulk.len != 0 || head->body_case == VARVE__V1__ENVELOPE__BODY__NOT_SET) {
        (void)varve_error_set(err, VARVE_ERR_INTERNAL,
                              "envelope without a body, or with bulk in its head");
        return NULL;
    }
    len = varve__v1__envelope__get_packed_size(head);
    if (len > ENVELOPE_HEAD_MAX) {
        (void)varve_error_set(err, VARVE_ERR_LIMIT,
                              "head of a message would have %zu bytes, %u are the most", len,
                              ENVELOPE_HEAD_MAX);
        return NULL;
    }
    packed = malloc(len + 16);
    if (packed == NULL) {
        (void)varve_error_nomem(err);
        return NULL;
    }
    *out_len = varve__v1__envelope__pack(head, packed);
    return packed;
}

enum varve_err
envelope_send(struct channel *ch, const Varve__V1__Envelope *head, const struct aead_part *bulk,
              size_t bulk_parts, struct varve_error *err)
{
    struct aead_part few[FEW_PARTS];
    struct aead_part *parts = few;
    uint8_t *packed = NULL;
    size_t len = 0;
    size_t bulk_len = 0;
    enum varve_err rc;

    if (bulk_parts > FRAME_PARTS_MAX - 1) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "message of %zu parts", bulk_parts);
    }
    for (size_t i = 0; i < bulk_parts; i++) {
        if (bulk[i].len > CHANNEL_MESSAGE_MAX - bulk_len) {
            return varve_error_set(err, VARVE_ERR_LIMIT, "bulk of more than %u bytes",
                                   CHANNEL_MESSAGE_MAX);
        }
        bulk_len += bulk[i].len;
    }
    packed = pack_head(head, &len, err);
    if (packed == NULL) {
        return err->code;
    }
    if (bulk_parts + 1 > FEW_PARTS) {
        parts = malloc((bulk_parts + 1) * sizeof(*parts));
        if (parts == NULL) {
            rc = varve_error_nomem(err);
            goto out;
        }
    }
    if (bulk_len > 0) {
        len += put_varint(packed + len, BULK_KEY);
        len += put_varint(packed + len, bulk_len);
    } else {
        bulk_parts = 0;
    }
    parts[0].data = packed;
    parts[0].len = len;
    if (bulk_parts > 0) {
        memcpy(parts + 1, bulk, bulk_parts * sizeof(*bulk));
    }
    rc = channel_send(ch, parts, bulk_parts + 1, err);
out:
    if (parts != few) {
        free(parts);
    }
    free(packed);
    return rc;
}

/* ---- receiving ---- */

/* Where bulk is in the message. */
struct place {
    size_t key;  /* of its first byte */
    size_t data; /* of its content */
    size_t end;  /* behind it */
};

static bool
get_varint(const uint8_t *p, size_t len, size_t *pos, uint64_t *out)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && *pos < len; shift += 7) {
        uint8_t byte = p[(*pos)++];

        if (shift == 63 && byte > 1) {
            return false;
        }
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* Over the content of a field of this type; for WIRE_BYTES *start is where the bytes begin. */
static bool
skip_value(const uint8_t *p, size_t len, size_t *pos, unsigned type, size_t *start)
{
    uint64_t n = 0;

    switch (type) {
    case WIRE_VARINT:
        return get_varint(p, len, pos, &n);
    case WIRE_64:
        n = 8;
        break;
    case WIRE_32:
        n = 4;
        break;
    case WIRE_BYTES:
        if (!get_varint(p, len, pos, &n)) {
            return false;
        }
        break;
    default: /* groups are not part of proto3 */
        return false;
    }
    if (n > len - *pos) {
        return false;
    }
    *start = *pos;
    *pos += (size_t)n;
    return true;
}

/* Walks over the fields of the outermost message. */
static enum varve_err
find_bulk(const uint8_t *p, size_t len, struct place *bulk, struct varve_error *err)
{
    size_t pos = 0;
    bool found = false;

    bulk->key = len;
    bulk->data = len;
    bulk->end = len;
    while (pos < len) {
        size_t at = pos;
        size_t start = 0;
        uint64_t key = 0;

        if (!get_varint(p, len, &pos, &key) || key >> 3 == 0 || key >> 3 > FIELD_MAX ||
            !skip_value(p, len, &pos, (unsigned)(key & 7), &start)) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL,
                                   "message of %zu bytes is no envelope: bad field at %zu", len,
                                   at);
        }
        if (key >> 3 != BULK_FIELD) {
            continue;
        }
        if (found || (key & 7) != WIRE_BYTES) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL, "envelope has a second bulk at %zu",
                                   at);
        }
        found = true;
        bulk->key = at;
        bulk->data = start;
        bulk->end = pos;
    }
    return VARVE_OK;
}

/*
 * What the head becomes in memory is larger than what it is on the wire: a repeated message of two
 * bytes turns into a struct of some hundred.  So the memory has a limit of its own.
 */
struct budget {
    size_t left;
    bool spent;
};

static void *
budget_alloc(void *arg, size_t size)
{
    struct budget *b = arg;
    size_t cost = size + 16; /* what an allocation costs besides, about */

    if (cost > b->left) {
        b->spent = true;
        return NULL;
    }
    b->left -= cost;
    return malloc(size == 0 ? 1 : size);
}

static void
budget_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

static enum varve_err
unpack_head(Varve__V1__Envelope **out, const uint8_t *p, size_t len, struct varve_error *err)
{
    struct budget budget = {ENVELOPE_MEMORY_MAX, false};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    Varve__V1__Envelope *head = varve__v1__envelope__unpack(&allocator, len, p);

    if (head == NULL) {
        return budget.spent ? varve_error_set(err, VARVE_ERR_PROTOCOL,
                                              "envelope would take more than %u bytes of memory",
                                              ENVELOPE_MEMORY_MAX)
                            : varve_error_set(err, VARVE_ERR_PROTOCOL,
                                              "message is no envelope: its fields do not unpack");
    }
    if (head->body_case == VARVE__V1__ENVELOPE__BODY__NOT_SET) {
        varve__v1__envelope__free_unpacked(head, &allocator);
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "envelope has no body that this version knows");
    }
    *out = head;
    return VARVE_OK;
}

enum varve_err
envelope_parse(struct envelope_in *in, uint8_t *raw, size_t len, struct varve_error *err)
{
    struct place bulk;
    uint8_t *joined = NULL;
    const uint8_t *head = raw;
    size_t head_len = 0;
    Varve__V1__Envelope *unpacked = NULL;
    enum varve_err rc;

    memset(in, 0, sizeof(*in));
    rc = find_bulk(raw, len, &bulk, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    head_len = len - (bulk.end - bulk.key);
    if (head_len > ENVELOPE_HEAD_MAX) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "head of an envelope has %zu bytes, %u are the most", head_len,
                             ENVELOPE_HEAD_MAX);
        goto out;
    }
    if (bulk.end != len) {
        /* Plain protobuf may put it anywhere; ours is last, and then nothing needs to be moved. */
        joined = malloc(head_len == 0 ? 1 : head_len);
        if (joined == NULL) {
            rc = varve_error_nomem(err);
            goto out;
        }
        memcpy(joined, raw, bulk.key);
        memcpy(joined + bulk.key, raw + bulk.end, len - bulk.end);
        head = joined;
    }
    rc = unpack_head(&unpacked, head, head_len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    in->head = unpacked;
    if (bulk.end > bulk.data) {
        in->bulk = raw + bulk.data;
        in->bulk_len = bulk.end - bulk.data;
    }
    in->raw = raw;
    raw = NULL;
out:
    free(joined);
    free(raw);
    return rc;
}

enum varve_err
envelope_recv(struct channel *ch, struct envelope_in *in, struct varve_error *err)
{
    uint8_t *raw = NULL;
    size_t len = 0;
    enum varve_err rc;

    memset(in, 0, sizeof(*in));
    rc = channel_recv(ch, &raw, &len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    return envelope_parse(in, raw, len, err);
}

void
envelope_release(struct envelope_in *in)
{
    if (in->head != NULL) {
        ProtobufCAllocator allocator = {NULL, budget_free, NULL};

        varve__v1__envelope__free_unpacked(in->head, &allocator);
    }
    free(in->raw);
    memset(in, 0, sizeof(*in));
}

/* ---- texts ---- */

/* The field is there: of several that share a place, it is the one that was sent. */
static bool
is_present(const ProtobufCFieldDescriptor *f, const uint8_t *at)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
           *(const uint32_t *)(const void *)(at + f->quantifier_offset) == f->id;
}

/* Messages do not contain themselves, so the depth is that of proto/. */
enum varve_err
envelope_each_text(ProtobufCMessage *message,
                   enum varve_err (*cb)(char *text, const char *field, struct varve_error *err),
                   struct varve_error *err)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    uint8_t *at = (uint8_t *)message;
    enum varve_err rc = VARVE_OK;

    for (unsigned i = 0; i < d->n_fields && rc == VARVE_OK; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        void *member = at + f->offset;
        void **items = member; /* one pointer, or below a list of them */
        size_t count = 1;

        if ((f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE) ||
            !is_present(f, at)) {
            continue;
        }
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(size_t *)(void *)(at + f->quantifier_offset);
            items = *(void ***)member;
        }
        for (size_t k = 0; k < count && rc == VARVE_OK; k++) {
            if (items[k] == NULL) {
                continue;
            }
            rc = f->type == PROTOBUF_C_TYPE_STRING ? cb(items[k], f->name, err)
                                                   : envelope_each_text(items[k], cb, err);
        }
    }
    return rc;
}
