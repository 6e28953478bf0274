/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_WMI_FAKE_H
#define HVSIM_WMI_FAKE_H

#include "hvsim/port_script.h"
#include "wmi/wmi_port.h"

/* root\virtualization\v2 of the simulated host: classes, associations, methods and jobs, as objects. */
struct wmi_fake_options {
    bool server_2016;         /* Msvm_VirtualSystemSnapshotSettingData has no GuestBackupType */
    bool pass_through;        /* each vm has a physical disk too */
    bool no_role;             /* no such namespace */
    const char *no_role_file; /* the same while it is there; NULL: none */
    bool no_rights;           /* the caller is not elevated: lists are empty */
    bool server_2012;         /* no reference points */
    bool shared;              /* every disk is said to be shared by a guest cluster */
    bool denied;              /* connecting is: no rights at all */
    bool uneven;     /* reference points name disks without tracking too, which have no change id */
    bool odd_ids;    /* InstanceIDs in reference points: lower case, braces, L instead of D */
    bool log_points; /* each vm has a reference point of Hyper-V Replica too, which is by log */
    bool easy_guests;    /* application consistency never fails, paused or not */
    bool at_once;        /* methods answer when their work is done: ReturnValue 0, not a job */
    bool no_snapshot_id; /* settings do not say which snapshot of a VHD set is theirs */
    bool group_32768;    /* a group's recovery checkpoint has the number of a single vm's */
    bool no_changes;     /* GetVirtualDiskChanges answers nothing */
};

struct wmi_port *wmi_fake_new(struct port_script *script, const struct wmi_fake_options *options);

/*
 * root\HyperVCluster\v2 as this host has it, which is not there unless the host is in a cluster (engine: formed): vms of all
 * nodes, vm groups that stand in it, what is frozen of those, and no class that is not documented for it
 * (Msvm_VirtualSystemReferencePointService, Msvm_ImageManagementService, settings of disks ...).  A path says which
 * namespace it is of, and is good in no other.  Its calls are logged as "cluster ...".
 */
struct wmi_port *wmi_fake_cluster_new(struct port_script *script,
                                      const struct wmi_fake_options *options);

#endif
