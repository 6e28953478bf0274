/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/engine_internal.h"

#include <string.h>

#define FAULTS_MAX 64u

uint32_t
fault_set(struct sim_host *h, const struct sim_fault *fault, struct sim_error *err)
{
    struct sim_fault *f = NULL;

    if (h->fault_count >= FAULTS_MAX) {
        return sim_fail(err, SIM_FAILED, "%u faults are set already", FAULTS_MAX);
    }
    if (fault->times == 0) {
        return sim_fail(err, SIM_INVALID, "a fault that happens 0 times");
    }
    f = sim_array_add(&h->faults, &h->fault_count, sizeof(*f));
    *f = *fault;
    return SIM_OK;
}

void
fault_clear(struct sim_host *h)
{
    h->fault_count = 0;
}

bool
fault_check(struct sim_host *h, const char *op, struct sim_fault *out)
{
    for (size_t i = 0; i < h->fault_count; i++) {
        struct sim_fault *f = &h->faults[i];

        if (strcmp(f->op, op) != 0) {
            continue;
        }
        if (f->skip > 0) {
            f->skip--;
            continue;
        }
        *out = *f;
        f->times--;
        if (f->times == 0) {
            sim_array_remove(h->faults, &h->fault_count, sizeof(*f), i);
        }
        return true;
    }
    return false;
}
