/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_COLLECTION_LAB_H
#define HVSIM_COLLECTION_LAB_H

#include "capture/collection/collection.h"
#include "hvsim/fault_loop.h"
#include "hvsim/group.h"
#include "hvsim/refpoint_lab.h"

/*
 * A guest cluster of two vms that share a VHD set, on one simulated host or on two of one failover cluster, and the agents
 * of those hosts, one at a time, through the ports.  The set's bytes come from the simulator; tests/rsvd/cluster.sh reads
 * them from a file server.
 */
#define COLLECTION_SET_PATH "\\\\fs1\\vms\\quorum.vhds"
#define COLLECTION_SET_SIZE ((uint64_t)1024 * 1024)
#define COLLECTION_DISKS    3u /* two of the vm's own, and the set */

struct collection_lab_options {
    struct wmi_fake_options host; /* root\virtualization\v2 */
    struct wmi_fake_options cluster;
    enum sim_space space; /* of the group; 0: there is none */
    bool two_hosts;       /* the second vm is on the second host */
};

struct collection_base {
    char refpoint[CAPTURE_ID_MAX]; /* "": no point yet */
    struct journal_base disks[COLLECTION_DISKS];
    size_t count;
};

struct collection_lab {
    struct lab job;
    struct collection_node {
        struct refpoint_lab hv; /* its vm is vms[0], wherever that is */
        struct wmi_port *cluster;
        struct capture *capture;
    } nodes[2];
    size_t node_count;
    unsigned at; /* whose agent works */
    unsigned on; /* where vms[0] is */
    struct guid vms[2];
    struct guid set;
    struct guid group;
    struct collection_base bases[2]; /* of the vms */
    struct peer_fake
        *collectors[2]; /* what the collector has of each: job.fake is the one of the last run */
    bool ran[2];
    size_t foreign;         /* somebody else's reference points of the group */
    size_t foreign_moments; /* and checkpoints */
    bool set_is_away;
    bool skip_set; /* vms[1] leaves it out: it is in the points of vms[0] */
};

void collection_lab_open(struct collection_lab *l, const struct collection_lab_options *o);
void collection_lab_close(struct collection_lab *l);
/* The agent of the first host starts again, its capture having been closed. */
void collection_lab_reopen(struct collection_lab *l);
/* From now on the agent of this host, alive. */
void collection_lab_be(struct collection_lab *l, unsigned node);
/* Where the vm with this index is. */
struct sim_host *collection_lab_host(struct collection_lab *l);
/* vms[0] goes to the other host; a failover asks nobody. */
void collection_lab_move(struct collection_lab *l, bool failover);

/* The guests write to vms[0]'s own disks, and one of them to the set. */
void collection_lab_write(struct collection_lab *l);
/* A run of the vm by the agent that works. */
enum varve_err collection_lab_run(struct collection_lab *l, size_t vm, struct varve_error *err);
/* Its point is the base of its next run. */
void collection_lab_take_base(struct collection_lab *l, size_t vm);
/* The last point of vms[0] is what the disks and the set hold now. */
void collection_lab_check_point(struct collection_lab *l);
/* Nothing of ours but so many reference points of the group; the agent at work has forgotten its runs. */
void collection_lab_check_clean(struct collection_lab *l, size_t points);
/* Writes, run of vms[0], checks of the above with one reference point, base. */
void collection_lab_good_run(struct collection_lab *l);
/* The agent, which was dead, finishes or undoes what its journal has. */
void collection_lab_recover(struct collection_lab *l);
/* Somebody else's checkpoint of the group, or reference point; its id. */
struct guid collection_lab_foreign(struct collection_lab *l, bool point);
size_t collection_lab_count(const struct collection_lab *l, bool points);
/* How often a call of the agent at work was logged as this. */
size_t collection_lab_calls(struct collection_lab *l, const char *call);
/* For loops over the calls of a run of vms[0] by the agent at work. */
struct fault_lab collection_lab_faults(struct collection_lab *l);

#endif
