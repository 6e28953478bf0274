/* SPDX-License-Identifier: Apache-2.0 */

/* Documents of VSS, as writers and the service give them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vss/vss_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct guid writer = {{0x66, 0x84, 0x1c, 0xd4, 0x6d, 0xed, 0x4f, 0x4b, 0x8f, 0x17, 0xfd,
                                 0x23, 0xf8, 0xdd, 0xc3, 0xde}};
    struct vss_metadata m;
    struct varve_error err;
    bool has = false;
    size_t i;

    if (vss_metadata_read(&m, (const char *)data, size, &err) == VARVE_OK) {
        for (i = 0; i < m.count; i++) {
            if (m.components[i].name[0] == '\0' || m.components[i].caption == NULL) {
                abort();
            }
        }
        vss_metadata_release(&m);
    }
    if (vss_document_has((const char *)data, size, &writer, "a", &has, &err) != VARVE_OK && has) {
        abort();
    }
    return 0;
}
