/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/identity.h"

#include <string.h>

#include <sodium.h>

#include "crypto/secret_file.h"

struct identity {
    uint8_t secret_key[IDENTITY_KEY_SIZE];
    uint8_t public_key[IDENTITY_KEY_SIZE];
};

enum varve_err
crypto_init(struct varve_error *err)
{
    if (sodium_init() < 0) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "libsodium does not start");
    }
    return VARVE_OK;
}

void
crypto_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void
crypto_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

/* Memory for an identity whose secret is still to be filled in; NULL: none, as *err says. */
static struct identity *
identity_alloc(struct varve_error *err)
{
    struct identity *id = sodium_malloc(sizeof(*id));

    if (id == NULL) {
        (void)varve_error_nomem(err);
    } else {
        memset(id, 0, sizeof(*id));
    }
    return id;
}

static void
derive_public(struct identity *id)
{
    (void)crypto_scalarmult_base(id->public_key, id->secret_key);
}

enum varve_err
identity_from_secret(struct identity **out, const uint8_t secret[IDENTITY_KEY_SIZE],
                     struct varve_error *err)
{
    struct identity *id = identity_alloc(err);

    if (id == NULL) {
        return err->code;
    }
    memcpy(id->secret_key, secret, IDENTITY_KEY_SIZE);
    derive_public(id);
    *out = id;
    return VARVE_OK;
}

enum varve_err
identity_generate(struct identity **out, struct varve_error *err)
{
    struct identity *id = identity_alloc(err);

    if (id == NULL) {
        return err->code;
    }
    crypto_random(id->secret_key, IDENTITY_KEY_SIZE);
    derive_public(id);
    *out = id;
    return VARVE_OK;
}

enum varve_err
identity_load(struct identity **out, struct fs *fs, const char *path, struct varve_error *err)
{
    struct identity *id = identity_alloc(err);
    enum varve_err rc;

    if (id == NULL) {
        return err->code;
    }
    rc = secret_file_load(fs, path, SECRET_FILE_IDENTITY, id->secret_key, err);
    if (rc != VARVE_OK) {
        identity_free(id);
        return varve_error_prefix(err, "reading this program's key");
    }
    derive_public(id);
    *out = id;
    return VARVE_OK;
}

enum varve_err
identity_save(const struct identity *id, struct fs *fs, const char *path, struct varve_error *err)
{
    enum varve_err rc = secret_file_create(fs, path, SECRET_FILE_IDENTITY, id->secret_key, err);

    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "saving this program's key");
}

void
identity_free(struct identity *id)
{
    sodium_free(id); /* wipes */
}

const uint8_t *
identity_public(const struct identity *id)
{
    return id->public_key;
}

const uint8_t *
identity_secret(const struct identity *id)
{
    return id->secret_key;
}
