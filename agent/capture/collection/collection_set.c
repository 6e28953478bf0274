/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/collection/collection_internal.h"
#include "source/rsvd/source_rsvd.h"
#include "wmi/cim_xml.h"

#define NEAR_US INT64_C(120000000) /* between a checkpoint and its set's snapshot */

bool
collection_is_set(const struct capture_frozen_disk *d)
{
    return refpoint_is_set(d->path);
}

static void
snapshot_of(const struct capture_frozen_disk *d, struct guid *out)
{
    memcpy(out->bytes, d->stamp, sizeof(out->bytes));
}

/* ---- which snapshot of the set is the checkpoint's ---- */

/* One Msvm_VHDSnapshotInformation; *created 0: it does not say. */
static bool
read_information(const char *xml, struct guid *id, int64_t *created)
{
    struct wmi_object info = {0};
    struct varve_error err;
    bool ok;

    if (xml == NULL || cim_xml_read(xml, strlen(xml), &info, &err) != VARVE_OK) {
        return false;
    }
    ok = guid_parse(id, wmi_text_or(&info, "SnapshotId", ""));
    if (!refpoint_time(created, wmi_text_or(&info, "CreationTime", ""))) {
        *created = 0;
    }
    wmi_object_release(&info);
    return ok;
}

/*
 * Settings name the snapshot (SnapshotId).  Where they do not, the set is asked for its snapshots: the only one of that
 * time is it.  One that is only likely is none: a wrong one would be another moment than that of the other disks.
 */
static enum varve_err
ask_set(struct collection *g, const struct capture_frozen *f, struct capture_frozen_disk *d,
        struct varve_error *err)
{
    const struct wmi_param params[] = {{.name = "VHDSetPath", .type = WMI_STRING, .text = d->path}};
    struct wmi_port *port = g->host.wmi.port;
    struct wmi_result answer;
    struct guid found;
    char *service = NULL;
    size_t count = 0;
    size_t i;
    enum varve_err rc = wmi_service(&g->host.wmi, "Msvm_ImageManagementService", &service, err);

    if (rc == VARVE_OK) {
        rc = port->ops->exec(port, service, "GetVHDSnapshotInformation", params, 1, &answer, err);
    }
    free(service);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "the snapshots of '%s'", d->path);
    }
    for (i = 0; i < wmi_count(&answer.out, "SnapshotInformation"); i++) {
        struct guid id;
        int64_t created;

        if (read_information(wmi_text_at(&answer.out, "SnapshotInformation", i), &id, &created) &&
            created > f->frozen_at_us - NEAR_US && created < f->frozen_at_us + NEAR_US) {
            found = id;
            count++;
        }
    }
    wmi_result_release(&answer);
    if (count != 1) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the host does not say which snapshot of '%s' is the checkpoint's: "
                               "%zu are of that time",
                               d->path, count);
    }
    memcpy(d->stamp, found.bytes, sizeof(found.bytes));
    return VARVE_OK;
}

enum varve_err
collection_name_snapshots(struct collection *g, struct capture_frozen *f, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct guid id;
    size_t i;

    for (i = 0; rc == VARVE_OK && i < f->disk_count; i++) {
        snapshot_of(&f->disks[i], &id);
        if (collection_is_set(&f->disks[i]) && guid_is_zero(&id)) {
            rc = ask_set(g, f, &f->disks[i], err);
        }
    }
    return rc;
}

void
collection_name_ids(const struct capture_frozen *frozen, struct capture_kept *kept)
{
    char text[CAPTURE_ID_MAX];
    struct guid id;
    size_t i;

    for (i = 0; i < frozen->disk_count; i++) {
        memcpy(text, kept->change_ids[i], sizeof(text));
        if (collection_is_set(&frozen->disks[i])) {
            snapshot_of(&frozen->disks[i], &id);
            guid_format(&id, text);
        }
        if (text[0] == '\0' || strlen(COLLECTION_FAMILY) + strlen(text) >= CAPTURE_ID_MAX) {
            kept->change_ids[i][0] = '\0';
        } else {
            (void)snprintf(kept->change_ids[i], CAPTURE_ID_MAX, COLLECTION_FAMILY "%s", text);
        }
    }
}

/* ---- reading ---- */

static enum varve_err
open_set(struct collection *g, const struct capture_frozen_disk *d, struct source **out,
         struct varve_error *err)
{
    struct guid snapshot;

    snapshot_of(d, &snapshot);
    return g->open_set(g->open_arg, d->path, &snapshot, out, err);
}

enum varve_err
capture_collection_source(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                          struct source **out, struct varve_error *err)
{
    const struct capture_frozen_disk *d = &frozen->disks[disk];

    *out = NULL;
    return collection_is_set(d) ? open_set((struct collection *)c, d, out, err) : VARVE_OK;
}

static struct collection_set *
take_set_locked(struct collection *g, const char *checkpoint, size_t disk)
{
    struct collection_set **link = &g->sets;
    struct collection_set *s;

    while (*link != NULL &&
           (strcmp((*link)->checkpoint, checkpoint) != 0 || (*link)->disk != disk)) {
        link = &(*link)->next;
    }
    s = *link;
    if (s != NULL) {
        *link = s->next;
    }
    return s;
}

static void
free_set(struct collection_set *s)
{
    if (s != NULL) {
        source_close(s->source);
        free(s);
    }
}

void
collection_forget_sets(struct collection *g, const char *checkpoint)
{
    struct collection_set *gone = NULL;
    struct collection_set **link;

    mutex_lock(&g->lock);
    for (link = &g->sets; *link != NULL;) {
        struct collection_set *s = *link;

        if (checkpoint != NULL && strcmp(s->checkpoint, checkpoint) != 0) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        s->next = gone;
        gone = s;
    }
    mutex_unlock(&g->lock);
    while (gone != NULL) {
        struct collection_set *next = gone->next;

        free_set(gone);
        gone = next;
    }
}

/* Taken out while it is used: a question is one thread's. */
static enum varve_err
take_set(struct collection *g, const struct capture_frozen *frozen, size_t disk,
         struct collection_set **out, struct varve_error *err)
{
    struct collection_set *s;
    enum varve_err rc;

    mutex_lock(&g->lock);
    s = take_set_locked(g, frozen->checkpoint, disk);
    mutex_unlock(&g->lock);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return varve_error_nomem(err);
        }
        (void)snprintf(s->checkpoint, sizeof(s->checkpoint), "%s", frozen->checkpoint);
        s->disk = disk;
        rc = open_set(g, &frozen->disks[disk], &s->source, err);
        if (rc != VARVE_OK) {
            free(s);
            return rc;
        }
    }
    *out = s;
    return VARVE_OK;
}

static void
put_set(struct collection *g, struct collection_set *s)
{
    mutex_lock(&g->lock);
    s->next = g->sets;
    g->sets = s;
    mutex_unlock(&g->lock);
}

static enum varve_err
set_changes(struct collection *g, const struct capture_frozen *frozen, size_t disk,
            const char *since, uint64_t off, uint64_t len, struct extent_list *out,
            uint64_t *processed, struct varve_error *err)
{
    const struct capture_frozen_disk *d = &frozen->disks[disk];
    struct source_rsvd_since baseline = {0};
    struct walk_changes changes = {0};
    struct collection_set *s = NULL;
    struct source_info info;
    enum varve_err rc;

    if (!guid_parse(&baseline.since, since)) {
        return varve_error_set(err, VARVE_ERR_STALE, "'%.64s' is no snapshot of a VHD set", since);
    }
    rc = take_set(g, frozen, disk, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    source_get_info(s->source, &info);
    if (info.has_page83 && !guid_equal(&info.page83, &d->id)) {
        rc = varve_error_set(err, VARVE_ERR_STALE, "the file server has another disk at '%s'",
                             d->path);
    }
    if (rc == VARVE_OK) {
        rc = source_rsvd_changes(s->source, &baseline, &changes, err);
    }
    if (rc == VARVE_OK) {
        rc = changes.query(changes.arg, off, len, out, processed, err);
    }
    if (rc == VARVE_OK) {
        put_set(g, s);
    } else {
        free_set(s); /* its connection may be over: the next question opens a new one */
    }
    return rc;
}

enum varve_err
collection_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
                   const char *since, uint64_t off, uint64_t len, struct extent_list *out,
                   uint64_t *processed, struct varve_error *err)
{
    size_t family = strlen(COLLECTION_FAMILY);

    if (strncmp(since, COLLECTION_FAMILY, family) != 0) {
        return varve_error_set(err, VARVE_ERR_STALE, "the last point was made in another way");
    }
    since += family;
    return collection_is_set(&frozen->disks[disk])
               ? set_changes((struct collection *)c, frozen, disk, since, off, len, out, processed,
                             err)
               : refpoint_changes(c, frozen, disk, since, off, len, out, processed, err);
}
