/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "crypto/identity.h"
#include "wire/frame.h"

#define CAP 4096

/* One direction, both ends. */
struct way {
    struct frame_sealer sealer;
    struct frame_opener opener;
};

static void
way_start(struct way *w, bool wants_confirm)
{
    struct varve_error err;
    struct aead *a = NULL;
    struct aead *b = NULL;
    uint8_t key[AEAD_KEY_SIZE] = {42};

    assert_int_equal(aead_new(&a, AEAD_CHACHA20POLY1305, key, &err), VARVE_OK);
    assert_int_equal(aead_new(&b, AEAD_CHACHA20POLY1305, key, &err), VARVE_OK);
    frame_sealer_init(&w->sealer, a, 0);
    frame_opener_init(&w->opener, b, wants_confirm);
}

static void
way_end(struct way *w)
{
    frame_sealer_release(&w->sealer);
    frame_opener_release(&w->opener);
}

static size_t
seal(struct way *w, enum frame_type type, const char *text, uint8_t *out)
{
    struct varve_error err;
    struct aead_part part = {text, text == NULL ? 0 : strlen(text)};
    size_t len = 0;

    assert_int_equal(frame_seal(&w->sealer, type, &part, text == NULL ? 0 : 1, 0, out, &len, &err),
                     VARVE_OK);
    return len;
}

static enum varve_err
open_frame(struct way *w, const uint8_t *frame, size_t len, uint8_t *out, enum frame_type *type,
           size_t *payload_len)
{
    struct varve_error err;

    return frame_open(&w->opener, frame, frame + FRAME_HEADER_SIZE, len - FRAME_HEADER_SIZE, out,
                      type, payload_len, &err);
}

static void
expect(struct way *w, const uint8_t *frame, size_t len, enum frame_type type, const char *text)
{
    uint8_t out[CAP];
    enum frame_type got = 0;
    size_t n = 0;

    assert_int_equal(open_frame(w, frame, len, out, &got, &n), VARVE_OK);
    assert_int_equal(got, type);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(out, text, n);
}

static void
expect_error(struct way *w, const uint8_t *frame, size_t len, enum varve_err code)
{
    uint8_t out[CAP];
    enum frame_type type = 0;
    size_t n = 0;

    assert_int_equal(open_frame(w, frame, len, out, &type, &n), code);
}

static void
frames_open_in_the_order_they_were_sealed(void **state)
{
    struct way w;
    uint8_t a[CAP];
    uint8_t b[CAP];
    uint8_t c[CAP];
    size_t la;
    size_t lb;
    size_t lc;

    (void)state;
    way_start(&w, false);
    la = seal(&w, FRAME_DATA, "one", a);
    lb = seal(&w, FRAME_PING, NULL, b);
    lc = seal(&w, FRAME_DATA, "", c);
    assert_int_equal(la, FRAME_BARE_SIZE + 3);
    assert_int_equal(lb, FRAME_BARE_SIZE);
    assert_int_equal(get_le32(a), 3 + 1 + 16);
    expect(&w, a, la, FRAME_DATA, "one");
    expect(&w, b, lb, FRAME_PING, "");
    expect(&w, c, lc, FRAME_DATA, "");
    way_end(&w);
}

static void
a_frame_opens_in_place(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t n = 0;
    size_t la;
    enum frame_type type = 0;

    (void)state;
    way_start(&w, false);
    la = seal(&w, FRAME_DATA, "in place", a);
    assert_int_equal(open_frame(&w, a, la, a + FRAME_HEADER_SIZE, &type, &n), VARVE_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(a + FRAME_HEADER_SIZE, "in place", 8);
    way_end(&w);
}

static void
every_changed_bit_is_refused_and_final(void **state)
{
    struct way w;
    uint8_t a[CAP];
    uint8_t good[CAP];
    size_t la;

    (void)state;
    for (size_t bit = 0; bit < (FRAME_BARE_SIZE + 4) * 8; bit++) {
        way_start(&w, false);
        la = seal(&w, FRAME_DATA, "text", a);
        memcpy(good, a, la);
        a[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit / 8 < FRAME_HEADER_SIZE) {
            struct varve_error err;
            size_t len = 0;

            /* A changed length is another length, or none. */
            if (frame_body_length(a, &len, &err) == VARVE_OK) {
                uint8_t *longer = calloc(1, FRAME_HEADER_SIZE + len);
                uint8_t *out = malloc(len);
                enum frame_type type = 0;
                size_t n = 0;

                memcpy(longer, a, la < FRAME_HEADER_SIZE + len ? la : FRAME_HEADER_SIZE + len);
                assert_int_equal(open_frame(&w, longer, FRAME_HEADER_SIZE + len, out, &type, &n),
                                 VARVE_ERR_CORRUPT);
                free(longer);
                free(out);
            } else {
                assert_int_equal(err.code, VARVE_ERR_PROTOCOL);
                expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
            }
        } else {
            expect_error(&w, a, la, VARVE_ERR_CORRUPT);
        }
        /* The right frame comes too late. */
        expect_error(&w, good, la, VARVE_ERR_PROTOCOL);
        way_end(&w);
    }
}

static void
a_repeated_frame_is_refused(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    la = seal(&w, FRAME_DATA, "pay 10", a);
    expect(&w, a, la, FRAME_DATA, "pay 10");
    expect_error(&w, a, la, VARVE_ERR_CORRUPT);
    way_end(&w);
}

static void
a_frame_left_out_is_noticed_at_the_next(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    (void)seal(&w, FRAME_DATA, "lost", a);
    la = seal(&w, FRAME_DATA, "next", a);
    expect_error(&w, a, la, VARVE_ERR_CORRUPT);
    way_end(&w);
}

static void
frames_of_one_direction_do_not_open_in_another(void **state)
{
    struct way w;
    struct varve_error err;
    struct aead *other = NULL;
    uint8_t key[AEAD_KEY_SIZE] = {43};
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    la = seal(&w, FRAME_DATA, "mirror", a);
    frame_opener_release(&w.opener);
    assert_int_equal(aead_new(&other, AEAD_CHACHA20POLY1305, key, &err), VARVE_OK);
    frame_opener_init(&w.opener, other, false);
    expect_error(&w, a, la, VARVE_ERR_CORRUPT);
    way_end(&w);
}

static void
lengths_outside_the_limits_are_refused_before_anything_is_read(void **state)
{
    static const uint32_t bad[] = {0, 1, 16, FRAME_BODY_MAX + 1, 0x80000000u, 0xffffffffu};
    struct varve_error err;
    uint8_t header[4];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_le32(header, bad[i]);
        assert_int_equal(frame_body_length(header, &len, &err), VARVE_ERR_PROTOCOL);
    }
    put_le32(header, 17);
    assert_int_equal(frame_body_length(header, &len, &err), VARVE_OK);
    assert_int_equal(len, 17);
    put_le32(header, FRAME_BODY_MAX);
    assert_int_equal(frame_body_length(header, &len, &err), VARVE_OK);
    assert_int_equal(len, 4u * 1024 * 1024 + 17);
}

static void
a_message_over_the_limit_is_not_sealed(void **state)
{
    struct way w;
    struct varve_error err;
    uint8_t byte = 0;
    uint8_t out[CAP];
    size_t len = 0;
    struct aead_part parts[2] = {{&byte, FRAME_PAYLOAD_MAX}, {&byte, 1}};

    (void)state;
    way_start(&w, false);
    assert_int_equal(frame_seal(&w.sealer, FRAME_DATA, parts, 2, 0, out, &len, &err),
                     VARVE_ERR_LIMIT);
    parts[1].len = SIZE_MAX;
    assert_int_equal(frame_seal(&w.sealer, FRAME_DATA, parts, 2, 0, out, &len, &err),
                     VARVE_ERR_LIMIT);
    /* Nothing was counted. */
    len = seal(&w, FRAME_DATA, "still 0", out);
    expect(&w, out, len, FRAME_DATA, "still 0");
    way_end(&w);
}

static void
the_first_frame_must_confirm_and_no_other_may(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, true);
    la = seal(&w, FRAME_DATA, "too early", a);
    expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
    way_end(&w);

    way_start(&w, true);
    la = seal(&w, FRAME_CONFIRM, NULL, a);
    expect(&w, a, la, FRAME_CONFIRM, "");
    la = seal(&w, FRAME_DATA, "now", a);
    expect(&w, a, la, FRAME_DATA, "now");
    la = seal(&w, FRAME_CONFIRM, NULL, a);
    expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
    way_end(&w);
}

/* A frame that verifies, of a type and payload the sealer would not make. */
static size_t
seal_by_hand(struct way *w, uint8_t type, size_t payload_len, uint8_t *out)
{
    struct varve_error err;
    uint8_t plain[64] = {0};

    plain[payload_len] = type;
    put_le32(out, (uint32_t)(payload_len + FRAME_BODY_EXTRA));
    assert_int_equal(
        aead_seal(w->sealer.aead, w->sealer.counter, out, 4, plain, payload_len + 1, out + 4, &err),
        VARVE_OK);
    return payload_len + FRAME_BARE_SIZE;
}

static void
unknown_types_and_payload_where_none_belongs_are_refused(void **state)
{
    static const struct {
        uint8_t type;
        size_t payload;
    } bad[] = {{0, 0},          {6, 0},         {255, 0},         {0, 5},
               {FRAME_PING, 1}, {FRAME_END, 1}, {FRAME_REKEY, 32}};
    uint8_t a[CAP];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct way w;
        size_t la;

        way_start(&w, false);
        la = seal_by_hand(&w, bad[i].type, bad[i].payload, a);
        expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
        way_end(&w);
    }
}

static void
nothing_comes_after_the_end(void **state)
{
    struct way w;
    struct varve_error err;
    uint8_t a[CAP];
    size_t la;
    size_t len = 0;

    (void)state;
    way_start(&w, false);
    la = seal(&w, FRAME_END, NULL, a);
    assert_int_equal(frame_seal(&w.sealer, FRAME_PING, NULL, 0, 0, a + la, &len, &err),
                     VARVE_ERR_CLOSED);
    expect(&w, a, la, FRAME_END, "");
    la = seal_by_hand(&w, FRAME_PING, 0, a);
    expect_error(&w, a, la, VARVE_ERR_CLOSED);
    way_end(&w);
}

static void
keys_are_renewed_by_frames_bytes_and_time(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    w.sealer.limits.frames = 3;
    w.sealer.limits.bytes = 200;
    w.sealer.limits.ms = 10;
    assert_false(frame_rekey_due(&w.sealer, 10, 0));
    la = seal(&w, FRAME_DATA, "1", a);
    expect(&w, a, la, FRAME_DATA, "1");
    assert_false(frame_rekey_due(&w.sealer, 10, 9999999));
    assert_true(frame_rekey_due(&w.sealer, 10, 10000000));
    assert_false(frame_rekey_due(&w.sealer, 100, 0));
    assert_true(frame_rekey_due(&w.sealer, 160, 0));
    la = seal(&w, FRAME_DATA, "2", a);
    expect(&w, a, la, FRAME_DATA, "2");
    assert_true(frame_rekey_due(&w.sealer, 0, 0));
    la = seal(&w, FRAME_REKEY, NULL, a);
    expect(&w, a, la, FRAME_REKEY, "");
    assert_false(frame_rekey_due(&w.sealer, 1000, UINT64_C(1) << 60)); /* fresh: takes one */
    la = seal(&w, FRAME_DATA, "3", a);
    expect(&w, a, la, FRAME_DATA, "3");
    way_end(&w);
}

static void
the_old_key_does_not_open_after_a_renewal(void **state)
{
    struct way w;
    struct way old;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    way_start(&old, false);
    (void)seal(&w, FRAME_REKEY, NULL, a);
    old.opener.counter = 1;
    la = seal(&w, FRAME_DATA, "new key", a);
    expect_error(&old, a, la, VARVE_ERR_CORRUPT);
    way_end(&w);
    way_end(&old);
}

static void
a_peer_that_never_renews_is_refused(void **state)
{
    struct way w;
    uint8_t a[CAP];
    size_t la;

    (void)state;
    way_start(&w, false);
    w.opener.limits.frames = 2;
    for (unsigned i = 0; i < 2; i++) {
        la = seal(&w, FRAME_PING, NULL, a);
        expect(&w, a, la, FRAME_PING, "");
    }
    la = seal(&w, FRAME_PING, NULL, a);
    expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
    way_end(&w);

    way_start(&w, false);
    w.opener.limits.bytes = 30;
    la = seal(&w, FRAME_DATA, "thirteen byte", a);
    expect(&w, a, la, FRAME_DATA, "thirteen byte");
    la = seal(&w, FRAME_DATA, "", a);
    expect_error(&w, a, la, VARVE_ERR_PROTOCOL);
    way_end(&w);
}

static void
what_the_sealer_allows_the_opener_takes(void **state)
{
    (void)state;
    assert_true(frame_sealer_limits.frames <= frame_opener_limits.frames);
    assert_true(frame_sealer_limits.bytes + FRAME_BODY_MAX <= frame_opener_limits.bytes);
}

static void
many_parts_are_one_message(void **state)
{
    struct way w;
    struct varve_error err;
    struct aead_part parts[200];
    uint8_t a[CAP];
    uint8_t out[CAP];
    uint8_t digits[200];
    size_t la = 0;
    size_t n = 0;
    enum frame_type type = 0;

    (void)state;
    way_start(&w, false);
    for (size_t i = 0; i < 200; i++) {
        digits[i] = (uint8_t)i;
        parts[i].data = &digits[i];
        parts[i].len = 1;
    }
    assert_int_equal(frame_seal(&w.sealer, FRAME_DATA, parts, 200, 0, a, &la, &err), VARVE_OK);
    assert_int_equal(open_frame(&w, a, la, out, &type, &n), VARVE_OK);
    assert_int_equal(n, 200);
    assert_memory_equal(out, digits, 200);
    way_end(&w);
}

static int
start(void **state)
{
    struct varve_error err;

    (void)state;
    return crypto_init(&err) == VARVE_OK ? 0 : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_open_in_the_order_they_were_sealed),
        cmocka_unit_test(a_frame_opens_in_place),
        cmocka_unit_test(every_changed_bit_is_refused_and_final),
        cmocka_unit_test(a_repeated_frame_is_refused),
        cmocka_unit_test(a_frame_left_out_is_noticed_at_the_next),
        cmocka_unit_test(frames_of_one_direction_do_not_open_in_another),
        cmocka_unit_test(lengths_outside_the_limits_are_refused_before_anything_is_read),
        cmocka_unit_test(a_message_over_the_limit_is_not_sealed),
        cmocka_unit_test(the_first_frame_must_confirm_and_no_other_may),
        cmocka_unit_test(unknown_types_and_payload_where_none_belongs_are_refused),
        cmocka_unit_test(nothing_comes_after_the_end),
        cmocka_unit_test(keys_are_renewed_by_frames_bytes_and_time),
        cmocka_unit_test(the_old_key_does_not_open_after_a_renewal),
        cmocka_unit_test(a_peer_that_never_renews_is_refused),
        cmocka_unit_test(what_the_sealer_allows_the_opener_takes),
        cmocka_unit_test(many_parts_are_one_message),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
