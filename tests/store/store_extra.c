/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_marks.h"
#include "crypto/identity.h"
#include "gc/policy.h"
#include "jobs/state_copy.h"
#include "manifest/manifest.h"
#include "os/path.h"

/*
 * store_extra FOLDER: adds to a store that store_make made what a store may have besides: a domain with a point of
 * one disk of two chunks, of which the second is short and half of it 'x', and of two configuration files, the larger one
 * packed; a hold and a lock on the first point, a deleted second one, and policies.  All with moments and texts that a
 * reader can be compared with; two copies of a collector's state, the first one packed.  store_extra FOLDER METHOD: orders a method in its policies besides.
 */
#define HOUR_US    3600000000ll
#define STATE_SIZE 200000u

static struct varve_error err;

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "store_extra: %s\n", err.msg);
        exit(1);
    }
}

static void
put_domain_point(struct chunk_store *cs, struct catalog *catalog)
{
    static const struct guid id = {{0x77, 0x01}};
    uint32_t chunk = chunk_store_chunk_size(cs);
    uint8_t *bytes = malloc(chunk);
    struct manifest_builder *b = NULL;
    struct chunk_domain *d = NULL;
    struct point *p = point_new();
    struct chunk_id name;

    if (bytes == NULL || p == NULL || (p->disks = calloc(1, sizeof(*p->disks))) == NULL) {
        abort();
    }
    must(chunk_store_make_domain(cs, &id, "Größe", &d, &err));
    must(manifest_builder_new(&b, d, 2, NULL, &err));
    for (unsigned i = 0; i < 2; i++) {
        size_t len = i == 0 ? chunk : chunk / 2;

        memset(bytes, i == 0 ? 'd' : 'x', len);
        bytes[0] = 'a';
        chunk_id_of(&name, bytes, len);
        must(chunk_store_put(d, CHUNK_DATA, &name, bytes, len, len, &err));
        must(manifest_builder_set(b, i, &name, &err));
    }
    p->domain = id;
    p->vm.bytes[0] = 0x55;
    p->run.bytes[0] = 0x56;
    p->vm_name = strdup("tenant's");
    p->consistency = POINT_CRASH;
    p->disk_count = 1;
    p->disks[0].id.bytes[0] = 0x57;
    p->disks[0].name = strdup("disk.vhdx");
    p->disks[0].size = chunk + chunk / 2;
    p->files = calloc(2, sizeof(*p->files));
    p->file_count = 2;
    p->files[0].name = strdup("a.vmcx");
    p->files[0].data = (uint8_t *)strdup("configuration");
    p->files[0].len = strlen("configuration");
    p->files[1].name = strdup("a.vmgs");
    p->files[1].data = malloc(STATE_SIZE);
    p->files[1].len = STATE_SIZE;
    memset(p->files[1].data, 'g', STATE_SIZE);
    must(manifest_builder_finish(b, &p->disks[0].root, &err));
    must(catalog_publish(catalog, p, chunk_store_loss_count(cs), NULL, &err));
    manifest_builder_free(b);
    point_unref(p);
    free(bytes);
}

/* On the points of store_make's vm, which has the selector "made". */
static void
put_marks(struct catalog *catalog)
{
    struct point *first = NULL;
    struct point *second = NULL;

    must(catalog_select(catalog, "made@latest~2", &first, &err));
    must(catalog_select(catalog, "made@latest~1", &second, &err));
    must(catalog_hold(catalog, first, HOUR_US, "somebody", "audit until May", &err));
    must(catalog_lock(catalog, first, 2 * HOUR_US, 4000000000000000, "law", "seven years", &err));
    must(catalog_delete(catalog, second, 3 * HOUR_US, 10 * HOUR_US, "retention", "", &err));
    point_unref(first);
    point_unref(second);
}

static void
put_policies(struct chunk_store *cs, const char *method)
{
    static const struct guid vm = {{0x55}};
    struct policy office = {.name = "office", .last = 3, .daily = 14, .window_hours = 168};
    const struct policy law = {.name = "law", .monthly = 120, .yearly = 10};
    struct policy_set s = {.count = 0};

    (void)snprintf(office.method, sizeof(office.method), "%s", method);
    must(policy_put(&s, &office, &err));
    must(policy_put(&s, &law, &err));
    must(policy_assign(&s, NULL, "office", &err));
    must(policy_assign(&s, &vm, "law", &err));
    must(policy_save(cs, &s, &err));
    policy_set_release(&s);
}

static void
put_copies_of_state(struct chunk_store *cs)
{
    static uint8_t db[STATE_SIZE] = "a state file";
    uint8_t secret[IDENTITY_KEY_SIZE];
    struct state_copy c = {.made_at_us = HOUR_US, .db = db, .db_len = sizeof(db)};
    struct identity *own = NULL;

    memset(secret, 0x42, sizeof(secret));
    must(identity_from_secret(&own, secret, &err));
    c.identity = own;
    must(state_copy_save(cs, &c, NULL, &err));
    c.made_at_us = 2 * HOUR_US;
    c.db_len = strlen((const char *)db); /* too little to be packed */
    must(state_copy_save(cs, &c, NULL, &err));
    identity_free(own);
}

int
main(int argc, char **argv)
{
    struct chunk_store_options options = {.index_path = NULL};
    struct chunk_store *cs = NULL;
    struct catalog *catalog = NULL;
    struct store *store = NULL;
    char *root = NULL;
    char *key = NULL;

    if (argc < 2 || argc > 3) {
        (void)fprintf(stderr, "usage: store_extra FOLDER [METHOD]\n");
        return 2;
    }
    must(crypto_init(&err));
    must(path_join(&root, argv[1], "store", &err));
    must(path_join(&key, argv[1], "store.key", &err));
    must(store_dir_open(&store, fs_system(), root, &err));
    options.key_path = key;
    must(chunk_store_open(&cs, store, fs_system(), &options, &err));
    must(catalog_open(&catalog, cs, &err));
    if (argc == 2) {
        put_domain_point(cs, catalog);
        put_marks(catalog);
        put_copies_of_state(cs);
    }
    put_policies(cs, argc == 3 ? argv[2] : "");
    catalog_close(catalog);
    chunk_store_close(cs);
    store_close(store);
    free(root);
    free(key);
    return 0;
}
