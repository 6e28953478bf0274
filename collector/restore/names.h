/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_NAMES_H
#define VARVE_RESTORE_NAMES_H

#include <stddef.h>

#include "base/error.h"

/*
 * File names of a restore.  What a host called its files is somebody else's data: it becomes a name
 * that is harmless on Linux and legal on Windows, and no two files of a restore share one.
 *
 * Threads: a struct names belongs to one thread.
 */
#define NAMES_PART_MAX 160u /* bytes of one part; leaves room for "_<GUID>.avhdx" under 255 */
#define NAMES_DEPTH    8u   /* folders kept of a configuration file's name */

/* One part of a path: control characters, '/', '\' and whatever else Windows forbids, and bytes that
 * are not UTF-8 become '_'; no ".", "..", trailing dot or space, no device name (CON, NUL, ...);
 * cut at NAMES_PART_MAX; what is left without anything becomes fallback. */
void names_clean_part(const char *in, size_t len, const char *fallback,
                      char out[NAMES_PART_MAX + 1]);

/* Takes a disk image's suffix off, in place: .vhdx .avhdx .vhds .vhd .avhd .raw .img */
void names_strip_suffix(char *name);

/* Names given so far in one restore. */
struct names {
    char **taken;
    size_t count;
    size_t cap;
};

void names_init(struct names *n);
void names_release(struct names *n);

/* prefix + stem + suffix, or with "-2", "-3", ... behind the stem when that is taken (compared
 * without regard to case, as Windows does).  The caller frees *out. */
VARVE_CHECK enum varve_err names_unique(struct names *n, const char *prefix, const char *stem,
                                        const char *suffix, char **out, struct varve_error *err);

/* A configuration file's path under folder: each part cleaned, '/' and '\' both divide. */
VARVE_CHECK enum varve_err names_config(struct names *n, const char *folder, const char *name,
                                        char **out, struct varve_error *err);

#endif
