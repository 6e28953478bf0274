/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_STORE_TIME_H
#define VARVE_GC_STORE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/file.h"

/*
 * The collector's own time, by which points are dated and deleted: a wall clock that is set wrong must not
 * delete anything early.
 *
 *   1. While the machine runs, time advances with its boot-time clock (which no one can set), and
 *      leans towards the wall clock by at most STORE_TIME_LEAN of what has passed.
 *   2. Over a reboot the wall clock is all there is: it is believed when it is at most
 *      STORE_TIME_OFF later, and at most STORE_TIME_NEAR earlier, than the time that was kept.
 *   3. Otherwise, and whenever wall clock and time are more than STORE_TIME_FAR apart, time goes on from
 *      what was kept and is *doubtful*: nothing is deleted by it until the operator has confirmed the
 *      wall clock, or the two agree again.
 *   4. It never goes back, except when the operator confirms an earlier wall clock.
 *
 * Kept in a small text file (docs/format/state.md), written every minute and at close: a power cut loses a minute, which
 * (2) makes up for.  A file that is lost, or whose check shows that it has rotted: the time is that of the newest point, and
 * rule 2 applies.
 *
 * Threads: any; calls take turns.
 */
#define STORE_TIME_LEAN 1000                    /* one part in */
#define STORE_TIME_OFF  (4ll * 86400 * 1000000) /* a long weekend */
#define STORE_TIME_NEAR (5ll * 60 * 1000000)
#define STORE_TIME_FAR  (3600ll * 1000000)

struct store_time;

/* What the clocks say; a test brings its own. */
struct store_clocks {
    int64_t (*wall_us)(void *arg);
    uint64_t (*boot_ns)(void *arg);
    void (*boot_id)(void *arg, char out[64]);
    void *arg;
};
extern const struct store_clocks store_clocks_system;

/* newest_us: a time that has been for certain, such as the newest point's; 0: none. */
VARVE_CHECK enum varve_err store_time_open(struct store_time **out, struct fs *fs, const char *path,
                                           const struct store_clocks *clocks, int64_t newest_us,
                                           struct varve_error *err);
void store_time_close(struct store_time *t); /* NULL is fine */

int64_t store_time_now(struct store_time *t);
/* VARVE_ERR_STALE in *why when it is doubtful: what the clocks say, and the way out. */
bool store_time_is_doubtful(struct store_time *t, struct varve_error *why);
/* The operator says that the wall clock is right. */
VARVE_CHECK enum varve_err store_time_confirm(struct store_time *t, struct varve_error *err);
/* Writes the file when a minute has passed; call now and then. */
void store_time_tick(struct store_time *t);

/* ---- the file's text, for tests; a zero stands behind its len bytes.  False: it is damaged, or not one. ---- */
#define STORE_TIME_BOOT_ID 64u

struct store_time_kept {
    int64_t now_us; /* above 0 */
    uint64_t boot_ns;
    char boot_id[STORE_TIME_BOOT_ID];
};
bool store_time_parse(const char *text, size_t text_len, struct store_time_kept *out);

#endif
