/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"
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

static enum varve_err
take_hosts(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__HostListReply *reply = head->host_list_reply;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_hosts; i++) {
        if (l->cli->json) {
            rc = print_json_line(l->cli->env->out, json_host(reply->hosts[i]), err);
        } else {
            add_host_row(l->table, reply->hosts[i]);
        }
    }
    return rc;
}

enum varve_err
cmd_host_list(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {"HOST",      "ID",       "STATE",    "ADDRESS",
                                          "LAST SEEN", "SOFTWARE", "PROVIDER", "TENANT"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostList list = VARVE__V1__HOST_LIST__INIT;

    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_LIST;
    request.host_list = &list;
    return listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_HOST_LIST_REPLY, headers,
                       sizeof(headers) / sizeof(headers[0]), take_hosts, NULL, err);
}

/* Sends a change of one host; for people the reply is told by say(). */
static enum varve_err
change_host(struct cli *cli, Varve__V1__Envelope *request, Varve__V1__Envelope__BodyCase reply,
            void (*say)(FILE *out, const Varve__V1__HostInfo *h), struct varve_error *err)
{
    const Varve__V1__HostInfo *h;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc == VARVE_OK) {
        rc = session_call(s, request, reply, &in, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    h = reply == VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY ? in.head->host_move_reply->host
                                                           : in.head->host_revoke_reply->host;
    if (h == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector did not say which host");
    } else if (cli->json) {
        rc = print_json_line(cli->env->out, json_host(h), err);
    } else if (!cli->quiet) {
        say(cli->env->out, h);
    }
    envelope_release(&in);
    return rc;
}

static void
say_revoked(FILE *out, const Varve__V1__HostInfo *h)
{
    (void)fputs("host '", out);
    print_text(out, h->name);
    (void)fputs("' is refused from now on\n", out);
}

enum varve_err
cmd_host_revoke(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostRevoke revoke = VARVE__V1__HOST_REVOKE__INIT;

    revoke.host = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_REVOKE;
    request.host_revoke = &revoke;
    return change_host(cli, &request, VARVE__V1__ENVELOPE__BODY_HOST_REVOKE_REPLY, say_revoked,
                       err);
}

static void
say_moved(FILE *out, const Varve__V1__HostInfo *h)
{
    (void)fputs("host '", out);
    print_text(out, h->name);
    (void)fputs("' is of tenant '", out);
    print_text(out, h->tenant);
    (void)fputs("': its vms begin again with full backups\n", out);
}

enum varve_err
cmd_host_move(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostMove m = VARVE__V1__HOST_MOVE__INIT;

    m.host = cli->args[0];
    m.tenant = cli->args[1];
    request.body_case = VARVE__V1__ENVELOPE__BODY_HOST_MOVE;
    request.host_move = &m;
    return change_host(cli, &request, VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY, say_moved, err);
}
