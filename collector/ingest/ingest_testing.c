/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest_testing.h"

#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"
#include "codec/zero.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

_Thread_local struct varve_error err;

void
open_all(struct fixture *f)
{
    struct chunk_store_options options = {.key_path = f->key_path};

    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
    assert_ok(catalog_open(&f->catalog, f->cs, &err), &err);
    assert_ok(ingest_new(&f->ing, f->cs, f->catalog, &f->options, &err), &err);
}

void
close_all(struct fixture *f)
{
    ingest_free(f->ing);
    catalog_close(f->catalog);
    chunk_store_close(f->cs);
}

int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->folder = test_folder_make();
    f->key_path = test_path(f->folder, "key");
    assert_ok(store_mem_open(&f->mem, &err), &err);
    assert_ok(store_fault_open(&f->store, f->mem, &err), &err);
    open_all(f);
    *state = f;
    return 0;
}

int
tear_down(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    store_close(f->store);
    store_close(f->mem);
    test_folder_remove(f->folder);
    free(f->key_path);
    free(f);
    return 0;
}

struct guid
guid_of(uint8_t kind, uint8_t n)
{
    struct guid g;

    memset(&g, kind, sizeof(g));
    g.bytes[15] = n;
    return g;
}

/* ---- a disk as the agent sees it ---- */

struct image
image_new(uint64_t size, uint64_t seed)
{
    struct image im = {malloc(size), size};
    struct test_random r = {seed};

    assert_non_null(im.data);
    test_random_fill(&r, im.data, size);
    return im;
}

uint64_t
chunks_of(const struct image *im)
{
    return (im->size + CHUNK - 1) / CHUNK;
}

size_t
chunk_len(const struct image *im, uint64_t chunk)
{
    uint64_t left = im->size - chunk * CHUNK;

    return left < CHUNK ? (size_t)left : CHUNK;
}

void
zero_chunk(struct image *im, uint64_t chunk)
{
    memset(im->data + chunk * CHUNK, 0, chunk_len(im, chunk));
}

enum varve_err
try_offer_of(struct ingest_run *run, uint32_t disk, const struct image *im, const uint64_t *chunks,
             size_t count, struct offered *out)
{
    uint8_t bits[INGEST_OFFER_CHUNKS_MAX / 8] = {0};
    struct chunk_id names[INGEST_OFFER_CHUNKS_MAX];
    uint64_t gaps[2 * INGEST_OFFER_CHUNKS_MAX];
    struct ingest_offer o = {.disk = disk, .first_chunk = chunks[0], .count = count, .gaps = gaps};

    memset(out, 0, sizeof(*out));
    out->disk = disk;
    out->first = chunks[0];
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = im->data + chunks[i] * CHUNK;

        if (i > 0 && chunks[i] > chunks[i - 1] + 1) {
            gaps[o.gaps_len++] = i;
            gaps[o.gaps_len++] = chunks[i] - chunks[i - 1] - 1;
        }
        if (!codec_is_zero(p, chunk_len(im, chunks[i]))) {
            bit_set(bits, i);
            out->chunk[out->names] = chunks[i];
            chunk_id_of(&names[out->names++], p, chunk_len(im, chunks[i]));
        }
    }
    o.data = bits;
    o.data_len = out->names > 0 ? (count + 7) / 8 : 0;
    o.names = names[0].bytes;
    o.names_len = out->names * CHUNK_ID_SIZE;
    return ingest_offer(run, &o, out->need, &out->need_len, &err);
}

enum varve_err
try_offer(struct ingest_run *run, uint32_t disk, const struct image *im, uint64_t first,
          uint64_t count, struct offered *out)
{
    uint64_t chunks[INGEST_OFFER_CHUNKS_MAX];

    for (uint64_t i = 0; i < count; i++) {
        chunks[i] = first + i;
    }
    return try_offer_of(run, disk, im, chunks, (size_t)count, out);
}

void
do_offer(struct ingest_run *run, uint32_t disk, const struct image *im, uint64_t first,
         uint64_t count, struct offered *out)
{
    assert_ok(try_offer(run, disk, im, first, count, out), &err);
}

size_t
needed(const struct offered *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->need_len * 8; i++) {
        n += bit_get(o->need, i) ? 1 : 0;
    }
    return n;
}

void
prepare(struct prepared *p, const struct image *im, const struct offered *o, size_t from, size_t to)
{
    memset(p, 0, sizeof(*p));
    p->bulk = malloc((to - from + 1) * (CHUNK + 1024));
    assert_non_null(p->bulk);
    p->put.disk = o->disk;
    p->put.first_chunk = o->first;
    p->put.index = p->index;
    p->put.stored_len = p->len;
    p->put.bulk = p->bulk;
    for (size_t i = from; i < to; i++) {
        const uint8_t *raw = im->data + o->chunk[i] * CHUNK;
        size_t raw_len = chunk_len(im, o->chunk[i]);
        size_t len;

        if (o->need_len == 0 || !bit_get(o->need, i)) {
            continue;
        }
        len = codec_lz4_pack(raw, raw_len, p->bulk + p->put.bulk_len, CHUNK + 1024);
        if (len == 0) {
            memcpy(p->bulk + p->put.bulk_len, raw, raw_len);
            len = raw_len;
        }
        p->index[p->put.count] = (uint32_t)i;
        p->len[p->put.count++] = (uint32_t)len;
        p->put.bulk_len += len;
    }
}

/* All that is needed, in puts of at most 16 chunks. */
void
put_needed(struct ingest_run *run, const struct image *im, const struct offered *o)
{
    for (size_t at = 0; at < o->names; at += 16) {
        struct prepared p;

        prepare(&p, im, o, at, at + 16 < o->names ? at + 16 : o->names);
        if (p.put.count > 0) {
            assert_ok(ingest_put_accept(run, &p.put, &err), &err);
            assert_ok(ingest_put_store(run, &p.put, &err), &err);
        }
        free(p.bulk);
    }
}

void
send_chunks(struct ingest_run *run, uint32_t disk, const struct image *im, uint64_t first,
            uint64_t count)
{
    while (count > 0) {
        uint64_t n = count < 48 ? count : 48;
        struct offered o;

        do_offer(run, disk, im, first, n, &o);
        put_needed(run, im, &o);
        first += n;
        count -= n;
    }
}

/* ---- a run as the agent sees it ---- */

struct ingest_run *
start_run_of(struct fixture *f, uint8_t n, uint8_t vm, bool full)
{
    struct ingest_request request = {.run = guid_of(1, n),
                                     .vm = guid_of(2, vm),
                                     .host = guid_of(3, 1),
                                     .vm_name = "mail",
                                     .host_name = "node-1",
                                     .full = full};
    struct ingest_start start;
    struct ingest_begun begun;
    struct ingest_run *run = NULL;

    assert_ok(ingest_run_new(f->ing, &request, &run, &err), &err);
    assert_true(ingest_run_is_queued(run));
    assert_ok(ingest_run_start(run, &start, &err), &err);
    free(start.disks);
    ingest_run_accepted(run);
    assert_ok(ingest_begin(f->ing, &request.host, &request.run, &begun, &err), &err);
    assert_int_equal(begun.disk_count, 0);
    assert_false(begun.committed);
    return run;
}

struct ingest_run *
start_run(struct fixture *f, uint8_t n)
{
    return start_run_of(f, n, 1, false);
}

struct ingest_disk_params
params(uint32_t disk, const struct image *im, bool incremental)
{
    struct ingest_disk_params p = {.disk = disk,
                                   .id = guid_of(4, (uint8_t)disk),
                                   .name = disk == 0 ? "system.vhdx" : "data.vhdx",
                                   .path = "C:\\vms\\x.vhdx",
                                   .size = im->size,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .block_size = 32u << 20,
                                   .page83 = guid_of(5, (uint8_t)disk),
                                   .incremental = incremental,
                                   .reason = incremental ? "" : "first backup",
                                   .tracked_bytes = 11};

    return p;
}

void
begin_disk(struct ingest_run *run, uint32_t disk, const struct image *im, bool incremental)
{
    struct ingest_disk_params p = params(disk, im, incremental);
    struct ingest_position at;

    assert_ok(ingest_disk_begin(run, &p, &at, &err), &err);
    assert_true(at.next_chunk == 0);
}

struct ingest_commit
commit_of(struct ingest_commit_disk *disks, size_t count)
{
    struct ingest_commit c = {.frozen_at_us = 5,
                              .consistency = POINT_APPLICATION,
                              .disks = disks,
                              .disk_count = count,
                              .reference_point = "ref",
                              .capture = "sim",
                              .source = "file",
                              .reason = "",
                              .generation = 2};

    for (size_t i = 0; i < count; i++) {
        disks[i].disk = (uint32_t)i;
        disks[i].change_id = "change-1";
    }
    return c;
}

struct point *
commit(struct ingest_run *run, size_t disks)
{
    struct ingest_commit_disk list[4];
    struct ingest_commit c = commit_of(list, disks);
    struct point *p = NULL;

    assert_ok(ingest_commit(run, &c, &p, &err), &err);
    return p;
}

struct run_info
info_of(struct ingest_run *run)
{
    struct run_info info;

    ingest_run_info(run, &info);
    return info;
}

void
end_run(struct fixture *f, struct ingest_run *run)
{
    struct run_info info = info_of(run);

    ingest_end(f->ing, &info.host, &info.id, NULL, NULL, 0);
    info = info_of(run);
    assert_int_equal(info.phase, RUN_DONE);
    ingest_forget(f->ing, run);
    ingest_run_unref(run);
}

/* A whole honest run of one disk. */
struct point *
back_up(struct fixture *f, uint8_t n, const struct image *im)
{
    struct ingest_run *run = start_run(f, n);
    struct point *p;

    begin_disk(run, 0, im, false);
    send_chunks(run, 0, im, 0, chunks_of(im));
    assert_ok(ingest_disk_end(run, 0, im->size, &err), &err);
    p = commit(run, 1);
    end_run(f, run);
    return p;
}

void
assert_point_holds(struct fixture *f, const struct point *p, size_t disk, const struct image *im)
{
    const struct point_disk *d = &p->disks[disk];
    struct chunk_domain *domain = NULL;
    struct manifest_reader *r = NULL;
    uint8_t *buf = malloc(CHUNK);

    assert_non_null(buf);
    assert_ok(chunk_store_domain(f->cs, &p->domain, &domain, &err), &err);
    assert_true(d->size == im->size);
    assert_true(d->root.chunk_count == chunks_of(im));
    assert_ok(manifest_reader_new(&r, domain, &d->root, &err), &err);
    for (uint64_t c = 0; c < chunks_of(im); c++) {
        struct chunk_id id;
        size_t len = 0;

        assert_ok(manifest_read(r, c, 1, &id, &err), &err);
        if (chunk_id_is_hole(&id)) {
            assert_true(codec_is_zero(im->data + c * CHUNK, chunk_len(im, c)));
            continue;
        }
        assert_ok(chunk_store_get(domain, &id, buf, CHUNK, &len, &err), &err);
        assert_int_equal(len, chunk_len(im, c));
        assert_memory_equal(buf, im->data + c * CHUNK, len);
    }
    manifest_reader_free(r);
    free(buf);
}

size_t
point_count(struct fixture *f)
{
    struct point **points = NULL;
    size_t count = 0;

    assert_ok(catalog_list(f->catalog, NULL, &points, &count, &err), &err);
    catalog_list_free(points, count);
    return count;
}

/* After whatever an agent did: an honest run of the same vm works, and its bytes are right. */
void
assert_unharmed(struct fixture *f, struct ingest_run *run)
{
    struct image im = image_new(40 * CHUNK + 99, 1);
    struct run_info info = info_of(run);
    struct point *p;

    ingest_end(f->ing, &info.host, &info.id, &info.error, NULL, 0);
    assert_int_equal(info_of(run).phase, RUN_FAILED);
    ingest_forget(f->ing, run);
    ingest_run_unref(run);
    assert_int_equal(point_count(f), 0);
    p = back_up(f, 200, &im);
    assert_point_holds(f, p, 0, &im);
    point_unref(p);
    free(im.data);
}
