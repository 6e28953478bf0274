/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/endian.h"
#include "catalog/catalog_internal.h"
#include "catalog/catalog_marks.h"

/* Names and bytes of marks: docs/format/store.md section 12. */

#define MARK_MAGIC "VMK1"
#define MARK_HEAD  44u

static const char *const folders[] = {NULL, "gone", "hold", "lock"}; /* by kind */

void
mark_object_name(const struct catalog_mark *m, char out[STORE_NAME_MAX + 1])
{
    char vm[GUID_TEXT_SIZE];

    guid_format(&m->vm, vm);
    if (m->kind == MARK_GONE) {
        (void)snprintf(out, STORE_NAME_MAX + 1, "gone/%s/%016" PRIx64, vm, m->seq);
    } else {
        (void)snprintf(out, STORE_NAME_MAX + 1, "%s/%s/%016" PRIx64 "/%016" PRIx64,
                       folders[m->kind], vm, m->seq, m->tag);
    }
}

bool
mark_object_name_parse(struct catalog_mark *out, const char *name)
{
    struct catalog_mark m = {.kind = MARK_GONE};
    char again[STORE_NAME_MAX + 1];
    char vm[GUID_TEXT_SIZE];

    for (unsigned kind = MARK_GONE; kind <= MARK_LOCK; kind++) {
        if (strncmp(name, folders[kind], 4) == 0) {
            m.kind = (enum mark_kind)kind;
        }
    }
    if (strlen(name) < 5 + GUID_TEXT_SIZE) {
        return false;
    }
    memcpy(vm, name + 5, GUID_TEXT_SIZE - 1);
    vm[GUID_TEXT_SIZE - 1] = '\0';
    if (!guid_parse(&m.vm, vm)) {
        return false;
    }
    name += 5 + GUID_TEXT_SIZE;
    m.seq = strtoull(name, NULL, 16);
    if (m.kind != MARK_GONE && strlen(name) > 17) {
        m.tag = strtoull(name + 17, NULL, 16);
    }
    mark_object_name(&m, again); /* there is one way to write it */
    if (m.seq == 0 || strcmp(again, name - 5 - GUID_TEXT_SIZE) != 0) {
        return false;
    }
    *out = m;
    return true;
}

enum varve_err
mark_encode(const struct catalog_mark *m, struct buf *out, struct varve_error *err)
{
    size_t who = m->who == NULL ? 0 : strlen(m->who);
    size_t why = m->why == NULL ? 0 : strlen(m->why);
    uint8_t *p = NULL;
    enum varve_err rc;

    if (who > MARK_TEXT_MAX || why > MARK_TEXT_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a reason of %zu bytes; at most %u", why,
                               MARK_TEXT_MAX);
    }
    rc = buf_extend(out, MARK_HEAD + who + why, &p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    memset(p, 0, MARK_HEAD);
    memcpy(p, MARK_MAGIC, 4);
    p[4] = (uint8_t)m->kind;
    memcpy(p + 8, m->point.bytes, sizeof(m->point.bytes));
    put_le64(p + 24, (uint64_t)m->made_at_us);
    put_le64(p + 32, (uint64_t)m->until_us);
    put_le16(p + 40, (uint16_t)who);
    put_le16(p + 42, (uint16_t)why);
    memcpy(p + MARK_HEAD, m->who == NULL ? "" : m->who, who);
    memcpy(p + MARK_HEAD + who, m->why == NULL ? "" : m->why, why);
    return VARVE_OK;
}

enum varve_err
mark_decode(struct catalog_mark *out, const void *data, size_t len, struct varve_error *err)
{
    const uint8_t *p = data;
    struct catalog_mark m = {.kind = MARK_GONE};
    size_t who;
    size_t why;

    if (len >= MARK_HEAD && memcmp(p, MARK_MAGIC, 3) == 0 &&
        (p[3] != MARK_MAGIC[3] || p[4] < MARK_GONE || p[4] > MARK_LOCK || p[5] != 0 || p[6] != 0 ||
         p[7] != 0 || (p[4] == MARK_HOLD && get_le64(p + 32) != 0))) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the mark is of version '%c' and kind %u, or has fields that this "
                               "program does not know: use a newer program",
                               p[3] >= '0' && p[3] <= '9' ? p[3] : '?', p[4]);
    }
    if (len < MARK_HEAD || memcmp(p, MARK_MAGIC, 4) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no mark", len);
    }
    who = get_le16(p + 40);
    why = get_le16(p + 42);
    if (who > MARK_TEXT_MAX || why > MARK_TEXT_MAX || len != MARK_HEAD + who + why ||
        memchr(p + MARK_HEAD, 0, who + why) != NULL) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a mark of %zu bytes says it has %zu", len,
                               MARK_HEAD + who + why);
    }
    m.kind = (enum mark_kind)p[4];
    memcpy(m.point.bytes, p + 8, sizeof(m.point.bytes));
    m.made_at_us = (int64_t)get_le64(p + 24);
    m.until_us = (int64_t)get_le64(p + 32);
    m.who = strndup((const char *)p + MARK_HEAD, who);
    m.why = strndup((const char *)p + MARK_HEAD + who, why);
    if (m.who == NULL || m.why == NULL) {
        mark_release(&m);
        return varve_error_nomem(err);
    }
    *out = m;
    return VARVE_OK;
}

void
mark_release(struct catalog_mark *m)
{
    free(m->who);
    free(m->why);
    m->who = NULL;
    m->why = NULL;
}
