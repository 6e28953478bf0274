/* SPDX-License-Identifier: Apache-2.0 */
#include "gc/store_clocks_testing.h"

#include <stdio.h>

static int64_t
wall_us(void *arg)
{
    return ((const struct test_clocks *)arg)->wall;
}

static uint64_t
boot_ns(void *arg)
{
    return ((const struct test_clocks *)arg)->boot_us * 1000u;
}

static void
boot_id(void *arg, char out[64])
{
    (void)snprintf(out, 64, "boot-%u", ((const struct test_clocks *)arg)->boots);
}

struct store_clocks
test_clocks_of(struct test_clocks *c)
{
    return (struct store_clocks){
        .wall_us = wall_us, .boot_ns = boot_ns, .boot_id = boot_id, .arg = c};
}
