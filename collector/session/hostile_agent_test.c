/* SPDX-License-Identifier: Apache-2.0 */
#include "session/hostile_script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/range.h"
#include "session/wire_in.h"
#include "store/store_testing.h"

/*
 * A host that is enrolled and misbehaves: over the real channel, with its words sent in one go and without
 * waiting for answers.  First a table of lies, each with the answer that it must get; then mutations of an
 * honest run, drawn from seeds.  After each an honest host backs up and its bytes are right, every point that is
 * listed can be read whole, and the collector has not grown.
 *
 * VARVE_HOSTILE_SEQUENCES: how many mutated runs, 300 unless given; the first seed is VARVE_HOSTILE_SEED.
 */
#define GROWTH_MAX   ((uint64_t)64 << 20)
#define CHECK_EVERY  25u
#define NOBODYS_CALL 999999u

/* ---- playing them ---- */

struct theatre {
    struct stage *st;
    struct image im;
    struct identity *honest_id;
    struct identity *hostile_id;
    struct guid honest;
    struct guid hostile;
    struct peer good;
    struct peer bad;
    uint32_t vms; /* that were used so far: each run has its own */
};

static struct guid
next_vm(struct theatre *t)
{
    struct guid vm = {{0x77}};

    t->vms++;
    memcpy(vm.bytes + 1, &t->vms, sizeof(t->vms));
    return vm;
}

/* A run of a fresh vm, taken on by the host's agent. */
static struct ingest_run *
new_run(struct theatre *t, struct peer *agent, const struct guid *host, struct guid *vm)
{
    struct ingest_request request = {.vm = next_vm(t), .host = *host, .vm_name = "vm"};
    struct ingest_run *run = NULL;
    struct guid asked;

    request.host_name = "host";
    request.full = true;
    memcpy(request.run.bytes, request.vm.bytes, sizeof(request.run.bytes));
    request.run.bytes[0] = 0x78;
    assert_ok(ingest_run_new(t->st->c.ingest, &request, &run, &err), &err);
    assert_ok(agent_accept_run(agent, &asked, NULL), &err);
    assert_true(guid_equal(&asked, &request.run));
    *vm = request.vm;
    return run;
}

static struct guid
id_of(struct ingest_run *run)
{
    struct run_info info;

    ingest_run_info(run, &info);
    return info.id;
}

static void
let_go(struct ingest_run *run)
{
    struct varve_error over;

    (void)varve_error_set(&over, VARVE_ERR_CANCELLED, "the test is over");
    ingest_run_fail(run, &over, true);
    ingest_run_unref(run);
}

/* Waits for the fence's answer and at least so many others.  The first error that was answered, or the one that the session ended with; VARVE_OK: none. */
static enum varve_err
listen(struct peer *p, size_t answers, char *said, size_t said_size)
{
    enum varve_err first = VARVE_OK;
    bool fence = false;

    said[0] = '\0';
    for (;;) {
        struct envelope_in in;
        struct varve_error lost;
        enum varve_err rc = envelope_recv(p->ch, &in, &lost);

        if (rc != VARVE_OK) {
            peer_close(p);
            return first != VARVE_OK ? first : rc;
        }
        if (in.head->reply && in.head->id == NOBODYS_CALL) {
            fence = true;
        } else if (in.head->reply && answers > 0) {
            answers--;
        }
        if (first == VARVE_OK && in.head->id != NOBODYS_CALL &&
            in.head->body_case == VARVE__V1__ENVELOPE__BODY_ERROR) {
            first = (enum varve_err)in.head->error->code;
            (void)snprintf(said, said_size, "%s", in.head->error->message);
        }
        envelope_release(&in);
        if (fence && answers == 0) {
            return first;
        }
    }
}

/* Asks for a run that nobody has: what comes before the answer belongs to what was said before. */
static void
send_fence(struct peer *p)
{
    static uint8_t nobody[16] = {0xff};
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BeginRun begin = VARVE__V1__BEGIN_RUN__INIT;

    head.id = NOBODYS_CALL;
    begin.run_id.data = nobody;
    begin.run_id.len = sizeof(nobody);
    head.body_case = VARVE__V1__ENVELOPE__BODY_BEGIN_RUN;
    head.begin_run = &begin;
    (void)!peer_send(p, &head, NULL, 0, NULL);
}

static enum varve_err
say(struct peer *p, const struct blob *b)
{
    struct aead_part part = {b->data, b->len};
    struct varve_error lost;

    return channel_send(p->ch, &part, 1, &lost);
}

/* A connection without answers of earlier runs in it. */
static void
redial(struct theatre *t)
{
    char said[300];

    if (t->bad.ch != NULL) {
        peer_cut(&t->bad);
    }
    peer_agent(&t->bad, t->st, t->hostile_id);
    send_fence(&t->bad); /* once it is answered, the session is in the registry */
    assert_int_equal(listen(&t->bad, 0, said, sizeof(said)), VARVE_OK);
}

/* An honest run beside all this. */
static void
assert_honest_hosts_are_served(struct theatre *t)
{
    struct image im = image_new(12 * CHUNK + 100, 4711 + t->vms);
    struct guid vm;
    struct guid point;
    struct ingest_run *run = new_run(t, &t->good, &t->honest, &vm);
    struct guid id = id_of(run);

    assert_ok(agent_whole_run(&t->good, &id, &im, &point), &err);
    assert_latest_holds(t->st, &vm, &im);
    ingest_run_unref(run);
    free(im.data);
}

static void
assert_every_point_reads(struct theatre *t)
{
    struct point **points = NULL;
    uint8_t *buf = malloc(CHUNK);
    size_t count = 0;

    assert_non_null(buf);
    assert_ok(catalog_list(t->st->c.catalog, NULL, &points, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        struct chunk_domain *domain = NULL;

        assert_ok(chunk_store_domain(t->st->c.chunks, &points[i]->domain, &domain, &err), &err);
        for (size_t d = 0; d < points[i]->disk_count; d++) {
            struct manifest_reader *r = NULL;
            uint64_t chunks = points[i]->disks[d].root.chunk_count;

            assert_ok(manifest_reader_new(&r, domain, &points[i]->disks[d].root, &err), &err);
            for (uint64_t c = 0; c < chunks && c < 4096; c++) {
                struct chunk_id id;
                size_t len = 0;

                assert_ok(manifest_read(r, c, 1, &id, &err), &err);
                if (!chunk_id_is_hole(&id)) {
                    assert_ok(chunk_store_get(domain, &id, buf, CHUNK, &len, &err), &err);
                }
            }
            manifest_reader_free(r);
        }
    }
    catalog_list_free(points, count);
    free(buf);
}

static uint64_t
resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[128] = "";
    char *size_end = line;

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    (void)fclose(f);
    (void)strtoull(line, &size_end, 10);
    return strtoull(size_end, NULL, 10) * 4096u;
}

/* What is kept lies in memory here: it is no growth. */
static uint64_t
without_store(struct theatre *t)
{
    struct chunk_store_stats stats;
    uint64_t all = resident();

    assert_ok(chunk_store_get_stats(t->st->c.chunks, &stats, &err), &err);
    return all > stats.stored_bytes ? all - stats.stored_bytes : 0;
}

static int
open_theatre(void **state)
{
    struct theatre *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->st = stage_new();
    t->st->sched.runs = 64;
    t->st->sched.runs_per_host = 64;
    stage_open(t->st);
    t->im = image_new((uint64_t)CHUNKS * CHUNK, 99);
    t->honest = stage_host(t->st, "honest", &t->honest_id);
    t->hostile = stage_host(t->st, "hostile", &t->hostile_id);
    peer_agent(&t->good, t->st, t->honest_id);
    peer_agent(&t->bad, t->st, t->hostile_id);
    *state = t;
    return 0;
}

static int
close_theatre(void **state)
{
    struct theatre *t = *state;

    if (t->bad.ch != NULL) {
        peer_close(&t->bad);
    }
    peer_close(&t->good);
    stage_free(t->st);
    identity_free(t->honest_id);
    identity_free(t->hostile_id);
    free(t->im.data);
    free(t);
    return 0;
}

/* ---- the table ---- */

struct lie {
    const char *does;
    struct plan plan;
    enum varve_err answer;
    const char *said; /* in the answer; NULL: whatever */
};

static const struct lie lies[] = {
    {"keeps to the rules", {0}, VARVE_OK, NULL},
    {"says BeginRun of another host's run",
     {.another_run = true},
     VARVE_ERR_NOT_FOUND,
     "the collector holds no run"},
    {"puts other bytes than it has named", {.wrong_bytes = true}, VARVE_ERR_CORRUPT, "are others"},
    {"puts bytes that do not unpack", {.garbage = true}, VARVE_ERR_CORRUPT, NULL},
    {"puts fewer bytes than their lengths say", {.bulk_delta = -1}, VARVE_ERR_PROTOCOL, "brings"},
    {"puts more bytes than their lengths say", {.bulk_delta = 1}, VARVE_ERR_PROTOCOL, "brings"},
    {"puts a chunk that it has not offered",
     {.put_index = CHUNKS},
     VARVE_ERR_PROTOCOL,
     "not asked for"},
    {"puts before it offers", {.skip = W_OFFER}, VARVE_ERR_PROTOCOL, "nothing was asked for"},
    {"replays a Put", {.twice = W_PUT}, VARVE_ERR_PROTOCOL, NULL},
    {"replays an Offer", {.twice = W_OFFER}, VARVE_ERR_PROTOCOL, NULL},
    {"replays DiskBegin", {.twice = W_DISK}, VARVE_OK, NULL},
    {"replays DiskEnd", {.twice = W_DISK_END}, VARVE_OK, NULL},
    {"replays Commit", {.twice = W_COMMIT}, VARVE_OK, NULL},
    {"offers beyond the end of its disk", {.offer_first = 1}, VARVE_ERR_PROTOCOL, NULL},
    {"offers at the end of numbers", {.offer_first = UINT64_MAX - 3}, VARVE_ERR_PROTOCOL, NULL},
    {"offers more names than chunks", {.names_delta = CHUNK_ID_SIZE}, VARVE_ERR_PROTOCOL, NULL},
    {"offers fewer names than chunks", {.names_delta = -CHUNK_ID_SIZE}, VARVE_ERR_PROTOCOL, NULL},
    {"offers half a name", {.names_delta = -1}, VARVE_ERR_PROTOCOL, NULL},
    {"begins a disk of an exabyte", {.disk_size = (uint64_t)1 << 60}, VARVE_ERR_LIMIT, "64 TiB"},
    {"begins a disk larger than what it sends",
     {.disk_size = (uint64_t)CHUNKS * CHUNK * 2},
     VARVE_ERR_PROTOCOL,
     NULL},
    {"ends a disk with a Put missing", {.skip = W_PUT + 1}, VARVE_ERR_PROTOCOL, NULL},
    {"commits a disk that it has not ended", {.skip = W_DISK_END}, VARVE_ERR_PROTOCOL, NULL},
    {"commits a disk that it has not begun", {.skip = W_DISK}, VARVE_ERR_PROTOCOL, "not begun"},
    {"hangs up after BeginRun", {.cut = W_DISK}, VARVE_OK, NULL},
    {"hangs up after an Offer", {.cut = W_OFFER}, VARVE_OK, NULL},
    {"hangs up among its Puts", {.cut = W_PUT + 1}, VARVE_OK, NULL},
    {"hangs up behind Commit", {.cut = W_COMMIT}, VARVE_OK, NULL},
};

static enum varve_err
play(struct theatre *t, const struct script *s, const struct plan *plan, bool all, char *said,
     size_t size)
{
    size_t answers = 0;
    enum varve_err rc = VARVE_OK;

    for (unsigned i = 0; i < s->count && rc == VARVE_OK; i++) {
        if (plan->skip != 0 && i == plan->skip) {
            continue;
        }
        rc = say(&t->bad, &s->words[i]);
        answers++;
        if (rc == VARVE_OK && plan->twice != 0 && i == plan->twice) {
            rc = say(&t->bad, &s->words[i]);
            answers++;
        }
        if (plan->cut != 0 && i == plan->cut) {
            peer_cut(&t->bad);
            said[0] = '\0';
            return VARVE_OK;
        }
    }
    send_fence(&t->bad);
    return listen(&t->bad, all ? answers : 0, said, size);
}

static void
every_lie_gets_its_answer_and_harms_nobody(void **state)
{
    struct theatre *t = *state;

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        const struct lie *lie = &lies[i];
        struct ingest_run *victim = NULL;
        struct ingest_run *run = NULL;
        struct script s;
        struct guid victim_vm;
        struct guid vm;
        struct guid id;
        enum varve_err rc;
        char said[300];

        /* Other bytes each time, or nothing would be asked for. */
        struct image im = image_new((uint64_t)CHUNKS * CHUNK, 1000 + i);

        print_message("a host that %s\n", lie->does);
        redial(t);
        victim = new_run(t, &t->good, &t->honest, &victim_vm);
        run = new_run(t, &t->bad, &t->hostile, &vm);
        id = lie->plan.another_run ? id_of(victim) : id_of(run);
        write_script(&s, &lie->plan, &id, &im);
        rc = play(t, &s, &lie->plan, true, said, sizeof(said));
        if (rc != lie->answer || (lie->said != NULL && strstr(said, lie->said) == NULL)) {
            fail_msg("a host that %s: answered %s '%s'", lie->does, varve_err_name(rc), said);
        }
        script_free(&s);
        let_go(run);

        /* The other host's run goes on as if nothing had been. */
        {
            struct guid point;
            struct guid victim_id = id_of(victim);

            assert_ok(agent_whole_run(&t->good, &victim_id, &im, &point), &err);
            assert_latest_holds(t->st, &victim_vm, &im);
            ingest_run_unref(victim);
        }
        free(im.data);
    }
    assert_every_point_reads(t);
}

/* ---- mutations ---- */

static void
mutate_bytes(struct blob *b, struct test_random *r)
{
    size_t at = b->len == 0 ? 0 : (size_t)test_random_below(r, b->len < 96 ? b->len : 96);

    if (b->len == 0) {
        return;
    }
    switch (test_random_below(r, 5)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << test_random_below(r, 8));
        break;
    case 1:
        b->data[at] = (uint8_t)test_random_next(r);
        break;
    case 2:
        b->len = (size_t)test_random_below(r, b->len);
        break;
    case 3: /* somewhere in the bulk */
        b->data[test_random_below(r, b->len)] ^= 0x55;
        break;
    default:
        test_random_fill(r, b->data + at, b->len - at < 8 ? b->len - at : 8);
        break;
    }
}

static void
mutate_order(struct script *s, struct test_random *r)
{
    size_t a = (size_t)test_random_below(r, s->count);
    size_t b = (size_t)test_random_below(r, s->count);
    struct blob moved = s->words[a];

    switch (test_random_below(r, 3)) {
    case 0:
        s->words[a] = s->words[b];
        s->words[b] = moved; // NOLINT(clang-analyzer-unix.Malloc): two words change places
        break;
    case 1: /* left out */
        free(moved.data);
        s->count--;
        memmove(&s->words[a], &s->words[a + 1], (s->count - a) * sizeof(moved));
        break;
    default: /* again, at the end */
        if (s->count < SCRIPT_MAX && moved.len > 0) {
            struct blob again = {malloc(moved.len), moved.len};

            assert_non_null(again.data);
            memcpy(again.data, moved.data, moved.len);
            s->words[s->count++] = again;
        }
        break;
    }
}

static void
play_mutation(struct theatre *t, uint64_t seed)
{
    static const struct plan honest_plan;
    struct test_random r = {.state = seed};
    struct image im = image_new((uint64_t)CHUNKS * CHUNK, seed);
    struct ingest_run *run = NULL;
    struct script s;
    struct guid vm;
    struct guid id;
    char said[300];

    redial(t);
    run = new_run(t, &t->bad, &t->hostile, &vm);
    id = id_of(run);
    write_script(&s, &honest_plan, &id, &im);
    for (uint64_t n = 1 + test_random_below(&r, 4); n > 0 && s.count > 1; n--) {
        if (test_random_below(&r, 3) == 0) {
            mutate_order(&s, &r);
        } else {
            mutate_bytes(&s.words[test_random_below(&r, s.count)], &r);
        }
    }
    if (test_random_below(&r, 8) == 0) {
        struct plan cut = {.cut = 1 + (unsigned)test_random_below(&r, s.count)};

        (void)!play(t, &s, &cut, false, said, sizeof(said));
    } else {
        (void)!play(t, &s, &honest_plan, false, said, sizeof(said));
    }
    script_free(&s);
    let_go(run);
    free(im.data);
}

static uint64_t
number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

static void
mutated_runs_harm_nobody(void **state)
{
    struct theatre *t = *state;
    uint64_t sequences = number_from("VARVE_HOSTILE_SEQUENCES", 300);
    uint64_t first = number_from("VARVE_HOSTILE_SEED", 1);
    uint64_t before = 0;
    uint64_t after;

    for (uint64_t i = 0; i < sequences; i++) {
        print_message("seed %" PRIu64 "\n", first + i);
        play_mutation(t, first + i);
        if (i % CHECK_EVERY == CHECK_EVERY - 1) {
            assert_honest_hosts_are_served(t);
            before = before == 0 ? without_store(t) : before;
        }
    }
    assert_every_point_reads(t);
    after = without_store(t);
    print_message("%" PRIu64 " sequences, resident without the store %" PRIu64 " MiB then %" PRIu64
                  " MiB\n",
                  sequences, before >> 20, after >> 20);
    if (!VARVE_SANITIZED && after > before + GROWTH_MAX) {
        fail_msg("the collector grew");
    }
}

/* ---- reconnecting ---- */

static void
a_storm_of_reconnects_ends_each_older_session(void **state)
{
    struct theatre *t = *state;

    for (int i = 0; i < 60; i++) {
        struct peer p;

        peer_agent(&p, t->st, t->hostile_id);
        if (i % 2 == 0) {
            peer_cut(&p);
        } else {
            peer_close(&t->bad); /* ended by the newer one, or about to be */
            t->bad = p;
        }
    }
    assert_honest_hosts_are_served(t);
    assert_int_equal(registry_hosts_connected(t->st->c.registry) <= 2, 1);
}

int
main(void)
{
#define THEATRE_CASE(name) cmocka_unit_test_setup_teardown(name, open_theatre, close_theatre)
    const struct CMUnitTest tests[] = {
        THEATRE_CASE(every_lie_gets_its_answer_and_harms_nobody),
        THEATRE_CASE(mutated_runs_harm_nobody),
        THEATRE_CASE(a_storm_of_reconnects_ends_each_older_session),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
