/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_HASH_CHECK_LINE_H
#define VARVE_HASH_CHECK_LINE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The last line of a small text file that is believed as a whole or not at all: the CRC-32C of everything before it, in 8
 * hex digits.  It finds accidents, not attacks.
 */
#define CHECK_LINE_SIZE 9u /* with the end of the line */

/* Behind the len bytes of text, which has room for the line and a zero; answers the length with it. */
size_t check_line_append(char *text, size_t len);
/* Does it end so? */
bool check_line_fits(const char *text, size_t len);

#endif
