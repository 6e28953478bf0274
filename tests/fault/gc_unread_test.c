/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "crypto/identity.h"
#include "fault/lab_place.h"
#include "fault/sweep.h"
#include "store/store_testing.h"

/*
 * Manifest nodes that cannot be read when the last point that needs them goes: what they name stays counted until they can be
 * read, and is counted off then, once, in whatever order points go, nodes rot and come back, and processes end
 * (gc/account.h, invariants 4 to 6).  A count that is too low would be lost data, one that is too high space that
 * never comes back; both are looked for after every step.
 */
#define FLIPS_MAX 512u
#define MANY      70u

struct flip {
    char path[STORE_NAME_MAX + 20];
    uint64_t at;
    bool is_root; /* of two children; a leaf has more */
};

struct fixture {
    struct lab_place *p;
    char *killed;                 /* the index's folder as it was when the process ended */
    struct flip nodes[FLIPS_MAX]; /* a byte of each node that was stored when find_nodes() looked */
    size_t node_count;
    size_t first; /* those that it looked for last begin here */
};

static struct varve_error err;

/* ---- a store ---- */

static struct fixture *
fixture_new(bool lmdb)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->p = lab_place_new(!lmdb);
    return f;
}

static void
fixture_free(struct fixture *f)
{
    lab_place_free(f->p);
    test_folder_remove(f->killed);
    free(f);
}

static void
back_up(struct fixture *f, unsigned vm, unsigned number)
{
    assert_ok(lab_backup(&f->p->l, vm, number, &err), &err);
}

/* Three moments of one vm and two of another; counted. */
static struct fixture *
two_vms(bool lmdb)
{
    struct fixture *f = fixture_new(lmdb);

    for (unsigned n = 1; n <= 3; n++) {
        back_up(f, 0, n);
    }
    back_up(f, 1, 1);
    back_up(f, 1, 2);
    assert_ok(lab_collect(&f->p->l, 0, NULL, &err), &err);
    return f;
}

static void
delete_some(struct fixture *f)
{
    lab_place_delete(f->p, 0, 1, 0);
    lab_place_delete(f->p, 0, 2, 0);
    lab_place_delete(f->p, 1, 1, 0);
}

static uint64_t
collect(struct fixture *f, unsigned percent)
{
    struct gc_result r;

    assert_ok(lab_collect(&f->p->l, percent, &r, &err), &err);
    return r.nodes_unread;
}

/* ---- what must hold ---- */

/* Never too low; too high exactly as long as something cannot be read. */
static uint64_t
check(struct fixture *f)
{
    struct account_check c;

    assert_ok(gc_check(f->p->l.gc, NULL, &c, &err), &err);
    assert_int_equal(c.missing, 0);
    assert_int_equal(c.extra > 0, c.unread > 0);
    assert_true(c.extra >= c.unread);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    return c.unread;
}

static bool
add_live(void *arg, const struct index_pack *pack)
{
    *(uint64_t *)arg += pack->live_bytes;
    return true;
}

static uint64_t
live_bytes(struct fixture *f)
{
    uint64_t sum = 0;

    assert_ok(index_list_packs(chunk_store_index(f->p->l.cs), add_live, &sum, &err), &err);
    return sum;
}

/* With the last point the last byte goes. */
static void
all_space_comes_back(struct fixture *f)
{
    lab_place_delete(f->p, LAB_VMS, 0, 0);
    assert_int_equal(collect(f, 0), 0);
    assert_int_equal(collect(f, 0), 0);
    assert_int_equal(lab_place_stored_bytes(f->p), 0);
}

/* What is live when delete_some() meets no damage. */
static uint64_t
live_without_damage(void)
{
    static uint64_t live;

    if (live == 0) {
        struct fixture *f = two_vms(true);

        delete_some(f);
        assert_int_equal(collect(f, 101), 0);
        assert_int_equal(check(f), 0);
        live = live_bytes(f);
        all_space_comes_back(f);
        fixture_free(f);
    }
    return live;
}

static void
ends_well(struct fixture *f)
{
    assert_int_equal(collect(f, 101), 0);
    assert_int_equal(check(f), 0);
    assert_int_equal(live_bytes(f), live_without_damage());
    all_space_comes_back(f);
}

/* ---- damage ---- */

static bool
is_known(const struct fixture *f, const char *path)
{
    bool known = false;

    for (size_t i = 0; i < f->first; i++) {
        known = known || strcmp(f->nodes[i].path, path) == 0;
    }
    return known;
}

static bool
note_nodes(void *arg, const char *name, uint64_t size)
{
    struct fixture *f = arg;
    uint8_t *bytes = malloc((size_t)size);
    char path[STORE_NAME_MAX + 20];
    struct pack_header header;
    struct pack_record r;
    size_t at = PACK_HEADER_SIZE;

    assert_non_null(bytes);
    (void)snprintf(path, sizeof(path), "/data/store/%s", name);
    assert_ok(store_get(f->p->l.dir, name, 0, bytes, (size_t)size, &err), &err);
    assert_ok(pack_header_decode(&header, bytes, &err), &err);
    while (header.kind == CHUNK_NODE && !is_known(f, path) && size - at >= PACK_RECORD_HEADER &&
           pack_record_decode(&r, bytes + at, &err) == VARVE_OK) {
        struct flip *n = &f->nodes[f->node_count++];

        assert_true(f->node_count <= FLIPS_MAX);
        (void)snprintf(n->path, sizeof(n->path), "%s", path);
        n->at = at + PACK_RECORD_HEADER + 3;
        n->is_root = r.entry.raw_len < 100;
        at += PACK_RECORD_HEADER + r.entry.stored_len;
    }
    free(bytes);
    return true;
}

/* Those in packs that were not there when it looked before. */
static void
find_nodes(struct fixture *f)
{
    f->first = f->node_count;
    assert_ok(store_list(f->p->l.dir, "pack/", note_nodes, f, &err), &err);
    assert_true(f->node_count > f->first);
}

/* One bit of a node; the same once more takes it back.  Its pack may be gone. */
static void
flip(struct fixture *f, size_t i)
{
    const struct flip *n = &f->nodes[i];
    struct file *file = NULL;
    uint8_t b = 0;
    enum varve_err rc = file_open(mem_fs(f->p->mem), &file, n->path, FILE_READ_WRITE, &err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        return;
    }
    assert_ok(rc, &err);
    assert_ok(file_read_exact(file, &b, 1, n->at, &err), &err);
    b ^= 0x10;
    assert_ok(file_write(file, &b, 1, n->at, &err), &err);
    file_close(file);
}

static void
flip_all(struct fixture *f)
{
    for (size_t i = f->first; i < f->node_count; i++) {
        flip(f, i);
    }
}

/* ---- each node ---- */

static void
each_node(bool lmdb)
{
    uint64_t unread = 0;
    size_t count = 1;

    for (size_t i = 0; i < count; i++) {
        struct fixture *f = two_vms(lmdb);
        uint64_t now;

        find_nodes(f);
        count = f->node_count;
        flip(f, i);
        delete_some(f);
        now = collect(f, 101); /* not forbidden by that */
        assert_true(now <= 1);
        unread += now;
        if (lmdb && i % 2 == 0) {
            lab_place_reopen(f->p);
        }
        assert_int_equal(collect(f, 101), now);
        flip(f, i);
        ends_well(f);
        fixture_free(f);
    }
    assert_true(unread >= 3); /* a root of each point that went, at least */
}

static void
what_a_node_names_goes_when_it_can_be_read_again(void **state)
{
    (void)state;
    each_node(true);
}

static void
what_a_node_names_goes_when_it_can_be_read_again_index_in_memory(void **state)
{
    (void)state;
    each_node(false);
}

/* One is read after the other: what is below each shows itself only then. */
static void
nodes_below_one_another_come_back_one_by_one(void **state)
{
    struct fixture *f = two_vms(true);
    size_t left;

    (void)state;
    find_nodes(f);
    flip_all(f);
    delete_some(f);
    assert_int_equal(collect(f, 101), 3);
    left = f->node_count;
    while (left > 0) {
        flip(f, --left);
        (void)collect(f, left % 2 == 0 ? 101 : 0);
        if (left % 3 == 0) {
            lab_place_reopen(f->p);
        }
    }
    ends_well(f);
    fixture_free(f);
}

static size_t
deferred(struct fixture *f)
{
    struct account *a = NULL;
    size_t n;

    assert_ok(account_open(&a, f->p->l.cs, &err), &err);
    n = account_deferred(a);
    account_close(a);
    return n;
}

/* Those that waited in an earlier process and those of this one. */
static void
lowerings_add_up_over_processes(void **state)
{
    struct fixture *f = two_vms(true);

    (void)state;
    find_nodes(f);
    flip_all(f);
    for (unsigned n = 1; n <= 2; n++) {
        lab_place_delete(f->p, 0, n, 0);
        assert_int_equal(collect(f, 0), n);
        lab_place_reopen(f->p);
    }
    lab_place_delete(f->p, 1, 1, 0);
    assert_int_equal(collect(f, 0), 3);
    flip_all(f);
    ends_well(f);
    fixture_free(f);
}

/* More than are tried at once: none waits for ever behind those that stay as they are. */
static void
many_are_tried_in_turns(void **state)
{
    struct fixture *f = fixture_new(true);
    struct collect_cost cost = {0};
    size_t left = MANY;
    unsigned others = 0;

    (void)state;
    for (unsigned n = 1; n <= MANY; n++) {
        back_up(f, 0, n);
    }
    back_up(f, 1, 1);
    (void)collect(f, 0);
    find_nodes(f);
    for (size_t i = 0; i < f->node_count; i++) {
        if (f->nodes[i].is_root) {
            flip(f, i);
        }
    }
    lab_place_delete(f->p, 0, 0, 0);
    assert_int_equal(collect(f, 0), MANY);
    for (size_t i = 0; i < f->node_count && left > MANY - 8; i++) {
        if (!f->nodes[i].is_root) {
            continue;
        }
        flip(f, i);
        for (unsigned turn = 0; turn < 3; turn++) { /* as after a point was published */
            assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
        }
        others += deferred(f) == left ? 1 : 0;
        assert_true(others <= 1); /* the root of vm 1 */
        left -= deferred(f) < left ? 1 : 0;
        assert_int_equal(deferred(f), left);
    }
    assert_int_equal(left, MANY - 8);
    fixture_free(f);
}

/* ---- a node that comes again ---- */

static bool
look_at_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct fixture *f = arg;
    struct chunk_check c;

    assert_ok(chunk_store_check_pack(f->p->l.cs, id, size, &c, &err), &err);
    return true;
}

/* All damage is found, and each moment stored again. */
static void
heal(struct fixture *f, bool vm0)
{
    assert_ok(chunk_store_list_packs(f->p->l.cs, look_at_pack, f, &err), &err);
    if (vm0) {
        assert_ok(lab_heal(&f->p->l, 0, 1, &err), &err);
    }
    assert_ok(lab_heal(&f->p->l, 1, 1, &err), &err);
    assert_ok(chunk_store_barrier(f->p->l.cs, &err), &err);
}

/* The only point of vm 0 goes while nothing of its manifest can be read. */
static struct fixture *
root_waits(void)
{
    struct fixture *f = fixture_new(true);

    back_up(f, 0, 1);
    back_up(f, 1, 1);
    (void)collect(f, 0);
    find_nodes(f);
    flip_all(f);
    lab_place_delete(f->p, 0, 1, 0);
    assert_int_equal(collect(f, 0), 1);
    return f;
}

static void
a_backup_that_stores_the_node_again_sets_its_space_free(void **state)
{
    struct fixture *f = root_waits();

    (void)state;
    heal(f, true);
    assert_int_equal(collect(f, 0), 0);
    assert_int_equal(check(f), 0);
    all_space_comes_back(f);
    fixture_free(f);
}

/* Needed again before that: it keeps what it names, and the lowering takes nothing away. */
static void
a_point_that_needs_the_node_again_keeps_what_it_names(void **state)
{
    static const struct fault_rule nothing = {
        .ops = FAULT_READ, .path_part = "/pack/", .nth = 1, .action = FAULT_FAIL};

    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        struct fixture *f = root_waits();

        heal(f, false);
        back_up(f, 0, 1);
        if ((how & 2) != 0) {
            lab_place_reopen(f->p);
        }
        if ((how & 1) != 0) { /* no copy can be read just now */
            struct collect_cost cost = {0};

            assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
            flip_all(f);
            assert_ok(fault_fs_set(f->p->ff, &nothing, &err), &err);
        }
        assert_int_equal(collect(f, 101), 0); /* there is another parent: it needs no read */
        assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
        assert_int_equal(check(f), 0);
        (void)collect(f, 101);
        assert_int_equal(check(f), 0);
        all_space_comes_back(f);
        fixture_free(f);
    }
}

/* And goes again, with the node damaged again, or not tried in between. */
static void
a_node_that_comes_and_goes_is_counted_off_once_for_each_time(void **state)
{
    struct fixture *f = root_waits();
    struct collect_cost cost = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        back_up(f, 0, 1);
        assert_ok(gc_account(f->p->l.gc, NULL, &cost, &err), &err);
        find_nodes(f);
        flip_all(f);
        lab_place_delete(f->p, 0, 1, 0);
        assert_int_equal(collect(f, 0), 1);
        if (i % 2 == 0) {
            lab_place_reopen(f->p);
        }
    }
    heal(f, true);
    assert_int_equal(collect(f, 101), 0);
    assert_int_equal(check(f), 0);
    all_space_comes_back(f);
    fixture_free(f);
}

/* ---- the index is built anew ---- */

static void
a_new_index_counts_what_there_is_and_nothing_waits(void **state)
{
    struct fixture *f = root_waits();

    (void)state;
    heal(f, false); /* of vm 0 nothing comes back */
    assert_int_equal(check(f), 1);
    lab_close(&f->p->l);
    lab_place_remove_index(f->p, true);
    lab_place_open(f->p);
    assert_int_equal(collect(f, 0), 0);
    assert_int_equal(check(f), 0);
    all_space_comes_back(f);
    fixture_free(f);
}

/* ---- trouble that passes ---- */

static void
purge(struct fixture *f)
{
    struct collect_cost cost = {0};
    uint64_t removed = 0;

    (void)!gc_purge(f->p->l.gc, LAB_NOW, &removed, &cost, &err);
}

/* Two times in a row and more: a node that is set aside is read once more. */
static void
reads_that_fail_for_a_while_cost_no_space(void **state)
{
    uint64_t waited = 0;
    uint64_t n = 0;
    bool hit = true;

    (void)state;
    for (n = 1; hit; n++) {
        const struct fault_rule rule = {.ops = FAULT_READ,
                                        .path_part = "/pack/",
                                        .nth = n,
                                        .times = 1 + n % 4,
                                        .action = FAULT_FAIL};
        struct fixture *f = two_vms(true);

        delete_some(f);
        assert_ok(fault_fs_set(f->p->ff, &rule, &err), &err);
        purge(f);
        hit = fault_fs_hits(f->p->ff) > 0;
        assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
        waited += deferred(f);
        ends_well(f);
        fixture_free(f);
    }
    print_message("%llu reads, %llu lowerings waited\n", (unsigned long long)n - 2,
                  (unsigned long long)waited);
    assert_true(waited > 0);
}

/* ---- processes that end ---- */

static void
copy_index(const char *from, const char *to)
{
    static const char *const names[] = {"index.mdb", "state", "quarantine"};

    for (size_t i = 0; i < 3; i++) {
        char *source = test_path(from, names[i]);
        char *target = test_path(to, names[i]);
        struct varve_error why;
        uint8_t *bytes = NULL;
        size_t len = 0;

        (void)!fs_remove(fs_system(), target, &why);
        if (fs_read_all(fs_system(), source, 64u << 20, &bytes, &len, &why) == VARVE_OK) {
            FILE *out = fopen(target, "wb");

            assert_non_null(out);
            assert_int_equal(fwrite(bytes, 1, len, out), len);
            assert_int_equal(fclose(out), 0);
        }
        free(bytes);
        free(source);
        free(target);
    }
}

static void
catch_index(void *arg)
{
    const struct fixture *f = arg;

    copy_index(f->p->index, f->killed);
}

/* The process ends before the n-th change of counts and rows. */
static struct {
    struct fixture *f;
    const struct index_ops *real;
    struct index_ops ours;
    uint64_t nth;
    uint64_t calls;
} ending;

static enum varve_err
apply_or_end(struct index *ix, struct index_change *change, struct varve_error *why)
{
    if (++ending.calls == ending.nth) {
        catch_index(ending.f);
        fault_fs_cut_at(ending.f->p->ff, 1);
    }
    return ending.calls < ending.nth ? ending.real->apply(ix, change, why)
                                     : varve_error_set(why, VARVE_ERR_IO, "the process has ended");
}

/* Answers whether work got so far. */
static bool
end_in(struct fixture *f, uint64_t n, void (*work)(struct fixture *f))
{
    struct index *ix = chunk_store_index(f->p->l.cs);

    ending.f = f;
    ending.real = ix->ops;
    ending.ours = *ix->ops;
    ending.ours.apply = apply_or_end;
    ending.nth = n;
    ending.calls = 0;
    f->killed = test_folder_make();
    ix->ops = &ending.ours;
    work(f);
    ix->ops = ending.real;
    lab_close(&f->p->l);
    assert_ok(fault_fs_set(f->p->ff, NULL, &err), &err);
    if (ending.calls >= n) {
        copy_index(f->killed, f->p->index);
    }
    lab_place_open(f->p);
    return ending.calls >= n;
}

static void
account(struct fixture *f)
{
    struct collect_cost cost = {0};

    (void)!gc_account(f->p->l.gc, NULL, &cost, &err);
}

/* late: it ends while the nodes, whole again, are counted off; else while the points are. */
static void
ends_everywhere(bool late)
{
    uint64_t n = 0;
    bool more = true;

    while (more) {
        struct fixture *f = two_vms(true);

        find_nodes(f);
        flip_all(f);
        delete_some(f);
        if (late) {
            assert_int_equal(collect(f, 101), 3);
            flip_all(f);
        }
        more = end_in(f, ++n, late ? account : purge);
        if (!late) {
            assert_int_equal(collect(f, 101), 3);
            flip_all(f);
        }
        ends_well(f);
        fixture_free(f);
    }
    print_message("ended at %llu places\n", (unsigned long long)n - 1);
    assert_true(n > 2);
}

static void
a_process_that_ends_while_points_go_loses_no_lowering(void **state)
{
    (void)state;
    ends_everywhere(false);
}

static void
a_process_that_ends_while_nodes_are_counted_off_does_it_once(void **state)
{
    (void)state;
    ends_everywhere(true);
}

/* ---- domains ---- */

static const struct guid domain_id = {{7, 7}};

static void
back_up_in_a_domain(struct fixture *f)
{
    assert_ok(chunk_store_make_domain(f->p->l.cs, &domain_id, "tenant", &f->p->l.domains[1], &err),
              &err);
    back_up(f, 0, 1);
    back_up(f, 0, 2);
    back_up(f, 1, 1);
    (void)collect(f, 0);
}

static void
remove_domain(struct fixture *f)
{
    struct chunk_domain *d = NULL;

    assert_ok(chunk_store_domain(f->p->l.cs, &domain_id, &d, &err), &err);
    assert_ok(chunk_store_remove_domain(f->p->l.cs, d, &err), &err);
}

/* What is left of it is never counted off, and keeps nothing else from going. */
static void
the_others_go_on(struct fixture *f)
{
    struct account_check c;
    uint64_t live = live_bytes(f);

    assert_int_equal(collect(f, 101), 1);
    lab_place_delete(f->p, 0, 1, 0);
    assert_int_equal(collect(f, 101), 1);
    assert_true(live_bytes(f) < live);
    assert_ok(gc_check(f->p->l.gc, NULL, &c, &err), &err);
    assert_int_equal(c.missing, 0);
    assert_int_equal(c.unread, 1);
    assert_ok(lab_place_read_all(f->p, &err), &err);
    lab_place_reopen(f->p);
    assert_int_equal(collect(f, 101), 1);
    lab_close(&f->p->l);
    lab_place_remove_index(f->p, true);
    lab_place_open(f->p);
    all_space_comes_back(f);
}

static void
a_domain_that_is_removed_with_a_lowering_blocks_nothing(void **state)
{
    struct fixture *f = fixture_new(true);

    (void)state;
    back_up_in_a_domain(f);
    find_nodes(f);
    flip_all(f);
    lab_place_delete(f->p, 1, 1, 0);
    assert_int_equal(collect(f, 0), 1);
    flip_all(f);
    remove_domain(f);
    the_others_go_on(f);
    fixture_free(f);
}

/* As when the process ended between the removal of the point and its counting off. */
static void
a_domain_that_is_removed_before_its_points_are_counted_off_blocks_nothing(void **state)
{
    struct fixture *f = fixture_new(true);
    struct point **list = NULL;
    size_t count = 0;

    (void)state;
    back_up_in_a_domain(f);
    lab_place_delete(f->p, 1, 1, 0);
    assert_ok(catalog_list_gone(f->p->l.catalog, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_ok(catalog_purge(f->p->l.catalog, list[0], LAB_NOW, &err), &err);
    catalog_list_free(list, count);
    remove_domain(f);
    lab_place_reopen(f->p);
    the_others_go_on(f);
    fixture_free(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_node_names_goes_when_it_can_be_read_again),
        cmocka_unit_test(what_a_node_names_goes_when_it_can_be_read_again_index_in_memory),
        cmocka_unit_test(nodes_below_one_another_come_back_one_by_one),
        cmocka_unit_test(lowerings_add_up_over_processes),
        cmocka_unit_test(many_are_tried_in_turns),
        cmocka_unit_test(a_backup_that_stores_the_node_again_sets_its_space_free),
        cmocka_unit_test(a_point_that_needs_the_node_again_keeps_what_it_names),
        cmocka_unit_test(a_node_that_comes_and_goes_is_counted_off_once_for_each_time),
        cmocka_unit_test(a_new_index_counts_what_there_is_and_nothing_waits),
        cmocka_unit_test(reads_that_fail_for_a_while_cost_no_space),
        cmocka_unit_test(a_process_that_ends_while_points_go_loses_no_lowering),
        cmocka_unit_test(a_process_that_ends_while_nodes_are_counted_off_does_it_once),
        cmocka_unit_test(a_domain_that_is_removed_with_a_lowering_blocks_nothing),
        cmocka_unit_test(a_domain_that_is_removed_before_its_points_are_counted_off_blocks_nothing),
    };

    sweep_no_log();
    return crypto_init(&err) == VARVE_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
