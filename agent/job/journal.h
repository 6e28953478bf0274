/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_JOB_JOURNAL_H
#define VARVE_JOB_JOURNAL_H

#include "base/error.h"
#include "base/guid.h"
#include "capture/capture.h"
#include "os/file.h"

/*
 * What the agent has begun on the host and not finished, so that it is finished or undone after
 * whatever ends the agent.  docs/format/journal.md states the bytes.
 *
 * One small file per run, written anew and whole at each step, always before the step: the file says
 * what may have happened.  A second kind of file, one per vm, lists the reference points that we
 * made and have not destroyed; it outlives runs.
 *
 * State            may exist on the host                        left by
 * FREEZING         a checkpoint with the run's id               the checkpoint's id is known
 * FROZEN           the checkpoint                               each disk's way of reading is settled
 * READING          the checkpoint                               all disks were sent
 * KEEPING          the checkpoint, or a new reference point     the new reference point's id is known
 * COMMITTING       the new reference point (if any), the old    the collector answered
 * COMMITTED        the same                                     the old one is gone, the chain merged
 * UNDOING          whatever the state before had                nothing of this run is left
 *
 * Threads: one per entry; different entries at the same time.
 */
#define JOURNAL_FILE_MAX (1024u * 1024)

enum journal_state {
    JOURNAL_FREEZING = 1,
    JOURNAL_FROZEN,
    JOURNAL_READING,
    JOURNAL_KEEPING,
    JOURNAL_COMMITTING,
    JOURNAL_COMMITTED,
    JOURNAL_UNDOING
};

const char *journal_state_name(enum journal_state state);

/* A disk of the point that the run builds on. */
struct journal_base {
    struct guid id;
    uint64_t size;
    char change_id[CAPTURE_ID_MAX]; /* "" none */
};

/* How a disk of the run is read; in the order of its index on the wire. */
struct journal_disk {
    struct guid id;
    char since[CAPTURE_ID_MAX]; /* change id; "": all of it */
    char reason[128];           /* why all of it */
};

/* A disk that is not read, because another vm's points hold it. */
struct journal_skip {
    struct guid id;
    char reason[128];
};

struct journal_entry {
    struct guid run;
    struct guid vm;
    enum journal_state state;
    bool full;
    bool keep_tried; /* KEEPING was reached: a reference point may be there even while UNDOING */
    /*
     * Another host began the run, and the vm is here now: only COMMITTED or UNDOING.  The checkpoint is
     * ours by the run's id alone; `ours` go when the run is a point.
     */
    bool foreign;
    struct capture_way way;             /* name "": the capture has but one */
    char base_refpoint[CAPTURE_ID_MAX]; /* the one kept with the last point, or "" */
    char checkpoint[CAPTURE_ID_MAX];
    char refpoint[CAPTURE_ID_MAX];
    struct guid point;
    enum varve_err failure; /* VARVE_OK: none */
    char failure_text[240];
    struct capture_marks marks;
    struct capture_marks ours; /* foreign: reference points of ours from before the run */
    struct capture_note note;  /* foreign: by what a checkpoint without its name is known */
    struct journal_base *base;
    size_t base_count;
    struct journal_disk *disks;
    size_t disk_count;
    struct journal_skip *skips;
    size_t skip_count;
};

void journal_entry_release(struct journal_entry *e);

/* The folder <state-dir>/journal. */
VARVE_CHECK enum varve_err journal_write(struct fs *fs, const char *state_dir,
                                         const struct journal_entry *e, struct varve_error *err);
VARVE_CHECK enum varve_err journal_remove(struct fs *fs, const char *state_dir,
                                          const struct guid *run, struct varve_error *err);
/* VARVE_ERR_CORRUPT names the file. */
VARVE_CHECK enum varve_err journal_read(struct fs *fs, const char *state_dir,
                                        const struct guid *run, struct journal_entry *out,
                                        struct varve_error *err);
/* The runs that have an entry; *runs is the caller's to free(). */
VARVE_CHECK enum varve_err journal_list(struct fs *fs, const char *state_dir, struct guid **runs,
                                        size_t *count, struct varve_error *err);

/* Text to entry; for the reader and for fuzzing. */
VARVE_CHECK enum varve_err journal_parse(struct journal_entry *out, const uint8_t *text, size_t len,
                                         struct varve_error *err);

/* Reference points of ours on a vm: <state-dir>/kept/<vm>.  No file is an empty list. */
VARVE_CHECK enum varve_err kept_read(struct fs *fs, const char *state_dir, const struct guid *vm,
                                     struct capture_marks *out, struct varve_error *err);
VARVE_CHECK enum varve_err kept_write(struct fs *fs, const char *state_dir, const struct guid *vm,
                                      const struct capture_marks *list, struct varve_error *err);
VARVE_CHECK enum varve_err kept_parse(struct capture_marks *out, const uint8_t *text, size_t len,
                                      struct varve_error *err);

#endif
