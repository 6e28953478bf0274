/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

#define RUNS_MAX 4096u

/* A run as far as it was told; the collector sends whole states, the last one counts. */
struct run {
    uint8_t id[16];
    uint8_t vm[16];
    char *vm_name;
    char phase[16];
    char waits[160];
    uint64_t planned;
    uint64_t read;
    bool ended;
};

struct backup {
    struct cli *cli;
    struct progress progress;
    struct run *runs;
    size_t count;
    size_t cap;
    size_t failed;
};

static bool
has_ended(const Varve__V1__RunInfo *r)
{
    return strcmp(r->phase, "done") == 0 || strcmp(r->phase, "failed") == 0;
}

/* The run that a new id means: one vm has one run at a time, which another follows when the vm has moved. */
static struct run *
find_followed(struct backup *b, const Varve__V1__RunInfo *r)
{
    for (size_t i = 0; i < b->count && r->vm_id.len == sizeof(b->runs[i].vm); i++) {
        struct run *run = &b->runs[i];

        if (!run->ended && memcmp(run->vm, r->vm_id.data, sizeof(run->vm)) == 0) {
            memcpy(run->id, r->run_id.data, sizeof(run->id));
            return run;
        }
    }
    return NULL;
}

static struct run *
find_run(struct backup *b, const Varve__V1__RunInfo *r, struct varve_error *err)
{
    struct run *run;

    if (r->run_id.len != sizeof(run->id)) {
        (void)varve_error_set(err, VARVE_ERR_PROTOCOL, "a run without an id");
        return NULL;
    }
    for (size_t i = 0; i < b->count; i++) {
        if (memcmp(b->runs[i].id, r->run_id.data, sizeof(run->id)) == 0) {
            return &b->runs[i];
        }
    }
    run = find_followed(b, r);
    if (run != NULL) {
        return run;
    }
    if (b->count == RUNS_MAX) {
        (void)varve_error_set(err, VARVE_ERR_LIMIT, "more than %u runs", RUNS_MAX);
        return NULL;
    }
    if (b->count == b->cap) {
        size_t cap = b->cap == 0 ? 16 : b->cap * 2;
        struct run *runs = realloc(b->runs, cap * sizeof(*runs));

        if (runs == NULL) {
            (void)varve_error_nomem(err);
            return NULL;
        }
        b->runs = runs;
        b->cap = cap;
    }
    run = &b->runs[b->count];
    memset(run, 0, sizeof(*run));
    memcpy(run->id, r->run_id.data, sizeof(run->id));
    if (r->vm_id.len == sizeof(run->vm)) {
        memcpy(run->vm, r->vm_id.data, sizeof(run->vm));
    }
    run->vm_name = print_clean(r->vm_name);
    if (run->vm_name == NULL) {
        (void)varve_error_nomem(err);
        return NULL;
    }
    b->count++;
    return run;
}

static void
print_done(struct backup *b, const struct run *run, const Varve__V1__RunInfo *r)
{
    const struct cli *cli = b->cli;
    char sizes[4][PRINT_SIZE_TEXT];
    char id[PRINT_ID_TEXT];
    char took[32];

    print_short_id(&r->point_id, id);
    print_size(cli, r->read_bytes, sizes[0]);
    print_size(cli, r->sent_bytes, sizes[1]);
    print_size(cli, r->new_bytes, sizes[2]);
    print_size(cli, r->stored_bytes, sizes[3]);
    print_seconds((double)(r->ended_at_us - r->started_at_us) / 1e6, took);
    (void)fprintf(cli->env->out, "%s: point %s (%s): read %s, sent %s, new %s, stored %s, in %s\n",
                  run->vm_name, id, r->incremental ? "incremental" : "full", sizes[0], sizes[1],
                  sizes[2], sizes[3], took);
    for (size_t i = 0; i < r->n_warnings; i++) {
        (void)fprintf(cli->env->out, "%s: warning: ", run->vm_name);
        print_text(cli->env->out, r->warnings[i]);
        (void)fputc('\n', cli->env->out);
    }
}

static enum varve_err
end_run(struct backup *b, struct run *run, const Varve__V1__RunInfo *r, struct varve_error *err)
{
    struct cli *cli = b->cli;
    struct varve_error failure;
    bool failed = strcmp(r->phase, "failed") == 0;
    enum varve_err rc = VARVE_OK;

    run->ended = true;
    progress_clear(&b->progress);
    if (failed) {
        b->failed++;
        (void)varve_error_set(&failure, VARVE_ERR_INTERNAL, "the collector did not say why");
        if (r->error != NULL) {
            (void)session_wire_error(r->error, &failure);
        }
        cli_set_exit(cli, varve_exit_of(failure.code, false));
    }
    if (cli->json) {
        rc = print_json_line(cli->env->out, json_run(r), err);
    } else if (failed) {
        (void)varve_error_prefix(&failure, "backup of '%s' failed", run->vm_name);
        cli_print_error(cli, &failure);
    } else if (!cli->quiet) {
        print_done(b, run, r);
    }
    return rc;
}

static enum varve_err
take_run(struct backup *b, const Varve__V1__RunInfo *r, struct varve_error *err)
{
    struct run *run = find_run(b, r, err);
    const struct cli *cli = b->cli;

    if (run == NULL) {
        return err->code;
    }
    if (run->ended) {
        return VARVE_OK;
    }
    if (has_ended(r)) {
        return end_run(b, run, r, err);
    }
    run->planned = r->planned_bytes;
    run->read = r->read_bytes;
    if (strcmp(run->phase, r->phase) != 0 ||
        strncmp(run->waits, r->waits, sizeof(run->waits) - 1) != 0) {
        (void)snprintf(run->phase, sizeof(run->phase), "%s", r->phase);
        (void)snprintf(run->waits, sizeof(run->waits), "%s", r->waits);
        if (!cli->json && !cli->quiet && !cli->env->terminal) {
            (void)fprintf(cli->env->out, "%s: ", run->vm_name);
            print_text(cli->env->out, run->phase);
            if (run->waits[0] != '\0') {
                (void)fputs(": ", cli->env->out);
                print_text(cli->env->out, run->waits);
            }
            (void)fputc('\n', cli->env->out);
        }
    }
    return VARVE_OK;
}

static void
draw(struct backup *b)
{
    char read[PRINT_SIZE_TEXT];
    char planned[PRINT_SIZE_TEXT];
    const struct run *first = NULL;
    uint64_t sum_read = 0;
    uint64_t sum_planned = 0;
    size_t going = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (!b->runs[i].ended) {
            first = first == NULL ? &b->runs[i] : first;
            sum_read += b->runs[i].read;
            sum_planned += b->runs[i].planned;
            going++;
        }
    }
    if (first == NULL) {
        return;
    }
    print_size(b->cli, sum_read, read);
    print_size(b->cli, sum_planned, planned);
    if (going == 1) {
        progress_draw(&b->progress, false, "%s: %s, %s of %s", first->vm_name, first->phase, read,
                      planned);
    } else {
        progress_draw(&b->progress, false, "%zu of %zu runs going on, %s of %s read", going,
                      b->count, read, planned);
    }
}

static enum varve_err
follow(struct backup *b, struct session *s, uint64_t id, struct varve_error *err)
{
    bool more = true;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_BACKUP_RUN_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        for (size_t i = 0; rc == VARVE_OK && i < in.head->backup_run_reply->n_runs; i++) {
            rc = take_run(b, in.head->backup_run_reply->runs[i], err);
        }
        draw(b);
        envelope_release(&in);
    }
    progress_clear(&b->progress);
    for (size_t i = 0; rc == VARVE_OK && i < b->count; i++) {
        if (!b->runs[i].ended) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL,
                                 "the collector did not say how the run of '%s' ended",
                                 b->runs[i].vm_name);
        }
    }
    return rc;
}

enum varve_err
cmd_backup_run(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BackupRun backup_run = VARVE__V1__BACKUP_RUN__INIT;
    struct backup b = {.cli = cli};
    struct session *s = NULL;
    uint64_t id = 0;
    bool all = cli_value(cli, "--all") != NULL;
    const char *method = cli_value(cli, "--method");
    enum varve_err rc;

    if (all == (cli->arg_count > 0)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               all ? "'backup run' takes either VMs or --all, not both"
                                   : "'backup run' needs a VM, or --all: see 'varve vm list'");
    }
    rc = cli_session(cli, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = session_check_methods(s, method, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    progress_init(&b.progress, cli);
    backup_run.vms = cli->args;
    backup_run.n_vms = cli->arg_count;
    backup_run.full = cli_value(cli, "--full") != NULL;
    backup_run.method = method != NULL ? (char *)(uintptr_t)method : backup_run.method;
    request.body_case = VARVE__V1__ENVELOPE__BODY_BACKUP_RUN;
    request.backup_run = &backup_run;
    rc = session_send(s, &request, &id, err);
    if (rc == VARVE_OK) {
        rc = follow(&b, s, id, err);
    }
    for (size_t i = 0; i < b.count; i++) {
        free(b.runs[i].vm_name);
    }
    free(b.runs);
    return rc;
}
