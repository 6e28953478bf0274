/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_ABI_VIRTDISK_H
#define VARVE_SOURCE_ABI_VIRTDISK_H

#include <stddef.h>
#include <stdint.h>

/*
 * The binary interface of virtdisk.dll on 64-bit Windows, as far as the agent uses it, under names of
 * our own.  <virtdisk.h> is not included anywhere: mingw-w64 10 lacks the newer parts of it and has one
 * structure wrong.  Layouts are those of the Windows SDK 10.0.17704; compiled and asserted on every
 * system (abi_virtdisk.c).
 *
 * BOOL is 4 bytes, HANDLE and pointers 8, WCHAR 2; a GUID here is its 16 bytes in mixed-endian form
 * (guid_to_mixed()).
 */

struct abi_guid {
    uint32_t data1;
    uint16_t data2;
    uint16_t data3;
    uint8_t data4[8];
};

struct abi_storage_type { /* VIRTUAL_STORAGE_TYPE */
    uint32_t device_id;   /* 0 unknown: the provider finds out */
    struct abi_guid vendor_id;
};

struct abi_open_parameters { /* OPEN_VIRTUAL_DISK_PARAMETERS */
    uint32_t version;
    union {
        struct {
            uint32_t rw_depth;
        } v1;
        struct { /* versions 2 and 3 */
            int32_t get_info_only;
            int32_t read_only;
            struct abi_guid resiliency;
            struct abi_guid snapshot; /* version 3 */
        } v2;
    } u;
};

#define ABI_INFO_SIZE       32u /* sizeof(GET_VIRTUAL_DISK_INFO) */
#define ABI_INFO_TRACKED_ID 16u /* offset of MostRecentId[] in version 15 */

struct abi_info { /* GET_VIRTUAL_DISK_INFO; version 15 goes on with a text at ABI_INFO_TRACKED_ID */
    uint32_t version;
    uint32_t reserved;
    union {
        struct {
            uint64_t virtual_size;
            uint64_t physical_size;
            uint32_t block_size;
            uint32_t sector_size;
        } size;
        struct abi_storage_type storage_type;
        struct abi_guid id;
        uint32_t number; /* PROVIDER_SUBTYPE, VHD_PHYSICAL_SECTOR_SIZE */
        struct {
            int32_t enabled;
            int32_t newer_changes;
        } tracking;
    } u;
};

struct abi_set_info { /* SET_VIRTUAL_DISK_INFO */
    uint32_t version;
    uint32_t reserved;
    union {
        struct abi_guid id;
        int32_t tracking_enabled;
        struct {
            struct abi_guid linkage;
            const uint16_t *path;
        } parent_locator; /* the largest: never used */
    } u;
};

struct abi_range { /* QUERY_CHANGES_VIRTUAL_DISK_RANGE */
    uint64_t offset;
    uint64_t length;
    uint64_t reserved;
};

struct abi_attach_parameters { /* ATTACH_VIRTUAL_DISK_PARAMETERS, version 1 */
    uint32_t version;
    uint32_t reserved;
};

_Static_assert(sizeof(struct abi_guid) == 16, "GUID");
_Static_assert(sizeof(struct abi_storage_type) == 20, "VIRTUAL_STORAGE_TYPE");
_Static_assert(offsetof(struct abi_storage_type, vendor_id) == 4, "VendorId");
_Static_assert(sizeof(struct abi_open_parameters) == 44, "OPEN_VIRTUAL_DISK_PARAMETERS");
_Static_assert(offsetof(struct abi_open_parameters, u.v1.rw_depth) == 4, "RWDepth");
_Static_assert(offsetof(struct abi_open_parameters, u.v2.get_info_only) == 4, "GetInfoOnly");
_Static_assert(offsetof(struct abi_open_parameters, u.v2.read_only) == 8, "ReadOnly");
_Static_assert(offsetof(struct abi_open_parameters, u.v2.resiliency) == 12, "ResiliencyGuid");
_Static_assert(offsetof(struct abi_open_parameters, u.v2.snapshot) == 28, "SnapshotId");
_Static_assert(sizeof(struct abi_info) == ABI_INFO_SIZE, "GET_VIRTUAL_DISK_INFO");
_Static_assert(offsetof(struct abi_info, u) == 8, "its union");
_Static_assert(offsetof(struct abi_info, u.size.physical_size) == 16, "PhysicalSize");
_Static_assert(offsetof(struct abi_info, u.size.block_size) == 24, "BlockSize");
_Static_assert(offsetof(struct abi_info, u.size.sector_size) == 28, "SectorSize");
_Static_assert(offsetof(struct abi_info, u.storage_type.vendor_id) == 12, "VendorId");
_Static_assert(offsetof(struct abi_info, u.tracking.newer_changes) == 12, "NewerChanges");
_Static_assert(sizeof(struct abi_set_info) == 32, "SET_VIRTUAL_DISK_INFO");
_Static_assert(offsetof(struct abi_set_info, u) == 8, "its union");
_Static_assert(offsetof(struct abi_set_info, u.parent_locator.path) == 24, "ParentFilePath");
_Static_assert(sizeof(struct abi_range) == 24, "QUERY_CHANGES_VIRTUAL_DISK_RANGE");
_Static_assert(sizeof(struct abi_attach_parameters) == 8, "ATTACH_VIRTUAL_DISK_PARAMETERS");

#endif
