/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_LIB_MEM_FS_H
#define VARVE_TESTS_LIB_MEM_FS_H

#include <stddef.h>
#include <stdint.h>

#include "os/file.h"

/*
 * A struct fs of a few files in memory, for parsers that are fed broken files by the thousand.
 * Files are sparse (pages of 4 KiB, holes are known); there are no folders: a path is only a name, and every folder
 * lists all files by the last part of theirs.  sync does nothing; renaming and removing are
 * VARVE_ERR_UNSUPPORTED.
 *
 * Threads: reading from many; everything else alone.
 */
struct mem_fs;

#define MEM_FS_FILES    512u
#define MEM_FS_FILE_MAX ((uint64_t)16 << 30)

/* NULL when there is no memory. */
struct mem_fs *mem_fs_new(void);
void mem_fs_free(struct mem_fs *m); /* NULL is fine; files must be closed */
struct fs *mem_fs_fs(struct mem_fs *m);

/* Writes into a file, which is made or grows as needed, whoever has it open. */
VARVE_CHECK enum varve_err mem_fs_put(struct mem_fs *m, const char *path, const void *data,
                                      size_t len, uint64_t off, struct varve_error *err);
VARVE_CHECK enum varve_err mem_fs_set_size(struct mem_fs *m, const char *path, uint64_t size,
                                           struct varve_error *err);
/* Bytes from a file; zeros where it has none. */
void mem_fs_get(struct mem_fs *m, const char *path, void *buf, size_t len, uint64_t off);
uint64_t mem_fs_size(struct mem_fs *m, const char *path);
/* Bytes of memory that hold contents. */
size_t mem_fs_used(const struct mem_fs *m);

#endif
