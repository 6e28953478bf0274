/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_fault.h"

#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

struct store_fault {
    struct store base;
    struct store *inner;
    struct mutex lock; /* plan, calls */
    struct store_fault_plan plan;
    uint64_t calls;
};

static struct store_fault *
fault_of(struct store *s)
{
    return (struct store_fault *)s;
}

/* True when this call goes wrong; *plan is then what to do. */
static bool
strikes(struct store_fault *f, enum store_fault_kind kind, struct store_fault_plan *plan)
{
    bool hit = false;
    uint32_t delay = 0;

    mutex_lock(&f->lock);
    *plan = f->plan;
    if ((f->plan.kinds & (unsigned)kind) != 0) {
        f->calls++;
        delay = f->plan.delay_ms;
        hit = f->plan.fail_at != 0 &&
              (f->calls == f->plan.fail_at || (f->plan.fail_forever && f->calls > f->plan.fail_at));
    }
    mutex_unlock(&f->lock);
    if (delay > 0) {
        thread_sleep_ms(delay);
    }
    return hit;
}

static enum varve_err
planned(const struct store_fault_plan *plan, struct varve_error *err)
{
    return varve_error_set(err, plan->fail_code, "planned failure");
}

static enum varve_err
fault_put(struct store *s, const char *name, const struct store_part *parts, size_t part_count,
          struct varve_error *err)
{
    struct store_fault *f = fault_of(s);
    struct store_fault_plan plan;
    enum varve_err rc;

    if (!strikes(f, STORE_FAULT_PUT, &plan)) {
        return f->inner->ops->put(f->inner, name, parts, part_count, err);
    }
    if (plan.lost_ack) {
        rc = f->inner->ops->put(f->inner, name, parts, part_count, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    return planned(&plan, err);
}

static enum varve_err
fault_get(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
          struct varve_error *err)
{
    struct store_fault *f = fault_of(s);
    struct store_fault_plan plan;
    enum varve_err rc;

    if (!strikes(f, STORE_FAULT_GET, &plan)) {
        return f->inner->ops->get(f->inner, name, off, buf, len, err);
    }
    if (!plan.damage_get) {
        return planned(&plan, err);
    }
    rc = f->inner->ops->get(f->inner, name, off, buf, len, err);
    if (rc == VARVE_OK && len > 0) {
        ((uint8_t *)buf)[len / 2] ^= 0x10;
    }
    return rc;
}

static enum varve_err
fault_size(struct store *s, const char *name, uint64_t *out, struct varve_error *err)
{
    struct store_fault *f = fault_of(s);

    return f->inner->ops->size(f->inner, name, out, err);
}

static enum varve_err
fault_remove(struct store *s, const char *name, struct varve_error *err)
{
    struct store_fault *f = fault_of(s);
    struct store_fault_plan plan;

    if (strikes(f, STORE_FAULT_REMOVE, &plan)) {
        return planned(&plan, err);
    }
    return f->inner->ops->remove(f->inner, name, err);
}

static enum varve_err
fault_list(struct store *s, const char *prefix,
           bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
           struct varve_error *err)
{
    struct store_fault *f = fault_of(s);
    struct store_fault_plan plan;

    if (strikes(f, STORE_FAULT_LIST, &plan)) {
        return planned(&plan, err);
    }
    return f->inner->ops->list(f->inner, prefix, cb, arg, err);
}

static enum varve_err
fault_free_bytes(struct store *s, uint64_t *out, struct varve_error *err)
{
    struct store_fault *f = fault_of(s);

    return f->inner->ops->free_bytes(f->inner, out, err);
}

static void
fault_close(struct store *s)
{
    struct store_fault *f = fault_of(s);

    mutex_destroy(&f->lock);
    free(f);
}

static const struct store_ops fault_ops = {
    .put = fault_put,
    .get = fault_get,
    .size = fault_size,
    .remove = fault_remove,
    .list = fault_list,
    .free_bytes = fault_free_bytes,
    .close = fault_close,
};

enum varve_err
store_fault_open(struct store **out, struct store *inner, struct varve_error *err)
{
    struct store_fault *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return varve_error_nomem(err);
    }
    f->base.ops = &fault_ops;
    f->inner = inner;
    mutex_init(&f->lock);
    *out = &f->base;
    return VARVE_OK;
}

void
store_fault_set(struct store *s, const struct store_fault_plan *plan)
{
    struct store_fault *f = fault_of(s);

    mutex_lock(&f->lock);
    f->plan = *plan;
    f->calls = 0;
    mutex_unlock(&f->lock);
}

uint64_t
store_fault_calls(struct store *s)
{
    struct store_fault *f = fault_of(s);
    uint64_t calls;

    mutex_lock(&f->lock);
    calls = f->calls;
    mutex_unlock(&f->lock);
    return calls;
}
