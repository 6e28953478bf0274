/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "index/index.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/chunk_collect.h"
#include "store/store_fault.h"

/*
 * How long an answer takes must not tell what another tenant has: a question for a chunk that only another domain holds
 * costs what one for a chunk that nobody holds does, counted in what is looked up and what is read.
 */
#define CHUNK  4096u
#define COUNT  6000u
#define BATCH  256u
#define NOBODY (10u * COUNT) /* chunks from this number on are in no domain */

static const struct guid ALPHA = {{0xa1, 2, 3}};
static const struct guid BETA = {{0xb1, 2, 3}};

static struct varve_error err;

struct fixture {
    char *folder;
    char *key_path;
    char *index_path;
    struct store *memory;
    struct store *store;
    struct chunk_store *cs;
    struct chunk_domain *alpha;
    struct chunk_domain *beta;
};

static void
open_store(struct fixture *f)
{
    struct chunk_store_options options = {.key_path = f->key_path,
                                          .index_path = f->index_path,
                                          .chunk_size = CHUNK,
                                          .put_threads = 1};

    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
}

static void
put_many(struct chunk_domain *d, uint64_t first)
{
    uint8_t buf[CHUNK];
    struct chunk_id id;

    for (uint64_t n = first; n < first + COUNT; n++) {
        test_chunk(n, buf, CHUNK, &id);
        assert_ok(chunk_store_put(d, CHUNK_DATA, &id, buf, CHUNK, CHUNK, &err), &err);
    }
}

static struct index_stats
stats_of(struct fixture *f)
{
    struct index_stats s;

    index_get_stats(chunk_store_index(f->cs), &s);
    return s;
}

/* As after a start, with nothing in memory; the filter answers. */
static void
start_anew(struct fixture *f)
{
    chunk_store_close(f->cs);
    open_store(f);
    assert_ok(chunk_store_domain(f->cs, &ALPHA, &f->alpha, &err), &err);
    assert_ok(chunk_store_domain(f->cs, &BETA, &f->beta, &err), &err);
    for (unsigned i = 0; i < 1000 && !stats_of(f).filter_ready; i++) {
        thread_sleep_ms(10);
    }
    assert_true(stats_of(f).filter_ready);
}

/* What COUNT questions cost. */
struct work {
    uint64_t have;
    uint64_t table;    /* names looked up in the file of the index, */
    uint64_t locality; /* or found in memory */
    uint64_t packs;    /* whose names were read for that */
    uint64_t reads;    /* of the store */
};

static struct work
ask(struct fixture *f, struct chunk_domain *d, uint64_t first)
{
    const struct store_fault_plan count_reads = {.kinds = STORE_FAULT_GET};
    struct index_stats before = stats_of(f);
    struct chunk_id ids[BATCH];
    uint8_t have[BATCH];
    uint8_t buf[CHUNK];
    struct index_stats after;
    struct work w;

    memset(&w, 0, sizeof(w));
    store_fault_set(f->store, &count_reads);
    for (uint64_t n = first; n < first + COUNT; n += BATCH) {
        size_t count = first + COUNT - n < BATCH ? (size_t)(first + COUNT - n) : BATCH;

        for (size_t i = 0; i < count; i++) {
            test_chunk(n + i, buf, CHUNK, &ids[i]);
        }
        assert_ok(chunk_store_has(d, ids, count, have, &err), &err);
        for (size_t i = 0; i < count; i++) {
            w.have += have[i];
        }
    }
    after = stats_of(f);
    w.table = after.asked_table - before.asked_table;
    w.locality = after.asked_locality - before.asked_locality;
    w.packs = after.packs_loaded - before.packs_loaded;
    w.reads = store_fault_calls(f->store);
    return w;
}

static void
print_work(const char *what, const struct work *w)
{
    print_message("%s: %llu told as there, %llu looked up in the file, %llu in memory, %llu packs' "
                  "names read, %llu reads of the store\n",
                  what, (unsigned long long)w->have, (unsigned long long)w->table,
                  (unsigned long long)w->locality, (unsigned long long)w->packs,
                  (unsigned long long)w->reads);
}

static uint64_t
distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void
another_domains_chunks_cost_what_nobodys_do(void **state)
{
    struct fixture f = {.folder = test_folder_make()};
    struct work others;
    struct work nobodys;
    struct work own;

    (void)state;
    f.key_path = test_path(f.folder, "store.key");
    f.index_path = test_path(f.folder, "index");
    assert_ok(store_mem_open(&f.memory, &err), &err);
    assert_ok(store_fault_open(&f.store, f.memory, &err), &err);
    open_store(&f);
    assert_ok(chunk_store_make_domain(f.cs, &ALPHA, "alpha", &f.alpha, &err), &err);
    assert_ok(chunk_store_make_domain(f.cs, &BETA, "beta", &f.beta, &err), &err);
    put_many(f.alpha, 0);
    put_many(f.beta, COUNT);

    start_anew(&f);
    others = ask(&f, f.beta, 0);
    start_anew(&f);
    nobodys = ask(&f, f.beta, NOBODY);
    start_anew(&f);
    own = ask(&f, f.beta, COUNT);
    print_work("another domain's", &others);
    print_work("nobody's", &nobodys);
    print_work("its own", &own);
    assert_int_equal(others.have, 0);
    assert_int_equal(nobodys.have, 0);
    assert_int_equal(own.have, COUNT);
    /* The filter errs by chance, for one as often as for the other. */
    assert_true(others.table < COUNT / 20 && nobodys.table < COUNT / 20);
    assert_true(distance(others.table, nobodys.table) < COUNT / 50);
    assert_int_equal(others.locality, 0);
    assert_int_equal(nobodys.locality, 0);
    assert_int_equal(others.packs, 0);
    assert_int_equal(nobodys.packs, 0);
    assert_int_equal(others.reads, 0);
    assert_int_equal(nobodys.reads, 0);
    assert_true(own.table + own.locality >= COUNT); /* it would have shown */
    assert_true(own.packs > 0);
    chunk_store_close(f.cs);
    store_close(f.store);
    store_close(f.memory);
    test_folder_remove(f.folder);
    free(f.key_path);
    free(f.index_path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_domains_chunks_cost_what_nobodys_do),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
