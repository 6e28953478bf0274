/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/log.h"
#include "job/runner.h"
#include "os/path.h"
#include "service.h"
#include "uplink/uplink.h"

/* How long a stop waits for runs to be undone. */
#define STOP_MS 12000u

/* How often a host without Hyper-V is looked at again. */
#define LOOK_MS 5000u

struct agent {
    struct enrolment enrolment;
    struct identity *key;
    struct agent_host host;
    struct pump *pump;
    struct runner *runner;
    struct uplink *uplink;
    char host_name[SERVICE_NAME_MAX];
    char system[SERVICE_NAME_MAX];
};

/* ---- what connects the parts ---- */

static enum varve_err
link_get(void *arg, const struct peer *lost, uint32_t timeout_ms, struct cancel *cancel,
         struct peer **out, struct varve_error *err)
{
    const struct agent *a = arg;

    return uplink_get_peer(a->uplink, lost, timeout_ms, cancel, out, err);
}

static void
link_put(void *arg, struct peer *p)
{
    (void)arg;
    uplink_put_peer(p);
}

static enum varve_err
on_start_run(void *arg, const struct uplink_start *start, struct varve_error *err)
{
    const struct agent *a = arg;
    struct job_request r;
    size_t i;

    memset(&r, 0, sizeof(r));
    r.run = start->run;
    r.vm = start->vm;
    r.full = start->full;
    memcpy(r.method, start->method, sizeof(r.method));
    memcpy(r.base_refpoint, start->reference_point, sizeof(r.base_refpoint));
    r.base = calloc(start->base_count + 1, sizeof(*r.base));
    if (r.base == NULL) {
        return varve_error_nomem(err);
    }
    r.base_count = start->base_count;
    for (i = 0; i < start->base_count; i++) {
        r.base[i].id = start->base[i].disk;
        r.base[i].size = start->base[i].size;
        memcpy(r.base[i].change_id, start->base[i].change_id, sizeof(r.base[i].change_id));
    }
    r.skips = calloc(start->skip_count + 1, sizeof(*r.skips));
    if (r.skips == NULL) {
        job_request_release(&r);
        return varve_error_nomem(err);
    }
    r.skip_count = start->skip_count;
    for (i = 0; i < start->skip_count; i++) {
        r.skips[i].id = start->skip[i].disk;
        memcpy(r.skips[i].reason, start->skip[i].reason, sizeof(r.skips[i].reason));
    }
    return runner_add(a->runner, &r, err);
}

static enum varve_err
on_clean_vm(void *arg, const struct uplink_clean *clean, struct varve_error *err)
{
    const struct agent *a = arg;
    struct journal_entry e = {.run = clean->run,
                              .vm = clean->vm,
                              .state = clean->committed ? JOURNAL_COMMITTED : JOURNAL_UNDOING,
                              .foreign = true,
                              .keep_tried = clean->keep_tried};
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (strlen(clean->checkpoint) >= CAPTURE_ID_MAX ||
        strlen(clean->reference_point) >= CAPTURE_ID_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "an id that is no host's");
    }
    memcpy(e.checkpoint, clean->checkpoint, strlen(clean->checkpoint) + 1);
    memcpy(e.refpoint, clean->reference_point, strlen(clean->reference_point) + 1);
    for (i = 0; rc == VARVE_OK && i < clean->mark_count; i++) {
        rc = capture_marks_add(&e.marks, clean->marks[i], err);
    }
    for (i = 0; rc == VARVE_OK && i < clean->kept_count; i++) {
        rc = capture_marks_add(&e.ours, clean->kept[i], err);
    }
    e.note.begun_us = clean->begun_us > 0 ? clean->begun_us : 0;
    for (i = 0; rc == VARVE_OK && i < clean->before_count; i++) {
        rc = capture_marks_add(&e.note.before, clean->before[i], err);
    }
    if (rc == VARVE_OK) {
        rc = runner_clean(a->runner, &e, err);
    }
    journal_entry_release(&e);
    return rc;
}

static void
on_cancel_run(void *arg, const struct guid *run)
{
    const struct agent *a = arg;

    runner_cancel(a->runner, run);
}

static void
on_beat(void *arg, struct peer *p)
{
    const struct agent *a = arg;

    runner_beat(a->runner, p);
}

static enum varve_err
start_uplink(struct agent *a, struct varve_error *err)
{
    struct uplink_options options = {
        .address = a->enrolment.address,
        .collector = a->enrolment.collector,
        .identity = a->key,
        .capture = a->host.capture,
        .events = {.arg = a,
                   .start_run = on_start_run,
                   .cancel_run = on_cancel_run,
                   .clean_vm = on_clean_vm,
                   .beat = on_beat},
        .software = AGENT_SOFTWARE,
        .system = a->system,
        .host_name = a->host_name,
    };

    service_host_name(a->host_name);
    service_system(a->system);
    return uplink_start(&a->uplink, &options, err);
}

/* A host without the Hyper-V role has nothing to back up, which the collector is to hear: it is no reason to end. */
static enum varve_err
open_host(struct agent *a, const struct agent_conf *conf, struct varve_error *err)
{
    enum varve_err rc = agent_host_open(&a->host, conf, a->key, err);
    struct varve_error why;

    if (rc == VARVE_OK || !a->host.no_hyperv) {
        return rc;
    }
    why = *err;
    log_warn("main", "%s", why.msg);
    return agent_host_absent(&a->host, &why, err);
}

static enum varve_err
agent_open(struct agent *a, const struct agent_conf *conf, struct varve_error *err)
{
    struct pump_options pump_options = {.hash_threads = (unsigned)conf->hash_threads,
                                        .memory = (size_t)conf->memory};
    struct job_env env = {.fs = fs_system(),
                          .state_dir = conf->state_dir,
                          .link = {.arg = a, .get = link_get, .put = link_put},
                          .open_source = agent_host_source,
                          .open_arg = &a->host,
                          .rejoin_ms = JOB_REJOIN_MS,
                          .merge_ms = JOB_MERGE_MS,
                          .retry_ms = JOB_RETRY_MS};
    char *key_path = NULL;
    enum varve_err rc;

    rc = enrolment_load(&a->enrolment, &a->key, fs_system(), conf->state_dir, err);
    if (rc == VARVE_OK) {
        rc = path_join(&key_path, conf->state_dir, "agent.key", err);
    }
    if (rc == VARVE_OK) {
        rc = service_own(key_path, err);
    }
    free(key_path);
    if (rc == VARVE_OK) {
        rc = open_host(a, conf, err);
    }
    if (rc == VARVE_OK) {
        rc = pump_new(&a->pump, &pump_options, err);
    }
    if (rc == VARVE_OK) {
        env.capture = a->host.capture;
        env.pump = a->pump;
        rc = runner_new(&a->runner, &env, (unsigned)conf->max_runs, err);
    }
    if (rc == VARVE_OK) {
        rc = runner_recover(a->runner, err);
    }
    if (rc == VARVE_OK) {
        rc = start_uplink(a, err);
    }
    if (rc == VARVE_OK) {
        rc = runner_go(a->runner, err);
    }
    return rc;
}

static void
agent_close(struct agent *a)
{
    if (a->runner != NULL && !runner_stop(a->runner, STOP_MS)) {
        log_warn("main", "not every run could be undone in time; the next start does it");
        if (a->uplink != NULL) {
            uplink_abandon(a->uplink);
        }
    }
    runner_join(a->runner); /* its runs use the uplink, */
    uplink_stop(a->uplink); /* which hands the collector's requests to it until it has ended */
    runner_free(a->runner);
    pump_free(a->pump);
    agent_host_close(&a->host);
    identity_free(a->key);
}

/* Until the system wants the program to end.  A host that has Hyper-V now, mostly after a restart of its own, is begun with anew
 * by whatever starts the program again after an error. */
static enum varve_err
wait_end(struct agent *a, struct varve_error *err)
{
    bool end = service_wait_end(a->host.no_hyperv ? LOOK_MS : 0);

    while (!end && !agent_host_appeared(&a->host)) {
        end = service_wait_end(LOOK_MS);
    }
    return end ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_BUSY,
                                 "the host has Hyper-V now, the agent has to be started anew");
}

enum varve_err
agent_run(const struct agent_conf *conf, struct varve_error *err)
{
    struct agent *a = calloc(1, sizeof(*a));
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    rc = agent_open(a, conf, err);
    if (rc == VARVE_OK) {
        log_info("main", "%s host='%s' capture=%s", AGENT_SOFTWARE, a->enrolment.name,
                 a->host.capture->name);
        rc = wait_end(a, err);
        log_info("main", "stopping");
    }
    agent_close(a);
    free(a);
    if (rc == VARVE_OK) {
        log_info("main", "stopped");
    }
    return rc;
}
