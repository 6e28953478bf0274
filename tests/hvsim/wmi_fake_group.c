/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "hvsim/wmi_fake_internal.h"

static const char moments_class[] = "Msvm_SnapshotCollection";
static const char points_class[] = "Msvm_ReferencePointCollection";

bool
wmi_fake_is_of_groups(const char *assoc, const char *result)
{
    return strstr(assoc, "Collected") != NULL ||
           strstr(assoc, "OfVirtualSystemCollection") != NULL ||
           strcmp(result, moments_class) == 0 || strcmp(result, points_class) == 0;
}

static void
add(const char *class_name, const json_t *o, struct wmi_objects *list)
{
    struct wmi_object made;

    wmi_fake_begin(&made, class_name, "CollectionID", wmi_fake_text(o, "id"));
    wmi_fake_put(&made, "CollectionID", wmi_fake_text(o, "id"));
    wmi_fake_put(&made, "ElementName", wmi_fake_text(o, "name"));
    wmi_fake_take(list, &made);
}

/* A host's namespace has the members that are on the host. */
static enum varve_err
add_members(struct wmi_fake *f, const char *group, struct wmi_objects *list,
            struct varve_error *err)
{
    json_t *reply = wmi_fake_ask(f, "group.list", "group", group, err);
    json_t *nodes = json_object_get(json_array_get(json_object_get(reply, "groups"), 0), "nodes");
    enum varve_err rc = reply != NULL ? VARVE_OK : err->code;
    json_t *o;
    size_t i;

    json_array_foreach(nodes, i, o)
    {
        if (rc == VARVE_OK && (f->cluster || json_is_true(json_object_get(o, "here")))) {
            rc = wmi_fake_select(f, "Msvm_ComputerSystem", wmi_fake_text(o, "vm"), list, err);
        }
    }
    json_decref(reply);
    return rc;
}

static enum varve_err
add_groups(struct wmi_fake *f, const char *vm, struct wmi_objects *list, struct varve_error *err)
{
    json_t *reply = wmi_fake_ask(f, "group.list", "vm", vm, err);
    json_t *o;
    size_t i;

    json_array_foreach(json_object_get(reply, "groups"), i, o)
    {
        if (json_is_true(json_object_get(o, f->cluster ? "of_cluster" : "of_host"))) {
            add("Msvm_VirtualSystemCollection", o, list);
        }
    }
    json_decref(reply);
    return reply != NULL ? VARVE_OK : err->code;
}

/* Those of a group, or the one with this id, of one class. */
static enum varve_err
add_collections(struct wmi_fake *f, const char *key, const char *id, bool points,
                struct wmi_objects *list, struct varve_error *err)
{
    json_t *reply = wmi_fake_ask(f, "group.moments", key, id, err);
    json_t *o;
    size_t i;

    json_array_foreach(json_object_get(reply, "moments"), i, o)
    {
        if (json_is_true(json_object_get(o, "point")) == points) {
            add(points ? points_class : moments_class, o, list);
        }
    }
    json_decref(reply);
    return reply != NULL ? VARVE_OK : err->code;
}

static enum varve_err
add_parts(struct wmi_fake *f, const char *id, bool points, struct wmi_objects *list,
          struct varve_error *err)
{
    json_t *reply = wmi_fake_ask(f, "group.moments", "moment", id, err);
    json_t *parts = json_object_get(json_array_get(json_object_get(reply, "moments"), 0), "parts");
    json_t *o;
    size_t i;
    enum varve_err rc = reply != NULL ? VARVE_OK : err->code;

    /* The last node first: whoever takes the first part for his own is found out. */
    for (i = json_array_size(parts); rc == VARVE_OK && i-- > 0;) {
        o = json_array_get(parts, i);
        rc = wmi_fake_moments(f, wmi_fake_text(o, "vm"), wmi_fake_text(o, "id"), points, list, err);
    }
    json_decref(reply);
    return rc;
}

static enum varve_err
add_result(struct wmi_fake *f, const char *job_id, bool points, struct wmi_objects *list,
           struct varve_error *err)
{
    json_t *job = wmi_fake_ask(f, "job.get", "job", job_id, err);
    const char *made = wmi_fake_text(json_object_get(job, "result"), "moment");
    enum varve_err rc = job != NULL ? VARVE_OK : err->code;

    if (rc == VARVE_OK && made[0] != '\0') {
        rc = add_collections(f, "moment", made, points, list, err);
    }
    json_decref(job);
    return rc;
}

enum varve_err
wmi_fake_group(struct wmi_fake *f, const char *id, const char *assoc, const char *result,
               struct wmi_objects *list, struct varve_error *err)
{
    bool points = strstr(assoc, "ReferencePoint") != NULL || strcmp(result, points_class) == 0;

    if (strcmp(assoc, "Msvm_AffectedJobElement") == 0) {
        return add_result(f, id, points, list, err);
    }
    if (strcmp(assoc, "Msvm_CollectedVirtualSystems") == 0) {
        return strcmp(result, "Msvm_ComputerSystem") == 0 ? add_members(f, id, list, err)
                                                          : add_groups(f, id, list, err);
    }
    if (strcmp(assoc, "Msvm_SnapshotOfVirtualSystemCollection") == 0 ||
        strcmp(assoc, "Msvm_ReferencePointOfVirtualSystemCollection") == 0) {
        return add_collections(f, "group", id, points, list, err);
    }
    if (strcmp(assoc, "Msvm_CollectedSnapshots") == 0 ||
        strcmp(assoc, "Msvm_CollectedReferencePoints") == 0) {
        return add_parts(f, id, points, list, err);
    }
    return wmi_fake_hresult(err, 0x80041010u, "no such association");
}
