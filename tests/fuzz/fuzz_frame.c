/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A stream of frames as a peer could send it.  The input is a list of steps:
 *
 *     0 type n payload...   a frame of this type, properly sealed
 *     1 n bytes...          these bytes, as if they had come
 *     2                     the last sealed frame once more
 *     3 at mask             the next sealed frame with one byte changed
 *     4                     the next sealed frame does not arrive
 *
 * Checked: only unchanged frames in their order open, and after an error nothing opens.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_CAP (FRAME_BARE_SIZE + 255u)

#define FORGED (-1)

struct run {
    struct frame_sealer sealer;
    struct frame_opener opener;
    uint8_t last[FRAME_CAP];
    size_t last_len;
    int64_t last_number; /* of the frame in last; FORGED when it was changed */
    int64_t opened;
    bool dead; /* an error was given */
};

static void
arrive(struct run *r, const uint8_t *frame, size_t len, int64_t number)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    uint8_t *out = NULL;
    enum frame_type type = FRAME_DATA;
    struct varve_error err;
    size_t body = 0;
    size_t payload = 0;

    if (copy == NULL) {
        abort();
    }
    memcpy(copy, frame, len);
    if (len < FRAME_HEADER_SIZE) {
        free(copy);
        return; /* more would have to come */
    }
    if (frame_body_length(copy, &body, &err) != VARVE_OK) {
        if (frame_open(&r->opener, copy, copy + FRAME_HEADER_SIZE, 0, copy, &type, &payload,
                       &err) == VARVE_OK) {
            abort();
        }
        r->dead = true;
        free(copy);
        return;
    }
    if (body != len - FRAME_HEADER_SIZE) {
        free(copy);
        return;
    }
    out = malloc(body - AEAD_TAG_SIZE);
    if (out == NULL) {
        abort();
    }
    if (frame_open(&r->opener, copy, copy + FRAME_HEADER_SIZE, body, out, &type, &payload, &err) ==
        VARVE_OK) {
        if (r->dead || number != r->opened || payload != body - FRAME_BODY_EXTRA) {
            abort();
        }
        r->opened++;
    } else {
        r->dead = true;
    }
    free(out);
    free(copy);
}

/* A frame as a peer that holds the key could make it, whatever the type. */
static void
seal(struct run *r, uint8_t type, const uint8_t *payload, size_t len)
{
    uint8_t plain[256];
    struct varve_error err;

    memcpy(plain, payload, len);
    plain[len] = type;
    put_le32(r->last, (uint32_t)(len + FRAME_BODY_EXTRA));
    if (aead_seal(r->sealer.aead, r->sealer.counter, r->last, FRAME_HEADER_SIZE, plain, len + 1,
                  r->last + FRAME_HEADER_SIZE, &err) != VARVE_OK) {
        abort();
    }
    r->last_number = (int64_t)r->sealer.counter++;
    r->last_len = FRAME_BARE_SIZE + len;
    if (type == FRAME_REKEY && len == 0 && aead_ratchet(r->sealer.aead, &err) != VARVE_OK) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[AEAD_KEY_SIZE] = {3};
    struct aead *sealing = NULL;
    struct aead *opening = NULL;
    struct run r;
    struct varve_error err;
    int change_at = -1;
    uint8_t mask = 0;
    bool drop = false;

    if (crypto_init(&err) != VARVE_OK ||
        aead_new(&sealing, AEAD_CHACHA20POLY1305, key, &err) != VARVE_OK ||
        aead_new(&opening, AEAD_CHACHA20POLY1305, key, &err) != VARVE_OK) {
        abort();
    }
    memset(&r, 0, sizeof(r));
    frame_sealer_init(&r.sealer, sealing, 0);
    frame_opener_init(&r.opener, opening, size > 0 && (data[0] & 1) != 0);
    r.opener.limits.frames = 20;
    r.opener.limits.bytes = 1000;
    for (size_t i = 1; i < size;) {
        switch (data[i++] % 5) {
        case 0: {
            size_t n;

            if (size - i < 2) {
                i = size;
                break;
            }
            n = data[i + 1] < size - i - 2 ? data[i + 1] : size - i - 2;
            seal(&r, data[i], data + i + 2, n);
            i += 2 + n;
            if (change_at >= 0 && mask != 0) {
                r.last[(size_t)change_at % r.last_len] ^= mask;
                r.last_number = FORGED;
            }
            if (!drop) {
                arrive(&r, r.last, r.last_len, r.last_number);
            }
            change_at = -1;
            drop = false;
            break;
        }
        case 1: {
            size_t n = i < size ? data[i] : 0;

            i++;
            if (i > size || n > size - i) {
                i = size;
                break;
            }
            arrive(&r, data + i, n, FORGED);
            i += n;
            break;
        }
        case 2:
            if (r.last_len > 0) {
                arrive(&r, r.last, r.last_len, r.last_number);
            }
            break;
        case 3:
            if (size - i >= 2) {
                change_at = data[i];
                mask = data[i + 1];
            }
            i += 2;
            break;
        default:
            drop = true;
            break;
        }
    }
    frame_sealer_release(&r.sealer);
    frame_opener_release(&r.opener);
    return 0;
}
