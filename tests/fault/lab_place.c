/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/lab_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "store/store_testing.h"

void
lab_place_open(struct lab_place *p)
{
    struct varve_error err;

    assert_ok(lab_open(&p->l, fault_fs(p->ff), "/data", p->index, NULL, &err), &err);
}

void
lab_place_reopen(struct lab_place *p)
{
    lab_close(&p->l);
    lab_place_open(p);
}

struct lab_place *
lab_place_new(bool index_in_memory)
{
    struct lab_place *p = calloc(1, sizeof(*p));
    struct varve_error err;

    assert_non_null(p);
    assert_ok(mem_fs_new(&p->mem, &err), &err);
    assert_ok(fault_fs_new(&p->ff, mem_fs(p->mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(p->mem), "/data", &err), &err);
    if (!index_in_memory) {
        p->folder = test_folder_make();
        p->index = test_path(p->folder, "index");
    }
    lab_place_open(p);
    return p;
}

void
lab_place_free(struct lab_place *p)
{
    lab_close(&p->l);
    fault_fs_free(p->ff);
    mem_fs_free(p->mem);
    test_folder_remove(p->folder);
    free(p->index);
    free(p);
}

void
lab_place_remove_index(struct lab_place *p, bool list_too)
{
    static const char *const names[] = {"index.mdb", "index.mdb-lock", "state", "quarantine"};
    struct varve_error err;

    for (size_t i = 0; i < (list_too ? 4u : 3u); i++) {
        char *path = test_path(p->index, names[i]);
        enum varve_err rc = fs_remove(fs_system(), path, &err);

        assert_true(rc == VARVE_OK || rc == VARVE_ERR_NOT_FOUND);
        free(path);
    }
}

enum varve_err
lab_place_read_all(struct lab_place *p, struct varve_error *err)
{
    struct point **list = NULL;
    size_t count = 0;
    enum varve_err rc = catalog_list(p->l.catalog, NULL, &list, &count, err);

    assert_ok(rc, err);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        rc = lab_verify(&p->l, list[i], err);
    }
    catalog_list_free(list, count);
    return rc;
}

void
lab_place_delete(struct lab_place *p, unsigned vm, unsigned number, int64_t window_us)
{
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(catalog_list(p->l.catalog, NULL, &list, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        unsigned v = 0;
        unsigned n = 0;

        lab_identify(list[i], &v, &n);
        if ((vm == LAB_VMS || v == vm) && (number == 0 || n == number)) {
            assert_ok(
                gc_delete_point(p->l.gc, list[i], LAB_NOW, LAB_NOW + window_us, "t", "t", &err),
                &err);
        }
    }
    catalog_list_free(list, count);
}

uint64_t
lab_place_stored_bytes(struct lab_place *p)
{
    struct chunk_store_stats stats;
    struct varve_error err;

    assert_ok(chunk_store_get_stats(p->l.cs, &stats, &err), &err);
    return stats.stored_bytes;
}

/* ---- packs ---- */

static bool
note_data_pack(void *arg, const struct index_pack *pack)
{
    struct lab_packs *l = arg;

    assert_true(l->count < LAB_PACKS_MAX);
    if (pack->kind == CHUNK_DATA) {
        l->id[l->count] = pack->id;
        l->size[l->count++] = pack->size;
    }
    return true;
}

struct lab_packs
lab_data_packs(struct lab_place *p)
{
    struct lab_packs l = {.count = 0};
    struct varve_error err;

    assert_ok(index_list_packs(chunk_store_index(p->l.cs), note_data_pack, &l, &err), &err);
    return l;
}

bool
lab_packs_hold(const struct lab_packs *l, const struct pack_id *id)
{
    bool found = false;

    for (size_t i = 0; i < l->count; i++) {
        found = found || memcmp(l->id[i].bytes, id->bytes, PACK_ID_SIZE) == 0;
    }
    return found;
}

struct lab_packs
lab_packs_fresh(struct lab_place *p, const struct lab_packs *before)
{
    struct lab_packs now = lab_data_packs(p);
    struct lab_packs fresh = {.count = 0};

    for (size_t i = 0; i < now.count; i++) {
        if (!lab_packs_hold(before, &now.id[i])) {
            fresh.id[fresh.count] = now.id[i];
            fresh.size[fresh.count++] = now.size[i];
        }
    }
    return fresh;
}

void
lab_packs_assert_gone(struct lab_place *p, const struct lab_packs *l)
{
    const struct lab_packs now = lab_data_packs(p);

    for (size_t i = 0; i < l->count; i++) {
        assert_false(lab_packs_hold(&now, &l->id[i]));
    }
}

void
lab_pack_path(const struct pack_id *id, char out[LAB_PACK_PATH_SIZE])
{
    char name[PACK_OBJECT_NAME_SIZE];

    pack_object_name(id, name);
    (void)snprintf(out, LAB_PACK_PATH_SIZE, "/data/store/%s", name);
}

void
lab_pack_flip(struct lab_place *p, const struct pack_id *id, uint64_t at, size_t count)
{
    char path[LAB_PACK_PATH_SIZE];
    struct file *file = NULL;
    struct varve_error err;
    uint8_t *bytes = malloc(count + 1);

    assert_non_null(bytes);
    lab_pack_path(id, path);
    assert_ok(file_open(mem_fs(p->mem), &file, path, FILE_READ_WRITE, &err), &err);
    assert_ok(file_read_exact(file, bytes, count, at, &err), &err);
    for (size_t i = 0; i < count; i++) {
        bytes[i] ^= 0x55;
    }
    assert_ok(file_write(file, bytes, count, at, &err), &err);
    file_close(file);
    free(bytes);
}

uint64_t
lab_packs_scrub(struct lab_place *p, const struct lab_packs *l)
{
    struct varve_error err;
    uint64_t damaged = 0;

    for (size_t i = 0; i < l->count; i++) {
        struct chunk_check check;

        assert_ok(chunk_store_check_pack(p->l.cs, &l->id[i], l->size[i], &check, &err), &err);
        damaged += check.damaged;
    }
    return damaged;
}
