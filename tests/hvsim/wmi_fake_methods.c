/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"
#include "hvsim/wmi_fake_internal.h"
#include "wmi/cim_xml.h"

#define INVALID_PARAMETER 32773

struct call {
    struct wmi_fake *f;
    const struct wmi_param *params;
    size_t count;
    struct wmi_result *out;
    struct varve_error *err;
};

static const struct wmi_param *
param(const struct call *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->params[i].name, name) == 0) {
            return &c->params[i];
        }
    }
    return NULL;
}

/* Waits for the job and answers in its place: 0 and what it made, or what went wrong. */
static enum varve_err
end_at_once(const struct call *c, const char *job)
{
    static const struct {
        const char *key;
        const char *class_name;
        const char *parameter;
    } results[] = {
        {"checkpoint", "Msvm_VirtualSystemSettingData", "ResultingSnapshot"},
        {"refpoint", "Msvm_VirtualSystemReferencePoint", "ResultingReferencePoint"},
    };
    enum varve_err rc = VARVE_OK;
    json_int_t state = 0;
    json_t *reply = NULL;

    while (state < 7) {
        uint32_t number = 0;
        char said[160];

        json_decref(reply);
        reply =
            port_script_ask(c->f->script, "job.get", json_pack("{s:s}", "job", job), &number, said);
        if (reply == NULL) {
            return wmi_fake_hresult(c->err, number, said);
        }
        state = json_integer_value(json_object_get(reply, "state"));
    }
    c->out->return_value =
        state == 7 ? 0 : json_integer_value(json_object_get(reply, "error_code"));
    for (size_t i = 0; rc == VARVE_OK && i < 2; i++) {
        const char *id = wmi_fake_text(json_object_get(reply, "result"), results[i].key);

        if (state == 7 && id[0] != '\0') {
            char *path =
                sim_printf("\\\\SIMHOST\\root\\virtualization\\v2:%s.InstanceID=\"Microsoft:%s\"",
                           results[i].class_name, id);

            rc = wmi_object_add_text(&c->out->out, results[i].parameter, WMI_REF, path, c->err);
            free(path);
        }
    }
    json_decref(reply);
    return rc;
}

/* Asks the host; a number below 65536 is the ReturnValue.  With a job: 4096 and its path. */
static enum varve_err
forward(const struct call *c, const char *op, json_t *request)
{
    uint32_t number = 0;
    char said[160];
    json_t *reply = port_script_ask(c->f->script, op, request, &number, said);
    const char *job = wmi_fake_text(reply, "job");
    char *path;
    enum varve_err rc = VARVE_OK;

    if (reply == NULL) {
        if (number >= 65536) {
            return wmi_fake_hresult(c->err, number, said);
        }
        c->out->return_value = number;
        return VARVE_OK;
    }
    c->out->return_value = 0;
    if (job[0] != '\0' && c->f->options.at_once) {
        rc = end_at_once(c, job);
    } else if (job[0] != '\0') {
        c->out->return_value = 4096;
        path = sim_printf(
            "\\\\SIMHOST\\root\\virtualization\\v2:Msvm_ConcreteJob.InstanceID=\"%s\"", job);
        rc = wmi_object_add_text(&c->out->out, "Job", WMI_REF, path, c->err);
        free(path);
    }
    json_decref(reply);
    return rc;
}

static enum varve_err
on_target(const struct call *c, const char *op, const char *key, const char *name)
{
    const struct wmi_param *p = param(c, name);
    char id[WMI_FAKE_ID];

    if (p == NULL || p->type != WMI_REF || !wmi_fake_is_here(c->f, p->text)) {
        port_script_violation(c->f->script, "%s without the REF '%s'", op, name);
        c->out->return_value = INVALID_PARAMETER;
        return VARVE_OK;
    }
    wmi_fake_guid(p->text, id);
    return forward(c, op, json_pack("{s:s}", key, id));
}

/* An embedded instance; false: ReturnValue says that it is none. */
static bool
embedded(const struct call *c, const char *name, const char *class_name, struct wmi_object *out)
{
    const struct wmi_param *p = param(c, name);
    struct varve_error err;

    if (p == NULL || cim_xml_read(p->text, strlen(p->text), out, &err) != VARVE_OK) {
        c->out->return_value = INVALID_PARAMETER;
        return false;
    }
    if (strcmp(out->class_name, class_name) != 0) {
        wmi_object_release(out);
        c->out->return_value = INVALID_PARAMETER;
        return false;
    }
    return true;
}

/* Whether the guest is asked.  A backup is a copy: with 1 (full) the guest would cut off the logs of its databases. */
static bool
asks_guest(const struct call *c, const struct wmi_object *settings)
{
    bool knows_type = wmi_find(settings, "GuestBackupType") != NULL;

    if (c->f->options.server_2016 && knows_type) {
        port_script_violation(c->f->script, "GuestBackupType on a host that does not know it");
    }
    if (knows_type && wmi_integer_or(settings, "GuestBackupType", 0) != 2) {
        port_script_violation(c->f->script, "the guest takes the backup for a full one");
    }
    return wmi_integer_or(settings, "ConsistencyLevel", 0) == 1;
}

static enum varve_err
create_snapshot(const struct call *c)
{
    const struct wmi_param *vm = param(c, "AffectedSystem");
    const struct wmi_param *type = param(c, "SnapshotType");
    struct wmi_object settings;
    char id[WMI_FAKE_ID];
    bool application;

    if (vm == NULL || type == NULL || type->integer != 32768) {
        c->out->return_value = INVALID_PARAMETER;
        return VARVE_OK;
    }
    if (!embedded(c, "SnapshotSettings", "Msvm_VirtualSystemSnapshotSettingData", &settings)) {
        return VARVE_OK;
    }
    application = asks_guest(c, &settings);
    if (c->f->options.pass_through && !wmi_true(&settings, "IgnoreNonSnapshottableDisks")) {
        c->out->return_value = 32770;
        wmi_object_release(&settings);
        return VARVE_OK;
    }
    application = application && !c->f->options.easy_guests;
    wmi_object_release(&settings);
    wmi_fake_guid(vm->text, id);
    /* Hyper-V chooses the name; ours comes afterwards. */
    return forward(c, "checkpoint.create",
                   json_pack("{s:s,s:s,s:s}", "vm", id, "consistency",
                             application ? "application" : "crash", "tag", "Backup"));
}

/* A checkpoint for backup, with its disks, as a chain: what this agent may ask for. */
static bool
is_backup(const struct wmi_object *settings)
{
    return wmi_integer_or(settings, "CopySnapshotConfiguration", 0) == 3 &&
           wmi_integer_or(settings, "BackupIntent", -1) == 0 &&
           wmi_integer_or(settings, "CaptureLiveState", -1) == 0 &&
           !wmi_true(settings, "CopyVmRuntimeInformation") &&
           !wmi_true(settings, "CreateVmExportSubdirectory");
}

static enum varve_err
export_system(const struct call *c)
{
    const struct wmi_param *vm = param(c, "ComputerSystem");
    const struct wmi_param *dir = param(c, "ExportDirectory");
    struct wmi_object settings;
    char base[WMI_FAKE_ID];
    char checkpoint[WMI_FAKE_ID];
    char id[WMI_FAKE_ID];
    json_t *request;

    if (vm == NULL || vm->type != WMI_REF || dir == NULL || dir->text == NULL) {
        c->out->return_value = INVALID_PARAMETER;
        return VARVE_OK;
    }
    if (!embedded(c, "ExportSettingData", "Msvm_VirtualSystemExportSettingData", &settings)) {
        return VARVE_OK;
    }
    if (!is_backup(&settings)) {
        port_script_violation(c->f->script, "an export that is no backup of a checkpoint");
    }
    if (!wmi_true(&settings, "CopyVmStorage")) {
        port_script_violation(c->f->script, "an export without storage stops merging");
    }
    wmi_fake_guid(vm->text, id);
    wmi_fake_guid(wmi_text_or(&settings, "SnapshotVirtualSystem", ""), checkpoint);
    wmi_fake_guid(wmi_text_or(&settings, "DifferentialBackupBase", ""), base);
    request = json_pack("{s:s,s:s,s:s,s:b}", "vm", id, "checkpoint", checkpoint, "dir", dir->text,
                        "storage", wmi_true(&settings, "CopyVmStorage"));
    if (wmi_find(&settings, "DifferentialBackupBase") != NULL) {
        (void)json_object_set_new(request, "base", json_string(base));
    }
    wmi_object_release(&settings);
    return forward(c, "checkpoint.export", request);
}

static enum varve_err
modify_system(const struct call *c)
{
    struct wmi_object settings;
    char id[WMI_FAKE_ID];
    enum varve_err rc;

    if (!embedded(c, "SystemSettings", "Msvm_VirtualSystemSettingData", &settings)) {
        return VARVE_OK;
    }
    wmi_fake_guid(wmi_text_or(&settings, "InstanceID", ""), id);
    rc = forward(c, "checkpoint.rename",
                 json_pack("{s:s,s:s,s:b}", "checkpoint", id, "name",
                           wmi_text_or(&settings, "ElementName", ""), "anywhere", c->f->cluster));
    wmi_object_release(&settings);
    return rc;
}

static enum varve_err
modify_merge(const struct call *c)
{
    struct wmi_object settings;
    char text[128];
    char id[WMI_FAKE_ID];
    enum varve_err rc;

    if (!embedded(c, "SettingData", "Msvm_DiskMergeSettingData", &settings)) {
        return VARVE_OK;
    }
    (void)snprintf(text, sizeof(text), "%s", wmi_text_or(&settings, "InstanceID", ""));
    if (strchr(text, '\\') != NULL) {
        *strchr(text, '\\') = '\0';
    }
    wmi_fake_guid(text, id);
    rc = forward(c, "merge.enable", json_pack("{s:s}", "vm", id));
    wmi_object_release(&settings);
    return rc;
}

static enum varve_err
disk_settings(const struct call *c)
{
    const struct wmi_param *path = param(c, "Path");
    const char *name = path != NULL ? path->text : "";
    bool set = strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".vhds") == 0;
    uint32_t number = 0;
    char said[160];
    json_t *o = port_script_ask(c->f->script, set ? "set.info" : "file.info",
                                json_pack("{s:s}", "path", name), &number, said);
    const struct wmi_param properties[] = {
        {.name = "Format",
         .type = WMI_UINT16,
         .integer = set                                              ? 4
                    : strcmp(wmi_fake_text(o, "format"), "vhd") == 0 ? 2
                                                                     : 3},
        {.name = "VirtualDiskId",
         .type = WMI_STRING,
         .text = wmi_fake_text(o, set ? "set" : "disk")},
        {.name = "MaxInternalSize",
         .type = WMI_UINT64,
         .integer = json_integer_value(json_object_get(o, "size"))},
        {.name = "LogicalSectorSize",
         .type = WMI_UINT32,
         .integer = set ? 512 : json_integer_value(json_object_get(o, "logical_sector"))},
    };
    char *xml = NULL;
    enum varve_err rc;

    if (o == NULL) {
        c->out->return_value = 32779;
        return VARVE_OK;
    }
    rc = cim_xml_write("Msvm_VirtualHardDiskSettingData", properties, 4, &xml, c->err);
    if (rc == VARVE_OK) {
        rc = wmi_object_add_text(&c->out->out, "SettingData", WMI_STRING, xml, c->err);
    }
    free(xml);
    json_decref(o);
    return rc;
}

#define CHANGES_PAGE 64 /* ranges of one answer: whoever asks has to come again */

/* Of less than the disk at a time, as the reference says; with a job never. */
static enum varve_err
disk_changes(const struct call *c)
{
    const struct wmi_param *path = param(c, "Path");
    const struct wmi_param *limit = param(c, "LimitId");
    const struct wmi_param *off = param(c, "ByteOffset");
    const struct wmi_param *len = param(c, "ByteLength");
    int64_t starts[CHANGES_PAGE];
    int64_t lengths[CHANGES_PAGE];
    uint32_t number = 0;
    char said[160];
    const json_t *range;
    json_t *info = NULL;
    json_t *o = NULL;
    size_t i;
    enum varve_err rc;

    c->out->return_value = INVALID_PARAMETER;
    if (c->f->options.no_changes || path == NULL || limit == NULL || off == NULL || len == NULL) {
        return VARVE_OK;
    }
    info = port_script_ask(c->f->script, "file.info", json_pack("{s:s}", "path", path->text),
                           &number, said);
    if (info != NULL && len->integer < json_integer_value(json_object_get(info, "size"))) {
        o = port_script_ask(c->f->script, "changes.query",
                            json_pack("{s:s,s:s,s:I,s:I,s:i}", "path", path->text, "change_id",
                                      limit->text, "offset", (json_int_t)off->integer, "length",
                                      (json_int_t)len->integer, "max_ranges", CHANGES_PAGE),
                            &number, said);
    }
    json_decref(info);
    if (o == NULL) {
        return VARVE_OK;
    }
    c->out->return_value = 0;
    json_array_foreach(json_object_get(o, "ranges"), i, range)
    {
        starts[i] = json_integer_value(json_array_get(range, 0));
        lengths[i] = json_integer_value(json_array_get(range, 1));
    }
    rc = wmi_object_add_integer(&c->out->out, "ProcessedByteLength", WMI_UINT64,
                                json_integer_value(json_object_get(o, "processed")), c->err);
    if (rc == VARVE_OK && i > 0) {
        rc = wmi_object_add_integers(&c->out->out, "ChangedByteOffsets", WMI_UINT64, starts, i,
                                     c->err);
    }
    if (rc == VARVE_OK && i > 0) {
        rc = wmi_object_add_integers(&c->out->out, "ChangedByteLengths", WMI_UINT64, lengths, i,
                                     c->err);
    }
    json_decref(o);
    return rc;
}

static enum varve_err
job_errors(const struct call *c, const char *path)
{
    struct wmi_object job;
    char *xml = NULL;
    enum varve_err rc = wmi_fake_job(c->f, path, &job, c->err);

    if (rc != VARVE_OK) {
        return rc;
    }
    {
        const struct wmi_param properties[] = {{.name = "Message",
                                                .type = WMI_STRING,
                                                .text = wmi_text_or(&job, "ErrorDescription", "")}};

        rc = cim_xml_write("Msvm_Error", properties, 1, &xml, c->err);
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_texts(&c->out->out, "Errors", (const char *const *)&xml, 1, c->err);
    }
    free(xml);
    wmi_object_release(&job);
    return rc;
}

static enum varve_err
create_of_group(const struct call *c)
{
    const struct wmi_param *group = param(c, "Collection");
    const struct wmi_param *type = param(c, "SnapshotType");
    struct wmi_object settings;
    char id[WMI_FAKE_ID];
    bool application;

    if (group == NULL || group->type != WMI_REF || !wmi_fake_is_here(c->f, group->text) ||
        type == NULL || type->integer != (c->f->options.group_32768 ? 32768 : 2)) {
        c->out->return_value = INVALID_PARAMETER;
        return VARVE_OK;
    }
    if (!embedded(c, "SnapshotSettings", "Msvm_VirtualSystemSnapshotSettingData", &settings)) {
        return VARVE_OK;
    }
    application = asks_guest(c, &settings);
    wmi_object_release(&settings);
    wmi_fake_guid(group->text, id);
    return forward(
        c, "group.freeze",
        json_pack("{s:s,s:s}", "group", id, "consistency", application ? "application" : "crash"));
}

/* All snapshots of a set, references too. */
static enum varve_err
snapshots_of_set(const struct call *c)
{
    const struct wmi_param *path = param(c, "VHDSetPath");
    char *texts[64];
    uint32_t number = 0;
    char said[160];
    size_t n = 0;
    size_t i;
    json_t *e;
    json_t *o =
        port_script_ask(c->f->script, "set.info",
                        json_pack("{s:s}", "path", path != NULL ? path->text : ""), &number, said);
    enum varve_err rc = VARVE_OK;

    if (o == NULL) {
        c->out->return_value = 32779;
        return VARVE_OK;
    }
    json_array_foreach(json_object_get(o, "snapshots"), i, e)
    {
        char created[40];
        const char *t = wmi_fake_text(e, "created");
        const struct wmi_param properties[] = {
            {.name = "SnapshotId", .type = WMI_STRING, .text = wmi_fake_text(e, "id")},
            {.name = "CreationTime", .type = WMI_STRING, .text = created}};

        (void)snprintf(created, sizeof(created), "%.4s%.2s%.2s%.2s%.2s%.2s.%.6s+000", t, t + 5,
                       t + 8, t + 11, t + 14, t + 17, t + 20);
        if (rc == VARVE_OK && n < 64) {
            rc = cim_xml_write("Msvm_VHDSnapshotInformation", properties, 2, &texts[n], c->err);
            n += rc == VARVE_OK ? 1 : 0;
        }
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_texts(&c->out->out, "SnapshotInformation", (const char *const *)texts,
                                  n, c->err);
    }
    while (n > 0) {
        free(texts[--n]);
    }
    json_decref(o);
    return rc;
}

static enum varve_err
group_method(const struct call *c, const char *method)
{
    if (strcmp(method, "CreateSnapshot") == 0) {
        return create_of_group(c);
    }
    if (strcmp(method, "DestroySnapshot") == 0) {
        return on_target(c, "group.destroy", "moment", "AffectedSnapshotCollection");
    }
    if (strcmp(method, "ConvertToReferencePoint") == 0) {
        return on_target(c, "group.convert", "moment", "AffectedSnapshotCollection");
    }
    if (strcmp(method, "DestroyReferencePoint") == 0) {
        return on_target(c, "group.forget", "moment", "AffectedReferencePointCollection");
    }
    return wmi_fake_hresult(c->err, 0x80041055u, "no such method");
}

enum varve_err
wmi_fake_method(struct wmi_fake *f, const char *path, const char *method,
                const struct wmi_param *params, size_t count, struct wmi_result *out,
                struct varve_error *err)
{
    const struct call c = {f, params, count, out, err};
    char id[WMI_FAKE_ID];

    if (strstr(path, "Msvm_Collection") != NULL) {
        return group_method(&c, method);
    }
    if (f->cluster && strcmp(method, "ModifySystemSettings") != 0 &&
        strcmp(method, "GetErrorEx") != 0 && strcmp(method, "RequestStateChange") != 0) {
        return wmi_fake_hresult(err, 0x80041055u, "no such method");
    }
    if (strcmp(method, "GetVHDSnapshotInformation") == 0) {
        return snapshots_of_set(&c);
    }
    if (strcmp(method, "CreateSnapshot") == 0) {
        return create_snapshot(&c);
    }
    if (strcmp(method, "DestroySnapshot") == 0) {
        return on_target(&c, "checkpoint.destroy", "checkpoint", "AffectedSnapshot");
    }
    if (strcmp(method, "ConvertToReferencePoint") == 0) {
        return on_target(&c, "refpoint.convert", "checkpoint", "AffectedSnapshot");
    }
    if (strcmp(method, "DestroyReferencePoint") == 0) {
        return on_target(&c, "refpoint.destroy", "refpoint", "AffectedReferencePoint");
    }
    if (strcmp(method, "ExportSystemDefinition") == 0) {
        return export_system(&c);
    }
    if (strcmp(method, "ModifySystemSettings") == 0) {
        return modify_system(&c);
    }
    if (strcmp(method, "ModifyDiskMergeSettings") == 0) {
        return modify_merge(&c);
    }
    if (strcmp(method, "GetVirtualHardDiskSettingData") == 0) {
        return disk_settings(&c);
    }
    if (strcmp(method, "GetVirtualDiskChanges") == 0) {
        return disk_changes(&c);
    }
    if (strcmp(method, "GetErrorEx") == 0) {
        return job_errors(&c, path);
    }
    if (strcmp(method, "RequestStateChange") == 0) {
        wmi_fake_guid(path, id);
        return forward(&c, "job.cancel", json_pack("{s:s}", "job", id));
    }
    return wmi_fake_hresult(err, 0x80041055u, "no such method");
}
