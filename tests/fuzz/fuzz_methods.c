/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "capture/choice/choice.h"

/* The host's orders for single vms, as agent.conf has them. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_bare(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && strchr(" \t", text[0]) == NULL && strchr(" \t", text[len - 1]) == NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct choice_rule *rules = NULL;
    struct varve_error err;
    size_t count = 0;
    char *text = calloc(1, size + 1);

    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    if (choice_rules_parse(&rules, &count, text, &err) == VARVE_OK) {
        if (count == 0 || count > CHOICE_RULES_MAX) {
            abort();
        }
        for (size_t i = 0; i < count; i++) {
            if (!is_bare(rules[i].vm) || !is_bare(rules[i].method) ||
                strchr(rules[i].method, ':') != NULL) {
                abort();
            }
        }
    }
    free(rules);
    free(text);
    return 0;
}
