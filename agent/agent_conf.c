/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "agent.h"
#include "capture/export/export.h"
#include "job/runner.h"
#include "pump/pump.h"

static const char *const captures[] = {"folder", "hyperv", "sim", "vss", "export", "auto", NULL};
static const char *const consistencies[] = {"application", "crash", "application-or-fail", NULL};
static const char *const saved_states[] = {"allow", "refuse", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

static const struct conf_option options[] = {
    {.name = "instance",
     .type = CONF_STRING,
     .value = "NAME",
     .only_command_line = true,
     .at = offsetof(struct agent_conf, instance),
     .help = "Which of several agents on this machine it is: with a name, state folder, "
             "configuration file and service have other defaults, which end in '-NAME'."},
    {.name = "state-dir",
     .type = CONF_STRING,
     .value = "FOLDER",
     .initial = AGENT_STATE_DIR,
     .at = offsetof(struct agent_conf, state_dir),
     .help = "Where the agent keeps its key, its enrolment and the journal of its runs."},
    {.name = "capture",
     .type = CONF_ENUM,
     .choices = captures,
     .initial = AGENT_CAPTURE,
     .at = offsetof(struct agent_conf, capture),
     .help = "How virtual machines are found and frozen. folder: disk images at rest in a folder. "
             "sim: a simulated Hyper-V host. The others are the virtual machines of this Hyper-V "
             "host, only on Windows. auto: each as it and the host allow, and the default there. "
             "hyperv: all by recovery checkpoints and reference points. vss: all by the host's VSS "
             "writer, as for Server 2012 R2. export: the host writes all into export-folder for "
             "the time of a run."},
    {.name = "methods",
     .type = CONF_STRING,
     .value = "LIST",
     .at = offsetof(struct agent_conf, methods),
     .help = "Virtual machines of this Hyper-V host that are frozen in another way than 'capture' "
             "says: 'MACHINE: METHOD', divided by commas. A machine is its name or id; a method is "
             "refpoint, collection, export, vss or auto. An order for a run or of a policy goes "
             "before."},
    {.name = "consistency",
     .type = CONF_ENUM,
     .choices = consistencies,
     .initial = "application",
     .at = offsetof(struct agent_conf, consistency),
     .help = "What a virtual machine is asked for before it is frozen by methods refpoint and "
             "export. "
             "application: its programs are asked to put their data in order, and when they "
             "cannot, it is frozen as it is and the point says so. crash: it is not asked. "
             "application-or-fail: when they cannot, the run fails."},
    {.name = "saved-state",
     .type = CONF_ENUM,
     .choices = saved_states,
     .initial = "allow",
     .at = offsetof(struct agent_conf, saved_state),
     .help = "With method vss: whether the VSS writer may save a running virtual machine for a "
             "moment when its guest cannot be asked. allow: it may, and the point says so. "
             "refuse: the run fails and the machine is not paused."},
    {.name = "folder",
     .type = CONF_STRING,
     .value = "FOLDER",
     .at = offsetof(struct agent_conf, folder),
     .help =
         "The folder of disk images, for capture = folder. Each image in it is a virtual machine "
         "with one disk, each subfolder with images is one with all of them."},
    {.name = "export-folder",
     .type = CONF_STRING,
     .value = "FOLDER",
     .at = offsetof(struct agent_conf, export_folder),
     .help =
         "Where the host writes exported virtual machines, for method export: a local folder "
         "or a UNC path that the host's computer account may write to, with room for the "
         "largest virtual machine times max-runs. What is written there goes when the run ends."},
    {.name = "hyperv-host",
     .type = CONF_STRING,
     .value = "NAME",
     .at = offsetof(struct agent_conf, hyperv_host),
     .help = "With capture = export: the Hyper-V host whose virtual machines these are, by name or "
             "address, when it has no agent of its own; this machine needs no Hyper-V then. It is "
             "reached by WMI as the account that the agent runs as, which must be an administrator "
             "there, and export-folder must be a UNC path. Not set: this machine."},
    {.name = "file-server-credentials",
     .type = CONF_STRING,
     .value = "FILE",
     .at = offsetof(struct agent_conf, file_server_credentials),
     .help =
         "Who logs on to the file servers of VHD sets: a file that only its owner may read. Not "
         "set: the account that the agent runs as."},
    {.name = "file-server-encrypt",
     .type = CONF_BOOL,
     .initial = "no",
     .at = offsetof(struct agent_conf, file_server_encrypt),
     .help = "Whether a VHD set is read encrypted or not at all. no: as server and share ask; what "
             "is not encrypted is signed."},
    {.name = "set-shares",
     .type = CONF_STRING,
     .value = "LIST",
     .at = offsetof(struct agent_conf, set_shares),
     .help = "Shares by which VHD sets on volumes of the cluster are read: "
             "'FOLDER=\\\\SERVER\\SHARE', divided by commas. A set that virtual machines name by a "
             "UNC path needs none."},
    {.name = "file-server-address",
     .type = CONF_STRING,
     .value = "HOST[:PORT]",
     .at = offsetof(struct agent_conf, file_server_address),
     .help = "Where every file server is reached, whatever its name: for trying things out."},
    {.name = "sim-socket",
     .type = CONF_STRING,
     .value = "SOCKET",
     .at = offsetof(struct agent_conf, sim_socket),
     .help = "The socket of the simulated host, for capture = sim."},
    {.name = "hash-threads",
     .type = CONF_INTEGER,
     .unit = "threads",
     .initial = "0",
     .max = 256,
     .at = offsetof(struct agent_conf, hash_threads),
     .help = "Threads that hash and compress at a time. 0: one per core. Never more than one for "
             "each 4 MiB of memory."},
    {.name = "memory",
     .type = CONF_SIZE,
     .initial = "32MiB",
     .min = PUMP_MEMORY_MIN,
     .max = (int64_t)1 << 30,
     .at = offsetof(struct agent_conf, memory),
     .help = "Memory for the data of all runs together."},
    {.name = "max-runs",
     .type = CONF_INTEGER,
     .unit = "runs",
     .initial = "2",
     .min = 1,
     .max = RUNNER_RUNS_MAX,
     .at = offsetof(struct agent_conf, max_runs),
     .help = "Virtual machines that are backed up at a time."},
    {.name = "log-level",
     .type = CONF_ENUM,
     .choices = levels,
     .initial = "info",
     .at = offsetof(struct agent_conf, log_level),
     .help = "What is logged, to standard error."},
};

const struct conf_program agent_program = {
    .name = "varve-agent",
    .version = VARVE_VERSION,
    .summary = "Backs up the virtual machines of this host to a Varve collector.",
    .usage = "enroll TOKEN | run | doctor [OPTION...]",
    .file = AGENT_CONF_FILE,
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

enum varve_err
agent_conf_check(const struct agent_conf *conf, struct varve_error *err)
{
    if (conf->capture == AGENT_CAPTURE_FOLDER && conf->folder == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "capture = folder needs to know which: set 'folder'");
    }
    if (conf->capture == AGENT_CAPTURE_SIM && conf->sim_socket == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "capture = sim needs to know where the host is: set 'sim-socket'");
    }
    if (conf->capture == AGENT_CAPTURE_EXPORT && conf->export_folder == NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "capture = export needs to know where to: set 'export-folder'");
    }
    if (conf->methods != NULL && !agent_conf_is_hyperv(conf)) {
        return varve_error_set(
            err, VARVE_ERR_INVALID,
            "'methods' is for the machines of a Hyper-V host: set capture = auto");
    }
    if (conf->hyperv_host != NULL) {
        return conf->capture == AGENT_CAPTURE_EXPORT
                   ? export_check_server(conf->hyperv_host, conf->export_folder, err)
                   : varve_error_set(err, VARVE_ERR_INVALID,
                                     "hyperv-host needs capture = export: nothing else works from "
                                     "another machine");
    }
    return VARVE_OK;
}

bool
agent_conf_is_hyperv(const struct agent_conf *conf)
{
    return conf->capture != AGENT_CAPTURE_FOLDER && conf->capture != AGENT_CAPTURE_SIM;
}
