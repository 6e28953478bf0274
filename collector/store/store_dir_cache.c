/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_dir_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
name_hash(const char *name)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */

    for (const char *p = name; *p != '\0'; p++) {
        h = (h ^ (uint8_t)*p) * 1099511628211ull;
    }
    return h;
}

void
file_cache_init(struct file_cache *c, struct fs *fs, const char *root)
{
    memset(c, 0, sizeof(*c));
    c->fs = fs;
    c->root = root;
    mutex_init(&c->lock);
}

void
file_cache_release(struct file_cache *c)
{
    for (size_t i = 0; i < FILE_CACHE_SIZE; i++) {
        file_close(c->slots[i].file);
    }
    mutex_destroy(&c->lock);
}

static struct cached_file *
find_locked(struct file_cache *c, const char *name, uint64_t hash)
{
    for (size_t i = 0; i < FILE_CACHE_SIZE; i++) {
        struct cached_file *s = &c->slots[i];

        if (s->hash == hash && s->file != NULL && strcmp(s->path, name) == 0) {
            return s;
        }
    }
    return NULL;
}

/* A slot nobody uses: a free one, else the one used longest ago; NULL when all are in use. */
static struct cached_file *
victim_locked(struct file_cache *c)
{
    struct cached_file *best = NULL;

    for (size_t i = 0; i < FILE_CACHE_SIZE; i++) {
        struct cached_file *s = &c->slots[i];

        if (s->users > 0) {
            continue;
        }
        if (s->file == NULL) {
            return s;
        }
        if (best == NULL || s->used_at < best->used_at) {
            best = s;
        }
    }
    return best;
}

/* Gives the object's open file; *slot is NULL when it is the caller's to close. */
static enum varve_err
take(struct file_cache *c, const char *name, struct file **out, struct cached_file **slot,
     struct varve_error *err)
{
    uint64_t hash = name_hash(name);
    struct cached_file *s = NULL;
    struct file *opened = NULL;
    struct file *old = NULL;
    char *path = NULL;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&c->lock);
    s = find_locked(c, name, hash);
    if (s != NULL) {
        s->users++;
        s->used_at = ++c->clock;
        *out = s->file;
        *slot = s;
    }
    mutex_unlock(&c->lock);
    if (s != NULL) {
        return VARVE_OK;
    }

    path = malloc(strlen(c->root) + strlen(name) + 2);
    if (path == NULL) {
        return varve_error_nomem(err);
    }
    sprintf(path, "%s/%s", c->root, name);
    rc = file_open(c->fs, &opened, path, FILE_READ, err);
    free(path);
    if (rc != VARVE_OK) {
        return rc;
    }

    mutex_lock(&c->lock);
    s = find_locked(c, name, hash); /* somebody else may have been faster */
    if (s != NULL) {
        old = opened;
        opened = s->file;
    } else {
        s = victim_locked(c);
        if (s != NULL) {
            old = s->file;
            (void)snprintf(s->path, sizeof(s->path), "%s", name);
            s->hash = hash;
            s->file = opened;
        }
    }
    if (s != NULL) {
        s->users++;
        s->used_at = ++c->clock;
    }
    mutex_unlock(&c->lock);
    file_close(old);
    *out = opened;
    *slot = s;
    return VARVE_OK;
}

static void
give_back(struct file_cache *c, struct file *file, struct cached_file *slot)
{
    struct file *unwanted = NULL;

    if (slot == NULL) {
        file_close(file);
        return;
    }
    mutex_lock(&c->lock);
    slot->users--;
    if (slot->users == 0 && slot->path[0] == '\0') { /* forgotten while in use */
        unwanted = slot->file;
        slot->file = NULL;
    }
    mutex_unlock(&c->lock);
    file_close(unwanted);
}

enum varve_err
file_cache_read(struct file_cache *c, const char *name, uint64_t off, void *buf, size_t len,
                struct varve_error *err)
{
    struct cached_file *slot = NULL;
    struct file *file = NULL;
    enum varve_err rc;

    rc = take(c, name, &file, &slot, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = file_read_exact(file, buf, len, off, err);
    give_back(c, file, slot);
    return rc;
}

void
file_cache_forget(struct file_cache *c, const char *name)
{
    struct file *unwanted = NULL;
    struct cached_file *s;

    mutex_lock(&c->lock);
    s = find_locked(c, name, name_hash(name));
    if (s != NULL) {
        s->path[0] = '\0';
        s->hash = 0;
        if (s->users == 0) {
            unwanted = s->file;
            s->file = NULL;
        }
    }
    mutex_unlock(&c->lock);
    file_close(unwanted);
}
