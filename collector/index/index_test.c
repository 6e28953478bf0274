/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/identity.h"
#include "index/index.h"
#include "index/index_state.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_config.h"
#include "store/store_testing.h"

/* What index.h promises, run over each member; then what only LMDB can get wrong. */
struct member {
    struct index *ix;
    char *folder;
    char *path;
};

static const uint8_t store_id[STORE_ID_SIZE] = "store number 01";

static enum varve_err
open_lmdb(struct member *m, const uint8_t *id, const char *boot_id, uint64_t map_size, bool *fresh,
          struct varve_error *err)
{
    struct index_options options = {
        .store_id = id, .map_size = map_size, .sync_seconds = 1, .boot_id = boot_id};

    return index_lmdb_open(&m->ix, m->path, &options, fresh, err);
}

static void
reopen(struct member *m, const char *boot_id, bool want_fresh)
{
    struct varve_error err;
    bool fresh = !want_fresh;

    assert_ok(open_lmdb(m, store_id, boot_id, 0, &fresh, &err), &err);
    assert_int_equal(fresh, want_fresh);
}

static int
mem_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;

    assert_ok(index_mem_open(&m->ix, &err), &err);
    *state = m;
    return 0;
}

static int
lmdb_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));

    m->folder = test_folder_make();
    m->path = test_path(m->folder, "index");
    reopen(m, "boot-1", true);
    *state = m;
    return 0;
}

static int
teardown(void **state)
{
    struct member *m = *state;

    index_close(m->ix);
    test_folder_remove(m->folder);
    free(m->path);
    free(m);
    return 0;
}

static struct record_name
name_of(uint64_t n)
{
    struct test_random r = {.state = n};
    struct record_name name = {{0}};

    test_random_fill(&r, name.bytes, sizeof(name.bytes));
    return name;
}

static struct pack_id
pack_of(uint64_t n)
{
    struct test_random r = {.state = ~n};
    struct pack_id id = {{0}};

    test_random_fill(&r, id.bytes, sizeof(id.bytes));
    return id;
}

/* Pack number n holds the names [first, first + count), each of 1000 bytes. */
static enum varve_err
add_pack(struct index *ix, uint64_t n, uint64_t first, uint32_t count, struct varve_error *err)
{
    struct index_pack pack = {.id = pack_of(n),
                              .kind = n % 2 == 0 ? CHUNK_DATA : CHUNK_NODE,
                              .records = count,
                              .size = 5000 + n,
                              .raw_bytes = 1000ull * count};
    struct pack_entry *entries = calloc(count, sizeof(*entries));
    enum varve_err rc;

    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct pack_entry){.name = name_of(first + i),
                                         .offset = 64 + i * 1000,
                                         .stored_len = 900,
                                         .raw_len = 1000,
                                         .kind = (uint8_t)pack.kind,
                                         .codec = PACK_CODEC_LZ4};
    }
    rc = index_add_pack(ix, &pack, entries, err);
    free(entries);
    return rc;
}

static void
add(struct index *ix, uint64_t n, uint64_t first, uint32_t count)
{
    struct varve_error err;

    assert_ok(add_pack(ix, n, first, count, &err), &err);
}

/* Number of the pack where name n stands; -1 nowhere. */
static int
where(struct index *ix, uint64_t n, struct index_place *place)
{
    struct record_name name = name_of(n);
    struct varve_error err;
    uint8_t found = 7;

    assert_ok(index_get(ix, &name, 1, place, &found, &err), &err);
    for (int i = 0; found && i < 1000; i++) {
        struct pack_id id = pack_of((uint64_t)i);

        if (memcmp(id.bytes, place->pack.bytes, PACK_ID_SIZE) == 0) {
            return i;
        }
    }
    assert_int_equal(found, 0);
    return -1;
}

static int
pack_at(struct index *ix, uint64_t n)
{
    struct index_place place;

    return where(ix, n, &place);
}

/* As a backup asks. */
static bool
present(struct index *ix, uint64_t n)
{
    struct record_name name = name_of(n);
    struct varve_error err;
    uint8_t found = 7;

    assert_ok(index_get(ix, &name, 1, NULL, &found, &err), &err);
    return found != 0;
}

static void
drop(struct index *ix, uint64_t n)
{
    struct pack_id id = pack_of(n);
    struct varve_error err;

    assert_ok(index_drop_packs(ix, &id, 1, &err), &err);
}

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

/* ---- LMDB only ---- */

static void
a_clean_index_is_kept_whatever_the_boot(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    index_close(m->ix);
    reopen(m, "boot-2", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
    add(m->ix, 2, 50, 50); /* numbers go on */
    assert_int_equal(pack_at(m->ix, 7), 1);
    assert_int_equal(pack_at(m->ix, 57), 2);
}

/* A process opens it, adds pack 2 or does nothing, and ends without closing. */
static void
child_dies(struct member *m, const char *boot_id, bool adds)
{
    int status = 0;
    pid_t pid;

    if (m->ix != NULL) {
        index_close(m->ix);
    }
    m->ix = NULL;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct varve_error err;
        bool fresh = false;

        if (open_lmdb(m, store_id, boot_id, 0, &fresh, &err) != VARVE_OK ||
            (adds && add_pack(m->ix, 2, 50, 50, &err) != VARVE_OK)) {
            _exit(1);
        }
        (void)kill(getpid(), SIGKILL);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
end_in_child(struct member *m, const char *boot_id)
{
    child_dies(m, boot_id, true);
}

static void
die_in_child(struct member *m, const char *boot_id)
{
    child_dies(m, boot_id, false);
}

static void
an_index_of_a_dead_process_is_kept(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    end_in_child(m, "boot-1");
    reopen(m, "boot-1", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
    assert_int_equal(pack_at(m->ix, 57), 2);
}

static void
an_index_whose_process_dies_again_and_again_is_thrown_away(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    for (unsigned n = 1; n <= INDEX_UNCLEAN_ENDS_MAX; n++) {
        die_in_child(m, "boot-1");
    }
    reopen(m, "boot-1", true);
    add(m->ix, 1, 0, 50);
    die_in_child(m, "boot-1"); /* counted anew */
    reopen(m, "boot-1", false);
    assert_int_equal(pack_at(m->ix, 7), 1);
}

static void
an_index_of_a_machine_that_went_down_is_thrown_away(void **state)
{
    struct member *m = *state;

    add(m->ix, 1, 0, 50);
    end_in_child(m, "boot-1");
    reopen(m, "boot-2", true);
    assert_int_equal(pack_at(m->ix, 7), -1);
    index_close(m->ix);
    reopen(m, "", true); /* a clean one; and a machine without boot id */
    add(m->ix, 1, 0, 50);
    end_in_child(m, "");
    reopen(m, "", true);
}

static void
an_index_of_another_store_is_thrown_away(void **state)
{
    static const uint8_t other[STORE_ID_SIZE] = "store number 02";
    struct member *m = *state;
    struct varve_error err;
    bool fresh = false;

    add(m->ix, 1, 0, 50);
    index_close(m->ix);
    assert_ok(open_lmdb(m, other, "boot-1", 0, &fresh, &err), &err);
    assert_true(fresh);
    assert_int_equal(pack_at(m->ix, 7), -1);
}

static void
a_cut_or_overwritten_file_is_thrown_away(void **state)
{
    struct member *m = *state;
    char *path = test_path(m->path, "index.mdb");
    struct varve_error err;
    struct file *file = NULL;
    struct file_stat st;
    uint8_t junk[8192];

    add(m->ix, 1, 0, 500);
    index_close(m->ix);
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_fstat(file, &st, &err), &err);
    assert_ok(file_truncate(file, st.size / 2, &err), &err);
    file_close(file);
    reopen(m, "boot-1", true);
    add(m->ix, 1, 0, 500);
    index_close(m->ix);

    memset(junk, 0xa5, sizeof(junk));
    assert_ok(file_open(fs_system(), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_write(file, junk, sizeof(junk), 0, &err), &err);
    file_close(file);
    reopen(m, "boot-1", true);
    free(path);
}

static void
the_map_grows_with_the_index(void **state)
{
    struct member *m = *state;
    struct varve_error err;
    bool fresh = false;

    index_close(m->ix);
    assert_ok(open_lmdb(m, store_id, "boot-1", 1u << 18, &fresh, &err), &err);
    for (uint64_t n = 0; n < 60; n++) {
        add(m->ix, n, n * 500, 500); /* 3 MB in all */
    }
    index_close(m->ix);
    assert_ok(open_lmdb(m, store_id, "boot-1", 1u << 18, &fresh, &err), &err);
    for (uint64_t n = 0; n < 60; n++) {
        assert_int_equal(pack_at(m->ix, n * 500 + n), (int)n);
    }
}

static int
small_map_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;
    bool fresh = false;

    m->folder = test_folder_make();
    m->path = test_path(m->folder, "index");
    assert_ok(open_lmdb(m, store_id, "boot-1", 1u << 18, &fresh, &err), &err);
    *state = m;
    return 0;
}

/* ---- counts and what a collection needs ---- */

/* Adds delta to the counts of chunks [first, first + count). */
static enum varve_err
count_all(struct index *ix, uint64_t first, size_t count, int delta, struct varve_error *err)
{
    struct index_change change = {.delta_count = count};
    enum varve_err rc;

    change.deltas = calloc(count, sizeof(*change.deltas));
    for (size_t i = 0; i < count; i++) {
        change.deltas[i] = (struct index_delta){
            .name = name_of(first + i), .kind = CHUNK_DATA, .delta = (int8_t)delta};
    }
    rc = index_apply(ix, &change, err);
    assert_true(rc != VARVE_OK || change.operations >= count);
    free(change.deltas);
    return rc;
}

static uint32_t
count_of(struct index *ix, uint64_t n)
{
    struct record_name name = name_of(n);
    struct varve_error err;
    uint32_t count = 77;

    assert_ok(index_ref_get(ix, CHUNK_DATA, &name, 1, &count, &err), &err);
    return count;
}

struct marked {
    struct index_pack packs[16];
    size_t count;
};

static bool
note_marked(void *arg, const struct index_pack *pack)
{
    struct marked *m = arg;

    assert_true(m->count < 16);
    m->packs[m->count++] = *pack;
    return true;
}

/* The marked pack number n; NULL: it is not marked. */
static const struct index_pack *
marked_pack(struct index *ix, struct marked *m, uint64_t n)
{
    struct pack_id id = pack_of(n);
    struct varve_error err;

    m->count = 0;
    assert_ok(index_list_marked(ix, note_marked, m, &err), &err);
    for (size_t i = 0; i < m->count; i++) {
        if (memcmp(m->packs[i].id.bytes, id.bytes, PACK_ID_SIZE) == 0) {
            return &m->packs[i];
        }
    }
    return NULL;
}

static void
mark(struct index *ix, uint64_t n, uint64_t live, bool candidate, bool condemned)
{
    struct index_pack pack = {
        .id = pack_of(n), .live_bytes = live, .candidate = candidate, .condemned = condemned};
    struct varve_error err;

    assert_ok(index_mark_pack(ix, &pack, &err), &err);
}

static void
live_bytes_follow_the_counts(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    const struct index_pack *p = NULL;
    struct varve_error err;
    struct marked m;

    add(ix, 2, 0, 100);
    p = marked_pack(ix, &m, 2); /* new, and nobody needs it */
    assert_non_null(p);
    assert_true(p->candidate && !p->condemned && p->live_bytes == 0);
    assert_ok(count_all(ix, 0, 50, 1, &err), &err);
    assert_ok(count_all(ix, 0, 50, 1, &err), &err);
    assert_int_equal(count_of(ix, 0), 2);
    p = marked_pack(ix, &m, 2);
    assert_int_equal(p->live_bytes, 50 * (900 + 64));
    mark(ix, 2, p->live_bytes, false, false);
    assert_null(marked_pack(ix, &m, 2));
    assert_ok(count_all(ix, 0, 50, -1, &err), &err);
    assert_null(marked_pack(ix, &m, 2)); /* nothing has died */
    assert_ok(count_all(ix, 0, 10, -1, &err), &err);
    p = marked_pack(ix, &m, 2);
    assert_non_null(p);
    assert_int_equal(p->live_bytes, 40 * (900 + 64));
    assert_int_equal(count_of(ix, 0), 0);
    assert_int_equal(count_of(ix, 10), 1);
}

static void
no_count_falls_below_zero(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct varve_error err;

    add(ix, 2, 0, 10);
    assert_ok(count_all(ix, 0, 5, 1, &err), &err);
    assert_err(count_all(ix, 0, 6, -1, &err), VARVE_ERR_CORRUPT, &err);
    assert_int_equal(count_of(ix, 0), 1); /* nothing of it was done */
    drop(ix, 2);
    assert_int_equal(count_of(ix, 0), 1); /* a name that lost its place keeps its count */
    assert_ok(count_all(ix, 0, 5, -1, &err), &err);
}

static void
names_of_a_condemned_pack_are_absent_for_backups_and_move(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    const struct index_pack *p = NULL;
    struct varve_error err;
    struct marked m;

    add(ix, 2, 0, 10);
    assert_ok(count_all(ix, 0, 4, 1, &err), &err);
    assert_true(present(ix, 0));
    mark(ix, 2, 4 * 964, true, true);
    assert_false(present(ix, 0));
    assert_int_equal(pack_at(ix, 0), 2); /* a restore still finds it */
    add(ix, 4, 0, 2);
    assert_true(present(ix, 0));
    assert_int_equal(pack_at(ix, 0), 4);
    assert_int_equal(pack_at(ix, 2), 2);
    p = marked_pack(ix, &m, 4);
    assert_int_equal(p->live_bytes, 2 * 964);
    p = marked_pack(ix, &m, 2);
    assert_true(p->condemned);
    assert_int_equal(p->live_bytes, 2 * 964);
    mark(ix, 2, 2 * 964, false, false);
    assert_true(present(ix, 3));
}

static void
a_pack_is_dropped_at_the_cost_of_its_entries(void **state)
{
    struct index *ix = ((struct member *)*state)->ix;
    struct pack_entry entries[20];
    struct pack_id id = pack_of(2);
    struct index_stats stats;
    struct varve_error err;
    uint64_t operations = 0;
    struct marked m;

    add(ix, 2, 0, 20);
    add(ix, 4, 10, 20);
    add(ix, 6, 100, 200);
    for (uint32_t i = 0; i < 20; i++) {
        entries[i] = (struct pack_entry){.name = name_of(i)};
    }
    assert_ok(index_drop_entries(ix, &id, entries, 20, &operations, &err), &err);
    assert_in_range(operations, 20, 80);
    assert_int_equal(pack_at(ix, 5), -1);
    assert_int_equal(pack_at(ix, 15), 4);
    assert_null(marked_pack(ix, &m, 2));
    index_get_stats(ix, &stats);
    assert_int_equal(stats.packs, 2);
    assert_int_equal(stats.names, 220);
    id = pack_of(4);
    add(ix, 8, 10, 5); /* second places: they go with their own pack */
    id = pack_of(8);
    for (uint32_t i = 0; i < 5; i++) {
        entries[i] = (struct pack_entry){.name = name_of(10 + i)};
    }
    assert_ok(index_drop_entries(ix, &id, entries, 5, &operations, &err), &err);
    assert_int_equal(pack_at(ix, 10), 4);
    drop(ix, 4);
    assert_int_equal(pack_at(ix, 10), -1);
    assert_ok(index_drop_entries(ix, &id, entries, 5, &operations, &err), &err); /* again */
}

struct rows_seen {
    char text[64];
};

static bool
note_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct rows_seen *s = arg;
    size_t at = strlen(s->text);

    (void)snprintf(s->text + at, sizeof(s->text) - at, "%.*s=%.*s ", (int)key_len,
                   (const char *)key, (int)value_len, (const char *)value);
    return strlen(s->text) < 40;
}

static void
rows_change_with_the_counts_and_come_in_order(void **state)
{
    static const struct index_row rows[] = {
        {"b2", 2, "two", 3, false}, {"b1", 2, "one", 3, false},    {"a", 1, "x", 1, false},
        {"c", 1, "y", 1, false},    {"b1", 2, "eins", 4, false},   {"b3", 2, "three", 5, false},
        {"b3", 2, NULL, 0, true},   {"nothing", 7, NULL, 0, true},
    };
    struct index *ix = ((struct member *)*state)->ix;
    struct index_change change = {.rows = rows, .row_count = sizeof(rows) / sizeof(rows[0])};
    struct rows_seen seen = {""};
    struct varve_error err;

    assert_ok(index_apply(ix, &change, &err), &err);
    assert_ok(index_row_scan(ix, "b", 1, false, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "b1=eins b2=two ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "b", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "b2=two b1=eins ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "c", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "c=y ");
    seen.text[0] = '\0';
    assert_ok(index_row_scan(ix, "d", 1, true, note_row, &seen, &err), &err);
    assert_string_equal(seen.text, "");
}

#define CONTRACT(setup)                                                                            \
    cmocka_unit_test_setup_teardown(names_of_a_pack_are_found_with_their_places, setup, teardown), \
        cmocka_unit_test_setup_teardown(a_pack_is_added_once, setup, teardown),                    \
        cmocka_unit_test_setup_teardown(another_place_takes_over_when_a_pack_is_dropped, setup,    \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(                                                           \
            a_damaged_place_counts_as_absent_until_the_name_comes_again, setup, teardown),         \
        cmocka_unit_test_setup_teardown(a_whole_place_takes_over_from_a_damaged_one, setup,        \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(every_pack_is_listed_once, setup, teardown),               \
        cmocka_unit_test_setup_teardown(live_bytes_follow_the_counts, setup, teardown),            \
        cmocka_unit_test_setup_teardown(no_count_falls_below_zero, setup, teardown),               \
        cmocka_unit_test_setup_teardown(names_of_a_condemned_pack_are_absent_for_backups_and_move, \
                                        setup, teardown),                                          \
        cmocka_unit_test_setup_teardown(a_pack_is_dropped_at_the_cost_of_its_entries, setup,       \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(rows_change_with_the_counts_and_come_in_order, setup,      \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(lookups_go_on_while_packs_are_added, setup, teardown)

#define LMDB(f) cmocka_unit_test_setup_teardown(f, lmdb_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT(mem_setup),
        CONTRACT(lmdb_setup),
        CONTRACT(small_map_setup), /* grows in the middle of everything */
        LMDB(a_clean_index_is_kept_whatever_the_boot),
        LMDB(an_index_whose_process_dies_again_and_again_is_thrown_away),
        LMDB(an_index_of_a_dead_process_is_kept),
        LMDB(an_index_of_a_machine_that_went_down_is_thrown_away),
        LMDB(an_index_of_another_store_is_thrown_away),
        LMDB(a_cut_or_overwritten_file_is_thrown_away),
        LMDB(the_map_grows_with_the_index),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
