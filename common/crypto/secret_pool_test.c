/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "crypto/identity.h"
#include "crypto/secret_pool.h"

#define MANY 5000u

static size_t
mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    size_t lines = 0;
    int c;

    if (f == NULL) {
        return 0;
    }
    while ((c = fgetc(f)) != EOF) {
        lines += c == '\n';
    }
    (void)fclose(f);
    return lines;
}

static void
pieces_are_zero_apart_and_aligned(void **state)
{
    static const size_t sizes[] = {1, 64, 65, 128, 500, 640, 641, 1024, 1025, 5000};
    uint8_t *p[sizeof(sizes) / sizeof(sizes[0])];

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        p[i] = secret_alloc(sizes[i]);
        assert_non_null(p[i]);
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(p[i][k], 0);
        }
        if (sizes[i] <= 1024) {
            assert_int_equal((uintptr_t)p[i] % 64, 0);
        }
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(p[i][k], i + 1);
        }
        secret_free(p[i], sizes[i]);
    }
    secret_free(NULL, 64);
}

static void
what_was_freed_is_wiped_and_used_again(void **state)
{
    uint8_t *p = secret_alloc(100);
    uint8_t *again;

    (void)state;
    assert_non_null(p);
    memset(p, 0xaa, 100);
    secret_free(p, 100);
    for (size_t i = sizeof(void *); i < 128; i++) {
        assert_int_equal(p[i], 0); /* pieces stay mapped */
    }
    again = secret_alloc(128);
    assert_ptr_equal(again, p);
    assert_int_equal(again[0], 0);
    secret_free(again, 128);
}

static void
thousands_of_keys_take_few_mappings(void **state)
{
    static void *p[MANY];
    size_t before = mappings();

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        p[i] = secret_alloc(64);
        assert_non_null(p[i]);
    }
    if (before > 0) {
        assert_true(mappings() < before + 40);
    }
    for (size_t i = 0; i < MANY; i++) {
        secret_free(p[i], 64);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zero_apart_and_aligned),
        cmocka_unit_test(what_was_freed_is_wiped_and_used_again),
        cmocka_unit_test(thousands_of_keys_take_few_mappings),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
