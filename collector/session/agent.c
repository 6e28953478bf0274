/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "session/session_internal.h"
#include "session/wire_in.h"

/* What an agent says that is not about a run; the rest goes on to agent_run.c. */

enum varve_err
session_refuse(struct session *s, uint64_t id, const struct varve_error *why,
               struct varve_error *err)
{
    struct varve_error last = *why; /* why may be err */

    if (id != 0) {
        session_reply_error(s, id, &last);
    }
    if (++s->errors > SESSION_ERRORS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "more than %u requests failed, the last: %s",
                               SESSION_ERRORS_MAX, last.msg);
    }
    return VARVE_OK;
}

void
session_pace(struct session_pace *p, unsigned burst, unsigned step_ms)
{
    uint64_t step = (uint64_t)step_ms * 1000000u;
    uint64_t now = time_mono_ns();
    uint64_t back = (now - p->last_ns) / step; /* at first since ever */

    p->count -= back < p->count ? (unsigned)back : p->count;
    if (p->count >= burst) {
        thread_sleep_ms(step_ms);
        p->count--;
        now = time_mono_ns();
    }
    p->count++;
    p->last_ns = now;
}

static enum varve_err
take_inventory(struct session *s, const Varve__V1__Envelope *head, struct varve_error *err)
{
    Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__InventoryReply body = VARVE__V1__INVENTORY_REPLY__INIT;
    struct inventory inv;
    enum varve_err rc;

    session_pace(&s->inventories, SESSION_INVENTORY_BURST, SESSION_INVENTORY_MS);
    memset(&inv, 0, sizeof(inv));
    rc = wire_inventory(&inv, head->inventory, err);
    if (rc == VARVE_OK) {
        rc = state_inventory_set(s->c->state, &s->host.id, &inv, time_now_us(), err);
    }
    if (rc == VARVE_OK) {
        ingest_host_listed(s->c->ingest);
        log_info("session", "inventory host='%s' vms=%zu provider='%s'", s->host.name, inv.vm_count,
                 inv.provider);
        for (size_t i = 0; i < inv.warning_count; i++) {
            log_warn("session", "inventory host='%s': %s", s->host.name, inv.warnings[i]);
        }
    }
    inventory_release(&inv);
    if (rc != VARVE_OK) {
        return session_refuse(s, head->id, err, err);
    }
    reply.body_case = VARVE__V1__ENVELOPE__BODY_INVENTORY_REPLY;
    reply.inventory_reply = &body;
    return session_reply(s, head->id, &reply, NULL, 0, false, err);
}

/* Lines of a host go into our log, as many as a busy host has to say and not more. */
static void
take_log(struct session *s, const Varve__V1__Log *line)
{
    uint64_t second = time_mono_ns() / 1000000000u;

    if (second != s->log_second) {
        if (s->log_dropped > 0) {
            log_warn("agent", "host='%s' %u lines were dropped: too many in a second", s->host.name,
                     s->log_dropped);
        }
        s->log_second = second;
        s->log_lines = 0;
        s->log_dropped = 0;
    }
    if (s->log_lines++ >= SESSION_LOG_PER_SECOND) {
        s->log_dropped++;
        return;
    }
    switch (line->level) {
    case 0:
        log_error("agent", "host='%s' %s: %s", s->host.name, line->area, line->text);
        break;
    case 1:
        log_warn("agent", "host='%s' %s: %s", s->host.name, line->area, line->text);
        break;
    default:
        log_info("agent", "host='%s' %s: %s", s->host.name, line->area, line->text);
        break;
    }
}

enum varve_err
session_agent_message(struct session *s, struct envelope_in *in, struct varve_error *err)
{
    const Varve__V1__Envelope *head = in->head;
    bool keep = false;
    enum varve_err rc;

    if (head->reply) {
        rc = session_answer(s, head, err);
    } else if (head->body_case == VARVE__V1__ENVELOPE__BODY_LOG) {
        take_log(s, head->log);
        rc = VARVE_OK;
    } else if (head->id == 0 && head->body_case != VARVE__V1__ENVELOPE__BODY_PROGRESS) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "a request with id 0");
    } else if (head->body_case == VARVE__V1__ENVELOPE__BODY_INVENTORY) {
        rc = take_inventory(s, head, err);
    } else {
        rc = session_run_message(s, in, &keep, err);
    }
    if (!keep) {
        envelope_release(in);
    }
    return rc;
}
