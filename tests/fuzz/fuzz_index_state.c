/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "index/index_state.h"

#define TEXT_MAX 255u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An index is trusted after few unclean ends of this boot, or a clean one; else there are none to be counted. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const boots[] = {"", "boot-1"};
    char text[TEXT_MAX + 1];

    if (size > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < 2; i++) {
        unsigned ends = 9;
        bool trusted = index_state_decode(text, "fuzz", boots[i], &ends);

        if (ends >= INDEX_UNCLEAN_ENDS_MAX || (!trusted && ends != 0) ||
            (trusted && boots[i][0] == '\0' && ends != 0)) {
            abort();
        }
    }
    return 0;
}
