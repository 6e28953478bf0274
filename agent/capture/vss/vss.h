/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_VSS_VSS_H
#define VARVE_CAPTURE_VSS_VSS_H

#include "capture/capture.h"
#include "os/file.h"
#include "vss/vss_port.h"
#include "wmi/wmi_call.h"

/*
 * Freezes vms of a Hyper-V host by the host's VSS writer: for hosts and vms without reference points (Server 2012 R2,
 * old configuration versions), or because the operator wants it.  docs/design/capture-vss.md says which call follows
 * which and why.
 *
 * One vm a session.  What is frozen is a shadow copy of the volumes that the vm's files are on; it lives as long as
 * this process and the run: nothing of it can be left by a crash, and there is nothing to find after one.
 * Its files are read by our own reader.  Changes are found by hashing against the names of the last point.
 *
 * A reference point and a change id are "hash:<run>", the run whose names are kept.
 */
struct vss_options {
    struct vss_port *vss; /* borrowed */
    struct wmi_port *wmi; /* root\virtualization\v2, for what vms there are; borrowed */
    struct fs *fs;        /* of state_dir */
    struct fs *host_fs;   /* of the shadow copies */
    const char *state_dir;
    bool
        no_saved_state; /* fail rather than let the writer pause a vm whose guest cannot be asked */
    struct wmi_times wmi_times;
    uint32_t call_ms; /* most time of a call of VSS; 0: VSS_CALL_MS */
    uint32_t
        busy_ms; /* how long another set on the host, or a writer that says "later", is waited for */
    uint32_t pause_ms; /* between two tries */
};

VARVE_CHECK enum varve_err capture_vss_open(struct capture **out, const struct vss_options *options,
                                            struct varve_error *err);

/* A vm as capture/refpoint lists it becomes one as this does. */
VARVE_CHECK enum varve_err capture_vss_adapt(struct capture_vm *vm, struct varve_error *err);

/* ---- vss_probe.c: for people who ask why nothing is backed up ---- */

struct vss_finding {
    enum varve_err code; /* VARVE_OK: nothing to do */
    char text[400];
};

/* Asks the writer what it offers; takes some seconds, changes nothing. */
void vss_probe(struct vss_finding *out, struct vss_port *port);

#endif
