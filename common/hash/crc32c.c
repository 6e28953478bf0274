/* SPDX-License-Identifier: Apache-2.0 */
#include "hash/crc32c.h"

#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define CRC32C_SSE42 1
#include <nmmintrin.h>
#else
#define CRC32C_SSE42 0
#endif

/*
 * One step for 4 bits: entry i is i times x^32 modulo the polynomial, bits reflected.  16 entries fit
 * one cache line; this path serves machines without the instruction and structures of at most 64 KiB.
 */
static const uint32_t nibble_table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t
crc32c_update_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t i;

    crc = ~crc;
    for (i = 0; i < len; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ nibble_table[crc & 15];
        crc = (crc >> 4) ^ nibble_table[crc & 15];
    }
    return ~crc;
}

#if CRC32C_SSE42
__attribute__((target("sse4.2"))) static uint32_t
update_sse42(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t c = (uint32_t)~crc;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        c = _mm_crc32_u64(c, word);
    }
    for (; len > 0; len--, p++) {
        c = _mm_crc32_u8((uint32_t)c, *p);
    }
    return ~(uint32_t)c;
}
#endif

uint32_t
crc32c_update(uint32_t crc, const void *data, size_t len)
{
#if CRC32C_SSE42
    if (__builtin_cpu_supports("sse4.2")) {
        return update_sse42(crc, data, len);
    }
#endif
    return crc32c_update_portable(crc, data, len);
}

uint32_t
crc32c(const void *data, size_t len)
{
    return crc32c_update(0, data, len);
}
