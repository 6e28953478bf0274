/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_WIN_VDISK_H
#define VARVE_SOURCE_WIN_VDISK_H

#include "source/vdisk_port.h"

/*
 * The port of vdisk_port.h over virtdisk.dll.  The DLL is loaded from the system folder when this is
 * called, so that the program also starts where it is missing (VARVE_ERR_UNSUPPORTED) or too old
 * to have QueryChangesVirtualDisk (has_query_changes() is then false).  SE_MANAGE_VOLUME_PRIVILEGE,
 * which attaching needs, is switched on for the process where it is held.
 */
VARVE_CHECK enum varve_err win_vdisk_open(struct vdisk_port **out, struct varve_error *err);

#endif
