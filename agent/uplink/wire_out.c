/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uplink/uplink_internal.h"

void
wire_guid(ProtobufCBinaryData *out, const struct guid *g)
{
    out->data = (uint8_t *)(uintptr_t)g->bytes;
    out->len = sizeof(g->bytes);
}

enum varve_err
wire_take_guid(struct guid *out, const ProtobufCBinaryData *in, const char *what,
               struct varve_error *err)
{
    if (in->len != sizeof(out->bytes)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "%s of %zu bytes", what, in->len);
    }
    memcpy(out->bytes, in->data, sizeof(out->bytes));
    return VARVE_OK;
}

char *
wire_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

void
wire_take_error(struct varve_error *out, const Varve__V1__Error *in)
{
    enum varve_err code =
        in->code > 0 && in->code < VARVE_ERR_COUNT ? (enum varve_err)in->code : VARVE_ERR_INTERNAL;

    (void)varve_error_set(out, code, "%s", in->message);
    out->source = in->source < VARVE_SRC_COUNT ? (enum varve_err_source)in->source : VARVE_SRC_NONE;
    out->native = in->native;
}

/* ---- inventory ---- */

/* All vms and disks in four pieces of memory. */
struct inventory_lists {
    Varve__V1__InventoryVm *vms;
    Varve__V1__InventoryVm **vm_list;
    Varve__V1__InventoryDisk *disks;
    Varve__V1__InventoryDisk **disk_list;
};

static void
fill_disk(Varve__V1__InventoryDisk *out, const struct capture_disk *d)
{
    varve__v1__inventory_disk__init(out);
    wire_guid(&out->id, &d->id);
    out->name = wire_text(d->name);
    out->path = wire_text(d->path);
    out->size = d->size;
    out->format = wire_text(d->format);
    out->logical_sector = d->logical_sector;
    out->tracked = d->tracked;
    out->shared = d->shared;
    out->problem = wire_text(d->problem != NULL ? d->problem : "");
}

static void
fill_vm(Varve__V1__InventoryVm *out, const struct capture *capture, const struct capture_vm *vm)
{
    varve__v1__inventory_vm__init(out);
    wire_guid(&out->id, &vm->id);
    out->name = wire_text(vm->name);
    out->generation = vm->generation;
    out->state = wire_text(vm->state);
    out->capture = wire_text(vm->capture != NULL ? vm->capture : capture->name);
    out->source = wire_text(vm->source != NULL ? vm->source : capture->source);
    out->reason = wire_text(vm->reason);
}

static enum varve_err
fill_inventory(Varve__V1__Inventory *body, struct inventory_lists *l, const struct capture *capture,
               const struct capture_inventory *inv, struct varve_error *err)
{
    size_t disk_count = 0;
    size_t at = 0;
    size_t i;
    size_t k;

    for (i = 0; i < inv->count; i++) {
        disk_count += inv->vms[i].disk_count;
    }
    l->vms = calloc(inv->count + 1, sizeof(*l->vms));
    l->vm_list = calloc(inv->count + 1, sizeof(Varve__V1__InventoryVm *));
    l->disks = calloc(disk_count + 1, sizeof(*l->disks));
    l->disk_list = calloc(disk_count + 1, sizeof(Varve__V1__InventoryDisk *));
    if (l->vms == NULL || l->vm_list == NULL || l->disks == NULL || l->disk_list == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; i < inv->count; i++) {
        const struct capture_vm *vm = &inv->vms[i];

        fill_vm(&l->vms[i], capture, vm);
        l->vms[i].disks = &l->disk_list[at];
        l->vms[i].n_disks = vm->disk_count;
        for (k = 0; k < vm->disk_count; k++, at++) {
            fill_disk(&l->disks[at], &vm->disks[k]);
            l->disk_list[at] = &l->disks[at];
        }
        l->vm_list[i] = &l->vms[i];
    }
    body->vms = l->vm_list;
    body->n_vms = inv->count;
    body->provider = wire_text(inv->provider);
    return VARVE_OK;
}

enum varve_err
wire_send_inventory(struct session *s, const struct capture *capture,
                    const struct capture_inventory *inv, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Inventory body = VARVE__V1__INVENTORY__INIT;
    struct inventory_lists lists = {0};
    char *warnings[NOTES_MAX];
    struct envelope_in reply;
    size_t i;
    enum varve_err rc;

    rc = fill_inventory(&body, &lists, capture, inv, err);
    if (rc == VARVE_OK) {
        for (i = 0; i < inv->notes.count; i++) {
            warnings[i] = wire_text(inv->notes.text[i]);
        }
        body.warnings = warnings;
        body.n_warnings = inv->notes.count;
        head.body_case = VARVE__V1__ENVELOPE__BODY_INVENTORY;
        head.inventory = &body;
        rc = session_ask(s, &head, VARVE__V1__ENVELOPE__BODY_INVENTORY_REPLY, UPLINK_ANSWER_MS,
                         &reply, err);
    }
    if (rc == VARVE_OK) {
        envelope_release(&reply);
    }
    free(lists.vms);
    free(lists.vm_list);
    free(lists.disks);
    free(lists.disk_list);
    return rc;
}

/* ---- StartRun ---- */

static enum varve_err
take_text(char *out, size_t size, const char *text, const char *what, struct varve_error *err)
{
    size_t len = strlen(text);

    if (len >= size) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%s of %zu bytes", what, len);
    }
    memcpy(out, text, len + 1);
    return VARVE_OK;
}

static enum varve_err
take_id(char out[CAPTURE_ID_MAX], const char *text, const char *what, struct varve_error *err)
{
    return take_text(out, CAPTURE_ID_MAX, text, what, err);
}

enum varve_err
wire_take_clean(struct uplink_clean *out, const Varve__V1__CleanVm *in, struct varve_error *err)
{
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    rc = wire_take_guid(&out->run, &in->run_id, "run_id", err);
    if (rc == VARVE_OK) {
        rc = wire_take_guid(&out->vm, &in->vm_id, "vm_id", err);
    }
    if (rc == VARVE_OK && (in->n_marks > CAPTURE_MARKS_MAX || in->n_kept > CAPTURE_MARKS_MAX ||
                           in->n_before > CAPTURE_MARKS_MAX)) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "%zu and %zu reference points, %zu checkpoints",
                             in->n_marks, in->n_kept, in->n_before);
    }
    out->committed = in->committed;
    out->reference_point = in->reference_point;
    out->checkpoint = in->checkpoint;
    out->keep_tried = in->keep_tried;
    out->marks = (const char *const *)in->marks;
    out->mark_count = in->n_marks;
    out->kept = (const char *const *)in->kept;
    out->kept_count = in->n_kept;
    out->begun_us = in->begun_us;
    out->before = (const char *const *)in->before;
    out->before_count = in->n_before;
    return rc;
}

static enum varve_err
take_skips(struct uplink_skip **out, const Varve__V1__StartRun *in, struct varve_error *err)
{
    struct uplink_skip *list;
    enum varve_err rc = VARVE_OK;
    size_t i;

    if (in->n_skip_disks > PEER_DISKS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%zu disks to leave out", in->n_skip_disks);
    }
    list = calloc(in->n_skip_disks + 1, sizeof(*list));
    if (list == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < in->n_skip_disks; i++) {
        rc = wire_take_guid(&list[i].disk, &in->skip_disks[i]->disk_id, "disk_id", err);
        (void)snprintf(list[i].reason, sizeof(list[i].reason), "%s", in->skip_disks[i]->reason);
    }
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    *out = list;
    return VARVE_OK;
}

enum varve_err
wire_take_start(struct uplink_start *out, struct uplink_base **base, struct uplink_skip **skip,
                const Varve__V1__StartRun *in, struct varve_error *err)
{
    struct uplink_base *list = NULL;
    size_t i;
    enum varve_err rc;

    memset(out, 0, sizeof(*out));
    rc = wire_take_guid(&out->run, &in->run_id, "run_id", err);
    if (rc == VARVE_OK) {
        rc = wire_take_guid(&out->vm, &in->vm_id, "vm_id", err);
    }
    if (rc == VARVE_OK) {
        rc = take_id(out->reference_point, in->reference_point, "a reference point", err);
    }
    if (rc == VARVE_OK) {
        rc = take_text(out->method, sizeof(out->method), in->method, "a method's name", err);
    }
    if (rc == VARVE_OK && in->n_base_disks > PEER_DISKS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "%zu base disks", in->n_base_disks);
    }
    if (rc == VARVE_OK) {
        list = calloc(in->n_base_disks + 1, sizeof(*list));
        if (list == NULL) {
            rc = varve_error_nomem(err);
        }
    }
    for (i = 0; rc == VARVE_OK && i < in->n_base_disks; i++) {
        rc = wire_take_guid(&list[i].disk, &in->base_disks[i]->disk_id, "disk_id", err);
        if (rc == VARVE_OK) {
            rc = take_id(list[i].change_id, in->base_disks[i]->change_id, "a change id", err);
        }
        list[i].size = in->base_disks[i]->size;
    }
    if (rc == VARVE_OK) {
        rc = take_skips(skip, in, err);
    }
    if (rc != VARVE_OK) {
        free(list);
        return rc;
    }
    out->full = in->full;
    out->base = list;
    out->base_count = in->n_base_disks;
    out->skip = *skip;
    out->skip_count = in->n_skip_disks;
    *base = list;
    return VARVE_OK;
}
