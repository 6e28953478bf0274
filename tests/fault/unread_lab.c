/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/unread_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct varve_error err;

/* ---- a store ---- */

struct unread_lab *
unread_new(bool lmdb)
{
    struct unread_lab *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->p = lab_place_new(!lmdb);
    return f;
}

void
unread_free(struct unread_lab *f)
{
    lab_place_free(f->p);
    free(f);
}

void
unread_back_up(struct unread_lab *f, unsigned vm, unsigned number)
{
    assert_ok(lab_backup(&f->p->l, vm, number, &err), &err);
}

struct unread_lab *
unread_two_vms(bool lmdb)
{
    struct unread_lab *f = unread_new(lmdb);

    for (unsigned n = 1; n <= 3; n++) {
        unread_back_up(f, 0, n);
    }
    unread_back_up(f, 1, 1);
    unread_back_up(f, 1, 2);
    assert_ok(lab_collect(&f->p->l, 0, NULL, &err), &err);
    return f;
}

void
unread_delete_some(struct unread_lab *f)
{
    lab_place_delete(f->p, 0, 1, 0);
    lab_place_delete(f->p, 0, 2, 0);
    lab_place_delete(f->p, 1, 1, 0);
}

uint64_t
unread_collect(struct unread_lab *f, unsigned percent)
{
    struct gc_result r;

    assert_ok(lab_collect(&f->p->l, percent, &r, &err), &err);
    return r.nodes_unread;
}

void
unread_purge(struct unread_lab *f)
{
    struct collect_cost cost = {0};
    uint64_t removed = 0;

    (void)!gc_purge(f->p->l.gc, LAB_NOW, &removed, &cost, &err);
}

/* ---- what must hold ---- */

uint64_t
unread_check(struct unread_lab *f)
{
    struct account_check c;

    assert_ok(gc_check(f->p->l.gc, NULL, &c, &err), &err);
    assert_int_equal(c.missing, 0);
    assert_int_equal(c.extra > 0, c.unread > 0);
    assert_true(c.extra >= c.unread);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    return c.unread;
}

static bool
add_live(void *arg, const struct index_pack *pack)
{
    *(uint64_t *)arg += pack->live_bytes;
    return true;
}

uint64_t
unread_live_bytes(struct unread_lab *f)
{
    uint64_t sum = 0;

    assert_ok(index_list_packs(chunk_store_index(f->p->l.cs), add_live, &sum, &err), &err);
    return sum;
}

void
unread_space_comes_back(struct unread_lab *f)
{
    lab_place_delete(f->p, LAB_VMS, 0, 0);
    assert_int_equal(unread_collect(f, 0), 0);
    assert_int_equal(unread_collect(f, 0), 0);
    assert_int_equal(lab_place_stored_bytes(f->p), 0);
}

/* What is live when unread_delete_some() meets no damage. */
static uint64_t
live_without_damage(void)
{
    static uint64_t live;

    if (live == 0) {
        struct unread_lab *f = unread_two_vms(true);

        unread_delete_some(f);
        assert_int_equal(unread_collect(f, 101), 0);
        assert_int_equal(unread_check(f), 0);
        live = unread_live_bytes(f);
        unread_space_comes_back(f);
        unread_free(f);
    }
    return live;
}

void
unread_ends_well(struct unread_lab *f)
{
    assert_int_equal(unread_collect(f, 101), 0);
    assert_int_equal(unread_check(f), 0);
    assert_int_equal(unread_live_bytes(f), live_without_damage());
    unread_space_comes_back(f);
}

/* ---- damage ---- */

static bool
is_known(const struct unread_lab *f, const char *path)
{
    bool known = false;

    for (size_t i = 0; i < f->first; i++) {
        known = known || strcmp(f->nodes[i].path, path) == 0;
    }
    return known;
}

static bool
note_nodes(void *arg, const char *name, uint64_t size)
{
    struct unread_lab *f = arg;
    uint8_t *bytes = malloc((size_t)size);
    char path[STORE_NAME_MAX + 20];
    struct pack_header header;
    struct pack_record r;
    size_t at = PACK_HEADER_SIZE;

    assert_non_null(bytes);
    (void)snprintf(path, sizeof(path), "/data/store/%s", name);
    assert_ok(store_get(f->p->l.dir, name, 0, bytes, (size_t)size, &err), &err);
    assert_ok(pack_header_decode(&header, bytes, &err), &err);
    while (header.kind == CHUNK_NODE && !is_known(f, path) && size - at >= PACK_RECORD_HEADER &&
           pack_record_decode(&r, bytes + at, &err) == VARVE_OK) {
        struct unread_node *n = &f->nodes[f->node_count++];

        assert_true(f->node_count <= UNREAD_NODES_MAX);
        (void)snprintf(n->path, sizeof(n->path), "%s", path);
        n->at = at + PACK_RECORD_HEADER + 3;
        n->is_root = r.entry.raw_len < 100;
        at += PACK_RECORD_HEADER + r.entry.stored_len;
    }
    free(bytes);
    return true;
}

void
unread_find_nodes(struct unread_lab *f)
{
    f->first = f->node_count;
    assert_ok(store_list(f->p->l.dir, "pack/", note_nodes, f, &err), &err);
    assert_true(f->node_count > f->first);
}

void
unread_flip(struct unread_lab *f, size_t i)
{
    const struct unread_node *n = &f->nodes[i];
    struct file *file = NULL;
    uint8_t b = 0;
    enum varve_err rc = file_open(mem_fs(f->p->mem), &file, n->path, FILE_READ_WRITE, &err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        return;
    }
    assert_ok(rc, &err);
    assert_ok(file_read_exact(file, &b, 1, n->at, &err), &err);
    b ^= 0x10;
    assert_ok(file_write(file, &b, 1, n->at, &err), &err);
    file_close(file);
}

void
unread_flip_all(struct unread_lab *f)
{
    for (size_t i = f->first; i < f->node_count; i++) {
        unread_flip(f, i);
    }
}
