/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/collection_lab.h"

#include <stdlib.h>
#include <string.h>

/*
 * A guest cluster whose vms are on two hosts of a failover cluster, each with an agent: the group stands in the cluster's
 * namespace, the set is in the points of one of the vms, and that vm moves between runs and in the middle of one.
 */

static const struct collection_lab_options options = {.space = SIM_SPACE_CLUSTER,
                                                      .two_hosts = true};

/* A run of the second vm by its own agent, which has no turn for the set. */
static void
run_other(struct collection_lab *l, bool incremental)
{
    unsigned before = l->at;
    struct peer_fake_seen seen;
    struct varve_error err;

    collection_lab_be(l, 1);
    l->skip_set = true;
    assert_ok(collection_lab_run(l, 1, &err), &err);
    peer_fake_seen(l->job.fake, &seen);
    assert_int_equal(seen.disk_count, 1);
    assert_false(guid_equal(&seen.disk_id[0], &l->set));
    assert_int_equal(seen.incremental[0], incremental);
    collection_lab_take_base(l, 1);
    collection_lab_check_clean(l, 2);
    collection_lab_be(l, before);
}

static void
run_first(struct collection_lab *l, size_t points, bool incremental)
{
    struct peer_fake_seen seen;
    struct varve_error err;

    collection_lab_write(l);
    assert_ok(collection_lab_run(l, 0, &err), &err);
    collection_lab_check_point(l);
    peer_fake_seen(l->job.fake, &seen);
    for (size_t i = 0; i < 2; i++) { /* a set's changes are asked of its file server */
        assert_int_equal(seen.incremental[i], incremental);
    }
    assert_true(guid_equal(&seen.disk_id[2], &l->set));
    collection_lab_take_base(l, 0);
    collection_lab_check_clean(l, points);
}

static void
vms_on_two_hosts_are_backed_up_and_the_set_once(void **state)
{
    struct collection_lab l;

    (void)state;
    collection_lab_open(&l, &options);
    (void)collection_lab_foreign(&l, true);
    run_first(&l, 1, false);
    run_other(&l, false);
    run_first(&l, 2, true);
    run_other(&l, true);
    /* Parts on the other host are named by the cluster, so that its agent knows whose they are. */
    assert_true(collection_lab_calls(&l, "cluster exec ModifySystemSettings") >= 2);
    collection_lab_close(&l);
}

/* The host's own namespace knows only the vms that are on it. */
static void
a_group_in_both_namespaces_is_asked_where_all_its_members_are(void **state)
{
    struct collection_lab l;
    struct sim_error err;

    (void)state;
    collection_lab_open(&l, &options);
    must_work(group_place(collection_lab_host(&l), &l.group, SIM_SPACE_BOTH, &err));
    run_first(&l, 1, false);
    assert_int_equal(collection_lab_calls(&l, "wmi exec CreateSnapshot"), 0);
    assert_int_equal(collection_lab_calls(&l, "cluster exec CreateSnapshot"), 1);
    collection_lab_close(&l);
}

static void
a_name_that_the_cluster_does_not_give_is_done_without(void **state)
{
    struct collection_lab l;

    (void)state;
    collection_lab_open(&l, &options);
    refpoint_lab_fail(&l.nodes[0].hv, "cluster exec ModifySystemSettings", PORT_FAULT_BEFORE, 32770,
                      1);
    run_first(&l, 1, false);
    assert_int_equal(l.nodes[0].hv.script.nth, 0);
    l.nodes[0].hv.script.only[0] = '\0';
    run_other(&l, false);
    collection_lab_close(&l);
}

static void
a_vm_that_moves_between_runs_goes_on(void **state)
{
    struct collection_lab l;

    (void)state;
    collection_lab_open(&l, &options);
    (void)collection_lab_foreign(&l, true);
    run_first(&l, 1, false);
    run_other(&l, false);
    for (int i = 0; i < 3; i++) { /* to its fellow, back, and there again */
        collection_lab_move(&l, false);
        collection_lab_be(&l, l.on);
        run_first(&l, 2, true);
        run_other(&l, true);
    }
    collection_lab_close(&l);
}

/* A live migration is refused while a checkpoint of the group stands; a failover asks nobody. */
static void
a_vm_fails_over_at_any_call_of_a_run(void **state)
{
    /* By default every eleventh call, with VARVE_FAULTS=all each. */
    const unsigned stride = getenv("VARVE_FAULTS") != NULL ? 1 : 11;
    struct collection_lab l;
    unsigned deaths = 0;

    (void)state;
    collection_lab_open(&l, &options);
    (void)collection_lab_foreign(&l, true);
    run_first(&l, 1, false);
    run_other(&l, false);
    for (unsigned nth = 1; nth < 1000; nth += stride) {
        struct port_script *s = &l.nodes[l.on].hv.script;
        struct varve_error err;
        unsigned old = l.on;
        bool died;

        collection_lab_write(&l);
        s->mode = deaths % 2 == 0 ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE;
        s->number = 0x80041001u;
        s->die = true;
        s->times = 1;
        s->nth = nth;
        died = collection_lab_run(&l, 0, &err) != VARVE_OK || l.job.dead;
        collection_lab_move(&l, true);
        collection_lab_be(&l, l.on);
        lab_hear_traces(&l.job);
        collection_lab_check_clean(&l, 2);
        collection_lab_take_base(&l, 0);
        run_first(&l, 2, true);
        /* The old host's agent is back: nothing is left for it, and it touches nothing. */
        collection_lab_be(&l, old);
        collection_lab_recover(&l);
        collection_lab_be(&l, l.on);
        collection_lab_check_clean(&l, 2);
        if (!died) {
            break;
        }
        deaths++;
    }
    print_message("%u deaths\n", deaths);
    assert_true(deaths > 5);
    collection_lab_close(&l);
}

static void
a_live_migration_is_refused_while_the_group_is_frozen(void **state)
{
    struct collection_lab l;
    struct sim_error err;
    char *parcel;

    (void)state;
    collection_lab_open(&l, &options);
    (void)collection_lab_foreign(&l, false);
    parcel = sim_printf("%s/parcel", l.nodes[1].hv.dir);
    assert_int_equal(vm_move_out(l.nodes[1].hv.host, &l.vms[1], parcel, false, &err),
                     SIM_INVALID_STATE);
    free(parcel);
    collection_lab_close(&l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vms_on_two_hosts_are_backed_up_and_the_set_once),
        cmocka_unit_test(a_group_in_both_namespaces_is_asked_where_all_its_members_are),
        cmocka_unit_test(a_name_that_the_cluster_does_not_give_is_done_without),
        cmocka_unit_test(a_vm_that_moves_between_runs_goes_on),
        cmocka_unit_test(a_live_migration_is_refused_while_the_group_is_frozen),
        cmocka_unit_test(a_vm_fails_over_at_any_call_of_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
