/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "catalog/catalog_hits.h"
#include "gc/gc_internal.h"

/* One collection: count, look, condemn, move, remove. */

#define MOVE_PERCENT 50u
#define MARK_BATCH   256u          /* packs marked in one transaction of the index */
#define MOVE_BATCH   (64ull << 20) /* bytes copied before what they came from is removed */
#define SPACE_LEFT   (4ull << 20)  /* never copied into */

struct pack_list {
    struct index_pack *packs;
    size_t count;
    size_t cap;
    bool nomem;
};

struct collection {
    struct gc *gc;
    const struct gc_options *options;
    struct gc_result *r;
    struct pack_list dead;
    struct pack_list sparse; /* live_bytes is exact */
    struct pack_list stay;   /* they were looked at, and are ordinary packs: to be marked so */
};

static bool
add_pack(void *arg, const struct index_pack *pack)
{
    struct pack_list *l = arg;

    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        struct index_pack *p = realloc(l->packs, cap * sizeof(*p));

        if (p == NULL) {
            l->nomem = true;
            return false;
        }
        l->packs = p;
        l->cap = cap;
    }
    l->packs[l->count++] = *pack;
    return true;
}

static enum varve_err
list_marked(struct collection *c, struct pack_list *out, struct varve_error *err)
{
    enum varve_err rc = index_list_marked(chunk_store_index(c->gc->cs), add_pack, out, err);

    c->r->cost.operations += 2 * out->count;
    return rc == VARVE_OK && out->nomem ? varve_error_nomem(err) : rc;
}

static enum varve_err
mark(struct collection *c, const struct index_pack *pack, uint64_t live, bool candidate,
     bool condemned, struct varve_error *err)
{
    struct index_pack m = *pack;

    m.live_bytes = live;
    m.candidate = candidate;
    m.condemned = condemned;
    c->r->cost.operations += 2;
    return index_mark_packs(chunk_store_index(c->gc->cs), &m, 1, err);
}

/* All of them as the list says, in few transactions: each costs some pages of the index whatever it changes, and the
 * writer of the index, whom backups wait for. */
static enum varve_err
mark_list(struct collection *c, struct pack_list *l, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t at = 0; rc == VARVE_OK && at < l->count; at += MARK_BATCH) {
        size_t n = l->count - at < MARK_BATCH ? l->count - at : MARK_BATCH;

        c->r->cost.operations += 2 * n;
        rc = index_mark_packs(chunk_store_index(c->gc->cs), l->packs + at, n, err);
    }
    l->count = 0;
    return rc;
}

/* Between two packs: says where it stands, keeps to its rate, stops when told to. */
static enum varve_err
breathe(struct collection *c, uint64_t bytes, struct varve_error *err)
{
    const struct gc_options *o = c->options;
    bool stop = false;

    if (o->progress != NULL) {
        o->progress(o->arg, c->r);
    }
    if (o->cancel != NULL) {
        uint64_t ms = o->bytes_per_second > 0 ? bytes * 1000 / o->bytes_per_second : 0;

        stop = ms > 0 ? cancel_wait(o->cancel, ms > 60000 ? 60000 : (uint32_t)ms)
                      : cancel_is_set(o->cancel);
    }
    return stop ? varve_error_set(err, VARVE_ERR_CANCELLED, "stopped; the next collection goes on")
                : VARVE_OK;
}

static uint64_t
moved_bytes(const struct collect_cost *cost)
{
    return cost->bytes_read + cost->bytes_written;
}

/* ---- looking ---- */

/* A pack of which a part cannot be read cannot be judged: it stays, and scrubbing names it. */
static enum varve_err
look_at(struct collection *c, const struct index_pack *pack, struct pack_look *look, bool *usable,
        struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    enum varve_err rc = pack_look_at(c->gc->cs, pack, look, &c->r->cost, err);

    c->r->packs_looked_at++;
    *usable = rc == VARVE_OK;
    if (rc == VARVE_ERR_NOT_FOUND) { /* a crash came between the object and its names */
        rc = index_drop_packs(chunk_store_index(c->gc->cs), &pack->id, 1, err);
    } else if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_IO) {
        bool again = rc == VARVE_ERR_IO; /* it may pass */

        pack_object_name(&pack->id, name);
        log_warn("gc", "'%s' cannot be looked at and stays: %s", name, err->msg);
        rc = mark(c, pack, pack->live_bytes, again, false, err);
    }
    return rc;
}

/* Against the bytes of all its records: the frame of a small pack must not make it look empty. */
static bool
is_sparse(const struct collection *c, uint64_t live, const struct index_pack *pack)
{
    unsigned percent = c->options->move_percent == 0 ? MOVE_PERCENT : c->options->move_percent;
    uint64_t frame = PACK_HEADER_SIZE + pack_footer_size(pack->records) + PACK_TAIL_SIZE;
    uint64_t size = pack->size > frame ? pack->size - frame : 0;

    return live < size / 100 * percent + size % 100 * percent / 100;
}

/*
 * The index keeps two figures that say the same: the counts of the names, and the live bytes of the pack.  Where
 * the counts say less, one of them has rotted, and nothing is removed on the word of a rotten count.  Where they
 * say more, they are believed.
 */
static enum varve_err
distrust(struct collection *c, const struct index_pack *pack, const struct pack_look *look,
         struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];

    pack_object_name(&pack->id, name);
    log_error(
        "gc",
        "the index counts %" PRIu64 " live bytes in '%s' and finds %" PRIu64
        ": it is damaged, the pack stays until the index is built anew, which the next start does",
        pack->live_bytes, name, look->live_bytes);
    chunk_store_doubt_index(c->gc->cs);
    gc_note_blocked(c->gc, c->r);
    return mark(c, pack, pack->live_bytes, true, false, err);
}

/* It is no candidate any more. */
static enum varve_err
leave(struct collection *c, const struct index_pack *pack, uint64_t live, struct varve_error *err)
{
    struct index_pack m = *pack;

    m.live_bytes = live;
    m.candidate = false;
    m.condemned = false;
    return add_pack(&c->stay, &m) ? VARVE_OK : varve_error_nomem(err);
}

static enum varve_err
judge(struct collection *c, const struct index_pack *pack, struct varve_error *err)
{
    struct pack_look look;
    struct index_pack exact = *pack;
    bool usable = false;
    enum varve_err rc;

    if (!is_sparse(c, pack->live_bytes, pack) &&
        !chunk_store_pack_is_footless(c->gc->cs, &pack->id)) {
        return leave(c, pack, pack->live_bytes, err);
    }
    rc = look_at(c, pack, &look, &usable, err);
    if (rc != VARVE_OK || !usable) {
        return rc;
    }
    exact.live_bytes = look.live_bytes;
    if (look.walked) { /* what is left in it goes to a whole one, whatever that is */
        rc = add_pack(look.live_count == 0 ? &c->dead : &c->sparse, &exact)
                 ? VARVE_OK
                 : varve_error_nomem(err);
    } else if (look.live_bytes < pack->live_bytes) {
        rc = distrust(c, pack, &look, err);
    } else if (look.live_count == 0) {
        rc = add_pack(&c->dead, &exact) ? VARVE_OK : varve_error_nomem(err);
    } else if (is_sparse(c, look.live_bytes, pack)) {
        rc = add_pack(&c->sparse, &exact) ? VARVE_OK : varve_error_nomem(err);
    } else {
        rc = leave(c, pack, look.live_bytes, err);
    }
    pack_look_release(&look);
    return rc;
}

/* ---- removing ---- */

/* It is not dead, or not any more: an ordinary pack. */
static enum varve_err
keep_one(struct collection *c, const struct index_pack *pack, struct varve_error *err)
{
    struct pack_look look;
    bool usable = false;
    enum varve_err rc = look_at(c, pack, &look, &usable, err);

    if (rc == VARVE_OK && usable) {
        rc = mark(c, pack, look.live_bytes, true, false, err);
        pack_look_release(&look);
    }
    return rc;
}

static enum varve_err
remove_one(struct collection *c, const struct index_pack *pack, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct pack_look look;
    bool usable = false;
    bool removed = false;
    enum varve_err rc = look_at(c, pack, &look, &usable, err);

    if (rc != VARVE_OK || !usable) {
        return rc;
    }
    pack_object_name(&pack->id, name);
    if (look.live_count > 0) { /* somebody has published meanwhile */
        rc = mark(c, pack, look.live_bytes, true, false, err);
    } else if (look.walked &&
               look.count < pack->records) { /* since it was condemned; see tell_index() */
        rc = mark(c, pack, pack->live_bytes, true, false, err);
    } else if (look.incomplete &&
               !catalog_hits_none(c->gc->catalog, chunk_store_damage_found(c->gc->cs))) {
        log_warn(
            "gc",
            "'%s' is free and cannot be read, it stays while a point misses something, or until "
            "the manifests were walked",
            name);
        c->r->packs_waiting++;
    } else {
        rc = chunk_store_remove_pack(c->gc->cs, &look, &removed, &c->r->cost, err);
        if (removed) {
            if (look.incomplete) {
                log_warn("gc",
                         "'%s' is removed with what could not be read of it: no point misses "
                         "anything",
                         name);
            }
            c->r->packs_removed++;
            c->r->bytes_freed += pack->size;
        } else if (rc == VARVE_OK) {
            rc = keep_one(c, pack, err);
        }
    }
    pack_look_release(&look);
    return rc;
}

/* Removes what is condemned, if nobody is left who may have been told that it is there. */
static enum varve_err
remove_condemned(struct collection *c, struct varve_error *err)
{
    struct pack_list marked = {.count = 0};
    bool wait = chunk_use_is_before(c->gc->cs, c->gc->safe_use);
    bool told = false;
    uint64_t before = 0;
    enum varve_err rc = VARVE_OK;

    c->r->packs_waiting = 0;
    if (!wait) { /* points of runs that ended after they were last counted */
        rc = gc_account_turn(c->gc, c->options->cancel, &c->r->points_counted, &c->r->cost, err);
        gc_note_blocked(c->gc, c->r);
    }
    if (rc == VARVE_OK && c->r->blocked.code == VARVE_OK) {
        rc = list_marked(c, &marked, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < marked.count; i++) {
        if (!marked.packs[i].condemned) {
            continue;
        }
        if (wait || chunk_store_index_is_doubted(c->gc->cs)) {
            c->r->packs_waiting++;
            continue;
        }
        if (!told) {
            log_debug("gc", "removing packs");
            told = true;
        }
        before = c->r->cost.bytes_read;
        rc = remove_one(c, &marked.packs[i], err);
        if (rc == VARVE_OK) {
            rc = breathe(c, c->r->cost.bytes_read - before, err);
        }
    }
    free(marked.packs);
    return rc;
}

static enum varve_err
condemn(struct collection *c, const struct index_pack *packs, size_t count, struct varve_error *err)
{
    struct pack_list list = {.count = 0};
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = add_pack(&list, &packs[i]) ? VARVE_OK : varve_error_nomem(err);
        if (rc == VARVE_OK) {
            list.packs[i].condemned = true;
        }
    }
    if (rc == VARVE_OK) {
        rc = mark_list(c, &list, err);
    }
    free(list.packs);
    c->gc->safe_use = chunk_use_next(c->gc->cs); /* also when only some were condemned */
    return rc;
}

/* ---- moving what is left ---- */

/* How many of the packs from `from` on are moved next: one kind, as much as there is room for. */
static enum varve_err
choose_batch(struct collection *c, size_t from, size_t *count, struct varve_error *err)
{
    const struct pack_list *l = &c->sparse;
    uint64_t room = 0;
    uint64_t sum = 0;
    enum varve_err rc = store_free_bytes(chunk_store_objects(c->gc->cs), &room, err);

    *count = 0;
    if (rc != VARVE_OK) {
        return rc;
    }
    room = room > SPACE_LEFT ? room - SPACE_LEFT : 0;
    if (c->r->packs_waiting > 0) {
        room /= 4; /* what was moved is not given back yet */
    }
    while (from + *count < l->count && l->packs[from + *count].kind == l->packs[from].kind) {
        /* A new pack costs its frame, too. */
        sum += l->packs[from + *count].live_bytes + 64 * (uint64_t)l->packs[from + *count].records +
               4096;
        if (sum > room || (sum > MOVE_BATCH && *count > 0)) {
            break;
        }
        (*count)++;
    }
    c->r->no_space = c->r->no_space || *count == 0;
    return VARVE_OK;
}

/* Something in it could not be copied.  Where another place took over for all of that, it is looked at again;
 * else it is not tried again for nothing. */
static enum varve_err
stay(struct collection *c, const struct index_pack *pack, struct varve_error *err)
{
    struct pack_look look;
    bool usable = false;
    enum varve_err rc = look_at(c, pack, &look, &usable, err);

    if (rc == VARVE_OK && usable) {
        rc = mark(c, pack, look.live_bytes, look.live_count == 0, false, err);
        pack_look_release(&look);
    }
    return rc;
}

static enum varve_err
move_one(struct collection *c, struct pack_copier *copier, const struct index_pack *pack,
         struct varve_error *err)
{
    struct pack_look look;
    bool usable = false;
    size_t failed = 0;
    enum varve_err rc = look_at(c, pack, &look, &usable, err);

    if (rc != VARVE_OK || !usable) {
        return rc;
    }
    rc = pack_copier_add(copier, &look, &failed, err);
    if (rc == VARVE_OK && failed > 0) {
        rc = stay(c, pack, err);
    } else if (rc == VARVE_OK) {
        c->r->packs_moved++;
        c->r->bytes_copied += look.live_bytes;
    }
    pack_look_release(&look);
    return rc;
}

static enum varve_err
move_batch(struct collection *c, const struct index_pack *packs, size_t count,
           struct varve_error *err)
{
    struct pack_copier *copier = NULL;
    struct varve_error ignored;
    enum varve_err rc;

    rc = pack_copier_new(&copier, c->gc->cs, packs[0].kind, &c->r->cost, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    log_debug("gc", "rewriting packs=%zu", count);
    rc = condemn(c, packs, count, err);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        uint64_t before = moved_bytes(&c->r->cost);

        rc = move_one(c, copier, &packs[i], err);
        if (rc == VARVE_OK) {
            rc = breathe(c, moved_bytes(&c->r->cost) - before, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = pack_copier_flush(copier, err);
    }
    for (size_t i = 0; rc != VARVE_OK && i < count; i++) {
        /* What was copied is copied; the rest is an ordinary pack again. */
        if (mark(c, &packs[i], packs[i].live_bytes, true, false, &ignored) != VARVE_OK) {
            log_warn("gc", "a pack stays condemned until the next collection: %s", ignored.msg);
        }
    }
    pack_copier_free(copier);
    if (rc == VARVE_OK) {
        log_debug("gc", "rewrote packs=%zu", count);
    } else if (rc == VARVE_ERR_NOSPACE) {
        log_warn("gc", "the disk is full: %zu packs are not rewritten: %s", count, err->msg);
    }
    return rc;
}

static int
compare_kinds(const void *a, const void *b)
{
    const struct index_pack *p = a;
    const struct index_pack *q = b;

    return p->kind != q->kind              ? (int)p->kind - (int)q->kind
           : p->live_bytes < q->live_bytes ? -1
           : p->live_bytes > q->live_bytes ? 1
                                           : 0;
}

static enum varve_err
move_sparse(struct collection *c, struct varve_error *err)
{
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    if (c->sparse.count > 1) { /* the emptiest first */
        qsort(c->sparse.packs, c->sparse.count, sizeof(c->sparse.packs[0]), compare_kinds);
    }
    for (size_t at = 0; rc == VARVE_OK && at < c->sparse.count; at += count) {
        rc = choose_batch(c, at, &count, err);
        if (rc != VARVE_OK || count == 0) {
            break;
        }
        rc = move_batch(c, &c->sparse.packs[at], count, err);
        if (rc == VARVE_ERR_NOSPACE) {
            c->r->no_space = true;
            return VARVE_OK;
        }
        if (rc == VARVE_OK) {
            rc = remove_condemned(c, err);
        }
    }
    return rc;
}

/* ---- all of it ---- */

struct footless {
    struct chunk_store *cs;
    struct pack_list *out;
};

/* The others are candidates anyway. */
static bool
add_footless(void *arg, const struct index_pack *pack)
{
    struct footless *f = arg;

    return pack->candidate || pack->condemned || !chunk_store_pack_is_footless(f->cs, &pack->id) ||
           add_pack(f->out, pack);
}

static enum varve_err
judge_candidates(struct collection *c, struct varve_error *err)
{
    struct pack_list marked = {.count = 0};
    struct footless footless = {.cs = c->gc->cs, .out = &marked};
    enum varve_err rc = list_marked(c, &marked, err);

    if (rc == VARVE_OK && chunk_store_pack_is_footless(c->gc->cs, NULL)) {
        rc = index_list_packs(chunk_store_index(c->gc->cs), add_footless, &footless, err);
        rc = rc == VARVE_OK && marked.nomem ? varve_error_nomem(err) : rc;
    }

    for (size_t i = 0; rc == VARVE_OK && i < marked.count; i++) {
        if (marked.packs[i].condemned) {
            continue;
        }
        if (chunk_store_pack_is_young(c->gc->cs, &marked.packs[i].id)) {
            c->r->packs_young++;
            continue;
        }
        rc = judge(c, &marked.packs[i], err);
        if (rc == VARVE_OK && c->stay.count >= MARK_BATCH) {
            rc = mark_list(c, &c->stay, err);
        }
        if (rc == VARVE_OK) {
            rc = breathe(c, 0, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = mark_list(c, &c->stay, err);
    }
    free(marked.packs);
    return rc;
}

/* An index that is too large to be looked at by an open is looked at here, once. */
static enum varve_err
check_index(struct collection *c, struct varve_error *err)
{
    struct index *ix = chunk_store_index(c->gc->cs);
    struct index_stats stats;
    enum varve_err rc;

    index_get_stats(ix, &stats);
    if (stats.checked) {
        return VARVE_OK;
    }
    rc = index_check(ix, c->options->cancel, err);
    if (rc == VARVE_ERR_CORRUPT) {
        log_error("gc", "the index is damaged: %s", err->msg);
        gc_note_blocked(c->gc, c->r);
        rc = VARVE_OK;
    }
    return rc;
}

enum varve_err
gc_collect_turn(struct gc *gc, const struct gc_options *options, struct gc_result *r,
                struct varve_error *err)
{
    struct collection c = {.gc = gc, .options = options, .r = r};
    enum varve_err rc = VARVE_OK;

    if (!options->keep_points) {
        rc = gc_purge_turn(gc, options->now_us, options->cancel, &r->points_removed, &r->cost, err);
    }
    if (rc == VARVE_OK) {
        rc = gc_account_turn(gc, options->cancel, &r->points_counted, &r->cost, err);
    }
    if (rc == VARVE_OK) {
        rc = account_retry(gc->account, true, options->cancel, &r->cost, err);
    }
    r->nodes_unread = account_deferred(gc->account);
    gc_note_blocked(gc, r);
    if (rc == VARVE_OK && r->blocked.code == VARVE_OK) {
        rc = check_index(&c, err);
    }
    if (rc == VARVE_OK && r->blocked.code == VARVE_OK) {
        rc = remove_condemned(&c, err); /* of an earlier collection */
    }
    if (rc == VARVE_OK && r->blocked.code == VARVE_OK) {
        rc = judge_candidates(&c, err);
    }
    if (rc == VARVE_OK && c.dead.count > 0 && r->blocked.code == VARVE_OK) {
        rc = condemn(&c, c.dead.packs, c.dead.count, err);
        if (rc == VARVE_OK) {
            rc = remove_condemned(&c, err); /* first: this makes the room that moving needs */
        }
    }
    if (rc == VARVE_OK && r->blocked.code == VARVE_OK) {
        rc = move_sparse(&c, err);
    }
    free(c.dead.packs);
    free(c.sparse.packs);
    free(c.stay.packs);
    log_debug("gc", "a collection is over removed=%" PRIu64 " moved=%" PRIu64, r->packs_removed,
              r->packs_moved);
    return rc;
}
