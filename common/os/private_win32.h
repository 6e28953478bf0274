/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_PRIVATE_WIN32_H
#define VARVE_OS_PRIVATE_WIN32_H

#include <stdbool.h>
#include <windows.h>

#include "base/error.h"

/*
 * What mode 0600 is on Windows: a protected access list with full access for SYSTEM, Administrators
 * and the user who runs this, and nobody else.  Only *_win32.c includes this.
 */

/* For CreateFileW and CreateDirectoryW; *sd is to be given to LocalFree().  For a folder the entries
 * are inherited by what is made in it. */
VARVE_CHECK enum varve_err private_attributes(SECURITY_ATTRIBUTES *out, bool is_dir,
                                              PSECURITY_DESCRIPTOR *sd, struct varve_error *err);

/* Nobody but SYSTEM, Administrators, the owner and the user who runs this is allowed anything.  What
 * cannot be found out is not private. */
bool private_is(HANDLE file);

#endif
