/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_REFPOINT_REFPOINT_H
#define VARVE_CAPTURE_REFPOINT_REFPOINT_H

#include "capture/capture.h"
#include "os/file.h"
#include "source/vdisk_port.h"
#include "wmi/wmi_call.h"

/*
 * Freezes vms of a Hyper-V host (2016 and later) by recovery checkpoints, and keeps what was frozen as
 * reference points.  docs/design/capture-refpoint.md says which call follows which and why.
 *
 * Ids: a checkpoint and a reference point are named by their WMI InstanceID; a path (__PATH) holds the
 * host's name and is asked for anew each time.  Ours is a checkpoint whose ElementName is "varve run
 * <run> of <owner>", the owner being this agent's own random id in <state_dir>/refpoint/owner.  Hyper-V gives the name only after the checkpoint is there; what stood on the vm before is
 * therefore written to <state_dir>/refpoint/<run> first, so that one that a crash left without its
 * name is known again: the only nameless one that is new and was made in our time.
 */
enum refpoint_consistency {
    REFPOINT_APPLICATION = 0, /* crash consistent when the guest cannot; said in the point */
    REFPOINT_CRASH,
    REFPOINT_APPLICATION_OR_FAIL
};

struct refpoint_options {
    struct wmi_port *wmi;     /* root\virtualization\v2; connected; borrowed */
    struct vdisk_port *vdisk; /* borrowed */
    struct fs *fs;            /* of state_dir */
    struct fs *host_fs;       /* of the files of the vms */
    const char *state_dir;
    enum refpoint_consistency consistency;
    struct wmi_times wmi_times;
    uint32_t create_ms; /* most time of a checkpoint, a conversion, a busy vm; 0: the usual */
    uint32_t convert_ms;
    uint32_t busy_ms;
    uint32_t pause_ms; /* between two looks at a busy vm */
};

/* VARVE_ERR_UNSUPPORTED names what the host lacks (the role, reference points, QueryChanges). */
VARVE_CHECK enum varve_err capture_refpoint_open(struct capture **out,
                                                 const struct refpoint_options *options,
                                                 struct varve_error *err);

/* ---- refpoint_probe.c: what a host offers, for people who ask why nothing is backed up ---- */

#define REFPOINT_FINDINGS_MAX 12u

struct refpoint_finding {
    enum varve_err code; /* VARVE_OK: nothing to do */
    char text[400];      /* what is so, and the way out */
};

struct refpoint_findings {
    struct refpoint_finding items[REFPOINT_FINDINGS_MAX];
    size_t count;
};

/* Connects wmi and asks it and vdisk (NULL: why, in vdisk_why).  Waits for nothing, changes nothing. */
void refpoint_probe(struct refpoint_findings *out, struct wmi_port *wmi, struct vdisk_port *vdisk,
                    const struct varve_error *vdisk_why);

#endif
