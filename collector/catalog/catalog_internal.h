/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_CATALOG_INTERNAL_H
#define VARVE_CATALOG_CATALOG_INTERNAL_H

#include "catalog/catalog.h"
#include "catalog/catalog_hits.h"
#include "catalog/catalog_marks.h"
#include "os/thread.h"

/* A vm that has points, damaged ones included. */
struct catalog_vm {
    struct guid id;
    uint64_t last_seq; /* highest ever seen or tried */
    bool publishing;   /* one publish per vm at a time */
};

/* A point that damage hits. */
struct catalog_hit {
    struct guid vm;
    uint64_t seq;
};

/* A point that marks speak of and that has no object (catalog_missing.c). */
struct catalog_missing {
    struct guid vm;
    uint64_t seq;
    struct guid domain; /* of its marks; zero where none can be read */
    bool held;
    bool left_over; /* of a purge that was cut off, by the clock at open: nothing is waited for */
    int64_t locked_until_us; /* 0: no mark says so */
    int64_t gone_until_us;
};

/* A point whose put failed; its object may be there all the same (promise 3 of store.h). */
struct catalog_unsettled {
    struct guid vm;
    uint64_t seq;
};

struct catalog {
    struct chunk_store *cs;
    struct mutex marks_lock; /* a change of marks, objects included; taken before lock */

    struct mutex lock; /* everything below */
    struct cond published;
    struct point **points; /* sorted by vm, then seq */
    size_t count;
    size_t cap;
    size_t reserved;        /* places of points kept for publishes under way */
    struct catalog_vm *vms; /* sorted by id */
    size_t vm_count;
    size_t vm_cap;
    struct catalog_damage *damaged;
    size_t damaged_count;
    size_t damaged_cap;
    struct catalog_missing *missing; /* sorted by vm, then seq */
    size_t missing_count;
    size_t missing_cap;
    struct point **gone; /* deleted, not purged; in no order */
    size_t gone_count;
    size_t gone_cap;
    struct catalog_mark *marks; /* sorted by vm, then seq */
    size_t mark_count;
    size_t mark_cap;
    struct catalog_hit *hits; /* sorted */
    size_t hit_count;
    bool hits_known;
    uint64_t hits_at;
    struct catalog_unsettled *unsettled; /* in no order */
    size_t unsettled_count;
    size_t unsettled_cap;

    /* Constant once points are published. */
    void (*on_publish)(void *arg, const struct point *p);
    void *on_publish_arg;
    int64_t (*now_us)(void *arg);
    void *now_arg;
};

/* The points of vm are points[*first, *first + *count). */
void catalog_range_locked(struct catalog *c, const struct guid *vm, size_t *first, size_t *count);
/* Where the point is in points; false: it is not. */
bool catalog_find_locked(const struct catalog *c, const struct guid *vm, uint64_t seq, size_t *at);

void catalog_object_name(const struct guid *vm, uint64_t seq, char out[STORE_NAME_MAX + 1]);
bool catalog_object_name_parse(const char *name, struct guid *vm, uint64_t *seq);
/* Takes the point of that name into the tables.  One that cannot be read is noted and is no error. */
VARVE_CHECK enum varve_err catalog_adopt(struct catalog *c, const char *name,
                                         struct varve_error *err);
/* What stands under `object`, which was sealed as `name` and opens; out may be NULL. */
VARVE_CHECK enum varve_err catalog_read_object(struct catalog *c, const char *object,
                                               const char *name, uint8_t **out, size_t *out_len,
                                               struct varve_error *err);
/* Makes of *p, which nobody else has, what is kept of it.  Where there is no memory for that it stays what it is. */
void catalog_compact(struct catalog *c, struct point **p);
/* catalog_lost.c: before the points are read, and after. */
VARVE_CHECK enum varve_err catalog_finish_lost(struct catalog *c, struct varve_error *err);
VARVE_CHECK enum varve_err catalog_adopt_lost(struct catalog *c, struct varve_error *err);
void catalog_lost_name(const char *name, char out[STORE_NAME_MAX + 1]);
/* Of one mark, object included; one that is not there is forgotten too. */
VARVE_CHECK enum varve_err catalog_remove_mark(struct catalog *c, const struct catalog_mark *m,
                                               struct varve_error *err);
/* After the points: reads every mark, moves deleted points aside. */
VARVE_CHECK enum varve_err catalog_load_marks(struct catalog *c, struct varve_error *err);
/* An object of this name is there and cannot be read. */
bool catalog_is_damaged(struct catalog *c, const struct guid *vm, uint64_t seq);
/* catalog_missing.c: m is a mark of a point that has no object. */
VARVE_CHECK enum varve_err catalog_note_missing(struct catalog *c, const struct catalog_mark *m,
                                                const struct guid *domain, struct varve_error *err);
/* At the end of an open. */
void catalog_judge_missing(struct catalog *c);
/* Missing, and not only left over. */
bool catalog_is_missing_locked(const struct catalog *c, const struct guid *vm, uint64_t seq);
size_t catalog_count_missing_locked(const struct catalog *c);
/* Those that are missed at now_us, at most max; what is left of a purge that was cut off is not. */
size_t catalog_missed_locked(const struct catalog *c, int64_t now_us, struct catalog_damage *out,
                             size_t max);
int64_t catalog_now(const struct catalog *c);
/* Takes m's strings on success. */
VARVE_CHECK enum varve_err catalog_insert_mark(struct catalog *c, const struct catalog_mark *m,
                                               struct varve_error *err);
/* Room for one more deleted point, which catalog_move_to_gone() then takes; one at a time, under marks_lock. */
VARVE_CHECK enum varve_err catalog_reserve_gone(struct catalog *c, struct varve_error *err);
void catalog_move_to_gone(struct catalog *c, const struct point *p);
/* Room for one point more, which catalog_insert_locked() then takes. */
VARVE_CHECK enum varve_err catalog_reserve_locked(struct catalog *c, struct varve_error *err);
/* Takes p. */
void catalog_insert_locked(struct catalog *c, struct point *p);
/* The vm's row, made when it is not there; NULL: no memory.  Valid until the next call. */
struct catalog_vm *catalog_vm_locked(struct catalog *c, const struct guid *id);
/* Do the sizes of the point's disks fit this store's chunks? */
VARVE_CHECK enum varve_err catalog_check(struct catalog *c, const struct point *p,
                                         struct varve_error *err);

#endif
