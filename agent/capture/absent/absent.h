/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_ABSENT_ABSENT_H
#define VARVE_CAPTURE_ABSENT_ABSENT_H

#include "capture/capture.h"

/*
 * The capture of a host that has none: Windows without the Hyper-V role.  It lists no vms and says why, and whatever else
 * is asked of it is that error: nothing that a journal has to finish is taken for done.
 */
VARVE_CHECK enum varve_err capture_absent_open(struct capture **out, const char *provider,
                                               const struct varve_error *why,
                                               struct varve_error *err);

#endif
