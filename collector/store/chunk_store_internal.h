/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_CHUNK_STORE_INTERNAL_H
#define VARVE_STORE_CHUNK_STORE_INTERNAL_H

#include "crypto/aead.h"
#include "index/index.h"
#include "os/thread.h"
#include "store/chunk_collect.h"
#include "store/chunk_store.h"
#include "store/pack.h"
#include "store/store_config.h"
#include "store/store_keys.h"

/*
 * A pack in memory and who may touch it:
 *
 *   FREE -> OPEN      by a put that finds no open pack of its kind
 *   OPEN -> CLOSED    by a put that does not fit any more, or by a barrier; no new slots from here on
 *   CLOSED -> FLUSHING  by a put thread, once no writer fills a slot any more
 *   FLUSHING -> FREE  by the put thread, after its names went to the index (or nowhere: a loss);
 *                     via DRAINING while readers still copy from the buffer
 *
 * A name is in the table of pending names from its reservation until its pack leaves FLUSHING, and in
 * the index before it leaves the table: who asks the table first and the index second never misses it.
 */
enum open_pack_state {
    OPEN_PACK_FREE = 0,
    OPEN_PACK_OPEN,
    OPEN_PACK_CLOSED,
    OPEN_PACK_FLUSHING,
    OPEN_PACK_DRAINING
};

/* The largest thing that is not a chunk: a manifest node. */
#define NODE_BYTES_MAX 8192u

/* Packs in memory besides those one domain can use, for domains that are written at the same time; past
 * that they take turns. */
#define DOMAIN_PACKS 4u

#define PENDING_NONE    UINT32_MAX
#define PENDING_BUCKETS 65536u

struct open_pack {
    struct pack_builder builder;
    struct chunk_domain *domain; /* whose records it takes */
    enum open_pack_state state;
    uint64_t seq;
    unsigned writers; /* filling a slot without the lock */
    unsigned readers; /* copying a record without the lock */
    bool failed;      /* a slot could not be filled */
    uint32_t *next;   /* PACK_BUILD_RECORDS: next pending record of the bucket */
    uint8_t *ready;   /* PACK_BUILD_RECORDS: 1 when the slot is filled */
};

/* What one call in progress needs; kept for the next call. */
struct worker {
    struct worker *next;
    struct aead *aead;
    const struct chunk_domain *domain; /* of pack */
    struct pack_id pack;               /* whose key aead has */
    bool keyed;
    uint8_t *raw;    /* raw_cap bytes */
    uint8_t *record; /* PACK_RECORD_HEADER + raw_cap + AEAD_TAG_SIZE */
};

/* Constant but for open. */
struct chunk_domain {
    struct chunk_store *cs;
    struct guid id;
    struct store_keys *keys; /* the default domain's are the store's */
    char name[DOMAIN_NAME_MAX + 1];
    struct open_pack *open[CHUNK_NODE + 1]; /* by kind; under cs->lock */
    struct chunk_domain *next;              /* under cs->domain_lock */
};

/* A place whose bytes were found wrong. */
struct quarantined {
    struct pack_id pack;
    uint32_t offset;
    struct record_name name;
};

/* Packs whose footers are damaged; more than these are found by the next pass over the store. */
#define FOOTLESS_MAX 64u

struct quarantine {
    _Atomic bool doubted;  /* the next was written */
    struct mutex vouching; /* one at a time; the next */
    uint64_t vouched_ns;   /* when the whole index was last found right; 0: never */
    _Atomic unsigned vain; /* searches of all footers that found nothing */
    char *doubt;           /* file that says: build the index anew; NULL: the index is in memory */
    char *path;            /* NULL: kept in memory only */
    struct fs *fs;         /* both are in this one */
    struct mutex lock;     /* everything below */
    struct quarantined *list;
    size_t count;
    size_t cap;
    uint64_t found; /* since this store was opened, known ones again too */
    struct pack_id footless[FOOTLESS_MAX];
    size_t footless_count;
};

/* A pack that was stored while uses went on which began before. */
struct pack_birth {
    struct pack_id id;
    uint64_t seq; /* the next use's number then */
};

struct chunk_store {
    struct store *store;
    struct index *index;
    char *scratch; /* NULL: the index is in memory */
    struct store_config config;
    bool key_made;
    void (*progress)(void *arg, size_t packs, size_t total); /* of completing the index */
    void *progress_arg;
    size_t raw_cap; /* largest chunk or node of this store */

    struct open_pack *packs;
    unsigned pack_count;
    struct thread *threads;
    unsigned thread_count;

    struct mutex lock;   /* everything below, and the packs' states and tables */
    struct cond changed; /* any state of a pack, or a slot somebody waits for */
    uint32_t buckets[PENDING_BUCKETS];
    uint64_t next_seq;
    uint64_t loss;
    struct varve_error last_loss;
    unsigned slot_waiters;
    bool stop;
    struct chunk_use *first_use; /* chunk_collect.h; ascending by number */
    struct chunk_use *last_use;
    uint64_t next_use;
    struct pack_birth *births;
    size_t birth_count;
    size_t birth_cap;
    bool births_lost;

    struct chunk_domain home;     /* the default domain */
    struct mutex domain_lock;     /* the list; a domain stays where it is once it is in it */
    struct chunk_domain *domains; /* the others */
    struct chunk_domain *removed; /* kept until close */
    size_t domain_count;

    struct mutex worker_lock;
    struct worker *workers;

    struct quarantine quarantine;
};

/* Flags in the index what is known to be damaged; when the index is complete. */
void quarantine_load(struct chunk_store *cs);
/* The index was found wrong: it is built anew at the next open of the store, which index_doubt_settle() does. */
void index_doubt(struct chunk_store *cs);
/*
 * The index does not have what a manifest names: is it to be believed?  Not when it is in doubt.  Else all of it is read, unless
 * that was done within the last hour, since a page that rotted may have lost the name.
 */
bool index_is_believed(struct chunk_store *cs);
VARVE_CHECK enum varve_err index_doubt_settle(struct fs *fs, const char *folder,
                                              struct varve_error *err);
void quarantine_release(struct chunk_store *cs);
/* The bytes at *place are wrong: flagged in the index and written down. */
VARVE_CHECK enum varve_err quarantine_add(struct chunk_store *cs, const struct record_name *name,
                                          const struct index_place *place, struct varve_error *err);
/* Packs with a place of the name that was found damaged before, without *but: at most max, their number. */
size_t quarantine_others(struct chunk_store *cs, const struct record_name *name,
                         const struct index_place *but, struct pack_id *out, size_t max);

VARVE_CHECK enum varve_err worker_take(struct chunk_store *cs, struct worker **out,
                                       struct varve_error *err);
void worker_give(struct chunk_store *cs, struct worker *w);
void worker_free_all(struct chunk_store *cs);
/* Gives w->aead the key of the domain's pack. */
VARVE_CHECK enum varve_err worker_key(const struct chunk_domain *d, struct worker *w,
                                      const struct pack_id *pack, struct varve_error *err);

/* Pending names; under cs->lock. */
bool pending_find_locked(struct chunk_store *cs, const struct record_name *name,
                         struct open_pack **pack, uint32_t *number);
void pending_add_locked(struct chunk_store *cs, struct open_pack *pack, uint32_t number);

VARVE_CHECK enum varve_err open_packs_init(struct chunk_store *cs, unsigned count,
                                           struct varve_error *err);
void open_packs_release(struct chunk_store *cs);
/* No slot is given out in it any more; NULL or an empty one: nothing happens. */
void open_pack_close_locked(struct chunk_store *cs, struct open_pack *p);
void flush_loop(void *arg);

/* Checks and unpacks what stands in w->record for entry of the domain's pack into buf. */
VARVE_CHECK enum varve_err record_unpack(const struct chunk_domain *d, struct worker *w,
                                         const struct pack_id *pack, const struct pack_entry *entry,
                                         void *buf, size_t cap, size_t *len,
                                         struct varve_error *err);

/* What stands in w->record, with everything checked that a reader would, and that the bytes, which go to
 * w->raw, are those of the name. */
VARVE_CHECK enum varve_err record_check(const struct chunk_domain *d, struct worker *w,
                                        const struct pack_id *pack, const struct pack_entry *e,
                                        struct varve_error *err);
/* The record is damaged: flagged when it is what the index has for its name, and only then. */
VARVE_CHECK enum varve_err set_aside_entry(struct chunk_store *cs, const struct pack_id *pack,
                                           const struct pack_entry *e, struct varve_error *err);
/* For chunk_store_pack_is_footless(). */
void pack_note_footless(struct chunk_store *cs, const struct pack_id *id, bool is);
/* Does the pack's footer, which is authenticated, say something else than the index? */
bool footer_differs(struct chunk_store *cs, const struct record_name *name,
                    const struct index_place *place);
/* Reads the other copies of what the pack holds and some point needs, before the pack goes.  *needed: one of
 * them is not whole, and the pack stays. */
VARVE_CHECK enum varve_err second_copies_check(struct chunk_store *cs, const struct pack_look *look,
                                               bool *needed, struct collect_cost *cost,
                                               struct varve_error *err);

/* The domains that the store has an object of.  One that cannot be read is logged and left out. */
VARVE_CHECK enum varve_err chunk_domains_load(struct chunk_store *cs, struct varve_error *err);
void chunk_domains_free(struct chunk_store *cs);
/* The plaintext of a domain's object: the name begins behind the key and has *name_len bytes. */
#define DOMAIN_PLAIN_HEAD (4u + STORE_KEY_SIZE + 2u)
VARVE_CHECK enum varve_err domain_plain_check(const uint8_t *plain, size_t len, size_t *name_len,
                                              struct varve_error *err);
/* A line of the quarantine file: QUARANTINE_LINE bytes, its newline included. */
#define QUARANTINE_LINE (2 * PACK_ID_SIZE + 1 + 8 + 1 + 2 * RECORD_NAME_SIZE + 1)
bool quarantine_line_parse(const char *line, struct quarantined *out);
void quarantine_line_format(const struct quarantined *q, char out[QUARANTINE_LINE + 1]);

/* The records of a pack as its footer lists them or, walked, those whose tag shows that this store wrote
 * them. */
struct pack_contents {
    struct pack_entry *list;
    size_t count;
    size_t cap;
    uint64_t raw_bytes;
    bool nomem;
    struct chunk_domain *domain; /* walked: whose keys fit; NULL: not known */
    bool walked;
    bool incomplete; /* walked, and something that it held was not found */
    bool unreadable; /* walked, and a part of it could not be read, which may pass */
    bool
        foreign; /* walked, and a record whose checksum is right is opened by no key of this store */
};
void pack_contents_add(void *arg, const struct pack_entry *e);
/* From the records alone.  VARVE_ERR_CORRUPT: there is none. */
VARVE_CHECK enum varve_err pack_salvage(struct chunk_store *cs, const struct pack_id *id,
                                        uint64_t size, struct pack_contents *out,
                                        struct varve_error *err);
/* Release in any case. */
VARVE_CHECK enum varve_err pack_contents_load(struct chunk_store *cs, const struct pack_id *id,
                                              uint64_t size, struct pack_contents *out,
                                              struct varve_error *err);
void pack_contents_release(struct pack_contents *l);
/* The names of a pack as its footer tells them, in one read: struct index_options wants this. */
VARVE_CHECK enum varve_err pack_contents_names(void *arg, const struct index_pack *pack,
                                               struct record_name *names, struct varve_error *err);

/* Finishes the pack, stores it, and tells the index. */
VARVE_CHECK enum varve_err chunk_store_put_pack(struct chunk_store *cs, struct pack_builder *b,
                                                struct varve_error *err);
/* The pack is about to be stored: chunk_store_pack_is_young() knows it from now on. */
void pack_born_locked(struct chunk_store *cs, const struct pack_id *id);
/* Makes the index list exactly the packs of the store. */
VARVE_CHECK enum varve_err chunk_store_reconcile(struct chunk_store *cs, struct varve_error *err);

#endif
