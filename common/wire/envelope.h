/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_ENVELOPE_H
#define VARVE_WIRE_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "envelope.pb-c.h"
#include "wire/channel.h"

/*
 * One protobuf Envelope per channel message.
 *
 * Envelope.bulk (field 15) carries chunk bytes and lists of names.  It is written last, straight
 * from the caller's buffers, and found again without copying: what goes over the wire is plain
 * protobuf, only faster.  Everything else of the envelope is unpacked by protobuf-c, under
 * ENVELOPE_HEAD_MAX bytes.
 *
 * Only wire/, agent/uplink and collector/session and the operator's command include this file.
 */
#define ENVELOPE_HEAD_MAX (1024u * 1024)
/* What one head may take when unpacked. */
#define ENVELOPE_MEMORY_MAX (32u * 1024 * 1024)

struct envelope_in {
    Varve__V1__Envelope *head; /* bulk is not in here */
    const uint8_t *bulk;       /* inside raw; NULL when there was none */
    size_t bulk_len;
    uint8_t *raw;
};

/* head must have a body and no bulk; the bulk parts are sent as they lie, one behind the other. */
VARVE_CHECK enum varve_err envelope_send(struct channel *ch, const Varve__V1__Envelope *head,
                                         const struct aead_part *bulk, size_t bulk_parts,
                                         struct varve_error *err);

/* Fills *in; release it with envelope_release().  A message that is no Envelope, has no body, has
 * bulk twice or a head that is too large is VARVE_ERR_PROTOCOL.  After an error nothing needs to be
 * released. */
VARVE_CHECK enum varve_err envelope_recv(struct channel *ch, struct envelope_in *in,
                                         struct varve_error *err);
/* Takes raw (also on failure); what envelope_recv() does after the channel; for fuzzing. */
VARVE_CHECK enum varve_err envelope_parse(struct envelope_in *in, uint8_t *raw, size_t len,
                                          struct varve_error *err);
void envelope_release(struct envelope_in *in);

/* Calls cb for each text of a message and of those inside it; the first error ends the walk. */
VARVE_CHECK enum varve_err envelope_each_text(ProtobufCMessage *message,
                                              enum varve_err (*cb)(char *text, const char *field,
                                                                   struct varve_error *err),
                                              struct varve_error *err);

#endif
