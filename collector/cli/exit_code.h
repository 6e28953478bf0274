/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_EXIT_CODE_H
#define VARVE_CLI_EXIT_CODE_H

#include <stdbool.h>

#include "base/error.h"

/* Frozen: varve(1) documents them and scripts rely on them. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_NOT_FOUND = 3,
    CLI_EXIT_EXISTS = 4,
    CLI_EXIT_DENIED = 5,
    CLI_EXIT_UNREACHABLE = 6,
    CLI_EXIT_NOSPACE = 7,
    CLI_EXIT_CORRUPT = 8,
    CLI_EXIT_REPAIRABLE = 9 /* disk check: not clean, but all of the disk can be read */
};

/* unreachable: the error is of the connection itself, not of what was asked for. */
enum cli_exit cli_exit_of(enum varve_err code, bool unreachable);

#endif
