/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/backoff.h"

void
backoff_reset(struct backoff *b)
{
    b->ceiling_ms = 0;
}

uint32_t
backoff_next_ms(struct backoff *b, uint32_t random)
{
    uint32_t ceiling = b->ceiling_ms == 0 ? BACKOFF_FIRST_MS : b->ceiling_ms;

    b->ceiling_ms = ceiling > BACKOFF_MOST_MS / 2 ? BACKOFF_MOST_MS : 2 * ceiling;
    return ceiling / 2 + random % (ceiling / 2 + 1);
}
