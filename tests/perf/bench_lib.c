/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/bench_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define LOOK_EVERY_MS 20u

void
bench_name(uint64_t n, uint8_t out[32])
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t z = n * 4 + i + 0x9e3779b97f4a7c15ull * (n + 1);

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z ^= z >> 31;
        memcpy(out + i * 8, &z, 8);
    }
}

double
bench_cpu_seconds(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0) {
        return 0;
    }
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void
bench_memory(uint64_t *anonymous, uint64_t *mapped)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];

    *anonymous = 0;
    *mapped = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0) {
            *anonymous = strtoull(line + 8, NULL, 10);
        } else if (strncmp(line, "RssFile:", 8) == 0) {
            *mapped = strtoull(line + 8, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void
watch(void *arg)
{
    struct bench_peak *p = arg;
    uint64_t anonymous;
    uint64_t mapped;

    do {
        bench_memory(&anonymous, &mapped);
        p->anonymous = anonymous > p->anonymous ? anonymous : p->anonymous;
    } while (!cancel_wait(&p->stop, LOOK_EVERY_MS));
}

void
bench_peak_begin(struct bench_peak *p)
{
    struct varve_error err;

    memset(p, 0, sizeof(*p));
    cancel_init(&p->stop);
    if (thread_start(&p->thread, "peak", watch, p, &err) != VARVE_OK) {
        (void)fprintf(stderr, "bench: %s\n", err.msg);
        exit(1);
    }
}

uint64_t
bench_peak_end(struct bench_peak *p)
{
    cancel_set(&p->stop);
    thread_join(&p->thread);
    cancel_destroy(&p->stop);
    return p->anonymous;
}
