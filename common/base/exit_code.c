/* SPDX-License-Identifier: Apache-2.0 */
#include "base/exit_code.h"

enum varve_exit
varve_exit_of(enum varve_err code, bool unreachable)
{
    switch (code) {
    case VARVE_OK:
        return VARVE_EXIT_OK;
    case VARVE_ERR_DENIED:
    case VARVE_ERR_AUTH:
        return VARVE_EXIT_DENIED;
    case VARVE_ERR_NOMEM:
    case VARVE_ERR_CANCELLED:
    case VARVE_ERR_INTERNAL:
        return VARVE_EXIT_FAILED;
    default:
        break;
    }
    if (unreachable) {
        return VARVE_EXIT_UNREACHABLE;
    }
    switch (code) {
    case VARVE_ERR_INVALID:
        return VARVE_EXIT_USAGE;
    case VARVE_ERR_NOT_FOUND:
        return VARVE_EXIT_NOT_FOUND;
    case VARVE_ERR_EXISTS:
        return VARVE_EXIT_EXISTS;
    case VARVE_ERR_NOSPACE:
        return VARVE_EXIT_NOSPACE;
    case VARVE_ERR_CORRUPT:
        return VARVE_EXIT_CORRUPT;
    default:
        return VARVE_EXIT_FAILED;
    }
}
