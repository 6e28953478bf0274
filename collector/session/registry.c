/* SPDX-License-Identifier: Apache-2.0 */
#include "session/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/session_internal.h"

#define SESSIONS_DEFAULT  4096u
#define WORKERS_MIN       8u
#define WORK_QUEUE_BYTES  (256u * 1024 * 1024)
#define TASKS_PER_SESSION 2u /* its thread and, on average, one more */

enum varve_err
registry_new(struct registry **out, const struct collector *c, const struct identity *own,
             const uint8_t operator_key[IDENTITY_KEY_SIZE], struct varve_error *err)
{
    struct registry *r = calloc(1, sizeof(*r));
    unsigned workers = c->options->workers;
    enum varve_err rc;

    if (r == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&r->lock);
    cond_init(&r->left);
    r->c = c;
    r->own = own;
    memcpy(r->operator_key, operator_key, IDENTITY_KEY_SIZE);
    r->credit_bytes =
        c->options->credit_bytes != 0 ? c->options->credit_bytes : REGISTRY_CREDIT_DEFAULT;
    if (workers == 0) { /* more than processors: many of them wait for the disk */
        workers = 2 * thread_cpu_count();
        workers = workers < WORKERS_MIN ? WORKERS_MIN : workers;
    }
    r->sessions_max = c->options->sessions != 0 ? c->options->sessions : SESSIONS_DEFAULT;
    rc = workers_new(&r->workers, workers, WORK_QUEUE_BYTES, err);
    if (rc == VARVE_OK) {
        rc = tasks_new(&r->tasks, r->sessions_max * TASKS_PER_SESSION, err);
    }
    if (rc != VARVE_OK) {
        registry_free(r);
        return rc;
    }
    *out = r;
    return VARVE_OK;
}

const uint8_t *
registry_public_key(const struct registry *r)
{
    return identity_public(r->own);
}

/* ---- listeners ---- */

static void
start_session(struct registry *r, struct channel_pending *pending)
{
    struct session *s = calloc(1, sizeof(*s));
    struct varve_error err;

    if (s == NULL) {
        channel_pending_drop(pending);
        return;
    }
    mutex_init(&s->lock);
    cond_init(&s->changed);
    s->r = r;
    s->c = r->c;
    s->pending = pending;
    s->since_ns = time_mono_ns();
    if (tasks_start(r->tasks, "session", session_main, s, &err) != VARVE_OK) {
        log_warn("session", "a connection was turned away: %s", err.msg);
        channel_pending_drop(pending);
        cond_destroy(&s->changed);
        mutex_destroy(&s->lock);
        free(s);
    }
}

static void
accept_loop(void *arg)
{
    struct listener *l = arg;

    for (;;) {
        struct channel_pending *pending = NULL;
        struct varve_error err;
        enum varve_err rc = channel_listener_accept(l->channels, &pending, &err);

        if (rc == VARVE_OK) {
            start_session(l->registry, pending);
        } else if (rc == VARVE_ERR_CANCELLED) {
            return;
        } else {
            log_error("session", "accepting on %s: %s", l->url, err.msg);
            thread_sleep_ms(200); /* out of descriptors: some may come free */
        }
    }
}

enum varve_err
registry_listen(struct registry *r, const char *url, struct varve_error *err)
{
    struct listener *l = calloc(1, sizeof(*l));
    struct listener **end;
    enum varve_err rc;

    if (l == NULL) {
        return varve_error_nomem(err);
    }
    l->registry = r;
    rc = channel_listener_open(&l->channels, url, r->own, err);
    if (rc == VARVE_OK) {
        l->url = strdup(channel_listener_url(l->channels));
        rc = l->url == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = thread_start(&l->thread, "accept", accept_loop, l, err);
    }
    if (rc != VARVE_OK) {
        channel_listener_close(l->channels);
        free(l->url);
        free(l);
        return rc;
    }
    mutex_lock(&r->lock);
    for (end = &r->listeners; *end != NULL; end = &(*end)->next) {
    }
    *end = l;
    mutex_unlock(&r->lock);
    log_info("session", "listening on %s", l->url);
    return VARVE_OK;
}

const char *
registry_url(struct registry *r, size_t index)
{
    const char *url = NULL;

    mutex_lock(&r->lock);
    for (struct listener *l = r->listeners; l != NULL; l = l->next) {
        if (index-- == 0) {
            url = l->url;
            break;
        }
    }
    mutex_unlock(&r->lock);
    return url;
}

static void
stop_listeners(struct registry *r)
{
    struct listener *l;

    mutex_lock(&r->lock);
    r->stopping = true;
    l = r->listeners;
    r->listeners = NULL;
    mutex_unlock(&r->lock);
    while (l != NULL) {
        struct listener *next = l->next;

        channel_listener_stop(l->channels);
        thread_join(&l->thread);
        channel_listener_close(l->channels);
        free(l->url);
        free(l);
        l = next;
    }
}

/* ---- sessions ---- */

enum varve_err
registry_enter(struct registry *r, struct session *s, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&r->lock);
    if (r->stopping) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "the collector is stopping");
    } else if (r->session_count >= r->sessions_max) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "more than %zu sessions", r->sessions_max);
    } else {
        s->next = r->sessions;
        r->sessions = s;
        r->session_count++;
    }
    mutex_unlock(&r->lock);
    return rc;
}

void
registry_greeted(struct registry *r, struct session *s)
{
    mutex_lock(&r->lock);
    s->greeted = true;
    mutex_unlock(&r->lock);
}

bool
registry_told_to_go(struct registry *r, struct session *s)
{
    bool told;

    mutex_lock(&r->lock);
    told = s->replaced || r->stopping;
    mutex_unlock(&r->lock);
    return told;
}

void
registry_leave(struct registry *r, struct session *s)
{
    struct session **at;
    bool host;

    mutex_lock(&r->lock);
    host = s->registered;
    mutex_unlock(&r->lock);
    if (host) {
        /* Before the place is free: the next session of the host says "back" after this. */
        ingest_host_lost(r->c->ingest, &s->host.id);
    }
    mutex_lock(&r->lock);
    for (at = &r->sessions; *at != s; at = &(*at)->next) {
    }
    *at = s->next;
    r->session_count--;
    cond_broadcast(&r->left);
    mutex_unlock(&r->lock);
}

static struct session *
find_host_locked(struct registry *r, const struct guid *host)
{
    for (struct session *s = r->sessions; s != NULL; s = s->next) {
        if (s->registered && guid_equal(&s->host.id, host)) {
            return s;
        }
    }
    return NULL;
}

/* Tells the host's session to go, and waits; false when `instead` was told to go meanwhile. */
static bool
clear_host_locked(struct registry *r, const struct guid *host, const struct session *instead)
{
    struct session *old;

    while ((old = find_host_locked(r, host)) != NULL) {
        if (instead != NULL && (instead->replaced || r->stopping)) {
            return false;
        }
        if (!old->replaced) {
            old->replaced = true;
            channel_abort(old->ch); /* it is in the list, so its channel lives; does not block */
        }
        cond_wait(&r->left, &r->lock);
    }
    return instead == NULL || !(instead->replaced || r->stopping);
}

enum varve_err
registry_take_host(struct registry *r, struct session *s, struct varve_error *err)
{
    struct host now;
    uint8_t key[IDENTITY_KEY_SIZE];
    bool taken;
    enum varve_err rc;

    mutex_lock(&r->lock);
    taken = clear_host_locked(r, &s->host.id, s);
    if (taken) {
        s->registered = true;
    }
    mutex_unlock(&r->lock);
    if (!taken) {
        return varve_error_set(err, VARVE_ERR_CANCELLED, "the session is not wanted any more");
    }
    /* Revoked since the handshake?  Whoever revokes writes it down first and then looks here, so
     * one of the two sees the other. */
    memset(&now, 0, sizeof(now));
    channel_peer_key(s->ch, key);
    rc = state_host_by_key(r->c->state, key, &now, err);
    host_release(&now);
    return rc;
}

void
registry_drop_host(struct registry *r, const struct guid *host)
{
    mutex_lock(&r->lock);
    (void)clear_host_locked(r, host, NULL);
    mutex_unlock(&r->lock);
}

bool
registry_host_connected(void *registry, const struct guid *host)
{
    struct registry *r = registry;
    const struct session *s;
    bool connected;

    mutex_lock(&r->lock);
    s = find_host_locked(r, host);
    connected = s != NULL && s->greeted && !s->replaced;
    mutex_unlock(&r->lock);
    return connected;
}

size_t
registry_hosts_connected(struct registry *r)
{
    size_t n = 0;

    mutex_lock(&r->lock);
    for (const struct session *s = r->sessions; s != NULL; s = s->next) {
        n += s->registered && s->greeted && !s->replaced ? 1 : 0;
    }
    mutex_unlock(&r->lock);
    return n;
}

/* ---- what the scheduler asks ---- */

/* The host's session, kept from leaving until session_unuse(). */
static struct session *
use_host(struct registry *r, const struct guid *host)
{
    struct session *s;

    mutex_lock(&r->lock);
    s = find_host_locked(r, host);
    if (s != NULL && (s->replaced || !s->greeted)) {
        s = NULL;
    }
    if (s != NULL) {
        session_use(s);
    }
    mutex_unlock(&r->lock);
    return s;
}

static enum varve_err
port_start(void *arg, const struct ingest_start *start, struct ingest_run *run,
           struct varve_error *err)
{
    struct registry *r = arg;
    struct run_info info;
    struct session *s;
    enum varve_err rc;

    ingest_run_info(run, &info);
    s = use_host(r, &info.host);
    if (s == NULL) {
        return varve_error_set(err, VARVE_ERR_IO, "host '%s' is not connected", info.host_name);
    }
    rc = session_start_run(s, start, run, err);
    session_unuse(s);
    return rc;
}

static void
port_cancel(void *arg, const struct guid *host, const struct guid *run)
{
    struct session *s = use_host(arg, host);

    if (s != NULL) {
        session_cancel_run(s, run);
        session_unuse(s);
    }
}

/* Not on a session's own lock: whoever is asked answers in its own time. */
static void
port_ask(void *arg, const struct guid *tenant)
{
    struct registry *r = arg;
    struct session **asked = NULL;
    size_t n = 0;

    mutex_lock(&r->lock);
    asked = calloc(r->session_count + 1, sizeof(struct session *));
    for (struct session *s = r->sessions; s != NULL && asked != NULL; s = s->next) {
        if (s->registered && s->greeted && !s->replaced && guid_equal(&s->host.tenant, tenant)) {
            session_use(s);
            asked[n++] = s;
        }
    }
    mutex_unlock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        session_look_again(asked[i]);
        session_unuse(asked[i]);
    }
    free(asked);
}

static void
port_clean(void *arg, const struct guid *host, const struct sched_clean *clean)
{
    struct session *s = use_host(arg, host);

    if (s != NULL) {
        session_clean_vm(s, clean);
        session_unuse(s);
    }
}

/* Ends sessions that never say Hello. */
static void
port_tick(void *arg)
{
    struct registry *r = arg;
    uint64_t now = time_mono_ns();

    mutex_lock(&r->lock);
    for (struct session *s = r->sessions; s != NULL; s = s->next) {
        if (!s->greeted && now - s->since_ns > (uint64_t)SESSION_HELLO_MS * 1000000u) {
            s->replaced = true;
            channel_abort(s->ch);
        }
    }
    mutex_unlock(&r->lock);
}

struct sched_port
registry_sched_port(struct registry *r)
{
    const struct sched_port port = {.arg = r,
                                    .connected = registry_host_connected,
                                    .start = port_start,
                                    .cancel = port_cancel,
                                    .tick = port_tick,
                                    .ask = port_ask,
                                    .clean = port_clean};

    return port;
}

/* ---- the end ---- */

static void
end_session_task(void *arg)
{
    struct session *s = arg;

    channel_end(s->ch);
    session_unuse(s);
}

void
registry_stop(struct registry *r)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)SESSION_END_MS * 1000000u;
    struct varve_error err;

    stop_listeners(r);
    mutex_lock(&r->lock);
    for (struct session *s = r->sessions; s != NULL; s = s->next) {
        session_use(s);
        if (tasks_start(r->tasks, "end", end_session_task, s, &err) != VARVE_OK) {
            session_unuse(s);
        }
    }
    while (r->sessions != NULL) {
        uint64_t now = time_mono_ns();

        if (now >= deadline) {
            break;
        }
        (void)cond_timedwait(&r->left, &r->lock, (uint32_t)((deadline - now) / 1000000u) + 1);
    }
    for (struct session *s = r->sessions; s != NULL; s = s->next) {
        channel_abort(s->ch);
    }
    while (r->sessions != NULL) {
        cond_wait(&r->left, &r->lock);
    }
    mutex_unlock(&r->lock);
}

void
registry_free(struct registry *r)
{
    if (r == NULL) {
        return;
    }
    registry_stop(r);
    tasks_free(r->tasks);
    workers_free(r->workers);
    cond_destroy(&r->left);
    mutex_destroy(&r->lock);
    free(r);
}
