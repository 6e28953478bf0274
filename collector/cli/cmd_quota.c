/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"

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
take_quotas(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__QuotaReply *reply = head->quota_reply;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_quotas; i++) {
        rc = show_quota(l->cli, l->table, reply->quotas[i], err);
    }
    return rc;
}

static enum varve_err
ask_quotas(struct cli *cli, Varve__V1__Envelope *request, struct varve_error *err)
{
    static const char *const headers[] = {"OF",     "NAME", ">LOGICAL", ">STORED",
                                          ">TODAY", ">VMS", ">RUNS"};

    return listing_run(cli, request, VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY, headers,
                       sizeof(headers) / sizeof(headers[0]), take_quotas, NULL, err);
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
