/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exit_code.h"

enum cli_exit
cli_exit_of(enum varve_err code, bool unreachable)
{
    switch (code) {
    case VARVE_OK:
        return CLI_EXIT_OK;
    case VARVE_ERR_DENIED:
    case VARVE_ERR_AUTH:
        return CLI_EXIT_DENIED;
    case VARVE_ERR_NOMEM:
    case VARVE_ERR_CANCELLED:
    case VARVE_ERR_INTERNAL:
        return CLI_EXIT_FAILED;
    default:
        break;
    }
    if (unreachable) {
        return CLI_EXIT_UNREACHABLE;
    }
    switch (code) {
    case VARVE_ERR_INVALID:
        return CLI_EXIT_USAGE;
    case VARVE_ERR_NOT_FOUND:
        return CLI_EXIT_NOT_FOUND;
    case VARVE_ERR_EXISTS:
        return CLI_EXIT_EXISTS;
    case VARVE_ERR_NOSPACE:
        return CLI_EXIT_NOSPACE;
    case VARVE_ERR_CORRUPT:
        return CLI_EXIT_CORRUPT;
    default:
        return CLI_EXIT_FAILED;
    }
}
