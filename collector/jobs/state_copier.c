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

/* *needed false: there is nothing that a copy would bring back, and none in the store that another one would replace. */
static enum varve_err
copy_needed(struct state_copier *c, const struct state_image *image, bool *needed,
            struct varve_error *err)
{
    struct state_copy_id own;
    struct state_copy_id *list = NULL;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    *needed = image->hosts > 0;
    if (*needed) {
        return VARVE_OK;
    }
    state_copy_id_of(c->own, &own);
    rc = state_copy_list(chunk_store_objects(c->cs), &list, &count, err);
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        *needed = *needed || memcmp(list[i].collector, own.collector, sizeof(own.collector)) == 0;
    }
    free(list);
    return rc;
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
        rc = copy_needed(c, &image, &needed, err);
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
