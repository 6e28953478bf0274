/* SPDX-License-Identifier: Apache-2.0 */
#include "session/op_out.h"

#include <stdlib.h>
#include <string.h>

#include "session/operator_handlers.h"

static void
set_bytes(ProtobufCBinaryData *to, const void *bytes, size_t len)
{
    to->data = (uint8_t *)(uintptr_t)bytes; /* only read */
    to->len = len;
}

void
op_host_info(Varve__V1__HostInfo *out, struct host *h, const char *tenant, bool connected)
{
    varve__v1__host_info__init(out);
    set_bytes(&out->id, h->id.bytes, sizeof(h->id.bytes));
    out->name = h->name;
    out->state = (char *)(uintptr_t)host_state_name(h->state);
    out->connected = connected;
    out->address = h->address;
    out->software = h->software;
    out->system = h->system;
    out->provider = h->provider;
    out->enrolled_at_us = h->enrolled_at_us;
    out->last_seen_us = h->last_seen_us;
    if (h->enrolled_at_us != 0) {
        set_bytes(&out->public_key, h->public_key, sizeof(h->public_key));
    }
    out->invite_expires_us = h->invite_expires_us;
    out->tenant = (char *)(uintptr_t)tenant;
}

const char *
op_tenant_name(const struct collector *c, const struct guid *tenant)
{
    struct chunk_domain *d = NULL;
    struct varve_error err;

    if (guid_is_zero(tenant)) {
        return TENANT_DEFAULT_NAME;
    }
    return chunk_store_domain(c->chunks, tenant, &d, &err) == VARVE_OK ? chunk_domain_name(d)
                                                                       : "(removed)";
}

void
op_run_info(struct op_run *out, struct run_info *info)
{
    Varve__V1__RunInfo *m = &out->message;

    varve__v1__run_info__init(m);
    set_bytes(&m->run_id, info->id.bytes, sizeof(info->id.bytes));
    set_bytes(&m->vm_id, info->vm.bytes, sizeof(info->vm.bytes));
    m->vm_name = info->vm_name;
    m->host_name = info->host_name;
    m->phase = (char *)(uintptr_t)run_phase_name(info->phase);
    m->waits = info->waits;
    m->planned_bytes = info->planned_bytes;
    m->read_bytes = info->read_bytes;
    m->sent_bytes = info->sent_bytes;
    m->new_bytes = info->new_bytes;
    m->tracked_bytes = info->tracked_bytes;
    m->stored_bytes = info->stored_bytes;
    m->started_at_us = info->started_at_us;
    m->ended_at_us = info->ended_at_us;
    m->incremental = info->incremental;
    if (!guid_is_zero(&info->point)) {
        set_bytes(&m->point_id, info->point.bytes, sizeof(info->point.bytes));
        m->point_seq = info->point_seq;
    }
    if (info->error.code != VARVE_OK) {
        varve__v1__error__init(&out->error);
        op_wire_error(&out->error, &info->error);
        m->error = &out->error;
    }
    for (size_t i = 0; i < info->warning_count; i++) {
        out->warnings[i] = info->warnings[i];
    }
    m->warnings = out->warnings;
    m->n_warnings = info->warning_count;
}

static const char *
consistency_name(enum point_consistency consistency)
{
    switch (consistency) {
    case POINT_CRASH:
        return "crash";
    case POINT_APPLICATION:
        return "application";
    case POINT_OFFLINE:
        return "offline";
    }
    return "unknown";
}

static void
fill_disk(Varve__V1__PointDiskInfo *out, const struct point_disk *d)
{
    varve__v1__point_disk_info__init(out);
    set_bytes(&out->id, d->id.bytes, sizeof(d->id.bytes));
    out->name = d->name;
    out->path = d->path;
    out->size = d->size;
    out->logical_sector = d->logical_sector;
    out->block_size = d->block_size;
    set_bytes(&out->root, d->root.id.bytes, sizeof(d->root.id.bytes));
    out->incremental = d->incremental;
    out->reason = d->reason;
    out->read_bytes = d->read_bytes;
    out->sent_bytes = d->sent_bytes;
    out->new_bytes = d->new_bytes;
    out->tracked_bytes = d->tracked_bytes;
    out->has_change_id = d->change_id[0] != '\0';
}

enum varve_err
op_point_info(Varve__V1__PointInfo *out, const struct point *p, struct varve_error *err)
{
    Varve__V1__PointDiskInfo *disks;

    varve__v1__point_info__init(out);
    /* One piece of memory for the messages, one for each list. */
    disks = calloc(p->disk_count + 1, sizeof(*disks));
    out->disks = calloc(p->disk_count + 1, sizeof(Varve__V1__PointDiskInfo *));
    out->files = calloc(p->file_count + 1, sizeof(char *));
    if (disks == NULL || out->disks == NULL || out->files == NULL) {
        free(disks);
        free(out->disks);
        free(out->files);
        varve__v1__point_info__init(out);
        return varve_error_nomem(err);
    }
    out->disks[0] = disks; /* op_point_info_release() finds it here */
    for (size_t i = 0; i < p->disk_count; i++) {
        fill_disk(&disks[i], &p->disks[i]);
        out->disks[i] = &disks[i];
    }
    for (size_t i = 0; i < p->file_count; i++) {
        out->files[i] = p->files[i].name;
    }
    set_bytes(&out->id, p->id.bytes, sizeof(p->id.bytes));
    set_bytes(&out->vm_id, p->vm.bytes, sizeof(p->vm.bytes));
    set_bytes(&out->run_id, p->run.bytes, sizeof(p->run.bytes));
    out->seq = p->seq;
    out->vm_name = p->vm_name;
    out->host_name = p->host_name;
    out->frozen_at_us = p->frozen_at_us;
    out->published_at_us = p->published_at_us;
    out->consistency = (char *)(uintptr_t)consistency_name(p->consistency);
    out->capture = p->capture;
    out->source = p->source;
    out->reason = p->reason;
    out->n_disks = p->disk_count;
    out->n_files = p->file_count;
    return VARVE_OK;
}

void
op_point_info_release(Varve__V1__PointInfo *info)
{
    if (info->disks != NULL) {
        free(info->disks[0]);
    }
    free(info->disks);
    free(info->files);
    varve__v1__point_info__init(info);
}
