/* SPDX-License-Identifier: Apache-2.0 */
#include "job/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "job/job_internal.h"

void
job_request_release(struct job_request *r)
{
    free(r->base);
    free(r->skips);
    memset(r, 0, sizeof(*r));
}

static void
job_init(struct job *j, const struct job_env *env, struct cancel *cancel, struct job_pulse *pulse)
{
    memset(j, 0, sizeof(*j));
    j->env = env;
    j->cancel = cancel;
    j->pulse = pulse;
}

static void
job_close(struct job *j)
{
    if (j->peer != NULL) {
        j->env->link.put(j->env->link.arg, j->peer);
    }
    if (j->has_frozen) {
        capture_frozen_release(&j->frozen);
    }
    if (j->has_kept) {
        capture_kept_release(&j->kept);
    }
    free(j->disks);
    capture_marks_release(&j->note.before);
    journal_entry_release(&j->entry);
}

static enum varve_err
check_cancel(const struct job *j, struct varve_error *err)
{
    return cancel_is_set(j->cancel) ? varve_error_set(err, VARVE_ERR_CANCELLED, "cancelled")
                                    : VARVE_OK;
}

/* ---- the steps ---- */

/* How the vm is frozen: as ordered, or said why that cannot be. */
static enum varve_err
choose(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct capture_way *way = &j->entry.way;

    if (c->ops->choose != NULL) {
        return c->ops->choose(c, &j->entry.vm, &j->entry.run, way, way, &j->notes, err);
    }
    if (way->name[0] != '\0' && strcmp(way->name, c->name) != 0 &&
        strcmp(way->name, CAPTURE_WAY_AUTO) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "method '%s' was ordered, but this host has only '%s'", way->name,
                               c->name);
    }
    memset(way, 0, sizeof(*way));
    return VARVE_OK;
}

static enum varve_err
freeze(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    enum varve_err rc = choose(j, err);

    if (rc == VARVE_OK) {
        rc = c->ops->marks(c, &j->entry.vm, &j->entry.marks, err);
    }
    if (rc == VARVE_OK) {
        rc = job_write(j, JOURNAL_FREEZING, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    job_progress(j, "freeze", NULL);
    if (c->ops->note != NULL) {
        rc = c->ops->note(c, &j->entry.vm, &j->note, err);
    }
    if (rc == VARVE_OK) {
        rc = job_trace(j, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = c->ops->begin(c, &j->entry.vm, &j->entry.run, j->cancel, &j->frozen, &j->notes, err);
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "freezing the vm");
    }
    j->has_frozen = true;
    j->note.begun_us = 0; /* it has its name */
    j->entry.way = j->frozen.way;
    job_leave_out(j);
    (void)snprintf(j->entry.checkpoint, sizeof(j->entry.checkpoint), "%s", j->frozen.checkpoint);
    rc = job_write(j, JOURNAL_FROZEN, err);
    if (rc == VARVE_OK && j->frozen.disk_count == 0) {
        rc =
            varve_error_set(err, VARVE_ERR_UNSUPPORTED, "the vm has no disk that can be backed up");
    }
    return rc;
}

/* Until every disk is with the collector, over as many connections as it takes. */
static enum varve_err
transfer(struct job *j, struct varve_error *err)
{
    enum varve_err rc;

    job_progress(j, "read", NULL);
    for (;;) {
        rc = job_send_disks(j, err);
        if (rc == VARVE_OK || !job_peer_lost(j)) {
            return rc;
        }
        rc = check_cancel(j, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        log_warn("job", "connection lost, the run goes on with the next one: %s", err->msg);
        rc = job_join(j, err);
        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "the run could not be resumed");
        }
    }
}

/* The data is good whether or not this works: without a reference point the next run reads all. */
static enum varve_err
keep(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct varve_error why;
    enum varve_err rc;

    if (!c->tracks) {
        return job_write(j, JOURNAL_COMMITTING, err);
    }
    if (j->frozen.keeps) {
        j->entry.keep_tried = true;
        rc = job_trace(j, err);
        if (rc == VARVE_OK) {
            rc = job_write(j, JOURNAL_KEEPING, err);
        }
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = c->ops->keep(c, &j->frozen, &j->entry.marks, j->cancel, &j->kept, &why);
        j->has_kept = rc == VARVE_OK;
        if (j->has_kept) {
            (void)snprintf(j->entry.refpoint, sizeof(j->entry.refpoint), "%s", j->kept.refpoint);
            rc = job_own(j, err);
            if (rc != VARVE_OK) {
                return rc;
            }
        } else if (!job_vm_is_here(j)) {
            /* Its next host can still ask what changed since the last point. */
            return varve_error_set(err, VARVE_ERR_NOT_FOUND, "%s", why.msg);
        } else {
            notes_add(&j->notes, "no reference point could be kept, the next run reads all: %s",
                      why.msg);
        }
    }
    if (!j->has_kept && job_drop_frozen(j, &why) != VARVE_OK) {
        log_warn("job", "the checkpoint is tried again after the commit: %s", why.msg);
    }
    return job_write(j, JOURNAL_COMMITTING, err);
}

static enum peer_consistency
wire_consistency(enum capture_consistency c)
{
    switch (c) {
    case CAPTURE_APPLICATION:
        return PEER_CONSISTENCY_APPLICATION;
    case CAPTURE_OFFLINE:
        return PEER_CONSISTENCY_OFFLINE;
    case CAPTURE_CRASH:
        break;
    }
    return PEER_CONSISTENCY_CRASH;
}

static enum varve_err
commit_once(struct job *j, const struct capture_files *files, struct varve_error *err)
{
    struct peer_commit_disk *disks = calloc(j->frozen.disk_count + 1, sizeof(*disks));
    struct job_files packed = {.count = 0};
    struct peer_commit commit = {
        .run = &j->entry.run,
        .frozen_at_us = j->frozen.frozen_at_us,
        .consistency = wire_consistency(j->frozen.consistency),
        .disks = disks,
        .disk_count = j->frozen.disk_count,
        .files = packed.items,
        .reference_point = j->entry.refpoint,
        .capture = capture_of(j->env->capture, &j->frozen)->name,
        .source = capture_of(j->env->capture, &j->frozen)->source,
        .reason = j->frozen.reason,
        .generation = j->frozen.generation,
    };
    struct peer_committed done;
    size_t i;
    enum varve_err rc;

    if (disks == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < j->frozen.disk_count; i++) {
        disks[i].disk = (uint32_t)i;
        disks[i].change_id = j->has_kept ? j->kept.change_ids[i] : "";
    }
    rc = job_files_pack(j, files, &packed, err);
    commit.file_count = packed.count;
    if (rc == VARVE_OK) {
        rc = j->peer->ops->commit(j->peer, &commit, &done, err);
    }
    job_files_release(&packed);
    free(disks);
    if (rc == VARVE_OK) {
        j->entry.point = done.point;
    }
    return rc;
}

/* Asked until the collector has answered: from here on only it knows whether there is a point. */
static enum varve_err
commit(struct job *j, const struct capture_files *files, struct varve_error *err)
{
    enum varve_err rc;

    job_progress(j, "commit", NULL);
    for (;;) {
        rc = commit_once(j, files, err);
        if (rc == VARVE_OK || !job_peer_lost(j)) {
            return rc;
        }
        log_warn("job", "connection lost while committing, asking again: %s", err->msg);
        rc = job_join(j, err);
        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "whether the run is a point could not be asked");
        }
        if (j->committed) {
            return VARVE_OK;
        }
    }
}

/* From a frozen vm to a point. */
static enum varve_err
send_and_commit(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    struct capture_files files = {0};
    enum varve_err rc;

    rc = job_plan_disks(j, err);
    if (rc == VARVE_OK) {
        rc = job_write(j, JOURNAL_READING, err);
    }
    if (rc == VARVE_OK) {
        rc = transfer(j, err);
    }
    if (rc == VARVE_OK) {
        rc = check_cancel(j, err);
    }
    if (rc == VARVE_OK) {
        rc = c->ops->files(c, &j->frozen, &files, err);
    }
    if (rc == VARVE_OK) {
        rc = keep(j, err);
    }
    if (rc == VARVE_OK) {
        rc = commit(j, &files, err);
    }
    capture_files_release(&files);
    return rc;
}

/* ---- ends ---- */

static enum varve_err
finish(struct job *j, struct varve_error *err)
{
    char point[GUID_TEXT_SIZE];
    enum varve_err rc;

    rc = job_write(j, JOURNAL_COMMITTED, err);
    if (rc != VARVE_OK) {
        log_warn("job", "%s", err->msg); /* the collector says the same when it is asked again */
    }
    guid_format(&j->entry.point, point);
    log_info("job", "committed point=%s", point);
    rc = job_release(j, err);
    if (rc != VARVE_OK) {
        /* The point is good; the journal sees to the rest. */
        log_warn("job", "cleaning up is tried again later: %s", err->msg);
        notes_add(&j->notes, "the host is not clean yet, which is tried again: %s", err->msg);
    }
    job_end_run(j, NULL);
    return VARVE_OK;
}

/* Whatever went wrong went wrong because of that. */
static void
say_that_it_left(struct job *j, struct varve_error *failure)
{
    struct varve_error why = *failure;

    if (failure->code != VARVE_ERR_CANCELLED && !job_vm_is_here(j)) {
        (void)varve_error_set(failure, VARVE_ERR_NOT_FOUND,
                              "the vm is not on this host any more: %s", why.msg);
    }
}

static enum varve_err
fail(struct job *j, struct varve_error *failure)
{
    struct varve_error err;

    if (failure->code == VARVE_ERR_CANCELLED && cancel_is_set(j->env->stopping)) {
        (void)varve_error_set(failure, VARVE_ERR_CANCELLED, "the agent was stopped");
    }
    say_that_it_left(j, failure);
    if (j->entry.state != 0 && job_undo(j, failure, &err) != VARVE_OK) {
        log_warn("job", "left to the journal: %s", err.msg);
    }
    job_end_run(j, failure);
    return failure->code;
}

static enum varve_err
go_on(struct job *j, struct varve_error *err)
{
    if (send_and_commit(j, err) != VARVE_OK) {
        return fail(j, err);
    }
    return finish(j, err);
}

/* ---- from the journal ---- */

/* What an earlier run left: a point that was not cleaned up after, or something to undo. */
static void
finish_left_over(const struct job_env *env, const struct guid *run, struct cancel *cancel,
                 struct job_pulse *pulse)
{
    struct varve_error failure;
    struct varve_error err;
    struct job j;
    enum varve_err rc;

    memset(&failure, 0, sizeof(failure));
    job_init(&j, env, cancel, pulse);
    rc = journal_read(env->fs, env->state_dir, run, &j.entry, &err);
    if (rc == VARVE_OK && j.entry.foreign) {
        rc = job_clean_foreign(&j, &err);
    } else if (rc == VARVE_OK && j.entry.state == JOURNAL_COMMITTED) {
        rc = job_release(&j, &err);
    } else if (rc == VARVE_OK && j.entry.state == JOURNAL_UNDOING) {
        (void)varve_error_set(&failure, j.entry.failure, "%s", j.entry.failure_text);
        rc = job_undo(&j, &failure, &err);
    }
    if (rc == VARVE_OK && j.entry.state >= JOURNAL_COMMITTED) {
        job_end_run(&j, failure.code != VARVE_OK ? &failure : NULL);
    }
    if (rc != VARVE_OK) {
        log_warn("job", "an earlier run of the vm cannot be cleaned up after yet: %s", err.msg);
    }
    job_close(&j);
}

static void
finish_left_overs(const struct job_env *env, const struct guid *vm, const struct guid *but,
                  struct cancel *cancel, struct job_pulse *pulse)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t i;

    if (journal_list(env->fs, env->state_dir, &runs, &count, &err) != VARVE_OK) {
        log_warn("job", "%s", err.msg);
        return;
    }
    for (i = 0; i < count; i++) {
        struct journal_entry e;

        if (guid_equal(&runs[i], but) ||
            journal_read(env->fs, env->state_dir, &runs[i], &e, &err) != VARVE_OK) {
            continue;
        }
        if (guid_equal(&e.vm, vm)) {
            finish_left_over(env, &runs[i], cancel, pulse);
        }
        journal_entry_release(&e);
    }
    free(runs);
}

static bool
is_in_journal(void *arg, const struct guid *run)
{
    const struct job_env *env = arg;
    struct journal_entry e;
    struct varve_error err;
    enum varve_err rc = journal_read(env->fs, env->state_dir, run, &e, &err);

    if (rc == VARVE_OK) {
        journal_entry_release(&e);
    }
    return rc != VARVE_ERR_NOT_FOUND; /* one that cannot be read is for people to see to */
}

void
job_sweep(const struct job_env *env, const struct guid *vm, struct notes *notes)
{
    struct capture *c = env->capture;
    struct job_env copy = *env;
    struct varve_error err;

    if (c->ops->sweep != NULL &&
        c->ops->sweep(c, vm, is_in_journal, &copy, env->halt, notes, &err) != VARVE_OK) {
        log_warn("job", "checkpoints that earlier runs left are looked for later: %s", err.msg);
    }
}

static enum varve_err
take_request(struct job *j, const struct job_request *r, struct varve_error *err)
{
    j->entry.run = r->run;
    j->entry.vm = r->vm;
    j->entry.full = r->full;
    memcpy(j->entry.way.name, r->method, sizeof(j->entry.way.name));
    memcpy(j->entry.base_refpoint, r->base_refpoint, sizeof(j->entry.base_refpoint));
    j->entry.base = calloc(r->base_count + 1, sizeof(*j->entry.base));
    if (j->entry.base == NULL) {
        return varve_error_nomem(err);
    }
    if (r->base_count > 0) {
        memcpy(j->entry.base, r->base, r->base_count * sizeof(*r->base));
    }
    j->entry.base_count = r->base_count;
    j->entry.skips = calloc(r->skip_count + 1, sizeof(*j->entry.skips));
    if (j->entry.skips == NULL) {
        return varve_error_nomem(err);
    }
    if (r->skip_count > 0) {
        memcpy(j->entry.skips, r->skips, r->skip_count * sizeof(*r->skips));
    }
    j->entry.skip_count = r->skip_count;
    return VARVE_OK;
}

enum varve_err
job_run(const struct job_env *env, const struct job_request *request, struct cancel *cancel,
        struct job_pulse *pulse, struct varve_error *err)
{
    struct job *j = malloc(sizeof(*j));
    enum varve_err rc;

    if (j == NULL) {
        return varve_error_nomem(err);
    }
    job_init(j, env, cancel, pulse);
    rc = take_request(j, request, err);
    if (rc == VARVE_OK) {
        finish_left_overs(env, &request->vm, &request->run, cancel, pulse);
        job_sweep(env, &request->vm, &j->notes);
        rc = job_join(j, err);
    }
    if (rc != VARVE_OK) {
        job_close(j); /* nothing was begun on the host */
        free(j);
        return rc;
    }
    rc = check_cancel(j, err);
    if (rc == VARVE_OK) {
        rc = freeze(j, err);
    }
    rc = rc == VARVE_OK ? go_on(j, err) : fail(j, err);
    job_close(j);
    free(j);
    return rc;
}

/* FREEZING may have left a checkpoint without its id in the journal. */
static enum varve_err
attach(struct job *j, struct varve_error *err)
{
    struct capture *c = j->env->capture;
    enum varve_err rc = choose(j, err);

    if (rc == VARVE_OK && j->entry.checkpoint[0] == '\0') {
        rc = c->ops->find(c, &j->entry.vm, &j->entry.run, j->entry.checkpoint, err);
    }
    if (rc == VARVE_OK) {
        rc = c->ops->attach(c, &j->entry.vm, j->entry.checkpoint, &j->frozen, err);
    }
    j->has_frozen = rc == VARVE_OK;
    if (j->has_frozen) {
        job_leave_out(j);
    }
    return rc;
}

/* What another host's run left; the collector hears that it is gone. */
static enum varve_err
recover_foreign(struct job *j, struct varve_error *err)
{
    enum varve_err rc = job_clean_foreign(j, err);

    if (rc == VARVE_OK) {
        job_end_run(j, NULL);
    }
    return rc;
}

static enum varve_err
recover_entry(struct job *j, struct varve_error *err)
{
    struct varve_error why;
    enum varve_err rc;

    if (j->entry.foreign) {
        return recover_foreign(j, err);
    }
    if (j->entry.state == JOURNAL_COMMITTED) {
        return finish(j, err);
    }
    if (j->entry.state == JOURNAL_UNDOING) {
        (void)varve_error_set(err, j->entry.failure, "%s", j->entry.failure_text);
        return fail(j, err);
    }
    rc = job_join(j, err);
    if (rc != VARVE_OK) {
        return fail(j, err);
    }
    if (j->committed) {
        return finish(j, err);
    }
    if (j->entry.state >= JOURNAL_KEEPING) {
        (void)varve_error_set(err, VARVE_ERR_CANCELLED,
                              "the agent was restarted before the run was committed");
        return fail(j, err);
    }
    if (!j->env->capture->tracks) {
        (void)varve_error_set(err, VARVE_ERR_CANCELLED,
                              "the agent was restarted while it read: run again");
        return fail(j, err);
    }
    rc = attach(j, &why);
    if (rc != VARVE_OK) {
        (void)varve_error_set(err, VARVE_ERR_CANCELLED,
                              "the agent was restarted and cannot go on (run again): %s", why.msg);
        return fail(j, err);
    }
    log_info("job", "the run goes on after a restart of the agent");
    return go_on(j, err);
}

enum varve_err
job_recover(const struct job_env *env, const struct guid *run, struct cancel *cancel,
            struct job_pulse *pulse, struct varve_error *err)
{
    struct job *j = malloc(sizeof(*j));
    enum varve_err rc;

    if (j == NULL) {
        return varve_error_nomem(err);
    }
    job_init(j, env, cancel, pulse);
    rc = journal_read(env->fs, env->state_dir, run, &j->entry, err);
    if (rc == VARVE_OK) {
        rc = recover_entry(j, err);
    }
    job_close(j);
    free(j);
    return rc;
}
