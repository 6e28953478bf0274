/* SPDX-License-Identifier: Apache-2.0 */
#include "os/thread.h"

#include "base/time.h"

#define NS_PER_MS UINT64_C(1000000)

void
cancel_init(struct cancel *c)
{
    mutex_init(&c->lock);
    cond_init(&c->changed);
    c->set = false;
}

void
cancel_destroy(struct cancel *c)
{
    cond_destroy(&c->changed);
    mutex_destroy(&c->lock);
}

void
cancel_set(struct cancel *c)
{
    mutex_lock(&c->lock);
    c->set = true;
    cond_broadcast(&c->changed);
    mutex_unlock(&c->lock);
}

bool
cancel_is_set(struct cancel *c)
{
    bool set;

    mutex_lock(&c->lock);
    set = c->set;
    mutex_unlock(&c->lock);
    return set;
}

bool
cancel_wait(struct cancel *c, uint32_t timeout_ms)
{
    uint64_t deadline = time_mono_ns() + timeout_ms * NS_PER_MS;
    bool set;

    mutex_lock(&c->lock);
    while (!c->set) {
        uint64_t now = time_mono_ns();

        if (now >= deadline) {
            break;
        }
        (void)cond_timedwait(&c->changed, &c->lock,
                             (uint32_t)((deadline - now + NS_PER_MS - 1) / NS_PER_MS));
    }
    set = c->set;
    mutex_unlock(&c->lock);
    return set;
}
