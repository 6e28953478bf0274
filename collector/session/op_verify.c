/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "jobs/verify_job.h"
#include "session/op_modules.h"

/* Verify: the selected points read back, progress and problems as they come. */

#define PROBLEMS_PER_REPLY 64u
#define POINTS_MAX         65536u

struct verify_talk {
    struct op_sink *sink;
    struct verify_progress progress;
    struct varve_error error; /* of a reply that could not be sent */
    bool failed;
    struct verify_problem problems[PROBLEMS_PER_REPLY]; /* not sent yet */
    size_t problem_count;
};

static bool
send_reply(struct verify_talk *t, bool more)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__VerifyReply reply = VARVE__V1__VERIFY_REPLY__INIT;
    Varve__V1__VerifyProblem problems[PROBLEMS_PER_REPLY];
    Varve__V1__VerifyProblem *list[PROBLEMS_PER_REPLY];
    Varve__V1__Error errors[PROBLEMS_PER_REPLY];

    for (size_t i = 0; i < t->problem_count; i++) {
        const struct verify_problem *p = &t->problems[i];

        varve__v1__verify_problem__init(&problems[i]);
        varve__v1__error__init(&errors[i]);
        op_wire_error(&errors[i], &p->error);
        problems[i].point_id.data = (uint8_t *)(uintptr_t)p->point->id.bytes;
        problems[i].point_id.len = sizeof(p->point->id.bytes);
        problems[i].vm_name = p->point->vm_name;
        problems[i].point_seq = p->point->seq;
        problems[i].disk = (char *)(uintptr_t)p->disk; /* only read by the packer */
        problems[i].offset = p->offset;
        problems[i].length = p->length;
        problems[i].error = &errors[i];
        list[i] = &problems[i];
    }
    reply.points_done = t->progress.points_done;
    reply.points_total = t->progress.points_total;
    reply.bytes_done = t->progress.bytes_done;
    reply.problems = list;
    reply.n_problems = t->problem_count;
    t->problem_count = 0;
    head.body_case = VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY;
    head.verify_reply = &reply;
    t->failed = op_reply(t->sink, &head, NULL, 0, more, &t->error) != VARVE_OK;
    return !t->failed;
}

static bool
on_progress(void *arg, const struct verify_progress *p)
{
    struct verify_talk *t = arg;

    t->progress = *p;
    return !op_gone(t->sink) && send_reply(t, true);
}

static bool
on_problem(void *arg, const struct verify_problem *p)
{
    struct verify_talk *t = arg;

    t->problems[t->problem_count++] = *p;
    return t->problem_count < PROBLEMS_PER_REPLY || (!op_gone(t->sink) && send_reply(t, true));
}

/* Each selected point once, in the order asked for; none asked for: all. */
static enum varve_err
select_points(const struct collector *c, const Varve__V1__Verify *req, struct point ***out,
              size_t *count, struct varve_error *err)
{
    struct point **points = NULL;
    size_t n = 0;
    enum varve_err rc = VARVE_OK;

    if (req->n_points == 0) {
        return catalog_list(c->catalog, NULL, out, count, err);
    }
    if (req->n_points > POINTS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%zu points are asked for, %u are the most",
                               req->n_points, POINTS_MAX);
    }
    points = calloc(req->n_points, sizeof(struct point *));
    if (points == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < req->n_points; i++) {
        struct point *p = NULL;
        bool again = false;

        rc = catalog_select(c->catalog, req->points[i], &p, err);
        for (size_t k = 0; rc == VARVE_OK && k < n; k++) {
            again = again || guid_equal(&points[k]->id, &p->id);
        }
        if (again) {
            point_unref(p);
        } else if (rc == VARVE_OK) {
            points[n++] = p;
        }
    }
    if (rc != VARVE_OK) {
        catalog_list_free(points, n);
        return rc;
    }
    *out = points;
    *count = n;
    return VARVE_OK;
}

/* Points whose objects could not even be listed; nobody can select them. */
static enum varve_err
tell_unreadable(const struct collector *c, struct verify_talk *t, struct varve_error *err)
{
    struct catalog_damage *damage = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_damaged(c->catalog, &damage, &count, err);

    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__VerifyReply reply = VARVE__V1__VERIFY_REPLY__INIT;
        Varve__V1__VerifyProblem problem = VARVE__V1__VERIFY_PROBLEM__INIT;
        Varve__V1__VerifyProblem *list[] = {&problem};
        Varve__V1__Error error = VARVE__V1__ERROR__INIT;

        error.code = VARVE_ERR_CORRUPT;
        error.message = damage[i].reason;
        problem.disk = damage[i].name;
        problem.error = &error;
        reply.points_total = t->progress.points_total;
        reply.problems = list;
        reply.n_problems = 1;
        head.body_case = VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY;
        head.verify_reply = &reply;
        rc = op_reply(t->sink, &head, NULL, 0, true, err);
    }
    free(damage);
    return rc;
}

static enum varve_err
handle_verify(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
              struct op_sink *sink, struct varve_error *err)
{
    struct verify_talk *talk = NULL;
    struct verify_sink job_sink = {.progress = on_progress, .problem = on_problem};
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc;

    (void)slot;
    rc = select_points(c, head->verify, &points, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    talk = calloc(1, sizeof(*talk));
    if (talk == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    talk->sink = sink;
    talk->progress.points_total = count;
    job_sink.arg = talk;
    rc = head->verify->n_points == 0 ? tell_unreadable(c, talk, err) : VARVE_OK;
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = verify_job_run(c->chunks, c->catalog, points, count, 0, &job_sink, err);
    if (rc == VARVE_OK || rc == VARVE_ERR_LIMIT) {
        /* What was found so far comes before the error that ended the job. */
        bool more = rc != VARVE_OK;

        if (!send_reply(talk, more)) {
            rc = talk->error.code;
        }
    }
    if (talk->failed) {
        *err = talk->error;
        rc = err->code;
    }
out:
    catalog_list_free(points, count);
    free(talk);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_VERIFY, OP_THREAD, handle_verify},
};

const struct op_module op_verify_module = {
    .name = "verify",
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
};
