/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WINE_STANDIN_VIRTDISK_H
#define VARVE_WINE_STANDIN_VIRTDISK_H

#include <stdint.h>

/*
 * A virtdisk.dll for tests under Wine, whose own cannot do anything.  A "virtual disk" is a raw file;
 * beside it FILE.changes holds "ID NEWER" (its most recent change id) and then a line "ID OFFSET
 * LENGTH" for each range that changed since ID.  The handle that OpenVirtualDisk() gives is that of
 * the raw file, so that ReadFile() on it is the real one.
 *
 * What the real one demands is checked here, because Wine does not: access mask 0 with version 2,
 * attaching before reading, offsets, lengths and buffers of reads aligned, nothing detached or closed
 * with a read in flight.  A breach is counted.  ReadFile() and CloseHandle() of the program are seen
 * through its import table.
 *
 * Two more exports, for the test that loaded it:
 */

struct standin_report {
    uint32_t breaches;     /* of the rules above */
    uint32_t open_handles; /* virtual disks opened and not closed */
    uint32_t reads;
    uint64_t read_bytes;
    char breach[128]; /* the last one */
    char log[2048];   /* calls since the last report, "open info:1 attach:9 ...", in order */
};

/* Fills *out and clears log. */
typedef void (*standin_report_fn)(struct standin_report *out);
/* The nth call of the DLL or ReadFile from now on (1 = the next) fails with code; 0: none. */
typedef void (*standin_fail_fn)(uint32_t nth, uint32_t code);

#endif
