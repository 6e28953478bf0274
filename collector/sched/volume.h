/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SCHED_VOLUME_H
#define VARVE_SCHED_VOLUME_H

#include "base/error.h"
#include "base/guid.h"
#include "state/state.h"

/*
 * The volumes that a vm's disks are on, as far as their paths tell.  A cluster shared volume
 * (C:\ClusterStorage\NAME) and a share (\\SERVER\SHARE) are the same volume for every host of a tenant;
 * a drive, or the file system of a host that is no Windows, is one host's own.
 *
 * The text of a volume is for people too.  Letter case does not matter on Windows.
 *
 * And the disks that other vms may have as well, by path: a checkpoint of one of those vms is one of all of them.
 */
struct volumes {
    char **names;
    size_t count;
    char **shared; /* disks */
    size_t shared_count;
};

/* Each once.  A vm without disks is on none. */
VARVE_CHECK enum varve_err volumes_of_vm(struct volumes *out, const struct vm_row *row,
                                         struct varve_error *err);
void volumes_release(struct volumes *v);

/* A path that means the same file on every host: on a cluster shared volume, or on a share. */
bool volume_path_is_common(const char *path);

#endif
