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

static enum varve_err
fake_connect(struct wmi_port *p, struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    bool after;

    if (port_script_call(f->script, &after, "wmi connect")) {
        return injected(f, err);
    }
    return no_role(f) ? wmi_fake_hresult(err, NO_NAMESPACE, "no such namespace") : VARVE_OK;
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
    if (port_script_call(f->script, &after, "wmi assoc %s", assoc)) {
        return injected(f, err);
    }
    path = sim_printf("%.*s", (int)(end - wql - 16), wql + 16);
    rc = wmi_fake_associated(f, path, assoc, result, out, err);
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
    if (strncmp(wql, "ASSOCIATORS OF {", 16) == 0) {
        rc = associators(f, wql, &list, err);
    } else if (sscanf(wql, "SELECT * FROM %95s WHERE Name='%63[^']'", class_name, name) < 1) {
        rc = wmi_fake_hresult(err, 0x80041017u, "no such query");
    } else if (port_script_call(f->script, &after, "wmi %s %s",
                                name[0] == '\0' && strcmp(class_name, "Msvm_ComputerSystem") == 0
                                    ? "list"
                                    : "query",
                                class_name)) {
        rc = injected(f, err);
    } else if (f->options.no_rights) {
        rc = VARVE_OK;
    } else if (f->options.server_2012 && strstr(class_name, "ReferencePointService") != NULL) {
        rc = wmi_fake_hresult(err, 0x80041010u, "no such class");
    } else {
        rc = wmi_fake_select(f, class_name, name, &list, err);
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

    (void)names;
    if (port_script_call(f->script, &after,
                         strstr(path, "Msvm_ConcreteJob") != NULL ? "wmi get job" : "wmi get")) {
        return injected(f, err);
    }
    return wmi_fake_at(f, path, out, err);
}

static enum varve_err
fake_class_has(struct wmi_port *p, const char *class_name, const char *property, bool *out,
               struct varve_error *err)
{
    struct wmi_fake *f = (struct wmi_fake *)p;
    bool after;

    if (port_script_call(f->script, &after, "wmi class %s", class_name)) {
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
    *out = property == NULL || strcmp(property, "GuestBackupType") != 0 || !f->options.server_2016;
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
    if (port_script_call(f->script, &after, "wmi exec %s", method)) {
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
    rc = wmi_fake_method(f, path, method, params, count, out, err);
    if (rc != VARVE_OK) {
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
    return &f->base;
}
