/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "catalog/catalog_marks.h"
#include "gc/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_mark(const uint8_t *data, size_t size)
{
    struct catalog_mark m;
    struct varve_error err;
    struct buf b;

    if (mark_decode(&m, data, size, &err) != VARVE_OK) {
        return;
    }
    buf_init(&b, MARK_RECORD_MAX);
    if (mark_encode(&m, &b, &err) != VARVE_OK || b.len != size || memcmp(b.data, data, size) != 0) {
        abort(); /* there is one way to write it */
    }
    mark_release(&m);
    buf_release(&b);
}

static void
try_policies(const uint8_t *data, size_t size)
{
    struct policy_set s;
    struct varve_error err;
    struct buf b;

    if (policy_decode(&s, data, size, &err) != VARVE_OK) {
        return;
    }
    buf_init(&b, POLICY_RECORD_MAX);
    if (policy_encode(&s, &b, &err) != VARVE_OK || b.len != size ||
        memcmp(b.data, data, size) != 0) {
        abort();
    }
    policy_set_release(&s);
    buf_release(&b);
}

/* Names of marks are read back as they were written. */
static void
try_name(const uint8_t *data, size_t size)
{
    char name[STORE_NAME_MAX + 1];
    char again[STORE_NAME_MAX + 1];
    struct catalog_mark m;

    if (size >= sizeof(name)) {
        return;
    }
    memcpy(name, data, size);
    name[size] = '\0';
    if (mark_object_name_parse(&m, name)) {
        mark_object_name(&m, again);
        if (strcmp(again, name) != 0) {
            abort();
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_mark(data, size);
    try_policies(data, size);
    try_name(data, size);
    return 0;
}
