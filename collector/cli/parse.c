/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define WORD_MAX       64u /* longer words have no neighbours */
#define CANDIDATES_MAX 64u

/* Levenshtein distance; both at most WORD_MAX long. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t la = strlen(a);
    size_t lb = strlen(b);

    for (size_t j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[lb];
}

const char *
cli_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *core = word + strspn(word, "-"); /* dashes make nothing alike */
    size_t len = strlen(core);
    const char *best = NULL;
    size_t best_distance = len / 3 + 2; /* a slip of the finger or two, not another word */

    if (len > WORD_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const char *candidate = candidates[i] + strspn(candidates[i], "-");
        size_t d;

        if (strlen(candidate) > WORD_MAX) {
            continue;
        }
        if (len >= 2 && strncmp(candidate, core, len) == 0) {
            return candidates[i];
        }
        d = distance(core, candidate);
        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}

/* "vm list" begins with the word "vm". */
static bool
noun_is(const struct cli_command *c, const char *noun)
{
    size_t len = strlen(noun);

    return strncmp(c->name, noun, len) == 0 && (c->name[len] == '\0' || c->name[len] == ' ');
}

static bool
has_verb(const struct cli_command *c)
{
    return strchr(c->name, ' ') != NULL;
}

static enum varve_err
unknown_word(const char *noun, const char *word, struct varve_error *err)
{
    const char *candidates[CANDIDATES_MAX];
    char nouns[CANDIDATES_MAX][WORD_MAX];
    const char *near;
    size_t count = 0;

    for (size_t i = 0; i < cli_command_count && count < CANDIDATES_MAX; i++) {
        const char *name = cli_commands[i].name;
        size_t len = strcspn(name, " ");

        if (noun != NULL && (!noun_is(&cli_commands[i], noun) || !has_verb(&cli_commands[i]))) {
            continue;
        }
        if (noun != NULL) {
            candidates[count++] = name + len + 1;
        } else {
            memcpy(nouns[count], name, len);
            nouns[count][len] = '\0';
            candidates[count] = nouns[count];
            count++;
        }
    }
    near = cli_nearest(word, candidates, count);
    if (near != NULL) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "unknown command '%s%s%.64s': did you mean '%s%s%s'? See 'varve help'",
            noun == NULL ? "" : noun, noun == NULL ? "" : " ", word, noun == NULL ? "" : noun,
            noun == NULL ? "" : " ", near);
    }
    return varve_error_set(err, VARVE_ERR_INVALID, "unknown command '%s%s%.64s': see 'varve help'",
                           noun == NULL ? "" : noun, noun == NULL ? "" : " ", word);
}

static enum varve_err
verb_missing(const char *noun, struct varve_error *err)
{
    char list[128] = "";

    for (size_t i = 0; i < cli_command_count; i++) {
        if (noun_is(&cli_commands[i], noun) && has_verb(&cli_commands[i])) {
            if (list[0] != '\0') {
                strncat(list, ", ", sizeof(list) - strlen(list) - 1);
            }
            strncat(list, cli_commands[i].name, sizeof(list) - strlen(list) - 1);
        }
    }
    return varve_error_set(err, VARVE_ERR_INVALID, "'%s' needs a second word: %s", noun, list);
}

static enum varve_err
unknown_option(const struct cli *cli, const char *name, size_t len, struct varve_error *err)
{
    const char *candidates[CANDIDATES_MAX] = {NULL};
    char word[WORD_MAX + 1] = "";
    const char *near = NULL;
    size_t count = 0;

    for (size_t i = 0; cli->command != NULL && i < CLI_OPTIONS_MAX; i++) {
        if (cli->command->options[i].name != NULL) {
            candidates[count++] = cli->command->options[i].name;
        }
    }
    for (size_t i = 0; cli_global_options[i].name != NULL; i++) {
        candidates[count++] = cli_global_options[i].name;
    }
    if (len <= WORD_MAX) {
        memcpy(word, name, len);
        near = cli_nearest(word, candidates, count);
    }
    if (near != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "unknown option '%s': did you mean '%s'? See 'varve help%s%s'", word,
                               near, cli->command == NULL ? "" : " ",
                               cli->command == NULL ? "" : cli->command->name);
    }
    return varve_error_set(err, VARVE_ERR_INVALID, "unknown option '%.*s': see 'varve help%s%s'",
                           (int)(len < WORD_MAX ? len : WORD_MAX), name,
                           cli->command == NULL ? "" : " ",
                           cli->command == NULL ? "" : cli->command->name);
}

static bool
option_is(const struct cli_option *o, const char *name, size_t len)
{
    return o->name != NULL && strlen(o->name) == len && strncmp(o->name, name, len) == 0;
}

/* Where the value of a global option goes; "" stands for a flag that was given. */
static void
set_global(struct cli *cli, const struct cli_option *o, const char *value)
{
    if (strcmp(o->name, "--access") == 0) {
        cli->access = value;
    } else if (strcmp(o->name, "--json") == 0) {
        cli->json = true;
    } else if (strcmp(o->name, "--quiet") == 0) {
        cli->quiet = true;
    } else if (strcmp(o->name, "--bytes") == 0) {
        cli->bytes = true;
    } else if (strcmp(o->name, "--help") == 0) {
        cli->help = true;
    } else if (strcmp(o->name, "--version") == 0) {
        cli->version = true;
    }
}

/* argv[*i] is an option; *i moves over its value. */
static enum varve_err
parse_option(struct cli *cli, int argc, char **argv, int *i, struct varve_error *err)
{
    const char *word = argv[*i];
    size_t len = strcspn(word, "=");
    const char *value = word[len] == '=' ? word + len + 1 : NULL;
    const struct cli_option *found = NULL;
    size_t own = CLI_OPTIONS_MAX;

    if (strcmp(word, "-h") == 0) {
        cli->help = true;
        return VARVE_OK;
    }
    for (size_t k = 0; cli_global_options[k].name != NULL; k++) {
        if (option_is(&cli_global_options[k], word, len)) {
            found = &cli_global_options[k];
        }
    }
    for (size_t k = 0; found == NULL && cli->command != NULL && k < CLI_OPTIONS_MAX; k++) {
        if (option_is(&cli->command->options[k], word, len)) {
            found = &cli->command->options[k];
            own = k;
        }
    }
    if (found == NULL) {
        return unknown_option(cli, word, len, err);
    }
    if (found->value == NULL && value != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID, "option '%s' takes no value", found->name);
    }
    if (found->value != NULL && value == NULL) {
        if (*i + 1 >= argc) {
            return varve_error_set(err, VARVE_ERR_INVALID, "option '%s' needs a value: %s",
                                   found->name, found->value);
        }
        value = argv[++*i];
    }
    value = value == NULL ? "" : value;
    if (own < CLI_OPTIONS_MAX) {
        cli->values[own] = value;
    } else {
        set_global(cli, found, value);
    }
    return VARVE_OK;
}

/* One word that is no option: a part of the command's name, or an argument. */
/* "verify" is a command, and so is "verify status". */
static bool
longer_command(struct cli *cli, const char *word)
{
    size_t len = strlen(cli->command->name);

    for (size_t i = 0; cli->arg_count == 0 && i < cli_command_count; i++) {
        const char *name = cli_commands[i].name;

        if (strncmp(name, cli->command->name, len) == 0 && name[len] == ' ' &&
            strcmp(name + len + 1, word) == 0) {
            cli->command = &cli_commands[i];
            return true;
        }
    }
    return false;
}

static enum varve_err
parse_word(struct cli *cli, const char **noun, char *word, struct varve_error *err)
{
    bool noun_known = false;

    if (cli->command != NULL && longer_command(cli, word)) {
        return VARVE_OK;
    }
    if (cli->command != NULL) {
        cli->args[cli->arg_count++] = word;
        return VARVE_OK;
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];

        if (*noun == NULL && strcmp(c->name, word) == 0) {
            cli->command = c;
            return VARVE_OK;
        }
        if (*noun == NULL && noun_is(c, word)) {
            noun_known = true;
        }
        if (*noun != NULL && noun_is(c, *noun) && strcmp(c->name + strlen(*noun) + 1, word) == 0) {
            cli->command = c;
            return VARVE_OK;
        }
    }
    if (!noun_known) {
        return unknown_word(*noun, word, err);
    }
    *noun = word;
    return VARVE_OK;
}

static enum varve_err
check_args(const struct cli *cli, struct varve_error *err)
{
    const struct cli_command *c = cli->command;

    if (cli->arg_count > c->args_max) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' takes no '%.64s': see 'varve help %s'",
                               c->name, cli->args[c->args_max], c->name);
    }
    if (cli->arg_count < c->args_min) {
        return varve_error_set(err, VARVE_ERR_INVALID, "'%s' needs %s: see 'varve help %s'",
                               c->name, c->args, c->name);
    }
    for (size_t i = 0; i < cli->arg_count; i++) {
        if (cli->args[i][0] == '\0') {
            return varve_error_set(err, VARVE_ERR_INVALID, "an argument of '%s' is empty", c->name);
        }
    }
    return VARVE_OK;
}

enum varve_err
cli_parse(struct cli *out, int argc, char **argv, struct varve_error *err)
{
    const char *noun = NULL;
    bool options = true;
    enum varve_err rc = VARVE_OK;

    /* args may hold every word there is. */
    for (int i = 1; rc == VARVE_OK && i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = parse_option(out, argc, argv, &i, err);
        } else {
            rc = parse_word(out, &noun, argv[i], err);
        }
    }
    if (rc != VARVE_OK || out->version || out->help) {
        return rc;
    }
    if (out->command == NULL) {
        return noun != NULL
                   ? verb_missing(noun, err)
                   : varve_error_set(err, VARVE_ERR_INVALID, "no command: see 'varve help'");
    }
    return check_args(out, err);
}

const char *
cli_value(const struct cli *cli, const char *option)
{
    for (size_t i = 0; i < CLI_OPTIONS_MAX; i++) {
        if (option_is(&cli->command->options[i], option, strlen(option))) {
            return cli->values[i];
        }
    }
    return NULL;
}

enum varve_err
cli_number(struct cli *cli, const char *option, uint32_t *out, struct varve_error *err)
{
    const char *text = cli_value(cli, option);
    char *end = NULL;
    unsigned long n;

    if (text == NULL) {
        return VARVE_OK;
    }
    errno = 0;
    n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n > 100000) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s: '%.40s' is no number up to 100000",
                               option, text);
    }
    *out = (uint32_t)n;
    return VARVE_OK;
}

enum varve_err
cli_seconds(const char *text, const char *option, uint64_t *out, struct varve_error *err)
{
    static const char units[] = "smhd";
    static const uint32_t seconds[] = {1, 60, 3600, 86400};
    uint64_t n = 0;
    const char *p = text;
    const char *unit;

    while (*p >= '0' && *p <= '9' && n <= UINT32_MAX) {
        n = n * 10 + (uint64_t)(*p++ - '0');
    }
    unit = *p == '\0' ? NULL : strchr(units, *p);
    if (p == text || unit == NULL || p[1] != '\0') {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' is not a time for %s: write 90s, 30m, 24h or 7d", text,
                               option);
    }
    n = n > UINT32_MAX ? n : n * seconds[unit - units];
    if (n == 0 || n > UINT32_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s %.64s is out of range", option, text);
    }
    *out = n;
    return VARVE_OK;
}
