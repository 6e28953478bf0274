/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/secret_input.h"

/* What is done to a store's directory: scrub, rebuild, repair. */

static enum varve_err
need(const struct cli *cli, const char *option, const char **out, struct varve_error *err)
{
    *out = cli_value(cli, option);
    return *out != NULL ? VARVE_OK
                        : varve_error_set(err, VARVE_ERR_INVALID,
                                          "%s must be given: this works on a directory", option);
}

struct talk {
    struct cli *cli;
    struct progress progress;
    const char *what;
};

static void
on_packs(void *arg, size_t packs, size_t total)
{
    struct talk *t = arg;

    progress_draw(&t->progress, packs == total, "%s: %zu of %zu packs", t->what, packs, total);
}

/* ---- scrub ---- */

static void
on_problem(void *arg, const char *object, const char *what)
{
    struct talk *t = arg;
    FILE *out = t->cli->env->out;
    struct varve_error ignored;

    progress_clear(&t->progress);
    if (t->cli->json) {
        json_t *o = json_pack("{s:{s:o,s:o}}", "problem", "object", json_text(object), "what",
                              json_text(what));

        (void)!print_json_line(out, o, &ignored);
        return;
    }
    print_text(out, object);
    (void)fputs(": ", out);
    print_text(out, what);
    (void)fputc('\n', out);
}

static void
on_scrub(void *arg, const struct offline_scrub_result *r, uint64_t total)
{
    struct talk *t = arg;
    char done[PRINT_SIZE_TEXT];
    char all[PRINT_SIZE_TEXT];

    print_size(t->cli, r->bytes, done);
    print_size(t->cli, total, all);
    progress_draw(&t->progress, false, "scrub: %s of %s, %" PRIu64 " problems", done, all,
                  r->problems);
}

/* "50MiB", "1G", "1000000". */
enum varve_err
cli_rate(const char *text, uint64_t *out, struct varve_error *err)
{
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    static const char units[] = "KMGT";
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);

    if (end == text || n == 0 || n > (UINT64_MAX >> 41) ||
        (*end != '\0' && (unit == NULL || (end[1] != '\0' && strcmp(end + 1, "iB") != 0)))) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.32s' is no rate: write bytes a second, such as 50MiB", text);
    }
    *out = (uint64_t)n << shift;
    return VARVE_OK;
}

enum varve_err
cmd_store_scrub(struct cli *cli, struct varve_error *err)
{
    struct talk talk = {.cli = cli, .what = "scrub"};
    struct offline_scrub_options o = {.fs = cli->env->fs,
                                      .cancel = &cli->env->interrupt->cancel,
                                      .arg = &talk,
                                      .problem = on_problem,
                                      .progress = on_scrub};
    const char *rate = cli_value(cli, "--rate");
    struct offline_scrub_result r;
    char size[PRINT_SIZE_TEXT];
    enum varve_err rc = need(cli, "--store", &o.folder, err);

    progress_init(&talk.progress, cli);
    if (rc == VARVE_OK && rate != NULL) {
        rc = cli_rate(rate, &o.bytes_per_second, err);
    }
    if (rc == VARVE_OK) {
        rc = offline_scrub(&o, &r, err);
    }
    progress_clear(&talk.progress);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (cli->json) {
        rc = print_json_line(cli->env->out,
                             json_pack("{s:o,s:o,s:o,s:o}", "objects", json_bytes(r.objects),
                                       "bytes", json_bytes(r.bytes), "records",
                                       json_bytes(r.records), "problems", json_bytes(r.problems)),
                             err);
    } else if (!cli->quiet) {
        print_size(cli, r.bytes, size);
        (void)fprintf(cli->env->out, "%" PRIu64 " objects, %s, %" PRIu64 " records whole\n",
                      r.objects, size, r.records);
    }
    if (rc == VARVE_OK && r.problems > 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%" PRIu64 " problems: 'varve verify' names the points, 'varve store "
                             "repair' takes what is damaged from another store",
                             r.problems);
    }
    return rc;
}

/* ---- rebuild ---- */

enum varve_err
cmd_store_rebuild(struct cli *cli, struct varve_error *err)
{
    struct talk talk = {.cli = cli, .what = "rebuild"};
    struct offline_options o = {.fs = cli->env->fs, .progress = on_packs, .arg = &talk};
    struct offline_rebuild_result r;
    struct secret_input own;
    const char *index = NULL;
    double rate;
    enum varve_err rc = need(cli, "--store", &o.folder, err);

    progress_init(&talk.progress, cli);
    if (rc == VARVE_OK) {
        rc = need(cli, "--index", &index, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = secret_input_get(cli, "--", &own, err);
    if (rc == VARVE_OK) {
        o.secret = own.secret;
        rc = offline_rebuild(&o, index, &r, err);
    }
    secret_input_wipe(&own);
    progress_clear(&talk.progress);
    if (rc != VARVE_OK) {
        return rc;
    }
    rate = r.seconds > 0 ? (double)r.records / r.seconds : 0;
    if (cli->json) {
        return print_json_line(cli->env->out,
                               json_pack("{s:o,s:o,s:o,s:o,s:o,s:f}", "packs", json_bytes(r.packs),
                                         "records", json_bytes(r.records), "points",
                                         json_bytes(r.points), "points_damaged",
                                         json_bytes(r.points_damaged), "damaged",
                                         json_bytes(r.damaged), "seconds", r.seconds),
                               err);
    }
    if (!cli->quiet) {
        (void)fprintf(cli->env->out,
                      "%" PRIu64 " records of %" PRIu64 " packs in %.1f s (%.0f records a second); "
                      "%" PRIu64 " points, %" PRIu64 " unreadable; %" PRIu64 " records known to be "
                      "damaged\n",
                      r.records, r.packs, r.seconds, rate, r.points, r.points_damaged, r.damaged);
    }
    return VARVE_OK;
}

/* ---- repair ---- */

static void
on_repair(void *arg, const struct offline_repair_result *r)
{
    struct talk *t = arg;

    progress_draw(&t->progress, false,
                  "repair: %" PRIu64 " points, %" PRIu64 " names read, %" PRIu64
                  " missing, %" PRIu64 " copied",
                  r->points, r->names, r->missing, r->copied);
}

static enum varve_err
tell_repair(struct cli *cli, const struct offline_repair_result *r, bool with_index,
            struct varve_error *err)
{
    if (cli->json) {
        return print_json_line(
            cli->env->out,
            json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "points", json_bytes(r->points), "names",
                      json_bytes(r->names), "missing", json_bytes(r->missing), "copied",
                      json_bytes(r->copied), "points_copied", json_bytes(r->points_copied),
                      "points_lost", json_bytes(r->points_lost), "nodes_copied",
                      json_bytes(r->nodes_copied), "nodes_unread", json_bytes(r->nodes_unread)),
            err);
    }
    if (cli->quiet) {
        return VARVE_OK;
    }
    (void)fprintf(cli->env->out,
                  "%" PRIu64 " points, %" PRIu64 " chunks and nodes read; %" PRIu64
                  " missing or damaged, %" PRIu64 " of them copied; %" PRIu64
                  " point objects copied\n",
                  r->points, r->names, r->missing, r->copied, r->points_copied);
    if (with_index) {
        (void)fprintf(cli->env->out,
                      "of deleted points: %" PRIu64 " nodes copied that counts wait for, %" PRIu64
                      " are in neither store\n",
                      r->nodes_copied, r->nodes_unread);
    }
    return VARVE_OK;
}

enum varve_err
cmd_store_repair(struct cli *cli, struct varve_error *err)
{
    struct talk talk = {.cli = cli, .what = "repair"};
    const struct offline_options base = {.fs = cli->env->fs, .progress = on_packs, .arg = &talk};
    struct offline_repair_options o = {
        .store = base, .from = base, .arg = &talk, .progress = on_repair};
    const char *from_key = cli_value(cli, "--from-key");
    struct offline_repair_result r;
    struct secret_input own;
    enum varve_err rc = need(cli, "--store", &o.store.folder, err);

    progress_init(&talk.progress, cli);
    if (rc == VARVE_OK) {
        rc = need(cli, "--from", &o.from.folder, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = secret_input_get(cli, "--", &own, err);
    if (rc == VARVE_OK) {
        o.index = cli_value(cli, "--index");
        o.store.secret = own.secret;
        o.from.secret = own.secret;
        if (from_key != NULL) {
            o.from.secret = (struct offline_secret){.kind = OFFLINE_KEY_FILE, .path = from_key};
        }
        rc = offline_repair(&o, &r, err);
    }
    secret_input_wipe(&own);
    progress_clear(&talk.progress);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = tell_repair(cli, &r, o.index != NULL, err);
    if (rc == VARVE_OK && (r.copied < r.missing || r.points_lost > 0)) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT,
                             "%" PRIu64 " chunks or nodes and %" PRIu64
                             " points are in neither store: 'varve verify' names what they hit",
                             r.missing - r.copied, r.points_lost);
    }
    return rc;
}
