/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdlib.h>
#include <string.h>

#define DISK_PARAMETERS                                                                            \
    "raw:s size:i name:s block_size:i type:s logical_sector:i physical_sector:i tracked:b vhd:b"

uint32_t
op_disk_spec(const json_t *o, struct disk_spec *out, struct sim_error *err)
{
    const char *type;
    uint32_t rc = SIM_OK;

    if (!json_is_object(o)) {
        return sim_fail(err, SIM_INVALID, "a disk must be an object");
    }
    if (!op_has(o, "vm")) { /* disk.add was checked by its own list */
        rc = ops_check_object(DISK_PARAMETERS, o, "a disk", err);
    }
    if (rc != SIM_OK) {
        return rc;
    }
    type = op_text(o, "type", "dynamic");
    if (strcmp(type, "dynamic") != 0 && strcmp(type, "fixed") != 0) {
        return sim_fail(err, SIM_INVALID, "a disk's type is dynamic or fixed, not '%.40s'", type);
    }
    if (op_has(o, "raw") == op_has(o, "size")) {
        return sim_fail(err, SIM_INVALID, "a disk needs 'raw' or 'size'");
    }
    *out = (struct disk_spec){
        .raw = op_text(o, "raw", NULL),
        .size = op_u64(o, "size", 0),
        .name = op_text(o, "name", NULL),
        .block_size = (uint32_t)op_u64(o, "block_size", VHDX_BASE_BLOCK),
        .fixed = strcmp(type, "fixed") == 0,
        .logical_sector = (uint32_t)op_u64(o, "logical_sector", 512),
        .physical_sector = (uint32_t)op_u64(o, "physical_sector", 4096),
        .tracked = op_bool(o, "tracked", true),
        .vhd = op_bool(o, "vhd", false),
    };
    return SIM_OK;
}

static uint32_t
op_disk_add(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct disk_spec spec;
    struct guid id;
    uint32_t rc = op_disk_spec(request, &spec, err);

    if (rc == SIM_OK) {
        rc = disk_add(h, &vm, &spec, &id, err);
    }
    if (rc == SIM_OK) {
        reply_guid(reply, "disk", &id);
    }
    return rc;
}

static uint32_t
op_disk_resize(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return disk_resize(h, &vm, &disk, op_u64(request, "size", 0), err);
}

static uint32_t
op_disk_remove(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return disk_remove(h, &vm, &disk, err);
}

static uint32_t
op_disk_place(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return disk_place(h, &vm, &disk, (unsigned)op_u64(request, "slot", 0), err);
}

static uint32_t
op_disk_migrate(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return disk_migrate(h, &vm, &disk, op_text(request, "name", ""),
                        op_bool(request, "tracking", true), err);
}

uint32_t
op_extents(const json_t *request, struct sim_extent **out, size_t *count, struct sim_error *err)
{
    json_t *list = json_object_get(request, "extents");
    size_t i;
    json_t *pair;

    if (list == NULL) {
        struct sim_extent *e = sim_array_add(out, count, sizeof(*e));

        e->offset = op_u64(request, "offset", 0);
        e->length = op_u64(request, "length", 0);
        return SIM_OK;
    }
    json_array_foreach(list, i, pair)
    {
        struct sim_extent *e = NULL;
        const json_t *off = json_array_get(pair, 0);
        const json_t *len = json_array_get(pair, 1);

        if (json_array_size(pair) != 2 || !json_is_integer(off) || !json_is_integer(len)) {
            return sim_fail(err, SIM_INVALID, "extent %zu is no [offset, length]", i);
        }
        e = sim_array_add(out, count, sizeof(*e));
        e->offset = (uint64_t)json_integer_value(off);
        e->length = (uint64_t)json_integer_value(len);
    }
    return SIM_OK;
}

static uint32_t
op_guest_write(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");
    struct sim_extent *extents = NULL;
    uint64_t bytes = 0;
    uint8_t *data = NULL;
    size_t count = 0;
    size_t len = 0;
    uint32_t rc;

    if (op_has(request, "data") == op_has(request, "seed")) {
        return sim_fail(err, SIM_INVALID, "guest.write needs 'data' or 'seed'");
    }
    if (op_has(request, "data") && (op_has(request, "extents") || op_has(request, "length"))) {
        return sim_fail(err, SIM_INVALID, "with 'data' only 'offset' is given");
    }
    rc = op_extents(request, &extents, &count, err);
    if (rc == SIM_OK && op_has(request, "data")) {
        rc = base64_decode(op_text(request, "data", ""), &data, &len, err);
        if (rc == SIM_OK && count == 1) {
            extents->length = len;
        }
    }
    if (rc == SIM_OK) {
        rc = guest_write(h, &vm, &disk, extents, count, data, op_u64(request, "seed", 0), err);
    }
    for (size_t i = 0; i < count; i++) {
        bytes += extents[i].length;
    }
    reply_u64(reply, "bytes", bytes);
    free(extents);
    free(data);
    return rc;
}

static uint32_t
op_guest_trim(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return guest_trim(h, &vm, &disk, op_u64(request, "offset", 0), op_u64(request, "length", 0),
                      err);
}

static uint32_t
op_guest_sync(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");
    uint64_t bytes = 0;
    uint64_t extents = 0;
    uint32_t rc = guest_sync(h, &vm, &disk, op_text(request, "raw", ""), &bytes, &extents, err);

    reply_u64(reply, "bytes", bytes);
    reply_u64(reply, "extents", extents);
    return rc;
}

static uint32_t
op_guest_read(struct sim_host *h, const json_t *request, json_t *reply, struct sim_error *err)
{
    struct guid vm = op_guid(request, "vm");
    struct guid disk = op_guid(request, "disk");

    (void)reply;
    return guest_read(h, &vm, &disk, op_text(request, "to", ""), err);
}

const struct op guest_ops[] = {
    {"disk.add", "vm:g! " DISK_PARAMETERS, op_disk_add},
    {"disk.resize", "vm:g! disk:g! size:i!", op_disk_resize},
    {"disk.remove", "vm:g! disk:g!", op_disk_remove},
    {"disk.place", "vm:g! disk:g! slot:i!", op_disk_place},
    {"disk.migrate", "vm:g! disk:g! name:s! tracking:b", op_disk_migrate},
    {"guest.write", "vm:g! disk:g! offset:i length:i data:s seed:i extents:a", op_guest_write},
    {"guest.trim", "vm:g! disk:g! offset:i! length:i!", op_guest_trim},
    {"guest.sync", "vm:g! disk:g! raw:s!", op_guest_sync},
    {"guest.read", "vm:g! disk:g! to:s!", op_guest_read},
    {NULL, NULL, NULL},
};
