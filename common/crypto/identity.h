/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_IDENTITY_H
#define VARVE_CRYPTO_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * Who a program is: a static X25519 key pair.  The public key is the identity; there are no
 * certificates.  The private half lives in memory from sodium_malloc() and in one file, mode 0600:
 * "varve-key-1", a newline, 64 hex digits of the private key, a newline.
 *
 * Threads: constant after it was made; any number of readers.
 */
#define IDENTITY_KEY_SIZE 32

struct identity;

VARVE_CHECK enum varve_err identity_generate(struct identity **out, struct varve_error *err);
/* Reads the file; a file that others may read is VARVE_ERR_DENIED with the way out. */
VARVE_CHECK enum varve_err identity_load(struct identity **out, struct fs *fs, const char *path,
                                         struct varve_error *err);
/* Create-only. */
VARVE_CHECK enum varve_err identity_save(const struct identity *id, struct fs *fs, const char *path,
                                         struct varve_error *err);
/* From the 32 secret bytes, which are borrowed (an access file, a test). */
VARVE_CHECK enum varve_err identity_from_secret(struct identity **out,
                                                const uint8_t secret[IDENTITY_KEY_SIZE],
                                                struct varve_error *err);
void identity_free(struct identity *id);

const uint8_t *identity_public(const struct identity *id);
const uint8_t *identity_secret(const struct identity *id);

/* sodium_init(): call once per program before anything else in crypto/ or wire/. */
VARVE_CHECK enum varve_err crypto_init(struct varve_error *err);
void crypto_random(void *out, size_t len);
void crypto_wipe(void *secret, size_t len);

#endif
