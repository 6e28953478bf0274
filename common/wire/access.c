/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "crypto/secret_file.h"
#include "wire/access_internal.h"

#define FILE_LABEL "varve-access-1\n"

bool
access_is_address(const char *text, size_t len)
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
        !access_is_address(address, address_len) ||
        !take_key(&at, end, "collector", out->collector) || !take_key(&at, end, "key", secret) ||
        at != end) {
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
    struct file *f = NULL;
    char text[ACCESS_FILE_MAX + 1]; /* one more, to see that the file goes on */
    size_t len = 0;
    enum varve_err rc;

    memset(&a, 0, sizeof(a));
    rc = secret_file_open(fs, &f, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_read(f, text, sizeof(text), 0, &len, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = parse_file(&a, text, len, path, err);
    if (rc == VARVE_OK) {
        *out = a;
        a.key = NULL;
    }
out:
    crypto_wipe(text, sizeof(text));
    access_release(&a);
    file_close(f);
    return rc;
}

enum varve_err
access_save(const struct access *a, struct fs *fs, const char *path, struct varve_error *err)
{
    char collector[2 * IDENTITY_KEY_SIZE + 1];
    char key[2 * IDENTITY_KEY_SIZE + 1];
    char text[ACCESS_FILE_MAX];
    int len;
    enum varve_err rc;

    if (!access_is_address(a->address, strlen(a->address))) {
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
