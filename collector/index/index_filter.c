/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_filter_internal.h"

#include <stdlib.h>

#include "base/endian.h"

#define FIRST_MIN (64u * 1024) /* names */

/* Odd numbers that spread 32 bits of a name over the 8 words of its block. */
static const uint32_t spread[LANES] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
                                       0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};

/* Names are keyed hashes: any of their bits will do. */
static uint64_t
block_of(const struct filter_layer *l, const struct record_name *name)
{
    return (get_le32(name->bytes + 8) * l->blocks) >> 32; /* fewer than 2^32 */
}

bool
filter_layer_init(struct filter_layer *l, uint64_t capacity)
{
    l->blocks = filter_layer_blocks(capacity);
    l->capacity = capacity;
    l->words = calloc(l->blocks, LANES * sizeof(l->words[0]));
    return l->words != NULL;
}

enum varve_err
index_filter_new(struct index_filter **out, uint64_t expected, struct varve_error *err)
{
    struct index_filter *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return varve_error_nomem(err);
    }
    if (!filter_layer_init(&f->layers[0], expected < FIRST_MIN ? FIRST_MIN : expected)) {
        free(f);
        return varve_error_nomem(err);
    }
    mutex_init(&f->lock);
    atomic_init(&f->count, 1);
    *out = f;
    return VARVE_OK;
}

void
index_filter_free(struct index_filter *f)
{
    if (f == NULL) {
        return;
    }
    for (unsigned i = 0; i < atomic_load(&f->count); i++) {
        free((void *)f->layers[i].words);
    }
    mutex_destroy(&f->lock);
    free(f);
}

/* Another layer behind number `last`, unless somebody made it. */
static bool
grow(struct index_filter *f, unsigned last)
{
    bool ok = true;

    mutex_lock(&f->lock);
    if (atomic_load(&f->count) == last + 1) {
        ok = last + 1 < LAYERS_MAX &&
             filter_layer_init(&f->layers[last + 1], f->layers[last].capacity * 2);
        if (ok) {
            atomic_store(&f->count, last + 2);
        } else {
            atomic_store(&f->useless, true);
        }
    }
    mutex_unlock(&f->lock);
    return ok;
}

bool
index_filter_add(struct index_filter *f, const struct record_name *name)
{
    unsigned last = atomic_load(&f->count) - 1;
    _Atomic uint32_t *block;
    uint32_t hash = get_le32(name->bytes + 4);

    if (atomic_load(&f->useless)) {
        return false;
    }
    if (atomic_fetch_add_explicit(&f->layers[last].used, 1, memory_order_relaxed) >=
        f->layers[last].capacity) {
        if (!grow(f, last)) {
            return false;
        }
        last = atomic_load(&f->count) - 1;
    }
    block = f->layers[last].words + block_of(&f->layers[last], name) * LANES;
    for (unsigned i = 0; i < LANES; i++) {
        atomic_fetch_or_explicit(&block[i], 1u << ((hash * spread[i]) >> 27), memory_order_relaxed);
    }
    return true;
}

static bool
layer_maybe(const struct filter_layer *l, const struct record_name *name)
{
    const _Atomic uint32_t *block = l->words + block_of(l, name) * LANES;
    uint32_t hash = get_le32(name->bytes + 4);

    for (unsigned i = 0; i < LANES; i++) {
        uint32_t word = atomic_load_explicit(&block[i], memory_order_relaxed);

        if ((word & 1u << ((hash * spread[i]) >> 27)) == 0) {
            return false;
        }
    }
    return true;
}

bool
index_filter_maybe(const struct index_filter *f, const struct record_name *name)
{
    unsigned count = atomic_load(&f->count);

    if (atomic_load(&f->useless)) {
        return true;
    }
    for (unsigned i = 0; i < count; i++) {
        if (layer_maybe(&f->layers[i], name)) {
            return true;
        }
    }
    return false;
}

uint64_t
index_filter_bytes(const struct index_filter *f)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < atomic_load(&f->count); i++) {
        bytes += f->layers[i].blocks * LANES * sizeof(f->layers[i].words[0]);
    }
    return bytes;
}
