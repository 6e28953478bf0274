/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

#define MIB       ((uint64_t)1024 * 1024)
#define DISK_SIZE (40 * MIB)

struct fixture {
    char *dir;
    char *host_dir;
    uint64_t seed;
    struct sim_random random; /* of the test; the host has its own */
    struct sim_host *h;
    struct guid vm;
    struct guid disks[2];
};

static void
open_host(struct fixture *f)
{
    struct sim_error err;
    struct sim_options options;

    must_work(host_open(&f->h, f->host_dir, "sim1", f->seed, &err));
    options = f->h->options;
    options.job_ms = 0;
    must_work(host_set_options(f->h, &options, &err));
}

static void
add_vm(struct fixture *f, const char *version, struct guid *id, struct guid *disks)
{
    struct vm_spec vm = {.name = "web 01",
                         .generation = 2,
                         .config_version = version,
                         .state = SIM_VM_RUNNING,
                         .integration = true,
                         .truth = true};
    struct disk_spec disk = {.size = DISK_SIZE,
                             .block_size = 32 * 1024 * 1024,
                             .logical_sector = 512,
                             .physical_sector = 4096,
                             .tracked = true};
    struct sim_error err;

    must_work(vm_create(f->h, &vm, id, &err));
    must_work(disk_add(f->h, id, &disk, &disks[0], &err));
    disk.block_size = 1024 * 1024;
    must_work(disk_add(f->h, id, &disk, &disks[1], &err));
}

static int
set_up(void **state)
{
    struct fixture *f = sim_alloc(sizeof(*f));

    f->dir = test_dir_new();
    f->host_dir = sim_printf("%s/host", f->dir);
    f->seed = test_seed();
    sim_random_seed(&f->random, f->seed + 1);
    open_host(f);
    add_vm(f, "9.0", &f->vm, f->disks);
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    host_close(f->h);
    test_dir_free(f->dir);
    free(f->host_dir);
    free(f);
    return 0;
}

/* ---- small words the tests are written in ---- */

static struct sim_vm *
the_vm(struct fixture *f)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;

    must_work(find_vm(f->h, &f->vm, &vm, &err));
    return vm;
}

static struct sim_disk *
the_disk(struct fixture *f, unsigned i)
{
    struct sim_error err;
    struct sim_disk *d = NULL;

    must_work(find_disk(the_vm(f), &f->disks[i], &d, &err));
    return d;
}

static void
write_at(struct fixture *f, unsigned disk, uint64_t off, uint64_t len)
{
    struct sim_extent e = {off, len};
    struct sim_error err;

    must_work(
        guest_write(f->h, &f->vm, &f->disks[disk], &e, 1, NULL, sim_random_next(&f->random), &err));
}

static void
scribble(struct fixture *f, unsigned disk, unsigned times)
{
    struct sim_error err;

    for (unsigned i = 0; i < times; i++) {
        uint64_t longest = sim_random_below(&f->random, 8) == 0 ? 3 * MIB : 32768;
        uint64_t off = sim_random_below(&f->random, DISK_SIZE / 512) * 512;
        uint64_t len = (sim_random_below(&f->random, longest / 512) + 1) * 512;

        len = len > DISK_SIZE - off ? DISK_SIZE - off : len;
        if (sim_random_below(&f->random, 6) == 0) {
            must_work(guest_trim(f->h, &f->vm, &f->disks[disk], off, len, &err));
        } else {
            write_at(f, disk, off, len);
        }
    }
}

static struct guid
take_checkpoint(struct fixture *f, enum sim_checkpoint_type type, const char *name)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    must_work(checkpoint_create(f->h, &f->vm, type, SIM_CRASH, name, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, &id), SIM_OK);
    return id;
}

static struct guid
take_backup(struct fixture *f)
{
    return take_checkpoint(f, SIM_CHECKPOINT_RECOVERY, "varve run 1");
}

static struct guid
convert(struct fixture *f, const struct guid *checkpoint)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    must_work(refpoint_convert(f->h, checkpoint, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, &id), SIM_OK);
    return id;
}

static void
destroy(struct fixture *f, const struct guid *checkpoint)
{
    struct sim_error err;
    struct guid job;

    must_work(checkpoint_destroy(f->h, checkpoint, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_OK);
}

static char *
frozen_path(struct fixture *f, const struct guid *checkpoint, unsigned disk)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;

    must_work(find_checkpoint(f->h, checkpoint, &vm, &c, &err));
    return vm_disk_path(vm, disk_file(the_disk(f, disk), &c->disks[disk].file));
}

static const char *
change_id_of(struct fixture *f, const struct guid *refpoint, unsigned disk)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;
    struct sim_refpoint *r = NULL;

    must_work(find_refpoint(f->h, refpoint, &vm, &r, &err));
    assert_true(guid_equal(&r->disks[disk].disk, &f->disks[disk]));
    return r->disks[disk].change_id;
}

static uint32_t
query(struct fixture *f, const char *path, const char *change_id)
{
    struct sim_extent *ranges = NULL;
    uint64_t processed = 0;
    struct sim_error err;
    size_t count = 0;
    uint32_t rc =
        changes_query(f->h, path, change_id, 0, DISK_SIZE, 4096, &ranges, &count, &processed, &err);

    free(ranges);
    return rc;
}

/* The frozen file as 7-Zip reads it, and as the engine's own chain reads it, against the truth. */
static void
assert_frozen_is_true(struct fixture *f, const struct guid *checkpoint)
{
    for (unsigned i = 0; i < 2; i++) {
        char *path = frozen_path(f, checkpoint, i);
        char *truth = truth_file(the_vm(f), checkpoint, &f->disks[i]);

        assert_true(!test_have("7z") || test_7z_equals(path, truth));
        free(path);
        free(truth);
    }
}

static void
assert_live_is_true(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        char *copy = sim_printf("%s/now.raw", f->dir);
        char id[GUID_TEXT_SIZE];
        char *truth = NULL;
        char *path = vm_disk_path(the_vm(f), disk_file(the_disk(f, i), &the_disk(f, i)->active));
        struct sim_error err;

        guid_format_upper(&f->disks[i], id);
        truth = sim_printf("%s/truth/%s.raw", the_vm(f)->folder, id);
        must_work(guest_read(f->h, &f->vm, &f->disks[i], copy, &err));
        assert_true(test_files_equal(copy, truth));
        assert_true(!test_have("7z") || test_7z_equals(path, truth));
        free(copy);
        free(truth);
        free(path);
    }
}

static void
assert_one_file_left(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(the_disk(f, i)->file_count, 1);
        assert_string_equal(the_disk(f, i)->files[0].name, the_disk(f, i)->name);
    }
}

/* ---- freezing and merging ---- */

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

/* ---- tracking ---- */

/* Every 512 bytes in which the two images differ lie in a range. */
static uint64_t
assert_covers_all_changes(const char *before, const char *after, const struct sim_extent *ranges,
                          size_t count)
{
    uint8_t *a = sim_alloc(DISK_SIZE);
    uint8_t *b = sim_alloc(DISK_SIZE);
    bool *covered = sim_alloc(DISK_SIZE / 512 * sizeof(*covered));
    struct sim_error err;
    uint64_t total = 0;
    int fa = open(before, O_RDONLY);
    int fb = open(after, O_RDONLY);

    must_work(sim_pread(fa, a, DISK_SIZE, 0, before, &err));
    must_work(sim_pread(fb, b, DISK_SIZE, 0, after, &err));
    for (size_t i = 0; i < count; i++) {
        assert_true(ranges[i].length > 0 && ranges[i].offset + ranges[i].length <= DISK_SIZE);
        for (uint64_t off = ranges[i].offset; off < ranges[i].offset + ranges[i].length;
             off += 512) {
            total += covered[off / 512] ? 0 : 512;
            covered[off / 512] = true;
        }
    }
    for (uint64_t off = 0; off < DISK_SIZE; off += 512) {
        assert_true(covered[off / 512] || memcmp(a + off, b + off, 512) == 0);
    }
    free(a);
    free(b);
    free(covered);
    (void)close(fa);
    (void)close(fb);
    return total;
}

static size_t
query_all(struct fixture *f, const char *path, const char *id, size_t max, struct sim_extent **out)
{
    uint64_t off = 0;
    size_t total = 0;

    *out = NULL;
    while (off < DISK_SIZE) {
        struct sim_extent *ranges = NULL;
        uint64_t processed = 0;
        struct sim_error err;
        size_t count = 0;

        must_work(changes_query(f->h, path, id, off, DISK_SIZE - off, max, &ranges, &count,
                                &processed, &err));
        assert_true(processed > 0 && count <= max);
        for (size_t i = 0; i < count; i++) {
            struct sim_extent *e = sim_array_add(out, &total, sizeof(*e));

            assert_true(ranges[i].offset >= off &&
                        ranges[i].offset + ranges[i].length <= off + processed);
            *e = ranges[i];
        }
        off += processed;
        free(ranges);
    }
    return total;
}

static void
check_changes(struct fixture *f, size_t max_ranges)
{
    struct guid c0;
    struct guid c1;
    struct guid r0;
    struct sim_extent *ranges = NULL;
    char *path = NULL;
    char *before = NULL;
    char *after = NULL;
    size_t count;

    scribble(f, 1, 30);
    c0 = take_backup(f);
    scribble(f, 1, 10); /* between freezing and conversion: after the id was sealed */
    r0 = convert(f, &c0);
    test_settle(f->h);
    scribble(f, 1, 10);
    c1 = take_backup(f);
    scribble(f, 1, 10); /* after the end of the question */
    path = frozen_path(f, &c1, 1);
    before = truth_file(the_vm(f), &c0, &f->disks[1]);
    after = truth_file(the_vm(f), &c1, &f->disks[1]);
    count = query_all(f, path, change_id_of(f, &r0, 1), max_ranges, &ranges);
    assert_true(count > 0);
    (void)assert_covers_all_changes(before, after, ranges, count);
    assert_frozen_is_true(f, &c1);
    free(ranges);
    free(path);
    free(before);
    free(after);
}

static void
changed_ranges_miss_no_sector_that_differs_between_two_moments(void **state)
{
    struct fixture *f = *state;

    check_changes(f, 4096);
}

static void
changed_ranges_come_whole_however_few_fit_into_one_answer(void **state)
{
    struct fixture *f = *state;

    check_changes(f, 1);
}

static void
changed_ranges_out_of_order_and_overlapping_still_miss_nothing(void **state)
{
    struct fixture *f = *state;
    struct sim_options o = f->h->options;
    struct sim_error err;

    o.rct_quirks = true;
    o.rct_overreport = 30;
    must_work(host_set_options(f->h, &o, &err));
    check_changes(f, 7);
}

static void
a_disk_nobody_wrote_to_has_no_changes(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 0);
    free(ranges);
    free(path);
}

static void
changed_ranges_are_granules_of_what_was_written(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    write_at(f, 0, 65536 + 512, 512);
    write_at(f, 0, 5 * 65536 - 512, 1024);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 2);
    assert_non_null(ranges);
    assert_int_equal(ranges[0].offset, 65536);
    assert_int_equal(ranges[0].length, 65536);
    assert_int_equal(ranges[1].offset, 4 * 65536);
    assert_int_equal(ranges[1].length, 2 * 65536);
    free(ranges);
    free(path);
}

static void
change_ids_that_answer_no_more_say_why(void **state)
{
    struct fixture *f = *state;
    char id[96];
    struct sim_error err;
    struct guid job;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_OK);
    assert_int_equal(query(f, path, "rctX:never:given:out"), SIM_CT_INVALID_ID);
    assert_int_equal(query(f, "/nonexistent.vhdx", id), SIM_FILE_MISSING);
    assert_int_equal(query(f, "/bin/sh", id), SIM_CT_DISABLED);
    must_work(refpoint_destroy(f->h, &r, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_OK);
    assert_int_equal(query(f, path, id), SIM_CT_MISSING);
    r = convert(f, &c);
    free(path);
    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    must_work(tracking_set(f->h, &f->vm, &f->disks[0], SIM_TRACKING_LOST, &err));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_CT_LOST);
    must_work(tracking_set(f->h, &f->vm, &f->disks[0], SIM_TRACKING_OFF, &err));
    assert_int_equal(query(f, path, id), SIM_CT_DISABLED);
    free(path);
}

static void
an_id_younger_than_the_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct guid user = take_checkpoint(f, SIM_CHECKPOINT_USER, "old");
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    path = frozen_path(f, &user, 0);
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_CT_INVALID_ID);
    free(path);
}

static void
a_resized_disk_has_lost_its_tracking(void **state)
{
    struct fixture *f = *state;
    char id[96];
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid r;
    char *path = NULL;

    assert_int_equal(disk_resize(f->h, &f->vm, &f->disks[0], 2 * DISK_SIZE, &err),
                     SIM_INVALID_STATE);
    r = convert(f, &c);
    test_settle(f->h);
    (void)snprintf(id, sizeof(id), "%s", change_id_of(f, &r, 0));
    must_work(disk_resize(f->h, &f->vm, &f->disks[0], 2 * DISK_SIZE, &err));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query(f, path, id), SIM_CT_OFFLINE);
    assert_int_equal(query(f, path, change_id_of(f, &r, 1)), SIM_CT_INVALID_ID);
    assert_frozen_is_true(f, &c);
    free(path);
}

static void
the_file_a_running_vm_writes_to_is_in_use(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    path = vm_disk_path(the_vm(f), disk_file(the_disk(f, 0), &the_disk(f, 0)->active));
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_SHARING);
    must_work(vm_set(f->h, &f->vm, NULL, SIM_VM_OFF, -1, -1, &err));
    assert_int_equal(query(f, path, change_id_of(f, &r, 0)), SIM_OK);
    free(path);
}

/* ---- reference points ---- */

static void
an_old_configuration_version_keeps_no_reference_points(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c;
    struct guid job;

    add_vm(f, "5.0", &f->vm, f->disks);
    c = take_backup(f);
    assert_int_equal(refpoint_convert(f->h, &c, &job, &err), SIM_UNSUPPORTED);
    assert_frozen_is_true(f, &c);
    destroy(f, &c);
    test_settle(f->h);
    assert_live_is_true(f);
}

static void
a_checkpoint_of_a_person_is_not_converted(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_checkpoint(f, SIM_CHECKPOINT_USER, "mine");
    struct guid job;

    assert_int_equal(refpoint_convert(f->h, &c, &job, &err), SIM_INVALID);
}

static void
a_limit_on_reference_points_fails_the_job_and_keeps_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct sim_options o = f->h->options;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid job;

    o.max_refpoints = 1;
    must_work(host_set_options(f->h, &o, &err));
    (void)convert(f, &c);
    test_settle(f->h);
    c = take_backup(f);
    must_work(refpoint_convert(f->h, &c, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_FAILED);
    assert_int_equal(the_vm(f)->checkpoint_count, 1);
    destroy(f, &c);
}

static void
a_job_on_a_checkpoint_keeps_others_off_it(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct guid c = take_backup(f);
    struct guid job;
    struct guid second;

    must_work(refpoint_convert(f->h, &c, &job, &err));
    assert_int_equal(checkpoint_destroy(f->h, &c, &second, &err), SIM_INVALID_STATE);
    must_work(job_cancel(f->h, &job, &err));
    must_work(checkpoint_destroy(f->h, &c, &second, &err));
    assert_int_equal(test_finish_job(f->h, &second, NULL), SIM_OK);
    assert_int_equal(checkpoint_destroy(f->h, &c, &second, &err), SIM_NOT_FOUND);
}

/* ---- the host ---- */

static void
a_restarted_host_has_forgotten_jobs_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    struct sim_job *j = NULL;
    struct guid job;
    struct guid c = take_backup(f);
    struct guid r = convert(f, &c);
    char *path = NULL;

    test_settle(f->h);
    scribble(f, 0, 10);
    c = take_backup(f);
    scribble(f, 0, 10);
    must_work(checkpoint_destroy(f->h, &c, &job, &err)); /* not carried out yet */
    must_work(host_restart(f->h, false, &err));
    assert_int_equal(find_job(f->h, &job, &j, &err), SIM_NOT_FOUND);
    assert_frozen_is_true(f, &c);
    assert_live_is_true(f);
    path = frozen_path(f, &c, 0);
    assert_true(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges) > 0);
    destroy(f, &c);
    (void)engine_tick(f->h);
    must_work(host_restart(f->h, false, &err)); /* in the middle of the merge, or before it */
    test_settle(f->h);
    assert_one_file_left(f);
    assert_live_is_true(f);
    free(ranges);
    free(path);
}

static void
a_power_cut_makes_tracking_coarse_but_never_wrong(void **state)
{
    struct fixture *f = *state;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    struct guid c0 = take_backup(f);
    struct guid c1;
    struct guid r = convert(f, &c0);
    char *path = NULL;
    char *before = NULL;
    char *after = NULL;
    size_t count;

    test_settle(f->h);
    write_at(f, 0, 3 * MIB + 65536, 512);
    must_work(host_restart(f->h, true, &err));
    c1 = take_backup(f);
    path = frozen_path(f, &c1, 0);
    before = truth_file(the_vm(f), &c0, &f->disks[0]);
    after = truth_file(the_vm(f), &c1, &f->disks[0]);
    count = query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges);
    assert_int_equal(assert_covers_all_changes(before, after, ranges, count), MIB);
    free(ranges);
    free(path);
    free(before);
    free(after);
}

static void
a_vm_that_moves_takes_its_points_and_its_tracking_along(void **state)
{
    struct fixture *f = *state;
    struct fixture other = *f;
    struct sim_extent *ranges = NULL;
    struct sim_error err;
    char *parcel = sim_printf("%s/parcel", f->dir);
    char *path = NULL;
    struct guid c = take_backup(f);
    struct guid moved;
    struct guid r;

    assert_int_equal(vm_move_out(f->h, &f->vm, parcel, &err), SIM_INVALID_STATE);
    r = convert(f, &c);
    test_settle(f->h);
    scribble(f, 0, 10);
    must_work(vm_move_out(f->h, &f->vm, parcel, &err));
    assert_int_equal(f->h->vm_count, 0);
    other.host_dir = sim_printf("%s/other", f->dir);
    open_host(&other);
    must_work(vm_move_in(other.h, parcel, &moved, &err));
    assert_true(guid_equal(&moved, &f->vm));
    scribble(&other, 0, 10);
    c = take_backup(&other);
    assert_frozen_is_true(&other, &c);
    path = frozen_path(&other, &c, 0);
    assert_true(query_all(&other, path, change_id_of(&other, &r, 0), 4096, &ranges) > 0);
    host_close(other.h);
    free(other.host_dir);
    free(ranges);
    free(parcel);
    free(path);
}

static void
a_host_folder_belongs_to_one_simulator_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct sim_host *second = NULL;

    assert_int_equal(host_open(&second, f->host_dir, "sim2", 1, &err), SIM_SHARING);
}

static void
without_truth_nothing_is_copied_and_disks_are_right_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct vm_spec spec = {.name = "bench",
                           .generation = 2,
                           .config_version = "9.0",
                           .state = SIM_VM_RUNNING,
                           .integration = true};
    struct disk_spec disk = {.block_size = 32 * 1024 * 1024,
                             .logical_sector = 512,
                             .physical_sector = 4096,
                             .tracked = true};
    char *raw = sim_printf("%s/in.raw", f->dir);
    char *now = sim_printf("%s/now.raw", f->dir);
    char *truths = NULL;
    struct sim_error err;
    uint64_t bytes = 0;
    uint64_t extents = 0;
    struct guid c;

    assert_true(test_run("head -c 8M /dev/urandom >'%s'; truncate -s %llu '%s'", raw,
                         (unsigned long long)DISK_SIZE, raw));
    disk.raw = raw;
    must_work(vm_create(f->h, &spec, &f->vm, &err));
    must_work(disk_add(f->h, &f->vm, &disk, &f->disks[0], &err));
    must_work(disk_add(f->h, &f->vm, &disk, &f->disks[1], &err));
    c = take_backup(f);
    assert_true(
        test_run("printf changed | dd of='%s' bs=1 seek=9000000 conv=notrunc 2>/dev/null", raw));
    must_work(guest_sync(f->h, &f->vm, &f->disks[0], raw, &bytes, &extents, &err));
    assert_int_equal(bytes, 4096);
    assert_int_equal(extents, 1);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    destroy(f, &c);
    test_settle(f->h);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    truths = sim_printf("%s/truth", the_vm(f)->folder);
    assert_true(test_run("test -z \"$(ls '%s')\"", truths));
    free(raw);
    free(now);
    free(truths);
}

static void
a_sync_makes_the_disk_equal_to_the_image_and_tracks_what_it_wrote(void **state)
{
    struct fixture *f = *state;
    char *raw = sim_printf("%s/in.raw", f->dir);
    char *now = sim_printf("%s/now.raw", f->dir);
    struct sim_extent *ranges = NULL;
    char *path = NULL;
    struct sim_error err;
    uint64_t bytes = 0;
    uint64_t extents = 0;
    struct guid c;
    struct guid r;

    scribble(f, 0, 20);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], raw, &err));
    c = take_backup(f);
    r = convert(f, &c);
    test_settle(f->h);
    assert_true(
        test_run("printf changed | dd of='%s' bs=1 seek=10485760 conv=notrunc 2>/dev/null", raw));
    must_work(guest_sync(f->h, &f->vm, &f->disks[0], raw, &bytes, &extents, &err));
    assert_int_equal(bytes, 4096);
    must_work(guest_read(f->h, &f->vm, &f->disks[0], now, &err));
    assert_true(test_files_equal(raw, now));
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    assert_int_equal(query_all(f, path, change_id_of(f, &r, 0), 4096, &ranges), 1);
    assert_non_null(ranges);
    assert_int_equal(ranges[0].offset, 10485760);
    assert_int_equal(ranges[0].length, 65536);
    free(raw);
    free(now);
    free(path);
    free(ranges);
}

static void
the_comparison_itself_finds_a_difference(void **state)
{
    struct fixture *f = *state;
    struct guid c;
    char *path = NULL;
    char *truth = NULL;

    if (!test_have("7z")) {
        skip();
    }
    scribble(f, 0, 10);
    c = take_backup(f);
    path = frozen_path(f, &c, 0);
    truth = truth_file(the_vm(f), &c, &f->disks[0]);
    assert_true(test_7z_equals(path, truth));
    assert_true(test_run("printf x | dd of='%s' bs=1 seek=123456 conv=notrunc 2>/dev/null", truth));
    assert_false(test_7z_equals(path, truth));
    assert_false(test_7z_equals("/nonexistent", truth));
    free(path);
    free(truth);
}

#define case_of(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        case_of(changed_ranges_miss_no_sector_that_differs_between_two_moments),
        case_of(changed_ranges_come_whole_however_few_fit_into_one_answer),
        case_of(changed_ranges_out_of_order_and_overlapping_still_miss_nothing),
        case_of(a_disk_nobody_wrote_to_has_no_changes),
        case_of(changed_ranges_are_granules_of_what_was_written),
        case_of(change_ids_that_answer_no_more_say_why),
        case_of(an_id_younger_than_the_file_is_refused),
        case_of(a_resized_disk_has_lost_its_tracking),
        case_of(the_file_a_running_vm_writes_to_is_in_use),
        case_of(an_old_configuration_version_keeps_no_reference_points),
        case_of(a_checkpoint_of_a_person_is_not_converted),
        case_of(a_limit_on_reference_points_fails_the_job_and_keeps_the_checkpoint),
        case_of(a_job_on_a_checkpoint_keeps_others_off_it),
        case_of(a_restarted_host_has_forgotten_jobs_and_nothing_else),
        case_of(a_power_cut_makes_tracking_coarse_but_never_wrong),
        case_of(a_vm_that_moves_takes_its_points_and_its_tracking_along),
        case_of(a_host_folder_belongs_to_one_simulator_at_a_time),
        case_of(without_truth_nothing_is_copied_and_disks_are_right_all_the_same),
        case_of(a_sync_makes_the_disk_equal_to_the_image_and_tracks_what_it_wrote),
        case_of(the_comparison_itself_finds_a_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
