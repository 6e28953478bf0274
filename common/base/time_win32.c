/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <windows.h>

/* A FILETIME counts 100 ns since 1601-01-01 UTC. */
#define EPOCH_1601 INT64_C(116444736000000000)

int64_t
time_now_us(void)
{
    FILETIME ft;

    GetSystemTimePreciseAsFileTime(&ft);
    return ((int64_t)((uint64_t)ft.dwHighDateTime << 32 | ft.dwLowDateTime) - EPOCH_1601) / 10;
}

uint64_t
time_mono_ns(void)
{
    LARGE_INTEGER count;
    LARGE_INTEGER per_second;
    uint64_t ticks;
    uint64_t rate;

    (void)QueryPerformanceCounter(&count); /* both cannot fail since Windows XP */
    (void)QueryPerformanceFrequency(&per_second);
    ticks = (uint64_t)count.QuadPart;
    rate = (uint64_t)per_second.QuadPart;
    return ticks / rate * 1000000000u + ticks % rate * 1000000000u / rate;
}
