/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/secret_pool.h"

#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "os/thread.h"

#define REGION_SIZE ((size_t)64 * 1024)

/* A piece that is free; it holds nothing else. */
struct piece {
    struct piece *next;
};

struct size_class {
    size_t size; /* a multiple of 64 */
    struct piece *free;
};

static struct mutex lock = MUTEX_INIT; /* the lists of pieces */
static struct size_class classes[] = {{64, NULL}, {128, NULL}, {640, NULL}, {1024, NULL}};

/* NULL: larger than all of them. */
static struct size_class *
class_of(size_t size)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (size <= classes[i].size) {
            return &classes[i];
        }
    }
    return NULL;
}

static void
add_region_locked(struct size_class *c)
{
    uint8_t *region = sodium_malloc(REGION_SIZE); /* whole pages: begins on one */

    for (size_t at = 0; region != NULL && at + c->size <= REGION_SIZE; at += c->size) {
        struct piece *p = (struct piece *)(void *)(region + at);

        p->next = c->free;
        c->free = p;
    }
}

void *
secret_alloc(size_t size)
{
    struct size_class *c = class_of(size);
    struct piece *p = NULL;

    if (c == NULL) {
        p = sodium_malloc(size);
    } else {
        mutex_lock(&lock);
        if (c->free == NULL) {
            add_region_locked(c);
        }
        p = c->free;
        if (p != NULL) {
            c->free = p->next;
        }
        mutex_unlock(&lock);
    }
    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

void
secret_free(void *p, size_t size)
{
    struct size_class *c = class_of(size);
    struct piece *piece = p;

    if (p == NULL) {
        return;
    }
    if (c == NULL) {
        sodium_free(p); /* wipes */
        return;
    }
    sodium_memzero(p, c->size);
    mutex_lock(&lock);
    piece->next = c->free;
    c->free = piece;
    mutex_unlock(&lock);
}
