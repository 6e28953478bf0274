/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_WIDE_WIN32_H
#define VARVE_OS_WIDE_WIN32_H

#include <wchar.h>

#include "base/error.h"

/*
 * Inside the program text is UTF-8; Windows takes UTF-16.  Only *_win32.c includes this.  Results are
 * the caller's to free().
 */

/* VARVE_ERR_INVALID when text is not UTF-8. */
VARVE_CHECK enum varve_err wide_from_utf8(wchar_t **out, const char *text, struct varve_error *err);
/* What is no UTF-16 (half a surrogate pair) becomes U+FFFD. */
VARVE_CHECK enum varve_err wide_to_utf8(char **out, const wchar_t *text, struct varve_error *err);

/* A path as the long form that knows no 260 characters and changes no name: "\\?\C:\a\b", or
 * "\\?\UNC\server\share\a".  Relative ones start from the current folder; '/' and '\' are one. */
VARVE_CHECK enum varve_err wide_path(wchar_t **out, const char *path, struct varve_error *err);

#endif
