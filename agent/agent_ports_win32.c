/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"
#include "source/win_vdisk.h"
#include "vss/win_vss.h"
#include "wmi/win_wmi.h"

static enum varve_err
only_here(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "it works for this machine's own only");
}

enum varve_err
agent_ports_open(struct agent_host *h, const char *server, struct varve_error *err)
{
    enum varve_err rc;

    /* First: the first to come decides on COM's security, and VSS asks for more than WMI. */
    rc = server == NULL ? win_vss_open(&h->vss, &h->vss_why) : only_here(&h->vss_why);
    if (rc != VARVE_OK) {
        h->vss = NULL;
    }
    rc = server == NULL ? win_vdisk_open(&h->vdisk, &h->vdisk_why) : only_here(&h->vdisk_why);
    if (rc != VARVE_OK) {
        h->vdisk = NULL;
    }
    rc = win_wmi_open(&h->wmi, server, WIN_WMI_HYPERV, err);
    if (rc == VARVE_OK && server == NULL) {
        rc = win_wmi_open(&h->cluster, server, WIN_WMI_CLUSTER, err);
    }
    return rc;
}
