/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pump_lab.h"

#include <stdlib.h>

#include "base/time.h"
#include "source/source_mem.h"

/* A disk that cannot be pumped to its end: which error says so, and what can be done then. */

static void
a_read_error_ends_the_disk_with_that_error(void **state)
{
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("r", 320, 0, &size);
    unsigned nth;

    (void)state;
    for (nth = 1; nth < 40; nth += 7) {
        struct pump_lab_options o = {.chunk_size = CHUNK, .fail_nth = nth};
        struct pump_lab l;

        pump_lab_open(&l, CHUNK, 3, 0);
        assert_err(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_CORRUPT,
                   &err);
        pump_lab_close(&l);
    }
    free(bytes);
}

static void
a_refusal_of_the_peer_ends_the_disk_with_that_error(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_OFFER, PEER_FAKE_PUT};
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("r", 320, 0, &size);
    unsigned nth;
    size_t k;

    (void)state;
    for (k = 0; k < 2; k++) {
        for (nth = 1; nth < 20; nth += 3) {
            struct pump_lab l;

            pump_lab_open(&l, CHUNK, 2, 0);
            peer_fake_set_fault(l.fake, kinds[k], nth, PEER_FAKE_REFUSE);
            assert_err(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err),
                       VARVE_ERR_NOSPACE, &err);
            assert_false(l.peer->ops->is_lost(l.peer));
            pump_lab_close(&l);
        }
    }
    free(bytes);
}

static void
a_lost_connection_is_resumed_where_both_agree(void **state)
{
    static const enum peer_fake_kind kinds[] = {PEER_FAKE_OFFER, PEER_FAKE_PUT};
    struct pump_lab_options o = {.chunk_size = CHUNK};
    struct pump_counts counts;
    struct varve_error err;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("rrtz", 90, 1024, &size);
    unsigned nth;
    unsigned k;

    (void)state;
    for (k = 0; k < 4; k++) {
        for (nth = 1; nth < 20; nth += 3) {
            struct pump_lab l;

            pump_lab_open(&l, CHUNK, 2, 0);
            peer_fake_set_fault(l.fake, kinds[k / 2], nth,
                                k % 2 == 0 ? PEER_FAKE_LOSE : PEER_FAKE_LOSE_ANSWER);
            assert_err(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_IO,
                       &err);
            assert_true(l.peer->ops->is_lost(l.peer));
            peer_fake_reconnect(l.fake);
            assert_ok(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), &err);
            pump_lab_check(&l, 0, bytes, size);
            pump_lab_close(&l);
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
    struct pump_lab_options o = {
        .chunk_size = CHUNK, .cancel = &cancel, .tick = set_cancel, .tick_arg = &cancel};
    struct pump_counts counts;
    struct varve_error err;
    struct pump_lab l;
    uint64_t size;
    uint8_t *bytes = pump_lab_disk("r", 320, 0, &size);
    uint64_t start = time_mono_ns();

    (void)state;
    cancel_init(&cancel);
    pump_lab_open(&l, CHUNK, 2, 50000); /* 40 answers of 50 ms: 2 s if it were not cancelled */
    assert_err(pump_lab_pump(&l, 0, bytes, size, NULL, &o, &counts, &err), VARVE_ERR_CANCELLED,
               &err);
    assert_true(time_mono_ns() - start < UINT64_C(1500000000));
    pump_lab_close(&l);
    cancel_destroy(&cancel);
    free(bytes);
}

static void
a_chunk_size_out_of_bounds_is_refused(void **state)
{
    static const uint32_t sizes[] = {0, 2048, 65537, 2 * 1024 * 1024};
    struct pump_counts counts;
    struct varve_error err;
    struct pump_lab l;
    size_t i;

    (void)state;
    pump_lab_open(&l, CHUNK, 1, 0);
    for (i = 0; i < 4; i++) {
        struct source *src = source_mem_new(NULL, MIB, NULL);
        struct pump_request req = {.peer = l.peer,
                                   .run = pump_lab_run,
                                   .chunk_size = sizes[i],
                                   .source = src,
                                   .size = MIB};

        assert_err(pump_disk(l.pump, &req, &counts, &err), VARVE_ERR_UNSUPPORTED, &err);
        source_close(src);
    }
    pump_lab_close(&l);
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
        cmocka_unit_test(a_read_error_ends_the_disk_with_that_error),
        cmocka_unit_test(a_refusal_of_the_peer_ends_the_disk_with_that_error),
        cmocka_unit_test(a_lost_connection_is_resumed_where_both_agree),
        cmocka_unit_test(a_cancelled_disk_ends_soon),
        cmocka_unit_test(a_chunk_size_out_of_bounds_is_refused),
        cmocka_unit_test(too_little_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
