/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/stream_out.h"
#include "crypto/identity.h"
#include "vhdx/disk_writer.h"
#include "vhdx/image_copy.h"

#define PHYSICAL_DEFAULT 4096u /* what Windows gives a new VHDX */
#define MIB              (1024u * 1024)

struct convert {
    struct cli *cli;
    const char *from;
    const char *to;
    struct image *src;
    struct image_info info;
    struct disk_params params;
    struct progress progress;
    uint64_t started;
    uint64_t file_size;
};

static void
random_guid(struct guid *out)
{
    uint8_t random[16];

    crypto_random(random, sizeof(random));
    guid_from_random(out, random);
}

static enum varve_err
parse_format(const char *text, enum disk_format *out, struct varve_error *err)
{
    if (text == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "--to is missing: choose raw, vhd, vhd-fixed, vhdx or vhdx-fixed");
    }
    if (!disk_format_parse(out, text)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "'%.64s' is not a format of --to: choose raw, vhd, vhd-fixed, vhdx or "
            "vhdx-fixed",
            text);
    }
    return VARVE_OK;
}

/* "2M": whole MiB; vhdx_plan.h knows which are allowed. */
static enum varve_err
parse_block_size(const char *text, enum disk_format format, uint32_t *out, struct varve_error *err)
{
    char *end = NULL;
    unsigned long n;

    if (format != DISK_VHDX && format != DISK_VHDX_FIXED) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "--block-size belongs to vhdx and vhdx-fixed");
    }
    n = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (n == 0 || n > 256 || (n & (n - 1)) != 0 || strcmp(end, "M") != 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.64s' is not a --block-size: write 1M, 2M, 4M, ... or 256M",
                               text);
    }
    *out = (uint32_t)n * MIB;
    return VARVE_OK;
}

/* The one of the base, when there is a chain: children have small ones for reasons of their own. */
static uint32_t
block_size_of_source(const struct convert *c)
{
    struct image_info base;

    (void)image_get_file(c->src, c->info.chain_length - 1, &base);
    return base.format == IMAGE_VHDX ? base.block_size : 0;
}

static enum varve_err
choose_params(struct convert *c, struct varve_error *err)
{
    struct vhdx_params *d = &c->params.disk;
    const char *block_size = cli_value(c->cli, "--block-size");

    d->virtual_size = c->info.virtual_size;
    d->logical_sector = c->info.logical_sector;
    d->physical_sector = c->info.format == IMAGE_VHDX ? c->info.physical_sector : PHYSICAL_DEFAULT;
    d->disk_id = c->info.disk_id;
    if (guid_is_zero(&d->disk_id) || cli_value(c->cli, "--new-id") != NULL) {
        random_guid(&d->disk_id);
    }
    random_guid(&d->data_write_guid);
    random_guid(&d->file_write_guid);
    c->params.created_us = time_now_us();
    if (block_size != NULL) {
        return parse_block_size(block_size, c->params.format, &d->block_size, err);
    }
    d->block_size = block_size_of_source(c);
    return VARVE_OK;
}

static void
on_progress(void *arg, uint64_t done, uint64_t all)
{
    struct convert *c = arg;
    char part[PRINT_SIZE_TEXT];
    char whole[PRINT_SIZE_TEXT];

    print_size(c->cli, done, part);
    print_size(c->cli, all, whole);
    progress_draw(&c->progress, false, "convert: %u %%, %s of %s",
                  (unsigned)((double)done * 100 / (double)all), part, whole);
}

static enum varve_err
sink(void *arg, const void *buf, size_t len, struct varve_error *err)
{
    return stream_out_write(arg, buf, len, err);
}

static enum varve_err
convert_to_stdout(struct convert *c, const struct image_copy_options *options,
                  struct varve_error *err)
{
    struct stream_out out;
    enum varve_err rc;

    if (cli_value(c->cli, "--sparse") != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "--sparse needs a file: standard output has no holes");
    }
    rc = stream_out_open(&out, c->cli->env->out, &c->cli->env->interrupt->cancel, err);
    if (rc == VARVE_OK) {
        rc = image_copy_to_stream(c->src, &c->params, sink, &out, options, err);
        stream_out_close(&out);
    }
    return rc;
}

static enum varve_err
convert_to_file(struct convert *c, const struct image_copy_options *options,
                struct varve_error *err)
{
    unsigned flags = (cli_value(c->cli, "--sparse") != NULL ? DISK_WRITER_SPARSE : 0u) |
                     (cli_value(c->cli, "--no-sync") != NULL ? DISK_WRITER_NO_SYNC : 0u);
    struct disk_writer *w = NULL;
    enum varve_err rc;

    rc = disk_writer_new(&w, c->cli->env->fs, c->to, &c->params, flags, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = image_copy_to_writer(c->src, w, options, err);
    if (rc == VARVE_OK) {
        rc = disk_writer_finish(w, err);
    }
    if (rc == VARVE_OK) {
        c->file_size = disk_writer_file_size(w);
    }
    if (!disk_writer_free(w) && rc != VARVE_OK) {
        (void)varve_error_prefix(err, "'%s.partial' could not be removed, do that", c->to);
    }
    return rc;
}

static enum varve_err
report(struct convert *c, struct varve_error *err)
{
    const struct cli *cli = c->cli;
    char disk[PRINT_SIZE_TEXT];
    char file[PRINT_SIZE_TEXT];
    char took[32];

    if (strcmp(c->to, "-") == 0 || (cli->quiet && !cli->json)) {
        return VARVE_OK; /* standard output is the disk's */
    }
    if (cli->json) {
        return print_json_line(cli->env->out,
                               json_pack("{s:o,s:s,s:o,s:o}", "file", json_text(c->to), "format",
                                         disk_format_text(c->params.format), "virtual_size",
                                         json_bytes(c->info.virtual_size), "file_size",
                                         json_bytes(c->file_size)),
                               err);
    }
    print_size(cli, c->info.virtual_size, disk);
    print_size(cli, c->file_size, file);
    print_seconds((double)(time_mono_ns() - c->started) / 1e9, took);
    (void)fputs("wrote '", cli->env->out);
    print_text(cli->env->out, c->to);
    (void)fprintf(cli->env->out, "': %s, a disk of %s in a file of %s, in %s\n",
                  disk_format_text(c->params.format), disk, file, took);
    return VARVE_OK;
}

enum varve_err
cmd_disk_convert(struct cli *cli, struct varve_error *err)
{
    struct convert c = {
        .cli = cli, .from = cli->args[0], .to = cli->args[1], .started = time_mono_ns()};
    const struct image_copy_options options = {
        .cancel = &cli->env->interrupt->cancel, .progress = on_progress, .arg = &c};
    enum varve_err rc;

    progress_init(&c.progress, cli);
    rc = parse_format(cli_value(cli, "--to"), &c.params.format, err);
    if (rc == VARVE_OK) {
        rc = image_open(&c.src, cli->env->fs, c.from, IMAGE_ALLOW_RAW, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    image_get_info(c.src, &c.info);
    rc = choose_params(&c, err);
    if (rc == VARVE_OK) {
        rc = strcmp(c.to, "-") == 0 ? convert_to_stdout(&c, &options, err)
                                    : convert_to_file(&c, &options, err);
    }
    progress_clear(&c.progress);
    image_close(c.src);
    return rc == VARVE_OK ? report(&c, err) : rc;
}
