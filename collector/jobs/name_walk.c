/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/name_walk.h"

#include <stdlib.h>
#include <string.h>

#include "jobs/seen_set.h"
#include "jobs/verify_internal.h"
#include "manifest/manifest.h"
#include "os/thread.h"

#define BATCH       8u
#define THREADS_MIN 8u
#define THREADS_MAX 64u
#define TICK_MS     200u
#define NONE        MANIFEST_FANOUT

struct tree {
    struct name_tree pub;
    size_t number; /* counted over all points */
    size_t open;   /* nodes of it that are open, and calls under way; under the lock */
};

/* An open node: the children that nobody has taken yet are [next, count). */
struct frame {
    struct frame *below;
    struct tree *tree;
    unsigned level;
    unsigned next;
    unsigned count;
    unsigned again; /* which of them was seen before; NONE */
    uint64_t at[MANIFEST_FANOUT];
    struct chunk_id ids[MANIFEST_FANOUT];
};

/* What a thread took: chunks, or one node. */
struct task {
    struct tree *tree;
    bool is_node;
    unsigned level; /* of the node */
    unsigned count;
    bool again[BATCH];
    uint64_t at[BATCH]; /* first chunk below */
    struct chunk_id ids[BATCH];
};

struct run {
    const struct name_walk *walk;
    struct chunk_store *cs;
    uint32_t chunk_size;

    struct mutex seen_lock;
    struct seen_set nodes;
    struct seen_set chunks;

    struct mutex lock; /* everything below */
    struct cond work;  /* for the threads: a node was opened, the last call ended, or it is over */
    struct cond news;  /* for the caller */
    struct frame *top;
    size_t next_point; /* what is begun next */
    size_t next_disk;
    size_t next_tree;
    size_t trees_done; /* all before this one are finished */
    uint8_t *finished; /* per tree */
    size_t points_done;
    size_t points_end; /* first tree of the point after points_done */
    unsigned busy;     /* calls under way */
    unsigned idle;     /* threads that wait */
    unsigned running;  /* threads */
    bool over;
    bool failed;
    struct varve_error error;
};

static void
end_locked(struct run *r, const struct varve_error *error)
{
    if (error != NULL && !r->failed) {
        r->failed = true;
        r->error = *error;
    }
    r->over = true;
    cond_broadcast(&r->work);
    cond_signal(&r->news);
}

static size_t
trees_of(const struct point *p)
{
    return p->disk_count == 0 ? 1 : p->disk_count;
}

static void
close_tree_locked(struct run *r, struct tree *t)
{
    const struct name_walk *w = r->walk;
    size_t before = r->points_done;

    if (--t->open > 0) {
        return;
    }
    r->finished[t->number] = 1;
    while (r->points_done < w->point_count && r->finished[r->trees_done]) {
        r->trees_done++;
        if (r->trees_done == r->points_end) {
            r->points_done++;
            r->points_end +=
                r->points_done < w->point_count ? trees_of(w->points[r->points_done]) : 0;
        }
    }
    if (r->points_done > before) {
        cond_signal(&r->news);
    }
    free(t);
}

static size_t
chunk_len(const struct run *r, const struct tree *t, uint64_t chunk)
{
    uint64_t left = t->pub.size - chunk * r->chunk_size;

    return left < r->chunk_size ? (size_t)left : r->chunk_size;
}

/* A node at the disk's end may hold a short chunk, whose length depends on the disk. */
static bool
is_at_end(const struct tree *t, uint64_t first, unsigned level)
{
    return first + verify_node_span(level) >= t->pub.chunk_count;
}

/* ---- opening a node ---- */

/* Keeps the children that nobody has brought or is to bring already. */
static struct frame *
make_frame(struct run *r, struct tree *t, const struct manifest_node *node, uint64_t first)
{
    uint64_t per_child = verify_node_span(node->level) / MANIFEST_FANOUT;
    struct chunk_id keys[MANIFEST_FANOUT];
    struct frame *f = malloc(sizeof(*f));
    unsigned kept = 0;

    if (f == NULL) {
        return NULL;
    }
    f->tree = t;
    f->level = node->level;
    f->next = 0;
    f->count = 0;
    f->again = NONE;
    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        if (!chunk_id_is_hole(&node->child[i])) {
            f->ids[f->count] = node->child[i];
            f->at[f->count] = first + i * per_child;
            chunk_domain_key(t->pub.domain, &node->child[i], &keys[f->count]);
            f->count++;
        }
    }
    mutex_lock(&r->seen_lock);
    for (unsigned i = 0; i < f->count; i++) {
        bool fresh = seen_set_add(f->level > 0 ? &r->nodes : &r->chunks, &keys[i]);

        if (fresh || (f->level > 0 ? is_at_end(t, f->at[i], f->level - 1)
                                   : chunk_len(r, t, f->at[i]) < r->chunk_size)) {
            f->again = fresh ? f->again : kept;
            f->ids[kept] = f->ids[i];
            f->at[kept] = f->at[i];
            kept++;
        }
    }
    f->count = kept;
    mutex_unlock(&r->seen_lock);
    return f;
}

/* ---- taking ---- */

static bool
take_locked(struct run *r, struct task *task)
{
    struct frame *f = r->top;

    if (f == NULL) {
        return false;
    }
    task->tree = f->tree;
    task->is_node = f->level > 0;
    task->level = f->level == 0 ? 0 : f->level - 1;
    task->count = 0;
    f->tree->open++;
    while (f->next < f->count && task->count < (task->is_node ? 1 : BATCH)) {
        task->again[task->count] = f->next == f->again;
        task->at[task->count] = f->at[f->next];
        task->ids[task->count] = f->ids[f->next];
        task->count++;
        f->next++;
    }
    if (f->next == f->count) {
        r->top = f->below;
        close_tree_locked(r, f->tree);
        free(f);
    }
    return true;
}

/* ---- doing ---- */

static enum varve_err
bring_chunks(struct run *r, const struct task *task, uint8_t *buf, size_t cap,
             struct varve_error *err)
{
    const struct name_walk *w = r->walk;
    enum varve_err rc = VARVE_OK;

    for (unsigned i = 0; rc == VARVE_OK && i < task->count; i++) {
        struct chunk_id key;
        struct walk_name name = {.id = &task->ids[i],
                                 .key = &key,
                                 .kind = CHUNK_DATA,
                                 .len = chunk_len(r, task->tree, task->at[i]),
                                 .again = task->again[i]};
        size_t len = 0;

        chunk_domain_key(task->tree->pub.domain, name.id, &key);
        rc = w->bring(w->arg, &task->tree->pub, &name, buf, cap, &len, err);
    }
    return rc;
}

/* *out NULL: nothing below it is to be brought. */
static enum varve_err
bring_node(struct run *r, struct tree *t, const struct chunk_id *id, bool again, unsigned level,
           uint64_t first, uint8_t *buf, size_t cap, struct frame **out, struct varve_error *err)
{
    const struct name_walk *w = r->walk;
    struct chunk_id key;
    struct walk_name name = {.id = id, .key = &key, .kind = CHUNK_NODE, .again = again};
    struct manifest_node node;
    struct varve_error why;
    size_t len = 0;
    enum varve_err rc;

    chunk_domain_key(t->pub.domain, id, &key);
    rc = w->bring(w->arg, &t->pub, &name, buf, cap, &len, err);
    if (rc != VARVE_OK || len == 0) {
        return rc;
    }
    if (verify_check_node(&node, buf, len, level, first, t->pub.chunk_count, &why) != VARVE_OK) {
        return w->bad_node(w->arg, &t->pub, &name, &why, err);
    }
    *out = make_frame(r, t, &node, first);
    if (*out == NULL) {
        return varve_error_nomem(err);
    }
    if ((*out)->count == 0) {
        free(*out);
        *out = NULL;
    }
    return VARVE_OK;
}

/* The next disk of the next point. */
static struct tree *
next_tree_locked(struct run *r)
{
    const struct point *p = r->walk->points[r->next_point];
    struct tree *t = calloc(1, sizeof(*t));

    if (t != NULL) {
        t->number = r->next_tree++;
        t->open = 1;
        t->pub.point = p;
        t->pub.disk = r->next_disk++;
        if (r->next_disk == trees_of(p)) {
            r->next_disk = 0;
            r->next_point++;
        }
    }
    return t;
}

static enum varve_err
begin_tree(struct run *r, struct tree *t, uint8_t *buf, size_t cap, struct frame **out,
           struct varve_error *err)
{
    const struct point *p = t->pub.point;
    struct chunk_id key;
    unsigned level;
    bool fresh;
    enum varve_err rc = chunk_store_domain(r->cs, &p->domain, &t->pub.domain, err);

    if (rc == VARVE_OK && t->pub.disk < p->disk_count) {
        t->pub.root = p->disks[t->pub.disk].root.id;
        t->pub.chunk_count = p->disks[t->pub.disk].root.chunk_count;
        t->pub.size = p->disks[t->pub.disk].size;
    }
    if (rc == VARVE_OK && r->walk->begin != NULL) {
        rc = r->walk->begin(r->walk->arg, &t->pub, err);
    }
    if (rc != VARVE_OK || chunk_id_is_hole(&t->pub.root)) {
        return rc;
    }
    level = manifest_root_level(t->pub.chunk_count);
    chunk_domain_key(t->pub.domain, &t->pub.root, &key);
    mutex_lock(&r->seen_lock);
    fresh = seen_set_add(&r->nodes, &key);
    mutex_unlock(&r->seen_lock);
    if (!fresh && !is_at_end(t, 0, level)) {
        return VARVE_OK;
    }
    return bring_node(r, t, &t->pub.root, !fresh, level, 0, buf, cap, out, err);
}

/* Takes something and does it, without the lock in between. */
static void
step_locked(struct run *r, uint8_t *buf, size_t cap)
{
    struct frame *opened = NULL;
    struct task task = {.tree = NULL};
    bool taken = take_locked(r, &task);
    struct varve_error err;
    enum varve_err rc;

    if (!taken) {
        task.tree = next_tree_locked(r);
        if (task.tree == NULL) {
            (void)varve_error_nomem(&err);
            end_locked(r, &err);
            return;
        }
    }
    r->busy++;
    mutex_unlock(&r->lock);
    if (!taken) {
        rc = begin_tree(r, task.tree, buf, cap, &opened, &err);
    } else if (task.is_node) {
        rc = bring_node(r, task.tree, &task.ids[0], task.again[0], task.level, task.at[0], buf, cap,
                        &opened, &err);
    } else {
        rc = bring_chunks(r, &task, buf, cap, &err);
    }
    mutex_lock(&r->lock);
    r->busy--;
    if (opened != NULL) {
        opened->below = r->top;
        r->top = opened;
        task.tree->open++;
    }
    close_tree_locked(r, task.tree);
    if (rc != VARVE_OK) {
        end_locked(r, &err);
    } else if (opened != NULL && r->idle > 0) {
        cond_broadcast(&r->work);
    }
}

static void
thread_main(void *arg)
{
    struct run *r = arg;
    size_t cap = r->chunk_size > MANIFEST_NODE_MAX ? r->chunk_size : MANIFEST_NODE_MAX;
    uint8_t *buf = malloc(cap);
    struct varve_error err;

    mutex_lock(&r->lock);
    if (buf == NULL) {
        (void)varve_error_nomem(&err);
        end_locked(r, &err);
    }
    while (!r->over) {
        if (r->top != NULL || r->next_point < r->walk->point_count) {
            step_locked(r, buf, cap);
        } else if (r->busy == 0) {
            end_locked(r, NULL);
        } else {
            r->idle++;
            cond_wait(&r->work, &r->lock);
            r->idle--;
        }
    }
    r->running--;
    cond_signal(&r->news);
    mutex_unlock(&r->lock);
    free(buf);
}

/* ---- all of it ---- */

/* Waits for the threads, and tells the caller how far they are. */
static void
watch_locked(struct run *r)
{
    size_t told = 0;
    bool stopped = false;

    while (r->running > 0 || told < r->points_done) {
        struct varve_error err;
        size_t done;
        bool ok;

        if (r->running > 0 && told == r->points_done) {
            (void)cond_timedwait(&r->news, &r->lock, TICK_MS);
        }
        done = r->points_done;
        told = done;
        if (stopped) {
            continue;
        }
        mutex_unlock(&r->lock);
        ok = r->walk->tick(r->walk->arg, done, &err) == VARVE_OK;
        mutex_lock(&r->lock);
        if (!ok) {
            stopped = true;
            end_locked(r, &err);
        }
    }
}

static enum varve_err
start(struct run *r, struct thread *threads, unsigned *started, struct varve_error *err)
{
    unsigned wanted = r->walk->threads;
    enum varve_err rc = VARVE_OK;

    if (wanted == 0) {
        wanted = 2 * thread_cpu_count();
        wanted = wanted < THREADS_MIN ? THREADS_MIN : wanted;
    }
    wanted = wanted > THREADS_MAX ? THREADS_MAX : wanted;
    mutex_lock(&r->lock);
    while (rc == VARVE_OK && *started < wanted) {
        rc = thread_start(&threads[*started], "verify", thread_main, r, err);
        *started += rc == VARVE_OK ? 1 : 0;
        r->running += rc == VARVE_OK ? 1 : 0;
    }
    if (*started > 0) { /* fewer will do */
        watch_locked(r);
        rc = VARVE_OK;
    }
    mutex_unlock(&r->lock);
    return rc;
}

enum varve_err
name_walk_run(struct chunk_store *cs, const struct name_walk *walk, struct varve_error *err)
{
    struct run r = {.walk = walk, .cs = cs, .chunk_size = chunk_store_chunk_size(cs)};
    struct thread threads[THREADS_MAX];
    unsigned started = 0;
    size_t trees = 0;
    enum varve_err rc;

    for (size_t i = 0; i < walk->point_count; i++) {
        trees += trees_of(walk->points[i]);
    }
    r.points_end = walk->point_count == 0 ? 0 : trees_of(walk->points[0]);
    mutex_init(&r.seen_lock);
    mutex_init(&r.lock);
    cond_init(&r.work);
    cond_init(&r.news);
    rc = seen_set_init(&r.nodes, walk->seen_max, err);
    if (rc == VARVE_OK) {
        rc = seen_set_init(&r.chunks, walk->seen_max, err);
    }
    if (rc == VARVE_OK) {
        r.finished = calloc(trees + 1, 1);
        rc = r.finished == NULL ? varve_error_nomem(err) : start(&r, threads, &started, err);
    }
    while (started > 0) {
        thread_join(&threads[--started]);
    }
    while (r.finished != NULL && r.top != NULL) { /* it ended early */
        struct frame *f = r.top;

        r.top = f->below;
        close_tree_locked(&r, f->tree);
        free(f);
    }
    if (rc == VARVE_OK && r.failed) {
        *err = r.error;
        rc = err->code;
    }
    seen_set_release(&r.nodes);
    seen_set_release(&r.chunks);
    free(r.finished);
    cond_destroy(&r.news);
    cond_destroy(&r.work);
    mutex_destroy(&r.lock);
    mutex_destroy(&r.seen_lock);
    return rc;
}
