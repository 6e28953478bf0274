/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "catalog/catalog_hits.h"
#include "sched/keeper.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"

/* What the operator says about keeping: points, policies, retention, collecting, the clock. */

#define OPERATOR       "operator"
#define VERDICTS_PART  128u
#define SECOND_US      1000000ll
#define SECONDS_MAX    (200ull * 366 * 86400)
#define WINDOW_SECONDS (POLICY_WINDOW_DAYS * 86400u)

/* ---- points ---- */

struct marks_out {
    struct catalog_marks marks;
    Varve__V1__PointMarks message;
};

static enum varve_err
marks_out(struct marks_out *out, struct catalog *catalog, const struct point *p,
          struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    varve__v1__point_marks__init(&out->message);
    rc = catalog_marks_get(catalog, p, &out->marks, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    out->message.holds = calloc(out->marks.count + 1, sizeof(char *));
    if (out->message.holds == NULL) {
        return varve_error_nomem(err);
    }
    out->message.deleted = out->marks.gone;
    out->message.undelete_until_us = out->marks.gone_until_us;
    out->message.locked_until_us = out->marks.locked_until_us;
    for (size_t i = 0; i < out->marks.count; i++) {
        if (out->marks.list[i].kind == MARK_HOLD) {
            out->message.holds[out->message.n_holds++] = out->marks.list[i].why;
        }
    }
    return VARVE_OK;
}

static void
marks_out_release(struct marks_out *m)
{
    free(m->message.holds);
    catalog_marks_release(&m->marks);
}

/* The last point of a vm, and the last one that is whole, goes only when that was said. */
static enum varve_err
check_last(const struct collector *c, const struct point *p, struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    size_t whole = 0;
    enum varve_err rc = catalog_list(c->catalog, &p->vm, &points, &count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        whole += points[i]->seq != p->seq && !catalog_is_hit(c->catalog, points[i]) ? 1 : 0;
    }
    catalog_list_free(points, count);
    if (count <= 1 || (whole == 0 && !catalog_is_hit(c->catalog, p))) {
        return varve_error_set(err, VARVE_ERR_DENIED,
                               "it is the last point of vm '%.64s'%s: say --last to delete it all "
                               "the same",
                               p->vm_name, count <= 1 ? "" : " that is not damaged");
    }
    return VARVE_OK;
}

static enum varve_err
delete_point(const struct collector *c, const Varve__V1__PointChange *req, const struct point *p,
             struct varve_error *err)
{
    int64_t now = store_time_now(keeper_time(c->keeper));
    uint64_t window = req->no_window ? 0 : req->seconds == 0 ? WINDOW_SECONDS : req->seconds;
    enum varve_err rc = req->last ? VARVE_OK : check_last(c, p, err);

    if (rc == VARVE_OK && window > 0 && store_time_is_doubtful(keeper_time(c->keeper), err)) {
        rc = err->code; /* when would it be gone? */
    }
    return rc == VARVE_OK
               ? gc_delete_point(keeper_gc(c->keeper), p, now, now + (int64_t)window * SECOND_US,
                                 OPERATOR, req->reason, err)
               : rc;
}

static enum varve_err
change_point(const struct collector *c, const Varve__V1__PointChange *req, const struct point *p,
             struct varve_error *err)
{
    int64_t now = store_time_now(keeper_time(c->keeper));
    size_t released = 0;
    enum varve_err rc;

    switch (req->action) {
    case VARVE__V1__POINT_ACTION__POINT_DELETE:
        return delete_point(c, req, p, err);
    case VARVE__V1__POINT_ACTION__POINT_UNDELETE:
        return catalog_undelete(c->catalog, p, err);
    case VARVE__V1__POINT_ACTION__POINT_HOLD:
        return catalog_hold(c->catalog, p, now, OPERATOR, req->reason, err);
    case VARVE__V1__POINT_ACTION__POINT_RELEASE:
        rc = catalog_release_holds(c->catalog, p, &released, err);
        return rc == VARVE_OK && released == 0
                   ? varve_error_set(err, VARVE_ERR_NOT_FOUND, "the point is not held")
                   : rc;
    case VARVE__V1__POINT_ACTION__POINT_LOCK:
        if (req->seconds == 0) {
            return varve_error_set(err, VARVE_ERR_INVALID, "for how long? say --for 30d");
        }
        if (store_time_is_doubtful(keeper_time(c->keeper), err)) {
            return err->code;
        }
        return catalog_lock(c->catalog, p, now, now + (int64_t)req->seconds * SECOND_US, OPERATOR,
                            req->reason, err);
    default:
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "an unknown change of a point; use a newer collector");
    }
}

static enum varve_err
point_change(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
             struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__PointChange *req = head->point_change;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointChangeReply body = VARVE__V1__POINT_CHANGE_REPLY__INIT;
    Varve__V1__PointInfo info;
    struct marks_out marks;
    struct point *p = NULL;
    enum varve_err rc;

    (void)slot;
    if (req->seconds > SECONDS_MAX || strlen(req->reason) > MARK_TEXT_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a time of %llu days or a reason of %zu bytes "
                               "is too long",
                               (unsigned long long)(req->seconds / 86400), strlen(req->reason));
    }
    rc = req->action == VARVE__V1__POINT_ACTION__POINT_UNDELETE
             ? catalog_select_gone(c->catalog, req->point, &p, err)
             : catalog_select(c->catalog, req->point, &p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = change_point(c, req, p, err);
    if (rc == VARVE_OK) {
        rc = marks_out(&marks, c->catalog, p, err);
        if (rc == VARVE_OK) {
            rc = op_point_info(&info, p, err);
        }
        if (rc == VARVE_OK) {
            body.point = &info;
            body.marks = &marks.message;
            reply.body_case = VARVE__V1__ENVELOPE__BODY_POINT_CHANGE_REPLY;
            reply.point_change_reply = &body;
            rc = op_reply(sink, &reply, NULL, 0, false, err);
            op_point_info_release(&info);
        }
        marks_out_release(&marks);
    }
    point_unref(p);
    return rc;
}

static enum varve_err
deleted_list(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
             struct op_sink *sink, struct varve_error *err)
{
    struct point **points = NULL;
    size_t count = 0;
    size_t at = 0;
    enum varve_err rc = catalog_list_gone(c->catalog, NULL, &points, &count, err);

    (void)slot;
    (void)head;
    if (rc != VARVE_OK) {
        return rc;
    }
    do {
        Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__PointDeletedListReply body = VARVE__V1__POINT_DELETED_LIST_REPLY__INIT;
        Varve__V1__PointInfo info;
        Varve__V1__PointInfo *infos[] = {&info};
        struct marks_out marks;
        Varve__V1__PointMarks *marks_list[] = {&marks.message};

        reply.body_case = VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST_REPLY;
        reply.point_deleted_list_reply = &body;
        if (at == count) {
            rc = op_reply(sink, &reply, NULL, 0, false, err);
            break;
        }
        rc = marks_out(&marks, c->catalog, points[at], err);
        if (rc == VARVE_OK) {
            rc = op_point_info(&info, points[at], err);
        }
        if (rc == VARVE_OK) {
            at++;
            body.points = infos;
            body.n_points = 1;
            body.marks = marks_list;
            body.n_marks = 1;
            rc = op_reply(sink, &reply, NULL, 0, at < count, err);
            op_point_info_release(&info);
        }
        marks_out_release(&marks);
    } while (rc == VARVE_OK && at < count);
    catalog_list_free(points, count);
    return rc;
}

/* ---- policies ---- */

struct policy_talk {
    const struct collector *c;
    const Varve__V1__PolicyChange *req;
    struct op_sink *sink;
};

/* A command that knows nothing of methods says none: the policy keeps the one it has. */
static const char *
method_of_put(const struct policy_talk *t, const struct policy_set *s)
{
    const struct policy *was = op_knows_methods(t->sink) ? NULL : policy_find(s, t->req->put->name);

    return was != NULL ? was->method : t->req->put->method;
}

static enum varve_err
change_policies(void *arg, struct policy_set *s, struct varve_error *err)
{
    struct policy_talk *t = arg;
    const Varve__V1__PolicyChange *req = t->req;
    struct policy p = {.last = 0};
    struct guid vm;
    enum varve_err rc = VARVE_OK;

    if (req->put != NULL) {
        if (strlen(req->put->name) > POLICY_NAME_MAX) {
            return varve_error_set(err, VARVE_ERR_INVALID, "a policy's name has at most %u bytes",
                                   POLICY_NAME_MAX);
        }
        (void)snprintf(p.name, sizeof(p.name), "%s", req->put->name);
        p.last = req->put->last;
        p.hourly = req->put->hourly;
        p.daily = req->put->daily;
        p.weekly = req->put->weekly;
        p.monthly = req->put->monthly;
        p.yearly = req->put->yearly;
        p.window_hours = req->put->window_hours;
        rc = policy_check_method(req->put->method, err); /* its length, above all */
        if (rc != VARVE_OK) {
            return rc;
        }
        (void)snprintf(p.method, sizeof(p.method), "%s", method_of_put(t, s));
        rc = policy_put(s, &p, err);
    }
    if (rc == VARVE_OK && req->remove[0] != '\0') {
        rc = policy_remove(s, req->remove, err);
    }
    if (rc == VARVE_OK && req->assign) {
        if (req->vm[0] != '\0') {
            rc = op_find_vm(t->c, req->vm, &vm, err);
        }
        if (rc == VARVE_OK) {
            rc = policy_assign(s, req->vm[0] != '\0' ? &vm : NULL, req->policy, err);
        }
    }
    return rc;
}

static enum varve_err
tell_policies(void *arg, const struct policy_set *s, struct varve_error *err)
{
    struct policy_talk *t = arg;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PolicyChangeReply body = VARVE__V1__POLICY_CHANGE_REPLY__INIT;
    Varve__V1__Policy *policies = calloc(s->count + 1, sizeof(*policies));
    Varve__V1__Policy **policy_list = calloc(s->count + 1, sizeof(Varve__V1__Policy *));
    Varve__V1__PolicyVm *vms = calloc(OP_LIST_PART, sizeof(*vms));
    Varve__V1__PolicyVm *vm_list[OP_LIST_PART];
    size_t at = 0;
    enum varve_err rc = VARVE_OK;

    if (policies == NULL || policy_list == NULL || vms == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct policy *p = &s->policies[i];

        varve__v1__policy__init(&policies[i]);
        policies[i].name = (char *)(uintptr_t)p->name; /* only read */
        policies[i].last = p->last;
        policies[i].hourly = p->hourly;
        policies[i].daily = p->daily;
        policies[i].weekly = p->weekly;
        policies[i].monthly = p->monthly;
        policies[i].yearly = p->yearly;
        policies[i].window_hours = p->window_hours;
        policies[i].method = (char *)(uintptr_t)p->method;
        policy_list[i] = &policies[i];
    }
    body.policies = policy_list;
    body.n_policies = s->count;
    body.fallback = (char *)(uintptr_t)s->fallback;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY;
    reply.policy_change_reply = &body;
    do {
        for (body.n_vms = 0; body.n_vms < OP_LIST_PART && at < s->vm_count; at++) {
            Varve__V1__PolicyVm *v = &vms[body.n_vms];

            varve__v1__policy_vm__init(v);
            v->vm_id.data = (uint8_t *)(uintptr_t)s->vms[at].vm.bytes;
            v->vm_id.len = sizeof(s->vms[at].vm.bytes);
            v->policy = (char *)(uintptr_t)s->vms[at].policy;
            vm_list[body.n_vms++] = v;
        }
        body.vms = vm_list;
        rc = op_reply(t->sink, &reply, NULL, 0, at < s->vm_count, err);
        body.n_policies = 0; /* once */
    } while (rc == VARVE_OK && at < s->vm_count);
out:
    free(policies);
    free(policy_list);
    free(vms);
    return rc;
}

static enum varve_err
policy_change(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
              struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__PolicyChange *req = head->policy_change;
    struct policy_talk talk = {.c = c, .req = req, .sink = sink};
    bool changes = req->put != NULL || req->remove[0] != '\0' || req->assign;

    (void)slot;
    return keeper_policies(c->keeper, changes ? change_policies : NULL, tell_policies, &talk, err);
}

/* ---- retention ---- */

struct retention_talk {
    struct op_sink *sink;
    struct verdict verdicts[VERDICTS_PART];
    size_t count;
};

static enum varve_err
send_verdicts(struct retention_talk *t, uint64_t deleted, bool more, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RetentionReply body = VARVE__V1__RETENTION_REPLY__INIT;
    Varve__V1__RetentionVerdict messages[VERDICTS_PART];
    Varve__V1__RetentionVerdict *list[VERDICTS_PART];
    enum varve_err rc;

    for (size_t i = 0; i < t->count; i++) {
        const struct verdict *v = &t->verdicts[i];
        Varve__V1__RetentionVerdict *m = &messages[i];

        varve__v1__retention_verdict__init(m);
        m->point_id.data = (uint8_t *)(uintptr_t)v->point->id.bytes;
        m->point_id.len = sizeof(v->point->id.bytes);
        m->vm_name = v->point->vm_name;
        m->point_seq = v->point->seq;
        m->published_at_us = v->point->published_at_us;
        m->keep = v->keep;
        m->reason = (char *)(uintptr_t)v->reason;
        list[i] = m;
    }
    body.verdicts = list;
    body.n_verdicts = t->count;
    body.deleted = deleted;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_RETENTION_REPLY;
    reply.retention_reply = &body;
    rc = op_reply(t->sink, &reply, NULL, 0, more, err);
    for (size_t i = 0; i < t->count; i++) {
        point_unref((struct point *)(uintptr_t)t->verdicts[i].point);
    }
    t->count = 0;
    return rc;
}

static enum varve_err
on_verdict(void *arg, const struct verdict *v, struct varve_error *err)
{
    struct retention_talk *t = arg;

    point_ref((struct point *)(uintptr_t)v->point);
    t->verdicts[t->count++] = *v;
    return t->count < VERDICTS_PART ? VARVE_OK : send_verdicts(t, 0, true, err);
}

static enum varve_err
retention_run(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
              struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__RetentionRun *req = head->retention_run;
    struct retention_talk *talk = NULL;
    struct guid vm;
    uint64_t deleted = 0;
    enum varve_err rc = VARVE_OK;

    (void)slot;
    if (req->vm[0] != '\0') {
        rc = op_find_vm(c, req->vm, &vm, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    talk = calloc(1, sizeof(*talk));
    if (talk == NULL) {
        return varve_error_nomem(err);
    }
    talk->sink = sink;
    rc = keeper_retention(c->keeper, req->vm[0] != '\0' ? &vm : NULL, req->dry_run, on_verdict,
                          talk, &deleted, err);
    if (rc == VARVE_OK) {
        rc = send_verdicts(talk, deleted, false, err);
    }
    for (size_t i = 0; i < talk->count; i++) {
        point_unref((struct point *)(uintptr_t)talk->verdicts[i].point);
    }
    free(talk);
    return rc;
}

/* ---- collecting ---- */

struct collect_talk {
    struct op_sink *sink;
    struct cancel cancel;
    uint64_t told_ns;
    struct varve_error error;
};

static enum varve_err
send_result(struct op_sink *sink, const struct gc_result *r, bool more, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCollectReply body = VARVE__V1__STORE_COLLECT_REPLY__INIT;
    Varve__V1__Error blocked = VARVE__V1__ERROR__INIT;

    body.points_removed = r->points_removed;
    body.points_counted = r->points_counted;
    body.packs_looked_at = r->packs_looked_at;
    body.packs_removed = r->packs_removed;
    body.packs_moved = r->packs_moved;
    body.packs_waiting = r->packs_waiting;
    body.packs_young = r->packs_young;
    body.nodes_unread = r->nodes_unread;
    body.bytes_freed = r->bytes_freed;
    body.bytes_copied = r->bytes_copied;
    body.bytes_read = r->cost.bytes_read;
    body.bytes_written = r->cost.bytes_written;
    body.index_operations = r->cost.operations;
    body.no_space = r->no_space;
    if (r->blocked.code != VARVE_OK) {
        op_wire_error(&blocked, &r->blocked);
        body.blocked = &blocked;
    }
    reply.body_case = VARVE__V1__ENVELOPE__BODY_STORE_COLLECT_REPLY;
    reply.store_collect_reply = &body;
    return op_reply(sink, &reply, NULL, 0, more, err);
}

static void
on_progress(void *arg, const struct gc_result *r)
{
    struct collect_talk *t = arg;
    uint64_t now = time_mono_ns();

    if (op_gone(t->sink)) {
        cancel_set(&t->cancel);
    } else if (now - t->told_ns > 500000000u) {
        t->told_ns = now;
        if (send_result(t->sink, r, true, &t->error) != VARVE_OK) {
            cancel_set(&t->cancel);
        }
    }
}

static enum varve_err
store_collect(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
              struct op_sink *sink, struct varve_error *err)
{
    struct collect_talk talk = {.sink = sink, .told_ns = time_mono_ns()};
    struct gc_options options = {.move_percent = head->store_collect->move_percent,
                                 .bytes_per_second = head->store_collect->bytes_per_second,
                                 .cancel = &talk.cancel,
                                 .progress = on_progress,
                                 .arg = &talk};
    struct gc_result result;
    enum varve_err rc;

    (void)slot;
    if (options.move_percent > 101) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%u per cent is more than all",
                               options.move_percent);
    }
    cancel_init(&talk.cancel);
    rc = keeper_collect(c->keeper, &options, &result, err);
    cancel_destroy(&talk.cancel);
    return rc == VARVE_OK ? send_result(sink, &result, false, err) : rc;
}

static bool
somebody_waits(void *arg)
{
    return !op_gone(arg);
}

static enum varve_err
check_counts(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
             struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCheckCountsReply body = VARVE__V1__STORE_CHECK_COUNTS_REPLY__INIT;
    const struct account_watch watch = {.go_on = somebody_waits, .arg = sink};
    struct account_check check;
    enum varve_err rc = gc_check(keeper_gc(c->keeper), &watch, &check, err);

    (void)slot;
    (void)head;
    if (rc != VARVE_OK) {
        return rc;
    }
    body.points = check.points;
    body.names = check.names;
    body.missing = check.missing;
    body.extra = check.extra;
    body.nodes_unread = check.unread;
    body.at_least = check.at_least;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS_REPLY;
    reply.store_check_counts_reply = &body;
    return op_reply(sink, &reply, NULL, 0, false, err);
}

static enum varve_err
store_clock(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
            struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreClockReply body = VARVE__V1__STORE_CLOCK_REPLY__INIT;
    Varve__V1__Error doubt = VARVE__V1__ERROR__INIT;
    struct varve_error why;
    enum varve_err rc = VARVE_OK;

    (void)slot;
    if (head->store_clock->confirm) {
        rc = store_time_confirm(keeper_time(c->keeper), err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (store_time_is_doubtful(keeper_time(c->keeper), &why)) {
        op_wire_error(&doubt, &why);
        body.doubt = &doubt;
    }
    body.time_us = store_time_now(keeper_time(c->keeper));
    body.clock_us = time_now_us();
    reply.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CLOCK_REPLY;
    reply.store_clock_reply = &body;
    return op_reply(sink, &reply, NULL, 0, false, err);
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_POINT_CHANGE, OP_THREAD, point_change},
    {VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST, OP_THREAD, deleted_list},
    {VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE, OP_THREAD, policy_change},
    {VARVE__V1__ENVELOPE__BODY_RETENTION_RUN, OP_THREAD, retention_run},
    {VARVE__V1__ENVELOPE__BODY_STORE_COLLECT, OP_THREAD, store_collect},
    {VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS, OP_THREAD, check_counts},
    {VARVE__V1__ENVELOPE__BODY_STORE_CLOCK, OP_INLINE, store_clock},
};

const struct op_module op_keep_module = {
    .name = "keep", .handlers = handlers, .handler_count = sizeof(handlers) / sizeof(handlers[0])};
