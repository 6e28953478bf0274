/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_locality.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "os/thread.h"

#define PACK_BUCKETS 1024u
#define RECENT       64u /* packs that were hit once */
#define NAMES_MIN    64u /* what a pack counts at least, so that small ones are bounded too */
#define NEVER        UINT32_MAX

struct shelf;

struct kept_name {
    struct record_name name;
    struct kept_name *next; /* of its bucket */
    struct shelf *shelf;
};

/* One pack; without names: one that is not worth asking for. */
struct shelf {
    struct shelf *newer;
    struct shelf *older;
    struct shelf *next; /* of its bucket */
    uint32_t pack;
    uint32_t count;
    struct kept_name names[];
};

struct index_locality {
    struct mutex lock; /* everything */
    struct kept_name **buckets;
    uint32_t bucket_mask;
    struct shelf *packs[PACK_BUCKETS];
    struct shelf *newest;
    struct shelf *oldest;
    uint32_t max_names;
    uint32_t charged; /* names, small packs counted as NAMES_MIN */
    uint64_t moment;
    uint32_t recent[RECENT];
    struct index_locality_stats stats;
};

enum varve_err
index_locality_new(struct index_locality **out, uint32_t max_names, struct varve_error *err)
{
    struct index_locality *l = calloc(1, sizeof(*l));
    uint32_t buckets = 64;

    if (l == NULL) {
        return varve_error_nomem(err);
    }
    while (buckets < max_names / 2) {
        buckets *= 2;
    }
    l->buckets = calloc(buckets, sizeof(l->buckets[0]));
    if (l->buckets == NULL) {
        free(l);
        return varve_error_nomem(err);
    }
    l->bucket_mask = buckets - 1;
    l->max_names = max_names;
    memset(l->recent, 0xff, sizeof(l->recent));
    mutex_init(&l->lock);
    *out = l;
    return VARVE_OK;
}

void
index_locality_free(struct index_locality *l)
{
    if (l == NULL) {
        return;
    }
    while (l->newest != NULL) {
        struct shelf *s = l->newest;

        l->newest = s->older;
        free(s);
    }
    mutex_destroy(&l->lock);
    free(l->buckets);
    free(l);
}

/* ---- names ---- */

/* Names are keyed hashes: any of their bits will do. */
static struct kept_name **
bucket_of(struct index_locality *l, const struct record_name *name)
{
    return &l->buckets[get_le32(name->bytes + 12) & l->bucket_mask];
}

static const struct kept_name *
find_name(struct index_locality *l, const struct record_name *name)
{
    const struct kept_name *k = *bucket_of(l, name);

    while (k != NULL && memcmp(k->name.bytes, name->bytes, RECORD_NAME_SIZE) != 0) {
        k = k->next;
    }
    return k;
}

/* ---- packs ---- */

static uint32_t
charge_of(const struct shelf *s)
{
    return s->count < NAMES_MIN ? NAMES_MIN : s->count;
}

static struct shelf *
find_pack(struct index_locality *l, uint32_t pack)
{
    struct shelf *s = l->packs[pack % PACK_BUCKETS];

    while (s != NULL && s->pack != pack) {
        s = s->next;
    }
    return s;
}

static void
unlink_age(struct index_locality *l, struct shelf *s)
{
    *(s->newer != NULL ? &s->newer->older : &l->newest) = s->older;
    *(s->older != NULL ? &s->older->newer : &l->oldest) = s->newer;
}

static void
link_newest(struct index_locality *l, struct shelf *s)
{
    s->newer = NULL;
    s->older = l->newest;
    *(l->newest != NULL ? &l->newest->newer : &l->oldest) = s;
    l->newest = s;
}

static void
remove_shelf(struct index_locality *l, struct shelf *s)
{
    struct shelf **link = &l->packs[s->pack % PACK_BUCKETS];

    for (uint32_t i = 0; i < s->count; i++) {
        struct kept_name **at = bucket_of(l, &s->names[i].name);

        while (*at != &s->names[i]) {
            at = &(*at)->next;
        }
        *at = s->names[i].next;
    }
    while (*link != s) {
        link = &(*link)->next;
    }
    *link = s->next;
    unlink_age(l, s);
    l->charged -= charge_of(s);
    l->stats.names -= s->count;
    free(s);
}

static void
insert_shelf(struct index_locality *l, struct shelf *s)
{
    while (l->oldest != NULL && l->charged + charge_of(s) > l->max_names) {
        remove_shelf(l, l->oldest);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct kept_name **at = bucket_of(l, &s->names[i].name);

        s->names[i].shelf = s;
        s->names[i].next = *at;
        *at = &s->names[i];
    }
    s->next = l->packs[s->pack % PACK_BUCKETS];
    l->packs[s->pack % PACK_BUCKETS] = s;
    link_newest(l, s);
    l->charged += charge_of(s);
    l->stats.names += s->count;
    l->stats.packs += s->count > 0 ? 1 : 0;
}

/* ---- calls ---- */

size_t
index_locality_sift(struct index_locality *l, const struct record_name *names,
                    const uint32_t *order, size_t count, size_t *at, uint8_t *found,
                    uint32_t *unknown, size_t max)
{
    size_t n = 0;

    mutex_lock(&l->lock);
    for (; *at < count && n < max; (*at)++) {
        const struct kept_name *k = find_name(l, &names[order[*at]]);

        if (k == NULL) {
            unknown[n++] = order[*at];
            continue;
        }
        found[order[*at]] = 1;
        l->stats.answered++;
        if (k->shelf != l->newest) {
            unlink_age(l, k->shelf);
            link_newest(l, k->shelf);
        }
    }
    mutex_unlock(&l->lock);
    return n;
}

bool
index_locality_wants(struct index_locality *l, uint32_t pack)
{
    uint32_t *seen = &l->recent[pack % RECENT];
    bool wants;

    mutex_lock(&l->lock);
    wants = *seen == pack && find_pack(l, pack) == NULL;
    *seen = pack;
    mutex_unlock(&l->lock);
    return wants;
}

uint64_t
index_locality_moment(struct index_locality *l)
{
    uint64_t moment;

    mutex_lock(&l->lock);
    moment = l->moment;
    mutex_unlock(&l->lock);
    return moment;
}

void
index_locality_add(struct index_locality *l, uint32_t pack, uint64_t moment,
                   const struct record_name *names, uint32_t count)
{
    struct shelf *s = NULL;

    if (names == NULL || count > l->max_names / 2) {
        count = 0;
    }
    s = calloc(1, sizeof(*s) + count * sizeof(s->names[0]));
    if (s == NULL) {
        return; /* it is asked for again */
    }
    s->pack = pack;
    s->count = count;
    for (uint32_t i = 0; i < count; i++) {
        s->names[i].name = names[i];
    }
    mutex_lock(&l->lock);
    if (l->moment == moment && find_pack(l, pack) == NULL) {
        insert_shelf(l, s);
        s = NULL;
    }
    mutex_unlock(&l->lock);
    free(s);
}

void
index_locality_drop(struct index_locality *l, uint32_t pack)
{
    struct shelf *s;

    mutex_lock(&l->lock);
    l->moment++;
    s = find_pack(l, pack);
    if (s != NULL) {
        remove_shelf(l, s);
    }
    if (l->recent[pack % RECENT] == pack) {
        l->recent[pack % RECENT] = NEVER;
    }
    mutex_unlock(&l->lock);
}

void
index_locality_get_stats(struct index_locality *l, struct index_locality_stats *out)
{
    mutex_lock(&l->lock);
    *out = l->stats;
    mutex_unlock(&l->lock);
}
