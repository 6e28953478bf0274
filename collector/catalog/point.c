/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog/point_internal.h"

#include <stdlib.h>

static struct counted_point *
counted(struct point *p)
{
    return (struct counted_point *)p;
}

struct point *
point_new(void)
{
    struct counted_point *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    atomic_init(&c->refs, 1);
    return &c->point;
}

void
point_ref(struct point *p)
{
    atomic_fetch_add(&counted(p)->refs, 1);
}

static void
disk_release(struct point_disk *d)
{
    free(d->name);
    free(d->path);
    free(d->change_id);
    free(d->reason);
}

void
point_unref(struct point *p)
{
    if (p == NULL || atomic_fetch_sub(&counted(p)->refs, 1) != 1) {
        return;
    }
    if (counted(p)->text != NULL) {
        point_text_unref(counted(p)->text);
        free(counted(p));
        return;
    }
    for (size_t i = 0; i < p->disk_count; i++) {
        disk_release(&p->disks[i]);
    }
    for (size_t i = 0; i < p->file_count; i++) {
        free(p->files[i].name);
        free(p->files[i].data);
    }
    free(p->disks);
    free(p->files);
    free(p->vm_name);
    free(p->host_name);
    free(p->capture);
    free(p->source);
    free(p->reason);
    free(p->reference_point);
    free(counted(p));
}
