/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Runs emit() with standard error going into a file, and gives back what was written. */
static void
capture(void (*emit)(void), char *out, size_t cap)
{
    FILE *tmp = tmpfile();
    int saved = dup(STDERR_FILENO);
    size_t n;

    assert_non_null(tmp);
    assert_true(saved >= 0);
    assert_true(dup2(fileno(tmp), STDERR_FILENO) >= 0);
    emit();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    rewind(tmp);
    n = fread(out, 1, cap - 1, tmp);
    out[n] = '\0';
    (void)fclose(tmp);
}

static void
emit_plain(void)
{
    log_warn("ingest", "disk done vm=%s chunks=%d", "web", 3);
}

static void
a_line_has_time_level_area_and_text(void **state)
{
    char out[4096];

    (void)state;
    capture(emit_plain, out, sizeof(out));
    assert_true(strlen(out) > 28);
    assert_int_equal(out[10], 'T');
    assert_int_equal(out[26], 'Z');
    assert_string_equal(out + 27, " warn ingest: disk done vm=web chunks=3\n");
}

static void
emit_hostile(void)
{
    log_error("session", "name=%s",
              "a\nb\x1b[2Jc\x7f\xC2\x9B"
              "d\xC3\xA4");
}

static void
control_characters_cannot_make_a_line_or_drive_a_terminal(void **state)
{
    char out[4096];

    (void)state;
    capture(emit_hostile, out, sizeof(out));
    assert_string_equal(out + 27, " error session: name=a?b?[2Jc???d\xC3\xA4\n");
}

static void
emit_long(void)
{
    static char text[5000];

    memset(text, 'x', sizeof(text) - 1);
    log_info("a", "%s", text);
    log_info("b", "short");
}

static void
a_long_line_is_cut_and_ends_in_a_line_feed(void **state)
{
    char out[4096];
    char *end;

    (void)state;
    capture(emit_long, out, sizeof(out));
    end = strchr(out, '\n');
    assert_non_null(end);
    assert_true(end - out < 1024);
    assert_true(strncmp(end - 3, "...\n", 4) == 0);
    assert_non_null(strstr(end, " info b: short\n"));
}

static void
emit_all(void)
{
    log_error("a", "1");
    log_warn("a", "2");
    log_info("a", "3");
    log_debug("a", "4");
}

static void
lines_above_the_level_are_not_written(void **state)
{
    char out[4096];

    (void)state;
    log_set_level(LOG_LEVEL_WARN);
    capture(emit_all, out, sizeof(out));
    assert_non_null(strstr(out, "a: 1\n"));
    assert_non_null(strstr(out, "a: 2\n"));
    assert_null(strstr(out, "a: 3\n"));
    assert_null(strstr(out, "a: 4\n"));
    log_set_level(LOG_LEVEL_DEBUG);
    capture(emit_all, out, sizeof(out));
    assert_non_null(strstr(out, "debug a: 4\n"));
    log_set_level(LOG_LEVEL_INFO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_area_and_text),
        cmocka_unit_test(control_characters_cannot_make_a_line_or_drive_a_terminal),
        cmocka_unit_test(a_long_line_is_cut_and_ends_in_a_line_feed),
        cmocka_unit_test(lines_above_the_level_are_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
