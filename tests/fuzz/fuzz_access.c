/* SPDX-License-Identifier: Apache-2.0 */

/* What somebody pastes as an invitation.  What parses must be the same after another round. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "wire/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct access_token t;
    struct access_token again;
    char formatted[ACCESS_TOKEN_SIZE];
    struct varve_error err;

    if (text == NULL || crypto_init(&err) != VARVE_OK) {
        abort();
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (access_token_parse(&t, text, &err) == VARVE_OK) {
        if (t.expires_s == 0 && access_token_check_time(&t, INT64_MAX, &err) != VARVE_OK) {
            abort();
        }
        if (access_token_format(&t, formatted, &err) != VARVE_OK ||
            access_token_parse(&again, formatted, &err) != VARVE_OK ||
            memcmp(&t.secret, &again.secret, sizeof(t.secret)) != 0 ||
            memcmp(t.collector, again.collector, sizeof(t.collector)) != 0 ||
            t.expires_s != again.expires_s || strcmp(t.address, again.address) != 0) {
            abort();
        }
    } else if (err.code != VARVE_ERR_INVALID) {
        abort();
    }
    free(text);
    return 0;
}
