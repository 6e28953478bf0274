/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_GC_STORE_CLOCKS_TESTING_H
#define VARVE_GC_STORE_CLOCKS_TESTING_H

#include "gc/store_time.h"

/* For tests: clocks that show what the test says, and a machine that starts when the test says so. */
struct test_clocks {
    int64_t wall;     /* in us */
    uint64_t boot_us; /* since the machine started */
    unsigned boots;
};

/* c must live as long as they are used. */
struct store_clocks test_clocks_of(struct test_clocks *c);

#endif
