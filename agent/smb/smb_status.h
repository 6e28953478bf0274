/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_STATUS_H
#define VARVE_SMB_SMB_STATUS_H

#include <stdint.h>

#include "base/error.h"

/* The statuses that this client acts on (MS-ERREF 2.3.1).  All others are errors with their number. */
#define NT_SUCCESS                  0x00000000u
#define NT_PENDING                  0x00000103u
#define NT_BUFFER_OVERFLOW          0x80000005u
#define NT_INVALID_HANDLE           0xC0000008u
#define NT_INVALID_PARAMETER        0xC000000Du
#define NT_INVALID_DEVICE_REQUEST   0xC0000010u
#define NT_MORE_PROCESSING_REQUIRED 0xC0000016u
#define NT_BUFFER_TOO_SMALL         0xC0000023u
#define NT_OBJECT_NAME_INVALID      0xC0000033u
#define NT_OBJECT_NAME_NOT_FOUND    0xC0000034u
#define NT_NOT_SUPPORTED            0xC00000BBu

/* "STATUS_ACCESS_DENIED"; "an unknown status" for what the table does not have.  Statuses of remote
 * shared disks (facility 0x5C) are in it. */
const char *smb_status_name(uint32_t status);

/* "<fmt>: STATUS_... (0xC0000022)"; the number stays in err->native (VARVE_SRC_NTSTATUS). */
enum varve_err smb_status_error(struct varve_error *err, uint32_t status, const char *fmt, ...)
    VARVE_PRINTF(3, 4);

#endif
