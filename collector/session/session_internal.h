/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_SESSION_INTERNAL_H
#define VARVE_SESSION_SESSION_INTERNAL_H

#include "os/thread.h"
#include "session/registry.h"
#include "session/workers.h"
#include "state/state.h"
#include "wire/channel.h"
#include "wire/envelope.h"

/*
 * Inside session/.  Locks, in the order they are taken: registry.lock, session.lock.  Neither is held
 * while anything else is called, except channel_abort() and tasks_start(), which do not wait for
 * anybody who needs them.
 *
 * Invariants of a session:
 *   1. Nothing of a peer is looked at before its key was accepted, nothing but Hello before Hello.
 *   2. `users` counts everything that goes on outside the session's thread on its behalf: work,
 *      tasks, a StartRun being sent.  The thread leaves the registry only when it is 0, so nobody
 *      ever holds a session that is gone, and ingest hears of the loss after the last put.
 */
#define SESSION_SOFTWARE "varve-collector " VARVE_VERSION

#define SESSION_MINOR_METHODS 3u /* since then a peer knows of methods */

struct listener {
    struct registry *registry;
    struct channel_listener *channels;
    struct thread thread;
    char *url; /* as bound */
    struct listener *next;
};

struct registry {
    const struct collector *c;
    const struct identity *own;
    uint8_t operator_key[IDENTITY_KEY_SIZE];
    uint32_t credit_bytes;
    size_t sessions_max;
    struct workers *workers;
    struct tasks *tasks;

    struct mutex lock; /* all below */
    struct cond left;  /* a session has left */
    struct listener *listeners;
    size_t listener_count;
    struct session *sessions;
    size_t session_count;
    bool stopping;
};

enum session_role { SESSION_NONE = 0, SESSION_AGENT, SESSION_ENROL, SESSION_OPERATOR };

/* A request of ours to the peer that is not answered yet. */
struct session_call {
    uint64_t id;
    struct ingest_run *run; /* StartRun: whose answer it is; NULL: none's */
    bool cleans;            /* CleanVm: of the run below, which `from` sees to until now */
    struct guid cleaned_run;
    struct guid from;
    struct session_call *next;
};

/* How often something comes. */
struct session_pace {
    uint64_t last_ns; /* of the last one that counted */
    unsigned count;   /* of the burst */
};

#define SESSION_OP_THREADS_MAX      8u
#define SESSION_OP_POOL_MAX         64u
#define SESSION_ERRORS_MAX          1024u
#define SESSION_LOG_PER_SECOND      50u
#define SESSION_PROGRESS_PER_SECOND 50u
/* Inventories at once, and how soon another is taken behind them: each is a change of the state file. */
#define SESSION_INVENTORY_BURST 8u
#define SESSION_INVENTORY_MS    1000u
/* RunTraces, likewise. */
#define SESSION_TRACE_BURST 64u
#define SESSION_TRACE_MS    50u
#define SESSION_HELLO_MS    30000u
#define SESSION_END_MS      3000u

struct session {
    struct registry *r;
    const struct collector *c;
    struct channel_pending *pending; /* taken by the thread */
    struct channel *ch;              /* set before the session is in the registry's list */
    enum session_role role;          /* constant after the handshake */
    struct host host;                /* agents; constant after Hello */
    uint32_t minor;                  /* of the peer; the same */
    uint8_t secret_id[16];           /* enrolment */
    bool enrolled;                   /* enrolment is done: only the end may follow */
    uint64_t since_ns;

    struct session *next; /* registry.lock */
    bool registered;      /* registry.lock: this is the host's session */
    bool replaced;        /* registry.lock: it must go */
    bool greeted;         /* registry.lock: Hello was answered */

    struct mutex lock; /* all below */
    struct cond changed;
    size_t users;
    bool gone; /* no more answers can be sent */
    uint64_t put_bytes;
    size_t puts;
    size_t op_threads;
    size_t op_pool;
    uint64_t last_call;
    struct session_call *calls;

    struct work_lane lane; /* the workers' */

    /* The session's thread only. */
    unsigned errors;
    uint64_t log_second;
    unsigned log_lines;
    unsigned log_dropped;
    uint64_t progress_second;
    unsigned progress_taken;
    struct session_pace inventories;
    struct session_pace traces;
    void *slots[OP_MODULES_MAX];
    size_t slot_count;
};

/* session.c */
void session_main(void *arg); /* a session; frees it */
void session_use(struct session *s);
void session_unuse(struct session *s);
bool session_is_gone(struct session *s);
/* Any thread.  Answers fill in head->id and head->reply. */
VARVE_CHECK enum varve_err session_reply(struct session *s, uint64_t id, Varve__V1__Envelope *head,
                                         const struct aead_part *bulk, size_t bulk_parts, bool more,
                                         struct varve_error *err);
/* Sends error as the answer; a peer that is gone does not hear it. */
void session_reply_error(struct session *s, uint64_t id, const struct varve_error *error);

/* registry.c */
/* Makes s the host's session; waits for the older one to go.  VARVE_ERR_DENIED: revoked meanwhile;
 * VARVE_ERR_CANCELLED: a newer one came, or the collector stops. */
VARVE_CHECK enum varve_err registry_take_host(struct registry *r, struct session *s,
                                              struct varve_error *err);
VARVE_CHECK enum varve_err registry_enter(struct registry *r, struct session *s,
                                          struct varve_error *err);
void registry_greeted(struct registry *r, struct session *s);
bool registry_told_to_go(struct registry *r, struct session *s);
void registry_leave(struct registry *r, struct session *s);

/* agent.c, operator.c: one message.  They take in (envelope_release()).  An error ends the session;
 * what only concerns the request is answered and VARVE_OK. */
VARVE_CHECK enum varve_err session_agent_message(struct session *s, struct envelope_in *in,
                                                 struct varve_error *err);
VARVE_CHECK enum varve_err session_operator_message(struct session *s, struct envelope_in *in,
                                                    struct varve_error *err);
VARVE_CHECK enum varve_err session_operator_begin(struct session *s, struct varve_error *err);
void session_operator_end(struct session *s);

/* agent_run.c: the messages of a run.  *keep: in was taken. */
VARVE_CHECK enum varve_err session_run_message(struct session *s, struct envelope_in *in,
                                               bool *keep, struct varve_error *err);
/* agent_trace.c: RunTrace, and what EndRun says of it. */
VARVE_CHECK enum varve_err session_take_trace(struct session *s, const Varve__V1__Envelope *head,
                                              struct varve_error *err);
void session_end_trace(struct session *s, const struct guid *run, Varve__V1__Leaves leaves);
/* agent.c: makes a host that says one thing after the other wait, so that the others get at the state file. */
void session_pace(struct session_pace *p, unsigned burst, unsigned step_ms);
/* The request failed: says so to the peer.  An error when it was one too many. */
VARVE_CHECK enum varve_err session_refuse(struct session *s, uint64_t id,
                                          const struct varve_error *why, struct varve_error *err);

/* calls.c: requests of ours. */
VARVE_CHECK enum varve_err session_start_run(struct session *s, const struct ingest_start *start,
                                             struct ingest_run *run, struct varve_error *err);
void session_cancel_run(struct session *s, const struct guid *run);
void session_look_again(struct session *s);
void session_clean_vm(struct session *s, const struct sched_clean *clean);
/* An answer of the peer's; VARVE_ERR_PROTOCOL when nothing was asked. */
VARVE_CHECK enum varve_err session_answer(struct session *s, const Varve__V1__Envelope *head,
                                          struct varve_error *err);
void session_calls_drop(struct session *s);

#endif
