/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_SECRET_H
#define VARVE_STORE_STORE_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"
#include "store/store_keys.h"

/*
 * What a person or a program holds to open a store: the key of a key file, a passphrase, or the
 * offline recovery key.  The bytes live in memory from sodium_malloc().
 */
enum store_secret_kind { /* numbers are on disk */
                         STORE_SECRET_KEY_FILE = 1,
                         STORE_SECRET_PASSPHRASE = 2,
                         STORE_SECRET_RECOVERY = 3
};

#define STORE_PASSPHRASE_MIN 12u /* bytes, of a new one */
#define STORE_PASSPHRASE_MAX 1024u
#define STORE_RECOVERY_SIZE  20u /* 160 bits */

struct store_secret {
    enum store_secret_kind kind;
    uint8_t *bytes;
    size_t len;
    char from[200]; /* for messages: "key file '/etc/x'" */
};

/* "key file", "passphrase", "recovery key". */
const char *store_secret_kind_name(enum store_secret_kind kind);

/* A copy of the bytes; the caller wipes its own. */
VARVE_CHECK enum varve_err store_secret_new(struct store_secret **out, enum store_secret_kind kind,
                                            const void *bytes, size_t len, const char *from,
                                            struct varve_error *err);
void store_secret_free(struct store_secret *s); /* wipes; NULL is fine */

/*
 * From a file that only its owner may read.  A passphrase is the file's first line without its end;
 * a recovery key is its text form.  VARVE_ERR_NOT_FOUND, VARVE_ERR_DENIED, VARVE_ERR_CORRUPT as in
 * secret_file.h.
 */
VARVE_CHECK enum varve_err store_secret_load(struct store_secret **out, struct fs *fs,
                                             enum store_secret_kind kind, const char *path,
                                             struct varve_error *err);
/* From the text that stands in such a file, or was typed.  A key file has none: VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err store_secret_parse(struct store_secret **out,
                                              enum store_secret_kind kind, const char *text,
                                              size_t len, const char *from,
                                              struct varve_error *err);

/* ---- the text form of a recovery key ---- */

/*
 * Eight groups of five characters with '-' between them: four of Crockford's base 32 (20 bits, most
 * significant first) and one that checks the group and its place, so that a mistyped or exchanged
 * group is named.  docs/format/store.md section 3.2.
 */
#define RECOVERY_GROUPS    8u
#define RECOVERY_TEXT_SIZE 48 /* with the NUL */

void recovery_format(const uint8_t key[STORE_RECOVERY_SIZE], char out[RECOVERY_TEXT_SIZE]);
/* Case, spaces, line ends and '-' do not matter; O is 0, I and L are 1.  VARVE_ERR_INVALID names the
 * group at fault. */
VARVE_CHECK enum varve_err recovery_parse(const char *text, size_t len,
                                          uint8_t out[STORE_RECOVERY_SIZE],
                                          struct varve_error *err);

#endif
