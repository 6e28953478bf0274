/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

static void
print_options(FILE *out, const struct cli_option *o, size_t max)
{
    for (size_t i = 0; i < max && o[i].name != NULL; i++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "%s%s%s", o[i].name, o[i].value == NULL ? "" : " ",
                       o[i].value == NULL ? "" : o[i].value);
        (void)fprintf(out, "  %-24s %s\n", left, o[i].help);
    }
}

static void
print_global_options(FILE *out)
{
    (void)fprintf(out, "\nOptions of every command:\n");
    print_options(out, cli_global_options, SIZE_MAX);
}

static void
print_summary(FILE *out, const struct cli_command *c)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "%s %s", c->name, c->args);
    (void)fprintf(out, "  %-24s %s\n", left, c->summary);
}

void
cli_print_help(FILE *out)
{
    (void)fprintf(out, "usage: varve COMMAND [OPTION...]\n\nCommands:\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        print_summary(out, &cli_commands[i]);
    }
    print_global_options(out);
    (void)fprintf(out,
                  "\nA POINT is an id, its first characters, VM@latest, VM@latest~1 or VM@ID; a VM "
                  "or HOST is a\nname, an id or its first characters.  'varve help COMMAND' tells "
                  "more, varve(1) everything.\n");
}

static void
print_one(FILE *out, const struct cli_command *c)
{
    (void)fprintf(out, "usage: varve %s%s%s%s\n\n%s\n", c->name,
                  c->options[0].name == NULL ? "" : " [OPTION...]", c->args[0] == '\0' ? "" : " ",
                  c->args, c->summary);
    if (c->text[0] != '\0') {
        (void)fprintf(out, "\n%s\n", c->text);
    }
    if (c->options[0].name != NULL) {
        (void)fprintf(out, "\nOptions:\n");
        print_options(out, c->options, CLI_OPTIONS_MAX);
    }
    print_global_options(out);
}

enum varve_err
cli_print_command_help(FILE *out, char *const *words, size_t count, struct varve_error *err)
{
    char name[64];
    size_t len;
    bool found = false;

    (void)snprintf(name, sizeof(name), "%s%s%s", words[0], count > 1 ? " " : "",
                   count > 1 ? words[1] : "");
    len = strlen(name);
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            print_one(out, &cli_commands[i]);
            return VARVE_OK;
        }
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strncmp(cli_commands[i].name, name, len) == 0 && cli_commands[i].name[len] == ' ') {
            print_summary(out, &cli_commands[i]);
            found = true;
        }
    }
    return found ? VARVE_OK
                 : varve_error_set(err, VARVE_ERR_INVALID,
                                   "there is no command '%s': see 'varve help'", name);
}
