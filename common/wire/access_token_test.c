/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/access.h"

static const char address[] = "tcp://collector.example.net:7420";

static struct access_token
sample(const char *url)
{
    struct access_token t;

    memset(&t, 0, sizeof(t));
    for (unsigned i = 0; i < 32; i++) {
        t.secret.id[i % 16] = (uint8_t)(i + 1);
        t.secret.secret[i] = (uint8_t)(0x40 + i);
        t.collector[i] = (uint8_t)(0x80 + i);
    }
    t.expires_s = 1800000000;
    (void)snprintf(t.address, sizeof(t.address), "%s", url);
    return t;
}

static void
format(const struct access_token *t, char out[ACCESS_TOKEN_SIZE])
{
    struct varve_error err;

    assert_int_equal(access_token_format(t, out, &err), VARVE_OK);
}

static void
what_was_formatted_is_parsed(void **state)
{
    char url[ACCESS_ADDRESS_MAX + 1];
    char text[ACCESS_TOKEN_SIZE];

    (void)state;
    for (size_t len = 7; len <= ACCESS_ADDRESS_MAX; len += len < 40 ? 1 : 59) {
        struct access_token t;
        struct access_token back;
        struct varve_error err;

        memset(url, 'a', sizeof(url));
        memcpy(url, "ipc:///", 7);
        url[len] = '\0';
        t = sample(url);
        format(&t, text);
        assert_memory_equal(text, "varve1.", 7);
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_OK);
        assert_memory_equal(back.secret.id, t.secret.id, 16);
        assert_memory_equal(back.secret.secret, t.secret.secret, 32);
        assert_memory_equal(back.collector, t.collector, 32);
        assert_int_equal(back.expires_s, t.expires_s);
        assert_string_equal(back.address, url);
    }
}

static void
the_form_is_the_documented_one(void **state)
{
    struct access_token t = sample(address);
    char text[ACCESS_TOKEN_SIZE];

    (void)state;
    format(&t, text);
    assert_string_equal(
        text,
        "varve1.ERITFBUWFxgZGhscHR4fIEBBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fgIGCg4SFhoeIiYqL"
        "jI2Oj5CRkpOUlZaXmJmam5ydnp8A0klrAAAAACAAdGNwOi8vY29sbGVjdG9yLmV4YW1wbGUubmV0Ojc0MjDfCfeY");
}

static void
white_space_does_not_matter(void **state)
{
    struct access_token t = sample(address);
    struct access_token back;
    struct varve_error err;
    char text[ACCESS_TOKEN_SIZE];
    char wrapped[3 * ACCESS_TOKEN_SIZE] = "  \n\t";
    size_t n = 4;

    (void)state;
    format(&t, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        wrapped[n++] = text[i];
        if (i % 40 == 39) {
            wrapped[n++] = '\r';
            wrapped[n++] = '\n';
        }
    }
    memcpy(wrapped + n, " \n", 3);
    assert_int_equal(access_token_parse(&back, wrapped, &err), VARVE_OK);
    assert_string_equal(back.address, address);
}

static void
a_paste_that_lost_its_tail_is_incomplete(void **state)
{
    struct access_token t = sample(address);
    struct access_token back;
    struct varve_error err;
    char text[ACCESS_TOKEN_SIZE];
    size_t len;

    (void)state;
    format(&t, text);
    len = strlen(text);
    for (size_t n = 7; n < len; n++) {
        char cut[ACCESS_TOKEN_SIZE];
        char want[64];

        memcpy(cut, text, n);
        cut[n] = '\0';
        assert_int_equal(access_token_parse(&back, cut, &err), VARVE_ERR_INVALID);
        assert_non_null(strstr(err.msg, "incomplete"));
        (void)snprintf(want, sizeof(want), " %zu of ", n);
        assert_non_null(strstr(err.msg, want));
    }
    for (size_t n = 0; n < 7; n++) {
        text[n] = '\0';
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
        assert_non_null(strstr(err.msg, "does not begin with 'varve1.'"));
        text[n] = "varve1."[n];
    }
}

static void
any_changed_character_is_noticed_and_nothing_is_repeated(void **state)
{
    struct access_token t = sample(address);
    struct access_token back;
    struct varve_error err;
    char text[ACCESS_TOKEN_SIZE];
    size_t len;

    (void)state;
    format(&t, text);
    len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char was = text[i];

        text[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
        assert_null(strstr(err.msg, "QEFC")); /* the beginning of the secret */
        text[i] = '*';
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
        text[i] = (char)0xc3;
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
        text[i] = was;
    }
    /* Two neighbours changed places. */
    for (size_t i = 7; i + 1 < len; i++) {
        char was = text[i];

        if (text[i] == text[i + 1]) {
            continue;
        }
        text[i] = text[i + 1];
        text[i + 1] = was;
        assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
        text[i + 1] = text[i];
        text[i] = was;
    }
    assert_int_equal(access_token_parse(&back, text, &err), VARVE_OK);
}

static void
something_behind_it_is_noticed(void **state)
{
    struct access_token t = sample(address);
    struct access_token back;
    struct varve_error err;
    char text[ACCESS_TOKEN_SIZE + 2000];
    size_t len;

    (void)state;
    format(&t, text);
    len = strlen(text);
    memcpy(text + len, "xyz", 4);
    assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
    assert_non_null(strstr(err.msg, "3 characters too many"));
    memset(text + len, 'x', 2000);
    text[len + 1999] = '\0';
    assert_int_equal(access_token_parse(&back, text, &err), VARVE_ERR_INVALID);
    assert_non_null(strstr(err.msg, "more than"));
}

static void
another_version_is_told(void **state)
{
    struct access_token back;
    struct varve_error err;

    (void)state;
    assert_int_equal(access_token_parse(&back, "varve2.AAAA", &err), VARVE_ERR_INVALID);
    assert_non_null(strstr(err.msg, "another version"));
}

static void
addresses_are_checked_both_ways(void **state)
{
    static const char *const bad[] = {"", "tcp://a b", "tcp://a\x01", "tcp://\xc3\xa4"};
    struct varve_error err;
    char text[ACCESS_TOKEN_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct access_token t = sample(bad[i]);

        assert_int_equal(access_token_format(&t, text, &err), VARVE_ERR_INVALID);
    }
}

static void
expiry_is_told_in_time(void **state)
{
    struct access_token t = sample(address);
    struct varve_error err;
    const int64_t at = INT64_C(1800000000) * 1000000;

    (void)state;
    assert_int_equal(access_token_check_time(&t, at - 1, &err), VARVE_OK);
    assert_int_equal(access_token_check_time(&t, at, &err), VARVE_ERR_DENIED);
    assert_non_null(strstr(err.msg, "2027-01-15T08:00:00"));
    assert_non_null(strstr(err.msg, "varve host invite"));
    t.expires_s = 0;
    assert_int_equal(access_token_check_time(&t, INT64_MAX, &err), VARVE_OK);
    t.expires_s = UINT64_MAX;
    assert_int_equal(access_token_check_time(&t, INT64_MAX, &err), VARVE_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_formatted_is_parsed),
        cmocka_unit_test(the_form_is_the_documented_one),
        cmocka_unit_test(white_space_does_not_matter),
        cmocka_unit_test(a_paste_that_lost_its_tail_is_incomplete),
        cmocka_unit_test(any_changed_character_is_noticed_and_nothing_is_repeated),
        cmocka_unit_test(something_behind_it_is_noticed),
        cmocka_unit_test(another_version_is_told),
        cmocka_unit_test(addresses_are_checked_both_ways),
        cmocka_unit_test(expiry_is_told_in_time),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
