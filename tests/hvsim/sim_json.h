/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SIM_JSON_H
#define HVSIM_SIM_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "hvsim/sim_base.h"

/* Values of JSON objects: requests, replies, state. */

/* Readers: the default where a member is missing. */
uint64_t op_u64(const json_t *request, const char *name, uint64_t fallback);
const char *op_text(const json_t *request, const char *name, const char *fallback);
bool op_bool(const json_t *request, const char *name, bool fallback);
bool op_has(const json_t *request, const char *name);
struct guid op_guid(const json_t *request, const char *name); /* zero when missing */

void reply_guid(json_t *o, const char *name, const struct guid *g);
void reply_u64(json_t *o, const char *name, uint64_t v);
void reply_text(json_t *o, const char *name, const char *v);
void reply_bool(json_t *o, const char *name, bool v);
void reply_time(json_t *o, const char *name, int64_t us);

/* base64.c: text without line breaks; the caller frees. */
char *base64_encode(const void *data, size_t len);
VARVE_CHECK uint32_t base64_decode(const char *text, uint8_t **out, size_t *len,
                                   struct sim_error *err);

#endif
