/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/lz4.h"

#define RAW 65536

static uint8_t raw[RAW];
static uint8_t packed[RAW];
static uint8_t back[RAW + 64];

static uint32_t
next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void
fill_text(void)
{
    uint32_t seed = 1;

    for (size_t i = 0; i < RAW; i++) {
        raw[i] = (uint8_t)("etaoin shrdlu "[next_random(&seed) % 14]);
    }
}

static void
fill_noise(void)
{
    uint32_t seed = 2;

    for (size_t i = 0; i < RAW; i++) {
        raw[i] = (uint8_t)next_random(&seed);
    }
}

static void
text_comes_back(void **state)
{
    struct varve_error err;
    size_t n;

    (void)state;
    fill_text();
    n = codec_lz4_pack(raw, RAW, packed, sizeof(packed));
    assert_true(n > 0 && n <= RAW / 32 * 31);
    assert_int_equal(codec_lz4_unpack(packed, n, back, RAW, &err), VARVE_OK);
    assert_memory_equal(raw, back, RAW);
}

static void
what_does_not_shrink_is_not_packed(void **state)
{
    (void)state;
    fill_noise();
    assert_int_equal(codec_lz4_pack(raw, RAW, packed, sizeof(packed)), 0);
    assert_int_equal(codec_lz4_pack(raw, 0, packed, sizeof(packed)), 0);
    assert_int_equal(codec_lz4_pack(raw, 1, packed, sizeof(packed)), 0);
}

static void
a_little_shrinking_is_not_enough(void **state)
{
    size_t n;

    (void)state;
    /* The head is a run of zeros that LZ4 nearly drops: 1/64 is too little, 1/16 is enough. */
    fill_noise();
    memset(raw, 0, RAW / 64);
    assert_int_equal(codec_lz4_pack(raw, RAW, packed, sizeof(packed)), 0);
    memset(raw, 0, RAW / 16);
    n = codec_lz4_pack(raw, RAW, packed, sizeof(packed));
    assert_true(n > 0 && n <= RAW / 32 * 31);
}

static void
result_never_passes_the_room_given(void **state)
{
    size_t full;

    (void)state;
    fill_text();
    full = codec_lz4_pack(raw, RAW, packed, sizeof(packed));
    memset(packed, 0xee, sizeof(packed));
    assert_int_equal(codec_lz4_pack(raw, RAW, packed, full - 1), 0);
    assert_int_equal(packed[full - 1], 0xee);
    assert_int_equal(codec_lz4_pack(raw, RAW, packed, full), full);
}

static void
another_length_than_expected_is_corrupt(void **state)
{
    struct varve_error err;
    size_t n;

    (void)state;
    fill_text();
    n = codec_lz4_pack(raw, RAW, packed, sizeof(packed));
    assert_int_equal(codec_lz4_unpack(packed, n, back, RAW - 1, &err), VARVE_ERR_CORRUPT);
    assert_int_equal(codec_lz4_unpack(packed, n, back, RAW + 1, &err), VARVE_ERR_CORRUPT);
    assert_int_equal(codec_lz4_unpack(packed, n - 1, back, RAW, &err), VARVE_ERR_CORRUPT);
    assert_int_equal(codec_lz4_unpack(packed, 0, back, RAW, &err), VARVE_ERR_CORRUPT);
    assert_int_equal(codec_lz4_unpack(packed, n, back, (size_t)1 << 40, &err), VARVE_ERR_CORRUPT);
}

static void
damage_is_an_error_or_other_bytes_but_never_more_of_them(void **state)
{
    struct varve_error err;
    size_t n;
    unsigned refused = 0;

    (void)state;
    fill_text();
    n = codec_lz4_pack(raw, RAW, packed, sizeof(packed));
    for (size_t i = 0; i < n; i += 97) {
        packed[i] ^= 0xff;
        memset(back + RAW, 0xab, 64);
        if (codec_lz4_unpack(packed, n, back, RAW, &err) != VARVE_OK) {
            assert_int_equal(err.code, VARVE_ERR_CORRUPT);
            refused++;
        }
        for (size_t j = 0; j < 64; j++) {
            assert_int_equal(back[RAW + j], 0xab);
        }
        packed[i] ^= 0xff;
    }
    assert_true(refused > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(what_does_not_shrink_is_not_packed),
        cmocka_unit_test(a_little_shrinking_is_not_enough),
        cmocka_unit_test(result_never_passes_the_room_given),
        cmocka_unit_test(another_length_than_expected_is_corrupt),
        cmocka_unit_test(damage_is_an_error_or_other_bytes_but_never_more_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
