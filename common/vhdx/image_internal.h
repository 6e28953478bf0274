/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_IMAGE_INTERNAL_H
#define VARVE_VHDX_IMAGE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhdx/image.h"

/*
 * An image is a stack of layers, one per file, leaf first.  A layer knows its own file only: what is
 * not in it is IMAGE_MAP_PARENT, and image.c asks the next one.
 */

/* The open file of a layer; moves into the layer that is made of it. */
struct layer_file {
    struct fs *fs;     /* borrowed */
    struct file *file; /* owned */
    char *path;        /* owned */
    uint64_t size;
    uint64_t device;
    uint64_t inode;
    bool in_set; /* a VHD Set led to it */
};

/* Where the parent may be and how it is recognised. */
#define PARENT_PATHS_MAX 12u
#define PARENT_PATH_SIZE 1024u

struct parent_path {
    char *text;       /* owned; '/' for '\'; relative: to the folder of the child */
    bool absolute;    /* a place on the machine that made the file, without volume or server */
    bool here;        /* begins with '/' as it was written: may be a place on this machine */
    const char *what; /* "relative_path", "W2ku", ...; for messages */
};

struct parent_hint {
    enum image_format format;
    struct guid ids[2]; /* any of these; never zero */
    unsigned id_count;
    uint32_t timestamp;                         /* VHD: the parent's, as the child has it */
    struct parent_path paths[PARENT_PATHS_MAX]; /* in the order to try */
    unsigned path_count;
};

struct layer_run {
    uint64_t length; /* at least 1, at most what was asked for */
    enum image_map_kind kind;
    bool hole;            /* IMAGE_MAP_ZERO: nothing is said of it, it only reads as zeros */
    uint64_t file_offset; /* IMAGE_MAP_DATA: all of the run stands there in one piece */
};

struct layer;

struct layer_ops {
    void (*free)(struct layer *l);
    /* max > 0, [off, off + max) inside the virtual size. */
    enum varve_err (*map)(struct layer *l, uint64_t off, uint64_t max, struct layer_run *out,
                          struct varve_error *err);
    /* Bytes of the file, as a replayed log makes them. */
    enum varve_err (*read)(struct layer *l, void *buf, size_t len, uint64_t file_offset,
                           struct varve_error *err);
    /* The block table's cache is to take no more memory than this. */
    void (*set_cache)(struct layer *l, size_t bytes);
};

struct layer {
    const struct layer_ops *ops;
    struct layer_file f;
    struct image_info info;
    bool has_parent;
    struct parent_hint parent;
    bool sparse;        /* the file has holes, and no log lies over them */
    size_t overlay;     /* bytes of memory a replayed log takes */
    uint32_t timestamp; /* VHD: its own */
};

/* What a caller holds. */
struct image {
    struct layer *layers[IMAGE_CHAIN_MAX]; /* leaf first */
    unsigned count;
};

/* Opens the file, finds out what it is, makes a layer of it. */
VARVE_CHECK enum varve_err layer_open(struct layer **out, struct fs *fs, const char *path,
                                      unsigned flags, struct varve_error *err);
void layer_free(struct layer *l); /* NULL is fine */
/* Its two halves.  A VHD Set is replaced by the file it names. */
VARVE_CHECK enum varve_err layer_file_open(struct layer_file *out, struct fs *fs, const char *path,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err layer_file_format(enum image_format *out, const struct layer_file *f,
                                             unsigned flags, struct varve_error *err);
void layer_file_close(struct layer_file *f); /* all zero bytes are fine */
/* The id by which children know this layer. */
const struct guid *layer_link_id(const struct layer *l);

/* One per format.  *f is taken on success only. */
VARVE_CHECK enum varve_err vhdx_layer_open(struct layer **out, struct layer_file *f,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err vhd_layer_open(struct layer **out, struct layer_file *f,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err raw_layer_open(struct layer **out, struct layer_file *f,
                                          struct varve_error *err);

/*
 * Checking a whole block table.  Without a fault callback the first fault is the error.
 */
struct table_counts {
    uint64_t blocks;
    uint64_t present;
    uint64_t partial;
    uint64_t zero;
    uint64_t unused; /* bytes of the file that nothing owns */
};

struct table_check {
    /* What is wrong with the entry at this offset of the file; false: that is enough. */
    bool (*fault)(void *arg, uint64_t offset, const struct varve_error *what);
    void *arg;
    struct table_counts *counts; /* NULL: nobody wants to know */
};

/* Which structure was being looked at when a file was refused, and where it stands. */
struct layer_step {
    const char *structure;
    uint64_t offset;
};

/* Only the id by which children know the file; cheap, for looking for a parent. */
VARVE_CHECK enum varve_err vhdx_peek_id(struct file *f, uint64_t size, struct guid *out,
                                        struct varve_error *err);
VARVE_CHECK enum varve_err vhd_peek_id(struct file *f, uint64_t size, struct guid *out,
                                       struct varve_error *err);
bool vhd_has_footer(struct file *f, uint64_t size);

/* For formats without a log: file bytes as they are. */
enum varve_err layer_read_plain(struct layer *l, void *buf, size_t len, uint64_t file_offset,
                                struct varve_error *err);
void layer_release(struct layer *l); /* what struct layer itself holds, not the struct */

/* Adds a path as the program wrote it that made the file: a relative one, C:\..., \\server\share\...,
 * \\?\Volume{...}\..., /... .  Empty and too long ones and repetitions are left out. */
VARVE_CHECK enum varve_err parent_hint_add_path(struct parent_hint *h, const char *path,
                                                const char *what, struct varve_error *err);
void parent_hint_release(struct parent_hint *h);

/* Where the parent of a layer is. */
struct parent_found {
    char *path;      /* owned by the caller */
    bool by_id_only; /* the paths lead nowhere; it was found among the disks of the folder */
    unsigned id;     /* which of the hint's ids it has */
};

/* By each path, then by looking at every disk in the folder. */
VARVE_CHECK enum varve_err parent_find(struct parent_found *out, const struct layer *child,
                                       struct varve_error *err);
/* May this be the parent of the last of these layers?  Loops, sizes, sectors. */
VARVE_CHECK enum varve_err parent_check(struct layer *const *layers, unsigned count,
                                        const struct layer *parent, struct varve_error *err);

/* Length of the run of equal bits that starts at bit `first`, at most count bits; bit 0 is the
 * lowest of byte 0.  *value is what they are. */
uint64_t bits_run(const uint8_t *bits, uint64_t first, uint64_t count, bool *value);

#endif
