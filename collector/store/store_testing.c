/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_testing.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
die(const char *what)
{
    perror(what);
    abort();
}

char *
test_path(const char *folder, const char *name)
{
    char *path = malloc(strlen(folder) + strlen(name) + 2);

    if (path == NULL) {
        die("malloc");
    }
    sprintf(path, "%s/%s", folder, name);
    return path;
}

char *
test_folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char *path = test_path(base != NULL ? base : "/tmp", "varve-store-test-XXXXXX");

    if (mkdtemp(path) == NULL) {
        die(path);
    }
    return path;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void
test_folder_remove(char *folder)
{
    if (folder != NULL) {
        if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
            die(folder);
        }
        free(folder);
    }
}

/* splitmix64 */
uint64_t
test_random_next(struct test_random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t
test_random_below(struct test_random *r, uint64_t limit)
{
    return test_random_next(r) % limit;
}

void
test_random_fill(struct test_random *r, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len > 0) {
        uint64_t v = test_random_next(r);
        size_t n = len < sizeof(v) ? len : sizeof(v);

        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}
