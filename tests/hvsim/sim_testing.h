/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_SIM_TESTING_H
#define HVSIM_SIM_TESTING_H

#include "base/testing.h"
#include "hvsim/engine.h"

/* What the tests of the simulator share: a folder of their own, seeds, other people's readers. */

/* A fresh folder under TMPDIR, removed by test_dir_free(). */
char *test_dir_new(void);
void test_dir_free(char *dir);

/* From HVSIM_TEST_SEED, else from the clock; printed, so that a failure can be had again. */
uint64_t test_seed(void);

bool test_have(const char *tool);
/* Runs a shell command; true: exit code 0. */
bool test_run(const char *fmt, ...) VARVE_PRINTF(1, 2);
/* The content of a VHDX (with its parents, same folder) as 7-Zip reads it equals the raw file. */
bool test_7z_equals(const char *vhdx, const char *raw);
bool test_files_equal(const char *a, const char *b);

/* For callers with a struct sim_error err. */
#define must_work(call)                                                                            \
    do {                                                                                           \
        if ((call) != SIM_OK) {                                                                    \
            fail_msg("%s: %s (0x%08X)", #call, err.text, err.code);                                \
        }                                                                                          \
    } while (0)

/* Ticks until everything is done; fails the test after ten seconds. */
void test_settle(struct sim_host *h);
/* Ticks until the job is over; returns its code (0: completed). */
uint32_t test_finish_job(struct sim_host *h, const struct guid *job, struct guid *result);

#endif
