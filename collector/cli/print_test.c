/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "cli/print.h"

static uint8_t id_bytes[16] = {0x3f, 0x2a, 0x91, 0xc4, 0x01, 0x02, 0x43, 0x04,
                               0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c};
static char hostile[] = "web\x1b[2J\xff";
static char plain[] = "web";
static char empty[] = "";
static char text_a[] = "a \"b\"";

static void
set_id(ProtobufCBinaryData *id)
{
    id->data = id_bytes;
    id->len = sizeof(id_bytes);
}

/* The line that a program would read. */
static void
line_is(json_t *object, const char *want)
{
    struct varve_error err;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    assert_ok(print_json_line(f, object, &err), &err);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, want);
    free(text);
}

static void
sizes_are_short_or_exact(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *human;
        const char *exact;
    } cases[] = {
        {0, "0 B", "0"},
        {1023, "1023 B", "1023"},
        {1024, "1.0 KiB", "1024"},
        {1536, "1.5 KiB", "1536"},
        {1048575, "1.0 MiB", "1048575"},
        {4294967296u, "4.0 GiB", "4294967296"},
        {UINT64_MAX, "16.0 EiB", "18446744073709551615"},
    };
    struct cli human = {.bytes = false};
    struct cli exact = {.bytes = true};
    char text[PRINT_SIZE_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_size(&human, cases[i].bytes, text);
        assert_string_equal(text, cases[i].human);
        print_size(&exact, cases[i].bytes, text);
        assert_string_equal(text, cases[i].exact);
    }
}

static void
durations_are_short(void **state)
{
    char text[32];

    (void)state;
    print_seconds(0.84, text);
    assert_string_equal(text, "0.8 s");
    print_seconds(125, text);
    assert_string_equal(text, "2 min 5 s");
    print_seconds(3 * 3600 + 60, text);
    assert_string_equal(text, "3 h 1 min");
}

static void
names_of_others_cannot_drive_the_terminal(void **state)
{
    char *clean;

    (void)state;
    clean = print_clean(hostile);
    assert_string_equal(clean, "web\xef\xbf\xbd[2J\xef\xbf\xbd");
    free(clean);
    clean = print_clean("gr\xc3\xbc\xc3\x9f");
    assert_string_equal(clean, "gr\xc3\xbc\xc3\x9f");
    free(clean);
}

static void
tables_are_aligned_by_characters(void **state)
{
    static const char *const headers[] = {"NAME", ">SIZE", "STATE"};
    struct print_table *t = print_table_new(headers, 3);
    struct varve_error err;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    print_table_cell(t, "gr\xc3\xbc\xc3\x9f"
                        "e");
    print_table_cell(t, "5 B");
    print_table_cell(t, NULL);
    print_table_cell(t, "a");
    print_table_cell(t, "100.0 GiB");
    print_table_cell(t, "off");
    assert_ok(print_table_print(t, f, &err), &err);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, "NAME        SIZE  STATE\n"
                              "gr\xc3\xbc\xc3\x9f"
                              "e        5 B  -\n"
                              "a      100.0 GiB  off\n");
    free(text);
    print_table_free(t);
}

static void
a_host_is_one_line(void **state)
{
    Varve__V1__HostInfo h = VARVE__V1__HOST_INFO__INIT;

    (void)state;
    set_id(&h.id);
    h.name = text_a;
    h.state = plain;
    h.connected = 1;
    h.enrolled_at_us = 1763806530123456;
    line_is(json_host(&h),
            "{\"id\":\"3f2a91c4-0102-4304-8506-0708090a0b0c\",\"name\":\"a \\\"b\\\"\","
            "\"state\":\"web\",\"connected\":true,\"address\":\"\",\"software\":\"\","
            "\"system\":\"\",\"provider\":\"\",\"enrolled_at\":\"2025-11-22T10:15:30.123456Z\","
            "\"last_seen\":null,\"invite_expires_at\":null,\"public_key\":null,\"tenant\":\"\"}\n");
}

static void
a_vm_is_one_line_with_its_disks(void **state)
{
    Varve__V1__VmInfo v = VARVE__V1__VM_INFO__INIT;
    Varve__V1__InventoryVm vm = VARVE__V1__INVENTORY_VM__INIT;
    Varve__V1__InventoryDisk disk = VARVE__V1__INVENTORY_DISK__INIT;
    Varve__V1__InventoryDisk *disks[] = {&disk};

    (void)state;
    v.vm = &vm;
    v.host_name = plain;
    v.host_connected = 1;
    v.points = 3;
    set_id(&vm.id);
    vm.name = hostile;
    vm.generation = 2;
    vm.disks = disks;
    vm.n_disks = 1;
    disk.name = plain;
    disk.size = 10737418240u;
    disk.tracked = 1;
    line_is(json_vm(&v),
            "{\"id\":\"3f2a91c4-0102-4304-8506-0708090a0b0c\","
            "\"name\":\"web\xef\xbf\xbd[2J\xef\xbf\xbd\",\"host_id\":null,\"host_name\":\"web\","
            "\"host_connected\":true,\"points\":3,\"latest_point_at\":null,\"tenant\":\"\","
            "\"native_id\":\"3f2a91c4-0102-4304-8506-0708090a0b0c\",\"state\":\"\","
            "\"generation\":2,\"capture\":\"\",\"source\":\"\",\"reason\":\"\",\"disks\":["
            "{\"id\":null,\"name\":\"web\",\"path\":\"\",\"size\":10737418240,\"format\":\"\","
            "\"logical_sector\":0,\"tracked\":true,\"problem\":\"\"}]}\n");
}

static void
a_point_is_one_line_with_its_disks(void **state)
{
    Varve__V1__PointInfo p = VARVE__V1__POINT_INFO__INIT;
    Varve__V1__PointDiskInfo disk = VARVE__V1__POINT_DISK_INFO__INIT;
    Varve__V1__PointDiskInfo *disks[] = {&disk};
    char *files[] = {plain};

    (void)state;
    set_id(&p.id);
    p.seq = 7;
    p.vm_name = plain;
    p.frozen_at_us = 1;
    p.disks = disks;
    p.n_disks = 1;
    p.files = files;
    p.n_files = 1;
    set_id(&disk.root);
    disk.read_bytes = 5;
    line_is(json_point(&p),
            "{\"id\":\"3f2a91c4-0102-4304-8506-0708090a0b0c\",\"seq\":7,\"vm_id\":null,"
            "\"vm_name\":\"web\",\"host_name\":\"\",\"run_id\":null,"
            "\"frozen_at\":\"1970-01-01T00:00:00.000001Z\",\"published_at\":null,"
            "\"consistency\":\"\",\"capture\":\"\",\"source\":\"\",\"reason\":\"\",\"disks\":["
            "{\"id\":null,\"name\":\"\",\"path\":\"\",\"size\":0,\"logical_sector\":0,"
            "\"block_size\":0,\"root\":\"3f2a91c40102430485060708090a0b0c\",\"incremental\":false,"
            "\"reason\":\"\",\"tracked_bytes\":0,\"read_bytes\":5,\"sent_bytes\":0,\"new_bytes\":0,"
            "\"has_change_id\":false}],\"files\":[\"web\"]}\n");
}

static void
a_run_is_one_line_with_its_error(void **state)
{
    Varve__V1__RunInfo r = VARVE__V1__RUN_INFO__INIT;
    Varve__V1__Error e = VARVE__V1__ERROR__INIT;

    (void)state;
    set_id(&r.run_id);
    r.vm_name = plain;
    r.phase = empty;
    r.error = &e;
    e.code = VARVE_ERR_NOSPACE;
    e.native = 28;
    e.message = text_a;
    line_is(json_run(&r),
            "{\"run_id\":\"3f2a91c4-0102-4304-8506-0708090a0b0c\",\"vm_id\":null,"
            "\"vm_name\":\"web\",\"host_name\":\"\",\"phase\":\"\",\"waits\":\"\",\"incremental\":"
            "false,"
            "\"planned_bytes\":0,\"tracked_bytes\":0,\"read_bytes\":0,\"sent_bytes\":0,"
            "\"new_bytes\":0,\"stored_bytes\":0,\"started_at\":null,\"ended_at\":null,"
            "\"point_id\":null,\"point_seq\":null,\"error\":{\"code\":\"no space\","
            "\"message\":\"a \\\"b\\\"\",\"native\":28},\"warnings\":[]}\n");
}

static void
an_unknown_error_number_is_internal(void **state)
{
    Varve__V1__VerifyProblem p = VARVE__V1__VERIFY_PROBLEM__INIT;
    Varve__V1__Error e = VARVE__V1__ERROR__INIT;

    (void)state;
    p.error = &e;
    e.code = 999;
    line_is(json_problem(&p),
            "{\"point_id\":null,\"vm_name\":\"\",\"point_seq\":0,\"disk\":\"\",\"offset\":0,"
            "\"length\":0,\"error\":{\"code\":\"internal\",\"message\":\"\"}}\n");
}

static void
the_status_is_one_line(void **state)
{
    Varve__V1__StatusReply s = VARVE__V1__STATUS_REPLY__INIT;
    char *problems[] = {text_a};

    (void)state;
    s.software = plain;
    s.points = 4;
    s.stored_bytes = 123;
    s.problems = problems;
    s.n_problems = 1;
    line_is(json_status(&s),
            "{\"software\":\"web\",\"started_at\":null,\"listen\":\"\",\"store\":\"\","
            "\"key_path\":\"\",\"chunk_size\":0,\"hosts\":0,\"hosts_connected\":0,\"vms\":0,"
            "\"points\":4,\"logical_bytes\":0,\"chunks\":0,\"raw_bytes\":0,\"stored_bytes\":123,"
            "\"free_bytes\":0,\"runs\":[],\"patrol\":null,\"problems\":[\"a \\\"b\\\"\"]}\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_short_or_exact),
        cmocka_unit_test(durations_are_short),
        cmocka_unit_test(names_of_others_cannot_drive_the_terminal),
        cmocka_unit_test(tables_are_aligned_by_characters),
        cmocka_unit_test(a_host_is_one_line),
        cmocka_unit_test(a_vm_is_one_line_with_its_disks),
        cmocka_unit_test(a_point_is_one_line_with_its_disks),
        cmocka_unit_test(a_run_is_one_line_with_its_error),
        cmocka_unit_test(an_unknown_error_number_is_internal),
        cmocka_unit_test(the_status_is_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
