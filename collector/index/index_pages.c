/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_pages_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Flags of a page. */
#define PAGE_BRANCH   0x01u
#define PAGE_LEAF     0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_DIRTY    0x10u /* stays set in a page within a page */
#define PAGE_LEAF2    0x20u
#define PAGE_SUB      0x40u

/* MDB_node: two halves of a size 4, flags 2, key size 2. */
#define NODE_HEAD  8u
#define NODE_BIG   0x01u
#define NODE_TREE  0x02u
#define NODE_DUPES 0x04u

#define DEPTH_MAX 32u
#define BIG_MAX   (256u * 1024 * 1024) /* one value */

/*
 * Flags of a tree.  They say how its keys compare, and LMDB believes them: one wrong bit, and it finds nothing in a
 * tree in which everything stands where it should.
 */
#define TREE_PLAIN   0u
#define TREE_MANY    0x14u /* MDB_DUPSORT, MDB_DUPFIXED */
#define TREE_VALUES  0x10u /* MDB_DUPFIXED: the values of one key */
#define TREE_NUMBERS 0x08u /* MDB_INTEGERKEY: the free pages */
#define TREE_ORDER                                                                                 \
    0x7eu /* in the record of the free pages there are flags of the environment besides */

/* A walk of one tree. */
struct walk {
    struct index_pages *p;
    const struct tree *tree;
    struct tree sum; /* what was found */
    bool numbers;    /* keys are numbers of the machine */
    index_pages_cb cb;
    void *arg;
    uint8_t *bufs; /* a page for each level */
};

struct key {
    const uint8_t *data; /* NULL: no bound */
    size_t len;
};

enum varve_err
pages_corrupt(struct varve_error *err, uint64_t page, const char *what)
{
    return varve_error_set(err, VARVE_ERR_CORRUPT, "page %" PRIu64 " of the index: %s", page, what);
}

void
pages_tree_decode(struct tree *t, const uint8_t *p)
{
    t->pad = get_le32(p);
    t->flags = get_le16(p + 4);
    t->depth = get_le16(p + 6);
    t->branches = get_le64(p + 8);
    t->leaves = get_le64(p + 16);
    t->overflow = get_le64(p + 24);
    t->entries = get_le64(p + 32);
    t->root = get_le64(p + 40);
}

static bool
note_seen(struct index_pages *p, uint64_t page)
{
    uint8_t bit = (uint8_t)(1u << (page & 7));
    bool again;

    if (page < 2 || page >= p->pages) {
        return false;
    }
    again = (p->seen[page >> 3] & bit) != 0;
    p->seen[page >> 3] |= bit;
    return !again;
}

static enum varve_err
read_page(struct index_pages *p, uint64_t page, uint8_t *buf, struct varve_error *err)
{
    enum varve_err rc;

    if (!note_seen(p, page)) {
        return pages_corrupt(err, page, "it is used twice, or there is none");
    }
    rc = file_read_exact(p->f, buf, p->page_size, page * p->page_size, err);
    if (rc == VARVE_OK && get_le64(buf) != page) {
        rc = pages_corrupt(err, page, "it says to be another one");
    }
    return rc;
}

static int
compare(const struct walk *w, const struct key *a, const struct key *b)
{
    size_t len = a->len < b->len ? a->len : b->len;
    int d;

    if (w->numbers) {
        uint64_t x = get_le64(a->data);
        uint64_t y = get_le64(b->data);

        return x < y ? -1 : x > y ? 1 : 0;
    }
    d = memcmp(a->data, b->data, len);
    return d != 0 ? d : a->len < b->len ? -1 : a->len > b->len ? 1 : 0;
}

/* ---- what stands in a page ---- */

struct node {
    uint64_t child; /* of a branch */
    uint32_t len;   /* of a leaf */
    uint16_t flags;
    struct key key;
    const uint8_t *data;
};

/* The i-th node; its bytes are inside the page, and *used grows by what it takes. */
static bool
node_at(const struct index_pages *p, const uint8_t *page, unsigned i, bool branch, struct node *out,
        size_t *used)
{
    uint32_t upper = get_le16(page + 14);
    uint32_t at = get_le16(page + PAGE_HEAD + 2 * (size_t)i);
    const uint8_t *n = page + at;
    size_t size;

    if (at < upper || at % 2 != 0 || at + NODE_HEAD > p->page_size) {
        return false;
    }
    out->flags = get_le16(n + 4);
    out->key = (struct key){.data = n + NODE_HEAD, .len = get_le16(n + 6)};
    out->data = n + NODE_HEAD + out->key.len;
    size = NODE_HEAD + out->key.len;
    if (branch) {
        out->child = get_le32(n) | (uint64_t)out->flags << 32;
    } else {
        out->len = get_le32(n);
        size += (out->flags & NODE_BIG) != 0 ? 8 : out->len;
    }
    size += size & 1;
    *used += size;
    return size <= p->page_size - at;
}

/* Value of its own pages. */
static enum varve_err
read_big(struct walk *w, const struct node *n, uint8_t **out, struct varve_error *err)
{
    struct index_pages *p = w->p;
    uint64_t first = get_le64(n->data);
    uint64_t pages = ((uint64_t)PAGE_HEAD - 1 + n->len) / p->page_size + 1;
    uint8_t *buf = NULL;
    enum varve_err rc = VARVE_OK;

    if (n->len > BIG_MAX || pages == 0 || first >= p->pages || pages > p->pages - first) {
        return pages_corrupt(err, first, "a value has an impossible length");
    }
    for (uint64_t i = 0; rc == VARVE_OK && i < pages; i++) {
        if (!note_seen(p, first + i)) {
            rc = pages_corrupt(err, first + i, "it is used twice");
        }
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    buf = malloc((size_t)pages * p->page_size);
    if (buf == NULL) {
        return varve_error_nomem(err);
    }
    rc = file_read_exact(p->f, buf, (size_t)pages * p->page_size, first * p->page_size, err);
    if (rc == VARVE_OK && (get_le64(buf) != first || get_le16(buf + 10) != PAGE_OVERFLOW ||
                           get_le32(buf + 12) != pages)) {
        rc = pages_corrupt(err, first, "it does not begin a large value");
    }
    w->sum.overflow += pages;
    if (rc != VARVE_OK) {
        free(buf);
        return rc;
    }
    *out = buf;
    return VARVE_OK;
}

static enum varve_err
give(struct walk *w, const struct key *key, const uint8_t *value, size_t len,
     struct varve_error *err)
{
    w->sum.entries++;
    return w->cb == NULL ? VARVE_OK : w->cb(w->arg, key->data, key->len, value, len, err);
}

/* A page of values of one size only, in a page or as one; size 0: whichever it says. */
static enum varve_err
leaf2(struct walk *w, uint64_t page, const struct key *key, const uint8_t *bytes, size_t len,
      uint32_t size, struct varve_error *err)
{
    uint32_t says = get_le16(bytes + 8);
    uint32_t lower = get_le16(bytes + 12);
    uint32_t upper = get_le16(bytes + 14); /* each value took its size and gave 2 bytes back */
    size_t count = (lower - PAGE_HEAD) / 2;
    const uint8_t *at = bytes + PAGE_HEAD;
    enum varve_err rc = VARVE_OK;

    if (lower <= PAGE_HEAD || lower % 2 != 0 || says == 0 || (size != 0 && says != size) ||
        count > (len - PAGE_HEAD) / says || upper + count * says != len + 2 * count) {
        return pages_corrupt(err, page, "values do not fit it");
    }
    for (size_t i = 0; rc == VARVE_OK && i < count; i++, at += says) {
        if (i > 0 && memcmp(at - says, at, says) >= 0) {
            return pages_corrupt(err, page, "values do not ascend");
        }
        rc = give(w, key, at, says, err);
    }
    return rc;
}

static enum varve_err walk_page(struct walk *w, uint64_t page, unsigned level,
                                const struct key *low, const struct key *high,
                                const struct key *dupes, struct varve_error *err);

/* A tree of its own for the values of one key. */
static enum varve_err
walk_values(struct walk *w, uint64_t page, const struct node *n, struct varve_error *err)
{
    const struct key none = {.data = NULL};
    struct walk sub = {.p = w->p, .cb = w->cb, .arg = w->arg};
    struct tree tree;
    enum varve_err rc;

    if (n->len != DB_SIZE) {
        return pages_corrupt(err, page, "the record of a tree has another size");
    }
    memset(&tree, 0, sizeof(tree));
    pages_tree_decode(&tree, n->data);
    if (tree.depth == 0 || tree.depth > DEPTH_MAX || tree.pad == 0 || tree.flags != TREE_VALUES) {
        return pages_corrupt(err, page, "the record of a tree is impossible");
    }
    sub.tree = &tree;
    sub.bufs = malloc((size_t)tree.depth * w->p->page_size);
    if (sub.bufs == NULL) {
        return varve_error_nomem(err);
    }
    rc = walk_page(&sub, tree.root, 0, &none, &none, &n->key, err);
    free(sub.bufs);
    if (rc == VARVE_OK && (sub.sum.entries != tree.entries || sub.sum.leaves != tree.leaves ||
                           sub.sum.branches != tree.branches || tree.overflow != 0)) {
        rc = pages_corrupt(err, page, "the values of a key are not as many as it says");
    }
    w->sum.entries += sub.sum.entries;
    return rc;
}

static enum varve_err
leaf_node(struct walk *w, uint64_t page, const struct node *n, struct varve_error *err)
{
    const struct tree *t = w->tree;
    uint8_t *big = NULL;
    enum varve_err rc;

    if ((n->flags & ~(NODE_BIG | NODE_TREE | NODE_DUPES)) != 0 ||
        ((n->flags & NODE_DUPES) != 0 && t->flags != TREE_MANY)) {
        return pages_corrupt(err, page, "an entry has impossible flags");
    }
    if ((n->flags & NODE_DUPES) != 0) {
        if ((n->flags & NODE_TREE) != 0) {
            return walk_values(w, page, n, err);
        }
        if (n->len < PAGE_HEAD ||
            (get_le16(n->data + 10) & ~PAGE_DIRTY) != (PAGE_LEAF | PAGE_LEAF2 | PAGE_SUB)) {
            return pages_corrupt(err, page, "the values of a key are no page");
        }
        return leaf2(w, page, &n->key, n->data, n->len, 0, err);
    }
    if (((n->flags & NODE_TREE) != 0) != (t == &w->p->main)) {
        return pages_corrupt(err, page,
                             "an entry is a tree where none stands, or the other way round");
    }
    if ((n->flags & NODE_BIG) == 0) {
        return give(w, &n->key, n->data, n->len, err);
    }
    rc = read_big(w, n, &big, err);
    if (rc == VARVE_OK) {
        rc = give(w, &n->key, big + PAGE_HEAD, n->len, err);
    }
    free(big);
    return rc;
}

/* ---- pages ---- */

static bool
in_bounds(const struct walk *w, const struct key *k, const struct key *low, const struct key *high)
{
    return (!w->numbers || k->len == 8) && (low->data == NULL || compare(w, k, low) >= 0) &&
           (high->data == NULL || compare(w, k, high) < 0);
}

/* Every node first: then no walk begins from a page that is wrong. */
static enum varve_err
check_nodes(struct walk *w, uint64_t page, const uint8_t *buf, unsigned count, bool branch,
            const struct key *low, const struct key *high, struct varve_error *err)
{
    struct key before = {.data = NULL};
    size_t used = 0;

    for (unsigned i = 0; i < count; i++) {
        struct node n;

        if (!node_at(w->p, buf, i, branch, &n, &used)) {
            return pages_corrupt(err, page, "an entry does not lie in it");
        }
        if (branch && i == 0) {
            continue; /* its key stands for everything below the next one */
        }
        if (!in_bounds(w, &n.key, low, high) ||
            (before.data != NULL && compare(w, &before, &n.key) >= 0)) {
            return pages_corrupt(err, page, "its keys are not in order");
        }
        before = n.key;
    }
    return used == w->p->page_size - get_le16(buf + 14)
               ? VARVE_OK
               : pages_corrupt(err, page, "its entries do not fill it");
}

static enum varve_err
walk_nodes(struct walk *w, uint64_t page, unsigned level, const uint8_t *buf, unsigned count,
           const struct key *low, const struct key *high, const struct key *dupes,
           struct varve_error *err)
{
    bool branch = level + 1 < w->tree->depth;
    enum varve_err rc = VARVE_OK;

    for (unsigned i = 0; rc == VARVE_OK && i < count; i++) {
        struct node n;
        struct node next;
        size_t used = 0;

        if (!node_at(w->p, buf, i, branch, &n, &used) ||
            (branch && i + 1 < count && !node_at(w->p, buf, i + 1, branch, &next, &used))) {
            return pages_corrupt(err, page, "an entry does not lie in it");
        }
        rc = branch ? walk_page(w, n.child, level + 1, i == 0 ? low : &n.key,
                                i + 1 < count ? &next.key : high, dupes, err)
                    : leaf_node(w, page, &n, err);
    }
    return rc;
}

static enum varve_err
walk_page(struct walk *w, uint64_t page, unsigned level, const struct key *low,
          const struct key *high, const struct key *dupes, struct varve_error *err)
{
    bool branch = level + 1 < w->tree->depth;
    uint8_t *buf = w->bufs + (size_t)level * w->p->page_size;
    uint32_t lower;
    uint32_t upper;
    enum varve_err rc = read_page(w->p, page, buf, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    *(branch ? &w->sum.branches : &w->sum.leaves) += 1;
    if (get_le16(buf + 10) != (branch          ? PAGE_BRANCH
                               : dupes != NULL ? PAGE_LEAF | PAGE_LEAF2
                                               : PAGE_LEAF)) {
        return pages_corrupt(err, page, "it is not of the kind that stands there");
    }
    if (!branch && dupes != NULL) {
        return leaf2(w, page, dupes, buf, w->p->page_size, w->tree->pad, err);
    }
    lower = get_le16(buf + 12);
    upper = get_le16(buf + 14);
    if (lower < PAGE_HEAD + 2 || lower % 2 != 0 || lower > upper || upper > w->p->page_size) {
        return pages_corrupt(err, page, "its bounds are impossible");
    }
    rc = check_nodes(w, page, buf, (lower - PAGE_HEAD) / 2, branch, low, high, err);
    return rc == VARVE_OK
               ? walk_nodes(w, page, level, buf, (lower - PAGE_HEAD) / 2, low, high, dupes, err)
               : rc;
}

static enum varve_err
check_flags(const struct tree *tree, uint16_t flags, struct varve_error *err)
{
    return (flags == TREE_NUMBERS ? tree->flags & TREE_ORDER : tree->flags) == flags
               ? VARVE_OK
               : pages_corrupt(
                     err, tree->root,
                     "the tree that begins there says that its keys are in another order");
}

/* flags are what the tree's must be. */
static enum varve_err
walk_tree(struct index_pages *p, const struct tree *tree, uint16_t flags, index_pages_cb cb,
          void *arg, struct varve_error *err)
{
    const struct key none = {.data = NULL};
    struct walk w = {.p = p, .tree = tree, .numbers = flags == TREE_NUMBERS, .cb = cb, .arg = arg};
    enum varve_err rc = check_flags(tree, flags, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (tree->depth > DEPTH_MAX || (tree->depth == 0) != (tree->root == NO_PAGE)) {
        return pages_corrupt(err, tree->root, "the tree that begins there is impossible");
    }
    if (tree->depth > 0) {
        w.bufs = malloc((size_t)tree->depth * p->page_size);
        if (w.bufs == NULL) {
            return varve_error_nomem(err);
        }
        rc = walk_page(&w, tree->root, 0, &none, &none, NULL, err);
        free(w.bufs);
    }
    if (rc == VARVE_OK && (w.sum.branches != tree->branches || w.sum.leaves != tree->leaves ||
                           w.sum.overflow != tree->overflow || w.sum.entries != tree->entries)) {
        rc =
            pages_corrupt(err, tree->root, "the tree that begins there is not as large as it says");
    }
    return rc;
}

/* ---- tables ---- */

static enum varve_err
note_table(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
           struct varve_error *err)
{
    struct index_pages *p = arg;
    struct tree *t = &p->tables[p->table_count];

    if (key_len >= TABLE_NAME || value_len != DB_SIZE || p->table_count == TABLES_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the index has a table that nobody made");
    }
    memcpy(t->name, key, key_len);
    t->name[key_len] = '\0';
    pages_tree_decode(t, value);
    p->table_count++;
    return VARVE_OK;
}

enum varve_err
index_pages_open(struct index_pages **out, struct file *f, uint64_t txn, struct varve_error *err)
{
    struct index_pages *p = calloc(1, sizeof(*p));
    enum varve_err rc;

    if (p == NULL) {
        return varve_error_nomem(err);
    }
    p->f = f;
    rc = pages_read_meta(p, txn, err);
    if (rc == VARVE_OK) {
        rc = check_flags(&p->free_pages, TREE_NUMBERS, err);
    }
    if (rc == VARVE_OK) {
        p->seen = calloc((size_t)(p->pages / 8 + 1), 1);
        rc = p->seen == NULL ? varve_error_nomem(err)
                             : walk_tree(p, &p->main, TREE_PLAIN, note_table, p, err);
    }
    if (rc != VARVE_OK) {
        index_pages_close(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

void
index_pages_close(struct index_pages *p)
{
    if (p != NULL) {
        free(p->seen);
        free(p);
    }
}

uint64_t
index_pages_transaction(const struct index_pages *p)
{
    return p->txn;
}

enum varve_err
index_pages_table(struct index_pages *p, const char *name, bool many, index_pages_cb cb, void *arg,
                  struct varve_error *err)
{
    for (size_t i = 0; i < p->table_count; i++) {
        if (strcmp(p->tables[i].name, name) == 0) {
            p->tables[i].walked = true;
            return walk_tree(p, &p->tables[i], many ? TREE_MANY : TREE_PLAIN, cb, arg, err);
        }
    }
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the index has no table '%s'", name);
}

/* A list of free pages: how many, then their numbers. */
static enum varve_err
note_free(void *arg, const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len,
          struct varve_error *err)
{
    struct index_pages *p = arg;
    uint64_t count = value_len >= 8 ? get_le64(value) : UINT64_MAX;

    (void)key_len; /* 8: in_bounds() */
    if (get_le64(key) > p->txn) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "pages of the index are free since a transaction to come");
    }
    if (value_len % 8 != 0 || count > value_len / 8 - 1) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "a list of free pages is not whole");
    }
    for (uint64_t i = 1; i <= count; i++) {
        if (!note_seen(p, get_le64(value + 8 * i))) {
            return pages_corrupt(err, get_le64(value + 8 * i), "it is free, and in use");
        }
    }
    return VARVE_OK;
}

enum varve_err
index_pages_finish(struct index_pages *p, uint64_t *pages, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < p->table_count; i++) {
        if (!p->tables[i].walked) {
            rc = walk_tree(p, &p->tables[i],
                           p->tables[i].flags == TREE_MANY ? TREE_MANY : TREE_PLAIN, NULL, NULL,
                           err);
        }
    }
    if (rc == VARVE_OK) {
        rc = walk_tree(p, &p->free_pages, TREE_NUMBERS, note_free, p, err);
    }
    if (pages != NULL) {
        *pages = p->pages;
    }
    return rc;
}
