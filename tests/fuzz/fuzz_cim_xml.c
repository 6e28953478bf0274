/* SPDX-License-Identifier: Apache-2.0 */

/* Embedded instances, as WMI answers them. */
#include <stdint.h>
#include <stdlib.h>

#include "wmi/cim_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wmi_object o;
    struct varve_error err;

    if (cim_xml_read((const char *)data, size, &o, &err) == VARVE_OK) {
        if (o.class_name == NULL || o.count > CIM_XML_PROPERTIES) {
            abort();
        }
        wmi_object_release(&o);
    }
    return 0;
}
