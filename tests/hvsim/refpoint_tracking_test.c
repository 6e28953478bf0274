/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdlib.h>
#include <string.h>

#include "capture/refpoint/refpoint_internal.h"

/* Change ids: how they come to their disks, what makes them worthless, and what the answers may look like. */

static enum varve_err
ask(struct refpoint_lab *l, const struct refpoint_moment *m, size_t disk, const char *since,
    struct extent_list *out, struct varve_error *err)
{
    uint64_t size = m->frozen.disks[disk].size;
    uint64_t off = 0;
    enum varve_err rc = VARVE_OK;

    while (rc == VARVE_OK && off < size) {
        uint64_t done = 0;

        rc = l->capture->ops->changes(l->capture, &m->frozen, disk, since, off, size - off, out,
                                      &done, err);
        off += done;
    }
    return rc;
}

/* Bytes that changed, or the error. */
static enum varve_err
changed(struct refpoint_lab *l, const struct refpoint_moment *m, size_t disk, const char *since,
        uint64_t *bytes, struct varve_error *err)
{
    struct extent_list list;
    enum varve_err rc;

    extent_list_init(&list, 100000);
    rc = ask(l, m, disk, since, &list, err);
    *bytes = extent_list_bytes(&list);
    extent_list_release(&list);
    return rc;
}

static void
point(struct refpoint_lab *l, struct capture_kept *kept)
{
    struct refpoint_moment m;
    struct varve_error err;

    assert_ok(refpoint_lab_begin(l, &m, 1, NULL, &err), &err);
    assert_ok(refpoint_lab_keep(l, &m, kept, &err), &err);
}

/* What the host itself knows as the id of a disk in the newest reference point. */
static const char *
true_id(struct refpoint_lab *l, const struct guid *disk)
{
    const struct sim_refpoint *r;
    struct sim_vm *vm = NULL;
    struct sim_error err;
    size_t i;

    must_work(find_vm(l->host, &l->vm, &vm, &err));
    r = &vm->refpoints[vm->refpoint_count - 1];
    for (i = 0; i < r->disk_count; i++) {
        if (guid_equal(&r->disks[i].disk, disk)) {
            return r->disks[i].change_id;
        }
    }
    return "";
}

static bool
listed_as_tracked(struct refpoint_lab *l, const struct guid *disk)
{
    struct capture_inventory inv;
    struct varve_error err;
    bool tracked = false;
    size_t i;

    assert_ok(l->capture->ops->list(l->capture, &inv, &err), &err);
    for (i = 0; i < inv.vms[0].disk_count; i++) {
        tracked =
            tracked || (guid_equal(&inv.vms[0].disks[i].id, disk) && inv.vms[0].disks[i].tracked);
    }
    capture_inventory_release(&inv);
    return tracked;
}

/* ---- which id is whose ---- */

static void
check_ids(struct refpoint_lab *l, bool host_tells, bool any)
{
    struct refpoint_moment m;
    struct capture_kept kept;
    struct varve_error err;
    struct guid disks[8];
    size_t count;
    size_t i;

    if (!host_tells) {
        refpoint_lab_fail(l, "vdisk info 15", PORT_FAULT_BEFORE, 87, 8);
    }
    assert_ok(refpoint_lab_begin(l, &m, 1, NULL, &err), &err);
    l->script.nth = 0;
    count = m.frozen.disk_count;
    for (i = 0; i < count; i++) {
        disks[i] = m.frozen.disks[i].id;
    }
    assert_ok(refpoint_lab_keep(l, &m, &kept, &err), &err);
    assert_int_equal(kept.count, count);
    for (i = 0; i < count; i++) {
        assert_string_equal(kept.change_ids[i], any ? true_id(l, &disks[i]) : "");
    }
    assert_ok(l->capture->ops->drop(l->capture, &l->vm, kept.refpoint, NULL, &err), &err);
    capture_kept_release(&kept);
}

static void
ids_find_their_disks_in_lists_of_every_form(void **state)
{
    static const struct {
        struct wmi_fake_options options;
        bool by_place; /* what stands at a place can be believed */
    } cases[] = {{{0}, true},
                 {{.odd_ids = true}, true},
                 {{.uneven = true}, false},
                 {{.uneven = true, .odd_ids = true}, false}};
    const struct disk_spec vhd = {.size = LAB_DISK_SIZE,
                                  .block_size = VHDX_BASE_BLOCK,
                                  .logical_sector = 512,
                                  .physical_sector = 512,
                                  .vhd = true};
    struct guid id;
    struct sim_error err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct refpoint_lab l;

        refpoint_lab_start(&l, &cases[i].options, REFPOINT_APPLICATION);
        must_work(disk_add(l.host, &l.vm, &vhd, &id, &err));
        check_ids(&l, true, true);
        check_ids(&l, false, cases[i].by_place);
        /* Whoever got none is told apart until a run gets one. */
        assert_int_equal(listed_as_tracked(&l, &l.disks[0]), cases[i].by_place);
        check_ids(&l, true, true);
        assert_true(listed_as_tracked(&l, &l.disks[0]));
        assert_false(listed_as_tracked(&l, &id));
        refpoint_lab_close(&l);
    }
}

static void
a_vhd_is_backed_up_without_tracking(void **state)
{
    const struct disk_spec vhd = {.size = LAB_DISK_SIZE,
                                  .block_size = VHDX_BASE_BLOCK,
                                  .logical_sector = 512,
                                  .physical_sector = 512,
                                  .vhd = true};
    struct capture_inventory inv;
    struct refpoint_moment m;
    struct refpoint_lab l;
    struct varve_error why;
    struct sim_error err;
    struct guid id;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    must_work(disk_add(l.host, &l.vm, &vhd, &id, &err));
    assert_ok(l.capture->ops->list(l.capture, &inv, &why), &why);
    assert_null(inv.vms[0].disks[2].problem);
    assert_string_equal(inv.vms[0].disks[0].format, "vhdx");
    assert_string_equal(inv.vms[0].disks[2].format, "vhd");
    assert_true(inv.vms[0].disks[0].tracked);
    assert_false(inv.vms[0].disks[2].tracked);
    capture_inventory_release(&inv);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_int_equal(m.frozen.disk_count, 3);
    assert_true(m.frozen.disks[0].tracked);
    assert_false(m.frozen.disks[2].tracked);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);
}

/* ---- ids that are worth nothing any more ---- */

static void
each_way_to_lose_tracking_is_stale_and_says_why(void **state)
{
    static const char *const texts[] = {"has no log", "off for the disk", "resized",
                                        "changed offline", "keeps that change id no more"};
    struct capture_kept kept;
    struct refpoint_lab l;
    struct varve_error why;
    struct sim_error err;
    struct refpoint_moment m;
    uint64_t bytes;
    unsigned how;

    (void)state;
    for (how = 0; how < 5; how++) {
        refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
        point(&l, &kept);
        if (how == 0) {
            must_work(tracking_set(l.host, &l.vm, &l.disks[0], SIM_TRACKING_LOST, &err));
        } else if (how == 1) {
            must_work(tracking_set(l.host, &l.vm, &l.disks[0], SIM_TRACKING_OFF, &err));
        } else if (how == 2) {
            must_work(disk_resize(l.host, &l.vm, &l.disks[0], 2 * LAB_DISK_SIZE, &err));
        } else if (how == 3) {
            must_work(vm_set(l.host, &l.vm, NULL, SIM_VM_OFF, -1, -1, &err));
            must_work(tracking_set(l.host, &l.vm, &l.disks[0], SIM_TRACKING_OFFLINE, &err));
            must_work(vm_set(l.host, &l.vm, NULL, SIM_VM_RUNNING, -1, -1, &err));
        } else {
            assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, NULL, &why), &why);
        }
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
        assert_err(changed(&l, &m, 0, kept.change_ids[0], &bytes, &why), VARVE_ERR_STALE, &why);
        assert_int_equal(why.source, VARVE_SRC_HRESULT);
        assert_non_null(strstr(why.msg, texts[how]));
        refpoint_lab_end(&l, &m);
        capture_kept_release(&kept);
        refpoint_lab_close(&l);
    }
}

static void
every_number_of_change_tracking_is_stale_and_no_other(void **state)
{
    struct capture_kept kept;
    struct refpoint_lab l;
    struct varve_error err;
    struct refpoint_moment m;
    uint64_t bytes;
    uint32_t number;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    point(&l, &kept);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    for (number = 0xC03A001F; number <= 0xC03A0031; number++) {
        bool tracking = number >= 0xC03A0020 && number <= 0xC03A0030;

        refpoint_lab_fail(&l, "vdisk query_changes", PORT_FAULT_BEFORE, number, 1);
        assert_err(changed(&l, &m, 0, kept.change_ids[0], &bytes, &err),
                   tracking ? VARVE_ERR_STALE : VARVE_ERR_IO, &err);
        assert_int_equal(err.native, number);
    }
    refpoint_lab_end(&l, &m);
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
}

static void
a_disk_whose_tracking_is_off_is_said_to_be_so_until_it_is_on(void **state)
{
    struct capture_kept kept;
    struct refpoint_lab l;
    struct varve_error why;
    struct sim_error err;
    struct refpoint_moment m;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    assert_true(listed_as_tracked(&l, &l.disks[0]));
    must_work(tracking_set(l.host, &l.vm, &l.disks[0], SIM_TRACKING_OFF, &err));
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &why), &why);
    assert_false(m.frozen.disks[0].tracked);
    assert_true(m.frozen.disks[1].tracked);
    assert_ok(refpoint_lab_keep(&l, &m, &kept, &why), &why);
    assert_string_equal(kept.change_ids[0], "");
    assert_true(kept.change_ids[1][0] != '\0');
    capture_kept_release(&kept);
    assert_false(listed_as_tracked(&l, &l.disks[0]));
    assert_true(listed_as_tracked(&l, &l.disks[1]));
    must_work(tracking_set(l.host, &l.vm, &l.disks[0], SIM_TRACKING_ON, &err));
    point(&l, &kept);
    assert_true(kept.change_ids[0][0] != '\0');
    capture_kept_release(&kept);
    assert_true(listed_as_tracked(&l, &l.disks[0]));
    refpoint_lab_close(&l);
}

/* ---- a checkpoint that was applied ---- */

static struct guid
user_checkpoint(struct refpoint_lab *l)
{
    struct guid job;
    struct guid id;
    struct sim_error err;

    must_work(
        checkpoint_create(l->host, &l->vm, SIM_CHECKPOINT_USER, SIM_CRASH, "before", &job, &err));
    assert_int_equal(test_finish_job(l->host, &job, &id), SIM_OK);
    return id;
}

static void
apply(struct refpoint_lab *l, const struct guid *checkpoint)
{
    struct guid job;
    struct guid id;
    struct sim_error err;

    must_work(checkpoint_apply(l->host, checkpoint, &job, &err));
    assert_int_equal(test_finish_job(l->host, &job, &id), SIM_OK);
    test_settle(l->host);
}

static void
an_id_is_good_only_on_the_branch_on_which_it_was_given(void **state)
{
    static const bool ignores[] = {false, true}; /* as far as the host's own tracking goes */
    struct capture_kept first;
    struct capture_kept second;
    struct refpoint_moment m;
    struct varve_error why;
    struct sim_error err;
    uint64_t bytes = 0;
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct refpoint_lab l;
        struct sim_options o;
        struct guid checkpoint;
        struct guid job;
        struct guid gone;

        refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
        o = l.host->options;
        o.rct_ignores_apply = ignores[i];
        must_work(host_set_options(l.host, &o, &err));
        checkpoint = user_checkpoint(&l);
        refpoint_lab_write(&l, 0, 0);
        point(&l, &first);
        assert_null(strstr(first.change_ids[0], "#applied")); /* one that only stands there */
        apply(&l, &checkpoint);
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
        assert_err(changed(&l, &m, 0, first.change_ids[0], &bytes, &why), VARVE_ERR_STALE, &why);
        assert_non_null(strstr(why.msg, "applied"));
        assert_ok(refpoint_lab_keep(&l, &m, &second, &why), &why);
        /* From here on it is tracked again. */
        refpoint_lab_write(&l, 0, 65536);
        assert_ok(refpoint_lab_begin(&l, &m, 3, NULL, &why), &why);
        assert_ok(changed(&l, &m, 0, second.change_ids[0], &bytes, &why), &why);
        assert_int_equal(bytes, 65536);
        refpoint_lab_end(&l, &m);
        /* Applied, and then deleted: nobody can tell any more. */
        must_work(checkpoint_destroy(l.host, &checkpoint, &job, &err));
        assert_int_equal(test_finish_job(l.host, &job, &gone), SIM_OK);
        refpoint_lab_settle(&l);
        assert_ok(refpoint_lab_begin(&l, &m, 4, NULL, &why), &why);
        assert_err(changed(&l, &m, 0, second.change_ids[0], &bytes, &why), VARVE_ERR_STALE, &why);
        refpoint_lab_end(&l, &m);
        capture_kept_release(&first);
        capture_kept_release(&second);
        refpoint_lab_close(&l);
    }
}

/* What cannot be asked is no answer, but for a host that has no such thing; and no id grows out of its room. */
static void
the_branch_is_known_or_the_run_fails(void **state)
{
    const struct guid branch = {{1}};
    struct capture_frozen_disk d = {.path = NULL};
    struct refpoint_lab l;
    struct refpoint_moment m;
    struct varve_error err;
    char room[2 * CAPTURE_ID_MAX];
    char id[CAPTURE_ID_MAX];

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    refpoint_lab_fail(&l, "wmi assoc Msvm_LastAppliedSnapshot", PORT_FAULT_BEFORE, 0x80041001u, 1);
    assert_err(refpoint_lab_begin(&l, &m, 1, NULL, &err), VARVE_ERR_IO, &err);
    refpoint_lab_check_clean(&l);
    refpoint_lab_fail(&l, "wmi assoc Msvm_LastAppliedSnapshot", PORT_FAULT_BEFORE, 0x80041010u, 1);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    refpoint_lab_end(&l, &m);
    refpoint_lab_close(&l);

    memset(room, 'x', sizeof(room));
    room[CAPTURE_ID_MAX - 10] = '\0';
    refpoint_branch_put(room, &branch);
    assert_string_equal(room, "");
    memset(room, 'x', sizeof(room));
    room[CAPTURE_ID_MAX] = '\0';
    assert_err(refpoint_branch_take(&d, room, id, &err), VARVE_ERR_STALE, &err);
    room[CAPTURE_ID_MAX - 1] = '\0';
    assert_ok(refpoint_branch_take(&d, room, id, &err), &err);
    assert_string_equal(id, room);
}

static void
a_checkpoint_applied_while_a_run_reads_leaves_it_without_ids(void **state)
{
    struct capture_kept kept;
    struct refpoint_moment m;
    struct refpoint_lab l;
    struct varve_error err;
    struct guid checkpoint;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    checkpoint = user_checkpoint(&l);
    assert_ok(refpoint_lab_begin(&l, &m, 1, NULL, &err), &err);
    apply(&l, &checkpoint);
    assert_ok(refpoint_lab_keep(&l, &m, &kept, &err), &err);
    assert_string_equal(kept.change_ids[0], "");
    assert_string_equal(kept.change_ids[1], "");
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
}

/* ---- answers ---- */

static void
ranges_without_order_and_with_overlaps_are_all_of_it(void **state)
{
    struct capture_kept kept;
    struct refpoint_moment m;
    struct refpoint_lab l;
    struct sim_options o;
    struct extent_list list;
    struct varve_error why;
    struct sim_error err;
    unsigned round;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    o = l.host->options;
    o.rct_quirks = true;
    must_work(host_set_options(l.host, &o, &err));
    for (round = 0; round < 5; round++) {
        size_t k = 0;
        unsigned i;

        point(&l, &kept);
        for (i = 0; i < 32; i += 2 + round % 2) {
            refpoint_lab_write(&l, 0, i * UINT64_C(65536));
        }
        assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
        extent_list_init(&list, 1000);
        assert_ok(ask(&l, &m, 0, kept.change_ids[0], &list, &why), &why);
        for (i = 0; i < 32; i += 2 + round % 2) {
            while (k < list.count &&
                   list.items[k].offset + list.items[k].length <= i * UINT64_C(65536)) {
                k++;
            }
            assert_true(k < list.count && list.items[k].offset <= i * UINT64_C(65536) &&
                        list.items[k].offset + list.items[k].length >= (i + 1) * UINT64_C(65536));
        }
        extent_list_release(&list);
        refpoint_lab_end(&l, &m);
        assert_ok(l.capture->ops->drop(l.capture, &l.vm, kept.refpoint, NULL, &why), &why);
        capture_kept_release(&kept);
    }
    refpoint_lab_close(&l);
}

/* One answer has room for 4096. */
#define MANY 5000u

static void
more_ranges_than_one_answer_holds_come_in_several(void **state)
{
    const struct disk_spec spec = {.size = UINT64_C(48) * 1024 * 1024,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .tracked = true};
    struct sim_extent *extents = calloc(MANY, sizeof(*extents));
    struct capture_kept kept;
    struct refpoint_moment m;
    struct refpoint_lab l;
    struct sim_options o;
    struct varve_error why;
    struct sim_error err;
    struct guid disk;
    uint64_t bytes = 0;
    size_t i;

    (void)state;
    assert_non_null(extents);
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    o = l.host->options;
    o.rct_granularity = 4096;
    must_work(host_set_options(l.host, &o, &err));
    must_work(disk_add(l.host, &l.vm, &spec, &disk, &err));
    point(&l, &kept);
    for (i = 0; i < MANY; i++) {
        extents[i].offset = i * 8192;
        extents[i].length = 4096;
    }
    must_work(guest_write(l.host, &l.vm, &disk, extents, MANY, NULL, 77, &err));
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &why), &why);
    port_script_clear_log(&l.script);
    assert_ok(changed(&l, &m, 2, kept.change_ids[2], &bytes, &why), &why);
    assert_int_equal(bytes, (uint64_t)MANY * 4096);
    assert_int_equal(refpoint_lab_calls(&l, "vdisk query_changes"), 2);
    refpoint_lab_end(&l, &m);
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
    free(extents);
}

/* Answers that nobody documents: what is left out would be missing in the point. */
static void
an_answer_that_does_not_get_on_or_goes_too_far_is_stale(void **state)
{
    static const struct {
        struct vdisk_fake_options options;
        enum varve_err code;
        const char *words;
    } cases[] = {{{.stuck = true}, VARVE_ERR_STALE, "covered 0 of"},
                 {{.too_far = true}, VARVE_ERR_STALE, "covered 2097664 of 2097152"},
                 {{.past_end = true}, VARVE_OK, ""}};
    struct capture_kept kept;
    struct refpoint_moment m;
    struct refpoint_lab l;
    struct varve_error err;
    uint64_t bytes = 0;
    size_t i;

    (void)state;
    refpoint_lab_start(&l, NULL, REFPOINT_APPLICATION);
    point(&l, &kept);
    refpoint_lab_write(&l, 0, LAB_DISK_SIZE - 4096);
    assert_ok(refpoint_lab_begin(&l, &m, 2, NULL, &err), &err);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vdisk_port *odd = vdisk_fake_new(&l.script, &cases[i].options);

        ((struct refpoint *)l.capture)->vdisk = odd;
        assert_int_equal(changed(&l, &m, 0, kept.change_ids[0], &bytes, &err), cases[i].code);
        assert_true(cases[i].code == VARVE_OK || strstr(err.msg, cases[i].words) != NULL);
        ((struct refpoint *)l.capture)->vdisk = l.vdisk;
        vdisk_port_close(odd);
    }
    assert_in_range(bytes, 4096, 65536); /* up to the end of the disk and no more */
    refpoint_lab_end(&l, &m);
    capture_kept_release(&kept);
    refpoint_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_find_their_disks_in_lists_of_every_form),
        cmocka_unit_test(a_vhd_is_backed_up_without_tracking),
        cmocka_unit_test(each_way_to_lose_tracking_is_stale_and_says_why),
        cmocka_unit_test(every_number_of_change_tracking_is_stale_and_no_other),
        cmocka_unit_test(a_disk_whose_tracking_is_off_is_said_to_be_so_until_it_is_on),
        cmocka_unit_test(an_id_is_good_only_on_the_branch_on_which_it_was_given),
        cmocka_unit_test(the_branch_is_known_or_the_run_fails),
        cmocka_unit_test(a_checkpoint_applied_while_a_run_reads_leaves_it_without_ids),
        cmocka_unit_test(ranges_without_order_and_with_overlaps_are_all_of_it),
        cmocka_unit_test(more_ranges_than_one_answer_holds_come_in_several),
        cmocka_unit_test(an_answer_that_does_not_get_on_or_goes_too_far_is_stale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
