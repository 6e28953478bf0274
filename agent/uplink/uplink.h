/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_UPLINK_H
#define VARVE_UPLINK_UPLINK_H

#include "capture/capture.h"
#include "crypto/identity.h"
#include "os/thread.h"
#include "uplink/peer.h"

/*
 * The agent's connection to its collector: dials, says hello, tells the inventory, hands on what the
 * collector asks for, and dials again whenever the connection is lost - with growing pauses, for
 * ever.
 *
 * Two threads.  One dials and receives; nothing it calls waits.  The other answers requests, looks
 * at the host every 30 s, and ends connections on which an answer is overdue.
 */
struct uplink;

#define UPLINK_INVENTORY_MS 30000u
#define UPLINK_BEAT_MS      60000u

/* The collector's wish for a run: StartRun. */
struct uplink_base {
    struct guid disk;
    uint64_t size;
    char change_id[CAPTURE_ID_MAX];
};

struct uplink_skip {
    struct guid disk;
    char reason[128];
};

struct uplink_start {
    struct guid run;
    struct guid vm;
    bool full;
    char reference_point[CAPTURE_ID_MAX];
    const struct uplink_base *base;
    size_t base_count;
    const struct uplink_skip *skip; /* disks that are not to be read */
    size_t skip_count;
    char method[CAPTURE_NAME_MAX]; /* how the vm is to be frozen; "": as this host has it */
};

/* The collector's wish that what another host's run left on a vm is cleaned up: CleanVm. */
struct uplink_clean {
    struct guid run;
    struct guid vm;
    bool committed;              /* the run is a point */
    const char *reference_point; /* of that point; "": none */
    const char *checkpoint;      /* "": not known */
    bool keep_tried;
    const char *const *marks; /* reference points that are none of the run's */
    size_t mark_count;
    const char *const *kept; /* ours from before the run */
    size_t kept_count;
    int64_t begun_us; /* capture_note; 0: none */
    const char *const *before;
    size_t before_count;
};

/* Called on uplink's second thread, one at a time. */
struct uplink_events {
    void *arg;
    /* Takes the run on, or says why not; everything is borrowed. */
    enum varve_err (*start_run)(void *arg, const struct uplink_start *start,
                                struct varve_error *err);
    void (*cancel_run)(void *arg, const struct guid *run);
    /* Writes it down, to be done; everything is borrowed.  NULL: this host does not do that. */
    enum varve_err (*clean_vm)(void *arg, const struct uplink_clean *clean,
                               struct varve_error *err);
    /* Every UPLINK_BEAT_MS: say on p what the runs do, so that long steps are not taken for death. */
    void (*beat)(void *arg, struct peer *p);
};

struct uplink_options {
    const char *address;
    const uint8_t *collector; /* its public key */
    const struct identity *identity;
    struct capture *capture;
    struct uplink_events events;
    const char *software; /* "varve-agent 0.1.0" */
    const char *system;   /* for people */
    const char *host_name;
};

/* Everything in options is borrowed until uplink_stop(). */
VARVE_CHECK enum varve_err uplink_start(struct uplink **out, const struct uplink_options *options,
                                        struct varve_error *err);
/* Ends the connection so that the collector knows it was meant, and frees.  When nobody holds a peer
 * any more.  NULL is fine. */
void uplink_stop(struct uplink *u);

/*
 * A peer that is not lost, other than `lost` (NULL: any); waits for it up to timeout_ms
 * (VARVE_ERR_TIMEOUT) or until cancel is set.  Give it back with uplink_put_peer().
 */
VARVE_CHECK enum varve_err uplink_get_peer(struct uplink *u, const struct peer *lost,
                                           uint32_t timeout_ms, struct cancel *cancel,
                                           struct peer **out, struct varve_error *err);
void uplink_put_peer(struct peer *p);

/* Every call that waits for the collector ends now. */
void uplink_abandon(struct uplink *u);

/* ---- without the threads: for enrolment and doctor ---- */

struct uplink_welcome {
    struct guid host_id;
    char host_name[PEER_STRING_MAX + 1];
    char software[PEER_STRING_MAX + 1];
    uint32_t chunk_size;
    uint32_t credit_bytes;
    uint32_t offers_in_flight;
    bool takes_gaps;
    bool takes_traces;
    bool takes_packed;
};

struct channel_secret;

/* Dials, says hello, ends.  secret: enrols this host's key (NULL: an ordinary session). */
VARVE_CHECK enum varve_err uplink_greet(const struct uplink_options *options,
                                        const struct channel_secret *secret, uint32_t timeout_ms,
                                        struct uplink_welcome *out, struct varve_error *err);

#endif
