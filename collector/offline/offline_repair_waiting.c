/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gc/account.h"
#include "jobs/seen_set.h"
#include "manifest/manifest.h"
#include "offline/offline_repair_internal.h"

/*
 * Nodes that could not be read when the last point that needed them went: the counts of what they name wait for them as rows of
 * the index (gc/account.h, invariant 4), and until then what only they name stays.  They are brought like what points need, with
 * the nodes below them, of which those that end in their turn would be waited for next.  Chunks are not: nobody needs them, and
 * their names are enough to count them off.  The next collection does that.
 */
#define SEEN_MAX (64u * 1024 * 1024)

struct wanted {
    struct chunk_domain *domain;
    unsigned level;
    struct chunk_id id;
};

/* What is still to be looked at; the last is next, so that there are never more than a path's siblings and the rows. */
struct wanted_list {
    struct wanted *list;
    size_t count;
    size_t cap;
    bool nomem;
};

static bool
want(void *arg, struct chunk_domain *domain, unsigned level, const struct chunk_id *id)
{
    struct wanted_list *l = arg;

    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? MANIFEST_FANOUT : l->cap * 2;
        struct wanted *p = realloc(l->list, cap * sizeof(*p));

        if (p == NULL) {
            l->nomem = true;
            return false;
        }
        l->list = p;
        l->cap = cap;
    }
    l->list[l->count++] = (struct wanted){.domain = domain, .level = level, .id = *id};
    return true;
}

static void
want_children(struct wanted_list *l, const struct wanted *w, const struct manifest_node *node)
{
    for (unsigned i = 0; w->level > 0 && !l->nomem && i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&node->child[i])) {
            (void)want(l, w->domain, w->level - 1, &node->child[i]);
        }
    }
}

static enum varve_err
bring_node(struct repair *r, struct wanted_list *l, const struct wanted *w, struct varve_error *err)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    struct repair_bytes b = {.buf = bytes, .cap = sizeof(bytes)};
    struct manifest_node node;
    struct varve_error why;
    enum varve_err rc = repair_bring(r, w->domain, CHUNK_NODE, &w->id, &b, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    r->out->nodes_copied += b.copied ? 1 : 0;
    if (b.len > 0 && manifest_node_decode(&node, bytes, b.len, w->level, &why) == VARVE_OK) {
        want_children(l, w, &node);
        return l->nomem ? varve_error_nomem(err) : VARVE_OK;
    }
    if (b.len > 0) {
        log_warn("store", "what counts wait for is no manifest node: %s", why.msg);
    }
    r->out->nodes_unread++;
    return VARVE_OK;
}

static enum varve_err
bring_all(struct repair *r, struct wanted_list *l, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct seen_set seen;

    rc = seen_set_init(&seen, SEEN_MAX, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    while (rc == VARVE_OK && l->count > 0) {
        struct wanted w = l->list[--l->count];
        struct chunk_id key;

        chunk_domain_key(w.domain, &w.id, &key);
        if (seen_set_add(&seen, &key)) {
            rc = bring_node(r, l, &w, err);
        }
    }
    seen_set_release(&seen);
    return rc;
}

enum varve_err
repair_waited_for(struct repair *r, struct varve_error *err)
{
    struct wanted_list l = {.list = NULL};
    enum varve_err rc = account_list_deferred(r->cs, want, &l, err);

    if (rc == VARVE_OK && l.nomem) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK && l.count > 0) {
        rc = bring_all(r, &l, err);
    }
    free(l.list);
    return rc;
}
