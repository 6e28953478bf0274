/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_PORT_SERVER_H
#define HVSIM_PORT_SERVER_H

#include "base/error.h"

/*
 * WMI and virtdisk.dll of a simulated host for programs of another system: the fakes of both ports, over
 * a loopback TCP connection and a unix socket (README.md, "Ports over a connection").  A thread for each
 * connection.  Returns only when it cannot begin; a signal ends it.
 */
VARVE_CHECK enum varve_err port_server_run(const char *host_socket, const char *socket_path,
                                           struct varve_error *err);

#endif
