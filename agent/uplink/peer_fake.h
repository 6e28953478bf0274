/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_PEER_FAKE_H
#define VARVE_UPLINK_PEER_FAKE_H

#include "uplink/peer.h"

/*
 * A collector in memory, for tests.  It answers offers and puts on a thread of its own, late and in
 * changed order, keeps every chunk, and checks every rule of proto/README.md: what breaks one is
 * remembered and peer_fake_violation() tells the first.
 *
 * It can lose its connection, forget a run, and refuse; see the functions below.
 */
struct peer_fake;

#define PEER_FAKE_DISKS 8u

struct peer_fake_options {
    uint32_t chunk_size;
    uint32_t credit_bytes;
    uint32_t offers_in_flight;
    bool takes_gaps;
    bool takes_traces;
    bool takes_packed;
    uint32_t seed;     /* of the order of answers */
    uint32_t delay_us; /* before each answer */
};

/* What the n-th message of a kind meets. */
enum peer_fake_fault {
    PEER_FAKE_NONE = 0,
    PEER_FAKE_LOSE,        /* the connection is gone before the message arrived */
    PEER_FAKE_LOSE_ANSWER, /* it arrived and was carried out; the answer is lost */
    PEER_FAKE_REFUSE       /* answered by an error: VARVE_ERR_NOSPACE */
};

enum peer_fake_kind {
    PEER_FAKE_BEGIN_RUN,
    PEER_FAKE_DISK_BEGIN,
    PEER_FAKE_OFFER,
    PEER_FAKE_PUT,
    PEER_FAKE_DISK_END,
    PEER_FAKE_COMMIT,
    PEER_FAKE_TRACE,
    PEER_FAKE_END_RUN,
    PEER_FAKE_KINDS
};

struct peer_fake_seen {
    uint64_t messages[PEER_FAKE_KINDS];
    uint64_t put_bytes;
    uint64_t named_chunks;
    uint64_t zero_chunks;
    uint64_t offers_in_flight_max;
    uint64_t put_bytes_in_flight_max;
    bool committed;
    bool ended;
    bool ended_well;
    enum varve_err ended_code;
    size_t warnings;
    char warning[16][256];
    struct guid run;
    size_t disk_count;
    struct guid disk_id[PEER_FAKE_DISKS];
    uint64_t disk_size[PEER_FAKE_DISKS];
    bool incremental[PEER_FAKE_DISKS];
    uint64_t tracked_bytes[PEER_FAKE_DISKS];
    uint64_t read_bytes[PEER_FAKE_DISKS];
    char change_id[PEER_FAKE_DISKS][128]; /* as committed */
    char reason[PEER_FAKE_DISKS][256];
    char reference_point[256];
    size_t file_count;
    enum peer_leaves leaves; /* as the last EndRun said */
    bool traced;             /* there was a trace, and no EndRun that ended it */
    bool trace_keep_tried;
    char trace_checkpoint[256];
    size_t trace_mark_count;
    char trace_marks[8][256];
    size_t trace_kept_count;
    char trace_kept[8][256];
    int64_t trace_begun_us;
    size_t trace_before_count;
    char trace_before[8][256];
    enum peer_consistency consistency;
    char capture[32];
    char source[32];
    char how[256]; /* the reason */
};

struct peer_fake *peer_fake_new(const struct peer_fake_options *options);
void peer_fake_free(struct peer_fake *f);
struct peer *peer_fake_peer(struct peer_fake *f);

/* The nth message (1 = the next) of that kind meets fault. */
void peer_fake_set_fault(struct peer_fake *f, enum peer_fake_kind kind, unsigned nth,
                         enum peer_fake_fault fault);
/* After a loss: the same collector, another connection.  The run goes on where it stood. */
void peer_fake_reconnect(struct peer_fake *f);
/* The collector was restarted: it knows chunks and points, but no run. */
void peer_fake_forget_run(struct peer_fake *f);
/* The next run starts from the disks as this one left them. */
void peer_fake_next_run(struct peer_fake *f);

/* The content of a disk as the collector would restore it; size bytes. */
bool peer_fake_content(struct peer_fake *f, uint32_t disk, uint8_t *out, size_t size);
void peer_fake_seen(struct peer_fake *f, struct peer_fake_seen *out);
/* A configuration file of the last commit whose name ends so, unpacked; NULL: there was none.  Until the next commit. */
const uint8_t *peer_fake_file(struct peer_fake *f, const char *suffix, size_t *len);
/* "" or the first rule that was broken. */
const char *peer_fake_violation(struct peer_fake *f);

#endif
