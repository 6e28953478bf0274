/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/image_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "fuzz/image_walk.h"
#include "hash/crc32c.h"
#include "vhdx/chain_gen.h"
#include "vhdx/image.h"
#include "vhdx/vhd_gen.h"
#include "vhdx/vhdx_edit.h"

#define MIB            (UINT64_C(1024) * 1024)
#define SET            "d/set.vhds"
#define RING           (1024u * 1024)
#define LOCATOR        (EDIT_ITEMS + 40)
#define LOCATOR_LENGTH (EDIT_METADATA + 32 + 32 * 5 + 20)
#define BITMAP         (EDIT_BAT + 2048 * 8)
#define VHD_SIZE       (300u * 1024)

struct place {
    uint64_t off;
    size_t len;
};

/* Per part: the ranges that an input goes over, in its order. */
#define PLACES_MAX 4u

struct part {
    const char *name;
    const char *child;
    const char *base;
    struct place places[PLACES_MAX];
};

static const struct part parts[IMAGE_PART_COUNT] = {
    {"vhdx_header", "d/1.avhdx", "d/0.vhdx", {{EDIT_HEADER1, 96}, {EDIT_HEADER2, 96}}},
    {"vhdx_region", "d/1.avhdx", "d/0.vhdx", {{EDIT_REGION1, 272}, {EDIT_REGION2, 272}}},
    {"vhdx_metadata", "d/1.avhdx", "d/0.vhdx", {{EDIT_METADATA, 288}, {EDIT_ITEMS, 1024}}},
    {"vhdx_locator", "d/1.avhdx", "d/1.avhdx", {{LOCATOR, 4096}}},
    {"vhdx_bat", "d/1.avhdx", "d/0.vhdx", {{EDIT_BAT, 24}, {BITMAP, 8}}},
    {"vhdx_log", "d/1.avhdx", "d/0.vhdx", {{0, 0}}},
    {"vhd", "d/1.avhd", "d/0.vhd", {{0, 96}, {512, 64}, {512 + 576, 192}, {8192, 64}}},
    {"vhds", SET, SET, {{0x10000, 64}, {0x20000, 64}, {0x40000, 256}}},
};

static struct mem_fs *images;

static void
must(enum varve_err rc, const struct varve_error *err)
{
    if (rc != VARVE_OK) {
        (void)fprintf(stderr, "%s\n", err->msg);
        abort();
    }
}

/* ---- the good images ---- */

static void
make_vhdx(void)
{
    static const struct chain_shape shape = {
        .virtual_size = 6 * MIB,
        .block_size = {2 << 20, 2 << 20},
        .logical_sector = 512,
        .levels = 2,
        .extents = 12,
    };
    struct varve_error err;
    struct chain_gen g;

    must(chain_gen_init(&g, &shape, 3, &err), &err);
    must(chain_gen_next(&g, mem_fs_fs(images), "d", &err), &err);
    must(chain_gen_next(&g, mem_fs_fs(images), "d", &err), &err);
    chain_gen_release(&g);
}

static bool
has_sector(void *arg, uint64_t sector)
{
    return (sector + *(unsigned *)arg) % 7 < 2;
}

static void
vhd_bytes(void *arg, uint8_t out[512], uint64_t sector)
{
    (void)arg;
    memset(out, 0, 512);
    out[0] = (uint8_t)sector;
}

static void
make_vhd(unsigned level)
{
    struct varve_error err;
    struct vhd_gen g;

    memset(&g, 0, sizeof(g));
    g.virtual_size = VHD_SIZE;
    g.block_size = 65536;
    g.id.bytes[0] = (uint8_t)(level + 1);
    g.child = level > 0;
    g.parent_id.bytes[0] = (uint8_t)level;
    g.parent_name = "0.vhd";
    g.relative_path = ".\\0.vhd";
    g.absolute_path = "C:\\vm\\0.vhd";
    g.has_sector = has_sector;
    g.bytes = vhd_bytes;
    g.arg = &level;
    must(vhd_gen_write(&g, mem_fs_fs(images), level == 0 ? "d/0.vhd" : "d/1.avhd", &err), &err);
}

static void
fix_set_checksums(void)
{
    uint8_t page[4096];
    unsigned i;

    for (i = 1; i <= 2; i++) {
        mem_fs_get(images, SET, page, sizeof(page), UINT64_C(0x10000) * i);
        put_le32(page + 20, 0);
        edit_le32(images, SET, UINT64_C(0x10000) * i + 20, crc32c(page, sizeof(page)));
    }
}

static void
make_set(void)
{
    static const char name[] = "1.avhdx";
    struct varve_error err;
    uint32_t i;

    edit_put(images, SET, 0, "vhdsetv1", 8);
    for (i = 0; i < 2; i++) {
        uint64_t at = UINT64_C(0x10000) * (i + 1);

        edit_put(images, SET, at, "shdr", 4);
        edit_le32(images, SET, at + 8, i);
        edit_le32(images, SET, at + 16, 1);
        edit_le32(images, SET, at + 28, 0x40000);
        edit_le32(images, SET, at + 32, sizeof(name) * 2);
    }
    for (i = 0; i < sizeof(name); i++) {
        edit_le16(images, SET, 0x40000 + 2 * (uint64_t)i, (uint8_t)name[i]);
    }
    must(mem_fs_set_size(images, SET, 266240, &err), &err);
    fix_set_checksums();
}

static void
make_images(void)
{
    if (images != NULL) {
        return;
    }
    images = mem_fs_new();
    if (images == NULL) {
        abort();
    }
    make_vhdx();
    make_vhd(0);
    make_vhd(1);
    make_set();
}

/* ---- one input ---- */

static const char *
file_of(enum image_part part, unsigned flags)
{
    return (flags & IMAGE_PART_BASE) != 0 ? parts[part].base : parts[part].child;
}

static size_t
put_entry(const char *path, uint64_t at, const uint8_t *data, size_t size)
{
    if ((data[0] & 0x80) != 0 && size >= 9) {
        edit_put(images, path, at, data + 1, 8);
        return 9;
    }
    edit_le64(images, path, at, (data[0] & 0x7f) | (uint64_t)get_le16(data + 1) << 20);
    return 3;
}

static void
put_table(const char *path, const uint8_t *data, size_t size)
{
    static const uint64_t at[4] = {EDIT_BAT, EDIT_BAT + 8, EDIT_BAT + 16, BITMAP};
    size_t i;

    for (i = 0; i < 4 && size >= 3; i++) {
        size_t n = put_entry(path, at[i], data, size);

        data += n;
        size -= n;
    }
}

static void
put_places(enum image_part part, const char *path, const uint8_t *data, size_t size)
{
    const struct place *p = parts[part].places;
    size_t i;

    for (i = 0; i < PLACES_MAX && size > 0; i++) {
        size_t n = p[i].len < size ? p[i].len : size;

        edit_put(images, path, p[i].off, data, n);
        data += n;
        size -= n;
    }
}

static void
put_input(enum image_part part, unsigned flags, const uint8_t *data, size_t size)
{
    const char *path = file_of(part, flags);

    if (part == IMAGE_PART_LOG) {
        image_part_log(images, path, data, size);
        return;
    }
    if (part == IMAGE_PART_BAT) {
        put_table(path, data, size);
    } else {
        put_places(part, path, data, size);
    }
    if (part == IMAGE_PART_LOCATOR) {
        edit_le32(images, path, LOCATOR_LENGTH, (uint32_t)(size < 4096 ? size : 4096));
    }
    if (part == IMAGE_PART_VHD) { /* the footer at the end is the copy at the start */
        uint8_t footer[512];

        mem_fs_get(images, path, footer, sizeof(footer), 0);
        edit_put(images, path, mem_fs_size(images, path) - 512, footer, sizeof(footer));
    }
    if ((flags & IMAGE_PART_AS_IT_IS) != 0) {
        return;
    }
    if (part == IMAGE_PART_SET) {
        fix_set_checksums();
    } else {
        edit_fix_checksums(images, path);
    }
}

/* The whole first MiB and the metadata and BAT pages that a part may have touched. */
struct saved {
    uint64_t off;
    uint8_t page[4096];
};

static const uint64_t touched[] = {0,          0x10000,  0x20000, 0x30000, 0x31000,
                                   0x32000,    0x40000,  0x41000, 0x42000, EDIT_METADATA,
                                   EDIT_ITEMS, EDIT_BAT, 0x304000};
#define TOUCHED (sizeof(touched) / sizeof(touched[0]))

static void
save(const char *path, struct saved saved[TOUCHED + 3])
{
    uint64_t end = mem_fs_size(images, path) - 512;
    size_t i;

    for (i = 0; i < TOUCHED; i++) {
        saved[i].off = touched[i];
    }
    saved[i++].off = EDIT_ITEMS + 4096;
    saved[i++].off = 8192;
    saved[i].off = end / 4096 * 4096;
    for (i = 0; i < TOUCHED + 3; i++) {
        mem_fs_get(images, path, saved[i].page, 4096, saved[i].off);
    }
}

static void
restore(const char *path, const struct saved saved[TOUCHED + 3], uint64_t size)
{
    static const uint8_t zeros[4096];
    uint8_t page[4096];
    struct varve_error err;
    size_t i;

    for (i = 0; i < TOUCHED + 3; i++) {
        edit_put(images, path, saved[i].off, saved[i].page, 4096);
    }
    for (i = 0; i < RING && size > EDIT_LOG + RING; i += sizeof(page)) {
        mem_fs_get(images, path, page, sizeof(page), EDIT_LOG + i);
        if (memcmp(page, zeros, sizeof(page)) != 0) {
            edit_put(images, path, EDIT_LOG + i, zeros, sizeof(zeros));
        }
    }
    must(mem_fs_set_size(images, path, size, &err), &err);
}

const char *
image_part_name(enum image_part part)
{
    return parts[part].name;
}

void
image_part_run(enum image_part part, const uint8_t *data, size_t size)
{
    static struct saved saved[TOUCHED + 3];
    const char *path;
    uint64_t file_size;
    size_t start;
    unsigned flags;

    if (size < 1) {
        return;
    }
    make_images();
    flags = part == IMAGE_PART_LOCATOR ? 0 : data[0];
    start = part == IMAGE_PART_LOCATOR ? 0 : 1;
    path = file_of(part, flags);
    file_size = mem_fs_size(images, path);
    save(path, saved);
    put_input(part, flags, data + start, size - start);
    image_walk(mem_fs_fs(images), parts[part].child,
               (flags & IMAGE_PART_NO_PARENT) != 0 ? IMAGE_NO_PARENT : 0);
    restore(path, saved, file_size);
}

/* ---- seeds ---- */

static size_t
seed_table(const char *path, uint8_t *out)
{
    static const uint64_t at[4] = {EDIT_BAT, EDIT_BAT + 8, EDIT_BAT + 16, BITMAP};
    size_t i;

    for (i = 0; i < 4; i++) {
        uint64_t raw = edit_get_le64(images, path, at[i]);

        out[i * 3] = (uint8_t)(raw & 7);
        put_le16(out + i * 3 + 1, (uint16_t)(raw >> 20));
    }
    return 12;
}

/* Two entries, the second of which counts and writes the page of the BAT as it is. */
static size_t
seed_log(const char *path, uint8_t *out)
{
    static const uint8_t entries[] = {4, 9,  4, 0, 0, 0, 1, 0, 1, 0, 3, 2, 0, /* zeros */
                                      5, 10, 4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 1, 9, 0, 1, 0};
    size_t i;

    memcpy(out, entries, sizeof(entries));
    for (i = 0; i < 2; i++) {
        uint8_t *head = out + i * 13;

        head[4] = (uint8_t)(mem_fs_size(images, path) >> 20);
        head[5] = (uint8_t)(head[4] + i);
    }
    return sizeof(entries);
}

static size_t
locator_length(const char *path)
{
    return (uint32_t)edit_get_le64(images, path, LOCATOR_LENGTH);
}

size_t
image_part_seed(enum image_part part, unsigned flags, uint8_t *out, size_t size)
{
    const struct place *p = parts[part].places;
    const char *path = file_of(part, flags);
    size_t at = 1;
    size_t i;

    make_images();
    out[0] = (uint8_t)flags;
    if (part == IMAGE_PART_BAT) {
        return 1 + seed_table(path, out + 1);
    }
    if (part == IMAGE_PART_LOG) {
        return 1 + seed_log(path, out + 1);
    }
    for (i = 0; i < PLACES_MAX && p[i].len <= size - at; i++) {
        mem_fs_get(images, path, out + at, p[i].len, p[i].off);
        at += p[i].len;
    }
    if (part == IMAGE_PART_LOCATOR) { /* without flags and without what is behind it */
        at = locator_length(path);
        memmove(out, out + 1, at);
    }
    return at;
}
