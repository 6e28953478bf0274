/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/restore_fetch.h"
#include "cli/restore_target.h"
#include "cli/session.h"
#include "os/path.h"

struct file_plan {
    char *name;
    uint64_t size;
    uint64_t data_bytes;
    json_t *json;
};

struct restore {
    struct cli *cli;
    struct session *session;
    struct progress progress;
    const char *to;
    uint32_t id;
    json_t *point;
    char *title; /* "point 3f2a91c4 of 'web'" */
    struct file_plan *files;
    size_t file_count;
    size_t file_at; /* being written */
    char **notes;
    size_t note_count;
    uint64_t data_bytes;
    uint64_t started;
};

static enum varve_err
parse_format(const char *text, Varve__V1__RestoreFormat *out, struct varve_error *err)
{
    static const struct {
        const char *name;
        Varve__V1__RestoreFormat format;
    } formats[] = {
        {"vhdx", VARVE__V1__RESTORE_FORMAT__RESTORE_VHDX},
        {"raw", VARVE__V1__RESTORE_FORMAT__RESTORE_RAW},
        {"chain", VARVE__V1__RESTORE_FORMAT__RESTORE_CHAIN},
        {"vhdx-fixed", VARVE__V1__RESTORE_FORMAT__RESTORE_VHDX_FIXED},
        {"vhd", VARVE__V1__RESTORE_FORMAT__RESTORE_VHD},
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strcmp(text == NULL ? "vhdx" : text, formats[i].name) == 0) {
            *out = formats[i].format;
            return VARVE_OK;
        }
    }
    return varve_error_set(
        err, VARVE_ERR_INVALID,
        "'%.64s' is not a format of --format: choose vhdx, vhdx-fixed, vhd, raw or chain", text);
}

/* ---- the plan, as the collector tells it ---- */

static enum varve_err
keep_point(struct restore *r, const Varve__V1__PointInfo *p, struct varve_error *err)
{
    char id[PRINT_ID_TEXT];
    char frozen[32];
    char *name = print_clean(p->vm_name);
    size_t size;

    r->point = json_point(p);
    size = name == NULL ? 0 : strlen(name) + 96;
    r->title = name == NULL ? NULL : malloc(size);
    if (r->title == NULL || r->point == NULL) {
        free(name);
        return varve_error_nomem(err);
    }
    print_short_id(&p->id, id);
    print_time(p->frozen_at_us, frozen);
    (void)snprintf(r->title, size, "point %s of '%s', frozen %s", id, name, frozen);
    free(name);
    return VARVE_OK;
}

static enum varve_err
keep_file(struct restore *r, const Varve__V1__RestoreFile *f, struct varve_error *err)
{
    struct file_plan *plan = &r->files[r->file_count];
    enum varve_err rc = target_check_name(f->name, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    if (f->size > INT64_MAX || f->data_bytes > f->size ||
        !checked_add_u64(r->data_bytes, f->data_bytes, &r->data_bytes)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "the collector plans %" PRIu64 " bytes with %" PRIu64
                               " of data for '%.64s'",
                               f->size, f->data_bytes, f->name);
    }
    memset(plan, 0, sizeof(*plan));
    plan->name = strdup(f->name);
    plan->size = f->size;
    plan->data_bytes = f->data_bytes;
    plan->json = json_pack("{s:o,s:o,s:o,s:o,s:o}", "name", json_text(f->name), "size",
                           json_bytes(f->size), "data_bytes", json_bytes(f->data_bytes), "disk_id",
                           json_id(&f->disk_id), "point_id", json_id(&f->point_id));
    r->file_count++;
    return plan->name == NULL || plan->json == NULL ? varve_error_nomem(err) : VARVE_OK;
}

static enum varve_err
keep_reply(struct restore *r, const Varve__V1__RestoreOpenReply *reply, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct file_plan *files;
    char **notes;

    if (r->file_count + reply->n_files > TARGET_FILES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "the restore has more than %u files",
                               TARGET_FILES_MAX);
    }
    files = realloc(r->files, (r->file_count + reply->n_files + 1) * sizeof(*files));
    if (files == NULL) {
        return varve_error_nomem(err);
    }
    r->files = files;
    notes = realloc(r->notes, (r->note_count + reply->n_notes + 1) * sizeof(*notes));
    if (notes == NULL) {
        return varve_error_nomem(err);
    }
    r->notes = notes;
    r->id = reply->restore;
    if (reply->point != NULL && r->point == NULL) {
        rc = keep_point(r, reply->point, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < reply->n_files; i++) {
        rc = keep_file(r, reply->files[i], err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < reply->n_notes; i++) {
        r->notes[r->note_count] = print_clean(reply->notes[i]);
        if (r->notes[r->note_count] == NULL) {
            return varve_error_nomem(err);
        }
        r->note_count++;
    }
    return rc;
}

static enum varve_err
open_restore(struct restore *r, Varve__V1__RestoreFormat format, const char *base,
             struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreOpen restore_open = VARVE__V1__RESTORE_OPEN__INIT;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc;

    restore_open.point = r->cli->args[0];
    restore_open.format = format;
    restore_open.base_point = (char *)(uintptr_t)(base == NULL ? "" : base); /* only read */
    request.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN;
    request.restore_open = &restore_open;
    rc = session_send(r->session, &request, &id, err);
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(r->session, id, VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN_REPLY, &in, err);
        if (rc == VARVE_OK) {
            more = in.head->more;
            rc = keep_reply(r, in.head->restore_open_reply, err);
            envelope_release(&in);
        }
    }
    if (rc == VARVE_OK && r->point == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector did not say which point");
    }
    return rc;
}

static enum varve_err
close_restore(struct restore *r, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreClose restore_close = VARVE__V1__RESTORE_CLOSE__INIT;
    struct envelope_in in;
    enum varve_err rc;

    restore_close.restore = r->id;
    request.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE;
    request.restore_close = &restore_close;
    rc =
        session_call(r->session, &request, VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE_REPLY, &in, err);
    if (rc == VARVE_OK) {
        envelope_release(&in);
    }
    return rc;
}

/* ---- writing ---- */

static void
on_progress(void *arg, uint64_t bytes)
{
    struct restore *r = arg;
    char done[PRINT_SIZE_TEXT];
    char all[PRINT_SIZE_TEXT];

    print_size(r->cli, bytes, done);
    print_size(r->cli, r->data_bytes, all);
    progress_draw(&r->progress, false, "restore: file %zu of %zu, %s of %s", r->file_at + 1,
                  r->file_count, done, all);
}

/* Too little space is better said before hours of writing than after. */
static enum varve_err
check_space(struct restore *r, struct varve_error *err)
{
    struct varve_error ignored;
    char need[PRINT_SIZE_TEXT];
    char have[PRINT_SIZE_TEXT];
    uint64_t space = 0;

    if (fs_free_bytes(r->cli->env->fs, r->to, &space, &ignored) != VARVE_OK ||
        space >= r->data_bytes) {
        return VARVE_OK;
    }
    print_size(r->cli, r->data_bytes, need);
    print_size(r->cli, space, have);
    return varve_error_set(err, VARVE_ERR_NOSPACE,
                           "the restore needs %s and '%s' has %s free: name a folder elsewhere",
                           need, r->to, have);
}

static enum varve_err
write_files(struct restore *r, struct target *target, struct varve_error *err)
{
    struct fetch *fetch = NULL;
    enum varve_err rc;

    rc = fetch_new(&fetch, r->session, r->id, target, on_progress, r, err);
    for (r->file_at = 0; rc == VARVE_OK && r->file_at < r->file_count; r->file_at++) {
        const struct file_plan *f = &r->files[r->file_at];

        rc = fetch_file(fetch, (uint32_t)r->file_at, f->name, f->size, err);
    }
    fetch_free(fetch);
    return rc;
}

static enum varve_err
write_target(struct restore *r, struct varve_error *err)
{
    struct target *target = NULL;
    size_t left = 0;
    enum varve_err rc;

    rc = target_new(&target, r->cli->env->fs, r->to, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (cli_value(r->cli, "--no-sync") != NULL) {
        target_no_sync(target);
    }
    rc = check_space(r, err);
    if (rc == VARVE_OK) {
        rc = write_files(r, target, err);
    }
    if (rc == VARVE_OK) {
        rc = close_restore(r, err);
    }
    if (rc == VARVE_OK) {
        rc = target_finish(target, err);
    }
    progress_clear(&r->progress);
    if (rc != VARVE_OK && cancel_is_set(&r->cli->env->interrupt->cancel)) {
        rc = varve_error_set(err, VARVE_ERR_CANCELLED, "interrupted");
    }
    target_free(target, &left);
    if (rc != VARVE_OK) {
        rc = left == 0
                 ? varve_error_prefix(err, "restore into '%s' failed, nothing is left of it", r->to)
                 : varve_error_prefix(err,
                                      "restore into '%s' failed and %zu things of it are "
                                      "left there: remove them",
                                      r->to, left);
    }
    return rc;
}

/* ---- saying it ---- */

static enum varve_err
report_json(struct restore *r, struct varve_error *err)
{
    json_t *files = json_array();
    json_t *notes = json_array();
    bool failed = false;

    for (size_t i = 0; i < r->file_count; i++) {
        failed |= json_array_append(files, r->files[i].json) != 0;
    }
    for (size_t i = 0; i < r->note_count; i++) {
        failed |= json_array_append_new(notes, json_text(r->notes[i])) != 0;
    }
    if (failed) {
        json_decref(files);
        json_decref(notes);
        return varve_error_nomem(err);
    }
    return print_json_line(r->cli->env->out,
                           json_pack("{s:o,s:O,s:o,s:o,s:o}", "directory", json_text(r->to),
                                     "point", r->point, "data_bytes", json_bytes(r->data_bytes),
                                     "files", files, "notes", notes),
                           err);
}

static enum varve_err
report(struct restore *r, struct varve_error *err)
{
    static const char *const headers[] = {"FILE", ">SIZE", ">DATA"};
    FILE *out = r->cli->env->out;
    struct print_table *t;
    char size[PRINT_SIZE_TEXT];
    char took[32];
    enum varve_err rc;

    t = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    for (size_t i = 0; i < r->file_count; i++) {
        print_table_cell(t, r->files[i].name);
        print_size(r->cli, r->files[i].size, size);
        print_table_cell(t, size);
        print_size(r->cli, r->files[i].data_bytes, size);
        print_table_cell(t, size);
    }
    rc = print_table_print(t, out, err);
    print_table_free(t);
    for (size_t i = 0; i < r->note_count; i++) {
        (void)fprintf(out, "note: %s\n", r->notes[i]);
    }
    print_size(r->cli, r->data_bytes, size);
    print_seconds((double)(time_mono_ns() - r->started) / 1e9, took);
    (void)fprintf(out, "%s: restored into '%s', %s of data in %s\n", r->title, r->to, size, took);
    return rc;
}

enum varve_err
cmd_restore(struct cli *cli, struct varve_error *err)
{
    const char *base = cli_value(cli, "--base");
    struct restore r = {.cli = cli, .to = cli->args[1], .started = time_mono_ns()};
    Varve__V1__RestoreFormat format = VARVE__V1__RESTORE_FORMAT__RESTORE_UNSPECIFIED;
    struct file_stat stat;
    enum varve_err rc;

    progress_init(&r.progress, cli);
    rc = parse_format(cli_value(cli, "--format"), &format, err);
    if (rc == VARVE_OK && base != NULL && format != VARVE__V1__RESTORE_FORMAT__RESTORE_CHAIN) {
        rc = varve_error_set(err, VARVE_ERR_INVALID, "--base belongs to --format chain");
    }
    if (rc == VARVE_OK && fs_stat(cli->env->fs, r.to, &stat, err) == VARVE_OK) {
        rc =
            varve_error_set(err, VARVE_ERR_EXISTS,
                            "'%s' exists: a restore makes its folder itself, name a new one", r.to);
    }
    if (rc == VARVE_OK) {
        rc = cli_session(cli, &r.session, err);
    }
    if (rc == VARVE_OK) {
        rc = open_restore(&r, format, base, err);
    }
    if (rc == VARVE_OK) {
        rc = write_target(&r, err);
    }
    if (rc == VARVE_OK && cli->json) {
        rc = report_json(&r, err);
    } else if (rc == VARVE_OK && !cli->quiet) {
        rc = report(&r, err);
    }
    for (size_t i = 0; i < r.file_count; i++) {
        free(r.files[i].name);
        json_decref(r.files[i].json);
    }
    for (size_t i = 0; i < r.note_count; i++) {
        free(r.notes[i]);
    }
    free(r.files);
    free(r.notes);
    free(r.title);
    json_decref(r.point);
    return rc;
}
