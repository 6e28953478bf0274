/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SERVER_H
#define HVSIM_SERVER_H

#include "hvsim/engine.h"

#define SERVER_LINE_MAX ((size_t)16 * 1024 * 1024)

/*
 * Serves the host on a unix socket until SIGTERM or SIGINT; one thread, which also moves jobs and
 * merges on.  ready is called once, when connections are accepted.
 */
VARVE_CHECK uint32_t server_run(struct sim_host *h, const char *socket_path,
                                void (*ready)(const char *socket_path), struct sim_error *err);

#endif
