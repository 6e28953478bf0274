/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "restore/restore_lab.h"

/*
 * restore_gen SEED FOLDER: a vm with a history, restored as a chain into FOLDER/chain, its last point
 * also as vhdx and raw into FOLDER/vhdx and FOLDER/raw.  The truth of each file stands beside it, as
 * NAME.truth.  Prints for each disk file of the chain: its name and those of its parents, leaf first.
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

static void
restore(struct lab *l, enum assembly_format format, const char *parent, const char *name)
{
    const struct lab_point *last = &l->points[l->point_count - 1];
    struct assembly *a = NULL;
    struct varve_error err;
    char folder[512];

    (void)snprintf(folder, sizeof(folder), "%s/%s", parent, name);
    if (assembly_open(&a, l->cs, l->catalog, last->point, format, NULL, &err) != VARVE_OK) {
        die(err.msg);
    }
    lab_write_files(a, folder);
    for (size_t i = 0; i < assembly_file_count(a); i++) {
        const struct assembly_file *f = assembly_get_file(a, i);

        if (f->disk == NULL) {
            continue;
        }
        write_truth(l, f, folder);
        for (size_t k = i; format == ASSEMBLY_CHAIN; k--) {
            (void)printf("%s%s", k == i ? "" : "\t", assembly_get_file(a, k)->name);
            if (k == 0 || !guid_equal(&assembly_get_file(a, k - 1)->disk->id, &f->disk->id)) {
                (void)printf("\n");
                break;
            }
        }
    }
    assembly_close(a);
}

int
main(int argc, char **argv)
{
    uint64_t seed = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    uint32_t sector = seed % 3 == 0 ? 4096 : 512;
    struct lab l;

    if (argc != 3) {
        die("usage: restore_gen SEED FOLDER");
    }
    lab_open(&l, seed, seed % 2 == 0 ? 65536 : 4096);
    (void)lab_add_disk(&l, "system.vhdx", (3 + seed % 9) * MIB + (seed % 5) * 8192, sector);
    (void)lab_add_disk(&l, "data.vhdx", (20 + seed % 70) * MIB, 512);
    for (unsigned i = 0; i < 4; i++) {
        lab_write(&l, 0, 5);
        lab_write(&l, 1, 12);
        (void)lab_take_point(&l);
    }
    restore(&l, ASSEMBLY_CHAIN, argv[2], "chain");
    restore(&l, ASSEMBLY_VHDX, argv[2], "vhdx");
    restore(&l, ASSEMBLY_RAW, argv[2], "raw");
    lab_close(&l);
    return 0;
}
