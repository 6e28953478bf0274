/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WIRE_ACCESS_INTERNAL_H
#define VARVE_WIRE_ACCESS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/access.h"

/* Printable ASCII without spaces, of a length that an address may have. */
bool access_is_address(const char *text, size_t len);

#endif
