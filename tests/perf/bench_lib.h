/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_PERF_BENCH_LIB_H
#define VARVE_PERF_BENCH_LIB_H

#include <stdint.h>

#include "os/thread.h"

/* What the benches share. */

/* 32 bytes from one number, as good as a hash. */
void bench_name(uint64_t n, uint8_t out[32]);

/* User and system time of this process, seconds. */
double bench_cpu_seconds(void);

/* Memory of this process, KiB: its own (anonymous), and files' pages that it has mapped. */
void bench_memory(uint64_t *anonymous, uint64_t *mapped);

/* The highest anonymous memory between begin and end, looked at 50 times a second by a thread of its own. */
struct bench_peak {
    struct cancel stop;
    struct thread thread;
    uint64_t anonymous; /* KiB */
};
void bench_peak_begin(struct bench_peak *p);
uint64_t bench_peak_end(struct bench_peak *p); /* KiB */

#endif
