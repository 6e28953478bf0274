/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_SESSION_H
#define VARVE_CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/access.h"
#include "wire/envelope.h"

struct interrupt;

/*
 * The operator's conversation with a collector: dial, Hello, requests and their replies.
 *
 * A call that fails has either an error that the collector sent (its code and words are kept) or one
 * of the connection; session_lost() tells which.
 *
 * Threads: session_send() from any thread; receiving from one thread at a time.  An interrupt
 * ends both soon.
 */
struct session;

VARVE_CHECK enum varve_err session_open(struct session **out, const struct access *access,
                                        struct interrupt *interrupt, struct varve_error *err);
void session_close(struct session *s); /* NULL is fine */
/* The connection failed or was never there: an error is not an answer of the collector. */
bool session_lost(const struct session *s);

/* Numbers the request and sends it; *id is what its replies carry. */
VARVE_CHECK enum varve_err session_send(struct session *s, Varve__V1__Envelope *request,
                                        uint64_t *id, struct varve_error *err);
/* The next reply to anything.  An `error` body is left in it; session_reply_error() turns it. */
VARVE_CHECK enum varve_err session_recv(struct session *s, struct envelope_in *in,
                                        struct varve_error *err);
/* VARVE_OK when body is what was expected, the collector's error when it is one, else PROTOCOL. */
VARVE_CHECK enum varve_err session_check(struct session *s, const struct envelope_in *in,
                                         Varve__V1__Envelope__BodyCase body,
                                         struct varve_error *err);

/* One request with one reply, nothing else under way.  Release *in. */
VARVE_CHECK enum varve_err session_call(struct session *s, Varve__V1__Envelope *request,
                                        Varve__V1__Envelope__BodyCase body, struct envelope_in *in,
                                        struct varve_error *err);
/* The next reply to request id, nothing else under way. */
VARVE_CHECK enum varve_err session_next(struct session *s, uint64_t id,
                                        Varve__V1__Envelope__BodyCase body, struct envelope_in *in,
                                        struct varve_error *err);

/* An error as it came over the wire; unknown numbers become INTERNAL. */
enum varve_err session_wire_error(const Varve__V1__Error *in, struct varve_error *err);

/* --method can be given to this collector, or method is NULL. */
VARVE_CHECK enum varve_err session_check_methods(const struct session *s, const char *method,
                                                 struct varve_error *err);

#endif
