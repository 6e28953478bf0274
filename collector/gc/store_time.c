/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/store_time.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "hash/check_line.h"
#include "index/index_state.h"
#include "os/thread.h"

#define FILE_HEAD   "varve-time-2"
#define FILE_HEAD_1 "varve-time-1" /* without a check: read, not written any more */
#define SAVE_EVERY  60000000ll     /* us */
#define FILE_MAX    512u

struct store_time {
    struct fs *fs;
    char *path;
    struct store_clocks clocks;
    struct mutex lock; /* all below */
    int64_t now_us;
    uint64_t boot_ns; /* when now_us was that */
    int64_t saved_us;
    bool doubtful;
    bool told;
    char boot_id[STORE_TIME_BOOT_ID];
};

/* ---- the machine's clocks ---- */

static int64_t
system_wall(void *arg)
{
    (void)arg;
    return time_now_us();
}

static uint64_t
system_boot(void *arg)
{
    (void)arg;
    return time_boot_ns();
}

static void
system_boot_id(void *arg, char out[STORE_TIME_BOOT_ID])
{
    char id[INDEX_BOOT_ID_SIZE];

    (void)arg;
    index_boot_id(id);
    (void)snprintf(out, STORE_TIME_BOOT_ID, "%s", id);
}

const struct store_clocks store_clocks_system = {
    .wall_us = system_wall, .boot_ns = system_boot, .boot_id = system_boot_id};

/* ---- time goes on ---- */

static int64_t
distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

static int64_t
advance_locked(struct store_time *t)
{
    uint64_t boot_ns = t->clocks.boot_ns(t->clocks.arg);
    int64_t wall = t->clocks.wall_us(t->clocks.arg);
    int64_t passed = boot_ns > t->boot_ns ? (int64_t)((boot_ns - t->boot_ns) / 1000u) : 0;
    int64_t lean;

    if (passed > 0) {
        t->now_us += passed;
        t->boot_ns += (uint64_t)passed * 1000u;
        lean = passed / STORE_TIME_LEAN;
        if (wall > t->now_us && distance(wall, t->now_us) <= STORE_TIME_FAR) {
            t->now_us += wall - t->now_us < lean ? wall - t->now_us : lean;
        } else if (wall < t->now_us && distance(wall, t->now_us) <= STORE_TIME_FAR) {
            t->now_us -= t->now_us - wall < lean ? t->now_us - wall : lean;
        }
    }
    if (distance(wall, t->now_us) > STORE_TIME_FAR) {
        t->doubtful = true;
    } else {
        t->doubtful = false;
        t->told = false;
    }
    return wall;
}

static void
save_locked(struct store_time *t)
{
    struct varve_error err;
    char text[FILE_MAX];
    int len =
        snprintf(text, sizeof(text) - CHECK_LINE_SIZE - 1,
                 FILE_HEAD "\n%" PRId64 "\n%" PRIu64 "\n%s\n", t->now_us, t->boot_ns, t->boot_id);

    if (fs_write_durable(t->fs, t->path, text, check_line_append(text, (size_t)len), false, &err) !=
        VARVE_OK) {
        log_warn("time", "the time could not be written down: %s", err.msg);
        return;
    }
    t->saved_us = t->now_us;
}

int64_t
store_time_now(struct store_time *t)
{
    int64_t now;

    mutex_lock(&t->lock);
    (void)advance_locked(t);
    now = t->now_us;
    mutex_unlock(&t->lock);
    return now;
}

bool
store_time_is_doubtful(struct store_time *t, struct varve_error *why)
{
    char wall_text[TIME_TEXT_SIZE];
    char own_text[TIME_TEXT_SIZE];
    bool doubtful;
    int64_t wall;

    mutex_lock(&t->lock);
    wall = advance_locked(t);
    doubtful = t->doubtful;
    time_format(wall, wall_text);
    time_format(t->now_us, own_text);
    mutex_unlock(&t->lock);
    if (doubtful) {
        (void)varve_error_set(why, VARVE_ERR_STALE,
                              "the clock says %.19sZ, by the collector's own time it is %.19sZ: "
                              "nothing is deleted until they agree; set the clock right, or "
                              "confirm it: varve store clock --confirm",
                              wall_text, own_text);
    }
    return doubtful;
}

enum varve_err
store_time_confirm(struct store_time *t, struct varve_error *err)
{
    char text[TIME_TEXT_SIZE];

    (void)err;
    mutex_lock(&t->lock);
    t->boot_ns = t->clocks.boot_ns(t->clocks.arg);
    t->now_us = t->clocks.wall_us(t->clocks.arg);
    t->doubtful = false;
    t->told = false;
    save_locked(t);
    time_format(t->now_us, text);
    mutex_unlock(&t->lock);
    log_warn("time", "the operator has confirmed the clock: it is %s", text);
    return VARVE_OK;
}

void
store_time_tick(struct store_time *t)
{
    struct varve_error why;
    bool tell;

    if (!store_time_is_doubtful(t, &why)) {
        why.msg[0] = '\0';
    }
    mutex_lock(&t->lock);
    tell = t->doubtful && !t->told;
    t->told = t->told || tell;
    if (distance(t->now_us, t->saved_us) >= SAVE_EVERY) {
        save_locked(t);
    }
    mutex_unlock(&t->lock);
    if (tell) {
        log_warn("time", "%s", why.msg);
    }
}

/* ---- open and close ---- */

bool
store_time_parse(const char *text, size_t text_len, struct store_time_kept *out)
{
    bool old = strncmp(text, FILE_HEAD_1 "\n", sizeof(FILE_HEAD_1)) == 0;
    char *end = NULL;
    size_t len;

    if (!old && (strncmp(text, FILE_HEAD "\n", sizeof(FILE_HEAD)) != 0 ||
                 !check_line_fits(text, text_len))) {
        return false;
    }
    text += sizeof(FILE_HEAD);
    errno = 0;
    out->now_us = strtoll(text, &end, 10);
    if (end == text || *end != '\n') {
        return false;
    }
    text = end + 1;
    out->boot_ns = strtoull(text, &end, 10);
    if (end == text || *end != '\n') {
        return false;
    }
    text = end + 1;
    len = strcspn(text, "\n");
    if (errno != 0 || len == 0 || len >= sizeof(out->boot_id)) {
        return false;
    }
    memcpy(out->boot_id, text, len);
    out->boot_id[len] = '\0';
    return out->now_us > 0;
}

/* False: there is none that can be used. */
static bool
load(const struct store_time *t, struct store_time_kept *out)
{
    struct varve_error err;
    uint8_t *bytes = NULL;
    size_t len = 0;
    bool ok = false;
    char text[FILE_MAX + 1];
    enum varve_err rc = fs_read_all(t->fs, t->path, FILE_MAX, &bytes, &len, &err);

    if (rc == VARVE_OK) {
        memcpy(text, bytes, len);
        text[len] = '\0';
        ok = store_time_parse(text, len, out);
    }
    free(bytes);
    if (!ok && rc != VARVE_ERR_NOT_FOUND) {
        log_warn("time",
                 "the file of the collector's own time is damaged, it goes on from the newest "
                 "point path='%s' reason=%s",
                 t->path, rc == VARVE_OK ? "its check or its text is wrong" : err.msg);
    }
    return ok;
}

enum varve_err
store_time_open(struct store_time **out, struct fs *fs, const char *path,
                const struct store_clocks *clocks, int64_t newest_us, struct varve_error *err)
{
    struct store_time *t = calloc(1, sizeof(*t));
    struct store_time_kept kept;
    int64_t wall;

    if (t == NULL) {
        return varve_error_nomem(err);
    }
    t->fs = fs;
    t->clocks = *clocks;
    mutex_init(&t->lock);
    t->path = strdup(path);
    if (t->path == NULL) {
        store_time_close(t);
        return varve_error_nomem(err);
    }
    clocks->boot_id(clocks->arg, t->boot_id);
    wall = clocks->wall_us(clocks->arg);
    if (!load(t, &kept)) {
        /* a new store believes the clock */
        kept = (struct store_time_kept){.now_us = newest_us > 0 ? newest_us : wall};
    }
    t->now_us = kept.now_us;
    t->boot_ns = kept.boot_ns;
    if (strcmp(kept.boot_id, t->boot_id) != 0) { /* rule 2 */
        if (wall >= t->now_us - STORE_TIME_NEAR && wall - t->now_us <= STORE_TIME_OFF) {
            t->now_us = wall > t->now_us ? wall : t->now_us;
        }
        t->boot_ns = clocks->boot_ns(clocks->arg);
    }
    mutex_lock(&t->lock);
    (void)advance_locked(t);
    save_locked(t);
    mutex_unlock(&t->lock);
    *out = t;
    return VARVE_OK;
}

void
store_time_close(struct store_time *t)
{
    if (t == NULL) {
        return;
    }
    if (t->path != NULL) {
        mutex_lock(&t->lock);
        if (t->saved_us != 0) {
            (void)advance_locked(t);
            save_locked(t);
        }
        mutex_unlock(&t->lock);
    }
    mutex_destroy(&t->lock);
    free(t->path);
    free(t);
}
