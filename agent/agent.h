/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_AGENT_H
#define VARVE_AGENT_AGENT_H

#include "capture/capture.h"
#include "conf/conf.h"
#include "enrolment.h"

/* The agent as one thing: its options, and what its commands do.  Only main.c uses this. */

enum agent_capture { AGENT_CAPTURE_FOLDER = 0, AGENT_CAPTURE_SIM = 1 };

struct agent_conf {
    char *state_dir;
    unsigned capture; /* enum agent_capture */
    char *sim_socket;
    char *folder;
    int64_t hash_threads;
    uint64_t memory;
    int64_t max_runs;
    unsigned log_level;
};

extern const struct conf_program agent_program;
#define AGENT_SOFTWARE "varve-agent " VARVE_VERSION

/* What the table cannot say: options that need one another. */
VARVE_CHECK enum varve_err agent_conf_check(const struct agent_conf *conf, struct varve_error *err);

/* agent_open.c: the capture that the configuration names. */
VARVE_CHECK enum varve_err agent_open_capture(struct capture **out, const struct agent_conf *conf,
                                              const struct identity *key, struct varve_error *err);

/* Until the system wants the program to end. */
VARVE_CHECK enum varve_err agent_run(const struct agent_conf *conf, struct varve_error *err);
/* Says on standard output what would be backed up and how. */
VARVE_CHECK enum varve_err agent_doctor(const struct agent_conf *conf, struct varve_error *err);

#endif
