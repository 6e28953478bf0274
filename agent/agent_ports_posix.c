/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

enum varve_err
agent_ports_open(struct agent_host *h, const char *server, struct varve_error *err)
{
    (void)h;
    (void)server;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "there is Hyper-V on Windows only: set capture = folder");
}
