/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/collection_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/source_virtdisk.h"

static struct collection_node *
node_at(struct collection_lab *l)
{
    return &l->nodes[l->at];
}

struct sim_host *
collection_lab_host(struct collection_lab *l)
{
    return node_at(l)->hv.host;
}

static enum varve_err
open_set(void *arg, const char *path, const struct guid *snapshot, struct source **out,
         struct varve_error *err)
{
    struct collection_lab *l = arg;
    struct refpoint_lab *hv = &node_at(l)->hv;
    char *raw;
    enum varve_err rc;

    assert_string_equal(path, COLLECTION_SET_PATH);
    if (l->set_is_away) {
        return varve_error_set(err, VARVE_ERR_IO, "the file server is away");
    }
    mutex_lock(&hv->lock);
    raw = set_truth(hv->host, set_of_path(hv->host, path), snapshot);
    mutex_unlock(&hv->lock);
    rc = source_file_open(out, fs_system(), raw, true, err);
    free(raw);
    return rc;
}

static enum varve_err
open_source(void *arg, const struct capture_frozen *frozen, size_t disk, struct source **out,
            struct varve_error *err)
{
    struct collection_lab *l = arg;
    struct collection_node *n = node_at(l);
    enum varve_err rc = capture_collection_source(n->capture, frozen, disk, out, err);

    return rc != VARVE_OK || *out != NULL
               ? rc
               : source_virtdisk_open(out, n->hv.vdisk, fs_system(), frozen->disks[disk].path, err);
}

/* ---- making it ---- */

static struct guid
second_vm(struct sim_host *h)
{
    const struct vm_spec spec = {.name = "node2",
                                 .generation = 2,
                                 .config_version = "9.0",
                                 .state = SIM_VM_RUNNING,
                                 .integration = true,
                                 .truth = true};
    const struct disk_spec disk = {.size = LAB_DISK_SIZE,
                                   .block_size = VHDX_BASE_BLOCK,
                                   .logical_sector = 512,
                                   .physical_sector = 4096,
                                   .tracked = true};
    struct guid unused;
    struct sim_error err;
    struct guid vm;

    must_work(vm_create(h, &spec, &vm, &err));
    must_work(disk_add(h, &vm, &disk, &unused, &err));
    return vm;
}

static void
open_capture(struct collection_lab *l, unsigned node, const struct wmi_fake_options *cluster)
{
    struct collection_node *n = &l->nodes[node];
    struct collection_options o = {
        .host = {.fs = &l->job.fs,
                 .host_fs = fs_system(),
                 .state_dir = node == 0 ? "/state" : "/state-1",
                 .wmi_times = {.retry_ms = 1, .poll_first_ms = 1, .poll_ms = 2, .stop_ms = 1000},
                 .create_ms = 5000,
                 .convert_ms = 5000,
                 .busy_ms = 5000,
                 .pause_ms = 1,
                 .wmi = n->hv.wmi,
                 .vdisk = n->hv.vdisk},
        .open_set = open_set,
        .open_arg = l};
    struct varve_error err;

    if (n->cluster == NULL) {
        n->cluster = wmi_fake_cluster_new(&n->hv.script, cluster);
    }
    o.cluster = n->cluster;
    assert_ok(capture_collection_open(&n->capture, &o, &err), &err);
    n->hv.script.dead = &l->job.dead;
}

void
collection_lab_open(struct collection_lab *l, const struct collection_lab_options *o)
{
    struct set_spec set = {.path = COLLECTION_SET_PATH,
                           .control = "",
                           .size = COLLECTION_SET_SIZE,
                           .vms = l->vms,
                           .vm_count = 2};
    const struct peer_fake_options collector = {.chunk_size = 65536,
                                                .credit_bytes = 4 * 1024 * 1024,
                                                .offers_in_flight = 4,
                                                .takes_gaps = true,
                                                .takes_traces = true,
                                                .seed = 6};
    struct sim_host *first;
    struct sim_error err;

    memset(l, 0, sizeof(*l));
    lab_open(&l->job);
    l->node_count = o->two_hosts ? 2 : 1;
    refpoint_lab_open(&l->nodes[0].hv, &o->host, REFPOINT_APPLICATION, &l->job.fs, "/state");
    first = l->nodes[0].hv.host;
    l->vms[0] = l->nodes[0].hv.vm;
    if (o->two_hosts) {
        struct refpoint_lab *hv = &l->nodes[1].hv;

        refpoint_lab_open(hv, &o->host, REFPOINT_APPLICATION, &l->job.fs, "/state-1");
        cluster_join(hv->host, first);
        must_work(vm_delete(hv->host, &hv->vm, &err)); /* the same seed and name, the same ids */
        sim_random_seed(&hv->host->random, 8);
        hv->vm = l->vms[0];
        memcpy(hv->disks, l->nodes[0].hv.disks, sizeof(hv->disks));
        l->vms[1] = second_vm(hv->host);
    } else {
        l->vms[1] = second_vm(first);
    }
    must_work(set_create(first, &set, &l->set, &err));
    if (o->space != 0) {
        must_work(group_create(first, o->space, "sql", l->vms, 2, &l->group, &err));
    }
    for (unsigned i = 0; i < l->node_count; i++) {
        open_capture(l, i, &o->cluster);
    }
    l->collectors[0] = l->job.fake;
    l->collectors[1] = peer_fake_new(&collector);
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
    l->job.env.capture = l->nodes[0].capture;
}

void
collection_lab_reopen(struct collection_lab *l)
{
    l->job.dead = false;
    open_capture(l, 0, NULL);
    l->job.env.capture = l->nodes[0].capture;
}

void
collection_lab_close(struct collection_lab *l)
{
    for (unsigned i = 0; i < l->node_count; i++) {
        capture_close(l->nodes[i].capture);
        wmi_port_close(l->nodes[i].cluster);
        refpoint_lab_close(&l->nodes[i].hv);
    }
    assert_string_equal(peer_fake_violation(l->collectors[1]), "");
    peer_fake_free(l->collectors[1]);
    l->job.fake = l->collectors[0];
    lab_close(&l->job);
}

void
collection_lab_be(struct collection_lab *l, unsigned node)
{
    struct port_script *s = &l->nodes[node].hv.script;

    lab_be(&l->job, node);
    l->at = node;
    s->die = false;
    s->nth = 0;
    l->job.env.capture = l->nodes[node].capture;
    l->job.env.open_source = open_source;
    l->job.env.open_arg = l;
    l->job.env.merge_ms = 5000;
}

static void
settle(struct collection_lab *l)
{
    for (unsigned i = 0; i < l->node_count; i++) {
        refpoint_lab_settle(&l->nodes[i].hv);
    }
}

void
collection_lab_move(struct collection_lab *l, bool failover)
{
    struct refpoint_lab *from = &l->nodes[l->on].hv;
    struct refpoint_lab *to = &l->nodes[1 - l->on].hv;
    char *parcel = sim_printf("%s/parcel", from->dir);
    struct sim_error err;
    struct guid vm;

    settle(l); /* jobs of the cluster go on, whatever becomes of who asked for them */
    must_work(vm_move_out(from->host, &l->vms[0], parcel, failover, &err));
    must_work(vm_move_in(to->host, parcel, &vm, &err));
    free(parcel);
    to->writes = from->writes;
    l->on = 1 - l->on;
}

/* ---- runs ---- */

void
collection_lab_write(struct collection_lab *l)
{
    struct refpoint_lab *hv = &l->nodes[l->on].hv;
    struct sim_extent e = {8192 * (uint64_t)(hv->writes % 100), 8192};
    struct sim_error err;

    refpoint_lab_write(hv, hv->writes % 2, 65536 * (uint64_t)(hv->writes % 30));
    mutex_lock(&hv->lock);
    must_work(set_write(hv->host, &l->set, &l->vms[hv->writes % 2], &e, 1, hv->writes, &err));
    mutex_unlock(&hv->lock);
}

/* The next run is of this vm. */
static void
order(struct collection_lab *l, size_t vm)
{
    const struct collection_base *b = &l->bases[vm];
    struct job_request *r = &l->job.request;

    job_request_release(r);
    r->vm = l->vms[vm];
    memcpy(r->base_refpoint, b->refpoint, sizeof(r->base_refpoint));
    r->base = calloc(COLLECTION_DISKS, sizeof(*r->base));
    r->skips = calloc(1, sizeof(*r->skips));
    assert_non_null(r->base);
    assert_non_null(r->skips);
    memcpy(r->base, b->disks, sizeof(b->disks));
    r->base_count = b->count;
    if (vm == 1 && l->skip_set) {
        r->skips[0].id = l->set;
        (void)snprintf(r->skips[0].reason, sizeof(r->skips[0].reason), "another vm has it");
        r->skip_count = 1;
    }
    l->job.fake = l->collectors[vm];
    l->job.ran = l->ran[vm];
    l->ran[vm] = true;
}

enum varve_err
collection_lab_run(struct collection_lab *l, size_t vm, struct varve_error *err)
{
    order(l, vm);
    return lab_run(&l->job, err);
}

void
collection_lab_take_base(struct collection_lab *l, size_t vm)
{
    struct collection_base *b = &l->bases[vm];
    struct peer_fake_seen seen;

    peer_fake_seen(l->collectors[vm], &seen);
    if (!seen.committed) {
        return;
    }
    assert_true(seen.disk_count <= COLLECTION_DISKS);
    memset(b, 0, sizeof(*b));
    (void)snprintf(b->refpoint, sizeof(b->refpoint), "%s", seen.reference_point);
    b->count = seen.disk_count;
    for (size_t i = 0; i < seen.disk_count; i++) {
        b->disks[i].id = seen.disk_id[i];
        b->disks[i].size = seen.disk_size[i];
        (void)snprintf(b->disks[i].change_id, sizeof(b->disks[i].change_id), "%s",
                       seen.change_id[i]);
    }
}

size_t
collection_lab_count(const struct collection_lab *l, bool points)
{
    const struct sim_cluster *c = l->nodes[0].hv.host->cluster;
    size_t n = 0;

    for (size_t i = 0; i < c->moment_count; i++) {
        n += c->moments[i].point == points ? 1 : 0;
    }
    return n;
}

static void
check_vms(struct collection_lab *l, const struct sim_host *h, size_t points)
{
    for (size_t i = 0; i < h->vm_count; i++) {
        const struct sim_vm *vm = h->vms[i];

        if (!guid_equal(&vm->id, &l->vms[0]) && !guid_equal(&vm->id, &l->vms[1])) {
            continue;
        }
        assert_int_equal(vm->checkpoint_count, l->foreign_moments);
        assert_int_equal(vm->refpoint_count, points);
        assert_int_equal(vm->merge_count, 0);
    }
}

void
collection_lab_check_clean(struct collection_lab *l, size_t points)
{
    struct guid *runs = NULL;
    struct varve_error err;
    size_t count = 0;

    settle(l);
    points += l->foreign;
    assert_int_equal(collection_lab_count(l, false), l->foreign_moments);
    assert_int_equal(collection_lab_count(l, true), points);
    assert_int_equal(l->nodes[0].hv.host->cluster->sets[0].snapshot_count,
                     points + l->foreign_moments);
    for (unsigned i = 0; i < l->node_count; i++) {
        check_vms(l, l->nodes[i].hv.host, points);
        assert_int_equal(vdisk_fake_open_count(l->nodes[i].hv.vdisk), 0);
        assert_string_equal(l->nodes[i].hv.script.violation, "");
    }
    assert_ok(journal_list(&l->job.fs, l->job.env.state_dir, &runs, &count, &err), &err);
    free(runs);
    assert_int_equal(count, 0);
}

void
collection_lab_check_point(struct collection_lab *l)
{
    struct refpoint_lab *hv = &l->nodes[l->on].hv;
    uint8_t *got = malloc(LAB_DISK_SIZE);
    char *live = set_truth(hv->host, &hv->host->cluster->sets[0], NULL);
    uint8_t *want = malloc(COLLECTION_SET_SIZE);
    FILE *f = fopen(live, "rb");

    assert_non_null(got);
    assert_non_null(want);
    assert_non_null(f);
    assert_int_equal(fread(want, 1, COLLECTION_SET_SIZE, f), COLLECTION_SET_SIZE);
    (void)fclose(f);
    assert_true(peer_fake_content(l->collectors[0], 2, got, COLLECTION_SET_SIZE));
    assert_memory_equal(got, want, COLLECTION_SET_SIZE);
    free(want);
    for (unsigned i = 0; i < 2; i++) {
        want = refpoint_lab_content(hv, i);
        assert_true(peer_fake_content(l->collectors[0], i, got, LAB_DISK_SIZE));
        assert_memory_equal(got, want, LAB_DISK_SIZE);
        free(want);
    }
    free(live);
    free(got);
}

void
collection_lab_good_run(struct collection_lab *l)
{
    struct varve_error err;

    collection_lab_write(l);
    assert_ok(collection_lab_run(l, 0, &err), &err);
    collection_lab_check_point(l);
    collection_lab_check_clean(l, 1);
    collection_lab_take_base(l, 0);
}

void
collection_lab_recover(struct collection_lab *l)
{
    l->job.dead = false;
    l->job.die_at_file_call = 0;
    peer_fake_reconnect(l->job.fake);
    lab_recover(&l->job);
}

struct guid
collection_lab_foreign(struct collection_lab *l, bool point)
{
    struct sim_host *h = collection_lab_host(l);
    struct guid job;
    struct guid id;
    struct sim_error err;

    must_work(group_freeze(h, &l->group, SIM_CRASH, &job, &err));
    assert_int_equal(test_finish_job(h, &job, &id), SIM_OK);
    if (point) {
        must_work(group_start(h, &id, SIM_JOB_GROUP_CONVERT, &job, &err));
        assert_int_equal(test_finish_job(h, &job, &id), SIM_OK);
        l->foreign++;
    } else {
        l->foreign_moments++;
    }
    settle(l);
    return id;
}

size_t
collection_lab_calls(struct collection_lab *l, const char *call)
{
    return refpoint_lab_calls(&node_at(l)->hv, call);
}

/* ---- loops ---- */

static void
faults_prepare(void *arg)
{
    collection_lab_write(arg);
    order(arg, 0);
}

static void
faults_check(void *arg, enum varve_err rc, const struct varve_error *err)
{
    struct collection_lab *l = arg;
    struct peer_fake_seen seen;

    peer_fake_seen(l->collectors[0], &seen);
    assert_int_equal(rc == VARVE_OK, seen.committed);
    assert_true(rc == VARVE_OK || err->msg[0] != '\0');
    if (seen.committed) {
        collection_lab_check_point(l);
        collection_lab_check_clean(l, seen.reference_point[0] != '\0' ? 1 : 0);
    } else {
        collection_lab_check_clean(l, l->bases[0].refpoint[0] != '\0' ? 1 : 0);
    }
    collection_lab_take_base(l, 0);
}

static void
faults_good_run(void *arg)
{
    collection_lab_good_run(arg);
}

struct fault_lab
collection_lab_faults(struct collection_lab *l)
{
    const struct fault_lab f = {.arg = l,
                                .job = &l->job,
                                .script = &node_at(l)->hv.script,
                                .prepare = faults_prepare,
                                .check_end = faults_check,
                                .good_run = faults_good_run};

    return f;
}
