/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "wmi/hresult.h"

static void
numbers_that_a_caller_acts_on_have_their_code(void **state)
{
    static const struct {
        uint32_t number;
        enum varve_err code;
    } cases[] = {
        {1, VARVE_ERR_UNSUPPORTED},
        {5, VARVE_ERR_BUSY},
        {32775, VARVE_ERR_BUSY},
        {32774, VARVE_ERR_BUSY},
        {32769, VARVE_ERR_DENIED},
        {32768, VARVE_ERR_IO},
        {0x80041002, VARVE_ERR_NOT_FOUND},
        {0x80070002, VARVE_ERR_NOT_FOUND},
        {0x80070020, VARVE_ERR_BUSY},
        {0x80070057, VARVE_ERR_INVALID},
        {0x80070070, VARVE_ERR_NOSPACE},
        {0xC03A0029, VARVE_ERR_STALE},
        {0xC03A002A, VARVE_ERR_STALE},
        {0xC03A0030, VARVE_ERR_STALE},
        {0xC03A0020, VARVE_ERR_STALE},
        {0xC03A0022, VARVE_ERR_STALE},
        {0xC03A0001, VARVE_ERR_IO},
        {0x8004100E, VARVE_ERR_UNSUPPORTED},
        {0x800706BA, VARVE_ERR_CLOSED},
        {0x800706BE, VARVE_ERR_CLOSED},
        {0x80041015, VARVE_ERR_CLOSED},
        {0xDEADBEEF, VARVE_ERR_IO},
        {77, VARVE_ERR_IO},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(hresult_code(cases[i].number), cases[i].code);
    }
}

static void
the_number_stays_with_the_error(void **state)
{
    struct varve_error err;

    (void)state;
    assert_int_equal(hresult_error(&err, 0xC03A0029, "not this one", "query of '%s'", "x"),
                     VARVE_ERR_STALE);
    assert_int_equal(err.source, VARVE_SRC_HRESULT);
    assert_int_equal(err.native, 0xC03A0029);
    assert_string_equal(err.msg, "query of 'x': not this one (0xC03A0029)");
    assert_int_equal(hresult_error(&err, 32775, "invalid state", "create"), VARVE_ERR_BUSY);
    assert_string_equal(err.msg, "create: invalid state (32775)");
}

static void
a_result_of_virtdisk_is_a_win32_code_or_an_hresult(void **state)
{
    struct varve_error err;

    (void)state;
    assert_int_equal(native_error(&err, 32, "opening 'x'"), VARVE_ERR_BUSY);
    assert_int_equal(err.source, VARVE_SRC_WIN32);
    assert_int_equal(err.native, 32);
    assert_int_equal(native_error(&err, 1300, "attaching"), VARVE_ERR_DENIED);
    assert_int_equal(native_error(&err, 0xC03A002A, "changes of 'x'"), VARVE_ERR_STALE);
    assert_int_equal(err.source, VARVE_SRC_HRESULT);
    assert_int_equal(err.native, 0xC03A002A);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_a_caller_acts_on_have_their_code),
        cmocka_unit_test(the_number_stays_with_the_error),
        cmocka_unit_test(a_result_of_virtdisk_is_a_win32_code_or_an_hresult),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
