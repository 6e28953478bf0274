/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STATE_STATE_H
#define VARVE_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "os/file.h"
#include "state/inventory.h"
#include "state/run_info.h"

/*
 * What a collector must remember that is not backup data: hosts and their keys, invitations, the
 * last inventory of each host, the history of runs.  One SQLite file, mode 0600, WAL, synchronous
 * FULL: when a call that changes something has returned VARVE_OK, the change survives a power cut
 * (state_host_seen() excepted: it may be lost, nothing depends on it).
 *
 * The one-time secret of an invitation lies in the file until it is spent, replaced or expired;
 * then its row is overwritten with zeros and the log is cut, so that no copy stays behind.
 *
 * One process at a time: a second one gets VARVE_ERR_BUSY.
 * Threads: any; calls take turns.
 */
struct state;

#define STATE_SECRET_SIZE 32u
#define STATE_KEY_SIZE    32u
#define STATE_NAME_MAX    63u /* characters of a host's name: [A-Za-z0-9._-] */

/*
 * Makes the file when it is not there.  VARVE_ERR_CORRUPT (damaged; the message says the way out),
 * VARVE_ERR_UNSUPPORTED (written by a newer version), VARVE_ERR_BUSY.
 */
VARVE_CHECK enum varve_err state_open(struct state **out, struct fs *fs, const char *path,
                                      struct varve_error *err);
void state_close(struct state *st); /* NULL is fine */

/* ---- a copy of it ---- */

/*
 * How much was changed since it was opened; to be compared with an earlier answer.  vital: of hosts that are enrolled, of
 * tenants and quotas, which nobody else knows.
 */
struct state_changes {
    int64_t all;
    uint64_t vital;
};
void state_changes(struct state *st, struct state_changes *out);

/*
 * The bytes of a whole SQLite file with what stood there at one moment, but without open invitations (their secrets) and the
 * hosts that wait for them, and of the runs that have ended with the newest STATE_IMAGE_RUNS only.  Calls wait for the
 * moment in which its pages are copied in memory.  A file that has rotted gives none: VARVE_ERR_CORRUPT.
 */
#define STATE_IMAGE_RUNS 4096u

struct state_image {
    uint8_t *bytes; /* state_image_release() */
    size_t len;
    uint64_t hosts; /* that are enrolled */
    uint64_t known; /* these, and those that were revoked */
    struct state_changes at;
};
VARVE_CHECK enum varve_err state_image(struct state *st, struct state_image *out,
                                       struct varve_error *err);
void state_image_release(struct state_image *image);
/* Are these bytes such a file?  As state_open() answers; nothing is written.  name: for messages. */
VARVE_CHECK enum varve_err state_image_check(const char *name, const uint8_t *bytes, size_t len,
                                             uint64_t *hosts, struct varve_error *err);

/* ---- hosts ---- */

enum host_state { HOST_INVITED = 1, HOST_ENROLLED = 2, HOST_REVOKED = 3 }; /* numbers are on disk */

struct host {
    struct guid id;
    struct guid tenant; /* zero: the default */
    char *name;
    enum host_state state;
    uint8_t public_key[STATE_KEY_SIZE]; /* zero until enrolled */
    char *address;                      /* of the last connection */
    char *software;
    char *system;
    char *provider;
    int64_t enrolled_at_us;
    int64_t last_seen_us;
    int64_t invite_expires_us; /* 0: no invitation is open */
};

void host_release(struct host *h);
void host_list_free(struct host *hosts, size_t count);
const char *host_state_name(enum host_state state);

/*
 * Makes a host that waits for its agent.  An open invitation of the same name is replaced; a host
 * enrolled under that name is VARVE_ERR_EXISTS.  Names differ in more than case.
 */
VARVE_CHECK enum varve_err state_host_invite(struct state *st, const char *name, int64_t now_us,
                                             int64_t expires_us, const uint8_t secret_id[16],
                                             const uint8_t secret[STATE_SECRET_SIZE],
                                             struct guid *host, struct varve_error *err);
/* The secret of an open invitation; VARVE_ERR_NOT_FOUND when unknown, spent or expired. */
VARVE_CHECK enum varve_err state_invitation_secret(struct state *st, const uint8_t secret_id[16],
                                                   int64_t now_us,
                                                   uint8_t secret[STATE_SECRET_SIZE],
                                                   struct varve_error *err);
/*
 * Spends the invitation: binds the key to its host.  VARVE_ERR_NOT_FOUND: it was spent or expired
 * meanwhile; VARVE_ERR_EXISTS: the key belongs to another host that is not revoked.
 */
VARVE_CHECK enum varve_err state_host_enrol(struct state *st, const uint8_t secret_id[16],
                                            const uint8_t public_key[STATE_KEY_SIZE],
                                            int64_t now_us, struct host *out,
                                            struct varve_error *err);
/* The host that is enrolled with this key; revoked: VARVE_ERR_DENIED; unknown: NOT_FOUND. */
VARVE_CHECK enum varve_err state_host_by_key(struct state *st,
                                             const uint8_t public_key[STATE_KEY_SIZE],
                                             struct host *out, struct varve_error *err);
VARVE_CHECK enum varve_err state_host_get(struct state *st, const struct guid *id, struct host *out,
                                          struct varve_error *err);
/* By name (any case) or by at least 4 first characters of the id; revoked hosts only by id.
 * VARVE_ERR_NOT_FOUND, or VARVE_ERR_INVALID with the candidates named. */
VARVE_CHECK enum varve_err state_host_select(struct state *st, const char *selector,
                                             struct host *out, struct varve_error *err);
VARVE_CHECK enum varve_err state_host_list(struct state *st, struct host **out, size_t *count,
                                           struct varve_error *err);
/* Its key is refused from now on; an open invitation is wiped.  Twice is fine. */
VARVE_CHECK enum varve_err state_host_revoke(struct state *st, const struct guid *id,
                                             struct varve_error *err);
/* What is NULL stays as it is. */
VARVE_CHECK enum varve_err state_host_seen(struct state *st, const struct guid *id,
                                           const char *address, const char *software,
                                           const char *system, int64_t now_us,
                                           struct varve_error *err);
/* Wipes invitations that have expired and hosts that never were more than that. */
VARVE_CHECK enum varve_err state_expire(struct state *st, int64_t now_us, struct varve_error *err);

/* ---- tenants ---- */

/*
 * Those whose backups must not learn of each other.  A tenant's id is that of its dedup domain
 * (store/chunk_store.h); a host belongs to one, its vms follow it.  The default tenant has the id zero
 * and the name "default", and is always there.
 */
#define TENANT_DEFAULT_NAME "default"

struct tenant {
    struct guid id;
    char *name;
    int64_t created_at_us;
};

void tenant_release(struct tenant *t);
void tenant_list_free(struct tenant *tenants, size_t count);

/* VARVE_ERR_EXISTS: the name or the id is taken. */
VARVE_CHECK enum varve_err state_tenant_add(struct state *st, const struct guid *id,
                                            const char *name, int64_t now_us,
                                            struct varve_error *err);
/* By name, any case.  VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err state_tenant_select(struct state *st, const char *name,
                                               struct tenant *out, struct varve_error *err);
/* By name; the default first. */
VARVE_CHECK enum varve_err state_tenant_list(struct state *st, struct tenant **out, size_t *count,
                                             struct varve_error *err);
/* VARVE_ERR_BUSY: it has hosts that are not revoked. */
VARVE_CHECK enum varve_err state_tenant_remove(struct state *st, const struct guid *id,
                                               struct varve_error *err);
/*
 * The host belongs to the tenant from now on.  Its vms are forgotten: as vms of another tenant they have other
 * ids and begin with their first point.  The caller ends the host's session and runs.
 */
VARVE_CHECK enum varve_err state_host_set_tenant(struct state *st, const struct guid *host,
                                                 const struct guid *tenant,
                                                 struct varve_error *err);

/*
 * The id under which the collector knows a vm.  In the default tenant it is the one that the host's
 * hypervisor gave; in another one it is derived from that and the tenant, as a GUID of version 8, so that one
 * tenant's host cannot name another's vm whatever ids it claims.
 */
void state_vm_id(const struct guid *tenant, const struct guid *native, struct guid *out);
/* Is it one that only state_vm_id() makes? */
bool state_vm_id_is_derived(const struct guid *id);

/* ---- quotas ---- */

/* On disk; 0: no limit. */
enum quota_scope { QUOTA_HOST = 1, QUOTA_TENANT = 2 };
struct quota {
    enum quota_scope scope;
    struct guid id;   /* of the host or the tenant */
    uint64_t logical; /* bytes: virtual sizes of the disks of protected vms */
    uint64_t stored;  /* bytes: packed, brought and kept */
    uint64_t daily;   /* bytes: packed, sent in one UTC day of the collector */
    uint64_t vms;     /* protected */
    uint64_t runs;    /* at a time */
};
/* What a host has sent on a day as one of a tenant's. */
struct quota_usage {
    struct guid host;
    struct guid tenant;
    int64_t day; /* since 1970 */
    uint64_t taken;
};
/* All that was ever sent for points of a vm. */
struct vm_usage {
    struct guid vm;
    uint64_t sent;
};
/* All zero: the row goes. */
VARVE_CHECK enum varve_err state_quota_put(struct state *st, const struct quota *q,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err state_quota_list(struct state *st, struct quota **out, size_t *count,
                                            struct varve_error *err);
VARVE_CHECK enum varve_err state_usage_put(struct state *st, const struct quota_usage *u,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err state_usage_list(struct state *st, struct quota_usage **out,
                                            size_t *count, struct varve_error *err);
VARVE_CHECK enum varve_err state_vm_usage_put(struct state *st, const struct vm_usage *u,
                                              struct varve_error *err);
VARVE_CHECK enum varve_err state_vm_usage_list(struct state *st, struct vm_usage **out,
                                               size_t *count, struct varve_error *err);

/* ---- vms ---- */

/*
 * The host's whole list, with the ids of its hypervisor, replaces the last one.  A vm that cannot be kept
 * apart from another tenant's is left out and logged.  Lists are put in order by now_us, which is moved
 * forward when a clock went back.
 */
VARVE_CHECK enum varve_err state_inventory_set(struct state *st, const struct guid *host,
                                               const struct inventory *inv, int64_t now_us,
                                               struct varve_error *err);

struct vm_row {
    struct inv_vm vm; /* id: the collector's; native: the host's */
    struct guid host;
    struct guid tenant; /* the host's */
    char *host_name;
    bool present;   /* in the last inventory of that host */
    bool connected; /* what the callback of state_vm_list() said */
    bool
        contested; /* a connected host has listed the vm, and not been heard of since this one did */
    int64_t claimed_us; /* the host has listed it ever since */
    int64_t listed_us;  /* the host's last list that named it */
};

/*
 * Every vm once, by name, on the host whose it is.  Of several hosts that list a vm a connected one
 * goes before one that is not.  Then the newest list counts: a host that has not repeated its list
 * since another one began to name the vm has lost it, until it does.  Of those that have, the one that
 * has listed it longest keeps it: nobody takes a vm over from a host that still has it.  Revoked hosts
 * have none.  connected: NULL = nobody is.
 */
VARVE_CHECK enum varve_err state_vm_list(struct state *st,
                                         bool (*connected)(void *arg, const struct guid *host),
                                         void *arg, struct vm_row **out, size_t *count,
                                         struct varve_error *err);
/* The row of one vm in that list; vm_row_release() it.  VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err state_vm_owner(struct state *st, const struct guid *vm,
                                          bool (*connected)(void *arg, const struct guid *host),
                                          void *arg, struct vm_row *out, struct varve_error *err);
void vm_row_release(struct vm_row *row);
void vm_list_free(struct vm_row *rows, size_t count);
/* The row that a selector means: name (any case) or at least 4 first characters of the id.
 * VARVE_ERR_NOT_FOUND, or VARVE_ERR_INVALID with the candidates named. */
VARVE_CHECK enum varve_err vm_list_select(const struct vm_row *rows, size_t count,
                                          const char *selector, size_t *out,
                                          struct varve_error *err);

/* ---- traces ---- */

/*
 * What a run may have left on its vm, told by the host before it does it, so that another host can
 * clean up when the vm has moved there.  All texts are the hypervisor's own ids.
 */
#define TRACE_IDS_MAX     1024u
#define TRACES_PER_VM_MAX 64u

struct trace_ids {
    char **ids;
    size_t count;
};

struct trace {
    struct guid run;
    struct guid vm;
    struct guid host;       /* who sees to it; zero: nobody */
    int64_t at_us;          /* of the last change */
    char *checkpoint;       /* "": not known yet */
    bool keep_tried;        /* a reference point may have been made */
    struct trace_ids marks; /* reference points that stood on the vm before the run */
    struct trace_ids kept;  /* those of them that are ours */
    int64_t begun_us; /* a checkpoint without its name is younger (host's clock); 0: all have it */
    struct trace_ids before; /* and none of these */
};

void trace_list_free(struct trace *traces, size_t count);
/* Inserts or replaces; the oldest ones of a vm that has too many go. */
VARVE_CHECK enum varve_err state_trace_put(struct state *st, const struct trace *t,
                                           struct varve_error *err);
/* Another host sees to it, or (zero) nobody; only while `from` does.  None is fine. */
VARVE_CHECK enum varve_err state_trace_pass(struct state *st, const struct guid *run,
                                            const struct guid *from, const struct guid *to,
                                            struct varve_error *err);
/* The host has cleaned up; only what `host` sees to goes. */
VARVE_CHECK enum varve_err state_trace_remove(struct state *st, const struct guid *run,
                                              const struct guid *host, struct varve_error *err);
/* Oldest first. */
VARVE_CHECK enum varve_err state_trace_list(struct state *st, struct trace **out, size_t *count,
                                            struct varve_error *err);

/* ---- history of runs ---- */

/* Inserts or replaces the record of info->id; one that has ended stays as it is. */
VARVE_CHECK enum varve_err state_run_put(struct state *st, const struct run_info *info,
                                         struct varve_error *err);
/* Newest first, at most max; unfinished_only: those that no one has ended, as a collector that died
 * leaves them. */
VARVE_CHECK enum varve_err state_run_list(struct state *st, bool unfinished_only, size_t max,
                                          struct run_info **out, size_t *count,
                                          struct varve_error *err);

#endif
