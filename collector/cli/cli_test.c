/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/fake_collector.h"
#include "cli/interrupt.h"
#include "os/file_fault.h"
#include "store/store_testing.h"

#define MIB       (1024u * 1024)
#define WORDS_MAX 12

/* One run of the whole program, without main(). */
struct result {
    int code;
    char *out;
    char *err;
};

static void
run_in(struct result *r, struct cli_env *env, const char *line)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    char *copy = strdup(line);
    char *save = NULL;
    size_t out_len = 0;
    size_t err_len = 0;
    int argc = 0;

    for (char *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save)) {
        assert_true(argc < WORDS_MAX);
        argv[argc++] = p;
    }
    memset(r, 0, sizeof(*r));
    env->out = open_memstream(&r->out, &out_len);
    env->err = open_memstream(&r->err, &err_len);
    r->code = cli_main(argc, argv, env);
    assert_int_equal(fclose(env->out), 0);
    assert_int_equal(fclose(env->err), 0);
    free(copy);
}

static void
run(struct result *r, struct fake_collector *f, const char *line)
{
    struct interrupt interrupt;
    struct cli_env env = {.fs = fs_system(), .interrupt = &interrupt};

    interrupt_init(&interrupt);
    env.access = fake_access_path(f);
    run_in(r, &env, line);
    interrupt_destroy(&interrupt);
}

static void
release(struct result *r)
{
    free(r->out);
    free(r->err);
}

/* Runs a command against a script; what it prints and how it ends. */
static void
expect(const struct fake_script *script, const char *line, int code, const char *out,
       const char *err)
{
    struct fake_collector *f = fake_start(script);
    struct result r;

    run(&r, f, line);
    if (r.code != code) {
        print_message("%s: %s%s\n", line, r.out, r.err);
    }
    assert_int_equal(r.code, code);
    if (out != NULL) {
        assert_string_equal(r.out, out);
    }
    if (err != NULL) {
        assert_string_equal(r.err, err);
    }
    release(&r);
    fake_stop(f);
}

static const struct fake_script honest = {.lie = FAKE_HONEST};

static void
hosts_come_as_a_table_or_as_lines(void **state)
{
    (void)state;
    expect(&honest, "varve host list", 0,
           "HOST  ID        STATE      ADDRESS  LAST SEEN  SOFTWARE  PROVIDER  TENANT\n"
           "web   3f2a91c4  connected  -        -          -         -         -\n"
           "db    772a91c4  enrolled   -        -          -         -         -\n",
           "");
    expect(&honest, "varve host invite a --ttl 2h --json", 0,
           "{\"name\":\"a\",\"token\":\"varve1.TOKEN\",\"expires_at\":\"1970-01-01T02:00:00.000000Z"
           "\"}\n",
           "");
    expect(&honest, "varve host invite a --quiet", 0, "varve1.TOKEN\n", "");
    expect(&honest, "varve host invite taken", 4, "", "varve: host 'taken' exists\n");
    expect(&honest, "varve host invite a --ttl 2x", 2, "",
           "varve: '2x' is not a time for --ttl: write 90s, 30m, 24h or 7d\n");
    expect(&honest, "varve host invite a --ttl 99999999d", 2, "",
           "varve: --ttl 99999999d is out of range\n");
}

static void
a_vm_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    expect(&honest, "varve vm list", 0,
           "VM   ID        HOST  STATE    DISKS     SIZE  POINTS  LATEST\n"
           "web  3f2a91c4  db    running      1  4.0 KiB       0  -\n",
           "");
    expect(&honest, "varve vm show nosuch", 3, "",
           "varve: there is no vm 'nosuch': see 'varve vm list'\n");
}

static void
selectors_that_fit_nothing_or_too_much_say_so(void **state)
{
    (void)state;
    expect(&honest, "varve point show deadbeef", 3, "", "varve: there is no point 'deadbeef'\n");
    expect(&honest, "varve point show 3f2a", 2, "",
           "varve: '3f2a' could be 3f2a91c4 or 3f2a0000\n");
    expect(&honest, "varve point show deadbeef --json", 3, "",
           "{\"error\":{\"code\":\"not found\",\"message\":\"there is no point 'deadbeef'\"}}\n");
}

static void
a_backup_ends_with_the_code_of_its_first_failure(void **state)
{
    const struct fake_script failing = {.backup_fails = true};

    (void)state;
    expect(&honest, "varve backup run web db", 0,
           "web: read\ndb: read\n"
           "web: point 3f2a91c4 (incremental): read 2.0 KiB, sent 1.0 KiB, new 1.5 KiB, "
           "stored 0 B, in 2.5 s\n"
           "db: point 3f2a91c4 (incremental): read 2.0 KiB, sent 1.0 KiB, new 1.5 KiB, "
           "stored 0 B, in 2.5 s\n",
           "");
    expect(&failing, "varve backup run --all --quiet", 7, "",
           "varve: backup of 'db' failed: the store is full\n");
    expect(&honest, "varve backup run nosuch", 3, "", "varve: there is no vm 'nosuch'\n");
    expect(&honest, "varve backup run", 2, "",
           "varve: 'backup run' needs a VM, or --all: see 'varve vm list'\n");
    expect(&honest, "varve backup run web --all", 2, "",
           "varve: 'backup run' takes either VMs or --all, not both\n");
}

static void
a_method_is_told_to_a_collector_that_knows_of_methods(void **state)
{
    const struct fake_script today = {.minor = 3};
    struct fake_collector *f = fake_start(&today);
    struct result r;

    (void)state;
    run(&r, f, "varve backup run web --quiet --method vss");
    assert_int_equal(r.code, 0);
    assert_string_equal(fake_last_text(f), "vss");
    free(r.out);
    free(r.err);
    fake_stop(f);
    expect(
        &honest, "varve backup run web --method vss", 1, "",
        "varve: the collector is too old to be told a method: update it, or leave out --method\n");
    expect(
        &honest, "varve policy set gold --keep-last 1 --method vss", 1, "",
        "varve: the collector is too old to be told a method: update it, or leave out --method\n");
}

static void
what_verify_finds_is_a_failure(void **state)
{
    const struct fake_script finding = {.verify_finds = true};

    (void)state;
    expect(&honest, "varve verify", 0, "5 points are good: 1.0 MiB read and checked\n", "");
    expect(
        &finding, "varve verify latest --quiet", 8,
        "point 3f2a91c4 (web, seq 3), disk 'db', 64.0 KiB at offset 65536: record damaged\n"
        "point 3f2a91c4 (web, seq 3), disk 'db', 64.0 KiB at offset 65536: record damaged\n",
        "varve: 1 of 5 points are damaged: 'varve backup run --full VM' heals what the guest still "
        "holds\n");
}

static void
the_status_is_shown(void **state)
{
    struct fake_collector *f = fake_start(&honest);
    struct result r;

    (void)state;
    run(&r, f, "varve status");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "listens on:      tcp://127.0.0.1:1\n"));
    assert_non_null(strstr(r.out, "ratio:           8.0 : 1\n"));
    release(&r);
    fake_stop(f);
}

static void
who_cannot_be_reached_is_another_error_than_who_refuses(void **state)
{
    const struct fake_script newer = {.lie = FAKE_NEW_MAJOR};
    struct fake_collector *f = fake_start(&honest);
    struct interrupt interrupt;
    struct cli_env env = {.fs = fs_system(), .interrupt = &interrupt};
    struct access_copy {
        uint8_t *text;
        size_t len;
    } copy = {NULL, 0};
    struct varve_error err;
    struct result r;
    char *folder = test_folder_make();
    char *path = test_path(folder, "access");

    (void)state;
    interrupt_init(&interrupt);
    env.access = "/nonexistent/operator.access";
    run_in(&r, &env, "varve status");
    assert_int_equal(r.code, 5);
    assert_non_null(strstr(r.err, "there is no access file '/nonexistent/operator.access'"));
    release(&r);

    /* Another operator's key: refused. */
    assert_ok(fs_read_all(fs_system(), fake_access_path(f), 4096, &copy.text, &copy.len, &err),
              &err);
    copy.text[copy.len - 2] = copy.text[copy.len - 2] == 'a' ? 'b' : 'a';
    copy.text[copy.len - 9] = copy.text[copy.len - 9] == 'a' ? 'b' : 'a';
    assert_ok(fs_write_durable(fs_system(), path, copy.text, copy.len, true, &err), &err);
    env.access = path;
    run_in(&r, &env, "varve status");
    assert_int_equal(r.code, 5);
    release(&r);
    copy.text[copy.len - 2] = '\0';

    /* Nobody listens any more. */
    free(copy.text);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    assert_ok(fs_read_all(fs_system(), fake_access_path(f), 4096, &copy.text, &copy.len, &err),
              &err);
    assert_ok(fs_write_durable(fs_system(), path, copy.text, copy.len, true, &err), &err);
    fake_stop(f);
    run_in(&r, &env, "varve status");
    assert_int_equal(r.code, 6);
    assert_non_null(strstr(r.err, "varve: cannot reach the collector: 'ipc://"));
    release(&r);
    interrupt_destroy(&interrupt);
    free(copy.text);
    free(path);
    test_folder_remove(folder);

    expect(&newer, "varve status", 6, "", NULL);
}

static void
help_describes_every_command(void **state)
{
    struct result r;
    struct fake_collector *f = fake_start(&honest);

    (void)state;
    run(&r, f, "varve help");
    assert_int_equal(r.code, 0);
    for (size_t i = 0; i < cli_command_count; i++) {
        char line[128];
        struct result one;

        assert_non_null(strstr(r.out, cli_commands[i].name));
        (void)snprintf(line, sizeof(line), "varve help %s", cli_commands[i].name);
        run(&one, f, line);
        assert_int_equal(one.code, 0);
        assert_non_null(strstr(one.out, cli_commands[i].summary));
        release(&one);
    }
    release(&r);
    run(&r, f, "varve restore --help");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "--format vhdx|vhdx-fixed|vhd|raw|chain"));
    release(&r);
    run(&r, f, "varve help nosuch");
    assert_int_equal(r.code, 2);
    release(&r);
    fake_stop(f);
}

/* "vm list" is described in varve-vm.1, "restore" in varve-restore.1. */
static void
manual_pages_tell_every_command_and_option(void **state)
{
    const char *source = getenv("VARVE_SOURCE_DIR");

    (void)state;
    if (source == NULL) {
        print_message("VARVE_SOURCE_DIR is not set\n");
        skip();
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        bool front = c->run == NULL; /* help is described in varve.1 */
        struct varve_error err;
        uint8_t *page = NULL;
        size_t len = 0;
        char path[1024];
        char *text;

        (void)snprintf(path, sizeof(path), "%s/docs/man/varve%s%.*s.1.scd", source,
                       front ? "" : "-", front ? 0 : (int)strcspn(c->name, " "), c->name);
        assert_ok(fs_read_all(fs_system(), path, MIB, &page, &len, &err), &err);
        text = strndup((char *)page, len);
        assert_non_null(text);
        (void)snprintf(path, sizeof(path), "*varve %s*", c->name);
        assert_non_null(strstr(text, path));
        for (size_t k = 0; k < CLI_OPTIONS_MAX && c->options[k].name != NULL; k++) {
            (void)snprintf(path, sizeof(path), "*%s*", c->options[k].name);
            if (strstr(text, path) == NULL) {
                fail_msg("%s is not described for %s", c->options[k].name, c->name);
            }
        }
        for (size_t k = 0; front && cli_global_options[k].name != NULL; k++) {
            (void)snprintf(path, sizeof(path), "*%s*", cli_global_options[k].name);
            assert_non_null(strstr(text, path));
        }
        free(text);
        free(page);
    }
}

/* ---- restore ---- */

struct content {
    uint8_t *a;
    uint8_t *b;
};

/* a: 5 MiB and a bit, data here and there; b: 3000 bytes. */
static void
make_content(struct content *c, struct fake_script *script)
{
    struct test_random random = {.state = 4711};
    size_t size = 5 * MIB + 12345;

    c->a = calloc(1, size);
    c->b = calloc(1, 3000);
    assert_true(c->a != NULL && c->b != NULL);
    test_random_fill(&random, c->a, 100000);
    test_random_fill(&random, c->a + MIB - 10, 20);
    test_random_fill(&random, c->a + 2 * MIB, MIB + 70000);
    test_random_fill(&random, c->a + size - 1, 1);
    c->a[size - 1] |= 1;
    test_random_fill(&random, c->b, 3000);
    script->files[0] = (struct fake_file){"a.raw", size, 2 * MIB, c->a};
    script->files[1] = (struct fake_file){"config/b", 3000, 3000, c->b};
    script->files[2] = (struct fake_file){"config/empty", 0, 0, c->b};
    script->file_count = 3;
}

static void
release_content(struct content *c)
{
    free(c->a);
    free(c->b);
}

static void
holds(const char *folder, const struct fake_file *file)
{
    char *path = test_path(folder, file->name);
    uint8_t *data = NULL;
    size_t len = 0;
    struct varve_error err;

    assert_ok(fs_read_all(fs_system(), path, 16 * MIB, &data, &len, &err), &err);
    assert_int_equal(len, file->size);
    assert_memory_equal(data, file->bytes, len);
    free(data);
    free(path);
}

static void
a_restore_writes_every_file_with_its_holes(void **state)
{
    struct fake_script script = {.lie = FAKE_HONEST};
    struct fake_collector *f;
    struct content c;
    struct result r;
    struct stat st;
    char line[512];
    char *to;
    char *path;

    (void)state;
    make_content(&c, &script);
    f = fake_start(&script);
    to = test_path(fake_folder(f), "out");
    (void)snprintf(line, sizeof(line), "varve restore web@latest %s --format chain --base latest~3",
                   to);
    run(&r, f, line);
    assert_string_equal(r.err, "");
    assert_int_equal(r.code, 0);
    assert_string_equal(fake_last_text(f), "latest~3");
    assert_non_null(strstr(r.out, "note: disk 'a' was resized\n"));
    assert_non_null(
        strstr(r.out, "point 3f2a91c4 of 'web', frozen 2025-11-22T10:15:30Z: restored"));
    release(&r);
    for (size_t i = 0; i < script.file_count; i++) {
        holds(to, &script.files[i]);
    }
    path = test_path(to, "a.raw");
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < 2 * MIB); /* of 5 MiB */
    free(path);

    (void)snprintf(line, sizeof(line), "varve restore web@latest %s", to);
    run(&r, f, line);
    assert_int_equal(r.code, 4);
    assert_non_null(strstr(r.err, "exists: a restore makes its folder itself, name a new one\n"));
    release(&r);
    (void)snprintf(line, sizeof(line), "varve restore web@latest %s/no/such --quiet", to);
    run(&r, f, line);
    assert_int_equal(r.code, 3);
    release(&r);
    (void)snprintf(line, sizeof(line), "varve restore x %s-j --json", to);
    run(&r, f, line);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\"files\":[{\"name\":\"a.raw\",\"size\":5255225,"));
    assert_non_null(strstr(r.out, "\"notes\":[\"disk 'a' was resized\"]}\n"));
    release(&r);
    fake_stop(f);
    free(to);
    release_content(&c);
}

/* Runs a restore that must fail and must leave nothing. */
static void
must_fail(struct fake_script *script, int code, const char *say)
{
    struct fake_collector *f = fake_start(script);
    struct varve_error err;
    struct file_stat st;
    struct result r;
    char line[512];
    char *to = test_path(fake_folder(f), "out");

    (void)snprintf(line, sizeof(line), "varve restore web@latest %s --quiet", to);
    run(&r, f, line);
    if (r.code != code || strstr(r.err, say) == NULL) {
        print_message("code %d, %s\n", r.code, r.err);
    }
    assert_int_equal(r.code, code);
    assert_non_null(strstr(r.err, say));
    assert_int_equal(strcspn(r.err, "\n") + 1, strlen(r.err)); /* one line */
    assert_int_equal(fs_stat(fs_system(), to, &st, &err), VARVE_ERR_NOT_FOUND);
    release(&r);
    fake_stop(f);
    free(to);
}

static void
a_restore_that_fails_leaves_nothing(void **state)
{
    struct fake_script script = {.fail_code = VARVE_ERR_CORRUPT};
    struct content c;

    (void)state;
    make_content(&c, &script);
    for (unsigned nth = 1; nth <= 4; nth++) {
        script.fail_read = nth;
        must_fail(&script, 8, "failed, nothing is left of it: chunk is damaged");
    }
    script.fail_read = 0;
    for (unsigned nth = 1; nth <= 4; nth++) {
        script.hang_up_read = nth;
        must_fail(&script, 6, "failed, nothing is left of it: connection to the collector");
    }
    release_content(&c);
}

static void
a_collector_that_lies_is_not_believed(void **state)
{
    static const struct {
        enum fake_lie lie;
        const char *say;
    } cases[] = {
        {FAKE_LONG_PIECE, "were asked for"},
        {FAKE_SHORT_BULK, "were asked for"},
        {FAKE_WRONG_ID, "the collector answered request"},
        {FAKE_WRONG_BODY, "answered with message"},
        {FAKE_MAP_BACK, "out of place"},
        {FAKE_MAP_BEYOND, "out of place"},
        {FAKE_MAP_STUCK, "the collector's map"},
    };
    struct content c;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_script script = {.lie = cases[i].lie};
        bool lost = cases[i].lie == FAKE_WRONG_ID || cases[i].lie == FAKE_WRONG_BODY;

        make_content(&c, &script);
        must_fail(&script, lost ? 6 : 1, cases[i].say);
        release_content(&c);
    }
}

static void
a_name_that_escapes_the_target_is_refused(void **state)
{
    static const char *const names[] = {"../evil", "/tmp/evil", "a/../../evil", ""};
    struct content c;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct fake_script script = {.lie = FAKE_HONEST};

        make_content(&c, &script);
        script.files[1].name = names[i];
        must_fail(&script, 1, "does not stay inside the target");
        release_content(&c);
    }
}

static void
a_target_that_cannot_be_written_is_cleaned_up(void **state)
{
    struct fake_script script = {.lie = FAKE_HONEST};
    struct fault_fs *fault = NULL;
    struct interrupt interrupt;
    struct cli_env env = {.interrupt = &interrupt};
    struct fake_collector *f;
    struct content c;
    struct varve_error err;
    struct file_stat st;
    struct result r;
    char line[512];
    char *to;
    unsigned failed = 0;

    (void)state;
    interrupt_init(&interrupt);
    make_content(&c, &script);
    f = fake_start(&script);
    to = test_path(fake_folder(f), "out");
    assert_ok(fault_fs_new(&fault, fs_system(), &err), &err);
    env.fs = fault_fs(fault);
    env.access = fake_access_path(f);
    (void)snprintf(line, sizeof(line), "varve restore web@latest %s --quiet", to);
    for (uint64_t nth = 1; nth <= 25; nth += 3) {
        struct fault_rule rule = {.ops = FAULT_WRITE | FAULT_CREATE | FAULT_SYNC | FAULT_TRUNCATE |
                                         FAULT_RENAME | FAULT_SYNC_DIR,
                                  .nth = nth,
                                  .times = 1,
                                  .action = FAULT_FAIL,
                                  .errnum = ENOSPC};

        assert_ok(fault_fs_set(fault, &rule, &err), &err);
        run_in(&r, &env, line);
        if (fault_fs_hits(fault) > 0) {
            assert_int_equal(r.code, 7);
            assert_non_null(strstr(r.err, "nothing is left of it"));
            assert_int_equal(fs_stat(fs_system(), to, &st, &err), VARVE_ERR_NOT_FOUND);
            failed++;
        } else {
            assert_int_equal(r.code, 0);
            release(&r);
            break;
        }
        release(&r);
    }
    assert_true(failed >= 4);
    fault_fs_free(fault);
    fake_stop(f);
    free(to);
    release_content(&c);
    interrupt_destroy(&interrupt);
}

static void
raise_soon(void *arg)
{
    thread_sleep_ms(200);
    interrupt_raise(arg);
}

static void
an_interrupt_ends_a_wait(void **state)
{
    const struct fake_script script = {.silent = true};
    struct fake_collector *f = fake_start(&script);
    struct interrupt interrupt;
    struct cli_env env = {.fs = fs_system(), .interrupt = &interrupt};
    struct varve_error err;
    struct thread thread;
    struct result r;

    (void)state;
    interrupt_init(&interrupt);
    env.access = fake_access_path(f);
    assert_ok(thread_start(&thread, "raise", raise_soon, &interrupt, &err), &err);
    run_in(&r, &env, "varve status");
    thread_join(&thread);
    assert_int_equal(r.code, 1);
    assert_string_equal(r.err, "varve: interrupted\n");
    release(&r);
    fake_stop(f);
    interrupt_destroy(&interrupt);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_come_as_a_table_or_as_lines),
        cmocka_unit_test(a_vm_that_is_not_there_is_an_error),
        cmocka_unit_test(selectors_that_fit_nothing_or_too_much_say_so),
        cmocka_unit_test(a_backup_ends_with_the_code_of_its_first_failure),
        cmocka_unit_test(a_method_is_told_to_a_collector_that_knows_of_methods),
        cmocka_unit_test(what_verify_finds_is_a_failure),
        cmocka_unit_test(the_status_is_shown),
        cmocka_unit_test(who_cannot_be_reached_is_another_error_than_who_refuses),
        cmocka_unit_test(help_describes_every_command),
        cmocka_unit_test(manual_pages_tell_every_command_and_option),
        cmocka_unit_test(a_restore_writes_every_file_with_its_holes),
        cmocka_unit_test(a_restore_that_fails_leaves_nothing),
        cmocka_unit_test(a_collector_that_lies_is_not_believed),
        cmocka_unit_test(a_name_that_escapes_the_target_is_refused),
        cmocka_unit_test(a_target_that_cannot_be_written_is_cleaned_up),
        cmocka_unit_test(an_interrupt_ends_a_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
