/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_H
#define VARVE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * A store keeps immutable objects under unique names.  Members: a directory (store_dir.c), memory
 * (store_mem.c), and a wrapper that fails or delays calls (store_fault.c); store_contract_test.c
 * runs the same cases against each.
 *
 * Promises:
 *   1. An object is absent or whole.  store_put() creates it or fails; a name that is there already
 *      is VARVE_ERR_EXISTS and the object is untouched.
 *   2. Once store_put() has returned VARVE_OK the object survives a power cut.
 *   3. A put that failed leaves either nothing or the whole object.
 *   4. Once store_remove() has returned VARVE_OK or VARVE_ERR_NOT_FOUND a power cut does not bring the object
 *      back.
 *   5. store_list() gives every object under the prefix that existed when the call began and was
 *      not deleted, in name order.
 *
 * Names: 1 to 200 characters of [a-z0-9._-] and '/', no part empty or beginning with '.'.
 * Object size: at most STORE_OBJECT_MAX.
 *
 * Threads: all calls may run at the same time, except store_close().
 */
#define STORE_OBJECT_MAX (64u * 1024 * 1024)
#define STORE_NAME_MAX   200

struct store;

struct store_part {
    const void *data;
    size_t len;
};

struct store_ops {
    enum varve_err (*put)(struct store *s, const char *name, const struct store_part *parts,
                          size_t part_count, struct varve_error *err);
    /* Exactly len bytes at off, else VARVE_ERR_CORRUPT; VARVE_ERR_NOT_FOUND when absent. */
    enum varve_err (*get)(struct store *s, const char *name, uint64_t off, void *buf, size_t len,
                          struct varve_error *err);
    enum varve_err (*size)(struct store *s, const char *name, uint64_t *out,
                           struct varve_error *err);
    enum varve_err (*remove)(struct store *s, const char *name, struct varve_error *err);
    enum varve_err (*list)(struct store *s, const char *prefix,
                           bool (*cb)(void *arg, const char *name, uint64_t size), void *arg,
                           struct varve_error *err);
    enum varve_err (*free_bytes)(struct store *s, uint64_t *out, struct varve_error *err);
    void (*close)(struct store *s);
};

struct store {
    const struct store_ops *ops;
};

/* The folder is made when it is not there.  One process at a time: a second is VARVE_ERR_BUSY. */
VARVE_CHECK enum varve_err store_dir_open(struct store **out, struct fs *fs, const char *path,
                                          struct varve_error *err);
/* For reading only: nothing is written, made, cleaned or locked, so that it also works on a file system that is
 * mounted so, and beside a process that has the store open.  The folder must be there (VARVE_ERR_NOT_FOUND). */
VARVE_CHECK enum varve_err store_dir_open_read(struct store **out, struct fs *fs, const char *path,
                                               struct varve_error *err);
/* For small changes beside a process that has the store open: no lock, no cleaning.  Whoever does this knows
 * that nobody else writes the same objects. */
VARVE_CHECK enum varve_err store_dir_open_shared(struct store **out, struct fs *fs,
                                                 const char *path, struct varve_error *err);
VARVE_CHECK enum varve_err store_mem_open(struct store **out, struct varve_error *err);
void store_close(struct store *s); /* NULL is fine */

/* Is it a name that an object can have? */
bool store_name_valid(const char *name);

VARVE_CHECK enum varve_err store_put(struct store *s, const char *name,
                                     const struct store_part *parts, size_t part_count,
                                     struct varve_error *err);
VARVE_CHECK enum varve_err store_get(struct store *s, const char *name, uint64_t off, void *buf,
                                     size_t len, struct varve_error *err);
VARVE_CHECK enum varve_err store_size(struct store *s, const char *name, uint64_t *out,
                                      struct varve_error *err);
VARVE_CHECK enum varve_err store_remove(struct store *s, const char *name, struct varve_error *err);
VARVE_CHECK enum varve_err store_list(struct store *s, const char *prefix,
                                      bool (*cb)(void *arg, const char *name, uint64_t size),
                                      void *arg, struct varve_error *err);
VARVE_CHECK enum varve_err store_free_bytes(struct store *s, uint64_t *out,
                                            struct varve_error *err);

#endif
