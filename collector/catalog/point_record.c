/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/point_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"
#include "os/path.h"
#include "point_record.pb-c.h"

/* Configuration files from this size on are kept packed. */
#define PACK_FROM (64u * 1024)

typedef Varve__Store__V1__PointRecord record_message;
typedef Varve__Store__V1__PointDisk disk_message;
typedef Varve__Store__V1__PointFile file_message;
typedef Varve__Store__V1__PackedFile packed_message;

/* ---- what a point can be ---- */

static enum varve_err
check_string(const char *what, const char *s, struct varve_error *err)
{
    if (s != NULL && strlen(s) > POINT_STRING_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s of a point is longer than %u bytes",
                               what, POINT_STRING_MAX);
    }
    return VARVE_OK;
}

/* Names become files where a point is restored. */
static enum varve_err
check_name(const char *what, const char *s, struct varve_error *err)
{
    if (s == NULL || !path_is_plain_name(s)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%.60s' cannot be the name of a %s",
                               s == NULL ? "" : s, what);
    }
    return check_string(what, s, err);
}

static enum varve_err
check_disk(const struct point_disk *d, struct varve_error *err)
{
    enum varve_err rc;

    rc = check_name("disk", d->name, err);
    if (rc == VARVE_OK) {
        rc = check_string("a disk's path", d->path, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("a change id", d->change_id, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("a disk's reason", d->reason, err);
    }
    if (rc == VARVE_OK && (d->size == 0) != (d->root.chunk_count == 0)) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "disk '%s' has %" PRIu64 " bytes in %" PRIu64 " chunks", d->name,
                             d->size, d->root.chunk_count);
    }
    return rc;
}

static enum varve_err
check_files(const struct point *p, struct varve_error *err)
{
    uint64_t total = 0;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < p->file_count; i++) {
        rc = check_name("configuration file", p->files[i].name, err);
        if (rc == VARVE_OK && p->files[i].len > POINT_FILE_MAX) {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "configuration file '%s' has %zu bytes, at most %u",
                                 p->files[i].name, p->files[i].len, POINT_FILE_MAX);
        }
        total += p->files[i].len;
    }
    if (rc == VARVE_OK && total > POINT_FILES_SIZE_MAX) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "the configuration files have %" PRIu64 " bytes, at most %u", total,
                             POINT_FILES_SIZE_MAX);
    }
    return rc;
}

enum varve_err
point_check(const struct point *p, struct varve_error *err)
{
    enum varve_err rc;

    if (guid_is_zero(&p->vm) || guid_is_zero(&p->run)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a point needs the ids of its vm and run");
    }
    if (p->disk_count > POINT_DISKS_MAX || p->file_count > POINT_FILES_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "a point with %zu disks and %zu files, at most %u and %u",
                               p->disk_count, p->file_count, POINT_DISKS_MAX, POINT_FILES_MAX);
    }
    if (p->consistency < POINT_CRASH || p->consistency > POINT_OFFLINE) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%d is no consistency of a point",
                               (int)p->consistency);
    }
    rc = check_string("the vm's name", p->vm_name, err);
    if (rc == VARVE_OK) {
        rc = check_string("the host's name", p->host_name, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("the capture", p->capture, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("the source", p->source, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("the reason", p->reason, err);
    }
    if (rc == VARVE_OK) {
        rc = check_string("the reference point", p->reference_point, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < p->disk_count; i++) {
        rc = check_disk(&p->disks[i], err);
    }
    return rc == VARVE_OK ? check_files(p, err) : rc;
}

/* ---- encoding ---- */

static char *
text_out(const char *s)
{
    static char empty[1];

    return s == NULL ? empty : (char *)(uintptr_t)s;
}

static ProtobufCBinaryData
guid_out(const struct guid *g)
{
    return (ProtobufCBinaryData){.len = sizeof(g->bytes), .data = (uint8_t *)(uintptr_t)g->bytes};
}

static void
disk_out(const struct point_disk *d, disk_message *m)
{
    varve__store__v1__point_disk__init(m);
    m->id = guid_out(&d->id);
    m->name = text_out(d->name);
    m->path = text_out(d->path);
    m->size = d->size;
    m->logical_sector = d->logical_sector;
    m->physical_sector = d->physical_sector;
    m->block_size = d->block_size;
    m->page83 = guid_out(&d->page83);
    if (!chunk_id_is_hole(&d->root.id)) {
        m->root.data = (uint8_t *)(uintptr_t)d->root.id.bytes;
        m->root.len = sizeof(d->root.id.bytes);
    }
    m->chunk_count = d->root.chunk_count;
    m->change_id = text_out(d->change_id);
    m->incremental = d->incremental;
    m->reason = text_out(d->reason);
    m->read_bytes = d->read_bytes;
    m->sent_bytes = d->sent_bytes;
    m->new_bytes = d->new_bytes;
    m->tracked_bytes = d->tracked_bytes;
}

static void
record_out(const struct point *p, record_message *m)
{
    varve__store__v1__point_record__init(m);
    m->id = guid_out(&p->id);
    m->vm = guid_out(&p->vm);
    m->host = guid_out(&p->host);
    m->run = guid_out(&p->run);
    m->seq = p->seq;
    m->vm_name = text_out(p->vm_name);
    m->host_name = text_out(p->host_name);
    m->frozen_at_us = p->frozen_at_us;
    m->published_at_us = p->published_at_us;
    m->consistency = (uint32_t)p->consistency;
    m->capture = text_out(p->capture);
    m->source = text_out(p->source);
    m->reason = text_out(p->reason);
    m->reference_point = text_out(p->reference_point);
    m->generation = p->generation;
}

/* The lists of a message, and what is packed of the files. */
struct lists {
    disk_message *disks;
    disk_message **disk_list;
    file_message *files;
    file_message **file_list;
    packed_message *packed;
    packed_message **packed_list;
    size_t packed_count;
};

static bool
lists_make(struct lists *l, const struct point *p)
{
    l->disks = calloc(p->disk_count + 1, sizeof(*l->disks));
    l->disk_list = calloc(p->disk_count + 1, sizeof(disk_message *));
    l->files = calloc(p->file_count + 1, sizeof(*l->files));
    l->file_list = calloc(p->file_count + 1, sizeof(file_message *));
    l->packed = calloc(p->file_count + 1, sizeof(*l->packed));
    l->packed_list = calloc(p->file_count + 1, sizeof(packed_message *));
    return l->disks != NULL && l->disk_list != NULL && l->files != NULL && l->file_list != NULL &&
           l->packed != NULL && l->packed_list != NULL;
}

static void
lists_free(struct lists *l)
{
    for (size_t i = 0; i < l->packed_count; i++) {
        free(l->packed[i].lz4.data);
    }
    free(l->disks);
    free(l->disk_list);
    free(l->files);
    free(l->file_list);
    free(l->packed);
    free(l->packed_list);
}

/* Packed where that is worth it. */
static enum varve_err
file_out(const struct point_file *f, struct lists *l, record_message *m, struct varve_error *err)
{
    packed_message *packed = &l->packed[l->packed_count];
    file_message *file = &l->files[m->n_files];
    uint8_t *bytes = NULL;
    size_t len = 0;

    if (f->len >= PACK_FROM) {
        bytes = malloc(f->len);
        if (bytes == NULL) {
            return varve_error_nomem(err);
        }
        len = codec_lz4_pack(f->data, f->len, bytes, f->len);
    }
    if (len == 0) {
        free(bytes);
        varve__store__v1__point_file__init(file);
        file->name = text_out(f->name);
        file->data.data = f->data;
        file->data.len = f->len;
        l->file_list[m->n_files++] = file;
        return VARVE_OK;
    }
    varve__store__v1__packed_file__init(packed);
    packed->name = text_out(f->name);
    packed->size = f->len;
    packed->lz4.data = bytes;
    packed->lz4.len = len;
    l->packed_list[l->packed_count++] = packed;
    m->n_packed_files = l->packed_count;
    return VARVE_OK;
}

enum varve_err
point_encode(const struct point *p, struct buf *out, struct varve_error *err)
{
    struct lists l = {.packed_count = 0};
    record_message m;
    uint8_t *bytes = NULL;
    size_t size;
    enum varve_err rc;

    rc = point_check(p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (!lists_make(&l, p)) {
        lists_free(&l);
        return varve_error_nomem(err);
    }
    record_out(p, &m);
    for (size_t i = 0; i < p->disk_count; i++) {
        disk_out(&p->disks[i], &l.disks[i]);
        l.disk_list[i] = &l.disks[i];
    }
    m.disks = l.disk_list;
    m.n_disks = p->disk_count;
    m.files = l.file_list;
    m.packed_files = l.packed_list;
    for (size_t i = 0; rc == VARVE_OK && i < p->file_count; i++) {
        rc = file_out(&p->files[i], &l, &m, err);
    }
    size = rc == VARVE_OK ? varve__store__v1__point_record__get_packed_size(&m) : 0;
    if (size > POINT_RECORD_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "a point's record of %zu bytes is too large, at most %u: its "
                             "configuration files are too many",
                             size, POINT_RECORD_MAX);
    }
    if (rc == VARVE_OK) {
        rc = buf_extend(out, size, &bytes, err);
    }
    if (rc == VARVE_OK) {
        (void)varve__store__v1__point_record__pack(&m, bytes);
    }
    lists_free(&l);
    return rc;
}

/* ---- decoding ---- */

/* What protobuf-c may allocate for one record: a short message can stand for a large structure. */
struct budget {
    size_t left;
};

static void *
budget_alloc(void *arg, size_t size)
{
    struct budget *b = arg;

    if (size > b->left) {
        return NULL;
    }
    b->left -= size;
    return malloc(size);
}

static void
budget_free(void *arg, void *p)
{
    (void)arg;
    free(p);
}

static bool
guid_in(struct guid *out, const ProtobufCBinaryData *d)
{
    if (d->len != sizeof(out->bytes)) {
        return false;
    }
    memcpy(out->bytes, d->data, sizeof(out->bytes));
    return true;
}

static bool
text_in(char **out, const char *s)
{
    size_t len = strlen(s);

    *out = malloc(len + 1);
    if (*out == NULL) {
        return false;
    }
    memcpy(*out, s, len + 1);
    return true;
}

static enum varve_err
disk_in(struct point_disk *d, const disk_message *m, struct varve_error *err)
{
    if (!guid_in(&d->id, &m->id) || !guid_in(&d->page83, &m->page83) ||
        (m->root.len != 0 && m->root.len != CHUNK_ID_SIZE)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "an id of a disk has a wrong length");
    }
    if (m->root.len != 0) {
        memcpy(d->root.id.bytes, m->root.data, CHUNK_ID_SIZE);
    }
    d->root.chunk_count = m->chunk_count;
    d->size = m->size;
    d->logical_sector = m->logical_sector;
    d->physical_sector = m->physical_sector;
    d->block_size = m->block_size;
    d->incremental = m->incremental != 0;
    d->read_bytes = m->read_bytes;
    d->sent_bytes = m->sent_bytes;
    d->new_bytes = m->new_bytes;
    d->tracked_bytes = m->tracked_bytes;
    if (!text_in(&d->name, m->name) || !text_in(&d->path, m->path) ||
        !text_in(&d->change_id, m->change_id) || !text_in(&d->reason, m->reason)) {
        return varve_error_nomem(err);
    }
    return VARVE_OK;
}

static enum varve_err
file_in(struct point_file *f, const file_message *m, bool with_data, struct varve_error *err)
{
    if (!text_in(&f->name, m->name)) {
        return varve_error_nomem(err);
    }
    f->len = m->data.len;
    if (with_data) {
        f->data = malloc(f->len + 1);
        if (f->data == NULL) {
            return varve_error_nomem(err);
        }
        if (f->len > 0) {
            memcpy(f->data, m->data.data, f->len);
        }
    }
    return VARVE_OK;
}

static enum varve_err
packed_in(struct point_file *f, const packed_message *m, bool with_data, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (!text_in(&f->name, m->name)) {
        return varve_error_nomem(err);
    }
    f->len = (size_t)m->size;
    if (with_data) {
        f->data = malloc(f->len + 1);
        rc = f->data == NULL ? varve_error_nomem(err)
                             : codec_lz4_unpack(m->lz4.data, m->lz4.len, f->data, f->len, err);
    }
    return rc == VARVE_OK ? VARVE_OK : varve_error_prefix(err, "a configuration file");
}

/* Before anything is made of so many bytes. */
static bool
packed_fit(const record_message *m)
{
    uint64_t total = 0;

    for (size_t i = 0; i < m->n_packed_files; i++) {
        if (m->packed_files[i]->size > POINT_FILE_MAX) {
            return false;
        }
        total += m->packed_files[i]->size;
    }
    return total <= POINT_FILES_SIZE_MAX;
}

static enum varve_err
record_in(struct point *p, const record_message *m, bool with_files, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (!guid_in(&p->id, &m->id) || !guid_in(&p->vm, &m->vm) || !guid_in(&p->host, &m->host) ||
        !guid_in(&p->run, &m->run)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "an id of a point has a wrong length");
    }
    if (m->n_disks > POINT_DISKS_MAX || m->n_files > POINT_FILES_MAX ||
        m->n_packed_files > POINT_FILES_MAX - m->n_files || !packed_fit(m)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "a point with %zu disks and %zu files, or too large ones",
                               m->n_disks, m->n_files + m->n_packed_files);
    }
    p->seq = m->seq;
    p->frozen_at_us = m->frozen_at_us;
    p->published_at_us = m->published_at_us;
    p->consistency = (enum point_consistency)m->consistency;
    p->generation = m->generation;
    if (!text_in(&p->vm_name, m->vm_name) || !text_in(&p->host_name, m->host_name) ||
        !text_in(&p->capture, m->capture) || !text_in(&p->source, m->source) ||
        !text_in(&p->reason, m->reason) || !text_in(&p->reference_point, m->reference_point)) {
        return varve_error_nomem(err);
    }
    p->disks = calloc(m->n_disks + 1, sizeof(p->disks[0]));
    p->files = calloc(m->n_files + m->n_packed_files + 1, sizeof(p->files[0]));
    if (p->disks == NULL || p->files == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < m->n_disks; i++) {
        p->disk_count++;
        rc = disk_in(&p->disks[i], m->disks[i], err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < m->n_files; i++) {
        p->file_count++;
        rc = file_in(&p->files[i], m->files[i], with_files, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < m->n_packed_files; i++) {
        rc = packed_in(&p->files[p->file_count++], m->packed_files[i], with_files, err);
    }
    return rc;
}

enum varve_err
point_decode(struct point **out, const void *data, size_t len, bool with_files,
             struct varve_error *err)
{
    struct budget budget = {.left = POINT_DECODE_MEMORY};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    record_message *m = NULL;
    struct point *p = NULL;
    enum varve_err rc;

    if (len > POINT_RECORD_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a point's record of %zu bytes is too large",
                               len);
    }
    p = point_new();
    if (p == NULL) {
        return varve_error_nomem(err);
    }
    m = varve__store__v1__point_record__unpack(&allocator, len, data);
    if (m == NULL) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no point's record", len);
        goto out;
    }
    rc = record_in(p, m, with_files, err);
    if (rc == VARVE_OK) {
        rc = point_check(p, err);
        if (rc == VARVE_ERR_INVALID) { /* said by a stored record, not by a caller */
            err->code = VARVE_ERR_CORRUPT;
            rc = VARVE_ERR_CORRUPT;
        }
    }
    if (rc == VARVE_OK) {
        *out = p;
        p = NULL;
    }
out:
    if (m != NULL) {
        varve__store__v1__point_record__free_unpacked(m, &allocator);
    }
    point_unref(p);
    return rc;
}
