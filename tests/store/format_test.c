/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/endian.h"
#include "catalog/catalog_marks.h"
#include "catalog/point_record.h"
#include "crypto/identity.h"
#include "gc/policy.h"
#include "hash/crc32c.h"
#include "jobs/state_copy.h"
#include "manifest/manifest.h"
#include "store/chunk_record.h"
#include "store/key_ring.h"
#include "store/pack.h"
#include "store/twice.h"

/*
 * Every format of docs/format/store.md says its version, and which features one must know to read it.  What is
 * newer than this program is refused as VARVE_ERR_UNSUPPORTED, with checksums that are right: it is
 * neither damage nor half understood, and nothing is touched.
 */

static struct varve_error err;
static struct store *objects;
static struct chunk_store *cs;
static struct store_secret *secret;

static const struct guid vm = {{1, 2, 3}};
static const struct guid domain = {{7}};
#define RECORD "point/01020300-0000-0000-0000-000000000000/0000000000000009"

static void
open_store(void)
{
    struct chunk_store_options options = {.secret = secret, .chunk_size = CHUNK_SIZE_MIN};

    assert_ok(chunk_store_open(&cs, objects, fs_system(), &options, &err), &err);
}

static int
set_up(void **state)
{
    uint8_t key[STORE_KEY_SIZE] = "key";
    struct chunk_domain *d = NULL;

    (void)state;
    assert_ok(store_mem_open(&objects, &err), &err);
    assert_ok(store_secret_new(&secret, STORE_SECRET_KEY_FILE, key, sizeof(key), "a key", &err),
              &err);
    open_store();
    assert_ok(chunk_store_make_domain(cs, &domain, "tenant", &d, &err), &err);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    chunk_store_close(cs);
    store_secret_free(secret);
    store_close(objects);
    return 0;
}

/* ---- one of each format: made, its checksums set again, read ---- */

static size_t
object_make(const char *name, uint8_t *out, size_t cap)
{
    uint64_t size = 0;

    assert_ok(store_size(objects, name, &size, &err), &err);
    assert_true(size <= cap);
    assert_ok(store_get(objects, name, 0, out, (size_t)size, &err), &err);
    return (size_t)size;
}

static size_t
config_make(uint8_t *out, size_t cap)
{
    return object_make(STORE_CONFIG_NAME, out, cap);
}

static void
config_seal(uint8_t *p, size_t len)
{
    put_le32(p + len - 4, crc32c(p, len - 4));
}

static enum varve_err
config_read(const uint8_t *p, size_t len)
{
    struct store_config c;

    return store_config_decode(&c, p, len, &err);
}

static size_t
keyed_config_make(uint8_t *out, size_t cap)
{
    size_t len = config_make(out, cap);

    put_le64(out + 16, STORE_FEATURE_KEYS);
    memset(out + 64, 0, STORE_WRAPPED_SIZE);
    config_seal(out, len);
    return len;
}

static size_t
ring_make(uint8_t *out, size_t cap)
{
    return twice_content(object_make(KEY_RING_PREFIX "0000000000000001", out, cap));
}

/* The parameters in it have their own checksum. */
static void
ring_seal(uint8_t *p, size_t len)
{
    config_seal(p + 32, STORE_CONFIG_SIZE);
    config_seal(p, len);
}

static enum varve_err
ring_read(const uint8_t *p, size_t len)
{
    struct key_ring ring;

    return key_ring_decode(&ring, p, len, &err);
}

/* A pack's header, one record, footer and tail; no key. */
static const struct pack_entry entry = {
    .offset = PACK_HEADER_SIZE, .stored_len = 32, .raw_len = 16, .kind = CHUNK_DATA};
static const struct pack_id pack_id = {{5}};

static size_t
header_make(uint8_t *out, size_t cap)
{
    const struct pack_header h = {
        .id = pack_id, .kind = CHUNK_DATA, .cipher = AEAD_CHACHA20POLY1305, .domain = domain};

    (void)cap;
    pack_header_encode(&h, out);
    return PACK_HEADER_SIZE;
}

static enum varve_err
header_read(const uint8_t *p, size_t len)
{
    struct pack_header h;

    (void)len;
    return pack_header_decode(&h, p, &err);
}

static size_t
pack_record_make(uint8_t *out, size_t cap)
{
    (void)cap;
    pack_record_encode(&entry, 0, out);
    pack_record_seal(out, out, 0);
    return PACK_RECORD_HEADER;
}

static enum varve_err
pack_record_read(const uint8_t *p, size_t len)
{
    struct pack_record r;

    (void)len;
    return pack_record_decode(&r, p, &err);
}

#define FOOTER (PACK_FOOTER_HEADER + PACK_ENTRY_SIZE)

static size_t
footer_make(uint8_t *out, size_t cap)
{
    (void)cap;
    pack_footer_encode(&pack_id, &entry, 1, out);
    pack_tail_encode(NULL, &pack_id, PACK_HEADER_SIZE + PACK_RECORD_HEADER + 32, out, FOOTER,
                     out + FOOTER);
    return FOOTER + PACK_TAIL_SIZE;
}

static void
footer_seal(uint8_t *p, size_t len)
{
    put_le32(p + FOOTER + 32, crc32c(p, FOOTER));
    put_le32(p + len - 4, crc32c(p + FOOTER, PACK_TAIL_SIZE - 4));
}

static void
ignore_entry(void *arg, const struct pack_entry *e)
{
    (void)arg;
    (void)e;
}

static enum varve_err
footer_read(const uint8_t *p, size_t len)
{
    struct pack_tail tail;
    enum varve_err rc =
        pack_tail_decode(&tail, p + FOOTER, PACK_HEADER_SIZE + PACK_RECORD_HEADER + 32 + len, &err);

    return rc != VARVE_OK ? rc
                          : pack_footer_decode(&tail, p, &pack_id, NULL, ignore_entry, NULL, &err);
}

static size_t
node_make(uint8_t *out, size_t cap)
{
    static struct manifest_node n;

    (void)cap;
    memset(&n, 0, sizeof(n));
    n.present[0] = 1;
    n.child[0].bytes[0] = 1;
    return manifest_node_encode(&n, out);
}

static enum varve_err
node_read(const uint8_t *p, size_t len)
{
    static struct manifest_node n;

    return manifest_node_decode(&n, p, len, 0, &err);
}

/* A sealed record, as points, marks, policies and domains are; twice in its object. */
static size_t
sealed_make(uint8_t *out, size_t cap)
{
    uint8_t *sealed = NULL;
    size_t len = 0;

    assert_ok(
        chunk_store_seal_record(chunk_store_default(cs), RECORD, "plain", 5, &sealed, &len, &err),
        &err);
    assert_true(len <= cap);
    memcpy(out, sealed, len);
    free(sealed);
    return len;
}

static void
sealed_seal(uint8_t *p, size_t len)
{
    size_t one = twice_content(len);

    put_le32(p + one - 4, crc32c(p, one - 4));
    memcpy(p + twice_second(one), p, one);
}

static enum varve_err
sealed_read(const uint8_t *p, size_t len)
{
    uint8_t *plain = NULL;
    size_t plain_len = 0;
    enum varve_err rc = chunk_store_open_record(cs, RECORD, p, len, &plain, &plain_len, NULL, &err);

    free(plain);
    return rc;
}

static size_t
mark_make(uint8_t *out, size_t cap)
{
    const struct catalog_mark m = {.kind = MARK_HOLD, .vm = vm, .seq = 1, .made_at_us = 5};
    struct buf b;
    size_t len;

    buf_init(&b, cap);
    assert_ok(mark_encode(&m, &b, &err), &err);
    len = b.len;
    memcpy(out, b.data, len);
    buf_release(&b);
    return len;
}

static enum varve_err
mark_read(const uint8_t *p, size_t len)
{
    struct catalog_mark m;
    enum varve_err rc = mark_decode(&m, p, len, &err);

    if (rc == VARVE_OK) {
        mark_release(&m);
    }
    return rc;
}

static size_t
policy_make(uint8_t *out, size_t cap)
{
    const struct policy p = {.name = "p", .last = 1};
    struct policy_set s = {.count = 0};
    struct buf b;
    size_t len;

    buf_init(&b, cap);
    assert_ok(policy_put(&s, &p, &err), &err);
    assert_ok(policy_encode(&s, &b, &err), &err);
    len = b.len;
    memcpy(out, b.data, len);
    buf_release(&b);
    policy_set_release(&s);
    return len;
}

static enum varve_err
policy_read(const uint8_t *p, size_t len)
{
    struct policy_set s;
    enum varve_err rc = policy_decode(&s, p, len, &err);

    if (rc == VARVE_OK) {
        policy_set_release(&s);
    }
    return rc;
}

static size_t
state_make(uint8_t *out, size_t cap)
{
    static const uint8_t own_key[IDENTITY_KEY_SIZE] = {1};
    struct state_copy c = {.db = own_key, .db_len = sizeof(own_key)};
    struct identity *own = NULL;
    struct buf b;
    size_t len;

    buf_init(&b, cap);
    assert_ok(identity_from_secret(&own, own_key, &err), &err);
    c.identity = own;
    assert_ok(state_copy_encode(&c, &b, &err), &err);
    len = b.len;
    memcpy(out, b.data, len);
    buf_release(&b);
    identity_free(own);
    return len;
}

static enum varve_err
state_read(const uint8_t *p, size_t len)
{
    struct state_copy c;
    enum varve_err rc = state_copy_decode(&c, p, len, &err);

    if (rc == VARVE_OK) {
        state_copy_release(&c);
    }
    return rc;
}

static const struct format {
    const char *name;
    size_t (*make)(uint8_t *out, size_t cap);
    void (*seal)(uint8_t *p, size_t len); /* NULL: no checksum of its own */
    enum varve_err (*read)(const uint8_t *p, size_t len);
    size_t newer[24]; /* offsets of bytes that a newer format would change; ends with 0 */
} formats[] = {
    {"cfg/store", config_make, config_seal, config_read, {8, 9, 10, 11, 17, 23, 112, 116, 123}},
    {"cfg/store with key objects", keyed_config_make, config_seal, config_read, {64, 111}},
    {"key object",
     ring_make,
     ring_seal,
     ring_read,
     {8, 9, 12, 15, 32 + 8, 32 + 17, 164, 167, 168 + 2, 168 + 3, 168 + 40, 168 + 47}},
    {"pack header", header_make, config_seal, header_read, {8, 9, 10, 11, 13, 15, 48, 59}},
    {"pack record", pack_record_make, config_seal, pack_record_read, {6, 7, 56, 59}},
    {"pack footer",
     footer_make,
     footer_seal,
     footer_read,
     {24 + 46, 24 + 47, FOOTER + 36, FOOTER + 43}},
    {"manifest node", node_make, NULL, node_read, {3, 5}},
    {"sealed record", sealed_make, sealed_seal, sealed_read, {8, 9, 10, 11, 13, 15}},
    {"mark", mark_make, NULL, mark_read, {3, 4, 5, 6, 7, 32, 39}},
    {"policies", policy_make, NULL, policy_read, {3}},
    {"copy of a state", state_make, NULL, state_read, {3}},
};

static void
what_is_newer_is_refused_by_name_in_every_format(void **state)
{
    static uint8_t bytes[32768];
    unsigned tried = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        const struct format *f = &formats[i];

        for (size_t k = 0; f->newer[k] != 0; k++) {
            size_t len = f->make(bytes, sizeof(bytes));
            enum varve_err rc;

            assert_ok(f->read(bytes, len), &err);
            bytes[f->newer[k]] ^= 0x40;
            if (f->seal != NULL) { /* a flipped bit is damage, or the other copy is taken */
                assert_int_equal(f->read(bytes, len),
                                 f->make == sealed_make ? VARVE_OK : VARVE_ERR_CORRUPT);
                f->seal(bytes, len);
            }
            rc = f->read(bytes, len);
            if (rc != VARVE_ERR_UNSUPPORTED || strstr(err.msg, "newer program") == NULL) {
                fail_msg("%s, byte %zu: %d %s", f->name, f->newer[k], (int)rc,
                         rc == VARVE_OK ? "it is taken" : err.msg);
            }
            tried++;
        }
    }
    print_message("%u bytes of %zu formats\n", tried, sizeof(formats) / sizeof(formats[0]));
}

/* ---- a whole store ---- */

static void
replace(const char *name, const uint8_t *bytes, size_t len)
{
    const struct store_part part = {.data = bytes, .len = len};

    if (store_remove(objects, name, &err) != VARVE_OK) {
        assert_int_equal(err.code, VARVE_ERR_NOT_FOUND);
    }
    assert_ok(store_put(objects, name, &part, 1, &err), &err);
}

struct sum {
    uint32_t crc;
    unsigned count;
};

static bool
add_object(void *arg, const char *name, uint64_t size)
{
    struct sum *s = arg;
    uint8_t *bytes = malloc((size_t)size + 1);

    assert_non_null(bytes);
    assert_ok(store_get(objects, name, 0, bytes, (size_t)size, &err), &err);
    s->crc = s->crc * 31 + crc32c(bytes, (size_t)size) + crc32c(name, strlen(name));
    s->count++;
    free(bytes);
    return true;
}

static struct sum
sum_of_store(void)
{
    struct sum s = {0};

    assert_ok(store_list(objects, "", add_object, &s, &err), &err);
    return s;
}

/* Parameters and keys of a newer program keep the store shut, and nothing in it changes. */
static void
a_store_of_a_newer_program_is_not_touched(void **state)
{
    static const char *const names[] = {STORE_CONFIG_NAME, KEY_RING_PREFIX "0000000000000001"};
    struct chunk_store_options options = {.secret = secret, .chunk_size = CHUNK_SIZE_MIN};
    static uint8_t bytes[32768];
    static uint8_t was[32768];

    (void)state;
    chunk_store_close(cs);
    for (size_t i = 0; i < 2; i++) {
        size_t len = object_make(names[i], bytes, sizeof(bytes));
        struct chunk_store *none = NULL;
        struct sum before;
        struct sum after;

        memcpy(was, bytes, len);
        bytes[8]++;
        if (i == 0) {
            config_seal(bytes, len);
        } else {
            sealed_seal(bytes, len);
        }
        replace(names[i], bytes, len);
        before = sum_of_store();
        assert_err(chunk_store_open(&none, objects, fs_system(), &options, &err),
                   VARVE_ERR_UNSUPPORTED, &err);
        assert_non_null(strstr(err.msg, "newer program"));
        after = sum_of_store();
        assert_int_equal(before.crc, after.crc);
        assert_int_equal(before.count, after.count);
        replace(names[i], was, len);
    }
    open_store();
}

static void
seal_and_replace(const char *name, const uint8_t *plain, size_t len)
{
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;

    assert_ok(chunk_store_seal_record(chunk_store_default(cs), name, plain, len, &sealed,
                                      &sealed_len, &err),
              &err);
    replace(name, sealed, sealed_len);
    free(sealed);
}

/* A pack or a point of a newer program stands beside those that can be read. */
static void
one_newer_object_keeps_no_other_from_being_used(void **state)
{
    struct catalog_damage *damaged = NULL;
    struct chunk_domain *d = NULL;
    struct catalog *catalog = NULL;
    struct policy_set policies;
    static uint8_t bytes[32768];
    struct sum before;
    struct sum after;
    size_t count = 0;
    size_t len;

    (void)state;
    len = sealed_make(bytes, sizeof(bytes)); /* a point */
    bytes[13] = 1;
    sealed_seal(bytes, len);
    replace(RECORD, bytes, len);
    len = header_make(bytes, sizeof(bytes)); /* a pack, as far as anybody can tell */
    bytes[13] = 1;
    config_seal(bytes, len);
    memset(bytes + len, 0, 200);
    replace("pack/05/05000000000000000000000000000000", bytes, len + 200);
    len = policy_make(bytes, sizeof(bytes));
    bytes[3] = '3';
    seal_and_replace("policy/0000000000000007", bytes, len);
    seal_and_replace("cfg/domain/07000000-0000-0000-0000-000000000000", (const uint8_t *)"VDM2....",
                     8);
    chunk_store_close(cs);
    before = sum_of_store();
    open_store();
    assert_err(chunk_store_domain(cs, &domain, &d, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(catalog_open(&catalog, cs, &err), &err);
    assert_ok(catalog_damaged(catalog, &damaged, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(damaged[0].name, RECORD);
    assert_non_null(strstr(damaged[0].reason, "newer program"));
    free(damaged);
    assert_err(policy_load(cs, &policies, &err), VARVE_ERR_UNSUPPORTED, &err);
    catalog_close(catalog);
    after = sum_of_store();
    assert_int_equal(before.crc, after.crc);
}

/* The largest set that can be saved can be loaded. */
static void
the_largest_set_of_policies_is_read_back(void **state)
{
    const struct policy p = {
        .name = "a-name-that-is-as-long-as-the-name-of-a-policy-can-possibly-be.", .last = 1};
    struct policy_set s = {.count = 0};
    struct policy_set again;

    (void)state;
    assert_int_equal(strlen(p.name), POLICY_NAME_MAX);
    assert_ok(policy_put(&s, &p, &err), &err);
    s.vms = calloc(POLICY_VMS_MAX, sizeof(*s.vms));
    assert_non_null(s.vms);
    for (uint32_t i = 0; i < POLICY_VMS_MAX; i++) {
        put_le32(s.vms[i].vm.bytes, i + 1);
        memcpy(s.vms[i].policy, p.name, sizeof(p.name));
    }
    s.vm_count = POLICY_VMS_MAX;
    assert_ok(policy_save(cs, &s, &err), &err);
    assert_ok(policy_load(cs, &again, &err), &err);
    assert_int_equal(again.vm_count, POLICY_VMS_MAX);
    policy_set_release(&again);
    policy_set_release(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_newer_is_refused_by_name_in_every_format, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_store_of_a_newer_program_is_not_touched, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_newer_object_keeps_no_other_from_being_used, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_largest_set_of_policies_is_read_back, set_up,
                                        tear_down),
    };

    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
