/* SPDX-License-Identifier: Apache-2.0 */
#include "wmi/cim_xml.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static enum varve_err
put(struct buf *b, const char *text, struct varve_error *err)
{
    return buf_append(b, text, strlen(text), err);
}

/* Control characters have no form in XML 1.0 and are left out. */
static enum varve_err
put_escaped(struct buf *b, const char *text, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (; rc == VARVE_OK && *text != '\0'; text++) {
        switch (*text) {
        case '<':
            rc = put(b, "&lt;", err);
            break;
        case '>':
            rc = put(b, "&gt;", err);
            break;
        case '&':
            rc = put(b, "&amp;", err);
            break;
        case '"':
            rc = put(b, "&quot;", err);
            break;
        case '\n':
            rc = put(b, "&#10;", err);
            break;
        case '\r':
            rc = put(b, "&#13;", err);
            break;
        default:
            if ((unsigned char)*text >= 0x20 || *text == '\t') {
                rc = buf_append(b, text, 1, err);
            }
        }
    }
    return rc;
}

static const char *
type_name(enum wmi_type type)
{
    switch (type) {
    case WMI_BOOL:
        return "boolean";
    case WMI_UINT8:
        return "uint8";
    case WMI_UINT16:
        return "uint16";
    case WMI_UINT32:
        return "uint32";
    case WMI_UINT64:
        return "uint64";
    case WMI_NULL:
    case WMI_STRING:
    case WMI_REF:
        break;
    }
    return "string";
}

static enum varve_err
put_value(struct buf *b, const char *text, struct varve_error *err)
{
    enum varve_err rc = put(b, "<VALUE>", err);

    if (rc == VARVE_OK) {
        rc = put_escaped(b, text, err);
    }
    return rc == VARVE_OK ? put(b, "</VALUE>", err) : rc;
}

static enum varve_err
put_head(struct buf *b, const char *element, const struct wmi_param *p, struct varve_error *err)
{
    enum varve_err rc = buf_printf(b, err, "<%s NAME=\"", element);

    if (rc == VARVE_OK) {
        rc = put_escaped(b, p->name, err);
    }
    return rc == VARVE_OK ? buf_printf(b, err, "\" TYPE=\"%s\">", type_name(p->type)) : rc;
}

static enum varve_err
put_array(struct buf *b, const struct wmi_param *p, struct varve_error *err)
{
    enum varve_err rc = put_head(b, "PROPERTY.ARRAY", p, err);
    size_t i;

    if (rc == VARVE_OK) {
        rc = put(b, "<VALUE.ARRAY>", err);
    }
    for (i = 0; rc == VARVE_OK && i < p->count; i++) {
        rc = put_value(b, p->texts[i], err);
    }
    return rc == VARVE_OK ? put(b, "</VALUE.ARRAY></PROPERTY.ARRAY>", err) : rc;
}

static enum varve_err
put_property(struct buf *b, const struct wmi_param *p, struct varve_error *err)
{
    enum varve_err rc;

    if (p->texts != NULL) {
        return put_array(b, p, err);
    }
    rc = put_head(b, "PROPERTY", p, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (p->type == WMI_BOOL) {
        rc = put_value(b, p->integer != 0 ? "TRUE" : "FALSE", err);
    } else if (p->type == WMI_STRING || p->type == WMI_REF) {
        rc = put_value(b, p->text, err);
    } else if (p->type != WMI_NULL) {
        rc = buf_printf(b, err, "<VALUE>%" PRId64 "</VALUE>", p->integer);
    }
    return rc == VARVE_OK ? put(b, "</PROPERTY>", err) : rc;
}

enum varve_err
cim_xml_write(const char *class_name, const struct wmi_param *properties, size_t count, char **xml,
              struct varve_error *err)
{
    struct buf b;
    enum varve_err rc;
    size_t i;

    buf_init(&b, CIM_XML_MAX);
    rc = put(&b, "<INSTANCE CLASSNAME=\"", err);
    if (rc == VARVE_OK) {
        rc = put_escaped(&b, class_name, err);
    }
    if (rc == VARVE_OK) {
        rc = put(&b, "\">", err);
    }
    for (i = 0; rc == VARVE_OK && i < count; i++) {
        rc = put_property(&b, &properties[i], err);
    }
    if (rc == VARVE_OK) {
        rc = buf_append(&b, "</INSTANCE>", sizeof("</INSTANCE>"), err); /* with the NUL */
    }
    if (rc == VARVE_OK) {
        *xml = (char *)b.data;
        b.data = NULL;
        buf_init(&b, 0);
    }
    buf_release(&b);
    return rc;
}
