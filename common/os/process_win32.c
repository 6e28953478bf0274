/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include <windows.h>

/* Windows has the time of its start, which moves when the clock is set, but no name for it. */
enum varve_err
process_boot_id(char out[PROCESS_BOOT_ID_SIZE], struct varve_error *err)
{
    (void)out;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "Windows has no boot id");
}

uint32_t
process_id(void)
{
    return GetCurrentProcessId();
}
