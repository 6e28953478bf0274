/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_PORT_SERVER_INTERNAL_H
#define HVSIM_PORT_SERVER_INTERNAL_H

#include <jansson.h>

#include "hvsim/vdisk_fake.h"
#include "hvsim/vss_fake.h"
#include "hvsim/wmi_fake.h"

#define PORT_LINKS 16u

struct port_handle {
    int64_t id;
    int64_t pid; /* of the program that opened it */
    struct vdisk *disk;
};

struct port_session {
    int64_t id;
    int64_t pid;
    struct vss_session *session;
};

struct port_process {
    int64_t pid;
    size_t connections;
};

struct port_server {
    struct port_script script;
    struct wmi_port *wmi;
    struct wmi_port *cluster; /* requests with "space": "cluster" */
    struct vdisk_port *vdisk;
    struct vss_port *vss;
    const char *host_socket;
    unsigned tcp_port;
    struct mutex lock; /* all below */
    /* port.host: what this host is called by others, whether the program runs on it, its drive, and where shares are */
    char *name;
    bool elsewhere;
    char drive;
    char *shares;
    char *asked; /* the server of the last wmi.connect */
    struct sim_client *idle[PORT_LINKS];
    size_t idle_count;
    struct port_handle *handles;
    size_t handle_count;
    struct port_session *sessions;
    size_t session_count;
    struct port_process *processes;
    size_t process_count;
    int64_t next_handle;
    uint64_t reads;
    uint64_t read_bytes;
    uint64_t left_open; /* handles of programs that ended */
};

/* One request; the payload (of a read) stands in *buf, which is the connection's. */
struct port_call {
    struct port_server *server;
    int64_t pid;
    const json_t *request;
    uint8_t *buf; /* VDISK_READ_MAX + 2 * VDISK_ALIGN */
    const uint8_t *payload;
    size_t payload_len;
};

/* What the call gives (an object without "ok"), or NULL and the error. */
json_t *port_server_wmi(struct port_call *c, const char *op, struct varve_error *err);
json_t *port_server_vdisk(struct port_call *c, const char *op, struct varve_error *err);
json_t *port_server_vss(struct port_call *c, const char *op, struct varve_error *err);

/* The program is gone (0: all are): what it had open is closed, as a system does.  The first with
 * the lock held, the second without: it asks the host. */
void port_server_forget(struct port_server *s, int64_t pid);
void port_server_forget_sessions(struct port_server *s, int64_t pid);

json_t *port_server_wmi_host(struct port_call *c); /* port.host */

/* "Z:\a\b" and "/a/b"; the caller frees. */
char *port_server_to_linux(const char *path);
char *port_server_to_windows(const char *path);

#endif
