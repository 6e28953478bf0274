/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_INDEX_INDEX_PAGES_INTERNAL_H
#define VARVE_INDEX_INDEX_PAGES_INTERNAL_H

#include "index/index_pages.h"

/* What index_pages.c (trees) and index_pages_meta.c (the two pages they begin in) share. */

/* MDB_db: pad 4, flags 2, depth 2, branches 8, leaves 8, overflow 8, entries 8, root 8 */
#define DB_SIZE    48u
#define NO_PAGE    UINT64_MAX
#define TABLES_MAX 16u
#define TABLE_NAME 16u

/* MDB_page: number 8, pad 2, flags 2, lower 2, upper 2; or pages 4 for the last two. */
#define PAGE_HEAD 16u
#define PAGE_META 0x08u

struct tree {
    char name[TABLE_NAME];
    uint32_t pad; /* size of a value where they are fixed */
    uint16_t flags;
    uint16_t depth;
    uint64_t branches;
    uint64_t leaves;
    uint64_t overflow;
    uint64_t entries;
    uint64_t root;
    bool walked;
};

struct index_pages {
    struct file *f;
    uint32_t page_size;
    uint64_t pages;
    uint64_t txn;  /* of the meta page */
    uint8_t *seen; /* a bit each */
    struct tree free_pages;
    struct tree main;
    struct tree tables[TABLES_MAX];
    size_t table_count;
};

enum varve_err pages_corrupt(struct varve_error *err, uint64_t page, const char *what);
void pages_tree_decode(struct tree *t, const uint8_t *p);
/* Fills in page_size, pages, txn and the two trees of the meta page of transaction txn, UINT64_MAX: the newer one's. */
VARVE_CHECK enum varve_err pages_read_meta(struct index_pages *p, uint64_t txn,
                                           struct varve_error *err);

#endif
