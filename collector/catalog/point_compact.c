/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/point_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * A collector keeps every point in memory, and a vm's points say the same of it again and again.  So a point is
 * one allocation - itself, its disks, its files, and the texts that no other point has - and refers to a second one with
 * the other texts, which the points of its vm share while they are the same.
 */

/* Whoever adds a member looks here: a text that is not placed below would be the other point's. */
static_assert(sizeof(void *) != 8 ||
                  (sizeof(struct point) == 200 && sizeof(struct point_disk) == 168 &&
                   sizeof(struct point_file) == 24),
              "every text of a point has its place");

struct texts {
    char *at;
    bool copy; /* false: they are there already */
};

static char *
place(struct texts *t, const char *s)
{
    size_t len = strlen(s) + 1;
    char *here = t->at;

    if (t->copy) {
        memcpy(here, s, len);
    }
    t->at += len;
    return here;
}

/* In one order always, so that the same texts are the same bytes. */
static void
place_shared(struct point *to, const struct point *from, struct texts t)
{
    to->vm_name = place(&t, from->vm_name);
    to->host_name = place(&t, from->host_name);
    to->capture = place(&t, from->capture);
    to->source = place(&t, from->source);
    to->reason = place(&t, from->reason);
    for (size_t i = 0; i < from->disk_count; i++) {
        to->disks[i].name = place(&t, from->disks[i].name);
        to->disks[i].path = place(&t, from->disks[i].path);
        to->disks[i].reason = place(&t, from->disks[i].reason);
    }
    for (size_t i = 0; i < from->file_count; i++) {
        to->files[i].name = place(&t, from->files[i].name);
    }
}

static size_t
shared_len(const struct point *p)
{
    size_t len = strlen(p->vm_name) + strlen(p->host_name) + strlen(p->capture) +
                 strlen(p->source) + strlen(p->reason) + 5;

    for (size_t i = 0; i < p->disk_count; i++) {
        const struct point_disk *d = &p->disks[i];

        len += strlen(d->name) + strlen(d->path) + strlen(d->reason) + 3;
    }
    for (size_t i = 0; i < p->file_count; i++) {
        len += strlen(p->files[i].name) + 1;
    }
    return len;
}

static void
place_own(struct point *to, const struct point *from, struct texts t)
{
    to->reference_point = place(&t, from->reference_point);
    for (size_t i = 0; i < from->disk_count; i++) {
        to->disks[i].change_id = place(&t, from->disks[i].change_id);
    }
}

static size_t
own_len(const struct point *p)
{
    size_t len = strlen(p->reference_point) + 1;

    for (size_t i = 0; i < p->disk_count; i++) {
        len += strlen(p->disks[i].change_id) + 1;
    }
    return len;
}

void
point_text_unref(struct point_text *t)
{
    if (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1) {
        free(t);
    }
}

/* The texts of p, placed in c: like's when they are the same, else new ones. */
static bool
take_shared(struct counted_point *c, const struct point *p, const struct point *like)
{
    struct point_text *theirs =
        like == NULL ? NULL : ((const struct counted_point *)(const void *)like)->text;
    size_t len = shared_len(p);
    struct point_text *own = malloc(sizeof(*own) + len);

    if (own == NULL) {
        return false;
    }
    atomic_init(&own->refs, 1);
    own->len = len;
    place_shared(&c->point, p, (struct texts){own->bytes, true});
    if (theirs != NULL && theirs->len == len && memcmp(theirs->bytes, own->bytes, len) == 0) {
        place_shared(&c->point, p, (struct texts){theirs->bytes, false});
        free(own);
        atomic_fetch_add(&theirs->refs, 1);
        own = theirs;
    }
    c->text = own;
    return true;
}

struct point *
point_compact(const struct point *p, const struct point *like)
{
    size_t disks = p->disk_count * sizeof(p->disks[0]);
    size_t files = p->file_count * sizeof(p->files[0]);
    struct counted_point *c = malloc(sizeof(*c) + disks + files + own_len(p));

    if (c == NULL) {
        return NULL;
    }
    c->point = *p;
    atomic_init(&c->refs, 1);
    c->point.disks = (struct point_disk *)(void *)(c + 1); /* all of them are aligned to 8 */
    c->point.files = (struct point_file *)(void *)((char *)(c + 1) + disks);
    if (disks > 0) {
        memcpy(c->point.disks, p->disks, disks);
    }
    if (files > 0) {
        memcpy(c->point.files, p->files, files);
    }
    for (size_t i = 0; i < p->file_count; i++) {
        c->point.files[i].data = NULL;
    }
    place_own(&c->point, p, (struct texts){(char *)(c + 1) + disks + files, true});
    if (!take_shared(c, p, like)) {
        free(c);
        return NULL;
    }
    return &c->point;
}
