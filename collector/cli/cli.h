/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_CLI_H
#define VARVE_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/exit_code.h"
#include "os/file.h"

/*
 * The operator's command.  One table (commands.c) describes every command and option; the parser,
 * the help and the dispatch follow from it.  One invocation is one command over one connection.
 *
 * Results go to `out`, everything else (errors, the progress line) to `err`.
 */

struct interrupt;
struct session;
struct cli_command;

#define CLI_OPTIONS_MAX 10u
#define CLI_ACCESS_PATH "/var/lib/varve/operator.access"

/* What surrounds an invocation; a test brings its own. */
struct cli_env {
    FILE *out;
    FILE *err;
    struct fs *fs;
    bool terminal;      /* err is one: show a progress line */
    const char *access; /* VARVE_ACCESS, or NULL */
    struct interrupt *interrupt;
};

struct cli {
    const struct cli_env *env;
    const struct cli_command *command;
    const char *values[CLI_OPTIONS_MAX]; /* of the command's options; a flag given: "" */
    char **args;
    size_t arg_count;
    bool json;
    bool quiet;
    bool bytes; /* sizes exactly */
    bool help;
    bool version;
    const char *access;
    struct session *session; /* opened by cli_session() */
    bool unreachable;        /* it could not be opened */
    enum varve_exit worst;   /* what a command that went through has to say all the same */
};

struct cli_option {
    const char *name;  /* "--format"; NULL ends a list */
    const char *value; /* what follows it, for people; NULL: a flag */
    const char *help;
};

struct cli_command {
    const char *name; /* "vm list" */
    const char *args; /* "VM...", for people */
    size_t args_min;
    size_t args_max;
    struct cli_option options[CLI_OPTIONS_MAX];
    const char *summary; /* one line */
    const char *text;    /* a paragraph or two */
    /* NULL: done by the front end (help). */
    enum varve_err (*run)(struct cli *cli, struct varve_error *err);
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
extern const struct cli_option cli_global_options[]; /* ends with a NULL name */

/* The whole program, without signals and process state.  Never exits. */
int cli_main(int argc, char **argv, const struct cli_env *env);

/* Fills *out from the command line; strings point into argv.  VARVE_ERR_INVALID names the word at
 * fault, the nearest right one and where to look. */
VARVE_CHECK enum varve_err cli_parse(struct cli *out, int argc, char **argv,
                                     struct varve_error *err);
/* The value of an option of the command: NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *option);
/* The value of an option, at most 100000; *out stays when it was not given. */
VARVE_CHECK enum varve_err cli_number(struct cli *cli, const char *option, uint32_t *out,
                                      struct varve_error *err);
/* "90s", "30m", "24h", "7d": 1 to UINT32_MAX seconds.  option: for the error. */
VARVE_CHECK enum varve_err cli_seconds(const char *text, const char *option, uint64_t *out,
                                       struct varve_error *err);
/* Bytes a second: "50MiB". */
VARVE_CHECK enum varve_err cli_rate(const char *text, uint64_t *out, struct varve_error *err);
/* Of the words given the one nearest to `word`; NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t count);

void cli_print_help(FILE *out);
/* words: "backup", "run", ...; a noun alone lists its commands. */
VARVE_CHECK enum varve_err cli_print_command_help(FILE *out, char *const *words, size_t count,
                                                  struct varve_error *err);

/* Opens the one connection of this invocation, at most once. */
VARVE_CHECK enum varve_err cli_session(struct cli *cli, struct session **out,
                                       struct varve_error *err);

/* A command that went through but must not end with 0: the first such reason counts. */
void cli_set_exit(struct cli *cli, enum varve_exit code);
/* One line on err, "varve: ..." or a JSON object. */
void cli_print_error(const struct cli *cli, const struct varve_error *error);

enum varve_err cmd_host_invite(struct cli *cli, struct varve_error *err);
enum varve_err cmd_host_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_host_move(struct cli *cli, struct varve_error *err);
enum varve_err cmd_host_revoke(struct cli *cli, struct varve_error *err);
enum varve_err cmd_tenant_add(struct cli *cli, struct varve_error *err);
enum varve_err cmd_tenant_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_tenant_show(struct cli *cli, struct varve_error *err);
enum varve_err cmd_tenant_remove(struct cli *cli, struct varve_error *err);
enum varve_err cmd_quota_set(struct cli *cli, struct varve_error *err);
enum varve_err cmd_quota_show(struct cli *cli, struct varve_error *err);
enum varve_err cmd_vm_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_vm_show(struct cli *cli, struct varve_error *err);
enum varve_err cmd_backup_run(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_show(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_delete(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_undelete(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_deleted(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_hold(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_release(struct cli *cli, struct varve_error *err);
enum varve_err cmd_point_lock(struct cli *cli, struct varve_error *err);
enum varve_err cmd_policy_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_policy_set(struct cli *cli, struct varve_error *err);
enum varve_err cmd_policy_remove(struct cli *cli, struct varve_error *err);
enum varve_err cmd_policy_assign(struct cli *cli, struct varve_error *err);
enum varve_err cmd_retention_run(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_collect(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_check_counts(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_clock(struct cli *cli, struct varve_error *err);
enum varve_err cmd_restore(struct cli *cli, struct varve_error *err);
enum varve_err cmd_verify(struct cli *cli, struct varve_error *err);
enum varve_err cmd_disk_check(struct cli *cli, struct varve_error *err);
enum varve_err cmd_disk_convert(struct cli *cli, struct varve_error *err);
enum varve_err cmd_disk_info(struct cli *cli, struct varve_error *err);
enum varve_err cmd_disk_restore(struct cli *cli, struct varve_error *err);
enum varve_err cmd_key_list(struct cli *cli, struct varve_error *err);
enum varve_err cmd_key_check(struct cli *cli, struct varve_error *err);
enum varve_err cmd_key_add(struct cli *cli, struct varve_error *err);
enum varve_err cmd_key_recovery(struct cli *cli, struct varve_error *err);
enum varve_err cmd_key_remove(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_scrub(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_rebuild(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_restore_state(struct cli *cli, struct varve_error *err);
enum varve_err cmd_store_repair(struct cli *cli, struct varve_error *err);
enum varve_err cmd_verify_status(struct cli *cli, struct varve_error *err);
enum varve_err cmd_status(struct cli *cli, struct varve_error *err);

#endif
