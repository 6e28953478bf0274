/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

/* ---- tenants ---- */

static json_t *
json_tenant(const Varve__V1__TenantInfo *t)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "id", json_id(&t->id), "name", json_text(t->name),
                     "created_at", json_time(t->created_at_us), "hosts", json_bytes(t->hosts),
                     "points", json_bytes(t->points));
}

static void
add_tenant_row(struct print_table *table, const Varve__V1__TenantInfo *t)
{
    char id[PRINT_ID_TEXT];
    char created[32];
    char number[24];

    print_short_id(&t->id, id);
    print_time(t->created_at_us, created);
    print_table_cell(table, t->name);
    print_table_cell(table, id);
    (void)snprintf(number, sizeof(number), "%" PRIu32, t->hosts);
    print_table_cell(table, number);
    (void)snprintf(number, sizeof(number), "%" PRIu64, t->points);
    print_table_cell(table, number);
    print_table_cell(table, created);
}

/* Sends the request and shows every tenant of the answer; NULL said: as a table. */
static enum varve_err
ask_tenants(struct cli *cli, Varve__V1__Envelope *request, const char *said,
            struct varve_error *err)
{
    static const char *const headers[] = {"TENANT", "ID", ">HOSTS", ">POINTS", "CREATED"};
    struct print_table *table = NULL;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = session_send(s, request, &id, err);
    table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_TENANT_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        for (size_t i = 0; rc == VARVE_OK && i < in.head->tenant_reply->n_tenants; i++) {
            const Varve__V1__TenantInfo *t = in.head->tenant_reply->tenants[i];

            if (cli->json) {
                rc = print_json_line(cli->env->out, json_tenant(t), err);
            } else if (said == NULL) {
                add_tenant_row(table, t);
            } else if (!cli->quiet) {
                (void)fputs("tenant '", cli->env->out);
                print_text(cli->env->out, t->name);
                (void)fprintf(cli->env->out, "' %s\n", said);
            }
        }
        envelope_release(&in);
    }
    if (rc == VARVE_OK && !cli->json && said == NULL) {
        rc = print_table_print(table, cli->env->out, err);
    }
    print_table_free(table);
    return rc;
}

enum varve_err
cmd_tenant_add(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__TenantAdd m = VARVE__V1__TENANT_ADD__INIT;

    m.name = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_TENANT_ADD;
    request.tenant_add = &m;
    return ask_tenants(cli, &request, "is there", err);
}

enum varve_err
cmd_tenant_list(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__TenantList m = VARVE__V1__TENANT_LIST__INIT;

    request.body_case = VARVE__V1__ENVELOPE__BODY_TENANT_LIST;
    request.tenant_list = &m;
    return ask_tenants(cli, &request, NULL, err);
}

enum varve_err
cmd_tenant_show(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__TenantList m = VARVE__V1__TENANT_LIST__INIT;

    m.name = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_TENANT_LIST;
    request.tenant_list = &m;
    return ask_tenants(cli, &request, NULL, err);
}

enum varve_err
cmd_tenant_remove(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__TenantRemove m = VARVE__V1__TENANT_REMOVE__INIT;

    m.name = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_TENANT_REMOVE;
    request.tenant_remove = &m;
    return ask_tenants(cli, &request, "is gone and its key destroyed", err);
}

enum varve_err
cmd_host_move(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostMove m = VARVE__V1__HOST_MOVE__INIT;
    const Varve__V1__HostInfo *h;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    m.host = cli->args[0];
    m.tenant = cli->args[1];
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_MOVE;
    request.host_move = &m;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    h = in.head->host_move_reply->host;
    if (h == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector did not say which host");
    } else if (cli->json) {
        rc = print_json_line(cli->env->out, json_host(h), err);
    } else if (!cli->quiet) {
        (void)fputs("host '", cli->env->out);
        print_text(cli->env->out, h->name);
        (void)fputs("' is of tenant '", cli->env->out);
        print_text(cli->env->out, h->tenant);
        (void)fputs("': its vms begin again with full backups\n", cli->env->out);
    }
    envelope_release(&in);
    return rc;
}

/* ---- quotas ---- */

/* "none", or a number and K, M, G, T or P of 1024. */
static enum varve_err
parse_limit(const char *option, const char *text, bool bytes, uint64_t *out,
            struct varve_error *err)
{
    static const char units[] = "KMGTP";
    const char *p = text;
    const char *unit;
    uint64_t n = 0;
    bool fits = true;

    if (strcmp(text, "none") == 0) {
        *out = 0;
        return VARVE_OK;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        fits = fits && n <= (UINT64_MAX >> 1) / 10;
        n = fits ? n * 10 + (uint64_t)(*p - '0') : n;
    }
    unit = bytes && *p != '\0' ? strchr(units, *p) : NULL;
    if (p == text || (unit != NULL ? p[1] != '\0' : *p != '\0') || (fits && n == 0)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' is no limit for %s: write %s, or none to lift it", text,
                               option, bytes ? "500G, 20T" : "a number above 0");
    }
    for (const char *u = units; unit != NULL && u <= unit; u++) {
        fits = fits && n <= (UINT64_MAX >> 1) / 1024;
        n = fits ? n * 1024 : n;
    }
    if (!fits) {
        return varve_error_set(err, VARVE_ERR_INVALID, "%s %.64s is out of range", option, text);
    }
    *out = n;
    return VARVE_OK;
}

static json_t *
json_limits(const Varve__V1__QuotaLimits *q)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "logical", json_bytes(q->logical), "stored",
                     json_bytes(q->stored), "daily", json_bytes(q->daily), "vms",
                     json_bytes(q->vms), "runs", json_bytes(q->runs));
}

static void
add_pair(const struct cli *cli, struct print_table *t, uint64_t used, uint64_t limit, bool bytes)
{
    char a[PRINT_SIZE_TEXT];
    char b[PRINT_SIZE_TEXT];
    char both[2 * PRINT_SIZE_TEXT + 4];

    if (bytes) {
        print_size(cli, used, a);
        print_size(cli, limit, b);
    } else {
        (void)snprintf(a, sizeof(a), "%" PRIu64, used);
        (void)snprintf(b, sizeof(b), "%" PRIu64, limit);
    }
    (void)snprintf(both, sizeof(both), "%s / %s", a, limit == 0 ? "-" : b);
    print_table_cell(t, both);
}

static enum varve_err
show_quota(const struct cli *cli, struct print_table *t, const Varve__V1__QuotaInfo *q,
           struct varve_error *err)
{
    const Varve__V1__QuotaLimits *limits = q->limits;
    const Varve__V1__QuotaLimits *used = q->used;

    if (limits == NULL || used == NULL) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector sent a quota of nothing");
    }
    if (cli->json) {
        return print_json_line(cli->env->out,
                               json_pack("{s:o,s:o,s:o,s:o}", "host",
                                         q->host[0] == '\0' ? json_null() : json_text(q->host),
                                         "tenant",
                                         q->tenant[0] == '\0' ? json_null() : json_text(q->tenant),
                                         "limits", json_limits(limits), "used", json_limits(used)),
                               err);
    }
    print_table_cell(t, q->host[0] != '\0' ? "host" : "tenant");
    print_table_cell(t, q->host[0] != '\0' ? q->host : q->tenant);
    add_pair(cli, t, used->logical, limits->logical, true);
    add_pair(cli, t, used->stored, limits->stored, true);
    add_pair(cli, t, used->daily, limits->daily, true);
    add_pair(cli, t, used->vms, limits->vms, false);
    add_pair(cli, t, used->runs, limits->runs, false);
    return VARVE_OK;
}

static enum varve_err
ask_quotas(struct cli *cli, Varve__V1__Envelope *request, struct varve_error *err)
{
    static const char *const headers[] = {"OF",     "NAME", ">LOGICAL", ">STORED",
                                          ">TODAY", ">VMS", ">RUNS"};
    struct print_table *table = NULL;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = session_send(s, request, &id, err);
    table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        for (size_t i = 0; rc == VARVE_OK && i < in.head->quota_reply->n_quotas; i++) {
            rc = show_quota(cli, table, in.head->quota_reply->quotas[i], err);
        }
        envelope_release(&in);
    }
    if (rc == VARVE_OK && !cli->json) {
        rc = print_table_print(table, cli->env->out, err);
    }
    print_table_free(table);
    return rc;
}

static char *
value_or_empty(const struct cli *cli, const char *option)
{
    const char *value = cli_value(cli, option);

    return (char *)(uintptr_t)(value == NULL ? "" : value); /* only read */
}

enum varve_err
cmd_quota_set(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__QuotaSet m = VARVE__V1__QUOTA_SET__INIT;
    Varve__V1__QuotaLimits limits = VARVE__V1__QUOTA_LIMITS__INIT;
    const struct {
        const char *option;
        uint64_t *value;
        bool bytes;
    } fields[] = {
        {"--logical", &limits.logical, true}, {"--stored", &limits.stored, true},
        {"--daily", &limits.daily, true},     {"--vms", &limits.vms, false},
        {"--runs", &limits.runs, false},
    };
    enum varve_err rc = VARVE_OK;

    m.host = value_or_empty(cli, "--host");
    m.tenant = value_or_empty(cli, "--tenant");
    m.limits = &limits;
    for (size_t i = 0; rc == VARVE_OK && i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *text = cli_value(cli, fields[i].option);

        if (text != NULL) {
            m.mask |= 1u << i;
            rc = parse_limit(fields[i].option, text, fields[i].bytes, fields[i].value, err);
        }
    }
    if (rc == VARVE_OK && (m.host[0] == '\0') == (m.tenant[0] == '\0')) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "whose quota?  Give --host or --tenant");
    }
    if (rc == VARVE_OK && m.mask == 0) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "which quota?  Give --logical, --stored, --daily, --vms or --runs");
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_QUOTA_SET;
    request.quota_set = &m;
    return ask_quotas(cli, &request, err);
}

enum varve_err
cmd_quota_show(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__QuotaShow m = VARVE__V1__QUOTA_SHOW__INIT;

    m.host = value_or_empty(cli, "--host");
    m.tenant = value_or_empty(cli, "--tenant");
    if (m.host[0] != '\0' && m.tenant[0] != '\0') {
        return varve_error_set(err, VARVE_ERR_INVALID, "give --host or --tenant, not both");
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_QUOTA_SHOW;
    request.quota_show = &m;
    return ask_quotas(cli, &request, err);
}
