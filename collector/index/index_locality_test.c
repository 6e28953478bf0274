/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "index/index_locality.h"
#include "os/thread.h"
#include "store/store_testing.h"

/* Names of packs in memory: they spare the table, and never say yes when the table would say no. */

#define PACKS   40u
#define RECORDS 200u
#define NAMES   (PACKS * RECORDS)

struct lab {
    struct member m;
    atomic_uint calls; /* of pack_names */
    bool fails;
    void (*meanwhile)(struct lab *lab,
                      const struct index_pack *pack); /* in the middle of pack_names */
};

/* Pack n holds the names from RECORDS * n on. */
static enum varve_err
pack_names(void *arg, const struct index_pack *pack, struct record_name *names,
           struct varve_error *err)
{
    struct lab *lab = arg;
    uint64_t n = pack->size - 5000;

    atomic_fetch_add(&lab->calls, 1);
    if (lab->fails) {
        return varve_error_set(err, VARVE_ERR_IO, "a bad sector");
    }
    assert_int_equal(pack->records, RECORDS);
    for (uint32_t i = 0; i < RECORDS; i++) {
        names[i] = name_of(n * RECORDS + i);
    }
    if (lab->meanwhile != NULL) {
        lab->meanwhile(lab, pack);
    }
    return VARVE_OK;
}

static void
open_lab(struct lab *lab, bool want_fresh)
{
    const struct index_options options = {.store_id = store_id,
                                          .boot_id = "boot-1",
                                          .pack_names = pack_names,
                                          .pack_names_arg = lab,
                                          .locality_names = 10 * RECORDS};
    struct varve_error err;
    bool fresh = !want_fresh;

    assert_ok(index_lmdb_open(&lab->m.ix, lab->m.path, &options, &fresh, &err), &err);
    assert_int_equal(fresh, want_fresh);
}

static int
setup(void **state)
{
    struct lab *lab = calloc(1, sizeof(*lab));

    assert_non_null(lab);
    lab->m.folder = test_folder_make();
    lab->m.path = test_path(lab->m.folder, "index");
    open_lab(lab, true);
    for (uint64_t n = 0; n < PACKS; n++) {
        add(lab->m.ix, n, n * RECORDS, RECORDS);
    }
    *state = lab;
    return 0;
}

static int
lab_teardown(void **state)
{
    struct lab *lab = *state;

    index_close(lab->m.ix);
    test_folder_remove(lab->m.folder);
    free(lab->m.path);
    free(lab);
    return 0;
}

/* How many of [first, first + count), asked for at once, are there. */
static uint64_t
ask(struct lab *lab, uint64_t first, uint32_t count)
{
    struct record_name *names = calloc(count, sizeof(*names));
    uint8_t *found = malloc(count);
    struct varve_error err;
    uint64_t yes = 0;

    for (uint32_t i = 0; i < count; i++) {
        names[i] = name_of(first + i);
        found[i] = 7;
    }
    assert_ok(index_get(lab->m.ix, names, count, NULL, found, &err), &err);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(found[i] <= 1);
        yes += found[i];
    }
    free(found);
    free(names);
    return yes;
}

static void
mark(struct lab *lab, uint64_t n, bool condemned)
{
    struct index_pack pack = {.id = pack_of(n), .condemned = condemned};
    struct varve_error err;

    assert_ok(index_mark_packs(lab->m.ix, &pack, 1, &err), &err);
}

static void
damage(struct lab *lab, uint64_t name)
{
    struct record_name n = name_of(name);
    struct index_place place;
    struct varve_error err;
    uint8_t found = 0;

    assert_ok(index_get(lab->m.ix, &n, 1, &place, &found, &err), &err);
    assert_int_equal(found, 1);
    assert_ok(index_mark_damaged(lab->m.ix, &n, &place, &err), &err);
}

static void
remove_pack(struct lab *lab, uint64_t n)
{
    struct pack_entry *entries = calloc(RECORDS, sizeof(*entries));
    struct pack_id id = pack_of(n);
    struct varve_error err;
    uint64_t operations = 0;

    for (uint32_t i = 0; i < RECORDS; i++) {
        entries[i].name = name_of(n * RECORDS + i);
    }
    assert_ok(index_drop_entries(lab->m.ix, &id, entries, RECORDS, &operations, &err), &err);
    free(entries);
}

/* ---- what it is for ---- */

static void
names_in_their_order_cost_few_looks_into_the_table(void **state)
{
    struct lab *lab = *state;
    struct index_stats stats;

    for (uint64_t first = 0; first < NAMES; first += 500) {
        assert_int_equal(ask(lab, first, 500), 500);
    }
    index_get_stats(lab->m.ix, &stats);
    print_message("%llu of %u names from the table, %llu packs loaded\n",
                  (unsigned long long)stats.asked_table, NAMES,
                  (unsigned long long)stats.packs_loaded);
    assert_int_equal(stats.asked_table + stats.asked_locality, NAMES);
    assert_int_equal(stats.packs_loaded, PACKS);
    assert_true(stats.asked_table <= 8 * PACKS);
    assert_int_equal(atomic_load(&lab->calls), PACKS);
    for (uint64_t i = 0; i < RECORDS; i++) { /* one by one too, and only the table knows places */
        assert_int_equal(ask(lab, 5 * RECORDS + i, 1), 1);
        assert_int_equal(pack_at(lab->m.ix, 5 * RECORDS + i), 5);
    }
    index_get_stats(lab->m.ix, &stats);
    assert_int_equal(stats.packs_loaded, PACKS + 1);
    assert_int_equal(ask(lab, NAMES, 5000), 0);
}

static void
names_in_no_order_are_found(void **state)
{
    struct lab *lab = *state;
    struct test_random r = {.state = 7};
    struct record_name names[600];
    struct varve_error err;
    uint8_t found[600];
    uint8_t want[600];

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 600; i++) {
            uint64_t n = test_random_below(&r, 2 * (uint64_t)NAMES);

            names[i] = name_of(n);
            want[i] = n < NAMES;
        }
        assert_ok(index_get(lab->m.ix, names, 600, NULL, found, &err), &err);
        assert_memory_equal(found, want, sizeof(want));
    }
}

static void
a_pack_whose_names_cannot_be_read_is_not_asked_again(void **state)
{
    struct lab *lab = *state;
    struct index_stats stats;

    lab->fails = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(lab, 0, RECORDS), RECORDS);
    }
    assert_int_equal(atomic_load(&lab->calls), 1);
    index_get_stats(lab->m.ix, &stats);
    assert_int_equal(stats.packs_loaded, 0);
    assert_int_equal(stats.asked_table, 3 * RECORDS);
}

/* ---- what it must not do ---- */

static void
a_condemned_pack_is_not_answered_from_memory(void **state)
{
    struct lab *lab = *state;

    assert_int_equal(ask(lab, 0, 2 * RECORDS), 2 * RECORDS);
    mark(lab, 1, true);
    assert_int_equal(ask(lab, 0, 2 * RECORDS), RECORDS);
    assert_int_equal(ask(lab, 0, 2 * RECORDS), RECORDS);
    mark(lab, 1, false); /* somebody needs it again */
    assert_int_equal(ask(lab, 0, 2 * RECORDS), 2 * RECORDS);
    assert_int_equal(atomic_load(&lab->calls), 3);
}

static void
a_removed_pack_is_not_answered_from_memory(void **state)
{
    struct lab *lab = *state;

    assert_int_equal(ask(lab, 0, 4 * RECORDS), 4 * RECORDS);
    remove_pack(lab, 1);
    drop(lab->m.ix, 3);
    assert_int_equal(ask(lab, 0, 4 * RECORDS), 2 * RECORDS);
    add(lab->m.ix, 1, RECORDS, RECORDS); /* stored again */
    assert_int_equal(ask(lab, 0, 4 * RECORDS), 3 * RECORDS);
}

static void
a_pack_with_damage_is_answered_name_by_name(void **state)
{
    struct lab *lab = *state;

    assert_int_equal(ask(lab, 0, 2 * RECORDS), 2 * RECORDS);
    damage(lab, 17);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(lab, 17, 1), 0);
        assert_int_equal(ask(lab, 0, RECORDS), RECORDS - 1);
    }
    mark(lab, 0, true); /* marks come and go, the damage stays */
    mark(lab, 0, false);
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS - 1);
    assert_int_equal(atomic_load(&lab->calls), 2);
    index_close(lab->m.ix);
    open_lab(lab, false);
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS - 1);
    assert_int_equal(atomic_load(&lab->calls), 2);
    add(lab->m.ix, PACKS, 17, 1); /* healed */
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS);
}

static void
damage_with_another_place_keeps_the_name(void **state)
{
    struct lab *lab = *state;

    add(lab->m.ix, PACKS, 17, 1);
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS);
    damage(lab, 17);
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS);
    drop(lab->m.ix, PACKS);
    assert_int_equal(ask(lab, 0, RECORDS), RECORDS - 1);
}

/* ---- what happens while a pack's names are read ---- */

static void
condemn_it(struct lab *lab, const struct index_pack *pack)
{
    lab->meanwhile = NULL;
    mark(lab, pack->size - 5000, true);
}

static void
drop_it(struct lab *lab, const struct index_pack *pack)
{
    lab->meanwhile = NULL;
    drop(lab->m.ix, pack->size - 5000);
}

static void
remove_it(struct lab *lab, const struct index_pack *pack)
{
    lab->meanwhile = NULL;
    remove_pack(lab, pack->size - 5000);
}

static void
damage_it(struct lab *lab, const struct index_pack *pack)
{
    lab->meanwhile = NULL;
    for (uint64_t i = 0; i < RECORDS; i++) {
        damage(lab, (pack->size - 5000) * RECORDS + i);
    }
}

static void
what_changes_while_names_are_read_counts(void **state)
{
    static void (*const changes[])(struct lab *, const struct index_pack *) = {
        condemn_it, drop_it, remove_it, damage_it};
    struct lab *lab = *state;

    for (uint64_t n = 0; n < sizeof(changes) / sizeof(changes[0]); n++) {
        lab->meanwhile = changes[n];
        /* Names that were found before the change may be said to be there; later ones not. */
        assert_true(ask(lab, n * RECORDS, RECORDS) <= 4);
        assert_null(lab->meanwhile);
        assert_int_equal(ask(lab, n * RECORDS, RECORDS), 0);
    }
}

struct asker {
    struct lab *lab;
    atomic_uint *gone; /* packs below this number are out of use */
    atomic_bool *stop;
    uint64_t asked;
    struct thread thread;
};

static void
ask_on(void *arg)
{
    struct asker *a = arg;
    struct record_name names[2 * RECORDS];
    uint8_t found[2 * RECORDS];
    struct varve_error err;
    uint64_t rounds = 0;

    while (!atomic_load(a->stop) || rounds < 2) {
        for (uint64_t n = 0; n + 1 < PACKS; n += 2) {
            uint64_t gone = atomic_load(a->gone);

            for (uint64_t i = 0; i < 2 * RECORDS; i++) {
                names[i] = name_of(n * RECORDS + i);
            }
            if (index_get(a->lab->m.ix, names, 2 * RECORDS, NULL, found, &err) != VARVE_OK) {
                abort();
            }
            for (uint64_t i = 0; i < 2 * RECORDS; i++) {
                if (n + i / RECORDS < gone && found[i]) {
                    abort(); /* yes to a name that a backup must not rely on */
                }
                if (n + i / RECORDS >= atomic_load(a->gone) + 1 && !found[i]) {
                    abort(); /* the one that is being taken out may be either */
                }
            }
            a->asked += 2 * RECORDS;
        }
        rounds += atomic_load(a->stop);
    }
}

static void
threads_see_no_name_of_a_pack_that_was_taken_out_before_they_asked(void **state)
{
    struct lab *lab = *state;
    atomic_uint gone = 0;
    atomic_bool stop = false;
    struct asker askers[3];
    struct varve_error err;

    for (int i = 0; i < 3; i++) {
        askers[i] = (struct asker){.lab = lab, .gone = &gone, .stop = &stop};
        assert_ok(thread_start(&askers[i].thread, "asker", ask_on, &askers[i], &err), &err);
    }
    for (uint64_t n = 0; n < PACKS - 2; n++) {
        if (n % 4 == 0) {
            remove_pack(lab, n);
        } else if (n % 4 == 1) {
            mark(lab, n, true);
        } else if (n % 4 == 2) {
            for (uint64_t i = 0; i < RECORDS; i++) {
                damage(lab, n * RECORDS + i);
            }
        } else {
            drop(lab->m.ix, n);
        }
        atomic_store(&gone, (unsigned)n + 1);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        thread_join(&askers[i].thread);
        assert_true(askers[i].asked > 0);
    }
}

/* ---- the memory ---- */

static void
names_in_memory_are_bounded_and_the_oldest_packs_give_way(void **state)
{
    struct index_locality *l = NULL;
    struct index_locality_stats stats;
    struct record_name names[100];
    struct varve_error err;
    uint32_t order[100];
    uint32_t unknown[100];
    uint8_t found[100] = {0};
    size_t at = 0;

    (void)state;
    assert_ok(index_locality_new(&l, 1000, &err), &err);
    for (uint32_t p = 0; p < 50; p++) {
        for (uint32_t i = 0; i < 100; i++) {
            names[i] = name_of(p * 100 + i);
            order[i] = i;
        }
        index_locality_add(l, p, index_locality_moment(l), names, 100);
        index_locality_get_stats(l, &stats);
        assert_true(stats.names <= 1000);
    }
    assert_int_equal(stats.names, 1000);
    at = 0; /* the last one is there, the first is not */
    assert_int_equal(index_locality_sift(l, names, order, 100, &at, found, unknown, 100), 0);
    assert_int_equal(at, 100);
    names[0] = name_of(0);
    at = 0;
    assert_int_equal(index_locality_sift(l, names, order, 100, &at, found, unknown, 1), 1);
    assert_int_equal(at, 1);
    for (uint32_t p = 100; p < 5000; p++) { /* those without names are bounded too */
        index_locality_add(l, p, index_locality_moment(l), NULL, 0);
    }
    index_locality_get_stats(l, &stats);
    assert_int_equal(stats.names, 0);
    (void)index_locality_wants(l, 4999);
    assert_false(index_locality_wants(l, 4999));
    (void)index_locality_wants(l, 100);
    assert_true(index_locality_wants(l, 100));
    index_locality_free(l);
}

#define LAB(f) cmocka_unit_test_setup_teardown(f, setup, lab_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LAB(names_in_their_order_cost_few_looks_into_the_table),
        LAB(names_in_no_order_are_found),
        LAB(a_pack_whose_names_cannot_be_read_is_not_asked_again),
        LAB(a_condemned_pack_is_not_answered_from_memory),
        LAB(a_removed_pack_is_not_answered_from_memory),
        LAB(a_pack_with_damage_is_answered_name_by_name),
        LAB(damage_with_another_place_keeps_the_name),
        LAB(what_changes_while_names_are_read_counts),
        LAB(threads_see_no_name_of_a_pack_that_was_taken_out_before_they_asked),
        cmocka_unit_test(names_in_memory_are_bounded_and_the_oldest_packs_give_way),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
