/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture_fault.h"

#include <stdlib.h>
#include <string.h>

struct capture_fault {
    struct capture base;
    struct capture *inner;
    struct mutex lock; /* left */
    unsigned left;
    enum capture_fault_mode mode;
    bool *dead; /* NULL: only the one call fails */
};

enum verdict { VERDICT_PASS, VERDICT_REFUSE, VERDICT_SPOIL };

static enum verdict
fault_verdict(struct capture_fault *f, bool counted)
{
    enum verdict v = VERDICT_PASS;

    mutex_lock(&f->lock);
    if (f->dead != NULL && *f->dead) {
        v = VERDICT_REFUSE;
    } else if (counted && f->left > 0) {
        f->left--;
        if (f->left == 0) {
            if (f->dead != NULL) {
                *f->dead = true;
            }
            v = f->mode == CAPTURE_FAULT_BEFORE ? VERDICT_REFUSE : VERDICT_SPOIL;
        }
    }
    mutex_unlock(&f->lock);
    return v;
}

static enum varve_err
fault_error(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_IO, "the host was made to fail");
}

static struct capture_fault *
fault_of(struct capture *c)
{
    return (struct capture_fault *)c;
}

#define INNER(c) (fault_of(c)->inner)

static void
fault_close(struct capture *c)
{
    capture_close(INNER(c));
    mutex_destroy(&fault_of(c)->lock);
    free(c);
}

static enum varve_err
fault_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->list(INNER(c), out, err);
}

static enum varve_err
fault_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
            struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->marks(INNER(c), vm, out, err);
}

static enum varve_err
fault_begin(struct capture *c, const struct guid *vm, const struct guid *run, struct cancel *cancel,
            struct capture_frozen *out, struct notes *notes, struct varve_error *err)
{
    enum verdict v = fault_verdict(fault_of(c), true);
    enum varve_err rc;

    if (v == VERDICT_REFUSE) {
        return fault_error(err);
    }
    rc = INNER(c)->ops->begin(INNER(c), vm, run, cancel, out, notes, err);
    if (rc == VARVE_OK && v == VERDICT_SPOIL) {
        capture_frozen_release(out);
        return fault_error(err);
    }
    return rc;
}

static enum varve_err
fault_note(struct capture *c, const struct guid *vm, struct capture_note *out,
           struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    memset(out, 0, sizeof(*out));
    return INNER(c)->ops->note != NULL ? INNER(c)->ops->note(INNER(c), vm, out, err) : VARVE_OK;
}

static enum varve_err
fault_adopt(struct capture *c, const struct guid *run, const struct capture_note *note,
            struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->adopt != NULL ? INNER(c)->ops->adopt(INNER(c), run, note, err) : VARVE_OK;
}

static enum varve_err
fault_find(struct capture *c, const struct guid *vm, const struct guid *run,
           char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->find(INNER(c), vm, run, checkpoint, err);
}

static enum varve_err
fault_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
             struct capture_frozen *out, struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->attach(INNER(c), vm, checkpoint, out, err);
}

static enum varve_err
fault_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
              const char *since, uint64_t off, uint64_t len, struct extent_list *out,
              uint64_t *processed, struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->changes(INNER(c), frozen, disk, since, off, len, out, processed, err);
}

static enum varve_err
fault_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
            struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->check(INNER(c), frozen, disk, err);
}

static enum varve_err
fault_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
            struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->files(INNER(c), frozen, out, err);
}

static enum varve_err
fault_keep(struct capture *c, const struct capture_frozen *frozen,
           const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
           struct varve_error *err)
{
    enum verdict v = fault_verdict(fault_of(c), true);
    enum varve_err rc;

    if (v == VERDICT_REFUSE) {
        return fault_error(err);
    }
    rc = INNER(c)->ops->keep(INNER(c), frozen, before, cancel, out, err);
    if (rc == VARVE_OK && v == VERDICT_SPOIL) {
        capture_kept_release(out);
        return fault_error(err);
    }
    return rc;
}

static enum varve_err
fault_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
                const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->find_kept(INNER(c), vm, checkpoint, before, refpoint, err);
}

static enum varve_err
fault_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
           struct varve_error *err)
{
    enum verdict v = fault_verdict(fault_of(c), true);
    enum varve_err rc;

    if (v == VERDICT_REFUSE) {
        return fault_error(err);
    }
    rc = INNER(c)->ops->drop(INNER(c), vm, refpoint, cancel, err);
    return rc == VARVE_OK && v == VERDICT_SPOIL ? fault_error(err) : rc;
}

static enum varve_err
fault_abort(struct capture *c, const struct guid *vm, const char *checkpoint, struct cancel *cancel,
            struct varve_error *err)
{
    enum verdict v = fault_verdict(fault_of(c), true);
    enum varve_err rc;

    if (v == VERDICT_REFUSE) {
        return fault_error(err);
    }
    rc = INNER(c)->ops->abort(INNER(c), vm, checkpoint, cancel, err);
    return rc == VARVE_OK && v == VERDICT_SPOIL ? fault_error(err) : rc;
}

static enum varve_err
fault_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                  struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->wait_merged(INNER(c), vm, timeout_ms, cancel, notes, err);
}

static enum varve_err
fault_sweep(struct capture *c, const struct guid *vm,
            bool (*known)(void *arg, const struct guid *run), void *arg, struct cancel *cancel,
            struct notes *notes, struct varve_error *err)
{
    if (fault_verdict(fault_of(c), false) != VERDICT_PASS) {
        return fault_error(err);
    }
    return INNER(c)->ops->sweep != NULL
               ? INNER(c)->ops->sweep(INNER(c), vm, known, arg, cancel, notes, err)
               : VARVE_OK;
}

static const struct capture_ops fault_ops = {
    .close = fault_close,
    .list = fault_list,
    .marks = fault_marks,
    .begin = fault_begin,
    .note = fault_note,
    .adopt = fault_adopt,
    .find = fault_find,
    .attach = fault_attach,
    .changes = fault_changes,
    .check = fault_check,
    .files = fault_files,
    .keep = fault_keep,
    .find_kept = fault_find_kept,
    .drop = fault_drop,
    .abort = fault_abort,
    .sweep = fault_sweep,
    .wait_merged = fault_wait_merged,
};

enum varve_err
capture_fault_new(struct capture **out, struct capture *inner, unsigned nth,
                  enum capture_fault_mode mode, bool *dead, struct varve_error *err)
{
    struct capture_fault *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        capture_close(inner);
        return varve_error_nomem(err);
    }
    f->base = *inner; /* its name and abilities */
    f->base.ops = &fault_ops;
    f->inner = inner;
    f->left = nth;
    f->mode = mode;
    f->dead = dead;
    mutex_init(&f->lock);
    *out = &f->base;
    return VARVE_OK;
}
