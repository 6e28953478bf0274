/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "capture/choice/choice.h"

static bool
is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* Without the blanks around it. */
static char *
trim(char *text)
{
    size_t len;

    while (is_blank(*text)) {
        text++;
    }
    len = strlen(text);
    while (len > 0 && is_blank(text[len - 1])) {
        text[--len] = '\0';
    }
    return text;
}

static enum varve_err
parse_rule(struct choice_rule *out, char *text, struct varve_error *err)
{
    char *colon = strrchr(text, ':');

    if (colon != NULL) {
        *colon = '\0';
        out->vm = trim(text);
        out->method = trim(colon + 1);
    }
    if (colon == NULL || out->vm[0] == '\0' || out->method[0] == '\0') {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.80s' is no machine and method ('NAME-OR-ID: METHOD')", text);
    }
    return VARVE_OK;
}

enum varve_err
choice_rules_parse(struct choice_rule **rules, size_t *count, char *text, struct varve_error *err)
{
    struct choice_rule *list;
    size_t n = 0;
    enum varve_err rc = VARVE_OK;

    *rules = NULL;
    *count = 0;
    if (text == NULL) {
        return VARVE_OK;
    }
    list = calloc(CHOICE_RULES_MAX, sizeof(*list));
    if (list == NULL) {
        return varve_error_nomem(err);
    }
    while (rc == VARVE_OK && text != NULL) {
        char *comma = strchr(text, ',');

        if (comma != NULL) {
            *comma = '\0';
        }
        rc = n < CHOICE_RULES_MAX
                 ? parse_rule(&list[n], text, err)
                 : varve_error_set(err, VARVE_ERR_LIMIT,
                                   "more than %u machines with a method of their own",
                                   CHOICE_RULES_MAX);
        n++;
        text = comma != NULL ? comma + 1 : NULL;
    }
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *rules = list;
    *count = n;
    return VARVE_OK;
}
