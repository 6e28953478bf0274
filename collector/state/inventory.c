/* SPDX-License-Identifier: Apache-2.0 */
#include "state/inventory.h"

#include <stdlib.h>
#include <string.h>

void
inv_vm_release(struct inv_vm *vm)
{
    for (size_t i = 0; i < vm->disk_count; i++) {
        free(vm->disks[i].name);
        free(vm->disks[i].path);
        free(vm->disks[i].format);
        free(vm->disks[i].problem);
    }
    free(vm->disks);
    free(vm->name);
    free(vm->state);
    free(vm->capture);
    free(vm->source);
    free(vm->reason);
    memset(vm, 0, sizeof(*vm));
}

void
inventory_release(struct inventory *inv)
{
    for (size_t i = 0; i < inv->vm_count; i++) {
        inv_vm_release(&inv->vms[i]);
    }
    free(inv->vms);
    free(inv->provider);
    for (size_t i = 0; i < inv->warning_count; i++) {
        free(inv->warnings[i]);
    }
    free(inv->warnings);
    memset(inv, 0, sizeof(*inv));
}
