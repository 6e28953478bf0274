/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "os/thread.h"
#include "restore/restore_lab.h"
#include "store/store_fault.h"
#include "vhdx/image.h"

#define MIB (1024u * 1024)

static uint32_t
pick_chunk_size(uint64_t seed)
{
    static const uint32_t sizes[] = {64 * 1024, 4 * 1024, 1024 * 1024, 128 * 1024};

    return sizes[seed % 4];
}

static void
build_history(struct lab *l, uint64_t seed, size_t points)
{
    uint32_t sector = seed % 3 == 2 ? 4096 : 512;

    lab_open(l, seed, pick_chunk_size(seed));
    (void)lab_add_disk(l, "system.vhdx", (3 + seed % 5) * MIB + sector * (2 * (seed % 7)), sector);
    (void)lab_add_disk(l, "data_A1.avhdx", (9 + seed % 30) * MIB, 512);
    for (size_t i = 0; i < points; i++) {
        lab_write(l, 0, 6);
        if (i != 2) { /* one point in which a disk did not change */
            lab_write(l, 1, 10);
        }
        (void)lab_take_point(l);
    }
}

/* The bytes of a file that was written out, through a reader that knows nothing of assemblies. */
static void
file_holds_truth(const struct lab *l, const struct assembly_file *f, const char *folder)
{
    const struct lab_truth *truth = lab_truth_of(l, f);
    char *path = test_path(folder, f->name);
    struct image *img = NULL;
    struct image_info info;
    struct varve_error err;
    uint8_t *bytes = malloc((size_t)truth->size);

    assert_non_null(bytes);
    assert_ok(image_open(&img, fs_system(), path, IMAGE_ALLOW_RAW, &err), &err);
    image_get_info(img, &info);
    assert_int_equal(info.virtual_size, truth->size);
    if (info.format == IMAGE_VHDX) {
        assert_true(guid_equal(&info.disk_id, &f->disk->page83));
        assert_int_equal(info.logical_sector, f->disk->logical_sector);
    }
    assert_ok(image_read(img, bytes, (size_t)truth->size, 0, &err), &err);
    assert_memory_equal(bytes, truth->bytes, truth->size);
    image_close(img);
    free(bytes);
    free(path);
}

static void
all_files_hold_truth(struct lab *l, struct point *point, enum assembly_format format,
                     struct point *base, size_t disk_files)
{
    struct assembly *a = NULL;
    struct varve_error err;
    size_t disks = 0;
    char *folder = test_folder_make();

    assert_ok(assembly_open(&a, l->cs, l->catalog, point, format, base, &err), &err);
    lab_write_files(a, folder);
    for (size_t i = 0; i < assembly_file_count(a); i++) {
        const struct assembly_file *f = assembly_get_file(a, i);

        if (f->disk != NULL) {
            file_holds_truth(l, f, folder);
            disks++;
        } else {
            char *path = test_path(folder, f->name);
            uint8_t *data = NULL;
            size_t len = 0;

            assert_ok(fs_read_all(fs_system(), path, POINT_FILE_MAX, &data, &len, &err), &err);
            assert_int_equal(len, point->files[0].len);
            assert_memory_equal(data, point->files[0].data, len);
            free(data);
            free(path);
        }
    }
    assert_int_equal(disks, disk_files);
    assembly_close(a);
    test_folder_remove(folder);
}

static void
every_point_comes_back_in_every_format(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct lab l;

        print_message("seed %llu\n", (unsigned long long)seed);
        build_history(&l, seed, 4);
        for (size_t i = 0; i < l.point_count; i++) {
            all_files_hold_truth(&l, l.points[i].point, ASSEMBLY_RAW, NULL, 2);
            all_files_hold_truth(&l, l.points[i].point, ASSEMBLY_VHDX, NULL, 2);
        }
        all_files_hold_truth(&l, l.points[3].point, ASSEMBLY_CHAIN, NULL, 8);
        all_files_hold_truth(&l, l.points[2].point, ASSEMBLY_CHAIN, l.points[1].point, 4);
        all_files_hold_truth(&l, l.points[0].point, ASSEMBLY_CHAIN, l.points[0].point, 2);
        lab_close(&l);
    }
}

static void
files_of_a_chain_are_named_after_their_base_and_point(void **state)
{
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;
    char id[GUID_TEXT_SIZE];
    char want[128];

    (void)state;
    build_history(&l, 5, 2);
    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[1].point, ASSEMBLY_CHAIN, NULL, &err),
              &err);
    assert_int_equal(assembly_file_count(a), 5);
    guid_format_upper(&l.points[1].point->id, id);
    assert_string_equal(assembly_get_file(a, 0)->name, "system.vhdx");
    (void)snprintf(want, sizeof(want), "system_%s.avhdx", id);
    assert_string_equal(assembly_get_file(a, 1)->name, want);
    assert_string_equal(assembly_get_file(a, 2)->name, "data_A1.vhdx");
    assert_string_equal(assembly_get_file(a, 4)->name, "config/vm.vmcx");
    assert_int_equal(assembly_note_count(a), 0);
    assembly_close(a);
    lab_close(&l);
}

static void
disks_of_one_name_get_files_of_two(void **state)
{
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;

    (void)state;
    lab_open(&l, 1, 65536);
    (void)lab_add_disk(&l, "disk.vhdx", MIB, 512);
    (void)lab_add_disk(&l, "Disk.vhd", MIB, 512);
    (void)lab_add_disk(&l, "DISK.raw", MIB, 512);
    (void)lab_take_point(&l);
    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[0].point, ASSEMBLY_VHDX, NULL, &err),
              &err);
    assert_string_equal(assembly_get_file(a, 0)->name, "disk.vhdx");
    assert_string_equal(assembly_get_file(a, 1)->name, "Disk-2.vhdx");
    assert_string_equal(assembly_get_file(a, 2)->name, "DISK-3.vhdx");
    assembly_close(a);
    lab_close(&l);
}

static void
a_resized_or_new_disk_starts_its_chain_later_and_says_so(void **state)
{
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;
    char *folder = test_folder_make();

    (void)state;
    lab_open(&l, 77, 65536);
    (void)lab_add_disk(&l, "a.vhdx", 5 * MIB, 512);
    (void)lab_add_disk(&l, "b.vhdx", 5 * MIB, 512);
    lab_write(&l, 0, 5);
    (void)lab_take_point(&l);
    lab_resize_disk(&l, 0, 7 * MIB);
    lab_write(&l, 0, 5);
    (void)lab_take_point(&l);
    (void)lab_add_disk(&l, "c.vhdx", 3 * MIB, 512);
    lab_write(&l, 2, 5);
    (void)lab_take_point(&l);
    lab_write(&l, 0, 3);
    lab_write(&l, 2, 3);
    (void)lab_take_point(&l);

    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[3].point, ASSEMBLY_CHAIN, NULL, &err),
              &err);
    /* a: points 1 to 3, b: 0 to 3, c: 2 and 3, one configuration file */
    assert_int_equal(assembly_file_count(a), 3 + 4 + 2 + 1);
    assert_int_equal(assembly_note_count(a), 2);
    assert_non_null(strstr(assembly_get_note(a, 0), "'a.vhdx' was resized"));
    assert_non_null(strstr(assembly_get_note(a, 1), "'c.vhdx' is not in the point before"));
    lab_write_files(a, folder);
    for (size_t i = 0; i < 9; i++) {
        file_holds_truth(&l, assembly_get_file(a, i), folder);
    }
    assembly_close(a);
    lab_close(&l);
    test_folder_remove(folder);
}

static void
a_base_that_does_not_fit_is_refused(void **state)
{
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;
    struct lab other;

    (void)state;
    build_history(&l, 3, 2);
    build_history(&other, 4, 1);
    assert_err(assembly_open(&a, l.cs, l.catalog, l.points[0].point, ASSEMBLY_CHAIN,
                             l.points[1].point, &err),
               VARVE_ERR_INVALID, &err);
    assert_err(assembly_open(&a, l.cs, l.catalog, l.points[0].point, ASSEMBLY_CHAIN,
                             other.points[0].point, &err),
               VARVE_ERR_INVALID, &err);
    assert_err(assembly_open(&a, l.cs, l.catalog, l.points[1].point, ASSEMBLY_RAW,
                             l.points[0].point, &err),
               VARVE_ERR_INVALID, &err);
    assert_null(a);
    lab_close(&l);
    lab_close(&other);
}

static void
ranges_that_make_no_sense_are_refused(void **state)
{
    struct assembly_stretch stretch;
    struct assembly_data *data = malloc(sizeof(*data));
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;
    uint64_t size;
    uint64_t next;
    size_t count;

    (void)state;
    assert_non_null(data);
    data->buf = malloc(ASSEMBLY_READ_MAX);
    build_history(&l, 2, 1);
    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[0].point, ASSEMBLY_VHDX, NULL, &err),
              &err);
    size = assembly_get_file(a, 0)->size;
    assert_err(assembly_read(a, 0, 0, 0, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_read(a, 0, 0, ASSEMBLY_READ_MAX + 1, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_read(a, 0, size, 1, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_read(a, 0, size - 1, 2, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_read(a, 0, UINT64_MAX, 2, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_read(a, 3, 0, 1, data, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_map(a, 3, 0, &stretch, 1, &count, &next, &err), VARVE_ERR_INVALID, &err);
    assert_err(assembly_map(a, 0, size + 1, &stretch, 1, &count, &next, &err), VARVE_ERR_INVALID,
               &err);
    assert_ok(assembly_map(a, 0, size, &stretch, 1, &count, &next, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(next, size);
    assembly_close(a);
    lab_close(&l);
    free(data->buf);
    free(data);
}

/* ---- many readers ---- */

struct reader {
    struct assembly *a;
    const struct lab *lab;
    uint64_t seed;
    unsigned wrong;
};

static void
read_here_and_there(void *arg)
{
    struct reader *r = arg;
    struct test_random random = {.state = r->seed};
    struct assembly_data *data = malloc(sizeof(*data));
    struct varve_error err;

    data->buf = malloc(ASSEMBLY_READ_MAX);
    for (unsigned i = 0; i < 300; i++) {
        size_t file = (size_t)test_random_below(&random, 2);
        const struct lab_truth *truth = lab_truth_of(r->lab, assembly_get_file(r->a, file));
        uint64_t off = test_random_below(&random, truth->size);
        uint64_t most =
            truth->size - off < ASSEMBLY_READ_MAX ? truth->size - off : ASSEMBLY_READ_MAX;
        size_t len = (size_t)(1 + test_random_below(&random, most));
        const uint8_t *from = data->buf;
        uint64_t at = off;

        if (assembly_read(r->a, file, off, len, data, &err) != VARVE_OK) {
            r->wrong++;
            break;
        }
        for (size_t k = 0; k < data->piece_count; k++) {
            for (uint32_t n = 0; n < data->pieces[k].length; n++, at++) {
                uint8_t byte = data->pieces[k].hole ? 0 : *from++;

                r->wrong += byte != truth->bytes[at] ? 1 : 0;
            }
        }
        r->wrong += at != off + len ? 1 : 0;
    }
    free(data->buf);
    free(data);
}

static void
many_threads_read_one_assembly(void **state)
{
    struct thread threads[8];
    struct reader readers[8];
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;

    (void)state;
    build_history(&l, 11, 2);
    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[1].point, ASSEMBLY_RAW, NULL, &err),
              &err);
    for (size_t i = 0; i < 8; i++) {
        readers[i] = (struct reader){.a = a, .lab = &l, .seed = 100 + i};
        assert_ok(thread_start(&threads[i], "reader", read_here_and_there, &readers[i], &err),
                  &err);
    }
    for (size_t i = 0; i < 8; i++) {
        thread_join(&threads[i]);
        assert_int_equal(readers[i].wrong, 0);
    }
    assembly_close(a);
    lab_close(&l);
}

/* ---- damage ---- */

static void
a_damaged_chunk_is_never_handed_out(void **state)
{
    struct assembly_data *data = malloc(sizeof(*data));
    struct store_fault_plan plan = {.kinds = STORE_FAULT_GET, .damage_get = true};
    const struct store_fault_plan none = {0};
    struct varve_error err;
    struct assembly *a = NULL;
    struct lab l;
    unsigned refused = 0;

    (void)state;
    assert_non_null(data);
    data->buf = malloc(ASSEMBLY_READ_MAX);
    lab_open(&l, 21, 65536);
    (void)lab_add_disk(&l, "a.vhdx", 20 * MIB, 512);
    lab_write(&l, 0, 40);
    (void)lab_take_point(&l);
    assert_ok(assembly_open(&a, l.cs, l.catalog, l.points[0].point, ASSEMBLY_RAW, NULL, &err),
              &err);
    for (uint64_t nth = 1; nth < 40; nth++) {
        plan.fail_at = nth;
        store_fault_set(l.store, &plan);
        for (uint64_t off = 0; off < 20 * MIB; off += MIB) {
            enum varve_err rc = assembly_read(a, 0, off, MIB, data, &err);

            if (rc == VARVE_OK) {
                const uint8_t *from = data->buf;
                uint64_t at = off;

                for (size_t k = 0; k < data->piece_count; k++) {
                    if (!data->pieces[k].hole) {
                        assert_memory_equal(from, l.points[0].disks[0].bytes + at,
                                            data->pieces[k].length);
                        from += data->pieces[k].length;
                    }
                    at += data->pieces[k].length;
                }
            } else {
                assert_int_equal(rc, VARVE_ERR_CORRUPT);
                assert_non_null(strstr(err.msg, "a.raw"));
                refused++;
            }
        }
    }
    store_fault_set(l.store, &none);
    assert_true(refused > 0);
    assembly_close(a);
    lab_close(&l);
    free(data->buf);
    free(data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_comes_back_in_every_format),
        cmocka_unit_test(files_of_a_chain_are_named_after_their_base_and_point),
        cmocka_unit_test(disks_of_one_name_get_files_of_two),
        cmocka_unit_test(a_resized_or_new_disk_starts_its_chain_later_and_says_so),
        cmocka_unit_test(a_base_that_does_not_fit_is_refused),
        cmocka_unit_test(ranges_that_make_no_sense_are_refused),
        cmocka_unit_test(many_threads_read_one_assembly),
        cmocka_unit_test(a_damaged_chunk_is_never_handed_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
