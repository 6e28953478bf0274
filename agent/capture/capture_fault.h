/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CAPTURE_FAULT_H
#define VARVE_CAPTURE_CAPTURE_FAULT_H

#include "capture/capture.h"

/*
 * Fails calls of another capture.  Only calls that change the host are counted: begin, keep, drop,
 * abort.
 */
enum capture_fault_mode {
    CAPTURE_FAULT_BEFORE, /* the call is refused, nothing was done */
    CAPTURE_FAULT_AFTER   /* done, and answered by an error */
};

/*
 * Takes inner.  The nth counted call (1 = the next; 0: none) fails with VARVE_ERR_IO.  dead, when
 * not NULL, is set by that, and while it is set every call of any kind fails: the agent is gone.
 */
VARVE_CHECK enum varve_err capture_fault_new(struct capture **out, struct capture *inner,
                                             unsigned nth, enum capture_fault_mode mode, bool *dead,
                                             struct varve_error *err);

#endif
