/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/restore_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "codec/lz4.h"
#include "codec/zero.h"
#include "crypto/identity.h"
#include "os/path.h"
#include "store/store_fault.h"

static void
die(const char *what, const char *why)
{
    (void)fprintf(stderr, "restore_lab: %s: %s\n", what, why);
    abort();
}

static void
must(enum varve_err rc, const struct varve_error *err, const char *what)
{
    if (rc != VARVE_OK) {
        die(what, err->msg);
    }
}

static void *
must_have(void *p)
{
    if (p == NULL) {
        die("malloc", "no memory");
    }
    return p;
}

static void
random_guid(struct lab *l, struct guid *out)
{
    uint8_t bytes[16];

    test_random_fill(&l->random, bytes, sizeof(bytes));
    guid_from_random(out, bytes);
}

void
lab_open(struct lab *l, uint64_t seed, uint32_t chunk_size)
{
    struct chunk_store_options options = {.chunk_size = chunk_size};
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    l->random.state = seed;
    l->folder = test_folder_make();
    l->key_path = test_path(l->folder, "key");
    options.key_path = l->key_path;
    must(crypto_init(&err), &err, "crypto");
    must(store_mem_open(&l->mem, &err), &err, "store");
    must(store_fault_open(&l->store, l->mem, &err), &err, "store");
    must(chunk_store_open(&l->cs, l->store, fs_system(), &options, &err), &err, "chunk store");
    must(catalog_open(&l->catalog, l->cs, &err), &err, "catalog");
    random_guid(l, &l->vm);
}

void
lab_close(struct lab *l)
{
    for (size_t i = 0; i < l->point_count; i++) {
        for (size_t k = 0; k < l->points[i].disk_count; k++) {
            free(l->points[i].disks[k].bytes);
        }
        point_unref(l->points[i].point);
    }
    for (size_t i = 0; i < l->disk_count; i++) {
        free(l->disks[i].bytes);
    }
    catalog_close(l->catalog);
    chunk_store_close(l->cs);
    store_close(l->store);
    store_close(l->mem);
    test_folder_remove(l->folder);
    free(l->key_path);
}

struct lab_disk *
lab_add_disk(struct lab *l, const char *name, uint64_t size, uint32_t sector)
{
    struct lab_disk *d = &l->disks[l->disk_count++];

    memset(d, 0, sizeof(*d));
    random_guid(l, &d->id);
    (void)snprintf(d->name, sizeof(d->name), "%s", name);
    d->size = size;
    d->logical_sector = sector;
    d->block_size = (uint32_t)1 << (20 + test_random_below(&l->random, 6));
    d->bytes = must_have(calloc(1, (size_t)size));
    return d;
}

void
lab_resize_disk(struct lab *l, size_t disk, uint64_t size)
{
    struct lab_disk *d = &l->disks[disk];

    d->bytes = must_have(realloc(d->bytes, (size_t)size));
    if (size > d->size) {
        memset(d->bytes + d->size, 0, (size_t)(size - d->size));
    }
    d->size = size;
}

void
lab_write(struct lab *l, size_t disk, unsigned writes)
{
    struct lab_disk *d = &l->disks[disk];
    uint64_t sectors = d->size / d->logical_sector;

    while (writes-- > 0) {
        uint64_t first = test_random_below(&l->random, sectors);
        uint64_t most = (uint64_t)1 << test_random_below(&l->random, 13);
        uint64_t count = 1 + test_random_below(&l->random, most);
        uint8_t *at = d->bytes + first * d->logical_sector;
        size_t len;

        count = count < sectors - first ? count : sectors - first;
        len = (size_t)(count * d->logical_sector);
        switch (test_random_below(&l->random, 3)) {
        case 0:
            test_random_fill(&l->random, at, len);
            break;
        case 1:
            memset(at, (int)('a' + test_random_below(&l->random, 26)), len);
            break;
        default:
            memset(at, 0, len);
            break;
        }
    }
}

/* As ingest does it: over the parent's tree, only what differs is set. */
static void
store_disk(struct lab *l, struct lab_disk *d, struct manifest_root *root)
{
    uint32_t chunk_size = chunk_store_chunk_size(l->cs);
    uint64_t count = div_round_up_u64(d->size, chunk_size);
    struct manifest_builder *b = NULL;
    uint8_t *packed = must_have(malloc(chunk_size));
    struct varve_error err;

    must(manifest_builder_new(&b, chunk_store_default(l->cs), count,
                              d->root.chunk_count == 0 ? NULL : &d->root, &err),
         &err, "manifest");
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *at = d->bytes + i * chunk_size;
        uint64_t left = d->size - i * chunk_size;
        size_t len = left < chunk_size ? (size_t)left : chunk_size;
        struct chunk_id id;
        size_t stored;

        if (codec_is_zero(at, len)) {
            must(manifest_builder_set_holes(b, i, 1, &err), &err, "hole");
            continue;
        }
        chunk_id_of(&id, at, len);
        stored = codec_lz4_pack(at, len, packed, chunk_size);
        must(chunk_store_put(chunk_store_default(l->cs), CHUNK_DATA, &id, stored == 0 ? at : packed,
                             stored == 0 ? len : stored, len, &err),
             &err, "put");
        must(manifest_builder_set(b, i, &id, &err), &err, "set");
    }
    must(manifest_builder_finish(b, root, &err), &err, "finish");
    d->root = *root;
    manifest_builder_free(b);
    free(packed);
}

struct lab_point *
lab_take_point(struct lab *l)
{
    struct lab_point *lp = &l->points[l->point_count++];
    struct point *p = must_have(point_new());
    struct point *existing = NULL;
    struct varve_error err;

    memset(lp, 0, sizeof(*lp));
    p->vm = l->vm;
    random_guid(l, &p->host);
    random_guid(l, &p->run);
    p->vm_name = must_have(strdup("lab"));
    p->host_name = must_have(strdup("host"));
    p->frozen_at_us = 1700000000000000;
    p->consistency = POINT_OFFLINE;
    p->capture = must_have(strdup("test"));
    p->source = must_have(strdup("test"));
    p->reason = must_have(strdup(""));
    p->reference_point = must_have(strdup(""));
    p->generation = 2;
    p->disks = must_have(calloc(LAB_DISKS_MAX, sizeof(*p->disks)));
    p->files = must_have(calloc(1, sizeof(*p->files)));
    p->file_count = 1;
    p->files[0].name = must_have(strdup("vm.vmcx"));
    p->files[0].data = must_have(calloc(1, 3000));
    p->files[0].len = 3000;
    test_random_fill(&l->random, p->files[0].data, 3000);
    for (size_t i = 0; i < l->disk_count; i++) {
        struct lab_disk *d = &l->disks[i];
        struct point_disk *pd = &p->disks[p->disk_count++];

        pd->id = d->id;
        pd->name = must_have(strdup(d->name));
        pd->path = must_have(strdup("C:\\lab"));
        pd->size = d->size;
        pd->logical_sector = d->logical_sector;
        pd->physical_sector = 4096;
        pd->block_size = d->block_size;
        pd->page83 = d->id;
        pd->change_id = must_have(strdup(""));
        pd->reason = must_have(strdup(""));
        store_disk(l, d, &pd->root);
        lp->disks[lp->disk_count].id = d->id;
        lp->disks[lp->disk_count].size = d->size;
        lp->disks[lp->disk_count].bytes = must_have(malloc((size_t)d->size));
        memcpy(lp->disks[lp->disk_count].bytes, d->bytes, (size_t)d->size);
        lp->disk_count++;
    }
    must(catalog_publish(l->catalog, p, chunk_store_loss_count(l->cs), &existing, &err), &err,
         "publish");
    lp->point = p;
    return lp;
}

const struct lab_truth *
lab_truth_of(const struct lab *l, const struct assembly_file *f)
{
    for (size_t i = 0; i < l->point_count; i++) {
        const struct lab_point *lp = &l->points[i];

        for (size_t k = 0; guid_equal(&lp->point->id, &f->point->id) && k < lp->disk_count; k++) {
            if (guid_equal(&lp->disks[k].id, &f->disk->id)) {
                return &lp->disks[k];
            }
        }
    }
    die(f->name, "no truth");
    return NULL;
}

/* ---- writing files out ---- */

static void
make_folder_of(const char *path)
{
    struct varve_error err;
    char *folder = NULL;

    must(path_dirname(&folder, path, &err), &err, "path");
    must(fs_mkdir_parents(fs_system(), folder, &err), &err, "folder");
    free(folder);
}

static void
copy_range(struct assembly *a, size_t file, struct file *out, uint64_t off, size_t len,
           struct assembly_data *data)
{
    const uint8_t *from = data->buf;
    struct varve_error err;
    uint64_t at = off;

    must(assembly_read(a, file, off, len, data, &err), &err, "read");
    for (size_t i = 0; i < data->piece_count; i++) {
        if (!data->pieces[i].hole) {
            must(file_write(out, from, data->pieces[i].length, at, &err), &err, "write");
            from += data->pieces[i].length;
        }
        at += data->pieces[i].length;
    }
    if (at != off + len || from != data->buf + data->buf_len) {
        die("read", "pieces do not add up");
    }
}

/* Outside the map everything reads as zero. */
static void
check_hole(struct assembly *a, size_t file, uint64_t off, uint64_t end, struct assembly_data *data)
{
    struct varve_error err;

    while (off < end) {
        uint64_t len = end - off < ASSEMBLY_READ_MAX ? end - off : ASSEMBLY_READ_MAX;

        must(assembly_read(a, file, off, (size_t)len, data, &err), &err, "read");
        if (!codec_is_zero(data->buf, data->buf_len)) {
            die("map", "data outside of it");
        }
        off += len;
    }
}

static void
write_file(struct assembly *a, size_t file, struct file *out, struct assembly_data *data)
{
    const struct assembly_file *f = assembly_get_file(a, file);
    struct assembly_stretch stretches[5]; /* few, so that asking on is exercised */
    struct varve_error err;
    uint64_t data_bytes = 0;
    uint64_t seen = 0;
    uint64_t next = 0;
    size_t count = 0;

    while (next < f->size) {
        must(assembly_map(a, file, next, stretches, 5, &count, &next, &err), &err, "map");
        for (size_t i = 0; i < count; i++) {
            uint64_t at = stretches[i].offset;
            uint64_t end = at + stretches[i].length;

            if (at < seen || end > next) {
                die("map", "stretches out of order");
            }
            check_hole(a, file, seen, at, data);
            data_bytes += end - at;
            while (at < end) {
                uint64_t limit = (at / ASSEMBLY_READ_MAX + 1) * ASSEMBLY_READ_MAX;
                uint64_t len = (end < limit ? end : limit) - at;

                copy_range(a, file, out, at, (size_t)len, data);
                at += len;
            }
            seen = end;
        }
    }
    check_hole(a, file, seen, f->size, data);
    if (data_bytes != f->data_bytes) {
        die(f->name, "data_bytes is not what the map adds up to");
    }
}

void
lab_write_files(struct assembly *a, const char *folder)
{
    struct assembly_data *data = must_have(malloc(sizeof(*data)));
    struct varve_error err;

    data->buf = must_have(malloc(ASSEMBLY_READ_MAX));
    for (size_t i = 0; i < assembly_file_count(a); i++) {
        const struct assembly_file *f = assembly_get_file(a, i);
        char *path = test_path(folder, f->name);
        struct file *out = NULL;

        make_folder_of(path);
        must(file_open(fs_system(), &out, path, FILE_CREATE_NEW, &err), &err, path);
        must(file_truncate(out, f->size, &err), &err, path);
        write_file(a, i, out, data);
        file_close(out);
        free(path);
    }
    free(data->buf);
    free(data);
}
