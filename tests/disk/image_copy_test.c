/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhdx/chain_gen.h"
#include "vhdx/image_copy.h"

#define SEED 4u /* a chain of several levels */

static struct varve_error err;

struct lab {
    char folder[64];
    char leaf[96];
    struct chain_gen gen;
    struct image *img;
};

static void
lab_open(struct lab *l)
{
    struct chain_shape shape;

    memset(l, 0, sizeof(*l));
    (void)snprintf(l->folder, sizeof(l->folder), "/tmp/varve-copy-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    chain_shape_random(&shape, SEED);
    shape.levels = 4;
    shape.logical_sector = 512;
    assert_ok(chain_gen_init(&l->gen, &shape, SEED, &err), &err);
    while (l->gen.level < shape.levels) {
        assert_ok(chain_gen_next(&l->gen, fs_system(), l->folder, &err), &err);
    }
    chain_gen_name(l->leaf, sizeof(l->leaf), l->folder, shape.levels - 1);
    assert_ok(image_open(&l->img, fs_system(), l->leaf, 0, &err), &err);
}

static bool
remove_entry(void *arg, const char *name, bool is_dir)
{
    char path[512];

    (void)is_dir;
    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)arg, name);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    return true;
}

static void
lab_close(struct lab *l)
{
    image_close(l->img);
    chain_gen_release(&l->gen);
    assert_ok(fs_list(fs_system(), l->folder, remove_entry, l->folder, &err), &err);
    assert_ok(fs_remove(fs_system(), l->folder, &err), &err);
}

static struct disk_params
params_of(const struct lab *l, enum disk_format format)
{
    struct disk_params p = {.format = format};

    p.disk.virtual_size = l->gen.shape.virtual_size;
    p.disk.block_size = 2u << 20;
    p.disk.logical_sector = 512;
    p.disk.physical_sector = 4096;
    p.disk.disk_id.bytes[0] = 1;
    p.disk.data_write_guid.bytes[0] = 2;
    p.disk.file_write_guid.bytes[0] = 3;
    return p;
}

static enum varve_err
copy(struct lab *l, const char *name, enum disk_format format, unsigned flags,
     const struct image_copy_options *options)
{
    const struct disk_params params = params_of(l, format);
    struct disk_writer *w = NULL;
    char path[160];
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/%s", l->folder, name);
    assert_ok(disk_writer_new(&w, fs_system(), path, &params, flags, &err), &err);
    rc = image_copy_to_writer(l->img, w, options, &err);
    if (rc == VARVE_OK) {
        rc = disk_writer_finish(w, &err);
    }
    assert_true(disk_writer_free(w));
    return rc;
}

static uint8_t *
load(const struct lab *l, const char *name, size_t *len)
{
    char path[160];
    uint8_t *data = NULL;

    (void)snprintf(path, sizeof(path), "%s/%s", l->folder, name);
    assert_ok(fs_read_all(fs_system(), path, (size_t)1 << 30, &data, len, &err), &err);
    return data;
}

static bool
exists(const struct lab *l, const char *name)
{
    struct file_stat st;
    char path[160];

    (void)snprintf(path, sizeof(path), "%s/%s", l->folder, name);
    return fs_stat(fs_system(), path, &st, &err) == VARVE_OK;
}

static void
any_number_of_threads_gives_the_same_file(void **state)
{
    static const enum disk_format formats[] = {DISK_RAW, DISK_VHD, DISK_VHD_FIXED, DISK_VHDX,
                                               DISK_VHDX_FIXED};
    struct lab l;

    (void)state;
    lab_open(&l);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        uint8_t *first = NULL;
        size_t first_len = 0;

        for (unsigned n = 1; n <= IMAGE_COPY_THREADS; n += n == 1 ? 2 : 5) {
            const struct image_copy_options options = {.threads = n};
            uint8_t *data;
            size_t len = 0;
            char name[32];

            (void)snprintf(name, sizeof(name), "%zu-%u", i, n);
            assert_ok(copy(&l, name, formats[i], n == 3 ? DISK_WRITER_SPARSE : 0u, &options), &err);
            data = load(&l, name, &len);
            if (first == NULL) {
                first = data;
                first_len = len;
                continue;
            }
            assert_int_equal(len, first_len);
            assert_memory_equal(data, first, len);
            free(data);
        }
        free(first);
    }
    lab_close(&l);
}

struct collected {
    uint8_t *data;
    size_t len;
};

static enum varve_err
collect(void *arg, const void *buf, size_t len, struct varve_error *e)
{
    struct collected *c = arg;
    uint8_t *data = realloc(c->data, c->len + len);

    if (data == NULL) {
        return varve_error_nomem(e);
    }
    memcpy(data + c->len, buf, len);
    c->data = data;
    c->len += len;
    return VARVE_OK;
}

static void
a_stream_of_a_fixed_disk_is_its_file(void **state)
{
    const struct image_copy_options options = {.threads = 4};
    struct disk_params params;
    struct collected c = {NULL, 0};
    uint8_t *data;
    size_t len = 0;
    struct lab l;

    (void)state;
    lab_open(&l);
    params = params_of(&l, DISK_VHD_FIXED);
    assert_ok(copy(&l, "d.vhd", DISK_VHD_FIXED, 0, &options), &err);
    assert_ok(image_copy_to_stream(l.img, &params, collect, &c, &options, &err), &err);
    data = load(&l, "d.vhd", &len);
    assert_int_equal(len, c.len);
    assert_memory_equal(data, c.data, len);
    free(data);
    free(c.data);
    lab_close(&l);
}

static void
a_copy_that_is_cancelled_leaves_nothing(void **state)
{
    struct cancel cancel;
    const struct image_copy_options options = {.cancel = &cancel};
    struct lab l;

    (void)state;
    cancel_init(&cancel);
    cancel_set(&cancel);
    lab_open(&l);
    assert_err(copy(&l, "d.vhdx", DISK_VHDX, 0, &options), VARVE_ERR_CANCELLED, &err);
    assert_false(exists(&l, "d.vhdx") || exists(&l, "d.vhdx.partial"));
    lab_close(&l);
    cancel_destroy(&cancel);
}

/* A source that shrinks while it is read. */
static void
a_source_that_ends_early_is_an_error(void **state)
{
    const struct image_copy_options options = {.threads = 3};
    struct disk_params params;
    struct file *f = NULL;
    char path[160];
    uint8_t ones[4096];
    struct lab l;

    (void)state;
    lab_open(&l);
    image_close(l.img);
    l.img = NULL;
    memset(ones, 1, sizeof(ones));
    (void)snprintf(path, sizeof(path), "%s/s.raw", l.folder);
    assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
    for (uint64_t off = 0; off < l.gen.shape.virtual_size; off += 1u << 20) {
        assert_ok(file_write(f, ones, sizeof(ones), off, &err), &err);
    }
    assert_ok(file_truncate(f, l.gen.shape.virtual_size, &err), &err);
    assert_ok(image_open(&l.img, fs_system(), path, IMAGE_ALLOW_RAW, &err), &err);
    assert_ok(file_truncate(f, 512, &err), &err);
    file_close(f);
    assert_err(copy(&l, "d.vhdx", DISK_VHDX, 0, &options), VARVE_ERR_CORRUPT, &err);
    assert_false(exists(&l, "d.vhdx") || exists(&l, "d.vhdx.partial"));
    params = params_of(&l, DISK_VHD_FIXED);
    {
        struct collected c = {NULL, 0};

        assert_err(image_copy_to_stream(l.img, &params, collect, &c, &options, &err),
                   VARVE_ERR_CORRUPT, &err);
        free(c.data);
    }
    lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_file),
        cmocka_unit_test(a_stream_of_a_fixed_disk_is_its_file),
        cmocka_unit_test(a_copy_that_is_cancelled_leaves_nothing),
        cmocka_unit_test(a_source_that_ends_early_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
