/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/port_wire.h"

#include <stdlib.h>
#include <string.h>

static bool
is_text(enum wmi_type type)
{
    return type == WMI_STRING || type == WMI_REF;
}

static json_t *
value_of(const struct wmi_value *v)
{
    json_t *array;
    size_t i;

    if (v->type == WMI_NULL) {
        return json_null();
    }
    if (!v->is_array) {
        return is_text(v->type) ? json_string(v->text) : json_integer(v->integer);
    }
    array = json_array();
    for (i = 0; i < v->count; i++) {
        (void)json_array_append_new(array, is_text(v->type) ? json_string(v->texts[i])
                                                            : json_integer(v->integers[i]));
    }
    return array;
}

json_t *
port_wire_object(const struct wmi_object *o)
{
    json_t *properties = json_array();
    size_t i;

    for (i = 0; i < o->count; i++) {
        const struct wmi_property *p = &o->properties[i];

        (void)json_array_append_new(properties,
                                    json_pack("{s:s,s:i,s:o}", "name", p->name, "type",
                                              (int)p->value.type, "v", value_of(&p->value)));
    }
    return json_pack("{s:s*,s:s*,s:s*,s:o}", "path", o->path, "relpath", o->relpath, "class",
                     o->class_name, "properties", properties);
}

static enum varve_err
bad(struct varve_error *err, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "a port's message: %s", what);
}

static enum varve_err
read_array(struct wmi_object *out, const char *name, enum wmi_type type, const json_t *v,
           struct varve_error *err)
{
    size_t n = json_array_size(v);
    int64_t *integers = calloc(n + 1, sizeof(*integers));
    const char **texts = calloc(n + 1, sizeof(*texts));
    enum varve_err rc = integers != NULL && texts != NULL ? VARVE_OK : varve_error_nomem(err);
    size_t i;

    for (i = 0; rc == VARVE_OK && i < n; i++) {
        const json_t *item = json_array_get(v, i);

        integers[i] = json_integer_value(item);
        texts[i] = json_string_value(item);
        if (is_text(type) ? texts[i] == NULL : !json_is_integer(item)) {
            rc = bad(err, "an element is of another type");
        }
    }
    if (rc == VARVE_OK) {
        rc = is_text(type) ? wmi_object_add_texts(out, name, texts, n, err)
                           : wmi_object_add_integers(out, name, type, integers, n, err);
    }
    free(integers);
    free((void *)texts);
    return rc;
}

static enum varve_err
read_property(struct wmi_object *out, const json_t *p, struct varve_error *err)
{
    const char *name = json_string_value(json_object_get(p, "name"));
    const json_t *v = json_object_get(p, "v");
    enum wmi_type type = (enum wmi_type)json_integer_value(json_object_get(p, "type"));

    if (name == NULL || v == NULL || type > WMI_REF) {
        return bad(err, "a property without name, type or value");
    }
    if (json_is_null(v)) {
        return wmi_object_add_null(out, name, err);
    }
    if (json_is_array(v)) {
        return read_array(out, name, type, v, err);
    }
    if (is_text(type) && json_is_string(v)) {
        return wmi_object_add_text(out, name, type, json_string_value(v), err);
    }
    return json_is_integer(v) ? wmi_object_add_integer(out, name, type, json_integer_value(v), err)
                              : bad(err, "a value of another type");
}

enum varve_err
port_wire_object_read(const json_t *j, struct wmi_object *out, struct varve_error *err)
{
    const char *path = json_string_value(json_object_get(j, "path"));
    const char *relpath = json_string_value(json_object_get(j, "relpath"));
    const char *class_name = json_string_value(json_object_get(j, "class"));
    struct wmi_object o;
    const json_t *p;
    size_t i;
    enum varve_err rc;

    memset(&o, 0, sizeof(o));
    rc = wmi_object_init(&o, path != NULL ? path : "", relpath != NULL ? relpath : "",
                         class_name != NULL ? class_name : "", err);
    json_array_foreach(json_object_get(j, "properties"), i, p)
    {
        if (rc == VARVE_OK) {
            rc = read_property(&o, p, err);
        }
    }
    if (rc == VARVE_OK) {
        *out = o;
    } else {
        wmi_object_release(&o);
    }
    return rc;
}

enum varve_err
port_wire_params_read(const json_t *j, struct port_wire_params *out, struct varve_error *err)
{
    const json_t *p;
    size_t i;
    size_t k;

    memset(out, 0, sizeof(*out));
    json_array_foreach(j, i, p)
    {
        struct wmi_param *to = &out->items[out->count];
        const json_t *v = json_object_get(p, "v");

        if (out->count == PORT_WIRE_PARAMS_MAX || json_array_size(v) > PORT_WIRE_ITEMS_MAX) {
            return bad(err, "too many parameters");
        }
        to->name = json_string_value(json_object_get(p, "name"));
        to->type = (enum wmi_type)json_integer_value(json_object_get(p, "type"));
        to->integer = json_integer_value(v);
        to->text = json_string_value(v);
        if (json_is_array(v)) {
            for (k = 0; k < json_array_size(v); k++) {
                out->texts[i][k] = json_string_value(json_array_get(v, k));
            }
            to->texts = out->texts[i];
            to->count = k;
        }
        if (to->name == NULL || to->type > WMI_REF ||
            (is_text(to->type) && to->text == NULL && to->texts == NULL)) {
            return bad(err, "a parameter without name, type or value");
        }
        out->count++;
    }
    return VARVE_OK;
}
