/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"
#include "state/state.h"
#include "wire/access.h"

/* HostInvite, HostList, HostRevoke. */

#define INVITE_DEFAULT_S (24u * 3600)
#define INVITE_MIN_S     1u
#define INVITE_MAX_S     (30u * 24 * 3600)

/* Where the agent shall dial when the operator does not say: the first address that others reach. */
static const char *
default_address(const struct collector *c)
{
    const char *first = NULL;
    const char *url;

    for (size_t i = 0; (url = registry_url(c->registry, i)) != NULL; i++) {
        if (strncmp(url, "tcp://", 6) != 0) {
            continue;
        }
        if (first == NULL && strncmp(url, "tcp://0.0.0.0:", 14) != 0 &&
            strncmp(url, "tcp://[::]:", 11) != 0) {
            first = url;
        }
    }
    return first;
}

static enum varve_err
invite(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
       struct varve_error *err)
{
    const Varve__V1__HostInvite *m = head->host_invite;
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInviteReply body = VARVE__V1__HOST_INVITE_REPLY__INIT;
    const char *address = m->address[0] != '\0' ? m->address : default_address(c);
    uint32_t ttl = m->ttl_seconds != 0 ? m->ttl_seconds : INVITE_DEFAULT_S;
    struct access_token token;
    char text[ACCESS_TOKEN_SIZE];
    struct tenant tenant;
    struct guid host;
    int64_t now = time_now_us();
    enum varve_err rc;

    (void)slot;
    memset(&tenant, 0, sizeof(tenant));
    if (ttl < INVITE_MIN_S || ttl > INVITE_MAX_S) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "an invitation lives %u s at least and %u days at most",
                               INVITE_MIN_S, INVITE_MAX_S / 86400);
    }
    if (address == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "the collector listens on no address of its own that a host could "
                               "dial; say which with --address tcp://NAME:PORT");
    }
    memset(&token, 0, sizeof(token));
    if (strlen(address) > ACCESS_ADDRESS_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "the address is longer than %u characters",
                               ACCESS_ADDRESS_MAX);
    }
    (void)snprintf(token.address, sizeof(token.address), "%s", address);
    memcpy(token.collector, registry_public_key(c->registry), IDENTITY_KEY_SIZE);
    crypto_random(token.secret.id, sizeof(token.secret.id));
    crypto_random(token.secret.secret, sizeof(token.secret.secret));
    token.expires_s = (uint64_t)now / 1000000 + ttl;
    rc = access_token_format(&token, text, err);
    if (rc == VARVE_OK && m->tenant[0] != '\0') {
        rc = state_tenant_select(c->state, m->tenant, &tenant, err);
    }
    if (rc == VARVE_OK) {
        rc = state_host_invite(c->state, m->name, now, now + (int64_t)ttl * 1000000,
                               token.secret.id, token.secret.secret, &host, err);
    }
    if (rc == VARVE_OK) { /* before anybody has the token */
        rc = state_host_set_tenant(c->state, &host, &tenant.id, err);
    }
    if (rc == VARVE_OK) {
        log_info("session", "invited host='%s' for %" PRIu32 " s", m->name, ttl);
        body.token = text;
        body.expires_at_us = now + (int64_t)ttl * 1000000;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY;
        reply.host_invite_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, false, err);
    }
    tenant_release(&tenant);
    memset(&token, 0, sizeof(token));
    memset(text, 0, sizeof(text));
    return rc;
}

static enum varve_err
list(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    struct host *hosts = NULL;
    Varve__V1__HostInfo infos[OP_LIST_PART];
    Varve__V1__HostInfo *infos_list[OP_LIST_PART];
    size_t count = 0;
    size_t done = 0;
    enum varve_err rc;

    (void)slot;
    (void)head;
    rc = state_host_list(c->state, &hosts, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    do {
        Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__HostListReply body = VARVE__V1__HOST_LIST_REPLY__INIT;

        for (body.n_hosts = 0; body.n_hosts < OP_LIST_PART && done < count; done++) {
            Varve__V1__HostInfo *info = &infos[body.n_hosts];

            op_host_info(info, &hosts[done], op_tenant_name(c, &hosts[done].tenant),
                         registry_host_connected(c->registry, &hosts[done].id));
            infos_list[body.n_hosts++] = info;
        }
        body.hosts = infos_list;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_HOST_LIST_REPLY;
        reply.host_list_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, done < count, err);
    } while (rc == VARVE_OK && done < count);
    host_list_free(hosts, count);
    return rc;
}

static enum varve_err
revoke(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
       struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostRevokeReply body = VARVE__V1__HOST_REVOKE_REPLY__INIT;
    Varve__V1__HostInfo info;
    struct host h;
    enum varve_err rc;

    (void)slot;
    memset(&h, 0, sizeof(h));
    rc = state_host_select(c->state, head->host_revoke->host, &h, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    /* Written down first, so that it cannot come back between its end and the note. */
    rc = state_host_revoke(c->state, &h.id, err);
    if (rc == VARVE_OK) {
        registry_drop_host(c->registry, &h.id);
        ingest_host_revoked(c->ingest, &h.id);
        log_warn("session", "revoked host='%s'", h.name);
        h.state = HOST_REVOKED;
        h.invite_expires_us = 0;
        op_host_info(&info, &h, op_tenant_name(c, &h.tenant), false);
        body.host = &info;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_HOST_REVOKE_REPLY;
        reply.host_revoke_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, false, err);
    }
    host_release(&h);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_HOST_INVITE, OP_INLINE, invite},
    {VARVE__V1__ENVELOPE__BODY_HOST_LIST, OP_INLINE, list},
    {VARVE__V1__ENVELOPE__BODY_HOST_REVOKE, OP_THREAD, revoke},
};

const struct op_module op_hosts_module = {
    .name = "hosts", .handlers = handlers, .handler_count = sizeof(handlers) / sizeof(handlers[0])};
