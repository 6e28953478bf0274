/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define WORDS_MAX 12

struct words {
    char *argv[WORDS_MAX + 1];
    int argc;
    char *copy;
};

/* "vm list --json" as argv, divided at single blanks; '' stands for an empty word. */
static void
split(struct words *w, const char *line)
{
    char *save = NULL;

    memset(w, 0, sizeof(*w));
    w->copy = strdup(line);
    assert_non_null(w->copy);
    w->argv[w->argc++] = w->copy;
    for (char *p = strtok_r(w->copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
        assert_true(w->argc < WORDS_MAX);
        if (strcmp(p, "''") == 0) {
            p[0] = '\0';
        }
        w->argv[w->argc++] = p;
    }
}

static enum varve_err
parse(struct cli *cli, struct words *w, const char *line, struct varve_error *err)
{
    split(w, line);
    memset(cli, 0, sizeof(*cli));
    cli->args = calloc(WORDS_MAX, sizeof(*cli->args));
    assert_non_null(cli->args);
    return cli_parse(cli, w->argc, w->argv, err);
}

static void
release(struct cli *cli, struct words *w)
{
    free(cli->args);
    free(w->copy);
}

static void
what_is_wrong_is_named_with_the_way_out(void **state)
{
    static const struct {
        const char *line;
        const char *say; /* all of the message */
    } cases[] = {
        {"", "no command: see 'varve help'"},
        {"frobnicate", "unknown command 'frobnicate': see 'varve help'"},
        {"stauts", "unknown command 'stauts': did you mean 'status'? See 'varve help'"},
        {"vm lst", "unknown command 'vm lst': did you mean 'vm list'? See 'varve help'"},
        {"point frobnicate", "unknown command 'point frobnicate': see 'varve help'"},
        {"host", "'host' needs a second word: host invite, host list, host revoke, host move"},
        {"status --frob", "unknown option '--frob': see 'varve help status'"},
        {"--jsno status", "unknown option '--jsno': did you mean '--json'? See 'varve help'"},
        {"restore --fromat raw a b",
         "unknown option '--fromat': did you mean '--format'? See 'varve help restore'"},
        {"vm list --json=yes", "option '--json' takes no value"},
        {"restore a b --format", "option '--format' needs a value: vhdx|vhdx-fixed|vhd|raw|chain"},
        {"vm list extra", "'vm list' takes no 'extra': see 'varve help vm list'"},
        {"restore a", "'restore' needs POINT TO: see 'varve help restore'"},
        {"point show", "'point show' needs POINT: see 'varve help point show'"},
        {"vm show ''", "an argument of 'vm show' is empty"},
        {"-x status", "unknown option '-x': see 'varve help'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err;
        struct words w;
        struct cli cli;

        assert_err(parse(&cli, &w, cases[i].line, &err), VARVE_ERR_INVALID, &err);
        assert_string_equal(err.msg, cases[i].say);
        release(&cli, &w);
    }
}

static void
options_stand_anywhere_and_take_values_in_two_ways(void **state)
{
    static const char *const lines[] = {
        "--quiet --access f restore p t --format raw",
        "restore --format=raw p --quiet t --access=f",
        "restore --access f --format raw --quiet -- p t",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct varve_error err;
        struct words w;
        struct cli cli;

        assert_ok(parse(&cli, &w, lines[i], &err), &err);
        assert_string_equal(cli.command->name, "restore");
        assert_string_equal(cli_value(&cli, "--format"), "raw");
        assert_null(cli_value(&cli, "--base"));
        assert_string_equal(cli.access, "f");
        assert_true(cli.quiet && !cli.json);
        assert_int_equal(cli.arg_count, 2);
        assert_string_equal(cli.args[0], "p");
        assert_string_equal(cli.args[1], "t");
        release(&cli, &w);
    }
}

static void
words_behind_two_dashes_are_arguments(void **state)
{
    struct varve_error err;
    struct words w;
    struct cli cli;

    (void)state;
    assert_ok(parse(&cli, &w, "vm show -- --json", &err), &err);
    assert_false(cli.json);
    assert_string_equal(cli.args[0], "--json");
    release(&cli, &w);
}

static void
help_and_version_need_no_arguments(void **state)
{
    struct varve_error err;
    struct words w;
    struct cli cli;

    (void)state;
    assert_ok(parse(&cli, &w, "restore --help", &err), &err);
    assert_true(cli.help);
    release(&cli, &w);
    assert_ok(parse(&cli, &w, "--version", &err), &err);
    assert_true(cli.version);
    release(&cli, &w);
}

static void
nearest_word_is_one_that_could_be_meant(void **state)
{
    static const char *const words[] = {"list", "show", "restore"};

    (void)state;
    assert_string_equal(cli_nearest("lst", words, 3), "list");
    assert_string_equal(cli_nearest("resotre", words, 3), "restore");
    assert_string_equal(cli_nearest("rest", words, 3), "restore");
    assert_null(cli_nearest("frobnicate", words, 3));
    assert_null(cli_nearest("", words, 3));
}

static void
exit_codes_are_those_of_the_manual(void **state)
{
    static const struct {
        enum varve_err code;
        int exit;
        int unreachable_exit;
    } cases[] = {
        {VARVE_OK, 0, 0},          {VARVE_ERR_NOMEM, 1, 1},
        {VARVE_ERR_INVALID, 2, 6}, {VARVE_ERR_NOT_FOUND, 3, 6},
        {VARVE_ERR_EXISTS, 4, 6},  {VARVE_ERR_BUSY, 1, 6},
        {VARVE_ERR_DENIED, 5, 5},  {VARVE_ERR_AUTH, 5, 5},
        {VARVE_ERR_TIMEOUT, 1, 6}, {VARVE_ERR_CANCELLED, 1, 1},
        {VARVE_ERR_NOSPACE, 7, 6}, {VARVE_ERR_IO, 1, 6},
        {VARVE_ERR_CORRUPT, 8, 6}, {VARVE_ERR_PROTOCOL, 1, 6},
        {VARVE_ERR_STALE, 1, 6},   {VARVE_ERR_CLOSED, 1, 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(varve_exit_of(cases[i].code, false), cases[i].exit);
        assert_int_equal(varve_exit_of(cases[i].code, true), cases[i].unreachable_exit);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_named_with_the_way_out),
        cmocka_unit_test(options_stand_anywhere_and_take_values_in_two_ways),
        cmocka_unit_test(words_behind_two_dashes_are_arguments),
        cmocka_unit_test(help_and_version_need_no_arguments),
        cmocka_unit_test(nearest_word_is_one_that_could_be_meant),
        cmocka_unit_test(exit_codes_are_those_of_the_manual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
