/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_STORE_H
#define VARVE_STORE_CHUNK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "hash/chunk_id.h"
#include "store/store.h"

/*
 * Chunks and manifest nodes by name, each kept once: packs in a store, found by an index, sealed
 * with the store's keys.
 *
 * States of a name: absent -> pending (in an open or flushing pack, in memory) -> durable (pack
 * stored, name in the index).  chunk_store_has() answers true for pending and durable; whoever
 * relies on that answer must call chunk_store_barrier() before publishing anything.
 *
 * A pack that cannot be stored takes its pending names back to absent and raises the loss count:
 * a run that started at another count must not publish (its "have" answers may be void).
 *
 * A name means something inside its domain only.  A domain has keys of its own, and through them other
 * names and packs of its own: what one holds cannot be found out, read or relied upon from another,
 * and equal chunks of two domains are stored twice.  The default domain (id zero) is the store's own
 * keys, and is all there is in a store whose owner wants no more.  docs/design/domains.md says why.
 *
 * What nobody needs any more is collected (chunk_collect.h): whoever relies on "have" holds a
 * struct chunk_use from before it chooses a base until after its publish.
 *
 * Threads: all calls may run at the same time, except open and close.
 */
struct chunk_store;
struct chunk_domain; /* lives as long as its store is open */
struct store_secret;

#define CHUNK_SIZE_MIN (4u * 1024)
#define CHUNK_SIZE_MAX (1024u * 1024)

enum chunk_kind { CHUNK_DATA = 1, CHUNK_NODE = 2 }; /* numbers are on disk */

struct chunk_store_options {
    const char *index_path; /* folder of the derived index; NULL: in memory, built at every open */
    const char *key_path;   /* key file; made (0600) when store and key are both new */
    const struct store_secret *secret; /* opens the store instead of a key file, when not NULL */
    uint32_t chunk_size;               /* used when the store is new; 0: 64 KiB */
    unsigned put_threads;              /* packs being stored at once; 0: 2 */
    bool read_only; /* nothing is put; a store that is not there is VARVE_ERR_NOT_FOUND */
    /* Completing the index goes on: packs of total done.  May be NULL. */
    void (*progress)(void *arg, size_t packs, size_t total);
    void *progress_arg;
    /* For tests: all that is kept beside the index, LMDB's own files and scratch excepted, is in this folder of this file system. */
    struct fs *notes_fs;
    const char *notes_path;
    const char *boot_id; /* for tests; NULL: the machine's */
};

/*
 * Opens or makes the store's cfg/store.  A store without its key file is VARVE_ERR_AUTH (named
 * path, way out) and nothing is touched; so is the wrong key.  An unknown format version or feature
 * flag is VARVE_ERR_UNSUPPORTED.  Borrows store until closed.
 */
VARVE_CHECK enum varve_err chunk_store_open(struct chunk_store **out, struct store *store,
                                            struct fs *fs,
                                            const struct chunk_store_options *options,
                                            struct varve_error *err);
/* Flushes what it can; an error then is logged (nothing listed depends on it). NULL is fine. */
void chunk_store_close(struct chunk_store *cs);

uint32_t chunk_store_chunk_size(const struct chunk_store *cs);
bool chunk_store_key_was_made(const struct chunk_store *cs);

/* ---- domains ---- */

#define DOMAIN_NAME_MAX 64u /* bytes of UTF-8 */
#define DOMAINS_MAX     4096u

struct chunk_domain *chunk_store_default(struct chunk_store *cs);
/* id zero: the default.  Unknown: VARVE_ERR_NOT_FOUND. */
VARVE_CHECK enum varve_err chunk_store_domain(struct chunk_store *cs, const struct guid *id,
                                              struct chunk_domain **out, struct varve_error *err);
/*
 * Makes a domain with a fresh random key: one object, "cfg/domain/<id>", durable when this returns.
 * name is for people who find the store without its collector.  There already: VARVE_ERR_EXISTS.
 */
VARVE_CHECK enum varve_err chunk_store_make_domain(struct chunk_store *cs, const struct guid *id,
                                                   const char *name, struct chunk_domain **out,
                                                   struct varve_error *err);
/*
 * Takes the domain's key out of the store, durably: nothing of it can be read any more.  Its packs are garbage
 * from then on.  The caller sees to it that nothing of it is in use; *d stays valid memory until close.
 */
VARVE_CHECK enum varve_err chunk_store_remove_domain(struct chunk_store *cs, struct chunk_domain *d,
                                                     struct varve_error *err);
/* The domains but the default, until cb answers false.  cb makes no domain. */
void chunk_store_each_domain(struct chunk_store *cs, bool (*cb)(void *arg, struct chunk_domain *d),
                             void *arg);
const struct guid *chunk_domain_id(const struct chunk_domain *d);
const char *chunk_domain_name(const struct chunk_domain *d); /* "" for the default */
/* What stands for a name where names of several domains meet, in a set or a table; in the default domain
 * it is the name. */
void chunk_domain_key(const struct chunk_domain *d, const struct chunk_id *id,
                      struct chunk_id *out);

/* ---- chunks ---- */

/* have[i] = 1 when ids[i] is pending or durable.  Fast for thousands at a time. */
VARVE_CHECK enum varve_err chunk_store_has(struct chunk_domain *d, const struct chunk_id *ids,
                                           size_t count, uint8_t *have, struct varve_error *err);

/*
 * Puts what the peer sent: stored holds stored_len bytes, an LZ4 block when stored_len < raw_len.
 * They are unpacked and hashed first: not the bytes of *id is VARVE_ERR_CORRUPT and nothing is kept.
 * A name that is there already: VARVE_OK, nothing written.  Blocks while too many packs are
 * waiting for the disk.
 */
VARVE_CHECK enum varve_err chunk_store_put(struct chunk_domain *d, enum chunk_kind kind,
                                           const struct chunk_id *id, const void *stored,
                                           size_t stored_len, size_t raw_len,
                                           struct varve_error *err);

/* The bytes of *id, unpacked, their hash checked.  buf has room for cap; *len gets the length.
 * Absent: VARVE_ERR_NOT_FOUND.  Damaged: VARVE_ERR_CORRUPT naming pack and offset. */
VARVE_CHECK enum varve_err chunk_store_get(struct chunk_domain *d, const struct chunk_id *id,
                                           void *buf, size_t cap, size_t *len,
                                           struct varve_error *err);

/* Everything put before the call is durable when this returns VARVE_OK. */
VARVE_CHECK enum varve_err chunk_store_barrier(struct chunk_store *cs, struct varve_error *err);
uint64_t chunk_store_loss_count(struct chunk_store *cs);
/* Why a pack was lost last (NOSPACE, IO, ...); meaningful once the loss count has changed.  Returns
 * the code. */
enum varve_err chunk_store_last_loss(struct chunk_store *cs, struct varve_error *err);

struct chunk_store_stats {
    uint64_t chunks; /* names in the index */
    uint64_t packs;
    uint64_t stored_bytes; /* size of all packs */
    uint64_t raw_bytes;    /* unpacked size of all chunks and nodes */
    uint64_t damaged;      /* records found damaged since the store was opened */
    uint64_t free_bytes;   /* of the file system below */
};
VARVE_CHECK enum varve_err chunk_store_get_stats(struct chunk_store *cs,
                                                 struct chunk_store_stats *out,
                                                 struct varve_error *err);

/* ---- damage ---- */

/*
 * A record whose bytes were found wrong is set aside: chunk_store_has() says no of its name, so that the
 * next backup which has the bytes stores them again; over restarts, and over a rebuild of the index in the
 * same folder.  chunk_store_get() sets aside what it stumbles on, chunk_store_check_pack() what it finds.
 */
VARVE_CHECK enum varve_err chunk_store_count_damaged(struct chunk_store *cs, uint64_t *out,
                                                     struct varve_error *err);
/* Grows whenever something is set aside; to be compared with an earlier answer. */
uint64_t chunk_store_damage_found(struct chunk_store *cs);

struct pack_id;

struct chunk_check {
    uint64_t records;
    uint64_t bytes;           /* unpacked */
    uint64_t damaged;         /* records that were set aside, or are not what is read anyway */
    uint64_t problems;        /* these, and damage in header, footer or tail */
    struct varve_error first; /* of them */
};
/*
 * A pack from its first byte to its last: every record opened, unpacked, hashed and compared with its
 * name, and the structures around them.  VARVE_OK whatever was found; VARVE_ERR_NOT_FOUND: the pack is
 * gone.  Memory: the pack.
 */
VARVE_CHECK enum varve_err chunk_store_check_pack(struct chunk_store *cs, const struct pack_id *id,
                                                  uint64_t size, struct chunk_check *out,
                                                  struct varve_error *err);
/* In the order of their ids. */
VARVE_CHECK enum varve_err chunk_store_list_packs(struct chunk_store *cs,
                                                  bool (*cb)(void *arg, const struct pack_id *id,
                                                             uint64_t size),
                                                  void *arg, struct varve_error *err);

/* Seals small records (points) with a key derived from the domain's; *out is the caller's. */
VARVE_CHECK enum varve_err chunk_store_seal_record(struct chunk_domain *d, const char *name,
                                                   const void *data, size_t len, uint8_t **out,
                                                   size_t *out_len, struct varve_error *err);
/* The record says its domain: *domain, which may be NULL.  A domain whose key is not in the store is
 * VARVE_ERR_AUTH. */
VARVE_CHECK enum varve_err chunk_store_open_record(struct chunk_store *cs, const char *name,
                                                   const void *data, size_t len, uint8_t **out,
                                                   size_t *out_len, struct chunk_domain **domain,
                                                   struct varve_error *err);
struct store *chunk_store_objects(struct chunk_store *cs);

#endif
