/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "capture/refpoint/refpoint_internal.h"
#include "source/source_virtdisk.h"

/* The traps of a Hyper-V host, one by one. */

static const struct wmi_fake_options plain = {0};

static void
lab_open_plain(struct refpoint_lab *l, const struct wmi_fake_options *options,
               enum refpoint_consistency consistency)
{
    refpoint_lab_open(l, options, consistency, fs_system(), NULL);
}

static void
set_guest(struct refpoint_lab *l, int integration, int merge)
{
    struct sim_error err;

    must_work(vm_set(l->host, &l->vm, NULL, -1, integration, merge, &err));
}

static void
a_guest_that_cannot_gives_a_crash_consistent_point_or_none(void **state)
{
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(m.frozen.consistency, CAPTURE_APPLICATION);
    assert_int_equal(m.notes.count, 0);
    refpoint_lab_end(&l, &m);
    set_guest(&l, 0, -1);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    assert_int_equal(m.frozen.consistency, CAPTURE_CRASH);
    assert_int_equal(m.notes.count, 1);
    assert_non_null(strstr(m.notes.text[0], "does not answer")); /* the host's own words */
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);

    lab_open_plain(&l, &plain, REFPOINT_APPLICATION_OR_FAIL);
    set_guest(&l, 0, -1);
    assert_err(refpoint_lab_begin(&l, &m, 3, NULL, &err), VARVE_ERR_IO, &err);
    assert_int_equal(err.native, 32768);
    assert_int_equal(refpoint_lab_checkpoints(&l), 0);
    refpoint_lab_close(&l);
}

static void
what_an_old_host_does_not_know_is_not_asked_for(void **state)
{
    const struct wmi_fake_options old = {.server_2016 = true};
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    lab_open_plain(&l, &old, REFPOINT_APPLICATION);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l); /* notes a GuestBackupType that was given */
}

static void
a_physical_disk_is_reported_and_the_others_are_backed_up(void **state)
{
    const struct wmi_fake_options options = {.pass_through = true};
    struct capture_inventory inv;
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;

    (void)state;
    lab_open_plain(&l, &options, REFPOINT_APPLICATION);
    assert_ok(l.capture->ops->list(l.capture, &inv, &err), &err);
    assert_int_equal(inv.count, 1);
    assert_int_equal(inv.vms[0].disk_count, 3);
    assert_null(inv.vms[0].disks[0].problem);
    assert_true(guid_equal(&inv.vms[0].disks[0].id, &l.disks[0]));
    assert_int_equal(inv.vms[0].disks[0].size, LAB_DISK_SIZE);
    assert_string_equal(inv.vms[0].disks[0].name, "web-1.vhdx");
    assert_int_equal(inv.vms[0].disks[2].problem_code, VARVE_ERR_UNSUPPORTED);
    capture_inventory_release(&inv);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_int_equal(m.frozen.disk_count, 2);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

static void
checkpoints_of_others_are_never_touched(void **state)
{
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;
    char id[CAPTURE_ID_MAX];
    const struct guid run = {{9}};

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l, false);
    assert_err(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    assert_int_equal(refpoint_lab_checkpoints(&l), 1);
    refpoint_lab_close(&l);
}

/* A crash between making and naming: the note tells which one is ours, and when it cannot be told,
 * none is. */
static void
a_checkpoint_without_its_name_is_known_by_what_was_there_before(void **state)
{
    struct capture_note note = {0};
    const struct guid run = {{7}};
    struct refpoint_lab l;
    struct varve_error err;
    char id[CAPTURE_ID_MAX];

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    note.begun_us = time_now_us();
    assert_ok(refpoint_note_write((struct refpoint *)l.capture, &run, &note, &err), &err);
    (void)refpoint_lab_foreign(&l, false); /* as ours looks before it has its name */
    assert_ok(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), &err);
    assert_ok(capture_marks_add(&note.before, id, &err), &err);
    assert_ok(refpoint_note_write((struct refpoint *)l.capture, &run, &note, &err), &err);
    assert_err(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), VARVE_ERR_NOT_FOUND, &err);
    capture_marks_release(&note.before);
    assert_ok(refpoint_note_write((struct refpoint *)l.capture, &run, &note, &err), &err);
    (void)refpoint_lab_foreign(&l, false); /* two are new: neither is taken */
    assert_err(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), VARVE_ERR_NOT_FOUND, &err);
    note.begun_us -= INT64_C(3600000000);
    refpoint_note_remove((struct refpoint *)l.capture, &run);
    refpoint_lab_close(&l);
}

/* A list of what was there that is not whole would make somebody else's checkpoint a new one. */
static void
a_damaged_note_makes_no_checkpoint_ours(void **state)
{
    static const char *const forms[][2] = {{"varve-refpoint 1", ""}, {"varve-refpoint 9", "end\n"}};
    const struct guid run = {{7}};
    struct refpoint_lab l;
    struct varve_error err;
    char id[CAPTURE_ID_MAX];
    char text[GUID_TEXT_SIZE];
    char *path;
    size_t i;

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    (void)refpoint_lab_foreign(&l, false);
    guid_format(&run, text);
    path = sim_printf("%s/refpoint", l.dir);
    assert_ok(fs_mkdir(fs_system(), path, &err), &err);
    free(path);
    path = sim_printf("%s/refpoint/%s", l.dir, text);
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char note[96];
        int len = snprintf(note, sizeof(note), "%s\nbegun %" PRId64 "\n%s", forms[i][0],
                           time_now_us(), forms[i][1]);

        assert_ok(fs_write_durable(fs_system(), path, note, (size_t)len, false, &err), &err);
        assert_err(l.capture->ops->find(l.capture, &l.vm, &run, id, &err), VARVE_ERR_NOT_FOUND,
                   &err);
    }
    free(path);
    refpoint_lab_close(&l);
}

/* A name with an owner that is forgotten would be somebody else's after a restart. */
static void
an_owner_that_could_not_be_written_is_none(void **state)
{
    struct refpoint_lab l;
    struct refpoint *r;
    struct varve_error err;
    struct guid first;
    struct guid again;
    char *path;
    char *inside;

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    r = (struct refpoint *)l.capture;
    path = sim_printf("%s/refpoint/owner.tmp", l.dir); /* where it is written first is a folder */
    inside = sim_printf("%s/x", path);
    assert_ok(fs_mkdir_parents(fs_system(), inside, &err), &err);
    assert_true(refpoint_owner(r, &first, &err) != VARVE_OK);
    assert_ok(fs_remove(fs_system(), inside, &err), &err);
    assert_ok(fs_remove(fs_system(), path, &err), &err);
    assert_ok(refpoint_owner(r, &first, &err), &err);
    memset(&r->owner, 0, sizeof(r->owner)); /* as a new process is */
    assert_ok(refpoint_owner(r, &again, &err), &err);
    assert_true(guid_equal(&first, &again));
    free(path);
    free(inside);
    refpoint_lab_close(&l);
}

/* Another vm of the host, whose merging is off. */
static struct guid
add_unmerged(struct refpoint_lab *l)
{
    const struct vm_spec spec = {.name = "other", .generation = 2, .config_version = "9.0"};
    struct sim_error err;
    struct guid id;

    must_work(vm_create(l->host, &spec, &id, &err));
    must_work(vm_set(l->host, &id, NULL, -1, -1, 0, &err));
    return id;
}

static bool
merges(struct refpoint_lab *l, const struct guid *id)
{
    struct sim_vm *vm = NULL;
    struct sim_error err;

    must_work(find_vm(l->host, id, &vm, &err));
    return vm->merge_enabled;
}

static void
a_frozen_merge_is_switched_on_again(void **state)
{
    struct refpoint_lab l;
    struct varve_error err;
    struct notes notes = {0};
    struct refpoint_moment m;
    struct guid other;

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    other = add_unmerged(&l); /* whose merging is no business of this vm's run */
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    set_guest(&l, -1, 0);
    assert_ok(l.capture->ops->abort(l.capture, &l.vm, m.frozen.checkpoint, NULL, &err), &err);
    capture_frozen_release(&m.frozen);
    assert_ok(l.capture->ops->wait_merged(l.capture, &l.vm, 5000, NULL, &notes, &err), &err);
    assert_int_equal(notes.count, 1);
    assert_int_equal(refpoint_lab_files(&l), 2);
    assert_false(merges(&l, &other));
    refpoint_lab_close(&l);
}

static void
a_moved_vm_goes_on_with_its_chain_on_the_new_host(void **state)
{
    struct capture_marks none = {0};
    struct capture_kept kept;
    struct refpoint_lab a;
    struct refpoint_lab b;
    struct extent_list list;
    struct sim_error why;
    struct varve_error err;
    struct refpoint_moment m;
    uint64_t done;
    char *to;

    (void)state;
    lab_open_plain(&a, &plain, REFPOINT_APPLICATION);
    lab_open_plain(&b, &plain, REFPOINT_APPLICATION);
    assert_int_equal(vm_delete(b.host, &b.vm, &why), SIM_OK);
    assert_ok(refpoint_lab_begin(&a, &m, 1, NULL, &err), &err);
    assert_ok(a.capture->ops->keep(a.capture, &m.frozen, &none, NULL, &kept, &err), &err);
    capture_frozen_release(&m.frozen);
    refpoint_lab_settle(&a);
    to = sim_printf("%s/moving", a.dir);
    assert_int_equal(vm_move_out(a.host, &a.vm, to, false, &why), SIM_OK);
    assert_int_equal(vm_move_in(b.host, to, &b.vm, &why), SIM_OK);
    free(to);
    /* An ordinary event for the old host: nothing to find, nothing left to destroy. */
    assert_err(refpoint_lab_begin(&a, &m, 2, NULL, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_err(a.capture->ops->marks(a.capture, &a.vm, &none, &err), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(a.capture->ops->drop(a.capture, &a.vm, kept.refpoint, NULL, &err), &err);
    b.disks[0] = a.disks[0];
    refpoint_lab_write(&b, 0, 0);
    assert_ok(refpoint_lab_begin(&b, &m, 2, NULL, &err), &err);
    extent_list_init(&list, 100);
    assert_ok(b.capture->ops->changes(b.capture, &m.frozen, 0, kept.change_ids[0], 0, LAB_DISK_SIZE,
                                      &list, &done, &err),
              &err);
    assert_int_equal(extent_list_bytes(&list), 65536);
    extent_list_release(&list);
    refpoint_lab_end(&b, &m);
    assert_ok(b.capture->ops->drop(b.capture, &b.vm, kept.refpoint, NULL, &err), &err);
    assert_int_equal(refpoint_lab_points(&b), 0);
    capture_kept_release(&kept);
    refpoint_lab_close(&a);
    refpoint_lab_close(&b);
}

static void
reads_of_any_alignment_give_the_bytes_of_the_disk(void **state)
{
    static const struct {
        uint64_t off;
        size_t len;
        size_t shift;
    } cases[] = {{0, LAB_DISK_SIZE, 0},
                 {0, LAB_DISK_SIZE, 1},
                 {1, 777, 0},
                 {4095, 8194, 3},
                 {65536, 65536, 0},
                 {LAB_DISK_SIZE - 777, 777, 5},
                 {512, LAB_DISK_SIZE - 1024, 8}};
    struct refpoint_lab l;
    struct source *s = NULL;
    struct varve_error err;
    struct refpoint_moment m;
    uint8_t *want;
    uint8_t *buf = malloc(LAB_DISK_SIZE + 64);
    size_t i;

    (void)state;
    assert_non_null(buf);
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    for (i = 0; i < 20; i++) {
        refpoint_lab_write(&l, 0, i * 98304);
    }
    want = refpoint_lab_content(&l, 0);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    assert_ok(source_virtdisk_open(&s, l.vdisk, fs_system(), m.frozen.disks[0].path, &err), &err);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *to = buf + cases[i].shift;

        assert_ok(source_read(s, to, cases[i].len, cases[i].off, &err), &err);
        assert_memory_equal(to, want + cases[i].off, cases[i].len);
    }
    assert_true(vdisk_fake_in_flight_max(l.vdisk) > 1);
    source_close(s);
    assert_int_equal(vdisk_fake_open_count(l.vdisk), 0);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
    free(want);
    free(buf);
}

static void
names_and_times_of_a_host_are_understood(void **state)
{
    int64_t us = 0;
    char *name = refpoint_disk_name("C:\\VMs\\a b_0F8FAD5B-D9CB-469F-A165-70867728950E.avhdx");

    (void)state;
    assert_string_equal(name, "a b.vhdx");
    free(name);
    name = refpoint_disk_name("/x/plain_name.avhdx");
    assert_string_equal(name, "plain_name.avhdx");
    free(name);
    assert_true(refpoint_time(&us, "20261122111530.000000+060"));
    assert_int_equal(us, INT64_C(1795342530000000));
    assert_false(refpoint_time(&us, "yesterday"));
    assert_true(refpoint_version_keeps("8.0") && refpoint_version_keeps("6.2"));
    assert_false(refpoint_version_keeps("5.0"));
}

/* ---- what the host must offer ---- */

static void
probe(const struct wmi_fake_options *wmi, const struct vdisk_fake_options *vdisk,
      struct refpoint_findings *out)
{
    struct refpoint_lab l;
    struct wmi_port *asked_wmi;
    struct vdisk_port *asked_vdisk;

    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    asked_wmi = wmi_fake_new(&l.script, wmi);
    asked_vdisk = vdisk_fake_new(&l.script, vdisk);
    refpoint_probe(out, asked_wmi, asked_vdisk, NULL);
    wmi_port_close(asked_wmi);
    vdisk_port_close(asked_vdisk);
    refpoint_lab_close(&l);
}

static void
each_thing_that_a_host_lacks_is_named_with_the_way_out(void **state)
{
    static const struct {
        struct wmi_fake_options wmi;
        struct vdisk_fake_options vdisk;
        enum varve_err code; /* of the one problem */
        const char *text;
    } cases[] = {
        {{.no_role = true}, {0}, VARVE_ERR_UNSUPPORTED, "Install-WindowsFeature"},
        {{.no_rights = true}, {0}, VARVE_ERR_DENIED, "elevated"},
        {{0}, {.no_query_changes = true}, VARVE_ERR_UNSUPPORTED, "QueryChangesVirtualDisk"},
        {{0}, {.no_privilege = true}, VARVE_ERR_DENIED, "SeManageVolumePrivilege"},
    };
    struct refpoint_findings found;
    size_t i;
    size_t k;

    (void)state;
    probe(&plain, &(const struct vdisk_fake_options){0}, &found);
    assert_int_equal(found.count, 4);
    for (k = 0; k < found.count; k++) {
        assert_int_equal(found.items[k].code, VARVE_OK);
    }
    assert_non_null(strstr(found.items[0].text, "virtual machines: 1"));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t problems = 0;

        probe(&cases[i].wmi, &cases[i].vdisk, &found);
        for (k = 0; k < found.count; k++) {
            if (found.items[k].code != VARVE_OK) {
                problems++;
                assert_int_equal(found.items[k].code, cases[i].code);
                assert_non_null(strstr(found.items[k].text, cases[i].text));
            }
        }
        assert_int_equal(problems, 1);
    }
    probe(&(const struct wmi_fake_options){.server_2016 = true},
          &(const struct vdisk_fake_options){0}, &found);
    assert_int_equal(found.items[2].code, VARVE_OK);
    assert_non_null(strstr(found.items[2].text, "1703"));
    probe(&(const struct wmi_fake_options){.server_2012 = true},
          &(const struct vdisk_fake_options){0}, &found);
    assert_int_equal(found.items[2].code, VARVE_ERR_UNSUPPORTED); /* behind the missing service */
    assert_non_null(strstr(found.items[1].text, "ReferencePointService"));
}

static void
a_host_without_the_role_or_without_reference_points_has_no_capture(void **state)
{
    static const struct wmi_fake_options hosts[] = {{.no_role = true}, {.server_2012 = true}};
    struct refpoint_lab l;
    size_t i;

    (void)state;
    lab_open_plain(&l, &plain, REFPOINT_APPLICATION);
    for (i = 0; i < 2; i++) {
        struct wmi_port *wmi = wmi_fake_new(&l.script, &hosts[i]);
        const struct refpoint_options o = {.wmi = wmi,
                                           .vdisk = l.vdisk,
                                           .fs = fs_system(),
                                           .host_fs = fs_system(),
                                           .state_dir = "/tmp",
                                           .wmi_times = {1, 1, 1, 1}};
        struct capture *none = NULL;
        struct varve_error err;

        assert_err(capture_refpoint_open(&none, &o, &err), VARVE_ERR_UNSUPPORTED, &err);
        assert_null(none);
        wmi_port_close(wmi);
    }
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_that_cannot_gives_a_crash_consistent_point_or_none),
        cmocka_unit_test(what_an_old_host_does_not_know_is_not_asked_for),
        cmocka_unit_test(a_physical_disk_is_reported_and_the_others_are_backed_up),
        cmocka_unit_test(checkpoints_of_others_are_never_touched),
        cmocka_unit_test(a_checkpoint_without_its_name_is_known_by_what_was_there_before),
        cmocka_unit_test(a_damaged_note_makes_no_checkpoint_ours),
        cmocka_unit_test(an_owner_that_could_not_be_written_is_none),
        cmocka_unit_test(a_frozen_merge_is_switched_on_again),
        cmocka_unit_test(a_moved_vm_goes_on_with_its_chain_on_the_new_host),
        cmocka_unit_test(reads_of_any_alignment_give_the_bytes_of_the_disk),
        cmocka_unit_test(names_and_times_of_a_host_are_understood),
        cmocka_unit_test(each_thing_that_a_host_lacks_is_named_with_the_way_out),
        cmocka_unit_test(a_host_without_the_role_or_without_reference_points_has_no_capture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
