/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "capture/choice/choice.h"
#include "capture/refpoint/refpoint_internal.h"

enum choice_fit
choice_fits_alone(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE])
{
    size_t i;

    for (i = 0; i < vm->disk_count; i++) {
        if (refpoint_is_set(vm->disks[i].path)) {
            (void)snprintf(why, CHOICE_WHY_SIZE,
                           "it shares a VHD set, and only a checkpoint of its vm group freezes it");
            return CHOICE_CANNOT;
        }
    }
    return CHOICE_FITS;
}

enum choice_fit
choice_fits_refpoint(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE])
{
    size_t usable = 0;
    size_t tracked = 0;
    size_t i;

    if (choice_fits_alone(vm, why) == CHOICE_CANNOT) {
        return CHOICE_CANNOT;
    }
    if (vm->version[0] != '\0' && !refpoint_version_keeps(vm->version)) {
        (void)snprintf(
            why, CHOICE_WHY_SIZE,
            "configuration version %s has no reference points, 6.2 is the first that has",
            vm->version);
        return CHOICE_POORLY;
    }
    for (i = 0; i < vm->disk_count; i++) {
        usable += vm->disks[i].problem == NULL ? 1 : 0;
        tracked += vm->disks[i].problem == NULL && vm->disks[i].tracked ? 1 : 0;
    }
    if (usable > 0 && tracked == 0) {
        (void)snprintf(why, CHOICE_WHY_SIZE,
                       "none of its disks is a VHDX, whose changes are tracked");
        return CHOICE_POORLY;
    }
    return CHOICE_FITS;
}
