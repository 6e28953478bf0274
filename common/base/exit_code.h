/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VARVE_EXIT_CODE_H
#define VARVE_VARVE_EXIT_CODE_H

#include <stdbool.h>

#include "base/error.h"

/* How all programs end.  Frozen: varve(1) documents them and scripts rely on them. */
enum varve_exit {
    VARVE_EXIT_OK = 0,
    VARVE_EXIT_FAILED = 1,
    VARVE_EXIT_USAGE = 2,
    VARVE_EXIT_NOT_FOUND = 3,
    VARVE_EXIT_EXISTS = 4,
    VARVE_EXIT_DENIED = 5,
    VARVE_EXIT_UNREACHABLE = 6,
    VARVE_EXIT_NOSPACE = 7,
    VARVE_EXIT_CORRUPT = 8,
    VARVE_EXIT_REPAIRABLE = 9 /* disk check: not clean, but all of the disk can be read */
};

/* unreachable: the error is of the connection itself, not of what was asked for. */
enum varve_exit varve_exit_of(enum varve_err code, bool unreachable);

#endif
