/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_GROUP_H
#define HVSIM_GROUP_H

#include "hvsim/engine.h"

/*
 * Guest clusters: VHD sets that several vms have, vm groups, and moments of a group.
 *
 *     <host>/cluster.json            all of it, replaced as a whole: the commit
 *     <host>/sets/<GUID>/live.raw    what a set holds now; <SNAPSHOT>.raw what one of its snapshots holds
 *
 * The bytes that a client reads are not here: a set may have a file server (tests/rsvd/rsvd_testd.py, over its control
 * socket), which is told every write and every snapshot, keeps blocks and changes of its own, and is what is read.
 * So the truth and what is read meet nowhere but in the comparison.
 *
 * A vm with a set cannot be frozen alone.  A group stands in the namespace of its host, in that of the host's cluster, or in
 * both.  Hosts of one process may be joined (cluster_join()): sets, groups and moments are then those of all, and a vm
 * of a group may be on any of them and move.  Not modelled: a SIGKILL in the middle of a group's job, vms of a group that
 * are deleted, a joined host that restarts, and hosts of several processes.
 */

#define SIM_NODES_MAX 8u
#define SIM_SETS_MAX  4u /* of one group */

struct sim_node {
    struct guid vm;
    struct guid slot_id; /* of a set: where it is attached; of a moment: the vm's part */
};

struct sim_set {
    struct guid id; /* VirtualDiskId */
    char path[256]; /* as the vms have it: a share's */
    char control[108];
    uint64_t size;
    struct sim_node nodes[SIM_NODES_MAX];
    size_t node_count;
    struct sim_snapshot {
        struct guid id;
        int64_t created_us;
        bool reference; /* without data: changes since can be asked */
    } * snapshots;
    size_t snapshot_count;
};

enum sim_space { SIM_SPACE_HOST = 1, SIM_SPACE_CLUSTER = 2, SIM_SPACE_BOTH = 3 };

struct sim_group {
    struct guid id;
    enum sim_space space;
    char name[SIM_NAME_MAX];
    struct sim_node nodes[SIM_NODES_MAX];
    size_t node_count;
};

/* A snapshot collection; a reference point collection once it is converted. */
struct sim_moment {
    struct guid id;
    struct guid group;
    bool point;
    bool busy;                            /* not state */
    struct sim_node parts[SIM_NODES_MAX]; /* slot_id: checkpoint or reference point */
    size_t part_count;
    struct sim_moment_set {
        struct guid set;
        struct guid snapshot;
    } sets[SIM_SETS_MAX];
    size_t set_count;
};

struct sim_cluster {
    char *dir;               /* where it is kept */
    struct sim_host **hosts; /* borrowed */
    size_t host_count;
    bool formed; /* hosts have the cluster's namespace */
    struct sim_set *sets;
    size_t set_count;
    struct sim_group *groups;
    size_t group_count;
    struct sim_moment *moments; /* oldest first */
    size_t moment_count;
};

/* ---- engine_group_find.c: the results are borrowed ---- */
VARVE_CHECK uint32_t find_group(struct sim_host *h, const struct guid *id, struct sim_group **out,
                                struct sim_error *err);
VARVE_CHECK uint32_t find_moment(struct sim_host *h, const struct guid *id, struct sim_moment **out,
                                 struct sim_error *err);
VARVE_CHECK uint32_t find_set(struct sim_host *h, const struct guid *id, struct sim_set **out,
                              struct sim_error *err);
struct sim_set *set_of_path(struct sim_host *h, const char *path); /* NULL: none */
bool group_has(const struct sim_group *g, const struct guid *vm);
bool set_has(const struct sim_set *s, const struct guid *vm);
bool vm_has_set(const struct sim_host *h, const struct guid *vm);
/* On whichever host of the cluster; out may be NULL. */
VARVE_CHECK uint32_t find_vm_host(struct sim_host *h, const struct guid *vm, struct sim_host **host,
                                  struct sim_vm **out, struct sim_error *err);
/* A job of some host works on the vm, or on its group. */
bool cluster_works_on(const struct sim_host *h, const struct guid *vm);

/* ---- engine_group.c ---- */
VARVE_CHECK uint32_t group_create(struct sim_host *h, enum sim_space space, const char *name,
                                  const struct guid *vms, size_t count, struct guid *id,
                                  struct sim_error *err);
/* The group is found in another namespace from now on. */
VARVE_CHECK uint32_t group_place(struct sim_host *h, const struct guid *group, enum sim_space space,
                                 struct sim_error *err);
/* The kind of job that a group's is for each of its vms; the same for a vm's own. */
enum sim_job_kind job_kind_for_vm(enum sim_job_kind kind);
/* Also when it works on the vm's group. */
bool job_is_for(const struct sim_host *h, const struct sim_job *j, const struct guid *vm);
VARVE_CHECK uint32_t group_freeze(struct sim_host *h, const struct guid *group,
                                  enum sim_consistency consistency, struct guid *job,
                                  struct sim_error *err);
/* kind: SIM_JOB_GROUP_CONVERT, _DESTROY (of a moment), _FORGET (of a point). */
VARVE_CHECK uint32_t group_start(struct sim_host *h, const struct guid *moment,
                                 enum sim_job_kind kind, struct guid *job, struct sim_error *err);
VARVE_CHECK uint32_t group_do(struct sim_host *h, struct sim_job *j, struct sim_error *err);
/* Free it once its job has ended. */
void group_set_idle(struct sim_host *h, const struct guid *moment);

/* ---- engine_set.c ---- */
struct set_spec {
    const char *path;
    const char *control; /* socket of the file server; "": nobody reads it */
    uint64_t size;
    const struct guid *vms;
    size_t vm_count;
};

VARVE_CHECK uint32_t set_create(struct sim_host *h, const struct set_spec *spec, struct guid *id,
                                struct sim_error *err);
/* As guest_write(), by a node that has the set. */
VARVE_CHECK uint32_t set_write(struct sim_host *h, const struct guid *set, const struct guid *vm,
                               const struct sim_extent *extents, size_t count, uint64_t seed,
                               struct sim_error *err);
VARVE_CHECK uint32_t set_snapshot(struct sim_host *h, struct sim_set *s, const struct guid *id,
                                  struct sim_error *err);
/* keep: as a reference. */
VARVE_CHECK uint32_t set_snapshot_delete(struct sim_set *s, const struct guid *id, bool keep,
                                         struct sim_error *err);
/* snapshot NULL: what it holds now.  The caller frees. */
char *set_truth(const struct sim_host *h, const struct sim_set *s, const struct guid *snapshot);
char *set_instance_id(const struct sim_set *s, const struct sim_node *n); /* the caller frees */

/* ---- engine_group_state.c ---- */
VARVE_CHECK uint32_t cluster_save(struct sim_host *h, struct sim_error *err);
VARVE_CHECK uint32_t cluster_load(struct sim_host *h, struct sim_error *err);
void cluster_forget(struct sim_host *h);
/* h, which has neither sets nor groups, becomes a node of the cluster of `to`. */
void cluster_join(struct sim_host *h, struct sim_host *to);

#endif
