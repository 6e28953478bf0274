/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restore/restore_lab.h"

/*
 * restore_gen SEED FOLDER: a vm with a history, restored as a chain into FOLDER/chain, its last point
 * also as vhdx and raw into FOLDER/vhdx and FOLDER/raw.  The truth of each file stands beside it, as
 * NAME.truth.  Prints for each disk file of the chain: its name and those of its parents, leaf first.
 *
 * restore_gen --lines SEED FOLDER: a longer history, in which disks are resized.  The chain from the
 * first point on, and the last point in every other format.  Prints a line for each disk file, divided
 * by tabs: FORMAT SECTOR SIZE TRUTH FILE [PARENT...], nearest parent first, paths from FOLDER.
 */

#define MIB (1024u * 1024)

static void
die(const char *what)
{
    (void)fprintf(stderr, "restore_gen: %s\n", what);
    exit(1);
}

static void
write_truth(const struct lab *l, const struct assembly_file *f, const char *folder)
{
    const struct lab_truth *truth = lab_truth_of(l, f);
    char path[1024];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/%s.truth", folder, f->name);
    out = fopen(path, "wb");
    if (out == NULL || fwrite(truth->bytes, 1, (size_t)truth->size, out) != truth->size ||
        fclose(out) != 0) {
        die(path);
    }
}

struct kind {
    enum assembly_format format;
    const char *name;        /* of the folder */
    const char *format_name; /* of a file in it */
};

static void
restore(struct lab *l, const struct kind *kind, struct point *base, const char *parent, bool lines)
{
    const struct lab_point *last = &l->points[l->point_count - 1];
    struct assembly *a = NULL;
    struct varve_error err;
    char folder[512];

    (void)snprintf(folder, sizeof(folder), "%s/%s", parent, kind->name);
    if (assembly_open(&a, l->cs, l->catalog, last->point, kind->format, base, &err) != VARVE_OK) {
        die(err.msg);
    }
    lab_write_files(a, folder);
    for (size_t i = 0; i < assembly_file_count(a); i++) {
        const struct assembly_file *f = assembly_get_file(a, i);
        const char *gap = "";

        if (f->disk == NULL) {
            continue;
        }
        write_truth(l, f, folder);
        if (lines) {
            (void)printf("%s\t%" PRIu32 "\t%" PRIu64 "\t%s/%s.truth", kind->format_name,
                         f->disk->logical_sector, f->disk->size, kind->name, f->name);
            gap = "\t";
        } else if (kind->format != ASSEMBLY_CHAIN) {
            continue;
        }
        for (size_t k = i; k != ASSEMBLY_NO_FILE; k = assembly_get_file(a, k)->parent) {
            (void)printf("%s%s%s%s", gap, lines ? kind->name : "", lines ? "/" : "",
                         assembly_get_file(a, k)->name);
            gap = "\t";
        }
        (void)printf("\n");
    }
    assembly_close(a);
}

static void
short_history(struct lab *l, uint64_t seed, const char *folder)
{
    static const struct kind kinds[] = {{ASSEMBLY_CHAIN, "chain", "vhdx"},
                                        {ASSEMBLY_VHDX, "vhdx", "vhdx"},
                                        {ASSEMBLY_RAW, "raw", "raw"}};

    (void)lab_add_disk(l, "system.vhdx", (3 + seed % 9) * MIB + (seed % 5) * 8192,
                       seed % 3 == 0 ? 4096 : 512);
    (void)lab_add_disk(l, "data.vhdx", (20 + seed % 70) * MIB, 512);
    for (unsigned i = 0; i < 4; i++) {
        lab_write(l, 0, 5);
        lab_write(l, 1, 12);
        (void)lab_take_point(l);
    }
    for (size_t i = 0; i < 3; i++) {
        restore(l, &kinds[i], NULL, folder, false);
    }
}

/* Up to nine points; now and then the disk grows or shrinks between two. */
static void
long_history(struct lab *l, uint64_t seed, const char *folder)
{
    static const struct kind kinds[] = {{ASSEMBLY_CHAIN, "chain", "vhdx"},
                                        {ASSEMBLY_VHDX, "vhdx", "vhdx"},
                                        {ASSEMBLY_RAW, "raw", "raw"},
                                        {ASSEMBLY_VHDX_FIXED, "vhdx-fixed", "vhdx-fixed"},
                                        {ASSEMBLY_VHD, "vhd", "vhd"}};
    uint32_t sector = seed % 3 == 0 ? 4096 : 512;
    unsigned points = 2 + (unsigned)(seed / 5 % 8);

    (void)lab_add_disk(l, "system.vhdx", (2 + seed % 11) * MIB + (seed % 7) * 8192, sector);
    for (unsigned i = 0; i < points; i++) {
        if (i > 0 && test_random_below(&l->random, 4) == 0) {
            lab_resize_disk(l, 0, (2 + test_random_below(&l->random, 12)) * MIB + 8192);
        }
        lab_write(l, 0, 6);
        (void)lab_take_point(l);
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].format != ASSEMBLY_VHD || sector == 512) {
            restore(l, &kinds[i], kinds[i].format == ASSEMBLY_CHAIN ? l->points[0].point : NULL,
                    folder, true);
        }
    }
}

int
main(int argc, char **argv)
{
    bool lines = argc == 4 && strcmp(argv[1], "--lines") == 0;
    uint64_t seed = argc == 3 || lines ? strtoull(argv[argc - 2], NULL, 10) : 0;
    struct lab l;

    if (argc != 3 && !lines) {
        die("usage: restore_gen [--lines] SEED FOLDER");
    }
    lab_open(&l, seed, seed % 2 == 0 ? 65536 : 4096);
    if (lines) {
        long_history(&l, seed, argv[3]);
    } else {
        short_history(&l, seed, argv[2]);
    }
    lab_close(&l);
    return 0;
}
