/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_VHDX_VHDX_EDIT_H
#define VARVE_TESTS_VHDX_VHDX_EDIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"
#include "lib/mem_fs.h"

/*
 * Changes VHDX and VHD files in memory, so that tests can make broken, dirty and odd ones.  Running
 * out of memory ends the program: these are tests.
 */

/* Where the plan puts things. */
#define EDIT_HEADER1  UINT64_C(0x10000)
#define EDIT_HEADER2  UINT64_C(0x20000)
#define EDIT_REGION1  UINT64_C(0x30000)
#define EDIT_REGION2  UINT64_C(0x40000)
#define EDIT_LOG      UINT64_C(0x100000)
#define EDIT_METADATA UINT64_C(0x200000)
#define EDIT_ITEMS    UINT64_C(0x210000)
#define EDIT_BAT      UINT64_C(0x300000)

void edit_put(struct mem_fs *m, const char *path, uint64_t off, const void *data, size_t len);
void edit_le16(struct mem_fs *m, const char *path, uint64_t off, uint16_t v);
void edit_le32(struct mem_fs *m, const char *path, uint64_t off, uint32_t v);
void edit_le64(struct mem_fs *m, const char *path, uint64_t off, uint64_t v);
void edit_flip(struct mem_fs *m, const char *path, uint64_t off, unsigned bit);
uint64_t edit_get_le64(struct mem_fs *m, const char *path, uint64_t off);

/* Both headers get the value; checksums are made right. */
void edit_headers_le64(struct mem_fs *m, const char *path, unsigned field, uint64_t v);

/* Gives every header, region table, log entry and VHD structure that looks like one its checksum. */
void edit_fix_checksums(struct mem_fs *m, const char *path);

/* A copy of one file under another name. */
void edit_copy(struct mem_fs *m, const char *from, const char *to);

/*
 * Log entries.  Descriptors are added first, then the entry is written at a sector of the ring.
 */
#define EDIT_DESCRIPTORS_MAX 512u

struct edit_descriptor {
    uint64_t offset;
    uint64_t length;     /* zero descriptors; 0 for data */
    const uint8_t *page; /* 4096 bytes; NULL: zeros */
};

struct edit_entry {
    uint64_t sequence;
    uint32_t tail; /* byte offset in the ring */
    uint64_t flushed;
    uint64_t last;
    struct guid guid;
    size_t count;
    struct edit_descriptor descriptors[EDIT_DESCRIPTORS_MAX];
};

/* The GUID that edit_log_open() puts into the headers. */
extern const struct guid edit_log_guid;

/* Marks the log as one that must be replayed. */
void edit_log_open(struct mem_fs *m, const char *path);
/* Writes the entry at byte `at` of a ring of `ring` bytes at offset EDIT_LOG; its length in bytes. */
uint32_t edit_log_write(struct mem_fs *m, const char *path, uint32_t ring, uint32_t at,
                        const struct edit_entry *e);

#endif
