/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "wmi/cim_xml.h"

static void
what_is_written_is_read_back(void **state)
{
    static const char *const paths[] = {"C:\\a & b\\<x>.vhdx", ""};
    const struct wmi_param properties[] = {
        {.name = "ConsistencyLevel", .type = WMI_UINT8, .integer = 1},
        {.name = "Ignore", .type = WMI_BOOL, .integer = 1},
        {.name = "ElementName", .type = WMI_STRING, .text = "\"q\" 'a'\n\xC3\xA9"},
        {.name = "HostResource", .type = WMI_STRING, .texts = paths, .count = 2},
    };
    struct wmi_object o;
    struct varve_error err;
    char *xml = NULL;

    (void)state;
    assert_ok(cim_xml_write("Msvm_X", properties, 4, &xml, &err), &err);
    assert_non_null(strstr(xml, "<PROPERTY NAME=\"Ignore\" TYPE=\"boolean\"><VALUE>TRUE</VALUE>"));
    assert_ok(cim_xml_read(xml, strlen(xml), &o, &err), &err);
    assert_string_equal(o.class_name, "Msvm_X");
    assert_int_equal(wmi_integer_or(&o, "ConsistencyLevel", 0), 1);
    assert_true(wmi_true(&o, "Ignore"));
    assert_string_equal(wmi_text_or(&o, "ElementName", ""), "\"q\" 'a'\n\xC3\xA9");
    assert_int_equal(wmi_count(&o, "HostResource"), 2);
    assert_string_equal(wmi_text_at(&o, "HostResource", 0), paths[0]);
    wmi_object_release(&o);
    free(xml);
}

static void
what_windows_writes_is_understood(void **state)
{
    static const char text[] =
        "<?xml version=\"1.0\"?><!-- c --><DECLGROUP><INSTANCE CLASSNAME='Msvm_Error'>"
        "<QUALIFIER NAME=\"dynamic\" TYPE=\"boolean\"><VALUE>TRUE</VALUE></QUALIFIER>"
        "<PROPERTY NAME=\"Message\" CLASSORIGIN=\"CIM_Error\" TYPE=\"string\">"
        "<QUALIFIER NAME=\"read\" TYPE=\"boolean\"><VALUE>TRUE</VALUE></QUALIFIER>"
        "<VALUE>a &#x41;<![CDATA[<b>]]></VALUE></PROPERTY>"
        "<PROPERTY NAME=\"None\" TYPE=\"uint32\"/>"
        "<PROPERTY.ARRAY NAME=\"A\" TYPE=\"uint16\"><VALUE.ARRAY><VALUE>7</VALUE></VALUE.ARRAY>"
        "</PROPERTY.ARRAY><PROPERTY NAME=\"Size\" TYPE=\"uint64\"><VALUE>137438953472</VALUE>"
        "</PROPERTY></INSTANCE></DECLGROUP>";
    struct wmi_object o;
    struct varve_error err;

    (void)state;
    assert_ok(cim_xml_read(text, strlen(text), &o, &err), &err);
    assert_string_equal(wmi_text_or(&o, "Message", ""), "a A<b>");
    assert_int_equal(wmi_find(&o, "None")->type, WMI_NULL);
    assert_int_equal(wmi_integer_at(&o, "A", 0, 0), 7);
    assert_int_equal(wmi_integer_or(&o, "Size", 0), 137438953472);
    wmi_object_release(&o);
}

static void
what_is_no_instance_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "<X/>",
        "<INSTANCE CLASSNAME=\"C\">",
        "<INSTANCE CLASSNAME=\"C\"><PROPERTY NAME=\"P\" TYPE=\"uint8\"><VALUE>x</VALUE></PROPERTY>",
        "<INSTANCE CLASSNAME=\"C\"><PROPERTY NAME=\"P\" TYPE=\"string\"><VALUE>&no;</VALUE>",
        "<INSTANCE CLASSNAME=C></INSTANCE>",
        "</X>",
        "<![CDATA[",
        "<INSTANCE CLASSNAME=\"C\"><PROPERTY NAME=\"P\" TYPE=\"string\"><VALUE>x</PROPERTY>",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wmi_object o;
        struct varve_error err;

        assert_err(cim_xml_read(bad[i], strlen(bad[i]), &o, &err), VARVE_ERR_PROTOCOL, &err);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_windows_writes_is_understood),
        cmocka_unit_test(what_is_no_instance_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
