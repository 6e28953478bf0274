/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/journal.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

static void
full_entry(struct journal_entry *e)
{
    struct varve_error err;

    memset(e, 0, sizeof(*e));
    e->run.bytes[0] = 1;
    e->vm.bytes[0] = 2;
    e->state = JOURNAL_COMMITTING;
    e->full = true;
    e->keep_tried = true;
    (void)snprintf(e->base_refpoint, sizeof(e->base_refpoint), "Microsoft:a b\\c%%d");
    (void)snprintf(e->checkpoint, sizeof(e->checkpoint), "cp");
    (void)snprintf(e->refpoint, sizeof(e->refpoint), "r\n\tp");
    (void)snprintf(e->way.name, sizeof(e->way.name), "vss");
    (void)snprintf(e->way.reason, sizeof(e->way.reason), "not refpoint: version 5.0");
    e->point.bytes[5] = 9;
    e->failure = VARVE_ERR_NOSPACE;
    (void)snprintf(e->failure_text, sizeof(e->failure_text), "no space left on 'x'");
    assert_ok(capture_marks_add(&e->marks, "mark one", &err), &err);
    assert_ok(capture_marks_add(&e->marks, "mark-2", &err), &err);
    e->base = calloc(2, sizeof(*e->base));
    e->disks = calloc(2, sizeof(*e->disks));
    assert_non_null(e->base);
    assert_non_null(e->disks);
    e->skips = calloc(1, sizeof(*e->skips));
    assert_non_null(e->skips);
    e->skip_count = 1;
    e->skips[0].id.bytes[2] = 4;
    (void)snprintf(e->skips[0].reason, sizeof(e->skips[0].reason), "it is shared");
    e->base_count = 2;
    e->base[0].size = UINT64_C(1) << 46;
    (void)snprintf(e->base[0].change_id, sizeof(e->base[0].change_id), "rct:1 2");
    e->base[1].id.bytes[1] = 3;
    e->disk_count = 2;
    (void)snprintf(e->disks[0].since, sizeof(e->disks[0].since), "rct:1 2");
    (void)snprintf(e->disks[1].reason, sizeof(e->disks[1].reason), "the disk was resized");
}

static void
what_is_written_is_read_again(void **state)
{
    struct journal_entry e;
    struct journal_entry got;
    struct mem_fs *mem = NULL;
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/s", &err), &err);
    full_entry(&e);
    assert_ok(journal_list(mem_fs(mem), "/s", &runs, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_ok(journal_write(mem_fs(mem), "/s", &e, &err), &err);
    assert_ok(journal_write(mem_fs(mem), "/s", &e, &err), &err);
    assert_ok(journal_list(mem_fs(mem), "/s", &runs, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_true(guid_equal(&runs[0], &e.run));
    free(runs);
    assert_ok(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), &err);
    assert_true(guid_equal(&got.vm, &e.vm));
    assert_int_equal(got.state, JOURNAL_COMMITTING);
    assert_true(got.full && got.keep_tried);
    assert_string_equal(got.base_refpoint, e.base_refpoint);
    assert_string_equal(got.checkpoint, e.checkpoint);
    assert_string_equal(got.refpoint, e.refpoint);
    assert_true(guid_equal(&got.point, &e.point));
    assert_int_equal(got.failure, VARVE_ERR_NOSPACE);
    assert_string_equal(got.failure_text, e.failure_text);
    assert_int_equal(got.marks.count, 2);
    assert_true(capture_marks_has(&got.marks, "mark one"));
    assert_int_equal(got.base_count, 2);
    assert_int_equal(got.base[0].size, e.base[0].size);
    assert_string_equal(got.base[0].change_id, "rct:1 2");
    assert_string_equal(got.base[1].change_id, "");
    assert_true(guid_equal(&got.base[1].id, &e.base[1].id));
    assert_int_equal(got.disk_count, 2);
    assert_string_equal(got.disks[0].since, "rct:1 2");
    assert_string_equal(got.disks[1].since, "");
    assert_string_equal(got.disks[1].reason, "the disk was resized");
    assert_false(got.foreign);
    assert_string_equal(got.way.name, "vss");
    assert_string_equal(got.way.reason, "not refpoint: version 5.0");
    assert_true(got.way.settled);
    assert_int_equal(got.skip_count, 1);
    assert_true(guid_equal(&got.skips[0].id, &e.skips[0].id));
    assert_string_equal(got.skips[0].reason, "it is shared");
    journal_entry_release(&got);
    assert_ok(journal_remove(mem_fs(mem), "/s", &e.run, &err), &err);
    assert_ok(journal_remove(mem_fs(mem), "/s", &e.run, &err), &err);
    assert_err(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), VARVE_ERR_NOT_FOUND, &err);
    journal_entry_release(&e);
    mem_fs_free(mem);
}

static void
kept_points_are_a_list_that_may_be_missing(void **state)
{
    struct capture_marks list = {0};
    struct capture_marks got;
    struct mem_fs *mem = NULL;
    struct guid vm = {{7}};
    struct varve_error err;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/s", &err), &err);
    assert_ok(kept_read(mem_fs(mem), "/s", &vm, &got, &err), &err);
    assert_int_equal(got.count, 0);
    assert_ok(capture_marks_add(&list, "one point", &err), &err);
    assert_ok(capture_marks_add(&list, "two", &err), &err);
    assert_ok(kept_write(mem_fs(mem), "/s", &vm, &list, &err), &err);
    assert_ok(kept_read(mem_fs(mem), "/s", &vm, &got, &err), &err);
    assert_int_equal(got.count, 2);
    assert_true(capture_marks_has(&got, "one point"));
    capture_marks_release(&got);
    capture_marks_release(&list);
    assert_ok(kept_write(mem_fs(mem), "/s", &vm, &list, &err), &err);
    assert_ok(kept_read(mem_fs(mem), "/s", &vm, &got, &err), &err);
    assert_int_equal(got.count, 0);
    mem_fs_free(mem);
}

/* Any change to the disk fails once, and is asked for again: also the sync that makes the folder itself durable. */
static void
what_was_written_outlives_a_power_cut_whatever_failed_before(void **state)
{
    struct journal_entry e;
    uint64_t nth;
    bool failed = true;

    (void)state;
    full_entry(&e);
    for (nth = 1; failed; nth++) {
        struct fault_rule rule = {
            .ops = FAULT_CHANGES, .nth = nth, .times = 1, .action = FAULT_FAIL};
        struct fault_fs *ff = NULL;
        struct mem_fs *mem = NULL;
        struct journal_entry got;
        struct capture_marks list;
        struct varve_error err;

        assert_ok(mem_fs_new(&mem, &err), &err);
        assert_ok(fs_mkdir_parents(mem_fs(mem), "/s", &err), &err);
        assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
        assert_ok(fault_fs_set(ff, &rule, &err), &err);
        failed = journal_write(fault_fs(ff), "/s", &e, &err) != VARVE_OK;
        failed = kept_write(fault_fs(ff), "/s", &e.vm, &e.marks, &err) != VARVE_OK || failed;
        assert_int_equal(failed, fault_fs_hits(ff) > 0);
        assert_ok(fault_fs_set(ff, NULL, &err), &err);
        assert_ok(journal_write(fault_fs(ff), "/s", &e, &err), &err);
        assert_ok(kept_write(fault_fs(ff), "/s", &e.vm, &e.marks, &err), &err);
        mem_fs_power_cut(mem, 0);
        assert_ok(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), &err);
        assert_int_equal(got.state, e.state);
        journal_entry_release(&got);
        assert_ok(kept_read(mem_fs(mem), "/s", &e.vm, &list, &err), &err);
        assert_int_equal(list.count, e.marks.count);
        capture_marks_release(&list);
        fault_fs_free(ff);
        mem_fs_free(mem);
    }
    assert_true(nth > 8);
    journal_entry_release(&e);
}

/* Every byte of the file: changed, or the file cut there. */
static void
a_damaged_journal_is_noticed(void **state)
{
    static const char name[] = "/s/journal/01000000-0000-0000-0000-000000000000.run";
    struct journal_entry e;
    struct journal_entry got;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    uint8_t *text = NULL;
    size_t len = 0;
    size_t i;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/s", &err), &err);
    full_entry(&e);
    assert_ok(journal_write(mem_fs(mem), "/s", &e, &err), &err);
    assert_ok(fs_read_all(mem_fs(mem), name, JOURNAL_FILE_MAX, &text, &len, &err), &err);
    for (i = 0; i < len; i++) {
        text[i] ^= 1;
        assert_err(journal_parse(&got, text, len, &err), VARVE_ERR_CORRUPT, &err);
        text[i] ^= 1;
        assert_err(journal_parse(&got, text, i, &err), VARVE_ERR_CORRUPT, &err);
    }
    assert_ok(journal_parse(&got, text, len, &err), &err);
    journal_entry_release(&got);
    assert_ok(fs_write_durable(mem_fs(mem), name, text, len - 3, false, &err), &err);
    assert_err(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, name));
    free(text);
    journal_entry_release(&e);
    mem_fs_free(mem);
}

static void
other_files_in_the_folder_are_no_entries(void **state)
{
    struct mem_fs *mem = NULL;
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir_parents(mem_fs(mem), "/s/journal", &err), &err);
    assert_ok(fs_write_durable(mem_fs(mem), "/s/journal/readme.run", "x", 1, false, &err), &err);
    assert_ok(fs_write_durable(mem_fs(mem),
                               "/s/journal/01000000-0000-0000-0000-000000000000.run.tmp", "x", 1,
                               false, &err),
              &err);
    assert_ok(journal_list(mem_fs(mem), "/s", &runs, &count, &err), &err);
    assert_int_equal(count, 0);
    mem_fs_free(mem);
}

static void
a_run_of_another_host_is_over_and_says_what_was_ours(void **state)
{
    struct journal_entry e;
    struct journal_entry got;
    struct mem_fs *mem = NULL;
    struct varve_error err;

    (void)state;
    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/s", &err), &err);
    full_entry(&e);
    e.foreign = true;
    e.state = JOURNAL_UNDOING;
    assert_ok(capture_marks_add(&e.ours, "rp 7", &err), &err);
    assert_ok(capture_marks_add(&e.note.before, "cp 1", &err), &err);
    e.note.begun_us = INT64_C(1700000000000000);
    assert_ok(journal_write(mem_fs(mem), "/s", &e, &err), &err);
    assert_ok(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), &err);
    assert_true(got.foreign);
    assert_int_equal(got.ours.count, 1);
    assert_string_equal(got.ours.ids[0], "rp 7");
    assert_true(got.note.begun_us == e.note.begun_us);
    assert_int_equal(got.note.before.count, 1);
    assert_string_equal(got.note.before.ids[0], "cp 1");
    journal_entry_release(&got);
    e.state = JOURNAL_READING; /* nobody reads for another host */
    assert_ok(journal_write(mem_fs(mem), "/s", &e, &err), &err);
    assert_err(journal_read(mem_fs(mem), "/s", &e.run, &got, &err), VARVE_ERR_CORRUPT, &err);
    journal_entry_release(&e);
    mem_fs_free(mem);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_run_of_another_host_is_over_and_says_what_was_ours),
        cmocka_unit_test(kept_points_are_a_list_that_may_be_missing),
        cmocka_unit_test(what_was_written_outlives_a_power_cut_whatever_failed_before),
        cmocka_unit_test(a_damaged_journal_is_noticed),
        cmocka_unit_test(other_files_in_the_folder_are_no_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
