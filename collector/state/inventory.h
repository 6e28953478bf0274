/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STATE_INVENTORY_H
#define VARVE_STATE_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"

/*
 * What a host says that it has (proto/inventory.proto as plain structs).  No string is NULL.
 * Threads: a value belongs to one thread.
 */
#define INVENTORY_VMS_MAX      4096u
#define INVENTORY_DISKS_MAX    256u /* of one vm */
#define INVENTORY_WARNINGS_MAX 256u

struct inv_disk {
    struct guid id; /* VirtualDiskId */
    char *name;     /* "data.vhdx" */
    char *path;
    uint64_t size; /* virtual size, bytes */
    char *format;
    uint32_t logical_sector;
    bool tracked;
    bool shared;   /* other vms may have it too */
    char *problem; /* why it cannot be backed up, or "" */
};

struct inv_vm {
    struct guid id;
    struct guid native; /* what the host's hypervisor calls it; set in what state_vm_list() gives */
    char *name;
    unsigned generation;
    char *state;
    struct inv_disk *disks;
    size_t disk_count;
    char *capture;
    char *source;
    char *reason;
};

struct inventory {
    struct inv_vm *vms;
    size_t vm_count;
    char *provider;
    char **warnings;
    size_t warning_count;
};

/* Frees what the struct points at and zeroes it; partly filled structs are fine. */
void inv_vm_release(struct inv_vm *vm);
void inventory_release(struct inventory *inv);

#endif
