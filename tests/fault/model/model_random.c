/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <stdlib.h>

#include <sodium.h>

#include "os/thread.h"

/* The library's random bytes, from a seed: ids of packs, keys and salts are then the same each time. */

static struct mutex lock;
static struct test_random state;

static const char *
model_name(void)
{
    return "model";
}

static void
model_bytes(void *const buf, const size_t size)
{
    mutex_lock(&lock);
    test_random_fill(&state, buf, size);
    mutex_unlock(&lock);
}

static uint32_t
model_number(void)
{
    uint32_t n = 0;

    model_bytes(&n, sizeof(n));
    return n;
}

void
model_random_seed(uint64_t seed)
{
    static randombytes_implementation ours = {
        .implementation_name = model_name, .random = model_number, .buf = model_bytes};
    static bool installed;

    if (!installed) {
        mutex_init(&lock);
        if (randombytes_set_implementation(&ours) != 0) {
            abort();
        }
        installed = true;
    }
    mutex_lock(&lock);
    state.state = seed;
    mutex_unlock(&lock);
}
