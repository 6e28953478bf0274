/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "os/file_mem.h"
#include "os/thread.h"
#include "store/store_testing.h"

/*
 * The file system under the index's folder is full: a small one in memory, mounted where only this process sees
 * it.  The store is elsewhere and has room.  What needs the index fails and says so, nothing is lost, and with
 * space again the same process goes on.  Needs root; exit code 77 without.
 */
#define ROOM       (3u << 20)
#define PAGE       4096u
#define NOW        1000000000ll
#define PLACES_MAX 400u
#define MORE       6u /* runs */

static struct varve_error err;
static char *mount_point;
static char *index_folder;

/* ---- the small file system ---- */

static bool
mount_small(void)
{
    char options[64];

    mount_point = test_folder_make();
    index_folder = test_path(mount_point, "index");
    (void)snprintf(options, sizeof(options), "size=%u,mode=700", ROOM);
    return unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", mount_point, "tmpfs", 0, options) == 0;
}

/* Takes all room but that many bytes; the file is in the way until make_room(). */
static void
fill(uint64_t left)
{
    char *path = test_path(mount_point, "filler");
    struct file *f = NULL;
    uint64_t room = 0;

    assert_ok(fs_free_bytes(fs_system(), mount_point, &room, &err), &err);
    assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
    if (room > left) {
        assert_ok(file_allocate(f, 0, room - left, &err), &err);
    }
    file_close(f);
    free(path);
}

static void
make_room(void)
{
    char *path = test_path(mount_point, "filler");

    assert_ok(fs_remove(fs_system(), path, &err), &err);
    free(path);
}

static bool
remove_one(void *arg, const char *name, bool is_dir)
{
    char *path = test_path(arg, name);

    assert_false(is_dir);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    free(path);
    return true;
}

static void
remove_index(void)
{
    assert_ok(fs_list(fs_system(), index_folder, remove_one, index_folder, &err), &err);
}

/* ---- a store with two points ---- */

struct scene {
    struct mem_fs *mem;
    struct lab_book book;
    struct lab l;
};

static void
publish(struct scene *s, unsigned vm, unsigned number)
{
    s->book.tried[vm][number] = 1;
    assert_ok(lab_backup(&s->l, vm, number, &err), &err);
    s->book.acked[vm][number] = 1;
}

static void
open_scene(struct scene *s)
{
    assert_ok(lab_open(&s->l, mem_fs(s->mem), "/data", index_folder, NULL, &err), &err);
}

static struct scene *
make_scene(void)
{
    struct scene *s = calloc(1, sizeof(*s));

    assert_ok(mem_fs_new(&s->mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(s->mem), "/data", &err), &err);
    open_scene(s);
    publish(s, 0, 1);
    publish(s, 1, 1);
    return s;
}

static void
release_scene(struct scene *s)
{
    lab_close(&s->l);
    mem_fs_free(s->mem);
    free(s);
    remove_index();
}

static enum varve_err
collect(struct scene *s, struct varve_error *why)
{
    const struct gc_options options = {.now_us = NOW, .move_percent = 101};
    struct gc_result r;

    return gc_collect(s->l.gc, &options, &r, why);
}

/* All that was said is so, now and after a restart, and a collection and the next runs go on. */
static void
check(struct scene *s)
{
    struct account_check counts;
    unsigned points = 0;

    for (int i = 0; i < 2; i++) {
        assert_ok(lab_check(&s->l, &s->book, &points, &err), &err);
        assert_ok(lab_check_goes_on(&s->l, &s->book, &err), &err);
        assert_ok(collect(s, &err), &err);
        assert_ok(gc_check(s->l.gc, NULL, &counts, &err), &err);
        assert_int_equal(counts.missing, 0);
        assert_int_equal(counts.extra, 0);
        assert_ok(lab_check(&s->l, &s->book, &points, &err), &err);
        lab_close(&s->l);
        open_scene(s);
    }
}

static void
assert_names_the_index(enum varve_err rc, const struct varve_error *why)
{
    if (rc != VARVE_ERR_NOSPACE || strstr(why->msg, index_folder) == NULL) {
        fail_msg("%s: %s", rc == VARVE_OK ? "it went through" : "not what was expected", why->msg);
    }
}

static void
a_run_on_a_full_index_is_refused_and_the_next_one_is_not(void **state)
{
    unsigned refused = 0;
    unsigned places = 0;
    bool went_through = false;

    (void)state;
    for (uint64_t left = 0; !went_through && places < PLACES_MAX; left += PAGE, places++) {
        struct scene *s = make_scene();
        struct varve_error why;

        fill(left);
        went_through = true;
        for (unsigned n = 2; went_through && n < 2 + MORE; n++) {
            enum varve_err rc;

            s->book.tried[0][n] = 1;
            rc = lab_backup(&s->l, 0, n, &why);
            went_through = rc == VARVE_OK;
            s->book.acked[0][n] = went_through;
            if (!went_through) {
                assert_names_the_index(rc, &why);
                refused++;
            }
        }
        make_room();
        publish(s, 1, 2); /* the same process */
        check(s);
        release_scene(s);
    }
    print_message("%u places, %u runs refused\n", places, refused);
    assert_true(went_through && refused > 1);
}

static void
a_collection_on_a_full_index_loses_nothing(void **state)
{
    unsigned refused = 0;
    unsigned places = 0;
    bool went_through = false;

    (void)state;
    for (uint64_t left = 0; !went_through && places < PLACES_MAX; left += PAGE, places++) {
        struct scene *s = make_scene();
        struct point **list = NULL;
        struct varve_error why;
        size_t count = 0;
        unsigned number = 0;
        unsigned vm = 0;
        enum varve_err rc;

        publish(s, 0, 2);
        assert_ok(catalog_list(s->l.catalog, NULL, &list, &count, &err), &err);
        for (size_t i = 0; i < count; i++) {
            lab_identify(list[i], &vm, &number);
            if (vm == 0 && number == 1) {
                s->book.acked[0][1] = 0;
                assert_ok(gc_delete_point(s->l.gc, list[i], NOW, NOW, "t", "t", &err), &err);
            }
        }
        catalog_list_free(list, count);
        fill(left);
        rc = collect(s, &why);
        went_through = rc == VARVE_OK;
        if (!went_through) {
            assert_names_the_index(rc, &why);
            refused++;
        }
        make_room();
        check(s);
        release_scene(s);
    }
    print_message("%u places, %u collections refused\n", places, refused);
    assert_true(went_through && refused > 1);
}

static void
an_index_that_cannot_be_built_is_built_when_there_is_room(void **state)
{
    unsigned refused = 0;
    unsigned places = 0;
    bool went_through = false;
    struct scene *s = make_scene();

    (void)state;
    lab_close(&s->l);
    for (uint64_t left = 0; !went_through && places < PLACES_MAX; left += 5 * PAGE, places++) {
        struct varve_error why;

        remove_index();
        fill(left);
        went_through =
            lab_open(&s->l, mem_fs(s->mem), "/data", index_folder, NULL, &why) == VARVE_OK;
        if (!went_through) {
            assert_int_equal(why.code, VARVE_ERR_NOSPACE);
            assert_non_null(strstr(why.msg, index_folder));
            refused++;
        }
        lab_close(&s->l);
        make_room();
        open_scene(s); /* with what is there of it */
        if (places % 8 == 0) {
            check(s);
        }
        lab_close(&s->l);
    }
    open_scene(s);
    check(s);
    print_message("%u places, %u openings refused\n", places, refused);
    assert_true(went_through && refused > 1);
    release_scene(s);
}

/* ---- many readers ---- */

#define READERS 200u

struct readers {
    struct index *index;
    struct mutex lock;
    struct cond all_in;
    unsigned in;
};

static bool
wait_for_all(void *arg, const struct index_pack *pack)
{
    struct readers *r = arg;

    (void)pack;
    mutex_lock(&r->lock);
    r->in++;
    cond_broadcast(&r->all_in);
    while (r->in < READERS) {
        cond_wait(&r->all_in, &r->lock);
    }
    mutex_unlock(&r->lock);
    return false;
}

static void
read_main(void *arg)
{
    struct readers *r = arg;
    struct varve_error why;

    assert_ok(index_list_packs(r->index, wait_for_all, r, &why), &why);
}

/* The table of readers is a file in memory too: its pages are there from the beginning, or the process would die of
 * the first that is not. */
static void
readers_need_no_room(void **state)
{
    struct scene *s = make_scene();
    struct readers r = {.index = chunk_store_index(s->l.cs)};
    struct thread threads[READERS];

    (void)state;
    mutex_init(&r.lock);
    cond_init(&r.all_in);
    fill(0);
    for (unsigned i = 0; i < READERS; i++) {
        assert_ok(thread_start(&threads[i], "reader", read_main, &r, &err), &err);
    }
    for (unsigned i = 0; i < READERS; i++) {
        thread_join(&threads[i]);
    }
    assert_int_equal(r.in, READERS);
    make_room();
    cond_destroy(&r.all_in);
    mutex_destroy(&r.lock);
    check(s);
    release_scene(s);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_need_no_room),
        cmocka_unit_test(a_run_on_a_full_index_is_refused_and_the_next_one_is_not),
        cmocka_unit_test(a_collection_on_a_full_index_loses_nothing),
        cmocka_unit_test(an_index_that_cannot_be_built_is_built_when_there_is_room),
    };
    int failed;

    log_set_sink(drop_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    if (!mount_small()) {
        (void)printf("skipped: a small file system cannot be mounted here: %s\n", strerror(errno));
        test_folder_remove(mount_point);
        free(index_folder);
        return 77;
    }
    assert_ok(fs_mkdir_parents(fs_system(), index_folder, &err), &err);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)umount2(mount_point, MNT_DETACH);
    test_folder_remove(mount_point);
    free(index_folder);
    return failed;
}
