/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "os/thread.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

/* ---- stores that fail ---- */

static void
a_full_store_fails_the_run_and_takes_the_next(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(400 * CHUNK, 3); /* more than a pack */
    const struct store_fault_plan full = {.kinds = STORE_FAULT_PUT,
                                          .fail_at = 1,
                                          .fail_forever = true,
                                          .fail_code = VARVE_ERR_NOSPACE};
    const struct store_fault_plan fine = {.fail_at = 0};
    struct ingest_run *run = start_run(f, 1);
    struct ingest_commit_disk list[1];
    struct ingest_commit c = commit_of(list, 1);
    struct point *p = NULL;
    enum varve_err rc = VARVE_OK;

    store_fault_set(f->store, &full);
    begin_disk(run, 0, &im, false);
    for (uint64_t at = 0; at < 400 && rc == VARVE_OK; at += 40) {
        struct offered o;

        rc = try_offer(run, 0, &im, at, 40, &o);
        for (size_t n = 0; n < o.names && rc == VARVE_OK; n += 20) {
            struct prepared put;

            prepare(&put, &im, &o, n, n + 20 < o.names ? n + 20 : o.names);
            rc = ingest_put_accept(run, &put.put, &err);
            if (rc == VARVE_OK) {
                rc = ingest_put_store(run, &put.put, &err);
            }
            free(put.bulk);
        }
    }
    if (rc == VARVE_OK) {
        rc = ingest_disk_end(run, 0, 0, &err);
    }
    if (rc == VARVE_OK) {
        rc = ingest_commit(run, &c, &p, &err);
    }
    assert_int_equal(rc, VARVE_ERR_NOSPACE);
    assert_int_equal(info_of(run).error.code, VARVE_ERR_NOSPACE);
    store_fault_set(f->store, &fine);
    assert_unharmed(f, run);
    free(im.data);
}

static void
a_pack_lost_to_one_run_refuses_the_commit_of_another(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(20 * CHUNK, 3);
    const struct store_fault_plan broken = {
        .kinds = STORE_FAULT_PUT, .fail_at = 1, .fail_code = VARVE_ERR_NOSPACE};
    struct ingest_run *a = start_run_of(f, 1, 1, false);
    struct ingest_run *b = start_run_of(f, 2, 2, false);
    struct ingest_commit_disk list[1];
    struct ingest_commit c = commit_of(list, 1);
    struct point *p = NULL;
    struct offered o;

    begin_disk(a, 0, &im, false);
    begin_disk(b, 0, &im, false);
    send_chunks(a, 0, &im, 0, 20);
    do_offer(b, 0, &im, 0, 20, &o);
    assert_int_equal(o.need_len, 0); /* relies on what a has sent */
    assert_ok(ingest_disk_end(a, 0, 0, &err), &err);
    assert_ok(ingest_disk_end(b, 0, 0, &err), &err);
    store_fault_set(f->store, &broken);
    assert_err(ingest_commit(a, &c, &p, &err), VARVE_ERR_NOSPACE, &err);
    assert_err(ingest_commit(b, &c, &p, &err), VARVE_ERR_NOSPACE, &err);
    assert_int_equal(point_count(f), 0);
    ingest_run_unref(a);
    ingest_run_unref(b);
    free(im.data);
}

/* ---- time ---- */

struct told {
    struct guid run;
    unsigned times;
};

static void
note_cancel(void *arg, const struct guid *host, const struct guid *run)
{
    struct told *t = arg;

    (void)host;
    t->run = *run;
    t->times++;
}

static void
use_options(struct fixture *f, uint32_t grace, uint32_t silence, uint32_t answer, uint32_t clean)
{
    close_all(f);
    f->options = (struct ingest_options){grace, silence, answer, clean, NULL};
    open_all(f);
}

/* Long is long enough for a machine under load, short is over after a nap. */
#define LONG  600000u
#define SHORT 20u
#define NAP   60u

static bool
note_data_pack(void *arg, const char *name, uint64_t size)
{
    struct fixture *f = ((void **)arg)[0];
    uint8_t kind = 0;

    (void)size;
    assert_ok(store_get(f->mem, name, 10, &kind, 1, &err), &err);
    if (kind == CHUNK_DATA) {
        (void)snprintf(((void **)arg)[1], STORE_NAME_MAX + 1, "%s", name);
    }
    return true;
}

static void
a_chunk_that_the_store_lost_is_asked_for_although_an_older_point_has_it(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(20 * CHUNK, 41);
    char pack[STORE_NAME_MAX + 1] = "";
    void *args[2] = {f, pack};
    struct ingest_run *run = NULL;
    struct point *p = NULL;
    struct offered o;

    point_unref(back_up(f, 1, &im));
    assert_ok(store_list(f->mem, "pack/", note_data_pack, args, &err), &err);
    assert_ok(store_remove(f->mem, pack, &err), &err);
    close_all(f);
    open_all(f);
    run = start_run(f, 2);
    begin_disk(run, 0, &im, false);
    do_offer(run, 0, &im, 0, 20, &o);
    assert_int_equal(needed(&o), 20);
    put_needed(run, &im, &o);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    p = commit(run, 1);
    assert_point_holds(f, p, 0, &im);
    point_unref(p);
    end_run(f, run);
    free(im.data);
}

static void
a_host_that_does_not_come_back_loses_its_run(void **state)
{
    struct fixture *f = *state;
    struct told told = {0};
    struct ingest_run *run;
    struct guid host = guid_of(3, 1);
    struct guid id = guid_of(1, 1);
    struct ingest_begun begun;

    use_options(f, SHORT, LONG, LONG, LONG);
    run = start_run(f, 1);
    ingest_tick(f->ing, note_cancel, &told);
    thread_sleep_ms(NAP);
    ingest_tick(f->ing, note_cancel, &told);
    assert_int_equal(info_of(run).phase, RUN_FREEZE); /* it is connected */
    ingest_host_lost(f->ing, &host);
    ingest_tick(f->ing, note_cancel, &told);
    assert_int_equal(info_of(run).phase, RUN_FREEZE);
    thread_sleep_ms(NAP);
    ingest_tick(f->ing, note_cancel, &told);
    assert_int_equal(info_of(run).phase, RUN_FAILED);
    assert_int_equal(info_of(run).error.code, VARVE_ERR_TIMEOUT);
    assert_int_equal(told.times, 0); /* there is nobody to tell */
    ingest_host_back(f->ing, &host);
    assert_err(ingest_begin(f->ing, &host, &id, &begun, &err), VARVE_ERR_TIMEOUT, &err);
    ingest_forget(f->ing, run);
    assert_err(ingest_begin(f->ing, &host, &id, &begun, &err), VARVE_ERR_NOT_FOUND, &err);
    ingest_run_unref(run);
}

static void
a_host_that_comes_back_without_its_run_loses_it(void **state)
{
    struct fixture *f = *state;
    struct guid host = guid_of(3, 1);
    struct told told = {0};
    struct ingest_run *run;

    use_options(f, LONG, LONG, SHORT, LONG);
    run = start_run(f, 1);
    ingest_host_lost(f->ing, &host);
    ingest_host_back(f->ing, &host);
    thread_sleep_ms(NAP);
    ingest_tick(f->ing, note_cancel, &told);
    assert_int_equal(info_of(run).phase, RUN_FAILED);
    assert_int_equal(told.times, 1);
    ingest_run_unref(run);
}

static void
a_silent_host_is_told_to_stop(void **state)
{
    struct fixture *f = *state;
    struct told told = {0};
    struct ingest_run *run;
    struct guid id;

    use_options(f, LONG, SHORT, LONG, LONG);
    run = start_run(f, 1);
    for (int i = 0; i < 4; i++) {
        thread_sleep_ms(SHORT / 4);
        ingest_progress(run, 100, 10, 1);
        ingest_tick(f->ing, note_cancel, &told);
    }
    assert_int_equal(info_of(run).phase, RUN_FREEZE);
    assert_true(info_of(run).read_bytes == 10);
    thread_sleep_ms(NAP);
    ingest_tick(f->ing, note_cancel, &told);
    assert_int_equal(info_of(run).phase, RUN_FAILED);
    assert_int_equal(told.times, 1);
    id = guid_of(1, 1);
    assert_true(guid_equal(&told.run, &id));
    ingest_run_unref(run);
}

static void
a_host_lost_after_its_point_leaves_a_run_that_is_done(void **state)
{
    struct fixture *f = *state;
    struct image im = image_new(2 * CHUNK, 1);
    struct guid host = guid_of(3, 1);
    struct ingest_run *run;
    struct run_info info;

    use_options(f, LONG, LONG, LONG, SHORT);
    run = start_run(f, 1);
    begin_disk(run, 0, &im, false);
    send_chunks(run, 0, &im, 0, 2);
    assert_ok(ingest_disk_end(run, 0, im.size, &err), &err);
    point_unref(commit(run, 1));
    ingest_host_lost(f->ing, &host);
    thread_sleep_ms(NAP);
    ingest_tick(f->ing, NULL, NULL);
    info = info_of(run);
    assert_int_equal(info.phase, RUN_DONE);
    assert_int_equal(info.error.code, VARVE_OK);
    assert_int_equal(info.warning_count, 1);
    ingest_run_unref(run);
    free(im.data);
}

static void
a_revoked_host_loses_its_runs_at_once(void **state)
{
    struct fixture *f = *state;
    struct guid host = guid_of(3, 1);
    struct ingest_run *run = start_run(f, 1);

    ingest_host_lost(f->ing, &host);
    ingest_host_revoked(f->ing, &host);
    assert_int_equal(info_of(run).phase, RUN_FAILED);
    assert_int_equal(info_of(run).error.code, VARVE_ERR_DENIED);
    ingest_run_unref(run);
}

static void
what_a_host_says_at_the_end_is_kept(void **state)
{
    static const char *const warnings[] = {"merge goes on", "slow"};
    struct fixture *f = *state;
    struct ingest_run *run = start_run(f, 1);
    struct run_info info = info_of(run);
    struct varve_error why;

    (void)varve_error_set(&why, VARVE_ERR_IO, "disk went away");
    why.source = VARVE_SRC_HRESULT;
    why.native = -2147024784;
    ingest_end(f->ing, &info.host, &info.id, &why, warnings, 2);
    info = info_of(run);
    assert_int_equal(info.phase, RUN_FAILED);
    assert_string_equal(info.error.msg, "disk went away");
    assert_true(info.error.native == -2147024784);
    assert_int_equal(info.warning_count, 2);
    assert_true(info.ended_at_us > 0);
    ingest_run_unref(run);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_full_store_fails_the_run_and_takes_the_next),
        CASE(a_pack_lost_to_one_run_refuses_the_commit_of_another),
        CASE(a_chunk_that_the_store_lost_is_asked_for_although_an_older_point_has_it),
        CASE(a_host_that_does_not_come_back_loses_its_run),
        CASE(a_host_that_comes_back_without_its_run_loses_it),
        CASE(a_silent_host_is_told_to_stop),
        CASE(a_host_lost_after_its_point_leaves_a_run_that_is_done),
        CASE(a_revoked_host_loses_its_runs_at_once),
        CASE(what_a_host_says_at_the_end_is_kept),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
