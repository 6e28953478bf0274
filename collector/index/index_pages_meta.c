/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_pages_internal.h"

#include <stdlib.h>

#include "base/endian.h"

/* The two pages in which a file begins, and which of them stands for it. */

/* MDB_meta, behind the header of pages 0 and 1. */
#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define META_DBS     24u /* two records */
#define META_LAST    120u
#define META_TXN     128u
#define META_END     136u

#define PAGE_MIN 4096u
#define PAGE_MAX 65536u

static bool
meta_is_sane(const uint8_t *page, uint64_t number, uint32_t page_size)
{
    const uint8_t *m = page + PAGE_HEAD;

    return get_le64(page) == number && (get_le16(page + 10) & PAGE_META) != 0 &&
           get_le32(m) == META_MAGIC && get_le32(m + 4) == META_VERSION &&
           get_le32(m + META_DBS) == page_size;
}

/*
 * Commits take turns between the two pages, so they hold two numbers in a row, each in the page of its parity; in
 * a file that was just made both hold 0.
 */
static enum varve_err
choose_meta(const uint8_t *pages, uint32_t page_size, uint64_t txn, const uint8_t **out,
            struct varve_error *err)
{
    const uint8_t *even = pages + PAGE_HEAD;
    const uint8_t *odd = pages + page_size + PAGE_HEAD;
    uint64_t a = get_le64(even + META_TXN);
    uint64_t b = get_le64(odd + META_TXN);

    if (!meta_is_sane(pages, 0, page_size) || !meta_is_sane(pages + page_size, 1, page_size)) {
        return pages_corrupt(err, 0, "it, or the next one, is no meta page");
    }
    if ((a != 0 || b != 0) && (a % 2 != 0 || b % 2 != 1 || (a > b ? a - b : b - a) != 1)) {
        return pages_corrupt(err, 0, "it and the next one are not of two transactions in a row");
    }
    *out = b > a ? odd : even;
    if (txn != UINT64_MAX && get_le64(*out + META_TXN) != txn) {
        *out = b > a ? even : odd;
        if (get_le64(*out + META_TXN) != txn) {
            return varve_error_set(err, VARVE_ERR_BUSY, "the index was written meanwhile");
        }
    }
    return VARVE_OK;
}

enum varve_err
pages_read_meta(struct index_pages *p, uint64_t txn, struct varve_error *err)
{
    uint8_t *pages = malloc((size_t)2 * PAGE_MAX);
    const uint8_t *meta = pages;
    struct file_stat st;
    uint64_t last = 0;
    enum varve_err rc = pages == NULL ? varve_error_nomem(err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = file_fstat(p->f, &st, err);
    }
    if (rc == VARVE_OK) {
        rc = file_read_exact(p->f, pages, META_END + PAGE_HEAD, 0, err);
    }
    if (rc == VARVE_OK) {
        p->page_size = get_le32(pages + PAGE_HEAD + META_DBS);
        if (p->page_size < PAGE_MIN || p->page_size > PAGE_MAX ||
            (p->page_size & (p->page_size - 1)) != 0 || st.size < 2 * (uint64_t)p->page_size) {
            rc = pages_corrupt(err, 0, "it is no meta page");
        }
    }
    if (rc == VARVE_OK) {
        rc = file_read_exact(p->f, pages, (size_t)2 * p->page_size, 0, err);
    }
    if (rc == VARVE_OK) {
        rc = choose_meta(pages, p->page_size, txn, &meta, err);
    }
    if (rc == VARVE_OK) {
        last = get_le64(meta + META_LAST);
        p->txn = get_le64(meta + META_TXN);
        pages_tree_decode(&p->free_pages, meta + META_DBS);
        pages_tree_decode(&p->main, meta + META_DBS + DB_SIZE);
        if (last < 1 || last >= st.size / p->page_size) {
            rc = pages_corrupt(err, last, "it is the last one and not in the file");
        }
    }
    p->pages = last + 1;
    free(pages);
    return rc;
}
