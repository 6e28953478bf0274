/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "index/index_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The header as it is and with a right checksum; eight bytes before it are the size of its file. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_filter_header h;
    uint8_t in[INDEX_FILTER_HEADER];
    struct varve_error err;

    if (size < 8 + sizeof(in)) {
        return 0;
    }
    memcpy(in, data + 8, sizeof(in));
    (void)!index_filter_header_decode(&h, in, get_le64(data), &err);
    put_le32(in + 92, crc32c(in, 92));
    if (index_filter_header_decode(&h, in, get_le64(data), &err) == VARVE_OK) {
        uint64_t bytes = INDEX_FILTER_HEADER;

        for (uint32_t i = 0; i < h.layers; i++) {
            bytes += (h.capacity[i] * 12 / 256 + 1) * 32;
        }
        if (h.layers == 0 || h.layers > INDEX_FILTER_SAVED || bytes != get_le64(data)) {
            abort();
        }
    }
    return 0;
}
