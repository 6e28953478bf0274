/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_CHANNEL_H
#define VARVE_WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/aead.h"
#include "crypto/identity.h"
#include "os/thread.h"

/*
 * A secure channel: an ordered, authenticated, encrypted sequence of messages between two peers
 * that know each other by public key.  Noise IK (or IKpsk2 with a one-time secret, for enrolment)
 * over an nng stream (tcp:// or ipc://).  docs/format/channel.md states every byte.
 *
 * What it promises:
 *   1. channel_recv() gives exactly the messages that the peer sent, in order, or an error; after
 *      an error the channel is dead.  A changed, replayed, reordered, dropped or cut message is an
 *      error.  Only the peer's authenticated end is VARVE_ERR_CLOSED; a lost connection is
 *      VARVE_ERR_IO.
 *   2. Nothing is allocated for a peer beyond a handshake buffer until its key was accepted.
 *   3. Keys are renewed by bytes and by time; silence is noticed (keep-alive every 15 s, death
 *      after 60 s without a byte: VARVE_ERR_TIMEOUT), and so is a peer that begins a message and
 *      does not end it (60 s, and a second for each 4 KiB: VARVE_ERR_TIMEOUT).
 *
 * Threads: channel_send() from any thread; channel_recv() from one thread at a time;
 * channel_abort() from any thread, makes both return VARVE_ERR_CANCELLED soon.  channel_close()
 * when nobody uses the channel any more.
 */
struct channel;

/* One message at most (plaintext). */
#define CHANNEL_MESSAGE_MAX (4u * 1024 * 1024)

struct channel_secret {
    uint8_t id[16]; /* names the one-time secret, sent encrypted */
    uint8_t secret[32];
};

/*
 * Dials, shakes hands, returns a channel whose peer has proved to own remote_public.  secret:
 * NULL for a normal session, else enrolment.  cancel may be NULL.  Errors to act on: VARVE_ERR_AUTH (the peer is not
 * who it must be, or refused our key), VARVE_ERR_IO / VARVE_ERR_TIMEOUT (try again later),
 * VARVE_ERR_CANCELLED.
 */
VARVE_CHECK enum varve_err channel_dial(struct channel **out, const char *url,
                                        const struct identity *own,
                                        const uint8_t remote_public[IDENTITY_KEY_SIZE],
                                        const struct channel_secret *secret, uint32_t timeout_ms,
                                        struct cancel *cancel, struct varve_error *err);

/* Ends with an authenticated end when the channel is healthy, then waits up to 2 s for the peer to end
 * too, so that its last bytes do not reset the connection; frees.  NULL is fine. */
void channel_close(struct channel *ch);
void channel_abort(struct channel *ch);
/* From any thread: tells the peer that this is the end; nothing can be sent after it.  A peer that
 * keeps to the protocol ends too, and so channel_recv() returns soon. */
void channel_end(struct channel *ch);
/*
 * By the thread that receives: tells the peer that this is the end, then throws away what still comes until
 * the peer has ended too, for at most 2 s.  So what was sent last is heard also by a peer that is still
 * sending: closing over unread bytes would reset the connection and take it along.
 */
void channel_linger(struct channel *ch);

/*
 * The parts (16384 at most) go out as one message; returns when the bytes are with the operating
 * system.  VARVE_ERR_LIMIT (too large) changes nothing; after any other error sending is over.
 * VARVE_ERR_TIMEOUT: the peer has taken no byte for 5 minutes.  VARVE_ERR_CLOSED: the peer has ended.
 */
VARVE_CHECK enum varve_err channel_send(struct channel *ch, const struct aead_part *parts,
                                        size_t part_count, struct varve_error *err);

/* *msg is the caller's to free().  Errors are final: the same one comes each time. */
VARVE_CHECK enum varve_err channel_recv(struct channel *ch, uint8_t **msg, size_t *len,
                                        struct varve_error *err);

void channel_peer_key(const struct channel *ch, uint8_t out[IDENTITY_KEY_SIZE]);
/* "tcp://10.0.0.1:50422"; for log lines. */
const char *channel_peer_address(const struct channel *ch);
/* Bytes on the wire so far: whole frames, not the handshake. */
void channel_counters(const struct channel *ch, uint64_t *sent, uint64_t *received);

/* ---- the listening side ---- */

struct channel_listener;
struct channel_pending; /* accepted, hands not shaken yet */

enum channel_verdict { CHANNEL_REFUSE = 0, CHANNEL_ACCEPT = 1 };

/*
 * Asked once per handshake, after message 1 was opened and before anything is answered.
 * Normal session: secret_id is NULL; decide by the key.  Enrolment: fill in *secret for the id, or
 * refuse.  Called on the thread that runs channel_pending_finish().
 */
struct channel_policy {
    enum channel_verdict (*decide)(void *arg, const uint8_t peer_key[IDENTITY_KEY_SIZE],
                                   const uint8_t *secret_id, uint8_t secret[32]);
    void *arg;
};

/* url with port 0 listens on a free port; channel_listener_url() tells the real one. */
VARVE_CHECK enum varve_err channel_listener_open(struct channel_listener **out, const char *url,
                                                 const struct identity *own,
                                                 struct varve_error *err);
const char *channel_listener_url(const struct channel_listener *l);
/* Waits for one connection.  VARVE_ERR_CANCELLED after channel_listener_stop(). At most 64 pending
 * handshakes and 8 per address exist at a time: more are closed unanswered. */
VARVE_CHECK enum varve_err channel_listener_accept(struct channel_listener *l,
                                                   struct channel_pending **out,
                                                   struct varve_error *err);
void channel_listener_stop(struct channel_listener *l);
void channel_listener_close(struct channel_listener *l);

/*
 * Shakes hands (10 s at most) and gives the channel; takes and frees p whatever happens.
 * Returns only after a first frame, which channel_dial() sends by itself, has verified: who replays
 * somebody's first flight gets no channel.  So after an enrolment (*enrolled is then true) the
 * secret may be spent and the key bound at once.
 */
VARVE_CHECK enum varve_err channel_pending_finish(struct channel_pending *p, struct channel **out,
                                                  const struct channel_policy *policy,
                                                  bool *enrolled, struct varve_error *err);
void channel_pending_drop(struct channel_pending *p);

#endif
