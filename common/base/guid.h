/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_GUID_H
#define VARVE_BASE_GUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A GUID as the 16 bytes of its text form (big-endian fields, RFC 4122 order).  The wire and the
 * store use these bytes; only VHDX files and Windows structures use the mixed-endian form, which
 * guid_from_mixed() and guid_to_mixed() translate.
 */
struct guid {
    uint8_t bytes[16];
};

#define GUID_TEXT_SIZE 37 /* 36 characters and the NUL; no braces */

/* Accepts upper and lower case, with or without braces; the whole string must be the GUID. */
bool guid_parse(struct guid *out, const char *text);
void guid_format(const struct guid *g, char out[GUID_TEXT_SIZE]);       /* lower case */
void guid_format_upper(const struct guid *g, char out[GUID_TEXT_SIZE]); /* as WMI prints ids */

void guid_from_mixed(struct guid *out, const uint8_t bytes[16]);
void guid_to_mixed(const struct guid *g, uint8_t out[16]);

bool guid_is_zero(const struct guid *g);
bool guid_equal(const struct guid *a, const struct guid *b);
int guid_compare(const struct guid *a, const struct guid *b);

/* Version 4, from the 16 random bytes given (base/ has no source of randomness of its own). */
void guid_from_random(struct guid *out, const uint8_t random[16]);

#endif
