/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_WIRE_IN_H
#define VARVE_SESSION_WIRE_IN_H

#include "base/error.h"
#include "base/guid.h"
#include "envelope.pb-c.h"
#include "state/inventory.h"

/*
 * From messages to plain values, with every limit of proto/README.md.  What does not keep to them is
 * VARVE_ERR_PROTOCOL, or VARVE_ERR_LIMIT for numbers of things; the message names the field.
 *
 * Threads: any.
 */
#define WIRE_STRING_MAX 1024u

/* Exactly 16 bytes. */
VARVE_CHECK enum varve_err wire_guid(struct guid *out, const ProtobufCBinaryData *field,
                                     const char *what, struct varve_error *err);
/* 16 bytes, or none: zero. */
VARVE_CHECK enum varve_err wire_guid_optional(struct guid *out, const ProtobufCBinaryData *field,
                                              const char *what, struct varve_error *err);
/*
 * Every string in the message, however deep: at most WIRE_STRING_MAX bytes of UTF-8.  Control
 * characters become '?' where they stand: the text ends up on terminals and in logs.  Called once for
 * every message that comes in; the other functions here rely on it.
 */
VARVE_CHECK enum varve_err wire_check_strings(ProtobufCMessage *message, struct varve_error *err);

/* An error of the peer's: unknown codes become INTERNAL, the text is cut to what fits. */
void wire_error(struct varve_error *out, const Varve__V1__Error *field);

/* *out is the caller's: inventory_release(). */
VARVE_CHECK enum varve_err
wire_inventory(struct inventory *out, const Varve__V1__Inventory *message, struct varve_error *err);

#endif
