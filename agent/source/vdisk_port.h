/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_VDISK_PORT_H
#define VARVE_SOURCE_VDISK_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

/*
 * virtdisk.dll as this agent uses it.  Loops and decisions (query until all is processed, what an
 * error means for a disk, splitting and aligning reads) stand above this port and run on every system;
 * a member only translates.  Members: win_vdisk (virtdisk.dll, Windows), vdisk_fake of the
 * simulated host (tests/hvsim).
 *
 * Texts are UTF-8.  Numbers of constants are those of the Windows SDK (virtdisk.h), so that a member
 * hands them through.
 *
 * Errors: the functions of virtdisk.dll return DWORDs that are Win32 codes or, from 0x80000000 on,
 * HRESULT-like ones of the virtual disk facility; any but 0 is an error (never use FAILED()).  Members
 * make them with native_error() (wmi/hresult.h), which keeps the number.  What callers act on:
 *   VARVE_ERR_STALE        change tracking cannot answer: 0xC03A0020..24, 28, 29, 2A, 30; the
 *                          capture takes all from 0xC03A0020 to 30 for that
 *   VARVE_ERR_BUSY         32 ERROR_SHARING_VIOLATION: somebody holds the file
 *   VARVE_ERR_DENIED       5, 1300 (SE_MANAGE_VOLUME_PRIVILEGE is not held)
 *   VARVE_ERR_UNSUPPORTED  the system's virtdisk.dll has no such function
 *   VARVE_ERR_NOT_FOUND    2, 3
 *
 * Threads: a port and an open disk may be used by many threads at once; a struct vdisk_io by one
 * at a time; closing only when nobody uses the thing any more.
 */
struct vdisk_port;
struct vdisk;    /* an open virtual disk */
struct vdisk_io; /* a read in flight on it: one OVERLAPPED with an event of its own */

/* OPEN_VIRTUAL_DISK_PARAMETERS and the access mask. */
struct vdisk_how {
    uint32_t version;     /* 1 or 2 (3 is for a snapshot inside a VHD set) */
    uint32_t access_mask; /* with version 2 and 3 it must be 0: rights come from the two below */
    uint32_t flags;       /* OPEN_VIRTUAL_DISK_FLAG_* */
    bool get_info_only;
    bool read_only;
    struct guid resiliency; /* random, one per open: equal ones make the driver share one disk */
    struct guid snapshot;   /* version 3 */
};

/* GET_VIRTUAL_DISK_INFO_VERSION */
enum vdisk_info_version {
    VDISK_INFO_SIZE = 1,
    VDISK_INFO_STORAGE_TYPE = 6,
    VDISK_INFO_SUBTYPE = 7,
    VDISK_INFO_PHYSICAL_SECTOR = 10,
    VDISK_INFO_ID = 14,
    VDISK_INFO_TRACKING = 15
};

#define VDISK_CHANGE_ID_MAX 256u /* bytes with the NUL; a longer one is VARVE_ERR_LIMIT */

/* Only the part that belongs to the version asked for is filled. */
struct vdisk_info {
    uint64_t virtual_size; /* SIZE */
    uint64_t physical_size;
    uint32_t block_size;
    uint32_t sector_size;     /* logical */
    uint32_t device_id;       /* STORAGE_TYPE: 2 VHD, 3 VHDX, 4 VHD set */
    uint32_t subtype;         /* SUBTYPE: 2 fixed, 3 dynamic, 4 differencing */
    uint32_t physical_sector; /* PHYSICAL_SECTOR */
    struct guid id;           /* ID: VirtualDiskId, one for the whole chain */
    bool tracking_enabled;    /* TRACKING */
    bool newer_changes;
    char most_recent_id[VDISK_CHANGE_ID_MAX];
};

/* SET_VIRTUAL_DISK_INFO_VERSION */
enum vdisk_set_version { VDISK_SET_ID = 5, VDISK_SET_TRACKING = 6 };

struct vdisk_set {
    struct guid id;        /* VDISK_SET_ID */
    bool tracking_enabled; /* VDISK_SET_TRACKING */
};

struct vdisk_range {
    uint64_t offset; /* from the beginning of the disk */
    uint64_t length;
};

/* ATTACH_VIRTUAL_DISK_FLAG_* */
#define VDISK_ATTACH_READ_ONLY     0x1u
#define VDISK_ATTACH_NO_LOCAL_HOST 0x8u

#define VDISK_READ_MAX (1024u * 1024) /* bytes of one read */
#define VDISK_ALIGN    4096u          /* of buffers, offsets and lengths: see read_begin() */

struct vdisk_port_ops {
    void (*close)(struct vdisk_port *p);

    /* Whether the system has QueryChangesVirtualDisk (Windows 10, Server 2016). */
    bool (*has_query_changes)(struct vdisk_port *p);
    /* Whether this process holds SE_MANAGE_VOLUME_PRIVILEGE, without which nothing is attached. */
    bool (*may_attach)(struct vdisk_port *p);

    /* OpenVirtualDisk; the format is found by the provider (device and vendor unknown). */
    enum varve_err (*open)(struct vdisk_port *p, const char *path, const struct vdisk_how *how,
                           struct vdisk **out, struct varve_error *err);
    /* CloseHandle.  Nothing is in flight; an attached disk is detached by it. */
    void (*close_disk)(struct vdisk *d);

    /* GetVirtualDiskInformation; the member grows the buffer until it fits. */
    enum varve_err (*info)(struct vdisk *d, enum vdisk_info_version version, struct vdisk_info *out,
                           struct varve_error *err);
    /* SetVirtualDiskInformation: only disks that no vm uses. */
    enum varve_err (*set)(struct vdisk *d, enum vdisk_set_version version,
                          const struct vdisk_set *value, struct varve_error *err);

    /* QueryChangesVirtualDisk, one call: *count is the capacity and becomes what was filled;
     * *processed is how much of len these cover. */
    enum varve_err (*query_changes)(struct vdisk *d, const char *change_id, uint64_t off,
                                    uint64_t len, struct vdisk_range *ranges, uint32_t *count,
                                    uint64_t *processed, struct varve_error *err);

    /* AttachVirtualDisk / DetachVirtualDisk.  With NO_LOCAL_HOST the disk appears nowhere on the
     * host and the handle itself can be read. */
    enum varve_err (*attach)(struct vdisk *d, uint32_t flags, struct varve_error *err);
    enum varve_err (*detach)(struct vdisk *d, struct varve_error *err);

    enum varve_err (*io_new)(struct vdisk *d, struct vdisk_io **out, struct varve_error *err);
    void (*io_free)(struct vdisk_io *io); /* not in flight; NULL is not allowed */
    /* ReadFile on the handle, overlapped: returns as soon as it is under way (or done).  off and len
     * are multiples of the logical sector, buf of VDISK_ALIGN, len at most VDISK_READ_MAX; buf stays
     * until read_end().  After an error nothing is in flight. */
    enum varve_err (*read_begin)(struct vdisk_io *io, void *buf, uint32_t len, uint64_t off,
                                 struct varve_error *err);
    /* Waits for it: *got bytes.  Past timeout_ms the read is cancelled (CancelIoEx), waited for, and
     * the result is VARVE_ERR_TIMEOUT: either way nothing is in flight after this returns. */
    enum varve_err (*read_end)(struct vdisk_io *io, uint32_t timeout_ms, uint32_t *got,
                               struct varve_error *err);
};

struct vdisk_port {
    const struct vdisk_port_ops *ops;
};

/* The first member of what a member calls an open disk and a read. */
struct vdisk {
    const struct vdisk_port_ops *ops;
};

struct vdisk_io {
    const struct vdisk_port_ops *ops;
};

void vdisk_port_close(struct vdisk_port *p); /* NULL is fine */

#endif
