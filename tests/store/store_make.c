/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "codec/lz4.h"
#include "codec/zero.h"
#include "crypto/identity.h"
#include "os/path.h"

/*
 * store_make FOLDER POINTS MIB CHANGED SEED [HOOK [EVERY]]: a store with points of one vm, made as ingest makes them.
 *
 *   FOLDER/store, FOLDER/store.key, FOLDER/index   as a collector has them
 *   FOLDER/truth/NNN.raw                           the disk of point NNN, byte for byte (first and last only
 *                                                  when there are more than 10)
 *
 * The disk has MIB MiB and three bytes, about two fifths of it holes; from point to point CHANGED
 * per thousand of its chunks are written.  Half of what is written packs well.  With a store that is there
 * already, points are added: what it says about seed and size must be the same.  HOOK is run after every point as
 * HOOK IMAGE NUMBER, with the disk of that point in IMAGE until the next one; with EVERY, after the first, every
 * EVERYth and the last point.
 */
#define CHUNK 65536u

static struct varve_error err;

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "store_make: %s\n", err.msg);
        exit(1);
    }
}

static uint64_t
next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static void
fill(uint8_t *buf, size_t len, uint64_t state)
{
    bool packs = (next(&state) & 1) != 0;

    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next(&state);

        v = packs && i % 128 >= 16 ? 0x2020202064726F77 : v;
        memcpy(buf + i, &v, len - i < 8 ? len - i : 8);
    }
}

struct maker {
    const char *folder;
    struct store *store;
    struct chunk_store *cs;
    struct catalog *catalog;
    uint8_t *disk;
    uint64_t size;
    uint64_t chunks;
    uint64_t seed;
    struct manifest_root root;
    bool have_root;
};

static void
put_chunk(struct maker *m, struct manifest_builder *b, uint64_t chunk, uint8_t *packed)
{
    uint8_t *raw = m->disk + chunk * CHUNK;
    size_t len = m->size - chunk * CHUNK < CHUNK ? (size_t)(m->size - chunk * CHUNK) : CHUNK;
    struct chunk_domain *d = chunk_store_default(m->cs);
    struct chunk_id id;
    size_t n;

    if (codec_is_zero(raw, len)) {
        must(manifest_builder_set_holes(b, chunk, 1, &err));
        return;
    }
    chunk_id_of(&id, raw, len);
    n = codec_lz4_pack(raw, len, packed, 2 * CHUNK);
    must(n > 0 && n < len ? chunk_store_put(d, CHUNK_DATA, &id, packed, n, len, &err)
                          : chunk_store_put(d, CHUNK_DATA, &id, raw, len, len, &err));
    must(manifest_builder_set(b, chunk, &id, &err));
}

static void
write_truth(struct maker *m, unsigned number)
{
    char path[4096];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/truth/%03u.raw", m->folder, number);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(m->disk, 1, m->size, f) != m->size || fclose(f) != 0) {
        (void)fprintf(stderr, "store_make: '%s' cannot be written\n", path);
        exit(1);
    }
}

static void
take_point(struct maker *m, unsigned number, uint64_t per_mille)
{
    uint8_t *packed = malloc(2 * CHUNK);
    struct manifest_builder *b = NULL;
    struct point *p = point_new();
    uint8_t random[16];
    uint64_t state = m->seed * 1000003 + number;

    must(manifest_builder_new(&b, chunk_store_default(m->cs), m->chunks,
                              m->have_root ? &m->root : NULL, &err));
    for (uint64_t c = 0; c < m->chunks; c++) {
        uint64_t roll = next(&state) % 1000;
        size_t len = m->size - c * CHUNK < CHUNK ? (size_t)(m->size - c * CHUNK) : CHUNK;

        if (m->have_root ? roll >= per_mille : false) {
            continue;
        }
        if (m->have_root ? next(&state) % 1000 < 400 : roll < 400) {
            memset(m->disk + c * CHUNK, 0, len);
        } else {
            fill(m->disk + c * CHUNK, len, next(&state));
        }
        put_chunk(m, b, c, packed);
    }
    must(manifest_builder_finish(b, &m->root, &err));
    manifest_builder_free(b);
    m->have_root = true;
    free(packed);

    memset(random, 0x11, sizeof(random));
    guid_from_random(&p->vm, random);
    memset(random, 0x22, sizeof(random));
    guid_from_random(&p->host, random);
    crypto_random(random, sizeof(random));
    guid_from_random(&p->run, random);
    p->vm_name = strdup("made");
    p->host_name = strdup("nowhere");
    p->capture = strdup("made");
    p->source = strdup("made");
    p->reason = strdup("");
    p->reference_point = strdup("");
    p->consistency = POINT_OFFLINE;
    p->generation = 2;
    p->disks = calloc(1, sizeof(*p->disks));
    p->disk_count = 1;
    memset(random, 0x33, sizeof(random));
    guid_from_random(&p->disks[0].id, random);
    p->disks[0].name = strdup("disk.vhdx");
    p->disks[0].path = strdup("");
    p->disks[0].change_id = strdup("");
    p->disks[0].reason = strdup("");
    p->disks[0].size = m->size;
    p->disks[0].logical_sector = 512;
    p->disks[0].physical_sector = 4096;
    p->disks[0].page83 = p->disks[0].id;
    p->disks[0].root = m->root;
    must(catalog_publish(m->catalog, p, chunk_store_loss_count(m->cs), NULL, &err));
    point_unref(p);
}

/* Gives the disk of this moment to somebody else. */
static void
run_hook(struct maker *m, const char *hook, unsigned number)
{
    char command[8192];
    char path[4096];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/image.raw", m->folder);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(m->disk, 1, m->size, f) != m->size || fclose(f) != 0) {
        (void)fprintf(stderr, "store_make: '%s' cannot be written\n", path);
        exit(1);
    }
    (void)snprintf(command, sizeof(command), "'%s' '%s' %03u", hook, path, number);
    if (system(command) != 0) {
        (void)fprintf(stderr, "store_make: '%s' failed\n", command);
        exit(1);
    }
}

int
main(int argc, char **argv)
{
    struct chunk_store_options options = {.chunk_size = CHUNK};
    struct maker m = {.folder = argc > 1 ? argv[1] : ""};
    unsigned points;
    unsigned every;
    char *root = NULL;
    char *key = NULL;
    char *index = NULL;
    char *truth = NULL;

    if (argc < 6 || argc > 8) {
        (void)fprintf(stderr, "usage: store_make FOLDER POINTS MIB CHANGED_PER_MILLE SEED [HOOK "
                              "[EVERY]]\n");
        return 2;
    }
    must(crypto_init(&err));
    points = (unsigned)strtoul(argv[2], NULL, 10);
    m.size = strtoull(argv[3], NULL, 10) * 1024 * 1024 + 3;
    m.chunks = (m.size + CHUNK - 1) / CHUNK;
    m.seed = strtoull(argv[5], NULL, 10);
    every = argc == 8 ? (unsigned)strtoul(argv[7], NULL, 10) : 1;
    every = every == 0 ? 1 : every;
    m.disk = calloc(1, m.chunks * CHUNK);
    must(path_join(&root, m.folder, "store", &err));
    must(path_join(&key, m.folder, "store.key", &err));
    must(path_join(&index, m.folder, "index", &err));
    must(path_join(&truth, m.folder, "truth", &err));
    must(fs_mkdir_parents(fs_system(), truth, &err));
    must(store_dir_open(&m.store, fs_system(), root, &err));
    options.key_path = key;
    options.index_path = index;
    must(chunk_store_open(&m.cs, m.store, fs_system(), &options, &err));
    must(catalog_open(&m.catalog, m.cs, &err));
    for (unsigned i = 1; i <= points; i++) {
        take_point(&m, i, strtoull(argv[4], NULL, 10));
        if (points <= 10 || i == 1 || i == points) {
            write_truth(&m, i);
        }
        if (argc > 6 && (i == 1 || i == points || i % every == 0)) {
            run_hook(&m, argv[6], i);
        }
    }
    catalog_close(m.catalog);
    chunk_store_close(m.cs);
    store_close(m.store);
    free(m.disk);
    free(root);
    free(key);
    free(index);
    free(truth);
    return 0;
}
