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

/*
 * A file system in which a read does not return before THREADS reads are under way.  Whoever held a lock
 * over a read would keep the others from getting here, and the meeting would never happen.
 */
struct meeting {
    struct fs fs;
    struct fs *inner;
    struct mutex lock;
    struct cond changed;
    bool armed;
    bool happened;
    unsigned inside;
};

struct meeting_file {
    struct file file;
    struct file *inner;
    struct meeting *of;
};

#define GIVE_UP_MS 20000u

static void
meet(struct meeting *m)
{
    mutex_lock(&m->lock);
    m->inside++;
    if (m->armed && m->inside == THREADS) {
        m->happened = true;
        m->armed = false;
        cond_broadcast(&m->changed);
    }
    while (m->armed && cond_timedwait(&m->changed, &m->lock, GIVE_UP_MS)) {
    }
    m->armed = false;
    m->inside--;
    mutex_unlock(&m->lock);
}

static enum varve_err
meeting_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
             struct varve_error *e)
{
    struct meeting *m = (struct meeting *)fs;
    struct meeting_file *f = calloc(1, sizeof(*f));
    enum varve_err rc;

    if (f == NULL) {
        return varve_error_nomem(e);
    }
    rc = file_open(m->inner, &f->inner, path, mode, e);
    if (rc != VARVE_OK) {
        free(f);
        return rc;
    }
    f->file.ops = fs->ops;
    f->of = m;
    *out = &f->file;
    return VARVE_OK;
}

static void
meeting_close(struct file *f)
{
    file_close(((struct meeting_file *)f)->inner);
    free(f);
}

static enum varve_err
meeting_read(struct file *f, void *buf, size_t len, uint64_t off, size_t *got,
             struct varve_error *e)
{
    struct meeting_file *mf = (struct meeting_file *)f;

    meet(mf->of);
    return file_read(mf->inner, buf, len, off, got, e);
}

static enum varve_err
meeting_fstat(struct file *f, struct file_stat *out, struct varve_error *e)
{
    return file_fstat(((struct meeting_file *)f)->inner, out, e);
}

static enum varve_err
meeting_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *e)
{
    return fs_stat(((struct meeting *)fs)->inner, path, out, e);
}

static const struct fs_ops meeting_ops = {
    .open = meeting_open,
    .close = meeting_close,
    .read = meeting_read,
    .fstat = meeting_fstat,
    .stat = meeting_stat,
};

struct one_read {
    struct image *img;
    uint64_t off;
    bool done;
};

static void
read_once(void *arg)
{
    struct one_read *r = arg;
    struct varve_error mine;
    uint8_t buf[4096];

    r->done = image_read(r->img, buf, sizeof(buf), r->off, &mine) == VARVE_OK;
}

static void
reads_of_many_threads_are_under_way_at_once(void **state)
{
    static const struct chain_shape shape = {
        .virtual_size = 16 << 20,
        .block_size = {1 << 20, 1 << 20},
        .logical_sector = 512,
        .levels = 2,
        .extents = 4,
        .fixed_base = true,
    };
    struct mem_fs *m = mem_fs_new();
    struct meeting meeting = {.fs = {&meeting_ops}};
    struct chain_gen g;
    struct image *img = NULL;
    unsigned go;
    unsigned i;

    (void)state;
    assert_non_null(m);
    assert_ok(chain_gen_init(&g, &shape, 8, &err), &err);
    assert_ok(chain_gen_next(&g, mem_fs_fs(m), "d", &err), &err);
    assert_ok(chain_gen_next(&g, mem_fs_fs(m), "d", &err), &err);
    meeting.inner = mem_fs_fs(m);
    mutex_init(&meeting.lock);
    cond_init(&meeting.changed);
    assert_ok(image_open(&img, &meeting.fs, "d/1.avhdx", 0, &err), &err);
    for (go = 0; go < 2; go++) { /* first through empty caches, then with the payload alone */
        struct thread threads[THREADS];
        struct one_read reads[THREADS];

        meeting.armed = true;
        meeting.happened = false;
        for (i = 0; i < THREADS; i++) {
            reads[i] = (struct one_read){img, i * (shape.virtual_size / THREADS), false};
            assert_ok(thread_start(&threads[i], "reader", read_once, &reads[i], &err), &err);
        }
        for (i = 0; i < THREADS; i++) {
            thread_join(&threads[i]);
            assert_true(reads[i].done);
        }
        assert_true(meeting.happened);
    }
    image_close(img);
    cond_destroy(&meeting.changed);
    mutex_destroy(&meeting.lock);
    chain_gen_release(&g);
    mem_fs_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_read_at_once_all_read_right),
        cmocka_unit_test(reads_of_many_threads_are_under_way_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
