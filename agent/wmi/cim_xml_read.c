/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/cim_xml.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "wmi/xml_scan.h"

#define NAME_SIZE 256u

struct reader {
    struct xml_scan scan;
    unsigned depth;
    struct wmi_object *out;
    bool has_instance;
    bool done;
    unsigned instance_depth;

    /* The property that is open. */
    unsigned property_depth; /* 0: none */
    bool is_array;
    char name[NAME_SIZE];
    char type[NAME_SIZE];
    bool in_value;
    bool has_value;
    struct buf text; /* of the value that is open, or the last one */
    char **values;   /* of an array */
    size_t value_count;
};

static enum varve_err
malformed(struct varve_error *err, const char *what)
{
    return varve_error_set(err, VARVE_ERR_PROTOCOL, "embedded instance: %s", what);
}

/* ---- the instance ---- */

static void
forget_values(struct reader *r)
{
    size_t i;

    for (i = 0; i < r->value_count; i++) {
        free(r->values[i]);
    }
    free(r->values);
    r->values = NULL;
    r->value_count = 0;
}

static enum wmi_type
type_of(const char *name)
{
    static const struct {
        const char *name;
        enum wmi_type type;
    } types[] = {{"boolean", WMI_BOOL},  {"uint8", WMI_UINT8},   {"sint8", WMI_UINT32},
                 {"uint16", WMI_UINT16}, {"sint16", WMI_UINT32}, {"uint32", WMI_UINT32},
                 {"sint32", WMI_UINT32}, {"uint64", WMI_UINT64}, {"sint64", WMI_UINT64}};
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].type;
        }
    }
    return WMI_STRING;
}

static bool
parse_integer(enum wmi_type type, const char *text, int64_t *out)
{
    uint64_t limit = INT64_MAX;
    uint64_t v = 0;
    bool minus = *text == '-';

    if (type == WMI_BOOL) {
        *out = strcmp(text, "TRUE") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        return true;
    }
    text += minus ? 1 : 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(unsigned char)*text - '0';

        if (*text < '0' || *text > '9' || v > (limit - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

static enum varve_err
end_array(struct reader *r, enum wmi_type type, struct varve_error *err)
{
    int64_t *integers;
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (type == WMI_STRING) {
        return wmi_object_add_texts(r->out, r->name, (const char *const *)r->values, r->value_count,
                                    err);
    }
    integers = calloc(r->value_count + 1, sizeof(*integers));
    if (integers == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < r->value_count; i++) {
        if (!parse_integer(type, r->values[i], &integers[i])) {
            rc = malformed(err, "a number that is none");
        }
    }
    if (rc == VARVE_OK) {
        rc = wmi_object_add_integers(r->out, r->name, type, integers, r->value_count, err);
    }
    free(integers);
    return rc;
}

static enum varve_err
end_property(struct reader *r, struct varve_error *err)
{
    enum wmi_type type = type_of(r->type);
    int64_t integer = 0;

    r->property_depth = 0;
    if (r->out->count == CIM_XML_PROPERTIES) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u properties",
                               CIM_XML_PROPERTIES);
    }
    if (!r->has_value) {
        return wmi_object_add_null(r->out, r->name, err);
    }
    if (r->is_array) {
        return end_array(r, type, err);
    }
    if (type == WMI_STRING) {
        return wmi_object_add_text(r->out, r->name, type, (const char *)r->text.data, err);
    }
    if (!parse_integer(type, (const char *)r->text.data, &integer)) {
        return malformed(err, "a number that is none");
    }
    return wmi_object_add_integer(r->out, r->name, type, integer, err);
}

static enum varve_err
end_value(struct reader *r, struct varve_error *err)
{
    char **values;
    enum varve_err rc = buf_append(&r->text, "", 1, err);

    r->in_value = false;
    r->has_value = true;
    if (rc != VARVE_OK || !r->is_array) {
        return rc;
    }
    if (r->value_count == WMI_ARRAY_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u values",
                               WMI_ARRAY_MAX);
    }
    values = realloc(r->values, (r->value_count + 1) * sizeof(*values));
    if (values == NULL) {
        return varve_error_nomem(err);
    }
    r->values = values;
    r->values[r->value_count] = malloc(r->text.len);
    if (r->values[r->value_count] == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(r->values[r->value_count++], r->text.data, r->text.len);
    return VARVE_OK;
}

static enum varve_err
open_element(struct reader *r, const struct xml_token *t, struct varve_error *err)
{
    char class_name[NAME_SIZE];
    enum varve_err rc = VARVE_OK;

    if (++r->depth > CIM_XML_DEPTH) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "embedded instance: more than %u levels",
                               CIM_XML_DEPTH);
    }
    if (!r->has_instance && xml_is(t, "INSTANCE")) {
        rc = xml_attribute(t, "CLASSNAME", class_name, sizeof(class_name), err);
        if (rc == VARVE_OK) {
            rc = wmi_object_init(r->out, "", "", class_name, err);
        }
        r->has_instance = rc == VARVE_OK;
        r->instance_depth = r->depth;
        return rc;
    }
    if (!r->has_instance) {
        return VARVE_OK;
    }
    if (r->depth == r->instance_depth + 1 &&
        (xml_is(t, "PROPERTY") || xml_is(t, "PROPERTY.ARRAY"))) {
        r->property_depth = r->depth;
        r->is_array = xml_is(t, "PROPERTY.ARRAY");
        r->has_value = false;
        forget_values(r);
        rc = xml_attribute(t, "NAME", r->name, sizeof(r->name), err);
        return rc == VARVE_OK ? xml_attribute(t, "TYPE", r->type, sizeof(r->type), err) : rc;
    }
    if (r->property_depth == 0) {
        return VARVE_OK;
    }
    if (r->is_array && r->depth == r->property_depth + 1 && xml_is(t, "VALUE.ARRAY")) {
        r->has_value = true; /* an array of none has one too */
    }
    /* The VALUE of a qualifier stands one level deeper than that of its property. */
    if (xml_is(t, "VALUE") && !r->in_value &&
        r->depth == r->property_depth + (r->is_array ? 2u : 1u)) {
        r->in_value = true;
        buf_clear(&r->text);
    }
    return VARVE_OK;
}

static enum varve_err
close_element(struct reader *r, const struct xml_token *t, struct varve_error *err)
{
    unsigned depth = r->depth;

    if (depth == 0) {
        return malformed(err, "more ends than beginnings");
    }
    r->depth--;
    if (r->in_value && xml_is(t, "VALUE") && depth == r->property_depth + (r->is_array ? 2u : 1u)) {
        return end_value(r, err);
    }
    if (r->property_depth != 0 && depth == r->property_depth) {
        return r->in_value ? malformed(err, "a value does not end") : end_property(r, err);
    }
    r->done = r->has_instance && depth == r->instance_depth;
    return VARVE_OK;
}

static enum varve_err
read_all(struct reader *r, struct varve_error *err)
{
    struct xml_token t;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && !r->done) {
        rc = xml_next(&r->scan, &t, err);
        if (rc != VARVE_OK) {
            break;
        }
        switch (t.kind) {
        case XML_END_OF_TEXT:
            return malformed(err, r->has_instance ? "it does not end" : "none in the text");
        case XML_OPEN:
            rc = open_element(r, &t, err);
            if (rc == VARVE_OK && t.empty) {
                rc = close_element(r, &t, err);
            }
            break;
        case XML_CLOSE:
            rc = close_element(r, &t, err);
            break;
        case XML_TEXT:
            if (r->in_value) {
                rc = xml_append_text(&r->text, t.text, t.text_len, t.raw, err);
            }
            break;
        }
    }
    return rc;
}

enum varve_err
cim_xml_read(const char *text, size_t len, struct wmi_object *out, struct varve_error *err)
{
    struct reader r;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    if (len > CIM_XML_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "an embedded instance of %zu bytes", len);
    }
    memset(&r, 0, sizeof(r));
    xml_scan_init(&r.scan, text, len);
    r.out = out;
    buf_init(&r.text, CIM_XML_MAX + 1);
    rc = read_all(&r, err);
    forget_values(&r);
    buf_release(&r.text);
    if (rc != VARVE_OK) {
        wmi_object_release(out);
    }
    return rc;
}
