/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/collection/collection_internal.h"

/* Msvm_CollectionSnapshotService.CreateSnapshot: 1 standard, 2 recovery.  A single vm's number is 32768: asked when the
 * documented one is not taken. */
#define GROUP_RECOVERY    2
#define VM_RECOVERY       32768
#define INVALID_PARAMETER 32773
#define INVALID_DMTF      4

static const char *const group_names[] = {"CollectionID", "ElementName", NULL};
static const char *const point_names[] = {"CollectionID", "ElementName", "ReferencePointType",
                                          NULL};

/* ---- moments ---- */

/* The id in Msvm_ComputerSystem's path. */
static enum varve_err
vm_of_path(struct guid *out, const char *path, struct varve_error *err)
{
    const char *name = strstr(path, "Name=\"");
    char text[GUID_TEXT_SIZE];

    for (; name != NULL; name = strstr(name + 6, "Name=\"")) {
        (void)snprintf(text, sizeof(text), "%s", name + 6);
        if (guid_parse(out, text)) {
            return VARVE_OK;
        }
    }
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "'%s' names no vm", path);
}

static bool
is_of(const struct wmi_object *part, const struct guid *vm)
{
    struct guid id;

    return guid_parse(&id, wmi_text_or(part, "VirtualSystemIdentifier", "")) && guid_equal(&id, vm);
}

/* The vm's part, told as the whole: id and path are the group's.  The part's disks are asked for at the host, which is the
 * vm's also when the group is the cluster's: there its path says no server and no namespace. */
static enum varve_err
tell(const struct collection_place *place, const struct wmi_object *whole,
     const struct wmi_object *part, struct wmi_objects *list, struct varve_error *err)
{
    struct wmi_object o = {0};
    char id[CAPTURE_ID_MAX];
    size_t i;
    size_t k;
    enum varve_err rc = wmi_object_init(&o, whole->path, whole->relpath, part->class_name, err);

    if (rc == VARVE_OK) {
        (void)snprintf(id, sizeof(id), COLLECTION_FAMILY "%s",
                       wmi_text_or(whole, "CollectionID", ""));
        rc = wmi_object_add_text(&o, "InstanceID", WMI_STRING, id, err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_text(&o, REFPOINT_MEMBER, WMI_REF,
                                 place->cluster ? part->relpath : part->path, err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_integer(&o, REFPOINT_OF_CLUSTER, WMI_BOOL, place->cluster, err);
    }
    for (i = 0; rc == VARVE_OK && i < part->count; i++) {
        const struct wmi_property *p = &part->properties[i];

        if (strcmp(p->name, "InstanceID") == 0 || p->value.type == WMI_NULL) {
            continue;
        }
        if (p->value.is_array && p->value.texts != NULL) {
            const char **texts = calloc(p->value.count + 1, sizeof(*texts));

            for (k = 0; texts != NULL && k < p->value.count; k++) {
                texts[k] = p->value.texts[k];
            }
            rc = texts != NULL ? wmi_object_add_texts(&o, p->name, texts, p->value.count, err)
                               : varve_error_nomem(err);
            free((void *)texts);
        } else if (!p->value.is_array && p->value.text != NULL) {
            rc = wmi_object_add_text(&o, p->name, p->value.type, p->value.text, err);
        } else if (!p->value.is_array) {
            rc = wmi_object_add_integer(&o, p->name, p->value.type, p->value.integer, err);
        }
    }
    if (rc == VARVE_OK) {
        return wmi_objects_take(list, &o, err);
    }
    wmi_object_release(&o);
    return rc;
}

struct kind {
    const char *owner; /* association of group and whole */
    const char *whole;
    const char *const *whole_names;
    const char *members;
    const char *part;
    const char *const *part_names;
};

static const struct kind moments = {"Msvm_SnapshotOfVirtualSystemCollection",
                                    "Msvm_SnapshotCollection",
                                    group_names,
                                    "Msvm_CollectedSnapshots",
                                    "Msvm_VirtualSystemSettingData",
                                    refpoint_settings_names};
static const struct kind points = {"Msvm_ReferencePointOfVirtualSystemCollection",
                                   "Msvm_ReferencePointCollection",
                                   point_names,
                                   "Msvm_CollectedReferencePoints",
                                   "Msvm_VirtualSystemReferencePoint",
                                   refpoint_point_names};

static enum varve_err
tell_one(const struct collection_place *place, const struct kind *k, const struct wmi_object *whole,
         const struct guid *vm, struct wmi_objects *list, struct varve_error *err)
{
    struct wmi_objects parts = {0};
    size_t i;
    enum varve_err rc =
        wmi_associators(place->space, whole->path, k->members, k->part, k->part_names, &parts, err);

    for (i = 0; rc == VARVE_OK && i < parts.count; i++) {
        if (is_of(&parts.items[i], vm)) {
            rc = tell(place, whole, &parts.items[i], list, err);
            break;
        }
    }
    wmi_objects_release(&parts);
    return rc;
}

static enum varve_err
tell_all(struct refpoint *r, const struct kind *k, const char *vm_path, struct wmi_objects *out,
         struct varve_error *err)
{
    struct collection_place place = {0};
    struct wmi_objects wholes = {0};
    struct wmi_objects list = {0};
    struct guid vm;
    size_t i;
    enum varve_err rc = vm_of_path(&vm, vm_path, err);

    if (rc == VARVE_OK) {
        rc = collection_find_place(r, &vm, &place, err);
    }
    if (rc == VARVE_ERR_UNSUPPORTED) { /* in no group, so that there is nothing of one */
        *out = list;
        return VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = wmi_associators(place.space, place.group.path, k->owner, k->whole, k->whole_names,
                             &wholes, err);
    }
    for (i = 0; rc == VARVE_OK && i < wholes.count; i++) {
        rc = tell_one(&place, k, &wholes.items[i], &vm, &list, err);
        if (rc == VARVE_ERR_NOT_FOUND) {
            rc = VARVE_OK; /* it went away while it was looked at */
        }
    }
    collection_place_release(&place);
    wmi_objects_release(&wholes);
    if (rc != VARVE_OK) {
        wmi_objects_release(&list);
        return rc;
    }
    *out = list;
    return VARVE_OK;
}

static enum varve_err
moments_of_group(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                 struct varve_error *err)
{
    return tell_all(r, &moments, vm_path, out, err);
}

static enum varve_err
points_of_group(struct refpoint *r, const char *vm_path, struct wmi_objects *out,
                struct varve_error *err)
{
    return tell_all(r, &points, vm_path, out, err);
}

/* ---- making ---- */

static enum varve_err
create_as(struct refpoint *r, const struct collection_place *place, const char *settings,
          int64_t type, struct cancel *cancel, struct wmi_object *made, enum wmi_end *end,
          struct varve_error *err)
{
    const struct wmi_param params[] = {
        {.name = "Collection", .type = WMI_REF, .text = place->group.path},
        {.name = "SnapshotSettings", .type = WMI_STRING, .text = settings},
        {.name = "SnapshotType", .type = WMI_UINT16, .integer = type},
    };
    const struct wmi_method m = {.service = "Msvm_CollectionSnapshotService",
                                 .name = "CreateSnapshot",
                                 .params = params,
                                 .count = 3,
                                 .out_ref = "ResultingSnapshotCollection",
                                 .result_class = "Msvm_SnapshotCollection",
                                 .result_names = group_names,
                                 .timeout_ms = r->create_ms,
                                 .end = end};

    return wmi_call(place->space, &m, cancel, made, err);
}

/* What is known of the numbers in the field (docs/design/capture-collection.md). */
static const char *
hint(int64_t number)
{
    switch (number) {
    case 32768:
        return "; the cluster service in the guests has to answer";
    case 32770:
        return "; a shared disk must not be a cluster shared volume, or in use by several nodes, "
               "in "
               "the guest cluster";
    case 32775:
        return "; each shared disk needs to be online on exactly one node";
    default:
        return "";
    }
}

static enum varve_err
create_of_group(struct refpoint *r, const char *vm_path, const char *settings,
                struct cancel *cancel, struct wmi_object *made, enum wmi_end *end,
                struct varve_error *err)
{
    struct collection_place place = {0};
    struct guid vm;
    struct varve_error why;
    enum varve_err rc = vm_of_path(&vm, vm_path, err);

    if (rc == VARVE_OK) {
        rc = collection_find_place(r, &vm, &place, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (place.blind.code != VARVE_OK) {
        log_warn("capture", "the host's own group '%.60s' is taken: %s",
                 wmi_text_or(&place.group, "ElementName", ""), place.blind.msg);
    }
    rc = create_as(r, &place, settings, GROUP_RECOVERY, cancel, made, end, err);
    if (rc != VARVE_OK && err->source == VARVE_SRC_HRESULT &&
        (err->native == INVALID_PARAMETER || err->native == INVALID_DMTF)) {
        rc = create_as(r, &place, settings, VM_RECOVERY, cancel, made, end, err);
    }
    if (rc != VARVE_OK && err->source == VARVE_SRC_HRESULT && hint(err->native)[0] != '\0') {
        why = *err;
        (void)snprintf(err->msg, sizeof(err->msg), "vm group '%.60s': %.100s%s",
                       wmi_text_or(&place.group, "ElementName", ""), why.msg, hint(why.native));
    }
    collection_place_release(&place);
    return rc;
}

/* Of a vm that is here, or of one of another host, whose part only the cluster can name. */
static enum varve_err
tag_other(struct refpoint *r, const struct wmi_object *part, struct wmi *space,
          const struct guid *run, struct varve_error *err)
{
    const char *id = wmi_text_or(part, "InstanceID", "");
    struct wmi_object machine = {0};
    struct guid vm = {{0}};
    enum varve_err rc;

    if (space == &r->wmi) {
        return refpoint_name(r, &r->wmi, id, run, err);
    }
    (void)!guid_parse(&vm, wmi_text_or(part, "VirtualSystemIdentifier", ""));
    rc = refpoint_vm(r, &vm, &machine, err);
    wmi_object_release(&machine);
    if (rc != VARVE_ERR_NOT_FOUND) {
        return rc == VARVE_OK ? refpoint_name(r, &r->wmi, id, run, err) : rc;
    }
    rc = refpoint_name(r, space, id, run, err);
    if (rc != VARVE_OK && !wmi_unanswered(rc, err)) {
        log_warn("capture", "the cluster does not name the other nodes' checkpoints: %s", err->msg);
        rc = VARVE_OK; /* the vm's own part says whose the whole is */
    }
    return rc;
}

/* A collection cannot be renamed as far as is known; its parts can, and each of them says whose it is: the vm's own first,
 * by its host. */
static enum varve_err
tag_parts(struct refpoint *r, const struct guid *vm, const char *id, const struct guid *run,
          struct varve_error *err)
{
    struct wmi_object whole = {0};
    struct wmi_objects parts = {0};
    struct wmi *space;
    size_t i;
    enum varve_err rc = refpoint_checkpoint(r, vm, id, &whole, err);

    space = refpoint_space(r, &whole);
    if (rc == VARVE_OK) {
        rc = wmi_associators(space, whole.path, moments.members, moments.part, moments.part_names,
                             &parts, err);
    }
    for (i = 0; rc == VARVE_OK && i < parts.count; i++) {
        if (is_of(&parts.items[i], vm)) {
            rc =
                refpoint_name(r, &r->wmi, wmi_text_or(&parts.items[i], "InstanceID", ""), run, err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < parts.count; i++) {
        if (!is_of(&parts.items[i], vm)) {
            rc = tag_other(r, &parts.items[i], space, run, err);
        }
    }
    wmi_object_release(&whole);
    wmi_objects_release(&parts);
    return rc;
}

const struct refpoint_way collection_way = {
    .snapshot_service = "Msvm_CollectionSnapshotService",
    .snapshot_param = "AffectedSnapshotCollection",
    .point_service = "Msvm_CollectionReferencePointService",
    .point_param = "AffectedReferencePointCollection",
    .point_class = "Msvm_ReferencePointCollection",
    .point_ref = "ResultingReferencePointCollection",
    .result_names = point_names,
    .key = "CollectionID",
    .family = COLLECTION_FAMILY,
    .checkpoints = moments_of_group,
    .points = points_of_group,
    .create = create_of_group,
    .tag = tag_parts,
};
