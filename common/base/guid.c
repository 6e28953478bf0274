/* SPDX-License-Identifier: Apache-2.0 */
#include "base/guid.h"

#include <string.h>

/* Where the two hex digits of each byte stand in the text. */
static const uint8_t digit_at[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool
guid_parse(struct guid *out, const char *text)
{
    struct guid g;
    size_t len = strlen(text);

    if (len == 38 && text[0] == '{' && text[37] == '}') {
        text++;
        len = 36;
    }
    if (len != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        int high = hex_value(text[digit_at[i]]);
        int low = hex_value(text[digit_at[i] + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        g.bytes[i] = (uint8_t)(high * 16 + low);
    }
    *out = g;
    return true;
}

static void
format(const struct guid *g, const char *digits, char out[GUID_TEXT_SIZE])
{
    memset(out, '-', 36);
    for (size_t i = 0; i < 16; i++) {
        out[digit_at[i]] = digits[g->bytes[i] >> 4];
        out[digit_at[i] + 1] = digits[g->bytes[i] & 15];
    }
    out[36] = '\0';
}

void
guid_format(const struct guid *g, char out[GUID_TEXT_SIZE])
{
    format(g, "0123456789abcdef", out);
}

void
guid_format_upper(const struct guid *g, char out[GUID_TEXT_SIZE])
{
    format(g, "0123456789ABCDEF", out);
}

/* MS-DTYP 2.3.4: Data1 (4 bytes), Data2 (2), Data3 (2) little-endian, Data4 (8) as it stands.
 * The exchange is its own inverse. */
static void
swap_fields(const uint8_t in[16], uint8_t out[16])
{
    static const uint8_t from[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t tmp[16];

    for (size_t i = 0; i < 16; i++) {
        tmp[i] = in[from[i]];
    }
    memcpy(out, tmp, 16);
}

void
guid_from_mixed(struct guid *out, const uint8_t bytes[16])
{
    swap_fields(bytes, out->bytes);
}

void
guid_to_mixed(const struct guid *g, uint8_t out[16])
{
    swap_fields(g->bytes, out);
}

bool
guid_is_zero(const struct guid *g)
{
    static const struct guid zero;

    return guid_equal(g, &zero);
}

bool
guid_equal(const struct guid *a, const struct guid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int
guid_compare(const struct guid *a, const struct guid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

void
guid_from_random(struct guid *out, const uint8_t random[16])
{
    memcpy(out->bytes, random, 16);
    /* RFC 4122 section 4.4: version 4, variant 10x. */
    out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0Fu) | 0x40u);
    out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3Fu) | 0x80u);
}
