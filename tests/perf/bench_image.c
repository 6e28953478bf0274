/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes and changes the disk image of the benchmark, from a seed alone.
 *
 *   bench-image make FILE SEED MIB        a raw image: about 30 % holes, 30 % incompressible,
 *                                         32 % text-like, 8 % repeats of what stands earlier
 *   bench-image change FILE SEED PERMILLE scattered 64 KiB extents of the data get new content
 *                                         (half incompressible, half text-like); prints the bytes
 *   bench-image extents FILE SEED PERMILLE  the same extents, one "offset length" a line, no change
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define UNIT     (64u * 1024)
#define RUN_MAX  64u /* units: a run is 64 KiB to 4 MiB long */
#define WORDS    4096u
#define WORD_MAX 12u

struct text {
    char word[WORDS][WORD_MAX];
    uint8_t len[WORDS];
};

static uint64_t
next(uint64_t *state)
{
    uint64_t z;

    *state += 0x9e3779b97f4a7c15u;
    z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void
text_init(struct text *t)
{
    uint64_t rng = 7;

    for (unsigned i = 0; i < WORDS; i++) {
        unsigned len = 2 + (unsigned)(next(&rng) % (WORD_MAX - 3));

        for (unsigned k = 0; k < len; k++) {
            t->word[i][k] = (char)('a' + next(&rng) % 26);
        }
        t->word[i][len] = ' ';
        t->len[i] = (uint8_t)(len + 1);
    }
}

/* Common words come more often, as in real text: LZ4 packs this to about half. */
static void
fill_text(const struct text *t, uint8_t *out, size_t len, uint64_t *rng)
{
    size_t at = 0;

    while (at < len) {
        uint64_t r = next(rng);
        uint64_t skew = ((r & 0xfff) * ((r >> 12) & 0xfff)) >> 12;
        unsigned w = (unsigned)((skew * skew * ((r >> 24) & 0xfff)) >> 24) % WORDS;
        size_t n = t->len[w];

        if (n > len - at) {
            n = len - at;
        }
        memcpy(out + at, t->word[w], n);
        at += n;
    }
}

static void
fill_random(uint8_t *out, size_t len, uint64_t *rng)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = next(rng);

        memcpy(out + i, &v, 8);
    }
}

/* This is the whole program: it ends with what it holds. */
static VARVE_NORETURN void
die(const char *what)
{
    fprintf(stderr, "bench-image: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
make(const char *path, uint64_t seed, uint64_t size)
{
    struct text *text = malloc(sizeof(*text));
    uint8_t *buf = malloc((size_t)RUN_MAX * UNIT);
    uint64_t rng = seed;
    uint64_t off = 0;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (text == NULL || buf == NULL || fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        die(path);
    }
    text_init(text);
    while (off < size) {
        size_t len = (size_t)(1 + next(&rng) % RUN_MAX) * UNIT;
        unsigned kind = (unsigned)(next(&rng) % 100);

        if (len > size - off) {
            len = (size_t)(size - off);
        }
        if (kind < 30) {
            off += len;
            continue;
        }
        if (kind < 38 && off > (uint64_t)RUN_MAX * UNIT) {
            uint64_t from = next(&rng) % ((off - len) / UNIT) * UNIT;

            if (pread(fd, buf, len, (off_t)from) != (ssize_t)len) {
                die(path);
            }
        } else if (kind < 70) {
            fill_text(text, buf, len, &rng);
        } else {
            fill_random(buf, len, &rng);
        }
        if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len) {
            die(path);
        }
        off += len;
    }
    free(text);
    free(buf);
    if (close(fd) != 0) {
        die(path);
    }
}

/* The units to change: a seeded choice among those that hold data now. */
static void
change(const char *path, uint64_t seed, uint64_t permille, bool write_them)
{
    struct text *text = malloc(sizeof(*text));
    uint8_t *buf = malloc(UNIT);
    uint8_t *taken = NULL;
    uint64_t rng = seed ^ 0x5bd1e995u;
    uint64_t units;
    uint64_t want;
    uint64_t done = 0;
    struct stat st;
    int fd = open(path, O_RDWR);

    if (text == NULL || buf == NULL || fd < 0 || fstat(fd, &st) != 0) {
        die(path);
    }
    text_init(text);
    units = (uint64_t)st.st_size / UNIT;
    want = units * permille / 1000;
    taken = calloc(units != 0 ? units : 1, 1);
    if (taken == NULL) {
        die(path);
    }
    for (uint64_t tries = 0; done < want && tries < units * 100; tries++) {
        uint64_t u = next(&rng) % units;

        if (taken[u] != 0) {
            continue;
        }
        if (pread(fd, buf, UNIT, (off_t)(u * UNIT)) != (ssize_t)UNIT) {
            die(path);
        }
        if (buf[0] == 0 && memcmp(buf, buf + 1, UNIT - 1) == 0) {
            continue;
        }
        taken[u] = 1;
        done++;
        if (!write_them) {
            printf("%" PRIu64 " %u\n", u * UNIT, UNIT);
            continue;
        }
        if (done % 2 == 0) {
            fill_text(text, buf, UNIT, &rng);
        } else {
            fill_random(buf, UNIT, &rng);
        }
        if (pwrite(fd, buf, UNIT, (off_t)(u * UNIT)) != (ssize_t)UNIT) {
            die(path);
        }
    }
    if (write_them) {
        printf("%" PRIu64 "\n", done * UNIT);
    }
    free(text);
    free(buf);
    free(taken);
    if (close(fd) != 0) {
        die(path);
    }
}

int
main(int argc, char **argv)
{
    uint64_t seed;
    uint64_t number;

    if (argc != 5) {
        fprintf(stderr, "usage: bench-image make FILE SEED MIB\n"
                        "       bench-image change|extents FILE SEED PERMILLE\n");
        return 2;
    }
    seed = strtoull(argv[3], NULL, 10);
    number = strtoull(argv[4], NULL, 10);
    if (strcmp(argv[1], "make") == 0) {
        make(argv[2], seed, number * 1024 * 1024);
        return 0;
    }
    if (strcmp(argv[1], "change") == 0 || strcmp(argv[1], "extents") == 0) {
        change(argv[2], seed, number, argv[1][0] == 'c');
        return 0;
    }
    fprintf(stderr, "bench-image: unknown command '%s'\n", argv[1]);
    return 2;
}
