/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include <stdio.h>
#include <stdlib.h>

#include "hvsim/sim_client.h"
#include "hvsim/vdisk_fake.h"
#include "hvsim/wmi_fake.h"

/*
 * The agent as it is, with the ports of a simulated host in the place of those of Windows: HVSIM_SOCKET names its socket; while
 * there is a file of that name with ".no-role" behind it, the host has no Hyper-V.  So capture, choice, source and
 * job run natively against the fakes, and everything else is the program that is shipped.
 */
static struct {
    struct mutex lock; /* client: one line at a time */
    struct sim_client *client;
    struct port_script script;
    char no_role[256];
} sim;

static char *
exchange(void *arg, const char *line)
{
    char *reply;

    (void)arg;
    mutex_lock(&sim.lock);
    reply = sim_client_exchange(sim.client, line);
    mutex_unlock(&sim.lock);
    return reply;
}

enum varve_err
agent_ports_open(struct agent_host *h, const char *server, struct varve_error *err)
{
    const struct hv_link link = {exchange, NULL};
    const struct wmi_fake_options wmi = {.no_role_file = sim.no_role};
    const struct vdisk_fake_options vdisk = {0};
    const char *socket = getenv("HVSIM_SOCKET");

    (void)server;
    if (sim.client == NULL) { /* else the agent opens its host once more */
        sim.client = socket != NULL ? sim_client_open(socket) : NULL;
        if (sim.client == NULL) {
            return varve_error_set(err, VARVE_ERR_NOT_FOUND, "HVSIM_SOCKET: nobody listens");
        }
        (void)snprintf(sim.no_role, sizeof(sim.no_role), "%s.no-role", socket);
        mutex_init(&sim.lock);
        port_script_init(&sim.script, &link);
    }
    h->wmi = wmi_fake_new(&sim.script, &wmi);
    h->cluster = wmi_fake_cluster_new(&sim.script, &wmi);
    h->vdisk = vdisk_fake_new(&sim.script, &vdisk);
    (void)varve_error_set(&h->vss_why, VARVE_ERR_UNSUPPORTED, "not simulated here");
    return VARVE_OK;
}
