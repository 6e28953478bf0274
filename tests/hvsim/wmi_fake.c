/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/wmi_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_base.h"
#include "hvsim/wmi_fake_internal.h"

#define NO_NAMESPACE 0x8004100Eu

static void
fake_close(struct wmi_port *p)
{
    free(p);
}

static enum varve_err
injected(struct wmi_fake *f, struct varve_error *err)
{
    return wmi_fake_hresult(err, f->script->number, "injected");
}

static bool
no_role(const struct wmi_fake *f)
{
    return f->options.no_role ||
           (f->options.no_role_file != NULL && access(f->options.no_role_file, F_OK) == 0);
}

static bool
is_formed(struct wmi_fake *f)
{
    struct varve_error ignored;
    json_t *reply = wmi_fake_ask(f, "group.list", NULL, NULL, &ignored);
    bool formed = json_is_true(json_object_get(reply, "formed"));

    json_decref(reply);
    return formed;
}

static enum varve_err
fake_connect(struct wmi_port *p, struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    bool after;

    if (port_script_call(f->script, &after, "%s connect", f->word)) {
        return injected(f, err);
    }
    if (f->options.denied) {
        return wmi_fake_hresult(err, 0x80041003u, "access denied");
    }
    f->connected = !no_role(f) && (!f->cluster || is_formed(f));
    return f->connected ? VARVE_OK : wmi_fake_hresult(err, NO_NAMESPACE, "no such namespace");
}

/* ---- two namespaces ---- */

bool
wmi_fake_is_here(struct wmi_fake *f, const char *path)
{
    const char *own = f->cluster ? WMI_FAKE_CLUSTER_SPACE : WMI_FAKE_SPACE;

    if (strncmp(path, "\\\\", 2) != 0 || strncmp(path, own, strlen(own)) == 0) {
        return true;
    }
    port_script_violation(f->script, "'%.90s' in another namespace", path);
    return false;
}

/* "\\SIMHOST\..." is what the cluster calls otherwise. */
static void
show_here(const struct wmi_fake *f, char **text)
{
    if (f->cluster && *text != NULL &&
        strncmp(*text, WMI_FAKE_SPACE, strlen(WMI_FAKE_SPACE)) == 0) {
        char *shown = sim_printf(WMI_FAKE_CLUSTER_SPACE "%s", *text + strlen(WMI_FAKE_SPACE));

        free(*text);
        *text = shown;
    }
}

static void
show_object(const struct wmi_fake *f, struct wmi_object *o)
{
    show_here(f, &o->path);
    for (size_t i = 0; i < o->count; i++) {
        if (o->properties[i].value.type == WMI_REF) {
            show_here(f, &o->properties[i].value.text);
        }
    }
}

/* What is documented for the cluster's namespace, of what is asked for here. */
static bool
has_class(const struct wmi_fake *f, const char *class_name)
{
    static const char *const classes[] = {
        "Msvm_ComputerSystem", "Msvm_VirtualSystemManagementService",
        "Msvm_CollectionSnapshotService", "Msvm_CollectionReferencePointService"};

    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strcmp(classes[i], class_name) == 0) {
            return true;
        }
    }
    return !f->cluster;
}

/* The parts of "ASSOCIATORS OF {x} WHERE AssocClass=a ResultClass=b". */
static enum varve_err
associators(struct wmi_fake *f, const char *wql, struct wmi_objects *out, struct varve_error *err)
{
    const char *end = strstr(wql, "} WHERE ");
    char assoc[96] = "";
    char result[96] = "";
    char *path;
    bool after;
    enum varve_err rc;

    if (end == NULL ||
        sscanf(end, "} WHERE AssocClass=%95s ResultClass=%95s", assoc, result) != 2) {
        return wmi_fake_hresult(err, 0x80041017u, "no such query");
    }
    if (port_script_call(f->script, &after, "%s assoc %s", f->word, assoc)) {
        return injected(f, err);
    }
    path = sim_printf("%.*s", (int)(end - wql - 16), wql + 16);
    rc = !wmi_fake_is_here(f, path)
             ? wmi_fake_hresult(err, 0x8004103Au, "no path of this namespace")
         : f->cluster && strcmp(assoc, "Msvm_AffectedJobElement") != 0 &&
                 !wmi_fake_is_of_groups(assoc, result)
             ? wmi_fake_hresult(err, 0x80041010u, "no such class")
             : wmi_fake_associated(f, path, assoc, result, out, err);
    free(path);
    return rc;
}

static enum varve_err
fake_query(struct wmi_port *p, const char *wql, const char *const *names, struct wmi_objects *out,
           struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    struct wmi_objects list = {0};
    char class_name[96] = "";
    char name[WMI_FAKE_ID] = "";
    bool after;
    enum varve_err rc;

    (void)names; /* more than what was asked for is allowed */
    if (f->cluster && !f->connected) {
        return wmi_fake_hresult(err, 0x800706BAu, "not connected");
    }
    if (strncmp(wql, "ASSOCIATORS OF {", 16) == 0) {
        rc = associators(f, wql, &list, err);
    } else if (sscanf(wql, "SELECT * FROM %95s WHERE Name='%63[^']'", class_name, name) < 1) {
        rc = wmi_fake_hresult(err, 0x80041017u, "no such query");
    } else if (port_script_call(f->script, &after, "%s %s %s", f->word,
                                name[0] == '\0' && strcmp(class_name, "Msvm_ComputerSystem") == 0
                                    ? "list"
                                    : "query",
                                class_name)) {
        rc = injected(f, err);
    } else if (!has_class(f, class_name)) {
        rc = wmi_fake_hresult(err, 0x80041010u, "no such class");
    } else if (f->options.no_rights) {
        rc = VARVE_OK;
    } else if (f->options.server_2012 && strstr(class_name, "ReferencePointService") != NULL) {
        rc = wmi_fake_hresult(err, 0x80041010u, "no such class");
    } else {
        rc = wmi_fake_select(f, class_name, name, &list, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < list.count; i++) {
        show_object(f, &list.items[i]);
    }
    if (rc == VARVE_OK) {
        *out = list;
    } else {
        wmi_objects_release(&list);
    }
    return rc;
}

static enum varve_err
fake_get(struct wmi_port *p, const char *path, const char *const *names, struct wmi_object *out,
         struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    bool after;
    enum varve_err rc;

    (void)names;
    if (port_script_call(f->script, &after, "%s get%s", f->word,
                         strstr(path, "Msvm_ConcreteJob") != NULL ? " job" : "")) {
        return injected(f, err);
    }
    rc = wmi_fake_is_here(f, path) ? wmi_fake_at(f, path, out, err)
                                   : wmi_fake_hresult(err, 0x8004103Au, "another namespace");
    if (rc == VARVE_OK) {
        show_object(f, out);
    }
    return rc;
}

static enum varve_err
fake_class_has(struct wmi_port *p, const char *class_name, const char *property, bool *out,
               struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    bool after;

    if (port_script_call(f->script, &after, "%s class %s", f->word, class_name)) {
        return injected(f, err);
    }
    if (no_role(f)) { /* there is no connection to ask on */
        return wmi_fake_hresult(err, 0x800706BAu, "not connected");
    }
    if (f->options.server_2012 && (strcmp(class_name, "Msvm_VirtualSystemReferencePoint") == 0 ||
                                   strncmp(class_name, "Msvm_Collection", 15) == 0)) {
        *out = false;
        return VARVE_OK;
    }
    *out =
        has_class(f, class_name) &&
        (property == NULL || strcmp(property, "GuestBackupType") != 0 || !f->options.server_2016);
    return VARVE_OK;
}

static enum varve_err
fake_exec(struct wmi_port *p, const char *path, const char *method, const struct wmi_param *params,
          size_t count, struct wmi_result *out, struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    struct varve_error ignored;
    bool after;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    if (port_script_call(f->script, &after, "%s exec %s", f->word, method)) {
        if (after) {
            (void)(wmi_fake_method(f, path, method, params, count, out, &ignored) == VARVE_OK);
            wmi_result_release(out);
        }
        if (f->script->number < 65536) {
            memset(out, 0, sizeof(*out));
            out->return_value = f->script->number; /* the method's own verdict */
            return VARVE_OK;
        }
        return injected(f, err);
    }
    rc = wmi_fake_is_here(f, path)
             ? wmi_fake_method(f, path, method, params, count, out, err)
             : wmi_fake_hresult(err, 0x8004103Au, "no path of this namespace");
    if (rc == VARVE_OK) {
        show_object(f, &out->out);
    } else {
        wmi_result_release(out);
    }
    return rc;
}

static const struct wmi_port_ops fake_ops = {
    .close = fake_close,
    .connect = fake_connect,
    .query = fake_query,
    .get = fake_get,
    .class_has = fake_class_has,
    .exec = fake_exec,
};

struct wmi_port *
wmi_fake_new(struct port_script *script, const struct wmi_fake_options *options)
{
    struct wmi_fake *f = sim_alloc(sizeof(*f));

    f->base.ops = &fake_ops;
    f->base.timeout_ms = WMI_CALL_MS;
    f->script = script;
    f->options = *options;
    f->word = "wmi";
    return &f->base;
}

struct wmi_port *
wmi_fake_cluster_new(struct port_script *script, const struct wmi_fake_options *options)
{
    struct wmi_port *p = wmi_fake_new(script, options);
    struct wmi_fake *f = (struct wmi_fake *)p;

    f->cluster = true;
    f->word = "cluster";
    return p;
}
