/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An agent that says anything in any order: the input is a list of calls with their arguments, for up
 * to four runs of one vm, each on top of the points of those before.
 * Whatever it says, the run ends in a point whose every chunk is there, in an error, or goes on; and
 * the disk's position only moves forward.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "ingest/ingest.h"
#include "ingest/range.h"
#include "os/file_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHUNK 4096u
#define DISKS 3u

/* Made anew for each input, so that one input does the same each time. */
struct lab {
    struct mem_fs *files;
    struct store *store;
    struct chunk_store *cs;
    struct catalog *catalog;
    struct ingest *ing;
};

struct input {
    const uint8_t *at;
    size_t left;
    unsigned salt; /* what the chunks of this run are made of */
};

static uint8_t
next(struct input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static void
lab_open(struct lab *lab)
{
    const struct chunk_store_options options = {
        .key_path = "/key", .chunk_size = CHUNK, .put_threads = 1};
    const struct ingest_options none = {.grace_ms = 0};
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK || mem_fs_new(&lab->files, &err) != VARVE_OK ||
        store_mem_open(&lab->store, &err) != VARVE_OK ||
        chunk_store_open(&lab->cs, lab->store, mem_fs(lab->files), &options, &err) != VARVE_OK ||
        catalog_open(&lab->catalog, lab->cs, &err) != VARVE_OK ||
        ingest_new(&lab->ing, lab->cs, lab->catalog, &none, &err) != VARVE_OK) {
        abort();
    }
}

static void
lab_close(struct lab *lab)
{
    ingest_free(lab->ing);
    catalog_close(lab->catalog);
    chunk_store_close(lab->cs);
    store_close(lab->store);
    mem_fs_free(lab->files);
}

/* Chunk content number n of 64, never all zero, and its name. */
static void
make_chunk(uint8_t n, size_t len, uint8_t *out, struct chunk_id *id)
{
    memset(out, n % 64, len);
    out[0] = 0xff;
    chunk_id_of(id, out, len);
}

static void
disk_begin(struct ingest_run *run, struct input *in)
{
    struct ingest_disk_params p = {.name = "d", .path = "", .reason = ""};
    struct ingest_position at;
    struct varve_error err;

    p.disk = next(in) % (DISKS + 1);
    memset(p.id.bytes, next(in) % 4, sizeof(p.id.bytes));
    p.size = (uint64_t)next(in) * 1500;
    p.logical_sector = next(in) % 8 == 0 ? 4096 : 512;
    p.incremental = next(in) % 4 == 0;
    (void)(ingest_disk_begin(run, &p, &at, &err) == VARVE_OK);
}

static void
offer(struct ingest_run *run, struct input *in)
{
    uint8_t bits[4];
    struct chunk_id names[32];
    uint8_t chunk[CHUNK];
    uint8_t need[INGEST_OFFER_CHUNKS_MAX / 8];
    uint64_t gaps[4];
    struct ingest_offer o = {.gaps = gaps, .data = bits, .names = names[0].bytes};
    size_t need_len = 0;
    size_t n = 0;
    struct varve_error err;

    o.disk = next(in) % DISKS;
    o.first_chunk = next(in) % 128;
    o.count = next(in) % 33;
    o.gaps_len = next(in);
    o.gaps_len = o.gaps_len < 0xf0 ? 0 : o.gaps_len % 5;
    for (size_t i = 0; i < o.gaps_len; i++) {
        gaps[i] = next(in) % 16;
    }
    o.data_len = next(in) % 5;
    for (size_t i = 0; i < 4; i++) {
        bits[i] = next(in);
    }
    for (size_t i = 0; i < o.data_len * 8; i++) {
        n += bit_get(bits, i) ? 1 : 0;
    }
    for (size_t i = 0; i < n; i++) {
        make_chunk((uint8_t)(o.first_chunk + i + in->salt), CHUNK, chunk, &names[i]);
    }
    o.names_len = n * CHUNK_ID_SIZE - (next(in) == 7 ? 1 : 0);
    if (n == 0) {
        o.names_len = 0;
    }
    if (ingest_offer(run, &o, need, &need_len, &err) == VARVE_OK && need_len > (n + 7) / 8) {
        abort();
    }
}

static void
put(struct ingest_run *run, struct input *in)
{
    static uint8_t bulk[32 * CHUNK];
    uint32_t index[32];
    uint32_t len[32];
    struct ingest_put p = {.index = index, .stored_len = len, .bulk = bulk};
    struct varve_error err;

    p.disk = next(in) % DISKS;
    p.first_chunk = next(in) % 128;
    p.count = next(in) % 33;
    for (size_t i = 0; i < p.count; i++) {
        struct chunk_id id;

        index[i] = (uint32_t)i + (next(in) == 9 ? 1 : 0);
        len[i] = next(in) == 11 ? 1500 : CHUNK;
        make_chunk((uint8_t)(p.first_chunk + index[i] + in->salt), len[i], bulk + p.bulk_len, &id);
        p.bulk_len += len[i];
    }
    if (ingest_put_accept(run, &p, &err) == VARVE_OK) {
        (void)(ingest_put_store(run, &p, &err) == VARVE_OK);
    }
}

/* Every chunk that a point names can be read. */
static void
check_point(struct chunk_store *cs, const struct point *p)
{
    for (size_t d = 0; d < p->disk_count; d++) {
        struct manifest_reader *r = NULL;
        struct varve_error err;

        if (manifest_reader_new(&r, chunk_store_default(cs), &p->disks[d].root, &err) != VARVE_OK) {
            abort();
        }
        for (uint64_t c = 0; c < p->disks[d].root.chunk_count; c++) {
            uint8_t buf[CHUNK];
            struct chunk_id id;
            size_t len = 0;

            if (manifest_read(r, c, 1, &id, &err) != VARVE_OK ||
                (!chunk_id_is_hole(&id) && chunk_store_get(chunk_store_default(cs), &id, buf,
                                                           sizeof(buf), &len, &err) != VARVE_OK)) {
                abort();
            }
        }
        manifest_reader_free(r);
    }
}

static void
commit(struct lab *lab, struct ingest_run *run, struct input *in)
{
    struct ingest_commit_disk disks[DISKS];
    struct ingest_commit c = {.consistency = POINT_CRASH,
                              .disks = disks,
                              .reference_point = "",
                              .capture = "",
                              .source = "",
                              .reason = ""};
    struct point *p = NULL;
    struct varve_error err;

    c.disk_count = next(in) % (DISKS + 1);
    for (uint32_t i = 0; i < c.disk_count; i++) {
        disks[i].disk = i;
        disks[i].change_id = "c";
    }
    if (ingest_commit(run, &c, &p, &err) == VARVE_OK) {
        check_point(lab->cs, p);
        point_unref(p);
    }
}

static void
reconnect(struct ingest *ing, const struct ingest_request *request, uint64_t reached[DISKS])
{
    struct ingest_begun begun;
    struct varve_error err;

    ingest_host_lost(ing, &request->host);
    ingest_host_back(ing, &request->host);
    if (ingest_begin(ing, &request->host, &request->run, &begun, &err) != VARVE_OK) {
        return;
    }
    for (size_t i = 0; i < begun.disk_count; i++) {
        if (begun.disks[i].disk < DISKS) {
            if (begun.disks[i].next_chunk < reached[begun.disks[i].disk]) {
                abort();
            }
            reached[begun.disks[i].disk] = begun.disks[i].next_chunk;
        }
    }
}

/* One run of vm number 1, from its start to its end. */
static void
run_once(struct lab *lab, uint8_t number, struct input *in)
{
    struct ingest_request request = {.vm_name = "v", .host_name = "h"};
    uint64_t reached[DISKS] = {0};
    struct ingest_run *run = NULL;
    struct ingest_start start;
    struct ingest_begun begun;
    struct run_info info;
    struct varve_error err;
    uint8_t what = 0;

    request.run.bytes[0] = number;
    request.vm.bytes[0] = 1;
    request.host.bytes[0] = 1;
    request.full = next(in) % 4 == 0;
    in->salt = next(in);
    if (ingest_run_new(lab->ing, &request, &run, &err) != VARVE_OK ||
        ingest_run_start(run, &start, &err) != VARVE_OK) {
        abort();
    }
    free(start.disks);
    ingest_run_accepted(run);
    if (ingest_begin(lab->ing, &request.host, &request.run, &begun, &err) != VARVE_OK) {
        abort();
    }
    while (in->left > 0 && (what = next(in) % 9) != 8) {
        switch (what) {
        case 0:
            disk_begin(run, in);
            break;
        case 1:
        case 2:
            offer(run, in);
            break;
        case 3:
        case 4:
            put(run, in);
            break;
        case 5:
            (void)(ingest_disk_end(run, next(in) % DISKS, next(in), &err) == VARVE_OK);
            break;
        case 6:
            commit(lab, run, in);
            break;
        default:
            reconnect(lab->ing, &request, reached);
            break;
        }
    }
    ingest_end(lab->ing, &request.host, &request.run, NULL, NULL, 0);
    ingest_run_info(run, &info);
    if (!run_phase_is_final(info.phase) || (info.phase == RUN_DONE) == guid_is_zero(&info.point)) {
        abort();
    }
    ingest_forget(lab->ing, run);
    ingest_run_unref(run);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size, 0};
    struct lab lab;

    memset(&lab, 0, sizeof(lab));
    lab_open(&lab);
    for (uint8_t number = 1; in.left > 0 && number <= 4; number++) {
        run_once(&lab, number, &in);
    }
    lab_close(&lab);
    return 0;
}
