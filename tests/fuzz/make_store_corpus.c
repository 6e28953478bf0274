/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_marks.h"
#include "catalog/point_record.h"
#include "crypto/identity.h"
#include "gc/policy.h"
#include "manifest/manifest.h"
#include "os/file.h"
#include "store/pack.h"
#include "store/store_config.h"

/*
 * Writes the first inputs of fuzz_pack, fuzz_manifest, fuzz_point and fuzz_keep: make_store_corpus FOLDER, where
 * FOLDER/pack, FOLDER/manifest and FOLDER/point are made.  The files in tests/fuzz/corpus were made
 * with it.
 */
static const char *folder;

static void
check(enum varve_err rc, const struct varve_error *err)
{
    if (rc != VARVE_OK) {
        fprintf(stderr, "make_store_corpus: %s\n", err->msg);
        exit(1);
    }
}

static void
save(const char *name, const void *data, size_t len)
{
    struct varve_error err;
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    check(fs_write_durable(fs_system(), path, data, len, true, &err), &err);
}

static void
make_pack(const char *name, enum chunk_kind kind, unsigned records)
{
    static const uint8_t data_key[STORE_KEY_SIZE] = "corpus";
    static const struct guid home;
    struct store_keys *keys = NULL;
    struct aead *aead = NULL;
    struct pack_builder b;
    struct varve_error err;
    uint8_t key[AEAD_KEY_SIZE];
    uint8_t plain[64] = "a record";

    check(store_keys_new(&keys, data_key, &err), &err);
    check(pack_builder_init(&b, &err), &err);
    pack_builder_start(&b, kind, AEAD_CHACHA20POLY1305, &home);
    store_keys_pack(keys, &b.header.id, key);
    check(aead_new(&aead, AEAD_CHACHA20POLY1305, key, &err), &err);
    for (unsigned i = 0; i < records; i++) {
        struct record_name record = {{(uint8_t)i}};
        struct pack_slot slot;

        if (!pack_builder_reserve(&b, &record, i % 2 == 0 ? PACK_CODEC_RAW : PACK_CODEC_LZ4,
                                  1 + i * 9, 1 + i * 9 + i % 2, &slot)) {
            exit(1);
        }
        check(pack_builder_fill(&b, &slot, aead, plain, 1 + i * 9, &err), &err);
    }
    pack_builder_finish(&b, keys);
    save(name, b.buf, b.used);
    aead_free(aead);
    store_keys_free(keys);
    pack_builder_release(&b);
}

static void
make_config(void)
{
    struct store_config c = {.wrap_cipher = AEAD_AES256GCM,
                             .cipher = AEAD_CHACHA20POLY1305,
                             .chunk_size = STORE_CHUNK_DEFAULT};
    uint8_t bytes[STORE_CONFIG_SIZE];

    store_config_encode(&c, bytes);
    save("pack/config", bytes, sizeof(bytes));
}

static void
make_node(const char *name, unsigned level, unsigned step)
{
    static struct manifest_node n;
    uint8_t bytes[MANIFEST_NODE_MAX];
    size_t len;

    memset(&n, 0, sizeof(n));
    n.level = level;
    for (unsigned i = 0; i < MANIFEST_FANOUT; i += step) {
        n.present[i / 8] |= (uint8_t)(1u << (i % 8));
        memset(n.child[i].bytes, (int)i + 1, CHUNK_ID_SIZE);
    }
    len = manifest_node_encode(&n, bytes);
    save(name, bytes, len);
}

static void
make_point(const char *name, bool full)
{
    struct point *p = point_new();
    struct varve_error err;
    struct buf record;
    static char disk_name[] = "system.vhdx";
    static char file_name[] = "config.vmcx";
    static uint8_t bytes[] = "text";
    struct point_disk disk = {.name = disk_name, .size = 65536, .root = {.chunk_count = 1}};
    struct point_file file = {.name = file_name, .data = bytes, .len = sizeof(bytes)};

    if (p == NULL) {
        exit(1);
    }
    buf_init(&record, POINT_RECORD_MAX);
    p->vm.bytes[0] = 1;
    p->run.bytes[0] = 2;
    p->seq = 3;
    p->consistency = POINT_CRASH;
    if (full) {
        disk.root.id.bytes[0] = 1;
        p->disks = &disk;
        p->disk_count = 1;
        p->files = &file;
        p->file_count = 1;
    }
    check(point_encode(p, &record, &err), &err);
    save(name, record.data, record.len);
    p->disks = NULL;
    p->disk_count = 0;
    p->files = NULL;
    p->file_count = 0;
    point_unref(p);
    buf_release(&record);
}

static void
make_marks(void)
{
    static char text[] = "audit";
    struct catalog_mark m = {
        .kind = MARK_HOLD, .seq = 3, .made_at_us = 5, .who = text, .why = text};
    char name[STORE_NAME_MAX + 1];
    struct varve_error err;
    struct buf b;

    buf_init(&b, MARK_RECORD_MAX);
    m.vm.bytes[0] = 1;
    check(mark_encode(&m, &b, &err), &err);
    save("keep/mark", b.data, b.len);
    mark_object_name(&m, name);
    save("keep/name", name, strlen(name));
    buf_release(&b);
}

static void
make_policies(void)
{
    const struct policy p = {.name = "office", .last = 3, .daily = 14, .window_hours = 168};
    const struct guid vm = {{9}};
    struct policy_set set = {.count = 0};
    struct varve_error err;
    struct buf b;

    buf_init(&b, POLICY_RECORD_MAX);
    check(policy_put(&set, &p, &err), &err);
    check(policy_assign(&set, &vm, "office", &err), &err);
    check(policy_assign(&set, NULL, "office", &err), &err);
    check(policy_encode(&set, &b, &err), &err);
    save("keep/policies", b.data, b.len);
    policy_set_release(&set);
    buf_release(&b);
}

int
main(int argc, char **argv)
{
    static const char *const folders[] = {"pack", "manifest", "point", "keep"};
    struct varve_error err;
    char path[1024];

    if (argc != 2) {
        fprintf(stderr, "usage: make_store_corpus FOLDER\n");
        return 2;
    }
    folder = argv[1];
    check(crypto_init(&err), &err);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, folders[i]);
        check(fs_mkdir_parents(fs_system(), path, &err), &err);
    }
    make_pack("pack/chunks", CHUNK_DATA, 5);
    make_pack("pack/one_node", CHUNK_NODE, 1);
    make_config();
    make_node("manifest/leaf_full", 0, 1);
    make_node("manifest/leaf_sparse", 0, 31);
    make_node("manifest/inner", 3, 50);
    make_point("point/small", false);
    make_point("point/full", true);
    make_marks();
    make_policies();
    return 0;
}
