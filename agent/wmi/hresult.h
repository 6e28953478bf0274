/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_HRESULT_H
#define VARVE_WMI_HRESULT_H

#include <stdint.h>

#include "base/error.h"

/*
 * Numbers that a Hyper-V host gives, as ours.  From 0x80000000 on a number is an HRESULT; below it is
 * the ReturnValue of a WMI method or a job's ErrorCode (CIM and 32768 + n).  The number itself stays
 * in err->native.
 */
enum varve_err hresult_code(uint32_t number);
/* What a ReturnValue means, as it is documented; "refused" for the others. */
const char *hresult_name(uint32_t number);

/* "<fmt>: <text> (0x80041002)"; text is the host's own and may be localized. */
enum varve_err hresult_error(struct varve_error *err, uint32_t number, const char *text,
                             const char *fmt, ...) VARVE_PRINTF(4, 5);

/* "<fmt>: ..." of what a function of virtdisk.dll returned: a Win32 code, or from 0x80000000 on a number as
 * above. */
enum varve_err native_error(struct varve_error *err, uint32_t number, const char *fmt, ...)
    VARVE_PRINTF(3, 4);

#if defined(__clang_analyzer__) && !defined(VARVE_HRESULT_IMPLEMENTATION)
/* As in base/error.h: the analyzer follows no path on which one of these returns VARVE_OK. */
#define hresult_error(err, number, text, ...)                                                      \
    (varve_analyzer_use(__VA_ARGS__, number, text), (err)->code = VARVE_ERR_IO)
#define native_error(err, number, ...)                                                             \
    (varve_analyzer_use(__VA_ARGS__, number), (err)->code = VARVE_ERR_IO)
#endif

#endif
