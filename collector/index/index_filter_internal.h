/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_FILTER_INTERNAL_H
#define VARVE_INDEX_INDEX_FILTER_INTERNAL_H

#include <stdatomic.h>

#include "index/index_filter.h"
#include "os/thread.h"

#define LAYERS_MAX    32u
#define LANES         8u /* words of a block; this and the next are in files: INDEX_FILTER_MAGIC */
#define BITS_PER_NAME 12u

struct filter_layer {
    _Atomic uint32_t *words; /* LANES for each block */
    uint64_t blocks;
    uint64_t capacity;     /* names */
    _Atomic uint64_t used; /* names, those that came twice counted twice */
};

struct index_filter {
    struct filter_layer layers[LAYERS_MAX];
    atomic_uint count; /* layers that are ready; only grows */
    atomic_bool useless;
    struct mutex lock; /* making a layer */
};

static inline uint64_t
filter_layer_blocks(uint64_t capacity)
{
    return capacity * BITS_PER_NAME / (LANES * 32) + 1;
}

/* False: no memory. */
bool filter_layer_init(struct filter_layer *l, uint64_t capacity);

#endif
