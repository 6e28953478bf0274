/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_OFFLINE_OFFLINE_H
#define VARVE_OFFLINE_OFFLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"
#include "os/thread.h"

/*
 * What is done to the directory of a store with no collector: reading points out of it, scrubbing,
 * rebuilding the index, mending it from another store, its keys, and the way back of a collector that was lost.  The operator's command sees the
 * store through this header and no other.
 *
 * Reading (offline_store_open(), offline_scrub()) changes nothing, takes no lock, and needs no write access
 * to the directory.  Beside a running collector it sees the points that were there when it began; objects
 * never change, so the one thing that can happen is that a point is deleted meanwhile: reading it then ends
 * with an error, never with wrong bytes.  The calls that change the store say which lock they take.
 */

/* ---- secrets ---- */

enum offline_secret_kind { OFFLINE_KEY_FILE = 1, OFFLINE_PASSPHRASE = 2, OFFLINE_RECOVERY = 3 };

struct offline_secret {
    enum offline_secret_kind kind;
    const char *path; /* of the file; "" with text */
    const char *text; /* NULL, or what somebody typed: the passphrase, the recovery key */
};

/* ---- a store, to be read ---- */

struct offline_store;

struct offline_options {
    struct fs *fs;
    const char *folder; /* of the store */
    struct offline_secret secret;
    const char *temp; /* folder for a temporary index; NULL: $TMPDIR or /var/tmp */
    /* Footers are being read: packs of total done.  May be NULL. */
    void (*progress)(void *arg, size_t packs, size_t total);
    void *arg;
};

/*
 * Reads the footers of all packs.  With fewer than OFFLINE_MEMORY_PACKS packs the index is kept in memory (some
 * 130 bytes a record, of which a pack has 256 or, when all of them pack to nothing, 16384: 68 MB), else in a temporary
 * folder that is removed again, with some 90 bytes a record there.  Lets the process have many files open
 * (store/open_files.h).
 */
#define OFFLINE_MEMORY_PACKS 32u

VARVE_CHECK enum varve_err offline_store_open(struct offline_store **out,
                                              const struct offline_options *options,
                                              struct varve_error *err);
void offline_store_close(struct offline_store *o); /* NULL is fine */

struct offline_point {
    char id[40];
    uint64_t seq;
    const char *vm_name;
    const char *host_name;
    int64_t frozen_at_us;
    size_t disk_count;
    uint64_t size; /* of all its disks */
};
/* Newest first; false from cb ends it.  *damaged: point objects that cannot be read. */
VARVE_CHECK enum varve_err offline_points(struct offline_store *o,
                                          bool (*cb)(void *arg, const struct offline_point *p),
                                          void *arg, size_t *damaged, struct varve_error *err);

/* ---- restore ---- */

struct offline_file {
    const char *name; /* relative, harmless */
    uint64_t size;
    uint64_t data_bytes;
};

/* Where the files go.  Each may be NULL but write. */
struct offline_sink {
    void *arg;
    /* Before the first file.  An error ends the restore. */
    enum varve_err (*plan)(void *arg, const struct offline_point *point,
                           const struct offline_file *files, size_t count, const char *const *notes,
                           size_t note_count, struct varve_error *err);
    enum varve_err (*begin)(void *arg, const struct offline_file *file, struct varve_error *err);
    /* From many threads at once; holes are not written. */
    enum varve_err (*write)(void *arg, const void *buf, size_t len, uint64_t off,
                            struct varve_error *err);
    enum varve_err (*finish)(void *arg, struct varve_error *err);
    /* Bytes written so far, of the restore; on the calling thread. */
    void (*progress)(void *arg, uint64_t bytes);
};

/*
 * selector as everywhere ("latest", "web@latest~1", the first characters of an id); format "vhdx", "raw" or
 * "chain"; base NULL or the first point of a chain.  Reads with twice as many threads as there are
 * processors, at least 8.  cancel may be NULL.
 */
VARVE_CHECK enum varve_err offline_restore(struct offline_store *o, const char *selector,
                                           const char *format, const char *base,
                                           const struct offline_sink *sink, struct cancel *cancel,
                                           struct varve_error *err);

/* ---- scrub ---- */

struct offline_scrub_result {
    uint64_t objects;
    uint64_t bytes;
    uint64_t records;
    uint64_t problems;
};

struct offline_scrub_options {
    struct fs *fs;
    const char *folder;
    unsigned threads;          /* 0: two per processor, 4 to 16; memory: an object each */
    uint64_t bytes_per_second; /* 0: as fast as it goes */
    struct cancel *cancel;     /* may be NULL */
    void *arg;
    /* Both from any thread, one at a time. */
    void (*problem)(void *arg, const char *object, const char *what);
    void (*progress)(void *arg, const struct offline_scrub_result *so_far, uint64_t total_bytes);
};

/* Stored checksums of every object; needs no key.  VARVE_OK whatever is found. */
VARVE_CHECK enum varve_err offline_scrub(const struct offline_scrub_options *options,
                                         struct offline_scrub_result *out, struct varve_error *err);

/* ---- rebuild ---- */

struct offline_rebuild_result {
    uint64_t packs;
    uint64_t records;
    uint64_t points;
    uint64_t points_damaged;
    uint64_t damaged; /* records known to be damaged */
    double seconds;
};

/* Throws the index in index_folder away and builds it anew.  Takes the store's lock: VARVE_ERR_BUSY while a
 * collector runs.  temp of options is not used. */
VARVE_CHECK enum varve_err offline_rebuild(const struct offline_options *options,
                                           const char *index_folder,
                                           struct offline_rebuild_result *out,
                                           struct varve_error *err);

/* ---- repair ---- */

struct offline_repair_result {
    uint64_t points;
    uint64_t names;         /* chunks and nodes that points need */
    uint64_t missing;       /* of these, not there or damaged */
    uint64_t copied;        /* of these, found in the other store, checked and stored */
    uint64_t points_copied; /* point objects taken from the other store */
    uint64_t points_lost;   /* damaged, and not in the other store */
    /* Nodes that only counts which wait for them need (gc/account.h): taken from the other store, and still missing. */
    uint64_t nodes_copied;
    uint64_t nodes_unread;
};

struct offline_repair_options {
    struct offline_options store;
    struct offline_options from; /* read only; the same store's copy or another one */
    /* Folder of the collector's index, which alone knows what counts wait for; it is used in the place of a temporary one.  NULL:
     * what only they need is not looked for. */
    const char *index;
    void *arg;
    void (*progress)(void *arg, const struct offline_repair_result *so_far);
};

/* Reads everything that points need and takes what is missing or damaged from another store, by name, after
 * checking it.  Takes the store's lock: VARVE_ERR_BUSY while a collector runs. */
VARVE_CHECK enum varve_err offline_repair(const struct offline_repair_options *options,
                                          struct offline_repair_result *out,
                                          struct varve_error *err);

/* ---- the state of a collector ---- */

struct offline_state_copy {
    char name[64]; /* of the object */
    int64_t made_at_us;
    uint64_t hosts;      /* that are enrolled in it */
    const char *problem; /* NULL, or why it cannot be used; the rest is zero then */
};

struct offline_state_options {
    struct fs *fs;
    const char *folder; /* of the store */
    struct offline_secret secret;
    const char *copy; /* to be restored; NULL: the newest that is whole */
    void *arg;
    /* A newer copy than the one that is restored is damaged; why names it.  May be NULL. */
    void (*damaged)(void *arg, const char *why);
};

/* Both read the store only, and beside a running collector.  By collector, then from the oldest; false from cb ends it. */
VARVE_CHECK enum varve_err offline_state_list(const struct offline_state_options *o,
                                              bool (*cb)(void *arg,
                                                         const struct offline_state_copy *copy),
                                              struct varve_error *err);
/*
 * Writes collector.key and state.db into the folder, which is made where it is not there.  VARVE_ERR_EXISTS: it holds the state of
 * a collector; nothing is overwritten.  No copy there: VARVE_ERR_NOT_FOUND.  Copies of more than one collector and none
 * named: VARVE_ERR_INVALID.  A newest copy of a newer program is VARVE_ERR_UNSUPPORTED, never an older one.
 */
VARVE_CHECK enum varve_err offline_state_restore(const struct offline_state_options *o,
                                                 const char *state_folder,
                                                 struct offline_state_copy *out,
                                                 struct varve_error *err);

/* ---- keys ---- */

struct offline_recipient {
    uint32_t id;
    const char *kind; /* "key file", "passphrase", "recovery key" */
    const char *label;
    int64_t made_at_us;
    uint32_t passes; /* Argon2id; 0 where there is none */
    uint32_t memory_kib;
};

/* Needs no key. */
VARVE_CHECK enum varve_err offline_key_list(struct fs *fs, const char *folder,
                                            bool (*cb)(void *arg,
                                                       const struct offline_recipient *r),
                                            void *arg, struct varve_error *err);
/* Which recipient the secret is; VARVE_ERR_AUTH. */
VARVE_CHECK enum varve_err offline_key_check(struct fs *fs, const char *folder,
                                             const struct offline_secret *secret, uint32_t *id,
                                             struct varve_error *err);
/*
 * The three below hold a lock of their own in the directory (.lock-keys), not the store's: a collector may
 * run, it reads keys only when it starts.  secret opens the store.  A key file of added that is not there is
 * made.
 */
VARVE_CHECK enum varve_err offline_key_add(struct fs *fs, const char *folder,
                                           const struct offline_secret *secret,
                                           const struct offline_secret *added, const char *label,
                                           uint32_t *id, struct varve_error *err);
/* Makes a recovery key and adds it; text gets it, to be shown once. */
#define OFFLINE_RECOVERY_TEXT 48
VARVE_CHECK enum varve_err offline_key_recovery(struct fs *fs, const char *folder,
                                                const struct offline_secret *secret,
                                                const char *label, char text[OFFLINE_RECOVERY_TEXT],
                                                uint32_t *id, struct varve_error *err);
VARVE_CHECK enum varve_err offline_key_remove(struct fs *fs, const char *folder,
                                              const struct offline_secret *secret, uint32_t id,
                                              struct varve_error *err);

#endif
