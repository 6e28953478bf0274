/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_TESTING_H
#define VARVE_STORE_STORE_TESTING_H

#include <stddef.h>
#include <stdint.h>

/* What the tests of store, index, manifest and catalog share.  Trouble in here ends the program. */

/* A fresh folder under $TMPDIR or /tmp; test_folder_remove() deletes it with all it holds, frees. */
char *test_folder_make(void);
void test_folder_remove(char *folder);
/* "folder/name"; the caller frees. */
char *test_path(const char *folder, const char *name);

/* Numbers from a seed: the same on every machine. */
struct test_random {
    uint64_t state;
};
uint64_t test_random_next(struct test_random *r);
uint64_t test_random_below(struct test_random *r, uint64_t limit);
void test_random_fill(struct test_random *r, void *buf, size_t len);

#endif
