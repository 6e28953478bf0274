/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_FOLDER_FOLDER_INTERNAL_H
#define VARVE_CAPTURE_FOLDER_FOLDER_INTERNAL_H

#include "capture/folder/folder.h"

#define FOLDER_SEED_MAX 64u

/* What an image looked like when its header was read last: it is read again when the file changed. */
struct folder_seen {
    char *path;
    uint64_t stamp[4];
    uint64_t size;
    char format[8];
    uint32_t logical_sector;
    bool has_parent;
    enum varve_err code; /* of problem */
    char problem[240];   /* "" none */
    bool used;           /* in this listing */
};

struct folder {
    struct capture base;
    struct fs *fs;
    char *path;
    uint8_t seed[FOLDER_SEED_MAX];
    size_t seed_len;
    struct mutex lock; /* seen */
    struct folder_seen *seen;
    size_t seen_count;
};

struct folder_entry {
    char *name;
    bool is_dir;
};

struct folder_entries {
    struct folder_entry *items;
    size_t count;
    size_t limit;
    bool images_only;
    bool too_many;
    bool no_memory;
};

/* Images (and folders, unless images_only) in path, sorted by name.  Release with
 * folder_entries_release(). */
VARVE_CHECK enum varve_err folder_scan(struct folder *f, const char *path, bool images_only,
                                       struct folder_entries *out, struct varve_error *err);
void folder_entries_release(struct folder_entries *e);

/* What changes when the file is written to, replaced or resized. */
VARVE_CHECK enum varve_err folder_stamp(struct folder *f, const char *path, uint64_t stamp[4],
                                        struct varve_error *err);
/* The same for a frozen disk: when it has parents, stamp[3] covers every image beside it. */
VARVE_CHECK enum varve_err folder_stamp_chain(struct folder *f, const char *path, uint64_t stamp[4],
                                              struct varve_error *err);

/* id = hash of what, the seed and the relative path. */
void folder_id(const struct folder *f, const char *what, const char *relative, struct guid *out);

/* folder_list.c */
VARVE_CHECK enum varve_err folder_list(struct capture *c, struct capture_inventory *out,
                                       struct varve_error *err);
char *folder_copy_string(const char *text);

#endif
