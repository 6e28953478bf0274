/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_TIME_H
#define VARVE_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define TIME_TEXT_SIZE 32

/* Wall clock, microseconds since 1970-01-01 UTC. */
int64_t time_now_us(void);

/* Monotonic clock, nanoseconds since some fixed moment; for durations and deadlines. */
uint64_t time_mono_ns(void);

/* Nanoseconds since the machine was started, time asleep included.  Nobody can set it. */
uint64_t time_boot_ns(void);

/* "2026-11-22T10:15:30.123456Z" (RFC 3339). */
void time_format(int64_t us, char out[TIME_TEXT_SIZE]);
bool time_parse(int64_t *out_us, const char *text);

#endif
