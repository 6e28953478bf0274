/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/dispatch.h"
#include "hvsim/ops.h"

struct fixture {
    char *dir;
    struct sim_host *h;
    char vm[GUID_TEXT_SIZE];
    char disk[2][GUID_TEXT_SIZE];
};

/* Sends one request (printf style, single quotes stand for double ones); the caller frees. */
static json_t *ask(struct fixture *f, const char *fmt, ...) VARVE_PRINTF(2, 3);

static json_t *
ask(struct fixture *f, const char *fmt, ...)
{
    char line[4096];
    struct dispatch_wait wait;
    json_t *o = NULL;
    char *reply = NULL;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (char *p = line; *p != 0; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    assert_int_not_equal(dispatch_line(f->h, line, strlen(line), &reply, &wait), DISPATCH_DROP);
    assert_non_null(reply);
    assert_null(strchr(reply, '\n'));
    o = json_loads(reply, 0, NULL);
    assert_non_null(o);
    free(reply);
    return o;
}

static json_int_t
hresult_of(json_t *reply)
{
    json_int_t code = json_is_true(json_object_get(reply, "ok"))
                          ? 0
                          : json_integer_value(json_object_get(reply, "hresult"));

    json_decref(reply);
    return code;
}

static void
copy_text(const json_t *o, char *out)
{
    assert_true(json_is_string(o));
    (void)snprintf(out, GUID_TEXT_SIZE, "%s", json_string_value(o));
}

/* Waits for the job of a reply; the job.get of its end is the caller's. */
static json_t *
finish(struct fixture *f, json_t *started)
{
    char job[GUID_TEXT_SIZE];
    json_t *o = NULL;
    json_int_t state = 0;

    copy_text(json_object_get(started, "job"), job);
    json_decref(started);
    for (unsigned i = 0; i < 10000 && state != 7 && state != 10; i++) {
        (void)engine_tick(f->h);
        json_decref(o);
        o = ask(f, "{'id':1,'op':'job.get','job':'%s'}", job);
        state = json_integer_value(json_object_get(o, "state"));
    }
    assert_true(state == 7 || state == 10);
    return o;
}

static void
backup(struct fixture *f, char *checkpoint)
{
    json_t *o = finish(f, ask(f,
                              "{'id':1,'op':'checkpoint.create','vm':'%s','consistency':'crash',"
                              "'tag':'varve run'}",
                              f->vm));

    assert_int_equal(json_integer_value(json_object_get(o, "state")), 7);
    copy_text(json_object_get(json_object_get(o, "result"), "checkpoint"), checkpoint);
    json_decref(o);
}

static int
set_up(void **state)
{
    struct fixture *f = sim_alloc(sizeof(*f));
    struct sim_error err;
    json_t *o = NULL;

    f->dir = test_dir_new();
    must_work(host_open(&f->h, f->dir, "sim1", test_seed(), &err));
    assert_int_equal(hresult_of(ask(f, "{'op':'host.set','job_ms':0}")), 0);
    o = ask(f, "{'id':1,'op':'vm.create','name':'w\xC3\xB6rk 1','disks':[{'size':16777216},"
               "{'size':8388608,'block_size':1048576}]}");
    copy_text(json_object_get(o, "vm"), f->vm);
    copy_text(json_array_get(json_object_get(o, "disks"), 0), f->disk[0]);
    copy_text(json_array_get(json_object_get(o, "disks"), 1), f->disk[1]);
    json_decref(o);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    host_close(f->h);
    test_dir_free(f->dir);
    free(f);
    return 0;
}

static void
a_backup_runs_through_the_protocol_from_freeze_to_merge(void **state)
{
    struct fixture *f = *state;
    char checkpoint[GUID_TEXT_SIZE];
    char refpoint[GUID_TEXT_SIZE];
    char change_id[96] = "";
    json_t *o = NULL;
    json_t *disks = NULL;
    json_t *ranges = NULL;
    char *path = NULL;

    backup(f, checkpoint);
    o = finish(f, ask(f, "{'id':2,'op':'refpoint.convert','checkpoint':'%s'}", checkpoint));
    copy_text(json_object_get(json_object_get(o, "result"), "refpoint"), refpoint);
    disks = json_object_get(json_object_get(o, "result"), "disks");
    assert_int_equal(json_array_size(disks), 2);
    /* Joined by id: the order is not the order of the vm's disks. */
    for (size_t i = 0; i < 2; i++) {
        json_t *d = json_array_get(disks, i);

        if (strcmp(json_string_value(json_object_get(d, "id")), f->disk[0]) == 0) {
            assert_int_equal(i, 1);
            (void)snprintf(change_id, sizeof(change_id), "%s",
                           json_string_value(json_object_get(d, "change_id")));
        }
    }
    json_decref(o);
    test_settle(f->h);
    assert_int_equal(hresult_of(ask(f,
                                    "{'id':3,'op':'guest.write','vm':'%s','disk':'%s','seed':9,"
                                    "'extents':[[0,512],[1048576,131072]]}",
                                    f->vm, f->disk[0])),
                     0);
    backup(f, checkpoint);
    o = ask(f, "{'id':4,'op':'checkpoint.disks','checkpoint':'%s'}", checkpoint);
    path = sim_strdup(
        json_string_value(json_object_get(json_array_get(json_object_get(o, "disks"), 0), "path")));
    json_decref(o);
    o = ask(f,
            "{'id':5,'op':'changes.query','path':'%s','change_id':'%s','offset':0,"
            "'length':16777216,'max_ranges':64}",
            path, change_id);
    ranges = json_object_get(o, "ranges");
    assert_int_equal(json_array_size(ranges), 2);
    assert_int_equal(json_integer_value(json_array_get(json_array_get(ranges, 1), 0)), 1048576);
    assert_int_equal(json_integer_value(json_array_get(json_array_get(ranges, 1), 1)), 131072);
    assert_int_equal(json_integer_value(json_object_get(o, "processed")), 16777216);
    json_decref(o);
    json_decref(finish(f, ask(f, "{'id':6,'op':'refpoint.destroy','refpoint':'%s'}", refpoint)));
    assert_int_equal(hresult_of(ask(f,
                                    "{'id':7,'op':'changes.query','path':'%s','change_id':'%s',"
                                    "'offset':0,'length':512,'max_ranges':64}",
                                    path, change_id)),
                     SIM_CT_MISSING);
    free(path);
}

static void
malformed_requests_are_refused_with_what_is_wrong(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{'op':7}",
        "{'op':'vm.lst'}",
        "{'op':'vm.get'}",
        "{'op':'vm.get','vm':'not a guid'}",
        "{'op':'vm.get','vm':7}",
        "{'op':'vm.list','verbose':true}",
        "{'op':'checkpoint.create','vm':'00000000-0000-0000-0000-000000000000'}",
        "{'op':'host.set','rct_granularity':1000}",
        "{'op':'host.set','job_ms':-1}",
        "{'op':'vm.create','name':'x','disks':[{'size':16777216,'colour':'red'}]}",
        "{'op':'vm.create','name':'x','disks':[{'size':1000}]}",
        "{'op':'vm.create','name':'x','disks':[{'raw':'/nonexistent','size':512}]}",
        "{'op':'vm.create','name':'../x','disks':[{'size':16777216}]}",
        "{'op':'vm.create','name':''}",
        "{'op':'fault.set','fault_op':'vm.lst'}",
        "{'op':'vm.config'}",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *o = ask(f, "%s", bad[i]);

        assert_true(strlen(json_string_value(json_object_get(o, "error"))) > 5);
        assert_int_equal(hresult_of(o), SIM_INVALID);
    }
    assert_int_equal(f->h->vm_count, 1); /* no half-made vm stays */
}

static void
writes_that_do_not_fit_the_disk_are_refused(void **state)
{
    static const char *const bad[] = {
        "'offset':0,'length':100,'seed':1",
        "'offset':16777216,'length':512,'seed':1",
        "'offset':0,'length':0,'seed':1",
        "'extents':[],'seed':1",
        "'extents':[[0]],'seed':1",
        "'extents':[[0,-512]],'seed':1",
        "'extents':[[9223372036854775296,9223372036854775296]],'seed':1",
        "'offset':0,'data':'***'",
        "'offset':0,'data':'AAAA'",
        "'offset':0",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(hresult_of(ask(f, "{'op':'guest.write','vm':'%s','disk':'%s',%s}", f->vm,
                                        f->disk[0], bad[i])),
                         SIM_INVALID);
    }
}

static void
base64_gives_back_what_went_in(void **state)
{
    uint8_t bytes[100];
    struct sim_error err;

    (void)state;
    sim_random_fill(bytes, sizeof(bytes), test_seed(), 0);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        char *text = base64_encode(bytes, n);
        uint8_t *back = NULL;
        size_t len = 0;

        must_work(base64_decode(text, &back, &len, &err));
        assert_int_equal(len, n);
        assert_memory_equal(back, bytes, n);
        free(text);
        free(back);
    }
    {
        char *text = base64_encode("hello", 5);

        assert_string_equal(text, "aGVsbG8="); /* RFC 4648 digits and padding */
        free(text);
    }
}

static void
a_fault_refuses_the_call_that_was_chosen_and_no_other(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hresult_of(ask(f, "{'op':'fault.set','fault_op':'vm.list','nth':2,"
                                       "'hresult':2147549183}")),
                     0);
    assert_int_equal(hresult_of(ask(f, "{'op':'vm.list'}")), 0);
    assert_int_equal(hresult_of(ask(f, "{'op':'vm.list'}")), 2147549183);
    assert_int_equal(hresult_of(ask(f, "{'op':'vm.list'}")), 0);
}

static void
a_fault_in_a_job_ends_it_in_exception_and_leaves_no_checkpoint(void **state)
{
    struct fixture *f = *state;
    json_t *o = NULL;

    assert_int_equal(hresult_of(ask(f, "{'op':'fault.set','fault_op':'checkpoint.create',"
                                       "'hresult':32774,'phase':'job'}")),
                     0);
    o = finish(
        f, ask(f, "{'op':'checkpoint.create','vm':'%s','consistency':'crash','tag':'t'}", f->vm));
    assert_int_equal(json_integer_value(json_object_get(o, "state")), 10);
    assert_int_equal(json_integer_value(json_object_get(o, "error_code")), 32774);
    json_decref(o);
    o = ask(f, "{'op':'checkpoint.list','vm':'%s'}", f->vm);
    assert_int_equal(json_array_size(json_object_get(o, "checkpoints")), 0);
    json_decref(o);
}

static void
a_fault_after_the_call_has_done_the_work_all_the_same(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hresult_of(ask(f, "{'op':'fault.set','fault_op':'checkpoint.create',"
                                       "'hresult':2147944122,'phase':'after'}")),
                     0);
    assert_int_equal(hresult_of(ask(f,
                                    "{'op':'checkpoint.create','vm':'%s','consistency':'crash',"
                                    "'tag':'t'}",
                                    f->vm)),
                     2147944122);
    test_settle(f->h);
    assert_int_equal(f->h->vms[0]->checkpoint_count, 1);
}

static void
a_dropped_call_is_done_and_not_answered(void **state)
{
    struct fixture *f = *state;
    char line[256];
    struct dispatch_wait wait;
    char *reply = NULL;

    assert_int_equal(hresult_of(ask(f, "{'op':'fault.set','fault_op':'checkpoint.create',"
                                       "'phase':'drop'}")),
                     0);
    (void)snprintf(line, sizeof(line),
                   "{\"op\":\"checkpoint.create\",\"vm\":\"%s\",\"consistency\":\"crash\","
                   "\"tag\":\"t\"}",
                   f->vm);
    assert_int_equal(dispatch_line(f->h, line, strlen(line), &reply, &wait), DISPATCH_DROP);
    assert_null(reply);
    test_settle(f->h);
    assert_int_equal(f->h->vms[0]->checkpoint_count, 1);
}

static void
the_truth_is_found_by_every_name_of_a_moment_until_it_is_dropped(void **state)
{
    struct fixture *f = *state;
    char checkpoint[GUID_TEXT_SIZE];
    char refpoint[GUID_TEXT_SIZE];
    json_t *o = NULL;

    backup(f, checkpoint);
    o = finish(f, ask(f, "{'op':'refpoint.convert','checkpoint':'%s'}", checkpoint));
    copy_text(json_object_get(json_object_get(o, "result"), "refpoint"), refpoint);
    json_decref(o);
    assert_int_equal(hresult_of(ask(f, "{'op':'truth.path','disk':'%s','checkpoint':'%s'}",
                                    f->disk[1], checkpoint)),
                     0);
    assert_int_equal(
        hresult_of(ask(f, "{'op':'truth.path','disk':'%s','refpoint':'%s'}", f->disk[1], refpoint)),
        0);
    assert_int_equal(
        hresult_of(ask(f, "{'op':'truth.path','disk':'%s','tag':'varve run'}", f->disk[1])), 0);
    assert_int_equal(
        hresult_of(ask(f, "{'op':'truth.path','disk':'%s','tag':'other'}", f->disk[1])),
        SIM_NOT_FOUND);
    o = ask(f, "{'op':'truth.list','vm':'%s'}", f->vm);
    assert_int_equal(json_array_size(json_object_get(o, "truths")), 1);
    json_decref(o);
    assert_int_equal(hresult_of(ask(f, "{'op':'truth.drop','checkpoint':'%s'}", checkpoint)), 0);
    assert_int_equal(hresult_of(ask(f, "{'op':'truth.path','disk':'%s','checkpoint':'%s'}",
                                    f->disk[1], checkpoint)),
                     SIM_NOT_FOUND);
}

static void
a_configuration_names_the_files_of_its_moment(void **state)
{
    struct fixture *f = *state;
    char checkpoint[GUID_TEXT_SIZE];
    const char *data = NULL;
    struct sim_error err;
    uint8_t *bytes = NULL;
    size_t len = 0;
    json_t *o = NULL;

    backup(f, checkpoint);
    o = ask(f, "{'op':'vm.config','checkpoint':'%s'}", checkpoint);
    data =
        json_string_value(json_object_get(json_array_get(json_object_get(o, "files"), 0), "data"));
    must_work(base64_decode(data, &bytes, &len, &err));
    assert_true(len % 4096 == 0 && len > 0);
    assert_non_null(strstr((const char *)bytes, "w\xC3\xB6rk 1-1.vhdx"));
    assert_null(strstr((const char *)bytes, ".avhdx"));
    free(bytes);
    json_decref(o);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        case_of(a_backup_runs_through_the_protocol_from_freeze_to_merge),
        case_of(malformed_requests_are_refused_with_what_is_wrong),
        case_of(writes_that_do_not_fit_the_disk_are_refused),
        case_of(base64_gives_back_what_went_in),
        case_of(a_fault_refuses_the_call_that_was_chosen_and_no_other),
        case_of(a_fault_in_a_job_ends_it_in_exception_and_leaves_no_checkpoint),
        case_of(a_fault_after_the_call_has_done_the_work_all_the_same),
        case_of(a_dropped_call_is_done_and_not_answered),
        case_of(the_truth_is_found_by_every_name_of_a_moment_until_it_is_dropped),
        case_of(a_configuration_names_the_files_of_its_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
