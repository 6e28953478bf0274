/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/turns.h"

#include <stdint.h>
#include <string.h>

static bool
is_waiting(const struct turn *t)
{
    return !t->going && !t->held;
}

/* A name means the same volume within one tenant only: another's cluster may call one of its own the same. */
static bool
has_volume(const struct turn *t, const struct guid *tenant, const char *name)
{
    bool kin = guid_equal(&t->tenant, tenant);

    for (size_t i = 0; kin && t->volumes != NULL && i < t->volumes->count; i++) {
        if (strcmp(t->volumes->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A disk that both have; NULL: none. */
static const char *
shared_disk(const struct turn *a, const struct turn *b)
{
    bool kin = guid_equal(&a->tenant, &b->tenant);

    for (size_t i = 0; kin && a->volumes != NULL && i < a->volumes->shared_count; i++) {
        for (size_t k = 0; b->volumes != NULL && k < b->volumes->shared_count; k++) {
            if (strcmp(a->volumes->shared[i], b->volumes->shared[k]) == 0) {
                return a->volumes->shared[i];
            }
        }
    }
    return NULL;
}

/* Does k keep from i what it needs? */
static bool
counts_for(const struct turn *turns, size_t k, size_t i)
{
    return turns[k].going ||
           (k < i && is_waiting(&turns[k]) && turns[k].passed >= TURNS_PASSED_MAX);
}

static struct turn_why
look_at(const struct turn *turns, size_t count, size_t i, const struct turn_limits *limits)
{
    const struct turn *t = &turns[i];
    struct turn_why why = {TURN_NOW, NULL, 0};
    unsigned runs = 0;
    unsigned of_host = 0;

    if (t->held) {
        why.wait = TURN_HELD;
        return why;
    }
    for (size_t k = 0; k < count; k++) {
        runs += turns[k].going ? 1 : 0;
        of_host += counts_for(turns, k, i) && guid_equal(&turns[k].host, &t->host) ? 1 : 0;
    }
    if (limits->runs != 0 && runs >= limits->runs) {
        why.wait = TURN_RUNS;
        why.going = runs;
        return why;
    }
    if (limits->per_host != 0 && of_host >= limits->per_host) {
        why.wait = TURN_HOST;
        why.going = of_host;
        return why;
    }
    for (size_t v = 0; t->volumes != NULL && limits->per_volume != 0 && v < t->volumes->count;
         v++) {
        unsigned on_volume = 0;

        for (size_t k = 0; k < count; k++) {
            on_volume +=
                counts_for(turns, k, i) && has_volume(&turns[k], &t->tenant, t->volumes->names[v])
                    ? 1
                    : 0;
        }
        if (on_volume >= limits->per_volume) {
            why.wait = TURN_VOLUME;
            why.volume = t->volumes->names[v];
            why.going = on_volume;
            return why;
        }
    }
    for (size_t k = 0; k < count; k++) {
        const char *disk = counts_for(turns, k, i) ? shared_disk(t, &turns[k]) : NULL;

        if (disk != NULL) {
            why.wait = TURN_SHARED;
            why.volume = disk;
            why.going = 1;
            return why;
        }
    }
    if (limits->room != NULL && !limits->room(limits->arg, i)) {
        why.wait = TURN_ROOM;
    }
    return why;
}

static size_t
open_of_tenant(const struct turn *turns, size_t count, const struct guid *tenant)
{
    size_t open = 0;

    for (size_t k = 0; k < count; k++) {
        open += turns[k].going && guid_equal(&turns[k].tenant, tenant) ? 1 : 0;
    }
    return open;
}

size_t
turns_next(const struct turn *turns, size_t count, const struct turn_limits *limits,
           struct turn_why *why)
{
    size_t best = count;
    size_t best_open = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        struct turn_why w = {TURN_NOW, NULL, 0};

        if (!turns[i].going) {
            w = look_at(turns, count, i, limits);
            if (w.wait == TURN_NOW) {
                size_t open = open_of_tenant(turns, count, &turns[i].tenant);

                if (open < best_open) {
                    best = i;
                    best_open = open;
                }
            }
        }
        if (why != NULL) {
            why[i] = w;
        }
    }
    return best;
}

static bool
needs_the_same(const struct turn *a, const struct turn *b)
{
    if (guid_equal(&a->host, &b->host)) {
        return true;
    }
    for (size_t v = 0; a->volumes != NULL && v < a->volumes->count; v++) {
        if (has_volume(b, &a->tenant, a->volumes->names[v])) {
            return true;
        }
    }
    return shared_disk(a, b) != NULL;
}

void
turns_begin(struct turn *turns, const struct turn_why *why, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        bool for_a_place =
            why[k].wait == TURN_HOST || why[k].wait == TURN_VOLUME || why[k].wait == TURN_SHARED;

        if (is_waiting(&turns[k]) && for_a_place && needs_the_same(&turns[k], &turns[i])) {
            turns[k].passed++;
        }
    }
    turns[i].going = true;
}
