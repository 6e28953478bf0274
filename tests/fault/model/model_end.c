/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <inttypes.h>

#include "jobs/damage_points.h"

/* The end of a sequence: space comes back, what nobody needs now, and in the end all of it. */

static void
pack_is_needed(struct model *m, const struct index_pack *pack)
{
    struct pack_look look;
    struct collect_cost cost = {0};
    struct varve_error err;

    if (pack_look_at(m->l.cs, pack, &look, &cost, &err) != VARVE_OK) {
        if (!was_hit(m, &pack->id)) {
            violation(m, "a pack cannot be looked at: %s", err.msg);
        }
        return;
    }
    if (look.live_count == 0) {
        violation(m, "a pack without a live record is left after a collection");
    }
    pack_look_release(&look);
}

struct index_packs {
    struct index_pack list[512];
    unsigned count;
};

static bool
copy_pack(void *arg, const struct index_pack *pack)
{
    struct index_packs *p = arg;

    if (p->count < 512) {
        p->list[p->count++] = *pack;
    }
    return true;
}

static void
delete_the_rest(struct model *m)
{
    for (;;) {
        unsigned number = 0;
        unsigned vm = 0;
        struct point *p = m->bad ? NULL : pick(m, LISTED, &vm, &number);
        struct varve_error err;
        size_t released = 0;

        if (p == NULL) {
            return;
        }
        if (catalog_release_holds(m->l.catalog, p, &released, &err) != VARVE_OK) {
            violation(m, "releasing holds: %s", err.msg);
        }
        m->table[vm][number].may_held = 1;
        delete_point(m, p, m->now_us);
        if (m->table[vm][number].d.may != GONE) {
            violation(m, "run %u of vm %u cannot be deleted in the end", number, vm);
        }
        point_unref(p);
    }
}

static bool
no_pack_is_left(void *arg, const struct pack_id *id, uint64_t size)
{
    struct model *m = arg;
    char object[PACK_OBJECT_NAME_SIZE];

    pack_object_name(id, object);
    violation(m, "'%s' of %" PRIu64 " bytes is left when no point is", object, size);
    return true;
}

void
space_comes_back(struct model *m)
{
    static struct index_packs packs;
    struct varve_error err;
    struct gc_result r;

    (void)collect(m, 101, &r);
    (void)collect(m, 101, &r);
    packs.count = 0;
    if (index_list_packs(chunk_store_index(m->l.cs), copy_pack, &packs, &err) != VARVE_OK) {
        violation(m, "listing packs: %s", err.msg);
    }
    for (unsigned i = 0; i < packs.count && !m->bad; i++) {
        pack_is_needed(m, &packs.list[i]);
    }
    compare(m, true);
    m->now_us += 100 * HOUR_US;
    delete_the_rest(m);
    (void)collect(m, 0, &r);
    (void)collect(m, 0, &r);
    if (!m->bad && r.nodes_unread > 0) { /* what they name stays until the index is built anew */
        m->counts->unread++;
        reopen(m, END_CUT);
        m->rotten = false; /* nothing comes that could rely on it */
        (void)collect(m, 0, &r);
        (void)collect(m, 0, &r);
    }
    if (!m->bad && r.nodes_unread > 0) {
        violation(m, "a new index waits for nodes that no point needs");
    }
    if (!m->bad && r.blocked.code != VARVE_OK) {
        violation(m, "with nothing left the collection is blocked: %s", r.blocked.msg);
    }
    /* Those of which something is lost go when it was seen that no point misses anything. */
    if (!m->bad && damage_points(m->l.cs, m->l.catalog, NULL, NULL, NULL, NULL, &err) != VARVE_OK) {
        violation(m, "walking manifests: %s", err.msg);
    }
    (void)collect(m, 0, &r);
    (void)collect(m, 0, &r);
    if (!m->bad && chunk_store_list_packs(m->l.cs, no_pack_is_left, m, &err) != VARVE_OK) {
        violation(m, "listing packs: %s", err.msg);
    }
}
