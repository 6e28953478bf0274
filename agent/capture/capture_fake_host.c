/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

/* ---- its moments ---- */

bool
fake_numbers(const char *text, char between, unsigned long *a, unsigned long *b)
{
    char *end = NULL;

    *a = strtoul(text, &end, 10);
    if (end == text || *end != between) {
        return false;
    }
    text = end + 1;
    *b = strtoul(text, &end, 10);
    return end != text && *end == '\0';
}

struct fake_point *
fake_point_new(struct fake_host *h, enum point_kind kind, const char *tag)
{
    size_t i;
    size_t k;

    for (i = 0; i < FAKE_POINTS; i++) {
        struct fake_point *p = &h->points[i];

        if (p->kind != POINT_FREE) {
            continue;
        }
        memset(p, 0, sizeof(*p));
        p->kind = kind;
        p->moment = ++h->next_moment;
        p->at_us = time_now_us();
        (void)snprintf(p->tag, sizeof(p->tag), "%s", tag);
        for (k = 0; k < FAKE_DISKS; k++) {
            p->bytes[k] = malloc(FAKE_DISK_SIZE);
            if (p->bytes[k] == NULL) {
                abort();
            }
            memcpy(p->bytes[k], h->bytes[k], FAKE_DISK_SIZE);
        }
        return p;
    }
    abort();
}

void
fake_point_drop(struct fake_host *h, struct fake_point *p)
{
    size_t k;

    if (p->foreign) {
        h->foreign_touched = true;
    }
    for (k = 0; k < FAKE_DISKS; k++) {
        free(p->bytes[k]);
    }
    memset(p, 0, sizeof(*p));
}

void
fake_point_id(const struct fake_point *p, enum point_kind kind, char out[CAPTURE_ID_MAX])
{
    (void)snprintf(out, CAPTURE_ID_MAX, "%s-%u", kind == POINT_CHECKPOINT ? "cp" : "rp", p->moment);
}

struct fake_point *
fake_point_find(struct fake_host *h, enum point_kind kind, const char *id)
{
    size_t i;

    for (i = 0; i < FAKE_POINTS; i++) {
        char text[CAPTURE_ID_MAX];

        fake_point_id(&h->points[i], kind, text);
        if (h->points[i].kind == kind && strcmp(text, id) == 0) {
            return &h->points[i];
        }
    }
    return NULL;
}

/* ---- what tests call ---- */

void
fake_host_guest_state(struct fake_host *h, size_t len, bool packs)
{
    h->guest_state = len;
    h->guest_state_packs = packs;
}

struct fake_host *
fake_host_new(void)
{
    struct fake_host *h = calloc(1, sizeof(*h));
    uint32_t random = 3;
    size_t i;
    size_t k;

    if (h == NULL) {
        abort();
    }
    mutex_init(&h->lock);
    h->vm.bytes[0] = 0xAA;
    for (i = 0; i < FAKE_DISKS; i++) {
        h->disks[i].bytes[0] = 0xD0;
        h->disks[i].bytes[15] = (uint8_t)i;
        h->bytes[i] = malloc(FAKE_DISK_SIZE);
        if (h->bytes[i] == NULL) {
            abort();
        }
        for (k = 0; k < FAKE_DISK_SIZE; k++) {
            random = random * 1664525u + 1013904223u;
            h->bytes[i][k] = k < FAKE_DISK_SIZE / 2 ? (uint8_t)(random >> 24) : 0;
        }
    }
    return h;
}

void
fake_host_free(struct fake_host *h)
{
    size_t i;

    for (i = 0; i < FAKE_POINTS; i++) {
        fake_point_drop(h, &h->points[i]);
    }
    for (i = 0; i < FAKE_DISKS; i++) {
        free(h->bytes[i]);
    }
    mutex_destroy(&h->lock);
    free(h);
}

void
fake_host_move(struct fake_host *h, unsigned node)
{
    mutex_lock(&h->lock);
    h->node = node;
    mutex_unlock(&h->lock);
}

const struct guid *
fake_host_vm(const struct fake_host *h)
{
    return &h->vm;
}

const struct guid *
fake_host_disk(const struct fake_host *h, size_t disk)
{
    return &h->disks[disk];
}

void
fake_host_write(struct fake_host *h, size_t disk, uint64_t off, const void *data, size_t len)
{
    mutex_lock(&h->lock);
    memcpy(h->bytes[disk] + off, data, len);
    mutex_unlock(&h->lock);
}

const uint8_t *
fake_host_frozen(struct fake_host *h, const char *path)
{
    unsigned long moment = 0;
    unsigned long disk = 0;
    size_t i;

    if (strncmp(path, "/cp-", 4) != 0 || !fake_numbers(path + 4, '/', &moment, &disk) ||
        disk >= FAKE_DISKS) {
        return NULL;
    }
    for (i = 0; i < FAKE_POINTS; i++) {
        if (h->points[i].kind == POINT_CHECKPOINT && h->points[i].moment == moment) {
            return h->points[i].bytes[disk];
        }
    }
    return NULL;
}

const uint8_t *
fake_host_content(struct fake_host *h, size_t disk)
{
    return h->bytes[disk];
}

static size_t
fake_count(struct fake_host *h, enum point_kind kind)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < FAKE_POINTS; i++) {
        n += h->points[i].kind == kind && !h->points[i].foreign;
    }
    return n;
}

size_t
fake_host_checkpoints(struct fake_host *h)
{
    return fake_count(h, POINT_CHECKPOINT);
}

size_t
fake_host_refpoints(struct fake_host *h)
{
    return fake_count(h, POINT_REFPOINT);
}

bool
fake_host_has_refpoint(struct fake_host *h, const char *id)
{
    return fake_point_find(h, POINT_REFPOINT, id) != NULL;
}

void
fake_host_foreign_checkpoint(struct fake_host *h)
{
    fake_point_new(h, POINT_CHECKPOINT, "another product")->foreign = true;
}

void
fake_host_foreign_refpoint(struct fake_host *h)
{
    fake_point_new(h, POINT_REFPOINT, "")->foreign = true;
}

bool
fake_host_foreign_touched(struct fake_host *h)
{
    return h->foreign_touched;
}

void
fake_host_refuse_keep(struct fake_host *h, bool refuse)
{
    h->refuse_keep = refuse;
}

void
fake_host_foreign_while_keeping(struct fake_host *h)
{
    h->foreign_while_keeping = true;
}

void
fake_host_lose_tracking(struct fake_host *h)
{
    h->lost_below = h->next_moment + 1;
}

void
fake_host_merge_for_ever(struct fake_host *h, bool merging)
{
    h->merging = merging;
}
