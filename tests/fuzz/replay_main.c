/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Runs a fuzz target without libFuzzer: every file of the corpus folder as it is, then cut short and
 * with bytes changed.  The changes are the same in each run (their seed is a constant), so a failure
 * can be repeated; the name of the file and the number of the change are printed when a target
 * crashes a run under a debugger: they are in current_file and current_change.
 */
#define FILE_MAX         (16u * 1024 * 1024)
#define CHANGES_PER_FILE 200u
#define SEED             UINT64_C(0x5EED0FACC0117EC7)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *volatile current_file;
static volatile unsigned current_change;

static uint64_t random_state = SEED;

/* xorshift64*: small and the same everywhere. */
static uint64_t
next_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

/* A copy of its own for each run, so that reading past the end is seen by a sanitizer. */
static int
run_copy(const uint8_t *data, size_t size, unsigned change)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);

    if (copy == NULL) {
        return -1;
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    current_change = change;
    if (change > 0 && size > 0) {
        if (change % 4 == 0) {
            size = (size_t)(next_random() % size);
        }
        for (uint64_t n = next_random() % 4; n > 0 && size > 0; n--) {
            copy[next_random() % size] = (uint8_t)next_random();
        }
    }
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int
run_file(const char *path)
{
    uint8_t *data = NULL;
    FILE *f = NULL;
    struct stat st;
    int rc = -1;

    current_file = path;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX) {
        fprintf(stderr, "'%s' is no file of at most %u bytes\n", path, FILE_MAX);
        goto out;
    }
    f = fopen(path, "rb");
    data = malloc((size_t)st.st_size + 1);
    if (f == NULL || data == NULL) {
        fprintf(stderr, "reading '%s': %s\n", path, strerror(errno));
        goto out;
    }
    if (fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        fprintf(stderr, "reading '%s': short\n", path);
        goto out;
    }
    for (unsigned i = 0; i <= CHANGES_PER_FILE; i++) {
        if (run_copy(data, (size_t)st.st_size, i) != 0) {
            fprintf(stderr, "out of memory\n");
            goto out;
        }
    }
    rc = 0;
out:
    free(data);
    if (f != NULL) {
        (void)fclose(f);
    }
    return rc;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted: the same order in each run.  -1: errno says why. */
static int
list_folder(const char *path, char ***out)
{
    DIR *dir = opendir(path);
    char **names = NULL;
    int count = 0;

    if (dir == NULL) {
        return -1;
    }
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        size_t size = strlen(e->d_name) + 1;
        char **more = realloc(names, ((size_t)count + 1) * sizeof(*names));

        if (more == NULL) {
            abort();
        }
        names = more;
        names[count] = malloc(size);
        if (names[count] == NULL) {
            abort();
        }
        memcpy(names[count], e->d_name, size);
        count++;
    }
    (void)closedir(dir);
    if (count > 0) {
        qsort(names, (size_t)count, sizeof(*names), by_name);
    }
    *out = names;
    return count;
}

int
main(int argc, char **argv)
{
    char **entries = NULL;
    unsigned files = 0;
    int failed = 0;
    int count;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    count = list_folder(argv[1], &entries);
    if (count < 0) {
        fprintf(stderr, "listing '%s': %s\n", argv[1], strerror(errno));
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char path[4096];

        if (entries[i][0] != '.') {
            (void)snprintf(path, sizeof(path), "%s/%s", argv[1], entries[i]);
            files++;
            failed |= run_file(path) != 0;
        }
        free(entries[i]);
    }
    free(entries);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    if (files == 0) {
        fprintf(stderr, "'%s' holds no input\n", argv[1]);
        return 1;
    }
    printf("%u inputs, each with %u changed copies\n", files, CHANGES_PER_FILE);
    return failed;
}
