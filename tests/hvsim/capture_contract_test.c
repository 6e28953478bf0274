/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/contract_lab.h"

#include <stdio.h>
#include <string.h>

#include "capture/export/export.h"
#include "source/source.h"

/* The promises of capture.h, over every member. */
#define NOBODY "11111111-2222-3333-4444-555555555555"

static void
begin(struct contract_lab *l, const struct guid *run, struct capture_frozen *out)
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
prepare(struct contract_lab *l, const struct capture_frozen *f, const struct capture_kept *kept,
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
end_run(struct contract_lab *l, const struct guid *run)
{
    struct varve_error err;

    if (l->prepares) {
        assert_ok(l->capture->ops->adopt(l->capture, run, NULL, &err), &err);
        contract_lab_shell("test -z \"$(ls %s)\"", l->socket);
    }
}

static void
wait_merged(struct contract_lab *l)
{
    struct cancel cancel;
    struct notes notes = {0};
    struct varve_error err;

    cancel_init(&cancel);
    assert_ok(l->capture->ops->wait_merged(l->capture, &l->vm, 20000, &cancel, &notes, &err), &err);
    cancel_destroy(&cancel);
}

static void
lists_agree(struct contract_lab *l)
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
unknown_things_are_not_found(struct contract_lab *l)
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
frozen_is_found_again_and_aborted(struct contract_lab *l)
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
frozen_files_open_as_a_source(struct contract_lab *l)
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
without_tracking_nothing_is_kept(struct contract_lab *l)
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
kept_moments_answer_what_changed(struct contract_lab *l)
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
    contract_lab_write(l, 0);
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

    contract_lab_write(l, 131072);
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
kept_names_tell_what_is_the_same(struct contract_lab *l)
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
        struct contract_lab l;

        contract_lab_open(&l, (enum member)m);
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
        contract_lab_close(&l);
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
        struct contract_lab l;
        enum varve_err rc;

        cancel_init(&cancel);
        contract_lab_open(&l, MEMBER_SIM);
        contract_lab_shell("%s ctl %s fault.set '{\"fault_op\":\"checkpoint.create\",\"nth\":1,"
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
        contract_lab_shell("%s ctl %s fault.set '{\"fault_op\":\"refpoint.convert\",\"nth\":1,"
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
        contract_lab_close(&l);
        cancel_destroy(&cancel);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_member_keeps_the_promises, contract_lab_stop),
        cmocka_unit_test_teardown(a_host_that_acts_but_denies_it_is_looked_after,
                                  contract_lab_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
