/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_CIM_XML_H
#define VARVE_WMI_CIM_XML_H

#include <stddef.h>

#include "wmi/wmi_port.h"

/*
 * Embedded instances: one object as text, in parameters of methods and in what they answer.  The form is
 * the INSTANCE element of DSP0201 (CIM DTD 2.0):
 *
 *   <INSTANCE CLASSNAME="C"><PROPERTY NAME="P" TYPE="uint8"><VALUE>1</VALUE></PROPERTY>
 *   <PROPERTY.ARRAY NAME="A" TYPE="string"><VALUE.ARRAY><VALUE>x</VALUE></VALUE.ARRAY></PROPERTY.ARRAY>
 *   </INSTANCE>
 *
 * Own code, because what is needed of XML is this much, and because the system's service for it
 * (IWbemObjectTextSrc) exists neither in Wine nor on the machines where this is tested.
 */
#define CIM_XML_MAX        (1024u * 1024) /* bytes of text read */
#define CIM_XML_DEPTH      32u
#define CIM_XML_PROPERTIES 4096u

/* *xml ends with a NUL and is the caller's to free().  WMI_REF is written as a string. */
VARVE_CHECK enum varve_err cim_xml_write(const char *class_name, const struct wmi_param *properties,
                                         size_t count, char **xml, struct varve_error *err);

/*
 * The first INSTANCE of the text; its path and relpath are "".  Tolerant of what it does not know:
 * qualifiers, references, wrappers around the instance, declarations.  VARVE_ERR_PROTOCOL: no instance,
 * or not well-formed; VARVE_ERR_LIMIT.
 */
VARVE_CHECK enum varve_err cim_xml_read(const char *text, size_t len, struct wmi_object *out,
                                        struct varve_error *err);

#endif
