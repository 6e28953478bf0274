/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_PAGES_H
#define VARVE_INDEX_INDEX_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * The pages of an LMDB file, read and checked without LMDB, which trusts them: a page number or a length with one
 * wrong bit makes it end the process, or answer from a page that was given up and holds what was right
 * yesterday.  Checked are both meta pages, and of every tree that the newer one names: each page is of its
 * tree alone and none of them is free; levels and totals are those of the tree's record, and its flags, by which LMDB
 * compares keys, are those it was made with; what stands in a page fills it exactly; keys ascend and lie between those of
 * the page above.  So a wrong bit in anything but a key's or a value's own bytes is found; those are for the caller, who
 * is given every entry.
 *
 * The layout is that of LMDB 0.9 on 64-bit little-endian machines (mdb.c: MDB_meta, MDB_db, MDB_page, MDB_node),
 * with pages of 4096 to 65536 bytes, sorted duplicates of fixed size, and no nested tables beside those.
 *
 * All functions: VARVE_ERR_CORRUPT names the page.  Memory: a bit for each page of the file.  Threads: one.
 */
struct index_pages;

/*
 * f is borrowed, and read as it is needed.  txn: the transaction that the caller holds a reader of, so that nothing of it
 * is written over; UINT64_MAX: the newest, nobody writes.  A meta page of another is VARVE_ERR_BUSY: too many
 * commits have passed, try again.
 */
VARVE_CHECK enum varve_err index_pages_open(struct index_pages **out, struct file *f, uint64_t txn,
                                            struct varve_error *err);
void index_pages_close(struct index_pages *p); /* NULL is fine */
/* Of the meta page. */
uint64_t index_pages_transaction(const struct index_pages *p);

/* One entry; of a key with several values, one call each.  Other than VARVE_OK ends the walk. */
typedef enum varve_err (*index_pages_cb)(void *arg, const uint8_t *key, size_t key_len,
                                         const uint8_t *value, size_t value_len,
                                         struct varve_error *err);
/* Every entry of a table, in order; each table at most once.  many: its keys may have several values.
 * VARVE_ERR_NOT_FOUND: there is none of that name. */
VARVE_CHECK enum varve_err index_pages_table(struct index_pages *p, const char *name, bool many,
                                             index_pages_cb cb, void *arg, struct varve_error *err);
/* After the tables: the pages that are free, none of which may be of a table.  *pages (may be NULL): how many there are
 * in all. */
VARVE_CHECK enum varve_err index_pages_finish(struct index_pages *p, uint64_t *pages,
                                              struct varve_error *err);

#endif
