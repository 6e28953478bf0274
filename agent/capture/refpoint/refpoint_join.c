/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "capture/refpoint/refpoint_internal.h"

/* Which change id of a reference point is of which frozen disk. */

/* "Microsoft:<vm or checkpoint>\<device>\<controller>\<location>\D": the place is what follows the first part, without
 * the last letter.  Case and braces mean nothing. */
static bool
same_place(const char *a, const char *b)
{
    a = strchr(a, '\\') != NULL ? strchr(a, '\\') : a;
    b = strchr(b, '\\') != NULL ? strchr(b, '\\') : b;
    for (;;) {
        char x;
        char y;

        a += strspn(a, "{}");
        b += strspn(b, "{}");
        x = *a >= 'a' && *a <= 'z' ? (char)(*a - 'a' + 'A') : *a;
        y = *b >= 'a' && *b <= 'z' ? (char)(*b - 'a' + 'A') : *b;
        if ((x == 'L' || x == 'D') && (y == 'L' || y == 'D') && a[1] == '\0' && b[1] == '\0') {
            return true;
        }
        if (x != y || x == '\0') {
            return x == y;
        }
        a++;
        b++;
    }
}

bool
refpoint_point_has(const struct wmi_object *point, const char *id)
{
    size_t i;

    for (i = 0; i < wmi_count(point, "ResilientChangeTrackingIdentifiers"); i++) {
        const char *other = wmi_text_at(point, "ResilientChangeTrackingIdentifiers", i);

        if (other != NULL && strcmp(other, id) == 0) {
            return true;
        }
    }
    return false;
}

/* The change id that stands at the place of a frozen disk; NULL: none. */
static const char *
id_at_place(const struct wmi_object *point, const struct wmi_objects *sasds, const char *path)
{
    size_t n = wmi_count(point, "VirtualDiskIdentifiers");
    size_t i;
    size_t k;

    for (k = 0; k < sasds->count; k++) {
        if (strcmp(wmi_text_at(&sasds->items[k], "HostResource", 0), path) != 0) {
            continue;
        }
        for (i = 0; i < n; i++) {
            const char *where = wmi_text_at(point, "VirtualDiskIdentifiers", i);

            if (where != NULL &&
                same_place(where, wmi_text_or(&sasds->items[k], "InstanceID", ""))) {
                return wmi_text_at(point, "ResilientChangeTrackingIdentifiers", i);
            }
        }
    }
    return NULL;
}

/*
 * The order of the disks means nothing, and with disks that are not tracked the two lists may differ in length.  What
 * a frozen disk itself called its moment is its id if the point has it; else the one at its place, in lists that
 * belong together.
 */
static void
join(const struct capture_frozen *frozen, const struct wmi_objects *sasds,
     const struct wmi_object *point, struct capture_kept *kept)
{
    bool even = wmi_count(point, "VirtualDiskIdentifiers") ==
                wmi_count(point, "ResilientChangeTrackingIdentifiers");
    size_t d;

    for (d = 0; d < frozen->disk_count; d++) {
        const struct capture_frozen_disk *fd = &frozen->disks[d];
        const char *id = NULL;

        if (fd->change_id[0] != '\0' && refpoint_point_has(point, fd->change_id)) {
            id = fd->change_id;
        } else if (even) {
            id = id_at_place(point, sasds, fd->path);
        }
        if (id != NULL && strlen(id) < CAPTURE_ID_MAX) {
            (void)snprintf(kept->change_ids[d], CAPTURE_ID_MAX, "%s", id);
        }
    }
}

/* On the branch on which they were given; none if a checkpoint was applied since the disks were frozen. */
static void
finish_ids(struct refpoint *r, const struct capture_frozen *frozen, const struct guid *branch,
           struct capture_kept *kept)
{
    size_t d;

    for (d = 0; d < frozen->disk_count; d++) {
        if (!refpoint_branch_is(&frozen->disks[d], branch)) {
            kept->change_ids[d][0] = '\0';
        }
        refpoint_branch_put(kept->change_ids[d], branch);
        if (refpoint_is_set(frozen->disks[d].path)) {
            continue; /* known by its snapshots, which are somebody else's to join */
        }
        if (kept->change_ids[d][0] == '\0') {
            log_warn("capture", "disk '%s' has no change id: its next run reads all",
                     frozen->disks[d].name);
        }
        refpoint_set_tracked(r, &frozen->disks[d].id, kept->change_ids[d][0] != '\0');
    }
}

void
refpoint_join(struct refpoint *r, const struct capture_frozen *frozen,
              const struct wmi_objects *sasds, const struct wmi_object *point,
              const struct guid *branch, struct capture_kept *kept)
{
    join(frozen, sasds, point, kept);
    finish_ids(r, frozen, branch, kept);
}
