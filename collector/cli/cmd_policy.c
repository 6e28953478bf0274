/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/session.h"

/* How long points are kept: policies, and retention, which applies them. */

/* ---- policies ---- */

static enum varve_err
print_policy(struct cli *cli, struct print_table *t, const Varve__V1__Policy *p,
             const char *fallback, struct varve_error *err)
{
    const uint32_t numbers[] = {p->last,    p->hourly, p->daily,       p->weekly,
                                p->monthly, p->yearly, p->window_hours};

    if (cli->json) {
        return print_json_line(
            cli->env->out,
            json_pack("{s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:o,s:b}", "policy", json_text(p->name),
                      "last", (int)p->last, "hourly", (int)p->hourly, "daily", (int)p->daily,
                      "weekly", (int)p->weekly, "monthly", (int)p->monthly, "yearly",
                      (int)p->yearly, "undelete_hours", (int)p->window_hours, "method",
                      json_text(p->method), "default", strcmp(p->name, fallback) == 0 ? 1 : 0),
            err);
    }
    print_table_cell(t, p->name);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char text[24];

        (void)snprintf(text, sizeof(text), i == 6 ? "%u h" : "%u", numbers[i]);
        print_table_cell(t, text);
    }
    print_table_cell(t, p->method[0] != '\0' ? p->method : "-");
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

/* l->arg: whether to show them.  All policies come in the first reply. */
static enum varve_err
take_policies(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    static const char *const headers[] = {"POLICY",   ">LAST",   ">HOURLY",   ">DAILY", ">WEEKLY",
                                          ">MONTHLY", ">YEARLY", ">UNDELETE", "METHOD", "DEFAULT"};
    const Varve__V1__PolicyChangeReply *reply = head->policy_change_reply;
    struct cli *cli = l->cli;
    struct print_table *table = NULL;
    enum varve_err rc = VARVE_OK;

    if (!*(const bool *)l->arg) {
        return VARVE_OK;
    }
    table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    for (size_t i = 0; rc == VARVE_OK && i < reply->n_policies; i++) {
        rc = print_policy(cli, table, reply->policies[i], reply->fallback, err);
    }
    if (rc == VARVE_OK && !cli->json && reply->n_policies > 0) {
        rc = print_table_print(table, cli->env->out, err);
    }
    print_table_free(table);
    for (size_t i = 0; rc == VARVE_OK && i < reply->n_vms; i++) {
        rc = print_policy_vm(cli, reply->vms[i], err);
    }
    if (rc == VARVE_OK && !head->more && !cli->json && !cli->quiet && reply->fallback[0] == '\0') {
        (void)fputs("no default policy: points of other vms are kept for ever\n", cli->env->out);
    }
    return rc;
}

/* Sends the change and shows what there is after it. */
static enum varve_err
policies(struct cli *cli, Varve__V1__PolicyChange *change, bool show, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    struct session *s = NULL;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc == VARVE_OK && change->put != NULL && change->put->method[0] != '\0') {
        rc = session_check_methods(s, change->put->method, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE;
    request.policy_change = change;
    return listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY, NULL, 0,
                       take_policies, &show, err);
}

enum varve_err
cmd_policy_list(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;

    return policies(cli, &change, true, err);
}

enum varve_err
cmd_policy_set(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PolicyChange change = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__Policy policy = VARVE__V1__POLICY__INIT;
    const char *window = cli_value(cli, "--undelete-for");
    const char *method = cli_value(cli, "--method");
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
        rc = cli_number(cli, numbers[i].option, numbers[i].to, err);
    }
    if (rc == VARVE_OK && window != NULL && strcmp(window, "0") == 0) {
        seconds = 0;
    } else if (rc == VARVE_OK && window != NULL) {
        rc = cli_seconds(window, "--undelete-for", &seconds, err);
    }
    policy.window_hours = (uint32_t)((seconds + 3599) / 3600);
    policy.method = method != NULL ? (char *)(uintptr_t)method : policy.method; /* only read */
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

/* l->arg: the request. */
static enum varve_err
take_verdicts(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__RetentionReply *reply = head->retention_reply;
    const Varve__V1__RetentionRun *run = l->arg;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_verdicts; i++) {
        rc = print_verdict(l->cli, reply->verdicts[i], run->dry_run, err);
    }
    return rc;
}

enum varve_err
cmd_retention_run(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RetentionRun run = VARVE__V1__RETENTION_RUN__INIT;

    run.dry_run = cli_value(cli, "--dry-run") != NULL;
    if (cli->arg_count > 0) {
        run.vm = cli->args[0];
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_RETENTION_RUN;
    request.retention_run = &run;
    return listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_RETENTION_REPLY, NULL, 0,
                       take_verdicts, &run, err);
}
