/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/call_contract.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "hvsim/sim_base.h"

#define TEXT_MAX ((size_t)64 * 1024)

static void
append(char *text, const char *more)
{
    size_t len = strlen(text);

    assert_true(len + strlen(more) < TEXT_MAX);
    memcpy(text + len, more, strlen(more) + 1);
}

/* One line of the file; *depth counts groups that are open. */
static void
add_line(char *regex, char *line, size_t disks, int *depth)
{
    char times[16];
    char *sign = line + strlen(line) - 1;

    (void)snprintf(times, sizeof(times), "{%zu}", disks);
    if (strcmp(line, "(") == 0) {
        append(regex, "(");
        (*depth)++;
    } else if (line[0] == ')') {
        append(regex, strcmp(line, ") +") == 0 ? ")+" : ")");
        append(regex, strcmp(line, ") disks") == 0 ? times : "");
        (*depth)--;
    } else {
        bool repeats = sign - line > 2 && sign[-1] == ' ' && strchr("+?*", *sign) != NULL;
        char suffix[2] = {repeats ? *sign : '\0', '\0'};

        if (repeats) {
            sign[-1] = '\0';
        }
        append(regex, "(");
        for (const char *p = line; *p != '\0'; p++) {
            char c[3] = {'\\', *p, '\0'};

            append(regex, *p == '.' ? c : c + 1);
        }
        append(regex, ";)");
        append(regex, suffix);
    }
}

static bool
matches(const char *regex, const char *end, const char *text)
{
    char *whole = sim_printf("^%s%s", regex, end);
    regex_t r;
    bool yes;

    assert_int_equal(regcomp(&r, whole, REG_EXTENDED | REG_NOSUB), 0);
    yes = regexec(&r, text, 0, NULL, 0) == 0;
    regfree(&r);
    free(whole);
    return yes;
}

static void
print(const char *calls)
{
    for (const char *p = calls; *p != '\0'; p++) {
        print_error("%c", *p == ';' ? '\n' : *p);
    }
}

void
call_contract_check(const char *path, size_t disks, const char (*log)[96], size_t count)
{
    char *regex = sim_alloc(TEXT_MAX);
    char *text = sim_alloc(TEXT_MAX);
    char line[256];
    unsigned good = 0;
    unsigned n = 0;
    int depth = 0;
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    for (size_t i = 0; i < count; i++) {
        append(text, log[i]);
        append(text, ";");
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        assert_non_null(strchr(line, '\n'));
        line[strcspn(line, "\n")] = '\0';
        n++;
        if (line[0] == '\0' || line[0] == '#') {
            continue;
        }
        add_line(regex, line, disks, &depth);
        if (depth == 0 && matches(regex, "", text)) {
            good = n;
        }
    }
    (void)fclose(f);
    assert_int_equal(depth, 0);
    if (!matches(regex, "$", text)) {
        print(text);
        fail_msg("they are those of '%s' up to its line %u of %u", path, good, n);
    }
    free(regex);
    free(text);
}
