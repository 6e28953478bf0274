/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/node_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

/* Layers of pages of slots; a slot of zeros is free.  A name belongs into the page that its first bytes say, or,
 * when that is full, into one behind it.  A layer takes names until three quarters of it are taken. */
#define SLOT  16u
#define PAGE  4096u
#define SLOTS (PAGE / SLOT)

static uint64_t
layer_bytes(const struct node_set *s, unsigned layer)
{
    return (uint64_t)s->memory << layer;
}

static uint64_t
layer_offset(const struct node_set *s, unsigned layer)
{
    return layer_bytes(s, layer) - 2 * (uint64_t)s->memory; /* the sum of those from 1 on */
}

static enum varve_err
no_room(const struct node_set *s, enum varve_err rc, struct varve_error *err)
{
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "what does not fit into memory goes to '%s'", s->path);
}

static enum varve_err
add_layer(struct node_set *s, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    if (s->layers == NODE_SET_LAYERS) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more manifest nodes than can be counted");
    }
    if (s->layers == 0 || s->path == NULL) {
        s->slots[s->layers] = calloc(1, (size_t)layer_bytes(s, s->layers));
        rc = s->slots[s->layers] == NULL ? varve_error_nomem(err) : VARVE_OK;
    } else if (s->file == NULL) {
        rc = no_room(s, file_open(s->fs, &s->file, s->path, FILE_CREATE_NEW, err), err);
    }
    if (rc == VARVE_OK) {
        s->layers++;
        s->used = 0;
    }
    return rc;
}

enum varve_err
node_set_init(struct node_set *s, struct fs *fs, const char *path, size_t memory,
              struct varve_error *err)
{
    struct varve_error ignored;

    *s =
        (struct node_set){.fs = fs, .path = path, .memory = memory == 0 ? NODE_SET_MEMORY : memory};
    if (path != NULL) { /* a crash may have left it */
        (void)!fs_remove(fs, path, &ignored);
    }
    return add_layer(s, err);
}

void
node_set_release(struct node_set *s)
{
    struct varve_error ignored;

    for (unsigned i = 0; i < s->layers; i++) {
        free(s->slots[i]);
    }
    if (s->file != NULL) {
        file_close(s->file);
        (void)!fs_remove(s->fs, s->path, &ignored);
    }
    memset(s, 0, sizeof(*s));
}

/* The page's slots, in place or read into buf; past the end of the file there are zeros. */
static enum varve_err
read_page(struct node_set *s, unsigned layer, uint64_t page, uint8_t buf[PAGE], uint8_t **out,
          struct varve_error *err)
{
    size_t got = 0;
    enum varve_err rc;

    if (s->slots[layer] != NULL) {
        *out = s->slots[layer] + page * PAGE;
        return VARVE_OK;
    }
    rc = file_read(s->file, buf, PAGE, layer_offset(s, layer) + page * PAGE, &got, err);
    if (rc == VARVE_OK) {
        memset(buf + got, 0, PAGE - got);
    }
    *out = buf;
    return rc;
}

/* Looks through one layer; add: takes the free slot that ends the search. */
static enum varve_err
search(struct node_set *s, unsigned layer, const uint8_t key[SLOT], bool add, bool *found,
       struct varve_error *err)
{
    static const uint8_t none[SLOT];
    uint64_t pages = layer_bytes(s, layer) / PAGE;
    uint64_t page = get_le64(key) % pages;
    uint8_t buf[PAGE];

    for (;; page = (page + 1) % pages) {
        uint8_t *slots = NULL;
        enum varve_err rc = read_page(s, layer, page, buf, &slots, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        for (unsigned i = 0; i < SLOTS; i++) {
            *found = memcmp(slots + (size_t)i * SLOT, key, SLOT) == 0;
            if (*found) {
                return VARVE_OK;
            }
            if (memcmp(slots + (size_t)i * SLOT, none, SLOT) != 0) {
                continue;
            }
            if (add) {
                memcpy(slots + (size_t)i * SLOT, key, SLOT);
            }
            return add && slots == buf
                       ? file_write(s->file, key, SLOT,
                                    layer_offset(s, layer) + page * PAGE + (uint64_t)i * SLOT, err)
                       : VARVE_OK;
        }
    }
}

enum varve_err
node_set_add(struct node_set *s, const struct record_name *name, bool *first,
             struct varve_error *err)
{
    uint8_t key[SLOT];
    bool found = false;
    enum varve_err rc = VARVE_OK;

    memcpy(key, name->bytes, SLOT);
    key[SLOT - 1] |= get_le64(key) == 0 ? 1 : 0; /* a slot of zeros is free */
    for (unsigned i = 0; rc == VARVE_OK && !found && i + 1 < s->layers; i++) {
        rc = search(s, i, key, false, &found, err);
    }
    if (rc == VARVE_OK && !found && s->used >= layer_bytes(s, s->layers - 1) / SLOT / 4 * 3) {
        rc = search(s, s->layers - 1, key, false, &found, err);
        if (rc == VARVE_OK && !found) {
            rc = add_layer(s, err);
        }
    }
    if (rc == VARVE_OK && !found) {
        rc = search(s, s->layers - 1, key, true, &found, err);
        s->used += rc == VARVE_OK && !found ? 1 : 0;
    }
    *first = !found;
    return s->layers > 1 && s->path != NULL ? no_room(s, rc, err) : rc;
}
