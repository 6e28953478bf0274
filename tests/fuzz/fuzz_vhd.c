/* SPDX-License-Identifier: Apache-2.0 */

/* Footers, dynamic header, locators and block table of a VHD (image_part.h). */
#include "fuzz/image_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    image_part_run(IMAGE_PART_VHD, data, size);
    return 0;
}
