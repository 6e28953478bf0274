/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_STREAM_H
#define VARVE_WIRE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nng/nng.h>

#include "base/error.h"
#include "os/thread.h"

/*
 * One connection, as bytes: the only place that touches nng streams and the aios that serve them.
 *
 * Order at the end, from experience with nng: stop the aios, free them, then close and free the
 * stream.
 *
 * TCP connections are made with NNG_OPT_TCP_NODELAY on both sides: nng streams (1.5.2) switch it off, and
 * then a short request waits 40 ms for the peer's delayed acknowledgement of the one before.
 *
 * Threads: one reader, one writer at a time; stream_shut() from any thread, any number of times.
 */
struct stream;

#define STREAM_FOREVER   UINT32_MAX
#define STREAM_SPANS_MAX 2u

struct stream_span {
    uint8_t *data;
    size_t len;
};

/* What an address must look like: "tcp://" or "ipc://"; else VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err stream_check_url(const char *url, struct varve_error *err);

/* Connects until deadline_ns (time_mono_ns()).  cancel may be NULL.  Apart from TIMEOUT, CANCELLED,
 * DENIED, NOMEM and INVALID every failure is VARVE_ERR_IO: it may be gone at the next try. */
VARVE_CHECK enum varve_err stream_dial(struct stream **out, const char *url, uint64_t deadline_ns,
                                       struct cancel *cancel, struct varve_error *err);

/* Takes a stream that nng has accepted, also on failure. */
VARVE_CHECK enum varve_err stream_adopt(struct stream **out, nng_stream *raw,
                                        struct varve_error *err);

void stream_free(struct stream *s); /* NULL is fine */

/* Makes what waits on the stream, and what will, fail.  Returns when nothing waits any more; not to be
 * called from a callback of nng's. */
void stream_shut(struct stream *s);

/* All of it.  VARVE_ERR_TIMEOUT: not one byte was taken for timeout_ms. */
VARVE_CHECK enum varve_err stream_write(struct stream *s, const void *data, size_t len,
                                        uint32_t timeout_ms, struct varve_error *err);

/* At least one byte, into the spans one after the other.  VARVE_ERR_IO also when the peer has closed
 * the connection. */
VARVE_CHECK enum varve_err stream_read(struct stream *s, const struct stream_span *spans,
                                       size_t span_count, uint32_t timeout_ms, size_t *got,
                                       struct varve_error *err);

/* Exactly len bytes until deadline_ns, for handshakes: notices cancel (may be NULL). */
VARVE_CHECK enum varve_err stream_read_exact(struct stream *s, void *data, size_t len,
                                             uint64_t deadline_ns, struct cancel *cancel,
                                             struct varve_error *err);

/* The nng stream itself, for writes that are not waited for. */
nng_stream *stream_raw(struct stream *s);

/* The code and words for a number of nng's that came from a connection. */
enum varve_err stream_error(struct varve_error *err, int nng_code, const char *doing);

/* Milliseconds until deadline_ns, 0 when it has passed, at most `most`. */
uint32_t stream_ms_left(uint64_t deadline_ns, uint32_t most);

#endif
