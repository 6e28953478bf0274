/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to read a disk through a chain of 8 files, against the same disk in one file.
 *
 *   bench_chain FOLDER [MIB] [KIB]   makes chain and flat file in the empty folder: MIB of disk (1024),
 *                                    60 % of it data; each of 7 children writes an eighth of the disk
 *                                    anew, in scattered extents of KIB (64).  Then reads both whole,
 *                                    three times in turn, and prints the best of each.
 *
 * Run it twice: the first time the files may still be on their way to the disk.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vhdx/chain_gen.h"
#include "vhdx/image.h"

#define MIB    (UINT64_C(1024) * 1024)
#define UNIT   4096u
#define LEVELS 8u
#define PIECE  ((size_t)1024 * 1024)
#define ROUNDS 3u

struct bench {
    const char *folder;
    uint64_t size;
    uint64_t extent;
    uint8_t *owner; /* per unit: level + 1 of who wrote it last; 0 nobody */
    uint8_t *mine;  /* per unit: the level that is being made writes it */
    uint64_t random;
    unsigned level;
};

static struct varve_error err;

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
}

static uint64_t
next(struct bench *b)
{
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return b->random >> 33;
}

static void
bytes(void *arg, void *buf, size_t len, uint64_t off)
{
    const struct bench *b = arg;
    uint8_t *p = buf;

    while (len > 0) {
        size_t n = UNIT - (size_t)(off % UNIT);

        n = n < len ? n : len;
        memset(p, b->owner[off / UNIT] + (int)(off / UNIT % 31) * 8, n);
        p += n;
        off += n;
        len -= n;
    }
}

static void
choose(struct bench *b)
{
    uint64_t units = b->size / UNIT;
    uint64_t per_extent = b->extent / UNIT;
    uint64_t want = b->level == 0 ? units * 6 / 10 : units / LEVELS;
    uint64_t done;

    memset(b->mine, 0, units);
    for (done = 0; done < want; done += per_extent) {
        uint64_t at = next(b) % (units / per_extent) * per_extent;

        if (b->level == 0) { /* long stretches */
            at = at / 256 * 256;
        }
        memset(b->mine + at, 1, per_extent < units - at ? per_extent : units - at);
        memset(b->owner + at, (int)b->level + 1, per_extent < units - at ? per_extent : units - at);
    }
}

static void
write_file(struct bench *b, const char *path, const uint8_t *present, unsigned level)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    uint64_t i;
    char parent[32];

    memset(&params, 0, sizeof(params));
    params.virtual_size = b->size;
    params.block_size = 2 << 20;
    params.logical_sector = 512;
    params.physical_sector = 4096;
    params.data_write_guid.bytes[0] = (uint8_t)(level + 1);
    if (level > 0) {
        chain_gen_name(parent, sizeof(parent), ".", level - 1);
        params.parent.present = true;
        params.parent.linkage.bytes[0] = (uint8_t)level;
        params.parent.relative_path = parent;
    }
    must(vhdx_plan_new(&p, &params, &err));
    for (i = 0; i < b->size / UNIT; i++) {
        if (present[i] != 0) {
            must(vhdx_plan_add(p, i * UNIT, UNIT, &err));
        }
    }
    must(vhdx_plan_seal(p, &err));
    must(chain_write_plan(p, fs_system(), path, bytes, b, &err));
    vhdx_plan_free(p);
}

static double
cpu_seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
read_all(const char *path, uint64_t size, uint8_t *buf, uint64_t *sum)
{
    struct image *img = NULL;
    double start;
    uint64_t off;

    must(image_open(&img, fs_system(), path, 0, &err));
    start = cpu_seconds();
    *sum = 0;
    for (off = 0; off < size; off += PIECE) {
        size_t i;

        must(image_read(img, buf, PIECE, off, &err));
        for (i = 0; i < PIECE; i += 512) {
            *sum = *sum * 31 + buf[i];
        }
    }
    start = cpu_seconds() - start;
    image_close(img);
    return start;
}

int
main(int argc, char **argv)
{
    struct bench b = {.random = 1};
    double best[2] = {1e9, 1e9};
    char path[2][512];
    uint64_t sum[2];
    uint8_t *buf;
    unsigned i;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench_chain FOLDER [MIB] [KIB]\n");
        return 2;
    }
    buf = malloc(PIECE);
    b.folder = argv[1];
    b.size = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1024) * MIB;
    b.extent = (argc > 3 ? strtoull(argv[3], NULL, 10) : 64) * 1024;
    b.owner = calloc(1, (size_t)(b.size / UNIT) + 1);
    b.mine = calloc(1, (size_t)(b.size / UNIT) + 1);
    if (buf == NULL || b.owner == NULL || b.mine == NULL || b.extent < UNIT || b.size < b.extent) {
        (void)fprintf(stderr, "no memory, or sizes that make no sense\n");
        exit(2);
    }
    for (b.level = 0; b.level < LEVELS; b.level++) {
        choose(&b);
        chain_gen_name(path[1], sizeof(path[1]), b.folder, b.level);
        write_file(&b, path[1], b.mine, b.level);
    }
    (void)snprintf(path[0], sizeof(path[0]), "%s/flat.vhdx", b.folder);
    write_file(&b, path[0], b.owner, 0);
    for (i = 0; i < 2 * ROUNDS; i++) {
        double t = read_all(path[i % 2], b.size, buf, &sum[i % 2]);

        best[i % 2] = t < best[i % 2] ? t : best[i % 2];
    }
    if (sum[0] != sum[1]) {
        (void)fprintf(stderr, "chain and flat file differ\n");
        return 1;
    }
    for (i = 0; i < 2; i++) {
        (void)printf("%-7s %.3f CPU seconds, %.0f MB/s\n", i == 0 ? "flat" : "chain-8", best[i],
                     (double)b.size / 1e6 / best[i]);
    }
    (void)printf("chain-8 at %.2f of the speed of flat\n", best[0] / best[1]);
    free(b.owner);
    free(b.mine);
    free(buf);
    return 0;
}
