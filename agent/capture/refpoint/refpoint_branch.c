/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "capture/refpoint/refpoint_internal.h"

/*
 * Which checkpoint was applied to a vm last.  Nobody says whether change tracking stays right across that, so a
 * change id is good only on the branch on which it was given: it is kept as the host's id followed by
 * "#applied=<GUID of the checkpoint>", or as it is where none was applied.
 */
#define MARK     "#applied="
#define MARK_LEN (sizeof(MARK) - 1 + GUID_TEXT_SIZE - 1)

#define BRANCH_AT 2 /* in the stamp of a frozen disk, behind the snapshot of a VHD set */

#define INVALID_CLASS 0x80041010

enum varve_err
refpoint_branch(struct refpoint *r, const char *vm_path, struct guid *out, struct varve_error *err)
{
    static const char *const names[] = {"InstanceID", "VirtualSystemType", NULL};
    struct wmi_objects found = {0};
    size_t i;
    enum varve_err rc = wmi_associators(&r->wmi, vm_path, "Msvm_LastAppliedSnapshot",
                                        "Msvm_VirtualSystemSettingData", names, &found, err);

    memset(out, 0, sizeof(*out));
    for (i = 0; rc == VARVE_OK && i < found.count; i++) {
        const char *id = wmi_text_or(&found.items[i], "InstanceID", "");
        size_t len = strlen(id);

        if (!refpoint_is_recovery(&found.items[i]) && len >= GUID_TEXT_SIZE - 1 &&
            !guid_parse(out, id + len - (GUID_TEXT_SIZE - 1))) {
            memset(out, 0, sizeof(*out));
        }
    }
    wmi_objects_release(&found);
    return rc != VARVE_OK && err->native == INVALID_CLASS ? VARVE_OK : rc;
}

void
refpoint_branch_note(struct capture_frozen_disk *d, const struct guid *branch)
{
    memcpy(&d->stamp[BRANCH_AT], branch->bytes, sizeof(branch->bytes));
}

bool
refpoint_branch_is(const struct capture_frozen_disk *d, const struct guid *branch)
{
    return memcmp(&d->stamp[BRANCH_AT], branch->bytes, sizeof(branch->bytes)) == 0;
}

void
refpoint_branch_put(char id[CAPTURE_ID_MAX], const struct guid *branch)
{
    char text[GUID_TEXT_SIZE];
    size_t len = strlen(id);

    if (len == 0 || guid_is_zero(branch)) {
        return;
    }
    if (len + MARK_LEN >= CAPTURE_ID_MAX) {
        id[0] = '\0'; /* the next run reads all */
        return;
    }
    guid_format(branch, text);
    (void)snprintf(id + len, CAPTURE_ID_MAX - len, MARK "%s", text);
}

enum varve_err
refpoint_branch_take(const struct capture_frozen_disk *d, const char *since,
                     char id[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct guid branch = {{0}};
    size_t len = strlen(since);

    if (len >= CAPTURE_ID_MAX) {
        return varve_error_set(err, VARVE_ERR_STALE, "no change id of this host");
    }
    if (len > MARK_LEN && strncmp(since + len - MARK_LEN, MARK, sizeof(MARK) - 1) == 0 &&
        guid_parse(&branch, since + len - (GUID_TEXT_SIZE - 1))) {
        len -= MARK_LEN;
    } else {
        memset(&branch, 0, sizeof(branch));
    }
    if (!refpoint_branch_is(d, &branch)) {
        return varve_error_set(err, VARVE_ERR_STALE,
                               "another checkpoint was applied to the vm since the last point");
    }
    memcpy(id, since, len);
    id[len] = '\0';
    return VARVE_OK;
}
