/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx/chain_gen.h"
#include "vhdx/image.h"

#define PIECE ((size_t)1024 * 1024)

static enum varve_err
differ(const struct chain_gen *g, const char *what, uint64_t off, struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_CORRUPT, "seed %" PRIu64 " level %u: %s at %" PRIu64,
                           g->seed, g->level - 1, what, off);
}

static enum varve_err
check_piece(struct chain_gen *g, struct image *img, uint8_t *got, uint8_t *want, size_t len,
            uint64_t off, struct varve_error *err)
{
    enum varve_err rc;
    size_t i;

    memset(got, 0xa5, len);
    rc = image_read(img, got, len, off, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    chain_gen_expected(g, want, len, off);
    if (memcmp(got, want, len) == 0) {
        return VARVE_OK;
    }
    for (i = 0; got[i] == want[i]; i++) {
    }
    return differ(g, "the disk reads wrong", off + i, err);
}

/* From the first byte to the last, then here and there, at any alignment. */
static enum varve_err
check_content(struct chain_gen *g, struct image *img, struct varve_error *err)
{
    uint64_t size = g->shape.virtual_size;
    uint8_t *got = malloc(PIECE);
    uint8_t *want = malloc(PIECE);
    uint64_t off;
    unsigned i;
    enum varve_err rc = VARVE_OK;

    if (got == NULL || want == NULL) {
        rc = varve_error_nomem(err);
    }
    for (off = 0; rc == VARVE_OK && off < size; off += PIECE) {
        rc = check_piece(g, img, got, want, size - off < PIECE ? (size_t)(size - off) : PIECE, off,
                         err);
    }
    for (i = 0; rc == VARVE_OK && i < 50; i++) {
        off = chain_gen_random(g, size);
        rc = check_piece(g, img, got, want,
                         1 + (size_t)chain_gen_random(g, size - off < PIECE ? size - off : PIECE),
                         off, err);
    }
    free(got);
    free(want);
    return rc;
}

/* What is called zero is zero, and all of the disk is called something. */
static enum varve_err
check_map(struct chain_gen *g, struct image *img, struct varve_error *err)
{
    uint64_t sector = g->shape.logical_sector;
    uint64_t off = 0;

    while (off < g->shape.virtual_size) {
        uint64_t len = 0;
        uint64_t i;
        enum image_map_kind kind = IMAGE_MAP_PARENT;
        enum varve_err rc = image_map(img, off, g->shape.virtual_size - off, &len, &kind, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (len < sector || kind == IMAGE_MAP_PARENT) {
            return differ(g, "the map is wrong", off, err);
        }
        for (i = off / sector; kind == IMAGE_MAP_ZERO && i < (off + len) / sector; i++) {
            if (!chain_gen_is_zero(g, i)) {
                return differ(g, "the map says zero", i * sector, err);
            }
        }
        off += len;
    }
    return VARVE_OK;
}

/* A child alone holds exactly the extents that were added. */
static enum varve_err
check_own(struct chain_gen *g, struct image *img, struct varve_error *err)
{
    uint64_t off = 0;
    uint64_t own = 0; /* end of the data seen so far */
    size_t i = 0;

    while (off < g->shape.virtual_size) {
        uint64_t len = 0;
        enum image_map_kind kind = IMAGE_MAP_ZERO;
        enum varve_err rc = image_map(img, off, g->shape.virtual_size - off, &len, &kind, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (kind == IMAGE_MAP_ZERO) {
            return differ(g, "a child says zero", off, err);
        }
        for (own = off; kind == IMAGE_MAP_DATA && own < off + len; i++) {
            if (i == g->extent_count || g->extents[i].offset != own) {
                return differ(g, "a child holds what it was not given", own, err);
            }
            own += g->extents[i].length;
        }
        if (kind == IMAGE_MAP_DATA && own != off + len) {
            return differ(g, "a child lacks a part of what it was given", own, err);
        }
        off += len;
    }
    return i == g->extent_count ? VARVE_OK : differ(g, "a child lacks an extent", off, err);
}

static enum varve_err
check_info(const struct chain_gen *g, const struct image *img, struct varve_error *err)
{
    const struct chain_shape *s = &g->shape;
    struct image_info info;

    image_get_info(img, &info);
    if (info.format != IMAGE_VHDX || info.virtual_size != s->virtual_size ||
        info.logical_sector != s->logical_sector || info.physical_sector != 4096 ||
        info.block_size != s->block_size[g->level - 1] || info.chain_length != g->level ||
        info.log_replayed || strcmp(info.creator, "Varve") != 0 ||
        !guid_equal(&info.data_write_guid, &g->write_id[g->level - 1]) ||
        info.type != (g->level > 1    ? IMAGE_DIFFERENCING
                      : s->fixed_base ? IMAGE_FIXED
                                      : IMAGE_DYNAMIC)) {
        return differ(g, "the description is wrong", 0, err);
    }
    return VARVE_OK;
}

enum varve_err
chain_gen_check(struct chain_gen *g, struct fs *fs, const char *folder, struct varve_error *err)
{
    struct image *img = NULL;
    char path[512];
    enum varve_err rc;

    chain_gen_name(path, sizeof(path), folder, g->level - 1);
    rc = image_open(&img, fs, path, 0, err);
    if (rc == VARVE_OK) {
        rc = check_info(g, img, err);
    }
    if (rc == VARVE_OK) {
        rc = check_content(g, img, err);
    }
    if (rc == VARVE_OK) {
        rc = check_map(g, img, err);
    }
    image_close(img);
    img = NULL;
    if (rc == VARVE_OK && g->level > 1) {
        rc = image_open(&img, fs, path, IMAGE_NO_PARENT, err);
        if (rc == VARVE_OK) {
            rc = check_own(g, img, err);
        }
    }
    image_close(img);
    return rc;
}
