/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/vhdx_inplace_internal.h"

#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_file.h"

/* Sectors [first, first + count) of block b. */
static uint32_t
set_bits(struct vhdx *v, uint64_t block, uint64_t first, uint64_t count, bool value,
         struct sim_error *err)
{
    uint64_t chunk = block / v->chunk_ratio;
    uint64_t start = block % v->chunk_ratio * (v->block_size / v->logical_sector) + first;
    uint64_t at = v->bat[vhdx_bitmap_index(v, chunk)] / MIB * MIB;
    uint8_t *bits = NULL;
    uint32_t rc = vhdx_get_bitmap(v, chunk, &bits, err);

    if (rc != SIM_OK) {
        return rc;
    }
    for (uint64_t i = start; i < start + count;) {
        if (i % 8 == 0 && start + count - i >= 8) {
            bits[i / 8] = value ? 0xFF : 0;
            i += 8;
        } else {
            uint8_t mask = (uint8_t)(1u << (i % 8));

            bits[i / 8] = (uint8_t)(value ? bits[i / 8] | mask : bits[i / 8] & ~mask);
            i++;
        }
    }
    return sim_pwrite(v->fd, bits + start / 8, (size_t)((start + count - 1) / 8 - start / 8 + 1),
                      at + start / 8, v->path, err);
}

/*
 * Sectors whose bit is 0 hold undefined bytes in files from Windows; here one of them gets junk on
 * purpose, so that a reader that looks there is found out.
 */
static uint32_t
put_junk(struct vhdx *v, uint64_t file_off, uint64_t from, struct sim_error *err)
{
    uint8_t junk[4096];

    if (from + v->logical_sector > v->block_size) {
        return SIM_OK;
    }
    sim_random_fill(junk, v->logical_sector, sim_random_next(v->random), 0);
    return sim_pwrite(v->fd, junk, v->logical_sector, file_off + from, v->path, err);
}

/* Gives block b a place for a write that ends at in_block_end; *entry is what its BAT entry shall be. */
static uint32_t
place_block(struct vhdx *v, uint64_t b, uint64_t in_block_end, uint64_t *entry,
            struct sim_error *err)
{
    uint64_t old = v->bat[vhdx_bat_index(v, b)];
    unsigned state = (unsigned)(old & 7);
    bool zeroed = state == BLOCK_ZERO || state == BLOCK_UNMAPPED;
    uint64_t offset = old / MIB * MIB;
    uint32_t rc = SIM_OK;

    if (state == BLOCK_FULL || state == BLOCK_PARTIAL) {
        *entry = old;
        return SIM_OK;
    }
    if (offset != 0) {
        rc = sim_punch(v->fd, offset, v->block_size, v->path, err);
    } else {
        rc = vhdx_extend(v, v->block_size, &offset, err);
    }
    *entry = offset | (v->child && !zeroed ? BLOCK_PARTIAL : BLOCK_FULL);
    if (rc == SIM_OK && v->child && !zeroed) {
        rc = put_junk(v, offset, in_block_end, err);
    }
    if (rc == SIM_OK && v->child) {
        /* Cleared as well: a SIGKILL may have left bits of a write that never got its BAT entry. */
        rc = set_bits(v, b, 0, v->block_size / v->logical_sector, zeroed, err);
    }
    return rc;
}

static uint32_t
write_in_block(struct vhdx *v, uint64_t b, uint64_t in_block, const uint8_t *p, size_t len,
               struct sim_error *err)
{
    uint64_t index = vhdx_bat_index(v, b);
    uint64_t entry = 0;
    uint32_t rc = place_block(v, b, in_block + len, &entry, err);

    if (rc == SIM_OK) {
        rc = sim_pwrite(v->fd, p, len, entry / MIB * MIB + in_block, v->path, err);
    }
    if (rc == SIM_OK && v->child) {
        rc = set_bits(v, b, in_block / v->logical_sector, len / v->logical_sector, true, err);
    }
    if (rc == SIM_OK && entry != v->bat[index]) {
        rc = vhdx_store_bat_entry(v, index, entry, err);
    }
    return rc;
}

static uint32_t
check_span(const struct vhdx *v, uint64_t off, uint64_t len, struct sim_error *err)
{
    if (off % v->logical_sector != 0 || len % v->logical_sector != 0 || off > v->size ||
        len > v->size - off) {
        return sim_fail(err, SIM_INVALID, "%llu bytes at %llu are not whole sectors inside '%s'",
                        (unsigned long long)len, (unsigned long long)off, v->path);
    }
    return SIM_OK;
}

uint32_t
vhdx_write(struct vhdx *v, const void *buf, size_t len, uint64_t off, struct sim_error *err)
{
    const uint8_t *p = buf;
    uint32_t rc = check_span(v, off, len, err);

    if (rc == SIM_OK) {
        rc = vhdx_begin_session(v, err);
    }
    while (rc == SIM_OK && len > 0) {
        uint64_t in_block = off % v->block_size;
        size_t n = v->block_size - in_block < len ? (size_t)(v->block_size - in_block) : len;

        rc = write_in_block(v, off / v->block_size, in_block, p, n, err);
        p += n;
        off += n;
        len -= n;
    }
    return rc;
}

static uint32_t
write_zeros(struct vhdx *v, uint64_t off, uint64_t len, struct sim_error *err)
{
    size_t step = len < MIB ? (size_t)len : (size_t)MIB;
    uint8_t *zeros = sim_alloc(step);
    uint32_t rc = SIM_OK;

    while (rc == SIM_OK && len > 0) {
        size_t n = len < step ? (size_t)len : step;

        rc = vhdx_write(v, zeros, n, off, err);
        off += n;
        len -= n;
    }
    free(zeros);
    return rc;
}

static uint32_t
unmap_whole_block(struct vhdx *v, uint64_t b, struct sim_error *err)
{
    uint64_t index = vhdx_bat_index(v, b);
    uint64_t offset = v->bat[index] / MIB * MIB;
    unsigned state = (unsigned)(v->bat[index] & 7);
    uint32_t rc;

    if (state == BLOCK_ZERO || state == BLOCK_UNMAPPED || (state == BLOCK_ABSENT && !v->child)) {
        return SIM_OK;
    }
    /* The BAT goes first here: a state 7 block with cleared bits would show the parent. */
    rc = vhdx_store_bat_entry(v, index,
                              state == BLOCK_ABSENT ? BLOCK_ZERO : offset | BLOCK_UNMAPPED, err);
    if (rc == SIM_OK && v->child) {
        rc = set_bits(v, b, 0, v->block_size / v->logical_sector, false, err);
    }
    return rc;
}

static uint32_t
unmap_in_block(struct vhdx *v, uint64_t b, uint64_t in_block, uint64_t len, struct sim_error *err)
{
    uint64_t entry = v->bat[vhdx_bat_index(v, b)];
    unsigned state = (unsigned)(entry & 7);
    uint64_t off = b * v->block_size + in_block;
    uint64_t whole = v->size - b * v->block_size;

    if (whole > v->block_size) {
        whole = v->block_size;
    }
    if (in_block == 0 && len == whole && !v->fixed) {
        return unmap_whole_block(v, b, err);
    }
    if (state == BLOCK_ZERO || state == BLOCK_UNMAPPED || (state == BLOCK_ABSENT && !v->child)) {
        return SIM_OK;
    }
    if (state == BLOCK_FULL) {
        return sim_punch(v->fd, entry / MIB * MIB + in_block, len, v->path, err);
    }
    return write_zeros(v, off, len, err);
}

uint32_t
vhdx_unmap(struct vhdx *v, uint64_t off, uint64_t len, struct sim_error *err)
{
    uint32_t rc = check_span(v, off, len, err);

    if (rc == SIM_OK) {
        rc = vhdx_begin_session(v, err);
    }
    while (rc == SIM_OK && len > 0) {
        uint64_t in_block = off % v->block_size;
        uint64_t n = v->block_size - in_block < len ? v->block_size - in_block : len;

        rc = unmap_in_block(v, off / v->block_size, in_block, n, err);
        off += n;
        len -= n;
    }
    return rc;
}
