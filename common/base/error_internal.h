/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_ERROR_INTERNAL_H
#define VARVE_BASE_ERROR_INTERNAL_H

#include <stddef.h>

/* The system's text for errnum; always terminated.  One per system: error_posix.c. */
void varve_errno_text(int errnum, char *out, size_t cap);

#endif
