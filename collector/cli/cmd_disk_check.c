/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "vhdx/image_check.h"

struct check {
    const struct cli *cli;
    json_t *findings; /* --json */
};

static void
report_json(struct check *c, const struct image_finding *f)
{
    (void)json_array_append_new(
        c->findings, json_pack("{s:o,s:s,s:o,s:s,s:o}", "file", json_text(f->path), "structure",
                               f->structure, "offset", json_bytes(f->offset), "verdict",
                               image_verdict_name(f->weight), "text", json_text(f->text)));
}

/* "note: 'a.vhdx', header 2 at 131072: ..." */
static void
report(void *arg, const struct image_finding *f)
{
    struct check *c = arg;
    FILE *out = c->cli->env->out;

    if (c->cli->json) {
        report_json(c, f);
        return;
    }
    if (f->weight == IMAGE_CLEAN && c->cli->quiet) {
        return;
    }
    (void)fprintf(out, "%s: '", f->weight == IMAGE_CLEAN ? "note" : image_verdict_name(f->weight));
    print_text(out, f->path);
    (void)fprintf(out, "', %s at %" PRIu64 ": ", f->structure, f->offset);
    print_text(out, f->text);
    (void)fputc('\n', out);
}

static enum varve_exit
exit_of(enum image_verdict v)
{
    switch (v) {
    case IMAGE_CLEAN:
        return VARVE_EXIT_OK;
    case IMAGE_REPAIRABLE:
        return VARVE_EXIT_REPAIRABLE;
    case IMAGE_BROKEN:
        break;
    }
    return VARVE_EXIT_CORRUPT;
}

static enum varve_err
print_result(struct check *c, const struct image_check_result *r, struct varve_error *err)
{
    const struct cli *cli = c->cli;
    char unused[PRINT_SIZE_TEXT];
    char partly[48] = "";

    if (cli->json) {
        json_t *findings = c->findings;

        c->findings = NULL; /* the line takes it */
        return print_json_line(
            cli->env->out,
            json_pack("{s:o,s:s,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "file",
                      json_text(cli->args[0]), "verdict", image_verdict_name(r->verdict), "files",
                      json_bytes(r->files), "log_dirty", (int)r->log_replayed, "blocks",
                      json_bytes(r->blocks), "blocks_present", json_bytes(r->blocks_present),
                      "blocks_partial", json_bytes(r->blocks_partial), "blocks_zero",
                      json_bytes(r->blocks_zero), "unused_bytes", json_bytes(r->unused_bytes),
                      "finding_count", json_bytes(r->findings), "findings", findings),
            err);
    }
    print_text(cli->env->out, cli->args[0]);
    (void)fprintf(cli->env->out, ": %s", image_verdict_name(r->verdict));
    if (!cli->quiet && r->verdict != IMAGE_BROKEN) {
        print_size(cli, r->unused_bytes, unused);
        if (r->blocks_partial > 0) {
            (void)snprintf(partly, sizeof(partly), " (%" PRIu64 " of them partly)",
                           r->blocks_partial);
        }
        (void)fprintf(cli->env->out,
                      "; %u %s, %" PRIu64 " of %" PRIu64 " blocks in the file%s, %s unused",
                      r->files, r->files == 1 ? "file" : "files",
                      r->blocks_present + r->blocks_partial, r->blocks, partly, unused);
    }
    (void)fputc('\n', cli->env->out);
    return VARVE_OK;
}

/* A file whose name does not say VHDX or VHD may be a raw image, in which nothing can be wrong. */
static bool
is_raw(const struct cli *cli)
{
    struct varve_error ignored;
    struct image_info info = {.format = IMAGE_VHDX};
    struct image *img = NULL;

    if (image_open(&img, cli->env->fs, cli->args[0], IMAGE_ALLOW_RAW | IMAGE_NO_PARENT, &ignored) ==
        VARVE_OK) {
        image_get_info(img, &info);
        image_close(img);
    }
    return info.format == IMAGE_RAW;
}

enum varve_err
cmd_disk_check(struct cli *cli, struct varve_error *err)
{
    struct check c = {.cli = cli, .findings = json_array()};
    struct image_check_result result = {.verdict = IMAGE_BROKEN};
    unsigned flags = cli_value(cli, "--no-parents") != NULL ? IMAGE_NO_PARENT : 0u;
    enum varve_err rc;

    if (is_raw(cli)) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "'%s' is neither VHDX nor VHD: a raw image has no structure to check",
                             cli->args[0]);
    } else {
        rc = image_check(&result, cli->env->fs, cli->args[0], flags, report, &c, err);
    }
    if (rc == VARVE_OK) {
        rc = print_result(&c, &result, err);
    }
    if (rc == VARVE_OK) {
        cli_set_exit(cli, exit_of(result.verdict));
    }
    json_decref(c.findings);
    return rc;
}
