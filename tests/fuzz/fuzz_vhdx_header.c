/* SPDX-License-Identifier: Apache-2.0 */

/* The two headers of a VHDX with a parent (image_part.h). */
#include "fuzz/image_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    image_part_run(IMAGE_PART_HEADER, data, size);
    return 0;
}
