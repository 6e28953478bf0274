/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_SIM_SIM_H
#define VARVE_CAPTURE_SIM_SIM_H

#include "capture/capture.h"

/*
 * Recovery checkpoints and reference points of a simulated Hyper-V host (tests/hvsim), spoken to
 * over its unix socket in its own words: the calls are those of WMI and of virtdisk.dll, the order
 * of them is what a real host demands.
 *
 * Every call is a connection of its own: nothing is shared between threads and nothing has to be
 * repaired when the host was restarted.
 */
VARVE_CHECK enum varve_err capture_sim_open(struct capture **out, const char *socket_path,
                                            struct varve_error *err);

/* How long the host's jobs may take; for tests.  Times 0 keep what they are. */
struct capture_sim_times {
    uint32_t call_ms;    /* one request */
    uint32_t create_ms;  /* freezing, guest included */
    uint32_t convert_ms; /* and destroying */
    uint32_t busy_ms;    /* waiting for a vm that cannot be frozen now */
};
void capture_sim_set_times(struct capture *c, const struct capture_sim_times *times);

#endif
