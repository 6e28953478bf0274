/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/file_mem.h"
#include "pump/pump.h"
#include "source/source_mem.h"
#include "uplink/peer_fake.h"

#define KIB   ((uint64_t)1024)
#define MIB   (KIB * 1024)
#define CHUNK ((uint32_t)(64 * KIB))

static const struct guid run_id = {{1, 2, 3}};

struct lab {
    struct peer_fake *fake;
    struct pump *pump;
    struct peer *peer;
};

static void
lab_open_gaps(struct lab *l, uint32_t chunk_size, unsigned threads, uint32_t delay_us,
              bool takes_gaps)
{
    struct peer_fake_options options = {
        .chunk_size = chunk_size,
        .credit_bytes = 3 * 1024 * 1024,
        .offers_in_flight = 4,
        .takes_gaps = takes_gaps,
        .seed = 42,
        .delay_us = delay_us,
    };
    struct pump_options pump_options = {.hash_threads = threads, .memory = 16 * MIB};
    struct peer_begun begun;
    struct varve_error err;

    l->fake = peer_fake_new(&options);
    l->peer = peer_fake_peer(l->fake);
    assert_ok(pump_new(&l->pump, &pump_options, &err), &err);
    assert_ok(l->peer->ops->begin_run(l->peer, &run_id, &begun, &err), &err);
}

static void
lab_open(struct lab *l, uint32_t chunk_size, unsigned threads, uint32_t delay_us)
{
    lab_open_gaps(l, chunk_size, threads, delay_us, true);
}

static void
lab_close(struct lab *l)
{
    assert_string_equal(peer_fake_violation(l->fake), "");
    pump_free(l->pump);
    peer_fake_free(l->fake);
}

struct options {
    uint32_t chunk_size;
    const struct walk_changes *changes;
    struct names *known;
    struct names *fresh;
    struct cancel *cancel;
    unsigned fail_nth;
    struct source_trace_counts *trace;
    void (*tick)(void *arg, const struct pump_counts *counts);
    void *tick_arg;
};

/* DiskBegin, pump, DiskEnd. */
static enum varve_err
pump_one(struct lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size, const uint8_t *map,
         const struct options *o, struct pump_counts *counts, struct varve_error *err)
{
    struct source *src = source_mem_new(bytes, size, map);
    struct peer_disk d = {.disk = disk,
                          .name = "disk",
                          .path = "disk",
                          .size = size,
                          .incremental = o->changes != NULL || o->known != NULL,
                          .reason = ""};
    struct pump_request req = {.peer = l->peer,
                               .run = run_id,
                               .disk = disk,
                               .chunk_size = o->chunk_size,
                               .size = size,
                               .known = o->known,
                               .fresh = o->fresh,
                               .cancel = o->cancel,
                               .tick = o->tick,
                               .arg = o->tick_arg};
    struct peer_position pos;
    struct walk walk;
    enum varve_err rc;

    if (o->fail_nth != 0) {
        assert_ok(source_fault_new(&src, src, o->fail_nth, VARVE_ERR_CORRUPT, err), err);
    }
    if (o->trace != NULL) {
        assert_ok(source_trace_new(&src, src, o->trace, err), err);
    }
    rc = l->peer->ops->disk_begin(l->peer, &run_id, &d, &pos, err);
    if (rc != VARVE_OK) {
        source_close(src);
        return rc;
    }
    walk_init(&walk, src, o->changes, size, o->chunk_size, pos.next_chunk);
    req.source = src;
    req.walk = &walk;
    rc = pump_disk(l->pump, &req, counts, err);
    walk_release(&walk);
    source_close(src);
    if (rc == VARVE_OK) {
        rc = l->peer->ops->disk_end(l->peer, &run_id, disk, counts->read_bytes, err);
    }
    return rc;
}

static void
fill(uint8_t *p, size_t len, uint32_t seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

/* Chunks by kind: r random, t text-like, z zeros, s the same bytes each time. */
static uint8_t *
make_disk(const char *kinds, size_t repeat, size_t tail, uint64_t *size)
{
    size_t n = strlen(kinds) * repeat;
    uint8_t *p = calloc(n + 1, CHUNK);
    size_t i;

    assert_non_null(p);
    for (i = 0; i < n; i++) {
        uint8_t *c = p + i * CHUNK;

        switch (kinds[i % strlen(kinds)]) {
        case 'r':
            fill(c, CHUNK, (uint32_t)i + 1);
            break;
        case 't':
            memset(c, 'a' + (int)(i % 20), CHUNK);
            fill(c, 64, (uint32_t)i + 1);
            break;
        case 's':
            fill(c, CHUNK, 99);
            break;
        default:
            break;
        }
    }
    fill(p + n * CHUNK, tail, 5);
    *size = n * (uint64_t)CHUNK + tail;
    return p;
}

static void
check_content(struct lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size)
{
    uint8_t *got = malloc(size > 0 ? size : 1);

    assert_non_null(got);
    assert_true(peer_fake_content(l->fake, disk, got, size));
    assert_memory_equal(got, bytes, size);
    free(got);
}

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
            struct options o = {.chunk_size = chunk_sizes[k]};
            struct pump_counts counts;
            struct varve_error err;
            struct lab l;
            uint64_t size;
            uint8_t *bytes = make_disk(cases[i].kinds, cases[i].repeat, cases[i].tail, &size);

            lab_open(&l, chunk_sizes[k], 1 + (unsigned)i % 3, 0);
            assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
            check_content(&l, 0, bytes, size);
            assert_int_equal(counts.read_bytes, size);
            assert_int_equal(counts.zero_bytes + counts.offered_bytes, size);
            lab_close(&l);
            free(bytes);
        }
    }
}

static void
an_empty_disk_is_done_at_once(void **state)
{
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct lab l;

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_one(&l, 0, NULL, 0, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.messages[PEER_FAKE_OFFER], 0);
    lab_close(&l);
}

static void
a_huge_hole_is_one_offer_and_no_read(void **state)
{
    struct options o = {.chunk_size = CHUNK};
    uint64_t size = 64 * MIB * MIB;
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct lab l;

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_one(&l, 0, NULL, size, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.messages[PEER_FAKE_OFFER], 1);
    assert_int_equal(seen.zero_chunks, size / CHUNK);
    assert_int_equal(counts.read_bytes, 0);
    assert_int_equal(counts.zero_bytes, size);
    lab_close(&l);
}

static void
what_the_collector_has_is_not_sent_again(void **state)
{
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct lab l;
    uint64_t size;
    uint8_t *bytes = make_disk("rtz", 50, 512, &size);

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(counts.needed_bytes, counts.offered_bytes);
    assert_true(counts.sent_bytes > 0 && counts.sent_bytes < counts.needed_bytes);
    assert_ok(pump_one(&l, 1, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(counts.needed_bytes, 0);
    assert_int_equal(counts.sent_bytes, 0);
    check_content(&l, 1, bytes, size);
    lab_close(&l);
    free(bytes);
}

static void
limits_of_the_peer_are_kept_and_used(void **state)
{
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    struct peer_fake_seen seen;
    struct lab l;
    uint64_t size;
    uint8_t *bytes = make_disk("r", 640, 0, &size);

    (void)state;
    lab_open(&l, CHUNK, 2, 1000);
    assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    peer_fake_seen(l.fake, &seen);
    assert_int_equal(seen.offers_in_flight_max, 4);
    assert_in_range(seen.put_bytes_in_flight_max, 2 * MIB, 3 * MIB);
    assert_int_equal(counts.sent_bytes, seen.put_bytes);
    check_content(&l, 0, bytes, size);
    lab_close(&l);
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
    struct options o = {.chunk_size = CHUNK, .trace = &trace};
    struct pump_counts counts;
    struct peer_begun begun;
    struct varve_error err;
    struct lab l;
    uint64_t size;
    uint8_t *bytes = make_disk("rrt", 33, 4096, &size);

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    peer_fake_next_run(l.fake);
    assert_ok(l.peer->ops->begin_run(l.peer, &run_id, &begun, &err), &err);

    fill(bytes + 3 * CHUNK + 5, 10, 77);
    memset(bytes + 20 * CHUNK, 0, 2 * CHUNK);
    fill(bytes + 99 * CHUNK + 512, 512, 78);
    memset(&trace, 0, sizeof(trace));
    o.changes = &changes;
    assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(trace.read_bytes, 3 * CHUNK + 4096);
    assert_int_equal(counts.read_bytes, 3 * CHUNK + 4096);
    assert_int_equal(counts.zero_bytes, 2 * CHUNK);
    check_content(&l, 0, bytes, size);
    lab_close(&l);
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
    uint8_t *bytes = make_disk("rrrst", 140, 0, &size);
    int gaps;

    (void)state;
    for (gaps = 0; gaps < 2; gaps++) {
        struct options o = {.chunk_size = CHUNK};
        struct peer_fake_seen seen;
        struct pump_counts counts;
        struct peer_begun begun;
        struct varve_error err;
        uint64_t offers;
        uint64_t chunk;
        struct lab l;

        lab_open_gaps(&l, CHUNK, 2, 0, gaps != 0);
        assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
        peer_fake_next_run(l.fake);
        assert_ok(l.peer->ops->begin_run(l.peer, &run_id, &begun, &err), &err);
        peer_fake_seen(l.fake, &seen);
        offers = seen.messages[PEER_FAKE_OFFER];
        for (chunk = 0; chunk < 700; chunk += 7) {
            fill(bytes + (chunk + 1) * CHUNK - 512, 512, (uint32_t)chunk + 5);
        }
        memset(bytes + 7 * CHUNK, 0, CHUNK); /* read, and found to be zero */
        o.changes = &changes;
        assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
        assert_int_equal(counts.read_bytes, 100 * CHUNK);
        assert_int_equal(counts.zero_bytes, CHUNK);
        peer_fake_seen(l.fake, &seen);
        /* 16 chunks of 64 KiB are a unit. */
        assert_int_equal(seen.messages[PEER_FAKE_OFFER] - offers, gaps ? 7 : 100);
        check_content(&l, 0, bytes, size);
        lab_close(&l);
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
        struct options o = {.chunk_size = CHUNK};
        struct peer_fake_seen before = none;
        struct peer_fake_seen seen = none;
        struct peer_begun begun;
        struct pump_counts counts;
        struct names_shape shape = {.chunk_size = CHUNK};
        struct mem_fs *m = NULL;
        struct varve_error err;
        struct lab l;
        uint64_t size;
        uint8_t *bytes =
            make_disk(disks[i / 2].kinds, disks[i / 2].repeat, disks[i / 2].tail, &size);
        size_t turn;

        shape.size = size;
        lab_open_gaps(&l, CHUNK, 2, 0, i % 2 == 0);
        assert_ok(mem_fs_new(&m, &err), &err);
        assert_ok(names_begin(&o.fresh, mem_fs(m), "/", &first, &shape, &err), &err);
        assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
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
            assert_ok(l.peer->ops->begin_run(l.peer, &run_id, &begun, &err), &err);
            peer_fake_seen(l.fake, &before);
            assert_ok(names_open(&o.known, mem_fs(m), "/", &first, &shape, &err), &err);
            assert_ok(names_begin(&o.fresh, mem_fs(m), "/", &second, &shape, &err), &err);
            assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
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
            check_content(&l, 0, bytes, size);
        }
        mem_fs_free(m);
        lab_close(&l);
        free(bytes);
    }
}

static void
several_reads_are_in_flight(void **state)
{
    struct source_trace_counts trace = {.meet = 2};
    struct options o = {.chunk_size = CHUNK, .trace = &trace};
    struct pump_counts counts;
    struct varve_error err;
    struct lab l;
    uint64_t size;
    uint8_t *bytes = make_disk("r", 64 * 16, 0, &size);

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
    assert_int_equal(trace.reads, 64);
    assert_true(trace.in_flight_max >= 2);
    lab_close(&l);
    free(bytes);
}

static void
a_read_error_ends_the_disk_with_that_error(void **state)
{
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = make_disk("r", 320, 0, &size);
    unsigned nth;

    (void)state;
    for (nth = 1; nth < 40; nth += 7) {
        struct options o = {.chunk_size = CHUNK, .fail_nth = nth};
        struct lab l;

        lab_open(&l, CHUNK, 3, 0);
        assert_err(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_CORRUPT, &err);
        lab_close(&l);
    }
    free(bytes);
}

static void
a_refusal_of_the_peer_ends_the_disk_with_that_error(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_OFFER, PEER_FAKE_PUT};
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = make_disk("r", 320, 0, &size);
    unsigned nth;
    size_t k;

    (void)state;
    for (k = 0; k < 2; k++) {
        for (nth = 1; nth < 20; nth += 3) {
            struct lab l;

            lab_open(&l, CHUNK, 2, 0);
            peer_fake_set_fault(l.fake, kinds[k], nth, PEER_FAKE_REFUSE);
            assert_err(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_NOSPACE,
                       &err);
            assert_false(l.peer->ops->is_lost(l.peer));
            lab_close(&l);
        }
    }
    free(bytes);
}

static void
a_lost_connection_is_resumed_where_both_agree(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_OFFER, PEER_FAKE_PUT};
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = make_disk("rrtz", 90, 1024, &size);
    unsigned nth;
    unsigned k;

    (void)state;
    for (k = 0; k < 4; k++) {
        for (nth = 1; nth < 20; nth += 3) {
            struct lab l;

            lab_open(&l, CHUNK, 2, 0);
            peer_fake_set_fault(l.fake, kinds[k / 2], nth,
                                k % 2 == 0 ? PEER_FAKE_LOSE : PEER_FAKE_LOSE_ANSWER);
            assert_err(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_IO, &err);
            assert_true(l.peer->ops->is_lost(l.peer));
            peer_fake_reconnect(l.fake);
            assert_ok(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
            check_content(&l, 0, bytes, size);
            lab_close(&l);
        }
    }
    free(bytes);
}

static void
set_cancel(void *arg, const struct pump_counts *counts)
{
    (void)counts;
    cancel_set(arg);
}

static void
a_cancelled_disk_ends_soon(void **state)
{
    struct cancel cancel;
    struct options o = {
        .chunk_size = CHUNK, .cancel = &cancel, .tick = set_cancel, .tick_arg = &cancel};
    struct pump_counts counts;
    struct varve_error err;
    struct lab l;
    uint64_t size;
    uint8_t *bytes = make_disk("r", 320, 0, &size);
    uint64_t start = time_mono_ns();

    (void)state;
    cancel_init(&cancel);
    lab_open(&l, CHUNK, 2, 50000); /* 40 answers of 50 ms: 2 s if it were not cancelled */
    assert_err(pump_one(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_CANCELLED, &err);
    assert_true(time_mono_ns() - start < UINT64_C(1500000000));
    lab_close(&l);
    cancel_destroy(&cancel);
    free(bytes);
}

struct parallel {
    struct lab *lab;
    uint32_t disk;
    const uint8_t *bytes;
    uint64_t size;
    enum varve_err rc;
};

static void
parallel_main(void *arg)
{
    struct parallel *p = arg;
    struct options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;

    p->rc = pump_one(p->lab, p->disk, p->bytes, p->size, NULL, &o, &counts, &err);
}

static void
disks_at_the_same_time_share_one_pump(void **state)
{
    struct parallel jobs[4];
    struct thread threads[4];
    struct varve_error err;
    struct lab l;
    uint32_t i;

    (void)state;
    lab_open(&l, CHUNK, 2, 0);
    for (i = 0; i < 4; i++) {
        jobs[i].lab = &l;
        jobs[i].disk = i;
        jobs[i].bytes = make_disk(i % 2 == 0 ? "rzt" : "tr", 60 + i, 512 * i, &jobs[i].size);
        assert_ok(thread_start(&threads[i], "disk", parallel_main, &jobs[i], &err), &err);
    }
    for (i = 0; i < 4; i++) {
        thread_join(&threads[i]);
        assert_int_equal(jobs[i].rc, VARVE_OK);
        check_content(&l, i, jobs[i].bytes, jobs[i].size);
        free((void *)(uintptr_t)jobs[i].bytes);
    }
    lab_close(&l);
}

static void
a_chunk_size_out_of_bounds_is_refused(void **state)
{
    static const uint32_t sizes[] = {0, 2048, 65537, 2 * 1024 * 1024};
    struct pump_counts counts;
    struct varve_error err;
    struct lab l;
    size_t i;

    (void)state;
    lab_open(&l, CHUNK, 1, 0);
    for (i = 0; i < 4; i++) {
        struct source *src = source_mem_new(NULL, MIB, NULL);
        struct pump_request req = {
            .peer = l.peer, .run = run_id, .chunk_size = sizes[i], .source = src, .size = MIB};

        assert_err(pump_disk(l.pump, &req, &counts, &err), VARVE_ERR_UNSUPPORTED, &err);
        source_close(src);
    }
    lab_close(&l);
}

static void
too_little_memory_is_refused(void **state)
{
    struct pump_options options = {.memory = 1024};
    struct varve_error err;
    struct pump *p = NULL;

    (void)state;
    assert_err(pump_new(&p, &options, &err), VARVE_ERR_INVALID, &err);
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
        cmocka_unit_test(a_read_error_ends_the_disk_with_that_error),
        cmocka_unit_test(a_refusal_of_the_peer_ends_the_disk_with_that_error),
        cmocka_unit_test(a_lost_connection_is_resumed_where_both_agree),
        cmocka_unit_test(a_cancelled_disk_ends_soon),
        cmocka_unit_test(disks_at_the_same_time_share_one_pump),
        cmocka_unit_test(a_chunk_size_out_of_bounds_is_refused),
        cmocka_unit_test(too_little_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
