/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/testing.h"
#include "crypto/identity.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/chunk_store.h"
#include "store/pack.h"
#include "store/store_testing.h"

/* Packs of which the footer is damaged and something else as well: what can be found is found, what cannot is
 * named.  The index is in memory: each open builds it anew. */
#define CHUNK   4096u
#define RECORDS 6u

static struct varve_error err;

struct fixture {
    struct mem_fs *mem;
    struct fault_fs *ff;
    struct store *store;
    struct chunk_store *cs;
    struct chunk_domain *domain;
    struct guid domain_id; /* zero: the default */
    struct pack_id id;
    uint64_t size;
    char path[PACK_OBJECT_NAME_SIZE + 16];
    uint32_t offsets[RECORDS]; /* of the records' headers, by number */
};

static void
open_all(struct fixture *f)
{
    const struct chunk_store_options options = {.key_path = "/key", .chunk_size = CHUNK};

    assert_ok(store_dir_open(&f->store, fault_fs(f->ff), "/store", &err), &err);
    assert_ok(chunk_store_open(&f->cs, f->store, mem_fs(f->mem), &options, &err), &err);
    f->domain = chunk_store_default(f->cs);
}

static void
close_all(struct fixture *f)
{
    chunk_store_close(f->cs);
    store_close(f->store);
}

static void
make_chunk(unsigned n, uint8_t buf[CHUNK], struct chunk_id *id)
{
    struct test_random r = {.state = 70 + n};

    test_random_fill(&r, buf, CHUNK);
    chunk_id_of(id, buf, CHUNK);
}

static void
put(struct fixture *f, unsigned n)
{
    uint8_t buf[CHUNK];
    struct chunk_id id;

    make_chunk(n, buf, &id);
    assert_ok(chunk_store_put(f->domain, CHUNK_DATA, &id, buf, CHUNK, CHUNK, &err), &err);
}

static bool
has(struct fixture *f, unsigned n)
{
    uint8_t buf[CHUNK];
    struct chunk_id id;
    uint8_t have = 0;

    make_chunk(n, buf, &id);
    assert_ok(chunk_store_has(f->domain, &id, 1, &have, &err), &err);
    return have != 0;
}

static bool
reads(struct fixture *f, unsigned n)
{
    uint8_t want[CHUNK];
    uint8_t got[CHUNK];
    struct chunk_id id;
    size_t len = 0;

    make_chunk(n, want, &id);
    if (chunk_store_get(f->domain, &id, got, sizeof(got), &len, &err) != VARVE_OK) {
        return false;
    }
    assert_int_equal(len, CHUNK);
    assert_memory_equal(got, want, CHUNK);
    return true;
}

static bool
note_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct fixture *f = arg;

    f->id = *id;
    f->size = size;
    return true;
}

static void
flip(struct fixture *f, uint64_t offset)
{
    struct file *file = NULL;
    uint8_t b = 0;

    assert_ok(file_open(mem_fs(f->mem), &file, f->path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(file, &b, 1, offset, &err), &err);
    b ^= 0x20;
    assert_ok(file_write(file, &b, 1, offset, &err), &err);
    file_close(file);
}

/* One pack of RECORDS chunks. */
static void
make_pack(struct fixture *f, bool in_a_domain)
{
    struct guid id = {{7, 7}};

    memset(f, 0, sizeof(*f));
    assert_ok(mem_fs_new(&f->mem, &err), &err);
    assert_ok(fault_fs_new(&f->ff, mem_fs(f->mem), &err), &err);
    open_all(f);
    if (in_a_domain) {
        f->domain_id = id;
        assert_ok(chunk_store_make_domain(f->cs, &id, "a tenant", &f->domain, &err), &err);
    }
    for (unsigned n = 0; n < RECORDS; n++) {
        put(f, n);
    }
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_list_packs(f->cs, note_pack, f, &err), &err);
    memcpy(f->path, "/store/", 7);
    pack_object_name(&f->id, f->path + 7);
    for (unsigned n = 0; n < RECORDS; n++) { /* they do not pack: all have one size */
        f->offsets[n] = PACK_HEADER_SIZE + n * (PACK_RECORD_HEADER + CHUNK + AEAD_TAG_SIZE);
    }
}

static void
release(struct fixture *f)
{
    close_all(f);
    fault_fs_free(f->ff);
    mem_fs_free(f->mem);
}

static void
reopen(struct fixture *f)
{
    close_all(f);
    open_all(f);
    assert_ok(chunk_store_domain(f->cs, &f->domain_id, &f->domain, &err), &err);
}

static void
damage_footer(struct fixture *f)
{
    flip(f, f->size - PACK_TAIL_SIZE - 20);
}

/* All but those of the mask are there and read; the others are not, until they come again. */
static void
check_lost(struct fixture *f, unsigned mask)
{
    for (unsigned n = 0; n < RECORDS; n++) {
        bool lost = (mask >> n & 1) != 0;

        assert_int_equal(has(f, n), !lost);
        assert_int_equal(reads(f, n), !lost);
    }
    for (unsigned n = 0; n < RECORDS; n++) {
        put(f, n);
    }
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    for (unsigned n = 0; n < RECORDS; n++) {
        assert_true(reads(f, n));
    }
}

/* In a new index, and in one that is older than the damage, after a check of the pack. */
static void
damage_and_check(unsigned mask, bool header_too, bool in_a_domain)
{
    for (int rebuilt = 0; rebuilt < 2; rebuilt++) {
        unsigned lost = 0;
        struct fixture f;

        make_pack(&f, in_a_domain);
        damage_footer(&f);
        if (header_too) {
            flip(&f, 30);
        }
        for (unsigned n = 0; n < RECORDS; n++) {
            if ((mask >> n & 1) != 0) {
                flip(&f, f.offsets[n] + 5 + n * 9); /* magic, name, lengths, ... */
                lost++;
            }
        }
        if (rebuilt != 0) {
            reopen(&f);
        } else {
            struct chunk_check check;

            assert_ok(chunk_store_check_pack(f.cs, &f.id, f.size, &check, &err), &err);
            assert_true(check.problems > 0);
            assert_int_equal(check.damaged, lost);
            assert_int_equal(chunk_store_damage_found(f.cs), lost);
        }
        check_lost(&f, mask);
        reopen(&f);
        check_lost(&f, 0);
        release(&f);
    }
}

static void
a_damaged_footer_and_any_damaged_record_headers_cost_those_records(void **state)
{
    unsigned tried = 0;

    (void)state;
    for (unsigned mask = 0; mask < 1u << RECORDS; mask += mask < RECORDS ? 1 : 7) {
        damage_and_check(mask, false, false);
        tried++;
    }
    damage_and_check((1u << RECORDS) - 1, false, false); /* nothing is left */
    print_message("%u kinds of damage, each in an old index and a new one\n", tried + 1);
}

static void
a_damaged_pack_header_costs_nothing_more_in_any_domain(void **state)
{
    (void)state;
    damage_and_check(0, true, false);
    damage_and_check(4, true, false);
    damage_and_check(0, true, true);
    damage_and_check(1, true, true);
    damage_and_check(32, true, true);
}

/* A bad sector: reads of it fail.  Only what stands there is absent, and nothing is forgotten for it. */
static void
a_part_that_cannot_be_read_costs_what_stands_there(void **state)
{
    const struct fault_rule rule = {.ops = FAULT_READ,
                                    .path_part = "pack/",
                                    .nth = 1,
                                    .times = 4,
                                    .action = FAULT_FAIL,
                                    .errnum = EIO};
    struct fixture f;
    unsigned found = 0;

    (void)state;
    make_pack(&f, false);
    /* The tail, the whole in one piece, and its first two pieces of 4 KiB. */
    close_all(&f);
    assert_ok(fault_fs_set(f.ff, &rule, &err), &err);
    open_all(&f);
    assert_ok(fault_fs_set(f.ff, NULL, &err), &err);
    for (unsigned n = 0; n < RECORDS; n++) {
        found += has(&f, n) ? 1 : 0;
    }
    assert_in_range(found, RECORDS - 2, RECORDS - 1);
    reopen(&f); /* it has passed */
    for (unsigned n = 0; n < RECORDS; n++) {
        assert_true(reads(&f, n));
    }
    release(&f);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_footer_and_any_damaged_record_headers_cost_those_records),
        cmocka_unit_test(a_damaged_pack_header_costs_nothing_more_in_any_domain),
        cmocka_unit_test(a_part_that_cannot_be_read_costs_what_stands_there),
    };

    log_set_sink(drop_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
