/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "catalog/point_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted as a point can be written again and is then accepted too. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct point *again = NULL;
    struct point *p = NULL;
    struct varve_error err;
    struct buf record;

    buf_init(&record, POINT_RECORD_MAX);
    if (point_decode(&p, data, size, true, &err) == VARVE_OK &&
        point_encode(p, &record, &err) == VARVE_OK) {
        if (point_decode(&again, record.data, record.len, true, &err) != VARVE_OK) {
            abort();
        }
        point_unref(again);
    }
    point_unref(p);
    buf_release(&record);
    return 0;
}
