/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "uplink/uplink_internal.h"

#define CHUNK_SIZE_MAX_KNOWN (1024u * 1024)

static enum varve_err
check_welcome(const Varve__V1__HelloReply *in, struct varve_error *err)
{
    if (in->major != UPLINK_MAJOR) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the collector speaks version %" PRIu32 ", this agent %u", in->major,
                               UPLINK_MAJOR);
    }
    if (!is_power_of_two_u64(in->chunk_size) || in->chunk_size > CHUNK_SIZE_MAX_KNOWN) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the collector's store has chunks of %" PRIu32 " bytes",
                               in->chunk_size);
    }
    if (in->credit_bytes < UPLINK_CREDIT_MIN || in->offers_in_flight == 0) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector gives a credit of %" PRIu32 " bytes and %" PRIu32
                               " offers",
                               in->credit_bytes, in->offers_in_flight);
    }
    return VARVE_OK;
}

static enum varve_err
take_welcome(struct uplink_welcome *out, const Varve__V1__HelloReply *in, struct varve_error *err)
{
    enum varve_err rc = check_welcome(in, err);

    if (rc == VARVE_OK) {
        rc = wire_take_guid(&out->host_id, &in->host_id, "host_id", err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    (void)snprintf(out->host_name, sizeof(out->host_name), "%s", in->host_name);
    (void)snprintf(out->software, sizeof(out->software), "%s", in->software);
    out->chunk_size = in->chunk_size;
    out->credit_bytes = in->credit_bytes;
    out->offers_in_flight = in->offers_in_flight;
    out->takes_gaps = in->minor >= UPLINK_MINOR_GAPS;
    out->takes_traces = in->minor >= UPLINK_MINOR_TRACES;
    out->takes_packed = in->minor >= UPLINK_MINOR_PACKED;
    return VARVE_OK;
}

enum varve_err
hello(struct channel *ch, const struct uplink_options *options, bool enrol,
      struct uplink_welcome *out, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Hello body = VARVE__V1__HELLO__INIT;
    struct envelope_in in;
    enum varve_err rc;

    body.major = UPLINK_MAJOR;
    body.minor = UPLINK_MINOR;
    body.role = VARVE__V1__ROLE__ROLE_AGENT;
    body.software = wire_text(options->software);
    body.system = wire_text(options->system);
    body.host_name = wire_text(options->host_name);
    body.enrol = enrol;
    head.id = 1;
    head.body_case = VARVE__V1__ENVELOPE__BODY_HELLO;
    head.hello = &body;
    rc = envelope_send(ch, &head, NULL, 0, err);
    if (rc == VARVE_OK) {
        rc = envelope_recv(ch, &in, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (in.head->id == 1 && in.head->reply &&
        in.head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
        wire_take_error(err, in.head->error);
        rc = err->code;
    } else if (in.head->id != 1 || !in.head->reply ||
               in.head->body_case != VARVE__V1__ENVELOPE__BODY_HELLO_REPLY) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector did not answer Hello");
    } else {
        rc = take_welcome(out, in.head->hello_reply, err);
    }
    envelope_release(&in);
    return rc;
}

/* A connection on which Hello is not answered is given up by this thread. */
struct greeting {
    struct channel *ch;
    struct cancel done;
};

static void
greeting_watch(void *arg)
{
    struct greeting *g = arg;

    if (!cancel_wait(&g->done, UPLINK_HELLO_MS)) {
        channel_abort(g->ch);
    }
}

enum varve_err
uplink_greet(const struct uplink_options *options, const struct channel_secret *secret,
             uint32_t timeout_ms, struct uplink_welcome *out, struct varve_error *err)
{
    struct greeting g = {0};
    struct thread watch;
    enum varve_err rc;

    rc = channel_dial(&g.ch, options->address, options->identity, options->collector, secret,
                      timeout_ms, NULL, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    cancel_init(&g.done);
    rc = thread_start(&watch, "greet", greeting_watch, &g, err);
    if (rc == VARVE_OK) {
        rc = hello(g.ch, options, secret != NULL, out, err);
        cancel_set(&g.done);
        thread_join(&watch);
    }
    cancel_destroy(&g.done);
    channel_close(g.ch);
    return rc;
}
