/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"

void
open_host(struct fixture *f)
{
    struct sim_error err;
    struct sim_options options;

    must_work(host_open(&f->h, f->host_dir, "sim1", f->seed, &err));
    options = f->h->options;
    options.job_ms = 0;
    must_work(host_set_options(f->h, &options, &err));
}

void
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

int
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

int
tear_down(void **state)
{
    struct fixture *f = *state;

    host_close(f->h);
    test_dir_free(f->dir);
    free(f->host_dir);
    free(f);
    return 0;
}

struct sim_vm *
the_vm(struct fixture *f)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;

    must_work(find_vm(f->h, &f->vm, &vm, &err));
    return vm;
}

struct sim_disk *
the_disk(struct fixture *f, unsigned i)
{
    struct sim_error err;
    struct sim_disk *d = NULL;

    must_work(find_disk(the_vm(f), &f->disks[i], &d, &err));
    return d;
}

void
write_at(struct fixture *f, unsigned disk, uint64_t off, uint64_t len)
{
    struct sim_extent e = {off, len};
    struct sim_error err;

    must_work(
        guest_write(f->h, &f->vm, &f->disks[disk], &e, 1, NULL, sim_random_next(&f->random), &err));
}

void
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

struct guid
take_checkpoint(struct fixture *f, enum sim_checkpoint_type type, const char *name)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    must_work(checkpoint_create(f->h, &f->vm, type, SIM_CRASH, name, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, &id), SIM_OK);
    return id;
}

struct guid
take_backup(struct fixture *f)
{
    return take_checkpoint(f, SIM_CHECKPOINT_RECOVERY, "varve run 1");
}

struct guid
convert(struct fixture *f, const struct guid *checkpoint)
{
    struct sim_error err;
    struct guid job;
    struct guid id;

    must_work(refpoint_convert(f->h, checkpoint, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, &id), SIM_OK);
    return id;
}

void
destroy(struct fixture *f, const struct guid *checkpoint)
{
    struct sim_error err;
    struct guid job;

    must_work(checkpoint_destroy(f->h, checkpoint, &job, &err));
    assert_int_equal(test_finish_job(f->h, &job, NULL), SIM_OK);
}

char *
frozen_path(struct fixture *f, const struct guid *checkpoint, unsigned disk)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;
    struct sim_checkpoint *c = NULL;

    must_work(find_checkpoint(f->h, checkpoint, &vm, &c, &err));
    return vm_disk_path(vm, disk_file(the_disk(f, disk), &c->disks[disk].file));
}

const char *
change_id_of(struct fixture *f, const struct guid *refpoint, unsigned disk)
{
    struct sim_error err;
    struct sim_vm *vm = NULL;
    struct sim_refpoint *r = NULL;

    must_work(find_refpoint(f->h, refpoint, &vm, &r, &err));
    assert_true(guid_equal(&r->disks[disk].disk, &f->disks[disk]));
    return r->disks[disk].change_id;
}

uint32_t
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

void
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

void
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
        if (the_disk(f, i)->file_count == 1 && test_have("qemu-img")) {
            assert_true(test_run("qemu-img check -q -f vhdx '%s'", path));
            assert_true(test_run("qemu-img compare -q -f vhdx -F raw '%s' '%s'", path, truth));
        }
        free(copy);
        free(truth);
        free(path);
    }
}

void
assert_one_file_left(struct fixture *f)
{
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(the_disk(f, i)->file_count, 1);
        assert_string_equal(the_disk(f, i)->files[0].name, the_disk(f, i)->name);
    }
}

uint64_t
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

size_t
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
