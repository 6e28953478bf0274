/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_PORT_WIRE_H
#define HVSIM_PORT_WIRE_H

#include <jansson.h>

#include "wmi/wmi_port.h"

/*
 * Values of the WMI port as JSON, between `hvsim ports` and the stand-ins (README.md, "Ports over a
 * connection"): {"name":"ElementName","type":6,"v":"web"}; type is enum wmi_type, v an integer, a text, an
 * array of one of them, or null.
 */

/* {"path":...,"relpath":...,"class":...,"properties":[...]}; never NULL but for want of memory. */
json_t *port_wire_object(const struct wmi_object *o);
/* VARVE_ERR_PROTOCOL; the caller releases *out. */
VARVE_CHECK enum varve_err port_wire_object_read(const json_t *j, struct wmi_object *out,
                                                 struct varve_error *err);

#define PORT_WIRE_PARAMS_MAX 16u
#define PORT_WIRE_ITEMS_MAX  16u

/* [in] parameters; texts are borrowed from the JSON. */
struct port_wire_params {
    struct wmi_param items[PORT_WIRE_PARAMS_MAX];
    const char *texts[PORT_WIRE_PARAMS_MAX][PORT_WIRE_ITEMS_MAX];
    size_t count;
};

VARVE_CHECK enum varve_err port_wire_params_read(const json_t *j, struct port_wire_params *out,
                                                 struct varve_error *err);

#endif
