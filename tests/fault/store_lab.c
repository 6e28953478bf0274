/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/store_lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "codec/lz4.h"

/* ---- what disks hold ---- */

static uint64_t
mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t z = a * 0x9e3779b97f4a7c15ull + b * 0xbf58476d1ce4e5b9ull + c * 0x94d049bb133111ebull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t
disk_chunks(unsigned number)
{
    return 140 + number / 2 % 3 * 30;
}

static uint64_t
disk_size(unsigned number)
{
    return disk_chunks(number) * LAB_CHUNK - 1000;
}

/* The run in which chunk i was last written, at the moment of run `number`. */
static unsigned
version_of(unsigned vm, unsigned number, uint64_t i)
{
    unsigned v = number;

    while (v > 0 && mix(vm + 1, v, i) % 8 != 0) {
        v--;
    }
    return v;
}

/* Fills buf, answers the chunk's length; 0 for a hole. */
static size_t
chunk_bytes(unsigned vm, unsigned number, uint64_t i, uint8_t buf[LAB_CHUNK])
{
    unsigned version = version_of(vm, number, i);
    uint64_t seed = version == 0 ? mix(99, 0, i) : mix(vm + 100, version, i);
    size_t len = i + 1 == disk_chunks(number) ? LAB_CHUNK - 1000 : LAB_CHUNK;

    if (seed % 5 == 0) {
        return 0;
    }
    /* A third does not pack. */
    for (size_t at = 0; at < (seed % 3 == 0 ? LAB_CHUNK : 64u); at += 8) {
        put_le64(buf + at, mix(seed, at, 1));
    }
    for (size_t at = 64; seed % 3 != 0 && at < LAB_CHUNK; at += 64) {
        memcpy(buf + at, buf, 64);
    }
    return len;
}

/* Does chunk i hold the same bytes at both moments? */
static bool
chunk_same(unsigned vm, unsigned number, unsigned before, uint64_t i)
{
    return i < disk_chunks(before) && version_of(vm, number, i) == version_of(vm, before, i) &&
           (i + 1 == disk_chunks(number)) == (i + 1 == disk_chunks(before));
}

/* ---- the lab ---- */

static struct guid
lab_guid(uint8_t kind, unsigned vm, unsigned number)
{
    struct guid g = {{kind}};

    g.bytes[1] = (uint8_t)vm;
    g.bytes[14] = (uint8_t)(number >> 8);
    g.bytes[15] = (uint8_t)number;
    return g;
}

struct guid
lab_vm_id(unsigned vm)
{
    return lab_guid(1, vm, 0);
}

static struct chunk_domain *
domain_of(const struct lab *l, unsigned vm)
{
    return vm >= LAB_VMS_MAX || l->domains[vm] == NULL ? chunk_store_default(l->cs)
                                                       : l->domains[vm];
}

enum varve_err
lab_open(struct lab *l, struct fs *fs, const char *folder, const char *index_path,
         struct store *(*wrap)(struct store *inner), struct varve_error *err)
{
    return lab_open_secret(l, fs, folder, index_path, NULL, wrap, err);
}

enum varve_err
lab_open_secret(struct lab *l, struct fs *fs, const char *folder, const char *index_path,
                const struct store_secret *secret, struct store *(*wrap)(struct store *inner),
                struct varve_error *err)
{
    const struct chunk_store_options options = {.index_path = index_path, .secret = secret};

    return lab_open_with(l, fs, folder, &options, wrap, err);
}

enum varve_err
lab_open_with(struct lab *l, struct fs *fs, const char *folder,
              const struct chunk_store_options *wanted, struct store *(*wrap)(struct store *inner),
              struct varve_error *err)
{
    struct chunk_store_options options = *wanted;
    char store_path[512];
    char key_path[512];
    enum varve_err rc;

    memset(l, 0, sizeof(*l));
    (void)snprintf(store_path, sizeof(store_path), "%s/store", folder);
    (void)snprintf(key_path, sizeof(key_path), "%s/store.key", folder);
    options.key_path = key_path;
    options.chunk_size = LAB_CHUNK;
    options.put_threads = 1;
    rc = store_dir_open(&l->dir, fs, store_path, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    l->store = wrap == NULL ? l->dir : wrap(l->dir);
    rc = chunk_store_open(&l->cs, l->store, fs, &options, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = catalog_open(&l->catalog, l->cs, err);
    return rc == VARVE_OK ? gc_open(&l->gc, l->cs, l->catalog, err) : rc;
}

void
lab_close(struct lab *l)
{
    gc_close(l->gc);
    catalog_close(l->catalog);
    chunk_store_close(l->cs);
    if (l->store != l->dir) {
        store_close(l->store);
    }
    store_close(l->dir);
    memset(l, 0, sizeof(*l));
}

enum varve_err
lab_run_begin(struct lab *l, struct lab_run *r, unsigned vm, unsigned number,
              struct varve_error *err)
{
    struct guid id = lab_vm_id(vm);

    memset(r, 0, sizeof(*r));
    r->vm = vm;
    r->number = number;
    r->domain = domain_of(l, vm);
    r->cs = l->cs;
    chunk_use_begin(l->cs, &r->use);
    r->loss = chunk_store_loss_count(l->cs);
    catalog_latest(l->catalog, &id, &r->base);
    return manifest_builder_new(&r->builder, r->domain, disk_chunks(number),
                                r->base == NULL ? NULL : &r->base->disks[0].root, err);
}

static enum varve_err
offer(struct chunk_domain *d, const struct chunk_id *id, const uint8_t *raw, size_t len,
      struct varve_error *err)
{
    uint8_t packed[LAB_CHUNK];
    uint8_t have = 0;
    size_t packed_len;
    enum varve_err rc;

    rc = chunk_store_has(d, id, 1, &have, err);
    if (rc != VARVE_OK || have) {
        return rc;
    }
    packed_len = codec_lz4_pack(raw, len, packed, sizeof(packed));
    if (packed_len > 0) {
        return chunk_store_put(d, CHUNK_DATA, id, packed, packed_len, len, err);
    }
    return chunk_store_put(d, CHUNK_DATA, id, raw, len, len, err);
}

enum varve_err
lab_run_step(struct lab *l, struct lab_run *r, uint64_t count, struct varve_error *err)
{
    uint64_t chunks = disk_chunks(r->number);
    unsigned base_number = 0;
    unsigned base_vm = 0;
    uint8_t buf[LAB_CHUNK];
    struct chunk_id id;
    enum varve_err rc = VARVE_OK;

    (void)l; /* r has it */
    if (r->base != NULL) {
        lab_identify(r->base, &base_vm, &base_number);
    }
    for (; rc == VARVE_OK && count > 0 && r->next < chunks; count--, r->next++) {
        size_t len;

        if (r->base != NULL && chunk_same(r->vm, r->number, base_number, r->next)) {
            continue;
        }
        memset(&id, 0, sizeof(id));
        len = chunk_bytes(r->vm, r->number, r->next, buf);
        if (len > 0) {
            chunk_id_of(&id, buf, len);
            rc = offer(r->domain, &id, buf, len, err);
        }
        if (rc == VARVE_OK) {
            rc = manifest_builder_set(r->builder, r->next, &id, err);
        }
    }
    return rc;
}

static char *
copy_text(const char *s)
{
    char *copy = malloc(strlen(s) + 1);

    if (copy == NULL) {
        abort();
    }
    memcpy(copy, s, strlen(s) + 1);
    return copy;
}

enum varve_err
lab_run_publish(struct lab *l, struct lab_run *r, struct varve_error *err)
{
    struct point *p = point_new();
    enum varve_err rc;

    if (p == NULL || (p->disks = calloc(1, sizeof(p->disks[0]))) == NULL) {
        abort();
    }
    p->disk_count = 1;
    p->vm = lab_vm_id(r->vm);
    p->domain = *chunk_domain_id(r->domain);
    p->run = lab_guid(2, r->vm, r->number);
    p->vm_name = copy_text("vm");
    p->consistency = POINT_CRASH;
    p->disks[0].id = lab_guid(3, r->vm, 0);
    p->disks[0].name = copy_text("disk.vhdx");
    p->disks[0].size = disk_size(r->number);
    rc = manifest_builder_finish(r->builder, &p->disks[0].root, err);
    if (rc == VARVE_OK) {
        rc = catalog_publish(l->catalog, p, r->loss, NULL, err);
    }
    point_unref(p);
    return rc;
}

void
lab_run_end(struct lab_run *r)
{
    manifest_builder_free(r->builder);
    point_unref(r->base);
    if (r->cs != NULL) {
        chunk_use_end(r->cs, &r->use);
    }
    memset(r, 0, sizeof(*r));
}

enum varve_err
lab_backup(struct lab *l, unsigned vm, unsigned number, struct varve_error *err)
{
    struct lab_run r;
    enum varve_err rc;

    rc = lab_run_begin(l, &r, vm, number, err);
    if (rc == VARVE_OK) {
        rc = lab_run_step(l, &r, UINT64_MAX, err);
    }
    if (rc == VARVE_OK) {
        rc = lab_run_publish(l, &r, err);
    }
    lab_run_end(&r);
    return rc;
}

void
lab_identify(const struct point *p, unsigned *vm, unsigned *number)
{
    *vm = p->run.bytes[1];
    *number = (unsigned)p->run.bytes[14] << 8 | p->run.bytes[15];
}

enum varve_err
lab_verify(struct lab *l, const struct point *p, struct varve_error *err)
{
    struct manifest_reader *reader = NULL;
    struct chunk_domain *domain = NULL;
    uint8_t want[LAB_CHUNK];
    uint8_t got[LAB_CHUNK];
    struct chunk_id id;
    unsigned number = 0;
    unsigned vm = 0;
    uint64_t chunks;
    enum varve_err rc;

    lab_identify(p, &vm, &number);
    chunks = disk_chunks(number);
    if (p->disk_count != 1 || p->disks[0].size != disk_size(number) ||
        p->disks[0].root.chunk_count != chunks) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "run %u of vm %u: another disk", number,
                               vm);
    }
    rc = chunk_store_domain(l->cs, &p->domain, &domain, err);
    if (rc == VARVE_OK) {
        rc = manifest_reader_new(&reader, domain, &p->disks[0].root, err);
    }
    for (uint64_t i = 0; rc == VARVE_OK && i < chunks; i++) {
        size_t want_len = chunk_bytes(vm, number, i, want);
        size_t len = 0;

        rc = manifest_read(reader, i, 1, &id, err);
        if (rc == VARVE_OK && chunk_id_is_hole(&id) != (want_len == 0)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL,
                                 "run %u of vm %u: chunk %" PRIu64 " is another", number, vm, i);
        }
        if (rc != VARVE_OK || want_len == 0) {
            continue;
        }
        rc = chunk_store_get(domain, &id, got, sizeof(got), &len, err);
        if (rc == VARVE_OK && (len != want_len || memcmp(got, want, len) != 0)) {
            rc = varve_error_set(err, VARVE_ERR_INTERNAL,
                                 "run %u of vm %u: bytes of chunk %" PRIu64 " differ", number, vm,
                                 i);
        }
    }
    manifest_reader_free(reader);
    return rc;
}

/* builder NULL: only the chunks. */
static enum varve_err
offer_moment(struct lab *l, unsigned vm, unsigned number, struct manifest_builder *builder,
             struct varve_error *err)
{
    uint8_t buf[LAB_CHUNK];
    struct chunk_id id;
    enum varve_err rc = VARVE_OK;

    for (uint64_t i = 0; rc == VARVE_OK && i < disk_chunks(number); i++) {
        size_t len = chunk_bytes(vm, number, i, buf);

        if (len == 0) {
            continue;
        }
        chunk_id_of(&id, buf, len);
        rc = offer(domain_of(l, vm), &id, buf, len, err);
        if (rc == VARVE_OK && builder != NULL) {
            rc = manifest_builder_set(builder, i, &id, err);
        }
    }
    return rc;
}

enum varve_err
lab_offer_all(struct lab *l, unsigned vm, unsigned number, struct varve_error *err)
{
    return offer_moment(l, vm, number, NULL, err);
}

enum varve_err
lab_heal(struct lab *l, unsigned vm, unsigned number, struct varve_error *err)
{
    struct manifest_builder *builder = NULL;
    struct manifest_root root;
    enum varve_err rc;

    rc = manifest_builder_new(&builder, domain_of(l, vm), disk_chunks(number), NULL, err);
    if (rc == VARVE_OK) {
        rc = offer_moment(l, vm, number, builder, err);
    }
    if (rc == VARVE_OK) {
        rc = manifest_builder_finish(builder, &root, err);
    }
    manifest_builder_free(builder);
    return rc;
}
