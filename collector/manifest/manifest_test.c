/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "manifest/manifest_internal.h"
#include "os/file.h"
#include "store/store_testing.h"

/* A chunk store in memory. */
struct fixture {
    char *folder;
    char *key_path;
    struct store *mem;
    struct chunk_store *cs;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct chunk_store_options options = {0};
    struct varve_error err;

    f->folder = test_folder_make();
    f->key_path = test_path(f->folder, "key");
    options.key_path = f->key_path;
    assert_ok(store_mem_open(&f->mem, &err), &err);
    assert_ok(chunk_store_open(&f->cs, f->mem, fs_system(), &options, &err), &err);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    chunk_store_close(f->cs);
    store_close(f->mem);
    test_folder_remove(f->folder);
    free(f->key_path);
    free(f);
    return 0;
}

/* A name that is not that of any bytes: manifests do not look. */
static struct chunk_id
name_of(uint64_t n)
{
    struct test_random r = {.state = n};
    struct chunk_id id = {{0}};

    test_random_fill(&r, id.bytes, sizeof(id.bytes));
    return id;
}

static void
tree_equals(struct fixture *f, const struct manifest_root *root, const struct chunk_id *model,
            uint64_t count)
{
    struct manifest_reader *r = NULL;
    struct chunk_id *ids = malloc((size_t)(count + 1) * sizeof(*ids));
    struct varve_error err;

    assert_int_equal(root->chunk_count, count);
    assert_ok(manifest_reader_new(&r, chunk_store_default(f->cs), root, &err), &err);
    assert_ok(manifest_read(r, 0, (size_t)count, ids, &err), &err);
    for (uint64_t i = 0; i < count; i++) {
        assert_memory_equal(ids[i].bytes, model[i].bytes, CHUNK_ID_SIZE);
    }
    assert_err(manifest_read(r, count, 1, ids, &err), VARVE_ERR_INVALID, &err);
    manifest_reader_free(r);
    free(ids);
}

/* What walk and diff must report, as a map of chunks. */
struct marks {
    uint8_t *map;
    uint64_t count;
    uint64_t end; /* of the last run */
    bool any;
};

static enum varve_err
mark(void *arg, uint64_t first, uint64_t count, struct varve_error *err)
{
    struct marks *m = arg;

    (void)err;
    assert_true(count > 0 && first + count <= m->count);
    assert_true(!m->any || first > m->end); /* ascending, and maximal: never adjacent */
    memset(m->map + first, 1, (size_t)count);
    m->end = first + count;
    m->any = true;
    return VARVE_OK;
}

static void
walk_equals(struct fixture *f, const struct manifest_root *root, const struct chunk_id *model,
            uint64_t count)
{
    struct marks m = {.map = calloc(1, (size_t)count + 1), .count = count};
    struct manifest_reader *r = NULL;
    struct varve_error err;

    assert_ok(manifest_reader_new(&r, chunk_store_default(f->cs), root, &err), &err);
    assert_ok(manifest_walk_data(r, mark, &m, &err), &err);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(m.map[i], !chunk_id_is_hole(&model[i]));
    }
    manifest_reader_free(r);
    free(m.map);
}

static void
diff_equals(struct fixture *f, const struct manifest_root *a, const struct chunk_id *ma,
            const struct manifest_root *b, const struct chunk_id *mb)
{
    uint64_t count = a->chunk_count > b->chunk_count ? a->chunk_count : b->chunk_count;
    struct marks m = {.map = calloc(1, (size_t)count + 1), .count = count};
    struct varve_error err;

    assert_ok(manifest_diff(chunk_store_default(f->cs), a, b, mark, &m, &err), &err);
    for (uint64_t i = 0; i < count; i++) {
        bool differs =
            i >= a->chunk_count || i >= b->chunk_count || !chunk_id_equal(&ma[i], &mb[i]);

        assert_int_equal(m.map[i], differs);
    }
    free(m.map);
}

/* Changes model at random and builds the same change over base. */
static void
build_round(struct fixture *f, struct test_random *r, struct chunk_id *model, uint64_t count,
            const struct manifest_root *base, struct manifest_root *out)
{
    struct manifest_builder *b = NULL;
    uint64_t step = 1 + test_random_below(r, test_random_below(r, 3) == 0 ? count + 1 : 40);
    struct varve_error err;
    uint64_t i = 0;

    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), count, base, &err), &err);
    while ((i += test_random_below(r, step)) < count) {
        switch (test_random_below(r, 8)) {
        case 0: {
            uint64_t n = test_random_below(r, count - i + 1);

            assert_ok(manifest_builder_set_holes(b, i, n, &err), &err);
            memset(&model[i], 0, (size_t)n * sizeof(*model));
            i += n;
            break;
        }
        case 1:
            assert_ok(manifest_builder_set(b, i, &model[i], &err), &err); /* no change */
            i++;
            break;
        default:
            model[i] = name_of(test_random_below(r, 1000));
            assert_ok(manifest_builder_set(b, i, &model[i], &err), &err);
            i++;
        }
    }
    assert_ok(manifest_builder_finish(b, out, &err), &err);
    manifest_builder_free(b);
}

#define MODEL_MAX 40000u

static void
random_trees_equal_a_plain_array_through_updates_and_resizes(void **state)
{
    static const uint64_t sizes[] = {1, 2, 127, 128, 129, 1000, 16383, 16384, 16385, 39999};
    struct fixture *f = *state;
    struct chunk_id *old_model = calloc(MODEL_MAX, sizeof(*old_model));
    struct chunk_id *model = calloc(MODEL_MAX, sizeof(*model));
    struct test_random r = {.state = 20261122};
    struct manifest_root old_root;
    struct manifest_root root;
    uint64_t count = 300;

    memset(&root, 0, sizeof(root));
    for (unsigned round = 0; round < 120; round++) {
        bool fresh = round % 40 == 0;

        memcpy(old_model, model, MODEL_MAX * sizeof(*model));
        old_root = root;
        if (fresh) {
            memset(model, 0, MODEL_MAX * sizeof(*model));
        }
        if (test_random_below(&r, 2) == 0) {
            count = test_random_below(&r, 2) == 0 ? sizes[test_random_below(&r, 10)]
                                                  : 1 + test_random_below(&r, MODEL_MAX - 1);
            memset(&model[count], 0, (size_t)(MODEL_MAX - count) * sizeof(*model));
        }
        build_round(f, &r, model, count, fresh ? NULL : &old_root, &root);
        tree_equals(f, &root, model, count);
        walk_equals(f, &root, model, count);
        diff_equals(f, &old_root, old_model, &root, model);
        diff_equals(f, &root, model, &old_root, old_model);
    }
    free(old_model);
    free(model);
}

static void
the_same_disk_gives_the_same_root_whatever_the_way(void **state)
{
    struct fixture *f = *state;
    struct chunk_id *model = calloc(MODEL_MAX, sizeof(*model));
    struct test_random r = {.state = 7};
    struct manifest_root big;
    struct manifest_root small;
    struct manifest_root again;
    struct manifest_builder *b = NULL;
    struct varve_error err;

    /* Grown by steps, shrunk, or made at once. */
    build_round(f, &r, model, 100, NULL, &small);
    build_round(f, &r, model, 20000, &small, &big);
    memset(&model[5000], 0, (MODEL_MAX - 5000) * sizeof(*model));
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 5000, &big, &err), &err);
    assert_ok(manifest_builder_finish(b, &small, &err), &err);
    manifest_builder_free(b);
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 5000, NULL, &err), &err);
    for (uint64_t i = 0; i < 5000; i++) {
        assert_ok(manifest_builder_set(b, i, &model[i], &err), &err);
    }
    assert_ok(manifest_builder_finish(b, &again, &err), &err);
    manifest_builder_free(b);
    assert_true(chunk_id_equal(&small.id, &again.id));
    tree_equals(f, &small, model, 5000);

    /* Nothing changed. */
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 5000, &small, &err), &err);
    assert_ok(manifest_builder_finish(b, &again, &err), &err);
    manifest_builder_free(b);
    assert_true(chunk_id_equal(&small.id, &again.id));

    /* Everything became a hole. */
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 5000, &small, &err), &err);
    assert_ok(manifest_builder_set_holes(b, 0, 5000, &err), &err);
    assert_ok(manifest_builder_finish(b, &again, &err), &err);
    manifest_builder_free(b);
    assert_true(chunk_id_is_hole(&again.id));
    free(model);
}

static void
an_update_stores_only_the_nodes_above_what_changed(void **state)
{
    struct fixture *f = *state;
    struct chunk_store_stats before;
    struct chunk_store_stats after;
    struct manifest_builder *b = NULL;
    struct manifest_root base;
    struct manifest_root root;
    struct varve_error err;
    struct chunk_id id;

    /* 128 * 128 + 1 chunks: three levels. */
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 16385, NULL, &err), &err);
    for (uint64_t i = 0; i < 16385; i++) {
        id = name_of(i + 1);
        assert_ok(manifest_builder_set(b, i, &id, &err), &err);
    }
    assert_ok(manifest_builder_finish(b, &base, &err), &err);
    manifest_builder_free(b);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &before, &err), &err);
    assert_int_equal(before.chunks, 129 + 2 + 1);

    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 16385, &base, &err), &err);
    id = name_of(99999);
    assert_ok(manifest_builder_set(b, 5000, &id, &err), &err);
    assert_ok(manifest_builder_finish(b, &root, &err), &err);
    manifest_builder_free(b);
    assert_ok(chunk_store_barrier(f->cs, &err), &err);
    assert_ok(chunk_store_get_stats(f->cs, &after, &err), &err);
    assert_int_equal(after.chunks, before.chunks + 3);
}

/* A disk of 2^42 chunks with two chunks of data is no harder than a small one. */
static void
the_largest_disk_with_two_chunks_works(void **state)
{
    struct fixture *f = *state;
    struct manifest_builder *b = NULL;
    struct manifest_reader *r = NULL;
    struct manifest_root root;
    struct varve_error err;
    struct chunk_id first = name_of(1);
    struct chunk_id last = name_of(2);
    struct chunk_id got[2];

    assert_err(
        manifest_builder_new(&b, chunk_store_default(f->cs), MANIFEST_CHUNKS_MAX + 1, NULL, &err),
        VARVE_ERR_LIMIT, &err);
    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), MANIFEST_CHUNKS_MAX, NULL, &err),
              &err);
    assert_ok(manifest_builder_set(b, 0, &first, &err), &err);
    assert_ok(manifest_builder_set_holes(b, 1, MANIFEST_CHUNKS_MAX - 2, &err), &err);
    assert_ok(manifest_builder_set(b, MANIFEST_CHUNKS_MAX - 1, &last, &err), &err);
    assert_ok(manifest_builder_finish(b, &root, &err), &err);
    manifest_builder_free(b);
    assert_ok(manifest_reader_new(&r, chunk_store_default(f->cs), &root, &err), &err);
    assert_ok(manifest_read(r, MANIFEST_CHUNKS_MAX - 2, 2, got, &err), &err);
    assert_true(chunk_id_is_hole(&got[0]));
    assert_true(chunk_id_equal(&got[1], &last));
    manifest_reader_free(r);
}

static void
chunks_out_of_order_or_beyond_the_end_are_refused(void **state)
{
    struct fixture *f = *state;
    struct manifest_builder *b = NULL;
    struct varve_error err;
    struct chunk_id id = name_of(1);

    assert_ok(manifest_builder_new(&b, chunk_store_default(f->cs), 10, NULL, &err), &err);
    assert_ok(manifest_builder_set(b, 5, &id, &err), &err);
    assert_err(manifest_builder_set(b, 5, &id, &err), VARVE_ERR_INVALID, &err);
    assert_err(manifest_builder_set(b, 4, &id, &err), VARVE_ERR_INVALID, &err);
    assert_err(manifest_builder_set(b, 10, &id, &err), VARVE_ERR_INVALID, &err);
    assert_err(manifest_builder_set_holes(b, 6, 5, &err), VARVE_ERR_INVALID, &err);
    assert_err(manifest_builder_set_holes(b, 6, UINT64_MAX, &err), VARVE_ERR_INVALID, &err);
    assert_ok(manifest_builder_set_holes(b, 6, 4, &err), &err);
    manifest_builder_free(b);
}

static void
a_missing_node_is_an_error_that_names_it(void **state)
{
    struct fixture *f = *state;
    struct manifest_root root = {.id = name_of(5), .chunk_count = 1000};
    struct manifest_builder *b = NULL;
    struct manifest_reader *r = NULL;
    struct varve_error err;
    struct chunk_id id;

    assert_ok(manifest_reader_new(&r, chunk_store_default(f->cs), &root, &err), &err);
    assert_err(manifest_read(r, 0, 1, &id, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_non_null(strstr(err.msg, "manifest node 0 of level 1"));
    manifest_reader_free(r);
    assert_err(manifest_builder_new(&b, chunk_store_default(f->cs), 1000, &root, &err),
               VARVE_ERR_NOT_FOUND, &err);
}

static void
a_node_has_one_encoding(void **state)
{
    struct manifest_node *n = calloc(1, sizeof(*n));
    struct manifest_node *back = calloc(1, sizeof(*back));
    uint8_t bytes[MANIFEST_NODE_MAX];
    uint8_t again[MANIFEST_NODE_MAX];
    struct varve_error err;
    size_t len;

    (void)state;
    for (unsigned i = 0; i < MANIFEST_FANOUT; i += 3) {
        struct chunk_id id = name_of(i);

        assert_true(manifest_node_set(n, i, &id));
        assert_false(manifest_node_set(n, i, &id));
    }
    n->level = 2;
    len = manifest_node_encode(n, bytes);
    assert_int_equal(len, 24 + 43 * 32);
    assert_ok(manifest_node_decode(back, bytes, len, 2, &err), &err);
    assert_int_equal(manifest_node_encode(back, again), len);
    assert_memory_equal(bytes, again, len);

    assert_err(manifest_node_decode(back, bytes, len, 1, &err), VARVE_ERR_CORRUPT, &err);
    for (size_t i = 0; i < len; i++) {
        assert_err(manifest_node_decode(back, bytes, i, 2, &err), VARVE_ERR_CORRUPT, &err);
    }
    for (size_t i = 0; i < 24; i++) { /* header and map: any other bit is another node */
        bytes[i] ^= 1;
        assert_err(manifest_node_decode(back, bytes, len, 2, &err),
                   i == 3 || i == 5 ? VARVE_ERR_UNSUPPORTED : VARVE_ERR_CORRUPT, &err);
        bytes[i] ^= 1;
    }
    memset(bytes + 24, 0, CHUNK_ID_SIZE); /* present without a name */
    assert_err(manifest_node_decode(back, bytes, len, 2, &err), VARVE_ERR_CORRUPT, &err);
    free(n);
    free(back);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(random_trees_equal_a_plain_array_through_updates_and_resizes),
        TEST(the_same_disk_gives_the_same_root_whatever_the_way),
        TEST(an_update_stores_only_the_nodes_above_what_changed),
        TEST(the_largest_disk_with_two_chunks_works),
        TEST(chunks_out_of_order_or_beyond_the_end_are_refused),
        TEST(a_missing_node_is_an_error_that_names_it),
        cmocka_unit_test(a_node_has_one_encoding),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
