/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/interrupt.h"

#include <string.h>

void
interrupt_init(struct interrupt *i)
{
    memset(i, 0, sizeof(*i));
    cancel_init(&i->cancel);
    mutex_init(&i->lock);
}

void
interrupt_destroy(struct interrupt *i)
{
    mutex_destroy(&i->lock);
    cancel_destroy(&i->cancel);
}

void
interrupt_raise(struct interrupt *i)
{
    cancel_set(&i->cancel);
    mutex_lock(&i->lock);
    if (i->fn != NULL) {
        i->fn(i->arg);
    }
    mutex_unlock(&i->lock);
}

void
interrupt_attach(struct interrupt *i, void (*fn)(void *arg), void *arg)
{
    mutex_lock(&i->lock);
    i->fn = fn;
    i->arg = arg;
    if (cancel_is_set(&i->cancel)) {
        fn(arg);
    }
    mutex_unlock(&i->lock);
}

void
interrupt_detach(struct interrupt *i)
{
    mutex_lock(&i->lock);
    i->fn = NULL;
    i->arg = NULL;
    mutex_unlock(&i->lock);
}
