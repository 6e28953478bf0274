/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/contract_lab.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/capture_fault.h"
#include "capture/choice/choice.h"
#include "capture/collection/collection.h"
#include "capture/export/export.h"
#include "capture/folder/folder.h"
#include "capture/sim/sim.h"
#include "capture/vss/vss.h"
#include "hvsim/group.h"
#include "hvsim/vss_fake.h"
#include "os/process.h"

static pid_t running; /* the simulated host, also when a test fails */

void
contract_lab_shell(const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (system(line) != 0) {
        fail_msg("failed: %s", line);
    }
}

static void
sim_start(struct contract_lab *l)
{
    const char *build = getenv("VARVE_BUILD_DIR");
    struct varve_error err;
    unsigned tries;

    (void)snprintf(l->hvsim, sizeof(l->hvsim), "%s/tools/hvsim", build != NULL ? build : ".");
    (void)snprintf(l->socket, sizeof(l->socket), "%s/host.sock", l->dir);
    contract_lab_shell("mkdir -p %s/host", l->dir);
    running = fork();
    if (running == 0) {
        char dir[128];

        (void)snprintf(dir, sizeof(dir), "%s/host", l->dir);
        if (freopen("/dev/null", "w", stdout) == NULL) {
            _exit(127);
        }
        (void)execl(l->hvsim, "hvsim", "serve", "--dir", dir, "--socket", l->socket, "--seed", "1",
                    (char *)NULL);
        _exit(127);
    }
    for (tries = 0; tries < 200 && access(l->socket, F_OK) != 0; tries++) {
        thread_sleep_ms(50);
    }
    contract_lab_shell("%s ctl %s host.set '{\"job_ms\":1}' >/dev/null", l->hvsim, l->socket);
    contract_lab_shell("%s ctl %s vm.create '{\"name\":\"web\",\"disks\":[{\"size\":67108864,"
                       "\"block_size\":2097152}]}' >/dev/null",
                       l->hvsim, l->socket);
    assert_ok(capture_sim_open(&l->capture, l->socket, &err), &err);
}

/* The capture becomes one of two. */
static void
join(struct contract_lab *l, const char *method)
{
    struct refpoint_options o = {.wmi = l->hv->wmi,
                                 .vdisk = l->hv->vdisk,
                                 .fs = fs_system(),
                                 .host_fs = fs_system(),
                                 .state_dir = l->dir};
    struct choice_options both = {
        .members = {{.name = "refpoint", .family = "", .fits = choice_fits_refpoint},
                    {.name = "vss", .family = "hash:", .adapt = capture_vss_adapt}},
        .count = 2,
        .method = method};
    struct varve_error err;

    both.members[1].capture = l->capture;
    assert_ok(capture_refpoint_open(&both.members[0].capture, &o, &err), &err);
    assert_ok(capture_choice_open(&l->capture, &both, &err), &err);
}

/* The vm has a VHD set, which nothing here reads, and a group of its own. */
static void
open_collection(struct contract_lab *l)
{
    struct collection_options o = {.host = {.wmi = l->hv->wmi,
                                            .vdisk = l->hv->vdisk,
                                            .fs = fs_system(),
                                            .host_fs = fs_system(),
                                            .state_dir = l->dir}};
    const struct set_spec set = {.path = "\\\\fs1\\vms\\data.vhds",
                                 .control = "",
                                 .size = 1024 * 1024,
                                 .vms = &l->hv->vm,
                                 .vm_count = 1};
    struct sim_error err;
    struct varve_error why;
    struct guid id;

    must_work(set_create(l->hv->host, &set, &id, &err));
    must_work(group_create(l->hv->host, SIM_SPACE_HOST, "sql", &l->hv->vm, 1, &id, &err));
    assert_ok(capture_collection_open(&l->capture, &o, &why), &why);
}

void
contract_lab_open(struct contract_lab *l, enum member member)
{
    struct capture_inventory inv;
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    l->member = member;
    (void)snprintf(l->dir, sizeof(l->dir), "/tmp/varve-capture-%" PRIu32, process_id());
    contract_lab_shell("rm -rf %s && mkdir -p %s/images", l->dir, l->dir);
    if (member == MEMBER_FAKE || member == MEMBER_FAULT) {
        l->host = fake_host_new();
        l->capture = fake_host_capture(l->host);
    }
    if (member == MEMBER_FAULT) {
        assert_ok(capture_fault_new(&l->capture, l->capture, 0, CAPTURE_FAULT_BEFORE, NULL, &err),
                  &err);
    }
    if (member == MEMBER_FOLDER) {
        contract_lab_shell("head -c 1048576 /dev/zero >%s/images/disk.raw", l->dir);
        (void)snprintf(l->socket, sizeof(l->socket), "%s/images", l->dir);
        assert_ok(capture_folder_open(&l->capture, fs_system(), l->socket, "k", 1, &err), &err);
    }
    if (member == MEMBER_SIM) {
        sim_start(l);
    }
    l->hashes = member == MEMBER_VSS || member == MEMBER_CHOICE_VSS;
    l->prepares = member == MEMBER_EXPORT;
    if (member >= MEMBER_REFPOINT) {
        const struct wmi_fake_options options = {0};

        l->hv = calloc(1, sizeof(*l->hv));
        assert_non_null(l->hv);
        refpoint_lab_open(l->hv, &options, REFPOINT_APPLICATION, fs_system(), l->dir);
        l->capture = l->hv->capture;
    }
    if (member == MEMBER_VSS || member >= MEMBER_CHOICE) {
        const struct vss_fake_options options = {0};
        struct vss_options o = {
            .fs = fs_system(), .host_fs = fs_system(), .state_dir = l->dir, .wmi = l->hv->wmi};

        l->vss = vss_fake_new(&l->hv->script, &options);
        o.vss = l->vss;
        assert_ok(capture_vss_open(&l->capture, &o, &err), &err);
    }
    if (member == MEMBER_COLLECTION) {
        open_collection(l);
    }
    if (member == MEMBER_EXPORT) {
        struct export_options o = {
            .fs = fs_system(), .host_fs = fs_system(), .state_dir = l->dir, .wmi = l->hv->wmi};

        (void)snprintf(l->socket, sizeof(l->socket), "%s/images", l->dir);
        o.folder = l->socket;
        assert_ok(capture_export_open(&l->capture, &o, &err), &err);
    }
    if (member >= MEMBER_CHOICE) {
        join(l, member == MEMBER_CHOICE ? CAPTURE_WAY_AUTO : "vss");
    }
    assert_ok(l->capture->ops->list(l->capture, &inv, &err), &err);
    assert_int_equal(inv.count, 1);
    l->vm = inv.vms[0].id;
    guid_format_upper(&inv.vms[0].disks[0].id, l->disk);
    capture_inventory_release(&inv);
}

int
contract_lab_stop(void **state)
{
    (void)state;
    if (running > 0) {
        (void)kill(running, SIGTERM);
        (void)waitpid(running, NULL, 0);
        running = 0;
    }
    return 0;
}

void
contract_lab_close(struct contract_lab *l)
{
    if (l->hv == NULL || l->capture != l->hv->capture) {
        capture_close(l->capture);
    }
    vss_port_close(l->vss);
    if (l->hv != NULL) {
        refpoint_lab_close(l->hv);
        free(l->hv);
    }
    (void)contract_lab_stop(NULL);
    if (l->host != NULL) {
        assert_false(fake_host_foreign_touched(l->host));
        fake_host_free(l->host);
    }
    contract_lab_shell("rm -rf %s", l->dir);
}

void
contract_lab_write(struct contract_lab *l, uint64_t off)
{
    static uint8_t seed;
    uint8_t bytes[4096];
    char vm[GUID_TEXT_SIZE];

    memset(bytes, ++seed, sizeof(bytes));
    if (l->host != NULL) {
        fake_host_write(l->host, 0, off, bytes, sizeof(bytes));
    } else if (l->hv != NULL) {
        refpoint_lab_write(l->hv, 0, off);
    } else if (l->member == MEMBER_SIM) {
        guid_format_upper(&l->vm, vm);
        contract_lab_shell("%s ctl %s guest.write '{\"vm\":\"%s\",\"disk\":\"%s\",\"seed\":%u,"
                           "\"offset\":%" PRIu64 ",\"length\":4096}' >/dev/null",
                           l->hvsim, l->socket, vm, l->disk, seed, off);
    }
}
