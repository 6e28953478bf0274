/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "os/process.h"
#include "os/thread.h"
#include "wmi/win_wmi.h"
#include "wmi/wmi_call.h"

/* win_wmi against the WMI that is there: Wine's, which has the namespace of the system, methods of the
 * registry's provider, and no Hyper-V. */

static struct wmi_port *port;

static int
make(void **state)
{
    struct varve_error err;

    (void)state;
    if (win_wmi_open(&port, NULL, "ROOT\\CIMV2", &err) != VARVE_OK ||
        port->ops->connect(port, &err) != VARVE_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    return 0;
}

static int
destroy(void **state)
{
    (void)state;
    wmi_port_close(port);
    return 0;
}

static void
a_query_gives_objects_with_typed_properties(void **state)
{
    struct wmi_objects found;
    struct varve_error err;
    const struct wmi_value *v;

    (void)state;
    assert_ok(port->ops->query(port, "SELECT * FROM Win32_OperatingSystem", NULL, &found, &err),
              &err);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.items[0].class_name, "Win32_OperatingSystem");
    assert_non_null(strstr(found.items[0].path, ":Win32_OperatingSystem"));
    v = wmi_find(&found.items[0], "caption");
    assert_non_null(v);
    assert_int_equal(v->type, WMI_STRING);
    assert_true(strlen(v->text) > 0);
    v = wmi_find(&found.items[0], "FreePhysicalMemory"); /* uint64, as text on its way */
    assert_non_null(v);
    assert_int_equal(v->type, WMI_UINT64);
    assert_true(v->integer > 1000);
    wmi_objects_release(&found);
}

static void
only_the_wanted_properties_are_copied(void **state)
{
    static const char *const names[] = {"ProcessId", "NoSuchProperty", NULL};
    struct wmi_objects found;
    struct varve_error err;
    bool self = false;

    (void)state;
    assert_ok(port->ops->query(port, "SELECT * FROM Win32_Process", names, &found, &err), &err);
    assert_true(found.count >= 1);
    for (size_t i = 0; i < found.count; i++) {
        assert_int_equal(found.items[i].count, 1);
        self = self || wmi_integer_or(&found.items[i], "processid", 0) == process_id();
    }
    assert_true(self);
    wmi_objects_release(&found);
    assert_ok(port->ops->query(port, "SELECT * FROM Win32_Process WHERE ProcessId=4294967295",
                               names, &found, &err),
              &err);
    assert_int_equal(found.count, 0);
}

static void
classes_and_properties_can_be_asked_for(void **state)
{
    struct wmi_object object;
    struct varve_error err;
    bool has = false;

    (void)state;
    assert_ok(port->ops->class_has(port, "Win32_Process", NULL, &has, &err), &err);
    assert_true(has);
    assert_ok(port->ops->class_has(port, "Win32_Process", "ProcessId", &has, &err), &err);
    assert_true(has);
    assert_ok(port->ops->class_has(port, "Win32_Process", "GuestBackupType", &has, &err), &err);
    assert_false(has);
    assert_ok(port->ops->class_has(port, "Msvm_ComputerSystem", NULL, &has, &err), &err);
    assert_false(has);
    assert_err(port->ops->get(port, "Win32_Process.Handle=\"no such\"", NULL, &object, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_int_equal(err.source, VARVE_SRC_HRESULT);
}

static void
a_method_takes_parameters_and_gives_arrays(void **state)
{
    static const struct wmi_param params[] = {
        {.name = "hDefKey", .type = WMI_UINT32, .integer = 0x80000002}, /* HKEY_LOCAL_MACHINE */
        {.name = "sSubKeyName", .type = WMI_STRING, .text = "Software\\Microsoft\\Windows NT"},
    };
    struct wmi_result result;
    struct varve_error err;
    bool found = false;

    (void)state;
    assert_ok(port->ops->exec(port, "StdRegProv", "EnumKey", params, 2, &result, &err), &err);
    assert_int_equal(result.return_value, 0);
    assert_null(result.out.path);
    assert_true(wmi_count(&result.out, "sNames") > 0);
    for (size_t i = 0; i < wmi_count(&result.out, "sNames"); i++) {
        found = found || strcmp(wmi_text_at(&result.out, "sNames", i), "CurrentVersion") == 0;
    }
    assert_true(found);
    wmi_result_release(&result);
    assert_true(port->ops->exec(port, "StdRegProv", "NoSuchMethod", params, 2, &result, &err) !=
                VARVE_OK);
}

static void
a_host_without_hyper_v_is_said_so(void **state)
{
    struct wmi_port *hyperv = NULL;
    struct wmi_objects found;
    struct varve_error err;

    (void)state;
    assert_ok(win_wmi_open(&hyperv, NULL, WIN_WMI_HYPERV, &err), &err);
    assert_err(hyperv->ops->query(hyperv, "SELECT * FROM Msvm_ComputerSystem", NULL, &found, &err),
               VARVE_ERR_CLOSED, &err);
    assert_err(hyperv->ops->connect(hyperv, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_true(err.native == INT64_C(0x8004100E));
    wmi_port_close(hyperv);
}

static void
a_host_in_no_cluster_is_told_from_every_other_error(void **state)
{
    struct wmi_port *cluster = NULL;
    struct wmi_objects found;
    struct wmi_object object;
    struct varve_error err;

    (void)state;
    assert_ok(win_wmi_open(&cluster, NULL, WIN_WMI_CLUSTER, &err), &err);
    assert_err(
        cluster->ops->query(cluster, "SELECT * FROM Msvm_ComputerSystem", NULL, &found, &err),
        VARVE_ERR_CLOSED, &err);
    assert_false(wmi_no_namespace(&err));
    assert_err(cluster->ops->connect(cluster, &err), VARVE_ERR_UNSUPPORTED, &err);
    assert_true(wmi_no_namespace(&err));
    assert_true(port->ops->get(port, "NoSuchClass.Name=\"x\"", NULL, &object, &err) != VARVE_OK);
    assert_false(wmi_no_namespace(&err));
    wmi_port_close(cluster);
}

/* Queries of Wine 8's own WMI that run at once end the process, also those of a program that is nothing but
 * COM calls, with a locator and services of its own in each thread: they take turns here, connecting does
 * not.  Against the stand-in of tests/wine/20-hyperv.sh the agent's queries run at once. */
static struct mutex turn = MUTEX_INIT;

static void
ask_often(void *arg)
{
    unsigned *good = arg;

    for (unsigned i = 0; i < 20; i++) {
        struct wmi_objects found;
        struct varve_error err;

        mutex_lock(&turn);
        if (port->ops->query(port, "SELECT * FROM Win32_Process", NULL, &found, &err) == VARVE_OK) {
            *good += found.count > 0 ? 1 : 0;
            wmi_objects_release(&found);
        }
        mutex_unlock(&turn);
    }
}

static void
threads_may_ask_while_another_connects_again(void **state)
{
    struct thread threads[3];
    unsigned good[3] = {0, 0, 0};
    struct varve_error err;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_ok(thread_start(&threads[i], "ask", ask_often, &good[i], &err), &err);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(port->ops->connect(port, &err), &err);
    }
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&threads[i]);
        assert_int_equal(good[i], 20);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_gives_objects_with_typed_properties),
        cmocka_unit_test(only_the_wanted_properties_are_copied),
        cmocka_unit_test(classes_and_properties_can_be_asked_for),
        cmocka_unit_test(a_method_takes_parameters_and_gives_arrays),
        cmocka_unit_test(a_host_without_hyper_v_is_said_so),
        cmocka_unit_test(a_host_in_no_cluster_is_told_from_every_other_error),
        cmocka_unit_test(threads_may_ask_while_another_connects_again),
    };

    return cmocka_run_group_tests(tests, make, destroy);
}
