/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "catalog/catalog_marks.h"
#include "gc/policy.h"
#include "jobs/state_copy.h"

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

static void
try_state(const uint8_t *data, size_t size)
{
    struct state_copy c;
    struct state_copy again;
    struct varve_error err;
    struct buf b;

    if (crypto_init(&err) != VARVE_OK) {
        abort();
    }
    if (state_copy_decode(&c, data, size, &err) != VARVE_OK) {
        return;
    }
    buf_init(&b, size + c.db_len + 4096);
    if (state_copy_encode(&c, &b, &err) == VARVE_OK) { /* there are many ways to pack it */
        if (state_copy_decode(&again, b.data, b.len, &err) != VARVE_OK ||
            again.db_len != c.db_len || memcmp(again.db, c.db, c.db_len) != 0 ||
            again.made_at_us != c.made_at_us) {
            abort();
        }
        state_copy_release(&again);
    }
    state_copy_release(&c);
    buf_release(&b);
}

/* Names are read back as they were written. */
static void
try_name(const uint8_t *data, size_t size)
{
    char name[STORE_NAME_MAX + 1];
    char again[STORE_NAME_MAX + 1];
    struct state_copy_id copy;
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
    if (state_copy_name_parse(&copy, name)) {
        state_copy_name(&copy, again);
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
    try_state(data, size);
    try_name(data, size);
    return 0;
}
