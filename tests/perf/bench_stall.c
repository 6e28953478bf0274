/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "os/path.h"
#include "store/store_testing.h"
#include "wire/access.h"

/*
 * How long a backup waits for its collector, beside whatever that does meanwhile (tests/perf/stalls):
 *
 *   bench_stall enrol STATE           a host for it, in the state folder of a collector that does not run
 *   bench_stall run STATE URL COUNT   is an agent and runs COUNT full backups of one disk of 32 MiB, one after the other
 *
 * Half of the disk is always the same (the collector has it: an Offer and its answer), half is new each time (an Offer, its answer, a
 * Put and its answer), 16 chunks at a time.  The longest of each is told, and of the end of a disk and the commit, which wait for the
 * disk of the store.
 */
#define IMAGE_SIZE (32u << 20)
#define STEP       16u

enum word { OFFER, PUT, DISK_END, COMMIT, WORDS };
static const char *const word_names[WORDS] = {
    "offer of 16 known chunks", "offer and put of 16 new chunks", "end of a disk", "commit"};

struct waits {
    double sum[WORDS];
    double most[WORDS];
    uint64_t count[WORDS];
};

static void
host_key(struct identity **out)
{
    uint8_t secret[IDENTITY_KEY_SIZE] = {7};

    assert_ok(identity_from_secret(out, secret, &err), &err);
}

static void
enrol(const char *state_dir)
{
    uint8_t secret[STATE_SECRET_SIZE] = {7};
    struct state *state = NULL;
    struct identity *id = NULL;
    struct guid guid;
    struct host h;
    char *path = NULL;

    assert_ok(path_join(&path, state_dir, "state.db", &err), &err);
    assert_ok(state_open(&state, fs_system(), path, &err), &err);
    host_key(&id);
    assert_ok(state_host_invite(state, "stall", 1, INT64_MAX, secret, secret, &guid, &err), &err);
    assert_ok(state_host_enrol(state, secret, identity_public(id), 2, &h, &err), &err);
    host_release(&h);
    identity_free(id);
    state_close(state);
    free(path);
}

static void
note(struct waits *w, enum word what, uint64_t start)
{
    double ms = (double)(time_mono_ns() - start) / 1e6;

    w->sum[what] += ms;
    w->most[what] = ms > w->most[what] ? ms : w->most[what];
    w->count[what]++;
}

static void
one_run(struct peer *agent, struct peer *operator, struct image * im, struct waits *w)
{
    struct ingest_position positions[4];
    struct envelope_in in;
    struct guid run;
    struct guid point;
    uint64_t request = 0;
    uint64_t next = 0;
    uint64_t start;
    size_t count = 0;
    bool committed = false;

    assert_ok(operator_backup(operator, "stall", true, &request), &err);
    assert_ok(agent_accept_run(agent, &run, NULL), &err);
    assert_ok(agent_begin(agent, &run, positions, &count, &committed), &err);
    assert_ok(agent_disk_begin(agent, &run, 0, im, false, &next), &err);
    for (; next < chunks_of(im); next += STEP) {
        start = time_mono_ns();
        assert_ok(agent_chunks(agent, &run, 0, im, next, STEP), &err);
        note(w, next < chunks_of(im) / 2 ? OFFER : PUT, start);
    }
    start = time_mono_ns();
    assert_ok(agent_disk_end(agent, &run, 0, im->size), &err);
    note(w, DISK_END, start);
    start = time_mono_ns();
    assert_ok(agent_commit(agent, &run, 1, &point), &err);
    note(w, COMMIT, start);
    assert_ok(agent_end(agent, &run, NULL), &err);
    assert_ok(operator_backup_end(operator, request, &in), &err);
    envelope_release(&in);
}

static void
run(const char *state_dir, const char *url, unsigned count)
{
    const struct test_vm vm = {{{0x77}}, "stall", 1};
    struct image im = image_new(IMAGE_SIZE, 1);
    struct waits w = {.sum = {0}};
    struct stage st = {.folder = NULL};
    struct identity *id = NULL;
    struct peer agent;
    struct peer operator;
    struct access access;
    char *path[2] = {NULL, NULL};

    (void)snprintf(st.url, sizeof(st.url), "%s", url);
    assert_ok(path_join(&path[0], state_dir, "collector.key", &err), &err);
    assert_ok(path_join(&path[1], state_dir, "operator.access", &err), &err);
    assert_ok(identity_load(&st.own, fs_system(), path[0], &err), &err);
    assert_ok(access_load(&access, fs_system(), path[1], &err), &err);
    st.operator_id = access.key;
    host_key(&id);
    peer_agent(&agent, &st, id);
    assert_ok(agent_inventory(&agent, &vm, 1), &err);
    peer_operator(&operator, & st);
    for (unsigned i = 0; i <= count; i++) {
        struct test_random r = {time_mono_ns() | 1};

        test_random_fill(&r, im.data + IMAGE_SIZE / 2, IMAGE_SIZE / 2);
        if (i == 1) { /* in the first all is new */
            memset(&w, 0, sizeof(w));
        }
        one_run(&agent, &operator, & im, &w);
    }
    for (unsigned i = 0; i < WORDS; i++) {
        printf("%s: %" PRIu64 ", %.1f ms each, %.1f ms the longest\n", word_names[i], w.count[i],
               w.sum[i] / (double)w.count[i], w.most[i]);
    }
    peer_close(&agent);
    peer_close(&operator);
    identity_free(id);
    identity_free(st.own);
    access_release(&access);
    free(im.data);
    free(path[0]);
    free(path[1]);
}

int
main(int argc, char **argv)
{
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    if (argc == 3 && strcmp(argv[1], "enrol") == 0) {
        enrol(argv[2]);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "run") == 0) {
        run(argv[2], argv[3], (unsigned)strtoul(argv[4], NULL, 10));
        return 0;
    }
    (void)fprintf(stderr, "usage: bench_stall enrol STATE | bench_stall run STATE URL COUNT\n");
    return 2;
}
