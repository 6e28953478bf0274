/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "hvsim/sim_file.h"

char *
truth_live_file(const struct sim_vm *vm, const struct guid *disk)
{
    char id[GUID_TEXT_SIZE];

    guid_format_upper(disk, id);
    return sim_printf("%s/truth/%s.raw", vm->folder, id);
}

char *
truth_file(const struct sim_vm *vm, const struct guid *checkpoint, const struct guid *disk)
{
    char c[GUID_TEXT_SIZE];
    char d[GUID_TEXT_SIZE];

    guid_format_upper(checkpoint, c);
    guid_format_upper(disk, d);
    return sim_printf("%s/truth/%s-%s.raw", vm->folder, c, d);
}

uint32_t
truth_freeze(struct sim_vm *vm, const struct guid *checkpoint, struct sim_error *err)
{
    uint32_t rc = SIM_OK;

    for (size_t i = 0; vm->truth && rc == SIM_OK && i < vm->disk_count; i++) {
        char *live = truth_live_file(vm, &vm->disks[i].id);
        char *frozen = truth_file(vm, checkpoint, &vm->disks[i].id);

        rc = sim_copy_sparse(live, frozen, err);
        free(live);
        free(frozen);
    }
    return rc;
}

uint32_t
truth_drop(struct sim_vm *vm, const struct guid *checkpoint, struct sim_error *err)
{
    for (size_t i = vm->truth_count; i-- > 0;) {
        struct sim_truth *t = &vm->truths[i];

        if (checkpoint != NULL && !guid_equal(&t->checkpoint, checkpoint)) {
            continue;
        }
        for (size_t k = 0; k < t->disk_count; k++) {
            char *path = truth_file(vm, &t->checkpoint, &t->disks[k].disk);

            (void)unlink(path);
            free(path);
        }
        free(t->disks);
        sim_array_remove(vm->truths, &vm->truth_count, sizeof(*t), i);
    }
    return vm_save(vm, err);
}

uint32_t
truth_note(struct sim_vm *vm, const struct guid *id, const char *tag, bool application,
           struct sim_error *err)
{
    struct sim_truth *t = NULL;
    uint32_t rc = truth_freeze(vm, id, err);

    if (rc != SIM_OK || !vm->truth) {
        return rc;
    }
    t = sim_array_add(&vm->truths, &vm->truth_count, sizeof(*t));
    t->checkpoint = *id;
    (void)snprintf(t->tag, sizeof(t->tag), "%s", tag);
    t->application = application;
    t->created_us = time_now_us();
    for (size_t i = 0; i < vm->disk_count; i++) {
        struct sim_moment_disk *m = sim_array_add(&t->disks, &t->disk_count, sizeof(*m));

        m->disk = vm->disks[i].id;
    }
    return SIM_OK;
}
