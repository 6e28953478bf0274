/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CRYPTO_SECRET_FILE_H
#define VARVE_CRYPTO_SECRET_FILE_H

#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * A 32-byte secret in a file of its own, mode 0600: a label that tells what it is, a newline, 64
 * hex digits, a newline.  Used for a program's identity and for the key of a store.
 *
 * Secrets are handed over in memory that the caller owns: take it from sodium_malloc() and wipe it.
 */
#define SECRET_FILE_BYTES 32

#define SECRET_FILE_IDENTITY  "varve-key-1"
#define SECRET_FILE_STORE_KEY "varve-store-key-1"

/*
 * Reads the secret.  VARVE_ERR_NOT_FOUND: no such file.  VARVE_ERR_DENIED: others than the owner
 * may read it; the message tells the way out.  VARVE_ERR_CORRUPT: it is not such a file, or of
 * another label.
 */
VARVE_CHECK enum varve_err secret_file_load(struct fs *fs, const char *path, const char *label,
                                            uint8_t out[SECRET_FILE_BYTES],
                                            struct varve_error *err);

/* Opens a file that holds a secret of any form: VARVE_ERR_DENIED as above. */
VARVE_CHECK enum varve_err secret_file_open(struct fs *fs, struct file **out, const char *path,
                                            struct varve_error *err);

/* Durable and create-only: VARVE_ERR_EXISTS leaves the file that is there as it is. */
VARVE_CHECK enum varve_err secret_file_create(struct fs *fs, const char *path, const char *label,
                                              const uint8_t secret[SECRET_FILE_BYTES],
                                              struct varve_error *err);

/* Makes a file that is there durable, whoever wrote it: before anything is that needs it. */
VARVE_CHECK enum varve_err secret_file_settle(struct fs *fs, const char *path,
                                              struct varve_error *err);

#endif
