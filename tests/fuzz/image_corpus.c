/* SPDX-License-Identifier: Apache-2.0 */

/*
 * image_corpus FOLDER: writes the seeds of fuzz_image into an empty folder.  tests/fuzz/corpus/image
 * holds what it wrote; run it again when the recipe changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "fuzz/image_recipe.h"
#include "vhdx/chain_gen.h"
#include "vhdx/vhd_gen.h"
#include "vhdx/vhdx_edit.h"

#define MIB ((uint64_t)1024 * 1024)

static struct varve_error err;

static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
}

static void
some_bytes(void *arg, void *buf, size_t len, uint64_t off)
{
    (void)arg;
    memset(buf, 0, len);
    ((uint8_t *)buf)[0] = (uint8_t)(off >> 20);
    ((uint8_t *)buf)[1] = 0x77;
}

/* One sector in each of the first blocks. */
static void
make_vhdx(struct mem_fs *m, const char *path, uint64_t size, uint32_t block, uint32_t sector,
          unsigned level, bool fixed)
{
    struct vhdx_params params;
    struct vhdx_plan *p = NULL;
    uint64_t off;

    memset(&params, 0, sizeof(params));
    params.virtual_size = size;
    params.block_size = block;
    params.logical_sector = sector;
    params.physical_sector = 4096;
    params.fixed = fixed;
    params.data_write_guid.bytes[0] = (uint8_t)(level + 1);
    if (level > 0) {
        params.parent.present = true;
        params.parent.linkage.bytes[0] = (uint8_t)level;
        params.parent.relative_path = level == 1 ? ".\\base.vhdx" : ".\\parent.vhdx";
    }
    must(vhdx_plan_new(&p, &params, &err));
    for (off = level * 4096; off < size && off < 3 * (uint64_t)block; off += block) {
        must(vhdx_plan_add(p, off, sector, &err));
    }
    must(vhdx_plan_seal(p, &err));
    must(chain_write_plan(p, mem_fs_fs(m), path, some_bytes, NULL, &err));
    vhdx_plan_free(p);
}

static bool
has_sector(void *arg, uint64_t sector)
{
    unsigned level = *(unsigned *)arg;

    return sector == level || sector % 200 == 100;
}

static void
vhd_bytes(void *arg, uint8_t out[512], uint64_t sector)
{
    (void)arg;
    memset(out, 0, 512);
    out[0] = (uint8_t)sector;
}

static void
make_vhd(struct mem_fs *m, const char *path, unsigned level)
{
    struct vhd_gen g;

    memset(&g, 0, sizeof(g));
    g.virtual_size = 200 * 1024;
    g.block_size = 65536;
    g.id.bytes[0] = (uint8_t)(level + 1);
    g.child = level > 0;
    g.parent_id.bytes[0] = (uint8_t)level;
    g.parent_name = "base.vhd";
    g.relative_path = level == 1 ? ".\\base.vhd" : ".\\parent.vhd";
    g.absolute_path = "C:\\vm\\base.vhd";
    g.has_sector = has_sector;
    g.bytes = vhd_bytes;
    g.arg = &level;
    must(vhd_gen_write(&g, mem_fs_fs(m), path, &err));
}

/* A log of two entries: a page of the BAT and zeros over a block. */
static void
make_log(struct mem_fs *m, const char *path, uint32_t at)
{
    static struct edit_entry e;
    static uint8_t page[4096];
    uint32_t next;

    memset(&e, 0, sizeof(e));
    mem_fs_get(m, path, page, sizeof(page), EDIT_BAT);
    e.guid = edit_log_guid;
    e.sequence = 5;
    e.tail = at;
    e.flushed = mem_fs_size(m, path);
    e.last = e.flushed + MIB;
    e.count = 1;
    e.descriptors[0].offset = EDIT_BAT;
    e.descriptors[0].page = page;
    next = edit_log_write(m, path, MIB, at, &e);
    e.sequence = 6;
    e.count = 2;
    e.descriptors[0].offset = 4 * MIB;
    e.descriptors[0].length = 65536;
    e.descriptors[0].page = NULL;
    e.descriptors[1].offset = 4 * MIB + 8192;
    e.descriptors[1].page = page;
    (void)edit_log_write(m, path, MIB, (at + next) % MIB, &e);
    edit_log_open(m, path);
}

static void
save(struct mem_fs *m, const char *folder, const char *name, unsigned flags)
{
    char path[512];
    struct file *f = NULL;
    uint8_t first = (uint8_t)flags;
    uint64_t at = 1;
    unsigned i;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    must(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err));
    must(file_write(f, &first, 1, 0, &err));
    file_close(f);
    for (i = 0; i < 3; i++) {
        if (mem_fs_size(m, image_recipe_name(flags, i)) > 0) {
            must(image_recipe_write(m, image_recipe_name(flags, i), i, path, fs_system(), &at,
                                    &err));
        }
    }
    mem_fs_free(m);
}

static struct mem_fs *
fresh(void)
{
    struct mem_fs *m = mem_fs_new();

    if (m == NULL) {
        exit(1);
    }
    return m;
}

static void
vhdx_seeds(const char *folder)
{
    struct mem_fs *m = fresh();

    make_vhdx(m, "d/leaf.vhdx", 5 * MIB, MIB, 512, 0, false);
    save(m, folder, "vhdx-dynamic", 0);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 5 * MIB, MIB, 512, 0, false);
    save(m, folder, "vhdx-dynamic-checksums", IMAGE_RECIPE_CHECKSUMS);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 9 * MIB, 4 * MIB, 4096, 0, true);
    save(m, folder, "vhdx-fixed-4096", IMAGE_RECIPE_CHECKSUMS);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 6 * MIB, 2 * MIB, 512, 2, false);
    make_vhdx(m, "d/parent.vhdx", 6 * MIB, MIB, 512, 1, false);
    make_vhdx(m, "d/base.vhdx", 6 * MIB, 8 * MIB, 512, 0, false);
    save(m, folder, "vhdx-chain", IMAGE_RECIPE_CHECKSUMS);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 6 * MIB, 2 * MIB, 512, 1, false);
    save(m, folder, "vhdx-child-alone", IMAGE_RECIPE_CHECKSUMS | IMAGE_RECIPE_NO_PARENT);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 4 * MIB, MIB, 512, 0, false);
    make_log(m, "d/leaf.vhdx", 0);
    save(m, folder, "vhdx-log", IMAGE_RECIPE_CHECKSUMS);
    m = fresh();
    make_vhdx(m, "d/leaf.vhdx", 4 * MIB, MIB, 512, 0, false);
    make_log(m, "d/leaf.vhdx", (uint32_t)MIB - 4096);
    save(m, folder, "vhdx-log-wraps", IMAGE_RECIPE_CHECKSUMS);
}

static void
other_seeds(const char *folder)
{
    struct mem_fs *m = fresh();
    uint8_t footer[512];

    make_vhd(m, "d/leaf.vhd", 0);
    save(m, folder, "vhd-dynamic", IMAGE_RECIPE_CHECKSUMS | IMAGE_RECIPE_VHD);
    m = fresh();
    make_vhd(m, "d/leaf.vhd", 2);
    make_vhd(m, "d/parent.vhd", 1);
    make_vhd(m, "d/base.vhd", 0);
    save(m, folder, "vhd-chain", IMAGE_RECIPE_CHECKSUMS | IMAGE_RECIPE_VHD);
    m = fresh();
    make_vhd(m, "d/base.vhd", 0);
    mem_fs_get(m, "d/base.vhd", footer, sizeof(footer), 0);
    put_be32(footer + 60, 2); /* fixed */
    edit_put(m, "d/leaf.vhd", 200 * (uint64_t)1024, footer, sizeof(footer));
    must(mem_fs_set_size(m, "d/base.vhd", 0, &err));
    save(m, folder, "vhd-fixed", IMAGE_RECIPE_CHECKSUMS | IMAGE_RECIPE_VHD);
    m = fresh();
    edit_put(m, "d/leaf.img", 1000, "raw", 3);
    must(mem_fs_set_size(m, "d/leaf.img", 4096, &err));
    save(m, folder, "raw", IMAGE_RECIPE_RAW);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: image_corpus FOLDER\n");
        return 2;
    }
    vhdx_seeds(argv[1]);
    other_seeds(argv[1]);
    return 0;
}
