/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "main_parts.h"
#include "store/chunk_store.h"

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

static const struct conf_option options[] = {
    {.name = "state-dir",
     .type = CONF_STRING,
     .value = "FOLDER",
     .initial = "/var/lib/varve",
     .at = offsetof(struct collector_conf, state_dir),
     .help =
         "Where the collector keeps its keys, its hosts and the index, and where the operator's "
         "socket is."},
    {.name = "store",
     .type = CONF_STRING,
     .value = "FOLDER",
     .initial = "/var/lib/varve/store",
     .at = offsetof(struct collector_conf, store),
     .help = "Where backups are kept."},
    {.name = "store-key",
     .type = CONF_STRING,
     .value = "FILE",
     .at = offsetof(struct collector_conf, store_key),
     .help =
         "The key of the store; made with the store. Without it no backup can be read. Default: "
         "store.key in the state folder."},
    {.name = "store-passphrase-file",
     .type = CONF_STRING,
     .value = "FILE",
     .at = offsetof(struct collector_conf, store_passphrase_file),
     .help = "A file with a passphrase that opens the store, instead of its key file."},
    {.name = "listen",
     .type = CONF_STRING,
     .value = "URL[,URL...]",
     .initial = "tcp://127.0.0.1:4627",
     .at = offsetof(struct collector_conf, listen),
     .help = "Addresses that agents dial. tcp://0.0.0.0:4627 is every address of the machine."},
    {.name = "workers",
     .type = CONF_INTEGER,
     .unit = "threads",
     .initial = "0",
     .max = 256,
     .at = offsetof(struct collector_conf, workers),
     .help = "Threads that hash and seal what agents send and read what is restored. 0: two per "
             "core, at least 8."},
    {.name = "credit",
     .type = CONF_SIZE,
     .initial = "16MiB",
     .min = 2 << 20,
     .max = 256 << 20,
     .at = offsetof(struct collector_conf, credit),
     .help = "Bytes that one agent may have on the way to the collector."},
    {.name = "run-grace",
     .type = CONF_DURATION,
     .initial = "10m",
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .at = offsetof(struct collector_conf, run_grace),
     .help = "How long a run waits for a host that lost its connection."},
    {.name = "run-silence",
     .type = CONF_DURATION,
     .initial = "10m",
     .min = 1000,
     .max = 24 * 3600 * 1000,
     .at = offsetof(struct collector_conf, run_silence),
     .help = "How long a connected host may say nothing about its run."},
    {.name = "runs",
     .type = CONF_INTEGER,
     .unit = "runs",
     .initial = "8",
     .min = 1,
     .max = 256,
     .at = offsetof(struct collector_conf, runs),
     .help = "Runs that go on at a time."},
    {.name = "runs-per-host",
     .type = CONF_INTEGER,
     .unit = "runs",
     .initial = "2",
     .min = 1,
     .max = 256,
     .at = offsetof(struct collector_conf, runs_per_host),
     .help = "Runs of one host that go on at a time."},
    {.name = "runs-per-volume",
     .type = CONF_INTEGER,
     .unit = "runs",
     .initial = "4",
     .min = 1,
     .max = 256,
     .at = offsetof(struct collector_conf, runs_per_volume),
     .help = "Runs with disks on one volume that go on at a time. A cluster shared volume and a "
             "share are one volume for all hosts."},
    {.name = "sessions",
     .type = CONF_INTEGER,
     .unit = "connections",
     .initial = "4096",
     .min = 4,
     .max = 65536,
     .at = offsetof(struct collector_conf, sessions),
     .help = "Connections at a time."},
    {.name = "verify-age",
     .type = CONF_DURATION,
     .initial = "30d",
     .max = UINT64_C(3650) * 24 * 3600 * 1000,
     .at = offsetof(struct collector_conf, verify_age),
     .help = "Everything in the store is read and checked anew within this time, in the "
             "background. 0s: never."},
    {.name = "verify-rate",
     .type = CONF_SIZE,
     .initial = "0",
     .max = UINT64_C(1) << 40,
     .at = offsetof(struct collector_conf, verify_rate),
     .help = "Bytes a second that this reads at most, even if it then takes longer. 0: what the "
             "time demands."},
    {.name = "chunk-size",
     .type = CONF_SIZE,
     .initial = "64KiB",
     .min = CHUNK_SIZE_MIN,
     .max = CHUNK_SIZE_MAX,
     .at = offsetof(struct collector_conf, chunk_size),
     .help =
         "Unit of deduplication, a power of two. Only asked when the store is made; an existing "
         "store keeps its own."},
    {.name = "collect-every",
     .type = CONF_DURATION,
     .initial = "6h",
     .max = 30ull * 24 * 3600 * 1000,
     .at = offsetof(struct collector_conf, collect_every),
     .help = "How often the policies are applied and what no point needs is removed. 0s: only when "
             "the operator asks."},
    {.name = "collect-rate",
     .type = CONF_SIZE,
     .initial = "0",
     .max = 1ull << 40,
     .at = offsetof(struct collector_conf, collect_rate),
     .help = "Bytes that such a collection reads and writes in a second, at most. 0: no limit."},
    {.name = "log-level",
     .type = CONF_ENUM,
     .choices = levels,
     .initial = "info",
     .at = offsetof(struct collector_conf, log_level),
     .help = "What is logged, to standard error."},
    {.name = "check-config",
     .type = CONF_BOOL,
     .only_command_line = true,
     .at = offsetof(struct collector_conf, check_config),
     .help = "Look at the configuration, say whether it is right, and end."},
};

const struct conf_program collector_program = {
    .name = "varve-collector",
    .version = VARVE_VERSION,
    .summary = "Collects backups of virtual machines from Varve's agents and keeps them.",
    .usage = "[run] [OPTION...]",
    .file = "/etc/varve/collector.conf",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

enum varve_err
collector_conf_listen(const struct collector_conf *conf, size_t i, char **out,
                      struct varve_error *err)
{
    const char *at = conf->listen;

    *out = NULL;
    while (i > 0 && *at != '\0') {
        at += strcspn(at, ",");
        at += *at == ',' ? 1 : 0;
        i--;
    }
    at += strspn(at, " ");
    if (*at == '\0') {
        return VARVE_OK;
    }
    *out = strndup(at, strcspn(at, ", "));
    return *out == NULL ? varve_error_nomem(err) : VARVE_OK;
}

enum varve_err
collector_conf_check(const struct collector_conf *conf, struct varve_error *err)
{
    size_t count = 0;

    if (!is_power_of_two_u64(conf->chunk_size)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "chunk-size: must be a power of two, such as 64KiB");
    }
    for (;; count++) {
        char *url = NULL;
        enum varve_err rc = collector_conf_listen(conf, count, &url, err);

        if (rc != VARVE_OK) {
            return rc;
        }
        if (url == NULL) {
            break;
        }
        if (strncmp(url, "tcp://", 6) != 0 || strrchr(url + 6, ':') == NULL) {
            rc =
                varve_error_set(err, VARVE_ERR_INVALID,
                                "listen: '%.64s' is not an address; write tcp://ADDRESS:PORT", url);
        }
        free(url);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (count == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "listen: no address; write tcp://ADDRESS:PORT");
    }
    return VARVE_OK;
}
