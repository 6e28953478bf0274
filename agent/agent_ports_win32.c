/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"
#include "source/win_vdisk.h"
#include "vss/win_vss.h"
#include "wmi/win_wmi.h"

enum varve_err
agent_ports_open(struct agent_host *h, struct varve_error *err)
{
    enum varve_err rc = win_wmi_open(&h->wmi, NULL, WIN_WMI_HYPERV, err);

    if (rc == VARVE_OK && win_vdisk_open(&h->vdisk, &h->vdisk_why) != VARVE_OK) {
        h->vdisk = NULL;
    }
    return rc;
}

enum varve_err
agent_wmi_port_open(struct agent_host *h, const char *server, struct varve_error *err)
{
    return win_wmi_open(&h->wmi, server, WIN_WMI_HYPERV, err);
}

enum varve_err
agent_vss_ports_open(struct agent_host *h, struct varve_error *err)
{
    /* First: the first to come decides on COM's security, and VSS asks for more than WMI. */
    enum varve_err rc = win_vss_open(&h->vss, err);

    return rc == VARVE_OK ? win_wmi_open(&h->wmi, NULL, WIN_WMI_HYPERV, err) : rc;
}
