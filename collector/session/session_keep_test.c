/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog_hits.h"
#include "manifest/manifest.h"

/* What an operator asks about keeping and deleting points, over the real channel. */

static const struct test_vm web = {{{0x22, 7}}, "web", 1};

/* A point of web whose disk is one chunk of n. */
static struct guid
publish(struct stage *st, uint8_t n)
{
    static uint8_t bytes[CHUNK];
    struct chunk_domain *home = chunk_store_default(st->c.chunks);
    struct manifest_builder *b = NULL;
    struct point *p = point_new();
    struct chunk_id id;
    struct guid point;

    memset(bytes, n, sizeof(bytes));
    chunk_id_of(&id, bytes, sizeof(bytes));
    p->vm = web.id;
    p->run.bytes[0] = n;
    p->vm_name = strdup(web.name);
    p->consistency = POINT_CRASH;
    p->disks = calloc(1, sizeof(*p->disks));
    p->disk_count = 1;
    p->disks[0].id.bytes[0] = 9;
    p->disks[0].name = strdup("disk.vhdx");
    p->disks[0].size = sizeof(bytes);
    assert_ok(chunk_store_put(home, CHUNK_DATA, &id, bytes, sizeof(bytes), sizeof(bytes), &err),
              &err);
    assert_ok(manifest_builder_new(&b, home, 1, NULL, &err), &err);
    assert_ok(manifest_builder_set(b, 0, &id, &err), &err);
    assert_ok(manifest_builder_finish(b, &p->disks[0].root, &err), &err);
    manifest_builder_free(b);
    assert_ok(catalog_publish(st->c.catalog, p, chunk_store_loss_count(st->c.chunks), NULL, &err),
              &err);
    point = p->id;
    point_unref(p);
    return point;
}

static size_t
listed(struct stage *st)
{
    struct point **points = NULL;
    size_t count = 0;

    assert_ok(catalog_list(st->c.catalog, &web.id, &points, &count, &err), &err);
    catalog_list_free(points, count);
    return count;
}

/* in NULL: released. */
static enum varve_err
change(struct peer *op, const struct guid *point, Varve__V1__PointChange body,
       struct envelope_in *in)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    char text[GUID_TEXT_SIZE];

    guid_format(point, text);
    body.point = text;
    head.body_case = VARVE__V1__ENVELOPE__BODY_POINT_CHANGE;
    head.point_change = &body;
    return peer_call(op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_POINT_CHANGE_REPLY, in);
}

static Varve__V1__PointChange
action(Varve__V1__PointAction what, const char *reason, uint64_t seconds)
{
    Varve__V1__PointChange c = VARVE__V1__POINT_CHANGE__INIT;

    c.action = what;
    c.reason = (char *)(uintptr_t)reason; /* only read */
    c.seconds = seconds;
    return c;
}

#define DELETE  action(VARVE__V1__POINT_ACTION__POINT_DELETE, "old", 0)
#define RESTORE action(VARVE__V1__POINT_ACTION__POINT_UNDELETE, "", 0)

static void
a_point_is_deleted_listed_as_deleted_and_undeleted(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointDeletedList body = VARVE__V1__POINT_DELETED_LIST__INIT;
    Varve__V1__PointChange for_good = DELETE;
    const struct guid first = publish(st, 1);
    const struct guid second = publish(st, 2);
    const Varve__V1__PointDeletedListReply *reply;
    struct envelope_in in;
    struct peer op;

    peer_operator(&op, st);
    assert_ok(change(&op, &first, DELETE, &in), &err);
    assert_true(in.head->point_change_reply->marks->deleted);
    assert_true(in.head->point_change_reply->marks->undelete_until_us > 0);
    envelope_release(&in);
    assert_int_equal(listed(st), 1);
    assert_err(change(&op, &first, DELETE, NULL), VARVE_ERR_NOT_FOUND, &err);

    head.body_case = VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST;
    head.point_deleted_list = &body;
    assert_ok(
        peer_call(&op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST_REPLY, &in),
        &err);
    reply = in.head->point_deleted_list_reply;
    assert_int_equal(reply->n_points, 1);
    assert_int_equal(reply->n_marks, 1);
    assert_memory_equal(reply->points[0]->id.data, first.bytes, sizeof(first.bytes));
    envelope_release(&in);

    assert_ok(change(&op, &first, RESTORE, NULL), &err);
    assert_int_equal(listed(st), 2);
    assert_err(change(&op, &first, RESTORE, NULL), VARVE_ERR_NOT_FOUND, &err);

    for_good.no_window = true;
    assert_ok(change(&op, &first, for_good, NULL), &err);
    assert_err(change(&op, &second, DELETE, NULL), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "last point"));
    for_good.last = true;
    assert_ok(change(&op, &second, for_good, NULL), &err);
    assert_int_equal(listed(st), 0);
    peer_close(&op);
}

static void
the_last_whole_point_goes_only_when_that_was_said(void **state)
{
    struct stage *st = *state;
    Varve__V1__PointChange all_the_same = DELETE;
    const struct guid first = publish(st, 1);
    const struct guid second = publish(st, 2);
    const struct point *hit;
    struct point *newest = NULL;
    struct peer op;

    catalog_latest(st->c.catalog, &web.id, &newest);
    hit = newest;
    assert_ok(catalog_set_hits(st->c.catalog, &hit, 1, 0, &err), &err);
    point_unref(newest);
    peer_operator(&op, st);
    assert_err(change(&op, &first, DELETE, NULL), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "not damaged"));
    all_the_same.last = true;
    assert_ok(change(&op, &first, all_the_same, NULL), &err);
    assert_ok(change(&op, &first, RESTORE, NULL), &err);
    assert_ok(change(&op, &second, DELETE, NULL), &err); /* the damaged one may go */
    peer_close(&op);
}

static void
held_and_locked_points_stay(void **state)
{
    struct stage *st = *state;
    const struct guid point = publish(st, 1);
    const Varve__V1__PointMarks *marks;
    struct envelope_in in;
    struct peer op;

    (void)publish(st, 2);
    peer_operator(&op, st);
    assert_ok(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_HOLD, "audit", 0), &in),
              &err);
    marks = in.head->point_change_reply->marks;
    assert_int_equal(marks->n_holds, 1);
    assert_string_equal(marks->holds[0], "audit");
    envelope_release(&in);
    assert_err(change(&op, &point, DELETE, NULL), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "audit"));
    assert_ok(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_RELEASE, "", 0), NULL),
              &err);
    assert_err(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_RELEASE, "", 0), NULL),
               VARVE_ERR_NOT_FOUND, &err);

    assert_err(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_LOCK, "law", 0), NULL),
               VARVE_ERR_INVALID, &err);
    assert_ok(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_LOCK, "law", 7200), &in),
              &err);
    assert_true(in.head->point_change_reply->marks->locked_until_us > 0);
    envelope_release(&in);
    assert_err(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_LOCK, "law", 60), NULL),
               VARVE_ERR_INVALID, &err); /* nobody shortens it */
    assert_err(change(&op, &point, DELETE, NULL), VARVE_ERR_DENIED, &err);
    assert_non_null(strstr(err.msg, "locked until"));
    assert_int_equal(listed(st), 2);
    peer_close(&op);
}

static void
what_makes_no_sense_is_refused_and_the_session_goes_on(void **state)
{
    struct stage *st = *state;
    const struct guid point = publish(st, 1);
    const struct guid unknown = {{1, 2, 3, 4}};
    char reason[600];
    struct peer op;

    memset(reason, 'x', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    peer_operator(&op, st);
    assert_err(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_HOLD, reason, 0), NULL),
               VARVE_ERR_INVALID, &err);
    assert_err(
        change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_LOCK, "", UINT64_MAX), NULL),
        VARVE_ERR_INVALID, &err);
    assert_err(change(&op, &point, action((Varve__V1__PointAction)77, "", 0), NULL),
               VARVE_ERR_UNSUPPORTED, &err);
    assert_err(change(&op, &unknown, DELETE, NULL), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(change(&op, &point, action(VARVE__V1__POINT_ACTION__POINT_HOLD, "", 0), NULL), &err);
    peer_close(&op);
}

/* ---- policies, retention, collecting ---- */

static enum varve_err
policy(struct peer *op, Varve__V1__PolicyChange body, struct envelope_in *in)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;

    head.body_case = VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE;
    head.policy_change = &body;
    return peer_call(op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_POLICY_CHANGE_REPLY, in);
}

static enum varve_err
assign(struct peer *op, const char *name, const char *vm)
{
    Varve__V1__PolicyChange c = VARVE__V1__POLICY_CHANGE__INIT;

    c.assign = true;
    c.policy = (char *)(uintptr_t)name;
    c.vm = (char *)(uintptr_t)vm;
    return policy(op, c, NULL);
}

static void
policies_are_put_assigned_told_and_removed(void **state)
{
    struct stage *st = *state;
    Varve__V1__Policy two = VARVE__V1__POLICY__INIT;
    Varve__V1__PolicyChange put = VARVE__V1__POLICY_CHANGE__INIT;
    Varve__V1__PolicyChange remove = VARVE__V1__POLICY_CHANGE__INIT;
    const Varve__V1__PolicyChange look = VARVE__V1__POLICY_CHANGE__INIT;
    const Varve__V1__PolicyChangeReply *reply;
    char name[] = "two";
    char long_name[100];
    struct identity *id = NULL;
    struct envelope_in in;
    struct peer agent;
    struct peer op;

    (void)stage_host(st, "node-1", &id);
    peer_agent(&agent, st, id);
    assert_ok(agent_inventory(&agent, &web, 1), &err);
    peer_operator(&op, st);
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    put.put = &two;
    two.name = long_name;
    two.last = 2;
    assert_err(policy(&op, put, NULL), VARVE_ERR_INVALID, &err);
    two.name = name;
    two.last = 0;
    assert_err(policy(&op, put, NULL), VARVE_ERR_INVALID, &err); /* it keeps nothing */
    two.last = 2;
    two.window_hours = 1;
    assert_ok(policy(&op, put, NULL), &err);
    assert_err(assign(&op, "three", "web"), VARVE_ERR_NOT_FOUND, &err);
    assert_err(assign(&op, "two", "nobody"), VARVE_ERR_NOT_FOUND, &err);
    assert_ok(assign(&op, "two", "web"), &err);
    assert_ok(assign(&op, "two", ""), &err);
    remove.remove = name;
    assert_err(policy(&op, remove, NULL), VARVE_ERR_DENIED, &err); /* it is in use */

    stage_close(st); /* it is in the store, not in the process */
    peer_cut(&agent);
    peer_cut(&op);
    stage_open(st);
    peer_operator(&op, st);
    assert_ok(policy(&op, look, &in), &err);
    reply = in.head->policy_change_reply;
    assert_int_equal(reply->n_policies, 1);
    assert_string_equal(reply->policies[0]->name, "two");
    assert_int_equal(reply->policies[0]->last, 2);
    assert_int_equal(reply->n_vms, 1);
    assert_memory_equal(reply->vms[0]->vm_id.data, web.id.bytes, sizeof(web.id.bytes));
    assert_string_equal(reply->fallback, "two");
    envelope_release(&in);
    assert_ok(assign(&op, "", "web"), &err);
    assert_ok(assign(&op, "", ""), &err);
    assert_ok(policy(&op, remove, NULL), &err);
    peer_close(&op);
    identity_free(id);
}

static enum varve_err
retention(struct peer *op, bool dry_run, struct envelope_in *in)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RetentionRun body = VARVE__V1__RETENTION_RUN__INIT;

    body.dry_run = dry_run;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RETENTION_RUN;
    head.retention_run = &body;
    return peer_call(op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_RETENTION_REPLY, in);
}

static void
retention_says_why_and_a_collection_gives_the_space_back(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope collect = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCollect collect_body = VARVE__V1__STORE_COLLECT__INIT;
    Varve__V1__Envelope counts = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreCheckCounts counts_body = VARVE__V1__STORE_CHECK_COUNTS__INIT;
    Varve__V1__Policy one = VARVE__V1__POLICY__INIT;
    Varve__V1__PolicyChange put = VARVE__V1__POLICY_CHANGE__INIT;
    const Varve__V1__RetentionReply *reply;
    char name[] = "one";
    struct envelope_in in;
    unsigned kept = 0;
    struct peer op;

    for (uint8_t n = 1; n <= 3; n++) {
        (void)publish(st, n);
    }
    peer_operator(&op, st);
    one.name = name;
    one.last = 1;
    put.put = &one;
    put.assign = true;
    put.policy = name;
    assert_ok(policy(&op, put, NULL), &err);
    assert_ok(retention(&op, true, &in), &err);
    reply = in.head->retention_reply;
    assert_int_equal(reply->n_verdicts, 3);
    assert_int_equal(reply->deleted, 0);
    for (size_t i = 0; i < reply->n_verdicts; i++) {
        kept += reply->verdicts[i]->keep ? 1 : 0;
        assert_true(reply->verdicts[i]->reason[0] != '\0');
    }
    assert_int_equal(kept, 1);
    envelope_release(&in);
    assert_int_equal(listed(st), 3);
    assert_ok(retention(&op, false, &in), &err);
    assert_int_equal(in.head->retention_reply->deleted, 2);
    envelope_release(&in);
    assert_int_equal(listed(st), 1);

    collect_body.move_percent = 101;
    collect.body_case = VARVE__V1__ENVELOPE__BODY_STORE_COLLECT;
    collect.store_collect = &collect_body;
    assert_ok(peer_call(&op, &collect, NULL, 0, VARVE__V1__ENVELOPE__BODY_STORE_COLLECT_REPLY, &in),
              &err);
    assert_int_equal(in.head->store_collect_reply->points_removed, 2); /* no window */
    assert_true(in.head->store_collect_reply->packs_removed > 0);
    assert_true(in.head->store_collect_reply->bytes_freed > 0);
    assert_null(in.head->store_collect_reply->blocked);
    envelope_release(&in);

    counts.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS;
    counts.store_check_counts = &counts_body;
    assert_ok(
        peer_call(&op, &counts, NULL, 0, VARVE__V1__ENVELOPE__BODY_STORE_CHECK_COUNTS_REPLY, &in),
        &err);
    assert_int_equal(in.head->store_check_counts_reply->points, 1);
    assert_int_equal(in.head->store_check_counts_reply->missing, 0);
    assert_int_equal(in.head->store_check_counts_reply->extra, 0);
    envelope_release(&in);
    peer_close(&op);
}

static void
the_collectors_time_is_told(void **state)
{
    struct stage *st = *state;
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StoreClock body = VARVE__V1__STORE_CLOCK__INIT;
    struct envelope_in in;
    struct peer op;

    peer_operator(&op, st);
    head.body_case = VARVE__V1__ENVELOPE__BODY_STORE_CLOCK;
    head.store_clock = &body;
    for (int confirm = 0; confirm < 2; confirm++) {
        body.confirm = confirm != 0;
        head.id = 0;
        assert_ok(peer_call(&op, &head, NULL, 0, VARVE__V1__ENVELOPE__BODY_STORE_CLOCK_REPLY, &in),
                  &err);
        assert_true(in.head->store_clock_reply->time_us > 0);
        assert_true(in.head->store_clock_reply->clock_us > 0);
        assert_null(in.head->store_clock_reply->doubt);
        envelope_release(&in);
    }
    peer_close(&op);
}

/* Deleting is an operator's word: from an agent it ends the session, and nothing happens. */
static void
an_agent_deletes_nothing(void **state)
{
    struct stage *st = *state;
    const struct guid first = publish(st, 1);
    Varve__V1__PointChange for_good = DELETE;
    struct identity *id = NULL;
    struct peer agent;

    (void)publish(st, 2);
    (void)stage_host(st, "node-1", &id);
    peer_agent(&agent, st, id);
    for_good.no_window = true;
    assert_true(change(&agent, &first, for_good, NULL) != VARVE_OK);
    assert_int_equal(listed(st), 2);
    peer_cut(&agent);
    identity_free(id);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(a_point_is_deleted_listed_as_deleted_and_undeleted),
        STAGE_CASE(the_last_whole_point_goes_only_when_that_was_said),
        STAGE_CASE(held_and_locked_points_stay),
        STAGE_CASE(what_makes_no_sense_is_refused_and_the_session_goes_on),
        STAGE_CASE(policies_are_put_assigned_told_and_removed),
        STAGE_CASE(retention_says_why_and_a_collection_gives_the_space_back),
        STAGE_CASE(the_collectors_time_is_told),
        STAGE_CASE(an_agent_deletes_nothing),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
