/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf_internal.h"

#define PRINT_MAX (256u * 1024)

/* What the command line said, before it is applied: the file it may name comes first. */
struct command_line {
    const char *values[CONF_OPTIONS_MAX]; /* NULL: not given */
    const char *config;
    bool help;
    bool version;
    bool dump_config;
    bool dump_manual;
};

static enum varve_err
unknown_option(const struct conf_program *program, const char *name, struct varve_error *err)
{
    const char *near = conf_nearest(program, name, true);

    if (near != NULL) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "command line: unknown option '--%.80s'; did you mean '--%s'?", name,
                               near);
    }
    return varve_error_set(err, VARVE_ERR_INVALID,
                           "command line: unknown option '--%.80s'; %s --help lists all", name,
                           program->name);
}

static enum varve_err
given_twice(const char *name, struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_INVALID, "command line: '--%s' is given twice", name);
}

/* The options every program has.  False: it is none of them. */
static bool
take_common(const struct conf_program *program, struct command_line *cl, const char *name)
{
    if (strcmp(name, "help") == 0) {
        cl->help = true;
    } else if (strcmp(name, "version") == 0) {
        cl->version = true;
    } else if (strcmp(name, "dump-config") == 0 && program->file != NULL) {
        cl->dump_config = true;
    } else if (strcmp(name, "dump-manual") == 0) {
        cl->dump_manual = true;
    } else {
        return false;
    }
    return true;
}

/* One "--name", "--name value" or "--name=value" at argv[*i]; *i moves to the last word used. */
static enum varve_err
take_option(const struct conf_program *program, struct command_line *cl, int argc, char **argv,
            int *i, struct varve_error *err)
{
    const char *text = argv[*i] + 2;
    const char *equals = strchr(text, '=');
    size_t name_len = equals == NULL ? strlen(text) : (size_t)(equals - text);
    const struct conf_option *o;
    const char **slot;
    char name[81];
    bool is_config;

    if (name_len >= sizeof(name)) {
        return unknown_option(program, text, err);
    }
    memcpy(name, text, name_len);
    name[name_len] = '\0';
    if (equals == NULL && take_common(program, cl, name)) {
        return VARVE_OK;
    }
    o = conf_find(program, name);
    is_config = program->file != NULL && strcmp(name, "config") == 0;
    if (o == NULL && !is_config) {
        return unknown_option(program, name, err);
    }
    slot = is_config ? &cl->config : &cl->values[o - program->options];
    if (*slot != NULL) {
        return given_twice(name, err);
    }
    if (equals != NULL) {
        *slot = equals + 1;
    } else if (!is_config && o->type == CONF_BOOL) {
        *slot = "yes";
    } else if (*i + 1 < argc) {
        *i += 1;
        *slot = argv[*i];
    } else {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "command line: '--%s' needs a value (%s) behind it", name,
                               is_config ? "FILE" : conf_value_word(o));
    }
    return VARVE_OK;
}

static enum varve_err
read_command_line(const struct conf_program *program, struct command_line *cl,
                  struct conf_args *args, int argc, char **argv, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    bool options_end = false;

    for (int i = 1; i < argc && rc == VARVE_OK; i++) {
        const char *word = argv[i];

        if (options_end || word[0] != '-' || word[1] == '\0') {
            args->positional[args->positional_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            options_end = true;
        } else if (strcmp(word, "-h") == 0) {
            cl->help = true;
        } else if (word[1] == '-') {
            rc = take_option(program, cl, argc, argv, &i, err);
        } else {
            rc = varve_error_set(err, VARVE_ERR_INVALID,
                                 "command line: unknown option '%.80s'; %s --help lists all "
                                 "(a name that begins with '-' goes behind '--')",
                                 word, program->name);
        }
    }
    return rc;
}

/* Takes the bytes of b as a string. */
static enum varve_err
to_text(struct buf *b, char **out, struct varve_error *err)
{
    enum varve_err rc = buf_append(b, "", 1, err);

    if (rc == VARVE_OK) {
        *out = (char *)b->data;
        b->data = NULL;
    }
    return rc;
}

/* --help, --version and --dump-manual: what can be said without any values. */
static enum varve_err
print_early(const struct conf_program *program, const struct command_line *cl, char **out,
            struct varve_error *err)
{
    enum varve_err rc;
    struct buf b;

    buf_init(&b, PRINT_MAX);
    if (cl->help) {
        rc = conf_write_help(program, &b, err);
    } else if (cl->version) {
        rc = buf_printf(&b, err, "%s %s\n", program->name, program->version);
    } else {
        rc = conf_write_manual(program, &b, err);
    }
    if (rc == VARVE_OK) {
        rc = to_text(&b, out, err);
    }
    buf_release(&b);
    return rc;
}

static enum varve_err
apply_file(const struct conf_program *program, const struct command_line *cl, void *values,
           bool *seen, struct fs *fs, struct varve_error *err)
{
    const char *path = cl->config != NULL ? cl->config : program->file;
    uint8_t *text = NULL;
    size_t len = 0;
    enum varve_err rc;

    if (path == NULL) {
        return VARVE_OK;
    }
    rc = fs_read_all(fs, path, CONF_FILE_MAX, &text, &len, err);
    if (rc == VARVE_ERR_NOT_FOUND && cl->config == NULL) {
        return VARVE_OK; /* the default file need not be there */
    }
    if (rc == VARVE_ERR_NOT_FOUND) {
        err->code = VARVE_ERR_INVALID; /* --config named it: the command line is wrong */
    }
    if (rc != VARVE_OK) {
        return varve_error_prefix(err, "configuration file");
    }
    rc = conf_file_apply(program, values, seen, path, (const char *)text, len, err);
    free(text);
    return rc;
}

static enum varve_err
apply_command_line(const struct conf_program *program, const struct command_line *cl, void *values,
                   bool *seen, struct varve_error *err)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (cl->values[i] == NULL) {
            continue;
        }
        if (conf_value_set(&program->options[i], values, cl->values[i], err) != VARVE_OK) {
            return varve_error_prefix(err, "command line");
        }
        seen[i] = true;
    }
    return VARVE_OK;
}

static enum varve_err
check_required(const struct conf_program *program, const struct command_line *cl, const bool *seen,
               struct varve_error *err)
{
    const char *file = cl->config != NULL ? cl->config : program->file;

    for (size_t i = 0; i < program->option_count; i++) {
        const struct conf_option *o = &program->options[i];

        if (!o->required || seen[i]) {
            continue;
        }
        if (file == NULL || o->only_command_line) {
            return varve_error_set(err, VARVE_ERR_INVALID, "'%s' is not set: say --%s %s", o->name,
                                   o->name, conf_value_word(o));
        }
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "'%s' is not set: write it into '%s' or say --%s %s", o->name, file,
                               o->name, conf_value_word(o));
    }
    return VARVE_OK;
}

static enum varve_err
print_dump(const struct conf_program *program, const void *values, char **out,
           struct varve_error *err)
{
    enum varve_err rc;
    struct buf b;

    buf_init(&b, PRINT_MAX);
    rc = conf_write_dump(program, values, &b, err);
    if (rc == VARVE_OK) {
        rc = to_text(&b, out, err);
    }
    buf_release(&b);
    return rc;
}

enum varve_err
conf_load(const struct conf_program *program, void *values, struct conf_args *args, int argc,
          char **argv, struct fs *fs, struct varve_error *err)
{
    bool seen[CONF_OPTIONS_MAX] = {false};
    struct command_line cl = {.config = NULL};
    bool filled = false;
    enum varve_err rc;

    memset(args, 0, sizeof(*args));
    if (program->option_count > CONF_OPTIONS_MAX) {
        return varve_error_set(err, VARVE_ERR_INTERNAL, "the option table has %zu rows; %u fit",
                               program->option_count, CONF_OPTIONS_MAX);
    }
    args->positional = calloc((size_t)(argc > 0 ? argc : 1), sizeof(*args->positional));
    if (args->positional == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = read_command_line(program, &cl, args, argc, argv, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = conf_values_init(program, values, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    filled = true;
    if (cl.help || cl.version || cl.dump_manual) {
        rc = print_early(program, &cl, &args->print, err);
        goto out;
    }
    rc = apply_file(program, &cl, values, seen, fs, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = apply_command_line(program, &cl, values, seen, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (cl.dump_config) {
        rc = print_dump(program, values, &args->print, err);
        goto out;
    }
    rc = check_required(program, &cl, seen, err);
out:
    if (rc != VARVE_OK) {
        if (filled) {
            conf_release(program, values);
        }
        conf_args_release(args);
    }
    return rc;
}

void
conf_args_release(struct conf_args *args)
{
    free(args->print);
    free(args->positional);
    memset(args, 0, sizeof(*args));
}
