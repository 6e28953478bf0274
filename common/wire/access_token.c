/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/access.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "base/time.h"
#include "wire/access_internal.h"

/* The layout, see access.h. */
enum {
    AT_ID = 0,
    AT_SECRET = 16,
    AT_COLLECTOR = 48,
    AT_EXPIRES = 80,
    AT_ADDRESS_LEN = 88,
    AT_ADDRESS = 90,
    CHECK_SIZE = 4
};
#define BYTES_MAX (AT_ADDRESS + ACCESS_ADDRESS_MAX + CHECK_SIZE)
#define VARIANT   sodium_base64_VARIANT_URLSAFE_NO_PADDING

static const char prefix[] = "varve1.";
#define PREFIX_LEN (sizeof(prefix) - 1)

_Static_assert(PREFIX_LEN + sodium_base64_ENCODED_LEN(BYTES_MAX, VARIANT) <= ACCESS_TOKEN_SIZE,
               "the longest token fits");

static size_t
characters_for(size_t bytes)
{
    return (bytes * 4 + 2) / 3;
}

static void
make_check(uint8_t out[CHECK_SIZE], const uint8_t *bytes, size_t len)
{
    uint8_t hash[32];

    (void)crypto_generichash(hash, sizeof(hash), bytes, len, NULL, 0);
    memcpy(out, hash, CHECK_SIZE);
}

enum varve_err
access_token_format(const struct access_token *t, char out[ACCESS_TOKEN_SIZE],
                    struct varve_error *err)
{
    uint8_t bytes[BYTES_MAX];
    size_t len = strlen(t->address);

    if (!access_is_address(t->address, len)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.64s' cannot be an address", t->address);
    }
    memcpy(bytes + AT_ID, t->secret.id, sizeof(t->secret.id));
    memcpy(bytes + AT_SECRET, t->secret.secret, sizeof(t->secret.secret));
    memcpy(bytes + AT_COLLECTOR, t->collector, IDENTITY_KEY_SIZE);
    put_le64(bytes + AT_EXPIRES, t->expires_s);
    put_le16(bytes + AT_ADDRESS_LEN, (uint16_t)len);
    memcpy(bytes + AT_ADDRESS, t->address, len);
    make_check(bytes + AT_ADDRESS + len, bytes, AT_ADDRESS + len);
    memcpy(out, prefix, PREFIX_LEN);
    (void)sodium_bin2base64(out + PREFIX_LEN, ACCESS_TOKEN_SIZE - PREFIX_LEN, bytes,
                            AT_ADDRESS + len + CHECK_SIZE, VARIANT);
    sodium_memzero(bytes, sizeof(bytes));
    return VARVE_OK;
}

/* ---- parsing ---- */

static bool
is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_base64url(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* The token without white space and prefix. */
static enum varve_err
strip(char out[ACCESS_TOKEN_SIZE], size_t *out_len, const char *text, struct varve_error *err)
{
    size_t n = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (is_white(*p)) {
            continue;
        }
        if (n == ACCESS_TOKEN_SIZE - 1) {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "this is no invitation: it has more than %u characters",
                                   ACCESS_TOKEN_SIZE - 1);
        }
        out[n++] = *p;
    }
    if (n < PREFIX_LEN || memcmp(out, prefix, PREFIX_LEN) != 0) {
        if (n >= PREFIX_LEN && memcmp(out, "varve", 5) == 0 && out[PREFIX_LEN - 1] == '.') {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "this invitation is of another version of Varve");
        }
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "this is no invitation: it does not begin with '%s' as what 'varve host "
            "invite' printed",
            prefix);
    }
    memmove(out, out + PREFIX_LEN, n - PREFIX_LEN);
    n -= PREFIX_LEN;
    out[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (!is_base64url(out[i])) {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "the invitation has a character at place %zu that none has",
                                   PREFIX_LEN + i + 1);
        }
    }
    *out_len = n;
    return VARVE_OK;
}

static enum varve_err
incomplete(struct varve_error *err, size_t have, size_t want)
{
    return varve_error_set(err, VARVE_ERR_INVALID,
                           "the invitation is incomplete: %zu of %zu characters; paste all of what "
                           "'varve host invite' printed",
                           PREFIX_LEN + have, PREFIX_LEN + want);
}

/* characters -> bytes; says what is wrong as exactly as can be known. */
static enum varve_err
decode(uint8_t bytes[BYTES_MAX], size_t *address_len, const char *chars, size_t n,
       struct varve_error *err)
{
    /* Whole groups of four up to the length of the address. */
    const size_t head = (AT_ADDRESS + 2) / 3 * 4;
    size_t got = 0;
    size_t want;
    uint8_t check[CHECK_SIZE];

    if (n < head) {
        return incomplete(err, n, characters_for(AT_ADDRESS + 1 + CHECK_SIZE));
    }
    if (sodium_base642bin(bytes, BYTES_MAX, chars, head, NULL, &got, NULL, VARIANT) != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the invitation is damaged: a character was changed");
    }
    *address_len = get_le16(bytes + AT_ADDRESS_LEN);
    if (*address_len == 0 || *address_len > ACCESS_ADDRESS_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the invitation is damaged: a character was changed");
    }
    want = characters_for(AT_ADDRESS + *address_len + CHECK_SIZE);
    if (n < want) {
        return incomplete(err, n, want);
    }
    if (n > want) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the invitation has %zu characters too many at its end", n - want);
    }
    if (sodium_base642bin(bytes, BYTES_MAX, chars, n, NULL, &got, NULL, VARIANT) != 0 ||
        got != AT_ADDRESS + *address_len + CHECK_SIZE) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the invitation is damaged: a character was changed");
    }
    make_check(check, bytes, AT_ADDRESS + *address_len);
    if (memcmp(check, bytes + AT_ADDRESS + *address_len, CHECK_SIZE) != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the invitation is damaged: a character was changed");
    }
    return VARVE_OK;
}

enum varve_err
access_token_parse(struct access_token *out, const char *text, struct varve_error *err)
{
    struct access_token t;
    char chars[ACCESS_TOKEN_SIZE];
    uint8_t bytes[BYTES_MAX] = {0};
    size_t n = 0;
    size_t address_len = 0;
    enum varve_err rc;

    memset(&t, 0, sizeof(t));
    rc = strip(chars, &n, text, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = decode(bytes, &address_len, chars, n, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (!access_is_address((const char *)bytes + AT_ADDRESS, address_len)) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "the invitation holds no proper address");
        goto out;
    }
    memcpy(t.address, bytes + AT_ADDRESS, address_len);
    memcpy(t.secret.id, bytes + AT_ID, sizeof(t.secret.id));
    memcpy(t.secret.secret, bytes + AT_SECRET, sizeof(t.secret.secret));
    memcpy(t.collector, bytes + AT_COLLECTOR, IDENTITY_KEY_SIZE);
    t.expires_s = get_le64(bytes + AT_EXPIRES);
    *out = t;
out:
    sodium_memzero(&t, sizeof(t));
    sodium_memzero(chars, sizeof(chars));
    sodium_memzero(bytes, sizeof(bytes));
    return rc;
}

enum varve_err
access_token_check_time(const struct access_token *t, int64_t now_us, struct varve_error *err)
{
    char when[TIME_TEXT_SIZE];

    if (t->expires_s == 0 || now_us < 0 || (uint64_t)now_us / 1000000u < t->expires_s) {
        return VARVE_OK;
    }
    time_format((int64_t)t->expires_s * 1000000, when);
    return varve_error_set(err, VARVE_ERR_DENIED,
                           "the invitation expired at %s by this machine's clock: make a new one "
                           "with 'varve host invite'",
                           when);
}
