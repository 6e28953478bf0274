/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VSS_WIN_VSS_H
#define VARVE_VSS_WIN_VSS_H

#include "vss/vss_port.h"

/*
 * The port of vss_port.h over vssapi.dll of the system folder.  VARVE_ERR_UNSUPPORTED: there is none, or it lacks what
 * is asked of it.  The port keeps COM's multithreaded apartment alive until it is closed.
 *
 * COM's security is the process's and set once, to what VSS wants of requesters (writers call back; packet privacy,
 * impersonation) and WMI takes too.
 */
VARVE_CHECK enum varve_err win_vss_open(struct vss_port **out, struct varve_error *err);

#endif
