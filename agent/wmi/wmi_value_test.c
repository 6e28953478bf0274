/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "wmi/wmi_port.h"

static void
an_object_gives_back_what_was_put_in(void **state)
{
    static const int64_t status[] = {2, 32772};
    static const char *const files[] = {"a", "", "c"};
    struct wmi_object o;
    struct varve_error err;

    (void)state;
    assert_ok(wmi_object_init(&o, "\\\\H\\ns:C.K=\"1\"", "C.K=\"1\"", "C", &err), &err);
    assert_ok(wmi_object_add_integer(&o, "EnabledState", WMI_UINT16, 2, &err), &err);
    assert_ok(wmi_object_add_integer(&o, "Flag", WMI_BOOL, 1, &err), &err);
    assert_ok(wmi_object_add_text(&o, "Name", WMI_STRING, "web", &err), &err);
    assert_ok(wmi_object_add_null(&o, "Parent", &err), &err);
    assert_ok(wmi_object_add_integers(&o, "OperationalStatus", WMI_UINT16, status, 2, &err), &err);
    assert_ok(wmi_object_add_texts(&o, "HostResource", files, 3, &err), &err);
    assert_int_equal(wmi_integer_or(&o, "enabledstate", 0), 2);
    assert_true(wmi_true(&o, "Flag"));
    assert_string_equal(wmi_text_or(&o, "NAME", ""), "web");
    assert_int_equal(wmi_find(&o, "Parent")->type, WMI_NULL);
    assert_null(wmi_find(&o, "Paren"));
    assert_int_equal(wmi_count(&o, "OperationalStatus"), 2);
    assert_int_equal(wmi_integer_at(&o, "OperationalStatus", 1, 0), 32772);
    assert_string_equal(wmi_text_at(&o, "HostResource", 2), "c");
    wmi_object_release(&o);
}

static void
what_is_not_there_or_of_another_kind_is_the_fallback(void **state)
{
    static const int64_t status[] = {2};
    struct wmi_object o;
    struct varve_error err;

    (void)state;
    assert_ok(wmi_object_init(&o, "", "", "C", &err), &err);
    assert_ok(wmi_object_add_text(&o, "T", WMI_STRING, "7", &err), &err);
    assert_ok(wmi_object_add_integer(&o, "I", WMI_UINT64, 7, &err), &err);
    assert_ok(wmi_object_add_integers(&o, "A", WMI_UINT16, status, 1, &err), &err);
    assert_int_equal(wmi_integer_or(&o, "T", -1), -1);
    assert_int_equal(wmi_integer_or(&o, "A", -1), -1);
    assert_string_equal(wmi_text_or(&o, "I", "-"), "-");
    assert_int_equal(wmi_count(&o, "T"), 0);
    assert_null(wmi_text_at(&o, "A", 0));
    assert_int_equal(wmi_integer_at(&o, "A", 1, -1), -1);
    assert_false(wmi_true(&o, "nothing"));
    wmi_object_release(&o);
}

static void
a_text_or_an_array_past_its_limit_is_refused(void **state)
{
    char *text = calloc(1, WMI_TEXT_MAX + 2);
    struct wmi_object o;
    struct varve_error err;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', WMI_TEXT_MAX + 1);
    assert_ok(wmi_object_init(&o, "", "", "C", &err), &err);
    assert_err(wmi_object_add_text(&o, "T", WMI_STRING, text, &err), VARVE_ERR_LIMIT, &err);
    assert_err(wmi_object_add_integers(&o, "A", WMI_UINT16, NULL, WMI_ARRAY_MAX + 1, &err),
               VARVE_ERR_LIMIT, &err);
    wmi_object_release(&o);
    free(text);
}

static void
wanted_names_are_a_list_or_everything(void **state)
{
    static const char *const names[] = {"Name", "HostResource", NULL};

    (void)state;
    assert_true(wmi_wanted(names, "hostresource"));
    assert_false(wmi_wanted(names, "Parent"));
    assert_true(wmi_wanted(NULL, "Parent"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_gives_back_what_was_put_in),
        cmocka_unit_test(what_is_not_there_or_of_another_kind_is_the_fallback),
        cmocka_unit_test(a_text_or_an_array_past_its_limit_is_refused),
        cmocka_unit_test(wanted_names_are_a_list_or_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
