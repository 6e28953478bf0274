/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/thread.h"
#include "store/store_testing.h"

/*
 * A process that backs up without end is killed with SIGKILL at a random moment, thirty times, in the
 * folder that TMPDIR names, with the LMDB index.  After each kill the store is opened as it is.
 */
#define ROUNDS     30u
#define MAX_MS     100u
#define RUNS_LIMIT (LAB_RUNS_MAX - 2)

struct line {
    uint32_t acked; /* 0: publishing begins; 1: it was acknowledged */
    uint32_t vm;
    uint32_t number;
};

struct writer {
    struct lab lab;
    unsigned vm;
    unsigned first;
    int pipe;
    struct thread thread;
};

static void
report(int fd, uint32_t acked, unsigned vm, unsigned number)
{
    struct line line = {.acked = acked, .vm = vm, .number = number};

    if (write(fd, &line, sizeof(line)) != sizeof(line)) {
        _exit(3);
    }
}

static void
write_points(void *arg)
{
    struct writer *w = arg;
    struct varve_error err;

    for (unsigned number = w->first; number < RUNS_LIMIT; number++) {
        report(w->pipe, 0, w->vm, number);
        if (lab_backup(&w->lab, w->vm, number, &err) != VARVE_OK) {
            fprintf(stderr, "store_kill_test: writer: %s\n", err.msg);
            _exit(2);
        }
        report(w->pipe, 1, w->vm, number);
    }
}

/* Runs until killed: one thread per vm. */
static void
child(const char *folder, const char *index_path, const unsigned first[LAB_VMS], int fd)
{
    struct writer writers[LAB_VMS];
    struct varve_error err;
    struct lab lab;

    if (lab_open(&lab, fs_system(), folder, index_path, NULL, &err) != VARVE_OK) {
        fprintf(stderr, "store_kill_test: %s\n", err.msg);
        _exit(1);
    }
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        writers[vm] = (struct writer){.lab = lab, .vm = vm, .first = first[vm], .pipe = fd};
        if (thread_start(&writers[vm].thread, "writer", write_points, &writers[vm], &err) !=
            VARVE_OK) {
            _exit(1);
        }
    }
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        thread_join(&writers[vm].thread);
    }
    _exit(0);
}

static void
read_book(int fd, struct lab_book *book, unsigned first[LAB_VMS])
{
    struct line line;
    ssize_t got;

    while ((got = read(fd, &line, sizeof(line))) == (ssize_t)sizeof(line)) {
        if (line.acked) {
            book->acked[line.vm][line.number] = 1;
        } else {
            book->tried[line.vm][line.number] = 1;
            first[line.vm] = line.number + 1;
        }
    }
    assert_int_equal(got, 0);
}

static void
kill_once(const char *folder, const char *index_path, struct lab_book *book,
          unsigned first[LAB_VMS], uint32_t ms)
{
    int fds[2];
    int status = 0;
    pid_t pid;

    /* Large enough that the writers never wait for us. */
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(fds[0]);
        child(folder, index_path, first, fds[1]);
    }
    (void)close(fds[1]);
    thread_sleep_ms(ms);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it had not ended by itself */
    read_book(fds[0], book, first);
    (void)close(fds[0]);
}

static void
killed_at_any_moment_every_listed_point_is_whole(void **state)
{
    struct lab_book *book = calloc(1, sizeof(*book));
    struct test_random r = {.state = 30};
    unsigned first[LAB_VMS] = {1, 1};
    char *folder = test_folder_make();
    char *index_path = test_path(folder, "index");
    struct varve_error err;
    unsigned points = 0;
    struct lab l;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        kill_once(folder, index_path, book, first, 1 + (uint32_t)test_random_below(&r, MAX_MS));
        assert_ok(lab_open(&l, fs_system(), folder, index_path, NULL, &err), &err);
        assert_ok(lab_check(&l, book, &points, &err), &err);
        lab_close(&l);
    }
    print_message("%u kills, %u points listed at the end, all read back after each\n", ROUNDS,
                  points);
    assert_true(points > 0); /* how many is a matter of how busy the machine is */
    test_folder_remove(folder);
    free(index_path);
    free(book);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_moment_every_listed_point_is_whole),
    };
    struct varve_error err;

    log_set_level(LOG_LEVEL_WARN);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
