/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"

void
capture_vm_release(struct capture_vm *vm)
{
    size_t k;

    for (k = 0; k < vm->disk_count; k++) {
        free(vm->disks[k].name);
        free(vm->disks[k].path);
        free(vm->disks[k].problem);
    }
    free(vm->disks);
    free(vm->name);
    free(vm->reason);
    memset(vm, 0, sizeof(*vm));
}

void
capture_inventory_release(struct capture_inventory *inv)
{
    size_t i;

    for (i = 0; i < inv->count; i++) {
        capture_vm_release(&inv->vms[i]);
    }
    free(inv->vms);
    memset(inv, 0, sizeof(*inv));
}

void
capture_frozen_release(struct capture_frozen *f)
{
    size_t i;

    for (i = 0; i < f->disk_count; i++) {
        free(f->disks[i].name);
        free(f->disks[i].path);
    }
    free(f->disks);
    memset(f, 0, sizeof(*f));
}

void
capture_marks_release(struct capture_marks *m)
{
    free(m->ids);
    memset(m, 0, sizeof(*m));
}

bool
capture_marks_has(const struct capture_marks *m, const char *id)
{
    size_t i;

    for (i = 0; i < m->count; i++) {
        if (strcmp(m->ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

enum varve_err
capture_marks_add(struct capture_marks *m, const char *id, struct varve_error *err)
{
    char(*ids)[CAPTURE_ID_MAX];

    if (m->count == CAPTURE_MARKS_MAX || strlen(id) >= CAPTURE_ID_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "more than %u reference points, or an id of %u bytes",
                               CAPTURE_MARKS_MAX, CAPTURE_ID_MAX);
    }
    ids = realloc(m->ids, (m->count + 1) * sizeof(*ids));
    if (ids == NULL) {
        return varve_error_nomem(err);
    }
    m->ids = ids;
    memcpy(m->ids[m->count], id, strlen(id) + 1);
    m->count++;
    return VARVE_OK;
}

void
capture_kept_release(struct capture_kept *k)
{
    free(k->change_ids);
    memset(k, 0, sizeof(*k));
}

void
capture_files_release(struct capture_files *f)
{
    size_t i;

    for (i = 0; i < f->count; i++) {
        free(f->items[i].name);
        free(f->items[i].data);
    }
    free(f->items);
    memset(f, 0, sizeof(*f));
}

char *
capture_join(const char *folder, const char *name)
{
    char separator = strchr(folder, '\\') != NULL ? '\\' : '/';
    size_t len = strlen(folder);
    size_t size = len + strlen(name) + 2;
    char *out = malloc(size);

    if (out != NULL) {
        if (len > 0 && (folder[len - 1] == '\\' || folder[len - 1] == '/')) {
            (void)snprintf(out, size, "%s%s", folder, name);
        } else {
            (void)snprintf(out, size, "%s%c%s", folder, separator, name);
        }
    }
    return out;
}

bool
capture_is_image(const char *name)
{
    static const char *const suffixes[] = {".vhdx", ".avhdx", ".vhd", ".avhd"};
    size_t i;

    for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (path_has_suffix(name, suffixes[i])) {
            return true;
        }
    }
    return false;
}

void
capture_close(struct capture *c)
{
    if (c != NULL) {
        c->ops->close(c);
    }
}

struct capture *
capture_of(struct capture *c, const struct capture_frozen *frozen)
{
    return frozen->member != NULL ? frozen->member : c;
}

bool
capture_hashes(struct capture *c, const struct capture_frozen *frozen)
{
    return capture_of(c, frozen)->ops->names != NULL;
}
