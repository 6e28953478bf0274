/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/image_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/path.h"
#include "vhdx/check_internal.h"

const char *
image_verdict_name(enum image_verdict v)
{
    switch (v) {
    case IMAGE_CLEAN:
        return "clean";
    case IMAGE_REPAIRABLE:
        return "repairable";
    case IMAGE_BROKEN:
        break;
    }
    return "broken";
}

/* ---- findings ---- */

static void
tell(struct checker *c, const struct image_finding *f)
{
    if (c->report != NULL) {
        c->report(c->arg, f);
    }
}

/* Says how many findings were held back; at the end of a file. */
static void
settle(struct checker *c)
{
    char text[64];
    struct image_finding f = {c->path, c->structure, 0, c->held_weight, text};

    if (c->held_back > 0) {
        (void)snprintf(text, sizeof(text), "%llu more findings of this kind",
                       (unsigned long long)c->held_back);
        tell(c, &f);
    }
    c->structure = NULL;
    c->same = 0;
    c->held_back = 0;
    c->held_weight = IMAGE_CLEAN;
}

void
checker_find(struct checker *c, const char *structure, uint64_t offset, enum image_verdict weight,
             const char *fmt, ...)
{
    char text[240];
    struct image_finding f = {c->path, structure, offset, weight, text};
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    c->out.findings++;
    c->out.verdict = weight > c->out.verdict ? weight : c->out.verdict;
    if (c->structure == NULL || strcmp(c->structure, structure) != 0) {
        settle(c);
        c->structure = structure;
    }
    c->same++;
    if (c->same > IMAGE_CHECK_REPORTS) {
        c->held_back++;
        c->held_weight = weight > c->held_weight ? weight : c->held_weight;
        return;
    }
    tell(c, &f);
}

bool
checker_table_fault(void *arg, uint64_t offset, const struct varve_error *what)
{
    struct checker *c = arg;

    checker_find(c, c->table, offset, IMAGE_BROKEN, "%s", what->msg);
    return true;
}

/* What a file or a name is to blame for, not the machine. */
static bool
is_refusal(enum varve_err code)
{
    return code == VARVE_ERR_CORRUPT || code == VARVE_ERR_UNSUPPORTED || code == VARVE_ERR_LIMIT;
}

enum varve_err
checker_refusal(struct checker *c, const struct layer_step *step, const struct varve_error *err)
{
    if (!is_refusal(err->code)) {
        return err->code;
    }
    checker_find(c, step->structure, step->offset, IMAGE_BROKEN, "%s", err->msg);
    return VARVE_OK;
}

/* ---- files ---- */

static void
keep_counts(struct checker *c, const struct layer *l, const struct table_counts *counts)
{
    c->out.log_replayed = l != NULL && l->info.log_replayed;
    c->out.blocks = counts->blocks;
    c->out.blocks_present = counts->present;
    c->out.blocks_partial = counts->partial;
    c->out.blocks_zero = counts->zero;
    c->out.unused_bytes = counts->unused;
}

static enum varve_err
check_format(struct checker *c, struct layer **out, struct layer_file *f, unsigned flags,
             struct table_counts *counts, struct varve_error *err)
{
    static const struct layer_step start = {"file", 0};
    enum image_format format = IMAGE_RAW;
    enum varve_err rc = layer_file_format(&format, f, flags, err);

    if (rc != VARVE_OK) {
        return checker_refusal(c, &start, err);
    }
    switch (format) {
    case IMAGE_VHDX:
        return vhdx_check(c, out, f, counts, err);
    case IMAGE_VHD:
        return vhd_check(c, out, f, counts, err);
    case IMAGE_RAW:
        break;
    }
    rc = raw_layer_open(out, f, err);
    return rc == VARVE_OK ? rc : checker_refusal(c, &start, err);
}

/* One file; *out NULL: the chain ends here, because it is broken. */
static enum varve_err
check_file(struct checker *c, struct layer **out, struct fs *fs, const char *path, unsigned flags,
           struct varve_error *err)
{
    static const struct layer_step start = {"file", 0};
    struct table_counts counts = {0, 0, 0, 0, 0};
    struct varve_error ignored;
    struct layer_file f;
    struct file_stat st;
    enum varve_err rc;

    memset(&f, 0, sizeof(f));
    c->path = path;
    c->out.files++;
    rc = layer_file_open(&f, fs, path, err);
    if (rc == VARVE_ERR_NOT_FOUND && fs_stat(fs, path, &st, &ignored) == VARVE_OK) {
        err->code = VARVE_ERR_CORRUPT; /* a set whose backing file is gone */
    }
    if (rc != VARVE_OK) {
        rc = checker_refusal(c, &start, err);
        goto out;
    }
    if (f.in_set) {
        rc = vhd_set_check(c, fs, path, err);
        if (rc != VARVE_OK) {
            goto out;
        }
    }
    rc = check_format(c, out, &f, flags, &counts, err);
    if (*out != NULL) {
        (*out)->ops->set_cache(*out, 0);
    }
    if (c->out.files == 1) {
        keep_counts(c, *out, &counts);
    }
out:
    settle(c);
    layer_file_close(&f);
    return rc;
}

/* How well the child names its parent. */
static void
note_linkage(struct checker *c, const struct layer *child, const struct layer *parent,
             const struct parent_found *found)
{
    c->path = child->f.path;
    if (found->by_id_only) {
        checker_find(c, "parent locator", 0, IMAGE_REPAIRABLE,
                     "its paths lead nowhere; the parent was found by its id: '%s'", found->path);
    }
    if (found->id > 0) {
        checker_find(c, "parent locator", 0, IMAGE_CLEAN,
                     "the parent is known by parent_linkage2: a merge was under way");
    }
    if (child->parent.format == IMAGE_VHD && child->parent.timestamp != parent->timestamp) {
        checker_find(c, "dynamic header", 0, IMAGE_CLEAN,
                     "the parent's time stamp is another than when the child was made");
    }
}

static enum varve_err
check_parent(struct checker *c, struct layer **layers, unsigned *count, struct varve_error *err)
{
    static const struct layer_step chain = {"chain", 0};
    struct layer *child = layers[*count - 1];
    struct parent_found found = {NULL, false, 0};
    struct layer *parent = NULL;
    enum varve_err rc;

    c->path = child->f.path;
    rc = parent_find(&found, child, err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        checker_find(c, "chain", 0, IMAGE_BROKEN, "%s", err->msg);
        rc = VARVE_OK;
        goto out;
    }
    if (rc == VARVE_OK) {
        rc = check_file(c, &parent, child->f.fs, found.path, 0, err);
    }
    if (rc != VARVE_OK || parent == NULL) {
        goto out;
    }
    note_linkage(c, child, parent, &found);
    rc = parent_check(layers, *count, parent, err);
    if (rc == VARVE_OK) {
        layers[(*count)++] = parent;
        parent = NULL;
    }
out:
    if (rc != VARVE_OK) {
        c->path = child->f.path;
        rc = checker_refusal(c, &chain, err);
    }
    settle(c);
    layer_free(parent);
    free(found.path);
    return rc;
}

/* The judge: what is not called broken must open. */
static enum varve_err
try_to_open(struct checker *c, struct fs *fs, const char *path, unsigned flags,
            struct varve_error *err)
{
    static const struct layer_step whole = {"file", 0};
    struct image *img = NULL;
    enum varve_err rc = image_open(&img, fs, path, flags, err);

    image_close(img);
    c->path = path;
    return rc == VARVE_OK ? rc : checker_refusal(c, &whole, err);
}

enum varve_err
image_check(struct image_check_result *out, struct fs *fs, const char *path, unsigned flags,
            image_check_report report, void *arg, struct varve_error *err)
{
    struct layer **layers = calloc(IMAGE_CHAIN_MAX, sizeof(struct layer *));
    struct layer *leaf = NULL;
    struct checker c;
    unsigned count = 0;
    enum varve_err rc;

    memset(&c, 0, sizeof(c));
    c.report = report;
    c.arg = arg;
    if (layers == NULL) {
        return varve_error_nomem(err);
    }
    rc = check_file(&c, &leaf, fs, path, flags, err);
    if (leaf != NULL) {
        layers[count++] = leaf;
    }
    while (rc == VARVE_OK && count > 0 && (flags & IMAGE_NO_PARENT) == 0 &&
           layers[count - 1]->has_parent) {
        unsigned before = count;

        rc = check_parent(&c, layers, &count, err);
        if (count == before) {
            break;
        }
    }
    while (count > 0) {
        layer_free(layers[--count]);
    }
    free(layers);
    if (rc == VARVE_OK && c.out.verdict != IMAGE_BROKEN) {
        rc = try_to_open(&c, fs, path, flags, err);
        settle(&c);
    }
    if (rc == VARVE_OK) {
        *out = c.out;
    }
    return rc;
}
