/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <string.h>

bool
store_name_valid(const char *name)
{
    size_t len = strlen(name);
    bool start = true; /* at the first character of a part */

    if (len == 0 || len > STORE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (c == '/') {
            if (start) {
                return false;
            }
            start = true;
            continue;
        }
        if (start && c == '.') {
            return false;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-')) {
            return false;
        }
        start = false;
    }
    return !start;
}

static enum varve_err
check_name(const char *name, struct varve_error *err)
{
    if (!store_name_valid(name)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.60s' is no object name", name);
    }
    return VARVE_OK;
}

void
store_close(struct store *s)
{
    if (s != NULL) {
        s->ops->close(s);
    }
}

enum varve_err
store_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
          struct varve_error *err)
{
    size_t total = 0;
    enum varve_err rc;

    rc = check_name(name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > STORE_OBJECT_MAX - total) {
            return varve_error_set(err, VARVE_ERR_LIMIT,
                                   "object '%s' would be larger than %u bytes", name,
                                   STORE_OBJECT_MAX);
        }
        total += parts[i].len;
    }
    rc = s->ops->put(s, name, parts, part_count, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "storing object '%s'", name);
}

enum varve_err
store_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
          struct varve_error *err)
{
    enum varve_err rc;

    rc = check_name(name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = s->ops->get(s, name, off, buf, len, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading object '%s'", name);
}

enum varve_err
store_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    enum varve_err rc;

    rc = check_name(name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = s->ops->size(s, name, out, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "reading object '%s'", name);
}

enum varve_err
store_remove(struct store *s, const char *name, struct varve_error *err)
{
    enum varve_err rc;

    rc = check_name(name, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = s->ops->remove(s, name, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "removing object '%s'", name);
}

enum varve_err
store_list(struct store *s, const char *prefix,
           bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
           struct varve_error *err)
{
    enum varve_err rc;

    rc = s->ops->list(s, prefix, cb, arg, err);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "listing objects '%s'", prefix);
}

enum varve_err
store_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    return s->ops->free_bytes(s, out, err);
}
