/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/export_lab.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capture/export/export_internal.h"
#include "hvsim/wmi_fake_internal.h"

/* What an export will take, and what there is. */

#define MIB   ((uint64_t)1024 * 1024)
#define LARGE (64 * MIB)

/* ---- what it takes ---- */

/* A third disk: large enough that its changes take less than all of it. */
static struct guid
add_large(struct export_lab *l)
{
    const struct disk_spec spec = {.size = LARGE,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .tracked = true};
    struct sim_extent all = {0, 48 * MIB};
    struct sim_error err;
    struct guid id;

    must_work(disk_add(l->hv.host, &l->hv.vm, &spec, &id, &err));
    must_work(guest_write(l->hv.host, &l->hv.vm, &id, &all, 1, NULL, 5, &err));
    return id;
}

struct frozen {
    struct capture_frozen f;
    struct capture_marks marks;
    struct capture_kept kept;
};

static void
freeze(struct export_lab *l, struct frozen *z)
{
    const struct capture_ops *ops = l->capture->ops;
    struct notes notes = {0};
    struct varve_error err;
    struct cancel never;
    struct guid run;

    memset(z, 0, sizeof(*z));
    cancel_init(&never);
    sim_random_guid(&l->hv.host->random, &run);
    assert_ok(ops->marks(l->capture, &l->hv.vm, &z->marks, &err), &err);
    assert_ok(ops->begin(l->capture, &l->hv.vm, &run, &never, &z->f, &notes, &err), &err);
    cancel_destroy(&never);
}

static void
keep(struct export_lab *l, struct frozen *z)
{
    struct varve_error err;
    struct cancel never;

    cancel_init(&never);
    assert_ok(l->capture->ops->keep(l->capture, &z->f, &z->marks, &never, &z->kept, &err), &err);
    cancel_destroy(&never);
    refpoint_lab_settle(&l->hv);
}

static void
forget(struct frozen *z)
{
    capture_frozen_release(&z->f);
    capture_marks_release(&z->marks);
    capture_kept_release(&z->kept);
}

static uint64_t
bytes_below(const char *folder)
{
    struct export_tree t;
    struct varve_error err;
    uint64_t bytes = 0;
    size_t i;

    assert_ok(export_tree_read(fs_system(), folder, &t, &err), &err);
    for (i = 0; i < t.count; i++) {
        struct stat st;

        assert_int_equal(stat(t.items[i].path, &st), 0);
        bytes += t.items[i].is_dir ? 0 : (uint64_t)st.st_size;
    }
    export_tree_release(&t);
    return bytes;
}

/* 4 KiB in each second chunk, and so no two in one range. */
static void
write_scattered(struct export_lab *l, const struct guid *disk, unsigned count)
{
    struct sim_error err;
    unsigned k;

    for (k = 0; k < count; k++) {
        const struct sim_extent e = {(uint64_t)k * 131072 % LARGE, 4096};

        must_work(guest_write(l->hv.host, &l->hv.vm, disk, &e, 1, NULL, k + 1, &err));
    }
}

/* The host's report, over many answers, is a bound of what it then writes; a silent host leaves that of all. */
static void
a_differential_export_takes_no_more_than_tracking_says(void **state)
{
    const unsigned counts[] = {0, 1, 10, 200}; /* writes; an answer has 64 ranges */
    struct frozen first;
    struct export_lab l;
    struct export *x;
    struct guid large;
    size_t i;

    (void)state;
    export_lab_open(&l);
    x = (struct export *)l.capture;
    large = add_large(&l);
    freeze(&l, &first);
    keep(&l, &first);
    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const char *since[3];
        struct notes notes = {0};
        struct varve_error err;
        struct cancel never;
        struct frozen z;
        uint64_t all;
        uint64_t need;
        unsigned k;

        write_scattered(&l, &large, counts[i]);
        freeze(&l, &z);
        for (k = 0; k < 3; k++) {
            since[k] = first.kept.change_ids[k];
        }
        all = export_need(x, &z.f, NULL);
        need = export_need(x, &z.f, since);
        cancel_init(&never);
        assert_ok(l.capture->ops->prepare(l.capture, &z.f, since, 65536, &never, &notes, &err),
                  &err);
        cancel_destroy(&never);
        print_message("%u writes: at most %llu KiB of %llu, %llu written\n", counts[i],
                      (unsigned long long)need / 1024, (unsigned long long)all / 1024,
                      (unsigned long long)bytes_below(l.folder) / 1024);
        assert_true(bytes_below(l.folder) <= need);
        assert_true(all >= 48 * MIB);
        assert_true(need + (counts[i] == 200 ? 16 : 32) * MIB <= all);
        ((struct wmi_fake *)l.hv.wmi)->options.no_changes = true;
        assert_int_equal(export_need(x, &z.f, since), all);
        ((struct wmi_fake *)l.hv.wmi)->options.no_changes = false;
        assert_ok(l.capture->ops->abort(l.capture, &l.hv.vm, z.f.checkpoint, NULL, &err), &err);
        refpoint_lab_settle(&l.hv);
        while (x->made != NULL) {
            struct guid run = x->made->run;

            assert_ok(l.capture->ops->adopt(l.capture, &run, NULL, &err), &err);
        }
        forget(&z);
    }
    forget(&first);
    export_lab_close(&l);
}

/* ---- what there is ---- */

static uint64_t room;

static enum varve_err
some_room(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    (void)path;
    (void)err;
    *out = room;
    return VARVE_OK;
}

static bool
was_exported(const struct export_lab *l)
{
    size_t i;

    for (i = 0; i < l->hv.script.count; i++) {
        if (strstr(l->hv.script.log[i], "ExportSystemDefinition") != NULL) {
            return true;
        }
    }
    return false;
}

static void
a_folder_without_room_fails_the_run_before_the_export(void **state)
{
    struct fs_ops ops = *fs_system()->ops;
    struct fs full = {&ops};
    struct varve_error err;
    struct export_lab l;

    (void)state;
    ops.free_bytes = some_room;
    export_lab_open(&l);
    export_lab_write(&l);
    capture_close(l.capture);
    export_lab_capture(&l, &full);
    port_script_clear_log(&l.hv.script);
    room = 3 * MIB;
    assert_int_equal(lab_run(&l.job, &err), VARVE_ERR_NOSPACE);
    assert_non_null(strstr(err.msg, "3 MiB free"));
    assert_non_null(strstr(err.msg, "full export"));
    assert_non_null(strstr(err.msg, "export-folder"));
    assert_false(was_exported(&l));
    export_lab_check_clean(&l, 0);
    room = 1024 * MIB;
    export_lab_good_run(&l);

    export_lab_write(&l);
    port_script_clear_log(&l.hv.script);
    room = 3 * MIB;
    assert_int_equal(lab_run(&l.job, &err), VARVE_ERR_NOSPACE);
    assert_non_null(strstr(err.msg, "differential export"));
    assert_false(was_exported(&l));
    export_lab_check_clean(&l, 1);
    room = 1024 * MIB;
    export_lab_good_run(&l);
    export_lab_close(&l);
}

static struct export_made *
new_made(struct export *x, const char *name, uint64_t need)
{
    struct export_made *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    m->run.bytes[0] = (uint8_t)name[0];
    m->need = need;
    m->folder = sim_printf("%s/%s", x->folder, name);
    assert_int_equal(mkdir(m->folder, 0700), 0);
    export_put(x, m);
    return m;
}

/* Of two at a time the later one leaves to the first what that has still to write. */
static void
exports_at_one_time_share_the_room(void **state)
{
    struct fs_ops ops = *fs_system()->ops;
    struct fs some = {&ops};
    struct export_made *a;
    struct export_made *b;
    struct varve_error err;
    struct export_lab l;
    struct export *x;
    char *path;
    FILE *f;

    (void)state;
    ops.free_bytes = some_room;
    export_lab_open(&l);
    capture_close(l.capture);
    export_lab_capture(&l, &some);
    x = (struct export *)l.capture;
    a = new_made(x, "a", 10 * MIB);
    b = new_made(x, "b", 5 * MIB);
    room = 15 * MIB;
    assert_ok(export_check_room(x, a, false, &err), &err);
    assert_ok(export_check_room(x, b, false, &err), &err);
    room = 15 * MIB - 1;
    assert_ok(export_check_room(x, a, false, &err), &err); /* it came first */
    assert_err(export_check_room(x, b, false, &err), VARVE_ERR_NOSPACE, &err);
    assert_non_null(strstr(err.msg, "14 MiB free, 10 MiB of them"));
    /* Some of it is written: it is not free any more, and not to come either. */
    path = sim_printf("%s/disk.vhdx", a->folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(4 * MIB) - 1, SEEK_SET), 0);
    assert_int_equal(fputc(0, f), 0);
    assert_int_equal(fclose(f), 0);
    free(path);
    room = 11 * MIB;
    assert_ok(export_check_room(x, b, false, &err), &err);
    room = 11 * MIB - 1;
    assert_err(export_check_room(x, b, false, &err), VARVE_ERR_NOSPACE, &err);
    export_written(x, a);
    room = 5 * MIB;
    assert_ok(export_check_room(x, b, false, &err), &err);
    export_lab_close(&l);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_differential_export_takes_no_more_than_tracking_says),
        cmocka_unit_test(a_folder_without_room_fails_the_run_before_the_export),
        cmocka_unit_test(exports_at_one_time_share_the_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
