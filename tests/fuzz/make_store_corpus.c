/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_marks.h"
#include "catalog/point_record.h"
#include "crypto/identity.h"
#include "gc/policy.h"
#include "index/index.h"
#include "jobs/state_copy.h"
#include "manifest/manifest.h"
#include "os/file.h"
#include "store/key_change.h"
#include "store/pack.h"
#include "store/store_config.h"
#include "store/twice.h"

/*
 * Writes the first inputs of fuzz_pack, fuzz_manifest, fuzz_point, fuzz_keep, fuzz_keys, fuzz_secret,
 * fuzz_record and fuzz_index_pages: make_store_corpus FOLDER, where a folder for each is made.  The files in tests/fuzz/corpus were made
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
    struct pack_builder b = {0};
    struct varve_error err;
    uint8_t key[AEAD_KEY_SIZE];
    uint8_t plain[64] = "a record";

    check(store_keys_new(&keys, data_key, &err), &err);
    check(pack_builder_start(&b, kind, AEAD_CHACHA20POLY1305, &home, &err), &err);
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
make_point(const char *name, bool full, bool packed)
{
    struct point *p = point_new();
    struct varve_error err;
    struct buf record;
    static char disk_name[] = "system.vhdx";
    static char file_name[] = "config.vmcx";
    static uint8_t bytes[] = "text";
    struct point_disk disk = {.name = disk_name, .size = 65536, .root = {.chunk_count = 1}};
    static uint8_t state[65536]; /* of that size on, files are packed */
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
    if (packed) {
        file.data = state;
        file.len = sizeof(state);
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

static void
make_state_copy(void)
{
    static const uint8_t secret[IDENTITY_KEY_SIZE] = "corpus";
    static const uint8_t db[4096] = "SQLite format 3";
    struct state_copy c = {.made_at_us = 5, .db = db, .db_len = sizeof(db)};
    struct state_copy_id id = {.number = 3};
    char name[STORE_NAME_MAX + 1];
    struct identity *own = NULL;
    struct varve_error err;
    struct buf b;

    buf_init(&b, 2 * sizeof(db));
    check(identity_from_secret(&own, secret, &err), &err);
    c.identity = own;
    check(state_copy_encode(&c, &b, &err), &err);
    save("keep/state", b.data, b.len);
    state_copy_name(&id, name);
    save("keep/state-name", name, strlen(name));
    identity_free(own);
    buf_release(&b);
}

/* A store's key object with two recipients, whole and one copy of it, and a sealed record. */
static void
make_keys(void)
{
    static const uint8_t key[STORE_KEY_SIZE] = "corpus";
    struct chunk_store_options options = {.chunk_size = CHUNK_SIZE_MIN};
    struct store_secret *secret = NULL;
    struct store_secret *second = NULL;
    struct chunk_store *cs = NULL;
    struct key_change change;
    struct store *store = NULL;
    struct varve_error err;
    static uint8_t bytes[32768];
    uint8_t *sealed = NULL;
    uint64_t size = 0;
    size_t len = 0;
    uint32_t id = 0;

    check(store_mem_open(&store, &err), &err);
    check(store_secret_new(&secret, STORE_SECRET_KEY_FILE, key, sizeof(key), "", &err), &err);
    check(store_secret_new(&second, STORE_SECRET_RECOVERY, key, STORE_RECOVERY_SIZE, "", &err),
          &err);
    options.secret = secret;
    check(chunk_store_open(&cs, store, fs_system(), &options, &err), &err);
    check(chunk_store_seal_record(chunk_store_default(cs), "point/x", "plain", 5, &sealed, &len,
                                  &err),
          &err);
    save("record/sealed", sealed, len);
    free(sealed);
    chunk_store_close(cs);
    check(key_change_begin(&change, store, secret, &err), &err);
    check(key_change_add(&change, second, KEY_COST_DEFAULT, "recovery", &id, &err), &err);
    key_change_end(&change);
    check(store_size(store, KEY_RING_PREFIX "0000000000000002", &size, &err), &err);
    check(store_get(store, KEY_RING_PREFIX "0000000000000002", 0, bytes, (size_t)size, &err), &err);
    save("keys/object", bytes, (size_t)size);
    save("keys/copy", bytes, twice_content(size));
    store_secret_free(secret);
    store_secret_free(second);
    store_close(store);
}

static void
make_texts(void)
{
    static const char quarantine[] =
        "00112233445566778899aabbccddeeff 00000040 "
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    static const char time[] = "varve-time-1\n1650000000000000\n1000000000\nboot\n";
    static const uint8_t key[STORE_RECOVERY_SIZE] = "corpus";
    uint8_t domain[4 + STORE_KEY_SIZE + 2 + 6] = "VDM1";
    char text[RECOVERY_TEXT_SIZE];

    recovery_format(key, text);
    save("secret/recovery", text, strlen(text));
    save("secret/passphrase", "correct horse battery staple\r\n", 30);
    save("record/quarantine", quarantine, sizeof(quarantine) - 1);
    save("record/time", time, sizeof(time) - 1);
    domain[4 + STORE_KEY_SIZE] = 6;
    memcpy(domain + 4 + STORE_KEY_SIZE + 2, "tenant", 6);
    save("record/domain", domain, sizeof(domain));
}

/* Three packs that share names, counts, and a row that takes pages of its own; then the file as LMDB leaves it. */
static void
make_index(void)
{
    static const uint8_t store_id[STORE_ID_SIZE] = "corpus";
    static const uint8_t value[5000] = {7};
    const struct index_options options = {.store_id = store_id, .boot_id = "boot"};
    const struct index_row row = {
        .key = "pcorpus", .key_len = 7, .value = value, .value_len = sizeof(value)};
    struct index_delta delta = {.name = {.bytes = "1"}, .kind = CHUNK_DATA, .delta = 1};
    struct index_change change = {.deltas = &delta, .delta_count = 1, .rows = &row, .row_count = 1};
    struct varve_error err;
    struct index *ix = NULL;
    uint8_t *bytes = NULL;
    bool fresh = false;
    char path[1024];
    size_t len = 0;

    snprintf(path, sizeof(path), "%s/index.tmp", folder);
    check(index_lmdb_open(&ix, path, &options, &fresh, &err), &err);
    for (uint8_t n = 0; n < 3; n++) {
        const struct index_pack pack = {
            .id = {.bytes = {n}}, .kind = CHUNK_DATA, .records = 2, .size = 500};
        const struct pack_entry entries[2] = {
            {.name = {.bytes = "1"}, .offset = 64, .stored_len = 90, .raw_len = 99, .kind = 1},
            {.name = {.bytes = {n, 2}}, .offset = 218, .stored_len = 90, .raw_len = 99, .kind = 1}};

        check(index_add_pack(ix, &pack, entries, &err), &err);
    }
    check(index_apply(ix, &change, &err), &err);
    index_close(ix);
    snprintf(path, sizeof(path), "%s/index.tmp/index.mdb", folder);
    check(fs_read_all(fs_system(), path, 1u << 20, &bytes, &len, &err), &err);
    save("index_pages/small", bytes, len);
    free(bytes);
}

int
main(int argc, char **argv)
{
    static const char *const folders[] = {"pack", "manifest", "point",  "keep",
                                          "keys", "secret",   "record", "index_pages"};
    struct varve_error err;
    char path[1024];

    if (argc != 2) {
        fprintf(stderr, "usage: make_store_corpus FOLDER\n");
        return 2;
    }
    folder = argv[1];
    check(crypto_init(&err), &err);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, folders[i]);
        check(fs_mkdir_parents(fs_system(), path, &err), &err);
    }
    make_pack("pack/chunks", CHUNK_DATA, 5);
    make_pack("pack/one_node", CHUNK_NODE, 1);
    make_config();
    make_node("manifest/leaf_full", 0, 1);
    make_node("manifest/leaf_sparse", 0, 31);
    make_node("manifest/inner", 3, 50);
    make_point("point/small", false, false);
    make_point("point/full", true, false);
    make_point("point/packed", true, true);
    make_marks();
    make_policies();
    make_state_copy();
    make_keys();
    make_texts();
    make_index();
    return 0;
}
