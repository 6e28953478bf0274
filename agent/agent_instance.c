/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"

#define OPTION "--instance"

/* Part of a service's name, of a folder's and of a file's, on every system. */
static bool
is_name(const char *s)
{
    size_t len = strlen(s);
    size_t i;

    if (len == 0 || len > AGENT_INSTANCE_MAX || !isalnum((unsigned char)s[0]) ||
        !isalnum((unsigned char)s[len - 1])) {
        return false;
    }
    for (i = 0; i < len; i++) {
        if ((unsigned char)s[i] > 0x7F ||
            (!isalnum((unsigned char)s[i]) && strchr("._-", s[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

/* As conf_load() will read it, before its defaults are known; NULL: not given. */
static const char *
find(int argc, char **argv)
{
    const size_t len = strlen(OPTION);
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], OPTION, len) == 0 && argv[i][len] == '=') {
            return argv[i] + len + 1;
        }
        if (strcmp(argv[i], OPTION) == 0 && i + 1 < argc) {
            return argv[i + 1];
        }
    }
    return NULL;
}

enum varve_err
agent_instance_take(struct agent_instance *out, int argc, char **argv, struct varve_error *err)
{
    static const char suffix[] = ".conf";
    const char *name = find(argc, argv);
    const char *sign = name != NULL ? "-" : "";
    size_t i;

    memset(out, 0, sizeof(*out));
    if (name != NULL && !is_name(name)) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "command line: " OPTION " '%.80s' is no name: letters, digits, '.', "
                               "'_' and '-' inside, at most %u",
                               name, AGENT_INSTANCE_MAX);
    }
    (void)snprintf(out->name, sizeof(out->name), "%s", name != NULL ? name : "");
    (void)snprintf(out->service, sizeof(out->service), "varve-agent%s%s", sign, out->name);
    (void)snprintf(out->state_dir, sizeof(out->state_dir), "%s%s%s", AGENT_STATE_DIR, sign,
                   out->name);
    (void)snprintf(out->file, sizeof(out->file), "%.*s%s%s%s",
                   (int)(strlen(AGENT_CONF_FILE) - strlen(suffix)), AGENT_CONF_FILE, sign,
                   out->name, suffix);
    if (agent_program.option_count > AGENT_OPTIONS_MAX) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "the table of options has grown");
    }
    memcpy(out->options, agent_program.options,
           agent_program.option_count * sizeof(out->options[0]));
    for (i = 0; i < agent_program.option_count; i++) {
        if (strcmp(out->options[i].name, "state-dir") == 0) {
            out->options[i].initial = out->state_dir;
        }
    }
    out->program = agent_program;
    out->program.options = out->options;
    out->program.file = out->file;
    return VARVE_OK;
}

enum varve_err
agent_instance_check(const struct agent_instance *i, const struct agent_conf *conf,
                     struct varve_error *err)
{
    return strcmp(i->name, conf->instance != NULL ? conf->instance : "") == 0
               ? VARVE_OK
               : varve_error_set(err, VARVE_ERR_INVALID,
                                 "command line: " OPTION " stands where a value belongs");
}
