/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/collection/collection_internal.h"
#include "os/path.h"

/*
 * In which namespace a vm's group stands: the host's (root\virtualization\v2) or the cluster's (root\HyperVCluster\v2).
 *
 *  1. Both are asked; a group that stands in both is one.  A cluster is asked for vms that share a VHD set, and for vms
 *     whose group it had before; trouble with it is no business of any other vm.
 *  2. A host that has no such namespace is in no cluster: an ordinary event, unless 4.
 *  3. Before anything is done or found where the cluster's groups are, <state_dir>/group/<vm> says so.
 *  4. While that file is there, only the cluster's own answer tells what there is of the vm's group: without it nobody
 *     can say that a checkpoint or a reference point is gone.  It goes when the group is found to be the host's, or to
 *     be no more.
 */
#define NOTE_HEAD "varve-group 1\n"

static const char *const group_names[] = {"CollectionID", "ElementName", NULL};

void
collection_place_release(struct collection_place *p)
{
    wmi_object_release(&p->group);
    memset(p, 0, sizeof(*p));
}

/* ---- the file ---- */

static enum varve_err
note_path(struct refpoint *r, const struct guid *vm, char **dir, char **path,
          struct varve_error *err)
{
    char name[GUID_TEXT_SIZE];
    enum varve_err rc = path_join(dir, r->state_dir, "group", err);

    guid_format(vm, name);
    return rc == VARVE_OK ? path_join(path, *dir, name, err) : rc;
}

/* That it is there is what counts; the text is for people. */
static enum varve_err
write_note(struct refpoint *r, const char *dir, const char *path, const struct wmi_object *group,
           struct varve_error *err)
{
    char text[512];
    int len = snprintf(text, sizeof(text), NOTE_HEAD "namespace cluster\ngroup %.200s\nend\n",
                       wmi_text_or(group, "CollectionID", ""));
    enum varve_err rc = fs_mkdir_durable(r->fs, dir, err);

    return rc == VARVE_OK ? fs_write_durable(r->fs, path, text, (size_t)len, false, err) : rc;
}

/* The vm's group stands in the cluster (NULL: it does not), which is known already, or not. */
static enum varve_err
remember(struct refpoint *r, const struct guid *vm, const struct wmi_object *group, bool known,
         struct varve_error *err)
{
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = VARVE_OK;

    if (known == (group != NULL)) {
        return VARVE_OK;
    }
    rc = note_path(r, vm, &dir, &path, err);
    if (rc == VARVE_OK) {
        rc = group != NULL ? write_note(r, dir, path, group, err) : fs_remove(r->fs, path, err);
    }
    free(dir);
    free(path);
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

static enum varve_err
is_remembered(struct refpoint *r, const struct guid *vm, bool *out, struct varve_error *err)
{
    struct file_stat st;
    char *dir = NULL;
    char *path = NULL;
    enum varve_err rc = note_path(r, vm, &dir, &path, err);

    if (rc == VARVE_OK) {
        rc = fs_stat(r->fs, path, &st, err);
    }
    *out = rc == VARVE_OK;
    free(dir);
    free(path);
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

/* ---- asking ---- */

static enum varve_err
groups_of_path(struct wmi *w, const char *vm_path, struct wmi_objects *out, struct varve_error *err)
{
    return wmi_associators(w, vm_path, "Msvm_CollectedVirtualSystems",
                           "Msvm_VirtualSystemCollection", group_names, out, err);
}

/* VARVE_ERR_NOT_FOUND when the vm is none of the cluster's. */
static enum varve_err
ask_cluster(struct refpoint *r, const struct guid *vm, struct wmi_objects *out,
            struct varve_error *err)
{
    struct collection *g = (struct collection *)r;
    struct wmi_object machine = {0};
    bool reached;
    enum varve_err rc = VARVE_OK;

    mutex_lock(&g->lock);
    reached = g->reached;
    mutex_unlock(&g->lock);
    if (!reached) {
        rc = r->cluster.port->ops->connect(r->cluster.port, err);
    }
    if (rc == VARVE_OK && !reached) {
        mutex_lock(&g->lock);
        g->reached = true;
        mutex_unlock(&g->lock);
    }
    if (rc == VARVE_OK) {
        rc = refpoint_vm_in(&r->cluster, vm, &machine, err);
    }
    if (rc == VARVE_OK) {
        rc = groups_of_path(&r->cluster, machine.path, out, err);
        wmi_object_release(&machine);
    }
    return rc;
}

static enum varve_err
shares_set(struct refpoint *r, const char *vm_path, bool *out, struct varve_error *err)
{
    struct wmi_object settings = {0};
    struct wmi_objects disks = {0};
    size_t i;
    enum varve_err rc = refpoint_settings(r, vm_path, &settings, err);

    *out = false;
    if (rc == VARVE_OK) {
        rc = refpoint_disks(r, settings.path, &disks, err);
    }
    for (i = 0; rc == VARVE_OK && i < disks.count; i++) {
        *out = *out || refpoint_is_set(wmi_text_at(&disks.items[i], "HostResource", 0));
    }
    wmi_object_release(&settings);
    wmi_objects_release(&disks);
    return rc;
}

/* The cluster's groups of the vm, if it is to be asked; *blind: why they are not known, and *out is empty then. */
static enum varve_err
look_in_cluster(struct refpoint *r, const struct guid *vm, const char *vm_path, bool remembered,
                struct wmi_objects *out, struct varve_error *blind, struct varve_error *err)
{
    bool wanted = remembered;
    enum varve_err rc = VARVE_OK;

    if (r->cluster.port != NULL && !wanted) {
        rc = shares_set(r, vm_path, &wanted, err);
    }
    if (rc != VARVE_OK || !wanted) {
        return rc;
    }
    if (r->cluster.port == NULL) {
        (void)varve_error_set(blind, VARVE_ERR_BUSY, "this agent does not ask the cluster");
        return VARVE_OK;
    }
    rc = ask_cluster(r, vm, out, blind);
    if (rc == VARVE_ERR_NOT_FOUND || (wmi_no_namespace(blind) && !remembered)) {
        rc = VARVE_OK;
    } else if (rc != VARVE_OK && wmi_no_namespace(blind)) {
        /* Not for good, as far as is known: worth waiting for, and no reason to say that nothing is there. */
        (void)varve_error_set(blind, VARVE_ERR_BUSY,
                              "the vm's group stood in the cluster's namespace, and this host has "
                              "none now (if it has left the cluster for good, remove the file of "
                              "this vm in '%.60s/group')",
                              r->state_dir);
    }
    if (rc == VARVE_OK) {
        memset(blind, 0, sizeof(*blind));
        return VARVE_OK;
    }
    (void)varve_error_prefix(blind, "vm groups of the cluster");
    return VARVE_OK;
}

/* ---- which of them it is ---- */

static enum varve_err
count_members(struct wmi *w, const struct wmi_object *group, size_t *out, struct varve_error *err)
{
    static const char *const names[] = {"Name", NULL};
    struct wmi_objects members = {0};
    enum varve_err rc = wmi_associators(w, group->path, "Msvm_CollectedVirtualSystems",
                                        "Msvm_ComputerSystem", names, &members, err);

    *out = members.count;
    wmi_objects_release(&members);
    return rc;
}

static bool
is_same(const struct wmi_object *a, const struct wmi_object *b)
{
    const char *x = wmi_text_or(a, "CollectionID", "");
    const char *y = wmi_text_or(b, "CollectionID", "");
    struct guid left;
    struct guid right;

    return guid_parse(&left, x) && guid_parse(&right, y) ? guid_equal(&left, &right)
                                                         : strcmp(x, y) == 0;
}

/* All groups, each once. */
static size_t
count_groups(const struct wmi_objects *host, const struct wmi_objects *cluster)
{
    size_t n = host->count;
    size_t i;
    size_t k;

    for (i = 0; i < cluster->count; i++) {
        for (k = 0; k < host->count && !is_same(&cluster->items[i], &host->items[k]); k++) {
        }
        n += k == host->count ? 1 : 0;
    }
    return n;
}

/* A group that stands in both is asked where it has more members; the host is nearer.  Where it was asked before it may
 * have moments of ours. */
static enum varve_err
choose(struct refpoint *r, const struct wmi_objects *host, const struct wmi_objects *cluster,
       bool remembered, bool *in_cluster, struct varve_error *err)
{
    size_t here = 0;
    size_t there = 0;
    enum varve_err rc = VARVE_OK;

    *in_cluster = host->count == 0 || (remembered && cluster->count > 0);
    if (!*in_cluster && cluster->count > 0) {
        rc = count_members(&r->wmi, &host->items[0], &here, err);
        if (rc == VARVE_OK) {
            rc = count_members(&r->cluster, &cluster->items[0], &there, err);
        }
        *in_cluster = there > here;
    }
    return rc;
}

static enum varve_err
pick(struct refpoint *r, struct wmi_objects *host, struct wmi_objects *cluster, bool remembered,
     struct collection_place *p, struct varve_error *err)
{
    size_t count = count_groups(host, cluster);
    struct wmi_objects *from;
    bool in_cluster = false;
    enum varve_err rc = VARVE_OK;

    if (count == 0) {
        rc =
            varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                            "the vm shares a VHD set and is in no vm group: a checkpoint needs all "
                            "nodes of the guest cluster in one (New-VMGroup, Add-VMGroupMember)");
    } else if (count > 1) {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                             "the vm is in %zu vm groups; which one has the nodes of its guest "
                             "cluster cannot be told",
                             count);
    } else {
        rc = choose(r, host, cluster, remembered, &in_cluster, err);
    }
    if (rc == VARVE_OK) {
        from = in_cluster ? cluster : host;
        p->space = in_cluster ? &r->cluster : &r->wmi;
        p->cluster = in_cluster;
        p->group = from->items[0];
        memset(&from->items[0], 0, sizeof(from->items[0]));
    }
    return rc;
}

enum varve_err
collection_find_place(struct refpoint *r, const struct guid *vm, struct collection_place *out,
                      struct varve_error *err)
{
    struct collection_place p = {0};
    struct wmi_object machine = {0};
    struct wmi_objects host = {0};
    struct wmi_objects cluster = {0};
    bool remembered = false;
    bool none = false;
    enum varve_err rc = refpoint_vm(r, vm, &machine, err);

    memset(out, 0, sizeof(*out));
    if (rc == VARVE_OK) {
        rc = groups_of_path(&r->wmi, machine.path, &host, err);
    }
    if (rc == VARVE_OK) {
        rc = is_remembered(r, vm, &remembered, err);
    }
    if (rc == VARVE_OK) {
        rc = look_in_cluster(r, vm, machine.path, remembered, &cluster, &p.blind, err);
    }
    if (rc == VARVE_OK && p.blind.code != VARVE_OK && (remembered || host.count == 0)) {
        *err = p.blind;
        rc = err->code;
    } else if (rc == VARVE_OK) {
        none = count_groups(&host, &cluster) == 0;
        rc = pick(r, &host, &cluster, remembered, &p, err);
    }
    if (rc == VARVE_OK || none) { /* several are nobody's: what is known stays */
        struct varve_error why;
        enum varve_err kept = remember(r, vm, p.cluster ? &p.group : NULL, remembered, &why);

        if (kept != VARVE_OK) {
            *err = why;
            rc = kept;
        }
    }
    out->blind = p.blind;
    if (rc == VARVE_OK) {
        *out = p;
        memset(&p.group, 0, sizeof(p.group));
    }
    wmi_object_release(&p.group);
    wmi_object_release(&machine);
    wmi_objects_release(&host);
    wmi_objects_release(&cluster);
    return rc;
}
