/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SIM_BASE_H
#define HVSIM_SIM_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"

/*
 * What every file of the simulator stands on: errors as Windows numbers, memory, arrays, seeded
 * randomness.  Its errors are its own type, not struct varve_error: what leaves this program is
 * what a host would say.  Out of memory ends the program: it is a test program.
 */

/* 0 or one of these; see README.md for the meaning of each towards a client. */
#define SIM_OK            0u
#define SIM_UNSUPPORTED   1u /* ReturnValue of a WMI method, as the next ones */
#define SIM_FAILED        32768u
#define SIM_NO_SUPPORT    32770u
#define SIM_IN_USE        32774u
#define SIM_INVALID_STATE 32775u
#define SIM_NOT_FOUND     0x80041002u /* WBEM_E_NOT_FOUND */
#define SIM_FILE_MISSING  0x80070002u
#define SIM_SHARING       0x80070020u
#define SIM_IO            0x8007001Fu /* ERROR_GEN_FAILURE */
#define SIM_INVALID       0x80070057u
#define SIM_NO_SPACE      0x80070070u
#define SIM_CT_LOST       0xC03A0020u /* CTLOG_TRACKING_NOT_INITIALIZED */
#define SIM_CT_OFFLINE    0xC03A0022u /* CTLOG_VHD_CHANGED_OFFLINE */
#define SIM_CT_INVALID_ID 0xC03A0029u /* VHD_INVALID_CHANGE_TRACKING_ID */
#define SIM_CT_DISABLED   0xC03A002Au /* VHD_CHANGE_TRACKING_DISABLED */
#define SIM_CT_MISSING    0xC03A0030u /* VHD_MISSING_CHANGE_TRACKING_INFORMATION */

struct sim_error {
    uint32_t code;
    char text[320];
};

/* Both return the code, so that "return sim_fail(...)" reads well. */
uint32_t sim_fail(struct sim_error *err, uint32_t code, const char *fmt, ...) VARVE_PRINTF(3, 4);
/* ENOENT, ENOSPC and the like become their HRESULT; ": <text of errnum>" is appended. */
uint32_t sim_fail_errno(struct sim_error *err, int errnum, const char *fmt, ...) VARVE_PRINTF(3, 4);

void *sim_alloc(size_t size); /* zeroed */
char *sim_strdup(const char *s);
char *sim_printf(const char *fmt, ...) VARVE_PRINTF(1, 2); /* the caller frees */

/* Makes room for one more zeroed element at the end of an array and counts it. */
void *sim_array_add(void *items_ptr, size_t *count, size_t item_size);
void sim_array_remove(void *items, size_t *count, size_t item_size, size_t index);

/* xoshiro256** seeded by splitmix64: the same seed gives the same host. */
struct sim_random {
    uint64_t s[4];
};

void sim_random_seed(struct sim_random *r, uint64_t seed);
uint64_t sim_random_next(struct sim_random *r);
uint64_t sim_random_below(struct sim_random *r, uint64_t bound); /* bound > 0 */
void sim_random_guid(struct sim_random *r, struct guid *out);
/* Bytes that depend on seed and offset only, so that two writes of the same place agree. */
void sim_random_fill(void *buf, size_t len, uint64_t seed, uint64_t offset);

uint64_t sim_clock_ms(void); /* monotonic */

#endif
