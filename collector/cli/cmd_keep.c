/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

/* What is kept for how long: points, policies, retention, collecting, the clock. */

/* ---- points ---- */

static json_t *
json_marks(const Varve__V1__PointMarks *m)
{
    json_t *holds = json_array();

    for (size_t i = 0; i < m->n_holds; i++) {
        if (json_array_append_new(holds, json_text(m->holds[i])) != 0) {
            json_decref(holds);
            return NULL;
        }
    }
    return json_pack("{s:b,s:o,s:o,s:o}", "deleted", m->deleted ? 1 : 0, "undelete_until",
                     json_time(m->undelete_until_us), "holds", holds, "locked_until",
                     json_time(m->locked_until_us));
}

static enum varve_err
print_change(struct cli *cli, const Varve__V1__PointInfo *p, const Varve__V1__PointMarks *m,
             struct varve_error *err)
{
    FILE *out = cli->env->out;
    char id[PRINT_ID_TEXT];
    char time[32];

    if (cli->json) {
        return print_json_line(
            out, json_pack("{s:o,s:o}", "point", json_point(p), "marks", json_marks(m)), err);
    }
    if (cli->quiet) {
        return VARVE_OK;
    }
    print_short_id(&p->id, id);
    (void)fprintf(out, "point %s (", id);
    print_text(out, p->vm_name);
    (void)fprintf(out, ", seq %" PRIu64 "): ", p->seq);
    if (m->deleted) {
        print_time(m->undelete_until_us, time);
        (void)fprintf(out, "deleted, can be undeleted until %s\n", time);
        return VARVE_OK;
    }
    (void)fputs("kept", out);
    for (size_t i = 0; i < m->n_holds; i++) {
        (void)fputs(", held: ", out);
        print_text(out, m->holds[i]);
    }
    if (m->locked_until_us != 0) {
        print_time(m->locked_until_us, time);
        (void)fprintf(out, ", locked until %s", time);
    }
    (void)fputc('\n', out);
    return VARVE_OK;
}

static enum varve_err
change_points(struct cli *cli, Varve__V1__PointChange *change, struct varve_error *err)
{
    struct session *s = NULL;
    enum varve_err rc = cli_session(cli, &s, err);

    for (size_t i = 0; rc == VARVE_OK && i < cli->arg_count; i++) {
        Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
        struct envelope_in in;

        change->point = cli->args[i];
        request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_CHANGE;
        request.point_change = change;
        rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_POINT_CHANGE_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (in.head->point_change_reply->point == NULL ||
            in.head->point_change_reply->marks == NULL) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector sent no point");
        } else {
            rc = print_change(cli, in.head->point_change_reply->point,
                              in.head->point_change_reply->marks, err);
        }
        envelope_release(&in);
    }
    return rc;
}

static enum varve_err
set_reason(struct cli *cli, Varve__V1__PointChange *change, bool wanted, struct varve_error *err)
{
    const char *reason = cli_value(cli, "--reason");

    if (reason == NULL && wanted) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "why? say --reason 'TEXT', for whoever finds it later");
    }
    change->reason = (char *)(uintptr_t)(reason == NULL ? "" : reason); /* only read */
    return VARVE_OK;
}

enum varve_err
cmd_point_delete(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    const char *window = cli_value(cli, "--undelete-for");
    enum varve_err rc = set_reason(cli, &change, false, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_DELETE;
    change.last = cli_value(cli, "--last") != NULL;
    if (rc == VARVE_OK && window != NULL && strcmp(window, "0") == 0) {
        change.no_window = true;
    } else if (rc == VARVE_OK && window != NULL) {
        rc = cli_seconds(window, "--undelete-for", &change.seconds, err);
    }
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

enum varve_err
cmd_point_undelete(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;

    change.action = VARVE__V1__POINT_ACTION__POINT_UNDELETE;
    return change_points(cli, &change, err);
}

enum varve_err
cmd_point_hold(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    enum varve_err rc = set_reason(cli, &change, true, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_HOLD;
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

enum varve_err
cmd_point_release(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;

    change.action = VARVE__V1__POINT_ACTION__POINT_RELEASE;
    return change_points(cli, &change, err);
}

enum varve_err
cmd_point_lock(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    const char *length = cli_value(cli, "--for");
    enum varve_err rc = set_reason(cli, &change, false, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_LOCK;
    if (rc == VARVE_OK && length == NULL) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "for how long? say --for 30d; nobody can shorten it");
    }
    if (rc == VARVE_OK) {
        rc = cli_seconds(length, "--for", &change.seconds, err);
    }
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

enum varve_err
cmd_point_deleted(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {"POINT", "VM", ">SEQ", "UNDELETE UNTIL"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointDeletedList list = VARVE__V1__POINT_DELETED_LIST__INIT;
    struct print_table *table = NULL;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST;
    request.point_deleted_list = &list;
    rc = session_send(s, &request, &id, err);
    table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    while (rc == VARVE_OK && more) {
        const Varve__V1__PointDeletedListReply *reply;
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        reply = in.head->point_deleted_list_reply;
        for (size_t i = 0; rc == VARVE_OK && i < reply->n_points && i < reply->n_marks; i++) {
            char text[32];

            if (cli->json) {
                rc = print_json_line(cli->env->out,
                                     json_pack("{s:o,s:o}", "point", json_point(reply->points[i]),
                                               "marks", json_marks(reply->marks[i])),
                                     err);
                continue;
            }
            print_short_id(&reply->points[i]->id, text);
            print_table_cell(table, text);
            print_table_cell(table, reply->points[i]->vm_name);
            (void)snprintf(text, sizeof(text), "%" PRIu64, reply->points[i]->seq);
            print_table_cell(table, text);
            print_time(reply->marks[i]->undelete_until_us, text);
            print_table_cell(table, text);
        }
        envelope_release(&in);
    }
    if (rc == VARVE_OK && !cli->json) {
        rc = print_table_print(table, cli->env->out, err);
    }
    print_table_free(table);
    return rc;
}

/* ---- policies ---- */

static enum varve_err
print_policy(struct cli *cli, struct print_table *t, const Varve__V1__Policy *p,
             const char *fallback, struct varve_error *err)
{
    const uint32_t numbers[] = {p->last,    p->hourly, p->daily,       p->weekly,
                                p->monthly, p->yearly, p->window_hours};

    if (cli->json) {
        return print_json_line(cli->env->out,
                               json_pack("{s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b}", "policy",
                                         json_text(p->name), "last", (int)p->last, "hourly",
                                         (int)p->hourly, "daily", (int)p->daily, "weekly",
                                         (int)p->weekly, "monthly", (int)p->monthly, "yearly",
                                         (int)p->yearly, "undelete_hours", (int)p->window_hours,
                                         "default", strcmp(p->name, fallback) == 0 ? 1 : 0),
                               err);
    }
    print_table_cell(t, p->name);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[24];

        (void)snprintf(text, sizeof(text), i == 6 ? "%u h" : "%u", numbers[i]);
        print_table_cell(t, text);
    }
    print_table_cell(t, strcmp(p->name, fallback) == 0 ? "yes" : "");
    return VARVE_OK;
}

static enum varve_err
print_policy_vm(struct cli *cli, const Varve__V1__PolicyVm *v, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE] = "-";
    struct guid vm;

    if (cli->json) {
        return print_json_line(
            cli->env->out,
            json_pack("{s:o,s:o}", "vm_id", json_id(&v->vm_id), "policy", json_text(v->policy)),
            err);
    }
    if (v->vm_id.len == sizeof(vm.bytes)) {
        memcpy(vm.bytes, v->vm_id.data, sizeof(vm.bytes));
        guid_format(&vm, text);
    }
    (void)fprintf(cli->env->out, "vm %s: ", text);
    print_text(cli->env->out, v->policy);
    (void)fputc('\n', cli->env->out);
    return VARVE_OK;
}

/* Sends the change and shows what there is after it. */
static enum varve_err
policies(struct cli *cli, Varve__V1__PolicyChange *change, bool show, struct varve_error *err)
{
    static const char *const headers[] = {"POLICY",   ">LAST",   ">HOURLY",   ">DAILY", ">WEEKLY",
                                          ">MONTHLY", ">YEARLY", ">UNDELETE", "DEFAULT"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    struct print_table *table = NULL;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE;
    request.policy_change = change;
    rc = session_send(s, &request, &id, err);
    while (rc == VARVE_OK && more) {
        const Varve__V1__PolicyChangeReply *reply;
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        reply = in.head->policy_change_reply;
        table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
        for (size_t i = 0; show && rc == VARVE_OK && i < reply->n_policies; i++) {
            rc = print_policy(cli, table, reply->policies[i], reply->fallback, err);
        }
        if (rc == VARVE_OK && show && !cli->json && reply->n_policies > 0) {
            rc = print_table_print(table, cli->env->out, err);
        }
        print_table_free(table);
        for (size_t i = 0; show && rc == VARVE_OK && i < reply->n_vms; i++) {
            rc = print_policy_vm(cli, reply->vms[i], err);
        }
        if (rc == VARVE_OK && show && !cli->json && !cli->quiet && reply->fallback[0] == '\0') {
            (void)fputs("no default policy: points of other vms are kept for ever\n",
                        cli->env->out);
        }
        envelope_release(&in);
    }
    return rc;
}

enum varve_err
cmd_policy_list(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;

    return policies(cli, &change, true, err);
}

static enum varve_err
keep_number(struct cli *cli, const char *option, uint32_t *out, struct varve_error *err)
{
    const char *text = cli_value(cli, option);
    char *end = NULL;
    unsigned long n;

    if (text == NULL) {
        return VARVE_OK;
    }
    errno = 0;
    n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n > 100000) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s: '%.40s' is no number up to 100000",
                               option, text);
    }
    *out = (uint32_t)n;
    return VARVE_OK;
}

enum varve_err
cmd_policy_set(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__Policy policy = VARVE__V1__POLICY__INIT;
    const char *window = cli_value(cli, "--undelete-for");
    const struct {
        const char *option;
        uint32_t *to;
    } numbers[] = {
        {"--keep-last", &policy.last},       {"--keep-hourly", &policy.hourly},
        {"--keep-daily", &policy.daily},     {"--keep-weekly", &policy.weekly},
        {"--keep-monthly", &policy.monthly}, {"--keep-yearly", &policy.yearly},
    };
    uint64_t seconds = 7 * 86400;
    enum varve_err rc = VARVE_OK;

    policy.name = cli->args[0];
    for (size_t i = 0; rc == VARVE_OK && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        rc = keep_number(cli, numbers[i].option, numbers[i].to, err);
    }
    if (rc == VARVE_OK && window != NULL && strcmp(window, "0") == 0) {
        seconds = 0;
    } else if (rc == VARVE_OK && window != NULL) {
        rc = cli_seconds(window, "--undelete-for", &seconds, err);
    }
    policy.window_hours = (uint32_t)((seconds + 3599) / 3600);
    change.put = &policy;
    return rc == VARVE_OK ? policies(cli, &change, !cli->quiet, err) : rc;
}

enum varve_err
cmd_policy_remove(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;

    change.remove = cli->args[0];
    return policies(cli, &change, !cli->quiet, err);
}

enum varve_err
cmd_policy_assign(struct cli *cli, struct varve_error *err)
{
    static char none[] = "";
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;
    bool fallback = cli_value(cli, "--default") != NULL;

    if (fallback != (cli->arg_count == 1)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "say either a vm, or --default for all that have none of their own");
    }
    change.assign = true;
    change.policy = strcmp(cli->args[0], "none") == 0 ? none : cli->args[0];
    change.vm = fallback ? none : cli->args[1];
    return policies(cli, &change, !cli->quiet, err);
}

/* ---- retention ---- */

static enum varve_err
print_verdict(struct cli *cli, const Varve__V1__RetentionVerdict *v, bool dry_run,
              struct varve_error *err)
{
    FILE *out = cli->env->out;
    char id[PRINT_ID_TEXT];
    char time[32];

    if (cli->json) {
        return print_json_line(out,
                               json_pack("{s:o,s:o,s:o,s:o,s:b,s:o}", "point",
                                         json_id(&v->point_id), "vm_name", json_text(v->vm_name),
                                         "seq", json_bytes(v->point_seq), "published_at",
                                         json_time(v->published_at_us), "keep", v->keep ? 1 : 0,
                                         "reason", json_text(v->reason)),
                               err);
    }
    if (cli->quiet && v->keep) {
        return VARVE_OK;
    }
    print_short_id(&v->point_id, id);
    print_time(v->published_at_us, time);
    (void)fprintf(out, "%s  %s  %s  ",
                  v->keep   ? "keep   "
                  : dry_run ? "delete "
                            : "deleted",
                  id, time);
    print_text(out, v->vm_name);
    (void)fputs(": ", out);
    print_text(out, v->reason);
    (void)fputc('\n', out);
    return VARVE_OK;
}

enum varve_err
cmd_retention_run(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RetentionRun run = VARVE__V1__RETENTION_RUN__INIT;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    run.dry_run = cli_value(cli, "--dry-run") != NULL;
    if (cli->arg_count > 0) {
        run.vm = cli->args[0];
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_RETENTION_RUN;
    request.retention_run = &run;
    rc = session_send(s, &request, &id, err);
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_RETENTION_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        for (size_t i = 0; rc == VARVE_OK && i < in.head->retention_reply->n_verdicts; i++) {
            rc = print_verdict(cli, in.head->retention_reply->verdicts[i], run.dry_run, err);
        }
        envelope_release(&in);
    }
    return rc;
}

/* ---- the store ---- */

static json_t *
json_collect(const Varve__V1__StoreCollectReply *r)
{
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "points_removed",
        json_bytes(r->points_removed), "points_counted", json_bytes(r->points_counted),
        "packs_looked_at", json_bytes(r->packs_looked_at), "packs_removed",
        json_bytes(r->packs_removed), "packs_moved", json_bytes(r->packs_moved), "packs_waiting",
        json_bytes(r->packs_waiting), "packs_young", json_bytes(r->packs_young), "bytes_freed",
        json_bytes(r->bytes_freed), "bytes_copied", json_bytes(r->bytes_copied), "bytes_read",
        json_bytes(r->bytes_read), "bytes_written", json_bytes(r->bytes_written),
        "index_operations", json_bytes(r->index_operations), "no_space", r->no_space ? 1 : 0,
        "blocked", r->blocked == NULL ? json_null() : json_text(r->blocked->message));
}

static enum varve_err
print_collect(struct cli *cli, const Varve__V1__StoreCollectReply *r, struct varve_error *err)
{
    FILE *out = cli->env->out;
    char freed[PRINT_SIZE_TEXT];
    char copied[PRINT_SIZE_TEXT];

    if (cli->json) {
        enum varve_err rc = print_json_line(out, json_collect(r), err);

        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (r->blocked != NULL) {
        (void)session_wire_error(r->blocked, err);
        return err->code == VARVE_OK ? varve_error_set(err, VARVE_ERR_CORRUPT, "blocked")
                                     : err->code;
    }
    if (cli->json || cli->quiet) {
        return VARVE_OK;
    }
    print_size(cli, r->bytes_freed, freed);
    print_size(cli, r->bytes_copied, copied);
    (void)fprintf(out,
                  "%s given back: %" PRIu64 " points, %" PRIu64 " packs removed; %s moved out of "
                  "%" PRIu64 " packs\n",
                  freed, r->points_removed, r->packs_removed, copied, r->packs_moved);
    if (r->packs_waiting > 0 || r->packs_young > 0) {
        (void)fprintf(out, "%" PRIu64 " packs wait for backups that go on\n",
                      r->packs_waiting + r->packs_young);
    }
    if (r->no_space) {
        (void)fputs("packs with little left stay: there is no room to move what is in them\n", out);
    }
    return VARVE_OK;
}

enum varve_err
cmd_store_collect(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCollect collect = VARVE__V1__STORE_COLLECT__INIT;
    struct progress progress;
    struct session *s = NULL;
    const char *rate = cli_value(cli, "--rate");
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = keep_number(cli, "--move-below", &collect.move_percent, err);

    if (rc == VARVE_OK && rate != NULL) {
        rc = cli_rate(rate, &collect.bytes_per_second, err);
    }
    if (rc == VARVE_OK) {
        rc = cli_session(cli, &s, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    progress_init(&progress, cli);
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_COLLECT;
    request.store_collect = &collect;
    rc = session_send(s, &request, &id, err);
    while (rc == VARVE_OK && more) {
        const Varve__V1__StoreCollectReply *reply;
        char freed[PRINT_SIZE_TEXT];
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_STORE_COLLECT_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        reply = in.head->store_collect_reply;
        if (more) {
            print_size(cli, reply->bytes_freed, freed);
            progress_draw(&progress, false, "collect: %" PRIu64 " packs looked at, %s given back",
                          reply->packs_looked_at, freed);
        } else {
            progress_clear(&progress);
            rc = print_collect(cli, reply, err);
        }
        envelope_release(&in);
    }
    progress_clear(&progress);
    return rc;
}

enum varve_err
cmd_store_check_counts(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCheckCounts check = VARVE__V1__STORE_CHECK_COUNTS__INIT;
    const Varve__V1__StoreCheckCountsReply *r = NULL;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS;
    request.store_check_counts = &check;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    r = in.head->store_check_counts_reply;
    if (cli->json) {
        rc = print_json_line(cli->env->out,
                             json_pack("{s:o,s:o,s:o,s:o,s:b}", "points", json_bytes(r->points),
                                       "names", json_bytes(r->names), "missing",
                                       json_bytes(r->missing), "extra", json_bytes(r->extra),
                                       "at_least", r->at_least),
                             err);
    }
    if (rc == VARVE_OK && r->missing + r->extra > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%s%" PRIu64 " counts are too low, %" PRIu64 " too high: stop the "
                             "collector, remove the folder 'index' of its state, start it again",
                             r->at_least ? "at least " : "", r->missing, r->extra);
    } else if (rc == VARVE_OK && !cli->json && !cli->quiet) {
        (void)fprintf(cli->env->out,
                      "the counts of %" PRIu64 " names in %" PRIu64 " points are right\n", r->names,
                      r->points);
    }
    envelope_release(&in);
    return rc;
}

enum varve_err
cmd_store_clock(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreClock clock = VARVE__V1__STORE_CLOCK__INIT;
    const Varve__V1__StoreClockReply *r = NULL;
    struct session *s = NULL;
    struct envelope_in in;
    char text[32];
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    clock.confirm = cli_value(cli, "--confirm") != NULL;
    request.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CLOCK;
    request.store_clock = &clock;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_STORE_CLOCK_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    r = in.head->store_clock_reply;
    if (cli->json) {
        rc = print_json_line(
            cli->env->out,
            json_pack("{s:o,s:o,s:o}", "time", json_time(r->time_us), "clock",
                      json_time(r->clock_us), "doubt",
                      r->doubt == NULL ? json_null() : json_text(r->doubt->message)),
            err);
    } else if (!cli->quiet) {
        print_time(r->time_us, text);
        print_field(cli, "time", text);
        print_time(r->clock_us, text);
        print_field(cli, "clock", text);
    }
    if (rc == VARVE_OK && r->doubt != NULL) {
        rc = session_wire_error(r->doubt, err);
    }
    envelope_release(&in);
    return rc;
}
