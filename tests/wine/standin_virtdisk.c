/* SPDX-License-Identifier: Apache-2.0 */
#include "wine/standin_virtdisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "source/abi_virtdisk.h"
#include "wine/standin_hook.h"

#define DISKS_MAX 64
#define SECTOR    512u
#define ID_MAX    128

struct disk {
    HANDLE handle; /* NULL: free */
    wchar_t path[1024];
    BOOL attached;
    BOOL readable; /* attached so that the handle itself can be read */
};

static struct disk disks[DISKS_MAX];
static SRWLOCK lock = SRWLOCK_INIT;
static struct standin_report report;
static uint32_t fail_in;
static uint32_t fail_code;

static struct standin_hooks real;

void standin_report(struct standin_report *out);
void standin_fail(uint32_t nth, uint32_t code);
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

/* ---- book-keeping; all with the lock held ---- */

static void
breach(const char *what)
{
    report.breaches++;
    (void)snprintf(report.breach, sizeof(report.breach), "%s", what);
}

/* Notes the call; a code other than 0 is what it must fail with. */
static DWORD
called(const char *name)
{
    size_t len = strlen(report.log);

    (void)snprintf(report.log + len, sizeof(report.log) - len, "%s%s", len > 0 ? " " : "", name);
    return fail_in > 0 && --fail_in == 0 ? fail_code : 0;
}

static struct disk *
find(HANDLE h)
{
    for (size_t i = 0; i < DISKS_MAX; i++) {
        if (disks[i].handle == h && h != NULL) {
            return &disks[i];
        }
    }
    return NULL;
}

void
standin_report(struct standin_report *out)
{
    AcquireSRWLockExclusive(&lock);
    report.open_handles = 0;
    for (size_t i = 0; i < DISKS_MAX; i++) {
        report.open_handles += disks[i].handle != NULL;
    }
    *out = report;
    report.log[0] = '\0';
    ReleaseSRWLockExclusive(&lock);
}

void
standin_fail(uint32_t nth, uint32_t code)
{
    AcquireSRWLockExclusive(&lock);
    fail_in = nth;
    fail_code = code;
    ReleaseSRWLockExclusive(&lock);
}

/* ---- virtdisk.dll ---- */

static DWORD
open_locked(const struct abi_storage_type *type, const wchar_t *path, uint32_t mask,
            const struct abi_open_parameters *p, HANDLE *out)
{
    struct disk *d = NULL;
    DWORD code = called("open");
    HANDLE h;

    if (code != 0) {
        *out = (HANDLE)(uintptr_t)0xDEAD; /* undefined after a failure: not to be closed */
        return code;
    }
    if (type == NULL || path == NULL || p == NULL || (p->version >= 2 && mask != 0)) {
        breach("open: version 2 wants access mask 0");
        return ERROR_INVALID_PARAMETER;
    }
    for (size_t i = 0; i < DISKS_MAX && d == NULL; i++) {
        d = disks[i].handle == NULL ? &disks[i] : NULL;
    }
    if (d == NULL || wcslen(path) >= sizeof(d->path) / sizeof(d->path[0])) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    h = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING,
                    FILE_FLAG_OVERLAPPED, NULL);
    if (h == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    memset(d, 0, sizeof(*d));
    d->handle = h;
    (void)wcscpy(d->path, path);
    *out = h;
    return ERROR_SUCCESS;
}

DWORD WINAPI
standin_open(const struct abi_storage_type *type, const wchar_t *path, uint32_t mask,
             uint32_t flags, const struct abi_open_parameters *p, HANDLE *out)
{
    DWORD code;

    (void)flags;
    AcquireSRWLockExclusive(&lock);
    code = open_locked(type, path, mask, p, out);
    ReleaseSRWLockExclusive(&lock);
    return code;
}

/* The file of changes, NULL when change tracking is off for this disk. */
static FILE *
changes_file(const struct disk *d)
{
    wchar_t path[1040];

    (void)_snwprintf(path, sizeof(path) / sizeof(path[0]), L"%ls.changes", d->path);
    return _wfopen(path, L"r");
}

static DWORD
tracking(const struct disk *d, ULONG *room, struct abi_info *info)
{
    FILE *f = changes_file(d);
    char id[ID_MAX] = "";
    int newer = 0;
    ULONG need;

    if (f != NULL) {
        if (fscanf(f, "%127s %d", id, &newer) != 2) {
            id[0] = '\0';
        }
        (void)fclose(f);
    }
    need = ABI_INFO_TRACKED_ID + (ULONG)(strlen(id) + 1) * 2;
    if (*room < need) {
        *room = need;
        return ERROR_INSUFFICIENT_BUFFER;
    }
    info->u.tracking.enabled = f != NULL;
    info->u.tracking.newer_changes = newer;
    for (size_t i = 0; i <= strlen(id); i++) {
        uint16_t unit = (uint16_t)(unsigned char)id[i];

        memcpy((uint8_t *)info + ABI_INFO_TRACKED_ID + 2 * i, &unit, 2);
    }
    return ERROR_SUCCESS;
}

DWORD WINAPI
standin_info(HANDLE h, ULONG *room, struct abi_info *info, ULONG *used)
{
    static const struct abi_guid id = {0x11223344, 0x5566, 0x7788, {1, 2, 3, 4, 5, 6, 7, 8}};
    struct disk *d;
    LARGE_INTEGER size;
    char what[24];
    DWORD code;

    (void)used;
    AcquireSRWLockExclusive(&lock);
    (void)snprintf(what, sizeof(what), "info:%u", info == NULL ? 0 : info->version);
    code = called(what);
    d = find(h);
    if (code == 0 && (d == NULL || info == NULL || *room < ABI_INFO_SIZE)) {
        breach("info: no handle of ours, or a short buffer");
        code = ERROR_INVALID_PARAMETER;
    }
    if (code == 0) {
        switch (info->version) {
        case 1:
            (void)GetFileSizeEx(h, &size);
            info->u.size.virtual_size = (uint64_t)size.QuadPart;
            info->u.size.physical_size = (uint64_t)size.QuadPart;
            info->u.size.block_size = 1u << 20;
            info->u.size.sector_size = SECTOR;
            break;
        case 6:
            info->u.storage_type.device_id = 3;
            break;
        case 7:
            info->u.number = 3;
            break;
        case 10:
            info->u.number = 4096;
            break;
        case 14:
            info->u.id = id;
            break;
        case 15:
            code = tracking(d, room, info);
            break;
        default:
            code = ERROR_INVALID_PARAMETER;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    return code;
}

DWORD WINAPI
standin_set(HANDLE h, const struct abi_set_info *info)
{
    DWORD code;

    (void)info;
    AcquireSRWLockExclusive(&lock);
    code = called("set");
    if (code == 0 && find(h) == NULL) {
        code = ERROR_INVALID_PARAMETER;
    }
    ReleaseSRWLockExclusive(&lock);
    return code;
}

/* Ranges of the id inside [off, off + len), in the order of the file; stops when the array is full. */
static DWORD
changes_locked(const struct disk *d, const char *id, uint64_t off, uint64_t len,
               struct abi_range *ranges, ULONG *count, uint64_t *processed)
{
    FILE *f = changes_file(d);
    unsigned long long at;
    unsigned long long length;
    char line_id[ID_MAX];
    ULONG room = *count;
    ULONG n = 0;
    BOOL known = FALSE;
    int newer;

    if (f == NULL) {
        return 0xC03A002Au; /* change tracking is disabled */
    }
    *processed = len;
    if (fscanf(f, "%127s %d", line_id, &newer) == 2) {
        known = strcmp(line_id, id) == 0;
    }
    while (fscanf(f, "%127s %llu %llu", line_id, &at, &length) == 3) {
        if (strcmp(line_id, id) != 0) {
            continue;
        }
        known = TRUE;
        if (at + length <= off || at >= off + len) {
            continue;
        }
        if (n == room) {
            *processed = ranges[n - 1].offset + ranges[n - 1].length - off;
            break;
        }
        ranges[n].offset = at < off ? off : at;
        ranges[n].length = at + length - ranges[n].offset;
        ranges[n].reserved = 0;
        n++;
    }
    (void)fclose(f);
    *count = n;
    return known ? ERROR_SUCCESS : 0xC03A0029u; /* the change tracking id is invalid */
}

DWORD WINAPI
standin_changes(HANDLE h, const wchar_t *id, uint64_t off, uint64_t len, uint32_t flags,
                struct abi_range *ranges, ULONG *count, uint64_t *processed)
{
    char narrow[ID_MAX];
    struct disk *d;
    DWORD code;

    AcquireSRWLockExclusive(&lock);
    code = called("changes");
    d = find(h);
    if (code == 0 && (d == NULL || flags != 0 || id == NULL || *count == 0)) {
        breach("changes: no handle of ours, flags, or no room");
        code = ERROR_INVALID_PARAMETER;
    }
    if (code == 0) {
        (void)snprintf(narrow, sizeof(narrow), "%ls", id);
        code = changes_locked(d, narrow, off, len, ranges, count, processed);
    }
    ReleaseSRWLockExclusive(&lock);
    return code;
}

DWORD WINAPI
standin_attach(HANDLE h, void *sd, uint32_t flags, uint32_t provider,
               const struct abi_attach_parameters *p, OVERLAPPED *o)
{
    struct disk *d;
    char what[24];
    DWORD code;

    (void)sd;
    (void)provider;
    (void)o;
    AcquireSRWLockExclusive(&lock);
    (void)snprintf(what, sizeof(what), "attach:%u", (unsigned)flags);
    code = called(what);
    d = find(h);
    if (code == 0 && (d == NULL || (p != NULL && p->version != 1))) {
        breach("attach: no handle of ours, or an unknown version");
        code = ERROR_INVALID_PARAMETER;
    } else if (code == 0 && d->attached) {
        code = ERROR_SHARING_VIOLATION;
    } else if (code == 0) {
        d->attached = TRUE;
        d->readable = (flags & 0x8u) != 0; /* NO_LOCAL_HOST */
    }
    ReleaseSRWLockExclusive(&lock);
    return code;
}

DWORD WINAPI
standin_detach(HANDLE h, uint32_t flags, uint32_t provider)
{
    struct disk *d;
    DWORD code;

    (void)flags;
    (void)provider;
    AcquireSRWLockExclusive(&lock);
    code = called("detach");
    d = find(h);
    if (code == 0 && (d == NULL || !d->attached)) {
        breach("detach: not attached");
        code = ERROR_INVALID_PARAMETER;
    } else if (code == 0) {
        d->attached = FALSE;
        d->readable = FALSE;
    }
    ReleaseSRWLockExclusive(&lock);
    return code;
}

/* ---- what the program calls of the kernel ---- */

static BOOL WINAPI
seen_read(HANDLE h, LPVOID buf, DWORD len, LPDWORD got, LPOVERLAPPED at)
{
    const struct disk *d;
    DWORD code = 0;

    AcquireSRWLockExclusive(&lock);
    d = find(h);
    if (d != NULL) {
        code = called("read");
        report.reads++;
        report.read_bytes += len;
        if (at == NULL || at->hEvent == NULL) {
            breach("read: the handle is asynchronous, each read needs an event of its own");
        } else if (at->Offset % SECTOR != 0 || len % SECTOR != 0 || len == 0) {
            breach("read: offset or length is not a multiple of the sector");
        } else if ((uintptr_t)buf % 4096 != 0) {
            breach("read: the buffer is not aligned");
        }
        if (code == 0 && !d->readable) {
            code = ERROR_BAD_COMMAND;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    if (code != 0) {
        SetLastError(code);
        return FALSE;
    }
    return real.read(h, buf, len, got, at);
}

static BOOL WINAPI
seen_close(HANDLE h)
{
    struct disk *d;

    AcquireSRWLockExclusive(&lock);
    d = find(h);
    if (d != NULL) {
        (void)called("close");
        d->handle = NULL;
    } else if (h == (HANDLE)(uintptr_t)0xDEAD) {
        breach("close: the handle of a failed open");
    }
    ReleaseSRWLockExclusive(&lock);
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
