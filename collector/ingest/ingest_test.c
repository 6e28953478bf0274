/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

/* ---- the ordinary way ---- */

static void
a_full_run_becomes_a_point_with_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct image a = image_new(200 * CHUNK, 1);
    struct image b = image_new(70 * CHUNK + 1536, 2); /* ends in a short chunk */
    struct ingest_run *run = start_run(f, 1);
    struct ingest_commit_disk list[2];
    struct ingest_file file = {.name = "vm.vmcx", .data = (const uint8_t *)"config", .len = 6};
    struct ingest_commit c = commit_of(list, 2);
    struct point *p = NULL;
    struct run_info info;

    for (uint64_t i = 10; i < 90; i++) {
        zero_chunk(&a, i);
    }
    c.files = &file;
    c.file_count = 1;
    begin_disk(run, 0, &a, false);
    begin_disk(run, 1, &b, false);
    send_chunks(run, 0, &a, 0, 50);
    send_chunks(run, 1, &b, 0, chunks_of(&b));
    send_chunks(run, 0, &a, 50, 150);
    assert_ok(ingest_disk_end(run, 0, a.size, &err), &err);
    assert_ok(ingest_disk_end(run, 1, b.size, &err), &err);
    assert_int_equal(point_count(f), 0);
    assert_ok(ingest_commit(run, &c, &p, &err), &err);
    assert_int_equal(point_count(f), 1);

    assert_int_equal(p->disk_count, 2);
    assert_point_holds(f, p, 0, &a);
    assert_point_holds(f, p, 1, &b);
    assert_string_equal(p->disks[1].name, "data.vhdx");
    assert_string_equal(p->disks[1].change_id, "change-1");
    assert_string_equal(p->vm_name, "mail");
    assert_true(p->disks[0].new_bytes == 120 * CHUNK);
    assert_true(p->disks[0].read_bytes == a.size);
    assert_int_equal(p->file_count, 1);
    info = info_of(run);
    assert_int_equal(info.phase, RUN_CLEAN);
    assert_true(info.new_bytes == 120 * CHUNK + b.size);
    assert_true(guid_equal(&info.point, &p->id));
    assert_false(info.incremental);
    end_run(f, run);
    point_unref(p);
    free(a.data);
    free(b.data);
}

static void
an_incremental_run_changes_what_was_offered_and_keeps_the_rest(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(300 * CHUNK + 512, 1);
    struct test_random r = {9};
    struct ingest_run *run;
    struct point *p = back_up(f, 1, &im);

    point_unref(p);
    test_random_fill(&r, im.data + 5 * CHUNK, CHUNK);
    test_random_fill(&r, im.data + 299 * CHUNK, CHUNK + 512);
    zero_chunk(&im, 200);
    run = start_run(f, 2);
    begin_disk(run, 0, &im, true);
    send_chunks(run, 0, &im, 5, 2); /* one changed, one not */
    send_chunks(run, 0, &im, 200, 1);
    send_chunks(run, 0, &im, 299, 2);
    assert_ok(ingest_disk_end(run, 0, 5 * CHUNK, &err), &err);
    p = commit(run, 1);
    assert_point_holds(f, p, 0, &im);
    assert_true(p->disks[0].incremental);
    assert_true(p->disks[0].new_bytes == 2 * CHUNK + 512);
    end_run(f, run);
    point_unref(p);
    free(im.data);
}

static void
the_start_of_a_run_names_the_change_ids_of_the_last_point(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(3 * CHUNK, 1);
    struct ingest_request request = {.run = guid_of(1, 2),
                                     .vm = guid_of(2, 1),
                                     .host = guid_of(3, 1),
                                     .vm_name = "mail",
                                     .host_name = "node-1"};
    struct ingest_run *run = NULL;
    struct ingest_start start;

    point_unref(back_up(f, 1, &im));
    for (int full = 0; full < 2; full++) {
        struct varve_error stop;

        request.run = guid_of(1, (uint8_t)(2 + full));
        request.full = full != 0;
        assert_ok(ingest_run_new(f->ing, &request, &run, &err), &err);
        assert_ok(ingest_run_start(run, &start, &err), &err);
        assert_int_equal(start.disk_count, full ? 0 : 1);
        assert_string_equal(start.reference_point, "ref");
        assert_int_equal(start.full, full);
        if (!full) {
            assert_string_equal(start.disks[0].change_id, "change-1");
            assert_true(start.disks[0].size == im.size);
        }
        free(start.disks);
        (void)varve_error_set(&stop, VARVE_ERR_CANCELLED, "enough");
        ingest_run_fail(run, &stop, true);
        ingest_run_unref(run);
    }
    free(im.data);
}

static void
nothing_is_asked_for_that_is_there(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(100 * CHUNK, 1);
    struct ingest_run *run;
    struct offered o;

    point_unref(back_up(f, 1, &im));
    /* Same place: the older manifest knows.  Another place: the index does. */
    memcpy(im.data + 50 * CHUNK, im.data, 10 * CHUNK);
    run = start_run(f, 2);
    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 100, &o);
    assert_int_equal(o.need_len, 0);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    {
        struct point *p = commit(run, 1);

        assert_point_holds(f, p, 0, &im);
        assert_true(p->disks[0].new_bytes == 0);
        point_unref(p);
    }
    end_run(f, run);
    free(im.data);
}

static void
equal_chunks_are_asked_for_once(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(64 * CHUNK, 1);
    struct ingest_run *run;
    struct offered first;
    struct offered second;
    struct point *p;

    for (uint64_t i = 1; i < 64; i += 2) {
        memcpy(im.data + i * CHUNK, im.data, CHUNK);
    }
    run = start_run(f, 1);
    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 32, &first);
    do_offer(run, 0, &im, 32, 32, &second);
    assert_int_equal(needed(&first), 16);
    assert_int_equal(needed(&second), 16); /* its even ones only */
    put_needed(run, &im, &second);
    put_needed(run, &im, &first);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    p = commit(run, 1);
    assert_point_holds(f, p, 0, &im);
    point_unref(p);
    end_run(f, run);
    free(im.data);
}

static void
a_disk_of_zeros_is_one_offer_and_a_point(void **state)
{
    struct fixture *f = *state;
    struct ingest_run *run = start_run(f, 1);
    struct image im = {NULL, UINT64_C(40) << 40};
    struct ingest_offer o = {.disk = 0, .first_chunk = 0, .count = chunks_of(&im)};
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    size_t need_len = 9;
    struct point *p;

    begin_disk(run, 0, &im, false);
    assert_ok(ingest_offer(run, &o, need, &need_len, &err), &err);
    assert_int_equal(need_len, 0);
    assert_ok(ingest_disk_end(run, 0, 0, &err), &err);
    p = commit(run, 1);
    assert_true(chunk_id_is_hole(&p->disks[0].root.id));
    point_unref(p);
    end_run(f, run);
}

/* ---- connections that break ---- */

static void
lose_and_come_back(struct fixture *f, struct ingest_run *run, struct ingest_begun *begun)
{
    struct run_info info = info_of(run);

    ingest_host_lost(f->ing, &info.host);
    ingest_host_back(f->ing, &info.host);
    assert_ok(ingest_begin(f->ing, &info.host, &info.id, begun, &err), &err);
}

static void
a_joined_run_goes_on_where_everything_before_is_complete(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(100 * CHUNK, 1);
    struct ingest_run *run = start_run(f, 1);
    struct ingest_disk_params again = params(0, &im, false);
    struct ingest_position at;
    struct ingest_begun begun;
    struct offered a;
    struct offered b;
    struct offered c;
    struct point *p;

    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 20, &a);
    do_offer(run, 0, &im, 20, 20, &b);
    do_offer(run, 0, &im, 40, 20, &c);
    put_needed(run, &im, &a);
    put_needed(run, &im, &c);
    lose_and_come_back(f, run, &begun);
    assert_int_equal(begun.disk_count, 1);
    assert_true(begun.disks[0].next_chunk == 20);
    assert_false(begun.disks[0].closed);
    assert_ok(ingest_disk_begin(run, &again, &at, &err), &err);
    assert_true(at.next_chunk == 20);
    /* What was put behind the gap is in the store and not asked for again. */
    do_offer(run, 0, &im, 20, 40, &b);
    assert_int_equal(needed(&b), 20);
    put_needed(run, &im, &b);
    send_chunks(run, 0, &im, 60, 40);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    lose_and_come_back(f, run, &begun);
    assert_true(begun.disks[0].closed);
    p = commit(run, 1);
    assert_point_holds(f, p, 0, &im);
    point_unref(p);
    end_run(f, run);
    free(im.data);
}

static void
what_lies_in_the_gaps_of_an_offer_keeps_the_content_of_the_base(void **state)
{
    static const uint64_t changed[] = {0, 1, 7, 90, 91, 92, 200, 300};
    static const uint64_t zeroed[] = {301, 303};
    struct fixture *f = *state;
    struct image im = image_new(303 * CHUNK + 512, 1);
    struct test_random r = {9};
    struct ingest_begun begun;
    struct ingest_run *run;
    struct offered o;
    struct point *p = back_up(f, 1, &im);

    point_unref(p);
    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        test_random_fill(&r, im.data + changed[i] * CHUNK, CHUNK);
    }
    zero_chunk(&im, 91);
    zero_chunk(&im, 301);
    zero_chunk(&im, 303);
    run = start_run(f, 2);
    begin_disk(run, 0, &im, true);
    assert_ok(try_offer_of(run, 0, &im, changed, 8, &o), &err);
    assert_int_equal(needed(&o), 7);
    put_needed(run, &im, &o);
    lose_and_come_back(f, run, &begun);
    assert_int_equal(begun.disks[0].next_chunk, 301);
    assert_ok(try_offer_of(run, 0, &im, zeroed, 2, &o), &err);
    assert_ok(ingest_disk_end(run, 0, 10 * CHUNK, &err), &err);
    p = commit(run, 1);
    assert_point_holds(f, p, 0, &im);
    assert_true(p->disks[0].new_bytes == 7 * CHUNK);
    end_run(f, run);
    point_unref(p);
    free(im.data);
}

static void
a_run_must_be_begun_again_on_a_new_connection(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(2 * CHUNK, 1);
    struct ingest_run *run = start_run(f, 1);
    struct run_info info = info_of(run);
    struct offered o;

    begin_disk(run, 0, &im, false);
    ingest_host_lost(f->ing, &info.host);
    ingest_host_back(f->ing, &info.host);
    assert_err(try_offer(run, 0, &im, 0, 1, &o), VARVE_ERR_PROTOCOL, &err);
    ingest_run_unref(run);
    free(im.data);
}

static void
a_commit_said_twice_gives_the_same_point(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(2 * CHUNK, 1);
    struct ingest_run *run = start_run(f, 1);
    struct run_info info = info_of(run);
    struct ingest_begun begun;
    struct point *first;
    struct point *second;

    begin_disk(run, 0, &im, false);
    send_chunks(run, 0, &im, 0, 2);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    first = commit(run, 1);
    second = commit(run, 1);
    assert_true(guid_equal(&first->id, &second->id));
    lose_and_come_back(f, run, &begun);
    assert_true(begun.committed);
    assert_true(guid_equal(&begun.point, &first->id));
    second = commit(run, 1);
    assert_int_equal(point_count(f), 1);
    end_run(f, run);

    /* Long after, and after the collector was restarted. */
    for (int i = 0; i < 2; i++) {
        assert_ok(ingest_begin(f->ing, &info.host, &info.id, &begun, &err), &err);
        assert_true(begun.committed);
        assert_true(guid_equal(&begun.point, &first->id));
        ingest_end(f->ing, &info.host, &info.id, NULL, NULL, 0);
        if (i == 0) {
            point_unref(first);
            point_unref(second);
            point_unref(second);
            close_all(f);
            open_all(f);
            catalog_latest(f->catalog, &info.vm, &first);
        }
    }
    point_unref(first);
    free(im.data);
}

static void
a_run_that_nobody_knows_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct ingest_run *run = start_run(f, 1);
    struct ingest_run *found = NULL;
    struct ingest_begun begun;
    struct guid other_host = guid_of(3, 2);
    struct guid host = guid_of(3, 1);
    struct guid id = guid_of(1, 1);
    struct guid other = guid_of(1, 77);

    assert_err(ingest_begin(f->ing, &host, &other, &begun, &err), VARVE_ERR_NOT_FOUND, &err);
    /* Another host's run is as unknown as none. */
    assert_err(ingest_begin(f->ing, &other_host, &id, &begun, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(ingest_find(f->ing, &other_host, &id, &found, &err), VARVE_ERR_NOT_FOUND, &err);
    ingest_end(f->ing, &other_host, &id, NULL, NULL, 0);
    assert_int_equal(info_of(run).phase, RUN_FREEZE);
    ingest_run_unref(run);
}

static void
a_vm_has_one_run_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct ingest_run *run = start_run(f, 1);
    struct ingest_run *second = NULL;
    struct ingest_request request = {.run = guid_of(1, 2),
                                     .vm = guid_of(2, 1),
                                     .host = guid_of(3, 1),
                                     .vm_name = "mail",
                                     .host_name = "node-1"};
    struct varve_error stop;

    assert_err(ingest_run_new(f->ing, &request, &second, &err), VARVE_ERR_BUSY, &err);
    (void)varve_error_set(&stop, VARVE_ERR_CANCELLED, "enough");
    ingest_run_fail(run, &stop, true);
    assert_ok(ingest_run_new(f->ing, &request, &second, &err), &err);
    ingest_run_unref(second);
    ingest_run_unref(run);
}

/* ---- many at once ---- */

#define PARALLEL_PUTS 4u

struct put_thread {
    struct thread thread;
    struct ingest_run *run;
    struct prepared p;
};

static void
store_one(void *arg)
{
    struct put_thread *t = arg;
    struct varve_error e;

    assert_ok(ingest_put_store(t->run, &t->p.put, &e), &e);
}

struct agent_thread {
    struct thread thread;
    struct fixture *f;
    struct image im;
    uint8_t n;
    struct point *point;
};

static void
run_agent(void *arg)
{
    struct agent_thread *a = arg;
    struct ingest_run *run = start_run_of(a->f, a->n, a->n, false);
    struct put_thread puts[PARALLEL_PUTS];
    struct varve_error e;

    begin_disk(run, 0, &a->im, false);
    for (uint64_t at = 0; at < chunks_of(&a->im); at += 64) {
        struct offered o;

        do_offer(run, 0, &a->im, at, 64, &o);
        for (unsigned i = 0; i < PARALLEL_PUTS; i++) {
            puts[i].run = run;
            prepare(&puts[i].p, &a->im, &o, i * 16, i * 16 + 16);
            if (puts[i].p.put.count > 0) {
                assert_ok(ingest_put_accept(run, &puts[i].p.put, &e), &e);
                assert_ok(thread_start(&puts[i].thread, "put", store_one, &puts[i], &e), &e);
            }
        }
        for (unsigned i = 0; i < PARALLEL_PUTS; i++) {
            if (puts[i].p.put.count > 0) {
                thread_join(&puts[i].thread);
            }
            free(puts[i].p.bulk);
        }
    }
    assert_ok(ingest_disk_end(run, 0, a->im.size, &e), &e);
    a->point = commit(run, 1);
    ingest_run_unref(run);
}

static void
runs_that_share_content_go_on_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct agent_thread agents[3];

    for (uint8_t i = 0; i < 3; i++) {
        agents[i].f = f;
        agents[i].n = (uint8_t)(i + 1);
        agents[i].im = image_new(512 * CHUNK, 1);
        for (uint64_t c = i; c < 512; c += 16) {
            agents[i].im.data[c * CHUNK] ^= (uint8_t)(i + 1);
        }
    }
    for (uint8_t i = 0; i < 3; i++) {
        assert_ok(thread_start(&agents[i].thread, "agent", run_agent, &agents[i], &err), &err);
    }
    for (uint8_t i = 0; i < 3; i++) {
        thread_join(&agents[i].thread);
    }
    for (uint8_t i = 0; i < 3; i++) {
        assert_point_holds(f, agents[i].point, 0, &agents[i].im);
        point_unref(agents[i].point);
        free(agents[i].im.data);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_full_run_becomes_a_point_with_the_same_bytes),
        CASE(an_incremental_run_changes_what_was_offered_and_keeps_the_rest),
        CASE(what_lies_in_the_gaps_of_an_offer_keeps_the_content_of_the_base),
        CASE(the_start_of_a_run_names_the_change_ids_of_the_last_point),
        CASE(nothing_is_asked_for_that_is_there),
        CASE(equal_chunks_are_asked_for_once),
        CASE(a_disk_of_zeros_is_one_offer_and_a_point),
        CASE(a_joined_run_goes_on_where_everything_before_is_complete),
        CASE(a_run_must_be_begun_again_on_a_new_connection),
        CASE(a_commit_said_twice_gives_the_same_point),
        CASE(a_run_that_nobody_knows_is_not_found),
        CASE(a_vm_has_one_run_at_a_time),
        CASE(runs_that_share_content_go_on_side_by_side),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
