/* SPDX-License-Identifier: Apache-2.0 */
#include "source/win_vdisk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "os/wide_win32.h"
#include "source/abi_virtdisk.h"
#include "wmi/hresult.h"

/* Only translation: what anything means is decided above the port. */

#define INFO_FIRST_ROOM 1024u
#define INFO_ROOM_MAX   65536u

typedef DWORD(WINAPI *open_fn)(const struct abi_storage_type *, const wchar_t *, uint32_t mask,
                               uint32_t flags, const struct abi_open_parameters *, HANDLE *);
typedef DWORD(WINAPI *info_fn)(HANDLE, ULONG *room, struct abi_info *, ULONG *used);
typedef DWORD(WINAPI *set_fn)(HANDLE, const struct abi_set_info *);
typedef DWORD(WINAPI *changes_fn)(HANDLE, const wchar_t *id, uint64_t off, uint64_t len,
                                  uint32_t flags, struct abi_range *, ULONG *count,
                                  uint64_t *processed);
typedef DWORD(WINAPI *attach_fn)(HANDLE, PSECURITY_DESCRIPTOR, uint32_t flags, uint32_t provider,
                                 const struct abi_attach_parameters *, OVERLAPPED *);
typedef DWORD(WINAPI *detach_fn)(HANDLE, uint32_t flags, uint32_t provider);

struct win_port {
    struct vdisk_port base;
    HMODULE dll;
    bool may_attach;
    open_fn open;
    info_fn info;
    set_fn set;
    changes_fn changes; /* NULL: older than Windows 10 and Server 2016 */
    attach_fn attach;
    detach_fn detach;
};

struct win_disk {
    struct vdisk base;
    const struct win_port *port;
    HANDLE handle;
};

struct win_io {
    struct vdisk_io base;
    HANDLE handle; /* the disk's */
    OVERLAPPED at;
    uint32_t wanted;
};

static struct win_disk *
disk_of(struct vdisk *d)
{
    return (struct win_disk *)d;
}

static struct win_io *
io_of(struct vdisk_io *io)
{
    return (struct win_io *)io;
}

static void
guid_out(struct guid *out, const struct abi_guid *in)
{
    uint8_t mixed[16];

    memcpy(mixed, in, sizeof(mixed));
    guid_from_mixed(out, mixed);
}

static void
guid_in(struct abi_guid *out, const struct guid *in)
{
    uint8_t mixed[16];

    guid_to_mixed(in, mixed);
    memcpy(out, mixed, sizeof(mixed));
}

/* ---- the port ---- */

static void
port_close(struct vdisk_port *p)
{
    struct win_port *port = (struct win_port *)p;

    if (port->dll != NULL) {
        (void)FreeLibrary(port->dll);
    }
    free(port);
}

static bool
port_has_query_changes(struct vdisk_port *p)
{
    return ((struct win_port *)p)->changes != NULL;
}

static bool
port_may_attach(struct vdisk_port *p)
{
    return ((struct win_port *)p)->may_attach;
}

/* ---- disks ---- */

static enum varve_err
disk_open(struct vdisk_port *p, const char *path, const struct vdisk_how *how, struct vdisk **out,
          struct varve_error *err)
{
    const struct win_port *port = (const struct win_port *)p;
    struct abi_storage_type any;
    struct abi_open_parameters parameters;
    struct win_disk *d = calloc(1, sizeof(*d));
    wchar_t *wide = NULL;
    HANDLE handle = NULL;
    DWORD code;
    enum varve_err rc;

    if (d == NULL) {
        return varve_error_nomem(err);
    }
    rc = wide_from_utf8(&wide, path, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    memset(&any, 0, sizeof(any));
    memset(&parameters, 0, sizeof(parameters));
    parameters.version = how->version;
    if (how->version == 1) {
        parameters.u.v1.rw_depth = how->read_only ? 0 : 1;
    } else {
        parameters.u.v2.get_info_only = how->get_info_only ? 1 : 0;
        parameters.u.v2.read_only = how->read_only ? 1 : 0;
        guid_in(&parameters.u.v2.resiliency, &how->resiliency);
        guid_in(&parameters.u.v2.snapshot, &how->snapshot);
    }
    code = port->open(&any, wide, how->access_mask, how->flags, &parameters, &handle);
    if (code != ERROR_SUCCESS) { /* the handle is then undefined */
        rc = native_error(err, code, "opening the virtual disk '%s'", path);
        goto out;
    }
    d->base.ops = p->ops;
    d->port = port;
    d->handle = handle;
    *out = &d->base;
    d = NULL;
out:
    free(wide);
    free(d);
    return rc;
}

static void
disk_close(struct vdisk *d)
{
    (void)CloseHandle(disk_of(d)->handle);
    free(d);
}

/* The text at the end of version 15: everything behind it in the buffer is zero. */
static enum varve_err
copy_tracking(struct vdisk_info *out, const struct abi_info *info, size_t room,
              struct varve_error *err)
{
    const uint8_t *bytes = (const uint8_t *)info;
    size_t units = (room - ABI_INFO_TRACKED_ID) / sizeof(wchar_t);
    wchar_t *wide = calloc(units + 1, sizeof(*wide));
    char *text = NULL;
    size_t len;
    enum varve_err rc;

    if (wide == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(wide, bytes + ABI_INFO_TRACKED_ID, units * sizeof(*wide));
    rc = wide_to_utf8(&text, wide, err);
    if (rc == VARVE_OK) {
        len = strlen(text);
        if (len >= sizeof(out->most_recent_id)) {
            rc = varve_error_set(err, VARVE_ERR_LIMIT, "a change id of %zu bytes; at most %zu fit",
                                 len, sizeof(out->most_recent_id) - 1);
        } else {
            memcpy(out->most_recent_id, text, len + 1);
            out->tracking_enabled = info->u.tracking.enabled != 0;
            out->newer_changes = info->u.tracking.newer_changes != 0;
        }
    }
    free(text);
    free(wide);
    return rc;
}

static enum varve_err
copy_info(struct vdisk_info *out, enum vdisk_info_version version, const struct abi_info *info,
          size_t room, struct varve_error *err)
{
    switch (version) {
    case VDISK_INFO_SIZE:
        out->virtual_size = info->u.size.virtual_size;
        out->physical_size = info->u.size.physical_size;
        out->block_size = info->u.size.block_size;
        out->sector_size = info->u.size.sector_size;
        return VARVE_OK;
    case VDISK_INFO_STORAGE_TYPE:
        out->device_id = info->u.storage_type.device_id;
        return VARVE_OK;
    case VDISK_INFO_SUBTYPE:
        out->subtype = info->u.number;
        return VARVE_OK;
    case VDISK_INFO_PHYSICAL_SECTOR:
        out->physical_sector = info->u.number;
        return VARVE_OK;
    case VDISK_INFO_ID:
        guid_out(&out->id, &info->u.id);
        return VARVE_OK;
    case VDISK_INFO_TRACKING:
        return copy_tracking(out, info, room, err);
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "no such information: %d", (int)version);
}

static enum varve_err
disk_info(struct vdisk *d, enum vdisk_info_version version, struct vdisk_info *out,
          struct varve_error *err)
{
    const struct win_disk *disk = disk_of(d);
    ULONG room = INFO_FIRST_ROOM;
    struct abi_info *info = NULL;
    DWORD code = ERROR_INSUFFICIENT_BUFFER;
    enum varve_err rc;
    int tries;

    /* Twice is what the API needs; a text that grows meanwhile may need more. */
    for (tries = 0; tries < 4 && code == ERROR_INSUFFICIENT_BUFFER; tries++) {
        ULONG asked = room;

        free(info);
        info = calloc(1, (size_t)room + sizeof(wchar_t));
        if (info == NULL) {
            return varve_error_nomem(err);
        }
        info->version = (uint32_t)version;
        code = disk->port->info(disk->handle, &asked, info, NULL);
        if (code == ERROR_INSUFFICIENT_BUFFER) {
            room = asked > room ? asked : room * 2;
            if (room > INFO_ROOM_MAX) {
                break;
            }
        }
    }
    rc = code == ERROR_SUCCESS
             ? copy_info(out, version, info, room, err)
             : native_error(err, code, "asking a virtual disk for information %d", (int)version);
    free(info);
    return rc;
}

static enum varve_err
disk_set(struct vdisk *d, enum vdisk_set_version version, const struct vdisk_set *value,
         struct varve_error *err)
{
    const struct win_disk *disk = disk_of(d);
    struct abi_set_info info;
    DWORD code;

    memset(&info, 0, sizeof(info));
    info.version = (uint32_t)version;
    if (version == VDISK_SET_ID) {
        guid_in(&info.u.id, &value->id);
    } else {
        info.u.tracking_enabled = value->tracking_enabled ? 1 : 0;
    }
    code = disk->port->set(disk->handle, &info);
    return code == ERROR_SUCCESS
               ? VARVE_OK
               : native_error(err, code, "setting information %d of a virtual disk", (int)version);
}

static enum varve_err
disk_query_changes(struct vdisk *d, const char *change_id, uint64_t off, uint64_t len,
                   struct vdisk_range *ranges, uint32_t *count, uint64_t *processed,
                   struct varve_error *err)
{
    const struct win_disk *disk = disk_of(d);
    struct abi_range *found = NULL;
    wchar_t *wide = NULL;
    ULONG n = *count;
    uint64_t done = 0;
    DWORD code;
    enum varve_err rc;

    if (disk->port->changes == NULL) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this Windows has no QueryChangesVirtualDisk");
    }
    found = calloc((size_t)n + 1, sizeof(*found));
    if (found == NULL) {
        return varve_error_nomem(err);
    }
    rc = wide_from_utf8(&wide, change_id, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    code = disk->port->changes(disk->handle, wide, off, len, 0, found, &n, &done);
    if (code != ERROR_SUCCESS) {
        rc = native_error(err, code, "asking what changed in %" PRIu64 " bytes at %" PRIu64, len,
                          off);
        goto out;
    }
    if (n > *count) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                             "QueryChangesVirtualDisk filled %lu ranges of %" PRIu32, n, *count);
        goto out;
    }
    for (ULONG i = 0; i < n; i++) {
        ranges[i].offset = found[i].offset;
        ranges[i].length = found[i].length;
    }
    *count = n;
    *processed = done;
out:
    free(wide);
    free(found);
    return rc;
}

static enum varve_err
disk_attach(struct vdisk *d, uint32_t flags, struct varve_error *err)
{
    const struct win_disk *disk = disk_of(d);
    struct abi_attach_parameters parameters = {.version = 1};
    DWORD code = disk->port->attach(disk->handle, NULL, flags, 0, &parameters, NULL);

    return code == ERROR_SUCCESS ? VARVE_OK : native_error(err, code, "attaching a virtual disk");
}

static enum varve_err
disk_detach(struct vdisk *d, struct varve_error *err)
{
    const struct win_disk *disk = disk_of(d);
    DWORD code = disk->port->detach(disk->handle, 0, 0);

    return code == ERROR_SUCCESS ? VARVE_OK : native_error(err, code, "detaching a virtual disk");
}

/* ---- reads ---- */

static enum varve_err
io_new(struct vdisk *d, struct vdisk_io **out, struct varve_error *err)
{
    struct win_io *io = calloc(1, sizeof(*io));

    if (io == NULL) {
        return varve_error_nomem(err);
    }
    io->base.ops = d->ops;
    io->handle = disk_of(d)->handle;
    io->at.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (io->at.hEvent == NULL) {
        free(io);
        return varve_error_win32(err, GetLastError(), "making an event");
    }
    *out = &io->base;
    return VARVE_OK;
}

static void
io_free(struct vdisk_io *io)
{
    (void)CloseHandle(io_of(io)->at.hEvent);
    free(io);
}

static enum varve_err
io_read_begin(struct vdisk_io *base, void *buf, uint32_t len, uint64_t off, struct varve_error *err)
{
    struct win_io *io = io_of(base);
    HANDLE event = io->at.hEvent;
    DWORD code;

    memset(&io->at, 0, sizeof(io->at));
    io->at.hEvent = event;
    io->at.Offset = (DWORD)(off & 0xFFFFFFFFu);
    io->at.OffsetHigh = (DWORD)(off >> 32);
    io->wanted = len;
    if (!ReadFile(io->handle, buf, len, NULL, &io->at)) {
        code = GetLastError();
        if (code != ERROR_IO_PENDING) {
            return native_error(err, code, "reading %" PRIu32 " bytes at %" PRIu64, len, off);
        }
    }
    return VARVE_OK;
}

static enum varve_err
io_read_end(struct vdisk_io *base, uint32_t timeout_ms, uint32_t *got, struct varve_error *err)
{
    struct win_io *io = io_of(base);
    bool late = WaitForSingleObject(io->at.hEvent, timeout_ms) == WAIT_TIMEOUT;
    uint64_t off = (uint64_t)io->at.OffsetHigh << 32 | io->at.Offset;
    DWORD n = 0;
    DWORD code;

    if (late) {
        (void)CancelIoEx(io->handle, &io->at);
    }
    /* The buffer and the OVERLAPPED are the system's until the read has come back: no way around
     * waiting, however long it takes. */
    if (GetOverlappedResult(io->handle, &io->at, &n, TRUE)) {
        *got = n;
        return VARVE_OK; /* late, but there */
    }
    code = GetLastError();
    if (late) {
        return varve_error_set(err, VARVE_ERR_TIMEOUT,
                               "reading %" PRIu32 " bytes at %" PRIu64 " took more than %" PRIu32
                               " ms",
                               io->wanted, off, timeout_ms);
    }
    if (code == ERROR_HANDLE_EOF) {
        *got = n;
        return VARVE_OK;
    }
    return native_error(err, code, "reading %" PRIu32 " bytes at %" PRIu64, io->wanted, off);
}

static const struct vdisk_port_ops ops = {
    .close = port_close,
    .has_query_changes = port_has_query_changes,
    .may_attach = port_may_attach,
    .open = disk_open,
    .close_disk = disk_close,
    .info = disk_info,
    .set = disk_set,
    .query_changes = disk_query_changes,
    .attach = disk_attach,
    .detach = disk_detach,
    .io_new = io_new,
    .io_free = io_free,
    .read_begin = io_read_begin,
    .read_end = io_read_end,
};

/* ---- opening ---- */

/* Not held: attaching will say so (1300 or 5) and the error names it. */
static bool
enable_manage_volume(void)
{
    bool held = false;
    HANDLE token = NULL;
    TOKEN_PRIVILEGES p;

    memset(&p, 0, sizeof(p));
    p.PrivilegeCount = 1;
    p.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token)) {
        if (LookupPrivilegeValueW(NULL, L"SeManageVolumePrivilege", &p.Privileges[0].Luid)) {
            /* It succeeds, too, when it could not: ERROR_NOT_ALL_ASSIGNED. */
            held = AdjustTokenPrivileges(token, FALSE, &p, 0, NULL, NULL) &&
                   GetLastError() == ERROR_SUCCESS;
        }
        (void)CloseHandle(token);
    }
    return held;
}

static FARPROC
find(const struct win_port *port, const char *name)
{
    return GetProcAddress(port->dll, name);
}

enum varve_err
win_vdisk_open(struct vdisk_port **out, struct varve_error *err)
{
    struct win_port *port = calloc(1, sizeof(*port));

    if (port == NULL) {
        return varve_error_nomem(err);
    }
    port->base.ops = &ops;
    port->dll = LoadLibraryExW(L"virtdisk.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (port->dll != NULL) {
        /* A FARPROC is any function: the way to another kind goes through void (*)(void). */
        port->open = (open_fn)(void (*)(void))find(port, "OpenVirtualDisk");
        port->info = (info_fn)(void (*)(void))find(port, "GetVirtualDiskInformation");
        port->set = (set_fn)(void (*)(void))find(port, "SetVirtualDiskInformation");
        port->changes = (changes_fn)(void (*)(void))find(port, "QueryChangesVirtualDisk");
        port->attach = (attach_fn)(void (*)(void))find(port, "AttachVirtualDisk");
        port->detach = (detach_fn)(void (*)(void))find(port, "DetachVirtualDisk");
    }
    if (port->open == NULL || port->info == NULL || port->set == NULL || port->attach == NULL ||
        port->detach == NULL) {
        port_close(&port->base);
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "this Windows has no virtdisk.dll that can be used");
    }
    port->may_attach = enable_manage_volume();
    *out = &port->base;
    return VARVE_OK;
}
