/* SPDX-License-Identifier: Apache-2.0 */

/* A VHDX's log: entries that are right each for itself, in any arrangement (image_part.h). */
#include "fuzz/image_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    image_part_run(IMAGE_PART_LOG, data, size);
    return 0;
}
