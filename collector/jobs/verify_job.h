/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOBS_VERIFY_JOB_H
#define VARVE_JOBS_VERIFY_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "store/chunk_store.h"

/*
 * Reads back what points stand on: their records, every manifest node, every chunk; decrypts,
 * unpacks and hashes each, and names exactly the points, disks and ranges that damage hits.
 *
 * First pass (name_walk.h): all selected points, each distinct node and chunk once (within VERIFY_SEEN_MAX
 * bytes of memory per kind; beyond that some are read more than once), on all processors, with many reads
 * under way, in manifest order, which is about the order of the packs.  Second pass, only when something is damaged: the manifests
 * again, without data, to find everywhere that each damaged name is used.
 *
 * Nothing is locked: backups, restores and other runs of this job go on.
 */
#define VERIFY_SEEN_MAX    (32u * 1024 * 1024)
#define VERIFY_DAMAGED_MAX 65536u /* distinct damaged names; more: the report says so and ends */

struct verify_problem {
    const struct point *point;
    const char *disk; /* name; "": the point's own record, offset and length are 0 */
    uint64_t offset;  /* in the disk, bytes */
    uint64_t length;
    struct varve_error error;
};

struct verify_progress {
    uint64_t points_done; /* read completely, in the first pass */
    uint64_t points_total;
    uint64_t bytes_done; /* unpacked bytes of nodes and chunks read and hashed */
};

/* How the job talks.  Both are called on the thread that runs the job. */
struct verify_sink {
    void *arg;
    /* At least twice a second and after each point.  False: stop (VARVE_ERR_CANCELLED). */
    bool (*progress)(void *arg, const struct verify_progress *p);
    /* Neighbouring ranges with the same code are one problem.  False: stop. */
    bool (*problem)(void *arg, const struct verify_problem *p);
};

/* threads 0: see name_walk.h.  VARVE_OK also when there were problems: the sink was told. */
VARVE_CHECK enum varve_err verify_job_run(struct chunk_store *cs, struct catalog *catalog,
                                          struct point *const *points, size_t count,
                                          unsigned threads, const struct verify_sink *sink,
                                          struct varve_error *err);

#endif
