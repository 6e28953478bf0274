/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/refpoint_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/job_testing.h"
#include "source/source_virtdisk.h"

/*
 * Two simulated Hyper-V hosts and one vm that fails over from one to the other in the middle of runs: the agent of the
 * one it was on died at some call to the host, the other one is told by the collector what to clean up.
 */
struct cluster {
    struct lab job; /* both agents, one after the other; the collector */
    struct refpoint_lab nodes[2];
    unsigned on; /* where the vm is */
};

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct cluster *c = arg;

    return source_virtdisk_open(out, c->nodes[c->job.node].vdisk, fs_system(),
                                frozen->disks[disk].path, err);
}

/* From now on the agent of that node. */
static void
be(struct cluster *c, unsigned node)
{
    struct port_script *s = &c->nodes[node].script;

    lab_be(&c->job, node);
    s->die = false;
    s->nth = 0;
    c->job.env.capture = c->nodes[node].capture;
    c->job.env.open_source = open_source;
    c->job.env.open_arg = c;
    c->job.env.merge_ms = 5000;
}

static void
cluster_open(struct cluster *c)
{
    const struct wmi_fake_options options = {0};
    struct sim_error err;

    memset(c, 0, sizeof(*c));
    lab_open(&c->job);
    refpoint_lab_open(&c->nodes[0], &options, REFPOINT_APPLICATION, &c->job.fs, "/state");
    refpoint_lab_open(&c->nodes[1], &options, REFPOINT_APPLICATION, &c->job.fs, "/state-1");
    for (unsigned i = 0; i < 2; i++) {
        c->nodes[i].script.dead = &c->job.dead;
    }
    assert_int_equal(vm_delete(c->nodes[1].host, &c->nodes[1].vm, &err), SIM_OK);
    c->nodes[1].vm = c->nodes[0].vm;
    memcpy(c->nodes[1].disks, c->nodes[0].disks, sizeof(c->nodes[1].disks));
    c->job.request.vm = c->nodes[0].vm;
    be(c, 0);
}

static void
cluster_close(struct cluster *c)
{
    refpoint_lab_close(&c->nodes[0]);
    refpoint_lab_close(&c->nodes[1]);
    lab_close(&c->job);
}

static void
fail_over(struct cluster *c)
{
    struct refpoint_lab *from = &c->nodes[c->on];
    struct refpoint_lab *to = &c->nodes[1 - c->on];
    char *parcel = sim_printf("%s/parcel", from->dir);
    struct sim_error err;
    struct guid vm;

    must_work(vm_move_out(from->host, &from->vm, parcel, true, &err));
    must_work(vm_move_in(to->host, parcel, &vm, &err));
    free(parcel);
    to->writes = from->writes;
    c->on = 1 - c->on;
}

/* No checkpoint, one reference point of ours and the foreign one, a merged chain, no journal. */
static void
check_clean(struct cluster *c)
{
    struct refpoint_lab *node = &c->nodes[c->on];
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    refpoint_lab_settle(node);
    assert_int_equal(refpoint_lab_checkpoints(node), 0);
    assert_int_equal(refpoint_lab_points(node), 2);
    assert_int_equal(refpoint_lab_files(node), 2);
    assert_int_equal(vdisk_fake_open_count(node->vdisk), 0);
    assert_string_equal(node->script.violation, "");
    assert_ok(journal_list(&c->job.fs, c->job.env.state_dir, &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

static void
write_some(struct cluster *c)
{
    struct refpoint_lab *node = &c->nodes[c->on];

    refpoint_lab_write(node, 0, 65536 * (uint64_t)(node->writes % 30));
    refpoint_lab_write(node, 1, 65536 * (uint64_t)((node->writes * 7) % 30));
}

static void
good_run(struct cluster *c, bool incremental)
{
    uint8_t *got = malloc(LAB_DISK_SIZE);
    struct peer_fake_seen seen;
    struct varve_error err;

    assert_non_null(got);
    write_some(c);
    assert_ok(lab_run(&c->job, &err), &err);
    peer_fake_seen(c->job.fake, &seen);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *want = refpoint_lab_content(&c->nodes[c->on], i);

        assert_int_equal(seen.incremental[i], incremental);
        assert_true(peer_fake_content(c->job.fake, i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
        free(want);
    }
    free(got);
    check_clean(c);
    lab_take_base_of(&c->job, &c->nodes[0].vm);
}

static void
recover(struct cluster *c)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    lab_recover(&c->job); /* to a point, or to a failure: its vm is not here */
    assert_ok(journal_list(&c->job.fs, c->job.env.state_dir, &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

static void
a_vm_fails_over_at_any_call_of_a_run(void **state)
{
    /* By default every seventh call, with VARVE_FAULTS=all each. */
    const unsigned stride = getenv("VARVE_FAULTS") != NULL ? 1 : 7;
    struct cluster c;
    unsigned deaths = 0;

    (void)state;
    cluster_open(&c);
    (void)refpoint_lab_foreign(&c.nodes[0], true);
    good_run(&c, false);
    for (unsigned nth = 1; nth < 1000; nth += stride) {
        struct port_script *s = &c.nodes[c.on].script;
        struct varve_error err;
        unsigned old = c.on;
        bool died;

        write_some(&c);
        s->mode = deaths % 2 == 0 ? PORT_FAULT_AFTER : PORT_FAULT_BEFORE;
        s->number = 0x80041001u;
        s->die = true;
        s->times = 1;
        s->nth = nth;
        died = lab_run(&c.job, &err) != VARVE_OK || c.job.dead;
        fail_over(&c);
        be(&c, c.on);
        lab_hear_traces(&c.job);
        check_clean(&c);
        lab_take_base_of(&c.job, &c.nodes[0].vm);
        good_run(&c, true);
        /* The old node's agent is back: nothing is left for it, and it touches nothing. */
        be(&c, old);
        recover(&c);
        be(&c, c.on);
        check_clean(&c);
        if (!died) {
            break;
        }
        deaths++;
    }
    print_message("%u deaths\n", deaths);
    assert_true(deaths > 8);
    cluster_close(&c);
}

/* Made by one call and named by the next: the collector's word is how it is known again. */
static void
a_checkpoint_without_its_name_is_found_on_the_other_host(void **state)
{
    struct cluster c;
    struct varve_error err;

    (void)state;
    cluster_open(&c);
    (void)refpoint_lab_foreign(&c.nodes[0], true);
    good_run(&c, false);
    for (int i = 0; i < 2; i++) {
        struct port_script *s = &c.nodes[c.on].script;

        write_some(&c);
        (void)snprintf(s->only, sizeof(s->only), "wmi exec ModifySystemSettings");
        s->mode = PORT_FAULT_BEFORE;
        s->number = 0x80041001u;
        s->die = true;
        s->times = 1;
        s->nth = 1;
        assert_true(lab_run(&c.job, &err) != VARVE_OK);
        assert_true(c.job.dead);
        s->only[0] = '\0';
        assert_int_equal(refpoint_lab_checkpoints(&c.nodes[c.on]), 1);
        fail_over(&c);
        be(&c, c.on);
        lab_hear_traces(&c.job);
        check_clean(&c);
        good_run(&c, true);
        be(&c, 1 - c.on);
        recover(&c);
        be(&c, c.on);
        check_clean(&c);
    }
    cluster_close(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_fails_over_at_any_call_of_a_run),
        cmocka_unit_test(a_checkpoint_without_its_name_is_found_on_the_other_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
