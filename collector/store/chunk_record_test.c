/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdlib.h>

#include "store/chunk_record.h"

static int
setup(void **state)
{
    *state = chunk_lab_begin(0);
    return 0;
}

static int
teardown(void **state)
{
    chunk_lab_end(*state);
    return 0;
}

static void
a_sealed_record_opens_under_its_own_name_only(void **state)
{
    struct chunk_lab *f = *state;
    struct varve_error err;
    uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    size_t sealed_len = 0;
    size_t len = 0;

    assert_ok(chunk_store_seal_record(chunk_store_default(f->cs), "point/a/1", "text", 4, &sealed,
                                      &sealed_len, &err),
              &err);
    assert_int_equal(sealed_len, 4096 + 4 + 52); /* twice */
    assert_ok(
        chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len, NULL, &err),
        &err);
    assert_int_equal(len, 4);
    assert_memory_equal(plain, "text", 4);
    free(plain);
    assert_err(
        chunk_store_open_record(f->cs, "point/a/2", sealed, sealed_len, &plain, &len, NULL, &err),
        VARVE_ERR_CORRUPT, &err);
    for (size_t i = 0; i < 4096 + 4 + 52; i++) { /* one copy or the other is whole */
        sealed[i] ^= 1;
        assert_ok(chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len,
                                          NULL, &err),
                  &err);
        assert_memory_equal(plain, "text", 4);
        free(plain);
        assert_err(chunk_record_scrub(sealed, sealed_len, &err), VARVE_ERR_CORRUPT, &err);
        sealed[i] ^= 1;
    }
    for (size_t i = 0; i < 4 + 52; i++) {
        sealed[i] ^= 1;
        sealed[4096 + i] ^= 1;
        assert_err(chunk_store_open_record(f->cs, "point/a/1", sealed, sealed_len, &plain, &len,
                                           NULL, &err),
                   VARVE_ERR_CORRUPT, &err);
        sealed[i] ^= 1;
        sealed[4096 + i] ^= 1;
    }
    for (size_t i = 0; i < sealed_len; i++) {
        assert_err(chunk_record_scrub(sealed, i, &err), VARVE_ERR_CORRUPT, &err);
        if (i != 4 + 52) { /* there the first copy stands alone, whole */
            assert_err(
                chunk_store_open_record(f->cs, "point/a/1", sealed, i, &plain, &len, NULL, &err),
                VARVE_ERR_CORRUPT, &err);
        }
    }
    free(sealed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_record_opens_under_its_own_name_only, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
