/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pump_lab.h"

#include <stdlib.h>
#include <string.h>

#include "os/file_mem.h"

/* What arrives at the collector, and at what cost. */

static void
disks_of_all_kinds_arrive_byte_for_byte(void **state)
{
    static const struct {
        const char *kinds;
        size_t repeat;
        size_t tail;
    } cases[] = {{"r", 1, 0},      {"r", 16, 0},       {"r", 17, 0},  {"rz", 40, 0},
                 {"zr", 40, 512},  {"zzzz", 20, 0},    {"z", 1, 0},   {"s", 64, 0},
                 {"t", 100, 0},    {"rtzs", 50, 4096}, {"r", 0, 512}, {"z", 30, 1024},
                 {"rrrrrz", 60, 0}};
    uint32_t chunk_sizes[] = {CHUNK, 4096, 1024 * 1024};
    size_t i;
    size_t k;

    (void)state;
    for (k = 0; k < sizeof(chunk_sizes) / sizeof(chunk_sizes[0]); k++) {
        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct pump_lab_options o = {.chunk_size = chunk_sizes[k]};
            struct pump_counts counts;
            struct varve_error err;
            struct pump_lab l;
            uint64_t size;
            uint8_t *bytes = pump_lab_disk(cases[i].kinds, cases[i].repeat, cases[i].tail, &size);

            pump_lab_open(&l, chunk_sizes[k], 1 + (unsigned)i % 3, 0);
            assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
            pump_lab_check(&l, 0, bytes, size);
            assert_int_equal(counts.read_bytes, size);
            assert_int_equal(counts.zero_bytes + counts.offered_bytes, size);
            pump_lab_close(&l);
            free(bytes);
        }
    }
}

static void
an_empty_disk_is_done_at_once(void **state)
{
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct pump_lab l;

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_lab_pump(&l, 0, NULL, 0, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.messages[PEER_FAKE_OFFER], 0);
    pump_lab_close(&l);
}

static void
a_huge_hole_is_one_offer_and_no_read(void **state)
{
    struct pump_lab_options o = {.chunk_size = CHUNK};
    uint64_t size = 64 * MIB * MIB;
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct pump_lab l;

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_lab_pump(&l, 0, NULL, size, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.messages[PEER_FAKE_OFFER], 1);
    assert_int_equal(seen.zero_chunks, size / CHUNK);
    assert_int_equal(counts.read_bytes, 0);
    assert_int_equal(counts.zero_bytes, size);
    pump_lab_close(&l);
}

static void
what_the_collector_has_is_not_sent_again(void **state)
{
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct pump_lab l;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("rtz", 50, 512, &size);

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(counts.needed_bytes, counts.offered_bytes);
    assert_true(counts.sent_bytes > 0 && counts.sent_bytes < counts.needed_bytes);
    assert_ok(pump_lab_pump(&l, 1, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(counts.needed_bytes, 0);
    assert_int_equal(counts.sent_bytes, 0);
    pump_lab_check(&l, 1, bytes, size);
    pump_lab_close(&l);
    free(bytes);
}

static void
limits_of_the_peer_are_kept_and_used(void **state)
{
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct pump_lab l;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("r", 640, 0, &size);

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 1000);
    assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.offers_in_flight_max, 4);
    assert_in_range(seen.put_bytes_in_flight_max, 2 * MIB, 3 * MIB);
    assert_int_equal(counts.sent_bytes, seen.put_bytes);
    pump_lab_check(&l, 0, bytes, size);
    pump_lab_close(&l);
    free(bytes);
}

struct ranges {
    uint64_t items[4][2];
};

static enum varve_err
ranges_query(void *arg, uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
             struct varve_error *err)
{
    const struct ranges *r = arg;
    size_t i;

    for (i = 0; i < 4; i++) {
        if (r->items[i][0] >= off && r->items[i][1] > 0) {
            assert_ok(extent_list_add(out, r->items[i][0], r->items[i][1], EXTENT_UNKNOWN, err),
                      err);
        }
    }
    *processed = len;
    return VARVE_OK;
}

static void
an_incremental_run_reads_what_changed(void **state)
{
    struct ranges r = {{{3 * CHUNK + 5, 10}, {20 * CHUNK, 2 * CHUNK}, {99 * CHUNK + 512, 512}}};
    struct walk_changes changes = {.query = ranges_query, .arg = &r};
    struct source_trace_counts trace = {0};
    struct pump_lab_options o = {.chunk_size = CHUNK, .trace = &trace};
    struct pump_counts counts;
    struct peer_begun begun;
    struct varve_error err;
    struct pump_lab l;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("rrt", 33, 4096, &size);

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    peer_fake_next_run(l.fake);
    assert_ok(l.peer->ops->begin_run(l.peer, &pump_lab_run, &begun, &err), &err);

    pump_lab_fill(bytes + 3 * CHUNK + 5, 10, 77);
    memset(bytes + 20 * CHUNK, 0, 2 * CHUNK);
    pump_lab_fill(bytes + 99 * CHUNK + 512, 512, 78);
    memset(&trace, 0, sizeof(trace));
    o.changes = &changes;
    assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(trace.read_bytes, 3 * CHUNK + 4096);
    assert_int_equal(counts.read_bytes, 3 * CHUNK + 4096);
    assert_int_equal(counts.zero_bytes, 2 * CHUNK);
    pump_lab_check(&l, 0, bytes, size);
    pump_lab_close(&l);
    free(bytes);
}

/* Every seventh chunk, and of each the last 512 bytes. */
static enum varve_err
scattered_query(void *arg, uint64_t off, uint64_t len, struct extent_list *out, uint64_t *processed,
                struct varve_error *err)
{
    uint64_t chunk;

    (void)arg;
    for (chunk = 0; chunk < 700; chunk += 7) {
        if (chunk * CHUNK >= off) {
            assert_ok(extent_list_add(out, (chunk + 1) * CHUNK - 512, 512, EXTENT_UNKNOWN, err),
                      err);
        }
    }
    *processed = len;
    return VARVE_OK;
}

static void
scattered_changes_share_offers_where_the_peer_takes_gaps(void **state)
{
    struct walk_changes changes = {.query = scattered_query};
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("rrrst", 140, 0, &size);
    int gaps;

    (void)state;
    for (gaps = 0; gaps < 2; gaps++) {
        struct pump_lab_options o = {.chunk_size = CHUNK};
        struct peer_fake_seen seen;
        struct pump_counts counts;
        struct peer_begun begun;
        struct varve_error err;
        uint64_t offers;
        uint64_t chunk;
        struct pump_lab l;

        pump_lab_open_gaps(&l, CHUNK, 2, 0, gaps != 0);
        assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
        peer_fake_next_run(l.fake);
        assert_ok(l.peer->ops->begin_run(l.peer, &pump_lab_run, &begun, &err), &err);
        peer_fake_seen(l.fake, &seen);
        offers = seen.messages[PEER_FAKE_OFFER];
        for (chunk = 0; chunk < 700; chunk += 7) {
            pump_lab_fill(bytes + (chunk + 1) * CHUNK - 512, 512, (uint32_t)chunk + 5);
        }
        memset(bytes + 7 * CHUNK, 0, CHUNK); /* read, and found to be zero */
        o.changes = &changes;
        assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
        assert_int_equal(counts.read_bytes, 100 * CHUNK);
        assert_int_equal(counts.zero_bytes, CHUNK);
        peer_fake_seen(l.fake, &seen);
        /* 16 chunks of 64 KiB are a unit. */
        assert_int_equal(seen.messages[PEER_FAKE_OFFER] - offers, gaps ? 7 : 100);
        pump_lab_check(&l, 0, bytes, size);
        pump_lab_close(&l);
    }
    free(bytes);
}

/* Names of one run after the other, each known to the next. */
static void
what_is_known_is_read_and_not_offered(void **state)
{
    static const struct {
        const char *kinds;
        size_t repeat;
        size_t tail;
    } disks[] = {{"r", 96, 0}, {"rrz", 32, 512}, {"rtzs", 24, 4096}};
    const struct names_key first = {.run = {{1}}};
    const struct names_key second = {.run = {{2}}};
    size_t i;

    (void)state;
    for (i = 0; i < 6; i++) {
        const struct peer_fake_seen none = {0};
        struct pump_lab_options o = {.chunk_size = CHUNK};
        struct peer_fake_seen before = none;
        struct peer_fake_seen seen = none;
        struct peer_begun begun;
        struct pump_counts counts;
        struct names_shape shape = {.chunk_size = CHUNK};
        struct mem_fs *m = NULL;
        struct varve_error err;
        struct pump_lab l;
        uint64_t size;
        uint8_t *bytes =
            pump_lab_disk(disks[i / 2].kinds, disks[i / 2].repeat, disks[i / 2].tail, &size);
        size_t turn;

        shape.size = size;
        pump_lab_open_gaps(&l, CHUNK, 2, 0, i % 2 == 0);
        assert_ok(mem_fs_new(&m, &err), &err);
        assert_ok(names_begin(&o.fresh, mem_fs(m), "/", &first, &shape, &err), &err);
        assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
        assert_int_equal(counts.same_bytes, 0);
        assert_ok(names_finish(o.fresh, &err), &err);
        names_close(o.fresh);
        assert_ok(names_keep(mem_fs(m), "/", &first.vm, &first.run, &err), &err);
        for (turn = 0; turn < 2; turn++) {
            /* Nothing has changed; then a byte here and there, one chunk zero, one no longer zero. */
            if (turn == 1) {
                bytes[5 * CHUNK] ^= 1;
                bytes[6 * CHUNK + 9] ^= 1;
                bytes[20 * CHUNK + 77] ^= 1;
                memset(bytes + 36 * CHUNK, 0, CHUNK);
                bytes[52 * CHUNK] ^= 1;
                bytes[size - 1] ^= 1;
            }
            peer_fake_next_run(l.fake);
            assert_ok(l.peer->ops->begin_run(l.peer, &pump_lab_run, &begun, &err), &err);
            peer_fake_seen(l.fake, &before);
            assert_ok(names_open(&o.known, mem_fs(m), "/", &first, &shape, &err), &err);
            assert_ok(names_begin(&o.fresh, mem_fs(m), "/", &second, &shape, &err), &err);
            assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
            names_close(o.known);
            names_close(o.fresh);
            peer_fake_seen(l.fake, &seen);
            assert_int_equal(counts.read_bytes, size);
            assert_int_equal(counts.same_bytes + counts.zero_bytes + counts.offered_bytes, size);
            if (turn == 0) {
                assert_int_equal(seen.messages[PEER_FAKE_OFFER], before.messages[PEER_FAKE_OFFER]);
                assert_int_equal(counts.same_bytes, size);
            } else {
                /* Six changed chunks in five units: alone, or with all of their units. */
                assert_int_equal(seen.messages[PEER_FAKE_OFFER],
                                 before.messages[PEER_FAKE_OFFER] + 5);
                assert_true(counts.needed_bytes <= 6 * CHUNK);
            }
            pump_lab_check(&l, 0, bytes, size);
        }
        mem_fs_free(m);
        pump_lab_close(&l);
        free(bytes);
    }
}

static void
several_reads_are_in_flight(void **state)
{
    struct source_trace_counts trace = {.meet = 2};
    struct pump_lab_options o = {.chunk_size = CHUNK, .trace = &trace};
    struct pump_counts counts;
    struct varve_error err;
    struct pump_lab l;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("r", 64 * 16, 0, &size);

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(trace.reads, 64);
    assert_true(trace.in_flight_max >= 2);
    pump_lab_close(&l);
    free(bytes);
}

struct parallel {
    struct pump_lab *lab;
    uint32_t disk;
    const uint8_t *bytes;
    uint64_t size;
    enum varve_err rc;
};

static void
parallel_main(void *arg)
{
    struct parallel *p = arg;
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;

    p->rc = pump_lab_pump(p->lab, p->disk, p->bytes, p->size, NULL, &o, &counts, &err);
}

static void
disks_at_the_same_time_share_one_pump(void **state)
{
    struct parallel jobs[4];
    struct thread threads[4];
    struct varve_error err;
    struct pump_lab l;
    uint32_t i;

    (void)state;
    pump_lab_open(&l, CHUNK, 2, 0);
    for (i = 0; i < 4; i++) {
        jobs[i].lab = &l;
        jobs[i].disk = i;
        jobs[i].bytes = pump_lab_disk(i % 2 == 0 ? "rzt" : "tr", 60 + i, 512 * i, &jobs[i].size);
        assert_ok(thread_start(&threads[i], "disk", parallel_main, &jobs[i], &err), &err);
    }
    for (i = 0; i < 4; i++) {
        thread_join(&threads[i]);
        assert_int_equal(jobs[i].rc, VARVE_OK);
        pump_lab_check(&l, i, jobs[i].bytes, jobs[i].size);
        free((void *)(uintptr_t)jobs[i].bytes);
    }
    pump_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_of_all_kinds_arrive_byte_for_byte),
        cmocka_unit_test(an_empty_disk_is_done_at_once),
        cmocka_unit_test(a_huge_hole_is_one_offer_and_no_read),
        cmocka_unit_test(what_the_collector_has_is_not_sent_again),
        cmocka_unit_test(limits_of_the_peer_are_kept_and_used),
        cmocka_unit_test(an_incremental_run_reads_what_changed),
        cmocka_unit_test(scattered_changes_share_offers_where_the_peer_takes_gaps),
        cmocka_unit_test(what_is_known_is_read_and_not_offered),
        cmocka_unit_test(several_reads_are_in_flight),
        cmocka_unit_test(disks_at_the_same_time_share_one_pump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
