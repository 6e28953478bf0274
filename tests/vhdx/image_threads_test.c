/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mem_fs.h"
#include "os/thread.h"
#include "vhdx/chain_gen.h"
#include "vhdx/image.h"

/* Many threads on one image: the block tables and bitmaps pass through caches that all share. */
#define THREADS 4u
#define READS   400u
#define LEVELS  3u

static struct varve_error err;

struct reader {
    struct image *img;
    const uint8_t *want;
    uint64_t size;
    uint32_t seed;
    bool right;
};

static void
read_and_compare(void *arg)
{
    struct reader *r = arg;
    struct varve_error mine;
    uint8_t *buf = malloc(65536);
    unsigned i;

    r->right = buf != NULL;
    for (i = 0; r->right && i < READS; i++) {
        uint64_t off;
        uint64_t len;
        enum image_map_kind kind;
        size_t n;

        r->seed = r->seed * 1664525u + 1013904223u;
        off = (uint64_t)(r->seed >> 4) % r->size;
        n = r->size - off < 65536 ? (size_t)(r->size - off) : 65536;
        r->right = image_read(r->img, buf, n, off, &mine) == VARVE_OK &&
                   memcmp(buf, r->want + off, n) == 0 &&
                   image_map(r->img, off, n, &len, &kind, &mine) == VARVE_OK;
    }
    free(buf);
}

static void
threads_that_read_at_once_all_read_right(void **state)
{
    static const struct chain_shape shape = {
        .virtual_size = 48 << 20,
        .block_size = {2 << 20, 1 << 20, 2 << 20},
        .logical_sector = 512,
        .levels = LEVELS,
        .extents = 300,
    };
    struct mem_fs *m = mem_fs_new();
    struct chain_gen g;
    struct image *img = NULL;
    struct thread threads[THREADS];
    struct reader readers[THREADS];
    uint8_t *want = malloc((size_t)shape.virtual_size);
    unsigned i;

    (void)state;
    assert_non_null(m);
    assert_non_null(want);
    assert_ok(chain_gen_init(&g, &shape, 31, &err), &err);
    for (i = 0; i < LEVELS; i++) {
        assert_ok(chain_gen_next(&g, mem_fs_fs(m), "d", &err), &err);
    }
    chain_gen_expected(&g, want, (size_t)shape.virtual_size, 0);
    assert_ok(image_open(&img, mem_fs_fs(m), "d/2.avhdx", 0, &err), &err);
    for (i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){img, want, shape.virtual_size, i * 77 + 1, false};
        assert_ok(thread_start(&threads[i], "reader", read_and_compare, &readers[i], &err), &err);
    }
    for (i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
    }
    for (i = 0; i < THREADS; i++) {
        assert_true(readers[i].right);
    }
    image_close(img);
    chain_gen_release(&g);
    mem_fs_free(m);
    free(want);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_read_at_once_all_read_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
