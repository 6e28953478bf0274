/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/account_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Points: their rows, and the roots that go into the queue with them. */

static void
point_key(const struct guid *vm, uint64_t seq, uint8_t out[POINT_KEY])
{
    out[0] = 'p';
    memcpy(out + 1, vm->bytes, GUID_BYTES);
    put_be64(out + 1 + GUID_BYTES, seq);
}

enum varve_err
account_add(struct account *a, const struct point *p, struct cancel *cancel,
            struct collect_cost *cost, struct varve_error *err)
{
    uint8_t key[POINT_KEY];
    uint8_t *value = NULL;
    struct node_ref ref = {.level = 0};
    bool counted = false;
    size_t used = 0;
    enum varve_err rc;

    point_key(&p->vm, p->seq, key);
    rc = account_drain(a, cancel, cost, err);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, key, sizeof(key), false, account_note_found, &counted, err);
    }
    if (rc == VARVE_OK && !counted) {
        rc = chunk_store_domain(a->cs, &p->domain, &ref.domain, err);
    }
    if (rc != VARVE_OK || counted) {
        return rc;
    }
    value = malloc(p->disk_count * NODE_VALUE + 1);
    if (value == NULL) {
        return varve_error_nomem(err);
    }
    account_change_begin(a);
    for (size_t i = 0; i < p->disk_count; i++) {
        const struct manifest_root *root = &p->disks[i].root;

        if (chunk_id_is_hole(&root->id)) {
            continue;
        }
        ref.level = (uint8_t)manifest_root_level(root->chunk_count);
        ref.id = root->id;
        account_node_encode(value + used, &ref);
        account_change_todo(a, true, value + used);
        used += NODE_VALUE;
    }
    a->rows[a->change.row_count++] =
        (struct index_row){.key = key, .key_len = sizeof(key), .value = value, .value_len = used};
    rc = account_change_apply(a, cost, err);
    free(value);
    return rc == VARVE_OK ? account_drain(a, cancel, cost, err) : rc;
}

struct roots {
    uint8_t bytes[POINT_DISKS_MAX * NODE_VALUE];
    size_t len;
    bool found;
};

static bool
take_roots(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct roots *r = arg;

    (void)key;
    if (key_len == POINT_KEY && value_len <= sizeof(r->bytes)) {
        if (value_len > 0) {
            memcpy(r->bytes, value, value_len);
        }
        r->len = value_len;
        r->found = true;
    }
    return false;
}

enum varve_err
account_drop(struct account *a, const struct guid *vm, uint64_t seq, struct cancel *cancel,
             struct collect_cost *cost, struct varve_error *err)
{
    struct roots roots = {.found = false};
    uint8_t key[POINT_KEY];
    enum varve_err rc;

    rc = account_drain(a, cancel, cost, err);
    point_key(vm, seq, key);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, key, sizeof(key), false, take_roots, &roots, err);
    }
    if (rc != VARVE_OK || !roots.found) {
        return rc; /* it was never counted */
    }
    account_change_begin(a);
    account_change_row(a, key, sizeof(key), NULL, 0, true);
    for (size_t at = 0; at + NODE_VALUE <= roots.len; at += NODE_VALUE) {
        account_change_todo(a, false, roots.bytes + at);
    }
    rc = account_change_apply(a, cost, err);
    return rc == VARVE_OK ? account_drain(a, cancel, cost, err) : rc;
}

/* ---- open and list ---- */

enum varve_err
account_open(struct account **out, struct chunk_store *cs, struct varve_error *err)
{
    struct account *a = calloc(1, sizeof(*a));
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    a->cs = cs;
    a->index = chunk_store_index(cs);
    rc = account_queue_open(a, err);
    if (rc != VARVE_OK) {
        account_close(a);
        return rc;
    }
    *out = a;
    return VARVE_OK;
}

size_t
account_opaque(const struct account *a)
{
    return a->opaque;
}

size_t
account_deferred(const struct account *a)
{
    return a->deferred;
}

void
account_close(struct account *a)
{
    free(a);
}

bool
account_row_is_of(const struct point *p, const void *roots, size_t roots_len)
{
    const uint8_t *at = roots;

    for (size_t i = 0; i < p->disk_count; i++) {
        const struct manifest_root *root = &p->disks[i].root;

        if (chunk_id_is_hole(&root->id)) {
            continue;
        }
        if (roots_len < NODE_VALUE || at[0] != manifest_root_level(root->chunk_count) ||
            memcmp(at + 1, p->domain.bytes, GUID_BYTES) != 0 ||
            memcmp(at + 1 + GUID_BYTES, root->id.bytes, CHUNK_ID_SIZE) != 0) {
            return false;
        }
        at += NODE_VALUE;
        roots_len -= NODE_VALUE;
    }
    return roots_len == 0;
}

struct point_list {
    bool (*cb)(void *arg, const struct guid *vm, uint64_t seq, const void *roots, size_t roots_len);
    void *arg;
};

static bool
list_point(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    const struct point_list *l = arg;
    const uint8_t *k = key;
    struct guid vm;

    if (key_len != POINT_KEY) {
        return true;
    }
    memcpy(vm.bytes, k + 1, GUID_BYTES);
    return l->cb(l->arg, &vm, get_be64(k + 1 + GUID_BYTES), value, value_len);
}

enum varve_err
account_list(struct account *a,
             bool (*cb)(void *arg, const struct guid *vm, uint64_t seq, const void *roots,
                        size_t roots_len),
             void *arg, struct varve_error *err)
{
    struct point_list l = {.cb = cb, .arg = arg};

    return index_row_scan(a->index, "p", 1, false, list_point, &l, err);
}
