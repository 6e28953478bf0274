/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_UTF8_H
#define VARVE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Text of others: from hosts, guests, files.  Threads: any. */

/* Length of the well-formed UTF-8 sequence (RFC 3629) at text, of which left bytes may be looked at
 * (at least 1); 0 when it is none. */
size_t utf8_len(const char *text, size_t left);

/* The sequence of len bytes, as utf8_len() said, is a control character (C0, DEL, C1). */
bool utf8_is_control(const char *text, size_t len);

/* The same text but for the case of ASCII letters, as names of hosts, shares, classes and vms are compared. */
bool utf8_same_name(const char *a, const char *b);

#endif
