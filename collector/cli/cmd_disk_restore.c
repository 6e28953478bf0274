/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/restore_target.h"
#include "cli/secret_input.h"

/* "varve disk restore": points out of a store's directory, with no collector. */
struct stand_alone {
    struct cli *cli;
    struct progress progress;
    struct target *target;
    struct print_table *table; /* of files, or of points */
    json_t *files;
    char *title;
    uint64_t data_bytes;
    char **notes;
    size_t note_count;
};

static void
on_packs(void *arg, size_t packs, size_t total)
{
    struct stand_alone *r = arg;

    progress_draw(&r->progress, packs == total, "reading the store: %zu of %zu packs", packs,
                  total);
}

/* ---- list ---- */

static bool
list_one(void *arg, const struct offline_point *p)
{
    struct stand_alone *r = arg;
    struct varve_error ignored;
    char text[PRINT_SIZE_TEXT];

    if (r->cli->json) {
        json_t *o = json_pack("{s:s,s:o,s:o,s:o,s:o,s:i,s:o}", "id", p->id, "vm",
                              json_text(p->vm_name), "seq", json_bytes(p->seq), "host",
                              json_text(p->host_name), "frozen_at", json_time(p->frozen_at_us),
                              "disks", (int)p->disk_count, "size", json_bytes(p->size));

        return print_json_line(r->cli->env->out, o, &ignored) == VARVE_OK;
    }
    (void)snprintf(text, sizeof(text), "%.8s", p->id);
    print_table_cell(r->table, text);
    print_table_cell(r->table, p->vm_name);
    (void)snprintf(text, sizeof(text), "%" PRIu64, p->seq);
    print_table_cell(r->table, text);
    print_time(p->frozen_at_us, text);
    print_table_cell(r->table, text);
    (void)snprintf(text, sizeof(text), "%zu", p->disk_count);
    print_table_cell(r->table, text);
    print_size(r->cli, p->size, text);
    print_table_cell(r->table, text);
    print_table_cell(r->table, p->host_name);
    return true;
}

static enum varve_err
list(struct stand_alone *r, struct offline_store *store, struct varve_error *err)
{
    static const char *const headers[] = {"POINT",  "VM",    ">SEQ", "FROZEN",
                                          ">DISKS", ">SIZE", "HOST"};
    size_t damaged = 0;
    enum varve_err rc;

    r->table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    rc = offline_points(store, list_one, r, &damaged, err);
    if (rc == VARVE_OK && !r->cli->json) {
        rc = print_table_print(r->table, r->cli->env->out, err);
    }
    if (rc == VARVE_OK && damaged > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%zu points cannot be read: 'varve store scrub' names them", damaged);
    }
    return rc;
}

/* ---- restore ---- */

static enum varve_err
on_plan(void *arg, const struct offline_point *p, const struct offline_file *files, size_t count,
        const char *const *notes, size_t note_count, struct varve_error *err)
{
    static const char *const headers[] = {"FILE", ">SIZE", ">DATA"};
    struct stand_alone *r = arg;
    char *name = print_clean(p->vm_name);
    char frozen[32];
    size_t size = name == NULL ? 0 : strlen(name) + 96;

    r->title = size == 0 ? NULL : malloc(size);
    r->notes = calloc(note_count + 1, sizeof(*r->notes));
    r->files = json_array();
    r->table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    if (r->title == NULL || r->notes == NULL || r->files == NULL) {
        free(name);
        return varve_error_nomem(err);
    }
    print_time(p->frozen_at_us, frozen);
    (void)snprintf(r->title, size, "point %.8s of '%s', frozen %s", p->id, name, frozen);
    free(name);
    for (size_t i = 0; i < count; i++) {
        char text[PRINT_SIZE_TEXT];

        r->data_bytes += files[i].data_bytes;
        print_table_cell(r->table, files[i].name);
        print_size(r->cli, files[i].size, text);
        print_table_cell(r->table, text);
        print_size(r->cli, files[i].data_bytes, text);
        print_table_cell(r->table, text);
        (void)json_array_append_new(r->files,
                                    json_pack("{s:o,s:o,s:o}", "name", json_text(files[i].name),
                                              "size", json_bytes(files[i].size), "data_bytes",
                                              json_bytes(files[i].data_bytes)));
    }
    for (size_t i = 0; i < note_count; i++) {
        r->notes[r->note_count] = print_clean(notes[i]);
        r->note_count += r->notes[r->note_count] != NULL ? 1 : 0;
    }
    return VARVE_OK;
}

static enum varve_err
on_begin(void *arg, const struct offline_file *f, struct varve_error *err)
{
    struct stand_alone *r = arg;

    return target_begin_file(r->target, f->name, f->size, err);
}

static enum varve_err
on_write(void *arg, const void *buf, size_t len, uint64_t off, struct varve_error *err)
{
    struct stand_alone *r = arg;

    return target_write(r->target, buf, len, off, err);
}

static enum varve_err
on_finish(void *arg, struct varve_error *err)
{
    struct stand_alone *r = arg;

    return target_finish_file(r->target, err);
}

static void
on_bytes(void *arg, uint64_t bytes)
{
    struct stand_alone *r = arg;
    char done[PRINT_SIZE_TEXT];
    char all[PRINT_SIZE_TEXT];

    print_size(r->cli, bytes, done);
    print_size(r->cli, r->data_bytes, all);
    progress_draw(&r->progress, false, "restore: %s of %s", done, all);
}

static enum varve_err
report(struct stand_alone *r, uint64_t started, struct varve_error *err)
{
    FILE *out = r->cli->env->out;
    char size[PRINT_SIZE_TEXT];
    char took[32];
    enum varve_err rc;

    if (r->cli->json) {
        json_t *o = json_pack("{s:o,s:o,s:O}", "directory", json_text(r->cli->args[1]),
                              "data_bytes", json_bytes(r->data_bytes), "files", r->files);

        return print_json_line(out, o, err);
    }
    if (r->cli->quiet) {
        return VARVE_OK;
    }
    rc = print_table_print(r->table, out, err);
    for (size_t i = 0; i < r->note_count; i++) {
        (void)fprintf(out, "note: %s\n", r->notes[i]);
    }
    print_size(r->cli, r->data_bytes, size);
    print_seconds((double)(time_mono_ns() - started) / 1e9, took);
    (void)fprintf(out, "%s: restored into '%s', %s of data in %s\n", r->title, r->cli->args[1],
                  size, took);
    return rc;
}

static enum varve_err
restore(struct stand_alone *r, struct offline_store *store, struct varve_error *err)
{
    const struct offline_sink sink = {.arg = r,
                                      .plan = on_plan,
                                      .begin = on_begin,
                                      .write = on_write,
                                      .finish = on_finish,
                                      .progress = on_bytes};
    const char *format = cli_value(r->cli, "--format");
    uint64_t started = time_mono_ns();
    size_t left = 0;
    enum varve_err rc = target_new(&r->target, r->cli->env->fs, r->cli->args[1], err);

    if (rc == VARVE_OK && cli_value(r->cli, "--no-sync") != NULL) {
        target_no_sync(r->target);
    }
    if (rc == VARVE_OK) {
        rc = offline_restore(store, r->cli->args[0], format == NULL ? "vhdx" : format,
                             cli_value(r->cli, "--base"), &sink, &r->cli->env->interrupt->cancel,
                             err);
    }
    if (rc == VARVE_OK) {
        rc = target_finish(r->target, err);
    }
    progress_clear(&r->progress);
    target_free(r->target, &left);
    if (rc != VARVE_OK && left > 0) {
        rc = varve_error_prefix(err, "%zu things of the restore are left in '%s': remove them",
                                left, r->cli->args[1]);
    }
    return rc == VARVE_OK ? report(r, started, err) : rc;
}

enum varve_err
cmd_disk_restore(struct cli *cli, struct varve_error *err)
{
    struct stand_alone r = {.cli = cli};
    struct offline_options o = {.fs = cli->env->fs,
                                .folder = cli_value(cli, "--store"),
                                .temp = cli_value(cli, "--temp"),
                                .progress = on_packs,
                                .arg = &r};
    bool only_list = cli_value(cli, "--list") != NULL;
    struct offline_store *store = NULL;
    struct secret_input own;
    enum varve_err rc;

    if (o.folder == NULL || cli->arg_count != (only_list ? 0u : 2u)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "write: varve disk restore --store FOLDER --list, or --store FOLDER "
                               "POINT TO");
    }
    progress_init(&r.progress, cli);
    rc = secret_input_get(cli, "--", &own, err);
    if (rc == VARVE_OK) {
        o.secret = own.secret;
        rc = offline_store_open(&store, &o, err);
    }
    secret_input_wipe(&own);
    progress_clear(&r.progress);
    if (rc == VARVE_OK) {
        rc = only_list ? list(&r, store, err) : restore(&r, store, err);
    }
    offline_store_close(store);
    print_table_free(r.table);
    json_decref(r.files);
    for (size_t i = 0; i < r.note_count; i++) {
        free(r.notes[i]);
    }
    free(r.notes);
    free(r.title);
    return rc;
}
