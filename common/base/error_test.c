/* SPDX-License-Identifier: Apache-2.0 */
#define VARVE_ERROR_IMPLEMENTATION /* the functions themselves, also for the analyzer */
#include "base/testing.h"

#include <errno.h>
#include <string.h>

static void
every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < VARVE_ERR_COUNT; i++) {
        assert_true(strlen(varve_err_name((enum varve_err)i)) > 0);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(varve_err_name((enum varve_err)i),
                                    varve_err_name((enum varve_err)j));
        }
    }
    assert_string_equal(varve_err_name(VARVE_ERR_COUNT), "internal");
    assert_string_equal(varve_err_name((enum varve_err)4711), "internal");
}

static void
a_set_error_has_code_and_text_and_no_native_number(void **state)
{
    struct varve_error err;

    (void)state;
    memset(&err, 0xEE, sizeof(err));
    assert_int_equal(varve_error_set(&err, VARVE_ERR_STALE, "no change id for disk '%s'", "d1"),
                     VARVE_ERR_STALE);
    assert_int_equal(err.code, VARVE_ERR_STALE);
    assert_int_equal(err.source, VARVE_SRC_NONE);
    assert_true(err.native == 0);
    assert_string_equal(err.msg, "no change id for disk 'd1'");
}

static void
errno_decides_the_code_and_is_kept(void **state)
{
    static const struct {
        int number;
        enum varve_err code;
    } cases[] = {
        {ENOSPC, VARVE_ERR_NOSPACE},
#ifdef EDQUOT
        {EDQUOT, VARVE_ERR_NOSPACE},
#endif
        {ENOENT, VARVE_ERR_NOT_FOUND},
        {EEXIST, VARVE_ERR_EXISTS},
        {EACCES, VARVE_ERR_DENIED},
        {EBUSY, VARVE_ERR_BUSY},
        {EIO, VARVE_ERR_IO},
        {ENOMEM, VARVE_ERR_NOMEM},
        {EINVAL, VARVE_ERR_INVALID},
        {ETIMEDOUT, VARVE_ERR_TIMEOUT},
        {ECONNREFUSED, VARVE_ERR_IO},
        {EMFILE, VARVE_ERR_LIMIT},
        {ENOSYS, VARVE_ERR_UNSUPPORTED},
        {12345, VARVE_ERR_IO},
    };
    struct varve_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(varve_error_errno(&err, cases[i].number, "doing %d", 7), cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.source, VARVE_SRC_ERRNO);
        assert_true(err.native == cases[i].number);
        assert_true(strncmp(err.msg, "doing 7: ", 9) == 0);
        assert_true(strlen(err.msg) > 9);
    }
    (void)varve_error_errno(&err, ENOSPC, "writing '%s'", "/x");
    assert_string_equal(err.msg, "writing '/x': No space left on device");
}

static void
windows_and_nng_numbers_map_on_every_system(void **state)
{
    struct varve_error err;

    (void)state;
    assert_int_equal(varve_error_win32(&err, 32, "opening '%s'", "C:\\vm.vhdx"), VARVE_ERR_BUSY);
    assert_int_equal(err.source, VARVE_SRC_WIN32);
    assert_true(err.native == 32);
    assert_string_equal(err.msg, "opening 'C:\\vm.vhdx': Windows error 32 (0x00000020)");
    assert_int_equal(varve_error_win32(&err, 112, "x"), VARVE_ERR_NOSPACE);
    assert_int_equal(varve_error_win32(&err, 0xC03A0005u, "x"), VARVE_ERR_IO);
    assert_true(err.native == INT64_C(0xC03A0005));

    assert_int_equal(varve_error_nng(&err, 5, "Timed out", "dialing %s", "tcp://a"),
                     VARVE_ERR_TIMEOUT);
    assert_int_equal(err.source, VARVE_SRC_NNG);
    assert_string_equal(err.msg, "dialing tcp://a: Timed out");
    assert_int_equal(varve_error_nng(&err, 6, "Connection refused", "x"), VARVE_ERR_IO);
}

static void
a_prefix_keeps_code_source_and_number(void **state)
{
    struct varve_error err;

    (void)state;
    (void)varve_error_errno(&err, ENOENT, "opening 'a'");
    assert_int_equal(varve_error_prefix(&err, "reading pack %d", 3), VARVE_ERR_NOT_FOUND);
    assert_int_equal(err.source, VARVE_SRC_ERRNO);
    assert_true(err.native == ENOENT);
    assert_string_equal(err.msg, "reading pack 3: opening 'a': No such file or directory");
}

static void
a_message_may_be_made_from_itself(void **state)
{
    struct varve_error err;

    (void)state;
    (void)varve_error_set(&err, VARVE_ERR_IO, "inner");
    (void)varve_error_set(&err, VARVE_ERR_CORRUPT, "outer (%s)", err.msg);
    assert_string_equal(err.msg, "outer (inner)");
}

static void
a_long_message_is_cut_at_a_character_and_marked(void **state)
{
    struct varve_error err;
    char text[600];

    (void)state;
    /* Two-byte characters at each possible alignment of the cut. */
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', sizeof(text));
        for (size_t i = shift; i + 2 < sizeof(text); i += 2) {
            text[i] = '\xC3';
            text[i + 1] = '\xA4';
        }
        text[sizeof(text) - 2 + shift % 2] = '\0';
        text[sizeof(text) - 1] = '\0';
        (void)varve_error_set(&err, VARVE_ERR_IO, "%s", text);
        size_t len = strlen(err.msg);

        assert_true(len < sizeof(err.msg) && len > sizeof(err.msg) - 8);
        assert_string_equal(err.msg + len - 3, "...");
        assert_true((err.msg[len - 4] & 0xFF) == 0xA4 || err.msg[len - 4] == 'a');
    }
}

static void
the_reason_survives_a_long_subject(void **state)
{
    struct varve_error err;
    char path[400];

    (void)state;
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    (void)varve_error_errno(&err, ENOSPC, "writing '%s'", path);
    assert_non_null(strstr(err.msg, "...: No space left on device"));
    assert_true(strncmp(err.msg, "writing 'ppp", 12) == 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(a_set_error_has_code_and_text_and_no_native_number),
        cmocka_unit_test(errno_decides_the_code_and_is_kept),
        cmocka_unit_test(windows_and_nng_numbers_map_on_every_system),
        cmocka_unit_test(a_prefix_keeps_code_source_and_number),
        cmocka_unit_test(a_message_may_be_made_from_itself),
        cmocka_unit_test(a_long_message_is_cut_at_a_character_and_marked),
        cmocka_unit_test(the_reason_survives_a_long_subject),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
