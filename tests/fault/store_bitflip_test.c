/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "jobs/damage_walk.h"
#include "os/file_mem.h"
#include "store/object_scrub.h"
#include "store/pack.h"
#include "store/store_config.h"

/*
 * One bit is flipped in one byte of one object, sampled over every byte of every object with a fixed seed
 * (VARVE_BITFLIPS of them, 1500 unless set; VARVE_SEED).  Each time:
 *
 *   1. the scrub without a key finds it, in the object where it is;
 *   2. the store opens, and what the packs' check sets aside names exactly the points that cannot be read;
 *   3. no point reads back wrong bytes;
 *   4. every twentieth time: a backup that reads everything heals all of it.
 *
 * Objects of the other kinds: record_bitflip_test.
 */
#define RUNS 3u

static struct varve_error err;

static void
make_store(struct mem_fs **mem)
{
    struct lab l;

    assert_ok(mem_fs_new(mem, &err), &err);
    assert_ok(lab_open(&l, mem_fs(*mem), "/lab", NULL, NULL, &err), &err);
    for (unsigned number = 1; number <= RUNS; number++) {
        for (unsigned vm = 0; vm < LAB_VMS; vm++) {
            assert_ok(lab_backup(&l, vm, number, &err), &err);
        }
    }
    lab_close(&l);
}

/* ---- where the bit is ---- */

struct victim {
    uint64_t at; /* byte, counted over all objects */
    uint64_t sum;
    char name[STORE_NAME_MAX + 1];
    uint64_t offset;
    bool found;
};

static bool
count_bytes(void *arg, const char *name, uint64_t size)
{
    struct victim *v = arg;

    if (!v->found && v->at < v->sum + size) {
        v->found = true;
        v->offset = v->at - v->sum;
        (void)snprintf(v->name, sizeof(v->name), "%s", name);
    }
    v->sum += size;
    return true;
}

static void
flip(struct mem_fs *mem, const struct victim *v, unsigned bit)
{
    char path[STORE_NAME_MAX + 32];
    struct file *f = NULL;
    uint8_t byte = 0;

    (void)snprintf(path, sizeof(path), "/lab/store/%s", v->name);
    assert_ok(file_open(mem_fs(mem), &f, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(f, &byte, 1, v->offset, &err), &err);
    byte ^= (uint8_t)(1u << bit);
    assert_ok(file_write(f, &byte, 1, v->offset, &err), &err);
    assert_ok(file_sync(f, &err), &err);
    file_close(f);
}

/* Objects that the stored checksums call damaged. */
struct scrubbed {
    struct store *store;
    unsigned bad;
    char name[STORE_NAME_MAX + 1];
};

static bool
scrub_one(void *arg, const char *name, uint64_t size)
{
    struct scrubbed *s = arg;
    uint8_t *bytes = malloc(size + 1);
    struct varve_error why;

    assert_non_null(bytes);
    assert_ok(store_get(s->store, name, 0, bytes, size, &err), &err);
    if (object_scrub(name, bytes, size, &why) != VARVE_OK) {
        s->bad++;
        (void)snprintf(s->name, sizeof(s->name), "%s", name);
    }
    free(bytes);
    return true;
}

/* ---- what it does to the points ---- */

static bool
check_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct chunk_check check;

    assert_ok(chunk_store_check_pack(arg, id, size, &check, &err), &err);
    return true;
}

struct named {
    struct point *const *points;
    size_t count;
    bool hit[LAB_VMS * RUNS];
};

static bool
note_hit(void *arg, const struct damage_hit *h)
{
    struct named *n = arg;

    for (size_t i = 0; i < n->count; i++) {
        n->hit[i] = n->hit[i] || n->points[i] == h->point;
    }
    return true;
}

/* A backup that reads everything; with the run's number the bytes are those of that moment. */
static void
read_all_again(struct lab *l, const struct point *p)
{
    struct lab_run r;
    unsigned number = 0;
    unsigned vm = 0;
    enum varve_err rc;

    lab_identify(p, &vm, &number);
    r = (struct lab_run){.vm = vm, .number = number, .cs = l->cs}; /* nothing to build upon */
    r.domain = chunk_store_default(l->cs);
    chunk_use_begin(l->cs, &r.use);
    r.loss = chunk_store_loss_count(l->cs);
    assert_ok(manifest_builder_new(&r.builder, chunk_store_default(l->cs),
                                   p->disks[0].root.chunk_count, NULL, &err),
              &err);
    assert_ok(lab_run_step(l, &r, UINT64_MAX, &err), &err);
    rc = lab_run_publish(l, &r, &err);
    assert_true(rc == VARVE_OK || rc == VARVE_ERR_EXISTS); /* the point is there already */
    lab_run_end(&r);
}

struct tally {
    unsigned flips;
    unsigned points_hit;
    unsigned healed;
};

static void
assert_held(struct mem_fs *mem, const struct victim *v, bool heal, struct tally *t)
{
    struct named named = {.count = 0};
    struct point **points = NULL;
    struct lab l;
    size_t count = 0;

    assert_ok(lab_open(&l, mem_fs(mem), "/lab", NULL, NULL, &err), &err);
    assert_ok(catalog_list(l.catalog, NULL, &points, &count, &err), &err);
    assert_int_equal(count, LAB_VMS * RUNS); /* none is lost: records stand twice */
    assert_ok(chunk_store_list_packs(l.cs, check_pack, l.cs, &err), &err);
    named.points = points;
    named.count = count;
    assert_ok(damage_walk(l.cs, points, count, note_hit, &named, NULL, &err), &err);
    for (size_t i = 0; i < count; i++) {
        enum varve_err rc = lab_verify(&l, points[i], &err);

        if (rc != VARVE_OK &&
            (strstr(err.msg, "differ") != NULL || strstr(err.msg, "is another") != NULL)) {
            fail_msg("%s byte %llu: wrong bytes: %s", v->name, (unsigned long long)v->offset,
                     err.msg);
        }
        if ((rc != VARVE_OK) != named.hit[i]) {
            fail_msg("%s byte %llu: point %zu %s and was %snamed", v->name,
                     (unsigned long long)v->offset, i, rc == VARVE_OK ? "reads" : "does not read",
                     named.hit[i] ? "" : "not ");
        }
        t->points_hit += named.hit[i] ? 1 : 0;
    }
    for (size_t i = 0; heal && i < count; i++) {
        if (named.hit[i]) {
            read_all_again(&l, points[i]);
            t->healed++;
        }
    }
    for (size_t i = 0; heal && i < count; i++) {
        assert_ok(lab_verify(&l, points[i], &err), &err);
    }
    catalog_list_free(points, count);
    lab_close(&l);
}

static uint64_t
number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL || *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

static void
any_flipped_bit_is_found_named_harmless_and_healed(void **state)
{
    uint64_t flips = number_of("VARVE_BITFLIPS", 1500);
    uint64_t seed = number_of("VARVE_SEED", 20);
    struct tally t = {.flips = 0};
    struct mem_fs *mem = NULL;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    make_store(&mem);
    for (uint64_t i = 0; i < flips; i++) {
        struct victim v = {.found = false};
        struct scrubbed s = {.bad = 0};
        struct store *store = NULL;
        uint64_t total;
        uint64_t z = (seed + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        bool heal = i % 20 == 19;

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        assert_ok(store_dir_open_read(&store, mem_fs(mem), "/lab/store", &err), &err);
        v.at = UINT64_MAX;
        assert_ok(store_list(store, "", count_bytes, &v, &err), &err);
        total = v.sum;
        v = (struct victim){.at = z % total};
        if (i % 4 == 1) { /* small objects are few bytes: every fourth flip is among them */
            uint64_t small;

            v = (struct victim){.at = UINT64_MAX};
            assert_ok(store_list(store, i % 8 == 1 ? "cfg/" : "point/", count_bytes, &v, &err),
                      &err);
            small = v.sum;
            v = (struct victim){.at = z % small};
            assert_ok(store_list(store, i % 8 == 1 ? "cfg/" : "point/", count_bytes, &v, &err),
                      &err);
        } else {
            assert_ok(store_list(store, "", count_bytes, &v, &err), &err);
        }
        assert_true(v.found);
        store_close(store);

        flip(mem, &v, (unsigned)(z >> 40) % 8);
        store = NULL;
        assert_ok(store_dir_open_read(&store, mem_fs(mem), "/lab/store", &err), &err);
        s.store = store;
        assert_ok(store_list(store, "", scrub_one, &s, &err), &err);
        store_close(store);
        if (s.bad != 1 || strcmp(s.name, v.name) != 0) {
            fail_msg("%s byte %llu: the scrub finds %u objects, the last '%s'", v.name,
                     (unsigned long long)v.offset, s.bad, s.name);
        }
        assert_held(mem, &v, heal, &t);
        t.flips++;
        if (heal) { /* it has become another store */
            mem_fs_free(mem);
            make_store(&mem);
        } else if (strcmp(v.name, STORE_CONFIG_NAME) != 0) { /* that one was made anew */
            flip(mem, &v, (unsigned)(z >> 40) % 8);
        }
    }
    mem_fs_free(mem);
    print_message("%u bits flipped, %u points hit, %u of them healed\n", t.flips, t.points_hit,
                  t.healed);
    assert_true(t.points_hit > 0);
    assert_true(flips < 200 || t.healed > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_is_found_named_harmless_and_healed),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
