/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pump_lab.h"

#include <stdlib.h>
#include <string.h>

#include "source/source_mem.h"

const struct guid pump_lab_run = {{1, 2, 3}};

void
pump_lab_open_gaps(struct pump_lab *l, uint32_t chunk_size, unsigned threads, uint32_t delay_us,
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
    assert_ok(l->peer->ops->begin_run(l->peer, &pump_lab_run, &begun, &err), &err);
}

void
pump_lab_open(struct pump_lab *l, uint32_t chunk_size, unsigned threads, uint32_t delay_us)
{
    pump_lab_open_gaps(l, chunk_size, threads, delay_us, true);
}

void
pump_lab_close(struct pump_lab *l)
{
    assert_string_equal(peer_fake_violation(l->fake), "");
    pump_free(l->pump);
    peer_fake_free(l->fake);
}

enum varve_err
pump_lab_pump(struct pump_lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size,
              const uint8_t *map, const struct pump_lab_options *o, struct pump_counts *counts,
              struct varve_error *err)
{
    struct source *src = source_mem_new(bytes, size, map);
    struct peer_disk d = {.disk = disk,
                          .name = "disk",
                          .path = "disk",
                          .size = size,
                          .incremental = o->changes != NULL || o->known != NULL,
                          .reason = ""};
    struct pump_request req = {.peer = l->peer,
                               .run = pump_lab_run,
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
    rc = l->peer->ops->disk_begin(l->peer, &pump_lab_run, &d, &pos, err);
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
        rc = l->peer->ops->disk_end(l->peer, &pump_lab_run, disk, counts->read_bytes, err);
    }
    return rc;
}

void
pump_lab_fill(uint8_t *p, size_t len, uint32_t seed)
{
    size_t i;

    for (i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

uint8_t *
pump_lab_disk(const char *kinds, size_t repeat, size_t tail, uint64_t *size)
{
    size_t n = strlen(kinds) * repeat;
    uint8_t *p = calloc(n + 1, CHUNK);
    size_t i;

    assert_non_null(p);
    for (i = 0; i < n; i++) {
        uint8_t *c = p + i * CHUNK;

        switch (kinds[i % strlen(kinds)]) {
        case 'r':
            pump_lab_fill(c, CHUNK, (uint32_t)i + 1);
            break;
        case 't':
            memset(c, 'a' + (int)(i % 20), CHUNK);
            pump_lab_fill(c, 64, (uint32_t)i + 1);
            break;
        case 's':
            pump_lab_fill(c, CHUNK, 99);
            break;
        default:
            break;
        }
    }
    pump_lab_fill(p + n * CHUNK, tail, 5);
    *size = n * (uint64_t)CHUNK + tail;
    return p;
}

void
pump_lab_check(struct pump_lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size)
{
    uint8_t *got = malloc(size > 0 ? size : 1);

    assert_non_null(got);
    assert_true(peer_fake_content(l->fake, disk, got, size));
    assert_memory_equal(got, bytes, size);
    free(got);
}
