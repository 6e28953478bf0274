/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_AGENT_H
#define VARVE_AGENT_AGENT_H

#include "capture/capture.h"
#include "conf/conf.h"
#include "enrolment.h"
#include "source/rsvd/set_server.h"
#include "source/source.h"
#include "source/vdisk_port.h"
#include "vss/vss_port.h"
#include "wmi/wmi_port.h"

/* The agent as one thing: its options, and what its commands do.  Only main.c uses this. */

enum agent_capture {
    AGENT_CAPTURE_FOLDER = 0,
    AGENT_CAPTURE_HYPERV,
    AGENT_CAPTURE_SIM,
    AGENT_CAPTURE_VSS,
    AGENT_CAPTURE_EXPORT,
    AGENT_CAPTURE_AUTO
};

enum agent_saved_state { AGENT_SAVED_STATE_ALLOW = 0, AGENT_SAVED_STATE_REFUSE };

struct agent_conf {
    char *instance; /* NULL: the one without a name */
    char *state_dir;
    unsigned capture; /* enum agent_capture */
    char *sim_socket;
    char *folder;
    char *export_folder;
    char *hyperv_host; /* NULL: this machine */
    char *methods;
    char *file_server_credentials;
    char *file_server_address;
    bool file_server_encrypt;
    char *set_shares;
    unsigned consistency; /* enum refpoint_consistency */
    unsigned saved_state; /* enum agent_saved_state */
    int64_t hash_threads;
    uint64_t memory;
    int64_t max_runs;
    unsigned log_level;
};

extern const struct conf_program agent_program;
#define AGENT_SOFTWARE "varve-agent " VARVE_VERSION

/*
 * Several agents on one machine, each with a name: --instance changes where an agent has its state, its configuration and, on
 * Windows, its service, unless they are given.  The program's table with those defaults; points into itself, so it stays where it is.
 */
#define AGENT_INSTANCE_MAX 64u
#define AGENT_OPTIONS_MAX  48u

struct agent_instance {
    char name[AGENT_INSTANCE_MAX + 1]; /* "" none */
    char service[AGENT_INSTANCE_MAX + 16];
    char state_dir[AGENT_INSTANCE_MAX + 64];
    char file[AGENT_INSTANCE_MAX + 64];
    struct conf_option options[AGENT_OPTIONS_MAX];
    struct conf_program program;
};

/* Before conf_load(); VARVE_ERR_INVALID: it is no name. */
VARVE_CHECK enum varve_err agent_instance_take(struct agent_instance *out, int argc, char **argv,
                                               struct varve_error *err);
/* After it: both read the command line in the same way. */
VARVE_CHECK enum varve_err agent_instance_check(const struct agent_instance *i,
                                                const struct agent_conf *conf,
                                                struct varve_error *err);

/* What the table cannot say: options that need one another. */
VARVE_CHECK enum varve_err agent_conf_check(const struct agent_conf *conf, struct varve_error *err);

/* agent_host.c: the way to the virtual machines that the configuration names. */
struct agent_host {
    struct capture *capture;
    struct wmi_port *wmi;     /* of a Hyper-V host, whatever the method */
    struct wmi_port *cluster; /* of its cluster, not connected; NULL: nobody is asked */
    struct vdisk_port *vdisk; /* the same; NULL: vdisk_why */
    struct varve_error vdisk_why;
    struct vss_port *vss; /* NULL: vss_why */
    struct varve_error vss_why;
    struct set_server sets; /* where VHD sets are read */
    bool no_hyperv;         /* agent_host_open() failed because the host has no such namespace */
};

/* The ways to Hyper-V, not connected: agent_ports_*.c.  Without WMI there is none; of another server (NULL: this
 * machine) that is all. */
VARVE_CHECK enum varve_err agent_ports_open(struct agent_host *h, const char *server,
                                            struct varve_error *err);
/* The word for "virtual machines of this Hyper-V host, in one way or the other". */
bool agent_conf_is_hyperv(const struct agent_conf *conf);
/* Opens the capture; the ports too, unless they are open. */
VARVE_CHECK enum varve_err agent_host_open(struct agent_host *h, const struct agent_conf *conf,
                                           const struct identity *key, struct varve_error *err);
/* After a host without Hyper-V could not be opened: it is one without virtual machines, and says why. */
VARVE_CHECK enum varve_err agent_host_absent(struct agent_host *h, const struct varve_error *why,
                                             struct varve_error *err);
/* Whether such a host has Hyper-V now. */
bool agent_host_appeared(struct agent_host *h);
void agent_host_close(struct agent_host *h); /* one that is all zero is fine */
/* struct job_env's open_source; arg is the host */
VARVE_CHECK enum varve_err agent_host_source(void *arg, const struct capture_frozen *frozen,
                                             size_t disk, struct source **out,
                                             struct varve_error *err);

/* Until the system wants the program to end. */
VARVE_CHECK enum varve_err agent_run(const struct agent_conf *conf, struct varve_error *err);
/* Says on standard output what would be backed up and how. */
VARVE_CHECK enum varve_err agent_doctor(const struct agent_conf *conf, struct varve_error *err);

/* agent_doctor_sets.c: the file servers of VHD sets, a line for each share that is configured or that a vm's set is on.  The
 * first problem is the result. */
VARVE_CHECK enum varve_err agent_doctor_sets(const struct set_server *s,
                                             const struct capture_inventory *inv,
                                             struct varve_error *err);

#endif
