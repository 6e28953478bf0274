/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/time.h"

/* How long a wait that can be cancelled may sleep before it looks. */
#define LOOK_MS        50u
#define CLOCK_SLACK_MS 5u /* nng counts whole milliseconds */

struct stream {
    nng_stream *raw;
    nng_aio *reader;
    nng_aio *writer;
};

uint32_t
stream_ms_left(uint64_t deadline_ns, uint32_t most)
{
    uint64_t now = time_mono_ns();
    uint64_t ms;

    if (now >= deadline_ns) {
        return 0;
    }
    ms = (deadline_ns - now + 999999u) / 1000000u;
    return ms < most ? (uint32_t)ms : most;
}

enum varve_err
stream_error(struct varve_error *err, int nng_code, const char *doing)
{
    switch (nng_code) {
    case NNG_ECONNSHUT:
        return varve_error_set(err, VARVE_ERR_IO, "%s: the peer has closed the connection", doing);
    case NNG_ENOMEM:
    case NNG_ETIMEDOUT:
    case NNG_ECANCELED:
    case NNG_EPERM:
        return varve_error_nng(err, nng_code, nng_strerror(nng_code), "%s", doing);
    default:
        (void)varve_error_nng(err, nng_code, nng_strerror(nng_code), "%s", doing);
        err->code = VARVE_ERR_IO;
        return err->code;
    }
}

enum varve_err
stream_check_url(const char *url, struct varve_error *err)
{
    if (strncmp(url, "tcp://", 6) != 0 && strncmp(url, "ipc://", 6) != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "address '%s' must begin with tcp:// or ipc://", url);
    }
    return VARVE_OK;
}

void
stream_free(struct stream *s)
{
    if (s == NULL) {
        return;
    }
    if (s->reader != NULL) {
        nng_aio_stop(s->reader);
        nng_aio_free(s->reader);
    }
    if (s->writer != NULL) {
        nng_aio_stop(s->writer);
        nng_aio_free(s->writer);
    }
    if (s->raw != NULL) {
        nng_stream_close(s->raw);
        nng_stream_free(s->raw);
    }
    free(s);
}

enum varve_err
stream_adopt(struct stream **out, nng_stream *raw, struct varve_error *err)
{
    struct stream *s = calloc(1, sizeof(*s));
    int rv;

    if (s == NULL) {
        nng_stream_free(raw);
        return varve_error_nomem(err);
    }
    s->raw = raw;
    rv = nng_aio_alloc(&s->reader, NULL, NULL);
    if (rv == 0) {
        rv = nng_aio_alloc(&s->writer, NULL, NULL);
    }
    if (rv != 0) {
        stream_free(s);
        return stream_error(err, rv, "preparing a connection");
    }
    *out = s;
    return VARVE_OK;
}

/* ---- dialing: the one wait that somebody outside may cancel ---- */

struct dialing {
    struct mutex lock;
    struct cond changed;
    bool done;
};

static void
dialed_cb(void *arg)
{
    struct dialing *d = arg;

    mutex_lock(&d->lock);
    d->done = true;
    cond_signal(&d->changed);
    mutex_unlock(&d->lock);
}

/* Waits for the callback; asks nng to give up when cancel is set. */
static bool
wait_for_dial(struct dialing *d, nng_aio *aio, struct cancel *cancel)
{
    bool cancelled = false;
    bool done = false;

    while (!done) {
        mutex_lock(&d->lock);
        if (!d->done) {
            (void)cond_timedwait(&d->changed, &d->lock, LOOK_MS);
        }
        done = d->done;
        mutex_unlock(&d->lock);
        if (!done && !cancelled && cancel != NULL && cancel_is_set(cancel)) {
            cancelled = true;
            nng_aio_abort(aio, NNG_ECANCELED);
        }
    }
    return cancelled;
}

enum varve_err
stream_dial(struct stream **out, const char *url, uint64_t deadline_ns, struct cancel *cancel,
            struct varve_error *err)
{
    struct dialing d = {.done = false};
    nng_stream_dialer *dialer = NULL;
    nng_aio *aio = NULL;
    nng_stream *raw = NULL;
    bool cancelled;
    enum varve_err rc;
    int rv;

    rc = stream_check_url(url, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_init(&d.lock);
    cond_init(&d.changed);
    rv = nng_stream_dialer_alloc(&dialer, url);
    if (rv == 0 && strncmp(url, "tcp://", 6) == 0) {
        rv = nng_stream_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
    }
    if (rv != 0) {
        rc = varve_error_nng(err, rv, nng_strerror(rv), "address '%s'", url);
        goto out;
    }
    rv = nng_aio_alloc(&aio, dialed_cb, &d);
    if (rv != 0) {
        rc = stream_error(err, rv, "preparing a connection");
        goto out;
    }
    nng_aio_set_timeout(aio, (nng_duration)stream_ms_left(deadline_ns, INT32_MAX));
    nng_stream_dialer_dial(dialer, aio);
    cancelled = wait_for_dial(&d, aio, cancel);
    nng_aio_wait(aio); /* the callback has signalled; let it return */
    rv = nng_aio_result(aio);
    if (rv == 0) {
        raw = nng_aio_get_output(aio, 0);
        rc = stream_adopt(out, raw, err);
    } else if (cancelled) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "connecting was cancelled");
    } else {
        rc = stream_error(err, rv, "connecting");
    }
out:
    if (aio != NULL) {
        nng_aio_stop(aio);
        nng_aio_free(aio);
    }
    if (dialer != NULL) {
        nng_stream_dialer_close(dialer);
        nng_stream_dialer_free(dialer);
    }
    cond_destroy(&d.changed);
    mutex_destroy(&d.lock);
    return rc;
}

/* ---- reading and writing ---- */

/*
 * Closing the stream is not enough: nng 1.5.2 lets a read or write that is begun on a closed stream
 * wait for its timeout.  An aio that was stopped refuses the next operation at once, and waiting for
 * it then returns NNG_ECANCELED.
 */
void
stream_shut(struct stream *s)
{
    nng_aio_stop(s->reader);
    nng_aio_stop(s->writer);
    nng_stream_close(s->raw);
}

static void
set_timeout(nng_aio *aio, uint32_t timeout_ms)
{
    nng_aio_set_timeout(aio,
                        timeout_ms >= INT32_MAX ? NNG_DURATION_INFINITE : (nng_duration)timeout_ms);
}

/*
 * nng 1.5.2 expires an aio in two steps, with its lock released between them: when the operation ends
 * just then and the aio is used again, the expiry of the old operation hits the new one.  (The short waits
 * of a handshake on a busy machine do it; seen as "nothing heard for 60 s" after a second.)  A cancelled
 * operation has moved nothing, so one that "timed out" before its time is begun again.
 */
static bool
timed_out_early(int rv, uint64_t started_ns, uint32_t timeout_ms)
{
    uint64_t waited_ms = (time_mono_ns() - started_ns) / 1000000u;

    return rv == NNG_ETIMEDOUT &&
           (timeout_ms >= INT32_MAX || waited_ms + CLOCK_SLACK_MS < timeout_ms);
}

enum varve_err
stream_write(struct stream *s, const void *data, size_t len, uint32_t timeout_ms,
             struct varve_error *err)
{
    const uint8_t *p = data;
    uint64_t started = time_mono_ns();

    while (len > 0) {
        nng_iov iov;
        int rv;

        /* nng only reads what it sends, but its type does not say so. */
        memcpy(&iov.iov_buf, &p, sizeof(p));
        iov.iov_len = len;
        rv = nng_aio_set_iov(s->writer, 1, &iov);
        if (rv == 0) {
            set_timeout(s->writer, timeout_ms);
            nng_stream_send(s->raw, s->writer);
            nng_aio_wait(s->writer);
            rv = nng_aio_result(s->writer);
        }
        if (timed_out_early(rv, started, timeout_ms)) {
            continue;
        }
        if (rv != 0) {
            return stream_error(err, rv, "sending");
        }
        p += nng_aio_count(s->writer);
        len -= nng_aio_count(s->writer);
        started = time_mono_ns();
    }
    return VARVE_OK;
}

enum varve_err
stream_read(struct stream *s, const struct stream_span *spans, size_t span_count,
            uint32_t timeout_ms, size_t *got, struct varve_error *err)
{
    nng_iov iov[STREAM_SPANS_MAX];
    uint64_t started = time_mono_ns();
    unsigned n = 0;
    int rv;

    for (size_t i = 0; i < span_count && i < STREAM_SPANS_MAX; i++) {
        if (spans[i].len > 0) {
            iov[n].iov_buf = spans[i].data;
            iov[n].iov_len = spans[i].len;
            n++;
        }
    }
    do {
        rv = nng_aio_set_iov(s->reader, n, iov);
        if (rv == 0) {
            set_timeout(s->reader, timeout_ms);
            nng_stream_recv(s->raw, s->reader);
            nng_aio_wait(s->reader);
            rv = nng_aio_result(s->reader);
        }
    } while (timed_out_early(rv, started, timeout_ms));
    if (rv != 0) {
        return stream_error(err, rv, "receiving");
    }
    *got = nng_aio_count(s->reader);
    return VARVE_OK;
}

enum varve_err
stream_read_exact(struct stream *s, void *data, size_t len, uint64_t deadline_ns,
                  struct cancel *cancel, struct varve_error *err)
{
    struct stream_span span = {data, len};

    while (span.len > 0) {
        uint32_t wait = stream_ms_left(deadline_ns, cancel == NULL ? INT32_MAX : LOOK_MS);
        size_t got = 0;
        enum varve_err rc;

        if (cancel != NULL && cancel_is_set(cancel)) {
            return varve_error_set(err, VARVE_ERR_CANCELLED, "the handshake was cancelled");
        }
        if (wait == 0) {
            return varve_error_set(err, VARVE_ERR_TIMEOUT, "the handshake took too long");
        }
        rc = stream_read(s, &span, 1, wait, &got, err);
        if (rc == VARVE_OK) {
            span.data += got;
            span.len -= got;
        } else if (rc != VARVE_ERR_TIMEOUT) {
            return rc;
        }
    }
    return VARVE_OK;
}

nng_stream *
stream_raw(struct stream *s)
{
    return s->raw;
}
