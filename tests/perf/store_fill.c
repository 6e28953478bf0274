/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "catalog/catalog.h"
#include "codec/lz4.h"
#include "crypto/identity.h"
#include "perf/bench_lib.h"
#include "store/pack.h"

/*
 * store_fill FOLDER VMS POINTS CHUNKS CHANGED CHUNK_BYTES: a store with much in it, for tests/perf/memory.
 *
 *   FOLDER/store, FOLDER/store.key   as a collector has them; no index: 'varve store rebuild'
 *
 * VMS vms of one disk of CHUNKS chunks, POINTS points of each; from point to point CHANGED chunks are written anew,
 * evenly spread.  No chunk is like another one, and each packs to some bytes: what grows with the number of
 * names and points is to be seen, without their content in the way.  The texts of a point are as long as those
 * that an agent of a Hyper-V cluster says.  Nothing is synced: the store is for measuring.
 */
static struct varve_error err;

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "store_fill: %s\n", err.msg);
        exit(1);
    }
}

/* ---- the system's files without syncs ---- */

static struct fs_ops quick_ops;
static struct fs quick = {&quick_ops};

static enum varve_err
quick_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
           struct varve_error *e)
{
    enum varve_err rc = fs_system()->ops->open(fs, out, path, mode, e);

    if (rc == VARVE_OK) {
        (*out)->ops = &quick_ops;
    }
    return rc;
}

static enum varve_err
no_sync(struct file *f, struct varve_error *e)
{
    (void)f;
    (void)e;
    return VARVE_OK;
}

static enum varve_err
no_sync_dir(struct fs *fs, const char *path, struct varve_error *e)
{
    (void)fs;
    (void)path;
    (void)e;
    return VARVE_OK;
}

/* ---- points ---- */

struct filler {
    struct chunk_store *cs;
    struct catalog *catalog;
    uint64_t chunks;
    uint64_t changed;
    uint32_t chunk_bytes;
    uint8_t *raw;
    uint8_t *packed;
    uint64_t next_content;
};

static struct guid
guid_of(uint64_t kind, uint64_t n)
{
    uint8_t random[32];
    struct guid g;

    bench_name(kind << 48 | n, random);
    guid_from_random(&g, random);
    return g;
}

static void
put_chunk(struct filler *f, struct manifest_builder *b, uint64_t chunk)
{
    struct chunk_id id;
    size_t n;

    memcpy(f->raw, &f->next_content, sizeof(f->next_content));
    f->next_content++;
    chunk_id_of(&id, f->raw, f->chunk_bytes);
    n = codec_lz4_pack(f->raw, f->chunk_bytes, f->packed, 2 * (size_t)f->chunk_bytes);
    must(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, f->packed, n, f->chunk_bytes,
                         &err));
    must(manifest_builder_set(b, chunk, &id, &err));
}

static void
make_root(struct filler *f, struct manifest_root *root, bool first)
{
    uint64_t step = first ? 1 : f->changed == 0 ? f->chunks : f->chunks / f->changed;
    struct manifest_builder *b = NULL;

    if (!first && f->changed == 0) {
        return;
    }
    must(
        manifest_builder_new(&b, chunk_store_default(f->cs), f->chunks, first ? NULL : root, &err));
    for (uint64_t c = 0; c < f->chunks; c += step) {
        put_chunk(f, b, c);
    }
    must(manifest_builder_finish(b, root, &err));
    manifest_builder_free(b);
}

static char *
text(const char *before, uint64_t n, const char *behind)
{
    char buf[256];

    (void)snprintf(buf, sizeof(buf), "%s%06" PRIX64 "%s", before, n, behind);
    return strdup(buf);
}

static void
publish(struct filler *f, uint64_t vm, uint64_t seq, const struct manifest_root *root)
{
    struct point *p = point_new();
    struct point_disk *d = calloc(1, sizeof(*d));
    struct point_file *files = calloc(2, sizeof(*files));

    if (p == NULL || d == NULL || files == NULL) {
        exit(1);
    }
    p->vm = guid_of(1, vm);
    p->host = guid_of(2, vm / 20);
    p->run = guid_of(3, vm << 20 | seq);
    p->vm_name = text("application-server-", vm, "");
    p->host_name = text("node-", vm / 20, ".cluster.example.com");
    p->frozen_at_us = (int64_t)(1700000000 + seq * 3600) * 1000000;
    p->consistency = POINT_APPLICATION;
    p->capture = strdup("refpoint");
    p->source = strdup("virtdisk");
    p->reason = strdup("the default of this host: reference points and change tracking");
    p->reference_point =
        text("Microsoft:5E4D3C2B-1A09-4F8E-9D7C-6B5A49382716\\8F14E45F-CEEA-467F-A2D1-",
             vm << 20 | seq, "");
    p->generation = 2;
    p->disks = d;
    p->disk_count = 1;
    d->id = guid_of(4, vm);
    d->page83 = guid_of(5, vm);
    d->name = text("application-server-", vm, "-system.vhdx");
    d->path = text("C:\\ClusterStorage\\Volume1\\application-server-", vm,
                   "\\Virtual Hard Disks\\system.vhdx");
    d->change_id = text("rctX:", vm << 20 | seq, ":1b2c:4d3e:8f90:a1b2c3d4e5f6:00000001");
    d->reason = strdup("");
    d->size = f->chunks * f->chunk_bytes;
    d->logical_sector = 512;
    d->physical_sector = 4096;
    d->block_size = 32u << 20;
    d->root = *root;
    d->incremental = seq > 0;
    p->files = files;
    p->file_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        files[i].name = text("5E4D3C2B-1A09-4F8E-9D7C-6B5A49", vm, i == 0 ? ".vmcx" : ".vmrs");
        files[i].data = calloc(1, 64);
        files[i].len = 64;
    }
    must(catalog_publish(f->catalog, p, chunk_store_loss_count(f->cs), NULL, &err));
    point_unref(p);
}

int
main(int argc, char **argv)
{
    struct chunk_store_options options = {.put_threads = 2};
    struct filler f = {.next_content = 1};
    char path[2][1040];
    struct store *store = NULL;
    uint64_t number[5];

    if (argc != 7) {
        (void)fprintf(stderr, "usage: store_fill FOLDER VMS POINTS CHUNKS CHANGED CHUNK_BYTES\n");
        return 2;
    }
    for (unsigned i = 0; i < 5; i++) {
        number[i] = strtoull(argv[2 + i], NULL, 10);
    }
    log_set_level(LOG_LEVEL_WARN);
    quick_ops = *fs_system()->ops;
    quick_ops.open = quick_open;
    quick_ops.sync = no_sync;
    quick_ops.sync_dir = no_sync_dir;
    quick_ops.sync_dirs = no_sync_dir;
    f.chunks = number[2];
    f.changed = number[3];
    f.chunk_bytes = (uint32_t)number[4];
    f.raw = malloc(f.chunk_bytes);
    f.packed = malloc(2 * (size_t)f.chunk_bytes);
    if (f.raw == NULL || f.packed == NULL) {
        free(f.raw);
        free(f.packed);
        return 1;
    }
    memset(f.raw, 0x20, f.chunk_bytes);
    (void)snprintf(path[0], sizeof(path[0]), "%.1000s/store", argv[1]);
    (void)snprintf(path[1], sizeof(path[1]), "%.1000s/store.key", argv[1]);
    options.chunk_size = f.chunk_bytes;
    options.key_path = path[1];
    must(crypto_init(&err));
    must(fs_mkdir_parents(fs_system(), argv[1], &err));
    must(store_dir_open(&store, &quick, path[0], &err));
    must(chunk_store_open(&f.cs, store, &quick, &options, &err));
    must(catalog_open(&f.catalog, f.cs, &err));
    for (uint64_t vm = 0; vm < number[0]; vm++) {
        struct manifest_root root = {.chunk_count = f.chunks};

        for (uint64_t seq = 0; seq < number[1]; seq++) {
            make_root(&f, &root, seq == 0);
            publish(&f, vm, seq, &root);
        }
    }
    catalog_close(f.catalog);
    chunk_store_close(f.cs);
    store_close(store);
    free(f.raw);
    free(f.packed);
    return 0;
}
