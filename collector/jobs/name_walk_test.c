/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "jobs/name_walk.h"
#include "manifest/manifest.h"
#include "os/thread.h"
#include "restore/restore_lab.h"

#define MIB     (1024u * 1024)
#define CHUNK   (64u * 1024)
#define POINTS  5u
#define THREADS 6u
#define WAIT_MS 60000u

struct names {
    struct chunk_id *list;
    size_t count;
    size_t cap;
};

static void
names_add(struct names *n, const struct chunk_id *id)
{
    if (n->count == n->cap) {
        n->cap = n->cap == 0 ? 1024 : n->cap * 2;
        n->list = realloc(n->list, n->cap * sizeof(*n->list));
        if (n->list == NULL) {
            abort();
        }
    }
    n->list[n->count++] = *id;
}

static int
compare(const void *a, const void *b)
{
    return chunk_id_compare(a, b);
}

/* Sorted; each once when distinct. */
static void
names_sort(struct names *n, bool distinct)
{
    size_t kept = 0;

    if (n->count > 0) {
        qsort(n->list, n->count, sizeof(*n->list), compare);
    }
    for (size_t i = 0; i < n->count; i++) {
        if (!distinct || i == 0 || !chunk_id_equal(&n->list[i], &n->list[kept - 1])) {
            n->list[kept++] = n->list[i];
        }
    }
    n->count = kept;
}

/* What the callbacks saw. */
struct seen {
    struct lab *lab;
    struct mutex lock;
    struct cond changed;
    struct names chunks; /* but for those brought again */
    size_t nodes;
    size_t again;
    size_t begun;
    unsigned inside;     /* calls of bring under way */
    unsigned inside_max; /* at any time */
    unsigned wait_for;   /* bring waits until there were as many; 0: it does not */
    size_t fail_at;      /* this call of bring fails, counted from 1; 0: none */
    size_t calls;
    size_t wrong;   /* a length, or a read that failed */
    size_t told;    /* points_done of the last tick */
    size_t stop_at; /* tick refuses from so many points on */
    size_t refused;
};

static void
seen_init(struct seen *s, struct lab *l)
{
    memset(s, 0, sizeof(*s));
    s->lab = l;
    s->stop_at = SIZE_MAX;
    mutex_init(&s->lock);
    cond_init(&s->changed);
}

static void
seen_release(struct seen *s)
{
    cond_destroy(&s->changed);
    mutex_destroy(&s->lock);
    free(s->chunks.list);
}

static enum varve_err
on_begin(void *arg, struct name_tree *t, struct varve_error *err)
{
    struct seen *s = arg;

    (void)t;
    (void)err;
    mutex_lock(&s->lock);
    s->begun++;
    mutex_unlock(&s->lock);
    return VARVE_OK;
}

static enum varve_err
on_name(void *arg, const struct name_tree *t, const struct walk_name *name, void *buf, size_t cap,
        size_t *len, struct varve_error *err)
{
    struct seen *s = arg;
    size_t call;
    enum varve_err rc;

    mutex_lock(&s->lock);
    call = ++s->calls;
    s->inside++;
    s->inside_max = s->inside > s->inside_max ? s->inside : s->inside_max;
    cond_broadcast(&s->changed);
    while (s->inside_max < s->wait_for && cond_timedwait(&s->changed, &s->lock, WAIT_MS)) {
    }
    if (name->again) {
        s->again++;
    } else if (name->kind == CHUNK_DATA) {
        names_add(&s->chunks, name->id);
    } else {
        s->nodes++;
    }
    mutex_unlock(&s->lock);
    rc = chunk_store_get(t->domain, name->id, buf, cap, len, err);
    if (call == s->fail_at) {
        rc = varve_error_set(err, VARVE_ERR_INTERNAL, "call %zu fails", call);
    }
    mutex_lock(&s->lock);
    s->wrong += rc != VARVE_OK || (name->kind == CHUNK_DATA && *len != name->len) ? 1 : 0;
    s->inside--;
    mutex_unlock(&s->lock);
    return rc;
}

static enum varve_err
on_bad_node(void *arg, const struct name_tree *t, const struct walk_name *name,
            const struct varve_error *why, struct varve_error *err)
{
    (void)arg;
    (void)t;
    (void)name;
    *err = *why;
    return err->code;
}

static enum varve_err
on_tick(void *arg, size_t points_done, struct varve_error *err)
{
    struct seen *s = arg;

    assert_true(points_done >= s->told);
    s->told = points_done;
    s->refused += points_done < s->stop_at ? 0 : 1;
    return points_done < s->stop_at ? VARVE_OK
                                    : varve_error_set(err, VARVE_ERR_CANCELLED, "that will do");
}

static enum varve_err
walk(struct lab *l, struct seen *s, struct varve_error *err)
{
    struct point *points[LAB_POINTS_MAX];
    struct name_walk w = {.arg = s,
                          .points = points,
                          .point_count = l->point_count,
                          .threads = THREADS,
                          .seen_max = MIB,
                          .begin = on_begin,
                          .bring = on_name,
                          .bad_node = on_bad_node,
                          .tick = on_tick};

    for (size_t i = 0; i < l->point_count; i++) {
        points[i] = l->points[i].point;
    }
    return name_walk_run(l->cs, &w, err);
}

static void
build(struct lab *l)
{
    lab_open(l, 7, CHUNK);
    (void)lab_add_disk(l, "a.vhdx", 40 * MIB, 512);
    (void)lab_add_disk(l, "b.vhdx", 9 * MIB + 512, 512); /* its last chunk is short */
    for (unsigned i = 0; i < POINTS; i++) {
        lab_write(l, 0, i == 0 ? 80 : 5);
        lab_write(l, 1, i == 0 ? 30 : 2);
        memset(l->disks[1].bytes + l->disks[1].size - 512, 'a', 512);
        (void)lab_take_point(l);
    }
}

/* What the manifests name, read one after the other. */
static void
list_names(struct lab *l, struct names *out)
{
    for (size_t i = 0; i < l->point_count; i++) {
        const struct point *p = l->points[i].point;

        for (size_t k = 0; k < p->disk_count; k++) {
            struct manifest_reader *r = NULL;
            struct varve_error err;

            assert_ok(manifest_reader_new(&r, chunk_store_default(l->cs), &p->disks[k].root, &err),
                      &err);
            for (uint64_t c = 0; c < p->disks[k].root.chunk_count; c++) {
                struct chunk_id id;

                assert_ok(manifest_read(r, c, 1, &id, &err), &err);
                if (!chunk_id_is_hole(&id)) {
                    names_add(out, &id);
                }
            }
            manifest_reader_free(r);
        }
    }
    names_sort(out, true);
}

static void
each_name_is_brought_once_by_whatever_thread(void **state)
{
    struct names want = {0};
    struct varve_error err;
    struct seen s;
    struct lab l;

    (void)state;
    build(&l);
    list_names(&l, &want);
    seen_init(&s, &l);
    assert_ok(walk(&l, &s, &err), &err);
    names_sort(&s.chunks, false);
    assert_int_equal(s.chunks.count, want.count);
    assert_memory_equal(s.chunks.list, want.list, want.count * sizeof(*want.list));
    assert_int_equal(s.wrong, 0);
    assert_int_equal(s.begun, POINTS * 2);
    assert_int_equal(s.told, POINTS);
    /* The short chunk is the same in all points: brought again for each but one. */
    assert_true(s.again >= POINTS - 1);
    assert_true(s.nodes >= 3 * POINTS / 2);
    free(want.list);
    seen_release(&s);
    lab_close(&l);
}

static void
as_many_reads_are_under_way_as_there_are_threads(void **state)
{
    struct varve_error err;
    struct seen s;
    struct lab l;

    (void)state;
    build(&l);
    seen_init(&s, &l);
    s.wait_for = THREADS;
    assert_ok(walk(&l, &s, &err), &err);
    assert_int_equal(s.inside_max, THREADS);
    assert_int_equal(s.told, POINTS);
    seen_release(&s);
    lab_close(&l);
}

static void
an_error_ends_it_wherever_it_happens(void **state)
{
    struct varve_error err;
    size_t calls;
    struct seen s;
    struct lab l;

    (void)state;
    build(&l);
    seen_init(&s, &l);
    assert_ok(walk(&l, &s, &err), &err);
    calls = s.calls;
    seen_release(&s);
    for (size_t n = 1; n <= calls; n += 1 + calls / 20) {
        seen_init(&s, &l);
        s.fail_at = n;
        assert_err(walk(&l, &s, &err), VARVE_ERR_INTERNAL, &err);
        seen_release(&s);
    }
    lab_close(&l);
}

static void
the_caller_stops_it_and_hears_no_more(void **state)
{
    struct varve_error err;
    struct seen s;
    struct lab l;

    (void)state;
    build(&l);
    seen_init(&s, &l);
    s.stop_at = 1;
    assert_err(walk(&l, &s, &err), VARVE_ERR_CANCELLED, &err);
    assert_int_equal(s.refused, 1);
    seen_release(&s);
    lab_close(&l);
}

static void
no_points_are_done_at_once(void **state)
{
    struct varve_error err;
    struct seen s;
    struct lab l;

    (void)state;
    lab_open(&l, 7, CHUNK);
    seen_init(&s, &l);
    assert_ok(walk(&l, &s, &err), &err);
    assert_int_equal(s.calls, 0);
    seen_release(&s);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_name_is_brought_once_by_whatever_thread),
        cmocka_unit_test(as_many_reads_are_under_way_as_there_are_threads),
        cmocka_unit_test(an_error_ends_it_wherever_it_happens),
        cmocka_unit_test(the_caller_stops_it_and_hears_no_more),
        cmocka_unit_test(no_points_are_done_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
