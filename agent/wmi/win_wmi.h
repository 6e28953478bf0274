/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_WMI_WIN_WMI_H
#define VARVE_WMI_WIN_WMI_H

#include "wmi/wmi_port.h"

/*
 * The port of wmi_port.h over COM.  Opening does not connect: connect() does, and again after
 * VARVE_ERR_CLOSED.  Each call enters the multithreaded apartment and leaves it; the port keeps the
 * apartment alive in between.
 *
 * server names the machine whose WMI it is, NULL or "" this one.  Another machine is asked as the account of this process (on a
 * domain's machine a service's is the computer's), by whatever Negotiate finds, sealed, and may impersonate it, but not
 * reach a third machine as it.
 *
 * Time limits: calls are made semisynchronously, so that an answer that does not come within
 * timeout_ms is VARVE_ERR_TIMEOUT; connecting has the limit of WMI itself (two minutes).
 */
#define WIN_WMI_HYPERV "ROOT\\virtualization\\v2"
#define WIN_WMI_CLUSTER                                                                            \
    "ROOT\\HyperVCluster\\v2" /* of all nodes of a failover cluster; elsewhere there is none */

VARVE_CHECK enum varve_err win_wmi_open(struct wmi_port **out, const char *server,
                                        const char *wmi_namespace, struct varve_error *err);

#endif
