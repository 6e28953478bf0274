/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "restore/names.h"

/* Names of a host, one a line, as names of a restore: whatever they are, every part is plain. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_parts(char *name)
{
    char *save = NULL;

    if (name[0] == '/' || strstr(name, "//") != NULL || name[strlen(name) - 1] == '/') {
        abort();
    }
    for (char *p = strtok_r(name, "/", &save); p != NULL; p = strtok_r(NULL, "/", &save)) {
        if (!path_is_plain_name(p) || strlen(p) > 255) {
            abort();
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char part[NAMES_PART_MAX + 1];
    struct varve_error err;
    struct names n;
    size_t at = 0;

    names_clean_part((const char *)data, size, "disk", part);
    if (!path_is_plain_name(part)) {
        abort();
    }
    names_strip_suffix(part);
    names_init(&n);
    for (unsigned lines = 0; at < size && lines < 64; lines++) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end == NULL ? size - at : (size_t)(end - (data + at));
        char *line = calloc(1, len + 1);
        char *name = NULL;

        if (line == NULL) {
            break;
        }
        memcpy(line, data + at, len);
        if (names_config(&n, "config", line, &name, &err) == VARVE_OK) {
            check_parts(name);
        }
        free(name);
        free(line);
        at += len + 1;
    }
    names_release(&n);
    return 0;
}
