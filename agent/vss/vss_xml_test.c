/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vss/vss_code.h"
#include "vss/vss_port.h"
#include "vss/vss_xml.h"

#define WRITER   "66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"
#define INSTANCE "0f7b6c0e-25a1-4b1c-9d43-0a4d5e9f1122"

#define HEAD                                                                                       \
    "<WRITER_METADATA xmlns=\"x-schema:#VssWriterMetadataInfo\" version=\"1.1\">"                  \
    "<IDENTIFICATION writerId=\"" WRITER "\" instanceId=\"" INSTANCE                               \
    "\" friendlyName=\"Microsoft Hyper-V VSS Writer\" usage=\"USER_DATA\" dataSource=\"OTHER\"/>"
#define TAIL "</WRITER_METADATA>"

static void
a_writers_components_and_files_are_read(void **state)
{
    static const char text[] =
        "<?xml version=\"1.0\"?>\n<!-- saved -->" HEAD
        "<RESTORE_METHOD method=\"RESTORE_TO_ALTERNATE_LOCATION\"/>"
        "<BACKUP_LOCATIONS>"
        "<FILE_GROUP componentName=\"Host Component\" caption=\"Host Component\"/>"
        "<FILE_GROUP logicalPath=\"\" componentName=\"5B0C4E1A-0000-4000-8000-000000000001\" "
        "caption=\"Online\\R&amp;D &#x263A;\" selectable='yes'>"
        "<FILE_LIST path=\"D:\\vms\\R&amp;D\" filespec=\"a.vhdx\" filespecBackupType=\"3855\"/>"
        "<FILE_LIST path=\"D:\\vms\\R&amp;D\\Snapshots\" filespec=\"*\" recursive=\"yes\"/>"
        "<SOMETHING_NEW path=\"x\"><FILE_LIST path=\"no\" filespec=\"no\"/></SOMETHING_NEW>"
        "</FILE_GROUP>"
        "<DATABASE componentName=\"db\"><DATABASE_FILES path=\"p\" filespec=\"f\"/></DATABASE>"
        "</BACKUP_LOCATIONS>" TAIL;
    struct vss_metadata m;
    struct varve_error err;
    struct guid id;

    (void)state;
    assert_ok(vss_metadata_read(&m, text, strlen(text), &err), &err);
    assert_true(guid_parse(&id, WRITER));
    assert_true(guid_equal(&id, &m.writer));
    assert_true(guid_parse(&id, INSTANCE));
    assert_true(guid_equal(&id, &m.instance));
    assert_int_equal(m.count, 3);
    assert_int_equal(m.components[0].file_count, 0);
    assert_int_equal(m.components[1].type, VSS_TYPE_FILEGROUP);
    assert_string_equal(m.components[1].caption, "Online\\R&D \xE2\x98\xBA");
    assert_string_equal(m.components[1].path, "");
    assert_int_equal(m.components[1].file_count, 2);
    assert_string_equal(m.components[1].files[0].path, "D:\\vms\\R&D");
    assert_string_equal(m.components[1].files[0].spec, "a.vhdx");
    assert_false(m.components[1].files[0].recursive);
    assert_true(m.components[1].files[1].recursive);
    assert_int_equal(m.components[2].type, VSS_TYPE_DATABASE);
    assert_int_equal(m.components[2].file_count, 1);
    vss_metadata_release(&m);
}

static void
what_is_no_writers_document_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "text",
        "<root>" HEAD TAIL "</root>",
        "<WRITER_METADATA/>",
        HEAD,
        HEAD "</a></b></c>",
        HEAD "<BACKUP_LOCATIONS><FILE_GROUP caption=\"no name\"/></BACKUP_LOCATIONS>" TAIL,
        "<WRITER_METADATA><IDENTIFICATION writerId=\"x\" instanceId=\"y\"/></WRITER_METADATA>",
        HEAD "<BACKUP_LOCATIONS><FILE_GROUP componentName=\"a&nope;\"/></BACKUP_LOCATIONS>" TAIL,
        HEAD "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>" TAIL,
    };
    struct vss_metadata m;
    struct varve_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        enum varve_err rc = vss_metadata_read(&m, bad[i], strlen(bad[i]), &err);

        if (rc != VARVE_ERR_PROTOCOL && rc != VARVE_ERR_LIMIT) {
            fail_msg("case %zu: %s", i, varve_err_name(rc));
        }
    }
}

static void
too_many_components_and_too_long_names_are_limits(void **state)
{
    static const char one[] = "<FILE_GROUP componentName=\"n\"/>";
    size_t size = (VSS_COMPONENTS_MAX + 1) * strlen(one) + 2048;
    char *text = malloc(size);
    struct vss_metadata m;
    struct varve_error err;
    size_t at;
    size_t i;

    (void)state;
    assert_non_null(text);
    at = (size_t)snprintf(text, size, "%s<BACKUP_LOCATIONS>", HEAD);
    for (i = 0; i <= VSS_COMPONENTS_MAX; i++) {
        at += (size_t)snprintf(text + at, size - at, "%s", one);
    }
    at += (size_t)snprintf(text + at, size - at, "</BACKUP_LOCATIONS>" TAIL);
    assert_err(vss_metadata_read(&m, text, at, &err), VARVE_ERR_LIMIT, &err);
    at = (size_t)snprintf(text, size, "%s<BACKUP_LOCATIONS><FILE_GROUP componentName=\"%0*d\"/>",
                          HEAD, (int)VSS_TEXT_MAX, 0);
    assert_err(vss_metadata_read(&m, text, at, &err), VARVE_ERR_LIMIT, &err);
    free(text);
}

static void
a_backups_document_says_whose_components_it_has(void **state)
{
    static const char text[] =
        "<BACKUP_COMPONENTS xmlns=\"x-schema:#VssComponentMetadata\" backupType=\"copy\">"
        "<WRITER_COMPONENTS instanceId=\"" INSTANCE "\" writerId=\"" INSTANCE "\">"
        "<COMPONENT componentName=\"other\"/></WRITER_COMPONENTS>"
        "<WRITER_COMPONENTS instanceId=\"" INSTANCE "\" writerId=\"" WRITER "\">"
        "<COMPONENT componentName=\"AB-cd\" componentType=\"filegroup\"/></WRITER_COMPONENTS>"
        "</BACKUP_COMPONENTS>";
    struct varve_error err;
    struct guid writer;
    bool has = false;

    (void)state;
    assert_true(guid_parse(&writer, WRITER));
    assert_ok(vss_document_has(text, strlen(text), &writer, "ab-CD", &has, &err), &err);
    assert_true(has);
    assert_ok(vss_document_has(text, strlen(text), &writer, "other", &has, &err), &err);
    assert_false(has);
    assert_err(vss_document_has("<x/>", 4, &writer, "a", &has, &err), VARVE_ERR_PROTOCOL, &err);
}

static void
numbers_have_names_and_writers_failures_are_sorted(void **state)
{
    struct varve_error err;

    (void)state;
    assert_int_equal(vss_error(&err, 0x80042316u, "a set"), VARVE_ERR_BUSY);
    assert_string_equal(err.msg, "a set: VSS_E_SNAPSHOT_SET_IN_PROGRESS (0x80042316)");
    assert_int_equal(err.native, 0x80042316u);
    assert_int_equal(vss_error(&err, 0x80070005u, "x"), VARVE_ERR_DENIED);
    assert_string_equal(err.msg, "x: 0x80070005");
    assert_true(vss_is_retryable(0x800423F3u));
    assert_false(vss_is_retryable(0x800423F4u));
    assert_string_equal(vss_state_name(9), "failed at freeze");
    assert_string_equal(vss_state_name(99), "in a state that is unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writers_components_and_files_are_read),
        cmocka_unit_test(what_is_no_writers_document_is_refused),
        cmocka_unit_test(too_many_components_and_too_long_names_are_limits),
        cmocka_unit_test(a_backups_document_says_whose_components_it_has),
        cmocka_unit_test(numbers_have_names_and_writers_failures_are_sorted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
