/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "os/process.h"

/*
 * What file.h promises of every struct fs, run over each member.  A case gets an empty folder on a
 * file system of the member.
 */
struct member {
    const char *name;
    void (*make)(struct member *m);
    void (*destroy)(struct member *m);
    struct fs *fs;
    char root[64];
    struct mem_fs *mem;
    struct fault_fs *fault;
};

struct collected {
    unsigned count;
    unsigned folders;
    char names[8][32];
    unsigned stop_after; /* 0: never */
};

static bool
collect(void *arg, const char *name, bool is_dir)
{
    struct collected *c = arg;

    assert_true(c->count < 8);
    (void)snprintf(c->names[c->count], sizeof(c->names[0]), "%s", name);
    c->count++;
    c->folders += is_dir ? 1 : 0;
    return c->count != c->stop_after;
}

/* ---- the machine's file system, in a fresh folder ---- */

static struct fs *remove_fs;
static char remove_root[256];

static bool
remove_entry(void *arg, const char *name, bool is_dir)
{
    struct varve_error err;
    char path[256];

    (void)arg;
    (void)snprintf(path, sizeof(path), "%.120s/%.120s", remove_root, name);
    if (is_dir) {
        char saved[256];

        memcpy(saved, remove_root, sizeof(saved));
        (void)snprintf(remove_root, sizeof(remove_root), "%s", path);
        assert_ok(fs_list(remove_fs, path, remove_entry, NULL, &err), &err);
        memcpy(remove_root, saved, sizeof(saved));
    }
    assert_ok(fs_remove(remove_fs, path, &err), &err);
    return true;
}

static void
system_make(struct member *m)
{
    static unsigned count;
    struct varve_error err;

    m->fs = fs_system();
    (void)snprintf(m->root, sizeof(m->root), "/tmp/varve-file-%" PRIu32 "-%u", process_id(),
                   ++count);
    assert_ok(fs_mkdir(m->fs, m->root, &err), &err);
}

static void
system_destroy(struct member *m)
{
    struct varve_error err;

    remove_fs = m->fs;
    (void)snprintf(remove_root, sizeof(remove_root), "%s", m->root);
    assert_ok(fs_list(m->fs, m->root, remove_entry, NULL, &err), &err);
    assert_ok(fs_remove(m->fs, m->root, &err), &err);
}

/* ---- memory ---- */

static void
mem_make(struct member *m)
{
    struct varve_error err;

    assert_ok(mem_fs_new(&m->mem, &err), &err);
    m->fs = mem_fs(m->mem);
    (void)snprintf(m->root, sizeof(m->root), "/root");
    assert_ok(fs_mkdir(m->fs, m->root, &err), &err);
}

static void
mem_destroy(struct member *m)
{
    mem_fs_free(m->mem);
}

/* ---- the fault wrapper, without a fault, over both ---- */

static void
fault_make(struct member *m, void (*make_inner)(struct member *))
{
    struct varve_error err;

    make_inner(m);
    assert_ok(fault_fs_new(&m->fault, m->fs, &err), &err);
    m->fs = fault_fs(m->fault);
}

static void
fault_system_make(struct member *m)
{
    fault_make(m, system_make);
}

static void
fault_system_destroy(struct member *m)
{
    system_destroy(m);
    fault_fs_free(m->fault);
}

static void
fault_mem_make(struct member *m)
{
    fault_make(m, mem_make);
}

static void
fault_mem_destroy(struct member *m)
{
    fault_fs_free(m->fault);
    mem_destroy(m);
}

static struct member members[] = {
    {.name = "system", .make = system_make, .destroy = system_destroy},
    {.name = "memory", .make = mem_make, .destroy = mem_destroy},
    {.name = "fault over system", .make = fault_system_make, .destroy = fault_system_destroy},
    {.name = "fault over memory", .make = fault_mem_make, .destroy = fault_mem_destroy},
};

/* ---- the cases ---- */

static const char *
at(const struct member *m, const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *p = path[next++ % 4];

    (void)snprintf(p, sizeof(path[0]), "%s/%s", m->root, name);
    return p;
}

static void
put(struct member *m, const char *name, const char *text)
{
    struct varve_error err;
    struct file *f = NULL;

    assert_ok(file_open(m->fs, &f, at(m, name), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, text, strlen(text), 0, &err), &err);
    file_close(f);
}

static void
assert_content(struct member *m, const char *name, const char *text)
{
    struct varve_error err;
    uint8_t *data = NULL;
    size_t len = 0;

    assert_ok(fs_read_all(m->fs, at(m, name), 4096, &data, &len, &err), &err);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(data, text, len);
    free(data);
}

static void
what_was_written_is_read(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    struct file *again = NULL;
    char buf[16];
    size_t got = 99;

    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, "hello", 5, 0, &err), &err);
    assert_ok(file_write(f, "W", 1, 4, &err), &err);
    assert_ok(file_read(f, buf, sizeof(buf), 0, &got, &err), &err);
    assert_int_equal(got, 5);
    assert_memory_equal(buf, "hellW", 5);
    assert_ok(file_open(m->fs, &again, at(m, "a"), FILE_READ, &err), &err);
    assert_ok(file_read(again, buf, 3, 3, &got, &err), &err);
    assert_int_equal(got, 2);
    assert_memory_equal(buf, "lW", 2);
    assert_ok(file_read(again, buf, 3, 5, &got, &err), &err);
    assert_int_equal(got, 0);
    assert_ok(file_read(again, buf, 3, 5000, &got, &err), &err);
    assert_int_equal(got, 0);
    assert_ok(file_sync(f, &err), &err);
    file_close(again);
    file_close(f);
}

static void
a_gap_reads_as_zero(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    struct file_stat st;
    uint8_t buf[10000];

    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, "x", 1, 9999, &err), &err);
    assert_ok(file_read_exact(f, buf, sizeof(buf), 0, &err), &err);
    for (size_t i = 0; i < 9999; i++) {
        assert_int_equal(buf[i], 0);
    }
    assert_int_equal(buf[9999], 'x');
    assert_ok(file_fstat(f, &st, &err), &err);
    assert_true(st.size == 10000);
    assert_true(st.is_regular);
    assert_false(st.is_dir);
    file_close(f);
}

static void
reading_past_the_end_exactly_is_corrupt(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    char buf[16];

    put(m, "a", "hello");
    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_READ, &err), &err);
    assert_err(file_read_exact(f, buf, 6, 0, &err), VARVE_ERR_CORRUPT, &err);
    assert_non_null(strstr(err.msg, "ends at 5"));
    assert_ok(file_read_exact(f, buf, 5, 0, &err), &err);
    file_close(f);
}

static void
truncate_cuts_and_grows_with_zeros(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    char buf[8];

    put(m, "a", "hello");
    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_READ_WRITE, &err), &err);
    assert_ok(file_truncate(f, 2, &err), &err);
    assert_ok(file_truncate(f, 8, &err), &err);
    assert_ok(file_read_exact(f, buf, 8, 0, &err), &err);
    assert_memory_equal(buf, "he\0\0\0\0\0\0", 8);
    file_close(f);
}

static void
create_new_refuses_what_is_there_and_open_what_is_not(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;

    put(m, "a", "hello");
    assert_err(file_open(m->fs, &f, at(m, "a"), FILE_CREATE_NEW, &err), VARVE_ERR_EXISTS, &err);
    assert_non_null(strstr(err.msg, at(m, "a")));
    assert_err(file_open(m->fs, &f, at(m, "b"), FILE_READ, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, at(m, "b")));
    assert_err(file_open(m->fs, &f, at(m, "b"), FILE_READ_WRITE, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(file_open(m->fs, &f, at(m, "no/b"), FILE_CREATE_NEW, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_err(file_open(m->fs, &f, at(m, "a/b"), FILE_CREATE_NEW, &err), VARVE_ERR_INVALID, &err);
    assert_null(f);
    assert_content(m, "a", "hello");
}

static void
a_file_opened_for_reading_is_not_written(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;

    put(m, "a", "hello");
    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_READ, &err), &err);
    assert_int_not_equal(file_write(f, "x", 1, 0, &err), VARVE_OK);
    file_close(f);
    assert_content(m, "a", "hello");
}

static void
an_offset_beyond_any_file_is_invalid(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    size_t got = 0;
    char c = 'x';

    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_CREATE_NEW, &err), &err);
    assert_err(file_write(f, &c, 1, UINT64_MAX, &err), VARVE_ERR_INVALID, &err);
    assert_err(file_read(f, &c, 1, UINT64_MAX, &got, &err), VARVE_ERR_INVALID, &err);
    assert_err(file_truncate(f, UINT64_MAX, &err), VARVE_ERR_INVALID, &err);
    file_close(f);
}

static void
rename_new_moves_and_never_replaces(struct member *m)
{
    struct varve_error err;
    struct file_stat st;

    put(m, "a", "old");
    put(m, "b", "new");
    assert_err(fs_rename_new(m->fs, at(m, "b"), at(m, "a"), &err), VARVE_ERR_EXISTS, &err);
    assert_content(m, "a", "old");
    assert_content(m, "b", "new");
    assert_ok(fs_rename_new(m->fs, at(m, "b"), at(m, "c"), &err), &err);
    assert_content(m, "c", "new");
    assert_err(fs_stat(m->fs, at(m, "b"), &st, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(fs_rename_new(m->fs, at(m, "b"), at(m, "d"), &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
rename_over_replaces(struct member *m)
{
    struct varve_error err;
    struct file_stat st;

    put(m, "a", "old");
    put(m, "b", "new");
    assert_ok(fs_rename_over(m->fs, at(m, "b"), at(m, "a"), &err), &err);
    assert_content(m, "a", "new");
    assert_err(fs_stat(m->fs, at(m, "b"), &st, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(fs_rename_over(m->fs, at(m, "b"), at(m, "a"), &err), VARVE_ERR_NOT_FOUND, &err);
    assert_content(m, "a", "new");
}

static void
an_open_file_goes_on_after_it_was_renamed_or_removed(struct member *m)
{
    struct varve_error err;
    struct file *f = NULL;
    char buf[5];

    assert_ok(file_open(m->fs, &f, at(m, "a"), FILE_CREATE_NEW, &err), &err);
    assert_ok(fs_rename_new(m->fs, at(m, "a"), at(m, "b"), &err), &err);
    assert_ok(file_write(f, "hello", 5, 0, &err), &err);
    assert_content(m, "b", "hello");
    assert_ok(fs_remove(m->fs, at(m, "b"), &err), &err);
    assert_ok(file_read_exact(f, buf, 5, 0, &err), &err);
    assert_memory_equal(buf, "hello", 5);
    file_close(f);
}

static void
a_folder_with_entries_is_not_removed(struct member *m)
{
    struct varve_error err;
    struct file_stat st;

    assert_ok(fs_mkdir(m->fs, at(m, "d"), &err), &err);
    put(m, "d/a", "x");
    assert_err(fs_remove(m->fs, at(m, "d"), &err), VARVE_ERR_EXISTS, &err);
    assert_ok(fs_remove(m->fs, at(m, "d/a"), &err), &err);
    assert_ok(fs_remove(m->fs, at(m, "d"), &err), &err);
    assert_err(fs_stat(m->fs, at(m, "d"), &st, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(fs_remove(m->fs, at(m, "d"), &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
a_moved_folder_takes_its_entries_along(struct member *m)
{
    struct varve_error err;

    assert_ok(fs_mkdir(m->fs, at(m, "d"), &err), &err);
    put(m, "d/a", "x");
    assert_ok(fs_rename_new(m->fs, at(m, "d"), at(m, "e"), &err), &err);
    assert_content(m, "e/a", "x");
    assert_err(fs_mkdir(m->fs, at(m, "no/f"), &err), VARVE_ERR_NOT_FOUND, &err);
}

static void
mkdir_accepts_a_folder_and_refuses_a_file(struct member *m)
{
    struct varve_error err;
    struct file_stat st;

    assert_ok(fs_mkdir(m->fs, at(m, "d"), &err), &err);
    assert_ok(fs_mkdir(m->fs, at(m, "d"), &err), &err);
    assert_ok(fs_stat(m->fs, at(m, "d"), &st, &err), &err);
    assert_true(st.is_dir);
    put(m, "a", "x");
    assert_err(fs_mkdir(m->fs, at(m, "a"), &err), VARVE_ERR_EXISTS, &err);
    assert_err(fs_mkdir_parents(m->fs, at(m, "a"), &err), VARVE_ERR_EXISTS, &err);
    assert_ok(fs_mkdir_parents(m->fs, at(m, "x/y/z"), &err), &err);
    assert_ok(fs_mkdir_parents(m->fs, at(m, "x/y/z"), &err), &err);
    assert_ok(fs_stat(m->fs, at(m, "x/y/z"), &st, &err), &err);
    assert_true(st.is_dir);
    assert_ok(fs_sync_dir(m->fs, at(m, "x/y"), &err), &err);
    assert_err(fs_sync_dir(m->fs, at(m, "no"), &err), VARVE_ERR_NOT_FOUND, &err);
    if (fs_sync_dirs(m->fs, at(m, "x/y"), &err) != VARVE_OK) {
        assert_int_equal(err.code, VARVE_ERR_UNSUPPORTED);
    } else {
        assert_err(fs_sync_dirs(m->fs, at(m, "no"), &err), VARVE_ERR_NOT_FOUND, &err);
    }
}

static void
list_names_each_entry_once_and_can_be_stopped(struct member *m)
{
    struct collected all = {0};
    struct collected one = {.stop_after = 1};
    struct collected none = {0};
    struct varve_error err;

    assert_ok(fs_mkdir(m->fs, at(m, "d"), &err), &err);
    put(m, "d/inner", "x");
    put(m, "a", "x");
    put(m, "b", "x");
    assert_ok(fs_list(m->fs, m->root, collect, &all, &err), &err);
    assert_int_equal(all.count, 3);
    assert_int_equal(all.folders, 1);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(all.names[i], all.names[j]);
        }
    }
    assert_ok(fs_list(m->fs, m->root, collect, &one, &err), &err);
    assert_int_equal(one.count, 1);
    assert_err(fs_list(m->fs, at(m, "no"), collect, &none, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_int_equal(none.count, 0);
}

static void
identity_follows_the_file_not_the_name(struct member *m)
{
    struct varve_error err;
    struct file_stat a;
    struct file_stat b;

    put(m, "a", "x");
    put(m, "b", "x");
    assert_ok(fs_stat(m->fs, at(m, "a"), &a, &err), &err);
    assert_ok(fs_stat(m->fs, at(m, "b"), &b, &err), &err);
    assert_true(a.inode != b.inode);
    assert_true(a.device == b.device);
    assert_ok(fs_rename_new(m->fs, at(m, "a"), at(m, "c"), &err), &err);
    assert_ok(fs_stat(m->fs, at(m, "c"), &b, &err), &err);
    assert_true(a.inode == b.inode);
}

static void
read_all_keeps_to_its_limit(struct member *m)
{
    struct varve_error err;
    uint8_t *data = NULL;
    size_t len = 77;

    put(m, "a", "hello");
    assert_err(fs_read_all(m->fs, at(m, "a"), 4, &data, &len, &err), VARVE_ERR_LIMIT, &err);
    assert_null(data);
    assert_int_equal(len, 77);
    assert_ok(fs_read_all(m->fs, at(m, "a"), 5, &data, &len, &err), &err);
    assert_int_equal(len, 5);
    free(data);
    data = NULL;
    put(m, "empty", "");
    assert_ok(fs_read_all(m->fs, at(m, "empty"), 0, &data, &len, &err), &err);
    assert_int_equal(len, 0);
    free(data);
}

static void
write_durable_replaces_or_creates(struct member *m)
{
    struct collected all = {0};
    struct varve_error err;

    assert_ok(fs_write_durable(m->fs, at(m, "a"), "one", 3, true, &err), &err);
    assert_content(m, "a", "one");
    assert_err(fs_write_durable(m->fs, at(m, "a"), "two", 3, true, &err), VARVE_ERR_EXISTS, &err);
    assert_content(m, "a", "one");
    assert_ok(fs_write_durable(m->fs, at(m, "a"), "three", 5, false, &err), &err);
    assert_content(m, "a", "three");
    put(m, "b.tmp", "left by a crash");
    assert_ok(fs_write_durable(m->fs, at(m, "b"), "four", 4, true, &err), &err);
    assert_content(m, "b", "four");
    assert_ok(fs_list(m->fs, m->root, collect, &all, &err), &err);
    assert_int_equal(all.count, 2); /* no .tmp is left */
}

static void
free_bytes_are_told(struct member *m)
{
    struct varve_error err;
    uint64_t bytes = 0;

    assert_ok(fs_free_bytes(m->fs, m->root, &bytes, &err), &err);
    assert_true(bytes > 0);
    assert_err(fs_free_bytes(m->fs, at(m, "no"), &bytes, &err), VARVE_ERR_NOT_FOUND, &err);
}

/* Where holes are known the one here is found; where they are not, all of it is no hole. */
static void
a_hole_reads_as_zeros_and_data_is_none(struct member *m)
{
    const uint64_t size = 4u << 20;
    uint8_t byte = 1;
    uint64_t off = 0;
    uint64_t len = 0;
    uint64_t holes = 0;
    bool hole = false;
    struct varve_error err;
    struct file *f = NULL;

    assert_ok(file_open(m->fs, &f, at(m, "f"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, &byte, 1, 2u << 20, &err), &err);
    assert_ok(file_truncate(f, size, &err), &err);
    for (off = 0; off < size; off += len) {
        uint64_t max = size - off;

        assert_ok(file_hole(f, off, max, &hole, &len, &err), &err);
        assert_true(len > 0 && len <= max);
        assert_false(hole && off <= 2u << 20 && off + len > 2u << 20);
        holes += hole ? len : 0;
    }
    assert_true(m->mem == NULL || holes == size - 4096); /* memory knows all of them */
    assert_ok(file_hole(f, size, 1, &hole, &len, &err), &err);
    assert_false(hole);
    assert_ok(file_hole(f, UINT64_MAX - 1, 1, &hole, &len, &err), &err);
    assert_false(hole);
    file_close(f);
}

static void
space_that_was_taken_reads_as_zeros(struct member *m)
{
    uint8_t buf[8] = {9};
    struct varve_error err;
    struct file *f = NULL;
    enum varve_err rc;

    assert_ok(file_open(m->fs, &f, at(m, "f"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(f, "x", 1, 0, &err), &err);
    rc = file_allocate(f, 0, 1u << 20, &err);
    if (rc != VARVE_ERR_UNSUPPORTED) {
        assert_ok(rc, &err);
        assert_ok(file_read_exact(f, buf, 8, (1u << 20) - 8, &err), &err);
        assert_memory_equal(buf, "\0\0\0\0\0\0\0\0", 8);
        assert_ok(file_read_exact(f, buf, 2, 0, &err), &err);
        assert_memory_equal(buf, "x\0", 2);
    }
    file_close(f);
}

static void
bytes_are_copied_from_file_to_file(struct member *m)
{
    char buf[8] = "";
    struct varve_error err;
    struct file *a = NULL;
    struct file *b = NULL;
    enum varve_err rc;

    assert_ok(file_open(m->fs, &a, at(m, "a"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_open(m->fs, &b, at(m, "b"), FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(a, "0123456789", 10, 0, &err), &err);
    rc = file_copy(a, 2, b, 1, 5, &err);
    if (rc != VARVE_ERR_UNSUPPORTED) {
        assert_ok(rc, &err);
        assert_ok(file_read_exact(b, buf, 6, 0, &err), &err);
        assert_memory_equal(buf,
                            "\0"
                            "23456",
                            6);
        assert_err(file_copy(a, 8, b, 0, 5, &err), VARVE_ERR_UNSUPPORTED, &err); /* past the end */
    }
    file_close(a);
    file_close(b);
}

static const struct {
    const char *name;
    void (*run)(struct member *m);
} cases[] = {
    {"bytes_are_copied_from_file_to_file", bytes_are_copied_from_file_to_file},
    {"a_hole_reads_as_zeros_and_data_is_none", a_hole_reads_as_zeros_and_data_is_none},
    {"space_that_was_taken_reads_as_zeros", space_that_was_taken_reads_as_zeros},
    {"what_was_written_is_read", what_was_written_is_read},
    {"a_gap_reads_as_zero", a_gap_reads_as_zero},
    {"reading_past_the_end_exactly_is_corrupt", reading_past_the_end_exactly_is_corrupt},
    {"truncate_cuts_and_grows_with_zeros", truncate_cuts_and_grows_with_zeros},
    {"create_new_refuses_what_is_there_and_open_what_is_not",
     create_new_refuses_what_is_there_and_open_what_is_not},
    {"a_file_opened_for_reading_is_not_written", a_file_opened_for_reading_is_not_written},
    {"an_offset_beyond_any_file_is_invalid", an_offset_beyond_any_file_is_invalid},
    {"rename_new_moves_and_never_replaces", rename_new_moves_and_never_replaces},
    {"rename_over_replaces", rename_over_replaces},
    {"an_open_file_goes_on_after_it_was_renamed_or_removed",
     an_open_file_goes_on_after_it_was_renamed_or_removed},
    {"a_folder_with_entries_is_not_removed", a_folder_with_entries_is_not_removed},
    {"a_moved_folder_takes_its_entries_along", a_moved_folder_takes_its_entries_along},
    {"mkdir_accepts_a_folder_and_refuses_a_file", mkdir_accepts_a_folder_and_refuses_a_file},
    {"list_names_each_entry_once_and_can_be_stopped",
     list_names_each_entry_once_and_can_be_stopped},
    {"identity_follows_the_file_not_the_name", identity_follows_the_file_not_the_name},
    {"read_all_keeps_to_its_limit", read_all_keeps_to_its_limit},
    {"write_durable_replaces_or_creates", write_durable_replaces_or_creates},
    {"free_bytes_are_told", free_bytes_are_told},
};

#define MEMBERS (sizeof(members) / sizeof(members[0]))
#define CASES   (sizeof(cases) / sizeof(cases[0]))

static void
run_case(void **state)
{
    size_t n = *(size_t *)*state;
    struct member *m = &members[n / CASES];

    m->make(m);
    cases[n % CASES].run(m);
    m->destroy(m);
}

int
main(void)
{
    static struct CMUnitTest tests[MEMBERS * CASES];
    static size_t numbers[MEMBERS * CASES];
    static char names[MEMBERS * CASES][96];

    for (size_t i = 0; i < MEMBERS * CASES; i++) {
        numbers[i] = i;
        (void)snprintf(names[i], sizeof(names[i]), "%s: %s", members[i / CASES].name,
                       cases[i % CASES].name);
        tests[i] = (struct CMUnitTest){names[i], run_case, NULL, NULL, &numbers[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
