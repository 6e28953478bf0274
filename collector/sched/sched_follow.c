/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "crypto/identity.h"
#include "sched/sched_internal.h"

/* Runs whose vm has moved. */

static bool
is_elsewhere(const struct vm_row *row, const struct guid *host)
{
    return row->present && row->connected && !guid_equal(&row->host, host);
}

static void
begin_next(struct sched *s, struct ingest_run *run, const struct run_info *info,
           const struct slot *slot, const struct vm_row *row, uint64_t now_ns)
{
    bool elsewhere = is_elsewhere(row, &info->host);
    const struct ingest_request request = {.vm = info->vm,
                                           .host_vm = row->vm.native,
                                           .host = elsewhere ? row->host : info->host,
                                           .domain = *ingest_run_domain(run),
                                           .vm_name = row->vm.name,
                                           .host_name =
                                               elsewhere ? row->host_name : info->host_name,
                                           .full = ingest_run_is_full(run)};
    struct ingest_request with_id = request;
    struct ingest_run *next = NULL;
    struct run_info next_info;
    struct slot *next_slot;
    struct varve_error err;
    unsigned tries = slot != NULL ? slot->tries + 1 : 1;
    uint8_t random[16];

    (void)snprintf(with_id.method, sizeof(with_id.method), "%s", ingest_run_method(run));
    crypto_random(random, sizeof(random));
    guid_from_random(&with_id.run, random);
    if (ingest_run_new(s->ing, &with_id, &next, &err) != VARVE_OK) {
        log_warn("run", "vm '%s' is not tried again: %s", info->vm_name, err.msg);
        return;
    }
    next_slot = slot_of(s, &with_id.run);
    ingest_run_info(next, &next_info);
    if (next_slot == NULL || state_run_put(s->st, &next_info, &err) != VARVE_OK) {
        (void)varve_error_set(&err, VARVE_ERR_NOMEM, "the run could not be tried again");
        ingest_run_fail(next, &err, true);
    } else {
        next_slot->tries = tries;
        next_slot->alive = true;
        next_slot->seeks = !elsewhere;
        next_slot->left = info->host;
        next_slot->left_listed_us = row->listed_us;
        next_slot->seek_ends_ns = now_ns + (uint64_t)s->options.seek_ms * 1000000u;
        next_slot->why = info->error;
    }
    log_info("run", "the run of vm '%s' is tried again%s%s", info->vm_name,
             elsewhere ? " on host " : "", elsewhere ? row->host_name : "");
    ingest_run_set_next(run, next);
    ingest_run_unref(next);
}

void
follow_run(struct sched *s, struct ingest_run *run, const struct run_info *info,
           const struct slot *slot, uint64_t now_ns)
{
    bool lost_vm = info->error.code == VARVE_ERR_NOT_FOUND;
    struct vm_row row;
    struct varve_error err;

    if (info->phase != RUN_FAILED || slot == NULL || !slot->started ||
        slot->tries + 1 >= FOLLOW_TRIES ||
        state_vm_owner(s->st, &info->vm, s->port.connected, s->port.arg, &row, &err) != VARVE_OK) {
        return;
    }
    if (is_elsewhere(&row, &info->host) || lost_vm) {
        begin_next(s, run, info, slot, &row, now_ns);
    }
    vm_row_release(&row);
}

void
give_up_moved(struct sched *s, struct slot *slot, struct ingest_run *run, uint64_t now_ns)
{
    uint64_t away_ms = ingest_run_away_ms(run);
    struct run_info info;
    struct vm_row row;
    struct varve_error err;

    if (away_ms > s->options.away_ms / 2 && !slot->asked_away) {
        ask_hosts(s, ingest_run_domain(run), now_ns);
    }
    slot->asked_away = away_ms > s->options.away_ms / 2;
    if (away_ms <= s->options.away_ms) {
        return;
    }
    ingest_run_info(run, &info);
    if (state_vm_owner(s->st, &info.vm, s->port.connected, s->port.arg, &row, &err) != VARVE_OK) {
        return;
    }
    if (is_elsewhere(&row, &info.host)) {
        (void)varve_error_set(&err, VARVE_ERR_CANCELLED,
                              "host '%s' is away, and the vm is on host '%s' now", info.host_name,
                              row.host_name);
        ingest_run_fail(run, &err, true);
    }
    vm_row_release(&row);
}
