/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/ingest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "ingest/ingest_internal.h"

#define DEFAULT_GRACE_MS   (10u * 60 * 1000)
#define DEFAULT_SILENCE_MS (10u * 60 * 1000)
#define DEFAULT_ANSWER_MS  (60u * 1000)
#define DEFAULT_CLEAN_MS   (30u * 1000)

static uint32_t
or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

enum varve_err
ingest_new(struct ingest **out, struct chunk_store *cs, struct catalog *catalog,
           const struct ingest_options *options, struct varve_error *err)
{
    struct ingest *ing = calloc(1, sizeof(*ing));

    if (ing == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&ing->lock);
    cond_init(&ing->changed);
    ing->cs = cs;
    ing->catalog = catalog;
    ing->options.quotas = options->quotas;
    ing->options.grace_ms = or_default(options->grace_ms, DEFAULT_GRACE_MS);
    ing->options.silence_ms = or_default(options->silence_ms, DEFAULT_SILENCE_MS);
    ing->options.answer_ms = or_default(options->answer_ms, DEFAULT_ANSWER_MS);
    ing->options.clean_ms = or_default(options->clean_ms, DEFAULT_CLEAN_MS);
    *out = ing;
    return VARVE_OK;
}

void
ingest_free(struct ingest *ing)
{
    if (ing == NULL) {
        return;
    }
    for (size_t i = 0; i < ing->run_count; i++) {
        ingest_run_unref(ing->runs[i]);
    }
    free(ing->runs);
    free(ing->rereads);
    cond_destroy(&ing->changed);
    mutex_destroy(&ing->lock);
    free(ing);
}

void
ingest_note_change(struct ingest *ing)
{
    mutex_lock(&ing->lock);
    ing->changes++;
    cond_broadcast(&ing->changed);
    mutex_unlock(&ing->lock);
}

void
ingest_wait_change(struct ingest *ing, uint64_t *seen, uint32_t timeout_ms)
{
    uint64_t deadline = time_mono_ns() + (uint64_t)timeout_ms * 1000000u;

    mutex_lock(&ing->lock);
    while (ing->changes == *seen) {
        uint64_t now = time_mono_ns();

        if (now >= deadline) {
            break;
        }
        (void)cond_timedwait(&ing->changed, &ing->lock,
                             (uint32_t)((deadline - now) / 1000000u) + 1);
    }
    *seen = ing->changes;
    mutex_unlock(&ing->lock);
}

uint64_t
ingest_stored_bytes(struct chunk_store *cs)
{
    struct chunk_store_stats stats;
    struct varve_error ignored;

    /* For people only; a store that cannot say says nothing. */
    return chunk_store_get_stats(cs, &stats, &ignored) == VARVE_OK ? stats.stored_bytes : 0;
}

/* ---- the table ---- */

enum varve_err
ingest_run_new(struct ingest *ing, const struct ingest_request *request, struct ingest_run **out,
               struct varve_error *err)
{
    struct ingest_run *run = NULL;
    bool added = false;
    enum varve_err rc = VARVE_OK;

    run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return varve_error_nomem(err);
    }
    atomic_init(&run->refs, 1);
    run->ing = ing;
    mutex_init(&run->lock);
    mutex_init(&run->commit_lock);
    run->full = request->full;
    memcpy(run->method, request->method, sizeof(run->method));
    run->stage = STAGE_QUEUED;
    run->connected = true;
    run->info.id = request->run;
    run->info.vm = request->vm;
    run->host_vm = guid_is_zero(&request->host_vm) ? request->vm : request->host_vm;
    run->info.host = request->host;
    run->info.phase = RUN_WAITING;
    run->info.started_at_us = time_now_us();
    (void)snprintf(run->info.vm_name, sizeof(run->info.vm_name), "%s", request->vm_name);
    (void)snprintf(run->info.host_name, sizeof(run->info.host_name), "%s", request->host_name);
    run->vm_name = strdup(request->vm_name);
    run->host_name = strdup(request->host_name);
    if (run->vm_name == NULL || run->host_name == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = chunk_store_domain(ing->cs, &request->domain, &run->domain, err);
    mutex_lock(&ing->lock);
    for (size_t i = 0; i < ing->run_count && rc == VARVE_OK; i++) {
        struct ingest_run *other = ing->runs[i];

        if (guid_equal(&other->info.vm, &request->vm)) {
            mutex_lock(&other->lock);
            if (!run_phase_is_final(other->info.phase)) {
                rc = varve_error_set(err, VARVE_ERR_BUSY,
                                     "a backup of vm '%s' is going on (%s); wait for its end",
                                     other->info.vm_name, run_phase_name(other->info.phase));
            }
            mutex_unlock(&other->lock);
        }
    }
    if (rc == VARVE_OK && ing->run_count == ing->run_cap) {
        size_t cap = ing->run_cap == 0 ? 16 : ing->run_cap * 2;
        struct ingest_run **grown = realloc(ing->runs, cap * sizeof(*grown));

        if (grown == NULL) {
            rc = varve_error_nomem(err);
        } else {
            ing->runs = grown;
            ing->run_cap = cap;
        }
    }
    if (rc == VARVE_OK) {
        ing->runs[ing->run_count++] = run;
        ingest_run_ref(run);
        added = true;
        ing->changes++;
        cond_broadcast(&ing->changed);
    }
    mutex_unlock(&ing->lock);
out:
    if (!added) {
        ingest_run_unref(run);
        return rc;
    }
    *out = run;
    return VARVE_OK;
}

void
ingest_run_ref(struct ingest_run *run)
{
    (void)atomic_fetch_add_explicit(&run->refs, 1, memory_order_relaxed);
}

void
ingest_run_unref(struct ingest_run *run)
{
    if (run == NULL || atomic_fetch_sub_explicit(&run->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < POINT_DISKS_MAX; i++) {
        ingest_disk_free(run->disks[i]);
    }
    chunk_use_end(run->ing->cs, &run->use);
    quota_run_close(run->quota);
    point_unref(run->base);
    free(run->rereads);
    point_unref(run->point);
    ingest_run_unref(run->next);
    mutex_destroy(&run->lock);
    mutex_destroy(&run->commit_lock);
    free(run->vm_name);
    free(run->host_name);
    free(run);
}

enum varve_err
ingest_list(struct ingest *ing, struct ingest_run ***out, size_t *count, struct varve_error *err)
{
    struct ingest_run **list;

    mutex_lock(&ing->lock);
    list = calloc(ing->run_count + 1, sizeof(struct ingest_run *));
    if (list == NULL) {
        mutex_unlock(&ing->lock);
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < ing->run_count; i++) {
        list[i] = ing->runs[i];
        ingest_run_ref(list[i]);
    }
    *count = ing->run_count;
    mutex_unlock(&ing->lock);
    *out = list;
    return VARVE_OK;
}

void
ingest_list_free(struct ingest_run **runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ingest_run_unref(runs[i]);
    }
    free(runs);
}

void
ingest_forget(struct ingest *ing, struct ingest_run *run)
{
    bool found = false;

    mutex_lock(&ing->lock);
    for (size_t i = 0; i < ing->run_count; i++) {
        if (ing->runs[i] == run) {
            memmove(&ing->runs[i], &ing->runs[i + 1],
                    (ing->run_count - i - 1) * sizeof(struct ingest_run *));
            ing->run_count--;
            found = true;
            break;
        }
    }
    mutex_unlock(&ing->lock);
    if (found) {
        mutex_lock(&run->lock);
        run->settled = true;
        mutex_unlock(&run->lock);
        ingest_note_change(ing);
        ingest_run_unref(run);
    }
}

enum varve_err
ingest_find(struct ingest *ing, const struct guid *host, const struct guid *run,
            struct ingest_run **out, struct varve_error *err)
{
    char text[GUID_TEXT_SIZE];

    mutex_lock(&ing->lock);
    for (size_t i = 0; i < ing->run_count; i++) {
        struct ingest_run *r = ing->runs[i];

        /* The id is constant, the host changes under this lock only. */
        if (guid_equal(&r->info.id, run) && guid_equal(&r->info.host, host)) {
            ingest_run_ref(r);
            mutex_unlock(&ing->lock);
            *out = r;
            return VARVE_OK;
        }
    }
    mutex_unlock(&ing->lock);
    guid_format(run, text);
    return varve_error_set(err, VARVE_ERR_NOT_FOUND, "the collector holds no run '%s' of this host",
                           text);
}

/* ---- phases ---- */

void
ingest_finish_locked(struct ingest_run *run, enum run_phase phase)
{
    quota_run_close(run->quota);
    run->quota = NULL;
    run->info.phase = phase;
    run->info.ended_at_us = time_now_us();
}

void
ingest_run_info(struct ingest_run *run, struct run_info *out)
{
    uint64_t sent = 0;
    uint64_t fresh = 0;
    uint64_t read = 0;
    uint64_t tracked = 0;
    bool incremental = true;
    size_t disks = 0;

    mutex_lock(&run->lock);
    *out = run->info;
    for (size_t i = 0; i < POINT_DISKS_MAX; i++) {
        struct ingest_disk *d = run->disks[i];

        if (d == NULL) {
            continue;
        }
        mutex_unlock(&run->lock); /* disks are set once and live as long as the run */
        mutex_lock(&d->lock);
        sent += d->facts.sent_bytes;
        fresh += d->facts.new_bytes;
        read += d->facts.read_bytes;
        tracked += d->facts.tracked_bytes;
        incremental = incremental && d->facts.incremental;
        mutex_unlock(&d->lock);
        mutex_lock(&run->lock);
        disks++;
    }
    mutex_unlock(&run->lock);
    out->sent_bytes = sent;
    out->new_bytes = fresh;
    out->tracked_bytes = tracked;
    out->incremental = disks > 0 && incremental;
    if (read > out->read_bytes) {
        out->read_bytes = read;
    }
}

bool
ingest_run_is_queued(struct ingest_run *run)
{
    bool queued;

    mutex_lock(&run->lock);
    queued = run->stage == STAGE_QUEUED && run->info.phase == RUN_WAITING;
    mutex_unlock(&run->lock);
    return queued;
}

bool
ingest_fail_locked(struct ingest_run *run, const struct varve_error *error, bool final)
{
    if (run_phase_is_final(run->info.phase)) {
        return false;
    }
    if (run->point != NULL) {
        /* Published is published: what goes wrong now is the host's housekeeping. */
        if (run->info.warning_count < RUN_WARNINGS_MAX) {
            (void)snprintf(run->info.warnings[run->info.warning_count++], RUN_WARNING_SIZE, "%s",
                           error->msg);
        }
        if (final) {
            ingest_finish_locked(run, RUN_DONE);
        }
        return true;
    }
    if (run->info.error.code == VARVE_OK) {
        run->info.error = *error;
    }
    /* Only a host that has heard of the run and is there has anything to tidy up now. */
    if (final || !run->connected || run->stage < STAGE_ACCEPTED) {
        ingest_finish_locked(run, RUN_FAILED);
    } else {
        run->info.phase = RUN_CLEAN;
        run->since_ns = time_mono_ns();
    }
    return true;
}

void
ingest_run_fail(struct ingest_run *run, const struct varve_error *error, bool final)
{
    bool changed;

    mutex_lock(&run->lock);
    changed = ingest_fail_locked(run, error, final);
    mutex_unlock(&run->lock);
    if (changed) {
        ingest_note_change(run->ing);
    }
}

static enum varve_err
open_quota(struct ingest_run *run, struct varve_error *err)
{
    const struct quota_subject who = {.host = run->info.host,
                                      .tenant = *chunk_domain_id(run->domain),
                                      .vm = run->info.vm,
                                      .host_name = run->host_name,
                                      .tenant_name = chunk_domain_name(run->domain)};
    struct quota_run *opened = NULL;
    enum varve_err rc;

    if (run->ing->options.quotas == NULL) {
        return VARVE_OK;
    }
    rc = quotas_run_open(run->ing->options.quotas, &who, &opened, err);
    if (rc == VARVE_OK) {
        mutex_lock(&run->lock);
        run->quota = opened;
        mutex_unlock(&run->lock);
    }
    return rc;
}

enum varve_err
ingest_quota(struct ingest_run *run, uint64_t logical, uint64_t packed, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    mutex_lock(&run->lock);
    if (run->quota != NULL && logical > 0) {
        rc = quota_run_disk(run->quota, logical, err);
    }
    if (run->quota != NULL && packed > 0 && rc == VARVE_OK) {
        rc = quota_run_take(run->quota, packed, err);
    }
    mutex_unlock(&run->lock);
    return rc;
}

const struct guid *
ingest_run_domain(const struct ingest_run *run)
{
    return chunk_domain_id(run->domain);
}

enum varve_err
ingest_run_start(struct ingest_run *run, struct ingest_start *out, struct varve_error *err)
{
    struct ingest_start start;
    struct point *base = NULL;
    struct guid *rereads = NULL;
    size_t reread_count = 0;
    uint64_t loss = chunk_store_loss_count(run->ing->cs);
    uint64_t stored = ingest_stored_bytes(run->ing->cs);
    enum varve_err rc;

    rc = open_quota(run, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    memset(&start, 0, sizeof(start));
    if (run->use.seq == 0) {
        chunk_use_begin(run->ing->cs, &run->use); /* before the base is chosen */
    }
    catalog_latest(run->ing->catalog, &run->info.vm, &base);
    start.run = run->info.id;
    start.vm = run->host_vm;
    start.domain = *chunk_domain_id(run->domain);
    start.full = run->full;
    start.method = run->method;
    start.reference_point = "";
    if (base != NULL) {
        start.reference_point = base->reference_point;
        start.disks = calloc(base->disk_count + 1, sizeof(*start.disks));
        if (start.disks == NULL) {
            point_unref(base);
            return varve_error_nomem(err);
        }
        rereads = calloc(base->disk_count + 1, sizeof(*rereads));
        if (rereads == NULL) {
            free(start.disks);
            point_unref(base);
            return varve_error_nomem(err);
        }
        for (size_t i = 0; i < base->disk_count && !run->full; i++) {
            if (ingest_wants_full(run->ing, &run->info.vm, &base->disks[i].id)) {
                rereads[reread_count++] = base->disks[i].id;
                continue;
            }
            start.disks[start.disk_count].id = base->disks[i].id;
            start.disks[start.disk_count].change_id = base->disks[i].change_id;
            start.disks[start.disk_count].size = base->disks[i].size;
            start.disk_count++;
        }
    }
    mutex_lock(&run->lock);
    run->base = base;
    run->rereads = rereads;
    run->reread_count = reread_count;
    run->loss = loss;
    run->store_before = stored;
    run->stage = STAGE_ASKED;
    run->info.waits[0] = '\0';
    run->since_ns = time_mono_ns();
    mutex_unlock(&run->lock);
    *out = start;
    return VARVE_OK;
}

void
ingest_run_accepted(struct ingest_run *run)
{
    mutex_lock(&run->lock);
    if (run->stage == STAGE_ASKED && run->info.phase == RUN_WAITING) {
        run->stage = STAGE_ACCEPTED;
        run->info.phase = RUN_FREEZE;
        run->since_ns = time_mono_ns();
    }
    mutex_unlock(&run->lock);
    ingest_note_change(run->ing);
}
