/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "gc/account.h"
#include "manifest/manifest.h"
#include "os/file.h"
#include "perf/bench_lib.h"
#include "store/chunk_collect.h"

/*
 * Memory and time of 'varve store check-counts' over many synthetic chunks:
 *
 *   bench_counts FOLDER [MILLIONS]
 *
 * FOLDER must not exist.  Makes a store with real manifests of chunks that are not there, ten disks with two points
 * each (in the second one chunk in 256 is another one, so half of the leaves are), counts them in the index,
 * and checks the counts.  Then one count is made too low and one too high, and they are checked again.
 */
#define DISKS  10u
#define DELTAS (1024u * 1024)

struct bench {
    struct store *objects;
    struct chunk_store *cs;
    struct chunk_domain *domain;
    struct index_delta *deltas;
    struct index_change change;
    uint64_t names;
    uint64_t edges;
};

static void
check(enum varve_err rc, const struct varve_error *err)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "bench_counts: %s\n", err->msg);
        exit(1);
    }
}

static void
apply(struct bench *b)
{
    struct varve_error err;

    check(index_apply(chunk_store_index(b->cs), &b->change, &err), &err);
    b->change.delta_count = 0;
}

static void
add(struct bench *b, const struct chunk_id *id, enum chunk_kind kind, int delta)
{
    struct index_delta *d = &b->deltas[b->change.delta_count];

    chunk_store_name(b->domain, id, &d->name);
    d->kind = (uint8_t)kind;
    d->delta = (int8_t)delta;
    b->edges++;
    if (++b->change.delta_count == DELTAS) {
        apply(b);
    }
}

static void
get_node(struct bench *b, const struct chunk_id *id, unsigned level, struct manifest_node *out)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    struct varve_error err;
    size_t len = 0;

    check(chunk_store_get(b->domain, id, bytes, sizeof(bytes), &len, &err), &err);
    check(manifest_node_decode(out, bytes, len, level, &err), &err);
}

/* What a node adds to the counts; old, which may be NULL, is the node that was in its place before. */
static void
count_node(struct bench *b, const struct chunk_id *id, const struct chunk_id *old, unsigned level)
{
    struct manifest_node *nodes = calloc(2, sizeof(*nodes));

    if (nodes == NULL) {
        exit(1);
    }
    get_node(b, id, level, &nodes[0]);
    if (old != NULL) {
        get_node(b, old, level, &nodes[1]);
    }
    b->names++;
    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        const struct chunk_id *child = &nodes[0].child[i];
        bool same = old != NULL && chunk_id_equal(child, &nodes[1].child[i]);

        if (chunk_id_is_hole(child)) {
            continue;
        }
        add(b, child, level > 0 ? CHUNK_NODE : CHUNK_DATA, 1);
        if (level > 0 && !same) {
            count_node(b, child, old != NULL ? &nodes[1].child[i] : NULL, level - 1);
        }
        b->names += level == 0 && !same ? 1 : 0;
    }
    free(nodes);
}

static struct point *
make_point(struct bench *b, uint64_t disk, uint64_t chunks, const struct manifest_root *base)
{
    struct manifest_builder *builder = NULL;
    struct point *p = point_new();
    uint64_t step = base == NULL ? 1 : 256;
    struct varve_error err;
    struct chunk_id id;

    if (p == NULL || (p->disks = calloc(1, sizeof(*p->disks))) == NULL) {
        exit(1);
    }
    p->disk_count = 1;
    check(manifest_builder_new(&builder, b->domain, chunks, base, &err), &err);
    for (uint64_t i = 0; i < chunks; i += step) {
        bench_name(disk * chunks * 2 + (base == NULL ? 0 : chunks) + i, id.bytes);
        check(manifest_builder_set(builder, i, &id, &err), &err);
    }
    check(manifest_builder_finish(builder, &p->disks[0].root, &err), &err);
    manifest_builder_free(builder);
    check(chunk_store_barrier(b->cs, &err), &err);
    add(b, &p->disks[0].root.id, CHUNK_NODE, 1);
    count_node(b, &p->disks[0].root.id, base == NULL ? NULL : &base->id,
               manifest_root_level(chunks));
    return p;
}

static void
open_store(struct bench *b, const char *folder)
{
    struct chunk_store_options options = {0};
    struct varve_error err;
    char path[3][1040];
    const char *const names[] = {"store", "index", "key"};

    check(fs_mkdir_parents(fs_system(), folder, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(path[i], sizeof(path[i]), "%.1000s/%s", folder, names[i]);
    }
    options.index_path = path[1];
    options.key_path = path[2];
    check(store_dir_open(&b->objects, fs_system(), path[0], &err), &err);
    check(chunk_store_open(&b->cs, b->objects, fs_system(), &options, &err), &err);
    b->domain = chunk_store_default(b->cs);
}

static void
close_store(struct bench *b)
{
    chunk_store_close(b->cs);
    store_close(b->objects);
}

static void
check_counts(struct bench *b, struct point **points, const char *what)
{
    struct account_check out;
    struct bench_peak peak;
    struct varve_error err;
    uint64_t start = time_mono_ns();
    double cpu = bench_cpu_seconds();
    uint64_t anonymous;
    uint64_t mapped;
    uint64_t most;

    bench_memory(&anonymous, &mapped);
    bench_peak_begin(&peak);
    check(account_check(b->cs, points, (size_t)DISKS * 2, NULL, &out, &err), &err);
    most = bench_peak_end(&peak);
    printf("%s: %" PRIu64 " names, missing %" PRIu64 ", extra %" PRIu64 "; %.1f s, %.1f s of "
           "processor time; anonymous memory %" PRIu64 " MiB before, %" PRIu64
           " MiB at most: %.2f bytes a name\n",
           what, out.names, out.missing, out.extra, (double)(time_mono_ns() - start) / 1e9,
           bench_cpu_seconds() - cpu, anonymous / 1024, most / 1024,
           (double)(most - anonymous) * 1024 / (double)b->names);
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    uint64_t chunks = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 1000000 / DISKS;
    struct point *points[DISKS * 2] = {NULL};
    struct bench b = {.names = 0};
    struct chunk_id id;
    struct varve_error err;
    struct file_stat st;
    uint64_t start = time_mono_ns();

    if (argc < 2 || argc > 3 || chunks == 0 ||
        fs_stat(fs_system(), argv[1], &st, &err) == VARVE_OK) {
        (void)fprintf(stderr, "usage: bench_counts FOLDER [MILLIONS]; FOLDER must not exist\n");
        return 2;
    }
    log_set_level(LOG_LEVEL_WARN);
    check(crypto_init(&err), &err);
    open_store(&b, argv[1]);
    b.deltas = malloc(DELTAS * sizeof(*b.deltas));
    if (b.deltas == NULL) {
        return 1;
    }
    b.change.deltas = b.deltas;
    for (uint64_t i = 0; i < DISKS; i++) {
        points[2 * i] = make_point(&b, i, chunks, NULL);
        points[2 * i + 1] = make_point(&b, i, chunks, &points[2 * i]->disks[0].root);
    }
    apply(&b);
    close_store(&b); /* what making it has left in memory is not of interest */
    (void)malloc_trim(0);
    open_store(&b, argv[1]);
    printf("%" PRIu64 " names, named %" PRIu64 " times, made and counted in %.1f s\n", b.names,
           b.edges, (double)(time_mono_ns() - start) / 1e9);
    (void)fflush(stdout);
    check_counts(&b, points, "right");
    bench_name(1, id.bytes);
    add(&b, &id, CHUNK_DATA, -1);
    bench_name(2, id.bytes);
    add(&b, &id, CHUNK_DATA, 1);
    apply(&b);
    close_store(&b);
    open_store(&b, argv[1]);
    check_counts(&b, points, "wrong");
    for (unsigned i = 0; i < DISKS * 2; i++) {
        point_unref(points[i]);
    }
    free(b.deltas);
    close_store(&b);
    return 0;
}
