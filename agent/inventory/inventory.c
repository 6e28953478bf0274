/* SPDX-License-Identifier: Apache-2.0 */
#include "inventory/inventory.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Replaces what is not UTF-8 by '?' and cuts what is too long; true when that was necessary. */
static bool
make_tellable(char *text)
{
    size_t len = strlen(text);
    size_t at = 0;
    bool changed = false;

    while (at < len) {
        size_t n = utf8_len(text + at, len - at);

        if (n == 0) {
            text[at] = '?';
            n = 1;
            changed = true;
        }
        if (at + n > INVENTORY_STRING_MAX) {
            text[at] = '\0';
            return true;
        }
        at += n;
    }
    return changed;
}

static enum varve_err
check_disk(struct capture_disk *d, struct varve_error *err)
{
    static const char problem[] = "its name or path is too long, or not UTF-8: rename it";
    bool bad_name = make_tellable(d->name);
    bool bad_path = make_tellable(d->path);

    if (d->problem != NULL) {
        (void)make_tellable(d->problem);
        return VARVE_OK;
    }
    if (bad_name || bad_path) {
        d->problem = malloc(sizeof(problem));
        if (d->problem == NULL) {
            return varve_error_nomem(err);
        }
        memcpy(d->problem, problem, sizeof(problem));
        d->problem_code = VARVE_ERR_INVALID;
    }
    return VARVE_OK;
}

enum varve_err
inventory_take(struct capture *capture, struct capture_inventory *out, struct varve_error *err)
{
    enum varve_err rc = capture->ops->list(capture, out, err);
    size_t i;
    size_t k;

    for (i = 0; rc == VARVE_OK && i < out->count; i++) {
        (void)make_tellable(out->vms[i].name);
        (void)make_tellable(out->vms[i].reason);
        for (k = 0; rc == VARVE_OK && k < out->vms[i].disk_count; k++) {
            rc = check_disk(&out->vms[i].disks[k], err);
            if (rc != VARVE_OK) {
                capture_inventory_release(out);
                return rc;
            }
        }
    }
    return rc;
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_disk(const struct capture_disk *a, const struct capture_disk *b)
{
    return guid_equal(&a->id, &b->id) && same_text(a->name, b->name) &&
           same_text(a->path, b->path) && a->size == b->size && same_text(a->format, b->format) &&
           a->logical_sector == b->logical_sector && a->tracked == b->tracked &&
           a->shared == b->shared && same_text(a->problem, b->problem);
}

static bool
same_vm(const struct capture_vm *a, const struct capture_vm *b)
{
    size_t i;

    if (!guid_equal(&a->id, &b->id) || !same_text(a->name, b->name) ||
        a->generation != b->generation || !same_text(a->state, b->state) ||
        !same_text(a->reason, b->reason) || !same_text(a->capture, b->capture) ||
        a->disk_count != b->disk_count) {
        return false;
    }
    for (i = 0; i < a->disk_count; i++) {
        if (!same_disk(&a->disks[i], &b->disks[i])) {
            return false;
        }
    }
    return true;
}

bool
inventory_same(const struct capture_inventory *a, const struct capture_inventory *b)
{
    size_t i;

    if (a->count != b->count || !same_text(a->provider, b->provider) ||
        a->notes.count != b->notes.count) {
        return false;
    }
    for (i = 0; i < a->notes.count; i++) {
        if (!same_text(a->notes.text[i], b->notes.text[i])) {
            return false;
        }
    }
    for (i = 0; i < a->count; i++) {
        if (!same_vm(&a->vms[i], &b->vms[i])) {
            return false;
        }
    }
    return true;
}
