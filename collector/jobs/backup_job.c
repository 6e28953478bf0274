/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/backup_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"

struct job_run {
    struct ingest_run *run; /* NULL: info is all there is */
    struct run_info info;
};

struct backup_job {
    struct job_run *runs;
    size_t count;
};

/* chosen[i]: row i is wanted. */
static enum varve_err
choose(const struct backup_job_options *o, const struct vm_row *rows, size_t count, bool *chosen,
       struct varve_error *err)
{
    for (size_t i = 0; i < o->selector_count; i++) {
        size_t row = 0;
        enum varve_err rc = vm_list_select(rows, count, o->selectors[i], &row, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        chosen[row] = true;
    }
    for (size_t i = 0; i < count && o->selector_count == 0; i++) {
        chosen[i] = rows[i].present && rows[i].connected && rows[i].vm.disk_count > 0;
    }
    return VARVE_OK;
}

/* Why a vm that was asked for by name cannot be backed up now. */
static enum varve_err
check_row(const struct vm_row *row, struct varve_error *err)
{
    if (!row->present) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND,
                               "vm '%.64s' was last seen on host '%s', which does not have it any "
                               "more",
                               row->vm.name, row->host_name);
    }
    if (!row->connected) {
        return varve_error_set(err, VARVE_ERR_IO,
                               "host '%s' of vm '%.64s' is not connected; see to it that "
                               "varve-agent runs there",
                               row->host_name, row->vm.name);
    }
    if (row->vm.disk_count == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID, "vm '%.64s' has no disks", row->vm.name);
    }
    return VARVE_OK;
}

static void
fail_row(struct job_run *to, const struct vm_row *row, const struct guid *id,
         const struct varve_error *why)
{
    to->info.id = *id;
    to->info.vm = row->vm.id;
    to->info.host = row->host;
    to->info.phase = RUN_FAILED;
    to->info.started_at_us = time_now_us();
    to->info.ended_at_us = to->info.started_at_us;
    to->info.error = *why;
    (void)snprintf(to->info.vm_name, sizeof(to->info.vm_name), "%s", row->vm.name);
    (void)snprintf(to->info.host_name, sizeof(to->info.host_name), "%s", row->host_name);
}

static void
start_row(struct job_run *to, const struct backup_job_options *o, const struct vm_row *row)
{
    struct ingest_request request = {.full = o->full};
    struct varve_error err;
    uint8_t random[16];
    char id[GUID_TEXT_SIZE];
    enum varve_err rc;

    crypto_random(random, sizeof(random));
    guid_from_random(&request.run, random);
    request.vm = row->vm.id;
    request.host_vm = row->vm.native;
    request.host = row->host;
    request.vm_name = row->vm.name;
    request.host_name = row->host_name;
    request.domain = row->tenant;
    if (o->method_of != NULL) {
        (void)snprintf(request.method, sizeof(request.method), "%s",
                       o->method_of(o->method_arg, &row->vm.id));
    }
    rc = check_row(row, &err);
    if (rc == VARVE_OK) {
        rc = ingest_run_new(o->ingest, &request, &to->run, &err);
    }
    if (rc != VARVE_OK) {
        fail_row(to, row, &request.run, &err);
        return;
    }
    ingest_run_info(to->run, &to->info);
    if (state_run_put(o->state, &to->info, &err) != VARVE_OK) {
        ingest_run_fail(to->run, &err, true);
        return;
    }
    guid_format(&request.run, id);
    log_info("run", "asked for run=%s vm='%s' host='%s'%s%s%s", id, row->vm.name, row->host_name,
             o->full ? " full" : "", request.method[0] != '\0' ? " method=" : "", request.method);
}

enum varve_err
backup_job_new(struct backup_job **out, const struct backup_job_options *options,
               struct varve_error *err)
{
    struct backup_job *job = NULL;
    struct vm_row *rows = NULL;
    bool *chosen = NULL;
    size_t count = 0;
    enum varve_err rc;

    rc = state_vm_list(options->state, options->connected, options->arg, &rows, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    job = calloc(1, sizeof(*job));
    chosen = calloc(count + 1, sizeof(*chosen));
    if (job == NULL || chosen == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    job->runs = calloc(count + 1, sizeof(*job->runs));
    if (job->runs == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = choose(options, rows, count, chosen, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        if (chosen[i]) {
            start_row(&job->runs[job->count++], options, &rows[i]);
        }
    }
    if (job->count == 0) {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "no connected host has a vm with disks; 'varve host list' and "
                             "'varve vm list' show what is known");
        goto out;
    }
    *out = job;
    job = NULL;
out:
    free(chosen);
    vm_list_free(rows, count);
    backup_job_free(job);
    return rc;
}

void
backup_job_free(struct backup_job *job)
{
    if (job == NULL) {
        return;
    }
    for (size_t i = 0; i < job->count; i++) {
        ingest_run_unref(job->runs[i].run);
    }
    free(job->runs);
    free(job);
}

size_t
backup_job_count(const struct backup_job *job)
{
    return job->count;
}

bool
backup_job_look(struct backup_job *job, size_t i, struct run_info *out)
{
    struct job_run *r = &job->runs[i];

    if (r->run == NULL) {
        *out = r->info;
        return true;
    }
    for (;;) {
        bool settled = ingest_run_is_settled(r->run); /* then its next one is known */
        struct ingest_run *next = ingest_run_next(r->run);

        if (next == NULL) {
            ingest_run_info(r->run, out);
            if (run_phase_is_final(out->phase) && !settled) {
                out->phase = RUN_CLEAN;
            }
            return settled;
        }
        ingest_run_unref(r->run);
        r->run = next;
    }
}
