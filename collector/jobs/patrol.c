/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/patrol.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "hash/check_line.h"
#include "jobs/damage_points.h"
#include "store/chunk_collect.h"

#define SAVE_NS     ((uint64_t)30 * 1000 * 1000 * 1000)
#define IDLE_MS     1000u
#define STATE_MAX   512u
#define FILE_MAGIC  "varve-patrol-2"
#define RATE_MIN    (1024u * 1024) /* a small store is done in an hour, not in a month */
#define HITS_LOGGED 20u
#define STRETCH     65536u /* objects that are listed at a time */

struct patrol {
    struct chunk_store *cs;
    struct catalog *catalog;
    struct ingest *ing;
    struct patrol_options options;
    char *path;
    struct cancel stop;
    struct thread thread;
    bool started;

    struct mutex lock; /* state */
    struct patrol_state state;

    char position[STORE_NAME_MAX + 1]; /* last object that was looked at in this pass */
    bool has_position;
    uint64_t saved_ns;   /* when it was written down, or the pass began */
    uint64_t bad_before; /* objects other than packs, found damaged in the last whole pass ... */
    uint64_t bad_now;    /* ... and in this one, under the lock */
    char first_bad[200];
    uint64_t seen_damage; /* chunk_store_damage_found() at the last walk */
};

/* ---- time ---- */

static uint64_t
mono_ns(const struct patrol *p)
{
    const struct patrol_clock *c = p->options.clock;

    return c == NULL ? time_mono_ns() : c->mono_ns(c->arg);
}

static int64_t
now_us(const struct patrol *p)
{
    const struct patrol_clock *c = p->options.clock;

    return c == NULL ? time_now_us() : c->now_us(c->arg);
}

/* True: it is to stop. */
static bool
sleep_ms(struct patrol *p, uint32_t ms)
{
    const struct patrol_clock *c = p->options.clock;

    if (c == NULL) {
        return cancel_wait(&p->stop, ms);
    }
    c->sleep_ms(c->arg, ms);
    return cancel_is_set(&p->stop);
}

/* ---- the file: FILE_MAGIC, two times, name of an object or "-", CRC-32C of the lines before; a line each ---- */

static void
save(struct patrol *p)
{
    struct varve_error err;
    char text[STATE_MAX];
    int len;

    if (p->path == NULL) {
        return;
    }
    len = snprintf(text, sizeof(text) - CHECK_LINE_SIZE - 1, "%s\n%" PRId64 "\n%" PRId64 "\n%s\n",
                   FILE_MAGIC, p->state.pass_began_us, p->state.last_finished_us,
                   p->has_position ? p->position : "-");
    if (fs_write_durable(p->options.fs, p->path, text, check_line_append(text, (size_t)len), false,
                         &err) != VARVE_OK) {
        log_warn("verify", "the position could not be kept reason=%s", err.msg);
    }
}

/* A number and the end of its line. */
static bool
take_number(const char **text, int64_t *out)
{
    char *end = NULL;

    *out = strtoll(*text, &end, 10);
    if (end == *text || *end != '\n') {
        return false;
    }
    *text = end + 1;
    return true;
}

/* Half of a position would be worse than none: what a pass has not looked at would wait for the next one. */
bool
patrol_position_parse(const char *text, size_t len, struct patrol_position *out)
{
    size_t name_len;

    if (strlen(text) != len || strncmp(text, FILE_MAGIC "\n", sizeof(FILE_MAGIC)) != 0 ||
        !check_line_fits(text, len)) {
        return false;
    }
    text += sizeof(FILE_MAGIC);
    if (!take_number(&text, &out->pass_began_us) || !take_number(&text, &out->last_finished_us)) {
        return false;
    }
    name_len = strcspn(text, "\n");
    if (name_len > STORE_NAME_MAX) {
        return false;
    }
    memcpy(out->name, text, name_len);
    out->name[name_len] = '\0';
    if (!store_name_valid(out->name)) { /* "-" */
        out->name[0] = '\0';
    }
    return true;
}

static void
parse_state(struct patrol *p, const char *text, size_t len)
{
    struct patrol_position at;

    if (patrol_position_parse(text, len, &at)) {
        p->state.pass_began_us = at.pass_began_us;
        p->state.last_finished_us = at.last_finished_us;
        memcpy(p->position, at.name, sizeof(at.name));
        p->has_position = at.name[0] != '\0';
    }
}

static void
load(struct patrol *p)
{
    char copy[STATE_MAX] = "";
    struct varve_error err;
    uint8_t *text = NULL;
    size_t len = 0;

    if (p->path == NULL ||
        fs_read_all(p->options.fs, p->path, STATE_MAX - 1, &text, &len, &err) != VARVE_OK) {
        return;
    }
    memcpy(copy, text, len);
    parse_state(p, copy, len);
    free(text);
}

/* ---- naming what is hit ---- */

struct naming {
    struct patrol *p;
    const struct point *last;
    uint64_t points;
    uint64_t hits;
    uint64_t disks;
    char first[200];
};

static bool
is_newest(struct patrol *p, const struct point *point)
{
    struct point *newest = NULL;
    bool same;

    catalog_latest(p->catalog, &point->vm, &newest);
    same = newest != NULL && newest->seq == point->seq;
    point_unref(newest);
    return same;
}

static void
on_hit(void *arg, const struct damage_hit *h)
{
    struct naming *n = arg;
    char text[sizeof(n->first)];
    char id[GUID_TEXT_SIZE];

    guid_format(&h->point->id, id);
    (void)snprintf(text, sizeof(text),
                   "point %.8s of '%.40s', disk '%.40s', %" PRIu64 " bytes at %" PRIu64, id,
                   h->point->vm_name, h->point->disks[h->disk].name, h->length, h->offset);
    if (n->hits == 0) {
        memcpy(n->first, text, sizeof(text));
    }
    if (n->hits < HITS_LOGGED) {
        log_error("verify", "not readable: %s", text);
    }
    n->hits++;
    n->points += n->last != h->point ? 1 : 0;
    n->last = h->point;
    if (n->p->ing != NULL && is_newest(n->p, h->point) &&
        ingest_want_full(n->p->ing, &h->point->vm, &h->point->disks[h->disk].id)) {
        n->disks++;
        log_warn("verify", "the next run reads all of disk '%s' of '%s' again",
                 h->point->disks[h->disk].name, h->point->vm_name);
    }
}

static enum varve_err
name_hits(struct patrol *p, struct varve_error *err)
{
    struct naming n = {.p = p};
    uint64_t found = 0;
    uint64_t damaged = 0;
    enum varve_err rc = damage_points(p->cs, p->catalog, on_hit, &n, &found, &p->stop, err);

    if (rc == VARVE_OK) {
        rc = chunk_store_count_damaged(p->cs, &damaged, err);
    }
    if (rc == VARVE_OK) {
        p->seen_damage = found; /* reading nodes may have found more: then the walk is made again */
        mutex_lock(&p->lock);
        p->state.damaged = damaged + (p->bad_now > p->bad_before ? p->bad_now : p->bad_before);
        p->state.points_hit = n.points;
        p->state.disks_waiting = p->ing == NULL ? 0 : ingest_count_full(p->ing);
        memcpy(p->state.first_hit, n.hits > 0 ? n.first : p->first_bad, sizeof(n.first));
        mutex_unlock(&p->lock);
    }
    return rc;
}

static void
follow_up(struct patrol *p)
{
    struct varve_error err;

    if (chunk_store_damage_found(p->cs) != p->seen_damage && name_hits(p, &err) != VARVE_OK &&
        err.code != VARVE_ERR_CANCELLED) {
        log_warn("verify", "the points that damage hits could not be found reason=%s", err.msg);
    }
}

/* ---- a pass ---- */

struct sitting {
    struct patrol *p;
    const struct patrol_objects *objects;
    size_t counted; /* objects whose bytes are in bytes_done */
};

/* Bytes a second that a pass is to take. */
static uint64_t
rate_of(const struct patrol *p, uint64_t total)
{
    uint64_t rate = p->options.age_ms == 0 ? 0 : total / (p->options.age_ms / 1000 * 4 / 5 + 1);

    rate = rate < RATE_MIN ? RATE_MIN : rate;
    if (p->options.bytes_per_second > 0 && rate > p->options.bytes_per_second) {
        rate = p->options.bytes_per_second; /* the operator's word counts before the target */
    }
    return rate;
}

static void
on_news(void *arg, size_t finished, uint64_t problems)
{
    struct sitting *s = arg;
    struct patrol *p = s->p;
    uint64_t bytes = 0;

    for (; s->counted < finished; s->counted++) {
        bytes += s->objects->list[s->counted].size;
        patrol_object_name(&s->objects->list[s->counted], p->position);
        p->has_position = true;
    }
    mutex_lock(&p->lock);
    p->state.bytes_done += bytes;
    p->state.problems += problems;
    mutex_unlock(&p->lock);
    follow_up(p);
    if (mono_ns(p) - p->saved_ns > SAVE_NS) {
        save(p);
        p->saved_ns = mono_ns(p);
    }
}

static void
on_damaged(void *arg, const char *name, const struct varve_error *why)
{
    struct sitting *s = arg;
    struct patrol *p = s->p;

    log_error("verify", "'%s' is damaged, no backup brings it again: %s", name, why->msg);
    mutex_lock(&p->lock);
    if (p->bad_now++ == 0) {
        (void)snprintf(p->first_bad, sizeof(p->first_bad), "object '%.100s': %.60s", name,
                       why->msg);
    }
    mutex_unlock(&p->lock);
}

static enum varve_err
list_stretch(struct patrol *p, struct patrol_objects *l, struct varve_error *err)
{
    enum varve_err rc =
        patrol_objects_list(l, p->cs, p->has_position ? p->position : "",
                            p->options.stretch > 0 ? p->options.stretch : STRETCH, err);

    if (rc == VARVE_OK) {
        mutex_lock(&p->lock);
        p->state.bytes_done = l->bytes_before;
        p->state.bytes_total = l->bytes;
        mutex_unlock(&p->lock);
    }
    return rc;
}

/* Reads a stretch of the objects, behind the position. */
static enum varve_err
read_stretch(struct patrol *p, struct patrol_objects *l, struct pace *pace, struct varve_error *err)
{
    struct sitting s = {.p = p, .objects = l};
    const struct patrol_objects_watch watch = {.arg = &s, .news = on_news, .damaged = on_damaged};

    return patrol_objects_check(l, p->cs, pace, &watch, p->options.clock, &p->stop, err);
}

/* Whatever it finds has told the store, which has the index built anew. */
static void
check_index(struct patrol *p)
{
    struct varve_error err;
    enum varve_err rc = index_check(chunk_store_index(p->cs), &p->stop, &err);

    if (rc == VARVE_ERR_CORRUPT) {
        log_error("verify", "the index is damaged: %s", err.msg);
        mutex_lock(&p->lock);
        p->state.problems++;
        mutex_unlock(&p->lock);
    } else if (rc != VARVE_OK && rc != VARVE_ERR_CANCELLED) {
        log_warn("verify", "the index could not be checked reason=%s", err.msg);
    }
}

/* As fast as it goes when hurry. */
static enum varve_err
pass(struct patrol *p, bool hurry, struct varve_error *err)
{
    struct patrol_objects l;
    struct pace pace = {.rate = 0};
    enum varve_err rc = list_stretch(p, &l, err);

    if (rc == VARVE_OK) {
        mutex_lock(&p->lock);
        if (!p->has_position) {
            p->state.pass_began_us = now_us(p);
            p->bad_now = 0;
            p->first_bad[0] = '\0';
        }
        p->state.running = true;
        p->state.problems = 0;
        mutex_unlock(&p->lock);
        if (!p->has_position) {
            check_index(p);
        }
        p->saved_ns = mono_ns(p);
        pace_start(&pace, rate_of(p, l.bytes), p->saved_ns);
        rc = read_stretch(p, &l, hurry ? NULL : &pace, err);
    }
    while (rc == VARVE_OK && l.more) {
        patrol_objects_release(&l);
        rc = list_stretch(p, &l, err);
        if (rc == VARVE_OK) {
            rc = read_stretch(p, &l, hurry ? NULL : &pace, err);
        }
    }
    if (rc == VARVE_OK) {
        p->bad_before = p->bad_now;
        rc = name_hits(p, err);
    }
    mutex_lock(&p->lock);
    p->state.running = false;
    if (rc == VARVE_OK) {
        p->has_position = false;
        p->state.last_finished_us = now_us(p);
    }
    mutex_unlock(&p->lock);
    save(p);
    patrol_objects_release(&l);
    return rc;
}

static bool
pass_is_due(struct patrol *p)
{
    int64_t wait_us = (int64_t)p->options.age_ms * 1000 * 4 / 5;

    /* A clock that was set back makes the next pass early, never late. */
    return p->options.age_ms > 0 &&
           (p->has_position || p->state.last_finished_us == 0 ||
            now_us(p) - p->state.pass_began_us >= wait_us || now_us(p) < p->state.pass_began_us);
}

static void
patrol_main(void *arg)
{
    struct patrol *p = arg;
    struct varve_error err;

    if (name_hits(p, &err) != VARVE_OK) {
        log_warn("verify", "looking for what is missing failed reason=%s", err.msg);
    }
    while (!sleep_ms(p, IDLE_MS)) {
        follow_up(p);
        if (pass_is_due(p) && pass(p, false, &err) != VARVE_OK && err.code != VARVE_ERR_CANCELLED) {
            log_warn("verify", "a pass over the store was cut off reason=%s", err.msg);
            (void)sleep_ms(p, 60 * IDLE_MS);
        }
    }
}

/* ---- open and close ---- */

static void
init(struct patrol *p, struct chunk_store *cs, struct catalog *catalog, struct ingest *ing)
{
    p->cs = cs;
    p->catalog = catalog;
    p->ing = ing;
    mutex_init(&p->lock);
    cancel_init(&p->stop);
}

enum varve_err
patrol_new(struct patrol **out, struct chunk_store *cs, struct catalog *catalog, struct ingest *ing,
           const struct patrol_options *options, struct varve_error *err)
{
    struct patrol *p = calloc(1, sizeof(*p));
    enum varve_err rc = VARVE_OK;

    if (p == NULL) {
        return varve_error_nomem(err);
    }
    init(p, cs, catalog, ing);
    p->options = *options;
    if (options->path != NULL) {
        p->path = strdup(options->path);
        rc = p->path == NULL ? varve_error_nomem(err) : VARVE_OK;
    }
    if (rc == VARVE_OK) {
        load(p);
        rc = thread_start(&p->thread, "patrol", patrol_main, p, err);
        p->started = rc == VARVE_OK;
    }
    if (rc != VARVE_OK) {
        patrol_free(p);
        return rc;
    }
    *out = p;
    return VARVE_OK;
}

void
patrol_free(struct patrol *p)
{
    if (p == NULL) {
        return;
    }
    if (p->started) {
        cancel_set(&p->stop);
        thread_join(&p->thread);
    }
    cancel_destroy(&p->stop);
    mutex_destroy(&p->lock);
    free(p->path);
    free(p);
}

void
patrol_state(struct patrol *p, struct patrol_state *out)
{
    mutex_lock(&p->lock);
    *out = p->state;
    mutex_unlock(&p->lock);
    out->disks_waiting = p->ing == NULL ? 0 : ingest_count_full(p->ing);
}

enum varve_err
patrol_pass(struct chunk_store *cs, struct catalog *catalog, struct ingest *ing,
            struct patrol_state *out, struct varve_error *err)
{
    struct patrol *p = calloc(1, sizeof(*p));
    enum varve_err rc;

    if (p == NULL) {
        return varve_error_nomem(err);
    }
    init(p, cs, catalog, ing);
    rc = pass(p, true, err);
    patrol_state(p, out);
    patrol_free(p);
    return rc;
}
