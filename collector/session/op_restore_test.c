/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"
#include "restore/restore_lab.h"
#include "session/op_modules.h"

/*
 * The handlers of restore and verify without a session: the test is the sink.  Every answer is packed
 * and unpacked as the wire would do it.
 */
#define MIB         (1024u * 1024)
#define ANSWERS_MAX 64u

struct op_sink {
    struct mutex lock;
    Varve__V1__Envelope *answers[ANSWERS_MAX];
    uint8_t *bulk[ANSWERS_MAX];
    size_t bulk_len[ANSWERS_MAX];
    size_t count;
    bool gone;
};

enum varve_err
op_reply(struct op_sink *sink, Varve__V1__Envelope *head, const struct aead_part *bulk,
         size_t bulk_parts, bool more, struct varve_error *err)
{
    size_t len;
    uint8_t *packed;

    if (sink->gone) {
        return varve_error_set(err, VARVE_ERR_CLOSED, "gone");
    }
    head->more = more;
    len = varve__v1__envelope__get_packed_size(head);
    packed = malloc(len + 1);
    assert_non_null(packed);
    assert_int_equal(varve__v1__envelope__pack(head, packed), len);
    mutex_lock(&sink->lock);
    assert_true(sink->count < ANSWERS_MAX);
    sink->answers[sink->count] = varve__v1__envelope__unpack(NULL, len, packed);
    assert_non_null(sink->answers[sink->count]);
    sink->bulk[sink->count] = NULL;
    sink->bulk_len[sink->count] = 0;
    if (bulk_parts > 0) {
        assert_int_equal(bulk_parts, 1);
        sink->bulk[sink->count] = malloc(bulk->len);
        assert_non_null(sink->bulk[sink->count]);
        memcpy(sink->bulk[sink->count], bulk->data, bulk->len);
        sink->bulk_len[sink->count] = bulk->len;
    }
    sink->count++;
    mutex_unlock(&sink->lock);
    free(packed);
    return VARVE_OK;
}

bool
op_gone(struct op_sink *sink)
{
    return sink->gone;
}

void
op_wire_error(Varve__V1__Error *out, const struct varve_error *err)
{
    out->code = (uint32_t)err->code;
    out->message = (char *)(uintptr_t)err->msg; /* only read */
}

enum varve_err
op_point_info(Varve__V1__PointInfo *out, const struct point *p, struct varve_error *err)
{
    (void)err;
    varve__v1__point_info__init(out);
    out->seq = p->seq;
    return VARVE_OK;
}

void
op_point_info_release(Varve__V1__PointInfo *info)
{
    (void)info;
}

static void
clear(struct op_sink *sink)
{
    for (size_t i = 0; i < sink->count; i++) {
        varve__v1__envelope__free_unpacked(sink->answers[i], NULL);
        free(sink->bulk[i]);
    }
    sink->count = 0;
}

struct fixture {
    struct lab lab;
    struct collector c;
    struct op_sink sink;
    void *slot;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    assert_non_null(f);
    lab_open(&f->lab, 5, 65536);
    (void)lab_add_disk(&f->lab, "a.vhdx", 6 * MIB, 512);
    for (unsigned i = 0; i < 3; i++) {
        lab_write(&f->lab, 0, 30);
        (void)lab_take_point(&f->lab);
    }
    f->c.chunks = f->lab.cs;
    f->c.catalog = f->lab.catalog;
    mutex_init(&f->sink.lock);
    assert_ok(op_restore_module.session_begin(&f->c, &f->slot, &err), &err);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    op_restore_module.session_end(&f->c, f->slot);
    clear(&f->sink);
    mutex_destroy(&f->sink.lock);
    lab_close(&f->lab);
    free(f);
    return 0;
}

static enum varve_err
ask(struct fixture *f, const struct op_module *m, const Varve__V1__Envelope *head,
    struct varve_error *err)
{
    for (size_t i = 0; i < m->handler_count; i++) {
        if (m->handlers[i].request == head->body_case) {
            return m->handlers[i].handle(&f->c, f->slot, head, &f->sink, err);
        }
    }
    fail_msg("no handler for %d", (int)head->body_case);
    return VARVE_ERR_INTERNAL;
}

static enum varve_err
open_restore(struct fixture *f, const char *selector, Varve__V1__RestoreFormat format,
             struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreOpen req = VARVE__V1__RESTORE_OPEN__INIT;
    char text[64];

    (void)snprintf(text, sizeof(text), "%s", selector);
    req.point = text;
    req.format = format;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN;
    head.restore_open = &req;
    return ask(f, &op_restore_module, &head, err);
}

static enum varve_err
read_range(struct fixture *f, uint32_t restore, uint32_t file, uint64_t offset, uint32_t length,
           struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreRead req = VARVE__V1__RESTORE_READ__INIT;

    req.restore = restore;
    req.file = file;
    req.offset = offset;
    req.length = length;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_READ;
    head.restore_read = &req;
    return ask(f, &op_restore_module, &head, err);
}

static enum varve_err
close_restore(struct fixture *f, uint32_t restore, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreClose req = VARVE__V1__RESTORE_CLOSE__INIT;

    req.restore = restore;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE;
    head.restore_close = &req;
    return ask(f, &op_restore_module, &head, err);
}

static void
a_restore_is_opened_read_mapped_and_closed(void **state)
{
    struct fixture *f = *state;
    const struct lab_truth *truth = &f->lab.points[2].disks[0];
    const Varve__V1__RestoreOpenReply *opened;
    const Varve__V1__RestoreMapReply *map;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreMap req = VARVE__V1__RESTORE_MAP__INIT;
    struct varve_error err;
    uint32_t id;

    assert_ok(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err), &err);
    assert_int_equal(f->sink.count, 1);
    opened = f->sink.answers[0]->restore_open_reply;
    assert_non_null(opened);
    assert_int_equal(opened->point->seq, 3);
    assert_int_equal(opened->n_files, 2);
    assert_string_equal(opened->files[0]->name, "a.raw");
    assert_int_equal(opened->files[0]->size, truth->size);
    assert_int_equal(opened->files[1]->disk_id.len, 0);
    id = opened->restore;
    clear(&f->sink);

    for (uint64_t off = 0; off < truth->size; off += MIB) {
        const Varve__V1__RestoreReadReply *reply;
        const uint8_t *from;
        uint64_t at = off;

        assert_ok(read_range(f, id, 0, off, MIB, &err), &err);
        reply = f->sink.answers[0]->restore_read_reply;
        from = f->sink.bulk[0];
        for (size_t i = 0; i < reply->n_pieces; i++) {
            for (uint32_t k = 0; k < reply->pieces[i]->length; k++, at++) {
                assert_int_equal(reply->pieces[i]->hole ? 0 : *from++, truth->bytes[at]);
            }
        }
        assert_int_equal(at, off + MIB);
        clear(&f->sink);
    }

    req.restore = id;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_MAP;
    head.restore_map = &req;
    assert_ok(ask(f, &op_restore_module, &head, &err), &err);
    map = f->sink.answers[0]->restore_map_reply;
    assert_int_equal(map->next_offset, truth->size);
    assert_true(map->n_stretches > 0);

    assert_ok(close_restore(f, id, &err), &err);
    assert_ok(close_restore(f, id, &err), &err);
    assert_err(read_range(f, id, 0, 0, 1, &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
what_makes_no_sense_is_refused(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    uint32_t id;

    assert_err(open_restore(f, "nosuch@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_err(open_restore(f, "lab@latest", 99, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_err(open_restore(f, "lab@latest", 0, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_err(read_range(f, 1, 0, 0, 1, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_VHDX, &err), &err);
    id = f->sink.answers[0]->restore_open_reply->restore;
    assert_err(read_range(f, id, 0, 0, 0, &err), VARVE_ERR_INVALID, &err);
    assert_err(read_range(f, id, 0, 0, MIB + 1, &err), VARVE_ERR_INVALID, &err);
    assert_err(read_range(f, id, 2, 0, 1, &err), VARVE_ERR_INVALID, &err);
    assert_err(read_range(f, id, 0, UINT64_MAX, 1, &err), VARVE_ERR_INVALID, &err);
}

static void
a_session_has_eight_restores_open_at_most(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;

    for (unsigned i = 0; i < 8; i++) {
        assert_ok(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_CHAIN, &err),
                  &err);
    }
    assert_err(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err),
               VARVE_ERR_LIMIT, &err);
    assert_ok(close_restore(f, f->sink.answers[3]->restore_open_reply->restore, &err), &err);
    assert_ok(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err), &err);
}

static void
read_until_closed(void *arg)
{
    struct fixture *f = arg;
    struct op_sink sink = {.gone = false};
    enum varve_err rc = VARVE_OK;

    mutex_init(&sink.lock);
    for (unsigned i = 0; i < 100000 && rc == VARVE_OK; i++) {
        Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__RestoreRead req = VARVE__V1__RESTORE_READ__INIT;
        struct varve_error err;

        req.restore = 1;
        req.offset = (i % 6) * MIB;
        req.length = 65536;
        head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_READ;
        head.restore_read = &req;
        rc = op_restore_module.handlers[1].handle(&f->c, f->slot, &head, &sink, &err);
        clear(&sink);
    }
    mutex_destroy(&sink.lock);
    assert_int_equal(rc, VARVE_ERR_NOT_FOUND);
}

static void
closing_while_others_read_is_safe(void **state)
{
    struct fixture *f = *state;
    struct thread threads[4];
    struct varve_error err;

    assert_ok(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err), &err);
    assert_int_equal(f->sink.answers[0]->restore_open_reply->restore, 1);
    for (size_t i = 0; i < 4; i++) {
        assert_ok(thread_start(&threads[i], "reader", read_until_closed, f, &err), &err);
    }
    thread_sleep_ms(50);
    assert_ok(close_restore(f, 1, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        thread_join(&threads[i]);
    }
}

static void
a_peer_that_is_gone_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;

    f->sink.gone = true;
    assert_err(open_restore(f, "lab@latest", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW, &err),
               VARVE_ERR_CLOSED, &err);
}

/* ---- verify ---- */

static enum varve_err
verify(struct fixture *f, const char *selector, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Verify req = VARVE__V1__VERIFY__INIT;
    char text[64];
    char *points[] = {text, text};

    (void)snprintf(text, sizeof(text), "%s", selector == NULL ? "" : selector);
    req.points = points;
    req.n_points = selector == NULL ? 0 : 2; /* twice the same */
    head.body_case = VARVE__V1__ENVELOPE__BODY_VERIFY;
    head.verify = &req;
    return ask(f, &op_verify_module, &head, err);
}

static void
sound_points_verify_with_a_last_answer(void **state)
{
    struct fixture *f = *state;
    const Varve__V1__Envelope *last;
    struct varve_error err;

    assert_ok(verify(f, NULL, &err), &err);
    last = f->sink.answers[f->sink.count - 1];
    assert_false(last->more);
    assert_int_equal(last->verify_reply->points_done, 3);
    assert_int_equal(last->verify_reply->points_total, 3);
    assert_int_equal(last->verify_reply->n_problems, 0);
    assert_true(f->sink.count > 1 && f->sink.answers[0]->more);
    clear(&f->sink);

    assert_ok(verify(f, "lab@latest~1", &err), &err);
    last = f->sink.answers[f->sink.count - 1];
    assert_int_equal(last->verify_reply->points_total, 1);
    assert_err(verify(f, "lab@latest~9", &err), VARVE_ERR_NOT_FOUND, &err);
}

struct names {
    char pack[64][STORE_NAME_MAX + 1];
    size_t count;
};

static bool
keep_name(void *arg, const char *name, uint64_t size)
{
    struct names *n = arg;

    (void)size;
    (void)snprintf(n->pack[n->count++], STORE_NAME_MAX + 1, "%s", name);
    return n->count < 64;
}

static void
lost_packs_are_told_as_problems_with_their_errors(void **state)
{
    struct fixture *f = *state;
    struct names names = {.count = 0};
    struct varve_error err;
    size_t problems = 0;

    assert_ok(store_list(f->lab.mem, "pack/", keep_name, &names, &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        assert_ok(store_remove(f->lab.mem, names.pack[i], &err), &err);
    }
    assert_ok(verify(f, NULL, &err), &err);
    for (size_t i = 0; i < f->sink.count; i++) {
        const Varve__V1__VerifyReply *reply = f->sink.answers[i]->verify_reply;

        for (size_t k = 0; k < reply->n_problems; k++) {
            const Varve__V1__VerifyProblem *p = reply->problems[k];

            assert_int_equal(p->point_id.len, 16);
            assert_string_equal(p->disk, "a.vhdx");
            assert_string_equal(p->vm_name, "lab");
            assert_non_null(p->error);
            assert_true(p->error->code != 0 && p->error->message[0] != '\0');
            assert_int_equal(p->length, 6 * MIB); /* not even the root can be read */
            problems++;
        }
    }
    assert_int_equal(problems, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_restore_is_opened_read_mapped_and_closed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_session_has_eight_restores_open_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_while_others_read_is_safe, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peer_that_is_gone_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(sound_points_verify_with_a_last_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_packs_are_told_as_problems_with_their_errors, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
