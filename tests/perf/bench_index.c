/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "index/index.h"
#include "os/file.h"
#include "os/thread.h"
#include "perf/bench_lib.h"
#include "store/pack.h"
#include "store/store_config.h"

/*
 * The index with many synthetic names:
 *
 *   bench_index FOLDER [MILLIONS]   makes FOLDER, which must not exist: names as a rebuild does, the last million as ingest
 *                                   does; then a count for each; then everything is asked for
 *   bench_index FOLDER look         asks an index that an earlier run left in FOLDER, from a cold page cache
 *   bench_index FOLDER stall        how long a backup waits at most while counts change and are read
 *   bench_index FOLDER delete       what the deletion of a point writes: packs whose names lose their last reference;
 *                                   last of all, for names are missing then
 *   bench_index FOLDER ingest       adds a quarter of a million names to it, pack by pack, from a cold page cache
 *
 * Names stand 256 to a pack and are asked for as agents do, 1024 at a time: absent ones, ones at random places, and
 * ones in the order in which they came (the second backup of a disk), with the footers of their packs at hand as the
 * collector has them, and without.  Memory is told as anonymous (the process's own) and file-backed (the
 * index's pages in the page cache, which the system takes back when it needs them); reads are what came from the disk.
 */
#define PACK         256u
#define BATCH        1024u
#define INGEST       (1024u * 1024) /* names that come pack by pack */
#define LOOKS_MAX    (4u * 1024 * 1024)
#define FOOTER_BYTES (PACK_FOOTER_HEADER + PACK * PACK_ENTRY_SIZE + PACK_TAIL_SIZE)

struct bench {
    struct index *ix;
    struct file *footers; /* of the first packs, one behind the other, as they stand in packs */
    struct store_keys *keys;
    char index[1024];
    char path[1024]; /* of footers */
    uint64_t names;
};

static uint64_t state;

static void
fail(const char *what)
{
    fprintf(stderr, "bench_index: %s\n", what);
    exit(1);
}

static uint64_t
next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

struct mark {
    uint64_t start;
    double cpu;
    struct rusage usage;
    uint64_t read;
    struct index_stats stats;
};

/* Bytes that this process had the disk read. */
static uint64_t
disk_read(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    char line[128];
    uint64_t bytes = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "read_bytes:", 11) == 0) {
            bytes = strtoull(line + 11, NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return bytes;
}

static struct mark
begin(struct index *ix)
{
    struct mark m = {.start = time_mono_ns(), .cpu = bench_cpu_seconds(), .read = disk_read()};

    (void)getrusage(RUSAGE_SELF, &m.usage);
    if (ix != NULL) {
        index_get_stats(ix, &m.stats);
    }
    return m;
}

static void
tell(const char *what, uint64_t count, const struct mark *m, struct index *ix)
{
    double seconds = (double)(time_mono_ns() - m->start) / 1e9;
    struct index_stats stats = m->stats;
    uint64_t anon;
    uint64_t mapped;
    struct rusage u;

    bench_memory(&anon, &mapped);
    if (ix != NULL) {
        index_get_stats(ix, &stats);
    }
    (void)getrusage(RUSAGE_SELF, &u);
    printf("%-26s %10" PRIu64 " %8.1f s %9.0f /s %7.2f us cpu each, anon %" PRIu64
           " MiB, file %" PRIu64 " MiB, faults %ld, read %" PRIu64 " MiB, table %" PRIu64
           ", packs %" PRIu64 "\n",
           what, count, seconds, (double)count / seconds,
           (bench_cpu_seconds() - m->cpu) * 1e6 / (double)count, anon / 1024, mapped / 1024,
           u.ru_majflt - m->usage.ru_majflt, (disk_read() - m->read) >> 20,
           stats.asked_table - m->stats.asked_table, stats.packs_loaded - m->stats.packs_loaded);
    fflush(stdout);
}

/* ---- packs ---- */

static void
make_pack(uint64_t first, struct index_pack *pack, struct pack_entry entries[PACK])
{
    uint32_t at = PACK_HEADER_SIZE;

    memset(entries, 0, PACK * sizeof(entries[0]));
    *pack = (struct index_pack){.kind = CHUNK_DATA, .records = PACK};
    memcpy(pack->id.bytes, &first, sizeof(first));
    pack->id.bytes[15] = 1;
    for (uint32_t i = 0; i < PACK; i++) {
        bench_name(first + i, entries[i].name.bytes);
        entries[i].offset = at;
        entries[i].stored_len = 64900;
        entries[i].raw_len = 65536;
        entries[i].kind = CHUNK_DATA;
        entries[i].codec = PACK_CODEC_LZ4;
        at += PACK_RECORD_HEADER + entries[i].stored_len;
    }
    pack->size = at + FOOTER_BYTES;
    pack->raw_bytes = (uint64_t)PACK * 65536;
}

/* The packs that are asked for in their order have footers, of real form, in one file. */
static void
write_footers(struct bench *b, uint64_t names)
{
    static struct pack_entry entries[PACK];
    static uint8_t footer[FOOTER_BYTES];
    size_t len = FOOTER_BYTES - PACK_TAIL_SIZE;
    struct varve_error err;
    struct index_pack pack;

    if (file_open(fs_system(), &b->footers, b->path, FILE_CREATE_NEW, &err) != VARVE_OK) {
        fail(err.msg);
    }
    for (uint64_t n = 0; n < names; n += PACK) {
        make_pack(n, &pack, entries);
        pack_footer_encode(&pack.id, entries, PACK, footer);
        pack_tail_encode(b->keys, &pack.id, (uint32_t)(pack.size - FOOTER_BYTES), footer, len,
                         footer + len);
        if (file_write(b->footers, footer, sizeof(footer), n / PACK * FOOTER_BYTES, &err) !=
            VARVE_OK) {
            fail(err.msg);
        }
    }
    if (file_sync(b->footers, &err) != VARVE_OK) {
        fail(err.msg);
    }
    file_close(b->footers);
}

struct names_out {
    struct record_name *names;
    uint32_t count;
};

static void
take_name(void *arg, const struct pack_entry *e)
{
    struct names_out *o = arg;

    o->names[o->count++] = e->name;
}

/* As the chunk store does it, with another file around the footer. */
static enum varve_err
pack_names(void *arg, const struct index_pack *pack, struct record_name *names,
           struct varve_error *err)
{
    struct bench *b = arg;
    struct names_out o = {.names = names};
    uint8_t footer[FOOTER_BYTES];
    size_t len = FOOTER_BYTES - PACK_TAIL_SIZE;
    struct pack_tail tail;
    uint64_t first;
    enum varve_err rc;

    memcpy(&first, pack->id.bytes, sizeof(first));
    rc = file_read_exact(b->footers, footer, sizeof(footer), first / PACK * FOOTER_BYTES, err);
    if (rc == VARVE_OK) {
        rc = pack_tail_decode(&tail, footer + len, pack->size, err);
    }
    return rc == VARVE_OK
               ? pack_footer_decode(&tail, footer, &pack->id, b->keys, take_name, &o, err)
               : rc;
}

static void
insert(struct bench *b, uint64_t from, uint64_t to, bool build)
{
    static struct pack_entry entries[PACK];
    uint64_t step = (to - from) / 5 / PACK * PACK;
    struct mark m = begin(b->ix);
    struct index_pack pack;
    struct varve_error err;

    if (build && index_build_begin(b->ix, (to - from) / PACK, &err) != VARVE_OK) {
        fail(err.msg);
    }
    for (uint64_t n = from; n < to; n += PACK) {
        make_pack(n, &pack, entries);
        if (index_add_pack(b->ix, &pack, entries, &err) != VARVE_OK) {
            fail(err.msg);
        }
        if (step > 0 && (n + PACK - from) % step == 0) {
            tell(build ? "rebuild, a fifth" : "ingest, a fifth", step, &m, NULL);
            m = begin(NULL);
        }
    }
    m = begin(NULL);
    if (build && index_build_end(b->ix, &err) != VARVE_OK) {
        fail(err.msg);
    }
    tell("end", 1, &m, NULL);
}

/* ---- counts ---- */

/*
 * Every name is referenced once, as after one full backup of each disk.  A collector counts what a point brings, 32
 * leaves at a time; for all of them that would take an hour.  So most are counted here in the order of their names, each part
 * of the table once, and the rest as a collector does.
 */
#define PART_NAMES (2u * 1024 * 1024)
#define LEAVES     (32u * 128)

static void
apply(struct bench *b, struct index_delta *deltas, size_t count)
{
    struct index_change change = {.deltas = deltas, .delta_count = count};
    struct varve_error err;

    if (index_apply(b->ix, &change, &err) != VARVE_OK) {
        fail(err.msg);
    }
}

static void
count_sorted(struct bench *b, uint64_t to)
{
    uint64_t parts = to / PART_NAMES + 1;
    size_t cap = (size_t)(to / parts + to / parts / 8 + 65536);
    struct index_delta *deltas = malloc(cap * sizeof(*deltas));
    struct mark m = begin(b->ix);

    if (deltas == NULL) {
        fail("no memory");
    }
    for (uint64_t part = 0; part < parts; part++) {
        size_t count = 0;

        for (uint64_t n = 0; n < to; n++) {
            struct index_delta *d = &deltas[count];

            bench_name(n, d->name.bytes);
            if ((d->name.bytes[0] * 256u + d->name.bytes[1]) * parts / 65536 != part) {
                continue;
            }
            d->kind = CHUNK_DATA;
            d->delta = 1;
            if (++count == cap) {
                fail("the names are not even");
            }
        }
        apply(b, deltas, count);
    }
    free(deltas);
    tell("counts, sorted", to, &m, NULL);
}

static void
count_as_collector(struct bench *b, uint64_t from, uint64_t to)
{
    static struct index_delta deltas[LEAVES];
    struct mark m = begin(b->ix);

    for (uint64_t n = from; n < to; n += LEAVES) {
        size_t count = to - n < LEAVES ? (size_t)(to - n) : LEAVES;

        for (size_t i = 0; i < count; i++) {
            deltas[i] = (struct index_delta){.kind = CHUNK_DATA, .delta = 1};
            bench_name(n + i, deltas[i].name.bytes);
        }
        apply(b, deltas, count);
    }
    tell("counts, as of points", to - from, &m, NULL);
}

/* All of them read, as check-counts does. */
static bool
sum_count(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    (void)key;
    (void)key_len;
    *(uint64_t *)arg += count;
    return true;
}

static void
scan_counts(struct bench *b)
{
    struct mark m = begin(b->ix);
    struct varve_error err;
    uint64_t sum = 0;

    if (index_ref_scan(b->ix, CHUNK_DATA, sum_count, &sum, &err) != VARVE_OK) {
        fail(err.msg);
    }
    if (sum < b->names) {
        fail("counts are missing");
    }
    tell("counts, all read", sum, &m, NULL);
}

static void
tell_size(struct bench *b, const char *what, uint64_t names)
{
    struct varve_error err;
    struct file_stat st;
    char data[1040];

    (void)snprintf(data, sizeof(data), "%s/index.mdb", b->index);
    if (fs_stat(fs_system(), data, &st, &err) == VARVE_OK) {
        printf("%-26s %10" PRIu64 " MiB, %.1f bytes a name\n", what, st.size >> 20,
               (double)st.size / (double)names);
    }
}

enum order { ABSENT, RANDOM, SEQUENTIAL };

static void
look_up(struct bench *b, const char *what, enum order order, uint64_t count)
{
    static struct record_name batch[BATCH];
    static uint8_t found[BATCH];
    struct mark m = begin(b->ix);
    struct varve_error err;
    uint64_t wrong = 0;

    for (uint64_t n = 0; n < count; n += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t which = order == ABSENT   ? b->names + n + i
                             : order == RANDOM ? next_random() % b->names
                                               : (n + i) % b->names;

            bench_name(which, batch[i].bytes);
        }
        if (index_get(b->ix, batch, BATCH, NULL, found, &err) != VARVE_OK) {
            fail(err.msg);
        }
        for (uint64_t i = 0; i < BATCH; i++) {
            wrong += found[i] != (order != ABSENT);
        }
    }
    if (wrong > 0) {
        fail("a look-up was answered wrong");
    }
    tell(what, count, &m, b->ix);
}

static void
open_index(struct bench *b, bool with_footers)
{
    static const uint8_t store_id[STORE_ID_SIZE] = "bench";
    struct index_options options = {
        .store_id = store_id, .pack_names = with_footers ? pack_names : NULL, .pack_names_arg = b};
    struct mark m = begin(NULL);
    struct index_stats stats;
    struct varve_error err;
    bool fresh = false;

    if (index_lmdb_open(&b->ix, b->index, &options, &fresh, &err) != VARVE_OK) {
        fail(err.msg);
    }
    index_get_stats(b->ix, &stats);
    b->names = stats.names;
    tell(stats.filter_kept ? "open, filter kept" : "open", 1, &m, NULL);
}

/* What follows is to be measured without that in its way. */
static void
wait_for_filter(struct bench *b)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    struct mark m = begin(NULL);
    struct index_stats stats;

    index_get_stats(b->ix, &stats);
    if (stats.filter_ready) {
        return;
    }
    while (!stats.filter_ready) {
        (void)nanosleep(&pause, NULL);
        index_get_stats(b->ix, &stats);
    }
    tell("filter filled", b->names, &m, NULL);
}

static void
close_index(struct bench *b)
{
    struct mark m = begin(NULL);

    index_close(b->ix);
    tell("close", 1, &m, NULL);
}

/* Out of the page cache with it, as after a restart of the machine. */
static void
forget_pages(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) {
        fail("the page cache cannot be emptied");
    }
    (void)close(fd);
}

static void
look(struct bench *b, bool cold)
{
    char data[1040];
    uint64_t count;

    (void)snprintf(data, sizeof(data), "%s/index.mdb", b->index);
    for (unsigned with_footers = 0; with_footers < 2; with_footers++) {
        const char *order = with_footers ? "in order, with footers" : "in order, no footers";

        if (cold) {
            forget_pages(data);
            forget_pages(b->path);
        }
        open_index(b, with_footers != 0);
        wait_for_filter(b);
        count = b->names < LOOKS_MAX ? b->names / BATCH * BATCH : LOOKS_MAX;
        look_up(b, order, SEQUENTIAL, cold ? count / 16 / BATCH * BATCH : count);
        look_up(b, "absent", ABSENT, cold ? count / 16 / BATCH * BATCH : count);
        look_up(b, "random", RANDOM, cold ? count / 16 / BATCH * BATCH : count);
        if (!cold && with_footers) {
            scan_counts(b);
        }
        close_index(b);
    }
}

static void
more(struct bench *b)
{
    char data[1040];

    (void)snprintf(data, sizeof(data), "%s/index.mdb", b->index);
    forget_pages(data);
    open_index(b, true);
    wait_for_filter(b);
    insert(b, b->names, b->names + INGEST / 4, false);
    close_index(b);
}

/* ---- stalls ---- */

struct counting {
    struct bench *b;
    struct cancel stop;
    struct thread thread;
};

/* As a collection and check-counts do: counts change 4096 at a time, then all of them are read, again and again. */
static void
count_on(void *arg)
{
    struct counting *c = arg;

    while (!cancel_is_set(&c->stop)) {
        uint64_t from = next_random() % (c->b->names - 16 * LEAVES);

        count_as_collector(c->b, from, from + 16 * LEAVES);
        scan_counts(c->b);
    }
}

static void
longest(uint64_t start, uint64_t *most)
{
    uint64_t took = time_mono_ns() - start;

    *most = took > *most ? took : *most;
}

/* The longest that a backup waits for the index, alone and beside the above. */
static void
stall(struct bench *b)
{
    static struct pack_entry entries[PACK];
    static struct record_name batch[BATCH];
    static uint8_t found[BATCH];
    uint64_t next = b->names;

    for (unsigned beside = 0; beside < 2; beside++) {
        struct counting c = {.b = b};
        uint64_t most[2] = {0, 0};
        struct index_pack pack;
        struct varve_error err;

        cancel_init(&c.stop);
        if (beside && thread_start(&c.thread, "counts", count_on, &c, &err) != VARVE_OK) {
            fail(err.msg);
        }
        for (unsigned i = 0; i < 1000; i++, next += PACK) {
            uint64_t start;

            make_pack(next, &pack, entries);
            for (uint64_t n = 0; n < BATCH; n++) {
                bench_name(next + n * 7919, batch[n].bytes);
            }
            start = time_mono_ns();
            if (index_get(b->ix, batch, BATCH, NULL, found, &err) != VARVE_OK) {
                fail(err.msg);
            }
            longest(start, &most[0]);
            start = time_mono_ns();
            if (index_add_pack(b->ix, &pack, entries, &err) != VARVE_OK) {
                fail(err.msg);
            }
            longest(start, &most[1]);
        }
        if (beside) {
            cancel_set(&c.stop);
            thread_join(&c.thread);
        }
        cancel_destroy(&c.stop);
        printf("longest of 1000 %s: 1024 look-ups %.1f ms, a pack of 256 added %.1f ms\n",
               beside ? "beside counting" : "alone", (double)most[0] / 1e6, (double)most[1] / 1e6);
    }
}

/* ---- what a deletion writes ---- */

#define DELETIONS 16u

/* Bytes that this process has given to files. */
static uint64_t
bytes_written(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    char line[128];
    uint64_t bytes = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "wchar:", 6) == 0) {
            bytes = strtoull(line + 6, NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return bytes;
}

/* As a collection does it with what a point of two leaves alone had: 256 counts end, their pack is condemned and goes. */
static void
delete_packs(struct bench *b)
{
    static struct pack_entry entries[PACK];
    static struct index_delta deltas[PACK];
    uint64_t packs = b->names / PACK;
    uint64_t operations = 0;
    uint64_t before = bytes_written();
    struct varve_error err;

    for (unsigned i = 0; i < DELETIONS; i++) {
        uint64_t first = packs / DELETIONS * i * PACK;
        struct index_pack pack;

        make_pack(first, &pack, entries);
        for (unsigned k = 0; k < PACK; k++) {
            deltas[k] =
                (struct index_delta){.name = entries[k].name, .kind = CHUNK_DATA, .delta = -1};
        }
        apply(b, deltas, PACK);
        pack.condemned = true;
        if (index_mark_packs(b->ix, &pack, 1, &err) != VARVE_OK ||
            index_drop_entries(b->ix, &pack.id, entries, PACK, &operations, &err) != VARVE_OK) {
            fail(err.msg);
        }
    }
    printf("of %" PRIu64 " names: %u packs of %u deleted, %.0f bytes written for each name\n",
           b->names, DELETIONS, PACK,
           (double)(bytes_written() - before) / (double)(DELETIONS * PACK));
}

static void
make(struct bench *b, uint64_t names)
{
    uint64_t ingest = names / 2 < INGEST ? names / 2 / PACK * PACK : INGEST;

    write_footers(b, names < LOOKS_MAX ? names : LOOKS_MAX);
    open_index(b, true);
    insert(b, 0, names - ingest, true);
    insert(b, names - ingest, names, false);
    tell_size(b, "file, names", names);
    count_sorted(b, names - ingest / 4);
    count_as_collector(b, names - ingest / 4, names);
    close_index(b);
    tell_size(b, "file, names and counts", names);
    (void)malloc_trim(0); /* what counting that many at a time has left is not the index's */
}

int
main(int argc, char **argv)
{
    static const uint8_t data_key[STORE_KEY_SIZE] = "bench";
    bool only_look = argc > 2 && strcmp(argv[2], "look") == 0;
    bool only_ingest = argc > 2 && strcmp(argv[2], "ingest") == 0;
    bool only_stall = argc > 2 && strcmp(argv[2], "stall") == 0;
    bool only_delete = argc > 2 && strcmp(argv[2], "delete") == 0;
    bool old = only_look || only_ingest || only_stall || only_delete;
    uint64_t names = argc > 2 && !old ? strtoull(argv[2], NULL, 10) * 1000000 : 1000000;
    struct bench b = {.footers = NULL};
    struct varve_error err;
    struct file_stat st;

    if (argc < 2 || argc > 3 || names == 0) {
        fprintf(stderr, "usage: bench_index FOLDER [MILLIONS|look|ingest|stall|delete]\n");
        return 2;
    }
    (void)snprintf(b.index, sizeof(b.index), "%.1000s/index", argv[1]);
    (void)snprintf(b.path, sizeof(b.path), "%.1000s/footers", argv[1]);
    state = 88172645463325252ull;
    if (crypto_init(&err) != VARVE_OK || store_keys_new(&b.keys, data_key, &err) != VARVE_OK) {
        fail(err.msg);
    }
    if ((fs_stat(fs_system(), argv[1], &st, &err) == VARVE_OK) != old ||
        fs_mkdir_parents(fs_system(), argv[1], &err) != VARVE_OK) {
        fail(old ? "the folder is not there" : "the folder is there, or cannot be made");
    }
    if (only_stall || only_delete) {
        open_index(&b, false);
        wait_for_filter(&b);
        if (only_stall) {
            stall(&b);
        } else {
            delete_packs(&b);
        }
        close_index(&b);
        store_keys_free(b.keys);
        return 0;
    }
    if (only_ingest) {
        more(&b);
        store_keys_free(b.keys);
        return 0;
    }
    if (!old) {
        make(&b, names / PACK * PACK);
    }
    if (file_open(fs_system(), &b.footers, b.path, FILE_READ, &err) != VARVE_OK) {
        fail(err.msg);
    }
    look(&b, only_look);
    file_close(b.footers);
    store_keys_free(b.keys);
    return 0;
}
