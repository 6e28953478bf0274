/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "source/rsvd/set_server.h"

struct find_case {
    const char *path;
    const char *shares;
    enum varve_err rc;
    const char *server;
    const char *share;
    const char *below;
};

static void
a_path_leads_to_server_and_share(void **state)
{
    static const char csv[] = "C:\\ClusterStorage\\Volume1=\\\\sofs\\vms, "
                              "C:/ClusterStorage/Volume2/ = \\\\other\\sets\\deep\\";
    static const char two[] = "C:\\ClusterStorage\\Volume1=\\\\sofs\\vms,"
                              "C:/ClusterStorage/Volume2/=\\\\other\\sets\\deep\\";
    static const struct find_case cases[] = {
        {"\\\\fs1\\vms\\sql\\data.vhds", NULL, VARVE_OK, "fs1", "vms", "sql\\data.vhds"},
        {"//fs1/vms/data.vhds", two, VARVE_OK, "fs1", "vms", "data.vhds"},
        {"\\\\fs1\\vms", NULL, VARVE_OK, "fs1", "vms", ""},
        {"\\\\fs1", NULL, VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"\\\\\\vms\\x.vhds", NULL, VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"c:\\clusterstorage\\VOLUME1\\sql\\data.vhds", two, VARVE_OK, "sofs", "vms",
         "sql\\data.vhds"},
        {"C:\\ClusterStorage\\Volume2\\data.vhds", two, VARVE_OK, "other", "sets",
         "deep\\data.vhds"},
        /* A folder is no prefix of another one's name. */
        {"C:\\ClusterStorage\\Volume11\\data.vhds", two, VARVE_ERR_UNSUPPORTED, NULL, NULL, NULL},
        {"D:\\data.vhds", two, VARVE_ERR_UNSUPPORTED, NULL, NULL, NULL},
        {"D:\\data.vhds", NULL, VARVE_ERR_UNSUPPORTED, NULL, NULL, NULL},
        {"D:\\data.vhds", "D:", VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"D:\\data.vhds", "D:\\=E:\\x", VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"D:\\data.vhds", "=\\\\a\\b", VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"D:\\data.vhds", "D:=\\\\a", VARVE_ERR_INVALID, NULL, NULL, NULL},
        {"C:\\ClusterStorage\\Volume2\\data.vhds", csv, VARVE_ERR_INVALID, NULL, NULL, NULL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct find_case *c = &cases[i];
        struct set_place place = {0};
        struct varve_error err;
        enum varve_err rc = set_place_find(&place, c->path, c->shares, &err);

        if (rc != c->rc) {
            fail_msg("'%s' by '%s': %d", c->path, c->shares != NULL ? c->shares : "", (int)rc);
        }
        if (rc == VARVE_OK) {
            assert_string_equal(place.server, c->server);
            assert_string_equal(place.share, c->share);
            assert_string_equal(place.path, c->below);
        }
        set_place_release(&place);
    }
}

static void
what_is_written_wrongly_is_told_before_a_server_is_asked(void **state)
{
    static const struct {
        const char *shares;
        const char *address;
        const char *credentials;
        enum varve_err rc;
    } cases[] = {
        {NULL, NULL, NULL, VARVE_OK},
        {"D:\\a=\\\\s\\b", "127.0.0.1:4450", NULL, VARVE_OK},
        {NULL, "[::1]:445", NULL, VARVE_OK},
        {NULL, "fs1", NULL, VARVE_OK},
        {NULL, "fs1:", NULL, VARVE_ERR_INVALID},
        {NULL, "fs1:0", NULL, VARVE_ERR_INVALID},
        {NULL, "fs1:65536", NULL, VARVE_ERR_INVALID},
        {NULL, ":445", NULL, VARVE_ERR_INVALID},
        {"D:\\a=b", NULL, NULL, VARVE_ERR_INVALID},
        {"D:\\a=\\\\s", NULL, NULL, VARVE_ERR_INVALID},
        {NULL, NULL, "/nowhere/at/all", VARVE_ERR_NOT_FOUND},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct set_server s = {.fs = fs_system(),
                                     .shares = cases[i].shares,
                                     .address = cases[i].address,
                                     .credentials = cases[i].credentials};
        struct varve_error err;

        assert_int_equal(set_server_check(&s, &err), cases[i].rc);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_leads_to_server_and_share),
        cmocka_unit_test(what_is_written_wrongly_is_told_before_a_server_is_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
