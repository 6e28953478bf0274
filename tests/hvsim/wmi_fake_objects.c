/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"
#include "hvsim/wmi_fake_internal.h"
#include "wmi/hresult.h"

/* Building cannot fail but for memory, which ends a test program. */
static void
must(enum varve_err rc)
{
    if (rc != VARVE_OK) {
        abort();
    }
}

void
wmi_fake_begin(struct wmi_object *o, const char *class_name, const char *key, const char *id)
{
    struct varve_error err;
    char *relpath = sim_printf("%s.%s=\"%s\"", class_name, key, id);
    char *path = sim_printf("%s%s", WMI_FAKE_SPACE, relpath);

    must(wmi_object_init(o, path, relpath, class_name, &err));
    free(relpath);
    free(path);
}

void
wmi_fake_put(struct wmi_object *o, const char *name, const char *v)
{
    struct varve_error err;

    must(wmi_object_add_text(o, name, WMI_STRING, v, &err));
}

static void
number(struct wmi_object *o, const char *name, int64_t v)
{
    struct varve_error err;

    must(wmi_object_add_integer(o, name, WMI_UINT16, v, &err));
}

void
wmi_fake_take(struct wmi_objects *list, struct wmi_object *o)
{
    struct varve_error err;

    must(wmi_objects_take(list, o, &err));
}

void
wmi_fake_guid(const char *path, char out[WMI_FAKE_ID])
{
    struct guid id;
    size_t len = strlen(path);
    size_t i;

    out[0] = '\0';
    for (i = len; i-- > 0;) {
        if (len - i >= GUID_TEXT_SIZE - 1) {
            (void)snprintf(out, GUID_TEXT_SIZE, "%s", path + i);
            if (guid_parse(&id, out)) {
                return;
            }
        }
    }
    out[0] = '\0';
}

enum varve_err
wmi_fake_hresult(struct varve_error *err, uint32_t n, const char *said)
{
    return hresult_error(err, n, said, "WMI");
}

const char *
wmi_fake_text(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    return v != NULL ? v : "";
}

json_t *
wmi_fake_ask(struct wmi_fake *f, const char *op, const char *key, const char *id,
             struct varve_error *err)
{
    uint32_t n = 0;
    char said[160];
    json_t *request = key != NULL ? json_pack("{s:s}", key, id) : json_object();
    json_t *o;

    if (f->cluster) {
        (void)json_object_set_new(request, "anywhere", json_true());
    }
    o = port_script_ask(f->script, op, request, &n, said);
    if (o == NULL) {
        /* A GUID that is none is an object that is not there. */
        (void)wmi_fake_hresult(err, n == SIM_INVALID ? SIM_NOT_FOUND : n, said);
    }
    return o;
}

/* "2026-11-22T10:15:30.123456Z" as a datetime */
static void
datetime(struct wmi_object *o, const char *name, const char *t)
{
    char out[40] = "";

    if (strlen(t) >= 26) {
        (void)snprintf(out, sizeof(out), "%.4s%.2s%.2s%.2s%.2s%.2s.%.6s+000", t, t + 5, t + 8,
                       t + 11, t + 14, t + 17, t + 20);
    }
    wmi_fake_put(o, name, out);
}

/* ---- objects ---- */

static void
add_vm(const json_t *vm, struct wmi_objects *list)
{
    int64_t status[4];
    struct wmi_object o;
    struct varve_error err;
    size_t n = 0;
    size_t i;
    json_t *v;
    char *key = sim_printf("Msvm_ComputerSystem\",Name=\"%s", wmi_fake_text(vm, "id"));

    json_array_foreach(json_object_get(vm, "operational_status"), i, v)
    {
        status[n++] = json_integer_value(v);
    }
    wmi_fake_begin(&o, "Msvm_ComputerSystem", "CreationClassName", key);
    free(key);
    wmi_fake_put(&o, "Name", wmi_fake_text(vm, "id"));
    wmi_fake_put(&o, "ElementName", wmi_fake_text(vm, "name"));
    wmi_fake_put(&o, "Caption", "Virtual Machine");
    number(&o, "EnabledState", json_integer_value(json_object_get(vm, "enabled_state")));
    must(wmi_object_add_integers(&o, "OperationalStatus", WMI_UINT16, status, n, &err));
    number(&o, "HealthState", json_integer_value(json_object_get(vm, "health_state")));
    number(&o, "ReplicationMode", json_integer_value(json_object_get(vm, "replication_mode")));
    wmi_fake_take(list, &o);
}

static void
add_settings(const json_t *vm, const json_t *cp, struct wmi_objects *list)
{
    const json_t *owner = cp != NULL ? cp : vm;
    char *id = sim_printf("Microsoft:%s", wmi_fake_text(owner, "id"));
    char *file = sim_printf("%s.vmcx", wmi_fake_text(owner, "id"));
    bool user = strcmp(wmi_fake_text(cp, "type"), "user") == 0;
    struct wmi_object o;

    wmi_fake_begin(&o, "Msvm_VirtualSystemSettingData", "InstanceID", id);
    wmi_fake_put(&o, "InstanceID", id);
    wmi_fake_put(&o, "ElementName", wmi_fake_text(owner, "name"));
    wmi_fake_put(&o, "VirtualSystemIdentifier", wmi_fake_text(vm, "id"));
    wmi_fake_put(&o, "VirtualSystemType",
                 cp == NULL ? "Microsoft:Hyper-V:System:Realized"
                 : user     ? "Microsoft:Hyper-V:Snapshot:Realized"
                            : "Microsoft:Hyper-V:Snapshot:Recovery");
    wmi_fake_put(&o, "VirtualSystemSubType",
                 json_integer_value(json_object_get(vm, "generation")) == 2
                     ? "Microsoft:Hyper-V:SubType:2"
                     : "Microsoft:Hyper-V:SubType:1");
    wmi_fake_put(&o, "Version", wmi_fake_text(vm, "config_version"));
    wmi_fake_put(&o, "ConfigurationDataRoot", wmi_fake_text(cp, "config_root"));
    wmi_fake_put(&o, "ConfigurationFile", file);
    if (cp != NULL) {
        datetime(&o, "CreationTime", wmi_fake_text(cp, "created"));
    }
    wmi_fake_take(list, &o);
    free(id);
    free(file);
}

static void
add_disk(const char *instance, int type, const char *subtype, const char *path, bool shared,
         struct wmi_objects *list)
{
    struct wmi_object o;
    struct varve_error err;

    wmi_fake_begin(
        &o, type == 31 ? "Msvm_StorageAllocationSettingData" : "Msvm_ResourceAllocationSettingData",
        "InstanceID", instance);
    wmi_fake_put(&o, "InstanceID", instance);
    number(&o, "ResourceType", type);
    wmi_fake_put(&o, "ResourceSubType", subtype);
    must(wmi_object_add_texts(&o, "HostResource", &path, 1, &err));
    must(wmi_object_add_integer(&o, "PersistentReservationsSupported", WMI_BOOL, shared, &err));
    wmi_fake_take(list, &o);
}

/* A set attached at a snapshot says which (SnapshotId). */
static enum varve_err
add_sets(struct wmi_fake *f, const char *id, bool checkpoint, struct wmi_objects *list,
         struct varve_error *err)
{
    json_t *reply = wmi_fake_ask(f, "set.list", checkpoint ? "checkpoint" : "vm", id, err);
    json_t *s;
    size_t i;

    json_array_foreach(json_object_get(reply, "sets"), i, s)
    {
        struct wmi_objects one = {0};
        struct wmi_object o;

        add_disk(wmi_fake_text(s, "instance_id"), 31, "Microsoft:Hyper-V:Virtual Hard Disk",
                 wmi_fake_text(s, "path"), true, &one);
        o = one.items[0];
        free(one.items);
        if (checkpoint && !f->options.no_snapshot_id) {
            wmi_fake_put(&o, "SnapshotId", wmi_fake_text(s, "snapshot"));
        }
        wmi_fake_take(list, &o);
    }
    json_decref(reply);
    return reply != NULL ? VARVE_OK : err->code;
}

static enum varve_err
add_components(struct wmi_fake *f, const char *path, const char *result, struct wmi_objects *list,
               struct varve_error *err)
{
    char id[WMI_FAKE_ID];
    const char *owner = NULL;
    struct varve_error why;
    bool checkpoint = false;
    json_t *reply;
    json_t *d;
    size_t i;

    wmi_fake_guid(path, id);
    if (strcmp(result, "Msvm_ResourceAllocationSettingData") == 0) {
        char *instance =
            sim_printf("Microsoft:%s\\00000000-0000-4000-8000-0000000000AA\\0\\0\\D", id);

        add_disk(instance, 17, "Microsoft:Hyper-V:Synthetic Disk Drive", "", false, list);
        if (f->options.pass_through) {
            add_disk(instance, 17, "Microsoft:Hyper-V:Physical Disk Drive", "Msvm_DiskDrive", false,
                     list);
        }
        free(instance);
        return VARVE_OK;
    }
    reply = wmi_fake_ask(f, "vm.get", "vm", id, &why);
    if (reply == NULL) {
        checkpoint = true;
        reply = wmi_fake_ask(f, "checkpoint.disks", "checkpoint", id, err);
        owner = id; /* the settings of a checkpoint carry its own GUID */
    }
    if (reply == NULL) {
        return err->code;
    }
    add_disk("Microsoft:DVD", 31, "Microsoft:Hyper-V:Virtual CD/DVD Disk", "/setup.iso", false,
             list);
    d = json_object_get(json_object_get(reply, "vm"), "disks");
    d = d != NULL ? d : json_object_get(reply, "disks");
    for (i = 0; i < json_array_size(d); i++) {
        const json_t *disk = json_array_get(d, i);
        const char *own = wmi_fake_text(disk, "instance_id");
        char *instance = owner != NULL ? sim_printf("Microsoft:%s%s", owner, strchr(own, '\\'))
                                       : sim_strdup(own);

        add_disk(instance, 31, "Microsoft:Hyper-V:Virtual Hard Disk", wmi_fake_text(disk, "path"),
                 f->options.shared, list);
        free(instance);
    }
    json_decref(reply);
    return add_sets(f, id, checkpoint, list, err);
}

/* "microsoft:{...}\{...}\0\1\L" */
static char *
odd_id(const char *instance)
{
    char *out = sim_alloc(2 * strlen(instance) + 1);
    size_t n = 0;
    size_t i;

    for (i = 0; instance[i] != '\0'; i++) {
        const bool guid = (i == 10 || (i > 0 && instance[i - 1] == '\\')) &&
                          strlen(instance + i) >= GUID_TEXT_SIZE;

        if (guid) {
            out[n++] = '{';
            for (size_t k = 0; k < GUID_TEXT_SIZE - 1; k++) {
                out[n++] = (char)tolower((unsigned char)instance[i++]);
            }
            out[n++] = '}';
            i--;
        } else {
            out[n++] = instance[i];
        }
    }
    out[n - 1] = 'L';
    return out;
}

static void
add_point(const struct wmi_fake *f, const json_t *vm, const json_t *point, struct wmi_objects *list)
{
    char *odd[64];
    const char *places[64];
    const char *ids[64];
    char *id = sim_printf("Microsoft:%s", wmi_fake_text(point, "id"));
    struct wmi_object o;
    struct varve_error err;
    size_t n = 0;
    size_t tracked = 0;
    size_t i;
    json_t *d;

    json_array_foreach(json_object_get(vm, "disks"), i, d)
    {
        if (f->options.uneven && !json_is_true(json_object_get(d, "tracked"))) {
            places[n++] = wmi_fake_text(d, "instance_id");
        }
    }
    json_array_foreach(json_object_get(point, "disks"), i, d)
    {
        places[n++] = wmi_fake_text(d, "instance_id");
        ids[tracked++] = wmi_fake_text(d, "change_id");
    }
    for (i = 0; i < n; i++) {
        odd[i] = f->options.odd_ids ? odd_id(places[i]) : sim_strdup(places[i]);
        places[i] = odd[i];
    }
    wmi_fake_begin(&o, "Msvm_VirtualSystemReferencePoint", "InstanceID", id);
    wmi_fake_put(&o, "InstanceID", id);
    wmi_fake_put(&o, "VirtualSystemIdentifier", wmi_fake_text(point, "vm"));
    number(&o, "ReferencePointType", 2);
    must(wmi_object_add_texts(&o, "VirtualDiskIdentifiers", places, n, &err));
    must(wmi_object_add_texts(&o, "ResilientChangeTrackingIdentifiers", ids, tracked, &err));
    wmi_fake_take(list, &o);
    for (i = 0; i < n; i++) {
        free(odd[i]);
    }
    free(id);
}

static void
add_log_point(struct wmi_objects *list)
{
    static const char *const none[] = {""};
    const char *id = "Microsoft:AAAAAAAA-0000-4000-8000-000000000001";
    struct wmi_object o;
    struct varve_error err;

    wmi_fake_begin(&o, "Msvm_VirtualSystemReferencePoint", "InstanceID", id);
    wmi_fake_put(&o, "InstanceID", id);
    number(&o, "ReferencePointType", 1);
    must(wmi_object_add_texts(&o, "VirtualDiskIdentifiers", none, 0, &err));
    must(wmi_object_add_texts(&o, "ResilientChangeTrackingIdentifiers", none, 0, &err));
    wmi_fake_take(list, &o);
}

/* Checkpoints or reference points of a vm; only the one with this id, unless it is "". */
enum varve_err
wmi_fake_moments(struct wmi_fake *f, const char *vm_id, const char *only, bool points,
                 struct wmi_objects *list, struct varve_error *err)
{
    json_t *vm = wmi_fake_ask(f, "vm.get", "vm", vm_id, err);
    json_t *reply;
    json_t *o;
    size_t i;

    if (vm == NULL) {
        return err->code;
    }
    reply = wmi_fake_ask(f, points ? "refpoint.list" : "checkpoint.list", "vm", vm_id, err);
    if (reply == NULL) {
        json_decref(vm);
        return err->code;
    }
    json_array_foreach(json_object_get(reply, points ? "refpoints" : "checkpoints"), i, o)
    {
        if (only[0] != '\0' && strcmp(only, wmi_fake_text(o, "id")) != 0) {
            continue;
        }
        if (points) {
            add_point(f, json_object_get(vm, "vm"), o, list);
        } else {
            add_settings(json_object_get(vm, "vm"), o, list);
        }
    }
    if (points && only[0] == '\0' && f->options.log_points) {
        add_log_point(list);
    }
    json_decref(vm);
    json_decref(reply);
    return VARVE_OK;
}

enum varve_err
wmi_fake_job(struct wmi_fake *f, const char *path, struct wmi_object *out, struct varve_error *err)
{
    char id[WMI_FAKE_ID];
    json_t *job;

    wmi_fake_guid(path, id);
    job = wmi_fake_ask(f, "job.get", "job", id, err);
    if (job == NULL) {
        return err->code;
    }
    wmi_fake_begin(out, "Msvm_ConcreteJob", "InstanceID", id);
    number(out, "JobState", json_integer_value(json_object_get(job, "state")));
    must(wmi_object_add_integer(out, "ErrorCode", WMI_UINT32,
                                json_integer_value(json_object_get(job, "error_code")), err));
    wmi_fake_put(out, "ErrorDescription", wmi_fake_text(job, "error"));
    must(wmi_object_add_integer(out, "Cancellable", WMI_BOOL, 1, err));
    json_decref(job);
    return VARVE_OK;
}

/* The checkpoint or reference point, of whichever vm. */
static enum varve_err
add_moment(struct wmi_fake *f, const char *id, bool points, struct wmi_objects *list,
           struct varve_error *err)
{
    json_t *vms = wmi_fake_ask(f, "vm.list", NULL, NULL, err);
    json_t *vm;
    size_t i;
    enum varve_err rc = vms != NULL ? VARVE_OK : err->code;

    json_array_foreach(json_object_get(vms, "vms"), i, vm)
    {
        if (rc == VARVE_OK && id[0] != '\0') {
            rc = wmi_fake_moments(f, wmi_fake_text(vm, "id"), id, points, list, err);
        }
    }
    json_decref(vms);
    return rc;
}

static enum varve_err
add_affected(struct wmi_fake *f, const char *path, bool points, struct wmi_objects *list,
             struct varve_error *err)
{
    char id[WMI_FAKE_ID];
    json_t *job;
    enum varve_err rc;

    wmi_fake_guid(path, id);
    job = wmi_fake_ask(f, "job.get", "job", id, err);
    if (job == NULL) {
        return err->code;
    }
    rc = add_moment(
        f, wmi_fake_text(json_object_get(job, "result"), points ? "refpoint" : "checkpoint"),
        points, list, err);
    json_decref(job);
    return rc;
}

enum varve_err
wmi_fake_at(struct wmi_fake *f, const char *path, struct wmi_object *out, struct varve_error *err)
{
    struct wmi_objects list = {0};
    char id[WMI_FAKE_ID];
    enum varve_err rc;

    if (strstr(path, "Msvm_ConcreteJob") != NULL) {
        return wmi_fake_job(f, path, out, err);
    }
    wmi_fake_guid(path, id);
    rc = add_moment(f, id, strstr(path, "ReferencePoint") != NULL, &list, err);
    if (rc == VARVE_OK && list.count != 1) {
        rc = wmi_fake_hresult(err, SIM_NOT_FOUND, "no such object");
    }
    if (rc == VARVE_OK) {
        *out = list.items[0];
        memset(&list.items[0], 0, sizeof(list.items[0]));
    }
    wmi_objects_release(&list);
    return rc;
}

static enum varve_err
add_applied(struct wmi_fake *f, const char *vm_id, struct wmi_objects *list,
            struct varve_error *err)
{
    json_t *vm = wmi_fake_ask(f, "vm.get", "vm", vm_id, err);
    const char *applied = wmi_fake_text(json_object_get(vm, "vm"), "applied");
    enum varve_err rc = vm != NULL ? VARVE_OK : err->code;

    if (rc == VARVE_OK && applied[0] != '\0') {
        rc = wmi_fake_moments(f, vm_id, applied, false, list, err);
    }
    json_decref(vm);
    return rc;
}

enum varve_err
wmi_fake_associated(struct wmi_fake *f, const char *path, const char *assoc, const char *result,
                    struct wmi_objects *list, struct varve_error *err)
{
    bool points = strcmp(result, "Msvm_VirtualSystemReferencePoint") == 0;
    char id[WMI_FAKE_ID];
    json_t *vm;

    wmi_fake_guid(path, id);
    if (wmi_fake_is_of_groups(assoc, result)) {
        return wmi_fake_group(f, id, assoc, result, list, err);
    }
    if (strcmp(assoc, "Msvm_AffectedJobElement") == 0) {
        return add_affected(f, path, points, list, err);
    }
    if (strcmp(assoc, "Msvm_VirtualSystemSettingDataComponent") == 0) {
        return add_components(f, path, result, list, err);
    }
    if (strcmp(assoc, "Msvm_SnapshotOfVirtualSystem") == 0 ||
        strcmp(assoc, "Msvm_ReferencePointOfVirtualSystem") == 0) {
        return wmi_fake_moments(f, id, "", points, list, err);
    }
    if (strcmp(assoc, "Msvm_LastAppliedSnapshot") == 0) {
        return add_applied(f, id, list, err);
    }
    if (strcmp(assoc, "Msvm_SettingsDefineState") != 0) {
        return wmi_fake_hresult(err, 0x80041010u, "no such association");
    }
    vm = wmi_fake_ask(f, "vm.get", "vm", id, err);
    if (vm == NULL) {
        return err->code;
    }
    add_settings(json_object_get(vm, "vm"), NULL, list);
    json_decref(vm);
    return VARVE_OK;
}

static bool
is_service(const char *class_name)
{
    static const char *const services[] = {
        "Msvm_VirtualSystemSnapshotService",       "Msvm_VirtualSystemManagementService",
        "Msvm_VirtualSystemReferencePointService", "Msvm_ImageManagementService",
        "Msvm_CollectionSnapshotService",          "Msvm_CollectionReferencePointService"};

    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        if (strcmp(services[i], class_name) == 0) {
            return true;
        }
    }
    return false;
}

static void
add_merge_setting(const json_t *vm, struct wmi_objects *list)
{
    char *id = sim_printf("Microsoft:%s\\MergeSettings", wmi_fake_text(vm, "id"));
    struct wmi_object o;

    wmi_fake_begin(&o, "Msvm_DiskMergeSettingData", "InstanceID", id);
    wmi_fake_put(&o, "InstanceID", id);
    number(&o, "EnabledState", json_is_true(json_object_get(vm, "merge_enabled")));
    wmi_fake_take(list, &o);
    free(id);
}

enum varve_err
wmi_fake_select(struct wmi_fake *f, const char *class_name, const char *name,
                struct wmi_objects *list, struct varve_error *err)
{
    bool merge = strcmp(class_name, "Msvm_DiskMergeSettingData") == 0;
    struct wmi_object o;
    json_t *vms;
    json_t *vm;
    size_t i;

    if (is_service(class_name)) {
        wmi_fake_begin(&o, class_name, "Name", "svc");
        wmi_fake_take(list, &o);
        return VARVE_OK;
    }
    if (!merge && strcmp(class_name, "Msvm_ComputerSystem") != 0) {
        return wmi_fake_hresult(err, 0x80041010u, "no such class");
    }
    if (f->cluster) { /* of whichever node; not all at once */
        vm = name[0] != '\0' ? wmi_fake_ask(f, "vm.get", "vm", name, err) : NULL;
        if (vm != NULL) {
            add_vm(json_object_get(vm, "vm"), list);
        }
        json_decref(vm);
        return VARVE_OK;
    }
    vms = wmi_fake_ask(f, "vm.list", NULL, NULL, err);
    if (vms == NULL) {
        return err->code;
    }
    if (!merge && name[0] == '\0') {
        wmi_fake_begin(&o, "Msvm_ComputerSystem", "Name", "SIMHOST"); /* the host is one of them */
        wmi_fake_put(&o, "Name", "SIMHOST");
        wmi_fake_take(list, &o);
    }
    json_array_foreach(json_object_get(vms, "vms"), i, vm)
    {
        if (merge) {
            add_merge_setting(vm, list);
        } else if (name[0] == '\0' || strcmp(name, wmi_fake_text(vm, "id")) == 0) {
            add_vm(vm, list);
        }
    }
    json_decref(vms);
    return VARVE_OK;
}
