/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define FILE_LABEL   "varve-access-1\n"
#define TOKEN_PREFIX "varve1."

/* Offsets inside a token's bytes; the address follows. */
#define TOKEN_SECRET    16u
#define TOKEN_COLLECTOR 48u
#define TOKEN_CHECK     80u
#define TOKEN_ADDRESS   84u
#define TOKEN_CHECK_LEN 4u
#define TOKEN_BYTES_MAX (TOKEN_ADDRESS + ACCESS_ADDRESS_MAX)

#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* Printable ASCII without spaces, of a length that an access may have. */
static bool
is_address(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return len >= 1 && len <= ACCESS_ADDRESS_MAX;
}

/* ---- the file ---- */

/* The value of the line "name value\n" at *at, which moves behind it. */
static bool
take_line(const char **at, const char *end, const char *name, const char **value, size_t *len)
{
    size_t name_len = strlen(name);
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));

    if (newline == NULL || (size_t)(newline - *at) <= name_len ||
        memcmp(*at, name, name_len) != 0 || (*at)[name_len] != ' ') {
        return false;
    }
    *value = *at + name_len + 1;
    *len = (size_t)(newline - *value);
    *at = newline + 1;
    return true;
}

static bool
take_key(const char **at, const char *end, const char *name, uint8_t out[IDENTITY_KEY_SIZE])
{
    const char *value = NULL;
    size_t len = 0;
    size_t bytes = 0;

    return take_line(at, end, name, &value, &len) && len == 2 * IDENTITY_KEY_SIZE &&
           sodium_hex2bin(out, IDENTITY_KEY_SIZE, value, len, NULL, &bytes, NULL) == 0 &&
           bytes == IDENTITY_KEY_SIZE;
}

static enum varve_err
parse_file(struct access *out, const char *text, size_t len, const char *path,
           struct varve_error *err)
{
    const char *at = text;
    const char *end = text + len;
    const char *address = NULL;
    size_t address_len = 0;
    uint8_t secret[IDENTITY_KEY_SIZE];
    enum varve_err rc;

    if (len < strlen(FILE_LABEL) || memcmp(text, FILE_LABEL, strlen(FILE_LABEL)) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "'%s' is not an access file; copy operator.access from the "
                               "collector's state folder again",
                               path);
    }
    at += strlen(FILE_LABEL);
    if (!take_line(&at, end, "address", &address, &address_len) ||
        !is_address(address, address_len) || !take_key(&at, end, "collector", out->collector) ||
        !take_key(&at, end, "key", secret) || at != end) {
        crypto_wipe(secret, sizeof(secret));
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "access file '%s' is damaged; copy operator.access from the "
                               "collector's state folder again",
                               path);
    }
    rc = identity_from_secret(&out->key, secret, err);
    crypto_wipe(secret, sizeof(secret));
    if (rc == VARVE_OK) {
        memcpy(out->address, address, address_len);
        out->address[address_len] = '\0';
    }
    return rc;
}

enum varve_err
access_load(struct access *out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct access a;
    struct file_stat st;
    uint8_t *text = NULL;
    size_t len = 0;
    enum varve_err rc;

    memset(&a, 0, sizeof(a));
    rc = fs_stat(fs, path, &st, err);
    if (rc == VARVE_OK && !st.is_private) {
        rc = varve_error_set(err, VARVE_ERR_DENIED,
                             "'%s' holds a secret but others than its owner may use it: check who "
                             "read it, then run 'chmod 600'",
                             path);
    }
    if (rc == VARVE_OK) {
        rc = fs_read_all(fs, path, ACCESS_FILE_MAX, &text, &len, err);
    }
    if (rc == VARVE_OK) {
        rc = parse_file(&a, (const char *)text, len, path, err);
    }
    if (text != NULL) {
        crypto_wipe(text, len);
        free(text);
    }
    if (rc != VARVE_OK) {
        access_release(&a);
        return rc;
    }
    *out = a;
    return VARVE_OK;
}

enum varve_err
access_save(const struct access *a, struct fs *fs, const char *path, struct varve_error *err)
{
    char collector[2 * IDENTITY_KEY_SIZE + 1];
    char key[2 * IDENTITY_KEY_SIZE + 1];
    char text[ACCESS_FILE_MAX];
    int len;
    enum varve_err rc;

    if (!is_address(a->address, strlen(a->address))) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.64s' cannot be an address", a->address);
    }
    (void)sodium_bin2hex(collector, sizeof(collector), a->collector, IDENTITY_KEY_SIZE);
    (void)sodium_bin2hex(key, sizeof(key), identity_secret(a->key), IDENTITY_KEY_SIZE);
    len = snprintf(text, sizeof(text), FILE_LABEL "address %s\ncollector %s\nkey %s\n", a->address,
                   collector, key);
    if (len < 0 || (size_t)len >= sizeof(text)) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "an access file of more than %u bytes",
                             ACCESS_FILE_MAX);
    } else {
        rc = fs_write_durable(fs, path, text, (size_t)len, true, err);
    }
    crypto_wipe(key, sizeof(key));
    crypto_wipe(text, sizeof(text));
    return rc;
}

void
access_release(struct access *a)
{
    identity_free(a->key);
    a->key = NULL;
}

/* ---- the token ---- */

static void
token_check(const uint8_t *bytes, size_t len, uint8_t out[TOKEN_CHECK_LEN])
{
    crypto_generichash_state state;
    uint8_t hash[32];

    (void)crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    (void)crypto_generichash_update(&state, bytes, TOKEN_CHECK);
    (void)crypto_generichash_update(&state, bytes + TOKEN_ADDRESS, len - TOKEN_ADDRESS);
    (void)crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(out, hash, TOKEN_CHECK_LEN);
}

_Static_assert(sizeof(TOKEN_PREFIX) + (TOKEN_BYTES_MAX * 4 + 2) / 3 <= ACCESS_TOKEN_SIZE,
               "the longest token fits");

enum varve_err
access_token_format(const struct access_token *t, char out[ACCESS_TOKEN_SIZE],
                    struct varve_error *err)
{
    uint8_t bytes[TOKEN_BYTES_MAX];
    size_t address_len = strlen(t->address);
    size_t len = TOKEN_ADDRESS + address_len;

    if (!is_address(t->address, address_len)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.64s' cannot be an address", t->address);
    }
    memcpy(bytes, t->secret.id, 16);
    memcpy(bytes + TOKEN_SECRET, t->secret.secret, 32);
    memcpy(bytes + TOKEN_COLLECTOR, t->collector, IDENTITY_KEY_SIZE);
    memcpy(bytes + TOKEN_ADDRESS, t->address, address_len);
    token_check(bytes, len, bytes + TOKEN_CHECK);
    memcpy(out, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
    (void)sodium_bin2base64(out + strlen(TOKEN_PREFIX), ACCESS_TOKEN_SIZE - strlen(TOKEN_PREFIX),
                            bytes, len, BASE64);
    crypto_wipe(bytes, sizeof(bytes));
    return VARVE_OK;
}

static enum varve_err
take_token(struct access_token *out, const uint8_t *bytes, size_t len, struct varve_error *err)
{
    uint8_t check[TOKEN_CHECK_LEN];

    if (len <= TOKEN_ADDRESS) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the token is incomplete; paste all of what 'varve host invite' "
                               "printed");
    }
    token_check(bytes, len, check);
    if (memcmp(check, bytes + TOKEN_CHECK, sizeof(check)) != 0 ||
        !is_address((const char *)bytes + TOKEN_ADDRESS, len - TOKEN_ADDRESS)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the token is incomplete or changed; paste all of what 'varve host "
                               "invite' printed");
    }
    memcpy(out->secret.id, bytes, 16);
    memcpy(out->secret.secret, bytes + TOKEN_SECRET, 32);
    memcpy(out->collector, bytes + TOKEN_COLLECTOR, IDENTITY_KEY_SIZE);
    memcpy(out->address, bytes + TOKEN_ADDRESS, len - TOKEN_ADDRESS);
    out->address[len - TOKEN_ADDRESS] = '\0';
    return VARVE_OK;
}

enum varve_err
access_token_parse(struct access_token *out, const char *text, struct varve_error *err)
{
    static const char space[] = " \t\r\n";
    uint8_t bytes[TOKEN_BYTES_MAX];
    const char *end = NULL;
    size_t text_len;
    size_t len = 0;
    enum varve_err rc;

    text += strspn(text, space);
    text_len = strcspn(text, space);
    if (text[text_len + strspn(text + text_len, space)] != '\0' ||
        text_len <= strlen(TOKEN_PREFIX) || memcmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "this is not a token; it is the one word, beginning with '%s', that "
                               "'varve host invite' printed",
                               TOKEN_PREFIX);
    }
    if (sodium_base642bin(bytes, sizeof(bytes), text + strlen(TOKEN_PREFIX),
                          text_len - strlen(TOKEN_PREFIX), NULL, &len, &end, BASE64) != 0 ||
        end != text + text_len) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "the token is damaged; paste all of what 'varve host invite' printed");
    } else {
        rc = take_token(out, bytes, len, err);
    }
    crypto_wipe(bytes, sizeof(bytes));
    return rc;
}
