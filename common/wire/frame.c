/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

const struct frame_limits frame_sealer_limits = {
    .bytes = UINT64_C(1) << 30,
    .frames = UINT64_C(1) << 20,
    .ms = 3600u * 1000u,
};

const struct frame_limits frame_opener_limits = {
    .bytes = (UINT64_C(1) << 31) + FRAME_BODY_MAX,
    .frames = UINT64_C(1) << 21,
    .ms = 0,
};

void
frame_sealer_init(struct frame_sealer *s, struct aead *aead, uint64_t now_ns)
{
    memset(s, 0, sizeof(*s));
    s->aead = aead;
    s->limits = frame_sealer_limits;
    s->key_since_ns = now_ns;
}

void
frame_sealer_release(struct frame_sealer *s)
{
    aead_free(s->aead);
    s->aead = NULL;
    free(s->parts);
    s->parts = NULL;
}

void
frame_opener_init(struct frame_opener *o, struct aead *aead, bool wants_confirm)
{
    memset(o, 0, sizeof(*o));
    o->aead = aead;
    o->limits = frame_opener_limits;
    o->wants_confirm = wants_confirm;
}

void
frame_opener_release(struct frame_opener *o)
{
    aead_free(o->aead);
    o->aead = NULL;
}

static void
count_use(struct frame_key_use *used, size_t body_len)
{
    used->bytes += body_len;
    used->frames++;
}

bool
frame_rekey_due(const struct frame_sealer *s, size_t payload_len, uint64_t now_ns)
{
    if (s->used.frames == 0) {
        return false; /* a fresh key takes at least one frame, however small the limits are */
    }
    /* One place is kept for the frame that renews. */
    return s->used.frames + 1 >= s->limits.frames ||
           s->used.bytes + payload_len + 2u * FRAME_BODY_EXTRA > s->limits.bytes ||
           now_ns - s->key_since_ns >= s->limits.ms * 1000000u;
}

static enum varve_err
reserve_parts(struct frame_sealer *s, size_t count, struct varve_error *err)
{
    struct aead_part *fresh = NULL;

    if (count <= s->parts_cap) {
        return VARVE_OK;
    }
    fresh = realloc(s->parts, count * sizeof(*fresh));
    if (fresh == NULL) {
        return varve_error_nomem(err);
    }
    s->parts = fresh;
    s->parts_cap = count;
    return VARVE_OK;
}

enum varve_err
frame_seal(struct frame_sealer *s, enum frame_type type, const struct aead_part *parts,
           size_t part_count, uint64_t now_ns, uint8_t *out, size_t *out_len,
           struct varve_error *err)
{
    uint8_t type_byte = (uint8_t)type;
    size_t body_len = FRAME_BODY_EXTRA;
    enum varve_err rc;

    if (s->ended) {
        return varve_error_set(err, VARVE_ERR_CLOSED, "this side has ended the conversation");
    }
    if (s->counter >= UINT64_MAX - 1) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "frame counter is used up");
    }
    if (part_count > (type == FRAME_DATA ? FRAME_PARTS_MAX : 0)) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "frame of type %d with %zu parts",
                               (int)type, part_count);
    }
    rc = reserve_parts(s, part_count + 1, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > FRAME_BODY_MAX - body_len) {
            return varve_error_set(err, VARVE_ERR_LIMIT, "message is larger than %u bytes",
                                   FRAME_PAYLOAD_MAX);
        }
        body_len += parts[i].len;
        s->parts[i] = parts[i];
    }
    s->parts[part_count].data = &type_byte;
    s->parts[part_count].len = 1;
    put_le32(out, (uint32_t)body_len);
    rc = aead_seal_parts(s->aead, s->counter, out, FRAME_HEADER_SIZE, s->parts, part_count + 1,
                         out + FRAME_HEADER_SIZE, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    s->counter++;
    count_use(&s->used, body_len);
    if (type == FRAME_REKEY) {
        rc = aead_ratchet(s->aead, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        memset(&s->used, 0, sizeof(s->used));
        s->key_since_ns = now_ns;
    }
    s->ended = type == FRAME_END;
    *out_len = FRAME_HEADER_SIZE + body_len;
    return VARVE_OK;
}

enum varve_err
frame_body_length(const uint8_t header[FRAME_HEADER_SIZE], size_t *len, struct varve_error *err)
{
    uint32_t n = get_le32(header);

    if (n < FRAME_BODY_EXTRA || n > FRAME_BODY_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "frame announces a body of %" PRIu32 " bytes, %u to %u are allowed",
                               n, FRAME_BODY_EXTRA, FRAME_BODY_MAX);
    }
    *len = n;
    return VARVE_OK;
}

/* The frame has verified: may it come here? */
static enum varve_err
check_state(const struct frame_opener *o, uint8_t type, size_t payload_len, struct varve_error *err)
{
    if (o->ended) {
        return varve_error_set(err, VARVE_ERR_CLOSED, "frame after the peer's end");
    }
    if (o->wants_confirm != (type == FRAME_CONFIRM)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               o->wants_confirm ? "first frame is of type %d, not a confirmation"
                                                : "frame of type %d confirms a second time",
                               (int)type);
    }
    if (type < FRAME_DATA || type > FRAME_CONFIRM) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "frame of unknown type %d", (int)type);
    }
    if (type != FRAME_DATA && payload_len != 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "frame of type %d with %zu bytes",
                               (int)type, payload_len);
    }
    if (o->used.bytes > o->limits.bytes || o->used.frames > o->limits.frames) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the peer does not renew its key: %" PRIu64 " frames, %" PRIu64
                               " bytes under one",
                               o->used.frames, o->used.bytes);
    }
    return VARVE_OK;
}

enum varve_err
frame_open(struct frame_opener *o, const uint8_t header[FRAME_HEADER_SIZE], const uint8_t *body,
           size_t body_len, uint8_t *out, enum frame_type *type, size_t *payload_len,
           struct varve_error *err)
{
    size_t len = 0;
    enum varve_err rc;

    if (o->dead) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "frame after an error");
    }
    o->dead = true;
    rc = frame_body_length(header, &len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (len != body_len || o->counter >= UINT64_MAX - 1) {
        return varve_error_set(err, VARVE_ERR_INTERNAL,
                               "frame of %zu bytes, %zu announced, number %" PRIu64, body_len, len,
                               o->counter);
    }
    rc = aead_open(o->aead, o->counter, header, FRAME_HEADER_SIZE, body, body_len, out, err);
    if (rc == VARVE_ERR_AUTH) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "frame %" PRIu64 " of %zu bytes does not verify: it was changed, "
                               "repeated, moved or left out on the way",
                               o->counter, body_len);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    count_use(&o->used, body_len);
    len = body_len - FRAME_BODY_EXTRA;
    rc = check_state(o, out[len], len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (out[len] == FRAME_REKEY) {
        rc = aead_ratchet(o->aead, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        memset(&o->used, 0, sizeof(o->used));
    }
    o->counter++;
    o->wants_confirm = false;
    o->ended = out[len] == FRAME_END;
    o->dead = false;
    *type = (enum frame_type)out[len];
    *payload_len = len;
    return VARVE_OK;
}
