/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_VSS_FAKE_H
#define HVSIM_VSS_FAKE_H

#include "hvsim/port_script.h"
#include "vss/vss_port.h"

/* VSS of the simulated host.  Breaking a rule of the API (a backup that was begun and neither completed nor aborted, a
 * session left open, a set deleted before the backup is complete) is noted in script->violation. */
struct vss_fake_options {
    bool no_writer;       /* a client system, or VMMS is stopped */
    bool miscounts;       /* VSS counts one component more than the document names */
    const char *caption;  /* instead of "Online" or "Offline"; NULL: as the writer says */
    const char *document; /* of the backup, instead of the real one; NULL */
    const char *drive;    /* paths as Windows has them, on that drive: "Z:"; NULL: as they are */
};

struct vss_port *vss_fake_new(struct port_script *script, const struct vss_fake_options *options);
/* The process that had the session is gone: nobody ends it as the rules want. */
void vss_fake_abandon(struct vss_session *s);
size_t vss_fake_open_count(const struct vss_port *p); /* sessions */

#endif
