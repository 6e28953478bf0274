/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SMB_SMB_PORT_H
#define VARVE_SMB_SMB_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A stream of bytes to a server.  Members: smb_port_tcp_open(), and what tests put in its place.
 *
 * Threads: one reader and one writer at a time; close when nobody is inside.
 */
struct smb_port;

struct smb_port_ops {
    void (*close)(struct smb_port *p);
    /* All of it; an error ends the connection. */
    enum varve_err (*write)(struct smb_port *p, const void *data, size_t len, uint32_t timeout_ms,
                            struct varve_error *err);
    /* At least one byte.  VARVE_ERR_TIMEOUT: none came, nothing is lost, ask again.  Other errors end
     * the connection: VARVE_ERR_IO, also when the server has closed it. */
    enum varve_err (*read)(struct smb_port *p, void *data, size_t len, uint32_t timeout_ms,
                           size_t *got, struct varve_error *err);
};

struct smb_port {
    const struct smb_port_ops *ops;
};

void smb_port_close(struct smb_port *p); /* NULL is fine */

#define SMB_TCP_PORT 445u

/* host: a name or an address, an IPv6 address without brackets. */
VARVE_CHECK enum varve_err smb_port_tcp_open(struct smb_port **out, const char *host, uint16_t port,
                                             uint32_t timeout_ms, struct varve_error *err);

#endif
