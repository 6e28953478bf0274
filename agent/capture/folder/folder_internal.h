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

/* folder_list.c */
/* What changes when a frozen disk is written to, replaced or resized; when it has parents, stamp[3] covers every
 * image beside it. */
VARVE_CHECK enum varve_err folder_stamp_chain(struct folder *f, const char *path, uint64_t stamp[4],
                                              struct varve_error *err);
VARVE_CHECK enum varve_err folder_list(struct capture *c, struct capture_inventory *out,
                                       struct varve_error *err);
char *folder_copy_string(const char *text);

#endif
