/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_UPLINK_PEER_H
#define VARVE_UPLINK_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "crypto/aead.h"
#include "hash/chunk_id.h"

/*
 * A peer is the collector as a run sees it, over one connection: the calls of proto/README.md in
 * plain structs.  Members: uplink's session (the real one) and the fake peer of the tests, which
 * checks every rule.
 *
 * A peer belongs to one connection.  When the connection is lost every call that is unanswered and
 * every later one fails, is_lost() turns true, and whoever wants to go on asks uplink for the
 * next one.  An error while the peer is not lost is the collector's own answer.
 *
 * Threads: all calls from any thread.
 */
struct peer;

#define PEER_OFFER_CHUNKS_MAX 1024u
#define PEER_PUT_BYTES_MAX    (2u * 1024 * 1024)
#define PEER_DISKS_MAX        256u
#define PEER_STRING_MAX       1024u
#define PEER_FILES_MAX        64u
/* Configuration files of a Commit, as they travel, all together; where the peer takes none that are packed. */
#define PEER_FILES_BYTES_MAX (5u * 512 * 1024)
#define PEER_FILES_PLAIN_MAX (512u * 1024)

/* What the collector said when the connection began; constant for the peer's life. */
struct peer_limits {
    uint32_t chunk_size;
    uint32_t credit_bytes;     /* of Put, unanswered, all runs together: the peer itself keeps it */
    uint32_t offers_in_flight; /* unanswered Offers of one run: the caller keeps it */
    bool takes_gaps;           /* an Offer may leave chunks out */
    bool takes_traces;         /* trace() may be called */
    bool takes_packed;         /* files of a commit may be packed */
};

struct peer_position {
    uint32_t disk;
    bool closed;
    uint64_t next_chunk;
};

struct peer_begun {
    bool committed; /* the run is the point below already */
    struct guid point;
    size_t position_count;
    struct peer_position positions[PEER_DISKS_MAX];
};

struct peer_disk {
    uint32_t disk;
    struct guid id;
    const char *name;
    const char *path;
    uint64_t size;
    uint32_t logical_sector;
    uint32_t physical_sector;
    uint32_t block_size;
    bool has_page83;
    struct guid page83;
    bool incremental;
    const char *reason; /* why not incremental, or "" */
    uint64_t tracked_bytes;
};

/* Before chunk `at` of those offered, `chunks` of the disk are left out. */
struct peer_gap {
    uint32_t at; /* 1 to count - 1, ascending */
    uint64_t chunks;
};

struct peer_offer {
    const struct guid *run;
    uint32_t disk;
    uint64_t first_chunk;
    uint64_t count;
    const uint8_t *data; /* bit per chunk: named below; NULL: all zero */
    size_t data_len;
    const struct peer_gap *gaps;
    size_t gap_count; /* 0 unless the peer takes gaps */
    const struct chunk_id *names;
    size_t name_count;
};

struct peer_put {
    const struct guid *run;
    uint32_t disk;
    uint64_t first_chunk; /* of the offer */
    const uint32_t *index;
    const uint32_t *stored_len;
    size_t count;
    const struct aead_part *parts; /* bytes of the chunks, one behind the other */
    size_t part_count;
    size_t bytes; /* sum of the parts */
};

enum peer_consistency {
    PEER_CONSISTENCY_CRASH = 1,
    PEER_CONSISTENCY_APPLICATION = 2,
    PEER_CONSISTENCY_OFFLINE = 3
};

struct peer_commit_disk {
    uint32_t disk;
    const char *change_id; /* "" none */
};

struct peer_file {
    const char *name;
    const uint8_t *data;
    size_t len;
    size_t size; /* of the file; where it is not len, data is an LZ4 block */
};

struct peer_commit {
    const struct guid *run;
    int64_t frozen_at_us;
    enum peer_consistency consistency;
    const struct peer_commit_disk *disks;
    size_t disk_count;
    const struct peer_file *files;
    size_t file_count;
    const char *reference_point;
    const char *capture;
    const char *source;
    const char *reason;
    uint32_t generation;
};

struct peer_committed {
    struct guid point;
    uint64_t seq;
};

/* What the run may leave on its vm if the host does not come back. */
struct peer_trace {
    const struct guid *run;
    const char *checkpoint; /* "" not known */
    bool keep_tried;
    const char *const *marks; /* reference points that stand on the vm */
    size_t mark_count;
    const char *const *kept; /* ours among them */
    size_t kept_count;
    int64_t begun_us; /* capture_note; 0: none */
    const char *const *before;
    size_t before_count;
};

/* What is left on the vm when the run ends here. */
enum peer_leaves {
    PEER_LEAVES_NOTHING = 0,
    PEER_LEAVES_FOR_LATER = 1, /* this host tries again */
    PEER_LEAVES_WITH_VM = 2    /* the vm is not on this host any more */
};

struct peer_progress {
    const struct guid *run;
    const char *phase; /* "freeze", "read", "commit", "clean" */
    uint64_t planned_bytes;
    uint64_t read_bytes;
    uint64_t sent_bytes;
};

/*
 * A call whose answer comes later.  The caller owns the memory and keeps it until done was called,
 * which happens exactly once if and only if the function that took the call returned VARVE_OK -
 * perhaps before that function has returned.  done runs on the thread that receives: it must not
 * block.  bitmap (offers only; NULL for none) is borrowed for the time of the call; *err holds when
 * rc is not VARVE_OK.
 */
struct peer_call {
    void (*done)(struct peer_call *call, enum varve_err rc, const uint8_t *bitmap,
                 size_t bitmap_len, const struct varve_error *err);
};

struct peer_ops {
    void (*get_limits)(struct peer *p, struct peer_limits *out);
    bool (*is_lost)(struct peer *p);

    /* These wait for their answer. */
    enum varve_err (*begin_run)(struct peer *p, const struct guid *run, struct peer_begun *out,
                                struct varve_error *err);
    enum varve_err (*disk_begin)(struct peer *p, const struct guid *run,
                                 const struct peer_disk *disk, struct peer_position *out,
                                 struct varve_error *err);
    enum varve_err (*disk_end)(struct peer *p, const struct guid *run, uint32_t disk,
                               uint64_t read_bytes, struct varve_error *err);
    enum varve_err (*commit)(struct peer *p, const struct peer_commit *commit,
                             struct peer_committed *out, struct varve_error *err);
    /* Answered when it is durable. */
    enum varve_err (*trace)(struct peer *p, const struct peer_trace *trace,
                            struct varve_error *err);
    /* failure: NULL when all went well. */
    enum varve_err (*end_run)(struct peer *p, const struct guid *run,
                              const struct varve_error *failure, const char *const *warnings,
                              size_t warning_count, enum peer_leaves leaves,
                              struct varve_error *err);

    /* These send and return; everything handed in may be reused then. */
    enum varve_err (*offer)(struct peer *p, const struct peer_offer *offer, struct peer_call *call,
                            struct varve_error *err);
    /* Waits until the session's credit allows it. */
    enum varve_err (*put)(struct peer *p, const struct peer_put *put, struct peer_call *call,
                          struct varve_error *err);
    /* No answer, no error: a progress that is lost is not missed. */
    void (*progress)(struct peer *p, const struct peer_progress *progress);
};

struct peer {
    const struct peer_ops *ops;
};

#endif
