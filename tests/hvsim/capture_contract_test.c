/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/capture_fake.h"
#include "capture/capture_fault.h"
#include "capture/choice/choice.h"
#include "capture/collection/collection.h"
#include "capture/export/export.h"
#include "capture/folder/folder.h"
#include "capture/sim/sim.h"
#include "capture/vss/vss.h"
#include "hvsim/group.h"
#include "hvsim/refpoint_lab.h"
#include "hvsim/vss_fake.h"
#include "os/process.h"
#include "source/source.h"

/*
 * The promises of capture.h, over every member.  The simulated host is the real program, started
 * here and driven by its own control command.
 */
#define NOBODY "11111111-2222-3333-4444-555555555555"

enum member {
    MEMBER_FAKE,
    MEMBER_FAULT,
    MEMBER_FOLDER,
    MEMBER_SIM,
    MEMBER_REFPOINT,
    MEMBER_VSS,
    MEMBER_EXPORT,
    MEMBER_COLLECTION,
    MEMBER_CHOICE,
    MEMBER_CHOICE_VSS,
    MEMBER_COUNT
};

struct lab {
    enum member member;
    struct capture *capture;
    struct guid vm;
    struct fake_host *host;
    struct refpoint_lab *hv;
    struct vss_port *vss;
    bool hashes;   /* changes are found by names */
    bool prepares; /* in a folder */
    char dir[64];
    char hvsim[512];
    char socket[128];
    char disk[GUID_TEXT_SIZE];
};

static pid_t running; /* the simulated host, also when a test fails */

static void run_shell(const char *fmt, ...) VARVE_PRINTF(1, 2);

static void
run_shell(const char *fmt, ...)
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
sim_start(struct lab *l)
{
    const char *build = getenv("VARVE_BUILD_DIR");
    struct varve_error err;
    unsigned tries;

    (void)snprintf(l->hvsim, sizeof(l->hvsim), "%s/tools/hvsim", build != NULL ? build : ".");
    (void)snprintf(l->socket, sizeof(l->socket), "%s/host.sock", l->dir);
    run_shell("mkdir -p %s/host", l->dir);
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
    run_shell("%s ctl %s host.set '{\"job_ms\":1}' >/dev/null", l->hvsim, l->socket);
    run_shell("%s ctl %s vm.create '{\"name\":\"web\",\"disks\":[{\"size\":67108864,"
              "\"block_size\":2097152}]}' >/dev/null",
              l->hvsim, l->socket);
    assert_ok(capture_sim_open(&l->capture, l->socket, &err), &err);
}

/* The capture becomes one of two. */
static void
join(struct lab *l, const char *method)
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
open_collection(struct lab *l)
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
    must_work(group_create(l->hv->host, "sql", &l->hv->vm, 1, &id, &err));
    assert_ok(capture_collection_open(&l->capture, &o, &why), &why);
}

static void
lab_open(struct lab *l, enum member member)
{
    struct capture_inventory inv;
    struct varve_error err;

    memset(l, 0, sizeof(*l));
    l->member = member;
    (void)snprintf(l->dir, sizeof(l->dir), "/tmp/varve-capture-%" PRIu32, process_id());
    run_shell("rm -rf %s && mkdir -p %s/images", l->dir, l->dir);
    if (member == MEMBER_FAKE || member == MEMBER_FAULT) {
        l->host = fake_host_new();
        l->capture = fake_host_capture(l->host);
    }
    if (member == MEMBER_FAULT) {
        assert_ok(capture_fault_new(&l->capture, l->capture, 0, CAPTURE_FAULT_BEFORE, NULL, &err),
                  &err);
    }
    if (member == MEMBER_FOLDER) {
        run_shell("head -c 1048576 /dev/zero >%s/images/disk.raw", l->dir);
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

static int
sim_stop(void **state)
{
    (void)state;
    if (running > 0) {
        (void)kill(running, SIGTERM);
        (void)waitpid(running, NULL, 0);
        running = 0;
    }
    return 0;
}

static void
lab_close(struct lab *l)
{
    if (l->hv == NULL || l->capture != l->hv->capture) {
        capture_close(l->capture);
    }
    vss_port_close(l->vss);
    if (l->hv != NULL) {
        refpoint_lab_close(l->hv);
        free(l->hv);
    }
    (void)sim_stop(NULL);
    if (l->host != NULL) {
        assert_false(fake_host_foreign_touched(l->host));
        fake_host_free(l->host);
    }
    run_shell("rm -rf %s", l->dir);
}

/* The guest writes 4 KiB. */
static void
lab_write(struct lab *l, uint64_t off)
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
        run_shell("%s ctl %s guest.write '{\"vm\":\"%s\",\"disk\":\"%s\",\"seed\":%u,"
                  "\"offset\":%" PRIu64 ",\"length\":4096}' >/dev/null",
                  l->hvsim, l->socket, vm, l->disk, seed, off);
    }
}

static void
begin(struct lab *l, const struct guid *run, struct capture_frozen *out)
{
    struct cancel cancel;
    struct notes notes = {0};
    struct varve_error err;

    cancel_init(&cancel);
    assert_ok(l->capture->ops->begin(l->capture, &l->vm, run, &cancel, out, &notes, &err), &err);
    cancel_destroy(&cancel);
}

/* Before it is read; kept NULL: all of it is asked for. */
static enum varve_err
prepare(struct lab *l, const struct capture_frozen *f, const struct capture_kept *kept,
        struct varve_error *err)
{
    const char *since[8];
    struct cancel cancel;
    struct notes notes = {0};
    size_t i;
    enum varve_err rc;

    if (l->capture->ops->prepare == NULL) {
        return VARVE_OK;
    }
    assert_in_range(f->disk_count, 1, 8);
    for (i = 0; i < f->disk_count; i++) {
        since[i] = kept != NULL ? kept->change_ids[i] : "";
    }
    cancel_init(&cancel);
    rc = l->capture->ops->prepare(l->capture, f, since, 65536, &cancel, &notes, err);
    cancel_destroy(&cancel);
    return rc;
}

/* The run is over: nothing that was prepared for it stays. */
static void
end_run(struct lab *l, const struct guid *run)
{
    struct varve_error err;

    if (l->prepares) {
        assert_ok(l->capture->ops->adopt(l->capture, run, NULL, &err), &err);
        run_shell("test -z \"$(ls %s)\"", l->socket);
    }
}

static void
wait_merged(struct lab *l)
{
    struct cancel cancel;
    struct notes notes = {0};
    struct varve_error err;

    cancel_init(&cancel);
    assert_ok(l->capture->ops->wait_merged(l->capture, &l->vm, 20000, &cancel, &notes, &err), &err);
    cancel_destroy(&cancel);
}

static void
lists_agree(struct lab *l)
{
    struct capture_inventory a;
    struct capture_inventory b;
    struct varve_error err;

    assert_ok(l->capture->ops->list(l->capture, &a, &err), &err);
    assert_ok(l->capture->ops->list(l->capture, &b, &err), &err);
    assert_int_equal(a.count, b.count);
    assert_true(guid_equal(&a.vms[0].id, &b.vms[0].id));
    assert_true(guid_equal(&a.vms[0].disks[0].id, &b.vms[0].disks[0].id));
    assert_true(a.vms[0].disk_count > 0);
    assert_true(a.vms[0].disks[0].size > 0);
    assert_true(strlen(a.provider) > 0);
    assert_true(strlen(a.vms[0].reason) > 0);
    assert_int_equal(a.vms[0].disks[0].tracked, l->capture->tracks && !l->hashes);
    capture_inventory_release(&a);
    capture_inventory_release(&b);
}

static void
unknown_things_are_not_found(struct lab *l)
{
    struct guid nobody = {{0xEE}};
    struct capture_frozen frozen;
    struct notes notes = {0};
    struct cancel cancel;
    struct varve_error err;
    char id[CAPTURE_ID_MAX];

    cancel_init(&cancel);
    assert_err(l->capture->ops->begin(l->capture, &nobody, &nobody, &cancel, &frozen, &notes, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_err(l->capture->ops->find(l->capture, &l->vm, &nobody, id, &err), VARVE_ERR_NOT_FOUND,
               &err);
    assert_err(l->capture->ops->attach(l->capture, &l->vm, NOBODY, &frozen, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, NOBODY, &cancel, &err), &err);
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, NOBODY, &cancel, &err), &err);
    cancel_destroy(&cancel);
}

static void
frozen_is_found_again_and_aborted(struct lab *l)
{
    struct guid run = {{1, 1}};
    struct capture_frozen a;
    struct capture_frozen b;
    struct varve_error err;
    char id[CAPTURE_ID_MAX];

    begin(l, &run, &a);
    assert_true(guid_equal(&a.vm, &l->vm));
    assert_true(a.disk_count > 0 && a.frozen_at_us > 0 && strlen(a.reason) > 0);
    assert_int_equal(a.keeps, l->capture->tracks);
    assert_ok(l->capture->ops->check(l->capture, &a, 0, &err), &err);
    if (l->capture->tracks) {
        assert_ok(l->capture->ops->find(l->capture, &l->vm, &run, id, &err), &err);
        assert_string_equal(id, a.checkpoint);
    }
    if (l->capture->tracks && !l->hashes) {
        assert_ok(l->capture->ops->attach(l->capture, &l->vm, id, &b, &err), &err);
        assert_int_equal(b.disk_count, a.disk_count);
        assert_string_equal(b.disks[0].path, a.disks[0].path);
        assert_int_equal(b.frozen_at_us, a.frozen_at_us);
        capture_frozen_release(&b);
    } else if (!l->capture->tracks) {
        assert_string_equal(a.checkpoint, "");
    }
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, a.checkpoint, NULL, &err), &err);
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, a.checkpoint, NULL, &err), &err);
    assert_err(l->capture->ops->find(l->capture, &l->vm, &run, id, &err), VARVE_ERR_NOT_FOUND,
               &err);
    capture_frozen_release(&a);
    wait_merged(l);
}

static void
frozen_files_open_as_a_source(struct lab *l)
{
    struct guid run = {{1, 2}};
    struct capture_frozen f;
    struct source_info info;
    struct source *s = NULL;
    struct varve_error err;
    uint8_t sector[512];

    begin(l, &run, &f);
    if (l->host == NULL) {
        assert_ok(prepare(l, &f, NULL, &err), &err);
        assert_ok(l->member == MEMBER_EXPORT
                      ? capture_export_source(l->capture, &f, 0, &s, &err)
                      : source_file_open(&s, fs_system(), f.disks[0].path, f.allow_raw, &err),
                  &err);
        source_get_info(s, &info);
        assert_int_equal(info.size, f.disks[0].size);
        assert_ok(source_read(s, sector, sizeof(sector), info.size - 512, &err), &err);
        source_close(s);
    } else {
        assert_non_null(fake_host_frozen(l->host, f.disks[0].path));
    }
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, f.checkpoint, NULL, &err), &err);
    end_run(l, &run);
    capture_frozen_release(&f);
    wait_merged(l);
}

static void
without_tracking_nothing_is_kept(struct lab *l)
{
    struct guid run = {{1, 3}};
    struct capture_marks none = {0};
    struct capture_frozen f;
    struct capture_kept kept;
    struct extent_list list;
    uint64_t processed;
    struct varve_error err;

    begin(l, &run, &f);
    extent_list_init(&list, 100);
    assert_err(l->capture->ops->keep(l->capture, &f, &none, NULL, &kept, &err),
               VARVE_ERR_UNSUPPORTED, &err);
    assert_err(l->capture->ops->changes(l->capture, &f, 0, "x", 0, 4096, &list, &processed, &err),
               VARVE_ERR_UNSUPPORTED, &err);
    extent_list_release(&list);
    capture_frozen_release(&f);
}

/* Freeze, keep, write, freeze: the changes name what was written and nothing far from it. */
static void
kept_moments_answer_what_changed(struct lab *l)
{
    struct guid run1 = {{2, 1}};
    struct guid run2 = {{2, 2}};
    struct capture_marks before;
    struct capture_marks after;
    struct capture_frozen f;
    struct capture_kept kept;
    struct capture_files files;
    struct extent_list list;
    uint64_t processed = 0;
    struct varve_error err;
    char id[CAPTURE_ID_MAX];
    size_t i;
    bool seen = false;

    if (l->host != NULL) {
        fake_host_foreign_refpoint(l->host);
        fake_host_foreign_checkpoint(l->host);
    }
    lab_write(l, 0);
    assert_ok(l->capture->ops->marks(l->capture, &l->vm, &before, &err), &err);
    begin(l, &run1, &f);
    assert_ok(prepare(l, &f, NULL, &err), &err);
    assert_ok(l->capture->ops->files(l->capture, &f, &files, &err), &err);
    assert_true(files.count > 0 && files.items[0].len > 0);
    capture_files_release(&files);
    assert_err(l->capture->ops->find_kept(l->capture, &l->vm, f.checkpoint, &before, id, &err),
               VARVE_ERR_NOT_FOUND, &err);
    assert_ok(l->capture->ops->keep(l->capture, &f, &before, NULL, &kept, &err), &err);
    assert_int_equal(kept.count, f.disk_count);
    assert_true(strlen(kept.change_ids[0]) > 0);
    assert_ok(l->capture->ops->find_kept(l->capture, &l->vm, f.checkpoint, &before, id, &err),
              &err);
    assert_string_equal(id, kept.refpoint);
    assert_ok(l->capture->ops->marks(l->capture, &l->vm, &after, &err), &err);
    assert_int_equal(after.count, before.count + 1);
    assert_true(capture_marks_has(&after, kept.refpoint));
    end_run(l, &run1);
    capture_frozen_release(&f);
    wait_merged(l);

    lab_write(l, 131072);
    begin(l, &run2, &f);
    assert_ok(prepare(l, &f, &kept, &err), &err);
    extent_list_init(&list, 1000);
    assert_ok(l->capture->ops->changes(l->capture, &f, 0, kept.change_ids[0], 0, f.disks[0].size,
                                       &list, &processed, &err),
              &err);
    assert_int_equal(processed, f.disks[0].size);
    for (i = 0; i < list.count; i++) {
        assert_true(list.items[i].offset >= 65536 && list.items[i].offset < 300000);
        seen = seen || (list.items[i].offset <= 131072 &&
                        list.items[i].offset + list.items[i].length >= 131072 + 4096);
    }
    assert_true(seen);
    list.count = 0;
    (void)snprintf(kept.change_ids[0], CAPTURE_ID_MAX, "no-such-change-id");
    assert_err(l->prepares ? prepare(l, &f, &kept, &err)
                           : l->capture->ops->changes(l->capture, &f, 0, kept.change_ids[0], 0,
                                                      f.disks[0].size, &list, &processed, &err),
               VARVE_ERR_STALE, &err);
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, f.checkpoint, NULL, &err), &err);
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, kept.refpoint, NULL, &err), &err);
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, kept.refpoint, NULL, &err), &err);
    end_run(l, &run2);
    wait_merged(l);
    extent_list_release(&list);
    capture_frozen_release(&f);
    capture_kept_release(&kept);
    capture_marks_release(&before);
    capture_marks_release(&after);
}

/* Freeze, name, keep, freeze: the names are those of the moment that the change id says. */
static void
kept_names_tell_what_is_the_same(struct lab *l)
{
    const struct guid runs[] = {{{3, 1}}, {{3, 2}}};
    const uint8_t one = 1;
    const struct chunk_id id = {{7}};
    const struct chunk_id other = {{8}};
    struct capture_marks before;
    struct capture_frozen f;
    struct capture_kept kept;
    struct names *known = NULL;
    struct names *fresh = NULL;
    struct extent_list list;
    uint64_t processed = 0;
    struct varve_error err;
    char refpoint[CAPTURE_ID_MAX];
    bool same = false;
    size_t i;

    assert_ok(l->capture->ops->marks(l->capture, &l->vm, &before, &err), &err);
    begin(l, &runs[0], &f);
    extent_list_init(&list, 100);
    assert_err(l->capture->ops->changes(l->capture, &f, 0, "x", 0, 4096, &list, &processed, &err),
               VARVE_ERR_UNSUPPORTED, &err);
    extent_list_release(&list);
    assert_err(
        l->capture->ops->names(l->capture, &f, 0, 65536, "no-such-change-id", &known, NULL, &err),
        VARVE_ERR_STALE, &err);
    assert_err(
        l->capture->ops->find_kept(l->capture, &l->vm, f.checkpoint, &before, refpoint, &err),
        VARVE_ERR_NOT_FOUND, &err);
    for (i = 0; i < f.disk_count; i++) {
        assert_ok(l->capture->ops->names(l->capture, &f, i, 65536, "", &known, &fresh, &err), &err);
        assert_null(known);
        names_put(fresh, 3, 1, &one, &id);
        if (i == 0) { /* of the others not all was read */
            assert_ok(names_finish(fresh, &err), &err);
        }
        names_close(fresh);
    }
    assert_ok(l->capture->ops->keep(l->capture, &f, &before, NULL, &kept, &err), &err);
    assert_int_equal(kept.count, f.disk_count);
    assert_true(strlen(kept.change_ids[0]) > 0);
    assert_string_equal(kept.change_ids[1], "");
    assert_ok(l->capture->ops->find_kept(l->capture, &l->vm, f.checkpoint, &before, refpoint, &err),
              &err);
    assert_string_equal(refpoint, kept.refpoint);
    capture_frozen_release(&f);

    begin(l, &runs[1], &f);
    assert_ok(
        l->capture->ops->names(l->capture, &f, 0, 65536, kept.change_ids[0], &known, NULL, &err),
        &err);
    names_same(known, 3, 1, &one, &id, &same);
    assert_true(same);
    names_same(known, 3, 1, &one, &other, &same);
    assert_false(same);
    names_close(known);
    assert_err(
        l->capture->ops->names(l->capture, &f, 0, 4096, kept.change_ids[0], &known, NULL, &err),
        VARVE_ERR_STALE, &err); /* of chunks of another size */
    assert_ok(l->capture->ops->abort(l->capture, &l->vm, f.checkpoint, NULL, &err), &err);
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, kept.refpoint, NULL, &err), &err);
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, kept.refpoint, NULL, &err), &err);
    capture_frozen_release(&f);
    capture_kept_release(&kept);
    capture_marks_release(&before);
}

static void
every_member_keeps_the_promises(void **state)
{
    int m;

    (void)state;
    for (m = 0; m < MEMBER_COUNT; m++) {
        struct lab l;

        lab_open(&l, (enum member)m);
        lists_agree(&l);
        unknown_things_are_not_found(&l);
        frozen_is_found_again_and_aborted(&l);
        frozen_files_open_as_a_source(&l);
        if (l.hashes) {
            kept_names_tell_what_is_the_same(&l);
        } else if (l.capture->tracks) {
            kept_moments_answer_what_changed(&l);
        } else {
            without_tracking_nothing_is_kept(&l);
        }
        lab_close(&l);
    }
}

/* The simulated host does what it was asked and answers by an error, or not at all. */
static void
a_host_that_acts_but_denies_it_is_looked_after(void **state)
{
    static const char *const phases[] = {"after", "drop", "job", "call"};
    struct guid run = {{3, 1}};
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct capture_marks before;
        struct capture_frozen f;
        struct capture_kept kept;
        struct notes notes = {0};
        struct cancel cancel;
        struct varve_error err;
        char id[CAPTURE_ID_MAX];
        struct lab l;
        enum varve_err rc;

        cancel_init(&cancel);
        lab_open(&l, MEMBER_SIM);
        run_shell("%s ctl %s fault.set '{\"fault_op\":\"checkpoint.create\",\"nth\":1,"
                  "\"hresult\":32768,\"phase\":\"%s\"}' >/dev/null",
                  l.hvsim, l.socket, phases[i]);
        rc = l.capture->ops->begin(l.capture, &l.vm, &run, &cancel, &f, &notes, &err);
        if (i == 1) { /* no answer: it is looked for, and found */
            assert_ok(rc, &err);
            assert_ok(l.capture->ops->abort(l.capture, &l.vm, f.checkpoint, &cancel, &err), &err);
            capture_frozen_release(&f);
        } else {
            assert_int_not_equal(rc, VARVE_OK);
        }
        assert_err(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), VARVE_ERR_NOT_FOUND,
                   &err);
        wait_merged(&l);

        assert_ok(l.capture->ops->marks(l.capture, &l.vm, &before, &err), &err);
        begin(&l, &run, &f);
        run_shell("%s ctl %s fault.set '{\"fault_op\":\"refpoint.convert\",\"nth\":1,"
                  "\"hresult\":32768,\"phase\":\"%s\"}' >/dev/null",
                  l.hvsim, l.socket, phases[i]);
        rc = l.capture->ops->keep(l.capture, &f, &before, &cancel, &kept, &err);
        if (i < 2) {
            assert_ok(rc, &err); /* it was done, whatever the host said */
            assert_true(strlen(kept.change_ids[0]) > 0);
            assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, &cancel, &err), &err);
            capture_kept_release(&kept);
        } else {
            assert_int_not_equal(rc, VARVE_OK);
            assert_ok(l.capture->ops->abort(l.capture, &l.vm, f.checkpoint, &cancel, &err), &err);
        }
        capture_frozen_release(&f);
        capture_marks_release(&before);
        wait_merged(&l);
        lab_close(&l);
        cancel_destroy(&cancel);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_member_keeps_the_promises, sim_stop),
        cmocka_unit_test_teardown(a_host_that_acts_but_denies_it_is_looked_after, sim_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
