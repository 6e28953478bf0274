/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_OP_MODULES_H
#define VARVE_SESSION_OP_MODULES_H

#include "session/operator_handlers.h"

/* Modules that are written apart from the sessions; operator_modules.c lists them. */
extern const struct op_module
    op_restore_module; /* RestoreOpen, RestoreRead, RestoreMap, RestoreClose */
extern const struct op_module op_verify_module; /* Verify */

#endif
