/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "os/file_mem_internal.h"

static uint8_t *
find(const struct mem_pages *p, uint64_t page)
{
    uint64_t group = page / MEM_GROUP_PAGES;

    if (group >= p->group_count || p->groups[group] == NULL) {
        return NULL;
    }
    return p->groups[group]->page[page % MEM_GROUP_PAGES];
}

bool
mem_pages_has(const struct mem_pages *p, uint64_t page)
{
    return find(p, page) != NULL;
}

static uint8_t *
find_or_make(struct mem_pages *p, uint64_t page)
{
    size_t group = (size_t)(page / MEM_GROUP_PAGES);
    struct mem_page_group **groups;
    uint8_t **slot;

    if (group >= p->group_count) {
        size_t count = group + 1 > p->group_count * 2 ? group + 1 : p->group_count * 2;

        groups = realloc(p->groups, count * sizeof(struct mem_page_group *));
        if (groups == NULL) {
            return NULL;
        }
        for (size_t i = p->group_count; i < count; i++) {
            groups[i] = NULL;
        }
        p->groups = groups;
        p->group_count = count;
    }
    if (p->groups[group] == NULL) {
        p->groups[group] = calloc(1, sizeof(struct mem_page_group));
        if (p->groups[group] == NULL) {
            return NULL;
        }
    }
    slot = &p->groups[group]->page[page % MEM_GROUP_PAGES];
    if (*slot == NULL) {
        *slot = calloc(1, MEM_PAGE_SIZE);
        if (*slot != NULL) {
            p->page_count++;
        }
    }
    return *slot;
}

/* What of [off, off + len) lies in the page of off. */
static size_t
part_in_page(uint64_t off, uint64_t len)
{
    uint64_t room = MEM_PAGE_SIZE - off % MEM_PAGE_SIZE;

    return (size_t)(len < room ? len : room);
}

void
mem_pages_read(const struct mem_pages *p, uint64_t off, void *buf, size_t len)
{
    uint8_t *to = buf;

    while (len > 0) {
        size_t part = part_in_page(off, len);
        const uint8_t *page = find(p, off / MEM_PAGE_SIZE);

        if (page == NULL) {
            memset(to, 0, part);
        } else {
            memcpy(to, page + off % MEM_PAGE_SIZE, part);
        }
        to += part;
        off += part;
        len -= part;
    }
}

bool
mem_pages_write(struct mem_pages *p, uint64_t off, const void *data, size_t len)
{
    const uint8_t *from = data;

    while (len > 0) {
        size_t part = part_in_page(off, len);
        uint8_t *page = find_or_make(p, off / MEM_PAGE_SIZE);

        if (page == NULL) {
            return false;
        }
        memcpy(page + off % MEM_PAGE_SIZE, from, part);
        from += part;
        off += part;
        len -= part;
    }
    return true;
}

void
mem_pages_zero(struct mem_pages *p, uint64_t from, uint64_t to)
{
    uint64_t end = (uint64_t)p->group_count * MEM_GROUP_PAGES * MEM_PAGE_SIZE;

    to = to < end ? to : end;
    while (from < to) {
        size_t part = part_in_page(from, to - from);
        uint64_t page = from / MEM_PAGE_SIZE;
        uint8_t *bytes = find(p, page);

        if (bytes != NULL && part == MEM_PAGE_SIZE) {
            free(bytes);
            p->groups[page / MEM_GROUP_PAGES]->page[page % MEM_GROUP_PAGES] = NULL;
            p->page_count--;
        } else if (bytes != NULL) {
            memset(bytes + from % MEM_PAGE_SIZE, 0, part);
        }
        from += part;
    }
}

void
mem_pages_release(struct mem_pages *p)
{
    for (size_t i = 0; i < p->group_count; i++) {
        for (size_t j = 0; p->groups[i] != NULL && j < MEM_GROUP_PAGES; j++) {
            free(p->groups[i]->page[j]);
        }
        free(p->groups[i]);
    }
    free(p->groups);
    memset(p, 0, sizeof(*p));
}
