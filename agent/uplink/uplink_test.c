/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "capture/capture_fake.h"
#include "uplink/uplink_testing.h"

/* The agent's connection against a collector that does what a test wants of it. */

struct lab {
    struct testing_collector collector;
    struct fake_host *host;
    struct capture *capture;
    struct identity *identity;
    struct uplink *uplink;
    struct cancel cancel;
    struct mutex lock; /* below */
    unsigned starts;
    unsigned cancels;
    bool refuse_start;
    struct uplink_start start;
    struct uplink_base base;
};

static enum varve_err
on_start(void *arg, const struct uplink_start *start, struct varve_error *err)
{
    struct lab *l = arg;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&l->lock);
    l->starts++;
    l->start = *start;
    if (start->base_count > 0) {
        l->base = start->base[0];
    }
    if (l->refuse_start) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "too many runs are waiting");
    }
    mutex_unlock(&l->lock);
    return rc;
}

static void
on_cancel(void *arg, const struct guid *run)
{
    struct lab *l = arg;

    (void)run;
    mutex_lock(&l->lock);
    l->cancels++;
    mutex_unlock(&l->lock);
}

static void
on_beat(void *arg, struct peer *p)
{
    (void)arg;
    (void)p;
}

static void
lab_open(struct lab *l)
{
    struct uplink_options options = {
        .address = l->collector.url,
        .events = {.arg = l, .start_run = on_start, .cancel_run = on_cancel, .beat = on_beat},
        .software = "test",
        .system = "test",
        .host_name = "test",
    };
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    mutex_init(&l->lock);
    cancel_init(&l->cancel);
    testing_collector_open(&l->collector);
    assert_ok(identity_generate(&l->identity, &err), &err);
    l->host = fake_host_new();
    l->capture = fake_host_capture(l->host);
    options.collector = identity_public(l->collector.identity);
    options.identity = l->identity;
    options.capture = l->capture;
    assert_ok(uplink_start(&l->uplink, &options, &err), &err);
    testing_accept(&l->collector);
    testing_welcome(&l->collector);
}

static void
lab_close(struct lab *l)
{
    testing_cut(&l->collector);
    uplink_stop(l->uplink);
    testing_collector_close(&l->collector);
    capture_close(l->capture);
    fake_host_free(l->host);
    identity_free(l->identity);
    cancel_destroy(&l->cancel);
    mutex_destroy(&l->lock);
}

static struct peer *
get_peer(struct lab *l, const struct peer *lost)
{
    struct peer *p = NULL;
    struct varve_error err;

    assert_ok(uplink_get_peer(l->uplink, lost, 20000, &l->cancel, &p, &err), &err);
    return p;
}

static void
the_inventory_is_told_first(void **state)
{
    struct envelope_in in;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_INVENTORY);
    assert_int_equal(in.head->id, 2); /* Hello was 1 */
    assert_int_equal(in.head->inventory->n_vms, 1);
    assert_string_equal(in.head->inventory->vms[0]->name, "fake");
    assert_string_equal(in.head->inventory->vms[0]->capture, "fake");
    assert_int_equal(in.head->inventory->vms[0]->n_disks, FAKE_DISKS);
    assert_int_equal(in.head->inventory->vms[0]->disks[1]->size, FAKE_DISK_SIZE);
    assert_string_equal(in.head->inventory->provider, "fake");
    envelope_release(&in);
    lab_close(&l);
}

static void
send_start(struct lab *l, uint64_t id)
{
    static uint8_t guid[16] = {1, 2, 3};
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StartRun body = VARVE__V1__START_RUN__INIT;
    Varve__V1__BaseDisk disk = VARVE__V1__BASE_DISK__INIT;
    Varve__V1__BaseDisk *list[] = {&disk};

    disk.disk_id.data = guid;
    disk.disk_id.len = 16;
    disk.change_id = wire_text("rct:7");
    disk.size = 4096;
    body.run_id = disk.disk_id;
    body.vm_id = disk.disk_id;
    body.base_disks = list;
    body.n_base_disks = 1;
    body.reference_point = wire_text("R0");
    body.method = wire_text(id != 3 ? "vss" : "a-method-of-too-many-letters");
    head.id = id;
    head.body_case = VARVE__V1__ENVELOPE__BODY_START_RUN;
    head.start_run = &body;
    testing_send(&l->collector, &head);
}

static void
a_run_that_is_asked_for_is_handed_on_and_answered(void **state)
{
    struct envelope_in in;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    send_start(&l, 1);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_START_RUN_REPLY);
    assert_true(in.head->reply);
    assert_int_equal(in.head->id, 1);
    envelope_release(&in);
    assert_int_equal(l.starts, 1);
    assert_int_equal(l.start.run.bytes[2], 3);
    assert_string_equal(l.start.reference_point, "R0");
    assert_int_equal(l.start.base_count, 1);
    assert_string_equal(l.start.method, "vss");
    assert_string_equal(l.base.change_id, "rct:7");
    assert_int_equal(l.base.size, 4096);

    l.refuse_start = true;
    send_start(&l, 2);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_ERROR);
    assert_int_equal(in.head->id, 2);
    assert_int_equal(in.head->error->code, VARVE_ERR_LIMIT);
    envelope_release(&in);
    l.refuse_start = false;
    send_start(&l, 3);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_ERROR);
    assert_int_equal(in.head->error->code, VARVE_ERR_LIMIT);
    envelope_release(&in);
    assert_int_equal(l.starts, 2);
    lab_close(&l);
}

static void
a_request_that_is_not_known_is_refused_by_name(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__VmList body = VARVE__V1__VM_LIST__INIT;
    struct envelope_in in;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    head.id = 9;
    head.body_case = VARVE__V1__ENVELOPE__BODY_VM_LIST;
    head.vm_list = &body;
    testing_send(&l.collector, &head);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_ERROR);
    assert_int_equal(in.head->id, 9);
    assert_int_equal(in.head->error->code, VARVE_ERR_UNSUPPORTED);
    envelope_release(&in);
    lab_close(&l);
}

/* A call that waits for its answer, on a thread of its own. */
struct asking {
    struct peer *peer;
    struct thread thread;
    struct peer_begun begun;
    struct varve_error err;
    enum varve_err rc;
};

static void
asking_main(void *arg)
{
    struct asking *a = arg;
    struct guid run = {{7}};

    a->rc = a->peer->ops->begin_run(a->peer, &run, &a->begun, &a->err);
}

static void
ask(struct lab *l, struct asking *a, struct envelope_in *in)
{
    struct varve_error err;

    memset(a, 0, sizeof(*a));
    a->peer = get_peer(l, NULL);
    assert_ok(thread_start(&a->thread, "ask", asking_main, a, &err), &err);
    testing_receive(&l->collector, in, VARVE__V1__ENVELOPE__BODY_BEGIN_RUN);
}

static void
answers_find_those_who_asked(void **state)
{
    static uint8_t guid[16] = {5};
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BeginRunReply body = VARVE__V1__BEGIN_RUN_REPLY__INIT;
    Varve__V1__DiskPosition position = VARVE__V1__DISK_POSITION__INIT;
    Varve__V1__DiskPosition *list[] = {&position};
    struct envelope_in in;
    struct asking a;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    ask(&l, &a, &in);
    position.disk = 3;
    position.next_chunk = 77;
    body.disks = list;
    body.n_disks = 1;
    body.committed = true;
    body.point_id.data = guid;
    body.point_id.len = 16;
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_BEGIN_RUN_REPLY;
    head.begin_run_reply = &body;
    envelope_release(&in);
    testing_send(&l.collector, &head);
    thread_join(&a.thread);
    assert_ok(a.rc, &a.err);
    assert_true(a.begun.committed);
    assert_int_equal(a.begun.point.bytes[0], 5);
    assert_int_equal(a.begun.position_count, 1);
    assert_int_equal(a.begun.positions[0].next_chunk, 77);
    uplink_put_peer(a.peer);
    lab_close(&l);
}

static void
ending_main(void *arg)
{
    static const struct guid run = {{7}};
    char cut[] = "disk '\xE6\x9D\xB1\xE4\xBA";
    char *warnings[] = {cut};
    struct asking *a = arg;
    struct varve_error failure = {.code = VARVE_ERR_IO, .msg = "caf\xC3\xA9, \xFF"};

    a->rc = a->peer->ops->end_run(a->peer, &run, &failure, (const char *const *)warnings, 1,
                                  PEER_LEAVES_NOTHING, &a->err);
}

/* A collector ends the connection of whoever sends what is not UTF-8. */
static void
a_text_that_was_cut_inside_a_character_is_told_all_the_same(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__EndRunReply body = VARVE__V1__END_RUN_REPLY__INIT;
    struct envelope_in in;
    struct varve_error err;
    struct asking a = {0};
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    a.peer = get_peer(&l, NULL);
    assert_ok(thread_start(&a.thread, "end", ending_main, &a, &err), &err);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_END_RUN);
    assert_string_equal(in.head->end_run->warnings[0], "disk '\xE6\x9D\xB1??");
    assert_string_equal(in.head->end_run->error->message, "caf\xC3\xA9, ?");
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_END_RUN_REPLY;
    head.end_run_reply = &body;
    envelope_release(&in);
    testing_send(&l.collector, &head);
    thread_join(&a.thread);
    assert_ok(a.rc, &a.err);
    uplink_put_peer(a.peer);
    lab_close(&l);
}

static void
an_error_of_the_collector_comes_as_it_is(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error body = VARVE__V1__ERROR__INIT;
    struct envelope_in in;
    struct asking a;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    ask(&l, &a, &in);
    body.code = VARVE_ERR_NOSPACE;
    body.source = VARVE_SRC_ERRNO;
    body.native = 28;
    body.message = wire_text("no space left");
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_ERROR;
    head.error = &body;
    envelope_release(&in);
    testing_send(&l.collector, &head);
    thread_join(&a.thread);
    assert_err(a.rc, VARVE_ERR_NOSPACE, &a.err);
    assert_int_equal(a.err.source, VARVE_SRC_ERRNO);
    assert_int_equal(a.err.native, 28);
    assert_string_equal(a.err.msg, "no space left");
    assert_false(a.peer->ops->is_lost(a.peer));
    uplink_put_peer(a.peer);
    lab_close(&l);
}

static void
a_lost_connection_fails_the_calls_and_is_made_again(void **state)
{
    struct envelope_in in;
    struct peer *next;
    struct asking a;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    ask(&l, &a, &in);
    envelope_release(&in);
    testing_cut(&l.collector);
    thread_join(&a.thread);
    assert_int_not_equal(a.rc, VARVE_OK);
    assert_true(a.peer->ops->is_lost(a.peer));
    testing_accept(&l.collector);
    testing_welcome(&l.collector);
    testing_take_inventory(&l.collector);
    next = get_peer(&l, a.peer);
    assert_ptr_not_equal(next, a.peer);
    assert_false(next->ops->is_lost(next));
    uplink_put_peer(a.peer);
    uplink_put_peer(next);
    lab_close(&l);
}

static void
an_answer_that_nobody_asked_for_ends_the_connection(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PutReply body = VARVE__V1__PUT_REPLY__INIT;
    struct envelope_in in;
    struct asking a;
    struct lab l;
    int kind;

    (void)state;
    for (kind = 0; kind < 2; kind++) {
        lab_open(&l);
        testing_take_inventory(&l.collector);
        ask(&l, &a, &in);
        head.id = kind == 0 ? 4711 : in.head->id; /* nobody's, or of another kind */
        head.reply = true;
        head.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
        head.put_reply = &body;
        envelope_release(&in);
        testing_send(&l.collector, &head);
        thread_join(&a.thread);
        assert_err(a.rc, VARVE_ERR_PROTOCOL, &a.err);
        uplink_put_peer(a.peer);
        testing_cut(&l.collector);
        testing_accept(&l.collector);
        lab_close(&l);
    }
}

/* ---- offers and puts: answered on the receiving thread ---- */

struct posted {
    struct peer_call call;
    struct mutex lock;
    struct cond changed;
    unsigned answers;
    enum varve_err rc;
    uint8_t bitmap;
};

static void
posted_done(struct peer_call *call, enum varve_err rc, const uint8_t *bitmap, size_t bitmap_len,
            const struct varve_error *err)
{
    struct posted *p = (struct posted *)call;

    (void)err;
    mutex_lock(&p->lock);
    p->answers++;
    p->rc = rc;
    p->bitmap = bitmap_len > 0 ? bitmap[0] : 0;
    cond_broadcast(&p->changed);
    mutex_unlock(&p->lock);
}

static void
posted_init(struct posted *p)
{
    memset(p, 0, sizeof(*p));
    p->call.done = posted_done;
    mutex_init(&p->lock);
    cond_init(&p->changed);
}

static void
posted_wait(struct posted *p)
{
    mutex_lock(&p->lock);
    while (p->answers == 0) {
        assert_true(cond_timedwait(&p->changed, &p->lock, 20000));
    }
    mutex_unlock(&p->lock);
    assert_int_equal(p->answers, 1);
    cond_destroy(&p->changed);
    mutex_destroy(&p->lock);
}

static void
offers_and_puts_look_as_the_wire_says(void **state)
{
    static const uint8_t data = 0x05;
    static const uint32_t index[] = {1};
    static const uint32_t stored[] = {3};
    struct guid run = {{7}};
    struct chunk_id names[2];
    struct aead_part parts[] = {{"ab", 2}, {"c", 1}};
    struct peer_offer offer = {.run = &run,
                               .disk = 2,
                               .first_chunk = 10,
                               .count = 3,
                               .data = &data,
                               .data_len = 1,
                               .names = names,
                               .name_count = 2};
    struct peer_put put = {.run = &run,
                           .disk = 2,
                           .first_chunk = 10,
                           .index = index,
                           .stored_len = stored,
                           .count = 1,
                           .parts = parts,
                           .part_count = 2,
                           .bytes = 3};
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Need need = VARVE__V1__NEED__INIT;
    Varve__V1__PutReply put_reply = VARVE__V1__PUT_REPLY__INIT;
    uint8_t bitmap = 0x02;
    struct envelope_in in;
    struct varve_error err;
    struct posted first;
    struct posted second;
    struct peer *p;
    struct lab l;

    (void)state;
    memset(names, 0x33, sizeof(names));
    lab_open(&l);
    testing_take_inventory(&l.collector);
    p = get_peer(&l, NULL);
    posted_init(&first);
    assert_ok(p->ops->offer(p, &offer, &first.call, &err), &err);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_OFFER);
    assert_int_equal(in.head->offer->first_chunk, 10);
    assert_int_equal(in.head->offer->count, 3);
    assert_int_equal(in.head->offer->data.len, 1);
    assert_int_equal(in.bulk_len, 64);
    assert_memory_equal(in.bulk, names, 64);
    need.bitmap.data = &bitmap;
    need.bitmap.len = 1;
    head.id = in.head->id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_NEED;
    head.need = &need;
    envelope_release(&in);
    testing_send(&l.collector, &head);
    posted_wait(&first);
    assert_ok(first.rc, &err);
    assert_int_equal(first.bitmap, 0x02);

    posted_init(&second);
    assert_ok(p->ops->put(p, &put, &second.call, &err), &err);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_PUT);
    assert_int_equal(in.head->put->n_index, 1);
    assert_int_equal(in.head->put->stored_len[0], 3);
    assert_int_equal(in.bulk_len, 3);
    assert_memory_equal(in.bulk, "abc", 3);
    head.id = in.head->id;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
    head.put_reply = &put_reply;
    envelope_release(&in);
    testing_send(&l.collector, &head);
    posted_wait(&second);
    assert_ok(second.rc, &err);
    uplink_put_peer(p);
    lab_close(&l);
}

struct putting {
    struct peer *peer;
    struct thread thread;
    struct posted posted[3];
    enum varve_err rc[3];
};

/* Three puts of 1 MiB against a credit of 2 MiB. */
static void
putting_main(void *arg)
{
    static uint8_t bytes[1024 * 1024];
    static const uint32_t index[] = {0};
    static const uint32_t stored[] = {1024 * 1024};
    struct putting *p = arg;
    struct guid run = {{7}};
    struct aead_part part = {bytes, sizeof(bytes)};
    struct peer_put put = {.run = &run,
                           .index = index,
                           .stored_len = stored,
                           .count = 1,
                           .parts = &part,
                           .part_count = 1,
                           .bytes = sizeof(bytes)};
    struct varve_error err;
    int i;

    for (i = 0; i < 3; i++) {
        p->rc[i] = p->peer->ops->put(p->peer, &put, &p->posted[i].call, &err);
    }
}

static void
puts_wait_for_credit(void **state)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PutReply body = VARVE__V1__PUT_REPLY__INIT;
    struct putting p;
    struct envelope_in in;
    struct varve_error err;
    struct lab l;
    uint64_t ids[3];
    int i;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    memset(&p, 0, sizeof(p));
    p.peer = get_peer(&l, NULL);
    for (i = 0; i < 3; i++) {
        posted_init(&p.posted[i]);
    }
    assert_ok(thread_start(&p.thread, "put", putting_main, &p, &err), &err);
    for (i = 0; i < 2; i++) {
        testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_PUT);
        ids[i] = in.head->id;
        envelope_release(&in);
    }
    /* The third stays where it is until one of the two was answered. */
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
    head.put_reply = &body;
    head.id = ids[1];
    testing_send(&l.collector, &head);
    testing_receive(&l.collector, &in, VARVE__V1__ENVELOPE__BODY_PUT);
    assert_true(in.head->id > ids[1]);
    envelope_release(&in);
    thread_join(&p.thread);
    /* The connection goes: the two that are open hear of it, once each. */
    testing_cut(&l.collector);
    for (i = 0; i < 3; i++) {
        assert_int_equal(p.rc[i], VARVE_OK);
        posted_wait(&p.posted[i]);
        assert_int_equal(p.posted[i].rc == VARVE_OK, i == 1);
    }
    uplink_put_peer(p.peer);
    lab_close(&l);
}

static void
a_stop_ends_the_connection_as_it_was_meant(void **state)
{
    struct envelope_in in;
    struct varve_error err;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    uplink_stop(l.uplink);
    l.uplink = NULL;
    assert_err(envelope_recv(l.collector.ch, &in, &err), VARVE_ERR_CLOSED, &err);
    lab_close(&l);
}

static void
who_waits_for_a_peer_can_be_cancelled(void **state)
{
    struct varve_error err;
    struct peer *p = NULL;
    struct peer *first;
    struct lab l;

    (void)state;
    lab_open(&l);
    testing_take_inventory(&l.collector);
    first = get_peer(&l, NULL);
    assert_err(uplink_get_peer(l.uplink, first, 300, &l.cancel, &p, &err), VARVE_ERR_TIMEOUT, &err);
    cancel_set(&l.cancel);
    assert_err(uplink_get_peer(l.uplink, first, 60000, &l.cancel, &p, &err), VARVE_ERR_CANCELLED,
               &err);
    uplink_put_peer(first);
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_inventory_is_told_first),
        cmocka_unit_test(a_run_that_is_asked_for_is_handed_on_and_answered),
        cmocka_unit_test(a_request_that_is_not_known_is_refused_by_name),
        cmocka_unit_test(answers_find_those_who_asked),
        cmocka_unit_test(a_text_that_was_cut_inside_a_character_is_told_all_the_same),
        cmocka_unit_test(an_error_of_the_collector_comes_as_it_is),
        cmocka_unit_test(a_lost_connection_fails_the_calls_and_is_made_again),
        cmocka_unit_test(an_answer_that_nobody_asked_for_ends_the_connection),
        cmocka_unit_test(offers_and_puts_look_as_the_wire_says),
        cmocka_unit_test(puts_wait_for_credit),
        cmocka_unit_test(a_stop_ends_the_connection_as_it_was_meant),
        cmocka_unit_test(who_waits_for_a_peer_can_be_cancelled),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
