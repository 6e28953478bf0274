/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RESTORE_ASSEMBLY_H
#define VARVE_RESTORE_ASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "catalog/catalog.h"
#include "store/chunk_store.h"

/*
 * A restore as a list of virtual files.
 *
 * assembly_open() decides for a point and a format which files there are, reads the manifests (no
 * data) and plans every VHDX.  From then on each file has a fixed size and any range of it can be
 * computed: headers and tables from the plan, disk bytes from the store.  Nothing is written
 * anywhere; a restore, a stream or a mount are readers of the same thing.
 *
 *   vhdx   one dynamic VHDX per disk
 *   vhdx-fixed, vhd  one fixed VHDX, or dynamic VHD, per disk
 *   raw    one raw image per disk
 *   chain  per disk a dynamic VHDX of an older point and, for each later point up to the wanted one,
 *          a differencing VHDX that holds what differs.  Base and children lie in one folder; each
 *          child names its parent as ".\name" and by the DataWriteGuid given to it in this assembly.
 *          Windows wants one size along a chain: at a point at which a disk has another one than in the
 *          point before, a new chain starts, and a note says so.
 *
 * The configuration files of the (last) point lie under "config/".
 *
 * Every data byte handed out comes from chunk_store_get(), which has checked its hash; the tree of
 * names was authenticated by the root in the point.  Damage is VARVE_ERR_CORRUPT.
 *
 * Memory: one bit per chunk of a disk at most (chunk_set.h), and for children what vhdx_plan.h says;
 * more than ASSEMBLY_EXTENTS_MAX extents in all children is VARVE_ERR_LIMIT.
 *
 * Threads: after assembly_open(), map and read may run at the same time in any number of threads.
 */
#define ASSEMBLY_READ_MAX    (1024u * 1024)
#define ASSEMBLY_PIECES_MAX  2048u
#define ASSEMBLY_STRETCH_MAX 4096u
#define ASSEMBLY_CHAIN_MAX   99u /* files of a chain: vhdimount numbers them with two digits */
#define ASSEMBLY_EXTENTS_MAX (8u * 1024 * 1024)

#define ASSEMBLY_NO_FILE SIZE_MAX

enum assembly_format {
    ASSEMBLY_VHDX = 1,
    ASSEMBLY_RAW = 2,
    ASSEMBLY_CHAIN = 3,
    ASSEMBLY_VHDX_FIXED = 4,
    ASSEMBLY_VHD = 5
};

/* "vhdx", "raw", "chain", "vhdx-fixed", "vhd"; false: none of them. */
bool assembly_format_parse(enum assembly_format *out, const char *text);

struct assembly;

struct assembly_file {
    const char *name; /* relative, '/' between folders, harmless (names.h), unique */
    uint64_t size;
    uint64_t data_bytes; /* of them not holes */
    const struct point *point;
    const struct point_disk *disk; /* NULL: a configuration file */
    size_t parent; /* a child of a chain: the number of its parent; ASSEMBLY_NO_FILE */
};

/* cs must outlive the assembly; catalog is used by this call only.  base: first point of a chain,
 * all of whose points are then given; NULL for the oldest from which each disk can be one chain; must be
 * NULL for other formats. */
VARVE_CHECK enum varve_err assembly_open(struct assembly **out, struct chunk_store *cs,
                                         struct catalog *catalog, struct point *point,
                                         enum assembly_format format, struct point *base,
                                         struct varve_error *err);
void assembly_close(struct assembly *a); /* NULL is fine */

size_t assembly_file_count(const struct assembly *a);
const struct assembly_file *assembly_get_file(const struct assembly *a, size_t file);
/* What an operator should know: why a chain starts where it does. */
size_t assembly_note_count(const struct assembly *a);
const char *assembly_get_note(const struct assembly *a, size_t note);

struct assembly_stretch {
    uint64_t offset;
    uint64_t length;
};

/*
 * The stretches of a file that are not holes, ascending from off, at most cap of them; *next is where
 * to ask on, the file's size when there is no more.  None at all: only holes up to the end.
 */
VARVE_CHECK enum varve_err assembly_map(struct assembly *a, size_t file, uint64_t off,
                                        struct assembly_stretch *out, size_t cap, size_t *count,
                                        uint64_t *next, struct varve_error *err);

struct assembly_piece {
    uint32_t length;
    bool hole; /* zeros; not in the buffer */
};

/* What a read gives: pieces one behind the other from the offset asked for; their sum is the length. */
struct assembly_data {
    uint8_t *buf; /* the caller's, at least as long as the read */
    size_t buf_len;
    struct assembly_piece pieces[ASSEMBLY_PIECES_MAX];
    size_t piece_count;
};

/* len is 1 to ASSEMBLY_READ_MAX and must lie inside the file: otherwise VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err assembly_read(struct assembly *a, size_t file, uint64_t off, size_t len,
                                         struct assembly_data *out, struct varve_error *err);

#endif
