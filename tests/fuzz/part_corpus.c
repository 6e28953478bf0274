/* SPDX-License-Identifier: Apache-2.0 */

/*
 * part_corpus FOLDER: writes the seeds of the targets that change one structure of an image
 * (image_part.h) into FOLDER/vhdx_header and so on.  tests/fuzz/corpus holds what it wrote, and inputs
 * that found something; run it again when an input's form changes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/image_part.h"

static void
save(const char *folder, enum image_part part, const char *name, unsigned flags)
{
    static uint8_t bytes[8192];
    struct varve_error err;
    struct file *f = NULL;
    char path[512];
    size_t len = image_part_seed(part, flags, bytes, sizeof(bytes));
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, image_part_name(part));
    rc = fs_mkdir_parents(fs_system(), path, &err);
    if (rc == VARVE_OK) {
        (void)snprintf(path, sizeof(path), "%s/%s/%s", folder, image_part_name(part), name);
        rc = file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err);
    }
    if (rc == VARVE_OK) {
        rc = file_write(f, bytes, len, 0, &err);
    }
    file_close(f);
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
}

int
main(int argc, char **argv)
{
    unsigned part;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: part_corpus FOLDER\n");
        return 2;
    }
    for (part = 0; part < IMAGE_PART_COUNT; part++) {
        save(argv[1], part, "child", 0);
        if (part == IMAGE_PART_LOCATOR) {
            continue; /* has no flags */
        }
        save(argv[1], part, "child-alone", IMAGE_PART_NO_PARENT);
        save(argv[1], part, "child-checksums", IMAGE_PART_AS_IT_IS);
        save(argv[1], part, "base", IMAGE_PART_BASE);
    }
    return 0;
}
