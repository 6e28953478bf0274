/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_VDISK_FAKE_H
#define HVSIM_VDISK_FAKE_H

#include "hvsim/port_script.h"
#include "source/vdisk_port.h"

/* virtdisk.dll of the simulated host.  Breaking a rule of the API (mask with version 2, a read that is not
 * aligned or not attached, a handle left open) is noted in script->violation. */
struct vdisk_fake_options {
    bool no_query_changes; /* a system older than Server 2016 */
    bool stuck;            /* questions for changes are answered without getting on */
    bool too_far;          /* ... with more than was asked for */
    bool past_end;         /* ... with ranges that end a MiB late */
    bool no_privilege;     /* SE_MANAGE_VOLUME_PRIVILEGE is not held: attaching fails with 1300 */
};

struct vdisk_port *vdisk_fake_new(struct port_script *script,
                                  const struct vdisk_fake_options *options);
/* Disks and reads that are open now. */
size_t vdisk_fake_open_count(const struct vdisk_port *p);
/* Most reads that were in flight at a time. */
size_t vdisk_fake_in_flight_max(const struct vdisk_port *p);

#endif
