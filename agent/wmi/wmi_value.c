/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/wmi_port.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void
wmi_port_close(struct wmi_port *p)
{
    if (p != NULL) {
        p->ops->close(p);
    }
}

/* ---- giving back ---- */

static void
release_value(struct wmi_value *v)
{
    size_t i;

    for (i = 0; v->texts != NULL && i < v->count; i++) {
        free(v->texts[i]);
    }
    free(v->texts);
    free(v->integers);
    free(v->text);
    memset(v, 0, sizeof(*v));
}

void
wmi_object_release(struct wmi_object *o)
{
    size_t i;

    for (i = 0; i < o->count; i++) {
        free(o->properties[i].name);
        release_value(&o->properties[i].value);
    }
    free(o->properties);
    free(o->path);
    free(o->relpath);
    free(o->class_name);
    memset(o, 0, sizeof(*o));
}

void
wmi_objects_release(struct wmi_objects *o)
{
    size_t i;

    for (i = 0; i < o->count; i++) {
        wmi_object_release(&o->items[i]);
    }
    free(o->items);
    memset(o, 0, sizeof(*o));
}

void
wmi_result_release(struct wmi_result *r)
{
    wmi_object_release(&r->out);
}

/* ---- building ---- */

static enum varve_err
copy_text(char **out, const char *text, struct varve_error *err)
{
    size_t len = strlen(text);

    if (len > WMI_TEXT_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "a text of %zu bytes from WMI", len);
    }
    *out = malloc(len + 1);
    if (*out == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(*out, text, len + 1);
    return VARVE_OK;
}

enum varve_err
wmi_object_init(struct wmi_object *o, const char *path, const char *relpath, const char *class_name,
                struct varve_error *err)
{
    enum varve_err rc;

    memset(o, 0, sizeof(*o));
    rc = copy_text(&o->path, path, err);
    if (rc == VARVE_OK) {
        rc = copy_text(&o->relpath, relpath, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&o->class_name, class_name, err);
    }
    if (rc != VARVE_OK) {
        wmi_object_release(o);
    }
    return rc;
}

/* A new property without a value, at the end. */
static enum varve_err
add(struct wmi_object *o, const char *name, struct wmi_value **out, struct varve_error *err)
{
    struct wmi_property *p;
    char *copy = NULL;
    enum varve_err rc = copy_text(&copy, name, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (o->count == WMI_ARRAY_MAX) {
        free(copy);
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u properties", WMI_ARRAY_MAX);
    }
    p = realloc(o->properties, (o->count + 1) * sizeof(*p));
    if (p == NULL) {
        free(copy);
        return varve_error_nomem(err);
    }
    o->properties = p;
    p = &o->properties[o->count++];
    memset(p, 0, sizeof(*p));
    p->name = copy;
    *out = &p->value;
    return VARVE_OK;
}

enum varve_err
wmi_object_add_null(struct wmi_object *o, const char *name, struct varve_error *err)
{
    struct wmi_value *v = NULL;

    return add(o, name, &v, err);
}

enum varve_err
wmi_object_add_integer(struct wmi_object *o, const char *name, enum wmi_type type, int64_t integer,
                       struct varve_error *err)
{
    struct wmi_value *v = NULL;
    enum varve_err rc = add(o, name, &v, err);

    if (rc == VARVE_OK) {
        v->type = type;
        v->integer = integer;
    }
    return rc;
}

enum varve_err
wmi_object_add_text(struct wmi_object *o, const char *name, enum wmi_type type, const char *text,
                    struct varve_error *err)
{
    struct wmi_value *v = NULL;
    enum varve_err rc = add(o, name, &v, err);

    if (rc == VARVE_OK) {
        rc = copy_text(&v->text, text, err);
    }
    if (rc == VARVE_OK) {
        v->type = type;
    }
    return rc;
}

static enum varve_err
check_array(size_t n, struct varve_error *err)
{
    return n <= WMI_ARRAY_MAX
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_LIMIT, "an array of %zu elements from WMI", n);
}

enum varve_err
wmi_object_add_integers(struct wmi_object *o, const char *name, enum wmi_type type,
                        const int64_t *integers, size_t n, struct varve_error *err)
{
    struct wmi_value *v = NULL;
    enum varve_err rc = check_array(n, err);

    if (rc == VARVE_OK) {
        rc = add(o, name, &v, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    v->integers = calloc(n + 1, sizeof(*v->integers));
    if (v->integers == NULL) {
        return varve_error_nomem(err);
    }
    if (n > 0) {
        memcpy(v->integers, integers, n * sizeof(*v->integers));
    }
    v->type = type;
    v->is_array = true;
    v->count = n;
    return VARVE_OK;
}

enum varve_err
wmi_object_add_texts(struct wmi_object *o, const char *name, const char *const *texts, size_t n,
                     struct varve_error *err)
{
    struct wmi_value *v = NULL;
    enum varve_err rc = check_array(n, err);
    size_t i;

    if (rc == VARVE_OK) {
        rc = add(o, name, &v, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    v->texts = calloc(n + 1, sizeof(*v->texts));
    if (v->texts == NULL) {
        return varve_error_nomem(err);
    }
    v->type = WMI_STRING;
    v->is_array = true;
    for (i = 0; rc == VARVE_OK && i < n; i++) {
        rc = copy_text(&v->texts[i], texts[i], err);
        v->count = i + 1;
    }
    return rc;
}

enum varve_err
wmi_objects_take(struct wmi_objects *list, struct wmi_object *o, struct varve_error *err)
{
    struct wmi_object *items;

    if (list->count == WMI_OBJECTS_MAX) {
        wmi_object_release(o);
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u objects from WMI",
                               WMI_OBJECTS_MAX);
    }
    items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL) {
        wmi_object_release(o);
        return varve_error_nomem(err);
    }
    list->items = items;
    list->items[list->count++] = *o;
    memset(o, 0, sizeof(*o));
    return VARVE_OK;
}

/* ---- reading ---- */

bool
wmi_wanted(const char *const *names, const char *name)
{
    size_t i;

    for (i = 0; names != NULL && names[i] != NULL; i++) {
        if (utf8_same_name(names[i], name)) {
            return true;
        }
    }
    return names == NULL;
}

const struct wmi_value *
wmi_find(const struct wmi_object *o, const char *name)
{
    size_t i;

    for (i = 0; i < o->count; i++) {
        if (utf8_same_name(o->properties[i].name, name)) {
            return &o->properties[i].value;
        }
    }
    return NULL;
}

int64_t
wmi_integer_or(const struct wmi_object *o, const char *name, int64_t fallback)
{
    const struct wmi_value *v = wmi_find(o, name);

    return v != NULL && !v->is_array && v->type >= WMI_BOOL && v->type <= WMI_UINT64 ? v->integer
                                                                                     : fallback;
}

const char *
wmi_text_or(const struct wmi_object *o, const char *name, const char *fallback)
{
    const struct wmi_value *v = wmi_find(o, name);

    return v != NULL && !v->is_array && v->text != NULL ? v->text : fallback;
}

bool
wmi_true(const struct wmi_object *o, const char *name)
{
    return wmi_integer_or(o, name, 0) != 0;
}

size_t
wmi_count(const struct wmi_object *o, const char *name)
{
    const struct wmi_value *v = wmi_find(o, name);

    return v != NULL && v->is_array ? v->count : 0;
}

const char *
wmi_text_at(const struct wmi_object *o, const char *name, size_t i)
{
    const struct wmi_value *v = wmi_find(o, name);

    return v != NULL && v->is_array && v->texts != NULL && i < v->count ? v->texts[i] : NULL;
}

int64_t
wmi_integer_at(const struct wmi_object *o, const char *name, size_t i, int64_t fallback)
{
    const struct wmi_value *v = wmi_find(o, name);

    return v != NULL && v->is_array && v->integers != NULL && i < v->count ? v->integers[i]
                                                                           : fallback;
}
