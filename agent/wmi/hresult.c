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
    const char *name; /* of a ReturnValue */
} table[] = {
    /* Return values of the snapshot service (DMTF) and of the others (32768 + n). */
    {1, VARVE_ERR_UNSUPPORTED, "not supported"},
    {2, VARVE_ERR_IO, "failed"},
    {3, VARVE_ERR_TIMEOUT, "timed out"},
    {4, VARVE_ERR_INVALID, "invalid parameter"},
    {5, VARVE_ERR_BUSY, "invalid state"},
    {6, VARVE_ERR_INVALID, "invalid type"},
    {32768, VARVE_ERR_IO, "failed"},
    {32769, VARVE_ERR_DENIED, "access denied"},
    {32770, VARVE_ERR_UNSUPPORTED, "not supported"},
    {32771, VARVE_ERR_IO, "status unknown"},
    {32772, VARVE_ERR_TIMEOUT, "timed out"},
    {32773, VARVE_ERR_INVALID, "invalid parameter"},
    {32774, VARVE_ERR_BUSY, "in use"},
    {32775, VARVE_ERR_BUSY, "invalid state"},
    {32776, VARVE_ERR_INVALID, "wrong data type"},
    {32777, VARVE_ERR_BUSY, "the system is not available"},
    {32778, VARVE_ERR_NOMEM, "out of memory"},
    {32779, VARVE_ERR_NOT_FOUND, "file not found"},
    /* WMI */
    {0x80041002, VARVE_ERR_NOT_FOUND, NULL},
    {0x80041003, VARVE_ERR_DENIED, NULL},
    {0x80041006, VARVE_ERR_NOMEM, NULL},
    {0x80041008, VARVE_ERR_INVALID, NULL},
    {0x8004100E, VARVE_ERR_UNSUPPORTED, NULL}, /* no such namespace: no Hyper-V role */
    {0x80041015, VARVE_ERR_CLOSED, NULL},      /* transport failure */
    {0x80041069, VARVE_ERR_TIMEOUT, NULL},
    {0x80010108, VARVE_ERR_CLOSED, NULL}, /* RPC_E_DISCONNECTED */
    {0x800706BA, VARVE_ERR_CLOSED, NULL}, /* RPC server unavailable */
    {0x800706BE, VARVE_ERR_CLOSED, NULL}, /* remote procedure call failed */
    /* HRESULT_FROM_WIN32 */
    {0x80070002, VARVE_ERR_NOT_FOUND, NULL},
    {0x80070003, VARVE_ERR_NOT_FOUND, NULL},
    {0x80070005, VARVE_ERR_DENIED, NULL},
    {0x8007000E, VARVE_ERR_NOMEM, NULL},
    {0x80070020, VARVE_ERR_BUSY, NULL},
    {0x80070027, VARVE_ERR_NOSPACE, NULL},
    {0x80070050, VARVE_ERR_EXISTS, NULL},
    {0x80070057, VARVE_ERR_INVALID, NULL},
    {0x80070070, VARVE_ERR_NOSPACE, NULL},
    {0x8007052F, VARVE_ERR_DENIED, NULL}, /* ERROR_ACCOUNT_RESTRICTION */
    {0x80070569, VARVE_ERR_DENIED, NULL}, /* ERROR_LOGON_TYPE_NOT_GRANTED */
    {0x800705B4, VARVE_ERR_TIMEOUT, NULL},
    /* Change tracking cannot answer (winerror.h, virtual disk facility). */
    {0xC03A0020, VARVE_ERR_STALE, NULL},
    {0xC03A0021, VARVE_ERR_STALE, NULL},
    {0xC03A0022, VARVE_ERR_STALE, NULL},
    {0xC03A0023, VARVE_ERR_STALE, NULL},
    {0xC03A0024, VARVE_ERR_STALE, NULL},
    {0xC03A0028, VARVE_ERR_STALE, NULL},
    {0xC03A0029, VARVE_ERR_STALE, NULL},
    {0xC03A002A, VARVE_ERR_STALE, NULL},
    {0xC03A0030, VARVE_ERR_STALE, NULL},
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

const char *
hresult_name(uint32_t number)
{
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].number == number && table[i].name != NULL) {
            return table[i].name;
        }
    }
    return "refused";
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
