/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "cli/print.h"
#include "cli/secret_input.h"

/* Who can open a store.  All of it works on the store's directory, with or without a collector. */

static const char *
folder_of(const struct cli *cli)
{
    const char *folder = cli_value(cli, "--store");

    return folder == NULL ? "/var/lib/varve/store" : folder;
}

/* ---- list ---- */

struct listing {
    struct cli *cli;
    struct print_table *table;
    enum varve_err rc;
    struct varve_error *err;
};

static bool
list_one(void *arg, const struct offline_recipient *r)
{
    struct listing *l = arg;
    char text[64];

    if (l->cli->json) {
        json_t *o =
            json_pack("{s:i,s:s,s:o,s:o,s:i,s:i}", "id", (int)r->id, "kind", r->kind, "label",
                      json_text(r->label), "made_at", json_time(r->made_at_us), "argon2id_passes",
                      (int)r->passes, "argon2id_kib", (int)r->memory_kib);

        l->rc = print_json_line(l->cli->env->out, o, l->err);
        return l->rc == VARVE_OK;
    }
    (void)snprintf(text, sizeof(text), "%" PRIu32, r->id);
    print_table_cell(l->table, text);
    print_table_cell(l->table, r->kind);
    print_table_cell(l->table, r->label);
    print_time(r->made_at_us, text);
    print_table_cell(l->table, text);
    if (r->passes > 0) {
        (void)snprintf(text, sizeof(text), "argon2id, %" PRIu32 " passes, %" PRIu32 " MiB",
                       r->passes, r->memory_kib / 1024);
    }
    print_table_cell(l->table, r->passes > 0 ? text : "");
    return true;
}

enum varve_err
cmd_key_list(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {">ID", "KIND", "LABEL", "MADE", "COST"};
    struct listing l = {.cli = cli, .rc = VARVE_OK, .err = err};
    enum varve_err rc;

    l.table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    rc = offline_key_list(cli->env->fs, folder_of(cli), list_one, &l, err);
    rc = rc == VARVE_OK ? l.rc : rc;
    if (rc == VARVE_OK && !cli->json) {
        rc = print_table_print(l.table, cli->env->out, err);
    }
    print_table_free(l.table);
    return rc;
}

/* ---- the others ---- */

static enum varve_err
say(struct cli *cli, const char *done, uint32_t id, struct varve_error *err)
{
    if (cli->json) {
        return print_json_line(cli->env->out, json_pack("{s:i,s:s}", "id", (int)id, "done", done),
                               err);
    }
    if (!cli->quiet) {
        (void)fprintf(cli->env->out, "recipient %" PRIu32 " %s\n", id, done);
    }
    return VARVE_OK;
}

enum varve_err
cmd_key_check(struct cli *cli, struct varve_error *err)
{
    struct secret_input own;
    uint32_t id = 0;
    enum varve_err rc = secret_input_get(cli, "--", &own, err);

    if (rc == VARVE_OK) {
        rc = offline_key_check(cli->env->fs, folder_of(cli), &own.secret, &id, err);
    }
    secret_input_wipe(&own);
    return rc == VARVE_OK ? say(cli, "opens the store", id, err) : rc;
}

enum varve_err
cmd_key_add(struct cli *cli, struct varve_error *err)
{
    const char *label = cli_value(cli, "--label");
    struct secret_input own;
    struct secret_input added = {.secret = {.path = NULL}};
    uint32_t id = 0;
    enum varve_err rc = secret_input_get(cli, "--", &own, err);

    if (rc == VARVE_OK) {
        rc = secret_input_get(cli, "--new-", &added, err);
    }
    if (rc == VARVE_OK) {
        rc = offline_key_add(cli->env->fs, folder_of(cli), &own.secret, &added.secret,
                             label == NULL ? "" : label, &id, err);
    }
    secret_input_wipe(&own);
    secret_input_wipe(&added);
    return rc == VARVE_OK ? say(cli, "was added", id, err) : rc;
}

/* All of it has left the process, or an error. */
static enum varve_err
show_recovery(struct cli *cli, const char *text, uint32_t id, struct varve_error *err)
{
    FILE *out = cli->env->out;
    enum varve_err rc = VARVE_OK;

    if (cli->json) {
        rc = print_json_line(out, json_pack("{s:i,s:s}", "id", (int)id, "recovery_key", text), err);
    } else {
        (void)fprintf(
            out,
            "%s\n\nThis is recipient %" PRIu32
            ".  It opens the store and is shown this once: print it or write it down, and "
            "keep it\naway from the store.  'varve key check --recovery-file -' tries it.\n",
            text, id);
    }
    if (rc == VARVE_OK && (fflush(out) != 0 || ferror(out) != 0)) {
        rc = varve_error_set(err, VARVE_ERR_IO, "the output could not be written");
    }
    return rc;
}

enum varve_err
cmd_key_recovery(struct cli *cli, struct varve_error *err)
{
    const char *label = cli_value(cli, "--label");
    char text[OFFLINE_RECOVERY_TEXT];
    struct varve_error why;
    struct secret_input own;
    uint32_t id = 0;
    enum varve_err rc = secret_input_get(cli, "--", &own, err);

    if (rc == VARVE_OK) {
        rc = offline_key_recovery(cli->env->fs, folder_of(cli), &own.secret,
                                  label == NULL ? "recovery" : label, text, &id, err);
    }
    if (rc == VARVE_OK) {
        rc = show_recovery(cli, text, id, err);
        if (rc != VARVE_OK) { /* nobody knows the key */
            rc = offline_key_remove(cli->env->fs, folder_of(cli), &own.secret, id, &why) == VARVE_OK
                     ? varve_error_prefix(err, "the recovery key was not added")
                     : varve_error_set(err, rc,
                                       "the recovery key could not be shown, and recipient %" PRIu32
                                       " stays, to be removed ('varve key remove'): %s",
                                       id, why.msg);
        }
        sodium_memzero(text, sizeof(text));
    }
    secret_input_wipe(&own);
    return rc;
}

enum varve_err
cmd_key_remove(struct cli *cli, struct varve_error *err)
{
    struct secret_input own;
    char *end = NULL;
    unsigned long id = strtoul(cli->args[0], &end, 10);
    enum varve_err rc;

    if (id == 0 || id > UINT32_MAX || *end != '\0') {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%.32s' is no number of a recipient: 'varve key list' shows them",
                               cli->args[0]);
    }
    rc = secret_input_get(cli, "--", &own, err);
    if (rc == VARVE_OK) {
        rc = offline_key_remove(cli->env->fs, folder_of(cli), &own.secret, (uint32_t)id, err);
    }
    secret_input_wipe(&own);
    return rc == VARVE_OK ? say(cli, "was removed", (uint32_t)id, err) : rc;
}
