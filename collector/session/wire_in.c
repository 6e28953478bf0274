/* SPDX-License-Identifier: Apache-2.0 */
#include "session/wire_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "wire/envelope.h"

enum varve_err
wire_guid(struct guid *out, const ProtobufCBinaryData *field, const char *what,
          struct varve_error *err)
{
    if (field->len != sizeof(out->bytes)) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL, "%s has %zu bytes, not 16", what,
                               field->len);
    }
    memcpy(out->bytes, field->data, sizeof(out->bytes));
    return VARVE_OK;
}

enum varve_err
wire_guid_optional(struct guid *out, const ProtobufCBinaryData *field, const char *what,
                   struct varve_error *err)
{
    if (field->len == 0) {
        memset(out, 0, sizeof(*out));
        return VARVE_OK;
    }
    return wire_guid(out, field, what, err);
}

static enum varve_err
check_string(char *text, const char *name, struct varve_error *err)
{
    size_t len = strlen(text);
    size_t i = 0;

    if (len > WIRE_STRING_MAX) {
        return varve_error_set(err, VARVE_ERR_PROTOCOL,
                               "'%s' has %zu bytes; at most %u are allowed", name, len,
                               WIRE_STRING_MAX);
    }
    while (i < len) {
        size_t one = utf8_len(text + i, len - i);

        if (one == 0) {
            return varve_error_set(err, VARVE_ERR_PROTOCOL, "'%s' is not UTF-8", name);
        }
        if (utf8_is_control(text + i, one)) {
            memset(text + i, '?', one);
        }
        i += one;
    }
    return VARVE_OK;
}

enum varve_err
wire_check_strings(ProtobufCMessage *message, struct varve_error *err)
{
    return envelope_each_text(message, check_string, err);
}

void
wire_error(struct varve_error *out, const Varve__V1__Error *field)
{
    size_t len = strlen(field->message);
    size_t kept = 0;

    memset(out, 0, sizeof(*out));
    out->code = field->code > VARVE_OK && field->code < VARVE_ERR_COUNT
                    ? (enum varve_err)field->code
                    : VARVE_ERR_INTERNAL;
    if (field->source < VARVE_SRC_COUNT) {
        out->source = (enum varve_err_source)field->source;
        out->native = field->native;
    }
    while (kept < len) {
        size_t one = utf8_len(field->message + kept, len - kept);
        bool strange = one == 0 || utf8_is_control(field->message + kept, one);

        one = one == 0 ? 1 : one;
        if (kept + one >= sizeof(out->msg)) {
            break;
        }
        if (strange) {
            memset(out->msg + kept, '?', one);
        } else {
            memcpy(out->msg + kept, field->message + kept, one);
        }
        kept += one;
    }
    out->msg[kept] = '\0';
}

static enum varve_err
copy_text(char **out, const char *text, struct varve_error *err)
{
    *out = strdup(text);
    return *out == NULL ? varve_error_nomem(err) : VARVE_OK;
}

/* count zeroed things; NULL for none, which is no failure. */
static enum varve_err
make_list(void **out, size_t count, size_t size, struct varve_error *err)
{
    *out = count == 0 ? NULL : calloc(count, size);
    if (count > 0 && *out == NULL) {
        (void)varve_error_nomem(err);
        return VARVE_ERR_NOMEM;
    }
    return VARVE_OK;
}

static enum varve_err
copy_disk(struct inv_disk *out, const Varve__V1__InventoryDisk *d, struct varve_error *err)
{
    enum varve_err rc = wire_guid(&out->id, &d->id, "id of a disk", err);

    if (rc == VARVE_OK) {
        rc = copy_text(&out->name, d->name, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->path, d->path, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->format, d->format, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->problem, d->problem, err);
    }
    out->size = d->size;
    out->logical_sector = d->logical_sector;
    out->tracked = d->tracked;
    out->shared = d->shared;
    return rc;
}

static enum varve_err
copy_vm(struct inv_vm *out, const Varve__V1__InventoryVm *vm, struct varve_error *err)
{
    void *list = NULL;
    enum varve_err rc = wire_guid(&out->id, &vm->id, "id of a vm", err);

    out->generation = vm->generation;
    if (rc == VARVE_OK) {
        rc = copy_text(&out->name, vm->name, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->state, vm->state, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->capture, vm->capture, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->source, vm->source, err);
    }
    if (rc == VARVE_OK) {
        rc = copy_text(&out->reason, vm->reason, err);
    }
    if (rc == VARVE_OK && vm->n_disks > INVENTORY_DISKS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "vm '%.64s' has %zu disks; at most %u are kept",
                             vm->name, vm->n_disks, INVENTORY_DISKS_MAX);
    }
    if (rc == VARVE_OK) {
        rc = make_list(&list, vm->n_disks, sizeof(*out->disks), err);
        out->disks = list;
    }
    for (size_t i = 0; i < vm->n_disks && rc == VARVE_OK; i++) {
        out->disk_count = i + 1;
        rc = copy_disk(&out->disks[i], vm->disks[i], err);
    }
    return rc;
}

static int
compare_vms(const void *a, const void *b)
{
    return guid_compare(&((const struct inv_vm *)a)->id, &((const struct inv_vm *)b)->id);
}

enum varve_err
wire_inventory(struct inventory *out, const Varve__V1__Inventory *m, struct varve_error *err)
{
    struct inventory inv;
    void *list = NULL;
    enum varve_err rc = VARVE_OK;

    memset(&inv, 0, sizeof(inv));
    if (m->n_vms > INVENTORY_VMS_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "%zu vms; at most %u of one host are kept",
                               m->n_vms, INVENTORY_VMS_MAX);
    }
    rc = copy_text(&inv.provider, m->provider, err);
    if (rc == VARVE_OK && m->n_warnings > INVENTORY_WARNINGS_MAX) {
        rc = varve_error_set(err, VARVE_ERR_LIMIT, "%zu warnings; at most %u are kept",
                             m->n_warnings, INVENTORY_WARNINGS_MAX);
    }
    if (rc == VARVE_OK) {
        rc = make_list(&list, m->n_warnings, sizeof(*inv.warnings), err);
        inv.warnings = list;
    }
    for (size_t i = 0; i < m->n_warnings && rc == VARVE_OK; i++) {
        rc = copy_text(&inv.warnings[i], m->warnings[i], err);
        inv.warning_count = i + 1;
    }
    if (rc == VARVE_OK) {
        rc = make_list(&list, m->n_vms, sizeof(*inv.vms), err);
        inv.vms = list;
    }
    for (size_t i = 0; i < m->n_vms && rc == VARVE_OK; i++) {
        inv.vm_count = i + 1;
        rc = copy_vm(&inv.vms[i], m->vms[i], err);
    }
    if (rc == VARVE_OK && inv.vm_count > 1) {
        qsort(inv.vms, inv.vm_count, sizeof(*inv.vms), compare_vms);
        for (size_t i = 1; i < inv.vm_count && rc == VARVE_OK; i++) {
            if (guid_equal(&inv.vms[i].id, &inv.vms[i - 1].id)) {
                rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "vm '%.64s' is listed twice",
                                     inv.vms[i].name);
            }
        }
    }
    if (rc != VARVE_OK) {
        inventory_release(&inv);
        return rc;
    }
    *out = inv;
    return VARVE_OK;
}
