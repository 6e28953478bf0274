/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "session/op_out.h"
#include "session/operator_handlers.h"
#include "session/registry.h"
#include "state/state.h"

/* VmList. */

/* One vm as a message; free with release_vm(). */
struct vm_message {
    Varve__V1__VmInfo info;
    Varve__V1__InventoryVm vm;
    Varve__V1__InventoryDisk *disks;
    Varve__V1__InventoryDisk **disk_list;
};

static void
release_vm(struct vm_message *m)
{
    free(m->disks);
    free(m->disk_list);
}

static void
fill_disk(Varve__V1__InventoryDisk *out, struct inv_disk *d)
{
    varve__v1__inventory_disk__init(out);
    out->id.data = d->id.bytes;
    out->id.len = sizeof(d->id.bytes);
    out->name = d->name;
    out->path = d->path;
    out->size = d->size;
    out->format = d->format;
    out->logical_sector = d->logical_sector;
    out->tracked = d->tracked;
    out->problem = d->problem;
}

static enum varve_err
fill_vm(struct vm_message *out, const struct collector *c, struct vm_row *row,
        struct varve_error *err)
{
    struct inv_vm *vm = &row->vm;
    struct point **points = NULL;
    size_t count = 0;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    varve__v1__vm_info__init(&out->info);
    varve__v1__inventory_vm__init(&out->vm);
    out->disks = calloc(vm->disk_count + 1, sizeof(*out->disks));
    out->disk_list = calloc(vm->disk_count + 1, sizeof(Varve__V1__InventoryDisk *));
    if (out->disks == NULL || out->disk_list == NULL) {
        release_vm(out);
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < vm->disk_count; i++) {
        fill_disk(&out->disks[i], &vm->disks[i]);
        out->disk_list[i] = &out->disks[i];
    }
    out->vm.id.data = vm->id.bytes;
    out->vm.id.len = sizeof(vm->id.bytes);
    out->vm.name = vm->name;
    out->vm.generation = vm->generation;
    out->vm.state = vm->state;
    out->vm.disks = out->disk_list;
    out->vm.n_disks = vm->disk_count;
    out->vm.capture = vm->capture;
    out->vm.source = vm->source;
    out->vm.reason = vm->reason;
    out->info.vm = &out->vm;
    out->info.host_id.data = row->host.bytes;
    out->info.host_id.len = sizeof(row->host.bytes);
    out->info.host_name = row->host_name;
    out->info.host_connected = row->connected;
    out->info.tenant = (char *)(uintptr_t)op_tenant_name(c, &row->tenant);
    if (!guid_equal(&vm->native, &vm->id)) {
        out->info.native_id.data = vm->native.bytes;
        out->info.native_id.len = sizeof(vm->native.bytes);
    }
    rc = catalog_list(c->catalog, &vm->id, &points, &count, err);
    if (rc != VARVE_OK) {
        release_vm(out);
        return rc;
    }
    out->info.points = (uint32_t)count;
    out->info.latest_point_us = count > 0 ? points[0]->frozen_at_us : 0;
    catalog_list_free(points, count);
    return VARVE_OK;
}

/* One vm a message and OP_LIST_PART messages a reply would pass the limit of an envelope for vms
 * with many disks, so replies are cut by disks too. */
#define DISKS_PER_REPLY 256u

static enum varve_err
send_rows(const struct collector *c, struct vm_row *rows, size_t count, struct op_sink *sink,
          struct varve_error *err)
{
    struct vm_message *messages = NULL;
    Varve__V1__VmInfo *infos[OP_LIST_PART];
    size_t done = 0;
    enum varve_err rc = VARVE_OK;

    messages = calloc(OP_LIST_PART, sizeof(*messages));
    if (messages == NULL) {
        return varve_error_nomem(err);
    }
    do {
        Varve__V1__Envelope reply = VARVE__V1__ENVELOPE__INIT;
        Varve__V1__VmListReply body = VARVE__V1__VM_LIST_REPLY__INIT;
        size_t disks = 0;
        size_t n = 0;

        while (n < OP_LIST_PART && done < count &&
               (n == 0 || disks + rows[done].vm.disk_count <= DISKS_PER_REPLY)) {
            rc = fill_vm(&messages[n], c, &rows[done], err);
            if (rc != VARVE_OK) {
                break;
            }
            disks += rows[done].vm.disk_count;
            infos[n] = &messages[n].info;
            n++;
            done++;
        }
        if (rc == VARVE_OK) {
            body.vms = infos;
            body.n_vms = n;
            reply.body_case = VARVE__V1__ENVELOPE__BODY_VM_LIST_REPLY;
            reply.vm_list_reply = &body;
            rc = op_reply(sink, &reply, NULL, 0, done < count, err);
        }
        for (size_t i = 0; i < n; i++) {
            release_vm(&messages[i]);
        }
    } while (rc == VARVE_OK && done < count);
    free(messages);
    return rc;
}

static enum varve_err
list(const struct collector *c, void *slot, const Varve__V1__Envelope *head, struct op_sink *sink,
     struct varve_error *err)
{
    const char *selector = head->vm_list->vm;
    struct vm_row *rows = NULL;
    size_t count = 0;
    size_t row = 0;
    enum varve_err rc;

    (void)slot;
    rc = state_vm_list(c->state, registry_host_connected, c->registry, &rows, &count, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (selector[0] == '\0') {
        rc = send_rows(c, rows, count, sink, err);
    } else {
        rc = vm_list_select(rows, count, selector, &row, err);
        if (rc == VARVE_OK) {
            rc = send_rows(c, &rows[row], 1, sink, err);
        }
    }
    vm_list_free(rows, count);
    return rc;
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_VM_LIST, OP_INLINE, list},
};

const struct op_module op_vms_module = {
    .name = "vms", .handlers = handlers, .handler_count = sizeof(handlers) / sizeof(handlers[0])};
