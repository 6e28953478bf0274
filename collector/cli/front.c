/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/print.h"
#include "cli/session.h"
#include "crypto/identity.h"

void
cli_set_exit(struct cli *cli, enum varve_exit code)
{
    if (cli->worst == VARVE_EXIT_OK) {
        cli->worst = code;
    }
}

void
cli_print_error(const struct cli *cli, const struct varve_error *error)
{
    struct varve_error ignored;

    if (cli->json) {
        json_t *object = json_pack("{s:o}", "error", json_error(error));

        if (print_json_line(cli->env->err, object, &ignored) == VARVE_OK) {
            return;
        }
    }
    (void)fputs("varve: ", cli->env->err);
    print_text(cli->env->err, error->msg);
    (void)fputc('\n', cli->env->err);
}

static enum varve_err
load_access(struct cli *cli, struct access *out, struct varve_error *err)
{
    const char *path = cli->access != NULL        ? cli->access
                       : cli->env->access != NULL ? cli->env->access
                                                  : CLI_ACCESS_PATH;
    enum varve_err rc = access_load(out, cli->env->fs, path, err);

    if (rc == VARVE_ERR_NOT_FOUND) {
        return varve_error_set(err, VARVE_ERR_AUTH,
                               "there is no access file '%s': the collector makes it at its first "
                               "start; name yours with --access or VARVE_ACCESS",
                               path);
    }
    if (rc == VARVE_ERR_CORRUPT) {
        return varve_error_set(err, VARVE_ERR_AUTH, "'%s' is not an access file of a collector",
                               path);
    }
    return rc;
}

enum varve_err
cli_session(struct cli *cli, struct session **out, struct varve_error *err)
{
    struct access access;
    enum varve_err rc;

    if (cli->session == NULL) {
        rc = load_access(cli, &access, err);
        if (rc != VARVE_OK) {
            return rc;
        }
        rc = session_open(&cli->session, &access, cli->env->interrupt, err);
        access_release(&access);
        if (rc != VARVE_OK) {
            cli->unreachable = true;
            return rc;
        }
    }
    *out = cli->session;
    return VARVE_OK;
}

static enum varve_err
run_help(struct cli *cli, struct varve_error *err)
{
    char *words[2];

    if (cli->command == NULL || (cli->command->run == NULL && cli->arg_count == 0)) {
        cli_print_help(cli->env->out);
        return VARVE_OK;
    }
    if (cli->command->run == NULL) {
        return cli_print_command_help(cli->env->out, cli->args, cli->arg_count, err);
    }
    words[0] = (char *)(uintptr_t)cli->command->name; /* only read */
    return cli_print_command_help(cli->env->out, words, 1, err);
}

static enum varve_err
run(struct cli *cli, int argc, char **argv, struct varve_error *err)
{
    enum varve_err rc;

    rc = cli_parse(cli, argc, argv, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (cli->version) {
        (void)fprintf(cli->env->out, "varve " VARVE_VERSION "\n");
        return VARVE_OK;
    }
    if (cli->help || cli->command->run == NULL) {
        return run_help(cli, err);
    }
    rc = crypto_init(err);
    return rc == VARVE_OK ? cli->command->run(cli, err) : rc;
}

int
cli_main(int argc, char **argv, const struct cli_env *env)
{
    struct cli cli = {.env = env, .worst = VARVE_EXIT_OK};
    struct varve_error err = {.code = VARVE_OK};
    enum varve_exit code = VARVE_EXIT_FAILED;
    enum varve_err rc;

    cli.args = calloc((size_t)argc + 1, sizeof(*cli.args));
    rc = cli.args == NULL ? varve_error_nomem(&err) : run(&cli, argc, argv, &err);
    if (rc == VARVE_OK && (fflush(env->out) != 0 || ferror(env->out) != 0)) {
        rc = varve_error_set(&err, VARVE_ERR_IO, "the output could not be written");
    }
    if (rc != VARVE_OK) {
        if (rc != VARVE_ERR_CANCELLED && cancel_is_set(&env->interrupt->cancel)) {
            rc = varve_error_set(&err, VARVE_ERR_CANCELLED, "interrupted");
        }
        cli_print_error(&cli, &err);
        code = varve_exit_of(rc,
                             cli.unreachable || (cli.session != NULL && session_lost(cli.session)));
    } else {
        code = cli.worst;
    }
    session_close(cli.session);
    free(cli.args);
    return (int)code;
}
