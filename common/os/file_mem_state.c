/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/file_mem_internal.h"

/*
 * The two states of a mem_fs, current and durable, what lies between them, and how a sync or a power
 * cut moves the one to the other.
 */

static struct mem_entry *
find_entry(const struct mem_dir *d, const char *name, size_t len)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strncmp(d->entries[i].name, name, len) == 0 && d->entries[i].name[len] == '\0') {
            return &d->entries[i];
        }
    }
    return NULL;
}

struct mem_inode *
mem_dir_find(const struct mem_dir *d, const char *name, size_t len)
{
    const struct mem_entry *e = find_entry(d, name, len);

    return e == NULL ? NULL : e->inode;
}

bool
mem_dir_set(struct mem_dir *d, const char *name, struct mem_inode *inode)
{
    struct mem_entry *e = find_entry(d, name, strlen(name));
    struct mem_entry *entries;
    char *copy;

    if (e != NULL) {
        if (inode != NULL) {
            e->inode = inode;
        } else {
            free(e->name);
            *e = d->entries[--d->count];
        }
        return true;
    }
    if (inode == NULL) {
        return true;
    }
    if (d->count == d->cap) {
        size_t cap = d->cap == 0 ? 8 : d->cap * 2;

        entries = realloc(d->entries, cap * sizeof(*entries));
        if (entries == NULL) {
            return false;
        }
        d->entries = entries;
        d->cap = cap;
    }
    copy = strdup(name);
    if (copy == NULL) {
        return false;
    }
    d->entries[d->count].name = copy;
    d->entries[d->count].inode = inode;
    d->count++;
    return true;
}

void
mem_dir_release(struct mem_dir *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->entries[i].name);
    }
    free(d->entries);
    memset(d, 0, sizeof(*d));
}

void
mem_inode_settle(struct mem_fs *m, struct mem_inode *inode)
{
    if (inode->names == 0 && inode->opens == 0 && !inode->is_dir) {
        m->used_pages -= inode->current.page_count;
        mem_pages_release(&inode->current);
    }
}

void
mem_writes_free(struct mem_inode *inode)
{
    while (inode->pending != NULL) {
        struct mem_write *w = inode->pending;

        inode->pending = w->next;
        free(w->data);
        free(w);
    }
    inode->pending_tail = &inode->pending;
}

void
mem_change_free(struct mem_change *c)
{
    free(c->slots[0].name);
    free(c->slots[1].name);
    free(c);
}

/* A test that runs out of memory here cannot go on with a half state. */
static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

void
mem_change_commit(struct mem_change *c)
{
    for (size_t i = 0; i < 2; i++) {
        if (c->slots[i].dir != NULL) {
            must(mem_dir_set(&c->slots[i].dir->durable_dir, c->slots[i].name, c->slots[i].after));
        }
    }
    mem_change_free(c);
}

bool
mem_change_needs(const struct mem_change *b, const struct mem_change *a)
{
    if (a->moves_dir && b->moves_dir) {
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 2; j++) {
            if (a->slots[i].dir != NULL && a->slots[i].dir == b->slots[j].dir &&
                strcmp(a->slots[i].name, b->slots[j].name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* ---- power cut ---- */

/* splitmix64: each seed gives a stream of its own, also neighbouring ones. */
static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

enum mood { LOSE_ALL, KEEP_ALL, MIX };

struct cut {
    enum mood mood;
    unsigned unit;
    unsigned keep_of_8; /* a change of names is kept with this chance */
    uint64_t random;
};

/* One of the states 0 (as it was at the sync) to count (the last). */
static unsigned
choose_state(struct cut *cut, unsigned count)
{
    switch (cut->mood) {
    case LOSE_ALL:
        return 0;
    case KEEP_ALL:
        return count;
    case MIX:
        break;
    }
    return (unsigned)(next_random(&cut->random) % (count + 1u));
}

static bool
overlaps(const struct mem_write *w, uint64_t off, uint64_t len)
{
    return w->len > 0 && w->off < off + len && off < w->off + w->len;
}

/* Puts what w wrote of the unit at off into it. */
static void
apply_to_unit(const struct mem_write *w, uint8_t *unit, uint64_t off, unsigned len)
{
    uint64_t from = w->off > off ? w->off : off;
    uint64_t to = w->off + w->len < off + len ? w->off + w->len : off + len;

    if (w->data == NULL) {
        memset(unit + (from - off), 0, (size_t)(to - from));
    } else {
        memcpy(unit + (from - off), w->data + (from - w->off), (size_t)(to - from));
    }
}

/* writes: the pending ones that touch this page, in order. */
static void
cut_page(struct mem_inode *inode, uint64_t page, const struct mem_write **writes, size_t count,
         struct cut *cut)
{
    uint8_t unit[MEM_PAGE_SIZE];

    for (uint64_t off = page * MEM_PAGE_SIZE; off < (page + 1) * MEM_PAGE_SIZE; off += cut->unit) {
        unsigned states = 0;
        unsigned keep;

        for (size_t i = 0; i < count; i++) {
            states += overlaps(writes[i], off, cut->unit) ? 1 : 0;
        }
        if (states == 0) {
            continue;
        }
        keep = choose_state(cut, states);
        mem_pages_read(&inode->durable, off, unit, cut->unit);
        for (size_t i = 0; keep > 0; i++) {
            if (overlaps(writes[i], off, cut->unit)) {
                apply_to_unit(writes[i], unit, off, cut->unit);
                keep--;
            }
        }
        must(mem_pages_write(&inode->durable, off, unit, cut->unit));
    }
}

/*
 * Cuts the pages of w, each once: a page's turn is at the first write that matters to it.  Bytes
 * matter always, a truncation only where the last sync left bytes.  touching has room for all
 * pending writes.
 */
static void
cut_pages_of(struct mem_inode *inode, const struct mem_write *w, const struct mem_write **touching,
             struct cut *cut)
{
    const uint64_t group_size = (uint64_t)MEM_GROUP_PAGES * MEM_PAGE_SIZE;
    uint64_t end = w->off + w->len;
    uint64_t at = w->off / MEM_PAGE_SIZE * MEM_PAGE_SIZE;

    while (at < end) {
        uint64_t group = at / group_size;
        bool there = mem_pages_has(&inode->durable, at / MEM_PAGE_SIZE);
        const struct mem_write *first = NULL;
        size_t count = 0;

        if (w->data == NULL && group >= inode->durable.group_count) {
            break;
        }
        if (w->data == NULL && inode->durable.groups[group] == NULL) {
            at = (group + 1) * group_size;
            continue;
        }
        for (const struct mem_write *v = inode->pending; v != NULL; v = v->next) {
            if (overlaps(v, at, MEM_PAGE_SIZE)) {
                if (first == NULL && (v->data != NULL || there)) {
                    first = v;
                }
                touching[count++] = v;
            }
        }
        if (first == w) {
            cut_page(inode, at / MEM_PAGE_SIZE, touching, count, cut);
        }
        at += MEM_PAGE_SIZE;
    }
}

static void
cut_file(struct mem_inode *inode, struct cut *cut)
{
    const struct mem_write **touching = NULL;
    uint64_t size = inode->durable_size;
    unsigned sizes = 0;
    size_t writes = 0;
    unsigned keep;

    if (inode->pending == NULL) {
        return;
    }
    for (const struct mem_write *w = inode->pending; w != NULL; w = w->next) {
        sizes += w->changes_size ? 1 : 0;
        writes++;
    }
    keep = choose_state(cut, sizes);
    for (const struct mem_write *w = inode->pending; keep > 0; w = w->next) {
        if (w->changes_size) {
            size = w->size_after;
            keep--;
        }
    }
    touching = calloc(writes, sizeof(*touching));
    must(touching != NULL);
    for (const struct mem_write *w = inode->pending; w != NULL; w = w->next) {
        cut_pages_of(inode, w, touching, cut);
    }
    free(touching);
    mem_pages_zero(&inode->durable, size, UINT64_MAX);
    inode->durable_size = size;
    mem_writes_free(inode);
}

/* Which changes of names stay: in order, each with its chance, none without what it needs. */
static void
cut_names(struct mem_fs *m, struct cut *cut)
{
    for (struct mem_change *c = m->changes; c != NULL; c = c->next) {
        c->chosen = cut->mood == KEEP_ALL ||
                    (cut->mood == MIX && next_random(&cut->random) % 8 < cut->keep_of_8);
        for (const struct mem_change *a = m->changes; a != c && c->chosen; a = a->next) {
            c->chosen = a->chosen || !mem_change_needs(c, a);
        }
    }
    while (m->changes != NULL) {
        struct mem_change *c = m->changes;

        m->changes = c->next;
        if (c->chosen) {
            mem_change_commit(c);
        } else {
            mem_change_free(c);
        }
    }
    m->changes_tail = &m->changes;
}

static void
copy_pages(struct mem_pages *to, const struct mem_pages *from)
{
    for (size_t i = 0; i < from->group_count; i++) {
        for (size_t j = 0; from->groups[i] != NULL && j < MEM_GROUP_PAGES; j++) {
            const uint8_t *bytes = from->groups[i]->page[j];

            if (bytes != NULL) {
                uint64_t page = (uint64_t)i * MEM_GROUP_PAGES + j;

                must(mem_pages_write(to, page * MEM_PAGE_SIZE, bytes, MEM_PAGE_SIZE));
            }
        }
    }
}

/* Makes what is durable below dir current. */
static void
revive(struct mem_fs *m, struct mem_inode *dir)
{
    for (size_t i = 0; i < dir->durable_dir.count; i++) {
        struct mem_inode *inode = dir->durable_dir.entries[i].inode;

        must(mem_dir_set(&dir->current_dir, dir->durable_dir.entries[i].name, inode));
        inode->names++;
        if (inode->names > 1) {
            continue;
        }
        if (inode->is_dir) {
            revive(m, inode);
        } else {
            copy_pages(&inode->current, &inode->durable);
            inode->current_size = inode->durable_size;
            m->used_pages += inode->current.page_count;
        }
    }
}

void
mem_fs_power_cut(struct mem_fs *m, uint64_t seed)
{
    struct cut cut = {.mood = MIX, .random = seed};

    mutex_lock(&m->lock);
    if (seed % 16 == 0) {
        cut.mood = LOSE_ALL;
    } else if (seed % 16 == 8) {
        cut.mood = KEEP_ALL;
    }
    cut.unit = next_random(&cut.random) % 2 == 0 ? 512 : MEM_PAGE_SIZE;
    cut.keep_of_8 = 1 + (unsigned)(next_random(&cut.random) % 7);
    cut_names(m, &cut);
    m->used_pages = 0;
    for (struct mem_inode *inode = m->inodes; inode != NULL; inode = inode->next) {
        if (!inode->is_dir) {
            cut_file(inode, &cut);
        }
        mem_pages_release(&inode->current);
        inode->current_size = 0;
        mem_dir_release(&inode->current_dir);
        inode->names = 0;
    }
    m->root->names = 1;
    revive(m, m->root);
    m->generation++;
    mutex_unlock(&m->lock);
}
