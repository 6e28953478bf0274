/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void
a_frozen_file_keeps_what_the_guest_had_written_by_then(void **state)
{
    struct fixture *f = *state;
    struct guid c;

    scribble(f, 0, 40);
    scribble(f, 1, 40);
    c = take_backup(f);
    scribble(f, 0, 40);
    scribble(f, 1, 40);
    assert_frozen_is_true(f, &c);
    assert_live_is_true(f);
    destroy(f, &c);
    scribble(f, 0, 10);
    test_settle(f->h);
    assert_one_file_left(f);
    assert_live_is_true(f);
}

static void
a_guest_that_writes_during_a_merge_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct guid c;

    for (unsigned round = 0; round < 3; round++) {
        scribble(f, 0, 30);
        c = take_backup(f);
        write_at(f, 0, 0, 20 * MIB);
        scribble(f, 1, 30);
        destroy(f, &c);
        for (unsigned i = 0; i < 50 && !engine_idle(f->h, NULL); i++) {
            (void)engine_tick(f->h);
            scribble(f, i % 2, 2);
        }
        test_settle(f->h);
        assert_one_file_left(f);
        assert_live_is_true(f);
    }
}

static void
a_checkpoint_of_a_person_below_ours_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct guid user;
    struct guid ours;

    scribble(f, 0, 20);
    user = take_checkpoint(f, SIM_CHECKPOINT_USER, "before the update");
    scribble(f, 0, 20);
    ours = take_backup(f);
    scribble(f, 0, 20);
    assert_frozen_is_true(f, &ours);
    (void)convert(f, &ours);
    test_settle(f->h);
    assert_int_equal(the_disk(f, 0)->file_count, 2);
    assert_frozen_is_true(f, &user);
    assert_live_is_true(f);
}

static void
a_checkpoint_of_a_person_above_ours_is_relinked_when_ours_goes(void **state)
{
    struct fixture *f = *state;
    struct guid user;
    struct guid ours;

    scribble(f, 0, 20);
    ours = take_backup(f);
    scribble(f, 0, 20);
    user = take_checkpoint(f, SIM_CHECKPOINT_USER, "before the update");
    scribble(f, 0, 20);
    destroy(f, &ours);
    test_settle(f->h);
    assert_int_equal(the_disk(f, 0)->file_count, 2);
    assert_frozen_is_true(f, &user);
    assert_live_is_true(f);
    destroy(f, &user);
    test_settle(f->h);
    assert_one_file_left(f);
    assert_live_is_true(f);
}

static void
applying_a_checkpoint_gives_the_old_content_back(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid user;
    struct guid job;
    char *then = NULL;
    char *now = NULL;

    scribble(f, 0, 20);
    user = take_checkpoint(f, SIM_CHECKPOINT_USER, "before the update");
    scribble(f, 0, 20);
    must_work(checkpoint_apply(f->h, &user, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_OK);
    then = truth_file(the_vm(f), &user, &f->disks[0]);
    now = sim_printf("%s/now.raw", f->dir);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(now, then));
    scribble(f, 0, 20);
    assert_live_is_true(f);
    assert_int_equal(the_disk(f, 0)->file_count, 2); /* the branch that was left is gone */
    free(then);
    free(now);
}

/* Another process that has the file open, as a backup agent has; it ends by itself in 20 s. */
static pid_t
hold_open(const char *path)
{
    int ready[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        int fd = open(path, O_RDONLY);

        if (fd >= 0 && dup2(fd, 0) == 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2) {
            (void)execlp("sleep", "sleep", "20", (char *)NULL);
        }
        _exit(1);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* the end: exec has closed the other side */
    (void)close(ready[0]);
    return child;
}

static void
a_file_held_open_by_somebody_blocks_the_merge_until_it_is_closed(void **state)
{
    struct fixture *f = *state;
    struct guid c = take_backup(f);
    char *path = frozen_path(f, &c, 0);
    struct sim_error err;
    struct guid job;
    pid_t holder;

    scribble(f, 0, 5);
    holder = hold_open(path);
    destroy(f, &c);
    (void)engine_tick(f->h);
    assert_int_equal(f->h->events[0].number, 19100);
    for (unsigned i = 0; i < 100 && vm_merging(the_vm(f)); i++) {
        (void)engine_tick(f->h); /* the other disk is not held by anybody */
    }
    assert_false(vm_merging(the_vm(f)));
    assert_int_equal(the_disk(f, 0)->file_count, 2);
    assert_int_equal(the_disk(f, 1)->file_count, 1);
    must_work(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "next", &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_SHARING);
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    test_settle(f->h);
    assert_one_file_left(f);
    assert_live_is_true(f);
    free(path);
}

static void
with_merging_disabled_the_chain_stays_and_the_next_checkpoint_fails(void **state)
{
    struct fixture *f = *state;
    struct guid c = take_backup(f);
    struct sim_error err;
    struct guid job;

    must_work(vm_set(f->h, &f->vm, NULL, -1, -1, 0, &err));
    destroy(f, &c);
    (void)engine_tick(f->h);
    assert_int_equal(the_disk(f, 0)->file_count, 2);
    must_work(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "next", &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_SHARING);
    must_work(vm_set(f->h, &f->vm, NULL, -1, -1, 1, &err));
    test_settle(f->h);
    assert_one_file_left(f);
}

static void
no_checkpoint_is_made_while_disks_are_merging(void **state)
{
    struct fixture *f = *state;
    struct guid c = take_backup(f);
    struct sim_error err;
    struct guid job;

    destroy(f, &c);
    assert_true(vm_merging(the_vm(f)));
    assert_int_equal(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "next", &job, &err),
        SIM_INVALID_STATE);
    test_settle(f->h);
    must_work(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "next", &job, &err));
    /* And not two at a time. */
    assert_int_equal(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "next", &job, &err),
        SIM_INVALID_STATE);
}

static void
a_guest_without_its_backup_service_freezes_only_crash_consistent(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct sim_job *j = NULL;
    struct guid job;
    struct guid id;

    must_work(vm_set(f->h, &f->vm, NULL, -1, 0, -1, &err));
    must_work(
        checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_APPLICATION, "a", &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_FAILED);
    assert_int_equal(the_vm(f)->checkpoint_count, 0);
    must_work(checkpoint_create(f->h, &f->vm, SIM_CHECKPOINT_RECOVERY, SIM_APPLICATION_OR_CRASH,
                                "b", &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, &id), SIM_OK);
    must_work(find_job(f->h, &job, &j, &err));
    assert_false(j->application);
    assert_int_equal(the_vm(f)->checkpoint_count, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        case_of(a_frozen_file_keeps_what_the_guest_had_written_by_then),
        case_of(a_guest_that_writes_during_a_merge_loses_nothing),
        case_of(a_checkpoint_of_a_person_below_ours_stays_as_it_is),
        case_of(a_checkpoint_of_a_person_above_ours_is_relinked_when_ours_goes),
        case_of(applying_a_checkpoint_gives_the_old_content_back),
        case_of(a_file_held_open_by_somebody_blocks_the_merge_until_it_is_closed),
        case_of(with_merging_disabled_the_chain_stays_and_the_next_checkpoint_fails),
        case_of(no_checkpoint_is_made_while_disks_are_merging),
        case_of(a_guest_without_its_backup_service_freezes_only_crash_consistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
