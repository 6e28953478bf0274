/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OS_FILE_FAULT_H
#define VARVE_OS_FILE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * A wrapper over any struct fs that counts calls and spoils chosen ones.  For tests only; linked
 * from varve_os_fault.  Without a rule it only passes calls on.  The power-cut model underneath, and how
 * the two are used together: file_mem.h.
 *
 * Threads: everything may be called at the same time; with several threads "the n-th call" is the
 * n-th in the order in which they arrive.
 */
struct fault_fs;

/* Which calls; flags. */
enum fault_op {
    FAULT_OPEN = 1 << 0,   /* file_open() of a file that must exist */
    FAULT_CREATE = 1 << 1, /* file_open(FILE_CREATE_NEW) */
    FAULT_READ = 1 << 2,
    FAULT_WRITE = 1 << 3,
    FAULT_SYNC = 1 << 4,
    FAULT_TRUNCATE = 1 << 5, /* file_allocate() too */
    FAULT_STAT = 1 << 6,     /* by name and by file */
    FAULT_RENAME = 1 << 7,   /* both kinds */
    FAULT_REMOVE = 1 << 8,
    FAULT_MKDIR = 1 << 9,
    FAULT_SYNC_DIR = 1 << 10, /* fs_sync_dirs() too */
    FAULT_LIST = 1 << 11,
    FAULT_FREE_BYTES = 1 << 12
};

/* All calls that change what is on disk or what is durable. */
#define FAULT_CHANGES                                                                              \
    ((unsigned)FAULT_CREATE | FAULT_WRITE | FAULT_SYNC | FAULT_TRUNCATE | FAULT_RENAME |           \
     FAULT_REMOVE | FAULT_MKDIR | FAULT_SYNC_DIR)
#define FAULT_ALL 0x1FFFu

enum fault_action {
    /* The call fails with errnum and has done nothing.  A failed sync over a mem_fs also forgets the
     * dirty pages, as Linux does: a later sync that succeeds does not save them. */
    FAULT_FAIL = 1,
    /* As FAULT_FAIL, but the call has done its work, or, a write, the first half of it. */
    FAULT_FAIL_AFTER = 2,
    /* From this call on the machine is without power: this call still happens unless it is a sync
     * (what is not synced is kept or lost by mem_fs_power_cut() anyway), and it and every later
     * call, of whatever kind, fails with EIO. */
    FAULT_CUT = 3
};

struct fault_rule {
    unsigned ops;          /* enum fault_op flags; a call that matches is counted */
    const char *path_part; /* only paths that contain this; NULL: all.  Copied.  Either name of a
                              rename may contain it */
    uint64_t nth;          /* the first matching call that is spoiled, counted from 1 */
    uint64_t times; /* how many matching calls are spoiled from there on; 0: all later ones */
    enum fault_action action;
    int errnum; /* EIO, ENOSPC, ...; 0: EIO */
};

/* Borrows inner until fault_fs_free(). */
VARVE_CHECK enum varve_err fault_fs_new(struct fault_fs **out, struct fs *inner,
                                        struct varve_error *err);
/* Every file is closed before.  NULL is fine. */
void fault_fs_free(struct fault_fs *ff);
struct fs *fault_fs(struct fault_fs *ff);

/* Replaces the rule; counting starts again.  rule NULL: no rule, and the power is back. */
VARVE_CHECK enum varve_err fault_fs_set(struct fault_fs *ff, const struct fault_rule *rule,
                                        struct varve_error *err);
/* The rule for power-cut tests: FAULT_CUT at the n-th call of FAULT_CHANGES. */
void fault_fs_cut_at(struct fault_fs *ff, uint64_t nth);

/* cb is called on the thread and at the moment of a cut, before anything fails, for what is kept elsewhere and
 * must be caught as it is then.  It does not use this file system. */
void fault_fs_on_cut(struct fault_fs *ff, void (*cb)(void *arg), void *arg);
/* Calls that the rule has spoiled; after a cut, also those that found no power. */
uint64_t fault_fs_hits(struct fault_fs *ff);
/* FAULT_CUT has struck. */
bool fault_fs_is_cut(struct fault_fs *ff);
/* Calls of these kinds since fault_fs_new() or fault_fs_reset_counts(), spoiled ones included. */
uint64_t fault_fs_calls(struct fault_fs *ff, unsigned ops);
void fault_fs_reset_counts(struct fault_fs *ff);

#endif
