/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_UPLINK_INTERNAL_H
#define VARVE_UPLINK_UPLINK_INTERNAL_H

#include "envelope.pb-c.h"
#include "uplink/uplink.h"
#include "wire/channel.h"
#include "wire/envelope.h"

#define UPLINK_MAJOR 1u
#define UPLINK_MINOR 4u

#define UPLINK_MINOR_GAPS   1u /* since then a collector takes Offers with gaps */
#define UPLINK_MINOR_TRACES 2u /* since then it takes RunTrace */
#define UPLINK_MINOR_PACKED 4u /* since then it takes configuration files in a Commit's bulk */

#define UPLINK_DIAL_MS    20000u
#define UPLINK_HELLO_MS   20000u
#define UPLINK_ANSWER_MS  300000u  /* any request but the next */
#define UPLINK_COMMIT_MS  3600000u /* making a point durable takes as long as it takes */
#define UPLINK_COMMANDS   256u     /* of the collector, not dealt with yet */
#define UPLINK_CREDIT_MIN (1024u * 1024)

/* ---- session.c: one connection, a member of struct peer ---- */

/* A request that is not answered yet. */
struct pending {
    struct pending *next;
    uint64_t id;
    uint64_t deadline_ns;
    struct peer_call *call; /* NULL: a thread waits */
    Varve__V1__Envelope__BodyCase expects;
    size_t credit; /* of a Put */
    bool answered; /* for the thread that waits */
    struct envelope_in *reply;
    enum varve_err rc;
    struct varve_error *err;
};

#define SESSION_BUCKETS 64u

struct session {
    struct peer peer; /* first */
    struct channel *ch;
    struct peer_limits limits;
    struct uplink_welcome welcome;
    struct mutex lock;   /* all below */
    struct cond changed; /* answers, credit, loss */
    unsigned refs;
    uint64_t next_id;
    uint64_t credit_used;
    bool lost;
    struct varve_error error; /* why */
    struct pending *pending[SESSION_BUCKETS];
    struct pending *spare; /* of async calls, to be used again */
};

/* Takes ch, also on failure.  One reference is the caller's. */
VARVE_CHECK enum varve_err session_new(struct session **out, struct channel *ch,
                                       const struct uplink_welcome *welcome,
                                       struct varve_error *err);
void session_ref(struct session *s);
void session_unref(struct session *s); /* the last one closes the channel */

/* From now on every call fails; those under way are answered with the error. */
void session_lose(struct session *s, const struct varve_error *err);
bool session_is_lost(struct session *s);
/* An answer of the collector's.  Takes *in; an error means that the connection must end. */
VARVE_CHECK enum varve_err session_answer(struct session *s, struct envelope_in *in,
                                          struct varve_error *err);
/* The oldest overdue request ends the connection. */
void session_check_overdue(struct session *s);

/* Sends head, waits for the answer of that kind.  *reply is the caller's to release. */
VARVE_CHECK enum varve_err session_ask(struct session *s, Varve__V1__Envelope *head,
                                       Varve__V1__Envelope__BodyCase expects, uint32_t timeout_ms,
                                       struct envelope_in *reply, struct varve_error *err);
/* The same with bulk behind it, which is read before the call returns. */
VARVE_CHECK enum varve_err session_ask_bulk(struct session *s, Varve__V1__Envelope *head,
                                            const struct aead_part *bulk, size_t bulk_parts,
                                            Varve__V1__Envelope__BodyCase expects,
                                            uint32_t timeout_ms, struct envelope_in *reply,
                                            struct varve_error *err);
/* Sends head; the answer goes to call.  credit: bytes of a Put, already taken. */
VARVE_CHECK enum varve_err session_post(struct session *s, Varve__V1__Envelope *head,
                                        const struct aead_part *bulk, size_t bulk_parts,
                                        Varve__V1__Envelope__BodyCase expects, size_t credit,
                                        struct peer_call *call, struct varve_error *err);
/* Answers a request of the collector's: error NULL, head's body; else the error. */
void session_reply(struct session *s, uint64_t id, Varve__V1__Envelope *head,
                   const struct varve_error *error);

extern const struct peer_ops session_peer_ops; /* session_calls.c */

/* ---- hello.c ---- */

VARVE_CHECK enum varve_err hello(struct channel *ch, const struct uplink_options *options,
                                 bool enrol, struct uplink_welcome *out, struct varve_error *err);

/* ---- wire_out.c: plain values and messages ---- */

void wire_guid(ProtobufCBinaryData *out, const struct guid *g); /* borrows */
VARVE_CHECK enum varve_err wire_take_guid(struct guid *out, const ProtobufCBinaryData *in,
                                          const char *what, struct varve_error *err);
/* Messages are only read when they are sent. */
char *wire_text(const char *text);
void wire_take_error(struct varve_error *out, const Varve__V1__Error *in);
VARVE_CHECK enum varve_err wire_send_inventory(struct session *s, const struct capture *capture,
                                               const struct capture_inventory *inv,
                                               struct varve_error *err);
/* The pointers are into the message. */
VARVE_CHECK enum varve_err wire_take_clean(struct uplink_clean *out, const Varve__V1__CleanVm *in,
                                           struct varve_error *err);
/* *base and *skip are the caller's to free(). */
VARVE_CHECK enum varve_err wire_take_start(struct uplink_start *out, struct uplink_base **base,
                                           struct uplink_skip **skip, const Varve__V1__StartRun *in,
                                           struct varve_error *err);

#endif
