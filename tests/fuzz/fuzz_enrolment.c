/* SPDX-License-Identifier: Apache-2.0 */

/* The agent's enrolment file. */
#include <stdint.h>
#include <stdlib.h>

#include "enrolment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enrolment e;
    struct varve_error err;

    if (enrolment_parse(&e, data, size, &err) != VARVE_OK && err.code != VARVE_ERR_CORRUPT) {
        abort();
    }
    return 0;
}
