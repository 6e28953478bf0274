/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/absent/absent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct absent {
    struct capture base;
    struct varve_error why;
    char provider[128];
};

static void
absent_close(struct capture *c)
{
    free(c);
}

static enum varve_err
absent_list(struct capture *c, struct capture_inventory *out, struct varve_error *err)
{
    const struct absent *a = (const struct absent *)c;

    (void)err;
    memset(out, 0, sizeof(*out));
    (void)snprintf(out->provider, sizeof(out->provider), "%s", a->provider);
    notes_add(&out->notes, "no virtual machines: %s", a->why.msg);
    return VARVE_OK;
}

static enum varve_err
absent(struct capture *c, struct varve_error *err)
{
    *err = ((const struct absent *)c)->why;
    return err->code;
}

static enum varve_err
absent_marks(struct capture *c, const struct guid *vm, struct capture_marks *out,
             struct varve_error *err)
{
    (void)vm;
    (void)out;
    return absent(c, err);
}

static enum varve_err
absent_begin(struct capture *c, const struct guid *vm, const struct guid *run,
             struct cancel *cancel, struct capture_frozen *out, struct notes *notes,
             struct varve_error *err)
{
    (void)vm;
    (void)run;
    (void)cancel;
    (void)out;
    (void)notes;
    return absent(c, err);
}

static enum varve_err
absent_find(struct capture *c, const struct guid *vm, const struct guid *run,
            char checkpoint[CAPTURE_ID_MAX], struct varve_error *err)
{
    (void)vm;
    (void)run;
    (void)checkpoint;
    return absent(c, err);
}

static enum varve_err
absent_attach(struct capture *c, const struct guid *vm, const char *checkpoint,
              struct capture_frozen *out, struct varve_error *err)
{
    (void)vm;
    (void)checkpoint;
    (void)out;
    return absent(c, err);
}

static enum varve_err
absent_changes(struct capture *c, const struct capture_frozen *frozen, size_t disk,
               const char *since, uint64_t off, uint64_t len, struct extent_list *out,
               uint64_t *processed, struct varve_error *err)
{
    (void)frozen;
    (void)disk;
    (void)since;
    (void)off;
    (void)len;
    (void)out;
    (void)processed;
    return absent(c, err);
}

static enum varve_err
absent_check(struct capture *c, const struct capture_frozen *frozen, size_t disk,
             struct varve_error *err)
{
    (void)frozen;
    (void)disk;
    return absent(c, err);
}

static enum varve_err
absent_files(struct capture *c, const struct capture_frozen *frozen, struct capture_files *out,
             struct varve_error *err)
{
    (void)frozen;
    (void)out;
    return absent(c, err);
}

static enum varve_err
absent_keep(struct capture *c, const struct capture_frozen *frozen,
            const struct capture_marks *before, struct cancel *cancel, struct capture_kept *out,
            struct varve_error *err)
{
    (void)frozen;
    (void)before;
    (void)cancel;
    (void)out;
    return absent(c, err);
}

static enum varve_err
absent_find_kept(struct capture *c, const struct guid *vm, const char *checkpoint,
                 const struct capture_marks *before, char refpoint[CAPTURE_ID_MAX],
                 struct varve_error *err)
{
    (void)vm;
    (void)checkpoint;
    (void)before;
    (void)refpoint;
    return absent(c, err);
}

static enum varve_err
absent_drop(struct capture *c, const struct guid *vm, const char *refpoint, struct cancel *cancel,
            struct varve_error *err)
{
    (void)vm;
    (void)refpoint;
    (void)cancel;
    return absent(c, err);
}

static enum varve_err
absent_abort(struct capture *c, const struct guid *vm, const char *checkpoint,
             struct cancel *cancel, struct varve_error *err)
{
    (void)vm;
    (void)checkpoint;
    (void)cancel;
    return absent(c, err);
}

static enum varve_err
absent_wait_merged(struct capture *c, const struct guid *vm, uint32_t timeout_ms,
                   struct cancel *cancel, struct notes *notes, struct varve_error *err)
{
    (void)vm;
    (void)timeout_ms;
    (void)cancel;
    (void)notes;
    return absent(c, err);
}

static const struct capture_ops absent_ops = {
    .close = absent_close,
    .list = absent_list,
    .marks = absent_marks,
    .begin = absent_begin,
    .find = absent_find,
    .attach = absent_attach,
    .changes = absent_changes,
    .check = absent_check,
    .files = absent_files,
    .keep = absent_keep,
    .find_kept = absent_find_kept,
    .drop = absent_drop,
    .abort = absent_abort,
    .wait_merged = absent_wait_merged,
};

enum varve_err
capture_absent_open(struct capture **out, const char *provider, const struct varve_error *why,
                    struct varve_error *err)
{
    struct absent *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    a->base.ops = &absent_ops;
    a->base.name = "none";
    a->base.source = "none";
    a->base.tracks = true;
    a->why = *why;
    (void)snprintf(a->provider, sizeof(a->provider), "%s", provider);
    *out = &a->base;
    return VARVE_OK;
}
