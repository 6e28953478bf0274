/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/listing.h"

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

/* l->arg: what happened to it; NULL: it is only shown. */
static enum varve_err
take_tenants(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__TenantReply *reply = head->tenant_reply;
    FILE *out = l->cli->env->out;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_tenants; i++) {
        const Varve__V1__TenantInfo *t = reply->tenants[i];

        if (l->cli->json) {
            rc = print_json_line(out, json_tenant(t), err);
        } else if (l->arg == NULL) {
            add_tenant_row(l->table, t);
        } else if (!l->cli->quiet) {
            (void)fputs("tenant '", out);
            print_text(out, t->name);
            (void)fprintf(out, "' %s\n", (const char *)l->arg);
        }
    }
    return rc;
}

/* Sends the request and shows every tenant of the answer; said NULL: as a table. */
static enum varve_err
ask_tenants(struct cli *cli, Varve__V1__Envelope *request, const char *said,
            struct varve_error *err)
{
    static const char *const headers[] = {"TENANT", "ID", ">HOSTS", ">POINTS", "CREATED"};

    return listing_run(cli, request, VARVE__V1__ENVELOPE__BODY_TENANT_REPLY,
                       said == NULL ? headers : NULL, sizeof(headers) / sizeof(headers[0]),
                       take_tenants, (void *)(uintptr_t)said, err);
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
