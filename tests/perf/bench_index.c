/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "index/index.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_config.h"

/*
 * The index with many synthetic names: bench_index FOLDER [MILLIONS].  FOLDER must not exist.  Names come as
 * ingest makes them, 256 to a pack, and are asked for as agents do, 1024 at a time: absent ones, ones at
 * random places, and ones in the order in which they came (the second backup of a disk).  Memory
 * is told as anonymous (the process's own) and file-backed (the index's pages in the page cache, which the
 * system takes back when it needs them).
 */
#define PACK  256u
#define BATCH 1024u

static uint64_t state;

static void
fail(const char *what)
{
    fprintf(stderr, "bench_index: %s\n", what);
    exit(1);
}

/* Four words from one number, as good as a hash. */
static void
name_of(uint64_t n, struct record_name *out)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t z = n * 4 + i + 0x9e3779b97f4a7c15ull * (n + 1);

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z ^= z >> 31;
        memcpy(out->bytes + i * 8, &z, 8);
    }
}

static uint64_t
next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double
cpu_seconds(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0) {
        fail("getrusage");
    }
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
tell(const char *what, uint64_t count, uint64_t start_ns, double cpu)
{
    double seconds = (double)(time_mono_ns() - start_ns) / 1e9;
    unsigned long anon = 0;
    unsigned long mapped = 0;
    char line[128];
    FILE *f = fopen("/proc/self/status", "r");
    struct rusage u;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0) {
            anon = strtoul(line + 8, NULL, 10);
        } else if (strncmp(line, "RssFile:", 8) == 0) {
            mapped = strtoul(line + 8, NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    (void)getrusage(RUSAGE_SELF, &u);
    printf("%-22s %11" PRIu64
           "  %8.1f s  %10.0f /s  %7.2f us cpu each  anon %lu MiB  file %lu MiB  "
           "major faults %ld\n",
           what, count, seconds, (double)count / seconds,
           (cpu_seconds() - cpu) * 1e6 / (double)count, anon / 1024, mapped / 1024, u.ru_majflt);
    fflush(stdout);
}

static void
insert(struct index *ix, uint64_t names)
{
    static struct pack_entry entries[PACK];
    uint64_t start = time_mono_ns();
    uint64_t step = names / 5 / PACK * PACK;
    double cpu = cpu_seconds();
    struct varve_error err;

    for (uint64_t n = 0; n < names; n += PACK) {
        struct index_pack pack = {.kind = CHUNK_DATA, .records = PACK, .size = 16u << 20};

        memcpy(pack.id.bytes, &n, sizeof(n));
        pack.id.bytes[15] = 1;
        pack.raw_bytes = (uint64_t)PACK * 65536;
        for (uint32_t i = 0; i < PACK; i++) {
            name_of(n + i, &entries[i].name);
            entries[i].offset = 64 + i * 65000;
            entries[i].stored_len = 64900;
            entries[i].raw_len = 65536;
            entries[i].kind = CHUNK_DATA;
        }
        if (index_add_pack(ix, &pack, entries, &err) != VARVE_OK) {
            fail(err.msg);
        }
        if (step > 0 && (n + PACK) % step == 0) {
            tell("insert, last fifth", step, start, cpu);
            start = time_mono_ns();
            cpu = cpu_seconds();
        }
    }
}

enum order { ABSENT, RANDOM, SEQUENTIAL };

static void
look_up(struct index *ix, const char *what, enum order order, uint64_t names, uint64_t count)
{
    static struct record_name batch[BATCH];
    static uint8_t found[BATCH];
    uint64_t start = time_mono_ns();
    double cpu = cpu_seconds();
    struct varve_error err;
    uint64_t wrong = 0;

    for (uint64_t n = 0; n < count; n += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t which = order == ABSENT   ? names + n + i
                             : order == RANDOM ? next_random() % names
                                               : (n + i) % names;

            name_of(which, &batch[i]);
        }
        if (index_get(ix, batch, BATCH, NULL, found, &err) != VARVE_OK) {
            fail(err.msg);
        }
        for (uint64_t i = 0; i < BATCH; i++) {
            wrong += found[i] != (order != ABSENT);
        }
    }
    if (wrong > 0) {
        fail("a look-up was answered wrong");
    }
    tell(what, count, start, cpu);
}

int
main(int argc, char **argv)
{
    static const uint8_t store_id[STORE_ID_SIZE] = "bench";
    struct index_options options = {.store_id = store_id};
    uint64_t names = argc > 2 ? strtoull(argv[2], NULL, 10) * 1000000 : 1000000;
    uint64_t looks = names < 4000000 ? names : 4000000;
    struct varve_error err;
    struct index *ix = NULL;
    struct file_stat st;
    char path[1024];
    uint64_t start;
    double cpu;
    bool fresh = false;

    if (argc < 2 || names == 0) {
        fprintf(stderr, "usage: bench_index FOLDER [MILLIONS]\n");
        return 2;
    }
    names = names / PACK * PACK;
    looks = looks / BATCH * BATCH;
    state = 88172645463325252ull;
    if (crypto_init(&err) != VARVE_OK || fs_stat(fs_system(), argv[1], &st, &err) == VARVE_OK ||
        index_lmdb_open(&ix, argv[1], &options, &fresh, &err) != VARVE_OK) {
        fail("the folder is there, or cannot be made");
    }
    insert(ix, names);
    look_up(ix, "absent", ABSENT, names, looks);
    look_up(ix, "present, random", RANDOM, names, looks);
    look_up(ix, "present, in order", SEQUENTIAL, names, looks);
    start = time_mono_ns();
    cpu = cpu_seconds();
    index_close(ix);
    tell("close", 1, start, cpu);
    (void)snprintf(path, sizeof(path), "%s/index.mdb", argv[1]);
    if (fs_stat(fs_system(), path, &st, &err) == VARVE_OK) {
        printf("file %" PRIu64 " MiB, %.1f bytes each\n", st.size >> 20,
               (double)st.size / (double)names);
    }
    start = time_mono_ns();
    cpu = cpu_seconds();
    if (index_lmdb_open(&ix, argv[1], &options, &fresh, &err) != VARVE_OK || fresh) {
        fail("the index was not kept");
    }
    tell("open", 1, start, cpu);
    look_up(ix, "absent, just opened", ABSENT, names, looks < 102400 ? looks : 102400);
    index_close(ix);
    return 0;
}
