/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/assembly.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "crypto/identity.h"
#include "restore/assembly_internal.h"

#define SECTOR_DEFAULT       512u
#define SECTOR_PHYSICAL      4096u /* what Windows gives a new VHDX */
#define BLOCK_MIN            (1024u * 1024)
#define BLOCK_MAX            (256u * 1024 * 1024)
#define BLOCK_DEFAULT        0u /* vhdx_plan.h chooses */
#define NOTE_MAX             512u
#define DIFF_NAMES_AT_A_TIME 512u

static const char *const formats[] = {
    [ASSEMBLY_VHDX] = "vhdx",   [ASSEMBLY_RAW] = "raw",
    [ASSEMBLY_CHAIN] = "chain", [ASSEMBLY_VHDX_FIXED] = "vhdx-fixed",
    [ASSEMBLY_VHD] = "vhd",
};

bool
assembly_format_parse(enum assembly_format *out, const char *text)
{
    for (size_t i = 1; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(formats[i], text) == 0) {
            *out = (enum assembly_format)i;
            return true;
        }
    }
    return false;
}

enum varve_err
assembly_note(struct assembly *a, struct varve_error *err, const char *fmt, ...)
{
    char **notes = realloc(a->notes, (a->note_count + 1) * sizeof(*notes));
    char *note = malloc(NOTE_MAX);
    va_list ap;

    if (notes != NULL) {
        a->notes = notes;
    }
    if (notes == NULL || note == NULL) {
        free(note);
        return varve_error_nomem(err);
    }
    va_start(ap, fmt);
    (void)vsnprintf(note, NOTE_MAX, fmt, ap);
    va_end(ap);
    notes[a->note_count++] = note;
    return VARVE_OK;
}

static void
random_guid(struct guid *out)
{
    uint8_t random[16];

    crypto_random(random, sizeof(random));
    guid_from_random(out, random);
}

struct vfile *
assembly_add_file(struct assembly *a, struct varve_error *err)
{
    struct vfile *files = realloc(a->files, (a->file_count + 1) * sizeof(*files));

    if (files == NULL) {
        (void)varve_error_nomem(err);
        return NULL;
    }
    a->files = files;
    memset(&files[a->file_count], 0, sizeof(*files));
    files[a->file_count].info.parent = ASSEMBLY_NO_FILE;
    return &files[a->file_count++];
}

/* ---- which chunks stand in a file ---- */

struct collect {
    struct assembly *a;
    struct vfile *file;
    struct manifest_reader *names; /* children: of the later point, to know holes */
    uint64_t disk_size;
};

static enum varve_err
plan_run(struct collect *c, uint64_t first, uint64_t count, struct varve_error *err)
{
    uint64_t offset = first * c->a->chunk_size;
    uint64_t length = count * c->a->chunk_size;

    if (offset >= c->disk_size) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "manifest names chunk %" PRIu64 " behind the disk's end", first);
    }
    if (length > c->disk_size - offset) {
        length = c->disk_size - offset;
    }
    return disk_plan_add(c->file->plan, offset, length, err);
}

/* manifest_walk_data(): a whole disk. */
static enum varve_err
collect_data_cb(void *arg, uint64_t first, uint64_t count, struct varve_error *err)
{
    struct collect *c = arg;
    enum varve_err rc = chunk_set_add(&c->file->data, first, count, err);

    if (rc == VARVE_OK && c->file->plan != NULL) {
        rc = plan_run(c, first, count, err);
    }
    return rc;
}

/* manifest_diff(): what a child says differently.  Zeroed chunks belong to it, as zeros. */
static enum varve_err
collect_changed_cb(void *arg, uint64_t first, uint64_t count, struct varve_error *err)
{
    struct collect *c = arg;
    struct chunk_id ids[DIFF_NAMES_AT_A_TIME];
    enum varve_err rc;

    if (++c->a->extents > ASSEMBLY_EXTENTS_MAX) {
        return varve_error_set(
            err, VARVE_ERR_LIMIT,
            "more than %u changed stretches in one chain: choose a later base or "
            "another format",
            ASSEMBLY_EXTENTS_MAX);
    }
    rc = plan_run(c, first, count, err);
    while (rc == VARVE_OK && count > 0) {
        size_t n = count < DIFF_NAMES_AT_A_TIME ? (size_t)count : DIFF_NAMES_AT_A_TIME;
        size_t run = 0;

        rc = manifest_read(c->names, first, n, ids, err);
        for (size_t i = 0; rc == VARVE_OK && i <= n; i++) {
            if (i < n && !chunk_id_is_hole(&ids[i])) {
                run++;
            } else if (run > 0) {
                rc = chunk_set_add(&c->file->data, first + i - run, run, err);
                run = 0;
            }
        }
        first += n;
        count -= n;
    }
    return rc;
}

static enum varve_err
collect_data(struct assembly *a, struct vfile *f, struct varve_error *err)
{
    const struct point_disk *disk = f->info.disk;
    struct collect c = {.a = a, .file = f, .disk_size = disk->size};
    struct manifest_reader *r = NULL;
    enum varve_err rc;

    rc = manifest_reader_new(&r, a->domain, &disk->root, err);
    if (rc == VARVE_OK) {
        rc = manifest_walk_data(r, collect_data_cb, &c, err);
    }
    manifest_reader_free(r);
    return rc;
}

static enum varve_err
collect_changed(struct assembly *a, struct vfile *f, const struct point_disk *parent,
                struct varve_error *err)
{
    const struct point_disk *disk = f->info.disk;
    struct collect c = {.a = a, .file = f, .disk_size = disk->size};
    enum varve_err rc;

    rc = manifest_reader_new(&c.names, a->domain, &disk->root, err);
    if (rc == VARVE_OK) {
        rc = manifest_diff(a->domain, &parent->root, &disk->root, collect_changed_cb, &c, err);
    }
    manifest_reader_free(c.names);
    return rc;
}

/* ---- planning one file ---- */

static uint64_t
set_bytes(const struct assembly *a, const struct chunk_set *s, uint64_t disk_size)
{
    uint64_t bytes = s->total * a->chunk_size;
    struct chunk_run last;

    /* The last chunk of the disk may be short. */
    if (s->chunks > 0 && chunk_set_next(s, s->chunks - 1, s->chunks, &last)) {
        bytes -= s->chunks * a->chunk_size - disk_size;
    }
    return bytes;
}

static uint64_t
meta_bytes(const struct disk_plan *p)
{
    uint64_t size = disk_plan_file_size(p);
    uint64_t bytes = 0;
    struct vhdx_segment s;

    for (uint64_t off = 0; off < size; off += s.length) {
        disk_plan_segment(p, off, &s);
        bytes += s.kind == VHDX_SEGMENT_META ? s.length : 0;
    }
    return bytes;
}

static enum varve_err
check_disk(const struct assembly *a, const struct point_disk *d, struct varve_error *err)
{
    if (d->root.chunk_count != div_round_up_u64(d->size, a->chunk_size)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "point says %" PRIu64 " chunks for %" PRIu64 " bytes of disk '%s'",
                               d->root.chunk_count, d->size, d->name);
    }
    return VARVE_OK;
}

static enum varve_err
plan_disk(struct vfile *f, enum disk_format format, const struct point_disk *identity,
          const struct chain_link *link, struct guid *data_write_guid, struct varve_error *err)
{
    const struct point_disk *d = f->info.disk;
    struct disk_params all = {.format = format, .created_us = f->info.point->frozen_at_us};
    struct vhdx_params *params = &all.disk;
    char *relative = NULL;
    enum varve_err rc;

    params->virtual_size = d->size;
    params->logical_sector = d->logical_sector == 0 ? SECTOR_DEFAULT : d->logical_sector;
    params->physical_sector = d->physical_sector == 0 ? SECTOR_PHYSICAL : d->physical_sector;
    /* Along a chain sector sizes and the SCSI identity are one. */
    params->disk_id = identity->page83;
    if (guid_is_zero(&params->disk_id)) {
        params->disk_id = identity->id;
    }
    random_guid(data_write_guid);
    params->data_write_guid = *data_write_guid;
    random_guid(&params->file_write_guid);
    if (link->parent == NULL) {
        params->block_size = BLOCK_DEFAULT;
        if (is_power_of_two_u64(d->block_size) && d->block_size >= BLOCK_MIN &&
            d->block_size <= BLOCK_MAX) {
            params->block_size = d->block_size;
        }
    } else {
        size_t size = strlen(link->parent_name) + sizeof(".\\");

        relative = malloc(size);
        if (relative == NULL) {
            return varve_error_nomem(err);
        }
        (void)snprintf(relative, size, ".\\%s", link->parent_name);
        params->parent.present = true;
        params->parent.linkage = link->parent_guid;
        params->parent.relative_path = relative;
        params->parent.absolute_path = link->parent_name;
    }
    rc = disk_plan_new(&f->plan, &all, err);
    free(relative);
    return rc;
}

enum varve_err
assembly_plan_file(struct assembly *a, struct vfile *f, enum disk_format format,
                   const struct point_disk *identity, const struct chain_link *link,
                   struct guid *data_write_guid, struct varve_error *err)
{
    bool planned = format != DISK_RAW;
    const struct point_disk *d = f->info.disk;
    enum varve_err rc;

    rc = check_disk(a, d, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    chunk_set_init(&f->data, d->root.chunk_count);
    if (planned) {
        rc = plan_disk(f, format, identity, link, data_write_guid, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    rc = link->parent == NULL ? collect_data(a, f, err) : collect_changed(a, f, link->parent, err);
    if (rc == VARVE_OK && planned) {
        rc = disk_plan_seal(f->plan, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    f->info.size = planned ? disk_plan_file_size(f->plan) : d->size;
    f->info.data_bytes = set_bytes(a, &f->data, d->size) + (planned ? meta_bytes(f->plan) : 0);
    return VARVE_OK;
}

/* ---- one disk ---- */

const struct point_disk *
assembly_find_disk(const struct point *p, const struct guid *id)
{
    for (size_t i = 0; i < p->disk_count; i++) {
        if (guid_equal(&p->disks[i].id, id)) {
            return &p->disks[i];
        }
    }
    return NULL;
}

void
assembly_disk_stem(const struct point_disk *d, char out[NAMES_PART_MAX + 1])
{
    names_clean_part(d->name, strlen(d->name), "disk", out);
    names_strip_suffix(out);
}

static enum varve_err
add_single(struct assembly *a, struct names *names, const struct point_disk *d,
           enum disk_format format, const char *suffix, struct varve_error *err)
{
    const struct chain_link link = {.parent = NULL};
    char stem[NAMES_PART_MAX + 1];
    struct vfile *f = assembly_add_file(a, err);
    struct guid guid;
    enum varve_err rc;

    if (f == NULL) {
        return VARVE_ERR_NOMEM;
    }
    f->info.point = a->points[a->point_count - 1];
    f->info.disk = d;
    assembly_disk_stem(d, stem);
    rc = names_unique(names, "", stem, suffix, &f->name, err);
    if (rc == VARVE_OK) {
        rc = assembly_plan_file(a, f, format, d, &link, &guid, err);
    }
    return rc;
}

static enum varve_err
add_config(struct assembly *a, struct names *names, const struct point_file *config,
           struct varve_error *err)
{
    struct vfile *f = assembly_add_file(a, err);

    if (f == NULL) {
        return VARVE_ERR_NOMEM;
    }
    f->config = config;
    f->info.point = a->points[a->point_count - 1];
    f->info.size = config->len;
    f->info.data_bytes = config->len;
    return names_config(names, "config", config->name, &f->name, err);
}

/* ---- the points of a restore ---- */

enum varve_err
assembly_keep_point(struct assembly *a, struct point *p, struct varve_error *err)
{
    struct point **points = realloc(a->points, (a->point_count + 1) * sizeof(struct point *));

    if (points == NULL) {
        return varve_error_nomem(err);
    }
    a->points = points;
    point_ref(p);
    points[a->point_count++] = p;
    return VARVE_OK;
}

/* The catalog keeps points without the bytes of their configuration files. */
static enum varve_err
load_last(struct assembly *a, struct catalog *catalog, struct varve_error *err)
{
    struct point **last = &a->points[a->point_count - 1];
    struct point *whole = NULL;
    enum varve_err rc = catalog_load(catalog, *last, &whole, err);

    if (rc == VARVE_OK) {
        point_unref(*last);
        *last = whole;
    }
    return rc;
}

static enum varve_err
add_disk(struct assembly *a, struct names *names, const struct point_disk *d,
         enum assembly_format format, bool from_first, struct varve_error *err)
{
    switch (format) {
    case ASSEMBLY_VHDX:
        return add_single(a, names, d, DISK_VHDX, ".vhdx", err);
    case ASSEMBLY_RAW:
        return add_single(a, names, d, DISK_RAW, ".raw", err);
    case ASSEMBLY_CHAIN:
        return assembly_add_chain(a, names, d, from_first, err);
    case ASSEMBLY_VHDX_FIXED:
        return add_single(a, names, d, DISK_VHDX_FIXED, ".vhdx", err);
    case ASSEMBLY_VHD:
        return add_single(a, names, d, DISK_VHD, ".vhd", err);
    }
    return varve_error_set(err, VARVE_ERR_INVALID, "there is no format %d", (int)format);
}

/* from_first: the operator named the first point of a chain. */
static enum varve_err
build(struct assembly *a, enum assembly_format format, bool from_first, struct varve_error *err)
{
    const struct point *last = a->points[a->point_count - 1];
    struct names names;
    enum varve_err rc = VARVE_OK;

    names_init(&names);
    for (size_t i = 0; rc == VARVE_OK && i < last->disk_count; i++) {
        const struct point_disk *d = &last->disks[i];

        rc = add_disk(a, &names, d, format, from_first, err);
        if (rc != VARVE_OK) {
            rc = varve_error_prefix(err, "disk '%s'", d->name);
        }
    }
    for (size_t i = 0; rc == VARVE_OK && i < last->file_count; i++) {
        rc = add_config(a, &names, &last->files[i], err);
    }
    for (size_t i = 0; i < a->file_count; i++) {
        a->files[i].info.name = a->files[i].name;
    }
    names_release(&names);
    return rc;
}

enum varve_err
assembly_open(struct assembly **out, struct chunk_store *cs, struct catalog *catalog,
              struct point *point, enum assembly_format format, struct point *base,
              struct varve_error *err)
{
    struct assembly *a = calloc(1, sizeof(*a));
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&a->idle_lock);
    a->chunk_size = chunk_store_chunk_size(cs);
    rc = chunk_store_domain(cs, &point->domain, &a->domain, err);
    if (rc != VARVE_OK) {
        assembly_close(a);
        return rc;
    }
    if (format == ASSEMBLY_CHAIN) {
        rc = assembly_chain_points(a, catalog, point, base, err);
    } else if (base != NULL) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "only a chain has a base point");
    } else {
        rc = assembly_keep_point(a, point, err);
    }
    if (rc == VARVE_OK) {
        rc = load_last(a, catalog, err);
    }
    if (rc == VARVE_OK) {
        rc = build(a, format, base != NULL, err);
    }
    if (rc != VARVE_OK) {
        assembly_close(a);
        return rc;
    }
    *out = a;
    return VARVE_OK;
}

void
assembly_close(struct assembly *a)
{
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < a->idle_count; i++) {
        manifest_reader_free(a->idle[i].reader);
    }
    for (size_t i = 0; i < a->file_count; i++) {
        disk_plan_free(a->files[i].plan);
        chunk_set_release(&a->files[i].data);
        free(a->files[i].name);
    }
    for (size_t i = 0; i < a->note_count; i++) {
        free(a->notes[i]);
    }
    for (size_t i = 0; i < a->point_count; i++) {
        point_unref(a->points[i]);
    }
    free(a->files);
    free(a->notes);
    free(a->points);
    mutex_destroy(&a->idle_lock);
    free(a);
}

size_t
assembly_file_count(const struct assembly *a)
{
    return a->file_count;
}

const struct assembly_file *
assembly_get_file(const struct assembly *a, size_t file)
{
    return &a->files[file].info;
}

size_t
assembly_note_count(const struct assembly *a)
{
    return a->note_count;
}

const char *
assembly_get_note(const struct assembly *a, size_t note)
{
    return a->notes[note];
}
