/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_REGISTRY_H
#define VARVE_SESSION_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/identity.h"
#include "sched/sched.h"
#include "session/operator_handlers.h"

/*
 * Everybody who is connected: listeners, one session per connection, and the way from a host's id to
 * its session.
 *
 * A session is a thread: handshake, Hello, then one message after the other.  What takes longer
 * than a moment leaves the thread (workers.h).  A host has one session: a newer one ends the older
 * and waits until nothing of it is under way, so that a run is never spoken of by two at once.
 *
 * Threads: any.
 */
struct registry;

/* What everybody shares; parts of struct collector point back here. */
struct collector_options {
    const char *store;     /* for people: where the chunks are */
    const char *key_path;  /* of the store's key file */
    unsigned workers;      /* 0: two per core, at least 8 */
    uint32_t credit_bytes; /* of Put, unanswered, per session; 0: 16 MiB */
    uint32_t sessions;     /* most connections; 0: 4096 */
    int64_t started_at_us;
};

#define REGISTRY_CREDIT_DEFAULT (16u * 1024 * 1024)
#define REGISTRY_OFFERS         64u
#define REGISTRY_PUTS_MAX       256u

/*
 * c: its members but registry and sched are set and outlive the registry; those two are set before
 * the first listener opens.  own: the collector's identity.  operator_key: who has the role of the
 * operator.
 */
VARVE_CHECK enum varve_err registry_new(struct registry **out, const struct collector *c,
                                        const struct identity *own,
                                        const uint8_t operator_key[IDENTITY_KEY_SIZE],
                                        struct varve_error *err);
/* Listens on one more address.  A socket file that nobody listens on is replaced; one that somebody
 * listens on is VARVE_ERR_BUSY.  ipc: only this user gets in. */
VARVE_CHECK enum varve_err registry_listen(struct registry *r, const char *url,
                                           struct varve_error *err);
/* The address really listened on, for port 0; index as listened. NULL: no such. */
const char *registry_url(struct registry *r, size_t index);
/* Accepts nobody any more, ends all sessions, each with an authenticated end, and waits for them. */
void registry_stop(struct registry *r);
void registry_free(struct registry *r); /* stops first; NULL is fine */

const uint8_t *registry_public_key(const struct registry *r);
bool registry_host_connected(void *registry, const struct guid *host);
size_t registry_hosts_connected(struct registry *r);
/* Ends the host's session, if there is one, and waits until it has ended. */
void registry_drop_host(struct registry *r, const struct guid *host);

/* The scheduler's way to the hosts. */
struct sched_port registry_sched_port(struct registry *r);

#endif
