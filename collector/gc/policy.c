/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/endian.h"
#include "base/log.h"
#include "store/chunk_record.h"

/* The set in memory and in the store: docs/format/store.md section 14. */

#define POLICY_MAGIC      "VPS1"
#define POLICY_MAGIC_2    "VPS2"                          /* with methods */
#define POLICY_OBJECT_MAX (2 * POLICY_RECORD_MAX + 8192u) /* the record stands twice */
#define POLICY_PREFIX     "policy/"
#define NUMBERS           7u
#define ROW_NUMBERS       (NUMBERS * 4u)

void
policy_set_release(struct policy_set *s)
{
    free(s->policies);
    free(s->vms);
    memset(s, 0, sizeof(*s));
}

enum varve_err
policy_set_copy(struct policy_set *out, const struct policy_set *s, struct varve_error *err)
{
    struct policy_set copy = *s;

    copy.policies = calloc(s->count + 1, sizeof(*copy.policies));
    copy.vms = calloc(s->vm_count + 1, sizeof(*copy.vms));
    if (copy.policies == NULL || copy.vms == NULL) {
        policy_set_release(&copy);
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < s->count; i++) {
        copy.policies[i] = s->policies[i];
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        copy.vms[i] = s->vms[i];
    }
    *out = copy;
    return VARVE_OK;
}

static bool
name_valid(const char *name, size_t len)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || strchr(ok, name[i]) == NULL) {
            return false;
        }
    }
    return len > 0 && len <= POLICY_NAME_MAX;
}

const struct policy *
policy_find(const struct policy_set *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->policies[i].name, name) == 0) {
            return &s->policies[i];
        }
    }
    return NULL;
}

const struct policy *
policy_of(const struct policy_set *s, const struct guid *vm)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        if (guid_equal(&s->vms[i].vm, vm)) {
            return policy_find(s, s->vms[i].policy);
        }
    }
    return policy_find(s, s->fallback);
}

enum varve_err
policy_check_method(const char *method, struct varve_error *err)
{
    size_t len = strspn(method, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return len <= POLICY_METHOD_MAX && method[len] == '\0'
               ? VARVE_OK
               : varve_error_set(
                     err, VARVE_ERR_INVALID,
                     "'%.40s' is no name of a method ('refpoint', 'export', 'vss', 'auto')",
                     method);
}

enum varve_err
policy_put(struct policy_set *s, const struct policy *p, struct varve_error *err)
{
    struct policy *there = (struct policy *)(uintptr_t)policy_find(s, p->name);
    const uint32_t numbers[] = {p->last, p->hourly, p->daily, p->weekly, p->monthly, p->yearly};
    uint64_t sum = 0;
    struct policy *list = NULL;

    if (!name_valid(p->name, strlen(p->name))) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' is no name of a policy: letters, digits, '.', '_' and '-'",
                               p->name);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sum += numbers[i];
        if (numbers[i] > POLICY_KEEP_MAX) {
            return varve_error_set(err, VARVE_ERR_INVALID, "at most %u can be kept by one rule",
                                   POLICY_KEEP_MAX);
        }
    }
    if (sum == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "policy '%s' would keep nothing: give at least one number to keep",
                               p->name);
    }
    if (policy_check_method(p->method, err) != VARVE_OK) {
        return err->code;
    }
    if (there == NULL) {
        if (s->count == POLICIES_MAX) {
            return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u policies", POLICIES_MAX);
        }
        list = realloc(s->policies, (s->count + 1) * sizeof(*list));
        if (list == NULL) {
            return varve_error_nomem(err);
        }
        s->policies = list;
        there = &list[s->count++];
    }
    *there = *p;
    return VARVE_OK;
}

enum varve_err
policy_remove(struct policy_set *s, const char *name, struct varve_error *err)
{
    bool used = strcmp(s->fallback, name) == 0;

    for (size_t i = 0; i < s->vm_count; i++) {
        used = used || strcmp(s->vms[i].policy, name) == 0;
    }
    if (used) {
        return varve_error_set(err, VARVE_ERR_DENIED,
                               "policy '%.63s' is in use: assign another one first", name);
    }
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->policies[i].name, name) == 0) {
            s->policies[i] = s->policies[--s->count];
            return VARVE_OK;
        }
    }
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no policy '%.63s'", name);
}

enum varve_err
policy_assign(struct policy_set *s, const struct guid *vm, const char *name,
              struct varve_error *err)
{
    struct policy_vm *list = NULL;
    size_t at = 0;

    if (name[0] != '\0' && policy_find(s, name) == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no policy '%.63s'", name);
    }
    if (vm == NULL) {
        (void)snprintf(s->fallback, sizeof(s->fallback), "%s", name);
        return VARVE_OK;
    }
    while (at < s->vm_count && !guid_equal(&s->vms[at].vm, vm)) {
        at++;
    }
    if (name[0] == '\0') {
        if (at < s->vm_count) {
            s->vms[at] = s->vms[--s->vm_count];
        }
        return VARVE_OK;
    }
    if (at == s->vm_count) {
        if (s->vm_count == POLICY_VMS_MAX) {
            return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u vms have a policy",
                                   POLICY_VMS_MAX);
        }
        list = realloc(s->vms, (s->vm_count + 1) * sizeof(*list));
        if (list == NULL) {
            return varve_error_nomem(err);
        }
        s->vms = list;
        s->vm_count++;
    }
    s->vms[at].vm = *vm;
    (void)snprintf(s->vms[at].policy, sizeof(s->vms[at].policy), "%s", name);
    return VARVE_OK;
}

/* ---- bytes ---- */

static enum varve_err
append_name(struct buf *out, const char *name, struct varve_error *err)
{
    uint8_t len = (uint8_t)strlen(name);
    enum varve_err rc = buf_append(out, &len, 1, err);

    return rc == VARVE_OK ? buf_append(out, name, len, err) : rc;
}

static enum varve_err
append_u32(struct buf *out, uint32_t v, struct varve_error *err)
{
    uint8_t bytes[4];

    put_le32(bytes, v);
    return buf_append(out, bytes, sizeof(bytes), err);
}

static bool
has_methods(const struct policy_set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->policies[i].method[0] != '\0') {
            return true;
        }
    }
    return false;
}

enum varve_err
policy_encode(const struct policy_set *s, struct buf *out, struct varve_error *err)
{
    bool methods = has_methods(s); /* older programs read what has none */
    enum varve_err rc = buf_append(out, methods ? POLICY_MAGIC_2 : POLICY_MAGIC, 4, err);

    if (rc == VARVE_OK) {
        rc = append_u32(out, (uint32_t)s->count, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < s->count; i++) {
        const struct policy *p = &s->policies[i];
        const uint32_t numbers[NUMBERS] = {p->last,    p->hourly, p->daily,       p->weekly,
                                           p->monthly, p->yearly, p->window_hours};

        rc = append_name(out, p->name, err);
        for (unsigned k = 0; rc == VARVE_OK && k < NUMBERS; k++) {
            rc = append_u32(out, numbers[k], err);
        }
        if (rc == VARVE_OK && methods) {
            rc = append_name(out, p->method, err);
        }
    }
    if (rc == VARVE_OK) {
        rc = append_name(out, s->fallback, err);
    }
    if (rc == VARVE_OK) {
        rc = append_u32(out, (uint32_t)s->vm_count, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < s->vm_count; i++) {
        rc = buf_append(out, s->vms[i].vm.bytes, sizeof(s->vms[i].vm.bytes), err);
        if (rc == VARVE_OK) {
            rc = append_name(out, s->vms[i].policy, err);
        }
    }
    return rc;
}

struct cursor {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static const uint8_t *
take(struct cursor *c, size_t len)
{
    const uint8_t *p = c->p;

    if (c->bad || len > c->left) {
        c->bad = true;
        return NULL;
    }
    c->p += len;
    c->left -= len;
    return p;
}

static uint32_t
take_u32(struct cursor *c)
{
    const uint8_t *p = take(c, 4);

    return p == NULL ? 0 : get_le32(p);
}

static void
take_method(struct cursor *c, char out[POLICY_METHOD_MAX + 1])
{
    const uint8_t *len = take(c, 1);
    const uint8_t *name = len == NULL ? NULL : take(c, *len);

    if (name == NULL || *len > POLICY_METHOD_MAX || memchr(name, 0, *len) != NULL) {
        c->bad = true;
        return;
    }
    memcpy(out, name, *len);
    out[*len] = '\0'; /* policy_put() looks at the rest */
}

static void
take_name(struct cursor *c, char out[POLICY_NAME_MAX + 1], bool may_be_empty)
{
    const uint8_t *len = take(c, 1);
    const uint8_t *name = len == NULL ? NULL : take(c, *len);

    if (name == NULL) {
        return;
    }
    if (*len == 0 ? !may_be_empty : !name_valid((const char *)name, *len)) {
        c->bad = true;
        return;
    }
    memcpy(out, name, *len);
    out[*len] = '\0';
}

enum varve_err
policy_decode(struct policy_set *out, const void *data, size_t len, struct varve_error *err)
{
    struct cursor c = {.p = data, .left = len};
    struct policy_set s = {.count = 0};
    const uint8_t *magic = take(&c, 4);
    enum varve_err rc = VARVE_OK;
    bool methods;
    uint32_t n;

    methods = !c.bad && memcmp(magic, POLICY_MAGIC_2, 4) == 0;
    if (!c.bad && memcmp(magic, POLICY_MAGIC, 3) == 0 && magic[3] != POLICY_MAGIC[3] && !methods) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the policies have version '%c': use a newer program",
                               magic[3] >= '0' && magic[3] <= '9' ? magic[3] : '?');
    }
    c.bad = c.bad || (memcmp(magic, POLICY_MAGIC, 4) != 0 && !methods);
    n = take_u32(&c);
    for (uint32_t i = 0; rc == VARVE_OK && !c.bad && i < n; i++) {
        struct policy p = {.last = 0};

        take_name(&c, p.name, false);
        p.last = take_u32(&c);
        p.hourly = take_u32(&c);
        p.daily = take_u32(&c);
        p.weekly = take_u32(&c);
        p.monthly = take_u32(&c);
        p.yearly = take_u32(&c);
        p.window_hours = take_u32(&c);
        if (methods) {
            take_method(&c, p.method);
        }
        c.bad = c.bad || policy_find(&s, p.name) != NULL;
        rc = c.bad ? VARVE_OK : policy_put(&s, &p, err);
    }
    take_name(&c, s.fallback, true);
    n = take_u32(&c);
    c.bad = c.bad || n > POLICY_VMS_MAX || n > c.left;
    if (!c.bad && rc == VARVE_OK && n > 0) {
        s.vms = calloc(n, sizeof(*s.vms));
        rc = s.vms == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    for (uint32_t i = 0; rc == VARVE_OK && !c.bad && i < n; i++) {
        const uint8_t *vm = take(&c, sizeof(struct guid));

        if (vm != NULL) {
            memcpy(s.vms[i].vm.bytes, vm, sizeof(struct guid));
        }
        take_name(&c, s.vms[i].policy, false);
        c.bad = c.bad || policy_find(&s, s.vms[i].policy) == NULL;
        s.vm_count = i + 1;
    }
    c.bad = c.bad || (methods && !has_methods(&s)); /* there is one way to write a set */
    c.bad = c.bad || c.left > 0 || (s.fallback[0] != '\0' && policy_find(&s, s.fallback) == NULL);
    if (rc != VARVE_ERR_NOMEM && (c.bad || rc != VARVE_OK)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no policies", len);
    }
    if (rc != VARVE_OK) {
        policy_set_release(&s);
        return rc;
    }
    *out = s;
    return VARVE_OK;
}

/* ---- the store ---- */

static void
object_name(uint64_t revision, char out[STORE_NAME_MAX + 1])
{
    (void)snprintf(out, STORE_NAME_MAX + 1, POLICY_PREFIX "%016" PRIx64, revision);
}

#define OLD_MAX 64u

struct revisions {
    uint64_t newest; /* 0: none */
    uint64_t all[OLD_MAX];
    size_t count;
};

static bool
note_revision(void *arg, const char *name, uint64_t size)
{
    struct revisions *r = arg;
    char again[STORE_NAME_MAX + 1];
    uint64_t n = strtoull(name + sizeof(POLICY_PREFIX) - 1, NULL, 16);

    (void)size;
    object_name(n, again);
    if (strcmp(name, again) == 0 && n > 0) {
        r->newest = n > r->newest ? n : r->newest;
        if (r->count < OLD_MAX) {
            r->all[r->count++] = n;
        }
    }
    return true;
}

enum varve_err
policy_load(struct chunk_store *cs, struct policy_set *out, struct varve_error *err)
{
    struct store *store = chunk_store_objects(cs);
    struct revisions r = {.newest = 0};
    char name[STORE_NAME_MAX + 1];
    uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    uint64_t size = 0;
    size_t len = 0;
    enum varve_err rc = store_list(store, POLICY_PREFIX, note_revision, &r, err);

    memset(out, 0, sizeof(*out));
    if (rc != VARVE_OK || r.newest == 0) {
        return rc;
    }
    object_name(r.newest, name);
    rc = store_size(store, name, &size, err);
    if (rc == VARVE_OK && size > POLICY_OBJECT_MAX) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " bytes are no policies", size);
    }
    if (rc == VARVE_OK) {
        sealed = malloc((size_t)size + 1);
        rc = sealed == NULL ? varve_error_nomem(err)
                            : chunk_record_read(store, name, sealed, (size_t)size, err);
    }
    if (rc == VARVE_OK) {
        rc = chunk_store_open_record(cs, name, sealed, (size_t)size, &plain, &len, NULL, err);
    }
    if (rc == VARVE_OK) {
        rc = policy_decode(out, plain, len, err);
    }
    free(plain);
    free(sealed);
    return rc == VARVE_OK ? VARVE_OK
                          : varve_error_prefix(
                                err,
                                "reading the policies '%s' (without that object the store has no "
                                "policies and deletes nothing by itself)",
                                name);
}

enum varve_err
policy_save(struct chunk_store *cs, const struct policy_set *s, struct varve_error *err)
{
    struct store *store = chunk_store_objects(cs);
    struct revisions r = {.newest = 0};
    char name[STORE_NAME_MAX + 1];
    struct varve_error ignored;
    struct store_part part;
    uint8_t *sealed = NULL;
    size_t sealed_len = 0;
    struct buf record;
    enum varve_err rc = store_list(store, POLICY_PREFIX, note_revision, &r, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    buf_init(&record, POLICY_RECORD_MAX - 4096);
    object_name(r.newest + 1, name);
    rc = policy_encode(s, &record, err);
    if (rc == VARVE_OK) {
        rc = chunk_store_seal_record(chunk_store_default(cs), name, record.data, record.len,
                                     &sealed, &sealed_len, err);
    }
    if (rc == VARVE_OK) {
        part = (struct store_part){.data = sealed, .len = sealed_len};
        rc = store_put(store, name, &part, 1, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < r.count; i++) { /* the new one is durable */
        object_name(r.all[i], name);
        if (store_remove(store, name, &ignored) != VARVE_OK) {
            log_debug("gc", "an old revision of the policies stays: %s", ignored.msg);
        }
    }
    free(sealed);
    buf_release(&record);
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "keeping the policies");
}
