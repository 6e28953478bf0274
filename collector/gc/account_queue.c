/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "gc/account_internal.h"

/* The queue: nodes whose count is to change, one after the other, and those that could not be read. */

#define RECORD_COST (PACK_RECORD_HEADER + AEAD_TAG_SIZE) /* beside the bytes of a node */

/* ---- rows ---- */

void
account_node_encode(uint8_t out[NODE_VALUE], const struct node_ref *ref)
{
    out[0] = ref->level;
    memcpy(out + 1, chunk_domain_id(ref->domain)->bytes, GUID_BYTES);
    memcpy(out + 1 + GUID_BYTES, ref->id.bytes, CHUNK_ID_SIZE);
}

static enum varve_err
node_decode(struct chunk_store *cs, struct node_ref *out, const uint8_t *in,
            struct varve_error *err)
{
    struct guid domain;

    if (in[0] >= MANIFEST_LEVELS_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a row of the index of level %u", in[0]);
    }
    out->level = in[0];
    memcpy(domain.bytes, in + 1, GUID_BYTES);
    memcpy(out->id.bytes, in + 1 + GUID_BYTES, CHUNK_ID_SIZE);
    return chunk_store_domain(cs, &domain, &out->domain, err);
}

void
account_change_begin(struct account *a)
{
    a->change = (struct index_change){.deltas = a->deltas, .rows = a->rows};
}

void
account_change_row(struct account *a, const void *key, size_t key_len, const void *value,
                   size_t value_len, bool remove)
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

void
account_change_todo(struct account *a, bool add, const uint8_t node[NODE_VALUE])
{
    uint8_t key[TODO_KEY] = {'t'};
    uint8_t value[TODO_VALUE];

    put_be64(key + 1, a->next_todo++);
    value[0] = add ? 1 : 0;
    memcpy(value + 1, node, NODE_VALUE);
    account_change_row(a, key, sizeof(key), value, sizeof(value), false);
}

static void
add_opaque_row(struct account *a, const struct task *t, bool remove)
{
    uint8_t key[OPAQUE_KEY] = {'o'};
    uint8_t value[NODE_VALUE];

    memcpy(key + 1, t->name.bytes, RECORD_NAME_SIZE);
    account_node_encode(value, &t->ref);
    account_change_row(a, key, sizeof(key), value, remove ? 0 : sizeof(value), remove);
}

/* From the queue to those that wait. */
static void
add_deferred_row(struct account *a, const struct task *t)
{
    uint8_t key[TODO_KEY];

    memcpy(key, t->key, sizeof(key));
    key[0] = 'd';
    account_change_row(a, t->key, sizeof(t->key), NULL, 0, true);
    account_change_row(a, key, sizeof(key), t->value, sizeof(t->value), false);
}

static void
add_delta(struct account *a, const struct record_name *name, enum chunk_kind kind, bool add)
{
    a->deltas[a->change.delta_count++] =
        (struct index_delta){.name = *name, .kind = (uint8_t)kind, .delta = (int8_t)(add ? 1 : -1)};
}

enum varve_err
account_change_apply(struct account *a, struct collect_cost *cost, struct varve_error *err)
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

/* ---- taking tasks ---- */

/* Rows of "t" and of "d".  A lowering whose domain is not there is taken, too: it waits for that. */
static bool
take_task(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct account *a = arg;
    struct task *t = &a->tasks[a->task_count];
    enum varve_err rc;

    if (key_len != TODO_KEY || value_len != TODO_VALUE) {
        return true; /* nobody writes such a row */
    }
    if (a->task_count == BATCH) {
        a->more = true;
        return false;
    }
    memset(t, 0, offsetof(struct task, node));
    memcpy(t->key, key, TODO_KEY);
    memcpy(t->value, value, TODO_VALUE);
    t->add = t->value[0] != 0;
    rc = node_decode(a->cs, &t->ref, t->value + 1, &a->trouble);
    if (rc == VARVE_ERR_NOT_FOUND && !t->add) {
        a->trouble.code = VARVE_OK;
        a->task_count++;
        return true;
    }
    if (rc != VARVE_OK) {
        return false;
    }
    chunk_store_name(t->ref.domain, &t->ref.id, &t->name);
    for (size_t i = 0; i < a->task_count; i++) {
        if (a->tasks[i].ref.domain != NULL &&
            memcmp(&a->tasks[i].name, &t->name, sizeof(t->name)) == 0) {
            a->more = true;
            return false; /* its turn is in the next batch, when the count has changed */
        }
    }
    a->task_count++;
    return true;
}

/* The next of those that wait. */
static bool
take_deferred(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct account *a = arg;

    if (key_len == TODO_KEY && get_be64((const uint8_t *)key + 1) <= a->tried) {
        return true;
    }
    return take_task(a, key, key_len, value, value_len);
}

static enum varve_err
take(struct account *a, const char *prefix, struct collect_cost *cost, struct varve_error *err)
{
    bool queue = prefix[0] == 't';
    enum varve_err rc;

    a->task_count = 0;
    a->more = false;
    a->trouble.code = VARVE_OK;
    rc = index_row_scan(a->index, prefix, 1, queue, queue ? take_task : take_deferred, a, err);
    if (rc == VARVE_OK && a->trouble.code != VARVE_OK) {
        *err = a->trouble;
        rc = err->code;
    }
    cost->operations += a->task_count;
    return rc;
}

/* ---- doing them ---- */

bool
account_note_found(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
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

static bool
is_deferred(const struct task *t)
{
    return t->key[0] == 'd';
}

/* Does the task begin or end the node's count, and what does the node name? */
static enum varve_err
prepare_task(struct account *a, struct task *t, struct collect_cost *cost, struct varve_error *err)
{
    uint8_t key[OPAQUE_KEY] = {'o'};
    enum varve_err rc;

    if (t->ref.domain == NULL) {
        t->unreadable = true;
        return VARVE_OK;
    }
    rc = index_ref_get(a->index, CHUNK_NODE, &t->name, 1, &t->count, err);
    cost->operations++;
    t->turns = t->count == (t->add ? 0u : 1u);
    if (rc != VARVE_OK || !t->turns) {
        return rc;
    }
    if (!t->add && a->opaque > 0) {
        memcpy(key + 1, t->name.bytes, RECORD_NAME_SIZE);
        rc = index_row_scan(a->index, key, sizeof(key), false, account_note_found, &t->opaque, err);
        if (rc != VARVE_OK || t->opaque) {
            return rc;
        }
    }
    rc = load_node(t, cost, err);
    if (is_damage(rc)) {
        if (!is_deferred(t)) {
            log_error("gc",
                      t->add ? "a manifest node cannot be read, nothing is collected until it is "
                               "whole again or no point needs it: %s"
                             : "a manifest node that no point needs any more cannot be read, what "
                               "only it names stays until it is whole again: %s",
                      err->msg);
        }
        t->unreadable = true;
        rc = VARVE_OK;
    }
    return rc;
}

static void
queue_children(struct account *a, const struct task *t)
{
    struct node_ref child = {.level = (uint8_t)(t->ref.level - 1), .domain = t->ref.domain};
    uint8_t row[NODE_VALUE];
    struct record_name name;

    for (unsigned i = 0; i < MANIFEST_FANOUT; i++) {
        child.id = t->node.child[i];
        if (chunk_id_is_hole(&child.id)) {
            continue;
        }
        if (t->ref.level > 0) {
            account_node_encode(row, &child);
            account_change_todo(a, t->add, row);
        } else {
            chunk_store_name(child.domain, &child.id, &name);
            add_delta(a, &name, CHUNK_DATA, t->add);
        }
    }
}

/* Puts the task into the change, with what follows from it. */
static void
add_task(struct account *a, const struct task *t, size_t *opaque, size_t *deferred)
{
    if (t->unreadable && !t->add) {
        if (!is_deferred(t)) {
            add_deferred_row(a, t);
            ++*deferred;
        }
        return;
    }
    account_change_row(a, t->key, TODO_KEY, NULL, 0, true);
    add_delta(a, &t->name, CHUNK_NODE, t->add);
    *deferred -= is_deferred(t) ? 1 : 0;
    if (t->opaque || t->unreadable) {
        add_opaque_row(a, t, t->opaque);
        *opaque += t->opaque ? (size_t)-1 : 1u;
    } else if (t->turns) {
        queue_children(a, t);
    }
}

/* The tasks that were taken, in one transaction. */
static enum varve_err
do_tasks(struct account *a, struct collect_cost *cost, struct varve_error *err)
{
    uint64_t first_todo = a->next_todo;
    size_t opaque = a->opaque;
    size_t deferred = a->deferred;
    enum varve_err rc = VARVE_OK;

    account_change_begin(a);
    for (size_t i = 0; rc == VARVE_OK && i < a->task_count; i++) {
        rc = prepare_task(a, &a->tasks[i], cost, err);
        if (rc == VARVE_OK) {
            add_task(a, &a->tasks[i], &opaque, &deferred);
        }
    }
    if (rc == VARVE_OK && a->change.row_count > 0) {
        rc = account_change_apply(a, cost, err);
    }
    if (rc == VARVE_OK) {
        a->opaque = opaque;
        a->deferred = deferred;
    } else {
        a->next_todo = first_todo;
    }
    return rc;
}

enum varve_err
account_drain(struct account *a, struct cancel *cancel, struct collect_cost *cost,
              struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    do {
        if (cancel != NULL && cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "stopped while counting references");
        }
        rc = take(a, "t", cost, err);
        if (rc == VARVE_OK) {
            rc = do_tasks(a, cost, err);
        }
    } while (rc == VARVE_OK && a->task_count > 0);
    return rc;
}

/* ---- what could not be read ---- */

struct opaque_list {
    struct account *a;
    size_t count;
};

static bool
take_opaque(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct opaque_list *l = arg;
    struct task *t = &l->a->tasks[l->count];
    struct varve_error ignored;

    (void)key;
    if (key_len != OPAQUE_KEY || value_len != NODE_VALUE) {
        return true;
    }
    memset(t, 0, offsetof(struct task, node));
    t->add = true;
    if (node_decode(l->a->cs, &t->ref, value, &ignored) != VARVE_OK) {
        return true; /* its domain's key is gone: it stays opaque */
    }
    chunk_store_name(t->ref.domain, &t->ref.id, &t->name);
    l->count++;
    return l->count < BATCH;
}

/* Reads again what could not be read, BATCH nodes at most: there should be none. */
static enum varve_err
retry_opaque(struct account *a, struct collect_cost *cost, struct varve_error *err)
{
    struct opaque_list list = {.a = a};
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
        account_change_begin(a);
        add_opaque_row(a, &a->tasks[i], true);
        queue_children(a, &a->tasks[i]);
        rc = account_change_apply(a, cost, err);
        a->opaque -= rc == VARVE_OK ? 1 : 0;
    }
    return rc;
}

/* Tries the next BATCH of those that wait, then begins again with the first. */
static enum varve_err
retry_deferred(struct account *a, struct collect_cost *cost, struct varve_error *err)
{
    size_t before = a->deferred;
    uint64_t last = 0;
    enum varve_err rc = take(a, "d", cost, err);

    if (rc == VARVE_OK && a->task_count > 0) {
        last = get_be64(a->tasks[a->task_count - 1].key + 1);
    }
    if (rc == VARVE_OK) {
        rc = do_tasks(a, cost, err);
    }
    if (rc == VARVE_OK) {
        a->tried = a->more ? last : 0;
    }
    if (a->deferred < before) {
        log_info("gc", "counts that waited for manifest nodes are lowered nodes=%zu",
                 before - a->deferred);
    }
    return rc;
}

enum varve_err
account_settle(struct account *a, struct cancel *cancel, struct collect_cost *cost,
               struct varve_error *err)
{
    enum varve_err rc = account_drain(a, cancel, cost, err);

    if (rc == VARVE_OK && a->opaque > 0) {
        rc = retry_opaque(a, cost, err);
        if (rc == VARVE_OK) {
            rc = account_drain(a, cancel, cost, err);
        }
    }
    return rc;
}

enum varve_err
account_retry(struct account *a, bool all, struct cancel *cancel, struct collect_cost *cost,
              struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (a->deferred == 0) {
        return VARVE_OK;
    }
    a->tried = all ? 0 : a->tried;
    do {
        rc = account_drain(a, cancel, cost, err); /* it may hold the other sign */
        if (rc == VARVE_OK) {
            rc = retry_deferred(a, cost, err);
        }
        if (rc == VARVE_OK) {
            rc = account_drain(a, cancel, cost, err);
        }
    } while (rc == VARVE_OK && all && a->tried != 0);
    return rc;
}

/* ---- who brings what waits ---- */

struct deferred_list {
    struct chunk_store *cs;
    bool (*cb)(void *arg, struct chunk_domain *domain, unsigned level, const struct chunk_id *id);
    void *arg;
};

static bool
tell_deferred(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    const struct deferred_list *l = arg;
    struct varve_error ignored;
    struct node_ref ref;

    (void)key;
    if (key_len != TODO_KEY || value_len != TODO_VALUE ||
        node_decode(l->cs, &ref, (const uint8_t *)value + 1, &ignored) != VARVE_OK) {
        return true;
    }
    return l->cb(l->arg, ref.domain, ref.level, &ref.id);
}

enum varve_err
account_list_deferred(struct chunk_store *cs,
                      bool (*cb)(void *arg, struct chunk_domain *domain, unsigned level,
                                 const struct chunk_id *id),
                      void *arg, struct varve_error *err)
{
    struct deferred_list l = {.cs = cs, .cb = cb, .arg = arg};

    return index_row_scan(chunk_store_index(cs), "d", 1, false, tell_deferred, &l, err);
}

/* ---- what an earlier process left ---- */

static bool
note_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    ++*(size_t *)arg;
    return true;
}

static bool
note_last(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct account *a = arg;
    uint64_t number = key_len == TODO_KEY ? get_be64((const uint8_t *)key + 1) : 0;

    (void)value;
    (void)value_len;
    a->next_todo = number >= a->next_todo ? number + 1 : a->next_todo;
    return false;
}

enum varve_err
account_queue_open(struct account *a, struct varve_error *err)
{
    enum varve_err rc;

    a->next_todo = 1;
    rc = index_row_scan(a->index, "t", 1, true, note_last, a, err);
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, "d", 1, true, note_last, a, err);
    }
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, "o", 1, false, note_row, &a->opaque, err);
    }
    if (rc == VARVE_OK) {
        rc = index_row_scan(a->index, "d", 1, false, note_row, &a->deferred, err);
    }
    return rc;
}
