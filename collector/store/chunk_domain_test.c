/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/chunk_record.h"
#include "store/pack.h"

#define CHUNK 4096u

static const struct guid ALPHA = {{0xa1, 2, 3}};
static const struct guid BETA = {{0xb1, 2, 3}};

struct fixture {
    char *folder;
    char *key_path;
    struct store *store; /* in memory; the index too, so that every open rebuilds it */
    struct chunk_store *cs;
    struct chunk_domain *alpha;
    struct chunk_domain *beta;
};

static void
open_store(struct fixture *f, unsigned put_threads)
{
    struct chunk_store_options options = {
        .key_path = f->key_path, .chunk_size = CHUNK, .put_threads = put_threads};
    struct varve_error err;

    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    f->folder = test_folder_make();
    f->key_path = test_path(f->folder, "store.key");
    assert_ok(store_mem_open(&f->store, &err), &err);
    open_store(f, 1);
    assert_ok(chunk_store_make_domain(f->cs, &ALPHA, "alpha", &f->alpha, &err), &err);
    assert_ok(chunk_store_make_domain(f->cs, &BETA, "b\xc3\xa9ta", &f->beta, &err), &err);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    chunk_store_close(f->cs);
    store_close(f->store);
    test_folder_remove(f->folder);
    free(f->key_path);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    struct varve_error err;

    chunk_store_close(f->cs);
    open_store(f, 1);
    assert_ok(chunk_store_domain(f->cs, &ALPHA, &f->alpha, &err), &err);
    assert_ok(chunk_store_domain(f->cs, &BETA, &f->beta, &err), &err);
}

static void
put(struct chunk_domain *d, uint64_t n)
{
    uint8_t buf[CHUNK];
    struct varve_error err;
    struct chunk_id id;

    test_chunk(n, buf, CHUNK, &id);
    assert_ok(chunk_store_put(d, CHUNK_DATA, &id, buf, CHUNK, CHUNK, &err), &err);
}

static bool
has(struct chunk_domain *d, uint64_t n)
{
    uint8_t buf[CHUNK];
    struct varve_error err;
    struct chunk_id id;
    uint8_t have = 0;

    test_chunk(n, buf, CHUNK, &id);
    assert_ok(chunk_store_has(d, &id, 1, &have, &err), &err);
    return have != 0;
}

static enum varve_err
get(struct chunk_domain *d, uint64_t n, struct varve_error *err)
{
    uint8_t want[CHUNK];
    uint8_t got[CHUNK];
    struct chunk_id id;
    size_t len = 0;
    enum varve_err rc;

    test_chunk(n, want, CHUNK, &id);
    rc = chunk_store_get(d, &id, got, sizeof(got), &len, err);
    if (rc == VARVE_OK) {
        assert_int_equal(len, CHUNK);
        assert_memory_equal(got, want, CHUNK);
    }
    return rc;
}

static uint64_t
names_stored(struct fixture *f)
{
    struct chunk_store_stats stats;
    struct varve_error err;

    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &stats, &err), &err);
    return stats.chunks;
}

static void
what_one_domain_holds_cannot_be_seen_from_another(void **state)
{
    struct fixture *f = *state;
    struct chunk_domain *home = chunk_store_default(f->cs);
    struct varve_error err;

    put(f->alpha, 1);
    for (int durable = 0; durable < 2; durable++) {
        assert_true(has(f->alpha, 1));
        assert_false(has(f->beta, 1));
        assert_false(has(home, 1));
        assert_ok(get(f->alpha, 1, &err), &err);
        assert_err(get(f->beta, 1, &err), VARVE_ERR_NOT_FOUND, &err);
        assert_err(get(home, 1, &err), VARVE_ERR_NOT_FOUND, &err);
        assert_int_equal(names_stored(f), 1);
    }
    put(f->beta, 1);
    put(home, 1);
    put(f->beta, 1);
    assert_int_equal(names_stored(f), 3);
    assert_ok(get(f->beta, 1, &err), &err);
    assert_ok(get(home, 1, &err), &err);
}

static void
domains_are_found_again_with_all_they_hold(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;

    put(f->alpha, 1);
    put(f->beta, 2);
    reopen(f);
    assert_string_equal(chunk_domain_name(f->alpha), "alpha");
    assert_string_equal(chunk_domain_name(f->beta), "b\xc3\xa9ta");
    assert_ok(get(f->alpha, 1, &err), &err);
    assert_ok(get(f->beta, 2, &err), &err);
    assert_false(has(f->alpha, 2));
    assert_false(has(f->beta, 1));
    assert_err(chunk_store_make_domain(f->cs, &ALPHA, "again", &f->alpha, &err), VARVE_ERR_EXISTS,
               &err);
}

/* ---- what stands in the objects ---- */

struct packs {
    struct store *store;
    unsigned of_home;
    unsigned of_domains;
    bool break_footers;
};

static bool
look_at_pack(void *arg, const char *name, uint64_t size)
{
    struct packs *p = arg;
    struct pack_header header;
    struct varve_error err;
    uint8_t *bytes = malloc(size);
    struct store_part part = {.data = bytes, .len = size};

    assert_ok(store_get(p->store, name, 0, bytes, size, &err), &err);
    assert_ok(pack_header_decode(&header, bytes, &err), &err);
    if (guid_is_zero(&header.domain)) {
        p->of_home++;
        assert_int_equal(bytes[12], 0); /* a reader of the first format takes it */
    } else {
        p->of_domains++;
        assert_int_equal(bytes[12], 1); /* and refuses this one */
    }
    if (p->break_footers) {
        bytes[size - PACK_TAIL_SIZE - 1] ^= 1;
        assert_ok(store_remove(p->store, name, &err), &err);
        assert_ok(store_put(p->store, name, &part, 1, &err), &err);
    }
    free(bytes);
    return true;
}

static void
a_pack_holds_one_domain_and_says_which(void **state)
{
    struct fixture *f = *state;
    struct packs p = {.store = f->store};
    struct varve_error err;

    for (uint64_t i = 0; i < 30; i++) {
        put(i % 3 == 0 ? chunk_store_default(f->cs) : i % 3 == 1 ? f->alpha : f->beta, i);
    }
    assert_int_equal(names_stored(f), 30);
    assert_ok(store_list(f->store, "pack/", look_at_pack, &p, &err), &err);
    assert_int_equal(p.of_home, 1);
    assert_int_equal(p.of_domains, 2);
}

#define NAMES_MAX 8

struct name_list {
    char names[NAMES_MAX][STORE_NAME_MAX + 1];
    uint64_t sizes[NAMES_MAX];
    size_t count;
};

static bool
note_name(void *arg, const char *name, uint64_t size)
{
    struct name_list *l = arg;

    assert_true(l->count < NAMES_MAX);
    (void)snprintf(l->names[l->count], sizeof(l->names[0]), "%s", name);
    l->sizes[l->count++] = size;
    return true;
}

static void
records_of_a_domain_are_found_without_their_footer(void **state)
{
    struct fixture *f = *state;
    struct packs p = {.store = f->store, .break_footers = true};
    struct name_list l = {0};
    struct varve_error err;

    put(f->alpha, 1);
    put(f->beta, 1);
    assert_int_equal(names_stored(f), 2);
    chunk_store_close(f->cs);
    f->cs = NULL;
    assert_ok(store_list(f->store, "pack/", note_name, &l, &err), &err);
    for (size_t i = 0; i < l.count; i++) {
        (void)look_at_pack(&p, l.names[i], l.sizes[i]);
    }
    assert_int_equal(p.of_domains, 2);
    open_store(f, 1);
    reopen(f);
    assert_ok(get(f->alpha, 1, &err), &err);
    assert_ok(get(f->beta, 1, &err), &err);
}

static void
without_its_key_a_domain_is_unreadable_and_the_others_are_as_before(void **state)
{
    struct fixture *f = *state;
    struct chunk_domain *d = NULL;
    struct name_list l = {0};
    struct varve_error err;
    uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    size_t sealed_len = 0;
    size_t len = 0;

    put(f->alpha, 1);
    put(f->beta, 2);
    assert_ok(chunk_store_seal_record(f->alpha, "point/a/1", "text", 4, &sealed, &sealed_len, &err),
              &err);
    assert_int_equal(names_stored(f), 2);
    chunk_store_close(f->cs);
    assert_ok(store_list(f->store, "cfg/domain/a1", note_name, &l, &err), &err);
    assert_int_equal(l.count, 1);
    assert_ok(store_remove(f->store, l.names[0], &err), &err);

    open_store(f, 1);
    assert_err(chunk_store_domain(f->cs, &ALPHA, &d, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, l.names[0]));
    assert_err(
        chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, NULL, &err),
        VARVE_ERR_AUTH, &err);
    assert_ok(chunk_store_domain(f->cs, &BETA, &f->beta, &err), &err);
    assert_ok(get(f->beta, 2, &err), &err);

    /* Made again it has another key: what was there is gone for good. */
    assert_ok(chunk_store_make_domain(f->cs, &ALPHA, "alpha", &f->alpha, &err), &err);
    assert_err(get(f->alpha, 1, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(
        chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, NULL, &err),
        VARVE_ERR_CORRUPT, &err);
    free(sealed);
}

static void
a_record_says_its_domain_and_the_tag_proves_it(void **state)
{
    struct fixture *f = *state;
    struct chunk_domain *d = NULL;
    struct varve_error err;
    uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    size_t sealed_len = 0;
    size_t len = 0;

    assert_ok(chunk_store_seal_record(f->alpha, "point/a/1", "text", 4, &sealed, &sealed_len, &err),
              &err);
    assert_int_equal(sealed_len, 4096 + 4 + 68); /* twice */
    assert_ok(
        chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, &d, &err),
        &err);
    assert_ptr_equal(d, f->alpha);
    assert_int_equal(len, 4);
    assert_memory_equal(plain, "text", 4);
    free(plain);
    for (size_t i = 0; i < 4096 + 4 + 68; i++) { /* one copy or the other is whole */
        sealed[i] ^= 1;
        assert_ok(
            chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, &d, &err),
            &err);
        assert_memory_equal(plain, "text", 4);
        free(plain);
        assert_err(chunk_record_scrub(sealed, sealed_len, &err), VARVE_ERR_CORRUPT, &err);
        sealed[i] ^= 1;
    }
    for (size_t i = 0; i < 4 + 68; i++) {
        sealed[i] ^= 1;
        sealed[4096 + i] ^= 1;
        assert_err(
            chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, &d, &err),
            VARVE_ERR_CORRUPT, &err);
        sealed[i] ^= 1;
        sealed[4096 + i] ^= 1;
    }
    for (size_t i = 0; i < sealed_len; i++) {
        assert_err(chunk_record_scrub(sealed, i, &err), VARVE_ERR_CORRUPT, &err);
        if (i != 4 + 68) { /* there the first copy stands alone, whole */
            assert_err(
                chunk_store_open_record(f->cs, "point/a/1", sealed, i, &plain, &len, &d, &err),
                VARVE_ERR_CORRUPT, &err);
        }
    }
    free(sealed);
}

static void
names_that_a_domain_cannot_have_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "a\nb", "\xff\xfe",
        "01234567890123456789012345678901234567890123456789012345678901234"};
    static const struct guid id = {{7}};
    struct fixture *f = *state;
    struct chunk_domain *d = NULL;
    struct varve_error err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_err(chunk_store_make_domain(f->cs, &id, bad[i], &d, &err), VARVE_ERR_INVALID, &err);
    }
    assert_err(chunk_store_domain(f->cs, &id, &d, &err), VARVE_ERR_NOT_FOUND, &err);
}

/* ---- many at once ---- */

#define CREW        12u
#define CREW_CHUNKS 300u

struct hand {
    struct thread thread;
    struct chunk_domain *domain;
};

static void
put_many(void *arg)
{
    struct hand *h = arg;

    for (uint64_t i = 0; i < CREW_CHUNKS; i++) {
        put(h->domain, i);
    }
}

static void
many_domains_are_written_at_once_in_bounded_memory(void **state)
{
    struct fixture *f = *state;
    struct hand crew[CREW];
    struct varve_error err;

    for (unsigned i = 0; i < CREW; i++) {
        struct guid id = {{(uint8_t)(i + 1)}};

        assert_ok(chunk_store_make_domain(f->cs, &id, "crew", &crew[i].domain, &err), &err);
    }
    for (unsigned i = 0; i < CREW; i++) {
        assert_ok(thread_start(&crew[i].thread, "crew", put_many, &crew[i], &err), &err);
    }
    for (unsigned i = 0; i < CREW; i++) {
        thread_join(&crew[i].thread);
    }
    assert_int_equal(names_stored(f), CREW * CREW_CHUNKS);
    for (unsigned i = 0; i < CREW; i++) {
        for (uint64_t n = 0; n < CREW_CHUNKS; n += 37) {
            assert_ok(get(crew[i].domain, n, &err), &err);
        }
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_one_domain_holds_cannot_be_seen_from_another),
        TEST(domains_are_found_again_with_all_they_hold),
        TEST(a_pack_holds_one_domain_and_says_which),
        TEST(records_of_a_domain_are_found_without_their_footer),
        TEST(without_its_key_a_domain_is_unreadable_and_the_others_are_as_before),
        TEST(a_record_says_its_domain_and_the_tag_proves_it),
        TEST(names_that_a_domain_cannot_have_are_refused),
        TEST(many_domains_are_written_at_once_in_bounded_memory),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
