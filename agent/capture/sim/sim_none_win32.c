/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sim/sim.h"

enum varve_err
capture_sim_open(struct capture **out, const char *socket_path, struct varve_error *err)
{
    (void)out;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "the simulated host at '%s' is for tests on Linux; this is Windows",
                           socket_path);
}
