/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/time.h"
#include "codec/lz4.h"
#include "crypto/identity.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/chunk_store.h"

/*
 * How fast the chunk store takes and gives chunks: bench_store FOLDER [MIB [THREADS [PUT_THREADS]]].
 * FOLDER must not exist.  Half of each chunk is random, half repeats, so that LZ4 has something to do.
 * Chunks are made and packed before the clock starts, as an agent would have.
 */
#define CHUNK 65536u

struct chunk {
    struct chunk_id id;
    uint8_t *stored;
    size_t stored_len;
};

struct part {
    struct chunk_store *cs;
    struct chunk *chunks;
    size_t count;
    struct thread thread;
    bool get;
};

static void
fail(const struct varve_error *err)
{
    fprintf(stderr, "bench_store: %s\n", err->msg);
    exit(1);
}

static void
make_chunk(struct chunk *c, uint64_t number)
{
    uint8_t *raw = malloc(CHUNK);
    uint8_t *packed = malloc(CHUNK);
    uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;

    if (raw == NULL || packed == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < CHUNK; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(raw + i, i < CHUNK / 2 ? &x : (uint64_t *)(void *)raw, 8);
    }
    chunk_id_of(&c->id, raw, CHUNK);
    c->stored_len = codec_lz4_pack(raw, CHUNK, packed, CHUNK);
    if (c->stored_len == 0) {
        exit(1);
    }
    c->stored = packed;
    free(raw);
}

static void
work(void *arg)
{
    struct part *p = arg;
    struct varve_error err;
    uint8_t *buf = malloc(CHUNK);
    size_t len = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct chunk *c = &p->chunks[i];
        enum varve_err rc;

        if (p->get) {
            rc = chunk_store_get(chunk_store_default(p->cs), &c->id, buf, CHUNK, &len, &err);
        } else {
            rc = chunk_store_put(chunk_store_default(p->cs), CHUNK_DATA, &c->id, c->stored,
                                 c->stored_len, CHUNK, &err);
        }
        if (rc != VARVE_OK) {
            fail(&err);
        }
    }
    free(buf);
}

static double
cpu_seconds(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0) {
        return 0;
    }
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
run(const char *what, struct chunk_store *cs, struct chunk *chunks, size_t count, unsigned threads,
    bool get)
{
    struct part *parts = calloc(threads, sizeof(*parts));
    struct varve_error err;
    double cpu = cpu_seconds();
    uint64_t start = time_mono_ns();
    uint64_t put_done;
    double seconds;

    for (unsigned i = 0; i < threads; i++) {
        size_t first = count * i / threads;

        parts[i] = (struct part){.cs = cs,
                                 .chunks = chunks + first,
                                 .count = count * (i + 1) / threads - first,
                                 .get = get};
        if (thread_start(&parts[i].thread, "bench", work, &parts[i], &err) != VARVE_OK) {
            fail(&err);
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        thread_join(&parts[i].thread);
    }
    put_done = time_mono_ns();
    if (!get && chunk_store_barrier(cs, &err) != VARVE_OK) {
        fail(&err);
    }
    seconds = (double)(time_mono_ns() - start) / 1e9;
    cpu = cpu_seconds() - cpu;
    printf("%-12s %8.1f MiB/s  wall %6.2f s (barrier %5.2f s)  cpu %6.2f s  %7.1f MiB per cpu "
           "second\n",
           what, (double)count / 16 / seconds, seconds, (double)(time_mono_ns() - put_done) / 1e9,
           cpu, (double)count / 16 / cpu);
    free(parts);
}

static void
ask(struct chunk_store *cs, struct chunk *chunks, size_t count)
{
    struct chunk_id *ids = malloc(count * sizeof(*ids));
    uint8_t *have = malloc(count);
    struct varve_error err;
    uint64_t start;
    double seconds;

    if (ids == NULL || have == NULL) {
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        ids[i] = chunks[i].id;
    }
    start = time_mono_ns();
    for (size_t i = 0; i < count; i += 1024) {
        if (chunk_store_has(chunk_store_default(cs), ids + i, count - i < 1024 ? count - i : 1024,
                            have + i, &err) != VARVE_OK) {
            fail(&err);
        }
    }
    seconds = (double)(time_mono_ns() - start) / 1e9;
    printf("%-12s %8.0f names/s\n", "has", (double)count / seconds);
    free(ids);
    free(have);
}

int
main(int argc, char **argv)
{
    size_t count = (argc > 2 ? strtoul(argv[2], NULL, 10) : 1024) * 16;
    unsigned threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2;
    struct chunk_store_options options = {0};
    struct chunk_store_stats stats;
    struct chunk *chunks = NULL;
    struct chunk_store *cs = NULL;
    struct store *store = NULL;
    struct varve_error err;
    struct rusage usage;
    char path[3][1024];
    uint64_t start;

    if (argc < 2 || count == 0 || threads == 0) {
        fprintf(stderr, "usage: bench_store FOLDER [MIB [THREADS [PUT_THREADS]]]\n");
        return 2;
    }
    chunks = calloc(count, sizeof(*chunks));
    if (chunks == NULL) {
        return 1;
    }
    log_set_level(LOG_LEVEL_WARN);
    snprintf(path[0], sizeof(path[0]), "%s/store", argv[1]);
    snprintf(path[1], sizeof(path[1]), "%s/index", argv[1]);
    snprintf(path[2], sizeof(path[2]), "%s/key", argv[1]);
    options.index_path = path[1];
    options.key_path = path[2];
    options.put_threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    if (crypto_init(&err) != VARVE_OK ||
        store_dir_open(&store, fs_system(), path[0], &err) != VARVE_OK ||
        chunk_store_open(&cs, store, fs_system(), &options, &err) != VARVE_OK) {
        fail(&err);
    }
    for (size_t i = 0; i < count; i++) {
        make_chunk(&chunks[i], i + 1);
    }
    printf("%zu chunks of 64 KiB, %zu bytes each as packed, %u threads\n", count,
           chunks[0].stored_len, threads);
    run("put", cs, chunks, count, threads, false);
    run("put again", cs, chunks, count, threads, false);
    run("get", cs, chunks, count, threads, true);
    run("get 1 thread", cs, chunks, count, 1, true);
    ask(cs, chunks, count);
    if (chunk_store_get_stats(cs, &stats, &err) != VARVE_OK ||
        getrusage(RUSAGE_SELF, &usage) != 0) {
        fail(&err);
    }
    printf("chunks %" PRIu64 ", packs %" PRIu64 ", stored %.1f MiB for %.1f MiB packed\n",
           stats.chunks, stats.packs, (double)stats.stored_bytes / 1048576,
           (double)(count * chunks[0].stored_len) / 1048576);
    chunk_store_close(cs);
    start = time_mono_ns();
    if (chunk_store_open(&cs, store, fs_system(), &options, &err) != VARVE_OK) {
        fail(&err);
    }
    printf("open %.3f s\n", (double)(time_mono_ns() - start) / 1e9);
    chunk_store_close(cs);
    snprintf(path[1], sizeof(path[1]), "%s/index-2", argv[1]);
    start = time_mono_ns();
    if (chunk_store_open(&cs, store, fs_system(), &options, &err) != VARVE_OK) {
        fail(&err);
    }
    printf("open without index %.3f s\n", (double)(time_mono_ns() - start) / 1e9);
    chunk_store_close(cs);
    store_close(store);
    printf("peak memory %ld MiB, of which the prepared chunks %zu MiB\n", usage.ru_maxrss / 1024,
           count * (CHUNK + 64) / 1048576);
    for (size_t i = 0; i < count; i++) {
        free(chunks[i].stored);
    }
    free(chunks);
    return 0;
}
