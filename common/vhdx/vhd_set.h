/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHD_SET_H
#define VARVE_VHDX_VHD_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * VHD Sets (.vhds, Windows Server 2016 and later): a small file that names the VHDX which holds the
 * disk of a guest cluster.  Microsoft does not document the layout.  What is here was seen in the one
 * public file, rsvd.vhds of microsoft/WindowsProtocolTestSuites, which has no snapshots:
 *
 *   0        "vhdsetv1", then the creator in UTF-16
 *   0x10000  header, 4096 bytes, and again at 0x20000; the larger sequence number counts
 *            0 "shdr"   8 sequence (64)   16 1, a version?   20 CRC-32C of the header without it
 *            28 offset and 32 length of the backing file's name; 4 and 24 unknown
 *   0x40000  its name in UTF-16, with a NUL: an .avhdx in the same folder
 *
 * How snapshots of a set are kept is not known: they are not looked for, and what is read is the
 * backing file that the header names.  Ask WMI (GetVHDSetInformation) for them.
 */
#define VHD_SET_SIGNATURE   "vhdsetv1"
#define VHD_SET_HEADER_SIZE 4096u
#define VHD_SET_NAME_MAX    1024u /* bytes of UTF-16 */

struct vhd_set_header {
    uint64_t sequence;
    uint32_t version;
    uint32_t name_offset;
    uint32_t name_length;
};

/* Header 0 or 1; *valid false when signature or checksum are wrong. */
VARVE_CHECK enum varve_err vhd_set_header_read(struct vhd_set_header *out, bool *valid,
                                               unsigned which, struct file *f,
                                               struct varve_error *err);

/* The name of the backing file: one plain name, in the folder of the set.  Caller frees. */
VARVE_CHECK enum varve_err vhd_set_read(char **out, struct file *f, uint64_t size,
                                        struct varve_error *err);

#endif
