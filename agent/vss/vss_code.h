/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VSS_VSS_CODE_H
#define VARVE_VSS_VSS_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Numbers of VSS (vsserror.h) as ours, with their names: the numbers say little to who reads a log.  Other HRESULTs
 * are hresult_code()'s.
 */
#define VSS_E_BAD_STATE                  0x80042301u
#define VSS_E_OBJECT_NOT_FOUND           0x80042308u
#define VSS_S_ASYNC_PENDING              0x00042309u
#define VSS_S_ASYNC_FINISHED             0x0004230Au
#define VSS_S_ASYNC_CANCELLED            0x0004230Bu
#define VSS_E_SNAPSHOT_SET_IN_PROGRESS   0x80042316u
#define VSS_E_INSUFFICIENT_STORAGE       0x8004231Fu
#define VSS_E_WRITERERROR_INCONSISTENT   0x800423F0u
#define VSS_E_WRITERERROR_OUTOFRESOURCES 0x800423F1u
#define VSS_E_WRITERERROR_TIMEOUT        0x800423F2u
#define VSS_E_WRITERERROR_RETRYABLE      0x800423F3u
#define VSS_E_WRITERERROR_NONRETRYABLE   0x800423F4u

enum varve_err vss_code(uint32_t number);
/* "<fmt>: VSS_E_BAD_STATE (0x80042301)" with err->native. */
enum varve_err vss_error(struct varve_error *err, uint32_t number, const char *fmt, ...)
    VARVE_PRINTF(3, 4);

/* A writer's failure after which the same may work later. */
bool vss_is_retryable(uint32_t number);
/* "failed at freeze", "stable": VSS_WRITER_STATE for people. */
const char *vss_state_name(uint32_t state);

#endif
