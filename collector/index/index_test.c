/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"
#include "store/store_testing.h"

/* What index.h promises of names, places and packs, run over each member. */

static void
names_of_a_pack_are_found_with_their_places(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct record_name names[300];
    struct index_place places[300];
    struct varve_error err;
    uint8_t found[300];

    add(ix, 1, 0, 100);
    add(ix, 2, 100, 100);
    for (uint64_t i = 0; i < 300; i++) {
        names[i] = name_of(i);
    }
    assert_ok(index_get(ix, names, 300, places, found, &err), &err);
    for (uint64_t i = 0; i < 300; i++) {
        struct pack_id id = pack_of(1 + i / 100);

        assert_int_equal(found[i], i < 200);
        if (i < 200) {
            assert_memory_equal(places[i].pack.bytes, id.bytes, PACK_ID_SIZE);
            assert_int_equal(places[i].offset, 64 + i % 100 * 1000);
            assert_int_equal(places[i].stored_len, 900);
            assert_int_equal(places[i].raw_len, 1000);
            assert_int_equal(places[i].kind, i < 100 ? CHUNK_NODE : CHUNK_DATA);
            assert_int_equal(places[i].codec, PACK_CODEC_LZ4);
            assert_false(places[i].damaged);
        }
    }
    assert_ok(index_get(ix, names, 0, places, found, &err), &err);
}

static void
a_pack_is_added_once(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct index_stats stats;
    struct varve_error err;

    add(ix, 1, 0, 10);
    assert_err(add_pack(ix, 1, 10, 10, &err), VARVE_ERR_EXISTS, &err);
    assert_false(present(ix, 10));
    index_get_stats(ix, &stats);
    assert_int_equal(stats.packs, 1);
    assert_int_equal(stats.names, 10);
    assert_int_equal(stats.stored_bytes, 5001);
    assert_int_equal(stats.raw_bytes, 10000);
}

static void
another_place_takes_over_when_a_pack_is_dropped(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct index_stats stats;

    add(ix, 1, 0, 20);
    add(ix, 2, 10, 20);
    add(ix, 3, 15, 2);
    assert_int_equal(pack_at(ix, 15), 1);
    drop(ix, 77); /* unknown */
    drop(ix, 1);
    assert_int_equal(pack_at(ix, 5), -1);
    assert_int_equal(pack_at(ix, 10), 2);
    assert_true(pack_at(ix, 15) == 2 || pack_at(ix, 15) == 3);
    drop(ix, 2);
    assert_int_equal(pack_at(ix, 10), -1);
    assert_int_equal(pack_at(ix, 15), 3);
    drop(ix, 3);
    index_get_stats(ix, &stats);
    assert_int_equal(stats.names, 0);
    assert_int_equal(stats.packs, 0);
    assert_int_equal(stats.stored_bytes, 0);
    assert_int_equal(stats.raw_bytes, 0);
    add(ix, 1, 0, 20);
    assert_int_equal(pack_at(ix, 5), 1);
}

/* A few packs are looked for in slices of the names, many in one go. */
static void
packs_go_with_all_their_names(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct pack_id few[4] = {pack_of(1), pack_of(77), pack_of(5), pack_of(9)};
    struct pack_id many[70];
    struct index_stats stats;
    struct varve_error err;

    for (uint64_t n = 1; n <= 4; n++) {
        add(ix, n, (n - 1) * 9000, 9000);
    }
    add(ix, 5, 0, 2000);
    add(ix, 6, 1000, 2000);
    add(ix, 7, 1500, 100);
    add(ix, 8, 8000, 2000);
    add(ix, 9, 0, 500);
    drop(ix, 8); /* all its places are second ones */
    assert_ok(index_check(ix, NULL, &err), &err);
    assert_ok(index_drop_packs(ix, few, 4, &err), &err);
    assert_ok(index_check(ix, NULL, &err), &err);
    for (uint64_t n = 0; n < 36000; n += 100) {
        int at = pack_at(ix, n);

        if (n < 1000 || (n >= 3000 && n < 9000)) {
            assert_int_equal(at, -1);
        } else if (n >= 1500 && n < 1600) {
            assert_true(at == 6 || at == 7);
        } else {
            assert_int_equal(at, n < 3000 ? 6 : (int)(n / 9000) + 1);
        }
    }
    for (uint64_t n = 0; n < 80; n++) {
        add(ix, 100 + n, 100000 + n * 10, 15); /* the last five are the next one's, too */
        if (n < 70) {
            many[n] = pack_of(100 + n);
        }
    }
    assert_ok(index_drop_packs(ix, many, 70, &err), &err);
    for (uint64_t n = 0; n < 805; n++) {
        int at = pack_at(ix, 100000 + n);

        assert_true(n < 700 ? at == -1 : n < 705 ? at == 170 : at > 169);
    }
    index_get_stats(ix, &stats);
    assert_int_equal(stats.packs, 5 + 10);
    assert_int_equal(stats.names, 27000 + 2000 + 105);
    assert_ok(index_check(ix, NULL, &err), &err);
}

static void
a_damaged_place_counts_as_absent_until_the_name_comes_again(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct record_name name = name_of(3);
    struct index_place place;
    struct index_stats stats;
    struct varve_error err;

    add(ix, 1, 0, 10);
    assert_int_equal(where(ix, 3, &place), 1);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err); /* again: nothing */
    assert_false(present(ix, 3));
    assert_true(present(ix, 4));
    assert_int_equal(where(ix, 3, &place), 1);
    assert_true(place.damaged);
    index_get_stats(ix, &stats);
    assert_int_equal(stats.damaged, 1);

    add(ix, 2, 3, 1);
    assert_true(present(ix, 3));
    assert_int_equal(where(ix, 3, &place), 2);
    assert_false(place.damaged);

    /* A place that is not the name's any more. */
    place.pack = pack_of(1);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err);
    assert_true(present(ix, 3));
}

static void
a_whole_place_takes_over_from_a_damaged_one(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct record_name name = name_of(3);
    struct index_place place;
    struct varve_error err;

    add(ix, 1, 0, 10);
    add(ix, 2, 3, 1);
    assert_int_equal(where(ix, 3, &place), 1);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err);
    assert_int_equal(where(ix, 3, &place), 2);
    assert_false(place.damaged);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err);
    assert_false(present(ix, 3));
}

static bool
count_pack(void *arg, const struct index_pack *pack)
{
    unsigned *seen = arg;
    struct pack_id id;

    for (unsigned n = 1; n < 9; n++) {
        id = pack_of(n);
        if (memcmp(id.bytes, pack->id.bytes, PACK_ID_SIZE) == 0) {
            assert_int_equal(pack->size, 5000 + n);
            assert_int_equal(pack->records, 2);
            assert_int_equal(pack->raw_bytes, 2000);
            assert_int_equal(pack->kind, n % 2 == 0 ? CHUNK_DATA : CHUNK_NODE);
            seen[n]++;
        }
    }
    return true;
}

static void
every_pack_is_listed_once(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    unsigned seen[9] = {0};
    struct varve_error err;

    for (uint64_t n = 1; n < 9; n++) {
        add(ix, n, n * 2, 2);
    }
    assert_ok(index_list_packs(ix, count_pack, seen, &err), &err);
    for (unsigned n = 1; n < 9; n++) {
        assert_int_equal(seen[n], 1);
    }
}

struct asker {
    struct index *ix;
    struct thread thread;
    struct cancel *stop;
};

/* A name that was found once is found ever after. */
static void
keep_asking(void *arg)
{
    struct asker *a = arg;
    struct varve_error err;
    uint64_t known = 0;

    while (!cancel_is_set(a->stop)) {
        struct record_name name = name_of(known);
        uint8_t found = 0;

        if (index_get(a->ix, &name, 1, NULL, &found, &err) != VARVE_OK) {
            abort();
        }
        if (found) {
            known++;
        }
        name = name_of(known / 2);
        if (known > 0 && (index_get(a->ix, &name, 1, NULL, &found, &err) != VARVE_OK || !found)) {
            abort();
        }
    }
}

static void
lookups_go_on_while_packs_are_added(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct asker askers[3];
    struct cancel stop;
    struct varve_error err;

    cancel_init(&stop);
    for (unsigned i = 0; i < 3; i++) {
        askers[i] = (struct asker){.ix = ix, .stop = &stop};
        assert_ok(thread_start(&askers[i].thread, "asker", keep_asking, &askers[i], &err), &err);
    }
    for (uint64_t n = 0; n < 100; n++) {
        add(ix, n, n * 100, 100);
    }
    cancel_set(&stop);
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&askers[i].thread);
    }
    cancel_destroy(&stop);
    assert_true(present(ix, 9999));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(names_of_a_pack_are_found_with_their_places),
        EACH(a_pack_is_added_once),
        EACH(another_place_takes_over_when_a_pack_is_dropped),
        EACH(packs_go_with_all_their_names),
        EACH(a_damaged_place_counts_as_absent_until_the_name_comes_again),
        EACH(a_whole_place_takes_over_from_a_damaged_one),
        EACH(every_pack_is_listed_once),
        EACH(lookups_go_on_while_packs_are_added),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
