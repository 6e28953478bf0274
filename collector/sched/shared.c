/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/shared.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/volume.h"

/* As Windows compares paths, for ASCII letters. */
static bool
same_path(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a == '/' ? '\\' : (char)tolower((unsigned char)*a);
        char y = *b == '/' ? '\\' : (char)tolower((unsigned char)*b);

        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

static bool
has_disk(const struct vm_row *row, const struct vm_row *of, const struct inv_disk *disk)
{
    if (!row->present || !guid_equal(&row->tenant, &of->tenant) ||
        (!guid_equal(&row->host, &of->host) && !volume_path_is_common(disk->path))) {
        return false;
    }
    for (size_t i = 0; i < row->vm.disk_count; i++) {
        const struct inv_disk *d = &row->vm.disks[i];

        if (d->shared && guid_equal(&d->id, &disk->id) && same_path(d->path, disk->path)) {
            return true;
        }
    }
    return false;
}

/* The vm whose points hold the disk; NULL: there is none but `of`. */
static const struct vm_row *
find_carrier(const struct vm_row *rows, size_t count, const struct vm_row *of,
             const struct inv_disk *disk, shared_holds *holds, void *arg)
{
    const struct vm_row *best = NULL;
    bool best_holds = false;

    for (size_t i = 0; i < count; i++) {
        bool has_it;

        if (!has_disk(&rows[i], of, disk)) {
            continue;
        }
        has_it = holds(arg, &rows[i].vm.id, &disk->id);
        if (best == NULL || (has_it && !best_holds) ||
            (has_it == best_holds && guid_compare(&rows[i].vm.id, &best->vm.id) < 0)) {
            best = &rows[i];
            best_holds = has_it;
        }
    }
    return best;
}

enum varve_err
shared_skips(struct ingest_skip **out, size_t *count, const struct vm_row *rows, size_t row_count,
             const struct vm_row *of, shared_holds *holds, void *arg, struct varve_error *err)
{
    struct ingest_skip *skips = calloc(of->vm.disk_count + 1, sizeof(*skips));
    size_t n = 0;

    if (skips == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < of->vm.disk_count; i++) {
        const struct inv_disk *d = &of->vm.disks[i];
        const struct vm_row *carrier =
            d->shared ? find_carrier(rows, row_count, of, d, holds, arg) : NULL;

        if (carrier == NULL || guid_equal(&carrier->vm.id, &of->vm.id)) {
            continue;
        }
        skips[n].disk = d->id;
        (void)snprintf(
            skips[n].reason, sizeof(skips[n].reason),
            holds(arg, &carrier->vm.id, &d->id)
                ? "it is shared, and in the points of vm '%.64s'"
                : "it is shared, and goes into the points of vm '%.64s': back that up too",
            carrier->vm.name);
        n++;
    }
    *out = skips;
    *count = n == of->vm.disk_count ? 0 : n;
    return VARVE_OK;
}
