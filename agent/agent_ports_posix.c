/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

enum varve_err
agent_ports_open(struct agent_host *h, struct varve_error *err)
{
    (void)h;
    return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                           "there is Hyper-V on Windows only: set capture = folder");
}

enum varve_err
agent_wmi_port_open(struct agent_host *h, const char *server, struct varve_error *err)
{
    (void)server;
    return agent_ports_open(h, err);
}

enum varve_err
agent_vss_ports_open(struct agent_host *h, struct varve_error *err)
{
    return agent_ports_open(h, err);
}
