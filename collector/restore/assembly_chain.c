/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "restore/assembly_internal.h"

/*
 * The points of a chain, and the files of one disk in it.
 */

/* ---- the points ---- */

enum varve_err
assembly_chain_points(struct assembly *a, struct catalog *catalog, struct point *last,
                      const struct point *base, struct varve_error *err)
{
    struct point **all = NULL; /* newest first */
    size_t count = 0;
    size_t newest = 0;
    size_t end;
    enum varve_err rc;

    if (base != NULL && (!guid_equal(&base->vm, &last->vm) || base->seq > last->seq)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "the base of a chain must be the point itself or an older one of the "
            "same vm");
    }
    rc = catalog_list(catalog, &last->vm, &all, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    while (newest < count && all[newest]->seq > last->seq) {
        newest++;
    }
    end = newest;
    while (end < count && (base == NULL || all[end]->seq >= base->seq)) {
        end++;
    }
    if (end - newest > ASSEMBLY_CHAIN_MAX && base != NULL) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT,
                             "a chain of %zu files would be longer than %u: choose a later base",
                             end - newest, ASSEMBLY_CHAIN_MAX);
        goto out;
    }
    if (end - newest > ASSEMBLY_CHAIN_MAX) {
        end = newest + ASSEMBLY_CHAIN_MAX;
        rc = assembly_note(a, err, "a chain has at most %u files: older points were left out",
                           ASSEMBLY_CHAIN_MAX);
    }
    while (rc == VARVE_OK && end > newest) {
        rc = assembly_keep_point(a, all[--end], err);
    }
    if (rc == VARVE_OK && a->point_count == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "the point is no longer listed");
    }
out:
    catalog_list_free(all, count);
    return rc;
}

/* ---- one disk ---- */

/* Windows demands of a child the size and the sectors of its parent.  NULL: it is a fitting one. */
static const char *
why_no_child(const struct point_disk *was, const struct point_disk *is)
{
    return was == NULL             ? "is not in the point before"
           : was->size != is->size ? "was resized after the point before"
           : was->logical_sector != is->logical_sector
               ? "had another sector size in the point before"
               : NULL;
}

/* The index in a->points where the newest stretch without such a break starts, for a chain whose first
 * point nobody named. */
static enum varve_err
find_start(struct assembly *a, const struct point_disk *d, size_t *out, struct varve_error *err)
{
    size_t at = a->point_count - 1;
    const char *why = NULL;
    char id[GUID_TEXT_SIZE];

    while (at > 0 && why == NULL) {
        const struct point_disk *was = assembly_find_disk(a->points[at - 1], &d->id);

        why = why_no_child(was, assembly_find_disk(a->points[at], &d->id));
        at -= why == NULL ? 1 : 0;
    }
    *out = at;
    if (why == NULL) {
        return VARVE_OK;
    }
    guid_format(&a->points[at]->id, id);
    return assembly_note(a, err, "disk '%s' %s: its chain starts at point %.8s", d->name, why, id);
}

struct chain {
    struct assembly *a;
    struct names *names;
    const struct point_disk *disk; /* of the last point */
    char stem[NAMES_PART_MAX + 1];
    bool named; /* the stem is taken by the first base */
    struct chain_link link;
};

/* The first file is called as the disk, all others after it and their point. */
static enum varve_err
name_file(struct chain *c, struct vfile *f, struct varve_error *err)
{
    char suffix[GUID_TEXT_SIZE + 8];
    char id[GUID_TEXT_SIZE];
    enum varve_err rc;

    if (c->named) {
        guid_format_upper(&f->info.point->id, id);
        (void)snprintf(suffix, sizeof(suffix), "_%s.%s", id,
                       c->link.parent == NULL ? "vhdx" : "avhdx");
        return names_unique(c->names, "", c->stem, suffix, &f->name, err);
    }
    rc = names_unique(c->names, "", c->stem, ".vhdx", &f->name, err);
    if (rc == VARVE_OK) {
        (void)snprintf(c->stem, sizeof(c->stem), "%s", f->name);
        names_strip_suffix(c->stem); /* children follow the name really given */
        c->named = true;
    }
    return rc;
}

static enum varve_err
add_level(struct chain *c, struct point *point, const struct point_disk *d, struct varve_error *err)
{
    struct vfile *f = assembly_add_file(c->a, err);
    struct guid guid = {0};
    enum varve_err rc;

    if (f == NULL) {
        return VARVE_ERR_NOMEM;
    }
    f->info.point = point;
    f->info.disk = d;
    f->info.parent = c->link.parent == NULL ? ASSEMBLY_NO_FILE : c->a->file_count - 2;
    rc = name_file(c, f, err);
    if (rc == VARVE_OK) {
        rc = assembly_plan_file(c->a, f, DISK_VHDX, c->disk, &c->link, &guid, err);
    }
    c->link.parent = d;
    c->link.parent_name = f->name;
    c->link.parent_guid = guid;
    return rc;
}

/* A disk that was resized goes on as a chain of its own. */
static enum varve_err
note_break(struct chain *c, const char *why, const struct point *point, const struct point_disk *d,
           struct varve_error *err)
{
    char id[GUID_TEXT_SIZE];

    guid_format(&point->id, id);
    if (c->link.parent != NULL && c->link.parent->size != d->size) {
        return assembly_note(c->a, err,
                             "disk '%s' was resized from %" PRIu64 " to %" PRIu64
                             " bytes before point %.8s: a new chain starts there, '%s' is the last "
                             "file of the one before",
                             d->name, c->link.parent->size, d->size, id, c->link.parent_name);
    }
    return assembly_note(c->a, err, "disk '%s' %s: a new chain starts at point %.8s", d->name, why,
                         id);
}

enum varve_err
assembly_add_chain(struct assembly *a, struct names *names, const struct point_disk *d,
                   bool from_first, struct varve_error *err)
{
    struct chain c = {.a = a, .names = names, .disk = d};
    size_t start = 0;
    enum varve_err rc = from_first ? VARVE_OK : find_start(a, d, &start, err);

    assembly_disk_stem(d, c.stem);
    for (size_t i = start; rc == VARVE_OK && i < a->point_count; i++) {
        const struct point_disk *is = assembly_find_disk(a->points[i], &d->id);
        const char *why = is == NULL ? NULL : why_no_child(c.link.parent, is);

        if (is == NULL) { /* it was not there yet, or not for a while */
            c.link.parent = NULL;
            continue;
        }
        if (why != NULL && i > start) {
            rc = note_break(&c, why, a->points[i], is, err);
        }
        if (why != NULL) {
            c.link.parent = NULL;
        }
        if (rc == VARVE_OK) {
            rc = add_level(&c, a->points[i], is, err);
        }
    }
    return rc;
}
