/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ingest/ingest.h"
#include "jobs/tenants.h"
#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"
#include "state/state.h"

/* TenantAdd, TenantList, TenantRemove, HostMove, QuotaSet, QuotaShow. */

static void
fill_tenant(Varve__V1__TenantInfo *out, const struct tenant *t, const struct host *hosts,
            size_t host_count, size_t points)
{
    varve__v1__tenant_info__init(out);
    out->id.data = (uint8_t *)(uintptr_t)t->id.bytes; /* only read */
    out->id.len = sizeof(t->id.bytes);
    out->name = t->name;
    out->created_at_us = t->created_at_us;
    out->points = points;
    for (size_t i = 0; i < host_count; i++) {
        out->hosts += hosts[i].state != HOST_REVOKED && guid_equal(&hosts[i].tenant, &t->id);
    }
}

/* `count` tenants in parts. */
static enum varve_err
send_tenants(const struct collector *c, const struct tenant *tenants, size_t count,
             struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__TenantInfo infos[OP_LIST_PART];
    Varve__V1__TenantInfo *list[OP_LIST_PART];
    struct host *hosts = NULL;
    size_t host_count = 0;
    size_t done = 0;
    enum varve_err rc = state_host_list(c->state, &hosts, &host_count, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    do {
        Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__TenantReply body = VARVE__V1__TENANT_REPLY__INIT;

        for (; rc == VARVE_OK && body.n_tenants < OP_LIST_PART && done < count; done++) {
            size_t points = 0;

            rc = tenants_count_points(c->catalog, &tenants[done].id, &points, err);
            if (rc == VARVE_OK) {
                fill_tenant(&infos[body.n_tenants], &tenants[done], hosts, host_count, points);
                list[body.n_tenants] = &infos[body.n_tenants];
                body.n_tenants++;
            }
        }
        body.tenants = list;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_TENANT_REPLY;
        reply.tenant_reply = &body;
        if (rc == VARVE_OK) {
            rc = op_reply(sink, &reply, NULL, 0, done < count, err);
        }
    } while (rc == VARVE_OK && done < count);
    host_list_free(hosts, host_count);
    return rc;
}

static enum varve_err
add(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
    struct varve_error *err)
{
    struct tenant t;
    enum varve_err rc;

    (void)slot;
    memset(&t, 0, sizeof(t));
    rc = tenants_add(c->state, c->chunks, head->tenant_add->name, &t, err);
    if (rc == VARVE_OK) {
        log_info("session", "added tenant='%s'", t.name);
        rc = send_tenants(c, &t, 1, sink, err);
    }
    tenant_release(&t);
    return rc;
}

static enum varve_err
list(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    const char *name = head->tenant_list->name;
    struct tenant *tenants = NULL;
    size_t count = 0;
    enum varve_err rc;

    (void)slot;
    if (name[0] != '\0') {
        tenants = calloc(1, sizeof(*tenants));
        count = 1;
        rc = tenants == NULL ? varve_error_nomem(err)
                             : state_tenant_select(c->state, name, &tenants[0], err);
        count = tenants == NULL ? 0 : 1;
    } else {
        rc = state_tenant_list(c->state, &tenants, &count, err);
    }
    if (rc == VARVE_OK) {
        rc = send_tenants(c, tenants, count, sink, err);
    }
    tenant_list_free(tenants, count);
    return rc;
}

static enum varve_err
remove_tenant(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
              struct op_sink *sink, struct varve_error *err)
{
    struct tenant t;
    enum varve_err rc;

    (void)slot;
    memset(&t, 0, sizeof(t));
    rc = state_tenant_select(c->state, head->tenant_remove->name, &t, err);
    if (rc == VARVE_OK) {
        rc = tenants_remove(c->state, c->chunks, c->catalog, &t, err);
    }
    if (rc == VARVE_OK) {
        log_warn("session", "removed tenant='%s', its key is destroyed", t.name);
        rc = send_tenants(c, &t, 1, sink, err);
    }
    tenant_release(&t);
    return rc;
}

static enum varve_err
move(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostMoveReply body = VARVE__V1__HOST_MOVE_REPLY__INIT;
    Varve__V1__HostInfo info;
    struct tenant t;
    struct host h;
    enum varve_err rc;

    (void)slot;
    memset(&t, 0, sizeof(t));
    memset(&h, 0, sizeof(h));
    rc = state_host_select(c->state, head->host_move->host, &h, err);
    if (rc == VARVE_OK) {
        rc = state_tenant_select(c->state, head->host_move->tenant, &t, err);
    }
    if (rc == VARVE_OK && !guid_equal(&h.tenant, &t.id)) {
        /* Written down first, so that no session begins as the old one's behind its end. */
        rc = state_host_set_tenant(c->state, &h.id, &t.id, err);
        if (rc == VARVE_OK) {
            registry_drop_host(c->registry, &h.id);
            ingest_host_revoked(c->ingest, &h.id); /* its runs were the old tenant's */
            h.tenant = t.id;
            log_warn("session", "moved host='%s' to tenant='%s'", h.name, t.name);
        }
    }
    if (rc == VARVE_OK) {
        op_host_info(&info, &h, t.name, registry_host_connected(c->registry, &h.id));
        body.host = &info;
        reply.body_case = VARVE__V1__ENVELOPE__BODY_HOST_MOVE_REPLY;
        reply.host_move_reply = &body;
        rc = op_reply(sink, &reply, NULL, 0, false, err);
    }
    tenant_release(&t);
    host_release(&h);
    return rc;
}

/* ---- quotas ---- */

/* The one that a request means. */
struct subject {
    enum quota_scope scope;
    struct guid id;
    char *name;
};

static enum varve_err
find_subject(const struct collector *c, const char *host, const char *tenant, struct subject *out,
             struct varve_error *err)
{
    struct tenant t;
    struct host h;
    enum varve_err rc;

    if ((host[0] == '\0') == (tenant[0] == '\0')) {
        return varve_error_set(err, VARVE_ERR_INVALID, "name one host or one tenant");
    }
    if (host[0] != '\0') {
        rc = state_host_select(c->state, host, &h, err);
        if (rc == VARVE_OK) {
            *out = (struct subject){QUOTA_HOST, h.id, h.name};
            h.name = NULL;
            host_release(&h);
        }
        return rc;
    }
    rc = state_tenant_select(c->state, tenant, &t, err);
    if (rc == VARVE_OK) {
        *out = (struct subject){QUOTA_TENANT, t.id, t.name};
    }
    return rc;
}

struct quota_message {
    Varve__V1__QuotaInfo info;
    Varve__V1__QuotaLimits limits;
    Varve__V1__QuotaLimits used;
};

static enum varve_err
fill_quota(const struct collector *c, const struct subject *who, struct quota_message *out,
           struct varve_error *err)
{
    struct quota_figures used;
    struct quota q;
    enum varve_err rc = quotas_figures(c->quotas, who->scope, &who->id, &used, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    quotas_get(c->quotas, who->scope, &who->id, &q);
    varve__v1__quota_info__init(&out->info);
    varve__v1__quota_limits__init(&out->limits);
    varve__v1__quota_limits__init(&out->used);
    if (who->scope == QUOTA_HOST) {
        out->info.host = who->name;
    } else {
        out->info.tenant = who->name;
    }
    out->limits.logical = q.logical;
    out->limits.stored = q.stored;
    out->limits.daily = q.daily;
    out->limits.vms = q.vms;
    out->limits.runs = q.runs;
    out->used.logical = used.logical;
    out->used.stored = used.stored;
    out->used.daily = used.today;
    out->used.vms = used.vms;
    out->used.runs = used.runs;
    out->info.limits = &out->limits;
    out->info.used = &out->used;
    return VARVE_OK;
}

static enum varve_err
send_quota(const struct collector *c, const struct subject *who, bool more, struct op_sink *sink,
           struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__QuotaReply body = VARVE__V1__QUOTA_REPLY__INIT;
    struct quota_message message;
    Varve__V1__QuotaInfo *one = &message.info;
    enum varve_err rc = fill_quota(c, who, &message, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    body.quotas = &one;
    body.n_quotas = 1;
    reply.body_case = VARVE__V1__ENVELOPE__BODY_QUOTA_REPLY;
    reply.quota_reply = &body;
    return op_reply(sink, &reply, NULL, 0, more, err);
}

static enum varve_err
quota_set(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
          struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__QuotaSet *m = head->quota_set;
    struct subject who = {.name = NULL};
    struct quota q;
    enum varve_err rc = find_subject(c, m->host, m->tenant, &who, err);

    (void)slot;
    if (rc == VARVE_OK && (m->limits == NULL || m->mask == 0)) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "no quota was given");
    }
    if (rc == VARVE_OK) {
        quotas_get(c->quotas, who.scope, &who.id, &q);
        q.logical = (m->mask & 1u) != 0 ? m->limits->logical : q.logical;
        q.stored = (m->mask & 2u) != 0 ? m->limits->stored : q.stored;
        q.daily = (m->mask & 4u) != 0 ? m->limits->daily : q.daily;
        q.vms = (m->mask & 8u) != 0 ? m->limits->vms : q.vms;
        q.runs = (m->mask & 16u) != 0 ? m->limits->runs : q.runs;
        rc = quotas_set(c->quotas, &q, err);
    }
    if (rc == VARVE_OK) {
        log_info("session", "quota of %s '%s' was set", who.scope == QUOTA_HOST ? "host" : "tenant",
                 who.name);
        rc = send_quota(c, &who, false, sink, err);
    }
    free(who.name);
    return rc;
}

static bool
has_quota(const struct collector *c, enum quota_scope scope, const struct guid *id)
{
    struct quota q;

    quotas_get(c->quotas, scope, id, &q);
    return (q.logical | q.stored | q.daily | q.vms | q.runs) != 0;
}

/* Every tenant, then the hosts that have quotas of their own. */
static enum varve_err
show_all(const struct collector *c, struct op_sink *sink, struct varve_error *err)
{
    struct tenant *tenants = NULL;
    struct host *hosts = NULL;
    size_t tenant_count = 0;
    size_t host_count = 0;
    size_t left = 0;
    enum varve_err rc = state_tenant_list(c->state, &tenants, &tenant_count, err);

    if (rc == VARVE_OK) {
        rc = state_host_list(c->state, &hosts, &host_count, err);
    }
    for (size_t i = 0; i < host_count; i++) {
        left += has_quota(c, QUOTA_HOST, &hosts[i].id);
    }
    for (size_t i = 0; rc == VARVE_OK && i < tenant_count; i++) {
        const struct subject who = {QUOTA_TENANT, tenants[i].id, tenants[i].name};

        rc = send_quota(c, &who, left > 0 || i + 1 < tenant_count, sink, err);
    }
    for (size_t i = 0; rc == VARVE_OK && left > 0 && i < host_count; i++) {
        const struct subject who = {QUOTA_HOST, hosts[i].id, hosts[i].name};

        if (has_quota(c, QUOTA_HOST, &who.id)) {
            rc = send_quota(c, &who, --left > 0, sink, err);
        }
    }
    if (rc == VARVE_OK && left > 0) { /* one was taken away meanwhile */
        rc = varve_error_set(err, VARVE_ERR_STALE, "quotas were changed meanwhile: ask again");
    }
    tenant_list_free(tenants, tenant_count);
    host_list_free(hosts, host_count);
    return rc;
}

static enum varve_err
quota_show(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
           struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__QuotaShow *m = head->quota_show;
    struct subject who = {.name = NULL};
    enum varve_err rc;

    (void)slot;
    if (m->host[0] == '\0' && m->tenant[0] == '\0') {
        return show_all(c, sink, err);
    }
    rc = find_subject(c, m->host, m->tenant, &who, err);
    if (rc == VARVE_OK) {
        rc = send_quota(c, &who, false, sink, err);
    }
    free(who.name);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_TENANT_ADD, OP_THREAD, add},
    {VARVE__V1__ENVELOPE__BODY_TENANT_LIST, OP_INLINE, list},
    {VARVE__V1__ENVELOPE__BODY_TENANT_REMOVE, OP_THREAD, remove_tenant},
    {VARVE__V1__ENVELOPE__BODY_HOST_MOVE, OP_THREAD, move},
    {VARVE__V1__ENVELOPE__BODY_QUOTA_SET, OP_INLINE, quota_set},
    {VARVE__V1__ENVELOPE__BODY_QUOTA_SHOW, OP_THREAD, quota_show},
};

const struct op_module op_tenants_module = {.name = "tenants",
                                            .handlers = handlers,
                                            .handler_count =
                                                sizeof(handlers) / sizeof(handlers[0])};
