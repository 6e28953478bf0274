/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_WMI_PORT_H
#define VARVE_WMI_WMI_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * WMI as this agent uses it: one namespace of one host, objects as plain values.  Everything that
 * decides something (which object, which order, waiting for jobs, connecting again) stands above
 * this port and runs on every system; a member only translates.  Members: win_wmi (COM, Windows),
 * wmi_fake of the simulated host (tests/hvsim).
 *
 * Texts are UTF-8, all integers are int64_t.  What a call gives is a copy and the caller's to release:
 * no handle of WMI lives longer than the call.
 *
 * Errors: err->native is the HRESULT and err->source VARVE_SRC_HRESULT; the code follows from the
 * number by hresult_code() (wmi/hresult.h).  What callers act on:
 *   VARVE_ERR_NOT_FOUND    no such object or class, or the class has no such property
 *   VARVE_ERR_UNSUPPORTED  no such namespace (0x8004100E, and no other number): the Hyper-V role is not installed, or
 *                          the host is in no cluster
 *   VARVE_ERR_CLOSED       the connection is gone (VMMS restarted): connect() and ask again
 *   VARVE_ERR_TIMEOUT      no answer within timeout_ms; the call may still be carried out
 *   VARVE_ERR_DENIED       not elevated
 * A ReturnValue other than 0 is no error of the port: it is in struct wmi_result.
 *
 * Threads: calls from many threads at once (win_wmi enters the multithreaded apartment on each
 * thread that comes); close() when nobody is inside.
 */

#define WMI_OBJECTS_MAX 65536u
#define WMI_ARRAY_MAX   65536u
#define WMI_TEXT_MAX    (4u * 1024 * 1024) /* bytes of one text */

enum wmi_type {
    WMI_NULL = 0, /* a property that is there and has no value */
    WMI_BOOL,     /* integer 0 or 1; VT_BOOL */
    WMI_UINT8,    /* VT_UI1 */
    WMI_UINT16,   /* VT_I4, as uint32 */
    WMI_UINT32,   /* VT_I4; also what any other integer comes back as */
    WMI_UINT64,   /* VT_BSTR, decimal */
    WMI_STRING,   /* VT_BSTR; datetime too */
    WMI_REF       /* VT_BSTR: the __PATH of an object */
};

/* One value; with is_array `count` of them, in `integers` or in `texts`, by type. */
struct wmi_value {
    enum wmi_type type; /* of the elements; WMI_NULL: none of the below */
    bool is_array;
    int64_t integer;
    char *text;
    int64_t *integers;
    char **texts;
    size_t count;
};

struct wmi_property {
    char *name;
    struct wmi_value value;
};

struct wmi_object {
    char *path;       /* __PATH: names the host, changes when the vm moves: never kept */
    char *relpath;    /* __RELPATH */
    char *class_name; /* __CLASS */
    struct wmi_property *properties;
    size_t count;
};

struct wmi_objects {
    struct wmi_object *items;
    size_t count;
};

/* What a method answered. */
struct wmi_result {
    int64_t return_value;
    struct wmi_object
        out; /* its [out] parameters as properties; path, relpath and class are NULL */
};

/* An [in] parameter: borrowed.  A parameter that is not given stays NULL on the other side. */
struct wmi_param {
    const char *name;
    enum wmi_type type; /* WMI_BOOL .. WMI_REF */
    int64_t integer;
    const char *text;
    const char *const *texts; /* not NULL: a string array of `count` */
    size_t count;
};

struct wmi_port;

struct wmi_port_ops {
    void (*close)(struct wmi_port *p);

    /* Connects, also after VARVE_ERR_CLOSED; calls of other threads then use the new connection. */
    enum varve_err (*connect)(struct wmi_port *p, struct varve_error *err);

    /* All objects that the WQL names, ASSOCIATORS OF included.  `names` (NULL: all) lists the wanted
     * properties, ends with NULL; those a class has not are left out.  More than WMI_OBJECTS_MAX is
     * VARVE_ERR_LIMIT.  No object is an empty list. */
    enum varve_err (*query)(struct wmi_port *p, const char *wql, const char *const *names,
                            struct wmi_objects *out, struct varve_error *err);

    /* One object by its path, absolute or relative. */
    enum varve_err (*get)(struct wmi_port *p, const char *path, const char *const *names,
                          struct wmi_object *out, struct varve_error *err);

    /* Whether the class is there and has the property (NULL: only the class). */
    enum varve_err (*class_has)(struct wmi_port *p, const char *class_name, const char *property,
                                bool *out, struct varve_error *err);

    /* Calls a method of an instance.  The parameters' signature comes from the class. */
    enum varve_err (*exec)(struct wmi_port *p, const char *object_path, const char *method,
                           const struct wmi_param *params, size_t count, struct wmi_result *out,
                           struct varve_error *err);

    /* An instance as the text that an embedded-instance parameter takes, made by the system
     * (IWbemObjectTextSrc, CIM DTD 2.0).  *xml is the caller's to free().  VARVE_ERR_UNSUPPORTED:
     * the system has no such service; cim_xml_write() is used then.  May be NULL. */
    enum varve_err (*embed)(struct wmi_port *p, const char *class_name,
                            const struct wmi_param *properties, size_t count, char **xml,
                            struct varve_error *err);
};

struct wmi_port {
    const struct wmi_port_ops *ops;
    uint32_t timeout_ms; /* of each call; set by whoever opened the port, then constant */
};

#define WMI_CALL_MS 60000u

void wmi_port_close(struct wmi_port *p); /* NULL is fine */

/* ---- values: wmi_value.c ---- */

void wmi_object_release(struct wmi_object *o);
void wmi_objects_release(struct wmi_objects *o);
void wmi_result_release(struct wmi_result *r);

/* For members: builds an object; texts are copied.  VARVE_ERR_LIMIT past the limits above. */
VARVE_CHECK enum varve_err wmi_object_init(struct wmi_object *o, const char *path,
                                           const char *relpath, const char *class_name,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err wmi_object_add_null(struct wmi_object *o, const char *name,
                                               struct varve_error *err);
VARVE_CHECK enum varve_err wmi_object_add_integer(struct wmi_object *o, const char *name,
                                                  enum wmi_type type, int64_t v,
                                                  struct varve_error *err);
VARVE_CHECK enum varve_err wmi_object_add_text(struct wmi_object *o, const char *name,
                                               enum wmi_type type, const char *text,
                                               struct varve_error *err);
VARVE_CHECK enum varve_err wmi_object_add_integers(struct wmi_object *o, const char *name,
                                                   enum wmi_type type, const int64_t *v, size_t n,
                                                   struct varve_error *err);
VARVE_CHECK enum varve_err wmi_object_add_texts(struct wmi_object *o, const char *name,
                                                const char *const *v, size_t n,
                                                struct varve_error *err);
/* Takes what *o holds, also when it fails. */
VARVE_CHECK enum varve_err wmi_objects_take(struct wmi_objects *list, struct wmi_object *o,
                                            struct varve_error *err);
/* Whether `names` (see query()) wants the property. */
bool wmi_wanted(const char *const *names, const char *name);

/* For readers: names are compared without case, as WMI does.  NULL when it is not there. */
const struct wmi_value *wmi_find(const struct wmi_object *o, const char *name);
/* What is not there, has no value or is of another kind is the fallback. */
int64_t wmi_integer_or(const struct wmi_object *o, const char *name, int64_t fallback);
const char *wmi_text_or(const struct wmi_object *o, const char *name, const char *fallback);
bool wmi_true(const struct wmi_object *o, const char *name);
/* Elements of an array property; 0 and NULL when there is none. */
size_t wmi_count(const struct wmi_object *o, const char *name);
const char *wmi_text_at(const struct wmi_object *o, const char *name, size_t i);
int64_t wmi_integer_at(const struct wmi_object *o, const char *name, size_t i, int64_t fallback);

#endif
