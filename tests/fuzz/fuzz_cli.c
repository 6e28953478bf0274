/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define TEXT_MAX  4096u
#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is a number, a time or a rate stays within its limits, whatever was typed. */
static void
read_values(struct cli *cli, char **words, int count)
{
    struct varve_error err;

    for (int i = 1; i < count; i++) {
        uint64_t value = 1;

        if (cli_seconds(words[i], "--age", &value, &err) == VARVE_OK &&
            (value == 0 || value > UINT32_MAX)) {
            abort();
        }
        (void)!cli_rate(words[i], &value, &err);
    }
    for (size_t i = 0; cli->command != NULL && i < CLI_OPTIONS_MAX; i++) {
        const struct cli_option *o = &cli->command->options[i];
        uint32_t number = 0;

        if (o->name == NULL) {
            break;
        }
        if (o->value != NULL && cli_number(cli, o->name, &number, &err) == VARVE_OK &&
            number > 100000) {
            abort();
        }
    }
}

/* A command line, one word a line. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + 1];
    char program[] = "varve";
    char *words[WORDS_MAX + 1] = {program};
    char *args[WORDS_MAX] = {NULL};
    struct cli cli = {.args = args};
    struct varve_error err;
    int count = 1;

    if (size > TEXT_MAX) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *p = text; p != NULL && count < WORDS_MAX; count++) {
        words[count] = p;
        p = strchr(p, '\n');
        if (p != NULL) {
            *p++ = '\0';
        }
    }
    (void)!cli_parse(&cli, count, words, &err);
    read_values(&cli, words, count);
    return 0;
}
