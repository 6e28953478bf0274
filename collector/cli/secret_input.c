/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/secret_input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <sodium.h>

/* One line from standard input.  On a terminal: asked for, twice when it is a new one, and not shown. */
static enum varve_err
read_line(struct cli *cli, const char *question, char out[CLI_SECRET_MAX], struct varve_error *err)
{
    struct termios old;
    struct termios quiet;
    bool terminal = isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &old) == 0;
    size_t len = 0;
    ssize_t n = 0;

    if (terminal) {
        (void)fprintf(cli->env->err, "%s: ", question);
        (void)fflush(cli->env->err);
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    while (len + 1 < CLI_SECRET_MAX) {
        n = read(STDIN_FILENO, out + len, 1); /* not a byte beyond the line */
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || out[len] == '\n') {
            break;
        }
        len++;
    }
    out[len] = '\0';
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        (void)fputc('\n', cli->env->err);
    }
    if (n < 0) {
        return varve_error_errno(err, errno, "reading standard input");
    }
    return len > 0 ? VARVE_OK
                   : varve_error_set(err, VARVE_ERR_INVALID, "nothing was given on standard input");
}

static enum varve_err
ask(struct cli *cli, enum offline_secret_kind kind, bool is_new, struct secret_input *out,
    struct varve_error *err)
{
    const char *question = kind == OFFLINE_RECOVERY ? "recovery key"
                           : is_new                 ? "new passphrase"
                                                    : "passphrase";
    char again[CLI_SECRET_MAX];
    enum varve_err rc = read_line(cli, question, out->text, err);

    if (rc == VARVE_OK && is_new && isatty(STDIN_FILENO) != 0) {
        rc = read_line(cli, "once more", again, err);
        if (rc == VARVE_OK && strcmp(again, out->text) != 0) {
            rc = varve_error_set(err, VARVE_ERR_INVALID, "the two passphrases differ");
        }
        sodium_memzero(again, sizeof(again));
    }
    out->secret.text = out->text;
    out->secret.path = "";
    return rc;
}

enum varve_err
secret_input_get(struct cli *cli, const char *prefix, struct secret_input *out,
                 struct varve_error *err)
{
    static const char *const names[] = {"", "key", "passphrase-file", "recovery-file"};
    bool is_new = strcmp(prefix, "--") != 0;
    unsigned given = 0;

    memset(out, 0, sizeof(*out));
    for (unsigned kind = OFFLINE_KEY_FILE; kind <= OFFLINE_RECOVERY; kind++) {
        char option[40];
        const char *value;

        (void)snprintf(option, sizeof(option), "%s%s", prefix, names[kind]);
        value = cli_value(cli, option);
        if (value != NULL) {
            given++;
            out->secret.kind = (enum offline_secret_kind)kind;
            out->secret.path = value;
        }
    }
    if (given > 1 || (given == 0 && is_new)) {
        return varve_error_set(err, VARVE_ERR_INVALID, "give one of %skey and %spassphrase-file%s",
                               prefix, prefix, is_new ? "" : ", or --recovery-file");
    }
    if (given == 0) {
        out->secret.kind = OFFLINE_KEY_FILE;
        out->secret.path = CLI_STORE_KEY_PATH;
        return VARVE_OK;
    }
    if (out->secret.kind != OFFLINE_KEY_FILE && strcmp(out->secret.path, "-") == 0) {
        return ask(cli, out->secret.kind, is_new, out, err);
    }
    return VARVE_OK;
}

void
secret_input_wipe(struct secret_input *s)
{
    sodium_memzero(s, sizeof(*s));
}
