/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_POLICY_H
#define VARVE_GC_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "catalog/catalog.h"
#include "catalog/catalog_marks.h"

/*
 * How long points are kept: named policies, which vm has which, and the policy of all others.
 *
 * They live in the store, as one sealed create-only object "policy/<revision>" that holds all of
 * them: the highest readable revision counts, older ones are removed after it is durable
 * (docs/format/store.md section 14).  So a collector that lost its state keeps to them.  Without
 * a policy nothing is ever deleted.
 *
 * A policy may also order how its vms are to be frozen; what the word means is the host's to know.
 *
 * Threads: policy_set is a value; load and save take turns by the caller's doing.
 */
#define POLICY_NAME_MAX    63u
#define POLICY_METHOD_MAX  15u
#define POLICIES_MAX       256u
#define POLICY_VMS_MAX     65536u
#define POLICY_RECORD_MAX  (8u * 1024 * 1024)
#define POLICY_KEEP_MAX    100000u
#define POLICY_WINDOW_DAYS 7u /* undelete window unless said otherwise */

struct policy {
    char name[POLICY_NAME_MAX + 1]; /* [A-Za-z0-9._-] */
    uint32_t last;
    uint32_t hourly;
    uint32_t daily;
    uint32_t weekly;
    uint32_t monthly;
    uint32_t yearly;
    uint32_t window_hours; /* a point that retention deletes can be undeleted for so long */
    char method[POLICY_METHOD_MAX + 1]; /* "": none is ordered */
};

struct policy_vm {
    struct guid vm;
    char policy[POLICY_NAME_MAX + 1];
};

struct policy_set {
    struct policy *policies;
    size_t count;
    struct policy_vm *vms;
    size_t vm_count;
    char fallback[POLICY_NAME_MAX + 1]; /* policy of vms that have none of their own; "": none */
};
void policy_set_release(struct policy_set *s);
VARVE_CHECK enum varve_err policy_set_copy(struct policy_set *out, const struct policy_set *s,
                                           struct varve_error *err);

/* Nothing there: an empty set.  A newest one that cannot be read is an error, never an older one. */
VARVE_CHECK enum varve_err policy_load(struct chunk_store *cs, struct policy_set *out,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err policy_save(struct chunk_store *cs, const struct policy_set *s,
                                       struct varve_error *err);

/* A method that could be one: "" (none), or [a-z0-9-] of at most POLICY_METHOD_MAX.  Else VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err policy_check_method(const char *method, struct varve_error *err);
/* Adds or replaces.  A policy that keeps nothing, or whose name is none: VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err policy_put(struct policy_set *s, const struct policy *p,
                                      struct varve_error *err);
/* One that is in use: VARVE_ERR_DENIED. */
VARVE_CHECK enum varve_err policy_remove(struct policy_set *s, const char *name,
                                         struct varve_error *err);
/* vm NULL: all that have none of their own.  name "": none.  Unknown: VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err policy_assign(struct policy_set *s, const struct guid *vm,
                                         const char *name, struct varve_error *err);
const struct policy *policy_find(const struct policy_set *s, const char *name); /* or NULL */
const struct policy *policy_of(const struct policy_set *s, const struct guid *vm);

/* Bytes; for tests and fuzzing. */
struct buf;
VARVE_CHECK enum varve_err policy_encode(const struct policy_set *s, struct buf *out,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err policy_decode(struct policy_set *out, const void *data, size_t len,
                                         struct varve_error *err);

/* ---- what a policy says about the points of one vm ---- */

struct verdict {
    const struct point *point;
    bool keep;
    char reason[160];
};

/*
 * points: of one vm, newest first (by number).  A rule keeps the newest point of each of the last N
 * hours, days, weeks (from Monday), months, years that have one, by the collector's time of publishing,
 * in UTC.  Kept in any case: the newest point, held and locked ones, and everything when policy is
 * NULL.  marks[i] are those of points[i].  out has count places.
 *
 * hit[i] (NULL: none): points[i] is known to be damaged.  Such a point is kept as any other, because the next
 * backup may heal it, and does not count: the rules keep as many whole points besides, and the newest whole
 * point stays whatever they say.
 */
void retention_judge(const struct policy *policy, struct point *const *points,
                     const struct catalog_marks *marks, const bool *hit, size_t count,
                     int64_t now_us, struct verdict *out);

#endif
