/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/state_copier.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "os/thread.h"

#define LOOK_EVERY_MS 1000u

struct state_copier {
    struct state *st;
    struct chunk_store *cs;
    const struct identity *own;
    int64_t (*now_us)(void *arg);
    void *now_arg;
    struct cancel stop;
    struct thread thread;
    struct state_copier_look look; /* of the thread; after it has ended, of whoever frees */
    bool told;                     /* that copies fail */
};

bool
state_copier_is_due(const struct state_copier_look *l)
{
    uint64_t gone = l->tried ? l->now_ms - l->tried_ms : UINT64_MAX;

    if (!l->copied || l->have.vital != l->at.vital) {
        return gone >= STATE_COPIER_GAP_MS;
    }
    return l->have.all != l->at.all && gone >= STATE_COPIER_SLOW_MS;
}

/* A state file without a host, and copies of one that had some: it was lost or moved away, and nobody has thought of the copies. */
static void
tell_of_copies(struct state_copier *c)
{
    struct state_copy_id own;
    struct state_copy_id *list = NULL;
    struct varve_error ignored;
    size_t own_count = 0;
    size_t count = 0;

    state_copy_id_of(c->own, &own);
    if (state_copy_list(chunk_store_objects(c->cs), &list, &count, &ignored) != VARVE_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        own_count += memcmp(list[i].collector, own.collector, sizeof(own.collector)) == 0 ? 1 : 0;
    }
    if (own_count > 0) {
        log_warn(
            "state",
            "the state file has no hosts and the store has a copy of one that had some: 'varve "
            "store restore-state' brings it back; once hosts are enrolled it is replaced");
    }
    free(list);
}

static enum varve_err
copy_now(struct state_copier *c, struct varve_error *err)
{
    struct state_image image = {.bytes = NULL};
    char name[STORE_NAME_MAX + 1];
    struct state_copy_id id;
    struct state_copy copy;
    bool needed = false;
    enum varve_err rc = state_image(c->st, &image, err);

    if (rc == VARVE_OK) {
        needed = image.known > 0;
        if (!needed && !c->look.copied) {
            tell_of_copies(c);
        }
    }
    if (rc == VARVE_OK && needed) {
        copy = (struct state_copy){.made_at_us = c->now_us(c->now_arg),
                                   .identity = c->own,
                                   .db = image.bytes,
                                   .db_len = image.len};
        rc = state_copy_save(c->cs, &copy, &id, err);
    }
    if (rc == VARVE_OK && needed) {
        state_copy_name(&id, name);
        log_debug("state", "copied into the store object='%s' bytes=%zu", name, image.len);
    }
    if (rc == VARVE_OK) {
        c->look.copied = true;
        c->look.at = image.at;
    }
    if (rc != VARVE_OK || needed) {
        c->look.tried = true;
        c->look.tried_ms = c->look.now_ms;
    }
    state_image_release(&image);
    return rc;
}

static void
try_copy(struct state_copier *c)
{
    struct varve_error err;

    if (copy_now(c, &err) == VARVE_OK) {
        c->told = false;
    } else if (!c->told) {
        c->told = true;
        log_warn("state", "the store has no copy of the newest state: %s", err.msg);
    }
}

static void
look(struct state_copier *c)
{
    state_changes(c->st, &c->look.have);
    c->look.now_ms = time_mono_ns() / 1000000u;
}

static void
copier_loop(void *arg)
{
    struct state_copier *c = arg;

    while (!cancel_wait(&c->stop, LOOK_EVERY_MS)) {
        look(c);
        if (state_copier_is_due(&c->look)) {
            try_copy(c);
        }
    }
}

enum varve_err
state_copier_new(struct state_copier **out, struct state *st, struct chunk_store *cs,
                 const struct identity *own, int64_t (*now_us)(void *arg), void *now_arg,
                 struct varve_error *err)
{
    struct state_copier *c = calloc(1, sizeof(*c));
    enum varve_err rc;

    if (c == NULL) {
        return varve_error_nomem(err);
    }
    c->st = st;
    c->cs = cs;
    c->own = own;
    c->now_us = now_us;
    c->now_arg = now_arg;
    cancel_init(&c->stop);
    rc = thread_start(&c->thread, "state-copier", copier_loop, c, err);
    if (rc != VARVE_OK) {
        cancel_destroy(&c->stop);
        free(c);
        return rc;
    }
    *out = c;
    return VARVE_OK;
}

void
state_copier_free(struct state_copier *c)
{
    if (c == NULL) {
        return;
    }
    cancel_set(&c->stop);
    thread_join(&c->thread);
    look(c);
    if (!c->look.copied || c->look.have.all != c->look.at.all) {
        c->told = false; /* the last word counts */
        try_copy(c);
    }
    cancel_destroy(&c->stop);
    free(c);
}
