/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_dir_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t
name_hash(const char *name)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */

    for (const char *p = name; *p != '\0'; p++) {
        h = (h ^ (uint8_t)*p) * 1099511628211ull;
    }
    return h;
}

static uint32_t
slots_wanted(void)
{
    long may_open = sysconf(_SC_OPEN_MAX);
    uint32_t n = FILE_CACHE_MIN;

    while (n < FILE_CACHE_MAX && (may_open < 0 || (long)n * 2 <= may_open / 4)) {
        n *= 2;
    }
    return n;
}

enum varve_err
file_cache_init(struct file_cache *c, struct fs *fs, const char *root, struct varve_error *err)
{
    uint32_t count = slots_wanted();

    memset(c, 0, sizeof(*c));
    c->fs = fs;
    c->root = root;
    mutex_init(&c->lock);
    c->slots = calloc(count, sizeof(*c->slots));
    c->buckets = calloc(count, sizeof(*c->buckets));
    if (c->slots == NULL || c->buckets == NULL) {
        return varve_error_nomem(err);
    }
    c->count = count;
    for (uint32_t i = 0; i < count; i++) {
        c->buckets[i] = FILE_CACHE_NONE;
        c->slots[i].older = i == 0 ? FILE_CACHE_NONE : i - 1;
        c->slots[i].newer = i + 1 == count ? FILE_CACHE_NONE : i + 1;
    }
    c->newest = count - 1;
    return VARVE_OK;
}

void
file_cache_release(struct file_cache *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        file_close(c->slots[i].file);
    }
    free(c->slots);
    free(c->buckets);
    mutex_destroy(&c->lock);
}

/* Puts the slot at one end of the list: the one used last, or the first to go. */
static void
move_locked(struct file_cache *c, struct cached_file *s, bool used)
{
    uint32_t i = (uint32_t)(s - c->slots);

    *(s->older == FILE_CACHE_NONE ? &c->oldest : &c->slots[s->older].newer) = s->newer;
    *(s->newer == FILE_CACHE_NONE ? &c->newest : &c->slots[s->newer].older) = s->older;
    if (used) {
        s->older = c->newest;
        s->newer = FILE_CACHE_NONE;
        *(c->newest == FILE_CACHE_NONE ? &c->oldest : &c->slots[c->newest].newer) = i;
        c->newest = i;
    } else {
        s->newer = c->oldest;
        s->older = FILE_CACHE_NONE;
        *(c->oldest == FILE_CACHE_NONE ? &c->newest : &c->slots[c->oldest].older) = i;
        c->oldest = i;
    }
}

static uint32_t *
bucket(struct file_cache *c, uint64_t hash)
{
    return &c->buckets[(hash ^ hash >> 32) & (c->count - 1)];
}

static struct cached_file *
find_locked(struct file_cache *c, const char *name, uint64_t hash)
{
    for (uint32_t i = *bucket(c, hash); i != FILE_CACHE_NONE; i = c->slots[i].next) {
        if (c->slots[i].hash == hash && strcmp(c->slots[i].path, name) == 0) {
            return &c->slots[i];
        }
    }
    return NULL;
}

/* The name is found no more; the file stays. */
static void
unname_locked(struct file_cache *c, struct cached_file *s)
{
    uint32_t *at = bucket(c, s->hash);

    if (s->path[0] == '\0') {
        return;
    }
    while (&c->slots[*at] != s) {
        at = &c->slots[*at].next;
    }
    *at = s->next;
    s->path[0] = '\0';
}

/* A slot nobody uses: a free one, else the one used longest ago; NULL when all are in use. */
static struct cached_file *
victim_locked(struct file_cache *c)
{
    for (uint32_t i = c->oldest; i != FILE_CACHE_NONE; i = c->slots[i].newer) {
        if (c->slots[i].users == 0) {
            return &c->slots[i];
        }
    }
    return NULL;
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
        move_locked(c, s, true);
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
            unname_locked(c, s);
            (void)snprintf(s->path, sizeof(s->path), "%s", name);
            s->hash = hash;
            s->file = opened;
            s->next = *bucket(c, hash);
            *bucket(c, hash) = (uint32_t)(s - c->slots);
        }
    }
    if (s != NULL) {
        s->users++;
        move_locked(c, s, true);
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
        move_locked(c, slot, false);
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
        unname_locked(c, s);
        if (s->users == 0) {
            unwanted = s->file;
            s->file = NULL;
            move_locked(c, s, false);
        }
    }
    mutex_unlock(&c->lock);
    file_close(unwanted);
}
