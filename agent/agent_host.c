/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent.h"
#include "capture/export/export.h"
#include "capture/folder/folder.h"
#include "capture/refpoint/refpoint.h"
#include "capture/sim/sim.h"
#include "capture/vss/vss.h"
#include "source/source_virtdisk.h"

static enum varve_err
open_hyperv(struct agent_host *h, const struct agent_conf *conf, struct varve_error *err)
{
    struct refpoint_options options = {
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .consistency = (enum refpoint_consistency)conf->consistency,
    };
    enum varve_err rc = h->wmi == NULL ? agent_ports_open(h, err) : VARVE_OK;

    if (rc == VARVE_OK && h->vdisk == NULL) {
        *err = h->vdisk_why;
        return err->code;
    }
    if (rc == VARVE_OK) {
        rc = h->wmi->ops->connect(h->wmi, err);
        /* Early after a start VMMS may not answer yet: what asks next tries again for a while. */
        rc = rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_DENIED ? rc : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        options.wmi = h->wmi;
        options.vdisk = h->vdisk;
        rc = capture_refpoint_open(&h->capture, &options, err);
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "capture = hyperv ('varve-agent doctor' says more)");
}

static enum varve_err
open_vss(struct agent_host *h, const struct agent_conf *conf, struct varve_error *err)
{
    struct vss_options options = {
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .no_saved_state = conf->saved_state == AGENT_SAVED_STATE_REFUSE,
    };
    enum varve_err rc = h->vss == NULL ? agent_vss_ports_open(h, err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = h->wmi->ops->connect(h->wmi, err);
        rc = rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_DENIED ? rc : VARVE_OK; /* as above */
    }
    if (rc == VARVE_OK) {
        options.wmi = h->wmi;
        options.vss = h->vss;
        rc = capture_vss_open(&h->capture, &options, err);
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "capture = vss ('varve-agent doctor' says more)");
}

static enum varve_err
open_export(struct agent_host *h, const struct agent_conf *conf, struct varve_error *err)
{
    struct export_options options = {
        .fs = fs_system(),
        .host_fs = fs_system(),
        .state_dir = conf->state_dir,
        .folder = conf->export_folder,
        .server = conf->hyperv_host,
        .consistency = (enum refpoint_consistency)conf->consistency,
    };
    enum varve_err rc = h->wmi == NULL ? agent_wmi_port_open(h, conf->hyperv_host, err) : VARVE_OK;

    if (rc == VARVE_OK) {
        rc = h->wmi->ops->connect(h->wmi, err);
        rc = rc == VARVE_ERR_UNSUPPORTED || rc == VARVE_ERR_DENIED ? rc : VARVE_OK; /* as above */
    }
    if (rc == VARVE_OK) {
        options.wmi = h->wmi;
        rc = capture_export_open(&h->capture, &options, err);
    }
    return rc == VARVE_OK
               ? VARVE_OK
               : varve_error_prefix(err, "capture = export ('varve-agent doctor' says more)");
}

enum varve_err
agent_host_open(struct agent_host *h, const struct agent_conf *conf, const struct identity *key,
                struct varve_error *err)
{
    switch ((enum agent_capture)conf->capture) {
    case AGENT_CAPTURE_SIM:
        return capture_sim_open(&h->capture, conf->sim_socket, err);
    case AGENT_CAPTURE_HYPERV:
        return open_hyperv(h, conf, err);
    case AGENT_CAPTURE_VSS:
        return open_vss(h, conf, err);
    case AGENT_CAPTURE_EXPORT:
        return open_export(h, conf, err);
    case AGENT_CAPTURE_FOLDER:
        break;
    }
    return capture_folder_open(&h->capture, fs_system(), conf->folder, identity_public(key),
                               IDENTITY_KEY_SIZE, err);
}

void
agent_host_close(struct agent_host *h)
{
    capture_close(h->capture);
    wmi_port_close(h->wmi);
    vdisk_port_close(h->vdisk);
    vss_port_close(h->vss);
    memset(h, 0, sizeof(*h));
}

enum varve_err
agent_host_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
                  struct varve_error *err)
{
    const struct agent_host *h = arg;
    const char *path = frozen->disks[disk].path;

    if (strcmp(h->capture->source, "export") == 0) {
        return capture_export_source(h->capture, frozen, disk, out, err);
    }
    return strcmp(h->capture->source, "virtdisk") == 0
               ? source_virtdisk_open(out, h->vdisk, fs_system(), path, err)
               : source_file_open(out, fs_system(), path, frozen->allow_raw, err);
}
