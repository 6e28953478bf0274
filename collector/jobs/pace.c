/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/pace.h"

#define SECOND_NS ((uint64_t)1000 * 1000 * 1000)

void
pace_start(struct pace *p, uint64_t rate, uint64_t now)
{
    p->rate = rate;
    p->due = now;
}

void
pace_add(struct pace *p, uint64_t bytes, uint64_t now)
{
    if (p->due + PACE_CATCH_UP_NS < now) {
        p->due = now - PACE_CATCH_UP_NS;
    }
    p->due += bytes / p->rate * SECOND_NS +
              (uint64_t)((double)(bytes % p->rate) / (double)p->rate * (double)SECOND_NS);
}

uint64_t
pace_wait_ns(const struct pace *p, uint64_t now)
{
    return p->due > now ? p->due - now : 0;
}
