/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_filter_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "os/file.h"

#define INDEX_FILTER_MAGIC "VARVEFI1"
#define BYTE_ORDER_MARK    0x01020304u /* words are written as they stand in memory */
#define CAPACITY_MAX       (1ull << 36)
#define PIECE              (1u << 20)

static size_t
layer_bytes(uint64_t capacity)
{
    return (size_t)(filter_layer_blocks(capacity) * LANES * sizeof(uint32_t));
}

static void
header_encode(const struct index_filter_header *h, uint8_t out[INDEX_FILTER_HEADER])
{
    const uint32_t mark = BYTE_ORDER_MARK;

    memset(out, 0, INDEX_FILTER_HEADER);
    memcpy(out, INDEX_FILTER_MAGIC, 8);
    memcpy(out + 8, &mark, sizeof(mark));
    put_le32(out + 12, h->layers);
    memcpy(out + 16, h->stamp.index_id, INDEX_ID_SIZE);
    put_le64(out + 32, h->stamp.transaction);
    for (uint32_t i = 0; i < h->layers; i++) {
        put_le64(out + 40 + (size_t)8 * i, h->capacity[i]);
        put_le64(out + 64 + (size_t)8 * i, h->used[i]);
    }
    put_le32(out + 88, h->words_crc);
    put_le32(out + 92, crc32c(out, 92));
}

enum varve_err
index_filter_header_decode(struct index_filter_header *out, const uint8_t in[INDEX_FILTER_HEADER],
                           uint64_t file_size, struct varve_error *err)
{
    const uint32_t mark = BYTE_ORDER_MARK;
    uint64_t size = INDEX_FILTER_HEADER;

    memset(out, 0, sizeof(*out));
    if (memcmp(in, INDEX_FILTER_MAGIC, 8) != 0 || memcmp(in + 8, &mark, sizeof(mark)) != 0 ||
        get_le32(in + 92) != crc32c(in, 92)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "no filter of this kind of machine");
    }
    out->layers = get_le32(in + 12);
    memcpy(out->stamp.index_id, in + 16, INDEX_ID_SIZE);
    out->stamp.transaction = get_le64(in + 32);
    out->words_crc = get_le32(in + 88);
    if (out->layers == 0 || out->layers > INDEX_FILTER_SAVED) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%u layers", out->layers);
    }
    for (uint32_t i = 0; i < out->layers; i++) {
        out->capacity[i] = get_le64(in + 40 + (size_t)8 * i);
        out->used[i] = get_le64(in + 64 + (size_t)8 * i);
        if (out->capacity[i] == 0 || out->capacity[i] > CAPACITY_MAX) {
            return varve_error_set(err, VARVE_ERR_CORRUPT, "an impossible layer");
        }
        size += layer_bytes(out->capacity[i]);
    }
    if (size != file_size) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "another size than its layers have");
    }
    return VARVE_OK;
}

/* ---- save ---- */

static enum varve_err
write_layers(const struct index_filter *f, struct index_filter_header *h, struct file *file,
             struct varve_error *err)
{
    uint64_t at = INDEX_FILTER_HEADER;
    enum varve_err rc = VARVE_OK;

    for (uint32_t i = 0; i < h->layers; i++) {
        const uint8_t *bytes = (const uint8_t *)(const void *)f->layers[i].words;
        size_t len = layer_bytes(h->capacity[i]);

        for (size_t done = 0; rc == VARVE_OK && done < len; done += PIECE) {
            size_t n = len - done < PIECE ? len - done : PIECE;

            h->words_crc = crc32c_update(h->words_crc, bytes + done, n);
            rc = file_write(file, bytes + done, n, at + done, err);
        }
        at += len;
    }
    return rc;
}

enum varve_err
index_filter_save(const struct index_filter *f, struct fs *fs, const char *path,
                  const struct index_filter_stamp *stamp, struct varve_error *err)
{
    struct index_filter_header h = {.stamp = *stamp, .layers = atomic_load(&f->count)};
    uint8_t header[INDEX_FILTER_HEADER];
    struct file *file = NULL;
    char temporary[4096];
    enum varve_err rc;

    if (atomic_load(&f->useless) || h.layers > INDEX_FILTER_SAVED) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "the filter has grown too often");
    }
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= sizeof(temporary)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is too long", path);
    }
    for (uint32_t i = 0; i < h.layers; i++) {
        h.capacity[i] = f->layers[i].capacity;
        h.used[i] = atomic_load(&f->layers[i].used);
    }
    rc = fs_remove(fs, temporary, err);
    if (rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND) {
        rc = file_open(fs, &file, temporary, FILE_CREATE_NEW, err);
    }
    if (rc == VARVE_OK) {
        rc = write_layers(f, &h, file, err);
    }
    if (rc == VARVE_OK) {
        header_encode(&h, header);
        rc = file_write(file, header, sizeof(header), 0, err);
    }
    file_close(file);
    if (rc == VARVE_OK) {
        rc = fs_rename_over(fs, temporary, path, err);
    }
    if (rc != VARVE_OK) {
        struct varve_error ignored;

        (void)!fs_remove(fs, temporary, &ignored);
    }
    return rc;
}

/* ---- load ---- */

static enum varve_err
read_layers(struct index_filter *f, const struct index_filter_header *h, struct file *file,
            struct varve_error *err)
{
    uint64_t at = INDEX_FILTER_HEADER;
    uint32_t crc = 0;
    enum varve_err rc = VARVE_OK;

    for (uint32_t i = 0; rc == VARVE_OK && i < h->layers; i++) {
        size_t len = layer_bytes(h->capacity[i]);
        uint8_t *bytes;

        if (!filter_layer_init(&f->layers[i], h->capacity[i])) {
            return varve_error_nomem(err);
        }
        atomic_store(&f->count, i + 1);
        atomic_store(&f->layers[i].used, h->used[i]);
        bytes = (uint8_t *)(void *)f->layers[i].words;
        for (size_t done = 0; rc == VARVE_OK && done < len; done += PIECE) {
            size_t n = len - done < PIECE ? len - done : PIECE;

            rc = file_read_exact(file, bytes + done, n, at + done, err);
            crc = rc == VARVE_OK ? crc32c_update(crc, bytes + done, n) : crc;
        }
        at += len;
    }
    if (rc == VARVE_OK && crc != h->words_crc) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "a wrong checksum");
    }
    return rc;
}

enum varve_err
index_filter_load(struct index_filter **out, struct fs *fs, const char *path,
                  const struct index_filter_stamp *stamp, struct varve_error *err)
{
    struct index_filter_header h;
    uint8_t header[INDEX_FILTER_HEADER];
    struct index_filter *f = NULL;
    struct file *file = NULL;
    struct file_stat st;
    enum varve_err rc;

    rc = file_open(fs, &file, path, FILE_READ, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = file_fstat(file, &st, err);
    if (rc == VARVE_OK) {
        rc = file_read_exact(file, header, sizeof(header), 0, err);
    }
    if (rc == VARVE_OK) {
        rc = index_filter_header_decode(&h, header, st.size, err);
    }
    if (rc == VARVE_OK && (memcmp(h.stamp.index_id, stamp->index_id, INDEX_ID_SIZE) != 0 ||
                           h.stamp.transaction != stamp->transaction)) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "it is of another moment");
    }
    if (rc == VARVE_OK) {
        f = calloc(1, sizeof(*f));
        rc = f == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        mutex_init(&f->lock);
        rc = read_layers(f, &h, file, err);
    }
    file_close(file);
    if (rc != VARVE_OK) {
        index_filter_free(f);
        return rc;
    }
    *out = f;
    return VARVE_OK;
}
