/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SESSION_SESSION_TESTING_H
#define VARVE_SESSION_SESSION_TESTING_H

#include "ingest/ingest_testing.h"

#include "session/registry.h"
#include "state/state.h"
#include "wire/channel.h"
#include "wire/envelope.h"

/*
 * For the tests of sessions: a whole collector in this process over a store in memory, listening on
 * a real socket, and peers that say what the test wants them to say.  Helpers fail the test when
 * the stage itself does not stand.
 */
struct stage {
    char *folder;
    char *paths[4];
    char url[128];
    struct store *mem;
    struct store *store; /* wrapper that can fail */
    struct collector c;
    struct gc *gc;
    struct store_time *time;
    struct collector_options options;
    struct ingest_options ingest;
    struct sched_options sched;
    struct identity *own;
    struct identity *operator_id;
};

/* Options may be set between stage_new() and stage_open(). */
struct stage *stage_new(void);
void stage_open(struct stage *st);
void stage_close(struct stage *st); /* as SIGTERM does; what is stored stays */
void stage_free(struct stage *st);  /* closes first if need be */

/* A host that is enrolled; its key in *id. */
struct guid stage_host(struct stage *st, const char *name, struct identity **id);

struct peer {
    struct channel *ch;
    uint64_t last_id;
    struct envelope_in requests[16]; /* that came while an answer was awaited */
    size_t request_count;
    uint64_t sent; /* messages */
    /* The line breaks instead of sending message number cut_after + 1, or with cut_behind once
     * message number cut_after is out; 0: never. */
    uint64_t cut_after;
    bool cut_behind;
    uint32_t minor; /* that Hello says; set after peer_dial() */
};

enum varve_err peer_dial(struct peer *p, struct stage *st, const struct identity *id,
                         const struct channel_secret *secret);
void peer_cut(struct peer *p);   /* no farewell */
void peer_close(struct peer *p); /* with one */

/* Sends; id 0 in head becomes the next one, which is returned in *id. */
enum varve_err peer_send(struct peer *p, Varve__V1__Envelope *head, const void *bulk, size_t len,
                         uint64_t *id);
/* The answer to id; an Error is returned as the call's own.  Requests of the collector are kept. */
enum varve_err peer_answer(struct peer *p, uint64_t id, struct envelope_in *in);
/* Both; the body of the answer must be want.  in NULL: released. */
enum varve_err peer_call(struct peer *p, Varve__V1__Envelope *head, const void *bulk, size_t len,
                         Varve__V1__Envelope__BodyCase want, struct envelope_in *in);
/* The next request of the collector, of this kind. */
enum varve_err peer_request(struct peer *p, Varve__V1__Envelope__BodyCase want,
                            struct envelope_in *in);
/* Receives until the connection is over; the error that ended it. */
enum varve_err peer_ending(struct peer *p);

enum varve_err peer_hello(struct peer *p, Varve__V1__Role role, bool enrol,
                          struct envelope_in *reply);
/* Dials and says Hello. */
void peer_agent(struct peer *p, struct stage *st, const struct identity *id);
void peer_operator(struct peer *p, struct stage *st);

/* ---- an agent's words ---- */

struct test_vm {
    struct guid id;
    const char *name;
    size_t disks;
};
enum varve_err agent_inventory(struct peer *p, const struct test_vm *vms, size_t count);
/* Asked what it has, it says it (LookAgain). */
enum varve_err agent_look_again(struct peer *p, const struct test_vm *vms, size_t count);
enum varve_err agent_accept_run(struct peer *p, struct guid *run, struct guid *vm);
enum varve_err agent_begin(struct peer *p, const struct guid *run,
                           struct ingest_position positions[4], size_t *count, bool *committed);
enum varve_err agent_disk_begin(struct peer *p, const struct guid *run, uint32_t disk,
                                const struct image *im, bool incremental, uint64_t *next);
/* One Offer and the Puts it asks for. */
enum varve_err agent_chunks(struct peer *p, const struct guid *run, uint32_t disk,
                            const struct image *im, uint64_t first, uint64_t count);
enum varve_err agent_disk_end(struct peer *p, const struct guid *run, uint32_t disk,
                              uint64_t read_bytes);
enum varve_err agent_commit(struct peer *p, const struct guid *run, uint32_t disks,
                            struct guid *point);
enum varve_err agent_commit_files(struct peer *p, const struct guid *run, uint32_t disks,
                                  Varve__V1__ConfigFile **files, size_t file_count,
                                  const void *bulk, size_t len, struct guid *point);
enum varve_err agent_end(struct peer *p, const struct guid *run, const struct varve_error *error);
/* All of the above from BeginRun on, for a run of one disk that is read whole, going on where the
 * collector says. */
enum varve_err agent_whole_run(struct peer *p, const struct guid *run, const struct image *im,
                               struct guid *point);

/* The same without Commit and EndRun. */
enum varve_err agent_send_all(struct peer *p, const struct guid *run, const struct image *im,
                              bool *committed);

/* ---- an operator's words ---- */

enum varve_err operator_backup(struct peer *p, const char *vm, bool full, uint64_t *id);
/* Waits for the last answer; the RunInfo of run number i in it. *in is the caller's. */
enum varve_err operator_backup_end(struct peer *p, uint64_t id, struct envelope_in *in);
enum varve_err operator_status(struct peer *p);

/* ---- what must hold ---- */

void assert_latest_holds(struct stage *st, const struct guid *vm, const struct image *im);
/* The collector still serves: a host backs up, and the bytes are right. */
void assert_serves(struct stage *st);

#define STAGE_CASE(name) cmocka_unit_test_setup_teardown(name, stage_set_up, stage_tear_down)
int stage_set_up(void **state); /* a stage that is open */
int stage_tear_down(void **state);

#endif
