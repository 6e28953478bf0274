/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/choice/choice_internal.h"

/* ---- whose is it ---- */

const char *
choice_family(const struct choice *c, const char *id)
{
    size_t i;

    for (i = 0; i < c->count; i++) {
        const char *f = c->members[i].family;

        if (f[0] != '\0' && strncmp(id, f, strlen(f)) == 0) {
            return f;
        }
    }
    return "";
}

static bool
is_there(const struct choice *c, size_t i, const char *family)
{
    return c->members[i].capture != NULL && strcmp(c->members[i].family, family) == 0;
}

/* Who acts on an id: the vm's member when it understands it, else the first that does. */
static struct capture *
member_for(struct choice *c, const struct guid *vm, const char *id)
{
    const char *family = choice_family(c, id);
    struct choice_plan plan;
    size_t i;

    if (choice_get_plan(c, vm, &plan)) {
        for (i = 0; i < plan.count; i++) {
            if (is_there(c, plan.order[i], family)) {
                return c->members[plan.order[i]].capture;
            }
        }
    }
    for (i = 0; i < c->count; i++) {
        if (is_there(c, i, family)) {
            return c->members[i].capture;
        }
    }
    /* The host's own are known to whoever asks the host. */
    return family[0] == '\0' ? c->members[c->first].capture : NULL;
}

/* The first of its family: it speaks for all of them. */
static bool
speaks(const struct choice *c, size_t i)
{
    size_t k;

    if (c->members[i].capture == NULL) {
        return false;
    }
    for (k = 0; k < i; k++) {
        if (is_there(c, k, c->members[i].family)) {
            return false;
        }
    }
    return true;
}

static enum varve_err
nobody(struct choice *c, const char *id, struct varve_error *err)
{
    return varve_error_set(
        err, VARVE_ERR_UNSUPPORTED,
        "'%.60s' is of a method that cannot be had on this host now (ids of '%s')", id,
        choice_family(c, id));
}

/* ---- freezing ---- */

static enum varve_err
choice_marks(struct capture *base, const struct guid *vm, struct capture_marks *out,
             struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture_marks all = {0};
    size_t i;
    size_t k;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < c->count; i++) {
        struct capture *m = c->members[i].capture;
        struct capture_marks some = {0};

        if (!speaks(c, i)) {
            continue;
        }
        rc = m->ops->marks(m, vm, &some, err);
        for (k = 0; rc == VARVE_OK && k < some.count; k++) {
            rc = capture_marks_add(&all, some.ids[k], err);
        }
        capture_marks_release(&some);
    }
    if (rc != VARVE_OK) {
        capture_marks_release(&all);
        return rc;
    }
    *out = all;
    return VARVE_OK;
}

static void
is_frozen_by(struct capture_frozen *f, struct capture *m, const char *reason)
{
    size_t len = strlen(f->reason);

    f->member = m;
    f->way.settled = true;
    (void)snprintf(f->way.name, sizeof(f->way.name), "%s", m->name);
    (void)snprintf(f->way.reason, sizeof(f->way.reason), "%s", reason);
    if (reason[0] != '\0') {
        (void)snprintf(f->reason + len, sizeof(f->reason) - len, " (%s)", reason);
    }
}

/* What a member answers when its way is closed to this vm for good; all else may be over the next time. */
static bool
is_by_nature(enum varve_err rc)
{
    return rc == VARVE_ERR_UNSUPPORTED;
}

/* The plan without its first way, which was tried in vain and said what stands in notes from `first` on. */
static void
fall(struct choice *c, struct choice_plan *plan, const struct varve_error *why, struct notes *notes,
     size_t first)
{
    const char *from = c->members[plan->order[0]].name;
    const char *to = c->members[plan->order[1]].name;
    size_t len = strlen(plan->reason);

    (void)snprintf(plan->reason + len, sizeof(plan->reason) - len, "%snot %s: %s",
                   len > 0 ? "; " : "", from, why->msg);
    notes_mark_tried(notes, first, from);
    notes_insert(notes, first, "the vm cannot be frozen by %s, %s is tried: %s", from, to,
                 why->msg);
    log_warn("capture", "falling from %s to %s: %s", from, to, why->msg);
    plan->count--;
    memmove(plan->order, plan->order + 1, plan->count * sizeof(plan->order[0]));
}

static enum varve_err
choice_begin(struct capture *base, const struct guid *vm, const struct guid *run,
             struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
             struct varve_error *err)
{
    const struct capture_way none = {.name = ""};
    struct choice *c = (struct choice *)base;
    size_t start = notes->count;
    struct capture_way way;
    struct choice_plan plan;
    struct choice_plan made;
    struct capture *m;
    enum varve_err rc = VARVE_OK;

    if (!choice_get_plan(c, vm, &plan)) {
        rc = choice_choose(base, vm, run, &none, &way, notes, err);
        if (rc != VARVE_OK || !choice_get_plan(c, vm, &plan)) {
            return rc;
        }
    }
    made = plan;
    for (;;) {
        size_t first = notes->count;

        m = c->members[plan.order[0]].capture;
        rc = m->ops->begin(m, vm, run, cancel, out, notes, err);
        if (rc == VARVE_OK || !is_by_nature(rc) || plan.count == 1) {
            break;
        }
        fall(c, &plan, err, notes, first);
    }
    if (!made.ordered && made.reason[0] != '\0') {
        notes_insert(notes, start, "the vm is frozen by %s, %s", m->name, made.reason);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    is_frozen_by(out, m, plan.reason);
    plan.count = 1;
    rc = choice_put_plan(c, vm, run, &plan, err);
    if (rc != VARVE_OK) {
        struct varve_error why;

        if (m->ops->abort(m, vm, out->checkpoint, NULL, &why) != VARVE_OK) {
            log_warn("capture", "%s", why.msg);
        }
        capture_frozen_release(out);
    }
    return rc;
}

/* Of the first way that needs one, so that it is there when a run falls to that. */
static enum varve_err
choice_note(struct capture *base, const struct guid *vm, struct capture_note *out,
            struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct choice_plan plan;
    size_t i;

    memset(out, 0, sizeof(*out));
    if (choice_get_plan(c, vm, &plan)) {
        for (i = 0; i < plan.count; i++) {
            struct capture *m = c->members[plan.order[i]].capture;

            if (m->ops->note != NULL) {
                return m->ops->note(m, vm, out, err);
            }
        }
    }
    return VARVE_OK;
}

static enum varve_err
choice_adopt(struct capture *base, const struct guid *run, const struct capture_note *note,
             struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < c->count; i++) {
        struct capture *m = c->members[i].capture;

        if (m != NULL && m->ops->adopt != NULL && (note == NULL || speaks(c, i))) {
            rc = m->ops->adopt(m, run, note, err);
        }
    }
    if (note == NULL) {
        choice_forget(c, run);
    }
    return rc;
}

static enum varve_err
choice_find(struct capture *base, const struct guid *vm, const struct guid *run,
            char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    size_t i;
    enum varve_err rc = VARVE_ERR_NOT_FOUND;

    for (i = 0; rc == VARVE_ERR_NOT_FOUND && i < c->count; i++) {
        struct capture *m = c->members[i].capture;

        if (speaks(c, i)) {
            rc = m->ops->find(m, vm, run, checkpoint, err);
        }
    }
    return rc;
}

static enum varve_err
choice_attach(struct capture *base, const struct guid *vm, const char *checkpoint,
              struct capture_frozen *out, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *m = member_for(c, vm, checkpoint);
    struct choice_plan plan;
    enum varve_err rc =
        m != NULL ? m->ops->attach(m, vm, checkpoint, out, err) : nobody(c, checkpoint, err);

    if (rc == VARVE_OK) {
        is_frozen_by(out, m, choice_get_plan(c, vm, &plan) ? plan.reason : "");
    }
    return rc;
}

/* ---- reading ---- */

static const struct choice_member *
member_of(const struct choice *c, const struct capture_frozen *frozen)
{
    size_t i;

    for (i = 0; i < c->count; i++) {
        if (c->members[i].capture == frozen->member) {
            return &c->members[i];
        }
    }
    return NULL;
}

/* VARVE_ERR_STALE: since was given by a way that this moment's knows nothing of. */
static enum varve_err
check_since(const struct choice *c, const struct capture_frozen *frozen, const char *since,
            struct varve_error *err)
{
    const struct choice_member *m = member_of(c, frozen);
    const char *family = choice_family(c, since);

    if (since[0] == '\0' || (m != NULL && strcmp(m->family, family) == 0)) {
        return VARVE_OK;
    }
    return varve_error_set(err, VARVE_ERR_STALE,
                           "the last point was made in another way than by %s",
                           m != NULL ? m->name : "this");
}

static enum varve_err
choice_prepare(struct capture *base, const struct capture_frozen *frozen, const char *const *since,
               uint32_t chunk_size, struct cancel *cancel, struct notes *notes,
               struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *m = frozen->member;
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (m->ops->prepare == NULL) {
        return VARVE_OK; /* each disk is asked about by itself */
    }
    for (i = 0; rc == VARVE_OK && i < frozen->disk_count; i++) {
        rc = check_since(c, frozen, since[i], err);
    }
    return rc == VARVE_OK ? m->ops->prepare(m, frozen, since, chunk_size, cancel, notes, err) : rc;
}

static enum varve_err
choice_changes(struct capture *base, const struct capture_frozen *frozen, size_t disk,
               const char *since, uint64_t off, uint64_t len, struct extent_list *out,
               uint64_t *processed, struct varve_error *err)
{
    struct capture *m = frozen->member;
    enum varve_err rc = check_since((struct choice *)base, frozen, since, err);

    return rc == VARVE_OK || m->ops->names != NULL
               ? m->ops->changes(m, frozen, disk, since, off, len, out, processed, err)
               : rc;
}

static enum varve_err
choice_names(struct capture *base, const struct capture_frozen *frozen, size_t disk,
             uint32_t chunk_size, const char *since, struct names **known, struct names **fresh,
             struct varve_error *err)
{
    struct capture *m = frozen->member;
    enum varve_err rc =
        m->ops->names != NULL
            ? check_since((struct choice *)base, frozen, since, err)
            : varve_error_set(err, VARVE_ERR_UNSUPPORTED, "%s tells changes itself", m->name);

    return rc == VARVE_OK ? m->ops->names(m, frozen, disk, chunk_size, since, known, fresh, err)
                          : rc;
}

static enum varve_err
choice_check(struct capture *base, const struct capture_frozen *frozen, size_t disk,
             struct varve_error *err)
{
    (void)base;
    return frozen->member->ops->check(frozen->member, frozen, disk, err);
}

static enum varve_err
choice_files(struct capture *base, const struct capture_frozen *frozen, struct capture_files *out,
             struct varve_error *err)
{
    (void)base;
    return frozen->member->ops->files(frozen->member, frozen, out, err);
}

/* ---- keeping and letting go ---- */

static enum varve_err
choice_keep(struct capture *base, const struct capture_frozen *frozen,
            const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
            struct varve_error *err)
{
    (void)base;
    return frozen->member->ops->keep(frozen->member, frozen, before, cancel, out, err);
}

static enum varve_err
choice_find_kept(struct capture *base, const struct guid *vm, const char *checkpoint,
                 const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                 struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *m = member_for(c, vm, checkpoint);

    return m != NULL ? m->ops->find_kept(m, vm, checkpoint, before, refpoint, err)
                     : nobody(c, checkpoint, err);
}

static enum varve_err
choice_drop(struct capture *base, const struct guid *vm, const char *refpoint,
            struct cancel *cancel, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *m = member_for(c, vm, refpoint);

    return m != NULL ? m->ops->drop(m, vm, refpoint, cancel, err) : nobody(c, refpoint, err);
}

static enum varve_err
choice_abort(struct capture *base, const struct guid *vm, const char *checkpoint,
             struct cancel *cancel, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *m = member_for(c, vm, checkpoint);

    return m != NULL ? m->ops->abort(m, vm, checkpoint, cancel, err) : nobody(c, checkpoint, err);
}

static enum varve_err
choice_sweep(struct capture *base, const struct guid *vm,
             bool (*known)(void *arg, const struct guid *run), void *arg, struct cancel *cancel,
             struct notes *notes, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < c->count; i++) {
        struct capture *m = c->members[i].capture;

        if (speaks(c, i) && m->ops->sweep != NULL) {
            rc = m->ops->sweep(m, vm, known, arg, cancel, notes, err);
        }
    }
    return rc;
}

/* What any way has left to merge: the old one's reference point goes at the end of a new one's run. */
static enum varve_err
choice_wait_merged(struct capture *base, const struct guid *vm, uint32_t timeout_ms,
                   struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    size_t i;
    enum varve_err rc = VARVE_OK;

    for (i = 0; rc == VARVE_OK && i < c->count; i++) {
        struct capture *m = c->members[i].capture;

        if (speaks(c, i)) {
            rc = m->ops->wait_merged(m, vm, timeout_ms, cancel, notes, err);
        }
    }
    return rc;
}

const struct capture_ops choice_ops = {
    .close = choice_close,
    .list = choice_list,
    .describe = choice_describe,
    .choose = choice_choose,
    .marks = choice_marks,
    .begin = choice_begin,
    .note = choice_note,
    .adopt = choice_adopt,
    .find = choice_find,
    .attach = choice_attach,
    .prepare = choice_prepare,
    .changes = choice_changes,
    .names = choice_names,
    .check = choice_check,
    .files = choice_files,
    .keep = choice_keep,
    .find_kept = choice_find_kept,
    .drop = choice_drop,
    .abort = choice_abort,
    .sweep = choice_sweep,
    .wait_merged = choice_wait_merged,
};
