/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

#define SETTLE_MS 10000u

char *
test_dir_new(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = sim_printf("%s/hvsim-test-XXXXXX", base != NULL ? base : "/tmp");

    assert_non_null(mkdtemp(dir));
    return dir;
}

void
test_dir_free(char *dir)
{
    struct sim_error err;

    must_work(sim_remove_tree(dir, &err));
    free(dir);
}

uint64_t
test_seed(void)
{
    const char *text = getenv("HVSIM_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);

    print_message("seed %llu (set HVSIM_TEST_SEED to have it again)\n", (unsigned long long)seed);
    return seed;
}

bool
test_run(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    int status;

    va_start(ap, fmt);
    assert_true(vsnprintf(command, sizeof(command), fmt, ap) < (int)sizeof(command));
    va_end(ap);
    status = system(command);
    return status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool
test_have(const char *tool)
{
    return test_run("command -v %s >/dev/null", tool);
}

bool
test_7z_equals(const char *vhdx, const char *raw)
{
    /* The exit code of 7z counts too: it delivers stale data with an error. */
    return test_run("set -e; d=$(mktemp -d); trap 'rm -r \"$d\"' EXIT; mkfifo \"$d/f\"; "
                    "cmp \"$d/f\" '%s' & 7z e -so -tvhdx '%s' >\"$d/f\" 2>/dev/null; wait $!",
                    raw, vhdx);
}

bool
test_files_equal(const char *a, const char *b)
{
    return test_run("cmp '%s' '%s'", a, b);
}

void
test_settle(struct sim_host *h)
{
    uint64_t end = sim_clock_ms() + SETTLE_MS;

    while (!engine_idle(h, NULL)) {
        struct timespec pause = {.tv_nsec = 1000000};

        if (engine_tick(h) != 0) {
            (void)nanosleep(&pause, NULL);
        }
        assert_true(sim_clock_ms() < end);
    }
}

uint32_t
test_finish_job(struct sim_host *h, const struct guid *job, struct guid *result)
{
    uint64_t end = sim_clock_ms() + SETTLE_MS;
    struct sim_error err;
    struct sim_job *j = NULL;

    for (;;) {
        must_work(find_job(h, job, &j, &err));
        if (j->end_ms != 0) {
            break;
        }
        (void)engine_tick(h);
        assert_true(sim_clock_ms() < end);
    }
    if (result != NULL) {
        *result = j->result;
    }
    return j->state == SIM_JOB_COMPLETED ? SIM_OK : j->error.code;
}
