/* SPDX-License-Identifier: Apache-2.0 */
#include "vss/vss_code.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "wmi/hresult.h"

static const struct {
    uint32_t number;
    enum varve_err code;
    const char *name;
} table[] = {
    {0x80042301, VARVE_ERR_INVALID, "VSS_E_BAD_STATE"},
    {0x80042302, VARVE_ERR_IO, "VSS_E_UNEXPECTED"},
    {0x80042304, VARVE_ERR_UNSUPPORTED, "VSS_E_PROVIDER_NOT_REGISTERED"},
    {0x80042306, VARVE_ERR_IO, "VSS_E_PROVIDER_VETO"},
    {0x80042308, VARVE_ERR_NOT_FOUND, "VSS_E_OBJECT_NOT_FOUND"},
    {0x8004230C, VARVE_ERR_UNSUPPORTED, "VSS_E_VOLUME_NOT_SUPPORTED"},
    {0x8004230D, VARVE_ERR_EXISTS, "VSS_E_OBJECT_ALREADY_EXISTS"},
    {0x8004230F, VARVE_ERR_IO, "VSS_E_UNEXPECTED_PROVIDER_ERROR"},
    {0x80042311, VARVE_ERR_PROTOCOL, "VSS_E_INVALID_XML_DOCUMENT"},
    {0x80042312, VARVE_ERR_LIMIT, "VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED"},
    {0x80042313, VARVE_ERR_TIMEOUT, "VSS_E_FLUSH_WRITES_TIMEOUT"},
    {0x80042314, VARVE_ERR_TIMEOUT, "VSS_E_HOLD_WRITES_TIMEOUT"},
    {0x80042316, VARVE_ERR_BUSY, "VSS_E_SNAPSHOT_SET_IN_PROGRESS"},
    {0x80042317, VARVE_ERR_LIMIT, "VSS_E_MAXIMUM_NUMBER_OF_SNAPSHOTS_REACHED"},
    {0x8004231F, VARVE_ERR_NOSPACE, "VSS_E_INSUFFICIENT_STORAGE"},
    {0x8004232E, VARVE_ERR_BUSY, "VSS_E_CLUSTER_TIMEOUT"},
    {0x800423F0, VARVE_ERR_BUSY, "VSS_E_WRITERERROR_INCONSISTENTSNAPSHOT"},
    {0x800423F1, VARVE_ERR_BUSY, "VSS_E_WRITERERROR_OUTOFRESOURCES"},
    {0x800423F2, VARVE_ERR_TIMEOUT, "VSS_E_WRITERERROR_TIMEOUT"},
    {0x800423F3, VARVE_ERR_BUSY, "VSS_E_WRITERERROR_RETRYABLE"},
    {0x800423F4, VARVE_ERR_IO, "VSS_E_WRITERERROR_NONRETRYABLE"},
    {0x80042400, VARVE_ERR_IO, "VSS_E_CLUSTER_ERROR"},
    {0x80004001, VARVE_ERR_UNSUPPORTED, "E_NOTIMPL"},
};

enum varve_err
vss_code(uint32_t number)
{
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].number == number) {
            return table[i].code;
        }
    }
    return hresult_code(number);
}

/* "VSS_E_BAD_STATE", or NULL. */
static const char *
name_of(uint32_t number)
{
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].number == number) {
            return table[i].name;
        }
    }
    return NULL;
}

enum varve_err
vss_error(struct varve_error *err, uint32_t number, const char *fmt, ...)
{
    const char *name = name_of(number);
    char what[160];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    (void)varve_error_set(err, vss_code(number), "%s: %s%s0x%08" PRIX32 "%s", what,
                          name != NULL ? name : "", name != NULL ? " (" : "", number,
                          name != NULL ? ")" : "");
    err->source = VARVE_SRC_HRESULT;
    err->native = number;
    return err->code;
}

bool
vss_is_retryable(uint32_t number)
{
    return number == VSS_E_WRITERERROR_INCONSISTENT || number == VSS_E_WRITERERROR_OUTOFRESOURCES ||
           number == VSS_E_WRITERERROR_TIMEOUT || number == VSS_E_WRITERERROR_RETRYABLE ||
           number == VSS_E_SNAPSHOT_SET_IN_PROGRESS || number == 0x8004232Eu;
}

const char *
vss_state_name(uint32_t state)
{
    static const char *const names[] = {
        "unknown",
        "stable",
        "waiting for the freeze",
        "waiting for the thaw",
        "waiting for the snapshot's end",
        "waiting for the backup's end",
        "failed at identify",
        "failed at prepare for backup",
        "failed at prepare for snapshot",
        "failed at freeze",
        "failed at thaw",
        "failed after the snapshot",
        "failed at the backup's end",
        "failed before restore",
        "failed after restore",
        "failed at shutdown",
    };

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "in a state that is unknown";
}
