/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/uplink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/log.h"
#include "base/time.h"
#include "inventory/inventory.h"
#include "uplink/uplink_internal.h"
#include "wire/backoff.h"

#define CONTROL_TICK_MS 1000u
#define STOP_MS         3000u /* for the collector's end */
#define LIST_RETRY_MS   5000u /* while the host cannot be listed */

/* A request of the collector's, on its way to the second thread. */
struct command {
    struct command *next;
    struct session *session; /* a reference */
    struct envelope_in in;
};

struct uplink {
    struct uplink_options options;
    struct cancel stop;
    struct thread receiver;
    struct thread control;
    bool receiver_runs;
    bool control_runs;

    /* Never held while calling a session, the host or the events. */
    struct mutex lock;
    struct cond changed;
    struct session *session;  /* a reference; NULL: not connected */
    bool fresh;               /* the session has not been told the inventory yet */
    bool worked;              /* the session took it */
    bool look_again;          /* the collector asked for it */
    struct channel *greeting; /* waits for the answer to Hello */
    uint64_t greeting_ends_ns;
    struct command *first;
    struct command **last;
    size_t commands;

    /* The second thread's. */
    struct capture_inventory told;
    bool has_told;
    uint64_t looked_ns;
    uint64_t beat_ns;
    bool list_failed; /* said once */
};

/* ---- the first thread: dial and receive ---- */

static enum varve_err
queue_command(struct uplink *u, struct session *s, struct envelope_in *in, struct varve_error *err)
{
    struct command *c = calloc(1, sizeof(*c));
    enum varve_err rc = VARVE_OK;

    if (c == NULL) {
        envelope_release(in);
        return varve_error_nomem(err);
    }
    c->session = s;
    c->in = *in;
    session_ref(s);
    mutex_lock(&u->lock);
    if (u->commands == UPLINK_COMMANDS) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "the collector asks for more than %u things at once", UPLINK_COMMANDS);
    } else {
        *u->last = c;
        u->last = &c->next;
        u->commands++;
        cond_broadcast(&u->changed);
    }
    mutex_unlock(&u->lock);
    if (rc != VARVE_OK) {
        envelope_release(&c->in);
        session_unref(s);
        free(c);
    }
    return rc;
}

static enum varve_err
receive(struct uplink *u, struct session *s, struct varve_error *err)
{
    for (;;) {
        struct envelope_in in;
        enum varve_err rc = envelope_recv(s->ch, &in, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (in.head->reply) {
            rc = session_answer(s, &in, err);
        } else {
            rc = queue_command(u, s, &in, err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
    }
}

static void
set_greeting(struct uplink *u, struct channel *ch)
{
    mutex_lock(&u->lock);
    u->greeting = ch;
    u->greeting_ends_ns = time_mono_ns() + (uint64_t)UPLINK_HELLO_MS * 1000000u;
    mutex_unlock(&u->lock);
}

static enum varve_err
connect_session(struct uplink *u, struct session **out, struct varve_error *err)
{
    const struct uplink_options *o = &u->options;
    struct uplink_welcome welcome;
    struct channel *ch = NULL;
    enum varve_err rc;

    rc = channel_dial(&ch, o->address, o->identity, o->collector, NULL, UPLINK_DIAL_MS, &u->stop,
                      err);
    if (rc != VARVE_OK) {
        return rc;
    }
    set_greeting(u, ch);
    rc = hello(ch, o, false, &welcome, err);
    set_greeting(u, NULL);
    if (rc != VARVE_OK) {
        channel_close(ch);
        return rc;
    }
    return session_new(out, ch, &welcome, err);
}

static void
set_session(struct uplink *u, struct session *s)
{
    mutex_lock(&u->lock);
    u->session = s;
    u->fresh = s != NULL;
    u->worked = u->worked && s == NULL;
    cond_broadcast(&u->changed);
    mutex_unlock(&u->lock);
}

/* One connection, from the first byte to the last. */
static void
serve_once(struct uplink *u, struct backoff *backoff)
{
    struct session *s = NULL;
    struct varve_error err;

    if (connect_session(u, &s, &err) != VARVE_OK) {
        if (!cancel_is_set(&u->stop)) {
            log_warn("uplink", "%s: %s", u->options.address, err.msg);
        }
        return;
    }
    log_info("uplink", "connected to %s as '%s', %s", u->options.address, s->welcome.host_name,
             s->welcome.software);
    set_session(u, s);
    /* The stop may have been set before the session was there to be ended. */
    if (cancel_is_set(&u->stop)) {
        channel_end(s->ch);
    }
    if (receive(u, s, &err) != VARVE_OK && !cancel_is_set(&u->stop)) {
        log_warn("uplink", "connection to %s ended: %s", u->options.address, err.msg);
    }
    mutex_lock(&u->lock);
    if (u->worked) {
        backoff_reset(backoff);
    }
    mutex_unlock(&u->lock);
    set_session(u, NULL);
    session_lose(s, &err);
    session_unref(s);
}

static void
receiver_main(void *arg)
{
    struct uplink *u = arg;
    struct backoff backoff;
    uint8_t random[4];

    backoff_reset(&backoff);
    while (!cancel_is_set(&u->stop)) {
        serve_once(u, &backoff);
        if (cancel_is_set(&u->stop)) {
            break;
        }
        crypto_random(random, sizeof(random));
        if (cancel_wait(&u->stop, backoff_next_ms(&backoff, get_le32(random)))) {
            break;
        }
    }
}

/* ---- the second thread: commands, inventory, overdue answers ---- */

static void
run_start(struct uplink *u, struct command *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StartRunReply body = VARVE__V1__START_RUN_REPLY__INIT;
    struct uplink_base *base = NULL;
    struct uplink_skip *skip = NULL;
    struct uplink_start start;
    struct varve_error err;
    enum varve_err rc;

    rc = wire_take_start(&start, &base, &skip, c->in.head->start_run, &err);
    if (rc == VARVE_OK) {
        rc = u->options.events.start_run(u->options.events.arg, &start, &err);
    }
    free(base);
    free(skip);
    head.body_case = VARVE__V1__ENVELOPE__BODY_START_RUN_REPLY;
    head.start_run_reply = &body;
    session_reply(c->session, c->in.head->id, &head, rc == VARVE_OK ? NULL : &err);
}

static void
run_cancel(struct uplink *u, struct command *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CancelRunReply body = VARVE__V1__CANCEL_RUN_REPLY__INIT;
    struct varve_error err;
    struct guid run;
    enum varve_err rc;

    rc = wire_take_guid(&run, &c->in.head->cancel_run->run_id, "run_id", &err);
    if (rc == VARVE_OK) {
        u->options.events.cancel_run(u->options.events.arg, &run);
    }
    head.body_case = VARVE__V1__ENVELOPE__BODY_CANCEL_RUN_REPLY;
    head.cancel_run_reply = &body;
    session_reply(c->session, c->in.head->id, &head, rc == VARVE_OK ? NULL : &err);
}

/* The answer comes first, the Inventory behind it: looking may take a while. */
static void
run_look_again(struct uplink *u, struct command *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__LookAgainReply body = VARVE__V1__LOOK_AGAIN_REPLY__INIT;

    mutex_lock(&u->lock);
    u->look_again = true;
    mutex_unlock(&u->lock);
    head.body_case = VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN_REPLY;
    head.look_again_reply = &body;
    session_reply(c->session, c->in.head->id, &head, NULL);
}

static void
run_clean(struct uplink *u, struct command *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__CleanVmReply body = VARVE__V1__CLEAN_VM_REPLY__INIT;
    struct uplink_clean clean;
    struct varve_error err;
    enum varve_err rc = wire_take_clean(&clean, c->in.head->clean_vm, &err);

    if (rc == VARVE_OK && u->options.events.clean_vm == NULL) {
        rc = varve_error_set(&err, VARVE_ERR_UNSUPPORTED, "this host has nothing to clean up");
    }
    if (rc == VARVE_OK) {
        rc = u->options.events.clean_vm(u->options.events.arg, &clean, &err);
    }
    head.body_case = VARVE__V1__ENVELOPE__BODY_CLEAN_VM_REPLY;
    head.clean_vm_reply = &body;
    session_reply(c->session, c->in.head->id, &head, rc == VARVE_OK ? NULL : &err);
}

static void
run_command(struct uplink *u, struct command *c)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    struct varve_error err;

    switch (c->in.head->body_case) {
    case VARVE__V1__ENVELOPE__BODY_START_RUN:
        run_start(u, c);
        break;
    case VARVE__V1__ENVELOPE__BODY_CANCEL_RUN:
        run_cancel(u, c);
        break;
    case VARVE__V1__ENVELOPE__BODY_LOOK_AGAIN:
        run_look_again(u, c);
        break;
    case VARVE__V1__ENVELOPE__BODY_CLEAN_VM:
        run_clean(u, c);
        break;
    default:
        if (c->in.head->id != 0) {
            (void)varve_error_set(&err, VARVE_ERR_UNSUPPORTED,
                                  "this agent does not know request %d",
                                  (int)c->in.head->body_case);
            session_reply(c->session, c->in.head->id, &head, &err);
        }
        break;
    }
}

static void
command_free(struct command *c)
{
    envelope_release(&c->in);
    session_unref(c->session);
    free(c);
}

/* Looks at the host and tells the collector what is new to it. */
static void
tell_inventory(struct uplink *u, struct session *s, bool fresh)
{
    struct capture_inventory inv;
    struct varve_error err;

    u->looked_ns = time_mono_ns();
    if (inventory_take(u->options.capture, &inv, &err) != VARVE_OK) {
        if (!u->list_failed) {
            log_warn("uplink", "%s", err.msg);
        }
        u->list_failed = true;
        u->looked_ns -= (uint64_t)(UPLINK_INVENTORY_MS - LIST_RETRY_MS) * 1000000u;
        return;
    }
    if (u->list_failed) {
        log_info("uplink", "the host can be listed again");
        u->list_failed = false;
        fresh = true;
    }
    if (!fresh && u->has_told && inventory_same(&inv, &u->told)) {
        capture_inventory_release(&inv);
        return;
    }
    if (wire_send_inventory(s, u->options.capture, &inv, &err) != VARVE_OK) {
        log_warn("uplink", "the inventory was not taken: %s", err.msg);
        capture_inventory_release(&inv);
        return;
    }
    mutex_lock(&u->lock);
    u->worked = u->worked || u->session == s;
    mutex_unlock(&u->lock);
    capture_inventory_release(&u->told);
    u->told = inv;
    u->has_told = true;
}

static struct command *
next_command(struct uplink *u, struct session **s, bool *fresh)
{
    struct command *c;

    mutex_lock(&u->lock);
    if (u->first == NULL && !u->fresh && !u->look_again && !cancel_is_set(&u->stop)) {
        (void)cond_timedwait(&u->changed, &u->lock, CONTROL_TICK_MS);
    }
    c = u->first;
    if (c != NULL) {
        u->first = c->next;
        if (u->first == NULL) {
            u->last = &u->first;
        }
        u->commands--;
    }
    *s = u->session;
    if (*s != NULL) {
        session_ref(*s);
    }
    /* What is asked while other commands wait is said once, behind the last of them. */
    *fresh = u->fresh || (u->look_again && c == NULL);
    u->look_again = u->look_again && !*fresh;
    u->fresh = false;
    if (u->greeting != NULL && time_mono_ns() > u->greeting_ends_ns) {
        channel_abort(
            u->greeting); /* the first thread cannot close it meanwhile: it needs the lock */
    }
    mutex_unlock(&u->lock);
    return c;
}

static void
control_main(void *arg)
{
    struct uplink *u = arg;

    while (!cancel_is_set(&u->stop)) {
        struct session *s = NULL;
        bool fresh = false;
        struct command *c = next_command(u, &s, &fresh);

        if (c != NULL) {
            run_command(u, c);
            command_free(c);
        }
        if (s != NULL) {
            session_check_overdue(s);
            if (time_mono_ns() - u->beat_ns > (uint64_t)UPLINK_BEAT_MS * 1000000u) {
                u->beat_ns = time_mono_ns();
                u->options.events.beat(u->options.events.arg, &s->peer);
            }
            if (fresh || (c == NULL && time_mono_ns() - u->looked_ns >
                                           (uint64_t)UPLINK_INVENTORY_MS * 1000000u)) {
                tell_inventory(u, s, fresh);
            }
            session_unref(s);
        }
    }
}

/* ---- for the rest of the agent ---- */

enum varve_err
uplink_start(struct uplink **out, const struct uplink_options *options, struct varve_error *err)
{
    struct uplink *u = calloc(1, sizeof(*u));
    enum varve_err rc;

    if (u == NULL) {
        return varve_error_nomem(err);
    }
    u->options = *options;
    u->last = &u->first;
    cancel_init(&u->stop);
    mutex_init(&u->lock);
    cond_init(&u->changed);
    rc = thread_start(&u->control, "uplink-control", control_main, u, err);
    u->control_runs = rc == VARVE_OK;
    if (rc == VARVE_OK) {
        rc = thread_start(&u->receiver, "uplink", receiver_main, u, err);
        u->receiver_runs = rc == VARVE_OK;
    }
    if (rc != VARVE_OK) {
        uplink_stop(u);
        return rc;
    }
    *out = u;
    return VARVE_OK;
}

static struct session *
current_session(struct uplink *u)
{
    struct session *s;

    mutex_lock(&u->lock);
    s = u->session;
    if (s != NULL) {
        session_ref(s);
    }
    mutex_unlock(&u->lock);
    return s;
}

void
uplink_abandon(struct uplink *u)
{
    struct session *s = current_session(u);
    struct varve_error err;

    if (s != NULL) {
        (void)varve_error_set(&err, VARVE_ERR_CANCELLED, "the agent ends");
        session_lose(s, &err);
        session_unref(s);
    }
}

/* Our end, then the collector's, which the first thread sees; for a moment. */
static void
end_session(struct uplink *u)
{
    struct session *s = current_session(u);
    uint64_t deadline = time_mono_ns() + (uint64_t)STOP_MS * 1000000u;

    if (s == NULL) {
        return;
    }
    channel_end(s->ch);
    mutex_lock(&u->lock);
    while (u->session == s && time_mono_ns() < deadline) {
        (void)cond_timedwait(&u->changed, &u->lock, 100);
    }
    mutex_unlock(&u->lock);
    session_unref(s);
    uplink_abandon(u);
}

void
uplink_stop(struct uplink *u)
{
    if (u == NULL) {
        return;
    }
    cancel_set(&u->stop);
    mutex_lock(&u->lock);
    cond_broadcast(&u->changed);
    mutex_unlock(&u->lock);
    end_session(u);
    if (u->control_runs) {
        thread_join(&u->control);
    }
    if (u->receiver_runs) {
        thread_join(&u->receiver);
    }
    while (u->first != NULL) {
        struct command *c = u->first;

        u->first = c->next;
        command_free(c);
    }
    capture_inventory_release(&u->told);
    cond_destroy(&u->changed);
    mutex_destroy(&u->lock);
    cancel_destroy(&u->stop);
    free(u);
}

enum varve_err
uplink_get_peer(struct uplink *u, const struct peer *lost, uint32_t timeout_ms,
                struct cancel *cancel, struct peer **out, struct varve_error *err)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;

    for (;;) {
        struct session *s;

        mutex_lock(&u->lock);
        s = u->session;
        if (s != NULL && &s->peer != lost) {
            session_ref(s);
            mutex_unlock(&u->lock);
            if (!session_is_lost(s)) {
                *out = &s->peer;
                return VARVE_OK;
            }
            session_unref(s);
            mutex_lock(&u->lock);
        }
        (void)cond_timedwait(&u->changed, &u->lock, 200);
        mutex_unlock(&u->lock);
        if (cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled");
        }
        if (time_mono_ns() > deadline) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT,
                                   "the collector could not be reached for %" PRIu32 " s",
                                   timeout_ms / 1000);
        }
    }
}

void
uplink_put_peer(struct peer *p)
{
    session_unref((struct session *)p);
}
