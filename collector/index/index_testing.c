/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdlib.h>
#include <string.h>

#include "store/store_testing.h"

const uint8_t store_id[STORE_ID_SIZE] = "store number 01";

enum varve_err
open_lmdb(struct member *m, const uint8_t *id, const char *boot_id, uint64_t map_size, bool *fresh,
          struct varve_error *err)
{
    struct index_options options = {.store_id = id,
                                    .map_size = map_size,
                                    .sync_seconds = 1,
                                    .boot_id = boot_id,
                                    .ahead_bytes = 1};

    return index_lmdb_open(&m->ix, m->path, &options, fresh, err);
}

void
reopen(struct member *m, const char *boot_id, bool want_fresh)
{
    struct varve_error err;
    bool fresh = !want_fresh;

    assert_ok(open_lmdb(m, store_id, boot_id, 0, &fresh, &err), &err);
    assert_int_equal(fresh, want_fresh);
}

int
mem_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));
    struct varve_error err;

    assert_ok(index_mem_open(&m->ix, &err), &err);
    *state = m;
    return 0;
}

int
lmdb_setup(void **state)
{
    struct member *m = calloc(1, sizeof(*m));

    m->folder = test_folder_make();
    m->path = test_path(m->folder, "index");
    reopen(m, "boot-1", true);
    *state = m;
    return 0;
}

int
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

int
teardown(void **state)
{
    struct member *m = *state;

    index_close(m->ix);
    test_folder_remove(m->folder);
    free(m->path);
    free(m);
    return 0;
}

struct record_name
name_of(uint64_t n)
{
    struct test_random r = {.state = n};
    struct record_name name = {{0}};

    test_random_fill(&r, name.bytes, sizeof(name.bytes));
    return name;
}

struct pack_id
pack_of(uint64_t n)
{
    struct test_random r = {.state = ~n};
    struct pack_id id = {{0}};

    test_random_fill(&r, id.bytes, sizeof(id.bytes));
    return id;
}

/* Pack number n holds the names [first, first + count), each of 1000 bytes. */
enum varve_err
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

void
add(struct index *ix, uint64_t n, uint64_t first, uint32_t count)
{
    struct varve_error err;

    assert_ok(add_pack(ix, n, first, count, &err), &err);
}

/* Number of the pack where name n stands; -1 nowhere. */
int
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

int
pack_at(struct index *ix, uint64_t n)
{
    struct index_place place;

    return where(ix, n, &place);
}

/* As a backup asks. */
bool
present(struct index *ix, uint64_t n)
{
    struct record_name name = name_of(n);
    struct varve_error err;
    uint8_t found = 7;

    assert_ok(index_get(ix, &name, 1, NULL, &found, &err), &err);
    return found != 0;
}

void
drop(struct index *ix, uint64_t n)
{
    struct pack_id id = pack_of(n);
    struct varve_error err;

    assert_ok(index_drop_packs(ix, &id, 1, &err), &err);
}
