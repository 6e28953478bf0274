/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static char *
exchange(void *arg, const char *line)
{
    struct refpoint_lab *l = arg;
    struct dispatch_wait wait;
    char *reply = NULL;

    mutex_lock(&l->lock);
    (void)engine_tick(l->host); /* time goes on while somebody asks */
    (void)dispatch_line(l->host, line, strlen(line), &reply, &wait);
    mutex_unlock(&l->lock);
    return reply;
}

void
refpoint_lab_open(struct refpoint_lab *l, const struct wmi_fake_options *options,
                  enum refpoint_consistency consistency, struct fs *fs, const char *state_dir)
{
    const struct hv_link link = {exchange, l};
    struct vm_spec spec = {.name = "web",
                           .generation = 2,
                           .config_version = "9.0",
                           .state = SIM_VM_RUNNING,
                           .integration = true,
                           .truth = true};
    struct disk_spec disk = {.size = LAB_DISK_SIZE,
                             .block_size = VHDX_BASE_BLOCK,
                             .logical_sector = 512,
                             .physical_sector = 4096,
                             .tracked = true};
    struct refpoint_options o = {
        .fs = fs,
        .state_dir = state_dir,
        .consistency = consistency,
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .create_ms = 5000,
        .convert_ms = 5000,
        .busy_ms = 5000,
        .pause_ms = 1};
    const struct vdisk_fake_options vdisk_options = {0};
    struct sim_options host_options;
    struct sim_error err;
    struct varve_error why;
    char *dir;

    memset(l, 0, sizeof(*l));
    log_set_level(LOG_LEVEL_ERROR);
    mutex_init(&l->lock);
    l->dir = test_dir_new();
    if (state_dir == NULL) {
        o.state_dir = l->dir;
    }
    dir = sim_printf("%s/host", l->dir);
    must_work(host_open(&l->host, dir, "node1", 7, &err));
    free(dir);
    host_options = l->host->options;
    host_options.job_ms = 1;
    must_work(host_set_options(l->host, &host_options, &err));
    must_work(vm_create(l->host, &spec, &l->vm, &err));
    must_work(disk_add(l->host, &l->vm, &disk, &l->disks[0], &err));
    must_work(disk_add(l->host, &l->vm, &disk, &l->disks[1], &err));
    port_script_init(&l->script, &link);
    host_files_init(&l->files, &l->script);
    o.host_fs = &l->files.base;
    l->wmi = wmi_fake_new(&l->script, options);
    l->vdisk = vdisk_fake_new(&l->script, &vdisk_options);
    o.wmi = l->wmi;
    o.vdisk = l->vdisk;
    assert_ok(capture_refpoint_open(&l->capture, &o, &why), &why);
}

void
refpoint_lab_start(struct refpoint_lab *l, const struct wmi_fake_options *options,
                   enum refpoint_consistency consistency)
{
    static const struct wmi_fake_options plain = {0};

    refpoint_lab_open(l, options != NULL ? options : &plain, consistency, fs_system(), NULL);
}

void
refpoint_lab_close(struct refpoint_lab *l)
{
    capture_close(l->capture);
    wmi_port_close(l->wmi);
    vdisk_port_close(l->vdisk);
    assert_string_equal(l->script.violation, "");
    port_script_release(&l->script);
    host_close(l->host);
    test_dir_free(l->dir);
    mutex_destroy(&l->lock);
}

enum varve_err
refpoint_lab_begin(struct refpoint_lab *l, struct refpoint_moment *m, uint8_t run,
                   struct cancel *cancel, struct varve_error *err)
{
    struct cancel none;
    enum varve_err rc;

    memset(m, 0, sizeof(*m));
    m->run.bytes[0] = run;
    cancel_init(&none);
    rc = l->capture->ops->begin(l->capture, &l->vm, &m->run, cancel != NULL ? cancel : &none,
                                &m->frozen, &m->notes, err);
    cancel_destroy(&none);
    return rc;
}

void
refpoint_lab_end(struct refpoint_lab *l, struct refpoint_moment *m)
{
    struct varve_error err;

    assert_ok(l->capture->ops->abort(l->capture, &l->vm, m->frozen.checkpoint, NULL, &err), &err);
    capture_frozen_release(&m->frozen);
    refpoint_lab_settle(l);
}

enum varve_err
refpoint_lab_keep(struct refpoint_lab *l, struct refpoint_moment *m, struct capture_kept *kept,
                  struct varve_error *err)
{
    const struct capture_marks none = {0};
    struct capture_kept made = {0};
    enum varve_err rc = l->capture->ops->keep(l->capture, &m->frozen, &none, NULL, &made, err);

    if (rc == VARVE_OK) {
        capture_frozen_release(&m->frozen);
        refpoint_lab_settle(l);
    }
    if (kept != NULL) {
        *kept = made;
    } else {
        capture_kept_release(&made);
    }
    return rc;
}

void
refpoint_lab_fail(struct refpoint_lab *l, const char *call, enum port_fault mode, uint32_t number,
                  unsigned times)
{
    struct port_script *s = &l->script;

    mutex_lock(&s->lock);
    (void)snprintf(s->only, sizeof(s->only), "%s", call);
    s->nth = 1;
    s->times = times;
    s->mode = mode;
    s->number = number;
    mutex_unlock(&s->lock);
}

void
refpoint_lab_doom(struct refpoint_lab *l, const char *op, unsigned job_state, uint32_t hresult,
                  unsigned times)
{
    struct sim_fault f = {.times = times,
                          .hresult = hresult,
                          .phase = SIM_FAULT_JOB,
                          .job_state = (enum sim_job_state)job_state};
    struct sim_error err;

    (void)snprintf(f.op, sizeof(f.op), "%s", op);
    mutex_lock(&l->lock);
    fault_clear(l->host);
    must_work(fault_set(l->host, &f, &err));
    mutex_unlock(&l->lock);
}

size_t
refpoint_lab_calls(struct refpoint_lab *l, const char *call)
{
    size_t n = 0;
    size_t i;

    mutex_lock(&l->script.lock);
    for (i = 0; i < l->script.count; i++) {
        n += strcmp(l->script.log[i], call) == 0 ? 1 : 0;
    }
    mutex_unlock(&l->script.lock);
    return n;
}

void
refpoint_lab_job_ms(struct refpoint_lab *l, uint64_t ms)
{
    struct sim_options o;
    struct sim_error err;

    mutex_lock(&l->lock);
    o = l->host->options;
    o.job_ms = ms;
    must_work(host_set_options(l->host, &o, &err));
    mutex_unlock(&l->lock);
}

void
refpoint_lab_write(struct refpoint_lab *l, unsigned disk, uint64_t off)
{
    const struct sim_extent e = {off, 4096};
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(guest_write(l->host, &l->vm, &l->disks[disk], &e, 1, NULL, ++l->writes, &err));
    mutex_unlock(&l->lock);
}

void
refpoint_lab_write_both(struct refpoint_lab *l)
{
    refpoint_lab_write(l, 0, 65536 * (uint64_t)(l->writes % 30));
    refpoint_lab_write(l, 1, 65536 * (uint64_t)((l->writes * 7) % 30));
}

struct guid
refpoint_lab_foreign(struct refpoint_lab *l, bool refpoint)
{
    struct guid job;
    struct guid id;
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(checkpoint_create(l->host, &l->vm, SIM_CHECKPOINT_RECOVERY, SIM_CRASH, "Other backup",
                                &job, &err));
    assert_int_equal(test_finish_job(l->host, &job, &id), SIM_OK);
    if (refpoint) {
        must_work(refpoint_convert(l->host, &id, &job, &err));
        assert_int_equal(test_finish_job(l->host, &job, &id), SIM_OK);
        test_settle(l->host);
    }
    mutex_unlock(&l->lock);
    return id;
}

void
refpoint_lab_settle(struct refpoint_lab *l)
{
    mutex_lock(&l->lock);
    test_settle(l->host);
    mutex_unlock(&l->lock);
}

struct sim_vm *
refpoint_lab_vm(struct refpoint_lab *l)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->host, &l->vm, &vm, &err));
    return vm;
}

size_t
refpoint_lab_checkpoints(struct refpoint_lab *l)
{
    size_t n;

    mutex_lock(&l->lock);
    n = refpoint_lab_vm(l)->checkpoint_count;
    mutex_unlock(&l->lock);
    return n;
}

size_t
refpoint_lab_points(struct refpoint_lab *l)
{
    size_t n;

    mutex_lock(&l->lock);
    n = refpoint_lab_vm(l)->refpoint_count;
    mutex_unlock(&l->lock);
    return n;
}

size_t
refpoint_lab_files(struct refpoint_lab *l)
{
    const struct sim_vm *vm;
    size_t n = 0;
    size_t i;

    mutex_lock(&l->lock);
    vm = refpoint_lab_vm(l);
    for (i = 0; i < vm->disk_count; i++) {
        n += vm->disks[i].file_count;
    }
    mutex_unlock(&l->lock);
    return n;
}

void
refpoint_lab_check_clean(struct refpoint_lab *l)
{
    refpoint_lab_settle(l);
    assert_int_equal(refpoint_lab_checkpoints(l), 0);
    assert_int_equal(refpoint_lab_files(l), 2);
}

uint8_t *
refpoint_lab_content(struct refpoint_lab *l, unsigned disk)
{
    uint8_t *out = malloc(LAB_DISK_SIZE);
    char *path = sim_printf("%s/content", l->dir);
    struct sim_error err;
    FILE *f;

    assert_non_null(out);
    mutex_lock(&l->lock);
    must_work(guest_read(l->host, &l->vm, &l->disks[disk], path, &err));
    mutex_unlock(&l->lock);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(out, 1, LAB_DISK_SIZE, f), LAB_DISK_SIZE);
    (void)fclose(f);
    free(path);
    return out;
}
