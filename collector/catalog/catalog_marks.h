/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CATALOG_CATALOG_MARKS_H
#define VARVE_CATALOG_CATALOG_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"

/*
 * What is said about points after they were published, as create-only objects of the store
 * (docs/format/store.md section 12), so that a collector that lost its state knows it too:
 *
 *   gone   the point is deleted and may be undeleted until a moment; it is not listed any more.
 *   hold   the point may not be deleted until this hold is released; several may be on one point.
 *   lock   the point may not be deleted before a moment by anybody.  Another lock may say a later one;
 *          the latest counts, and no call removes or shortens one.
 *
 * States of a point, and who moves it:
 *
 *   listed --catalog_delete()--> gone --catalog_purge()--> (no object)
 *     ^------catalog_undelete()----'
 *
 * What a power cut leaves: a mark is there or it is not (promise of store.h).  Purge removes the point
 * and then its marks.  A mark that cannot be read counts as a hold.
 *
 * A point that has marks and no object is missing: the purge was cut off, or the object was lost (rot, somebody's rm).  Its marks
 * stay until the moment of each has come, a hold until somebody removes its object; so long its number is not given again, its
 * references stay counted, and it is among what cannot be read, or where that is not counted nothing is collected.  When the object is back they are in force as before.
 *
 * Time is passed in; the collector's own (gc/store_time.h).
 *
 * Threads: all calls may run at the same time.
 */
#define MARK_TEXT_MAX 512u /* bytes of a reason or a name */

enum mark_kind { MARK_GONE = 1, MARK_HOLD = 2, MARK_LOCK = 3 }; /* numbers are on disk */

struct catalog_mark {
    enum mark_kind kind;
    struct guid vm;
    uint64_t seq;
    struct guid point;
    uint64_t tag;       /* hold: random; lock: until_us in seconds */
    int64_t made_at_us; /* 0: the mark could not be read */
    int64_t until_us;   /* gone: undelete until; lock: not before */
    char *who;
    char *why;
};

/* Everything said about one point. */
struct catalog_marks {
    struct catalog_mark *list; /* copies */
    size_t count;
    bool gone;
    bool held;
    int64_t gone_until_us;
    int64_t locked_until_us; /* 0: never was */
};
void catalog_marks_release(struct catalog_marks *m);
VARVE_CHECK enum varve_err catalog_marks_get(struct catalog *c, const struct point *p,
                                             struct catalog_marks *out, struct varve_error *err);

/* VARVE_ERR_DENIED naming the hold or the lock that forbids it. */
VARVE_CHECK enum varve_err catalog_delete(struct catalog *c, const struct point *p, int64_t now_us,
                                          int64_t until_us, const char *who, const char *why,
                                          struct varve_error *err);
VARVE_CHECK enum varve_err catalog_undelete(struct catalog *c, const struct point *p,
                                            struct varve_error *err);
VARVE_CHECK enum varve_err catalog_hold(struct catalog *c, const struct point *p, int64_t now_us,
                                        const char *who, const char *why, struct varve_error *err);
/* Releases all holds of the point; *released: how many there were. */
VARVE_CHECK enum varve_err catalog_release_holds(struct catalog *c, const struct point *p,
                                                 size_t *released, struct varve_error *err);
/* A moment that is not later than the lock there is: VARVE_ERR_INVALID. */
VARVE_CHECK enum varve_err catalog_lock(struct catalog *c, const struct point *p, int64_t now_us,
                                        int64_t until_us, const char *who, const char *why,
                                        struct varve_error *err);

/* Deleted points that can still be undeleted, newest first; as catalog_list(). */
VARVE_CHECK enum varve_err catalog_list_gone(struct catalog *c, const struct guid *vm,
                                             struct point ***out, size_t *count,
                                             struct varve_error *err);
/* As catalog_select(), among the deleted points; no "latest". */
VARVE_CHECK enum varve_err catalog_select_gone(struct catalog *c, const char *selector,
                                               struct point **out, struct varve_error *err);

/*
 * Removes the object of a gone point whose moment has come, then its marks.  VARVE_ERR_DENIED: it is
 * not gone, held, or locked at now_us; VARVE_ERR_BUSY: it can still be undeleted.
 */
VARVE_CHECK enum varve_err catalog_purge(struct catalog *c, const struct point *p, int64_t now_us,
                                         struct varve_error *err);

/*
 * Who counts references hears of every point that comes.  Called on the publishing thread, which it
 * must not keep.
 */
void catalog_on_publish(struct catalog *c, void (*cb)(void *arg, const struct point *p), void *arg);

/*
 * Removes the marks of missing points at which the moments of all have come, and forgets the points.  What cannot be removed stays
 * for the next call.  *dropped: how many points that were.
 */
VARVE_CHECK enum varve_err catalog_drop_missing(struct catalog *c, int64_t now_us, size_t *dropped,
                                                struct varve_error *err);
/* How many points of the domain are missing and missed: held, locked or to be undeleted, as the catalog's clock says. */
size_t catalog_count_missed(struct catalog *c, const struct guid *domain);

/* Every point object there is, gone ones included; how many others cannot be read or are missing. */
VARVE_CHECK enum varve_err catalog_list_all(struct catalog *c, struct point ***out, size_t *count,
                                            size_t *unreadable, struct varve_error *err);
/* Numbers up to this one are not given to new points of the vm: something else still knows it.  False: no
 * memory. */
bool catalog_number_is_taken(struct catalog *c, const struct guid *vm, uint64_t seq);
/* Is there an object of this name that could not be read, or is the point missing? */
bool catalog_is_unreadable(struct catalog *c, const struct guid *vm, uint64_t seq);

/* Where published_at_us comes from; the wall clock until this is called. */
void catalog_set_clock(struct catalog *c, int64_t (*now_us)(void *arg), void *arg);

/* ---- bytes of a mark; for tests and fuzzing ---- */

#define MARK_RECORD_MAX 4096u
struct buf;
VARVE_CHECK enum varve_err mark_encode(const struct catalog_mark *m, struct buf *out,
                                       struct varve_error *err);
/* vm and seq come from the object's name, which is authenticated.  Strings are the caller's. */
VARVE_CHECK enum varve_err mark_decode(struct catalog_mark *out, const void *data, size_t len,
                                       struct varve_error *err);
void mark_release(struct catalog_mark *m);
/* "gone/<vm>/<seq>", "hold/<vm>/<seq>/<tag>", "lock/<vm>/<seq>/<tag>". */
void mark_object_name(const struct catalog_mark *m, char out[STORE_NAME_MAX + 1]);
bool mark_object_name_parse(struct catalog_mark *out, const char *name);

#endif
