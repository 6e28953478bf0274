/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_STORE_FAULT_H
#define VARVE_STORE_STORE_FAULT_H

#include "store/store.h"

/*
 * A store around another store that goes wrong on request.  For tests.
 *
 * Calls that touch the inner store are counted from 1, over all threads.  Call number fail_at (and,
 * with fail_forever, every later one) that is of a kind in `kinds` does not reach the inner store
 * but fails with fail_code.  lost_ack: the put is done and still answered with the failure (what a
 * broken connection does).  damage_get: one bit of what that get returns is turned over.
 *
 * Threads: as any store; store_fault_set() from any thread.
 */
enum store_fault_kind {
    STORE_FAULT_PUT = 1 << 0,
    STORE_FAULT_GET = 1 << 1,
    STORE_FAULT_REMOVE = 1 << 2,
    STORE_FAULT_LIST = 1 << 3
};

struct store_fault_plan {
    unsigned kinds;   /* enum store_fault_kind; only such calls are counted */
    uint64_t fail_at; /* 0: never */
    bool fail_forever;
    bool lost_ack;
    bool damage_get;
    enum varve_err fail_code;
    uint32_t delay_ms; /* before every call that is counted */
};

/* Borrows inner, which must outlive the wrapper. */
VARVE_CHECK enum varve_err store_fault_open(struct store **out, struct store *inner,
                                            struct varve_error *err);
/* Starts counting anew. */
void store_fault_set(struct store *s, const struct store_fault_plan *plan);
uint64_t store_fault_calls(struct store *s);

#endif
