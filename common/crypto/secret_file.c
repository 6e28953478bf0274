/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/secret_file.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define LABEL_MAX 32
#define HEX_SIZE  (2 * SECRET_FILE_BYTES)
#define TEXT_MAX  (LABEL_MAX + 1 + HEX_SIZE + 1)

static enum varve_err
check_access(struct file *f, const char *path, struct varve_error *err)
{
    struct file_stat st;
    enum varve_err rc = file_fstat(f, &st, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (!st.is_regular) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is not a file", path);
    }
    if (!st.is_private) {
        return varve_error_set(err, VARVE_ERR_DENIED,
                               "'%s' holds a secret but others than its owner may use it: check "
                               "who read it, then %s",
                               path, file_private_hint);
    }
    return VARVE_OK;
}

enum varve_err
secret_file_open(struct fs *fs, struct file **out, const char *path, struct varve_error *err)
{
    struct file *f = NULL;
    enum varve_err rc = file_open(fs, &f, path, FILE_READ, err);

    if (rc == VARVE_OK) {
        rc = check_access(f, path, err);
    }
    if (rc == VARVE_OK) {
        *out = f;
        f = NULL;
    }
    file_close(f);
    return rc;
}

/* text: the whole file, len bytes. */
static enum varve_err
parse(const char *text, size_t len, const char *path, const char *label,
      uint8_t out[SECRET_FILE_BYTES], struct varve_error *err)
{
    size_t label_len = strlen(label);
    size_t got = 0;
    const char *end = NULL;

    if (len <= label_len || memcmp(text, label, label_len) != 0 || text[label_len] != '\n') {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "'%s' does not begin with '%s'", path,
                               label);
    }
    text += label_len + 1;
    len -= label_len + 1;
    if (len != HEX_SIZE + 1 || text[HEX_SIZE] != '\n' ||
        sodium_hex2bin(out, SECRET_FILE_BYTES, text, HEX_SIZE, NULL, &got, &end) != 0 ||
        got != SECRET_FILE_BYTES || end != text + HEX_SIZE) {
        sodium_memzero(out, SECRET_FILE_BYTES);
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "'%s' is damaged: %d hex digits and a newline must follow '%s'",
                               path, HEX_SIZE, label);
    }
    return VARVE_OK;
}

enum varve_err
secret_file_load(struct fs *fs, const char *path, const char *label, uint8_t out[SECRET_FILE_BYTES],
                 struct varve_error *err)
{
    struct file *f = NULL;
    char text[TEXT_MAX + 1]; /* one more, to see that the file goes on */
    size_t got = 0;
    enum varve_err rc;

    rc = secret_file_open(fs, &f, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = file_read(f, text, sizeof(text), 0, &got, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = parse(text, got, path, label, out, err);
out:
    sodium_memzero(text, sizeof(text));
    file_close(f);
    return rc;
}

enum varve_err
secret_file_create(struct fs *fs, const char *path, const char *label,
                   const uint8_t secret[SECRET_FILE_BYTES], struct varve_error *err)
{
    char text[TEXT_MAX + 1];
    size_t label_len = strlen(label);
    enum varve_err rc;

    if (label_len > LABEL_MAX) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "label '%s' is too long", label);
    }
    memcpy(text, label, label_len);
    text[label_len] = '\n';
    (void)sodium_bin2hex(text + label_len + 1, HEX_SIZE + 1, secret, SECRET_FILE_BYTES);
    text[label_len + 1 + HEX_SIZE] = '\n';
    rc = fs_write_durable(fs, path, text, label_len + 1 + HEX_SIZE + 1, true, err);
    sodium_memzero(text, sizeof(text));
    return rc;
}

enum varve_err
secret_file_settle(struct fs *fs, const char *path, struct varve_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = strdup(slash == NULL ? "." : slash == path ? "/" : path);
    struct file *f = NULL;
    enum varve_err rc;

    if (folder == NULL) {
        return varve_error_nomem(err);
    }
    if (slash != NULL && slash != path) {
        folder[slash - path] = '\0';
    }
    rc = file_open(fs, &f, path, FILE_READ, err);
    if (rc == VARVE_OK) {
        rc = file_sync(f, err);
    }
    file_close(f);
    if (rc == VARVE_OK) {
        rc = fs_sync_dir(fs, folder, err);
    }
    free(folder);
    return rc;
}
