/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_PROCESS_H
#define VARVE_OS_PROCESS_H

#include <stdint.h>

#include "base/error.h"

/* What the system says about this process and this boot. */

#define PROCESS_BOOT_ID_SIZE 64

/*
 * A text that is the same until the machine starts again, then another.  Two equal texts mean:
 * whatever the kernel had in its page cache then, it still has.  Where the system has no such text
 * (VARVE_ERR_UNSUPPORTED) the caller must assume that the machine did restart.
 */
VARVE_CHECK enum varve_err process_boot_id(char out[PROCESS_BOOT_ID_SIZE], struct varve_error *err);

uint32_t process_id(void);

#endif
