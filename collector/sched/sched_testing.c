/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched_testing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "store/store_testing.h"

static _Atomic uint64_t clock_ns; /* tests run one after the other */

static uint64_t
clock_now(void)
{
    return atomic_load(&clock_ns);
}

void
clock_forward(struct scene *s, uint32_t ms)
{
    (void)atomic_fetch_add(&clock_ns, (uint64_t)ms * 1000000u);
    ingest_note_change(s->f->ing);
}

static bool
port_connected(void *arg, const struct guid *host)
{
    struct port *p = arg;
    bool connected = false;

    mutex_lock(&p->lock);
    for (uint8_t n = 0; n < HOSTS; n++) {
        struct guid plain = guid_of(3, n);

        if (guid_equal(host, &plain) || guid_equal(host, &p->enrolled[n])) {
            connected = p->connected[n];
        }
    }
    mutex_unlock(&p->lock);
    return connected;
}

static enum varve_err
port_start(void *arg, const struct ingest_start *start, struct ingest_run *run,
           struct varve_error *e)
{
    struct port *p = arg;
    struct run_info info;
    enum varve_err answer;

    ingest_run_info(run, &info);
    mutex_lock(&p->lock);
    assert_true(p->start_count < 64);
    p->hosts[p->start_count] = info.host;
    p->started[p->start_count++] = start->run;
    p->skip_count = start->skip_count;
    if (start->skip_count > 0) {
        p->skipped = start->skips[0].disk;
    }
    answer = p->answer;
    mutex_unlock(&p->lock);
    return answer == VARVE_OK ? VARVE_OK : varve_error_set(e, answer, "as the test wants");
}

static void
port_cancel(void *arg, const struct guid *host, const struct guid *run)
{
    struct port *p = arg;

    (void)host;
    (void)run;
    mutex_lock(&p->lock);
    p->cancel_count++;
    mutex_unlock(&p->lock);
}

static void
port_tick(void *arg)
{
    struct port *p = arg;

    mutex_lock(&p->lock);
    p->ticks++;
    mutex_unlock(&p->lock);
}

static void
port_ask(void *arg, const struct guid *tenant)
{
    struct port *p = arg;

    (void)tenant;
    mutex_lock(&p->lock);
    p->asks++;
    mutex_unlock(&p->lock);
}

static void
port_clean(void *arg, const struct guid *host, const struct sched_clean *clean)
{
    struct port *p = arg;

    mutex_lock(&p->lock);
    p->cleaned = clean->run;
    p->clean_host = *host;
    p->clean_committed = clean->committed;
    p->cleans++;
    mutex_unlock(&p->lock);
}

void
start_sched(struct scene *s, unsigned runs, unsigned per_host)
{
    const struct sched_options options = {
        .runs = runs, .runs_per_host = per_host, .runs_per_volume = 2, .now_ns = clock_now};
    const struct sched_port port = {.arg = &s->port,
                                    .connected = port_connected,
                                    .start = port_start,
                                    .cancel = port_cancel,
                                    .tick = port_tick,
                                    .ask = port_ask,
                                    .clean = port_clean};

    assert_ok(sched_new(&s->sched, s->f->ing, s->f->catalog, s->st, &options, &port, &err), &err);
}

int
enter(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    void *f = NULL;

    assert_non_null(s);
    assert_int_equal(set_up(&f), 0);
    s->f = f;
    atomic_store(&clock_ns, 1000000000u);
    s->state_path = test_path(s->f->folder, "state.db");
    assert_ok(state_open(&s->st, fs_system(), s->state_path, &err), &err);
    mutex_init(&s->port.lock);
    for (size_t i = 0; i < HOSTS; i++) {
        s->port.connected[i] = true;
    }
    *state = s;
    return 0;
}

int
leave(void **state)
{
    struct scene *s = *state;
    void *f = s->f;

    sched_free(s->sched);
    state_close(s->st);
    mutex_destroy(&s->port.lock);
    free(s->state_path);
    assert_int_equal(tear_down(&f), 0);
    free(s);
    return 0;
}

struct ingest_run *
ask_for(struct scene *s, uint8_t n, uint8_t host)
{
    struct ingest_request request = {.run = guid_of(1, n),
                                     .vm = guid_of(2, n),
                                     .host = guid_of(3, host),
                                     .vm_name = "mail",
                                     .host_name = "node"};
    struct ingest_run *run = NULL;

    assert_ok(ingest_run_new(s->f->ing, &request, &run, &err), &err);
    return run;
}

size_t
started(struct scene *s)
{
    size_t n;

    mutex_lock(&s->port.lock);
    n = s->port.start_count;
    mutex_unlock(&s->port.lock);
    return n;
}

void
await_started(struct scene *s, size_t count)
{
    for (int i = 0; i < 1000 && started(s) < count; i++) {
        thread_sleep_ms(10);
    }
    assert_int_equal(started(s), count);
}

void
await_phase(struct ingest_run *run, enum run_phase phase)
{
    for (int i = 0; i < 1000 && info_of(run).phase != phase; i++) {
        thread_sleep_ms(10);
    }
    assert_int_equal(info_of(run).phase, phase);
}

void
stop_run(struct ingest_run *run)
{
    struct varve_error why;

    (void)varve_error_set(&why, VARVE_ERR_CANCELLED, "enough");
    ingest_run_fail(run, &why, true);
    ingest_run_unref(run);
}
