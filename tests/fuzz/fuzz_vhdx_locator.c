/* SPDX-License-Identifier: Apache-2.0 */

/* The parent locator item of a VHDX: UTF-16 keys and values at offsets that the file gives; alone, then
 * as the item of a child that looks for its parent (image_part.h). */
#include <stdlib.h>
#include <string.h>

#include "fuzz/image_part.h"

#include "vhdx/vhdx_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parent_hint hint;
    struct varve_error err;
    unsigned i;

    memset(&hint, 0, sizeof(hint));
    if (vhdx_locator_parse(&hint, data, size, &err) == VARVE_OK && hint.id_count == 0) {
        abort();
    }
    for (i = 0; i < hint.path_count; i++) {
        const struct parent_path *p = &hint.paths[i];

        if ((p->text[0] == '/' && !p->here) || strlen(p->text) >= PARENT_PATH_SIZE) {
            abort();
        }
    }
    parent_hint_release(&hint);
    if (size > 0) {
        image_part_run(IMAGE_PART_LOCATOR, data, size);
    }
    return 0;
}
