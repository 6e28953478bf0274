/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* Requests of the operator's command: found in the modules' tables, run where the table says. */

struct op_sink {
    struct session *s;
    uint64_t id;
};

enum varve_err
op_reply(struct op_sink *sink, Varve__V1__Envelope *head, const struct aead_part *bulk,
         size_t bulk_parts, bool more, struct varve_error *err)
{
    return session_reply(sink->s, sink->id, head, bulk, bulk_parts, more, err);
}

bool
op_knows_methods(const struct op_sink *sink)
{
    return sink->s->minor >= SESSION_MINOR_METHODS;
}

bool
op_gone(struct op_sink *sink)
{
    return session_is_gone(sink->s);
}

enum varve_err
session_operator_begin(struct session *s, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < op_module_count && i < OP_MODULES_MAX && rc == VARVE_OK; i++) {
        if (op_modules[i]->session_begin != NULL) {
            rc = op_modules[i]->session_begin(s->c, &s->slots[i], err);
        }
        s->slot_count += rc == VARVE_OK ? 1 : 0;
    }
    return rc;
}

void
session_operator_end(struct session *s)
{
    for (size_t i = 0; i < s->slot_count; i++) {
        if (op_modules[i]->session_end != NULL) {
            op_modules[i]->session_end(s->c, s->slots[i]);
        }
    }
    s->slot_count = 0;
}

static const struct op_handler *
find_handler(Varve__V1__Envelope__BodyCase request, size_t *module)
{
    for (size_t m = 0; m < op_module_count && m < OP_MODULES_MAX; m++) {
        for (size_t h = 0; h < op_modules[m]->handler_count; h++) {
            if (op_modules[m]->handlers[h].request == request) {
                *module = m;
                return &op_modules[m]->handlers[h];
            }
        }
    }
    return NULL;
}

struct op_work {
    struct work work; /* first */
    const struct op_handler *handler;
    void *slot;
    struct op_sink sink;
    struct envelope_in in;
};

static void
answer(struct op_work *w)
{
    struct varve_error err;

    if (w->handler->handle(w->sink.s->c, w->slot, w->in.head, &w->sink, &err) != VARVE_OK) {
        session_reply_error(w->sink.s, w->sink.id, &err);
    }
    envelope_release(&w->in);
}

static void
run_on_pool(struct work *work)
{
    struct op_work *w = (struct op_work *)work;
    struct session *s = w->sink.s;

    answer(w);
    free(w);
    mutex_lock(&s->lock);
    s->op_pool--;
    mutex_unlock(&s->lock);
    session_unuse(s);
}

static void
run_on_thread(void *arg)
{
    struct op_work *w = arg;
    struct session *s = w->sink.s;

    answer(w);
    free(w);
    mutex_lock(&s->lock);
    s->op_threads--;
    mutex_unlock(&s->lock);
    session_unuse(s);
}

/* More than may be at a time only makes the session wait: the operator is trusted. */
static void
send_to_pool(struct session *s, struct op_work *w)
{
    mutex_lock(&s->lock);
    while (s->op_pool >= SESSION_OP_POOL_MAX) {
        cond_wait(&s->changed, &s->lock);
    }
    s->op_pool++;
    s->users++;
    mutex_unlock(&s->lock);
    w->work.run = run_on_pool;
    /* What it holds is its answer: a range of a restore. */
    workers_submit(s->r->workers, &s->lane, &w->work, WORK_TURN);
}

static enum varve_err
send_to_thread(struct session *s, struct op_work *w, struct varve_error *err)
{
    bool room;
    enum varve_err rc;

    mutex_lock(&s->lock);
    room = s->op_threads < SESSION_OP_THREADS_MAX;
    if (room) {
        s->op_threads++;
        s->users++;
    }
    mutex_unlock(&s->lock);
    if (!room) {
        (void)varve_error_set(err, VARVE_ERR_BUSY,
                              "more than %u long requests at a time in one session",
                              SESSION_OP_THREADS_MAX);
        return VARVE_ERR_BUSY;
    }
    rc = tasks_start(s->r->tasks, "operator", run_on_thread, w, err);
    if (rc != VARVE_OK) {
        mutex_lock(&s->lock);
        s->op_threads--;
        mutex_unlock(&s->lock);
        session_unuse(s);
    }
    return rc;
}

static enum varve_err
dispatch(struct session *s, struct op_work *w, struct varve_error *err)
{
    switch (w->handler->where) {
    case OP_POOL:
        send_to_pool(s, w);
        return VARVE_OK;
    case OP_THREAD:
        return send_to_thread(s, w, err);
    case OP_INLINE:
        break;
    }
    answer(w);
    free(w);
    return VARVE_OK;
}

enum varve_err
session_operator_message(struct session *s, struct envelope_in *in, struct varve_error *err)
{
    const struct op_handler *handler;
    struct op_work *w = NULL;
    uint64_t id = in->head->id;
    size_t module = 0;
    enum varve_err rc;

    if (in->head->reply || id == 0) {
        envelope_release(in);
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "an operator's message that is no request");
    }
    handler = find_handler(in->head->body_case, &module);
    if (handler == NULL) {
        (void)varve_error_set(err, VARVE_ERR_DENIED, "an operator may not ask that");
        envelope_release(in);
        return session_refuse(s, id, err, err);
    }
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        (void)varve_error_nomem(err);
        envelope_release(in);
        return session_refuse(s, id, err, err);
    }
    w->handler = handler;
    w->slot = s->slots[module];
    w->sink.s = s;
    w->sink.id = id;
    w->in = *in;
    rc = dispatch(s, w, err);
    if (rc != VARVE_OK) {
        envelope_release(&w->in);
        free(w);
        return session_refuse(s, id, err, err);
    }
    return VARVE_OK;
}
