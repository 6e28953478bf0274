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
        .host_fs = fs_system(),
        .state_dir = state_dir,
        .consistency = consistency,
        .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
        .create_ms = 5000,
        .convert_ms = 5000,
        .busy_ms = 5000,
        .pause_ms = 1};
    const struct vdisk_fake_options vdisk_options = {.vhd = options->vhd};
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
    l->wmi = wmi_fake_new(&l->script, options);
    l->vdisk = vdisk_fake_new(&l->script, &vdisk_options);
    o.wmi = l->wmi;
    o.vdisk = l->vdisk;
    assert_ok(capture_refpoint_open(&l->capture, &o, &why), &why);
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

void
refpoint_lab_write(struct refpoint_lab *l, unsigned disk, uint64_t off)
{
    const struct sim_extent e = {off, 4096};
    struct sim_error err;

    mutex_lock(&l->lock);
    must_work(guest_write(l->host, &l->vm, &l->disks[disk], &e, 1, NULL, ++l->writes, &err));
    mutex_unlock(&l->lock);
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

static struct sim_vm *
vm_of(struct refpoint_lab *l)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->host, &l->vm, &vm, &err));
    return vm;
}

size_t
refpoint_lab_checkpoints(struct refpoint_lab *l)
{
    return vm_of(l)->checkpoint_count;
}

size_t
refpoint_lab_points(struct refpoint_lab *l)
{
    return vm_of(l)->refpoint_count;
}

size_t
refpoint_lab_files(struct refpoint_lab *l)
{
    const struct sim_vm *vm = vm_of(l);
    size_t n = 0;
    size_t i;

    for (i = 0; i < vm->disk_count; i++) {
        n += vm->disks[i].file_count;
    }
    return n;
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
