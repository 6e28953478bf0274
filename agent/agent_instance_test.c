/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include "agent.h"

#define WORDS(...)                                                                                 \
    {                                                                                              \
        "varve-agent", __VA_ARGS__, NULL                                                           \
    }

static bool
ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static int
count(char *const *argv)
{
    int n = 0;

    while (argv[n] != NULL) {
        n++;
    }
    return n;
}

static void
a_name_changes_what_was_not_given(void **state)
{
    static const struct {
        const char *argv[8];
        const char *service;
        const char *file;
        const char *folder;
    } cases[] = {
        {WORDS("run"), "varve-agent", "agent.conf", "agent"},
        {WORDS("run", "--instance", "hv07"), "varve-agent-hv07", "agent-hv07.conf", "agent-hv07"},
        {WORDS("--instance=hv07.example", "run"), "varve-agent-hv07.example",
         "agent-hv07.example.conf", "agent-hv07.example"},
        {WORDS("run", "--state-dir", "/other", "--instance", "a"), "varve-agent-a", "agent-a.conf",
         "/other"},
        {WORDS("enroll", "--", "--instance", "a"), "varve-agent", "agent.conf", "agent"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char **argv = (char **)(uintptr_t)cases[i].argv; /* only read */
        struct agent_instance instance;
        struct agent_conf conf;
        struct conf_args args;
        struct varve_error err;

        assert_ok(agent_instance_take(&instance, count(argv), argv, &err), &err);
        assert_string_equal(instance.service, cases[i].service);
        assert_true(ends_with(instance.file, cases[i].file));
        assert_ptr_equal(instance.program.file, instance.file);
        assert_ok(conf_load(&instance.program, &conf, &args, count(argv), argv, fs_system(), &err),
                  &err);
        assert_true(ends_with(conf.state_dir, cases[i].folder));
        assert_ok(agent_instance_check(&instance, &conf, &err), &err);
        conf_args_release(&args);
        conf_release(&instance.program, &conf);
    }
}

static void
a_name_is_part_of_a_path_and_of_nothing_else(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "-a",
        "a-",
        "a b",
        "\xC3\xBC",
        "a:b",
        "an-instance-whose-name-is-as-long-as-nobody-would-ever-want-to-type-it"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *argv[] = WORDS("run", "--instance", bad[i]);
        struct agent_instance instance;
        struct varve_error err;

        assert_err(agent_instance_take(&instance, 4, (char **)(uintptr_t)argv, &err),
                   VARVE_ERR_INVALID, &err);
    }
}

/* What conf_load() takes for a value must not have been taken for the option. */
static void
a_name_where_a_value_belongs_is_refused(void **state)
{
    const char *words[] = WORDS("run", "--folder", "--instance", "a");
    char **argv = (char **)(uintptr_t)words; /* only read */
    struct agent_instance instance;
    struct agent_conf conf;
    struct conf_args args;
    struct varve_error err;

    (void)state;
    assert_ok(agent_instance_take(&instance, 5, argv, &err), &err);
    assert_ok(conf_load(&instance.program, &conf, &args, 5, argv, fs_system(), &err), &err);
    assert_err(agent_instance_check(&instance, &conf, &err), VARVE_ERR_INVALID, &err);
    conf_args_release(&args);
    conf_release(&instance.program, &conf);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_changes_what_was_not_given),
        cmocka_unit_test(a_name_is_part_of_a_path_and_of_nothing_else),
        cmocka_unit_test(a_name_where_a_value_belongs_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
