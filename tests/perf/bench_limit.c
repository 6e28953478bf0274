/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's limit for the benchmark: every byte of a file read, zero chunks recognised, all other
 * 64 KiB chunks hashed with SHA-256 and packed with LZ4, on all cores, nothing sent or stored.
 * No backup that hashes and packs what it reads can be faster on this machine.
 *
 *   bench-limit FILE     prints: bytes, data bytes, packed bytes, seconds
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "codec/lz4.h"
#include "codec/zero.h"
#include "hash/chunk_id.h"
#include "os/thread.h"

#define CHUNK (64u * 1024)
#define PIECE (1024u * 1024)
#define CORES 64u

struct work {
    int fd;
    uint64_t size;
    atomic_uint_fast64_t next;
    atomic_uint_fast64_t data;
    atomic_uint_fast64_t packed;
    atomic_uint_fast64_t mixed; /* keeps the hashes from being optimised away */
    atomic_bool failed;
};

static void
worker(void *arg)
{
    struct work *w = arg;
    uint8_t *in = malloc(PIECE);
    uint8_t *out = malloc(CHUNK + CHUNK / 16);

    while (in != NULL && out != NULL) {
        uint64_t off = atomic_fetch_add(&w->next, PIECE);
        ssize_t got;

        if (off >= w->size) {
            break;
        }
        got = pread(w->fd, in, PIECE, (off_t)off);
        if (got <= 0) {
            atomic_store(&w->failed, true);
            break;
        }
        for (size_t at = 0; at < (size_t)got; at += CHUNK) {
            size_t len = (size_t)got - at < CHUNK ? (size_t)got - at : CHUNK;
            struct chunk_id id;
            size_t packed;

            if (codec_is_zero(in + at, len)) {
                continue;
            }
            chunk_id_of(&id, in + at, len);
            packed = codec_lz4_pack(in + at, len, out, CHUNK + CHUNK / 16);
            atomic_fetch_add(&w->data, len);
            atomic_fetch_add(&w->packed, packed != 0 ? packed : len);
            atomic_fetch_add(&w->mixed, id.bytes[0]);
        }
    }
    free(in);
    free(out);
}

int
main(int argc, char **argv)
{
    struct work w = {.fd = -1};
    struct thread threads[CORES];
    struct varve_error err;
    unsigned cores = thread_cpu_count() < CORES ? thread_cpu_count() : CORES;
    struct stat st;
    uint64_t start;

    if (argc != 2) {
        fprintf(stderr, "usage: bench-limit FILE\n");
        return 2;
    }
    w.fd = open(argv[1], O_RDONLY);
    if (w.fd < 0 || fstat(w.fd, &st) != 0) {
        fprintf(stderr, "bench-limit: '%s': %s\n", argv[1], strerror(errno));
        return 1;
    }
    w.size = (uint64_t)st.st_size;
    start = time_mono_ns();
    for (unsigned i = 0; i < cores; i++) {
        if (thread_start(&threads[i], "limit", worker, &w, &err) != VARVE_OK) {
            fprintf(stderr, "bench-limit: %s\n", err.msg);
            return 1;
        }
    }
    for (unsigned i = 0; i < cores; i++) {
        thread_join(&threads[i]);
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %.2f\n", w.size, (uint64_t)atomic_load(&w.data),
           (uint64_t)atomic_load(&w.packed), (double)(time_mono_ns() - start) / 1e9);
    (void)close(w.fd);
    return atomic_load(&w.failed) ? 1 : 0;
}
