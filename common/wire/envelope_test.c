/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/envelope.h"
#include "wire/testing.h"

/* Growing bytes of a message that tests put together by hand. */
struct bytes {
    uint8_t *data;
    size_t len;
};

static void
add(struct bytes *b, const void *p, size_t len)
{
    b->data = realloc(b->data, b->len + len + 1);
    assert_non_null(b->data);
    memcpy(b->data + b->len, p, len);
    b->len += len;
}

static void
add_varint(struct bytes *b, uint64_t v)
{
    do {
        uint8_t byte = (uint8_t)((v & 0x7f) | (v >= 0x80 ? 0x80 : 0));

        add(b, &byte, 1);
        v >>= 7;
    } while (v != 0);
}

static void
add_field(struct bytes *b, unsigned field, const void *p, size_t len)
{
    add_varint(b, (uint64_t)field << 3 | 2);
    add_varint(b, len);
    add(b, p, len);
}

/* Takes the bytes. */
static enum varve_err
parse(struct envelope_in *in, struct bytes *b)
{
    struct varve_error err;
    uint8_t *raw = b->data;
    size_t len = b->len;

    if (raw == NULL) {
        raw = malloc(1);
    }
    b->data = NULL;
    b->len = 0;
    return envelope_parse(in, raw, len, &err);
}

/* An envelope with an empty PutReply, packed by the library itself. */
static void
add_head(struct bytes *b, uint64_t id, const void *bulk, size_t bulk_len)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PutReply body = VARVE__V1__PUT_REPLY__INIT;
    uint8_t out[4096];

    head.id = id;
    head.reply = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
    head.put_reply = &body;
    head.bulk.data = (uint8_t *)(uintptr_t)bulk;
    head.bulk.len = bulk_len;
    assert_true(varve__v1__envelope__get_packed_size(&head) <= sizeof(out));
    add(b, out, varve__v1__envelope__pack(&head, out));
}

static void
what_is_sent_is_received(void **state)
{
    struct testing_pair p = {0};
    struct envelope_in in;
    struct varve_error err;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Offer offer = VARVE__V1__OFFER__INIT;
    const struct aead_part bulk[] = {{"first ", 6}, {"", 0}, {"second", 6}};

    (void)state;
    testing_pair_open(&p, "tcp://127.0.0.1:0", NULL);
    head.id = 77;
    head.more = true;
    head.body_case = VARVE__V1__ENVELOPE__BODY_OFFER;
    head.offer = &offer;
    offer.first_chunk = UINT64_C(1) << 40;
    assert_int_equal(envelope_send(p.client, &head, bulk, 3, &err), VARVE_OK);
    assert_int_equal(envelope_send(p.client, &head, NULL, 0, &err), VARVE_OK);

    assert_int_equal(envelope_recv(p.server, &in, &err), VARVE_OK);
    assert_int_equal(in.head->id, 77);
    assert_true(in.head->more);
    assert_int_equal(in.head->body_case, VARVE__V1__ENVELOPE__BODY_OFFER);
    assert_int_equal(in.head->offer->first_chunk, UINT64_C(1) << 40);
    assert_int_equal(in.head->bulk.len, 0);
    assert_int_equal(in.bulk_len, 12);
    assert_memory_equal(in.bulk, "first second", 12);
    assert_true(in.bulk > in.raw); /* where it was received, not a copy */
    envelope_release(&in);

    assert_int_equal(envelope_recv(p.server, &in, &err), VARVE_OK);
    assert_null(in.bulk);
    assert_int_equal(in.bulk_len, 0);
    envelope_release(&in);
    envelope_release(&in); /* once more is fine */

    channel_abort(p.client);
    assert_int_equal(envelope_recv(p.server, &in, &err), VARVE_ERR_IO);
    testing_pair_close(&p);
}

static void
bulk_of_many_parts_and_large_bulk_pass(void **state)
{
    struct testing_pair p = {0};
    struct envelope_in in;
    struct varve_error err;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PutReply body = VARVE__V1__PUT_REPLY__INIT;
    struct aead_part bulk[1000];
    static uint8_t data[1000 * 150];

    (void)state;
    testing_pair_open(&p, "tcp://127.0.0.1:0", NULL);
    head.body_case = VARVE__V1__ENVELOPE__BODY_PUT_REPLY;
    head.put_reply = &body;
    for (size_t i = 0; i < 1000; i++) {
        memset(data + i * 150, (int)(i % 251), 150);
        bulk[i].data = data + i * 150;
        bulk[i].len = 150;
    }
    assert_int_equal(envelope_send(p.client, &head, bulk, 1000, &err), VARVE_OK);
    assert_int_equal(envelope_recv(p.server, &in, &err), VARVE_OK);
    assert_int_equal(in.bulk_len, sizeof(data));
    assert_memory_equal(in.bulk, data, sizeof(data));
    envelope_release(&in);
    testing_pair_close(&p);
}

static void
what_could_not_be_received_is_not_sent(void **state)
{
    struct testing_pair p = {0};
    struct varve_error err;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Log log = VARVE__V1__LOG__INIT;
    struct aead_part bulk = {"x", CHANNEL_MESSAGE_MAX};
    struct aead_part two[2] = {{"x", CHANNEL_MESSAGE_MAX}, {"x", 1}};
    char *text = malloc(ENVELOPE_HEAD_MAX + 1);

    (void)state;
    testing_pair_open(&p, "tcp://127.0.0.1:0", NULL);
    assert_int_equal(envelope_send(p.client, &head, NULL, 0, &err), VARVE_ERR_INTERNAL);
    head.body_case = VARVE__V1__ENVELOPE__BODY_LOG;
    head.log = &log;
    head.bulk.data = (uint8_t *)text;
    head.bulk.len = 1;
    assert_int_equal(envelope_send(p.client, &head, NULL, 0, &err), VARVE_ERR_INTERNAL);
    head.bulk.len = 0;
    assert_int_equal(envelope_send(p.client, &head, &bulk, 1, &err), VARVE_ERR_LIMIT);
    assert_int_equal(envelope_send(p.client, &head, two, 2, &err), VARVE_ERR_LIMIT);
    memset(text, 'x', ENVELOPE_HEAD_MAX);
    text[ENVELOPE_HEAD_MAX] = '\0';
    log.text = text;
    assert_int_equal(envelope_send(p.client, &head, NULL, 0, &err), VARVE_ERR_LIMIT);
    /* None of that has hurt the channel. */
    text[10] = '\0';
    assert_int_equal(envelope_send(p.client, &head, NULL, 0, &err), VARVE_OK);
    free(text);
    testing_pair_close(&p);
}

static void
it_is_plain_protobuf(void **state)
{
    struct bytes b = {NULL, 0};
    struct envelope_in in;

    (void)state;
    /* The library writes fields by number: bulk comes before the body. */
    add_head(&b, 5, "bulk bytes", 10);
    assert_int_equal(parse(&in, &b), VARVE_OK);
    assert_int_equal(in.head->id, 5);
    assert_true(in.head->reply);
    assert_int_equal(in.bulk_len, 10);
    assert_memory_equal(in.bulk, "bulk bytes", 10);
    envelope_release(&in);
}

static void
bulk_is_found_first_last_and_in_between(void **state)
{
    struct bytes b = {NULL, 0};
    struct envelope_in in;

    (void)state;
    for (unsigned where = 0; where < 3; where++) {
        if (where == 0) {
            add_field(&b, 15, "where", 5);
        }
        add_head(&b, 6, NULL, 0);
        if (where == 1) {
            add_field(&b, 15, "where", 5);
        }
        add_field(&b, 90000, "unknown fields may follow", 25);
        if (where == 2) {
            add_field(&b, 15, "where", 5);
        }
        assert_int_equal(parse(&in, &b), VARVE_OK);
        assert_int_equal(in.head->id, 6);
        assert_int_equal(in.bulk_len, 5);
        assert_memory_equal(in.bulk, "where", 5);
        envelope_release(&in);
    }
    add_head(&b, 7, NULL, 0);
    add_field(&b, 15, "", 0);
    assert_int_equal(parse(&in, &b), VARVE_OK);
    assert_null(in.bulk);
    envelope_release(&in);
}

static void
a_second_bulk_is_refused(void **state)
{
    struct bytes b = {NULL, 0};
    struct envelope_in in;

    (void)state;
    add_head(&b, 1, "one", 3);
    add_field(&b, 15, "two", 3);
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
    assert_null(in.head);
    assert_null(in.raw);
    add_head(&b, 1, NULL, 0);
    add(&b, "\x78\x01", 2); /* field 15 as a number */
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
}

static void
a_message_without_a_body_is_refused(void **state)
{
    struct bytes b = {NULL, 0};
    struct envelope_in in;

    (void)state;
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
    add(&b, "\x08\x01", 2);
    add_field(&b, 15, "bulk", 4);
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
    add_field(&b, 12345, "a body of the future", 20);
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
}

static void
every_truncation_is_refused_or_another_message(void **state)
{
    struct bytes whole = {NULL, 0};
    size_t refused = 0;

    (void)state;
    add_head(&whole, 300, "some bulk", 9);
    for (size_t len = 0; len < whole.len; len++) {
        struct bytes b = {NULL, 0};
        struct envelope_in in;

        add(&b, whole.data, len);
        if (parse(&in, &b) != VARVE_OK) {
            refused++;
        } else {
            envelope_release(&in);
        }
    }
    /* The body stands at the end: without all of it there is none. */
    assert_int_equal(refused, whole.len);
    free(whole.data);
}

static void
broken_encodings_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x00", 1},                                          /* field 0 */
        {"\x0b\x08\x01\x0c", 4},                              /* a group */
        {"\x0e", 1},                                          /* wire type 6 */
        {"\x0f", 1},                                          /* wire type 7 */
        {"\x08", 1},                                          /* number missing */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* more than 64 bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
        {"\x7a\x05\x01", 3},                                  /* bulk longer than the message */
        {"\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, /* by far */
        {"\x09\x01\x02\x03", 4},                              /* 8 bytes announced */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11}, /* field number too large */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bytes b = {NULL, 0};
        struct envelope_in in;

        add(&b, bad[i].bytes, bad[i].len);
        assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
        /* Behind a good message it is not better. */
        add_head(&b, 1, NULL, 0);
        add(&b, bad[i].bytes, bad[i].len);
        assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
    }
}

static void
a_head_over_the_limit_is_refused(void **state)
{
    struct bytes b = {NULL, 0};
    struct envelope_in in;
    uint8_t *big = calloc(1, ENVELOPE_HEAD_MAX);

    (void)state;
    add_head(&b, 1, NULL, 0);
    add_field(&b, 90000, big, ENVELOPE_HEAD_MAX - 100);
    assert_int_equal(parse(&in, &b), VARVE_OK);
    envelope_release(&in);
    add_head(&b, 1, NULL, 0);
    add_field(&b, 90000, big, ENVELOPE_HEAD_MAX);
    assert_int_equal(parse(&in, &b), VARVE_ERR_PROTOCOL);
    /* As bulk it is fine. */
    add_head(&b, 1, NULL, 0);
    add_field(&b, 15, big, ENVELOPE_HEAD_MAX);
    assert_int_equal(parse(&in, &b), VARVE_OK);
    assert_int_equal(in.bulk_len, ENVELOPE_HEAD_MAX);
    envelope_release(&in);
    free(big);
}

static void
a_small_head_that_would_fill_the_memory_is_refused(void **state)
{
    struct bytes inventory = {NULL, 0};
    struct bytes b = {NULL, 0};
    struct envelope_in in;
    struct varve_error err;
    uint8_t *vms = malloc(ENVELOPE_HEAD_MAX);
    uint8_t *raw = NULL;
    size_t n = 0;

    (void)state;
    /* Half a million empty VMs: 1 MiB on the wire. */
    while (n + 2 <= ENVELOPE_HEAD_MAX - 100) {
        vms[n++] = 1u << 3 | 2;
        vms[n++] = 0;
    }
    add(&inventory, vms, n);
    add_field(&b, 24, inventory.data, inventory.len);
    raw = b.data;
    assert_int_equal(envelope_parse(&in, raw, b.len, &err), VARVE_ERR_PROTOCOL);
    assert_non_null(strstr(err.msg, "memory"));
    free(inventory.data);
    free(vms);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_received),
        cmocka_unit_test(bulk_of_many_parts_and_large_bulk_pass),
        cmocka_unit_test(what_could_not_be_received_is_not_sent),
        cmocka_unit_test(it_is_plain_protobuf),
        cmocka_unit_test(bulk_is_found_first_last_and_in_between),
        cmocka_unit_test(a_second_bulk_is_refused),
        cmocka_unit_test(a_message_without_a_body_is_refused),
        cmocka_unit_test(every_truncation_is_refused_or_another_message),
        cmocka_unit_test(broken_encodings_are_refused),
        cmocka_unit_test(a_head_over_the_limit_is_refused),
        cmocka_unit_test(a_small_head_that_would_fill_the_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
