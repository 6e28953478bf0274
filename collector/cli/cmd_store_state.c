/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/time.h"
#include "cli/print.h"
#include "cli/secret_input.h"

/* "varve store restore-state": a lost collector comes back from its store. */
struct talk {
    struct cli *cli;
    struct print_table *table;
};

static bool
list_one(void *arg, const struct offline_state_copy *c)
{
    struct talk *t = arg;
    struct varve_error ignored;
    char text[PRINT_SIZE_TEXT];

    if (t->cli->json) {
        json_t *o = c->problem == NULL ? json_pack("{s:s,s:o,s:o,s:n}", "copy", c->name, "made_at",
                                                   json_time(c->made_at_us), "hosts",
                                                   json_bytes(c->hosts), "problem")
                                       : json_pack("{s:s,s:n,s:n,s:o}", "copy", c->name, "made_at",
                                                   "hosts", "problem", json_text(c->problem));

        return print_json_line(t->cli->env->out, o, &ignored) == VARVE_OK;
    }
    print_table_cell(t->table, c->name);
    if (c->problem != NULL) {
        print_table_cell(t->table, "-");
        print_table_cell(t->table, "-");
        print_table_cell(t->table, c->problem);
        return true;
    }
    print_time(c->made_at_us, text);
    print_table_cell(t->table, text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, c->hosts);
    print_table_cell(t->table, text);
    print_table_cell(t->table, "");
    return true;
}

static enum varve_err
list(struct talk *t, struct offline_state_options *o, struct varve_error *err)
{
    static const char *const headers[] = {"COPY", "MADE", ">HOSTS", "PROBLEM"};
    enum varve_err rc;

    t->table = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    rc = offline_state_list(o, list_one, err);
    if (rc == VARVE_OK && !t->cli->json) {
        rc = print_table_print(t->table, t->cli->env->out, err);
    }
    print_table_free(t->table);
    return rc;
}

static void
on_damaged(void *arg, const char *why)
{
    struct talk *t = arg;

    (void)fputs("varve: warning: ", t->cli->env->err);
    print_text(t->cli->env->err, why);
    (void)fputs("; the copy before it is taken\n", t->cli->env->err);
}

static enum varve_err
restore(struct talk *t, const struct offline_state_options *o, struct varve_error *err)
{
    const char *folder = t->cli->args[0];
    struct offline_state_copy copy;
    char text[PRINT_SIZE_TEXT];
    enum varve_err rc = offline_state_restore(o, folder, &copy, err);

    if (rc != VARVE_OK || t->cli->quiet) {
        return rc;
    }
    if (t->cli->json) {
        return print_json_line(t->cli->env->out,
                               json_pack("{s:s,s:o,s:o,s:o}", "copy", copy.name, "made_at",
                                         json_time(copy.made_at_us), "hosts",
                                         json_bytes(copy.hosts), "state_dir", json_text(folder)),
                               err);
    }
    print_time(copy.made_at_us, text);
    (void)fprintf(t->cli->env->out,
                  "collector.key and state.db of %s (%" PRIu64 " hosts) are in '%s'\n"
                  "Hosts that were revoked after that are enrolled in it: see 'varve host list'.\n",
                  text, copy.hosts, folder);
    return VARVE_OK;
}

enum varve_err
cmd_store_restore_state(struct cli *cli, struct varve_error *err)
{
    struct talk t = {.cli = cli};
    struct offline_state_options o = {.fs = cli->env->fs,
                                      .folder = cli_value(cli, "--store"),
                                      .copy = cli_value(cli, "--copy"),
                                      .arg = &t,
                                      .damaged = on_damaged};
    bool only_list = cli_value(cli, "--list") != NULL;
    struct secret_input own;
    enum varve_err rc;

    if (o.folder == NULL || cli->arg_count != (only_list ? 0u : 1u) ||
        (only_list && o.copy != NULL)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "write: varve store restore-state --store FOLDER --list, or --store "
                               "FOLDER [--copy NAME] STATE-DIR");
    }
    rc = secret_input_get(cli, "--", &own, err);
    if (rc == VARVE_OK) {
        o.secret = own.secret;
        rc = only_list ? list(&t, &o, err) : restore(&t, &o, err);
    }
    secret_input_wipe(&own);
    return rc;
}
