/* SPDX-License-Identifier: Apache-2.0 */
#define VARVE_HRESULT_IMPLEMENTATION
#include "wmi/hresult.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static const struct {
    uint32_t number;
    enum varve_err code;
} table[] = {
    /* Return values of the snapshot service (DMTF) and of the others (32768 + n). */
    {1, VARVE_ERR_UNSUPPORTED},
    {2, VARVE_ERR_IO},
    {3, VARVE_ERR_TIMEOUT},
    {4, VARVE_ERR_INVALID},
    {5, VARVE_ERR_BUSY},
    {6, VARVE_ERR_INVALID},
    {32768, VARVE_ERR_IO},
    {32769, VARVE_ERR_DENIED},
    {32770, VARVE_ERR_UNSUPPORTED},
    {32771, VARVE_ERR_IO},
    {32772, VARVE_ERR_TIMEOUT},
    {32773, VARVE_ERR_INVALID},
    {32774, VARVE_ERR_BUSY},
    {32775, VARVE_ERR_BUSY},
    {32776, VARVE_ERR_INVALID},
    {32777, VARVE_ERR_BUSY},
    {32778, VARVE_ERR_NOMEM},
    {32779, VARVE_ERR_NOT_FOUND},
    /* WMI */
    {0x80041002, VARVE_ERR_NOT_FOUND},
    {0x80041003, VARVE_ERR_DENIED},
    {0x80041006, VARVE_ERR_NOMEM},
    {0x80041008, VARVE_ERR_INVALID},
    {0x8004100E, VARVE_ERR_UNSUPPORTED}, /* no such namespace: no Hyper-V role */
    {0x80041015, VARVE_ERR_CLOSED},      /* transport failure */
    {0x80041069, VARVE_ERR_TIMEOUT},
    {0x80010108, VARVE_ERR_CLOSED}, /* RPC_E_DISCONNECTED */
    {0x800706BA, VARVE_ERR_CLOSED}, /* RPC server unavailable */
    {0x800706BE, VARVE_ERR_CLOSED}, /* remote procedure call failed */
    /* HRESULT_FROM_WIN32 */
    {0x80070002, VARVE_ERR_NOT_FOUND},
    {0x80070003, VARVE_ERR_NOT_FOUND},
    {0x80070005, VARVE_ERR_DENIED},
    {0x8007000E, VARVE_ERR_NOMEM},
    {0x80070020, VARVE_ERR_BUSY},
    {0x80070027, VARVE_ERR_NOSPACE},
    {0x80070050, VARVE_ERR_EXISTS},
    {0x80070057, VARVE_ERR_INVALID},
    {0x80070070, VARVE_ERR_NOSPACE},
    {0x800705B4, VARVE_ERR_TIMEOUT},
    /* Change tracking cannot answer (winerror.h, virtual disk facility). */
    {0xC03A0020, VARVE_ERR_STALE},
    {0xC03A0021, VARVE_ERR_STALE},
    {0xC03A0022, VARVE_ERR_STALE},
    {0xC03A0023, VARVE_ERR_STALE},
    {0xC03A0024, VARVE_ERR_STALE},
    {0xC03A0028, VARVE_ERR_STALE},
    {0xC03A0029, VARVE_ERR_STALE},
    {0xC03A002A, VARVE_ERR_STALE},
    {0xC03A0030, VARVE_ERR_STALE},
};

enum varve_err
hresult_code(uint32_t number)
{
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].number == number) {
            return table[i].code;
        }
    }
    return VARVE_ERR_IO;
}

enum varve_err
hresult_error(struct varve_error *err, uint32_t number, const char *text, const char *fmt, ...)
{
    char what[128];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (number >= 0x80000000u) {
        (void)varve_error_set(err, hresult_code(number), "%s: %s (0x%08" PRIX32 ")", what, text,
                              number);
    } else {
        (void)varve_error_set(err, hresult_code(number), "%s: %s (%" PRIu32 ")", what, text,
                              number);
    }
    err->source = VARVE_SRC_HRESULT;
    err->native = number;
    return err->code;
}

enum varve_err
native_error(struct varve_error *err, uint32_t number, const char *fmt, ...)
{
    char what[160];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (number >= 0x80000000u) {
        return hresult_error(err, number, "virtual disk", "%s", what);
    }
    return varve_error_win32(err, number, "%s", what);
}
