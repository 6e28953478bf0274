/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vhdx_inplace_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "hvsim/sim_file.h"

static uint64_t
round_up_mib(uint64_t n)
{
    return (n + MIB - 1) / MIB * MIB;
}

uint32_t
vhdx_store_bat_entry(struct vhdx *v, uint64_t index, uint64_t entry, struct sim_error *err)
{
    uint8_t raw[8];

    v->bat[index] = entry;
    put_le64(raw, entry);
    return sim_pwrite(v->fd, raw, sizeof(raw), BAT_OFFSET + index * 8, v->path, err);
}

uint32_t
vhdx_extend(struct vhdx *v, uint64_t length, uint64_t *offset, struct sim_error *err)
{
    uint32_t rc = sim_truncate(v->fd, v->end + round_up_mib(length), v->path, err);

    if (rc == SIM_OK) {
        *offset = v->end;
        v->end += round_up_mib(length);
    }
    return rc;
}

static uint32_t
allocate_everything(struct vhdx *v, struct sim_error *err)
{
    uint64_t offset = 0;
    uint32_t rc = SIM_OK;

    for (uint64_t c = 0; v->child && rc == SIM_OK && c < v->chunks; c++) {
        rc = vhdx_extend(v, BITMAP_SIZE, &offset, err);
        if (rc == SIM_OK) {
            rc = vhdx_store_bat_entry(v, vhdx_bitmap_index(v, c), offset | BITMAP_PRESENT, err);
        }
    }
    for (uint64_t b = 0; v->fixed && rc == SIM_OK && b < v->blocks; b++) {
        rc = vhdx_extend(v, v->block_size, &offset, err);
        if (rc == SIM_OK) {
            rc = vhdx_store_bat_entry(v, vhdx_bat_index(v, b), offset | BLOCK_FULL, err);
        }
    }
    return rc;
}

static uint32_t
check_spec(const char *path, const struct vhdx_spec *s, struct sim_error *err)
{
    if (s->block_size < MIB || s->block_size > 256 * MIB ||
        (s->block_size & (s->block_size - 1)) != 0) {
        return sim_fail(err, SIM_INVALID, "'%s': block size %u is no power of two of 1 to 256 MiB",
                        path, s->block_size);
    }
    if ((s->logical_sector != 512 && s->logical_sector != 4096) ||
        (s->physical_sector != 512 && s->physical_sector != 4096)) {
        return sim_fail(err, SIM_INVALID, "'%s': sectors are 512 or 4096 bytes", path);
    }
    if (s->size == 0 || s->size > VHDX_SIZE_MAX ||
        s->size % ((uint64_t)s->logical_sector * 2) != 0) {
        return sim_fail(err, SIM_INVALID, "'%s': size %llu is no even number of sectors", path,
                        (unsigned long long)s->size);
    }
    return SIM_OK;
}

uint32_t
vhdx_create(const char *path, const struct vhdx_spec *spec, struct sim_random *random,
            struct sim_error *err)
{
    struct vhdx v = {.fd = -1, .random = random};
    uint32_t rc = check_spec(path, spec, err);

    if (rc != SIM_OK) {
        return rc;
    }
    v.path = sim_strdup(path);
    v.size = spec->size;
    v.block_size = spec->block_size;
    v.logical_sector = spec->logical_sector;
    v.physical_sector = spec->physical_sector;
    v.fixed = spec->fixed;
    v.child = spec->parent_name != NULL;
    v.disk_id = spec->disk_id;
    v.sequence = sim_random_below(random, 1u << 20) * 2;
    sim_random_guid(random, &v.data_write_guid);
    sim_random_guid(random, &v.file_write_guid);
    vhdx_geometry(&v);
    v.bat_length = round_up_mib((uint64_t)v.bat_entries * 8);
    v.end = BAT_OFFSET + v.bat_length;
    v.bat = sim_alloc(v.bat_entries * sizeof(v.bat[0]));
    v.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (v.fd < 0) {
        rc = sim_fail_errno(err, errno, "creating '%s'", path);
        goto out;
    }
    rc = sim_truncate(v.fd, v.end, path, err);
    if (rc == SIM_OK) {
        rc = vhdx_write_front(&v, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_write_metadata(&v, spec->parent_name, &spec->parent_linkage, NULL, err);
    }
    if (rc == SIM_OK) {
        rc = allocate_everything(&v, err);
    }
    if (rc == SIM_OK) {
        rc = vhdx_write_headers(&v, err);
    }
    (void)close(v.fd);
    if (rc != SIM_OK) {
        (void)unlink(path);
    }
out:
    free(v.bat);
    free(v.path);
    return rc;
}

static uint32_t
load_bat(struct vhdx *v, struct sim_error *err)
{
    size_t len = v->bat_entries * 8;
    uint8_t *raw = sim_alloc(len);
    uint32_t rc = sim_pread(v->fd, raw, len, BAT_OFFSET, v->path, err);

    v->bat = sim_alloc(v->bat_entries * sizeof(v->bat[0]));
    for (size_t i = 0; rc == SIM_OK && i < v->bat_entries; i++) {
        v->bat[i] = get_le64(raw + i * 8);
    }
    free(raw);
    return rc;
}

uint32_t
vhdx_open(struct vhdx **out, const char *path, struct sim_random *random, struct sim_error *err)
{
    struct vhdx *v = sim_alloc(sizeof(*v));
    uint32_t rc;

    v->random = random;
    v->path = sim_strdup(path);
    v->fd = open(path, O_RDWR | O_CLOEXEC);
    if (v->fd < 0) {
        rc = sim_fail_errno(err, errno, "opening '%s'", path);
        goto out;
    }
    rc = vhdx_load_front(v, err);
    if (rc == SIM_OK) {
        rc = load_bat(v, err);
    }
    if (rc == SIM_OK) {
        rc = sim_size(v->fd, &v->end, path, err);
    }
    if (rc != SIM_OK) {
        goto out;
    }
    v->bitmaps = sim_alloc((size_t)v->chunks * sizeof(v->bitmaps[0]));
    *out = v;
    v = NULL;
out:
    vhdx_close(v);
    return rc;
}

void
vhdx_close(struct vhdx *v)
{
    if (v == NULL) {
        return;
    }
    for (uint64_t c = 0; v->bitmaps != NULL && c < v->chunks; c++) {
        free(v->bitmaps[c]);
    }
    if (v->fd >= 0) {
        (void)close(v->fd);
    }
    free(v->bitmaps);
    free(v->bat);
    free(v->path);
    free(v);
}

uint64_t
vhdx_size(const struct vhdx *v)
{
    return v->size;
}

uint32_t
vhdx_block_size(const struct vhdx *v)
{
    return v->block_size;
}

bool
vhdx_is_child(const struct vhdx *v)
{
    return v->child;
}

void
vhdx_data_write_guid(const struct vhdx *v, struct guid *out)
{
    *out = v->data_write_guid;
}

uint32_t
vhdx_begin_session(struct vhdx *v, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    if (!v->in_session) {
        sim_random_guid(v->random, &v->file_write_guid);
        sim_random_guid(v->random, &v->data_write_guid);
        rc = vhdx_write_headers(v, err);
        v->in_session = rc == SIM_OK;
    }
    return rc;
}

void
vhdx_end_session(struct vhdx *v)
{
    v->in_session = false;
}

uint32_t
vhdx_set_data_guid(struct vhdx *v, const struct guid *g, struct sim_error *err)
{
    sim_random_guid(v->random, &v->file_write_guid);
    v->data_write_guid = *g;
    v->in_session = true;
    return vhdx_write_headers(v, err);
}

uint32_t
vhdx_set_parent(struct vhdx *v, const char *name, const struct guid *linkage,
                const struct guid *linkage2, struct sim_error *err)
{
    return vhdx_write_metadata(v, name, linkage, linkage2, err);
}

uint32_t
vhdx_grow(struct vhdx *v, uint64_t size, struct sim_error *err)
{
    struct vhdx larger = *v;
    uint64_t *bat = NULL;
    uint64_t old_blocks = v->blocks;
    uint64_t offset = 0;
    uint32_t rc;

    larger.size = size;
    if (v->child || size < v->size || size > VHDX_SIZE_MAX ||
        size % ((uint64_t)v->logical_sector * 2) != 0) {
        return sim_fail(err, SIM_INVALID, "'%s' cannot be resized to %llu bytes", v->path,
                        (unsigned long long)size);
    }
    vhdx_geometry(&larger);
    if (larger.bat_entries * 8 > v->bat_length) {
        return sim_fail(err, SIM_UNSUPPORTED, "'%s' has no room in its BAT for %llu bytes", v->path,
                        (unsigned long long)size);
    }
    bat = sim_alloc(larger.bat_entries * sizeof(bat[0]));
    memcpy(bat, v->bat, v->bat_entries * sizeof(bat[0]));
    free(v->bat);
    free(v->bitmaps); /* no child: nothing in it */
    *v = larger;
    v->bat = bat;
    v->bitmaps = sim_alloc((size_t)v->chunks * sizeof(v->bitmaps[0]));
    v->in_session = false;
    rc = vhdx_begin_session(v, err);
    for (uint64_t b = old_blocks; v->fixed && rc == SIM_OK && b < v->blocks; b++) {
        rc = vhdx_extend(v, v->block_size, &offset, err);
        if (rc == SIM_OK) {
            rc = vhdx_store_bat_entry(v, vhdx_bat_index(v, b), offset | BLOCK_FULL, err);
        }
    }
    return rc == SIM_OK ? vhdx_write_metadata(v, NULL, NULL, NULL, err) : rc;
}

/* What was behind the new end is unmapped first: a disk that grows again reads zeros there. */
uint32_t
vhdx_shrink(struct vhdx *v, uint64_t size, struct sim_error *err)
{
    uint32_t rc;

    if (v->child || size == 0 || size > v->size || size % ((uint64_t)v->logical_sector * 2) != 0) {
        return sim_fail(err, SIM_INVALID, "'%s' cannot be cut to %llu bytes", v->path,
                        (unsigned long long)size);
    }
    rc = size < v->size ? vhdx_unmap(v, size, v->size - size, err) : SIM_OK;
    if (rc == SIM_OK) {
        v->size = size;
        vhdx_geometry(v);
        rc = vhdx_write_metadata(v, NULL, NULL, NULL, err);
    }
    return rc;
}

/* ---- sector bitmaps: LSB first, 1 = in this file ---- */

uint32_t
vhdx_get_bitmap(struct vhdx *v, uint64_t chunk, uint8_t **out, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    if (v->bitmaps[chunk] == NULL) {
        uint8_t *bits = sim_alloc(BITMAP_SIZE);
        uint64_t at = v->bat[vhdx_bitmap_index(v, chunk)] / MIB * MIB;

        rc = sim_pread(v->fd, bits, BITMAP_SIZE, at, v->path, err);
        if (rc != SIM_OK) {
            free(bits);
            return rc;
        }
        v->bitmaps[chunk] = bits;
    }
    *out = v->bitmaps[chunk];
    return rc;
}

/* ---- reading ---- */

static uint32_t
map_bits(struct vhdx *v, uint64_t b, uint64_t in_block, uint64_t max, enum vhdx_kind *kind,
         uint64_t *len, struct sim_error *err)
{
    uint64_t base = b % v->chunk_ratio * (v->block_size / v->logical_sector);
    uint64_t first = base + in_block / v->logical_sector;
    uint64_t end = first + max / v->logical_sector;
    uint8_t *bits = NULL;
    uint64_t i = first;
    bool present;
    uint32_t rc = vhdx_get_bitmap(v, b / v->chunk_ratio, &bits, err);

    if (rc != SIM_OK) {
        return rc;
    }
    present = (bits[first / 8] >> (first % 8) & 1) != 0;
    while (i < end) {
        uint8_t byte = bits[i / 8];

        if (i % 8 == 0 && end - i >= 8 && byte == (present ? 0xFF : 0)) {
            i += 8;
        } else if ((byte >> (i % 8) & 1) == (present ? 1 : 0)) {
            i++;
        } else {
            break;
        }
    }
    *kind = present ? VHDX_PRESENT : VHDX_PARENT;
    *len = (i - first) * v->logical_sector;
    return SIM_OK;
}

uint32_t
vhdx_map(struct vhdx *v, uint64_t off, uint64_t max, enum vhdx_kind *kind, uint64_t *len,
         struct sim_error *err)
{
    uint64_t b = off / v->block_size;
    uint64_t in_block = off % v->block_size;
    uint64_t n = v->block_size - in_block < max ? v->block_size - in_block : max;

    *len = n;
    switch (v->bat[vhdx_bat_index(v, b)] & 7) {
    case BLOCK_PARTIAL:
        return map_bits(v, b, in_block, n, kind, len, err);
    case BLOCK_FULL:
        *kind = VHDX_PRESENT;
        return SIM_OK;
    case BLOCK_ABSENT:
        *kind = v->child ? VHDX_PARENT : VHDX_ZERO;
        return SIM_OK;
    default:
        *kind = VHDX_ZERO;
        return SIM_OK;
    }
}

uint32_t
vhdx_read_present(struct vhdx *v, void *buf, size_t len, uint64_t off, struct sim_error *err)
{
    uint8_t *p = buf;
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && len > 0) {
        uint64_t in_block = off % v->block_size;
        size_t n = v->block_size - in_block < len ? (size_t)(v->block_size - in_block) : len;
        uint64_t at = v->bat[vhdx_bat_index(v, off / v->block_size)] / MIB * MIB;

        rc = sim_pread(v->fd, p, n, at + in_block, v->path, err);
        p += n;
        off += n;
        len -= n;
    }
    return rc;
}
