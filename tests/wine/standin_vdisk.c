/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtdisk.dll of a simulated host: each call goes to `hvsim ports`, which judges it, logs it and
 * makes it fail when a test wants that.  The handle of a virtual disk is that of an event, so that what is
 * done to it behind this DLL's back fails; ReadFile() and CloseHandle() of the program are seen through
 * its imports.  A read is done when ReadFile() returns, and says that it is under way all the same.
 */
#include "wine/standin_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/guid.h"
#include "source/abi_virtdisk.h"
#include "wine/standin_hook.h"

#define DISKS_MAX 256u

struct open_disk {
    HANDLE handle; /* NULL: free */
    json_int_t number;
};

static SRWLOCK lock = SRWLOCK_INIT;
static struct open_disk disks[DISKS_MAX];
static struct standin_hooks real;

DWORD WINAPI standin_open(const struct abi_storage_type *type, const wchar_t *path, uint32_t mask,
                          uint32_t flags, const struct abi_open_parameters *p, HANDLE *out);
DWORD WINAPI standin_info(HANDLE h, ULONG *room, struct abi_info *info, ULONG *used);
DWORD WINAPI standin_set(HANDLE h, const struct abi_set_info *info);
DWORD WINAPI standin_changes(HANDLE h, const wchar_t *id, uint64_t off, uint64_t len,
                             uint32_t flags, struct abi_range *ranges, ULONG *count,
                             uint64_t *processed);
DWORD WINAPI standin_attach(HANDLE h, void *sd, uint32_t flags, uint32_t provider,
                            const struct abi_attach_parameters *p, OVERLAPPED *o);
DWORD WINAPI standin_detach(HANDLE h, uint32_t flags, uint32_t provider);
BOOL WINAPI DllMain(HINSTANCE self, DWORD why, LPVOID reserved);

/* The number of a handle of ours, 0 for any other; with forget it is none of ours afterwards. */
static json_int_t
find(HANDLE h, bool forget)
{
    json_int_t number = 0;

    AcquireSRWLockExclusive(&lock);
    for (size_t i = 0; i < DISKS_MAX && h != NULL; i++) {
        if (disks[i].handle == h) {
            number = disks[i].number;
            disks[i].handle = forget ? NULL : h;
            break;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    return number;
}

static HANDLE
remember(json_int_t number)
{
    HANDLE h = CreateEventW(NULL, TRUE, FALSE, NULL);
    bool done = false;

    AcquireSRWLockExclusive(&lock);
    for (size_t i = 0; i < DISKS_MAX && h != NULL && !done; i++) {
        if (disks[i].handle == NULL) {
            disks[i].handle = h;
            disks[i].number = number;
            done = true;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    if (h != NULL && !done) {
        (void)real.close(h);
        h = NULL;
    }
    return h;
}

/* A call about a disk; takes request. */
static json_t *
ask(HANDLE h, const char *op, json_t *request, DWORD *code)
{
    json_t *reply;
    uint32_t number = 0;

    (void)json_object_set_new(request, "op", json_string(op));
    (void)json_object_set_new(request, "disk", json_integer(find(h, false)));
    reply = standin_ask(request, NULL, 0, &number);
    *code = number;
    return reply;
}

DWORD WINAPI
standin_open(const struct abi_storage_type *type, const wchar_t *path, uint32_t mask,
             uint32_t flags, const struct abi_open_parameters *p, HANDLE *out)
{
    char id[GUID_TEXT_SIZE];
    struct guid resiliency;
    uint8_t mixed[16];
    uint32_t number = 0;
    json_t *reply;
    char *text;

    if (type == NULL || path == NULL || p == NULL) {
        return ERROR_INVALID_PARAMETER;
    }
    memcpy(mixed, &p->u.v2.resiliency, sizeof(mixed));
    guid_from_mixed(&resiliency, mixed);
    guid_format(&resiliency, id);
    text = standin_utf8(path);
    reply =
        standin_ask(json_pack("{s:s,s:s,s:I,s:I,s:I,s:i,s:i,s:s}", "op", "vdisk.open", "path", text,
                              "version", (json_int_t)p->version, "mask", (json_int_t)mask, "flags",
                              (json_int_t)flags, "info_only", (int)p->u.v2.get_info_only,
                              "read_only", (int)p->u.v2.read_only, "resiliency", id),
                    NULL, 0, &number);
    free(text);
    *out = (HANDLE)(uintptr_t)0xDEAD; /* undefined after a failure: not to be closed */
    if (reply != NULL) {
        HANDLE h = remember(json_integer_value(json_object_get(reply, "disk")));

        number = h != NULL ? 0 : ERROR_NOT_ENOUGH_MEMORY;
        *out = h;
        json_decref(reply);
    }
    return number;
}

static DWORD
copy_tracking(const json_t *reply, ULONG *room, struct abi_info *info)
{
    BSTR id = standin_bstr(json_string_value(json_object_get(reply, "most_recent_id")));
    ULONG bytes = (ULONG)(SysStringLen(id) + 1) * sizeof(wchar_t);
    ULONG need = ABI_INFO_TRACKED_ID + bytes;

    if (*room < need) {
        SysFreeString(id);
        *room = need;
        return ERROR_INSUFFICIENT_BUFFER;
    }
    info->u.tracking.enabled =
        (int32_t)json_integer_value(json_object_get(reply, "tracking_enabled"));
    info->u.tracking.newer_changes =
        (int32_t)json_integer_value(json_object_get(reply, "newer_changes"));
    memcpy((uint8_t *)info + ABI_INFO_TRACKED_ID, id, bytes);
    SysFreeString(id);
    return ERROR_SUCCESS;
}

static uint64_t
integer_of(const json_t *reply, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(reply, key));
}

DWORD WINAPI
standin_info(HANDLE h, ULONG *room, struct abi_info *info, ULONG *used)
{
    struct guid id = {{0}};
    uint8_t mixed[16];
    json_t *reply;
    DWORD code;

    (void)used;
    if (info == NULL || room == NULL || *room < ABI_INFO_SIZE) {
        return ERROR_INVALID_PARAMETER;
    }
    reply = ask(h, "vdisk.info", json_pack("{s:I}", "version", (json_int_t)info->version), &code);
    if (reply == NULL) {
        return code;
    }
    switch (info->version) {
    case 1:
        info->u.size.virtual_size = integer_of(reply, "virtual_size");
        info->u.size.physical_size = integer_of(reply, "physical_size");
        info->u.size.block_size = (uint32_t)integer_of(reply, "block_size");
        info->u.size.sector_size = (uint32_t)integer_of(reply, "sector_size");
        break;
    case 6:
        info->u.storage_type.device_id = (uint32_t)integer_of(reply, "device_id");
        break;
    case 7:
        info->u.number = (uint32_t)integer_of(reply, "subtype");
        break;
    case 10:
        info->u.number = (uint32_t)integer_of(reply, "physical_sector");
        break;
    case 14:
        (void)guid_parse(&id, json_string_value(json_object_get(reply, "id")));
        guid_to_mixed(&id, mixed);
        memcpy(&info->u.id, mixed, sizeof(mixed));
        break;
    case 15:
        code = copy_tracking(reply, room, info);
        break;
    default:
        code = ERROR_INVALID_PARAMETER;
    }
    json_decref(reply);
    return code;
}

DWORD WINAPI
standin_set(HANDLE h, const struct abi_set_info *info)
{
    (void)h;
    (void)info;
    return ERROR_ACCESS_DENIED; /* the vm has the disk */
}

DWORD WINAPI
standin_changes(HANDLE h, const wchar_t *id, uint64_t off, uint64_t len, uint32_t flags,
                struct abi_range *ranges, ULONG *count, uint64_t *processed)
{
    char *text = standin_utf8(id);
    const json_t *list;
    json_t *reply;
    DWORD code;

    (void)flags;
    reply = ask(h, "vdisk.changes",
                json_pack("{s:s,s:I,s:I,s:I}", "id", text, "offset", (json_int_t)off, "length",
                          (json_int_t)len, "max", (json_int_t)*count),
                &code);
    free(text);
    if (reply == NULL) {
        return code;
    }
    list = json_object_get(reply, "ranges");
    *count = (ULONG)json_array_size(list);
    for (ULONG i = 0; i < *count; i++) {
        const json_t *range = json_array_get(list, i);

        ranges[i].offset = (uint64_t)json_integer_value(json_array_get(range, 0));
        ranges[i].length = (uint64_t)json_integer_value(json_array_get(range, 1));
        ranges[i].reserved = 0;
    }
    *processed = integer_of(reply, "processed");
    json_decref(reply);
    return ERROR_SUCCESS;
}

DWORD WINAPI
standin_attach(HANDLE h, void *sd, uint32_t flags, uint32_t provider,
               const struct abi_attach_parameters *p, OVERLAPPED *o)
{
    DWORD code = ERROR_INVALID_PARAMETER;

    (void)sd;
    (void)provider;
    (void)o;
    if (p == NULL || p->version == 1) {
        json_decref(ask(h, "vdisk.attach", json_pack("{s:I}", "flags", (json_int_t)flags), &code));
    }
    return code;
}

DWORD WINAPI
standin_detach(HANDLE h, uint32_t flags, uint32_t provider)
{
    DWORD code;

    (void)flags;
    (void)provider;
    json_decref(ask(h, "vdisk.detach", json_object(), &code));
    return code;
}

/* ---- what the program calls of the kernel ---- */

static BOOL WINAPI
seen_read(HANDLE h, LPVOID buf, DWORD len, LPDWORD got, LPOVERLAPPED at)
{
    json_int_t number = find(h, false);
    uint32_t code = 0;
    json_t *reply;
    uint64_t off;

    if (number == 0) {
        return real.read(h, buf, len, got, at);
    }
    if (at == NULL || at->hEvent == NULL) { /* the handle is asynchronous */
        SetLastError(ERROR_INVALID_PARAMETER);
        return FALSE;
    }
    off = (uint64_t)at->OffsetHigh << 32 | at->Offset;
    reply = standin_ask(json_pack("{s:s,s:I,s:I,s:I,s:I}", "op", "vdisk.read", "disk", number,
                                  "offset", (json_int_t)off, "length", (json_int_t)len, "align",
                                  (json_int_t)((uintptr_t)buf % 4096)),
                        buf, len, &code);
    if (reply == NULL) {
        SetLastError(code);
        return FALSE;
    }
    at->Internal = 0;
    at->InternalHigh = (ULONG_PTR)integer_of(reply, "bytes");
    json_decref(reply);
    (void)SetEvent(at->hEvent);
    SetLastError(ERROR_IO_PENDING);
    return FALSE;
}

static BOOL WINAPI
seen_close(HANDLE h)
{
    json_int_t number = find(h, true);
    uint32_t code;

    if (number != 0) {
        json_decref(standin_ask(json_pack("{s:s,s:I}", "op", "vdisk.close", "disk", number), NULL,
                                0, &code));
    }
    return real.close(h);
}

BOOL WINAPI
DllMain(HINSTANCE self, DWORD why, LPVOID reserved)
{
    static const struct standin_hooks ours = {seen_read, seen_close};

    (void)self;
    (void)reserved;
    if (why == DLL_PROCESS_ATTACH) {
        standin_hook(&ours, &real);
    }
    return TRUE;
}
