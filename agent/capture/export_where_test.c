/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "capture/export/export_internal.h"

static void
a_folder_of_another_host_is_a_share_that_is_one_for_both(void **state)
{
    static const struct {
        const char *server;
        const char *folder;
        bool good;
    } cases[] = {
        {"hv07", "//files/backup/exports", true},
        {"hv07.example.net", "\\\\files\\backup", true},
        {"10.1.2.3", "\\\\10.1.2.4\\backup\\x", true},
        {"hv07", "C:\\exports", false},
        {"hv07", "/exports", false},
        {"hv07", "\\\\files", false},
        {"hv07", "\\\\files\\", false},
        {"hv07", "\\\\files\\\\x", false},
        {"hv07", "\\\\?\\C:\\exports", false},
        {"hv07", "\\\\.\\pipe\\x", false},
        {"hv07", "\\\\localhost\\exports", false},
        {"hv07", "\\\\127.0.0.1\\exports", false},
        {"", "//files/backup", false},
        {"\\\\hv07", "//files/backup", false},
        {"hv07\\root", "//files/backup", false},
        {"hv 07", "//files/backup", false},
    };
    struct varve_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum varve_err rc = export_check_server(cases[i].server, cases[i].folder, &err);

        if ((rc == VARVE_OK) != cases[i].good) {
            fail_msg("'%s' and '%s': %d", cases[i].server, cases[i].folder, (int)rc);
        }
        if (rc != VARVE_OK) {
            assert_int_equal(rc, VARVE_ERR_INVALID);
            assert_true(strstr(err.msg, "hyperv-host") != NULL);
        }
    }
}

static void
paths_of_another_host_lead_to_its_shares_and_never_to_our_drives(void **state)
{
    static const struct {
        const char *server;
        const char *path;
        const char *reached; /* NULL: not at all */
    } cases[] = {
        {NULL, "C:\\VMs\\web.vhdx", "C:\\VMs\\web.vhdx"},
        {"hv07", "C:\\VMs\\web.vhdx", "\\\\hv07\\C$\\VMs\\web.vhdx"},
        {"hv07", "\\\\files\\vms\\web.vhdx", "\\\\files\\vms\\web.vhdx"},
        {"hv07", "//files/vms/web.vhdx", "//files/vms/web.vhdx"},
        {"hv07", "\\\\?\\Volume{1}\\web.vhdx", NULL},
        {"hv07", "C:web.vhdx", NULL},
        {"hv07", "/vms/web.vhdx", NULL},
        {"hv07", "", NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct export x = {.server = cases[i].server != NULL ? strdup(cases[i].server) : NULL};
        struct varve_error err;
        char *got = NULL;
        enum varve_err rc = export_reach(&x, cases[i].path, &got, &err);

        if (cases[i].reached == NULL) {
            assert_err(rc, VARVE_ERR_NOT_FOUND, &err);
        } else {
            assert_ok(rc, &err);
            assert_string_equal(got, cases[i].reached);
        }
        free(got);
        free(x.server);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_of_another_host_is_a_share_that_is_one_for_both),
        cmocka_unit_test(paths_of_another_host_lead_to_its_shares_and_never_to_our_drives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
