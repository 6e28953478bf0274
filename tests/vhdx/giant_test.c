/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/endian.h"
#include "os/path.h"
#include "vhdx/image_check.h"
#include "vhdx/vhdx_edit.h"
#include "vhdx/vhdx_format.h"
#include "vhdx/vhdx_plan.h"

/*
 * Disks of 64 TiB with a block table of 512 MiB, and chains of them, within 32 MiB of memory: main() sets
 * RLIMIT_AS to what the program has when it starts and that much more.  The files are made up while they
 * are read.  With sanitizers, which need address space of their own, there is no limit and less disk.
 */
#define MIB    (UINT64_C(1024) * 1024)
#define MEMORY (32 * MIB)
#define DISK   ((UINT64_C(64) << 40) >> (VARVE_SANITIZED ? 5 : 0))
#define LEVELS 8u
#define HEAD   ((size_t)EDIT_BAT)

struct giant {
    struct file file; /* there is one of each: it is its own handle */
    uint8_t head[EDIT_BAT];
    uint64_t blocks;
    uint64_t block_size;
    uint64_t ratio;
    uint64_t start; /* of the payload */
    uint64_t size;
    unsigned level;
    bool gaps; /* only every eighth chunk holds blocks */
};

static struct giant giants[LEVELS];
static struct varve_error err;

/* Blocks stand in their order; in a child every chunk begins with its bitmap block. */
static uint64_t
chunk_bytes(const struct giant *g)
{
    return g->ratio * g->block_size + (g->level > 0 ? MIB : 0);
}

static uint64_t
bat_entry(const struct giant *g, uint64_t index)
{
    uint64_t chunk = index / (g->ratio + 1);
    uint64_t in_chunk = index % (g->ratio + 1);
    uint64_t at = g->start + chunk * chunk_bytes(g);

    if (in_chunk == g->ratio) {
        return g->level > 0 ? at | VHDX_BITMAP_PRESENT : 0;
    }
    if ((g->gaps && chunk % 8 != 0) || chunk * g->ratio + in_chunk >= g->blocks ||
        (g->level > 0 && in_chunk % 8 != g->level)) {
        return 0;
    }
    at += (g->level > 0 ? MIB : 0) + in_chunk * g->block_size;
    return at | (g->level > 0 ? VHDX_PARTIALLY_PRESENT : VHDX_FULLY_PRESENT);
}

static uint8_t
payload_byte(const struct giant *g, uint64_t off)
{
    uint64_t in_chunk = (off - g->start) % chunk_bytes(g);

    if (g->level > 0 && in_chunk < MIB) {
        return 0xf0; /* of 8 sectors the upper 4 */
    }
    return (uint8_t)(g->level + 1);
}

static enum varve_err
giant_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got, struct varve_error *e)
{
    const struct giant *g = (const struct giant *)f;
    uint8_t *p = buf;

    (void)e;
    len = off >= g->size ? 0 : g->size - off < len ? (size_t)(g->size - off) : len;
    *got = len;
    while (len > 0) {
        size_t n = 1;

        if (off < HEAD) {
            n = HEAD - off < len ? HEAD - (size_t)off : len;
            memcpy(p, g->head + off, n);
        } else if (off < g->start) {
            uint64_t last = g->start - off < len ? g->start - off : len;

            if (g->gaps && (off - HEAD) / 8 / (g->ratio + 1) % 8 != 0) {
                uint64_t left = (g->ratio + 1) * 8 - (off - HEAD) % ((g->ratio + 1) * 8);

                n = (size_t)(left < last ? left : last); /* up to where the chunk's entries end */
                memset(p, 0, n);
                p += n;
                off += n;
                len -= n;
                continue;
            }
            for (n = 0; n + 8 <= last; n += 8) { /* nobody asks for parts of entries */
                put_le64(p + n, bat_entry(g, (off - HEAD + n) / 8));
            }
            n = n == 0 ? len : n;
        } else {
            n = 4096 - (size_t)(off % 4096);
            n = n < len ? n : len;
            memset(p, payload_byte(g, off), n);
        }
        p += n;
        off += n;
        len -= n;
    }
    return VARVE_OK;
}

static void
giant_close(struct file *f)
{
    (void)f;
}

static struct giant *
giant_find(const char *path)
{
    unsigned i;

    for (i = 0; i < LEVELS; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "%u.vhdx", i);
        if (giants[i].size > 0 && strcmp(path_basename(path), name) == 0) {
            return &giants[i];
        }
    }
    return NULL;
}

static enum varve_err
giant_fstat(struct file *f, struct file_stat *out, struct varve_error *e)
{
    const struct giant *g = (const struct giant *)f;

    (void)e;
    memset(out, 0, sizeof(*out));
    out->size = g->size;
    out->inode = g->level + 1;
    out->is_regular = true;
    return VARVE_OK;
}

static enum varve_err
giant_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *e)
{
    struct giant *g = giant_find(path);

    (void)fs;
    return g == NULL ? varve_error_set(e, VARVE_ERR_NOT_FOUND, "no '%s'", path)
                     : giant_fstat(&g->file, out, e);
}

static enum varve_err
giant_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
           struct varve_error *e)
{
    struct giant *g = giant_find(path);

    if (g == NULL || mode != FILE_READ) {
        return varve_error_set(e, VARVE_ERR_NOT_FOUND, "no '%s'", path);
    }
    g->file.ops = fs->ops;
    *out = &g->file;
    return VARVE_OK;
}

static const struct fs_ops giant_ops = {
    .open = giant_open,
    .close = giant_close,
    .read = giant_read,
    .fstat = giant_fstat,
    .stat = giant_stat,
};
static struct fs giant_fs = {&giant_ops};

/* The first 3 MiB are those of a plan without data. */
static void
make_giant(unsigned level, uint32_t block_size)
{
    struct giant *g = &giants[level];
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    char parent[16];
    uint64_t off;

    memset(&params, 0, sizeof(params));
    params.virtual_size = DISK;
    params.block_size = block_size;
    params.logical_sector = 512;
    params.physical_sector = 4096;
    params.data_write_guid.bytes[0] = (uint8_t)(level + 1);
    if (level > 0) {
        (void)snprintf(parent, sizeof(parent), ".\\%u.vhdx", level - 1);
        params.parent.present = true;
        params.parent.linkage.bytes[0] = (uint8_t)level;
        params.parent.relative_path = parent;
    }
    assert_ok(vhdx_plan_new(&p, &params, &err), &err);
    assert_ok(vhdx_plan_seal(p, &err), &err);
    for (off = 0; off < HEAD;) {
        struct vhdx_segment s;

        vhdx_plan_segment(p, off, &s);
        s.length = s.length < HEAD - off ? s.length : HEAD - off;
        if (s.kind == VHDX_SEGMENT_META) {
            vhdx_plan_meta(p, off, g->head + off, (size_t)s.length);
        }
        off += s.length;
    }
    vhdx_plan_free(p);
    g->level = level;
    g->gaps = level == 0 && block_size == 1 << 20;
    g->block_size = block_size;
    g->ratio = vhdx_chunk_ratio(512, block_size);
    g->blocks = DISK / block_size;
    g->start = HEAD + get_le32(g->head + EDIT_REGION1 + 16 + 24); /* the BAT is the first region */
    g->size = g->start + g->blocks / g->ratio * chunk_bytes(g);
}

static uint8_t
expected(uint64_t off, unsigned levels, uint32_t block_size)
{
    unsigned in_chunk;

    if (giants[0].gaps && off / block_size / giants[0].ratio % 8 != 0) {
        return 0;
    }

    in_chunk = (unsigned)(off / block_size % giants[0].ratio % 8);
    return in_chunk > 0 && in_chunk < levels && off / 512 % 8 >= 4 ? (uint8_t)(in_chunk + 1) : 1;
}

static void
read_all_over(struct image *img, unsigned levels, uint32_t block_size)
{
    static uint8_t buf[65536];
    uint64_t random = 1;
    unsigned i;

    for (i = 0; i < 3000; i++) {
        uint64_t off;
        size_t k;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        off = (random >> 8) % (DISK / 512 - sizeof(buf) / 512) * 512;
        assert_ok(image_read(img, buf, sizeof(buf), off, &err), &err);
        for (k = 0; k < sizeof(buf); k += 512) {
            if (buf[k] != expected(off + k, levels, block_size)) {
                fail_msg("byte %" PRIu64 " is %u", off + k, buf[k]);
            }
        }
    }
}

static void
try_disk(unsigned levels, uint32_t block_size)
{
    struct image_check_result result;
    struct image *img = NULL;
    char leaf[16];
    unsigned i;

    memset(giants, 0, sizeof(giants));
    for (i = 0; i < levels; i++) {
        make_giant(i, block_size);
    }
    (void)snprintf(leaf, sizeof(leaf), "%u.vhdx", levels - 1);
    assert_ok(image_open(&img, &giant_fs, leaf, 0, &err), &err);
    read_all_over(img, levels, block_size);
    image_close(img);
    if (levels == 1) {
        return; /* two more times through 512 MiB of entries would only take long */
    }
    assert_ok(image_check(&result, &giant_fs, leaf, IMAGE_NO_PARENT, NULL, NULL, &err), &err);
    assert_int_equal(result.verdict, IMAGE_CLEAN);
    assert_int_equal(result.blocks, DISK / block_size);
    assert_int_equal(result.blocks_partial, DISK / block_size / 8);
}

static void
a_disk_of_64_tib_in_blocks_of_1_mib_takes_at_most_32_mib(void **state)
{
    (void)state;
    try_disk(1, 1 << 20);
}

static void
eight_files_of_64_tib_take_no_more(void **state)
{
    (void)state;
    try_disk(LEVELS, 32 << 20);
}

static int
limit_memory(void)
{
    struct rlimit limit;
    unsigned long pages;
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL || fgets(line, sizeof(line), f) == NULL) {
        (void)fprintf(stderr, "skipped: no /proc/self/statm\n");
        return 77;
    }
    (void)fclose(f);
    pages = strtoul(line, NULL, 10);
    limit.rlim_cur = limit.rlim_max = pages * 4096 + MEMORY;
    return setrlimit(RLIMIT_AS, &limit) == 0 ? 0 : 77;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_of_64_tib_in_blocks_of_1_mib_takes_at_most_32_mib),
        cmocka_unit_test(eight_files_of_64_tib_take_no_more),
    };
    int status = VARVE_SANITIZED ? 0 : limit_memory();

    return status != 0 ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
