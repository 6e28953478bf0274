/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <time.h>

int64_t
time_now_us(void)
{
    struct timespec ts = {0, 0};

    (void)clock_gettime(CLOCK_REALTIME, &ts); /* fails only for a clock that does not exist */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t
time_mono_ns(void)
{
    struct timespec ts = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
time_boot_ns(void)
{
    struct timespec ts = {0, 0};

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
