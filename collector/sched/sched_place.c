/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/sched_internal.h"
#include "sched/shared.h"

/* On which host a waiting run will go on. */

/* Every host of a tenant looks at all it has: some times one after the other, then rarely. */
#define ASK_BURST 8u
#define ASK_NS    UINT64_C(2000000000)
#define ASK_BACK  UINT64_C(16000000000)

/* ---- slots ---- */

struct slot *
slot_of(struct sched *s, const struct guid *run)
{
    struct slot *slot;

    for (size_t i = 0; i < s->slot_count; i++) {
        if (guid_equal(&s->slots[i].run, run)) {
            return &s->slots[i];
        }
    }
    if (s->slot_count == s->slot_cap) {
        size_t cap = s->slot_cap == 0 ? 32 : s->slot_cap * 2;
        struct slot *grown = realloc(s->slots, cap * sizeof(*grown));

        if (grown == NULL) {
            return NULL;
        }
        s->slots = grown;
        s->slot_cap = cap;
    }
    slot = &s->slots[s->slot_count++];
    memset(slot, 0, sizeof(*slot));
    slot->run = *run;
    return slot;
}

void
slots_sweep(struct sched *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].alive) {
            s->slots[kept] = s->slots[i];
            s->slots[kept++].alive = false;
        } else {
            volumes_release(&s->slots[i].volumes);
        }
    }
    s->slot_count = kept;
}

void
slots_free(struct sched *s)
{
    for (size_t i = 0; i < s->slot_count; i++) {
        volumes_release(&s->slots[i].volumes);
    }
    free(s->slots);
    s->slots = NULL;
    s->slot_count = 0;
}

/* ---- placing ---- */

void
ask_hosts(struct sched *s, const struct guid *tenant, uint64_t now_ns)
{
    uint64_t back = (now_ns - s->asked_ns) / ASK_BACK; /* at first since ever */

    if (s->asks > 0 && now_ns - s->asked_ns < ASK_NS) {
        return;
    }
    s->asks -= back < s->asks ? (unsigned)back : s->asks;
    if (s->asks == ASK_BURST) {
        return;
    }
    s->asks++;
    s->asked_ns = now_ns;
    s->port.ask(s->port.arg, tenant);
}

static uint64_t
after_ms(uint64_t now_ns, uint32_t ms)
{
    return now_ns + (uint64_t)ms * 1000000u;
}

/* Another host has listed the vm; whether the older one still has it is asked, for a while. */
static bool
wait_for_contest(struct sched *s, struct slot *slot, struct ingest_run *run,
                 const struct vm_row *row, uint64_t now_ns)
{
    if (!row->contested) {
        slot->contest_ends_ns = 0;
        return false;
    }
    if (slot->contest_ends_ns == 0) {
        slot->contest_ends_ns = after_ms(now_ns, s->options.contest_ms);
    }
    if (now_ns >= slot->contest_ends_ns) {
        return false; /* the newest list counts */
    }
    ingest_run_wait_for(run, "two hosts have the vm; both are asked which one it is");
    ask_hosts(s, &row->tenant, now_ns);
    return true;
}

/* The run before this one did not find the vm on its host. */
static bool
wait_for_vm(struct sched *s, struct slot *slot, struct ingest_run *run, const struct vm_row *row,
            uint64_t now_ns)
{
    bool there = row->present && row->connected;
    char text[RUN_WAITS_SIZE];

    if (!slot->seeks) {
        return false;
    }
    if (there && (!guid_equal(&row->host, &slot->left) || row->listed_us > slot->left_listed_us)) {
        slot->seeks = false;
        return false;
    }
    if (now_ns >= slot->seek_ends_ns) {
        ingest_run_fail(run, &slot->why, true);
        return true;
    }
    (void)snprintf(text, sizeof(text), "the vm is not on host '%s' any more; others are asked",
                   row->host_name);
    ingest_run_wait_for(run, text);
    ask_hosts(s, &row->tenant, now_ns);
    return true;
}

static void
move_run(struct ingest_run *run, const struct vm_row *row)
{
    struct varve_error err;
    struct run_info info;

    ingest_run_info(run, &info);
    if (guid_equal(&info.host, &row->host) || !row->present || !row->connected) {
        return;
    }
    if (ingest_run_rehost(run, &row->host, &row->vm.native, row->host_name, &err) == VARVE_OK) {
        log_info("run", "vm '%s' is on host '%s' now, not on '%s' any more", info.vm_name,
                 row->host_name, info.host_name);
    }
}

void
place_run(struct sched *s, struct slot *slot, struct ingest_run *run, uint64_t now_ns)
{
    uint64_t changes = ingest_host_changes(s->ing);
    struct vm_row row;
    struct run_info info;
    struct varve_error err;

    if (slot->placed && !slot->held && slot->places_seen == changes) {
        return;
    }
    ingest_run_info(run, &info);
    slot->places_seen = changes;
    slot->placed = true;
    slot->held = false;
    if (state_vm_owner(s->st, &info.vm, s->port.connected, s->port.arg, &row, &err) != VARVE_OK) {
        return; /* nobody lists it: starting it says so */
    }
    slot->held =
        wait_for_vm(s, slot, run, &row, now_ns) || wait_for_contest(s, slot, run, &row, now_ns);
    if (!slot->held) {
        move_run(run, &row);
        volumes_release(&slot->volumes);
        if (volumes_of_vm(&slot->volumes, &row, &err) != VARVE_OK) {
            log_warn("run", "the volumes of vm '%s' are not looked at: %s", info.vm_name, err.msg);
        }
    }
    vm_row_release(&row);
}

/* ---- shared disks ---- */

static bool
newest_point_holds(void *arg, const struct guid *vm, const struct guid *disk)
{
    struct sched *s = arg;
    struct point *newest = NULL;
    bool holds = false;

    catalog_latest(s->catalog, vm, &newest);
    for (size_t i = 0; newest != NULL && i < newest->disk_count; i++) {
        holds = holds || guid_equal(&newest->disks[i].id, disk);
    }
    point_unref(newest);
    return holds;
}

enum varve_err
leave_out_shared(struct sched *s, const struct guid *vm, struct ingest_start *start,
                 struct varve_error *err)
{
    struct vm_row *rows = NULL;
    struct vm_row of;
    size_t count = 0;
    bool shared = false;
    enum varve_err rc;

    if (state_vm_owner(s->st, vm, s->port.connected, s->port.arg, &of, err) != VARVE_OK) {
        return VARVE_OK; /* nobody lists it: its host says what it has */
    }
    for (size_t i = 0; i < of.vm.disk_count; i++) {
        shared = shared || of.vm.disks[i].shared;
    }
    rc = VARVE_OK;
    if (shared) {
        rc = state_vm_list(s->st, s->port.connected, s->port.arg, &rows, &count, err);
        if (rc == VARVE_OK) {
            rc = shared_skips(&start->skips, &start->skip_count, rows, count, &of,
                              newest_point_holds, s, err);
            vm_list_free(rows, count);
        }
    }
    vm_row_release(&of);
    return rc;
}
