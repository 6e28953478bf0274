/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/catalog_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELECTOR_MAX   (POINT_STRING_MAX + 64u)
#define PREFIX_MIN     4u
#define BACK_DIGITS    7u
#define CANDIDATES_MAX 4u

/* Characters of an id that an error shows. */
#define SHORT_ID 13

/* Names are compared as Hyper-V does for ASCII: without case. */
static bool
same_name(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) {
            return false;
        }
    }
    return *a == *b;
}

static void
append(char *text, size_t size, const char *what)
{
    size_t len = strlen(text);

    (void)snprintf(text + len, size - len, "%s%s", len == 0 ? "" : ", ", what);
}

/* The vm called name now, that is by its newest point, or with that GUID. */
static enum varve_err
find_vm_locked(struct catalog *c, const char *name, struct guid *out, struct varve_error *err)
{
    char candidates[160] = "";
    char text[GUID_TEXT_SIZE];
    unsigned found = 0;
    bool by_id = guid_parse(out, name);
    struct guid id = *out;

    for (size_t i = 0; i < c->count; i++) {
        const struct point *p = c->points[i];
        bool newest = i + 1 == c->count || !guid_equal(&p->vm, &c->points[i + 1]->vm);

        if (!newest || !(by_id ? guid_equal(&p->vm, &id) : same_name(p->vm_name, name))) {
            continue;
        }
        *out = p->vm;
        if (found++ < CANDIDATES_MAX) {
            guid_format(&p->vm, text);
            append(candidates, sizeof(candidates), text);
        }
    }
    if (found == 0) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no vm '%.60s' has a point", name);
    }
    if (found > 1) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "%u vms are called '%.40s': say which by its id: %s", found, name,
                               candidates);
    }
    return VARVE_OK;
}

/* "latest" or "latest~N". */
static bool
parse_latest(const char *text, size_t *back)
{
    size_t n = 0;
    const char *p = text + 6;

    if (strncmp(text, "latest", 6) != 0) {
        return false;
    }
    *back = 0;
    if (*p == '\0') {
        return true;
    }
    if (*p++ != '~' || *p == '\0' || strlen(p) > BACK_DIGITS) {
        return false;
    }
    for (; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p)) {
            return false;
        }
        n = n * 10 + (size_t)(*p - '0');
    }
    *back = n;
    return true;
}

/* Lower case; false when it cannot be the beginning of an id. */
static bool
parse_prefix(const char *text, char out[GUID_TEXT_SIZE])
{
    size_t len = strlen(text);

    if (len < PREFIX_MIN || len >= GUID_TEXT_SIZE) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isxdigit((unsigned char)text[i]) && text[i] != '-') {
            return false;
        }
        out[i] = (char)tolower((unsigned char)text[i]);
    }
    out[len] = '\0';
    return true;
}

static enum varve_err
find_prefix(struct point **points, size_t count, const char *prefix, struct point **out,
            struct varve_error *err)
{
    char candidates[160] = "";
    char text[GUID_TEXT_SIZE];
    char one[80];
    unsigned found = 0;

    for (size_t i = 0; i < count; i++) {
        struct point *p = points[i];

        guid_format(&p->id, text);
        if (strncmp(text, prefix, strlen(prefix)) != 0) {
            continue;
        }
        *out = p;
        if (found++ < CANDIDATES_MAX) {
            (void)snprintf(one, sizeof(one), "%.*s (%.20s)", SHORT_ID, text, p->vm_name);
            append(candidates, sizeof(candidates), one);
        }
    }
    if (found == 0) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no point '%s'", prefix);
    }
    if (found > 1) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is the beginning of %u points: %s",
                               prefix, found, candidates);
    }
    return VARVE_OK;
}

static enum varve_err
select_locked(struct catalog *c, const char *vm_name, const char *what, struct point **out,
              struct varve_error *err)
{
    char prefix[GUID_TEXT_SIZE];
    size_t first = 0;
    size_t count = c->count;
    size_t back = 0;
    struct guid vm;
    enum varve_err rc;

    if (vm_name != NULL) {
        rc = find_vm_locked(c, vm_name, &vm, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        catalog_range_locked(c, &vm, &first, &count);
    }
    if (parse_latest(what, &back)) {
        if (vm_name == NULL) {
            return varve_error_set(err, VARVE_ERR_INVALID, "'%s' of which vm? say NAME@%s", what,
                                   what);
        }
        if (back >= count) {
            return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                                   "there is no '%s': vm '%.60s' has %zu points", what, vm_name,
                                   count);
        }
        *out = c->points[first + count - 1 - back];
        return VARVE_OK;
    }
    if (!parse_prefix(what, prefix)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "'%.60s' selects no point: give at least %u characters of its id, or "
            "NAME@latest, NAME@latest~1, NAME@ID",
            what, PREFIX_MIN);
    }
    return find_prefix(c->points + first, count, prefix, out, err);
}

enum varve_err
catalog_select(struct catalog *c, const char *selector, struct point **out, struct varve_error *err)
{
    const char *at = strrchr(selector, '@');
    struct point *p = NULL;
    char *vm_name = NULL;
    enum varve_err rc;

    if (strlen(selector) > SELECTOR_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.40s...' is too long for a selector",
                               selector);
    }
    if (at != NULL) {
        vm_name = malloc((size_t)(at - selector) + 1);
        if (vm_name == NULL) {
            return varve_error_nomem(err);
        }
        memcpy(vm_name, selector, (size_t)(at - selector));
        vm_name[at - selector] = '\0';
    }
    mutex_lock(&c->lock);
    rc = select_locked(c, vm_name, at == NULL ? selector : at + 1, &p, err);
    if (rc == VARVE_OK) {
        point_ref(p);
        *out = p;
    }
    mutex_unlock(&c->lock);
    free(vm_name);
    return rc;
}

enum varve_err
catalog_select_gone(struct catalog *c, const char *selector, struct point **out,
                    struct varve_error *err)
{
    const char *at = strrchr(selector, '@');
    char prefix[GUID_TEXT_SIZE];
    struct point *p = NULL;
    enum varve_err rc;

    if (!parse_prefix(at == NULL ? selector : at + 1, prefix)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.60s' selects no deleted point: give at least %u characters of "
                               "its id",
                               selector, PREFIX_MIN);
    }
    mutex_lock(&c->lock);
    rc = find_prefix(c->gone, c->gone_count, prefix, &p, err);
    if (rc == VARVE_OK) {
        point_ref(p);
        *out = p;
    }
    mutex_unlock(&c->lock);
    return rc;
}
