/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "store/store_secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What somebody types or keeps in a file: the recovery key and the passphrase. */

/* A key that is understood is written in one way, which is understood as the same. */
static void
try_recovery(const char *text, size_t len)
{
    uint8_t key[STORE_RECOVERY_SIZE];
    uint8_t again[STORE_RECOVERY_SIZE];
    char written[RECOVERY_TEXT_SIZE];
    struct varve_error err;

    if (recovery_parse(text, len, key, &err) != VARVE_OK) {
        if (err.code != VARVE_ERR_INVALID) {
            abort();
        }
        return;
    }
    recovery_format(key, written);
    if (recovery_parse(written, strlen(written), again, &err) != VARVE_OK ||
        memcmp(key, again, sizeof(key)) != 0) {
        abort();
    }
}

static void
try_secret(enum store_secret_kind kind, const char *text, size_t len)
{
    struct store_secret *s = NULL;
    struct varve_error err;

    if (store_secret_parse(&s, kind, text, len, "fuzz", &err) == VARVE_OK) {
        if (kind == STORE_SECRET_KEY_FILE || s->kind != kind || s->len == 0 ||
            s->len > STORE_PASSPHRASE_MAX) {
            abort();
        }
        store_secret_free(s);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct varve_error err;

    if (!ready && crypto_init(&err) != VARVE_OK) {
        abort();
    }
    ready = true;
    try_recovery((const char *)data, size);
    try_secret(STORE_SECRET_PASSPHRASE, (const char *)data, size);
    try_secret(STORE_SECRET_RECOVERY, (const char *)data, size);
    try_secret(STORE_SECRET_KEY_FILE, (const char *)data, size);
    return 0;
}
