/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/page_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum varve_err
page_cache_init(struct page_cache *c, size_t page_size, size_t slots, uint64_t file_size,
                page_cache_fill fill, void *arg, struct varve_error *err)
{
    c->slots = calloc(slots, sizeof(*c->slots));
    if (c->slots == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&c->lock);
    c->fill = fill;
    c->arg = arg;
    c->file_size = file_size;
    c->page_size = page_size;
    c->slot_count = slots;
    return VARVE_OK;
}

void
page_cache_release(struct page_cache *c)
{
    size_t i;

    if (c->slots == NULL) {
        return;
    }
    for (i = 0; i < c->slot_count; i++) {
        free(c->slots[i].data);
    }
    free(c->slots);
    c->slots = NULL;
    mutex_destroy(&c->lock);
}

void
page_cache_resize(struct page_cache *c, size_t slots)
{
    struct page_cache_slot *fresh;
    size_t i;

    slots = slots == 0 ? 1 : slots;
    fresh = slots == c->slot_count ? NULL : calloc(slots, sizeof(*fresh));
    if (fresh == NULL) {
        return; /* as it is, then */
    }
    for (i = 0; i < c->slot_count; i++) {
        struct page_cache_slot *to = &fresh[c->slots[i].page % slots];

        if (c->slots[i].data != NULL && to->data == NULL) {
            *to = c->slots[i];
        } else {
            free(c->slots[i].data);
        }
    }
    free(c->slots);
    c->slots = fresh;
    c->slot_count = slots;
}

/* Copies from the page if it is there. */
static int
copy_present(struct page_cache *c, void *buf, size_t len, uint64_t page, size_t in_page)
{
    struct page_cache_slot *slot = &c->slots[page % c->slot_count];
    int found = 0;

    mutex_lock(&c->lock);
    if (slot->data != NULL && slot->page == page) {
        memcpy(buf, slot->data + in_page, len);
        found = 1;
    }
    mutex_unlock(&c->lock);
    return found;
}

static enum varve_err
load_page(struct page_cache *c, uint64_t page, uint8_t **out, struct varve_error *err)
{
    uint64_t start = page * c->page_size;
    size_t len = c->page_size;
    uint8_t *data = malloc(c->page_size);
    enum varve_err rc;

    if (data == NULL) {
        return varve_error_nomem(err);
    }
    if (c->file_size - start < len) {
        len = (size_t)(c->file_size - start);
    }
    rc = c->fill(c->arg, data, len, start, err);
    if (rc != VARVE_OK) {
        free(data);
        return rc;
    }
    *out = data;
    return VARVE_OK;
}

enum varve_err
page_cache_read(struct page_cache *c, void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    uint8_t *out = buf;

    while (len > 0) {
        uint64_t page = off / c->page_size;
        size_t in_page = (size_t)(off % c->page_size);
        size_t n = c->page_size - in_page < len ? c->page_size - in_page : len;

        if (!copy_present(c, out, n, page, in_page)) {
            struct page_cache_slot *slot = &c->slots[page % c->slot_count];
            uint8_t *data = NULL;
            uint8_t *old;
            enum varve_err rc = load_page(c, page, &data, err);

            if (rc != VARVE_OK) {
                return rc;
            }
            assert(data != NULL);
            memcpy(out, data + in_page, n);
            mutex_lock(&c->lock);
            old = slot->data;
            slot->data = data;
            slot->page = page;
            mutex_unlock(&c->lock);
            free(old);
        }
        out += n;
        off += n;
        len -= n;
    }
    return VARVE_OK;
}
