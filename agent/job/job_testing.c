/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include "job/job_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/source_mem.h"

#define LAB_STATE "/state"
#define LAB_OTHER "/state-1"

/* ---- a file system that dies with its agent ---- */

static struct lab *mortal_lab; /* tests run one after the other */

static bool
file_call_fails(struct varve_error *err)
{
    struct lab *l = mortal_lab;

    l->file_calls++;
    if (l->die_at_file_call > 0 && --l->die_at_file_call == 0) {
        l->dead = true;
    }
    if (l->move_at_file_call > 0 && --l->move_at_file_call == 0) {
        fake_host_move(l->host, 1);
    }
    if (l->dead) {
        (void)varve_error_set(err, VARVE_ERR_IO, "the agent is dead");
    }
    return l->dead;
}

static struct fs *
below(void)
{
    return mem_fs(mortal_lab->disk);
}

static enum varve_err
mortal_open(struct fs *fs, struct file **out, const char *path, enum file_mode mode,
            struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : file_open(below(), out, path, mode, err);
}

static enum varve_err
mortal_stat(struct fs *fs, const char *path, struct file_stat *out, struct varve_error *err)
{
    (void)fs;
    return fs_stat(below(), path, out, err);
}

static enum varve_err
mortal_rename_new(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : fs_rename_new(below(), from, to, err);
}

static enum varve_err
mortal_rename_over(struct fs *fs, const char *from, const char *to, struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : fs_rename_over(below(), from, to, err);
}

static enum varve_err
mortal_remove(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : fs_remove(below(), path, err);
}

static enum varve_err
mortal_mkdir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : fs_mkdir(below(), path, err);
}

static enum varve_err
mortal_sync_dir(struct fs *fs, const char *path, struct varve_error *err)
{
    (void)fs;
    return file_call_fails(err) ? err->code : fs_sync_dir(below(), path, err);
}

static enum varve_err
mortal_list(struct fs *fs, const char *path, bool (*cb)(void *arg, const char *name, bool is_dir),
            void *arg, struct varve_error *err)
{
    (void)fs;
    return fs_list(below(), path, cb, arg, err);
}

static enum varve_err
mortal_free_bytes(struct fs *fs, const char *path, uint64_t *out, struct varve_error *err)
{
    (void)fs;
    return fs_free_bytes(below(), path, out, err);
}

static struct fs_ops mortal_fs_ops;

/* ---- a connection that dies with its agent ---- */

static struct lab *
lab_of(struct peer *p)
{
    return (struct lab *)((char *)p - offsetof(struct lab, mortal));
}

static void
say(struct peer *p, const char *what)
{
    struct lab *l = lab_of(p);

    if (l->said != NULL) {
        l->said(l->said_arg, what);
    }
}

static struct peer *
real(struct peer *p, bool *dead)
{
    struct lab *l = lab_of(p);

    *dead = l->dead;
    return peer_fake_peer(l->fake);
}

static enum varve_err
dead_error(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_IO, "the agent is dead");
}

static void
mortal_get_limits(struct peer *p, struct peer_limits *out)
{
    bool dead;
    struct peer *r = real(p, &dead);

    r->ops->get_limits(r, out);
}

static bool
mortal_is_lost(struct peer *p)
{
    bool dead;
    struct peer *r = real(p, &dead);

    return dead || r->ops->is_lost(r);
}

static enum varve_err
mortal_begin_run(struct peer *p, const struct guid *run, struct peer_begun *out,
                 struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    say(p, "begin");
    return dead ? dead_error(err) : r->ops->begin_run(r, run, out, err);
}

static enum varve_err
mortal_disk_begin(struct peer *p, const struct guid *run, const struct peer_disk *disk,
                  struct peer_position *out, struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    say(p, "disk");
    return dead ? dead_error(err) : r->ops->disk_begin(r, run, disk, out, err);
}

static enum varve_err
mortal_disk_end(struct peer *p, const struct guid *run, uint32_t disk, uint64_t read_bytes,
                struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    return dead ? dead_error(err) : r->ops->disk_end(r, run, disk, read_bytes, err);
}

static enum varve_err
mortal_commit(struct peer *p, const struct peer_commit *commit, struct peer_committed *out,
              struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    say(p, "commit");
    return dead ? dead_error(err) : r->ops->commit(r, commit, out, err);
}

static enum varve_err
mortal_trace(struct peer *p, const struct peer_trace *trace, struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    say(p, "trace");
    return dead ? dead_error(err) : r->ops->trace(r, trace, err);
}

static enum varve_err
mortal_end_run(struct peer *p, const struct guid *run, const struct varve_error *failure,
               const char *const *warnings, size_t warning_count, enum peer_leaves leaves,
               struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    say(p, "end");
    return dead ? dead_error(err)
                : r->ops->end_run(r, run, failure, warnings, warning_count, leaves, err);
}

static enum varve_err
mortal_offer(struct peer *p, const struct peer_offer *offer, struct peer_call *call,
             struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    return dead ? dead_error(err) : r->ops->offer(r, offer, call, err);
}

static enum varve_err
mortal_put(struct peer *p, const struct peer_put *put, struct peer_call *call,
           struct varve_error *err)
{
    bool dead;
    struct peer *r = real(p, &dead);

    return dead ? dead_error(err) : r->ops->put(r, put, call, err);
}

static void
mortal_progress(struct peer *p, const struct peer_progress *progress)
{
    (void)progress;
    lab_of(p)->progresses++;
}

static const struct peer_ops mortal_peer_ops = {
    .get_limits = mortal_get_limits,
    .is_lost = mortal_is_lost,
    .begin_run = mortal_begin_run,
    .disk_begin = mortal_disk_begin,
    .disk_end = mortal_disk_end,
    .commit = mortal_commit,
    .trace = mortal_trace,
    .end_run = mortal_end_run,
    .offer = mortal_offer,
    .put = mortal_put,
    .progress = mortal_progress,
};

static enum varve_err
lab_link_get(void *arg, const struct peer *lost, uint32_t timeout_ms, struct cancel *cancel,
             struct peer **out, struct varve_error *err)
{
    struct lab *l = arg;

    (void)timeout_ms;
    (void)cancel;
    if (lost != NULL && l->die_when_lost) {
        l->dead = true;
    }
    if (l->dead) {
        return dead_error(err);
    }
    if (lost != NULL) {
        peer_fake_reconnect(l->fake);
        if (l->forget_on_reconnect) {
            peer_fake_forget_run(l->fake);
        }
    }
    *out = &l->mortal;
    return VARVE_OK;
}

static void
lab_link_put(void *arg, struct peer *p)
{
    (void)arg;
    (void)p;
}

static enum varve_err
lab_open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
                struct varve_error *err)
{
    struct lab *l = arg;
    const uint8_t *bytes = fake_host_frozen(l->host, frozen->disks[disk].path);

    if (bytes == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "no such frozen disk");
    }
    *out = source_mem_new(bytes, frozen->disks[disk].size, NULL);
    return VARVE_OK;
}

/* ---- what tests call ---- */

void
lab_open(struct lab *l)
{
    lab_open_slow(l, 0);
}

void
lab_open_slow(struct lab *l, uint32_t delay_us)
{
    struct peer_fake_options options = {.chunk_size = 65536,
                                        .credit_bytes = 4 * 1024 * 1024,
                                        .offers_in_flight = 4,
                                        .takes_gaps = true,
                                        .takes_traces = true,
                                        .takes_packed = true,
                                        .seed = 5,
                                        .delay_us = delay_us};
    struct pump_options pump_options = {.hash_threads = 2, .memory = 12 * 1024 * 1024};
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    mortal_lab = l;
    assert_ok(mem_fs_new(&l->disk, &err), &err);
    assert_ok(fs_mkdir(mem_fs(l->disk), LAB_STATE, &err), &err);
    assert_ok(fs_mkdir(mem_fs(l->disk), LAB_OTHER, &err), &err);
    assert_ok(fs_sync_dir(mem_fs(l->disk), "/", &err), &err);
    mortal_fs_ops = *mem_fs(l->disk)->ops; /* calls on open files are its own */
    mortal_fs_ops.open = mortal_open;
    mortal_fs_ops.stat = mortal_stat;
    mortal_fs_ops.rename_new = mortal_rename_new;
    mortal_fs_ops.rename_over = mortal_rename_over;
    mortal_fs_ops.remove = mortal_remove;
    mortal_fs_ops.mkdir = mortal_mkdir;
    mortal_fs_ops.sync_dir = mortal_sync_dir;
    mortal_fs_ops.list = mortal_list;
    mortal_fs_ops.free_bytes = mortal_free_bytes;
    l->fs.ops = &mortal_fs_ops;
    l->host = fake_host_new();
    l->fake = peer_fake_new(&options);
    l->mortal.ops = &mortal_peer_ops;
    assert_ok(pump_new(&l->pump, &pump_options, &err), &err);
    cancel_init(&l->cancel);
    cancel_init(&l->stopping);
    cancel_init(&l->halt);
    mutex_init(&l->pulse.lock);
    l->env.fs = &l->fs;
    l->env.state_dir = LAB_STATE;
    l->env.pump = l->pump;
    l->env.link.arg = l;
    l->env.link.get = lab_link_get;
    l->env.link.put = lab_link_put;
    l->env.open_source = lab_open_source;
    l->env.open_arg = l;
    l->env.stopping = &l->stopping;
    l->env.halt = &l->halt;
    l->env.retry_ms = 1;
    l->request.vm = *fake_host_vm(l->host);
    lab_fail_host(l, 0, CAPTURE_FAULT_BEFORE, &l->dead);
}

void
lab_close(struct lab *l)
{
    assert_string_equal(peer_fake_violation(l->fake), "");
    capture_close(l->capture);
    pump_free(l->pump);
    peer_fake_free(l->fake);
    fake_host_free(l->host);
    cancel_destroy(&l->cancel);
    cancel_destroy(&l->stopping);
    cancel_destroy(&l->halt);
    mutex_destroy(&l->pulse.lock);
    job_request_release(&l->request);
    mem_fs_free(l->disk);
}

enum varve_err
lab_run(struct lab *l, struct varve_error *err)
{
    if (l->ran) {
        peer_fake_next_run(l->fake);
    }
    l->ran = true;
    memset(&l->request.run, 0, sizeof(l->request.run));
    l->request.run.bytes[0] = 0x42;
    l->request.run.bytes[15] = (uint8_t)++l->runs;
    return job_run(&l->env, &l->request, &l->cancel, &l->pulse, err);
}

void
lab_be(struct lab *l, unsigned node)
{
    l->dead = false;
    l->die_at_file_call = 0;
    l->move_at_file_call = 0;
    l->die_when_lost = false;
    l->node = node;
    l->env.state_dir = node == 0 ? LAB_STATE : LAB_OTHER;
    lab_fail_host(l, 0, CAPTURE_FAULT_BEFORE, &l->dead);
    peer_fake_reconnect(l->fake);
}

void
lab_hear_traces(struct lab *l)
{
    struct peer_fake_seen now;
    const struct peer_fake_seen *seen = &now;
    struct journal_entry e;
    struct varve_error err;
    const char *newest;
    size_t i;

    peer_fake_seen(l->fake, &now);
    if (!seen->traced) {
        return;
    }
    newest = seen->committed ? seen->reference_point : l->request.base_refpoint;

    memset(&e, 0, sizeof(e));
    e.run = l->request.run;
    e.vm = l->request.vm;
    e.state = seen->committed ? JOURNAL_COMMITTED : JOURNAL_UNDOING;
    e.foreign = true;
    e.keep_tried = seen->trace_keep_tried;
    (void)snprintf(e.checkpoint, sizeof(e.checkpoint), "%s", seen->trace_checkpoint);
    (void)snprintf(e.refpoint, sizeof(e.refpoint), "%s",
                   seen->committed ? seen->reference_point : "");
    for (i = 0; i < seen->trace_mark_count; i++) {
        assert_ok(capture_marks_add(&e.marks, seen->trace_marks[i], &err), &err);
    }
    if (newest[0] != '\0' && !capture_marks_has(&e.marks, newest)) {
        assert_ok(capture_marks_add(&e.marks, newest, &err), &err);
    }
    for (i = 0; i < seen->trace_kept_count; i++) {
        assert_ok(capture_marks_add(&e.ours, seen->trace_kept[i], &err), &err);
    }
    e.note.begun_us = seen->trace_begun_us;
    for (i = 0; i < seen->trace_before_count; i++) {
        assert_ok(capture_marks_add(&e.note.before, seen->trace_before[i], &err), &err);
    }
    assert_ok(journal_write(&l->fs, l->env.state_dir, &e, &err), &err);
    assert_ok(job_recover(&l->env, &e.run, &l->cancel, &l->pulse, &err), &err);
    journal_entry_release(&e);
}

void
lab_recover(struct lab *l)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;
    size_t i;

    assert_ok(journal_list(&l->fs, l->env.state_dir, &runs, &count, &err), &err);
    for (i = 0; i < count; i++) {
        enum varve_err rc = job_recover(&l->env, &runs[i], &l->cancel, &l->pulse, &err);

        (void)rc; /* the run may fail; what counts is what it leaves */
    }
    free(runs);
}

void
lab_restart(struct lab *l, uint64_t power)
{
    if (power > 0) {
        mem_fs_power_cut(l->disk, power);
    }
    lab_be(l, l->node);
    lab_recover(l);
}

void
lab_take_base_of(struct lab *l, const struct guid *vm)
{
    struct job_request *r = &l->request;
    struct peer_fake_seen seen;
    size_t i;

    peer_fake_seen(l->fake, &seen);
    if (!seen.committed) {
        return;
    }
    job_request_release(r);
    r->vm = *vm;
    r->base = calloc(seen.disk_count + 1, sizeof(*r->base));
    assert_non_null(r->base);
    r->base_count = seen.disk_count;
    (void)snprintf(r->base_refpoint, sizeof(r->base_refpoint), "%s", seen.reference_point);
    for (i = 0; i < seen.disk_count; i++) {
        r->base[i].id = seen.disk_id[i];
        r->base[i].size = seen.disk_size[i];
        (void)snprintf(r->base[i].change_id, sizeof(r->base[i].change_id), "%s", seen.change_id[i]);
    }
}

void
lab_take_base(struct lab *l)
{
    lab_take_base_of(l, fake_host_vm(l->host));
}

void
lab_write(struct lab *l, size_t disk, uint64_t off)
{
    static uint32_t random = 99;
    uint8_t bytes[512];
    size_t i;

    for (i = 0; i < sizeof(bytes); i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(random >> 24);
    }
    fake_host_write(l->host, disk, off, bytes, sizeof(bytes));
}

void
lab_fail_host(struct lab *l, unsigned nth, enum capture_fault_mode mode, bool *dead)
{
    struct varve_error err;

    capture_close(l->capture);
    l->capture = NULL;
    assert_ok(capture_fault_new(&l->capture, fake_host_capture_at(l->host, l->node), nth, mode,
                                dead, &err),
              &err);
    l->env.capture = l->capture;
}

void
lab_check_clean(struct lab *l, size_t refpoints)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_int_equal(fake_host_checkpoints(l->host), 0);
    assert_int_equal(fake_host_refpoints(l->host), refpoints);
    assert_false(fake_host_foreign_touched(l->host));
    assert_ok(journal_list(&l->fs, l->env.state_dir, &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

void
lab_begin_incremental(struct lab *l)
{
    struct varve_error err;

    lab_open(l);
    fake_host_foreign_checkpoint(l->host);
    fake_host_foreign_refpoint(l->host);
    assert_ok(lab_run(l, &err), &err);
    lab_take_base(l);
    lab_write(l, 0, 4096);
    lab_write(l, 1, 300000);
}

void
lab_check_goes_on(struct lab *l)
{
    struct peer_fake_seen seen;
    struct varve_error err;
    uint8_t *got = malloc(FAKE_DISK_SIZE);
    uint32_t i;

    assert_non_null(got);
    peer_fake_seen(l->fake, &seen);
    lab_check_clean(l, 1);
    assert_true(fake_host_has_refpoint(l->host, seen.committed ? seen.reference_point
                                                               : l->request.base_refpoint));
    lab_take_base(l);
    lab_write(l, 0, 70000);
    assert_ok(lab_run(l, &err), &err);
    peer_fake_seen(l->fake, &seen);
    assert_true(seen.incremental[0] && seen.incremental[1]);
    for (i = 0; i < FAKE_DISKS; i++) {
        assert_true(peer_fake_content(l->fake, i, got, FAKE_DISK_SIZE));
        assert_memory_equal(got, fake_host_content(l->host, i), FAKE_DISK_SIZE);
    }
    lab_check_clean(l, 1);
    free(got);
}
