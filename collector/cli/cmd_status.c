/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

static void
size_field(const struct cli *cli, const char *name, uint64_t bytes)
{
    char text[PRINT_SIZE_TEXT];

    print_size(cli, bytes, text);
    print_field(cli, name, text);
}

static void
number_field(const struct cli *cli, const char *name, uint64_t n)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, n);
    print_field(cli, name, text);
}

static enum varve_err
print_runs(const struct cli *cli, const Varve__V1__StatusReply *s, struct varve_error *err)
{
    static const char *const headers[] = {"RUN OF VM", "HOST",  "PHASE", ">PLANNED",
                                          ">READ",     ">SENT", "SINCE", "WAITS FOR"};
    struct print_table *t;
    enum varve_err rc;

    if (s->n_runs == 0) {
        return VARVE_OK;
    }
    t = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    for (size_t i = 0; i < s->n_runs; i++) {
        const Varve__V1__RunInfo *r = s->runs[i];
        const uint64_t sizes[] = {r->planned_bytes, r->read_bytes, r->sent_bytes};
        char text[PRINT_SIZE_TEXT];

        print_table_cell(t, r->vm_name);
        print_table_cell(t, r->host_name);
        print_table_cell(t, r->phase);
        for (size_t k = 0; k < 3; k++) {
            print_size(cli, sizes[k], text);
            print_table_cell(t, text);
        }
        print_time(r->started_at_us, text);
        print_table_cell(t, text);
        print_table_cell(t, r->waits);
    }
    (void)fputc('\n', cli->env->out);
    rc = print_table_print(t, cli->env->out, err);
    print_table_free(t);
    return rc;
}

/* How the background check of the store stands. */
static void
print_patrol(const struct cli *cli, const Varve__V1__PatrolInfo *p)
{
    char text[160];
    char began[32];
    char done[32];

    if (p == NULL) {
        print_field(cli, "verify", "nothing runs in the background");
        return;
    }
    print_time(p->pass_began_us, began);
    print_time(p->last_finished_us, done);
    if (p->running && p->bytes_total > 0) {
        (void)snprintf(text, sizeof(text), "pass began %s, %.1f %% done; last whole pass %s", began,
                       100.0 * (double)p->bytes_done / (double)p->bytes_total, done);
    } else {
        (void)snprintf(text, sizeof(text), "last whole pass %s", done);
    }
    print_field(cli, "verify", text);
    (void)snprintf(text, sizeof(text),
                   "%" PRIu64 " records, %" PRIu64 " points hit, %" PRIu64
                   " disks to be read again",
                   p->damaged, p->points_hit, p->disks_waiting);
    print_field(cli, "damaged", text);
}

static enum varve_err
print_status(const struct cli *cli, const Varve__V1__StatusReply *s, struct varve_error *err)
{
    char text[64];

    print_field(cli, "software", s->software);
    print_time(s->started_at_us, text);
    print_field(cli, "running since", text);
    print_field(cli, "listens on", s->listen);
    print_field(cli, "store", s->store);
    print_field(cli, "key file", s->key_path);
    (void)snprintf(text, sizeof(text), "%" PRIu32 ", %" PRIu32 " connected", s->hosts,
                   s->hosts_connected);
    print_field(cli, "hosts", text);
    number_field(cli, "vms", s->vms);
    number_field(cli, "points", s->points);
    size_field(cli, "disks of points", s->logical_bytes);
    number_field(cli, "chunks", s->chunks);
    size_field(cli, "unpacked", s->raw_bytes);
    size_field(cli, "stored", s->stored_bytes);
    if (s->stored_bytes > 0) {
        (void)snprintf(text, sizeof(text), "%.1f : 1",
                       (double)s->logical_bytes / (double)s->stored_bytes);
        print_field(cli, "ratio", text);
    }
    size_field(cli, "free", s->free_bytes);
    print_patrol(cli, s->patrol);
    for (size_t i = 0; i < s->n_problems; i++) {
        print_field(cli, "problem", s->problems[i]);
    }
    return print_runs(cli, s, err);
}

static enum varve_err
ask_status(struct cli *cli, struct envelope_in *in, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Status status = VARVE__V1__STATUS__INIT;
    struct session *s = NULL;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_STATUS;
    request.status = &status;
    return session_call(s, &request, VARVE__V1__ENVELOPE__BODY_STATUS_REPLY, in, err);
}

enum varve_err
cmd_status(struct cli *cli, struct varve_error *err)
{
    struct envelope_in in;
    enum varve_err rc = ask_status(cli, &in, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = cli->json ? print_json_line(cli->env->out, json_status(in.head->status_reply), err)
                   : print_status(cli, in.head->status_reply, err);
    envelope_release(&in);
    return rc;
}

enum varve_err
cmd_verify_status(struct cli *cli, struct varve_error *err)
{
    struct envelope_in in;
    const Varve__V1__PatrolInfo *p;
    enum varve_err rc = ask_status(cli, &in, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    p = in.head->status_reply->patrol;
    if (cli->json) {
        rc = print_json_line(cli->env->out, json_patrol(p), err);
    } else {
        print_patrol(cli, p);
        if (p != NULL && p->points_hit > 0) {
            print_field(cli, "first", p->first_hit);
        }
    }
    if (rc == VARVE_OK && p != NULL && (p->points_hit > 0 || p->damaged > 0)) {
        cli_set_exit(cli, VARVE_EXIT_CORRUPT);
    }
    envelope_release(&in);
    return rc;
}
