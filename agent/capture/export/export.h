/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_EXPORT_EXPORT_H
#define VARVE_CAPTURE_EXPORT_EXPORT_H

#include "capture/capture.h"
#include "capture/refpoint/refpoint.h"
#include "source/source.h"

/*
 * Freezes vms of a Hyper-V host (2016 and later) as capture/refpoint does, and has the host write the frozen disks
 * into a folder (ExportSystemDefinition), from where our own reader takes them: needs no virtdisk.dll.
 * docs/design/capture-export.md says which call follows which and why.
 *
 * Checkpoints, reference points and change ids are those of capture/refpoint: a vm may go from one to the other and
 * is read incrementally all the same.  A differential export is of all disks since one reference point, or else
 * everything is exported and read.
 *
 * The host may be another machine, which has no agent: only the folder is shared with it then, and paths of its own
 * drives are read, if at all, by the shares that a host has for administrators (C$).
 *
 * Each run has a folder of its own, <folder>/varve-<run>.  It is written down in <state_dir>/export/<run> before it
 * is made and goes when the run is over (adopt() with note NULL); what could not be removed then, or was left by an
 * agent that ended, goes before the next vm is frozen.
 */
struct export_options {
    struct wmi_port *wmi; /* root\virtualization\v2; connected; borrowed */
    const char *server;   /* the host, when that is another machine: the port's; NULL: this one */
    struct fs *fs;        /* of state_dir */
    struct fs *host_fs;   /* of folder, and of the files of the vms where they can be reached */
    const char *state_dir;
    const char *folder; /* as the host and we reach it, local or UNC; absolute */
    enum refpoint_consistency consistency;
    struct wmi_times wmi_times;
    uint32_t
        create_ms; /* most time of a checkpoint, a conversion, an export, a busy vm; 0: the usual */
    uint32_t convert_ms;
    uint32_t export_ms;
    uint32_t busy_ms;
    uint32_t pause_ms;
};

/* VARVE_ERR_UNSUPPORTED names what the host lacks. */
VARVE_CHECK enum varve_err capture_export_open(struct capture **out,
                                               const struct export_options *options,
                                               struct varve_error *err);

/* A vm as capture/refpoint lists it becomes one as this does. */
VARVE_CHECK enum varve_err capture_export_adapt(struct capture_vm *vm, struct varve_error *err);

/* What reads a frozen disk of this capture, after prepare(). */
VARVE_CHECK enum varve_err capture_export_source(struct capture *c,
                                                 const struct capture_frozen *frozen, size_t disk,
                                                 struct source **out, struct varve_error *err);

/* ---- export_where.c ---- */

/* Of another host: that server can be one's name, and folder is one place for both.  VARVE_ERR_INVALID says what is wrong. */
VARVE_CHECK enum varve_err export_check_server(const char *server, const char *folder,
                                               struct varve_error *err);

/* ---- export_probe.c ---- */

/* Whether exports can be written to folder: writes a file there and removes it. */
void export_probe(struct refpoint_finding *out, struct fs *fs, const char *folder);

#endif
