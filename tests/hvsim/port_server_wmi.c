/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hvsim/port_server_internal.h"
#include "hvsim/port_wire.h"
#include "hvsim/sim_base.h"
#include "wmi/hresult.h"

/* The [in] parameters of the methods, with their types: what IWbemClassObject::GetMethod() gives. */
static const struct {
    const char *class_name;
    const char *method;
    struct {
        const char *name;
        enum wmi_type type;
    } in[5];
} methods[] = {
    {"Msvm_VirtualSystemSnapshotService",
     "CreateSnapshot",
     {{"AffectedSystem", WMI_REF},
      {"SnapshotSettings", WMI_STRING},
      {"SnapshotType", WMI_UINT16},
      {"ResultingSnapshot", WMI_REF}}},
    {"Msvm_VirtualSystemSnapshotService", "DestroySnapshot", {{"AffectedSnapshot", WMI_REF}}},
    {"Msvm_VirtualSystemSnapshotService",
     "ConvertToReferencePoint",
     {{"AffectedSnapshot", WMI_REF},
      {"ReferencePointSettings", WMI_STRING},
      {"ResultingReferencePoint", WMI_REF}}},
    {"Msvm_VirtualSystemReferencePointService",
     "DestroyReferencePoint",
     {{"AffectedReferencePoint", WMI_REF}}},
    {"Msvm_VirtualSystemManagementService",
     "ModifySystemSettings",
     {{"SystemSettings", WMI_STRING}}},
    {"Msvm_VirtualSystemManagementService",
     "ModifyDiskMergeSettings",
     {{"SettingData", WMI_STRING}}},
    {"Msvm_VirtualSystemManagementService",
     "ExportSystemDefinition",
     {{"ComputerSystem", WMI_REF},
      {"ExportDirectory", WMI_STRING},
      {"ExportSettingData", WMI_STRING}}},
    {"Msvm_ImageManagementService", "GetVirtualHardDiskSettingData", {{"Path", WMI_STRING}}},
    {"Msvm_ImageManagementService",
     "GetVHDSnapshotInformation",
     {{"VHDSetPath", WMI_STRING}, {"SnapshotIds", WMI_STRING}}},
    {"Msvm_CollectionSnapshotService",
     "CreateSnapshot",
     {{"Collection", WMI_REF},
      {"SnapshotSettings", WMI_STRING},
      {"SnapshotType", WMI_UINT16},
      {"ResultingSnapshotCollection", WMI_REF}}},
    {"Msvm_CollectionSnapshotService",
     "DestroySnapshot",
     {{"AffectedSnapshotCollection", WMI_REF}}},
    {"Msvm_CollectionSnapshotService",
     "ConvertToReferencePoint",
     {{"AffectedSnapshotCollection", WMI_REF}, {"ResultingReferencePointCollection", WMI_REF}}},
    {"Msvm_CollectionReferencePointService",
     "DestroyReferencePoint",
     {{"AffectedReferencePointCollection", WMI_REF}}},
    {"Msvm_ImageManagementService",
     "GetVirtualDiskChanges",
     {{"Path", WMI_STRING},
      {"LimitId", WMI_STRING},
      {"TargetSnapshotId", WMI_STRING},
      {"ByteOffset", WMI_UINT64},
      {"ByteLength", WMI_UINT64}}},
    {"Msvm_ConcreteJob",
     "RequestStateChange",
     {{"RequestedState", WMI_UINT16}, {"TimeoutPeriod", WMI_STRING}}},
    {"Msvm_ConcreteJob", "GetErrorEx", {{NULL, WMI_NULL}}},
};

char *
port_server_to_linux(const char *path)
{
    char *out;
    char *p;

    path = strncmp(path, "\\\\?\\", 4) == 0 ? path + 4 : path;
    path = path[0] != '\0' && path[1] == ':' ? path + 2 : path;
    out = sim_strdup(path);
    for (p = out; *p != '\0'; p++) {
        *p = *p == '\\' ? '/' : *p;
    }
    return out;
}

char *
port_server_to_windows(const char *path)
{
    char *out = sim_printf("Z:%s", path);
    char *p;

    for (p = out; *p != '\0'; p++) {
        *p = *p == '/' ? '\\' : *p;
    }
    return out;
}

static const char *
text_of(const struct port_call *c, const char *key)
{
    const char *v = json_string_value(json_object_get(c->request, key));

    return v != NULL ? v : "";
}

static struct wmi_port *
space_of(const struct port_call *c)
{
    return strcmp(text_of(c, "space"), "cluster") == 0 ? c->server->cluster : c->server->wmi;
}

/* "\\SERVER\SHARE\a" is of a share, in a folder here or (a VHD set) on a file server; all else of a drive. */
static char *
path_given(struct port_server *s, const char *path)
{
    bool unc = strncmp(path, "\\\\", 2) == 0 && path[2] != '?';
    char *local;
    char *out;

    if (unc && s->shares == NULL) {
        return sim_strdup(path);
    }
    local = port_server_to_linux(unc ? path + 1 : path);
    out = unc ? sim_printf("%s%s", s->shares, local) : local;
    if (unc) {
        free(local);
    }
    return out;
}

json_t *
port_server_wmi_host(struct port_call *c)
{
    struct port_server *s = c->server;
    const char *drive = text_of(c, "drive");

    mutex_lock(&s->lock);
    free(s->name);
    free(s->shares);
    s->name = sim_strdup(text_of(c, "name"));
    s->shares = text_of(c, "shares")[0] != '\0' ? sim_strdup(text_of(c, "shares")) : NULL;
    s->elsewhere = json_is_true(json_object_get(c->request, "elsewhere"));
    s->drive = drive[0] != '\0' ? drive[0] : 'Z';
    mutex_unlock(&s->lock);
    return json_object();
}

static json_t *
connect_host(struct port_call *c, struct varve_error *err)
{
    struct port_server *s = c->server;
    struct wmi_port *wmi = space_of(c);
    const char *asked = text_of(c, "server");
    bool reached;

    mutex_lock(&s->lock);
    free(s->asked);
    s->asked = sim_strdup(asked);
    reached = asked[0] == '\0' || (s->name != NULL && strcasecmp(s->name, asked) == 0);
    mutex_unlock(&s->lock);
    if (!reached) {
        (void)hresult_error(err, 0x800706BAu, "no such machine", "'%.40s'", asked);
        return NULL;
    }
    if (asked[0] == '\0' && s->elsewhere) {
        (void)hresult_error(err, 0x8004100Eu, "no Hyper-V here", "WMI");
        return NULL;
    }
    return wmi->ops->connect(wmi, err) == VARVE_OK ? json_object() : NULL;
}

/* Paths of the host's files are shown as its Windows sees them: on a drive. */
static void
show_paths(const struct port_server *s, struct wmi_object *o)
{
    static const char *const paths[] = {"HostResource", "ConfigurationDataRoot"};

    for (size_t i = 0; i < o->count; i++) {
        struct wmi_value *v = &o->properties[i].value;
        char **text = v->is_array && v->count > 0 && v->texts != NULL ? &v->texts[0] : &v->text;

        for (size_t k = 0; k < 2; k++) {
            if (strcmp(o->properties[i].name, paths[k]) == 0 && *text != NULL && **text == '/') {
                char *shown = port_server_to_windows(*text);

                shown[0] = s->drive;
                free(*text);
                *text = shown;
            }
        }
    }
}

static json_t *
object_out(const struct port_server *s, struct wmi_object *o, const char *key)
{
    json_t *j;

    show_paths(s, o);
    j = json_pack("{s:o}", key, port_wire_object(o));
    wmi_object_release(o);
    return j;
}

static json_t *
query(struct port_call *c, struct varve_error *err)
{
    struct wmi_port *wmi = space_of(c);
    struct wmi_objects found = {0};
    json_t *list;

    if (wmi->ops->query(wmi, text_of(c, "wql"), NULL, &found, err) != VARVE_OK) {
        return NULL;
    }
    list = json_array();
    for (size_t i = 0; i < found.count; i++) {
        show_paths(c->server, &found.items[i]);
        (void)json_array_append_new(list, port_wire_object(&found.items[i]));
    }
    wmi_objects_release(&found);
    return json_pack("{s:o}", "objects", list);
}

static json_t *
exec(struct port_call *c, struct varve_error *err)
{
    struct wmi_port *wmi = space_of(c);
    struct port_wire_params *params = sim_alloc(sizeof(*params));
    struct wmi_result result;
    json_t *out = NULL;
    char *path = NULL;
    enum varve_err rc = port_wire_params_read(json_object_get(c->request, "params"), params, err);

    for (size_t i = 0; rc == VARVE_OK && i < params->count; i++) {
        bool is_path = strcmp(params->items[i].name, "Path") == 0 ||
                       strcmp(params->items[i].name, "ExportDirectory") == 0;

        if (is_path && path == NULL && params->items[i].text != NULL) {
            path = path_given(c->server, params->items[i].text);
            params->items[i].text = path;
        }
    }
    if (rc == VARVE_OK) {
        rc = wmi->ops->exec(wmi, text_of(c, "path"), text_of(c, "method"), params->items,
                            params->count, &result, err);
    }
    if (rc == VARVE_OK) {
        out = json_pack("{s:I}", "return_value", (json_int_t)result.return_value);
        (void)json_object_set_new(out, "out", port_wire_object(&result.out));
        wmi_result_release(&result);
    }
    free(path);
    free(params);
    return out;
}

static json_t *
class_has(struct port_call *c, struct varve_error *err)
{
    const char *property = json_string_value(json_object_get(c->request, "property"));
    struct wmi_port *wmi = space_of(c);
    bool has = false;

    return wmi->ops->class_has(wmi, text_of(c, "class"), property, &has, err) == VARVE_OK
               ? json_pack("{s:b}", "has", has)
               : NULL;
}

static json_t *
signature(struct port_call *c, struct varve_error *err)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        json_t *in;

        if (strcmp(methods[i].class_name, text_of(c, "class")) != 0 ||
            strcmp(methods[i].method, text_of(c, "method")) != 0) {
            continue;
        }
        in = json_array();
        for (size_t k = 0; k < 5 && methods[i].in[k].name != NULL; k++) {
            (void)json_array_append_new(in, json_pack("{s:s,s:i}", "name", methods[i].in[k].name,
                                                      "type", (int)methods[i].in[k].type));
        }
        return json_pack("{s:o}", "in", in);
    }
    (void)hresult_error(err, 0x80041002u, "no such method", "WMI");
    return NULL;
}

json_t *
port_server_wmi(struct port_call *c, const char *op, struct varve_error *err)
{
    struct wmi_port *wmi = space_of(c);
    struct wmi_object o;

    if (strcmp(op, "wmi.connect") == 0) {
        return connect_host(c, err);
    }
    if (strcmp(op, "wmi.query") == 0) {
        return query(c, err);
    }
    if (strcmp(op, "wmi.get") == 0) {
        return wmi->ops->get(wmi, text_of(c, "path"), NULL, &o, err) == VARVE_OK
                   ? object_out(c->server, &o, "object")
                   : NULL;
    }
    if (strcmp(op, "wmi.class") == 0) {
        return class_has(c, err);
    }
    if (strcmp(op, "wmi.signature") == 0) {
        return signature(c, err);
    }
    if (strcmp(op, "wmi.exec") == 0) {
        return exec(c, err);
    }
    (void)hresult_error(err, 0x80070057u, "no such op", "'%.40s'", op);
    return NULL;
}
