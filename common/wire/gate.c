/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/gate.h"

#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

struct gate {
    struct mutex lock;
    struct cond stopping;
    bool stopped;
    unsigned refs;
    struct {
        struct stream *stream; /* NULL: free */
        bool has_group;
        uint8_t group[8];
    } slots[GATE_MAX];
};

struct gate *
gate_new(void)
{
    struct gate *g = calloc(1, sizeof(*g));

    if (g != NULL) {
        mutex_init(&g->lock);
        cond_init(&g->stopping);
        g->refs = 1;
    }
    return g;
}

void
gate_unref(struct gate *g)
{
    bool last;

    if (g == NULL) {
        return;
    }
    mutex_lock(&g->lock);
    last = --g->refs == 0;
    mutex_unlock(&g->lock);
    if (last) {
        cond_destroy(&g->stopping);
        mutex_destroy(&g->lock);
        free(g);
    }
}

bool
gate_enter(struct gate *g, struct stream *stream, const nng_sockaddr *from, unsigned *slot)
{
    uint8_t group[8];
    bool has_group = address_group(from, group);
    unsigned same = 0;
    unsigned found = GATE_MAX;

    mutex_lock(&g->lock);
    for (unsigned i = 0; i < GATE_MAX; i++) {
        if (g->slots[i].stream == NULL) {
            found = i;
        } else if (has_group && g->slots[i].has_group && memcmp(g->slots[i].group, group, 8) == 0) {
            same++;
        }
    }
    if (found == GATE_MAX || same >= GATE_PER_GROUP_MAX || g->stopped) {
        found = GATE_MAX;
    } else {
        g->slots[found].stream = stream;
        g->slots[found].has_group = has_group;
        memcpy(g->slots[found].group, group, sizeof(group));
        g->refs++;
    }
    mutex_unlock(&g->lock);
    *slot = found;
    return found != GATE_MAX;
}

void
gate_leave(struct gate *g, unsigned slot)
{
    mutex_lock(&g->lock);
    g->slots[slot].stream = NULL;
    mutex_unlock(&g->lock);
}

void
gate_stop(struct gate *g)
{
    mutex_lock(&g->lock);
    g->stopped = true;
    cond_broadcast(&g->stopping);
    /* Shutting a stream waits only for nng to hand an operation back, never for anybody who could want
     * this lock. */
    for (unsigned i = 0; i < GATE_MAX; i++) {
        if (g->slots[i].stream != NULL) {
            stream_shut(g->slots[i].stream);
        }
    }
    mutex_unlock(&g->lock);
}

bool
gate_is_stopped(struct gate *g)
{
    bool stopped;

    mutex_lock(&g->lock);
    stopped = g->stopped;
    mutex_unlock(&g->lock);
    return stopped;
}

void
gate_pause(struct gate *g, uint32_t ms)
{
    mutex_lock(&g->lock);
    if (!g->stopped) {
        (void)cond_timedwait(&g->stopping, &g->lock, ms);
    }
    mutex_unlock(&g->lock);
}
