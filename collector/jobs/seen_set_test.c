/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "crypto/identity.h"
#include "jobs/seen_set.h"

static void
name_of(uint32_t n, struct chunk_id *out)
{
    chunk_id_of(out, &n, sizeof(n));
}

static void
a_name_is_new_once(void **state)
{
    struct varve_error err;
    struct seen_set s;
    struct chunk_id id;

    (void)state;
    assert_ok(seen_set_init(&s, 1024 * 1024, &err), &err);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 50000; i++) {
            name_of(i, &id);
            assert_int_equal(seen_set_has(&s, &id), round == 1);
            assert_int_equal(seen_set_add(&s, &id), round == 0);
        }
    }
    seen_set_release(&s);
}

static void
a_full_set_calls_names_new_and_stays_within_its_limit(void **state)
{
    const size_t limit = 64 * 1024;
    struct varve_error err;
    struct seen_set s;
    struct chunk_id id;
    size_t again = 0;

    (void)state;
    assert_ok(seen_set_init(&s, limit, &err), &err);
    for (uint32_t i = 0; i < 20000; i++) {
        name_of(i, &id);
        assert_true(seen_set_add(&s, &id));
    }
    assert_true(s.cap * sizeof(*s.slots) <= limit);
    for (uint32_t i = 0; i < 20000; i++) {
        name_of(i, &id);
        again += seen_set_add(&s, &id) ? 0 : 1;
    }
    assert_int_equal(again, s.count); /* those that were remembered, and no other */
    assert_true(again > 5000 && again < 20000);
    seen_set_release(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_new_once),
        cmocka_unit_test(a_full_set_calls_names_new_and_stays_within_its_limit),
    };
    struct varve_error err;

    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
