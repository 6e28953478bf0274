/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

static enum varve_err
print_invitation(struct cli *cli, const char *name, const Varve__V1__HostInviteReply *reply,
                 struct varve_error *err)
{
    FILE *out = cli->env->out;
    char expires[32];

    if (cli->json) {
        return print_json_line(out,
                               json_pack("{s:o,s:o,s:o}", "name", json_text(name), "token",
                                         json_text(reply->token), "expires_at",
                                         json_time(reply->expires_at_us)),
                               err);
    }
    if (cli->quiet) {
        print_text(out, reply->token);
        (void)fputc('\n', out);
        return VARVE_OK;
    }
    print_time(reply->expires_at_us, expires);
    (void)fputs("On the host '", out);
    print_text(out, name);
    (void)fprintf(out, "', until %s, once:\n\n    varve-agent enroll ", expires);
    print_text(out, reply->token);
    (void)fputc('\n', out);
    return VARVE_OK;
}

enum varve_err
cmd_host_invite(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInvite invite = VARVE__V1__HOST_INVITE__INIT;
    const char *ttl = cli_value(cli, "--ttl");
    const char *address = cli_value(cli, "--address");
    const char *tenant = cli_value(cli, "--tenant");
    uint64_t seconds = 0;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc = VARVE_OK;

    invite.name = cli->args[0];
    invite.address = (char *)(uintptr_t)(address == NULL ? "" : address); /* only read */
    invite.tenant = (char *)(uintptr_t)(tenant == NULL ? "" : tenant);
    if (ttl != NULL) {
        rc = cli_seconds(ttl, "--ttl", &seconds, err);
        invite.ttl_seconds = (uint32_t)seconds; /* cli_seconds() gives no more */
    }
    if (rc == VARVE_OK) {
        rc = cli_session(cli, &s, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_INVITE;
    request.host_invite = &invite;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY, &in, err);
    if (rc == VARVE_OK) {
        rc = print_invitation(cli, cli->args[0], in.head->host_invite_reply, err);
        envelope_release(&in);
    }
    return rc;
}

static void
add_host_row(struct print_table *t, const Varve__V1__HostInfo *h)
{
    char id[PRINT_ID_TEXT];
    char seen[32];

    print_short_id(&h->id, id);
    print_time(h->last_seen_us, seen);
    print_table_cell(t, h->name);
    print_table_cell(t, id);
    print_table_cell(t, h->connected ? "connected" : h->state);
    print_table_cell(t, h->address);
    print_table_cell(t, seen);
    print_table_cell(t, h->software);
    print_table_cell(t, h->provider);
    print_table_cell(t, h->tenant);
}

/* A list comes in one reply or in several; each line of JSON is printed as it comes. */
enum varve_err
cmd_host_list(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {"HOST",      "ID",       "STATE",    "ADDRESS",
                                          "LAST SEEN", "SOFTWARE", "PROVIDER", "TENANT"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostList list = VARVE__V1__HOST_LIST__INIT;
    struct print_table *table = NULL;
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc;

    rc = cli_session(cli, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_LIST;
    request.host_list = &list;
    rc = session_send(s, &request, &id, err);
    table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_HOST_LIST_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        for (size_t i = 0; rc == VARVE_OK && i < in.head->host_list_reply->n_hosts; i++) {
            const Varve__V1__HostInfo *h = in.head->host_list_reply->hosts[i];

            if (cli->json) {
                rc = print_json_line(cli->env->out, json_host(h), err);
            } else {
                add_host_row(table, h);
            }
        }
        envelope_release(&in);
    }
    if (rc == VARVE_OK && !cli->json) {
        rc = print_table_print(table, cli->env->out, err);
    }
    print_table_free(table);
    return rc;
}

enum varve_err
cmd_host_revoke(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostRevoke revoke = VARVE__V1__HOST_REVOKE__INIT;
    const Varve__V1__HostInfo *h;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc;

    rc = cli_session(cli, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    revoke.host = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_REVOKE;
    request.host_revoke = &revoke;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_HOST_REVOKE_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    h = in.head->host_revoke_reply->host;
    if (h == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector did not say which host");
    } else if (cli->json) {
        rc = print_json_line(cli->env->out, json_host(h), err);
    } else if (!cli->quiet) {
        (void)fputs("host '", cli->env->out);
        print_text(cli->env->out, h->name);
        (void)fputs("' is refused from now on\n", cli->env->out);
    }
    envelope_release(&in);
    return rc;
}
