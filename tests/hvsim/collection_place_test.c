/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/collection_lab.h"

#include <stdlib.h>
#include <string.h>

/*
 * In which namespace the group of a guest cluster stands: the host's, its cluster's, both or none; what is remembered of
 * that, and what happens when the cluster does not answer.  Runs in the cluster's namespace, any call failing or being
 * the agent's last, and any write to its disk.
 */

static const char note_dir[] = "/state/group";

/* The file that says that the vm's group is the cluster's. */
static bool
is_noted(struct collection_lab *l)
{
    char id[GUID_TEXT_SIZE];
    char *path;
    struct file_stat st;
    struct varve_error err;
    bool there;

    guid_format(&l->vms[0], id);
    path = sim_printf("%s/%s", note_dir, id);
    there = fs_stat(&l->job.fs, path, &st, &err) == VARVE_OK;
    free(path);
    return there;
}

/* What the inventory says of the set of vms[0]; the caller frees. */
static char *
problem_of_set(struct collection_lab *l, struct notes *notes)
{
    struct capture *c = l->job.env.capture;
    struct capture_inventory inv;
    struct varve_error err;
    char *problem = NULL;

    assert_ok(c->ops->list(c, &inv, &err), &err);
    for (size_t i = 0; i < inv.count; i++) {
        const struct capture_vm *vm = &inv.vms[i];

        if (guid_equal(&vm->id, &l->vms[0]) && vm->disks[2].problem != NULL) {
            problem = sim_strdup(vm->disks[2].problem);
        }
        if (!capture_collection_claims(vm)) { /* not touched by what goes on in the cluster */
            assert_null(vm->disks[0].problem);
        }
    }
    if (notes != NULL) {
        *notes = inv.notes;
    }
    capture_inventory_release(&inv);
    return problem;
}

static void
refuse(struct collection_lab *l, enum varve_err code, const char *words)
{
    struct varve_error err;
    char *problem = problem_of_set(l, NULL);

    assert_non_null(problem);
    assert_non_null(strstr(problem, words));
    free(problem);
    assert_int_equal(collection_lab_run(l, 0, &err), code);
    assert_non_null(strstr(err.msg, words));
}

/* ---- where it is ---- */

static void
a_group_is_found_in_either_namespace_and_once_in_both(void **state)
{
    static const struct {
        enum sim_space space;
        bool asked_at_cluster;
    } cases[] = {{SIM_SPACE_HOST, false}, {SIM_SPACE_CLUSTER, true}, {SIM_SPACE_BOTH, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct collection_lab_options o = {.space = cases[i].space};
        bool far = cases[i].asked_at_cluster;
        struct collection_lab l;
        struct capture_vm vm;
        struct varve_error err;
        struct peer_fake_seen seen;

        collection_lab_open(&l, &o);
        assert_ok(l.job.env.capture->ops->describe(l.job.env.capture, &l.vms[0], &vm, &err), &err);
        assert_null(vm.disks[2].problem);
        assert_int_equal(strstr(vm.reason, "'sql' of the cluster") != NULL, far);
        capture_vm_release(&vm);
        collection_lab_good_run(&l);
        collection_lab_good_run(&l);
        peer_fake_seen(l.job.fake, &seen);
        assert_true(seen.incremental[0] && seen.incremental[1]);
        assert_int_equal(is_noted(&l), far);
        assert_int_equal(collection_lab_calls(&l, "wmi exec CreateSnapshot"), far ? 0 : 2);
        assert_int_equal(collection_lab_calls(&l, "cluster exec CreateSnapshot"), far ? 2 : 0);
        assert_int_equal(collection_lab_calls(&l, "wmi exec ConvertToReferencePoint"), far ? 0 : 2);
        assert_int_equal(collection_lab_calls(&l, "cluster exec DestroyReferencePoint"),
                         far ? 1 : 0);
        /* Both vms are here, so that their host names their parts. */
        assert_int_equal(collection_lab_calls(&l, "wmi exec ModifySystemSettings"), 4);
        assert_int_equal(collection_lab_calls(&l, "cluster exec ModifySystemSettings"), 0);
        collection_lab_close(&l);
    }
}

static void
a_host_in_no_cluster_is_an_ordinary_host(void **state)
{
    const struct collection_lab_options with = {.space = SIM_SPACE_HOST};
    const struct collection_lab_options without = {.space = 0};
    struct collection_lab l;
    struct notes notes;

    (void)state;
    collection_lab_open(&l, &with);
    assert_null(problem_of_set(&l, &notes));
    assert_int_equal(notes.count, 0);
    collection_lab_good_run(&l);
    assert_true(collection_lab_calls(&l, "cluster connect") > 0);
    collection_lab_close(&l);
    collection_lab_open(&l, &without);
    refuse(&l, VARVE_ERR_UNSUPPORTED, "New-VMGroup");
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

static void
a_vm_without_a_set_is_no_matter_of_the_cluster(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    const struct vm_spec spec = {.name = "plain",
                                 .generation = 2,
                                 .config_version = "9.0",
                                 .state = SIM_VM_RUNNING,
                                 .integration = true};
    struct collection_lab l;
    struct capture_marks marks = {0};
    struct sim_error err;
    struct varve_error why;
    struct guid vm;

    (void)state;
    collection_lab_open(&l, &o);
    must_work(vm_create(collection_lab_host(&l), &spec, &vm, &err));
    assert_ok(l.job.env.capture->ops->marks(l.job.env.capture, &vm, &marks, &why), &why);
    assert_int_equal(marks.count, 0);
    assert_int_equal(collection_lab_calls(&l, "cluster connect"), 0);
    collection_lab_close(&l);
}

static void
groups_of_different_ids_are_too_many_wherever_they_stand(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_HOST};
    struct collection_lab l;
    struct sim_error err;
    struct guid id;

    (void)state;
    collection_lab_open(&l, &o);
    must_work(
        group_create(collection_lab_host(&l), SIM_SPACE_CLUSTER, "other", l.vms, 2, &id, &err));
    refuse(&l, VARVE_ERR_UNSUPPORTED, "the vm is in 2 vm groups");
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

/* ---- the cluster does not answer ---- */

static void
no_rights_in_the_cluster_are_said_where_they_matter(void **state)
{
    static const struct collection_lab_options here = {.cluster = {.denied = true},
                                                       .space = SIM_SPACE_HOST};
    static const struct collection_lab_options there = {.cluster = {.denied = true},
                                                        .space = SIM_SPACE_CLUSTER};
    struct collection_lab l;
    struct notes notes;

    (void)state;
    collection_lab_open(&l, &here); /* the host's own group will do */
    assert_null(problem_of_set(&l, &notes));
    assert_true(notes.count > 0);
    assert_non_null(strstr(notes.text[0], "vm groups of the cluster"));
    assert_non_null(strstr(notes.text[0], "access denied"));
    collection_lab_good_run(&l);
    collection_lab_close(&l);
    collection_lab_open(&l, &there);
    refuse(&l, VARVE_ERR_DENIED, "vm groups of the cluster: ");
    collection_lab_check_clean(&l, 0);
    collection_lab_close(&l);
}

/* ---- what is remembered ---- */

/* The agent's last call is the first one logged as this. */
static void
die_at(struct collection_lab *l, const char *call)
{
    struct port_script *s = &l->nodes[0].hv.script;
    struct varve_error err;
    enum varve_err rc;

    collection_lab_write(l);
    (void)snprintf(s->only, sizeof(s->only), "%s", call);
    s->mode = PORT_FAULT_BEFORE;
    s->number = 0x80041001u;
    s->die = true;
    s->times = 1;
    s->nth = 1;
    rc = collection_lab_run(l, 0, &err);
    (void)rc; /* what is committed is a point, whoever cleans up after it */
    assert_true(l->job.dead);
    s->only[0] = '\0';
    s->die = false;
}

static size_t
journal_count(struct collection_lab *l)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(journal_list(&l->job.fs, "/state", &runs, &count, &err), &err);
    free(runs);
    return count;
}

/* A restart while the cluster's service is away: nobody may say that the checkpoint is gone because it is not seen. */
static void
recovery_waits_for_the_namespace_that_the_group_was_in(void **state)
{
    static const struct {
        const char *call;
        size_t journals; /* an old reference point is left to the next run (kept/<vm>) */
    } ends[] = {{"cluster exec CreateSnapshot", 1}, /* not even begun: nobody knows */
                {"wmi exec ModifySystemSettings", 1},
                {"cluster exec ConvertToReferencePoint", 1},
                {"cluster exec DestroyReferencePoint", 0}};
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct collection_lab l;
        struct varve_error err;
        size_t moments;
        size_t points;

        collection_lab_open(&l, &o);
        collection_lab_good_run(&l);
        die_at(&l, ends[i].call);
        moments = collection_lab_count(&l, false);
        points = collection_lab_count(&l, true);
        capture_close(l.nodes[0].capture);
        collection_lab_reopen(&l);
        collection_lab_host(&l)->cluster->formed = false;
        collection_lab_recover(&l);
        assert_int_equal(journal_count(&l), ends[i].journals);
        assert_int_equal(collection_lab_count(&l, false), moments);
        assert_int_equal(collection_lab_count(&l, true), points);
        assert_int_equal(collection_lab_run(&l, 0, &err), VARVE_ERR_BUSY);
        assert_non_null(strstr(err.msg, "stood in the cluster's namespace"));
        collection_lab_host(&l)->cluster->formed = true;
        collection_lab_recover(&l);
        collection_lab_take_base(&l, 0);
        if (ends[i].journals > 0) {
            collection_lab_check_clean(&l, 1);
        }
        collection_lab_good_run(&l);
        collection_lab_close(&l);
    }
}

/* What an agent before this one left: it has a journal and no word of namespaces. */
static void
a_journal_without_a_word_of_it_is_recovered_too(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    struct collection_lab l;
    struct varve_error err;
    char id[GUID_TEXT_SIZE];
    char *path;

    (void)state;
    collection_lab_open(&l, &o);
    collection_lab_good_run(&l);
    die_at(&l, "cluster exec ConvertToReferencePoint");
    l.job.dead = false;
    guid_format(&l.vms[0], id);
    path = sim_printf("%s/%s", note_dir, id);
    assert_ok(fs_remove(&l.job.fs, path, &err), &err);
    free(path);
    collection_lab_recover(&l);
    collection_lab_take_base(&l, 0);
    collection_lab_check_clean(&l, 1);
    assert_true(is_noted(&l));
    collection_lab_close(&l);
}

static void
a_group_that_changes_its_namespace_is_followed(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_HOST};
    static const struct {
        enum sim_space space;
        bool noted;
    } cases[] = {{SIM_SPACE_CLUSTER, true},
                 {SIM_SPACE_BOTH, true}, /* where it was asked before */
                 {SIM_SPACE_HOST, false},
                 {SIM_SPACE_BOTH, false}};
    struct collection_lab l;
    struct peer_fake_seen seen;
    struct sim_error err;

    (void)state;
    collection_lab_open(&l, &o);
    collection_lab_good_run(&l);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        must_work(group_place(collection_lab_host(&l), &l.group, cases[i].space, &err));
        collection_lab_good_run(&l);
        peer_fake_seen(l.job.fake, &seen);
        assert_true(seen.incremental[0] && seen.incremental[1]);
        assert_int_equal(is_noted(&l), cases[i].noted);
    }
    collection_lab_close(&l);
}

/* What the host has of the group says nothing about moments and points that may be ours in the cluster's namespace. */
static void
a_group_that_was_the_clusters_waits_for_it_although_the_host_has_it_too(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    struct collection_lab l;
    struct sim_error err;
    struct varve_error why;

    (void)state;
    collection_lab_open(&l, &o);
    collection_lab_good_run(&l);
    must_work(group_place(collection_lab_host(&l), &l.group, SIM_SPACE_BOTH, &err));
    capture_close(l.nodes[0].capture);
    collection_lab_reopen(&l);
    collection_lab_host(&l)->cluster->formed = false;
    assert_int_equal(collection_lab_run(&l, 0, &why), VARVE_ERR_BUSY);
    assert_non_null(strstr(why.msg, "stood in the cluster's namespace"));
    assert_int_equal(collection_lab_calls(&l, "wmi exec CreateSnapshot"), 0);
    assert_true(is_noted(&l));
    collection_lab_host(&l)->cluster->formed = true;
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

static void
nothing_is_done_in_the_clusters_namespace_before_it_is_written_down(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_HOST};
    struct collection_lab l;
    struct sim_error why;
    struct varve_error err;
    char id[GUID_TEXT_SIZE];
    char *path;
    char *inside;

    (void)state;
    collection_lab_open(&l, &o);
    if (group_place(collection_lab_host(&l), &l.group, SIM_SPACE_CLUSTER, &why) != SIM_OK) {
        fail_msg("%s", why.text);
    }
    guid_format(&l.vms[0], id);
    path = sim_printf("%s/%s.tmp", note_dir, id); /* where it is written first is a folder */
    inside = sim_printf("%s/x", path);
    assert_ok(fs_mkdir_parents(&l.job.fs, path, &err), &err);
    assert_ok(fs_write_durable(&l.job.fs, inside, "x", 1, false, &err), &err);
    assert_true(collection_lab_run(&l, 0, &err) != VARVE_OK);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(collection_lab_calls(&l, "cluster exec CreateSnapshot"), 0);
    assert_ok(fs_remove(&l.job.fs, inside, &err), &err);
    free(path);
    free(inside);
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

static void
a_group_that_is_no_more_is_forgotten_and_one_of_several_is_not(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    const enum sim_space nowhere = (enum sim_space)0;
    struct collection_lab l;
    struct sim_error err;
    struct guid other;

    (void)state;
    collection_lab_open(&l, &o);
    collection_lab_good_run(&l);
    must_work(
        group_create(collection_lab_host(&l), SIM_SPACE_HOST, "other", l.vms, 2, &other, &err));
    refuse(&l, VARVE_ERR_UNSUPPORTED, "the vm is in 2 vm groups");
    assert_true(is_noted(&l));
    must_work(group_place(collection_lab_host(&l), &other, nowhere, &err));
    must_work(group_place(collection_lab_host(&l), &l.group, nowhere, &err));
    refuse(&l, VARVE_ERR_UNSUPPORTED, "New-VMGroup");
    assert_false(is_noted(&l));
    collection_lab_close(&l);
}

/* ---- one call fails, or is the last; and writes to the agent's disk ---- */

static void
each_call(bool die)
{
    static const struct fault_kind kinds[] = {{PORT_FAULT_BEFORE, 0x80041001u},
                                              {PORT_FAULT_AFTER, 0x800706BAu}};
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    struct collection_lab l;
    struct fault_lab f;

    collection_lab_open(&l, &o);
    (void)collection_lab_foreign(&l, true);
    collection_lab_good_run(&l);
    f = collection_lab_faults(&l);
    f.step = 3;
    if (die) {
        (void)fault_loop_deaths(&f, 0x80041001u, 3, 60);
    } else {
        (void)fault_loop_calls(&f, kinds, 2, 60);
    }
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

static void
any_one_call_may_fail(void **state)
{
    (void)state;
    each_call(false);
}

static void
the_agent_may_die_at_any_call(void **state)
{
    (void)state;
    each_call(true);
}

/* Every second time with the machine that it runs on. */
static void
cut_power(void *arg)
{
    struct collection_lab *l = arg;

    if (l->job.runs % 2 == 0) {
        mem_fs_power_cut(l->job.disk, l->job.runs);
    }
}

static void
the_agent_may_die_at_any_step_of_its_journal(void **state)
{
    const struct collection_lab_options o = {.space = SIM_SPACE_CLUSTER};
    struct collection_lab l;
    struct fault_lab f;

    (void)state;
    collection_lab_open(&l, &o);
    (void)collection_lab_foreign(&l, true);
    f = collection_lab_faults(&l);
    f.restart = cut_power;
    (void)fault_loop_state_deaths(&f, 1, 20);
    collection_lab_good_run(&l);
    collection_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_found_in_either_namespace_and_once_in_both),
        cmocka_unit_test(a_host_in_no_cluster_is_an_ordinary_host),
        cmocka_unit_test(a_vm_without_a_set_is_no_matter_of_the_cluster),
        cmocka_unit_test(groups_of_different_ids_are_too_many_wherever_they_stand),
        cmocka_unit_test(no_rights_in_the_cluster_are_said_where_they_matter),
        cmocka_unit_test(recovery_waits_for_the_namespace_that_the_group_was_in),
        cmocka_unit_test(a_journal_without_a_word_of_it_is_recovered_too),
        cmocka_unit_test(a_group_that_changes_its_namespace_is_followed),
        cmocka_unit_test(a_group_that_was_the_clusters_waits_for_it_although_the_host_has_it_too),
        cmocka_unit_test(nothing_is_done_in_the_clusters_namespace_before_it_is_written_down),
        cmocka_unit_test(a_group_that_is_no_more_is_forgotten_and_one_of_several_is_not),
        cmocka_unit_test(any_one_call_may_fail),
        cmocka_unit_test(the_agent_may_die_at_any_call),
        cmocka_unit_test(the_agent_may_die_at_any_step_of_its_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
