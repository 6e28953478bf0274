/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "vhdx/image.h"

static const char *
format_name(enum image_format format)
{
    switch (format) {
    case IMAGE_VHDX:
        return "vhdx";
    case IMAGE_VHD:
        return "vhd";
    case IMAGE_RAW:
        break;
    }
    return "raw";
}

static const char *
type_name(enum image_type type)
{
    switch (type) {
    case IMAGE_DYNAMIC:
        return "dynamic";
    case IMAGE_DIFFERENCING:
        return "differencing";
    case IMAGE_FIXED:
        break;
    }
    return "fixed";
}

static void
field_size(const struct cli *cli, const char *name, uint64_t bytes)
{
    char text[PRINT_SIZE_TEXT];

    print_size(cli, bytes, text);
    print_field(cli, name, text);
}

static void
field_guid(const struct cli *cli, const char *name, const struct guid *id)
{
    char text[GUID_TEXT_SIZE] = "-";

    if (!guid_is_zero(id)) {
        guid_format(id, text);
    }
    print_field(cli, name, text);
}

static void
print_info(const struct cli *cli, const struct image *img, const char *parent_problem)
{
    struct image_info info;
    char text[64];

    image_get_info(img, &info);
    print_field(cli, "file", cli->args[0]);
    (void)snprintf(text, sizeof(text), "%s, %s", format_name(info.format), type_name(info.type));
    print_field(cli, "format", text);
    field_size(cli, "virtual size", info.virtual_size);
    field_size(cli, "file size", info.file_size);
    if (info.block_size != 0) {
        field_size(cli, "block size", info.block_size);
    }
    (void)snprintf(text, sizeof(text), "%" PRIu32 " logical, %" PRIu32 " physical",
                   info.logical_sector, info.physical_sector);
    print_field(cli, "sector size", text);
    if (info.format != IMAGE_RAW) {
        field_guid(cli, "disk id", &info.disk_id);
        print_field(cli, "creator", info.creator);
    }
    if (info.format == IMAGE_VHDX) {
        field_guid(cli, "data write id", &info.data_write_guid);
        print_field(cli, "log", info.log_replayed ? "has writes to replay" : "clean");
    }
    for (unsigned i = 1; i < info.chain_length; i++) {
        print_field(cli, i == 1 ? "parent" : "its parent", image_get_file(img, i, NULL));
    }
    if (parent_problem != NULL) {
        print_field(cli, "parent", parent_problem);
    }
}

static json_t *
json_guid(const struct guid *id)
{
    char text[GUID_TEXT_SIZE];

    if (guid_is_zero(id)) {
        return json_null();
    }
    guid_format(id, text);
    return json_string(text);
}

static enum varve_err
print_info_json(const struct cli *cli, const struct image *img, const char *parent_problem,
                struct varve_error *err)
{
    struct image_info info;
    json_t *parents = json_array();

    image_get_info(img, &info);
    for (unsigned i = 1; i < info.chain_length; i++) {
        (void)json_array_append_new(parents, json_text(image_get_file(img, i, NULL)));
    }
    return print_json_line(
        cli->env->out,
        json_pack("{s:o,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "file",
                  json_text(cli->args[0]), "format", format_name(info.format), "type",
                  type_name(info.type), "virtual_size", json_bytes(info.virtual_size), "file_size",
                  json_bytes(info.file_size), "block_size",
                  info.block_size == 0 ? json_null() : json_bytes(info.block_size),
                  "logical_sector", json_bytes(info.logical_sector), "physical_sector",
                  json_bytes(info.physical_sector), "disk_id", json_guid(&info.disk_id),
                  "data_write_id", json_guid(&info.data_write_guid), "creator",
                  json_text(info.creator), "log_dirty", (int)info.log_replayed, "parents", parents,
                  "parent_problem",
                  parent_problem == NULL ? json_null() : json_text(parent_problem)),
        err);
}

/* A file whose parent cannot be opened still has things to tell. */
enum varve_err
cmd_disk_info(struct cli *cli, struct varve_error *err)
{
    const char *path = cli->args[0];
    struct varve_error parent = {.code = VARVE_OK};
    struct image *img = NULL;
    enum varve_err rc;

    rc = image_open(&img, cli->env->fs, path, IMAGE_ALLOW_RAW, &parent);
    if (rc != VARVE_OK) {
        rc = image_open(&img, cli->env->fs, path, IMAGE_ALLOW_RAW | IMAGE_NO_PARENT, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (cli->json) {
        rc = print_info_json(cli, img, parent.code == VARVE_OK ? NULL : parent.msg, err);
    } else {
        print_info(cli, img, parent.code == VARVE_OK ? NULL : parent.msg);
    }
    image_close(img);
    if (rc == VARVE_OK && parent.code != VARVE_OK) {
        cli_set_exit(cli, varve_exit_of(parent.code, false));
    }
    return rc;
}
