/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_PATH_H
#define VARVE_OS_PATH_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Paths as text: UTF-8 with '/'; on Windows '\\' separates as well and "C:" begins an absolute path.
 * Nothing here looks at a disk.  Results are the caller's to free().
 */

/* "a/b"; no second '/' when a ends in one; b alone when a is "" or b is absolute. */
VARVE_CHECK enum varve_err path_join(char **out, const char *a, const char *b,
                                     struct varve_error *err);
/* "/a/b" -> "/a", "/a" -> "/", "a" -> ".", "a/b/" -> "a". */
VARVE_CHECK enum varve_err path_dirname(char **out, const char *path, struct varve_error *err);
/* The last part, inside path: "/a/b" -> "b".  "" when path ends in '/'. */
const char *path_basename(const char *path);
/* path ends in suffix; ASCII letters are compared without case (".VHDX" is a VHDX). */
bool path_has_suffix(const char *path, const char *suffix);
/* One plain name: not empty, not "." or "..", no '/', '\\' or control character.  For names that a
 * peer chose and that become files. */
bool path_is_plain_name(const char *name);

#endif
