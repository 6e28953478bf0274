/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_testing.h"

#include <stdlib.h>

#include "crypto/identity.h"
#include "store/store_fault.h"

struct chunk_store_options
chunk_lab_options(const struct chunk_lab *l)
{
    return (struct chunk_store_options){
        .index_path = l->index_path, .key_path = l->key_path, .chunk_size = l->chunk_size};
}

void
chunk_lab_open(struct chunk_lab *l)
{
    struct chunk_store_options options = chunk_lab_options(l);
    struct varve_error err;

    assert_ok(store_dir_open(&l->dir, fs_system(), l->store_path, &err), &err);
    assert_ok(store_fault_open(&l->store, l->dir, &err), &err);
    assert_ok(chunk_store_open(&l->cs, l->store, fs_system(), &options, &err), &err);
}

void
chunk_lab_close(struct chunk_lab *l)
{
    chunk_store_close(l->cs);
    l->cs = NULL;
    store_close(l->store);
    l->store = NULL;
    store_close(l->dir);
    l->dir = NULL;
}

void
chunk_lab_lose_index(struct chunk_lab *l)
{
    test_folder_remove(l->index_path);
    l->index_path = test_path(l->folder, "index");
}

struct chunk_lab *
chunk_lab_begin(uint32_t chunk_size)
{
    struct chunk_lab *l = calloc(1, sizeof(*l));
    struct varve_error err;

    assert_non_null(l);
    assert_ok(crypto_init(&err), &err);
    l->chunk_size = chunk_size;
    l->folder = test_folder_make();
    l->store_path = test_path(l->folder, "store");
    l->index_path = test_path(l->folder, "index");
    l->key_path = test_path(l->folder, "store.key");
    chunk_lab_open(l);
    return l;
}

void
chunk_lab_end(struct chunk_lab *l)
{
    chunk_lab_close(l);
    test_folder_remove(l->folder);
    free(l->store_path);
    free(l->index_path);
    free(l->key_path);
    free(l);
}

void
test_chunk(uint64_t n, uint8_t *buf, size_t len, struct chunk_id *id)
{
    struct test_random r = {.state = n + 1};

    test_random_fill(&r, buf, len);
    chunk_id_of(id, buf, len);
}
