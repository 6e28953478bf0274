/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "crypto/secret_file.h"

const char *
store_secret_kind_name(enum store_secret_kind kind)
{
    switch (kind) {
    case STORE_SECRET_KEY_FILE:
        return "key file";
    case STORE_SECRET_PASSPHRASE:
        return "passphrase";
    case STORE_SECRET_RECOVERY:
        return "recovery key";
    }
    return "?";
}

enum varve_err
store_secret_new(struct store_secret **out, enum store_secret_kind kind, const void *bytes,
                 size_t len, const char *from, struct varve_error *err)
{
    struct store_secret *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return varve_error_nomem(err);
    }
    s->bytes = sodium_malloc(len);
    if (s->bytes == NULL) {
        free(s);
        return varve_error_nomem(err);
    }
    memcpy(s->bytes, bytes, len);
    s->len = len;
    s->kind = kind;
    (void)snprintf(s->from, sizeof(s->from), "%s", from);
    *out = s;
    return VARVE_OK;
}

void
store_secret_free(struct store_secret *s)
{
    if (s != NULL) {
        sodium_free(s->bytes);
        free(s);
    }
}

enum varve_err
store_secret_parse(struct store_secret **out, enum store_secret_kind kind, const char *text,
                   size_t len, const char *from, struct varve_error *err)
{
    uint8_t recovery[STORE_RECOVERY_SIZE];
    const char *end = memchr(text, '\n', len);
    enum varve_err rc;

    if (kind == STORE_SECRET_RECOVERY) {
        rc = recovery_parse(text, len, recovery, err);
        if (rc == VARVE_OK) {
            rc = store_secret_new(out, kind, recovery, sizeof(recovery), from, err);
        }
        sodium_memzero(recovery, sizeof(recovery));
        return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "%s", from);
    }
    if (kind != STORE_SECRET_PASSPHRASE) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s: a key file is read from a file", from);
    }
    len = end == NULL ? len : (size_t)(end - text);
    len -= len > 0 && text[len - 1] == '\r' ? 1 : 0;
    if (len == 0 || len > STORE_PASSPHRASE_MAX || memchr(text, '\0', len) != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%s: a passphrase is one line of 1 to %u bytes", from,
                               STORE_PASSPHRASE_MAX);
    }
    return store_secret_new(out, kind, text, len, from, err);
}

static enum varve_err
load_key(struct store_secret **out, struct fs *fs, const char *path, const char *from,
         struct varve_error *err)
{
    uint8_t key[SECRET_FILE_BYTES];
    enum varve_err rc = secret_file_load(fs, path, SECRET_FILE_STORE_KEY, key, err);

    if (rc == VARVE_OK) {
        rc = store_secret_new(out, STORE_SECRET_KEY_FILE, key, sizeof(key), from, err);
    }
    sodium_memzero(key, sizeof(key));
    return rc;
}

enum varve_err
store_secret_load(struct store_secret **out, struct fs *fs, enum store_secret_kind kind,
                  const char *path, struct varve_error *err)
{
    char from[sizeof((*out)->from)];
    char text[STORE_PASSPHRASE_MAX + 3];
    struct file *f = NULL;
    size_t got = 0;
    enum varve_err rc;

    (void)snprintf(from, sizeof(from), "%s%s '%s'", store_secret_kind_name(kind),
                   kind == STORE_SECRET_KEY_FILE ? "" : " file", path);
    if (kind == STORE_SECRET_KEY_FILE) {
        return load_key(out, fs, path, from, err);
    }
    rc = secret_file_open(fs, &f, path, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = file_read(f, text, sizeof(text), 0, &got, err);
    if (rc == VARVE_OK) {
        rc = store_secret_parse(out, kind, text, got, from, err);
    }
    sodium_memzero(text, sizeof(text));
    file_close(f);
    return rc;
}
