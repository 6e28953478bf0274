/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "os/file_mem.h"

struct values {
    char *collector;
    char *state;
    bool once;
    uint64_t pool;
    uint64_t wait;
    int64_t threads;
    unsigned level;
};

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

static const struct conf_option options[] = {
    {.name = "collector",
     .type = CONF_STRING,
     .value = "URL",
     .min = 1,
     .required = true,
     .at = offsetof(struct values, collector),
     .help = "Where the collector listens."},
    {.name = "state",
     .type = CONF_STRING,
     .value = "FOLDER",
     .initial = "/var/lib/varve",
     .min = 1,
     .max = 20,
     .at = offsetof(struct values, state),
     .help = "Where state_files are kept."},
    {.name = "once",
     .type = CONF_BOOL,
     .only_command_line = true,
     .at = offsetof(struct values, once),
     .help = "End after the first session."},
    {.name = "pump.pool",
     .type = CONF_SIZE,
     .initial = "32MiB",
     .min = 4 << 20,
     .max = 1 << 30,
     .at = offsetof(struct values, pool),
     .help = "Memory for chunks on their way, in all runs together; reading waits for it, so that "
             "nothing can grow beyond."},
    {.name = "pump.threads",
     .type = CONF_INTEGER,
     .initial = "0",
     .max = 64,
     .unit = "threads",
     .at = offsetof(struct values, threads),
     .help = "Hashers; 0: one per processor."},
    {.name = "reconnect-wait",
     .type = CONF_DURATION,
     .initial = "30s",
     .min = 1000,
     .at = offsetof(struct values, wait),
     .help = "How long to wait before dialing again."},
    {.name = "log",
     .type = CONF_ENUM,
     .initial = "info",
     .choices = levels,
     .at = offsetof(struct values, level),
     .help = "What is logged."},
};

static const struct conf_program program = {
    .name = "varve-test",
    .version = "1.2.3",
    .summary = "Tests the options.",
    .usage = "[OPTION...] [WORD...]",
    .file = "/etc/varve/test.conf",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

/* ---- helpers ---- */

#define ARGS_MAX 16

/* conf_load() with these words; the file is what file_text says, or absent when it is NULL. */
static enum varve_err
load(struct values *v, struct conf_args *args, const char *file_text, const char *const *words,
     struct varve_error *err)
{
    static char storage[ARGS_MAX][128]; /* positional words point in here */
    static char name[] = "varve-test";
    char *argv[ARGS_MAX] = {name};
    struct mem_fs *mem = NULL;
    struct varve_error fs_err;
    enum varve_err rc;
    int argc = 1;

    for (; words != NULL && words[argc - 1] != NULL; argc++) {
        assert_true(argc < ARGS_MAX && strlen(words[argc - 1]) < sizeof(storage[0]));
        argv[argc] = memcpy(storage[argc], words[argc - 1], strlen(words[argc - 1]) + 1);
    }
    assert_ok(mem_fs_new(&mem, &fs_err), &fs_err);
    assert_ok(fs_mkdir_parents(mem_fs(mem), "/etc/varve", &fs_err), &fs_err);
    if (file_text != NULL) {
        assert_ok(fs_write_durable(mem_fs(mem), program.file, file_text, strlen(file_text), true,
                                   &fs_err),
                  &fs_err);
    }
    assert_ok(fs_write_durable(mem_fs(mem), "/other.conf", "log = warn\n", 11, true, &fs_err),
              &fs_err);
    rc = conf_load(&program, v, args, argc, argv, mem_fs(mem), err);
    mem_fs_free(mem);
    return rc;
}

static void
load_ok(struct values *v, const char *file_text, const char *const *words)
{
    struct conf_args args;
    struct varve_error err;

    assert_ok(load(v, &args, file_text, words, &err), &err);
    assert_null(args.print);
    assert_int_equal(args.positional_count, 0);
    conf_args_release(&args);
}

static void
load_fails(const char *file_text, const char *const *words, const char *message)
{
    struct conf_args args;
    struct varve_error err;
    struct values v;

    assert_err(load(&v, &args, file_text, words, &err), VARVE_ERR_INVALID, &err);
    assert_string_equal(err.msg, message);
    assert_null(args.print);
    assert_null(args.positional);
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* ---- where values come from ---- */

static void
the_table_then_the_file_then_the_command_line(void **state)
{
    struct values v;

    (void)state;
    load_ok(&v, NULL, WORDS("--collector", "tcp://a:1"));
    assert_string_equal(v.collector, "tcp://a:1");
    assert_string_equal(v.state, "/var/lib/varve");
    assert_false(v.once);
    assert_true(v.pool == 32 << 20);
    assert_true(v.threads == 0);
    assert_true(v.wait == 30000);
    assert_int_equal(v.level, 2);
    conf_release(&program, &v);

    load_ok(&v,
            "# our agent\n"
            "collector = tcp://b:2 ; by name later\n"
            "\n"
            "; sections are only prefixes\n"
            "log=debug\n"
            "  reconnect-wait = 2m\n"
            "[pump]\n"
            "pool = 8 MiB\n"
            "threads = 3",
            WORDS("--pump.pool=1GiB", "--once"));
    assert_string_equal(v.collector, "tcp://b:2");
    assert_true(v.once);
    assert_true(v.pool == 1 << 30);
    assert_true(v.threads == 3);
    assert_true(v.wait == 120000);
    assert_int_equal(v.level, 3);
    conf_release(&program, &v);
}

static void
a_named_file_replaces_the_default_one_and_must_be_there(void **state)
{
    struct conf_args args;
    struct varve_error err;
    struct values v;

    (void)state;
    load_ok(&v, "log = debug\n", WORDS("--config", "/other.conf", "--collector=x"));
    assert_int_equal(v.level, 1);
    conf_release(&program, &v);
    assert_err(load(&v, &args, NULL, WORDS("--config=/none.conf"), &err), VARVE_ERR_INVALID, &err);
    assert_string_equal(err.msg,
                        "configuration file: opening '/none.conf': No such file or directory");
}

static void
positional_words_keep_their_order(void **state)
{
    struct conf_args args;
    struct varve_error err;
    struct values v;

    (void)state;
    assert_ok(load(&v, &args, NULL,
                   WORDS("enroll", "--collector", "x", "TOKEN", "-", "--", "--once", "-x"), &err),
              &err);
    assert_int_equal(args.positional_count, 5);
    assert_string_equal(args.positional[0], "enroll");
    assert_string_equal(args.positional[1], "TOKEN");
    assert_string_equal(args.positional[2], "-");
    assert_string_equal(args.positional[3], "--once");
    assert_string_equal(args.positional[4], "-x");
    assert_false(v.once);
    conf_release(&program, &v);
    conf_args_release(&args);
}

/* ---- values ---- */

static void
values_are_read_with_their_units(void **state)
{
    static const struct {
        const char *pool;
        uint64_t bytes;
    } sizes[] = {
        {"4194304", 4 << 20},
        {"4096KiB", 4 << 20},
        {"4MiB", 4 << 20},
        {"1 GiB", 1 << 30},
    };
    static const struct {
        const char *wait;
        uint64_t ms;
    } durations[] = {
        {"1000ms", 1000}, {"1s", 1000}, {"90m", 5400000}, {"24h", 86400000}, {"1d", 86400000},
    };
    static const struct {
        const char *text;
        bool value;
    } bools[] = {
        {"yes", true},  {"no", false},  {"on", true},
        {"off", false}, {"true", true}, {"false", false},
    };
    struct values v;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        load_ok(&v, NULL, WORDS("--collector=x", "--pump.pool", sizes[i].pool));
        assert_true(v.pool == sizes[i].bytes);
        conf_release(&program, &v);
    }
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        load_ok(&v, NULL, WORDS("--collector=x", "--reconnect-wait", durations[i].wait));
        assert_true(v.wait == durations[i].ms);
        conf_release(&program, &v);
    }
    for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++) {
        char word[16];

        (void)snprintf(word, sizeof(word), "--once=%s", bools[i].text);
        load_ok(&v, NULL, WORDS("--collector=x", word));
        assert_int_equal(v.once, bools[i].value);
        conf_release(&program, &v);
    }
}

static void
a_bad_value_names_the_place_the_option_and_the_way_out(void **state)
{
    static const struct {
        const char *file;
        const char *message;
    } cases[] = {
        {"pump.pool = 2MiB",
         "/etc/varve/test.conf:1: 'pump.pool' cannot be '2MiB': it must be 4 MiB to 1 GiB"},
        {"\n\n[pump]\npool = 2GiB",
         "/etc/varve/test.conf:4: 'pump.pool' cannot be '2GiB': it must be 4 MiB to 1 GiB"},
        {"pump.pool = 8M", "/etc/varve/test.conf:1: 'pump.pool' cannot be '8M': write a whole "
                           "number of bytes, or one with KiB, MiB, GiB or TiB"},
        {"pump.pool = -8MiB", "/etc/varve/test.conf:1: 'pump.pool' cannot be '-8MiB': write a "
                              "whole number of bytes, or one with KiB, MiB, GiB or TiB"},
        {"pump.pool = 18446744073709551615TiB",
         "/etc/varve/test.conf:1: 'pump.pool' cannot be '18446744073709551615TiB': write a whole "
         "number of bytes, or one with KiB, MiB, GiB or TiB"},
        {"reconnect-wait = 30",
         "/etc/varve/test.conf:1: 'reconnect-wait' cannot be '30': write a whole number with ms, "
         "s, m, h or d"},
        {"reconnect-wait = 0",
         "/etc/varve/test.conf:1: 'reconnect-wait' cannot be '0': it must be at least 1 s"},
        {"pump.threads = 65",
         "/etc/varve/test.conf:1: 'pump.threads' cannot be '65': it must be 0 to 64 threads"},
        {"pump.threads = two",
         "/etc/varve/test.conf:1: 'pump.threads' cannot be 'two': write a whole number"},
        {"log = loud",
         "/etc/varve/test.conf:1: 'log' cannot be 'loud': it must be one of error, warn, info, "
         "debug"},
        {"collector =", "/etc/varve/test.conf:1: 'collector' cannot be '': it must be not empty"},
        {"state = /a/folder/with/a/long/name",
         "/etc/varve/test.conf:1: 'state' cannot be '/a/folder/with/a/long/name': it must be 1 to "
         "20 bytes long"},
        {"state = a\tb",
         "/etc/varve/test.conf:1: 'state' cannot be 'a\tb': it holds a control character"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        load_fails(cases[i].file, NULL, cases[i].message);
    }
    load_fails(NULL, WORDS("--once=maybe"),
               "command line: 'once' cannot be 'maybe': write yes or no");
    load_fails(
        NULL, WORDS("--state=a ;b"),
        "command line: 'state' cannot be 'a ;b': ';' and '#' behind a space begin a comment");
    load_fails(NULL, WORDS("--state= a"),
               "command line: 'state' cannot be ' a': it must not begin or end with a space, nor "
               "begin with ';' or '#'");
}

static void
an_unknown_name_comes_with_the_nearest_known_one(void **state)
{
    static const struct {
        const char *file;
        const char *message;
    } cases[] = {
        {"colector = x", "unknown option 'colector'; did you mean 'collector'?"},
        {"collectro = x", "unknown option 'collectro'; did you mean 'collector'?"},
        {"pool = 8MiB", "unknown option 'pool'; did you mean 'pump.pool'?"},
        {"[pumb]\npool = 8MiB", "unknown option 'pumb.pool'; did you mean 'pump.pool'?"},
        {"Log = info", "unknown option 'Log'; did you mean 'log'?"},
        {"shape = round", "unknown option 'shape'; varve-test --help lists all"},
        {"help = 1", "unknown option 'help'; varve-test --help lists all"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[240];

        (void)snprintf(message, sizeof(message), "/etc/varve/test.conf:%d: %s",
                       strchr(cases[i].file, '\n') == NULL ? 1 : 2, cases[i].message);
        load_fails(cases[i].file, NULL, message);
    }
    load_fails(NULL, WORDS("--colector=x"),
               "command line: unknown option '--colector'; did you mean '--collector'?");
    load_fails(NULL, WORDS("--verison"),
               "command line: unknown option '--verison'; did you mean '--version'?");
    load_fails(NULL, WORDS("-c"),
               "command line: unknown option '-c'; varve-test --help lists all "
               "(a name that begins with '-' goes behind '--')");
}

static void
what_is_not_a_line_of_a_configuration_is_refused(void **state)
{
    static char text[5000];

    (void)state;
    load_fails("log = info\nnonsense\n", NULL,
               "/etc/varve/test.conf:2: neither 'name = value' nor '[section]' nor a comment");
    load_fails("[pump\npool = 8MiB\n", NULL,
               "/etc/varve/test.conf:1: neither 'name = value' nor '[section]' nor a comment");
    load_fails("nonsense\nlog = loud\n", NULL,
               "/etc/varve/test.conf:1: neither 'name = value' nor '[section]' nor a comment");
    load_fails("log = loud\nnonsense\n", NULL,
               "/etc/varve/test.conf:1: 'log' cannot be 'loud': it must be one of error, warn, "
               "info, debug");
    load_fails("log = info\n\nlog = warn\n", NULL,
               "/etc/varve/test.conf:3: 'log' is set a second time; the first is in line 1");
    load_fails("once = yes\n", NULL,
               "/etc/varve/test.conf:1: 'once' is for the command line only: say --once there");

    load_fails("[]\n", NULL,
               "/etc/varve/test.conf:1: neither 'name = value' nor '[section]' nor a comment");
    load_fails("= info\n", NULL,
               "/etc/varve/test.conf:1: neither 'name = value' nor '[section]' nor a comment");
    memset(text, 'x', sizeof(text));
    memcpy(text, "#ok\nstate = ", 12);
    text[sizeof(text) - 1] = '\0';
    load_fails(text, NULL,
               "/etc/varve/test.conf:2: the line has 4995 bytes; at most 4351 can be read");
}

static void
a_zero_byte_is_refused(void **state)
{
    static const char text[] = "log = info\nstate = a\0b\n";
    struct varve_error err;
    struct values v;

    (void)state;
    assert_err(conf_parse_text(&program, &v, "f", text, sizeof(text) - 1, &err), VARVE_ERR_INVALID,
               &err);
    assert_string_equal(err.msg, "f:2: the line holds a zero byte");
}

static void
faults_of_the_command_line_are_named(void **state)
{
    (void)state;
    load_fails(NULL, WORDS("--collector"),
               "command line: '--collector' needs a value (URL) behind it");
    load_fails(NULL, WORDS("--config"), "command line: '--config' needs a value (FILE) behind it");
    load_fails(NULL, WORDS("--log=info", "--log=warn"), "command line: '--log' is given twice");
    load_fails(NULL, NULL,
               "'collector' is not set: write it into '/etc/varve/test.conf' or say --collector "
               "URL");
}

/* ---- texts ---- */

static char *
print_of(const char *file, const char *const *words)
{
    struct conf_args args;
    struct varve_error err;
    struct values v;
    char *text;

    assert_ok(load(&v, &args, file, words, &err), &err);
    assert_non_null(args.print);
    text = args.print;
    args.print = NULL;
    conf_release(&program, &v);
    conf_args_release(&args);
    return text;
}

static void
help_and_version_need_no_configuration(void **state)
{
    char *help = print_of("broken", WORDS("--help"));
    char *version = print_of("broken", WORDS("--version"));

    (void)state;
    assert_string_equal(version, "varve-test 1.2.3\n");
    assert_non_null(strstr(help, "usage: varve-test [OPTION...] [WORD...]\n"));
    assert_non_null(strstr(help, "  --once\n        End after the first session.\n"));
    assert_non_null(strstr(help, "  --collector URL\n        Where the collector listens. Value: "
                                 "not empty. Must be set.\n"));
    assert_non_null(strstr(help, "warn, info, debug. Default: info.\n"));
    for (const char *line = help; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');

        assert_non_null(end);
        assert_in_range(end - line, 0, 80);
        line = end + 1;
    }
    for (size_t i = 0; i < program.option_count; i++) {
        assert_non_null(strstr(help, options[i].name));
    }
    free(help);
    free(version);
}

static void
a_dump_read_again_gives_the_same_values(void **state)
{
    const char *file = "collector = tcp://c:3\n[pump]\npool = 4097KiB\nthreads = 7\n";
    char *first = print_of(file, WORDS("--dump-config", "--reconnect-wait=1500ms", "--log=warn"));
    char *second = print_of(first, WORDS("--dump-config"));
    struct values v;

    (void)state;
    assert_string_equal(first, second);
    load_ok(&v, first, NULL);
    assert_string_equal(v.collector, "tcp://c:3");
    assert_true(v.pool == 4097 << 10);
    assert_true(v.threads == 7);
    assert_true(v.wait == 1500);
    assert_int_equal(v.level, 1);
    conf_release(&program, &v);
    free(first);
    free(second);
}

static void
a_dump_of_unset_values_can_be_read_too(void **state)
{
    char *dump = print_of(NULL, WORDS("--dump-config"));

    (void)state;
    assert_non_null(strstr(dump, "\n#collector =\n"));
    assert_non_null(strstr(dump, "\nstate = /var/lib/varve\n"));
    assert_null(strstr(dump, "once"));
    free(dump);
}

static void
the_manual_lists_every_option_once(void **state)
{
    char *manual = print_of(NULL, WORDS("--dump-manual"));

    (void)state;
    assert_non_null(strstr(manual, "*pump.pool* = _SIZE_\n\tMemory for chunks"));
    assert_non_null(strstr(manual, "Value: 4 MiB to 1 GiB. Default: 32MiB.\n"));
    assert_non_null(strstr(manual, "*--once* = _yes|no_\n"));
    assert_non_null(strstr(manual, "Where state\\_files are kept."));
    free(manual);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_then_the_file_then_the_command_line),
        cmocka_unit_test(a_named_file_replaces_the_default_one_and_must_be_there),
        cmocka_unit_test(positional_words_keep_their_order),
        cmocka_unit_test(values_are_read_with_their_units),
        cmocka_unit_test(a_bad_value_names_the_place_the_option_and_the_way_out),
        cmocka_unit_test(an_unknown_name_comes_with_the_nearest_known_one),
        cmocka_unit_test(what_is_not_a_line_of_a_configuration_is_refused),
        cmocka_unit_test(a_zero_byte_is_refused),
        cmocka_unit_test(faults_of_the_command_line_are_named),
        cmocka_unit_test(help_and_version_need_no_configuration),
        cmocka_unit_test(a_dump_read_again_gives_the_same_values),
        cmocka_unit_test(a_dump_of_unset_values_can_be_read_too),
        cmocka_unit_test(the_manual_lists_every_option_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
