/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/seen_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "crypto/identity.h"

#define CAP_FIRST 4096u

enum varve_err
seen_set_init(struct seen_set *s, size_t limit, struct varve_error *err)
{
    memset(s, 0, sizeof(*s));
    s->cap_max = CAP_FIRST;
    while (s->cap_max * 2 * sizeof(*s->slots) <= limit) {
        s->cap_max *= 2;
    }
    s->slots = calloc(CAP_FIRST, sizeof(*s->slots));
    if (s->slots == NULL) {
        return varve_error_nomem(err);
    }
    s->cap = CAP_FIRST;
    crypto_random(s->key, sizeof(s->key));
    for (size_t i = 0; i < 4; i++) {
        s->key[i] |= 1;
    }
    return VARVE_OK;
}

void
seen_set_release(struct seen_set *s)
{
    free(s->slots);
    memset(s, 0, sizeof(*s));
}

static uint64_t
fingerprint(const struct seen_set *s, const struct chunk_id *id)
{
    uint64_t f = 0;

    for (size_t i = 0; i < 4; i++) {
        uint64_t w = get_le64(id->bytes + 8 * i) * s->key[i];

        f = (f ^ w ^ (w >> 32)) * 0x9e3779b97f4a7c15u;
    }
    return f == 0 ? 1 : f;
}

/* Where f stands or would stand.  There is always a free slot. */
static size_t
find_slot(const uint64_t *slots, size_t cap, uint64_t f)
{
    size_t at = (size_t)(f >> 16) & (cap - 1);

    while (slots[at] != 0 && slots[at] != f) {
        at = (at + 1) & (cap - 1);
    }
    return at;
}

/* At three quarters the set doubles; false when it must not or cannot. */
static bool
make_room(struct seen_set *s)
{
    uint64_t *slots;

    if (s->count < s->cap / 4 * 3) {
        return true;
    }
    if (s->cap >= s->cap_max) {
        return false;
    }
    slots = calloc(s->cap * 2, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < s->cap; i++) {
        if (s->slots[i] != 0) {
            slots[find_slot(slots, s->cap * 2, s->slots[i])] = s->slots[i];
        }
    }
    free(s->slots);
    s->slots = slots;
    s->cap *= 2;
    return true;
}

bool
seen_set_has(const struct seen_set *s, const struct chunk_id *id)
{
    return s->slots[find_slot(s->slots, s->cap, fingerprint(s, id))] != 0;
}

bool
seen_set_add(struct seen_set *s, const struct chunk_id *id)
{
    uint64_t f = fingerprint(s, id);

    if (s->slots[find_slot(s->slots, s->cap, f)] != 0) {
        return false;
    }
    if (make_room(s)) {
        s->slots[find_slot(s->slots, s->cap, f)] = f;
        s->count++;
    }
    return true;
}
