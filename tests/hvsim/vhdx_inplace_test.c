/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_testing.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hvsim/sim_file.h"
#include "hvsim/vhdx_inplace.h"

#define MIB ((size_t)1024 * 1024)

struct fixture {
    char *dir;
    struct sim_random random;
    uint8_t *image; /* what the disk must hold */
    size_t size;
};

static int
set_up(void **state)
{
    struct fixture *f = sim_alloc(sizeof(*f));

    f->dir = test_dir_new();
    f->size = 24 * MIB;
    f->image = sim_alloc(f->size);
    sim_random_seed(&f->random, test_seed());
    *state = f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    test_dir_free(f->dir);
    free(f->image);
    free(f);
    return 0;
}

static struct vhdx *
make(struct fixture *f, const char *name, const char *parent, const struct guid *linkage,
     uint32_t block, uint32_t sector)
{
    struct vhdx_spec spec = {
        .size = f->size,
        .block_size = block,
        .logical_sector = sector,
        .physical_sector = 4096,
        .parent_name = parent,
    };
    char *path = sim_printf("%s/%s", f->dir, name);
    struct sim_error err;
    struct vhdx *v = NULL;

    memset(&spec.disk_id, 0x11, sizeof(spec.disk_id));
    if (linkage != NULL) {
        spec.parent_linkage = *linkage;
    }
    must_work(vhdx_create(path, &spec, &f->random, &err));
    must_work(vhdx_open(&v, path, &f->random, &err));
    free(path);
    return v;
}

/* Random writes and unmaps, to the file and to the image. */
static void
scribble(struct fixture *f, struct vhdx *v, unsigned times, uint32_t sector)
{
    struct sim_error err;

    for (unsigned i = 0; i < times; i++) {
        uint64_t longest = sim_random_below(&f->random, 8) == 0 ? 6 * MIB : 65536;
        uint64_t off = sim_random_below(&f->random, f->size / sector) * sector;
        uint64_t len = (sim_random_below(&f->random, longest / sector) + 1) * sector;

        len = len > f->size - off ? f->size - off : len;
        if (sim_random_below(&f->random, 5) == 0) {
            memset(f->image + off, 0, (size_t)len);
            must_work(vhdx_unmap(v, off, len, &err));
        } else {
            sim_random_fill(f->image + off, (size_t)len, sim_random_next(&f->random), off);
            must_work(vhdx_write(v, f->image + off, (size_t)len, off, &err));
        }
    }
}

static void
save_image(struct fixture *f, const char *name)
{
    char *path = sim_printf("%s/%s", f->dir, name);
    struct sim_error err;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    must_work(sim_pwrite(fd, f->image, f->size, 0, path, &err));
    (void)close(fd);
    free(path);
}

static bool
agrees_with_7z(struct fixture *f, const char *vhdx)
{
    char *path = sim_printf("%s/%s", f->dir, vhdx);
    char *raw = sim_printf("%s/image.raw", f->dir);
    bool equal;

    save_image(f, "image.raw");
    equal = test_7z_equals(path, raw);
    free(path);
    free(raw);
    return equal;
}

static void
other_readers_see_what_was_written_to_a_dynamic_file(void **state)
{
    static const uint32_t blocks[] = {1024 * 1024, 2 * 1024 * 1024, 32 * 1024 * 1024};
    struct fixture *f = *state;

    if (!test_have("qemu-img") || !test_have("7z")) {
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        struct vhdx *v = make(f, "base.vhdx", NULL, NULL, blocks[i], 512);

        memset(f->image, 0, f->size);
        scribble(f, v, 60, 512);
        vhdx_close(v);
        assert_true(agrees_with_7z(f, "base.vhdx"));
        assert_true(test_run("qemu-img check -q -f vhdx '%s/base.vhdx'", f->dir));
        assert_true(test_run("qemu-img compare -q -f vhdx -F raw '%s/base.vhdx' '%s/image.raw'",
                             f->dir, f->dir));
        assert_true(test_run("rm '%s/base.vhdx'", f->dir));
    }
}

static void
seven_zip_sees_a_chain_of_three_as_the_last_writer_left_it(void **state)
{
    static const uint32_t sectors[] = {512, 4096};
    struct fixture *f = *state;

    if (!test_have("7z")) {
        skip();
    }
    for (size_t i = 0; i < 2; i++) {
        struct guid linkage;
        struct vhdx *base = make(f, "base.vhdx", NULL, NULL, 32 * 1024 * 1024, sectors[i]);
        struct vhdx *middle = NULL;
        struct vhdx *leaf = NULL;

        memset(f->image, 0, f->size);
        scribble(f, base, 40, sectors[i]);
        vhdx_data_write_guid(base, &linkage);
        middle = make(f, "a.avhdx", "base.vhdx", &linkage, VHDX_CHILD_BLOCK, sectors[i]);
        scribble(f, middle, 40, sectors[i]);
        vhdx_data_write_guid(middle, &linkage);
        leaf = make(f, "b.avhdx", "a.avhdx", &linkage, VHDX_CHILD_BLOCK, sectors[i]);
        scribble(f, leaf, 40, sectors[i]);
        vhdx_close(base);
        vhdx_close(middle);
        vhdx_close(leaf);
        assert_true(agrees_with_7z(f, "b.avhdx"));
        assert_true(test_run("rm '%s'/*.vhdx '%s'/*.avhdx", f->dir, f->dir));
    }
}

static void
a_file_opened_again_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    char *path = sim_printf("%s/base.vhdx", f->dir);
    struct guid first;
    struct guid second;
    struct sim_error err;
    struct vhdx *v = make(f, "base.vhdx", NULL, NULL, VHDX_CHILD_BLOCK, 512);

    scribble(f, v, 20, 512);
    vhdx_data_write_guid(v, &first);
    vhdx_close(v);
    must_work(vhdx_open(&v, path, &f->random, &err));
    vhdx_data_write_guid(v, &second);
    assert_true(guid_equal(&first, &second));
    scribble(f, v, 20, 512);
    vhdx_data_write_guid(v, &second);
    assert_false(guid_equal(&first, &second)); /* a new session that wrote */
    vhdx_close(v);
    if (test_have("7z")) {
        assert_true(agrees_with_7z(f, "base.vhdx"));
    }
    free(path);
}

static void
a_child_says_parent_where_it_was_never_written(void **state)
{
    struct fixture *f = *state;
    enum vhdx_kind kind = VHDX_ZERO;
    uint64_t len = 0;
    struct guid linkage;
    struct sim_error err;
    struct vhdx *base = make(f, "base.vhdx", NULL, NULL, VHDX_CHILD_BLOCK, 512);
    struct vhdx *child = NULL;

    vhdx_data_write_guid(base, &linkage);
    child = make(f, "a.avhdx", "base.vhdx", &linkage, VHDX_CHILD_BLOCK, 512);
    must_work(vhdx_write(child, f->image, 1024, 4096, &err));
    must_work(vhdx_map(child, 0, f->size, &kind, &len, &err));
    assert_int_equal(kind, VHDX_PARENT);
    assert_int_equal(len, 4096);
    must_work(vhdx_map(child, 4096, f->size, &kind, &len, &err));
    assert_int_equal(kind, VHDX_PRESENT);
    assert_int_equal(len, 1024);
    must_work(vhdx_unmap(child, 0, VHDX_CHILD_BLOCK, &err));
    must_work(vhdx_map(child, 4096, 512, &kind, &len, &err));
    assert_int_equal(kind, VHDX_ZERO);
    vhdx_close(base);
    vhdx_close(child);
}

static void
a_write_that_is_not_whole_sectors_inside_the_disk_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct vhdx *v = make(f, "base.vhdx", NULL, NULL, VHDX_CHILD_BLOCK, 4096);

    assert_int_equal(vhdx_write(v, f->image, 512, 0, &err), SIM_INVALID);
    assert_int_equal(vhdx_write(v, f->image, 4096, 512, &err), SIM_INVALID);
    assert_int_equal(vhdx_write(v, f->image, 8192, f->size - 4096, &err), SIM_INVALID);
    assert_int_equal(vhdx_unmap(v, UINT64_MAX - 4095, 4096, &err), SIM_INVALID);
    vhdx_close(v);
}

static void
a_grown_disk_keeps_its_content_and_reads_zeros_behind_it(void **state)
{
    struct fixture *f = *state;
    struct sim_error err;
    struct vhdx *v = NULL;

    if (!test_have("7z")) {
        skip();
    }
    f->size = 16 * MIB;
    v = make(f, "base.vhdx", NULL, NULL, VHDX_CHILD_BLOCK, 512);
    scribble(f, v, 20, 512);
    must_work(vhdx_grow(v, 24 * MIB, &err));
    f->size = 24 * MIB;
    scribble(f, v, 20, 512);
    assert_int_equal(vhdx_grow(v, 8 * MIB, &err), SIM_INVALID);
    vhdx_close(v);
    assert_true(agrees_with_7z(f, "base.vhdx"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(other_readers_see_what_was_written_to_a_dynamic_file,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(seven_zip_sees_a_chain_of_three_as_the_last_writer_left_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_opened_again_goes_on_where_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_child_says_parent_where_it_was_never_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_write_that_is_not_whole_sectors_inside_the_disk_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_grown_disk_keeps_its_content_and_reads_zeros_behind_it,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
