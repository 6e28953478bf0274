/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>
#include <unistd.h>

#include "os/process.h"

static void
the_boot_id_stays_the_same_while_the_machine_runs(void **state)
{
    char a[PROCESS_BOOT_ID_SIZE] = "";
    char b[PROCESS_BOOT_ID_SIZE] = "";
    struct varve_error err;

    (void)state;
    assert_ok(process_boot_id(a, &err), &err);
    assert_ok(process_boot_id(b, &err), &err);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 36); /* random(4): a UUID */
}

static void
the_process_id_is_that_of_the_system(void **state)
{
    (void)state;
    assert_int_equal(process_id(), getpid());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_boot_id_stays_the_same_while_the_machine_runs),
        cmocka_unit_test(the_process_id_is_that_of_the_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
