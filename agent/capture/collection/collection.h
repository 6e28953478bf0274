/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_COLLECTION_COLLECTION_H
#define VARVE_CAPTURE_COLLECTION_COLLECTION_H

#include "capture/capture.h"
#include "capture/choice/choice.h"
#include "capture/refpoint/refpoint.h"
#include "source/source.h"

/*
 * Freezes nodes of a guest cluster (Hyper-V 2016 and later): vms that share VHD sets (.vhds) and are members of one
 * vm group.  A checkpoint is one of the whole group (Msvm_SnapshotCollection), a reference point is what is kept of
 * it (Msvm_ReferencePointCollection); both are named by their CollectionID.  docs/design/capture-collection.md says
 * which call follows which, what is not known, and what happens then.  All ids begin with COLLECTION_FAMILY: the host's
 * own of a vm and of its group are no business of one another.
 *
 * A run is of one vm of the group all the same: it reads that vm's own disks as capture/refpoint does, and the sets
 * that the collector leaves to it, from their file server.  Each vm that is backed up has its own reference point of
 * the group.
 *
 * A group stands in the host's namespace or in its cluster's, which a host without a cluster does not have.  Both are asked
 * (collection_place.c); everything about a group's moments and points is then asked and done where the group is.
 *
 * A frozen set is named by its path and the set's own snapshot; that snapshot's id is its change id for the next
 * run, which is asked of the set itself (source_rsvd.h).
 */

#define COLLECTION_FAMILY "group:"

/* Opens a set's snapshot by MS-RSVD; set_server_open() does. */
typedef enum varve_err collection_open_set(void *arg, const char *path, const struct guid *snapshot,
                                           struct source **out, struct varve_error *err);

struct collection_options {
    struct refpoint_options host;
    /* Groups may stand there too (root\HyperVCluster\v2); borrowed, connected when it is first asked.  NULL: nobody
     * is asked. */
    struct wmi_port *cluster;
    collection_open_set *open_set;
    void *open_arg;
};

/* VARVE_ERR_UNSUPPORTED names what the host lacks. */
VARVE_CHECK enum varve_err capture_collection_open(struct capture **out,
                                                   const struct collection_options *options,
                                                   struct varve_error *err);

/* Whether this vm of an inventory needs a checkpoint of its group; and, as a choice_member's fits, can have it. */
bool capture_collection_claims(const struct capture_vm *vm);
enum choice_fit capture_collection_fits(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE]);

/* What reads a frozen disk: *out stays NULL for a disk that is no set, which is read as those of capture/refpoint. */
VARVE_CHECK enum varve_err capture_collection_source(struct capture *c,
                                                     const struct capture_frozen *frozen,
                                                     size_t disk, struct source **out,
                                                     struct varve_error *err);

#endif
