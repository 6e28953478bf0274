/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_SECRET_INPUT_H
#define VARVE_CLI_SECRET_INPUT_H

#include "cli/cli.h"
#include "offline/offline.h"

/*
 * The secret that opens a store, from the options of a command:
 *
 *   --key FILE                a key file
 *   --passphrase-file FILE    its first line; - is standard input, asked for without echo on a terminal
 *   --recovery-file FILE      the recovery key as it was printed; - as above
 *
 * One of them, else the collector's own key file.  Never from the command line itself or the environment,
 * where others can read it.
 */
#define CLI_STORE_KEY_PATH "/var/lib/varve/store.key"
#define CLI_SECRET_MAX     1200u

struct secret_input {
    struct offline_secret secret;
    char text[CLI_SECRET_MAX]; /* what was typed */
};

/* prefix: "--" for the secret that opens, "--new-" for the one that is added (then none is VARVE_ERR_INVALID).
 * Wipe with secret_input_wipe(). */
VARVE_CHECK enum varve_err secret_input_get(struct cli *cli, const char *prefix,
                                            struct secret_input *out, struct varve_error *err);
void secret_input_wipe(struct secret_input *s);

#endif
