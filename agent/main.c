/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/exit_code.h"
#include "base/log.h"
#include "service.h"

/* varve-agent: commands, and how they end. */

struct command {
    const char *name;
    size_t arguments;
    const char *missing; /* what to say when they are not there */
};

enum { COMMAND_ENROLL, COMMAND_RUN, COMMAND_DOCTOR, COMMAND_COUNT };

static const struct command commands[COMMAND_COUNT] = {
    [COMMAND_ENROLL] = {"enroll", 1, "a token, which 'varve host invite NAME' prints"},
    [COMMAND_RUN] = {"run", 0, ""},
    [COMMAND_DOCTOR] = {"doctor", 0, ""},
};

/* talks: a command that speaks with a collector. */
static int
complain(const struct varve_error *err, bool talks)
{
    bool unreachable = err->code == VARVE_ERR_TIMEOUT || err->code == VARVE_ERR_CLOSED ||
                       (err->code == VARVE_ERR_IO && talks);

    (void)fprintf(stderr, "varve-agent: %s\n", err->msg);
    return (int)varve_exit_of(err->code, unreachable);
}

static enum varve_err
find_command(const struct conf_args *args, size_t *out, struct varve_error *err)
{
    size_t i;

    if (args->positional_count == 0) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "say what to do: enroll TOKEN, run%s or doctor (--help shows more)",
                               service_commands);
    }
    for (i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(args->positional[0], commands[i].name) != 0) {
            continue;
        }
        if (args->positional_count - 1 < commands[i].arguments) {
            return varve_error_set(err, VARVE_ERR_INVALID, "'%s' needs %s", commands[i].name,
                                   commands[i].missing);
        }
        if (args->positional_count - 1 > commands[i].arguments) {
            return varve_error_set(err, VARVE_ERR_INVALID,
                                   "'%s' does not know what to do with '%s'", commands[i].name,
                                   args->positional[commands[i].arguments + 1]);
        }
        *out = i;
        return VARVE_OK;
    }
    return varve_error_set(
        err, VARVE_ERR_INVALID,
        "'%.64s' is not something the agent does; enroll TOKEN, run%s and doctor "
        "are (--help shows more)",
        args->positional[0], service_commands);
}

static int
carry_out(size_t command, const struct conf_args *args, const struct agent_conf *conf)
{
    struct varve_error err;
    enum varve_err rc;

    rc = crypto_init(&err);
    if (rc == VARVE_OK && command == COMMAND_ENROLL) {
        rc =
            enrolment_make(fs_system(), conf->state_dir, args->positional[1], AGENT_SOFTWARE, &err);
        return rc == VARVE_OK ? VARVE_EXIT_OK : complain(&err, true);
    }
    if (rc == VARVE_OK) {
        rc = agent_conf_check(conf, &err);
    }
    if (rc == VARVE_OK && command == COMMAND_RUN) {
        rc = agent_run(conf, &err);
    } else if (rc == VARVE_OK) {
        rc = agent_doctor(conf, &err);
    }
    return rc == VARVE_OK ? VARVE_EXIT_OK : complain(&err, false);
}

struct work {
    const struct conf_args *args;
    const struct agent_conf *conf;
};

static int
run_as_service(void *arg)
{
    const struct work *work = arg;

    return carry_out(COMMAND_RUN, work->args, work->conf);
}

static int
choose(const struct conf_args *args, const struct agent_conf *conf, const char *name, int argc,
       char **argv)
{
    struct work work = {.args = args, .conf = conf};
    struct varve_error err;
    size_t command = 0;
    int code = VARVE_EXIT_FAILED;

    if (args->positional_count == 1 &&
        service_command(args->positional[0], name, argc, argv, run_as_service, &work, &code)) {
        return code;
    }
    if (find_command(args, &command, &err) != VARVE_OK) {
        return complain(&err, false);
    }
    return carry_out(command, args, conf);
}

static int
start(int argc, char **argv)
{
    struct agent_instance instance;
    struct agent_conf conf = {0};
    struct conf_args args;
    struct varve_error err;
    int code;

    if (agent_instance_take(&instance, argc, argv, &err) != VARVE_OK ||
        conf_load(&instance.program, &conf, &args, argc, argv, fs_system(), &err) != VARVE_OK) {
        return complain(&err, false);
    }
    if (args.print != NULL) {
        (void)fputs(args.print, stdout);
        code = VARVE_EXIT_OK;
    } else if (agent_instance_check(&instance, &conf, &err) != VARVE_OK) {
        code = complain(&err, false);
    } else {
        log_set_level((enum log_level)conf.log_level);
        code = choose(&args, &conf, instance.service, argc, argv);
    }
    conf_args_release(&args);
    conf_release(&instance.program, &conf);
    return code;
}

int
main(int argc, char **argv)
{
    service_prepare(&argc, &argv);
    return start(argc, argv);
}
