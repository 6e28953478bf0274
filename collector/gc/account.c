/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/account.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "manifest/manifest.h"

/*
 * Rows: "p" vm seq -> the roots of the point, each as a node.
 *       "t" number -> sign 1 (0 or 1), node: one whose count is to change.
 *       "o" keyed name -> node: opaque.
 * A node: level 1, domain 16, name 32.
 * Numbers are big-endian, so that rows come in their order.  The queue is taken from its end: it then
 * never holds more than a path's siblings.
 */
#define GUID_BYTES  sizeof(struct guid)
#define POINT_KEY   (1u + GUID_BYTES + 8u)
#define TODO_KEY    9u
#define OPAQUE_KEY  (1u + RECORD_NAME_SIZE)
#define NODE_VALUE  (1u + GUID_BYTES + CHUNK_ID_SIZE)
#define TODO_VALUE  (1u + NODE_VALUE)
#define BATCH       32u
#define ROWS_MAX    (BATCH * (MANIFEST_FANOUT + 3u))
#define DELTAS_MAX  (BATCH * (MANIFEST_FANOUT + 1u))
#define RECORD_COST (PACK_RECORD_HEADER + AEAD_TAG_SIZE) /* beside the bytes of a node */

/* What a node's row says. */
struct node_ref {
    uint8_t level;
    struct chunk_domain *domain;
    struct chunk_id id;
};

struct task {
    uint8_t key[TODO_KEY];
    bool add;
    struct node_ref ref;
    struct record_name name;
    uint32_t count; /* now */
    bool opaque;    /* it is known as one */
    bool turns;     /* its count begins or ends with this task */
    bool unreadable;
    struct manifest_node node; /* when it turns and could be read */
};

/* A row being made; key and value are here so that struct index_row can point to them. */
struct row_room {
    uint8_t key[OPAQUE_KEY];
    uint8_t value[TODO_VALUE];
};

struct account {
    struct chunk_store *cs;
    struct index *index;
    uint64_t next_todo;
    size_t opaque;
    struct task tasks[BATCH];
    size_t task_count;
    struct index_delta deltas[DELTAS_MAX];
    struct index_row rows[ROWS_MAX];
    struct row_room rooms[ROWS_MAX];
    struct index_change change;
    struct varve_error trouble; /* of a row that was read */
};

/* ---- rows ---- */

static void
node_encode(uint8_t out[NODE_VALUE], const struct node_ref *ref)
{
    out[0] = ref->level;
    memcpy(out + 1, chunk_domain_id(ref->domain)->bytes, GUID_BYTES);
    memcpy(out + 1 + GUID_BYTES, ref->id.bytes, CHUNK_ID_SIZE);
}

static enum varve_err
node_decode(struct account *a, struct node_ref *out, const uint8_t *in, struct varve_error *err)
{
    struct guid domain;

    if (in[0] >= MANIFEST_LEVELS_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a row of the index of level %u", in[0]);
    }
    out->level = in[0];
    memcpy(domain.bytes, in + 1, GUID_BYTES);
    memcpy(out->id.bytes, in + 1 + GUID_BYTES, CHUNK_ID_SIZE);
    return chunk_store_domain(a->cs, &domain, &out->domain, err);
}

static void
point_key(const struct guid *vm, uint64_t seq, uint8_t out[POINT_KEY])
{
    out[0] = 'p';
    memcpy(out + 1, vm->bytes, GUID_BYTES);
    put_be64(out + 1 + GUID_BYTES, seq);
}

static void
begin_change(struct account *a)
{
    a->change = (struct index_change){.deltas = a->deltas, .rows = a->rows};
}

static void
add_row(struct account *a, const void *key, size_t key_len, const void *value, size_t value_len,
        bool remove)
{
    struct row_room *room = &a->rooms[a->change.row_count];

    memcpy(room->key, key, key_len);
    if (value_len > 0) {
        memcpy(room->value, value, value_len);
    }
    a->rows[a->change.row_count++] = (struct index_row){.key = room->key,
                                                        .key_len = key_len,
                                                        .value = room->value,
                                                        .value_len = value_len,
                                                        .remove = remove};
}

static void
add_task_row(struct account *a, bool add, const struct node_ref *ref)
{
    uint8_t key[TODO_KEY] = {'t'};
    uint8_t value[TODO_VALUE];

    put_be64(key + 1, a->next_todo++);
    value[0] = add ? 1 : 0;
    node_encode(value + 1, ref);
    add_row(a, key, sizeof(key), value, sizeof(value), false);
}

static void
add_opaque_row(struct account *a, const struct task *t, bool remove)
{
    uint8_t key[OPAQUE_KEY] = {'o'};
    uint8_t value[NODE_VALUE];

    memcpy(key + 1, t->name.bytes, RECORD_NAME_SIZE);
    node_encode(value, &t->ref);
    add_row(a, key, sizeof(key), value, remove ? 0 : sizeof(value), remove);
}

static void
add_delta(struct account *a, const struct record_name *name, enum chunk_kind kind, bool add)
{
    a->deltas[a->change.delta_count++] =
        (struct index_delta){.name = *name, .kind = (uint8_t)kind, .delta = (int8_t)(add ? 1 : -1)};
}

static enum varve_err
apply(struct account *a, struct collect_cost *cost, struct varve_error *err)
{
    enum varve_err rc = index_apply(a->index, &a->change, err);

    if (rc == VARVE_OK) {
        cost->operations += a->change.operations;
    } else if (rc == VARVE_ERR_CORRUPT) { /* a page of it has rotted; the store was told */
        rc = varve_error_prefix(err, "the index is damaged, nothing is collected until it is built "
                                     "anew, which the next start does");
    }
    return rc;
}

/* ---- the queue ---- */

static bool
take_task(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct account *a = arg;
    struct task *t = &a->tasks[a->task_count];
    const uint8_t *v = value;

    if (key_len != TODO_KEY || value_len != TODO_VALUE) {
        return true; /* nobody writes such a row */
    }
    memset(t, 0, offsetof(struct task, node));
    memcpy(t->key, key, TODO_KEY);
    t->add = v[0] != 0;
    if (node_decode(a, &t->ref, v + 1, &a->trouble) != VARVE_OK) {
        return false;
    }
    chunk_store_name(t->ref.domain, &t->ref.id, &t->name);
    for (size_t i = 0; i < a->task_count; i++) {
        if (memcmp(&a->tasks[i].name, &t->name, sizeof(t->name)) == 0) {
            return false; /* its turn is in the next batch, when the count has changed */
        }
    }
    a->task_count++;
    return a->task_count < BATCH;
}

static bool
note_found(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    *(bool *)arg = true;
    return false;
}

/* Damage is an answer; anything else is trouble that may pass. */
static bool
is_damage(enum varve_err rc)
{
    return rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_NOT_FOUND || rc == VARVE_ERR_IO ||
           rc == VARVE_ERR_LIMIT;
}

static enum varve_err
load_node(struct task *t, struct collect_cost *cost, struct varve_error *err)
{
    uint8_t bytes[MANIFEST_NODE_MAX];
    size_t len = 0;
    enum varve_err rc = chunk_store_get(t->ref.domain, &t->ref.id, bytes, sizeof(bytes), &len, err);

    if (rc == VARVE_OK) {
        cost->bytes_read += len + RECORD_COST;
        rc = manifest_node_decode(&t->node, bytes, len, t->ref.level, err);
    }
    return rc;
}

/* Does the task begin or end the node's count, and what does the node name? */
static enum varve_err
prepare_task(struct account *a, struct task *t, struct collect_cost *cost, struct varve_error *err)
{
    uint8_t key[OPAQUE_KEY] = {'o'};
    enum varve_err rc = index_ref_get(a->index, CHUNK_NODE, &t->name, 1, &t->count, err);

    cost->operations++;
    t->turns = t->count == (t->add ? 0u : 1u);
    if (rc != VARVE_OK || !t->turns) {
        return rc;
    }
    if (!t->add && a->opaque > 0) {
        memcpy(key + 1, t->name.bytes, RECORD_NAME_SIZE);
        rc = index_row_scan(a->index, key, sizeof(key), false, note_found, &t->opaque, err);
        if (rc != VARVE_OK || t->opaque) {
            return rc;
        }
    }
    rc = load_node(t, cost, err);
    if (is_damage(rc)) {
        log_error("gc",
                  t->add ? "a manifest node cannot be read, nothing is collected until it is whole "
                           "again or no point needs it: %s"
                         : "a manifest node cannot be read, what only it names stays until the "
                           "index is rebuilt: %s",
                  err->msg);
        t->unreadable = true;
        rc = VARVE_OK;
    }
    return rc;
}

static void
queue_children(struct account *a, const struct task *t)
{
    struct node_ref child = {.level = (uint8_t)(t->ref.level - 1), .domain = t->ref.domain};
    struct record_name name;

    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        child.id = t->node.child[i];
        if (chunk_id_is_hole(&child.id)) {
            continue;
        }
        if (t->ref.level > 0) {
            add_task_row(a, t->add, &child);
        } else {
            chunk_store_name(child.domain, &child.id, &name);
            add_delta(a, &name, CHUNK_DATA, t->add);
        }
    }
}

/* One transaction: up to BATCH nodes.  *any is false when the queue was empty. */
static enum varve_err
step(struct account *a, bool *any, struct collect_cost *cost, struct varve_error *err)
{
    uint64_t first_todo = a->next_todo;
    size_t opaque = a->opaque;
    enum varve_err rc;

    a->task_count = 0;
    a->trouble.code = VARVE_OK;
    rc = index_row_scan(a->index, "t", 1, true, take_task, a, err);
    if (rc == VARVE_OK && a->trouble.code != VARVE_OK) {
        *err = a->trouble;
        rc = err->code;
    }
    *any = a->task_count > 0;
    cost->operations += a->task_count;
    begin_change(a);
    for (size_t i = 0; rc == VARVE_OK && i < a->task_count; i++) {
        struct task *t = &a->tasks[i];

        rc = prepare_task(a, t, cost, err);
        if (rc != VARVE_OK) {
            break;
        }
        add_row(a, t->key, TODO_KEY, NULL, 0, true);
        add_delta(a, &t->name, CHUNK_NODE, t->add);
        if (t->opaque || (t->unreadable && t->add)) {
            add_opaque_row(a, t, t->opaque);
            opaque += t->opaque ? (size_t)-1 : 1u;
        } else if (t->turns && !t->unreadable) {
            queue_children(a, t);
        }
    }
    if (rc == VARVE_OK && *any) {
        rc = apply(a, cost, err);
    }
    if (rc == VARVE_OK) {
        a->opaque = opaque;
    } else {
        a->next_todo = first_todo;
    }
    return rc;
}

static enum varve_err
drain(struct account *a, struct cancel *cancel, struct collect_cost *cost, struct varve_error *err)
{
    bool any = true;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && any) {
        if (cancel != NULL && cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "stopped while counting references");
        }
        rc = step(a, &any, cost, err);
    }
    return rc;
}

/* ---- points ---- */

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
    rc = drain(a, cancel, cost, err);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, key, sizeof(key), false, note_found, &counted, err);
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
    begin_change(a);
    for (size_t i = 0; i < p->disk_count; i++) {
        const struct manifest_root *root = &p->disks[i].root;

        if (chunk_id_is_hole(&root->id)) {
            continue;
        }
        ref.level = (uint8_t)manifest_root_level(root->chunk_count);
        ref.id = root->id;
        node_encode(value + used, &ref);
        add_task_row(a, true, &ref);
        used += NODE_VALUE;
    }
    a->rows[a->change.row_count++] =
        (struct index_row){.key = key, .key_len = sizeof(key), .value = value, .value_len = used};
    rc = apply(a, cost, err);
    free(value);
    return rc == VARVE_OK ? drain(a, cancel, cost, err) : rc;
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

    rc = drain(a, cancel, cost, err);
    point_key(vm, seq, key);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, key, sizeof(key), false, take_roots, &roots, err);
    }
    if (rc != VARVE_OK || !roots.found) {
        return rc; /* it was never counted */
    }
    begin_change(a);
    add_row(a, key, sizeof(key), NULL, 0, true);
    for (size_t at = 0; at + NODE_VALUE <= roots.len; at += NODE_VALUE) {
        struct node_ref ref;

        rc = node_decode(a, &ref, roots.bytes + at, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        add_task_row(a, false, &ref);
    }
    rc = apply(a, cost, err);
    return rc == VARVE_OK ? drain(a, cancel, cost, err) : rc;
}

/* ---- opaque nodes ---- */

struct opaque_list {
    struct account *a;
    struct task *tasks; /* BATCH of them, or NULL: only count */
    size_t count;
};

static bool
take_opaque(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct opaque_list *l = arg;
    const uint8_t *v = value;

    (void)key;
    if (key_len != OPAQUE_KEY || value_len != NODE_VALUE) {
        return true;
    }
    if (l->tasks != NULL) {
        struct task *t = &l->tasks[l->count];
        struct varve_error ignored;

        memset(t, 0, offsetof(struct task, node));
        t->add = true;
        if (node_decode(l->a, &t->ref, v, &ignored) != VARVE_OK) {
            return true; /* its domain's key is gone: it stays opaque */
        }
        chunk_store_name(t->ref.domain, &t->ref.id, &t->name);
    }
    l->count++;
    return l->tasks == NULL || l->count < BATCH;
}

/* Reads again what could not be read, BATCH nodes at most: there should be none. */
static enum varve_err
retry_opaque(struct account *a, struct collect_cost *cost, struct varve_error *err)
{
    struct opaque_list list = {.a = a, .tasks = a->tasks};
    struct varve_error why;
    enum varve_err rc = index_row_scan(a->index, "o", 1, false, take_opaque, &list, err);

    for (size_t i = 0; rc == VARVE_OK && i < list.count; i++) {
        rc = load_node(&a->tasks[i], cost, &why);
        if (is_damage(rc)) {
            rc = VARVE_OK;
            continue;
        }
        if (rc != VARVE_OK) {
            *err = why;
            break;
        }
        begin_change(a);
        add_opaque_row(a, &a->tasks[i], true);
        queue_children(a, &a->tasks[i]);
        rc = apply(a, cost, err);
        a->opaque -= rc == VARVE_OK ? 1 : 0;
    }
    return rc;
}

enum varve_err
account_settle(struct account *a, struct cancel *cancel, struct collect_cost *cost,
               struct varve_error *err)
{
    enum varve_err rc = drain(a, cancel, cost, err);

    if (rc == VARVE_OK && a->opaque > 0) {
        rc = retry_opaque(a, cost, err);
        if (rc == VARVE_OK) {
            rc = drain(a, cancel, cost, err);
        }
    }
    return rc;
}

size_t
account_opaque(const struct account *a)
{
    return a->opaque;
}

/* ---- open and list ---- */

static bool
note_last(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct account *a = arg;

    (void)value;
    (void)value_len;
    if (key_len == TODO_KEY) {
        a->next_todo = get_be64((const uint8_t *)key + 1) + 1;
    }
    return false;
}

enum varve_err
account_open(struct account **out, struct chunk_store *cs, struct varve_error *err)
{
    struct account *a = calloc(1, sizeof(*a));
    struct opaque_list list = {.a = a};
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    a->cs = cs;
    a->index = chunk_store_index(cs);
    a->next_todo = 1;
    rc = index_row_scan(a->index, "t", 1, true, note_last, a, err);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, "o", 1, false, take_opaque, &list, err);
    }
    a->opaque = list.count;
    if (rc != VARVE_OK) {
        account_close(a);
        return rc;
    }
    *out = a;
    return VARVE_OK;
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
