/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "store/store_secret.h"

#define GROUP_DATA  4u
#define GROUP_CHARS (GROUP_DATA + 1)
#define ALL_CHARS   (RECOVERY_GROUPS * GROUP_CHARS)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Product with x in the field of 32 elements, modulo x^5 + x^2 + 1. */
static uint8_t
times_x(uint8_t v)
{
    return (uint8_t)(((v << 1) & 31) ^ ((v & 16) != 0 ? 5 : 0));
}

/*
 * ((((g + 1) x + d0) x + d1) x + d2) x + d3: the powers of x differ, so that one wrong character, two
 * that changed places, and a group in another one's place all change it.
 */
static uint8_t
check_of(unsigned group, const uint8_t data[GROUP_DATA])
{
    uint8_t c = (uint8_t)(group + 1);

    for (unsigned i = 0; i < GROUP_DATA; i++) {
        c = times_x(c) ^ data[i];
    }
    return times_x(c);
}

void
recovery_format(const uint8_t key[STORE_RECOVERY_SIZE], char out[RECOVERY_TEXT_SIZE])
{
    uint8_t data[GROUP_DATA];
    char *p = out;

    for (unsigned g = 0; g < RECOVERY_GROUPS; g++) {
        for (unsigned i = 0; i < GROUP_DATA; i++) {
            unsigned bit = (g * GROUP_DATA + i) * 5;
            unsigned two = (unsigned)key[bit / 8] << 8;

            if (bit / 8 + 1 < STORE_RECOVERY_SIZE) {
                two |= key[bit / 8 + 1];
            }
            data[i] = (uint8_t)((two >> (11 - bit % 8)) & 31);
            *p++ = alphabet[data[i]];
        }
        *p++ = alphabet[check_of(g, data)];
        *p++ = '-';
    }
    p[-1] = '\0';
    sodium_memzero(data, sizeof(data));
}

/* -1: no character of the alphabet. */
static int
value_of(char c)
{
    const char *p;

    if (c >= 'a' && c <= 'z') {
        c = (char)(c - 'a' + 'A');
    }
    c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
    p = c == '\0' ? NULL : strchr(alphabet, c);
    return p == NULL ? -1 : (int)(p - alphabet);
}

static bool
is_filler(char c)
{
    return c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum varve_err
recovery_parse(const char *text, size_t len, uint8_t out[STORE_RECOVERY_SIZE],
               struct varve_error *err)
{
    uint8_t values[ALL_CHARS];
    size_t count = 0;
    unsigned bit = 0;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < len; i++) {
        int v = value_of(text[i]);

        if (is_filler(text[i])) {
            continue;
        }
        if (v < 0) {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "group %zu of the recovery key has a character that none has",
                                 count / GROUP_CHARS + 1);
        } else if (count == ALL_CHARS) {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "the recovery key has more than %u groups of %u characters",
                                 RECOVERY_GROUPS, GROUP_CHARS);
        } else {
            values[count++] = (uint8_t)v;
        }
    }
    if (rc == VARVE_OK && count != ALL_CHARS) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "the recovery key has %u groups of %u characters; %zu characters are "
                             "there",
                             RECOVERY_GROUPS, GROUP_CHARS, count);
    }
    memset(out, 0, STORE_RECOVERY_SIZE);
    for (unsigned g = 0; rc == VARVE_OK && g < RECOVERY_GROUPS; g++) {
        const uint8_t *data = &values[(size_t)g * GROUP_CHARS];

        if (check_of(g, data) != data[GROUP_DATA]) {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "group %u of the recovery key is mistyped or in another one's "
                                 "place",
                                 g + 1);
        }
        for (unsigned i = 0; i < GROUP_DATA; i++, bit += 5) {
            unsigned two = (unsigned)data[i] << (11 - bit % 8);

            out[bit / 8] |= (uint8_t)(two >> 8);
            if (bit / 8 + 1 < STORE_RECOVERY_SIZE) {
                out[bit / 8 + 1] |= (uint8_t)two;
            }
        }
    }
    sodium_memzero(values, sizeof(values));
    if (rc != VARVE_OK) {
        sodium_memzero(out, STORE_RECOVERY_SIZE);
    }
    return rc;
}
