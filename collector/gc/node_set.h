/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_NODE_SET_H
#define VARVE_GC_NODE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"
#include "store/pack.h"

/*
 * Which nodes were seen already: exact, in bounded memory.
 *
 * A name is kept by its first 16 bytes (names are keyed hashes).  The first NODE_SET_MEMORY bytes of them are in
 * memory, which is enough for the nodes of 100 million chunks that are not scattered; the rest goes to a
 * file, 22 to 43 bytes a name, of which the page cache keeps what it likes.  The file is scratch: never synced, removed at
 * release, and by whoever opens the folder after a crash.
 *
 * Threads: one at a time.
 */
#define NODE_SET_MEMORY (16u * 1024 * 1024)

#define NODE_SET_LAYERS 24u

struct node_set {
    struct fs *fs;
    const char *path;
    size_t memory; /* bytes of layer 0; each is twice as large as the one before */
    uint8_t *slots[NODE_SET_LAYERS]; /* of the layers in memory */
    struct file *file;               /* the others, one behind the other */
    unsigned layers;
    uint64_t used; /* slots of the last layer; the others are full */
};

/* path: of the file, borrowed; NULL: everything is kept in memory.  memory: a power of two of at least a page; 0:
 * NODE_SET_MEMORY. */
VARVE_CHECK enum varve_err node_set_init(struct node_set *s, struct fs *fs, const char *path,
                                         size_t memory, struct varve_error *err);
void node_set_release(struct node_set *s); /* zeroed is fine */

/* *first: it was not there.  A full disk is VARVE_ERR_NOSPACE that names the file. */
VARVE_CHECK enum varve_err node_set_add(struct node_set *s, const struct record_name *name,
                                        bool *first, struct varve_error *err);

#endif
