/* SPDX-License-Identifier: Apache-2.0 */

/* A message of a peer that has shaken hands: must be an envelope or a named error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *raw = malloc(size == 0 ? 1 : size);
    struct envelope_in in;
    struct varve_error err;

    if (raw == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(raw, data, size);
    }
    if (envelope_parse(&in, raw, size, &err) == VARVE_OK) {
        if (in.head == NULL || in.raw != raw || in.bulk_len > size ||
            (in.bulk != NULL && (in.bulk < raw || in.bulk + in.bulk_len > raw + size))) {
            abort();
        }
        envelope_release(&in);
    } else if (err.code != VARVE_ERR_PROTOCOL || in.head != NULL || in.raw != NULL) {
        abort();
    }
    return 0;
}
