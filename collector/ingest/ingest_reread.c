/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "ingest/ingest_internal.h"

/*
 * Disks that are read as a whole by their next run because the store has lost something of them.  Kept in memory
 * only: whoever found the damage finds it again after a restart (jobs/patrol.h).
 */
#define REREADS_MAX 65536u

/* SIZE_MAX: it is not there. */
static size_t
find_locked(const struct ingest *ing, const struct guid *vm, const struct guid *disk)
{
    for (size_t i = 0; i < ing->reread_count; i++) {
        if (guid_equal(&ing->rereads[i].vm, vm) && guid_equal(&ing->rereads[i].disk, disk)) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool
ingest_want_full(struct ingest *ing, const struct guid *vm, const struct guid *disk)
{
    bool added = false;

    mutex_lock(&ing->lock);
    if (find_locked(ing, vm, disk) != SIZE_MAX || ing->reread_count == REREADS_MAX) {
        goto out;
    }
    if (ing->reread_count == ing->reread_cap) {
        size_t cap = ing->reread_cap == 0 ? 16 : ing->reread_cap * 2;
        struct ingest_reread *p = realloc(ing->rereads, cap * sizeof(*p));

        if (p == NULL) { /* the next walk asks again */
            goto out;
        }
        ing->rereads = p;
        ing->reread_cap = cap;
    }
    ing->rereads[ing->reread_count++] = (struct ingest_reread){.vm = *vm, .disk = *disk};
    added = true;
out:
    mutex_unlock(&ing->lock);
    return added;
}

size_t
ingest_count_full(struct ingest *ing)
{
    size_t count;

    mutex_lock(&ing->lock);
    count = ing->reread_count;
    mutex_unlock(&ing->lock);
    return count;
}

bool
ingest_wants_full(struct ingest *ing, const struct guid *vm, const struct guid *disk)
{
    bool wanted;

    mutex_lock(&ing->lock);
    wanted = find_locked(ing, vm, disk) != SIZE_MAX;
    mutex_unlock(&ing->lock);
    return wanted;
}

void
ingest_full_done(struct ingest *ing, const struct point *p)
{
    mutex_lock(&ing->lock);
    for (size_t i = 0; i < p->disk_count; i++) {
        size_t at = find_locked(ing, &p->vm, &p->disks[i].id);

        if (at != SIZE_MAX && !p->disks[i].incremental) {
            ing->rereads[at] = ing->rereads[--ing->reread_count];
        }
    }
    mutex_unlock(&ing->lock);
}

bool
ingest_run_rereads(const struct ingest_run *run, const struct guid *disk)
{
    for (size_t i = 0; i < run->reread_count; i++) {
        if (guid_equal(&run->rereads[i], disk)) {
            return true;
        }
    }
    return false;
}
