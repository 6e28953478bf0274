/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "hash/crc32c.h"

/* RFC 3720, appendix B.4, and the check value of the CRC catalogues. */
static void
published_values_come_out(void **state)
{
    uint8_t data[32];
    size_t i;

    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    memset(data, 0, sizeof(data));
    assert_int_equal(crc32c(data, sizeof(data)), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(data, sizeof(data)), 0x62a8ab43);
    for (i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(data, sizeof(data)), 0x46dd794e);
    for (i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(data, sizeof(data)), 0x113fdb5c);
    assert_int_equal(crc32c(NULL, 0), 0);
}

static void
table_and_instruction_agree_at_every_length_and_alignment(void **state)
{
    uint8_t data[300];
    uint32_t x = 12345;
    size_t start;
    size_t len;

    (void)state;
    for (len = 0; len < sizeof(data); len++) {
        x = x * 1664525 + 1013904223;
        data[len] = (uint8_t)(x >> 24);
    }
    for (start = 0; start < 9; start++) {
        for (len = 0; len + start <= sizeof(data); len++) {
            assert_int_equal(crc32c(data + start, len),
                             crc32c_update_portable(0, data + start, len));
        }
    }
}

static void
pieces_give_the_checksum_of_the_whole(void **state)
{
    uint8_t data[100];
    size_t cut;

    (void)state;
    for (cut = 0; cut < sizeof(data); cut++) {
        data[cut] = (uint8_t)(cut * 7);
    }
    for (cut = 0; cut <= sizeof(data); cut++) {
        uint32_t crc = crc32c_update(0, data, cut);

        assert_int_equal(crc32c_update(crc, data + cut, sizeof(data) - cut),
                         crc32c(data, sizeof(data)));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_come_out),
        cmocka_unit_test(table_and_instruction_agree_at_every_length_and_alignment),
        cmocka_unit_test(pieces_give_the_checksum_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
