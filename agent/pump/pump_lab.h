/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_PUMP_PUMP_LAB_H
#define VARVE_PUMP_PUMP_LAB_H

#include "base/testing.h"

#include "pump/pump.h"
#include "uplink/peer_fake.h"

/* A pump between a disk in memory and a collector that keeps what it is sent; trouble fails the test. */
#define KIB   ((uint64_t)1024)
#define MIB   (KIB * 1024)
#define CHUNK ((uint32_t)(64 * KIB))

extern const struct guid pump_lab_run; /* the only run there is */

struct pump_lab {
    struct peer_fake *fake;
    struct pump *pump;
    struct peer *peer;
};

void pump_lab_open(struct pump_lab *l, uint32_t chunk_size, unsigned threads, uint32_t delay_us);
/* The same, with a peer that does not take gaps, or does; the other takes them. */
void pump_lab_open_gaps(struct pump_lab *l, uint32_t chunk_size, unsigned threads,
                        uint32_t delay_us, bool takes_gaps);
/* Fails the test where the pump did what a collector refuses. */
void pump_lab_close(struct pump_lab *l);

struct pump_lab_options {
    uint32_t chunk_size;
    const struct walk_changes *changes;
    struct names *known;
    struct names *fresh;
    struct cancel *cancel;
    unsigned fail_nth;
    struct source_trace_counts *trace;
    void (*tick)(void *arg, const struct pump_counts *counts);
    void *tick_arg;
};

/* DiskBegin, pump, DiskEnd. */
enum varve_err pump_lab_pump(struct pump_lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size,
                             const uint8_t *map, const struct pump_lab_options *o,
                             struct pump_counts *counts, struct varve_error *err);

void pump_lab_fill(uint8_t *p, size_t len, uint32_t seed);
/* Chunks by kind: r random, t text-like, z zeros, s the same bytes each time.  The caller frees. */
uint8_t *pump_lab_disk(const char *kinds, size_t repeat, size_t tail, uint64_t *size);
/* The collector has the disk byte for byte. */
void pump_lab_check(struct pump_lab *l, uint32_t disk, const uint8_t *bytes, uint64_t size);

#endif
