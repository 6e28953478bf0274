/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "catalog/catalog_marks.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "gc/policy.h"
#include "jobs/state_copy.h"
#include "os/file_mem.h"
#include "store/key_change.h"
#include "store/object_scrub.h"
#include "store/store_config.h"

/*
 * A store with every kind of object there is (object_kind(); a new kind fails here until the store has one).  One bit
 * is flipped in each object but packs and cfg/store (store_bitflip_test), VARVE_BITFLIPS times (700 unless set): the
 * scrub names that object, and points, marks, policies and domains are what they were, every eighth time also after a collection.  Then
 * both copies of each mark and policy rot: what was held, locked or kept still is; and those of a domain and of the keys: it is
 * said what to bring back, and with that everything is there again.
 */
#define RUNS  3u
#define HOUR  3600000000ll
#define LATER (4000000ll * HOUR)

static struct varve_error err;
static struct mem_fs *mem;
static const struct guid tenant = {{0x77, 0x01}};
static const uint8_t state_file[] = "what a collector knows";
static struct state_copy_id copy_id;

static struct point *
point_of(struct lab *l, unsigned vm, unsigned number, bool gone)
{
    struct guid id = lab_vm_id(vm);
    struct point **list = NULL;
    struct point *found = NULL;
    size_t count = 0;

    assert_ok(gone ? catalog_list_gone(l->catalog, &id, &list, &count, &err)
                   : catalog_list(l->catalog, &id, &list, &count, &err),
              &err);
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if (n == number) {
            found = list[i];
            point_ref(found);
        }
    }
    catalog_list_free(list, count);
    return found;
}

static void
put_copy_of_state(struct lab *l)
{
    struct state_copy copy = {.made_at_us = HOUR, .db = state_file, .db_len = sizeof(state_file)};
    struct identity *own = NULL;

    assert_ok(identity_generate(&own, &err), &err);
    copy.identity = own;
    assert_ok(state_copy_save(l->cs, &copy, &copy_id, &err), &err);
    identity_free(own);
}

static void
assert_copy_of_state(struct lab *l)
{
    struct store *store = chunk_store_objects(l->cs);
    char name[STORE_NAME_MAX + 1];
    static uint8_t bytes[16384];
    struct state_copy copy;
    uint8_t *plain = NULL;
    uint64_t size = 0;
    size_t len = 0;

    state_copy_name(&copy_id, name);
    assert_ok(store_size(store, name, &size, &err), &err);
    assert_true(size <= sizeof(bytes));
    assert_ok(store_get(store, name, 0, bytes, size, &err), &err);
    assert_ok(chunk_store_open_record(l->cs, name, bytes, size, &plain, &len, NULL, &err), &err);
    assert_ok(state_copy_decode(&copy, plain, len, &err), &err);
    assert_int_equal(copy.db_len, sizeof(state_file));
    assert_memory_equal(copy.db, state_file, sizeof(state_file));
    state_copy_release(&copy);
    free(plain);
}

/* Point 1 is held, 2 locked, 3 deleted, all of vm 0; vm 1 is the tenant's. */
static void
make_store(void)
{
    const struct policy p = {.name = "office", .last = 2, .window_hours = 1};
    struct policy_set set = {.count = 0};
    struct point *points[RUNS];
    struct lab l;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), &err);
    assert_ok(chunk_store_make_domain(l.cs, &tenant, "tenant", &l.domains[1], &err), &err);
    for (unsigned n = 1; n <= RUNS; n++) {
        assert_ok(lab_backup(&l, 0, n, &err), &err);
        assert_ok(lab_backup(&l, 1, n, &err), &err);
    }
    for (unsigned i = 0; i < RUNS; i++) {
        points[i] = point_of(&l, 0, i + 1, false);
        assert_non_null(points[i]);
    }
    assert_ok(catalog_hold(l.catalog, points[0], HOUR, "somebody", "audit", &err), &err);
    assert_ok(catalog_lock(l.catalog, points[1], HOUR, LATER, "law", "years", &err), &err);
    assert_ok(catalog_delete(l.catalog, points[2], HOUR, 2 * HOUR, "me", "", &err), &err);
    for (unsigned i = 0; i < RUNS; i++) {
        point_unref(points[i]);
    }
    assert_ok(policy_put(&set, &p, &err), &err);
    assert_ok(policy_assign(&set, NULL, "office", &err), &err);
    assert_ok(policy_save(l.cs, &set, &err), &err);
    policy_set_release(&set);
    put_copy_of_state(&l);
    lab_close(&l);
}

/* ---- objects ---- */

#define OBJECTS_MAX 64u

struct object {
    char name[STORE_NAME_MAX + 1];
    uint8_t *bytes;
    uint64_t size;
};

struct objects {
    struct store *store;
    struct object list[OBJECTS_MAX];
    size_t count;
};

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct objects *o = arg;
    struct object *one = &o->list[o->count++];

    assert_true(o->count <= OBJECTS_MAX);
    (void)snprintf(one->name, sizeof(one->name), "%s", name);
    one->size = size;
    one->bytes = malloc(size + 1);
    assert_non_null(one->bytes);
    assert_ok(store_get(o->store, name, 0, one->bytes, size, &err), &err);
    return true;
}

static void
read_objects(struct objects *o)
{
    o->count = 0;
    assert_ok(store_dir_open_read(&o->store, mem_fs(mem), "/lab/store", &err), &err);
    assert_ok(store_list(o->store, "", note_object, o, &err), &err);
    store_close(o->store);
}

static void
free_objects(struct objects *o)
{
    for (size_t i = 0; i < o->count; i++) {
        free(o->list[i].bytes);
    }
}

/* The bytes of the object, under a name. */
static void
write_object(const char *name, const struct object *o)
{
    const struct store_part part = {o->bytes, o->size};
    struct store *store = NULL;

    assert_ok(store_dir_open(&store, mem_fs(mem), "/lab/store", &err), &err);
    (void)!store_remove(store, name, &err);
    assert_ok(store_put(store, name, &part, 1, &err), &err);
    store_close(store);
}

static void
remove_object(const char *name)
{
    struct store *store = NULL;

    assert_ok(store_dir_open(&store, mem_fs(mem), "/lab/store", &err), &err);
    (void)!store_remove(store, name, &err);
    store_close(store);
}

static void
assert_scrub_names(const char *name)
{
    static struct objects now;
    unsigned bad = 0;

    read_objects(&now);
    for (size_t i = 0; i < now.count; i++) {
        if (object_scrub(now.list[i].name, now.list[i].bytes, now.list[i].size, &err) != VARVE_OK) {
            assert_string_equal(now.list[i].name, name);
            bad++;
        }
    }
    assert_int_equal(bad, 1);
    free_objects(&now);
}

/* ---- what is said about the points ---- */

static void
assert_readable(struct lab *l, unsigned vm, unsigned number, bool gone)
{
    struct point *p = point_of(l, vm, number, gone);

    assert_non_null(p);
    assert_ok(lab_verify(l, p, &err), &err);
    point_unref(p);
}

/* Held and locked it stays, whoever asks. */
static void
assert_kept(struct lab *l, unsigned number)
{
    struct point *p = point_of(l, 0, number, false);

    assert_non_null(p);
    assert_int_equal(catalog_delete(l->catalog, p, 3 * HOUR, 3 * HOUR, "me", "", &err),
                     VARVE_ERR_DENIED);
    point_unref(p);
}

static void
assert_all_is_there(bool collect)
{
    struct policy_set set = {.count = 0};
    struct lab l;

    assert_ok(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), &err);
    for (unsigned pass = 0; pass < (collect ? 2u : 1u); pass++) {
        for (unsigned n = 1; n <= RUNS; n++) {
            assert_readable(&l, 1, n, false);
            assert_readable(&l, 0, n, n == 3);
        }
        assert_kept(&l, 1);
        assert_kept(&l, 2);
        if (collect && pass == 0) {
            assert_ok(lab_collect(&l, 0, NULL, &err), &err);
        }
    }
    assert_ok(policy_load(l.cs, &set, &err), &err);
    assert_int_equal(set.count, 1);
    assert_int_equal(set.policies[0].last, 2);
    policy_set_release(&set);
    assert_copy_of_state(&l);
    lab_close(&l);
}

static uint64_t
mix(uint64_t z)
{
    z *= UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ z >> 31;
}

static bool
is_elsewhere(const char *kind)
{
    return strcmp(kind, "pack/") == 0 || strcmp(kind, STORE_CONFIG_NAME) == 0;
}

static void
one_flipped_bit_in_any_kind_of_object_changes_nothing(void **state)
{
    const char *text = getenv("VARVE_BITFLIPS");
    uint64_t flips = text == NULL || *text == '\0' ? 700 : strtoull(text, NULL, 10);
    static struct objects o;
    const char *kind;
    uint64_t done = 0;
    size_t kinds = 0;
    size_t turn = 0;

    (void)state;
    make_store();
    read_objects(&o);
    while (object_kind(kinds) != NULL) {
        kinds++;
    }
    for (uint64_t i = 0; done < flips; i++) {
        char name[STORE_NAME_MAX + 8];
        struct object *pick = NULL;
        uint64_t z = mix(i + 1);
        size_t members = 0;
        bool lost;

        turn = object_kind(turn) == NULL ? 0 : turn;
        kind = object_kind(turn++);
        if (is_elsewhere(kind)) {
            continue;
        }
        lost = strcmp(kind, "lost/") == 0; /* in the place of a point */
        kind = lost ? "point/" : kind;
        for (size_t k = 0; k < o.count; k++) {
            members += strncmp(o.list[k].name, kind, strlen(kind)) == 0 ? 1 : 0;
        }
        if (members == 0) {
            print_error("the store has no object of the kind '%s'\n", kind);
            abort();
        }
        members = (size_t)(z >> 20) % members;
        for (size_t k = 0; pick == NULL; k++) {
            if (strncmp(o.list[k].name, kind, strlen(kind)) == 0 && members-- == 0) {
                pick = &o.list[k];
            }
        }
        (void)snprintf(name, sizeof(name), "%s%s", lost ? "lost/" : "", pick->name);
        if (lost) {
            remove_object(pick->name);
        }
        pick->bytes[z % pick->size] ^= (uint8_t)(1u << (z >> 45) % 8);
        write_object(name, pick);
        assert_scrub_names(name);
        assert_all_is_there(done % 8 == 0);
        pick->bytes[z % pick->size] ^= (uint8_t)(1u << (z >> 45) % 8);
        write_object(pick->name, pick);
        done++;
    }
    print_message("%llu bits flipped, %zu kinds\n", (unsigned long long)done, kinds - 2);
    free_objects(&o);
    mem_fs_free(mem);
}

/* Both copies of the object's content; once more, and it is whole. */
static void
rot_both(struct object *o)
{
    o->bytes[40] ^= 1;
    o->bytes[4096 + 40] ^= 1;
    write_object(o->name, o);
}

static void
a_mark_or_policy_of_which_nothing_is_left_drops_no_point(void **state)
{
    static const char *const rotten[] = {"hold/", "lock/", "gone/", "policy/"};
    static struct objects o;

    (void)state;
    make_store();
    read_objects(&o);
    for (size_t k = 0; k < sizeof(rotten) / sizeof(rotten[0]); k++) {
        for (size_t i = 0; i < o.count; i++) {
            struct policy_set set = {.count = 0};
            struct lab l;

            if (strncmp(o.list[i].name, rotten[k], strlen(rotten[k])) != 0) {
                continue;
            }
            rot_both(&o.list[i]);
            assert_scrub_names(o.list[i].name);
            assert_ok(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), &err);
            assert_ok(lab_collect(&l, 0, NULL, &err), &err);
            assert_kept(&l, 1);
            assert_kept(&l, 2);
            assert_readable(&l, 0, 3, k != 2);
            if (k == 2) {
                assert_kept(&l, 3);
            }
            if (k == 3) {
                assert_int_not_equal(policy_load(l.cs, &set, &err), VARVE_OK);
            }
            lab_close(&l);
            rot_both(&o.list[i]);
        }
    }
    assert_all_is_there(true);
    free_objects(&o);
    mem_fs_free(mem);
}

static struct object *
object_of(struct objects *o, const char *kind)
{
    for (size_t i = 0; i < o->count; i++) {
        if (strncmp(o->list[i].name, kind, strlen(kind)) == 0) {
            return &o->list[i];
        }
    }
    fail_msg("no object of the kind '%s'", kind);
    return NULL;
}

/* Its key is in this one object: what needs it says so, nothing of it is removed, and the object from a copy brings all of it back. */
static void
a_domain_of_which_nothing_is_left_is_named_and_comes_back_with_its_object(void **state)
{
    static struct objects o;
    struct object *domain;
    struct chunk_domain *d = NULL;
    struct point *p;
    struct lab l;

    (void)state;
    make_store();
    read_objects(&o);
    domain = object_of(&o, "cfg/domain/");
    rot_both(domain);
    assert_scrub_names(domain->name);
    for (int turn = 0; turn < 2; turn++) {
        assert_ok(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), &err);
        assert_readable(&l, 0, 1, false);
        assert_err(chunk_store_domain(l.cs, &tenant, &d, &err), VARVE_ERR_NOT_FOUND, &err);
        assert_non_null(strstr(err.msg, domain->name));
        assert_non_null(strstr(err.msg, "bring it back from a copy of the store"));
        p = point_of(&l, 1, 1, false);
        if (p != NULL) { /* else it is named among the damaged ones */
            assert_int_not_equal(lab_verify(&l, p, &err), VARVE_OK);
            point_unref(p);
        }
        /* Another one in its place would make of the old data what nobody can read. */
        assert_int_not_equal(chunk_store_make_domain(l.cs, &tenant, "tenant", &d, &err), VARVE_OK);
        (void)!lab_collect(&l, 101, NULL, &err);
        lab_close(&l);
    }
    rot_both(domain);
    assert_all_is_there(true);
    free_objects(&o);
    mem_fs_free(mem);
}

static void
add_recipient(void)
{
    static const uint8_t bytes[STORE_RECOVERY_SIZE] = {1, 2, 3};
    struct store_secret *own = NULL;
    struct store_secret *more = NULL;
    struct store *store = NULL;
    struct key_change c;
    uint32_t id = 0;

    assert_ok(store_dir_open(&store, mem_fs(mem), "/lab/store", &err), &err);
    assert_ok(store_secret_load(&own, mem_fs(mem), STORE_SECRET_KEY_FILE, "/lab/store.key", &err),
              &err);
    assert_ok(store_secret_new(&more, STORE_SECRET_RECOVERY, bytes, sizeof(bytes), "a test", &err),
              &err);
    assert_ok(key_change_begin(&c, store, own, &err), &err);
    assert_ok(key_change_add(&c, more, KEY_COST_FLOOR, "safe", &id, &err), &err);
    key_change_end(&c);
    store_secret_free(own);
    store_secret_free(more);
    store_close(store);
}

/* Before the recipients were changed cfg/store has what it had; after that it is the only one, and the store stays shut. */
static void
a_key_object_of_which_nothing_is_left_is_done_without_or_named(void **state)
{
    static struct objects o;
    struct object *key;
    struct lab l;

    (void)state;
    make_store();
    read_objects(&o);
    rot_both(object_of(&o, "cfg/keys/"));
    assert_all_is_there(false);
    free_objects(&o);

    add_recipient(); /* any change writes it anew */
    read_objects(&o);
    key = object_of(&o, "cfg/keys/");
    assert_ok(object_scrub(key->name, key->bytes, key->size, &err), &err);
    rot_both(key);
    assert_scrub_names(key->name);
    assert_err(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, key->name));
    lab_close(&l);
    remove_object(key->name);
    assert_err(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "bring one back"));
    lab_close(&l);
    rot_both(key);
    assert_all_is_there(true);
    free_objects(&o);
    mem_fs_free(mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flipped_bit_in_any_kind_of_object_changes_nothing),
        cmocka_unit_test(a_mark_or_policy_of_which_nothing_is_left_drops_no_point),
        cmocka_unit_test(a_domain_of_which_nothing_is_left_is_named_and_comes_back_with_its_object),
        cmocka_unit_test(a_key_object_of_which_nothing_is_left_is_done_without_or_named),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
