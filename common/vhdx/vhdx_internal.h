/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_VHDX_INTERNAL_H
#define VARVE_VHDX_VHDX_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhdx/image_internal.h"
#include "vhdx/page_cache.h"
#include "vhdx/vhdx_format.h"

/*
 * One VHDX file.  Opening goes in this order, because each step rests on the one before: header ->
 * log (may rewrite everything after it) -> region table -> metadata -> check of the whole BAT.
 * After that nothing changes but the caches.
 */

struct vhdx_header {
    uint64_t sequence;
    struct guid data_write_guid;
    struct guid log_guid; /* zero: no log to replay */
    uint16_t log_version;
    uint16_t version;
    uint64_t log_offset;
    uint32_t log_length;
};

/* A piece of the file as the log left it: the pieces are sorted and do not overlap. */
struct vhdx_patch {
    uint64_t offset;
    uint64_t length;
    const uint8_t *data; /* NULL: zeros */
};

struct vhdx_log {
    uint8_t *ring; /* the patches' data point into it */
    struct vhdx_patch *patches;
    size_t patch_count;
    size_t bytes; /* of memory that ring and patches take */
    bool replayed;
};

struct vhdx_region {
    uint64_t offset;
    uint32_t length;
    bool present;
};

struct vhdx_layer {
    struct layer base;
    struct vhdx_header header;
    struct vhdx_log log;
    uint64_t size; /* of the file after replay; base.f.size is what is really there */

    struct vhdx_region bat;
    struct vhdx_region metadata;
    struct vhdx_region *others; /* regions nobody needs to know; no block may lie in them */
    size_t other_count;

    bool fixed;
    uint64_t blocks;
    uint32_t chunk_ratio;
    uint32_t block_shift;
    uint32_t sector_shift;

    size_t bat_slots; /* more are of no use */
    struct page_cache bat_cache;
    struct page_cache bitmap_cache;
};

/* Reads bytes of the file as the log makes them; past VARVE's idea of its end is CORRUPT. */
VARVE_CHECK enum varve_err vhdx_file_read(struct vhdx_layer *v, void *buf, size_t len, uint64_t off,
                                          struct varve_error *err);

/* vhdx_header.c: the current of the two headers. */
VARVE_CHECK enum varve_err vhdx_header_read(struct vhdx_header *out, struct file *f, uint64_t size,
                                            struct varve_error *err);
/* One of them, 0 or 1, whatever it says; *valid false when signature or checksum are wrong. */
VARVE_CHECK enum varve_err vhdx_header_read_one(struct vhdx_header *out, bool *valid,
                                                unsigned which, struct file *f,
                                                struct varve_error *err);
VARVE_CHECK enum varve_err vhdx_creator_read(char *out, size_t out_size, struct file *f,
                                             struct varve_error *err);

/* vhdx_log.c: fills v->log and v->size. */
VARVE_CHECK enum varve_err vhdx_log_replay(struct vhdx_layer *v, struct varve_error *err);
void vhdx_log_release(struct vhdx_log *log);

/* vhdx_patch.c */
/*
 * list holds count patches, the later ones newer, in no order of the disk.  They become sorted and
 * apart from each other, newer bytes in place of older; the number of pieces is returned.  list and
 * spare have room for 2 * count; the result stands in list.
 */
size_t vhdx_patches_sort(struct vhdx_patch *list, struct vhdx_patch *spare, size_t count);
/* Lays the patches over what was read from the file. */
void vhdx_patches_apply(const struct vhdx_log *log, uint8_t *buf, size_t len, uint64_t off);

/* vhdx_region.c: fills v->bat, v->metadata, v->others. */
VARVE_CHECK enum varve_err vhdx_region_read(struct vhdx_layer *v, struct varve_error *err);

/* One of the two tables, 0 or 1, into 64 KiB; its checksum field is zero then. */
VARVE_CHECK enum varve_err vhdx_region_read_one(struct vhdx_layer *v, uint8_t *table, bool *valid,
                                                unsigned which, struct varve_error *err);

/* vhdx_metadata.c: fills base.info, base.parent and the geometry. */
VARVE_CHECK enum varve_err vhdx_metadata_read(struct vhdx_layer *v, struct varve_error *err);

/* vhdx_locator.c */
VARVE_CHECK enum varve_err vhdx_locator_parse(struct parent_hint *out, const uint8_t *item,
                                              size_t len, struct varve_error *err);

/* vhdx_bat.c */
struct vhdx_bat_entry {
    enum vhdx_payload_state state;
    uint64_t offset; /* FULLY_PRESENT, PARTIALLY_PRESENT */
};

/* Entries of count blocks from `block`, all of one chunk. */
VARVE_CHECK enum varve_err vhdx_bat_get(struct vhdx_layer *v, uint64_t block, size_t count,
                                        struct vhdx_bat_entry *out, struct varve_error *err);
/* Where the bitmap block of a chunk stands; 0: there is none. */
VARVE_CHECK enum varve_err vhdx_bat_get_bitmap(struct vhdx_layer *v, uint64_t chunk, uint64_t *out,
                                               struct varve_error *err);

uint64_t vhdx_bat_entry_offset(const struct vhdx_layer *v, uint64_t index); /* in the file */
VARVE_CHECK enum varve_err vhdx_bat_decode(const struct vhdx_layer *v, uint64_t block, uint64_t raw,
                                           struct vhdx_bat_entry *out, struct varve_error *err);
VARVE_CHECK enum varve_err vhdx_bat_decode_bitmap(const struct vhdx_layer *v, uint64_t index,
                                                  uint64_t raw, uint64_t *out,
                                                  struct varve_error *err);
enum varve_err vhdx_bat_entry_error(const struct vhdx_layer *v, uint64_t index, uint64_t raw,
                                    const char *what, struct varve_error *err);

/* vhdx_bat_check.c: reads every entry, and once more per IMAGE_CHECK_CLAIMS * 8 MiB of the file:
 * states, places, overlaps. */
VARVE_CHECK enum varve_err vhdx_bat_check(struct vhdx_layer *v, const struct table_check *check,
                                          struct varve_error *err);

/* vhdx.c: makes the layer; *step says, also after an error, which structure was looked at and where
 * it stands.  *f is taken on success only. */
VARVE_CHECK enum varve_err vhdx_layer_make(struct vhdx_layer **out, struct layer_file *f,
                                           const struct table_check *check, struct layer_step *step,
                                           struct varve_error *err);

#endif
