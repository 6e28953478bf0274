/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

/* ---- agents that lie ---- */

struct bad_offer {
    const char *what;
    uint64_t first;
    uint64_t count;
    size_t data_len;
    size_t names_len;
    uint8_t bits;
    bool zero_name;
};

static void
offers_that_break_a_rule_end_the_run(void **state)
{
    /* The disk has 40 chunks and 99 bytes; chunks 0 to 9 were offered. */
    static const struct bad_offer cases[] = {
        {"no chunk", 10, 0, 0, 0, 0, false},
        {"descending", 9, 1, 1, 32, 1, false},
        {"the same again", 0, 10, 2, 32, 1, false},
        {"a gap on a disk that is read whole", 11, 1, 1, 32, 1, false},
        {"behind the end", 41, 1, 1, 32, 1, false},
        {"over the end", 10, 32, 4, 32, 1, false},
        {"far over the end", 10, UINT64_MAX - 5, 0, 0, 0, false},
        {"too few bits", 10, 9, 1, 32, 1, false},
        {"too many bits", 10, 8, 2, 32, 1, false},
        {"a bit behind the last chunk", 10, 3, 1, 64, 9, false},
        {"a name too few", 10, 8, 1, 32, 3, false},
        {"a name too many", 10, 8, 1, 64, 1, false},
        {"half a name", 10, 8, 1, 31, 1, false},
        {"names without bits", 10, 8, 0, 32, 0, false},
        {"a name that means a hole", 10, 8, 1, 32, 1, true},
    };
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 99, 3);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct bad_offer *bad = &cases[i];
        struct ingest_run *run = start_run(f, (uint8_t)(i + 1));
        uint8_t bits[8] = {bad->bits};
        uint8_t names[128];
        uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
        struct ingest_offer o = {.disk = 0,
                                 .first_chunk = bad->first,
                                 .count = bad->count,
                                 .data = bits,
                                 .data_len = bad->data_len,
                                 .names = names,
                                 .names_len = bad->names_len};
        size_t need_len = 0;
        struct offered good;

        memset(names, bad->zero_name ? 0 : 7, sizeof(names));
        begin_disk(run, 0, &im, false);
        do_offer(run, 0, &im, 0, 10, &good);
        if (ingest_offer(run, &o, need, &need_len, &err) != VARVE_ERR_PROTOCOL) {
            fail_msg("%s: %s", bad->what, varve_err_name(err.code));
        }
        assert_int_equal(info_of(run).phase, RUN_CLEAN);
        /* Every later word about it gets the same answer. */
        assert_err(try_offer(run, 0, &im, 10, 5, &good), VARVE_ERR_PROTOCOL, &err);
        assert_err(ingest_disk_end(run, 0, 0, &err), VARVE_ERR_PROTOCOL, &err);
        if (i + 1 < sizeof(cases) / sizeof(cases[0])) {
            struct run_info info = info_of(run);

            ingest_end(f->ing, &info.host, &info.id, &info.error, NULL, 0);
            ingest_forget(f->ing, run);
            ingest_run_unref(run);
        } else {
            assert_unharmed(f, run);
        }
    }
    free(im.data);
}

static void
gaps_that_break_a_rule_end_the_run(void **state)
{
    static const struct {
        const char *what;
        uint64_t count;
        size_t gaps_len;
        uint64_t gaps[4];
        bool whole; /* the disk is read whole */
    } cases[] = {
        {"half a gap", 4, 1, {1}, false},
        {"a gap before the first chunk", 4, 2, {0, 1}, false},
        {"a gap behind the last chunk", 4, 2, {4, 1}, false},
        {"two gaps at one place", 4, 4, {1, 1, 1, 1}, false},
        {"gaps that descend", 4, 4, {2, 1, 1, 1}, false},
        {"a gap of nothing", 4, 2, {1, 0}, false},
        {"a gap to behind the end", 4, 2, {1, 38}, false},
        {"a gap that goes round", 4, 4, {1, UINT64_MAX, 2, 1}, false},
        {"gaps that go round together", 4, 4, {1, 41, 2, UINT64_MAX - 41}, false},
        {"more chunks than an offer may have", 1025, 2, {1, 1}, false},
        {"a disk that is read whole", 4, 2, {1, 1}, true},
    };
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 99, 3);
    struct point *p;

    point_unref(back_up(f, 1, &im));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
        struct ingest_offer o = {
            .count = cases[i].count, .gaps = cases[i].gaps, .gaps_len = cases[i].gaps_len};
        struct ingest_run *run = start_run(f, (uint8_t)(i + 2));
        size_t need_len = 0;
        struct run_info info;

        begin_disk(run, 0, &im, !cases[i].whole);
        if (ingest_offer(run, &o, need, &need_len, &err) != VARVE_ERR_PROTOCOL) {
            fail_msg("%s: %s", cases[i].what, varve_err_name(err.code));
        }
        info = info_of(run);
        assert_int_equal(info.phase, RUN_CLEAN);
        ingest_end(f->ing, &info.host, &info.id, &info.error, NULL, 0);
        ingest_forget(f->ing, run);
        ingest_run_unref(run);
    }
    assert_int_equal(point_count(f), 1);
    p = back_up(f, 200, &im);
    assert_point_holds(f, p, 0, &im);
    point_unref(p);
    free(im.data);
}

static void
an_offer_of_too_many_named_chunks_ends_the_run(void **state)
{
    struct fixture *f = *state;
    struct image im = {NULL, 4096 * CHUNK};
    struct ingest_run *run = start_run(f, 1);
    uint8_t bits[1032 / 8] = {1};
    uint8_t name[32] = {1};
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    struct ingest_offer o = {.count = 1025,
                             .data = bits,
                             .data_len = sizeof(bits),
                             .names = name,
                             .names_len = sizeof(name)};
    size_t need_len = 0;

    begin_disk(run, 0, &im, false);
    assert_err(ingest_offer(run, &o, need, &need_len, &err), VARVE_ERR_PROTOCOL, &err);
    assert_unharmed(f, run);
}

enum put_lie {
    PUT_NOT_OFFERED,
    PUT_NOT_NEEDED,
    PUT_TWICE,
    PUT_TWICE_IN_ONE,
    PUT_DESCENDING,
    PUT_INDEX_TOO_HIGH,
    PUT_NOTHING,
    PUT_LEN_ZERO,
    PUT_LEN_TOO_LONG,
    PUT_SUM_TOO_SMALL,
    PUT_SUM_TOO_LARGE,
    PUT_ZERO_RANGE,
    PUT_OTHER_DISK,
    PUT_TOO_MUCH,
    PUT_LIES
};

static void
make_lie(struct prepared *p, enum put_lie lie)
{
    switch (lie) {
    case PUT_NOT_OFFERED:
        p->put.first_chunk = 3;
        break;
    case PUT_NOT_NEEDED:
        p->index[0] = 9; /* same content as chunk 0 */
        p->put.count = 1;
        p->put.bulk_len = p->len[0];
        break;
    case PUT_TWICE_IN_ONE:
        p->index[1] = p->index[0];
        break;
    case PUT_DESCENDING:
        p->index[0] = 1;
        p->index[1] = 0;
        break;
    case PUT_INDEX_TOO_HIGH:
        p->index[p->put.count - 1] = 10;
        break;
    case PUT_NOTHING:
        p->put.count = 0;
        p->put.bulk_len = 0;
        break;
    case PUT_LEN_ZERO:
        p->put.bulk_len -= p->len[2];
        p->len[2] = 0;
        break;
    case PUT_LEN_TOO_LONG:
        p->len[2] += 1;
        p->put.bulk_len += 1;
        break;
    case PUT_SUM_TOO_SMALL:
        p->put.bulk_len -= 1;
        break;
    case PUT_SUM_TOO_LARGE:
        p->len[2] -= 1;
        break;
    case PUT_ZERO_RANGE:
        p->put.first_chunk = 10;
        break;
    case PUT_OTHER_DISK:
        p->put.disk = 7;
        break;
    case PUT_TOO_MUCH:
        p->put.bulk_len = INGEST_PUT_BYTES_MAX + 1;
        break;
    case PUT_TWICE:
    case PUT_LIES:
        break;
    }
}

static void
puts_that_break_a_rule_end_the_run(void **state)
{
    struct fixture *f = *state;
    for (int lie = 0; lie < PUT_LIES; lie++) {
        struct image im = image_new(40 * CHUNK + 99, 100 + (uint64_t)lie);
        struct ingest_run *run = start_run(f, (uint8_t)(lie + 1));
        struct prepared p;
        struct offered o;
        struct offered zeros;

        memcpy(im.data + 9 * CHUNK, im.data, CHUNK);
        zero_chunk(&im, 10);
        zero_chunk(&im, 11);
        begin_disk(run, 0, &im, false);
        do_offer(run, 0, &im, 0, 10, &o);
        do_offer(run, 0, &im, 10, 2, &zeros);
        assert_int_equal(needed(&o), 9);
        prepare(&p, &im, &o, 0, 10);
        if (lie == PUT_TWICE) {
            assert_ok(ingest_put_accept(run, &p.put, &err), &err);
        }
        make_lie(&p, (enum put_lie)lie);
        if (ingest_put_accept(run, &p.put, &err) != VARVE_ERR_PROTOCOL) {
            fail_msg("lie %d: %s", lie, varve_err_name(err.code));
        }
        if (lie == PUT_TWICE) {
            assert_ok(ingest_put_store(run, &p.put, &err), &err);
        }
        free(p.bulk);
        free(im.data);
        if (lie + 1 < PUT_LIES) {
            struct run_info info = info_of(run);

            ingest_end(f->ing, &info.host, &info.id, &info.error, NULL, 0);
            assert_int_equal(info_of(run).phase, RUN_FAILED);
            ingest_forget(f->ing, run);
            ingest_run_unref(run);
        } else {
            assert_unharmed(f, run);
        }
    }
}

static void
bytes_that_are_not_those_of_the_name_end_the_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 99, 1); /* as assert_unharmed()'s */
    struct ingest_run *run = start_run(f, 1);
    struct prepared p;
    struct offered o;

    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 8, &o);
    prepare(&p, &im, &o, 0, 8);
    p.bulk[3 * CHUNK + 17] ^= 1;
    assert_ok(ingest_put_accept(run, &p.put, &err), &err);
    assert_err(ingest_put_store(run, &p.put, &err), VARVE_ERR_CORRUPT, &err);
    free(p.bulk);
    assert_int_equal(info_of(run).error.code, VARVE_ERR_CORRUPT);
    assert_err(try_offer(run, 0, &im, 8, 1, &o), VARVE_ERR_CORRUPT, &err);
    assert_unharmed(f, run);
    free(im.data);
}

static void
a_disk_cannot_be_ended_before_all_of_it_is_there(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(40 * CHUNK + 99, 3);
    struct ingest_run *run = start_run(f, 1);
    struct offered o;

    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 41, &o);
    assert_err(ingest_disk_end(run, 0, 0, &err), VARVE_ERR_PROTOCOL, &err);
    ingest_run_fail(run, &err, true);
    ingest_forget(f->ing, run);
    ingest_run_unref(run);

    run = start_run(f, 2);
    begin_disk(run, 0, &im, false);
    send_chunks(run, 0, &im, 0, 40); /* the short chunk at the end is missing */
    assert_err(ingest_disk_end(run, 0, 0, &err), VARVE_ERR_PROTOCOL, &err);
    assert_unharmed(f, run);
    free(im.data);
}

static void
disks_that_cannot_be_end_the_run(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(4 * CHUNK, 3);

    for (int i = 0; i < 10; i++) {
        struct ingest_run *run = start_run(f, (uint8_t)(i + 1));
        struct ingest_disk_params p = params(0, &im, false);
        struct ingest_position at;
        enum varve_err want = VARVE_ERR_PROTOCOL;

        assert_ok(ingest_disk_begin(run, &p, &at, &err), &err);
        p = params(1, &im, false);
        switch (i) {
        case 0:
            p.disk = POINT_DISKS_MAX;
            want = VARVE_ERR_LIMIT;
            break;
        case 1:
            p.size = 0;
            want = VARVE_ERR_LIMIT;
            break;
        case 2:
            p.size = INGEST_DISK_SIZE_MAX + 1;
            want = VARVE_ERR_LIMIT;
            break;
        case 3:
            p.logical_sector = 513;
            break;
        case 4:
            p.name = "../../etc/passwd";
            break;
        case 5:
            memset(&p.id, 0, sizeof(p.id));
            break;
        case 6:
            p.incremental = true; /* no base was given */
            break;
        case 7:
            p.id = guid_of(4, 0); /* disk 0's */
            break;
        case 8:
            p.disk = 0; /* begun with another id */
            break;
        default:
            p = params(0, &im, false);
            p.size += 512; /* begun with another size */
            break;
        }
        assert_err(ingest_disk_begin(run, &p, &at, &err), want, &err);
        ingest_run_fail(run, &err, true);
        ingest_forget(f->ing, run);
        ingest_run_unref(run);
    }
    free(im.data);
}

static void
an_incremental_disk_needs_the_same_size_and_a_change_id(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(4 * CHUNK, 3);

    point_unref(back_up(f, 1, &im));
    for (int i = 0; i < 2; i++) {
        struct ingest_run *run = start_run_of(f, (uint8_t)(i + 2), 1, i == 1);
        struct ingest_disk_params p = params(0, &im, true);
        struct ingest_position at;

        p.size += i == 0 ? 512 : 0; /* resized; or the operator wants everything read */
        assert_err(ingest_disk_begin(run, &p, &at, &err), VARVE_ERR_PROTOCOL, &err);
        ingest_run_fail(run, &err, true);
        ingest_forget(f->ing, run);
        ingest_run_unref(run);
    }
    free(im.data);
}

static void
a_commit_that_does_not_fit_the_run_ends_it(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(4 * CHUNK, 3);

    for (int i = 0; i < 6; i++) {
        struct ingest_run *run = start_run(f, (uint8_t)(i + 1));
        struct ingest_commit_disk disks[3];
        struct ingest_file file = {.name = "x/y", .data = (const uint8_t *)"z", .len = 1};
        struct ingest_commit c = commit_of(disks, 2);
        enum varve_err want = VARVE_ERR_PROTOCOL;
        struct point *p = NULL;

        if (i != 5) {
            begin_disk(run, 0, &im, false);
            begin_disk(run, 1, &im, false);
            for (uint32_t d = 0; d < 2; d++) {
                send_chunks(run, d, &im, 0, 4);
                if (i != 0 || d == 0) {
                    assert_ok(ingest_disk_end(run, d, 0, &err), &err);
                }
            }
        }
        switch (i) {
        case 0: /* disk 1 is open */
            break;
        case 1:
            c.disk_count = 1;
            break;
        case 2:
            disks[1].disk = 0;
            break;
        case 3:
            disks[1].disk = 5;
            break;
        case 4:
            c.files = &file;
            c.file_count = 1;
            want = VARVE_ERR_LIMIT;
            break;
        default: /* no disks at all */
            c.disk_count = 0;
            break;
        }
        assert_err(ingest_commit(run, &c, &p, &err), want, &err);
        assert_int_equal(point_count(f), 0);
        assert_int_equal(info_of(run).phase, RUN_CLEAN);
        ingest_run_fail(run, &err, true);
        ingest_forget(f->ing, run);
        ingest_run_unref(run);
    }
    free(im.data);
}

static void
offers_that_are_never_completed_meet_a_limit(void **state)
{
    struct fixture *f = *state;
    struct image im = {NULL, UINT64_C(40) << 40};
    struct ingest_run *run = start_run(f, 1);
    uint8_t bits[128];
    uint8_t *names = malloc(1024 * 32);
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    struct test_random r = {4};
    enum varve_err rc = VARVE_OK;
    unsigned offers = 0;

    assert_non_null(names);
    memset(bits, 0xff, sizeof(bits));
    begin_disk(run, 0, &im, false);
    while (rc == VARVE_OK && offers <= INGEST_NAMES_MAX / 1024) {
        struct ingest_offer o = {.first_chunk = offers * 1024u,
                                 .count = 1024,
                                 .data = bits,
                                 .data_len = 128,
                                 .names = names,
                                 .names_len = 1024 * 32};
        size_t need_len = 0;

        test_random_fill(&r, names, 1024 * 32);
        rc = ingest_offer(run, &o, need, &need_len, &err);
        offers += rc == VARVE_OK ? 1 : 0;
    }
    assert_int_equal(rc, VARVE_ERR_LIMIT);
    assert_int_equal(offers, INGEST_NAMES_MAX / 1024);
    free(names);
    assert_unharmed(f, run);
}

static void
names_chosen_to_collide_do_not_slow_the_table_down(void **state)
{
    struct range_queue q;
    unsigned asked_twice = 0;

    (void)state;
    range_queue_init(&q);
    for (uint32_t i = 0; i < INGEST_NAMES_MAX / 4; i++) {
        struct chunk_id id;

        memset(&id, 0, sizeof(id));
        memcpy(id.bytes + 28, &i, 4);
        id.bytes[0] = 1; /* all begin alike */
        assert_true(range_ask(&q, &id) || i == 0);
        asked_twice += range_ask(&q, &id) ? 1 : 0;
    }
    assert_true(asked_twice > 0); /* past a few places it does not look */
    range_queue_clear(&q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(offers_that_break_a_rule_end_the_run),
        CASE(gaps_that_break_a_rule_end_the_run),
        CASE(an_offer_of_too_many_named_chunks_ends_the_run),
        CASE(puts_that_break_a_rule_end_the_run),
        CASE(bytes_that_are_not_those_of_the_name_end_the_run),
        CASE(a_disk_cannot_be_ended_before_all_of_it_is_there),
        CASE(disks_that_cannot_be_end_the_run),
        CASE(an_incremental_disk_needs_the_same_size_and_a_change_id),
        CASE(a_commit_that_does_not_fit_the_run_ends_it),
        CASE(offers_that_are_never_completed_meet_a_limit),
        cmocka_unit_test(names_chosen_to_collide_do_not_slow_the_table_down),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
