/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "conf/conf_internal.h"

/* What a table can be turned into: --help, --dump-config, the manual. */

#define HELP_WIDTH 80u

/* help, broken at spaces, each line indented by prefix. */
static enum varve_err
write_wrapped(struct buf *out, const char *prefix, const char *text, struct varve_error *err)
{
    size_t room = HELP_WIDTH - strlen(prefix);
    enum varve_err rc = VARVE_OK;

    while (*text != '\0' && rc == VARVE_OK) {
        size_t len = strlen(text);

        if (len > room) {
            len = room;
            while (len > 0 && text[len] != ' ') {
                len--;
            }
            if (len == 0) {
                len = strcspn(text, " "); /* a word longer than the line */
            }
        }
        rc = buf_printf(out, err, "%s%.*s\n", prefix, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
    return rc;
}

/* "Memory for chunks. 4 MiB to 1 GiB; 32MiB unless set." */
static enum varve_err
describe(const struct conf_option *o, struct buf *out, struct varve_error *err)
{
    struct buf bounds;
    enum varve_err rc;

    buf_init(&bounds, 1024);
    rc = conf_value_bounds(o, &bounds, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = buf_printf(out, err, "%s", o->help);
    if (rc == VARVE_OK && bounds.len > 0) {
        rc = buf_printf(out, err, " Value: %.*s.", (int)bounds.len, (char *)bounds.data);
    }
    if (rc == VARVE_OK && o->required) {
        rc = buf_printf(out, err, " Must be set.");
    } else if (rc == VARVE_OK && o->initial != NULL && o->initial[0] != '\0') {
        rc = buf_printf(out, err, " Default: %s.", o->initial);
    }
out:
    buf_release(&bounds);
    return rc;
}

static enum varve_err
write_option_help(const struct conf_option *o, struct buf *out, struct varve_error *err)
{
    struct buf text;
    enum varve_err rc;

    buf_init(&text, 8192);
    rc = o->type == CONF_BOOL ? buf_printf(out, err, "  --%s\n", o->name)
                              : buf_printf(out, err, "  --%s %s\n", o->name, conf_value_word(o));
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = describe(o, &text, err);
    if (rc == VARVE_OK) {
        rc = buf_append(&text, "", 1, err);
    }
    if (rc == VARVE_OK) {
        rc = write_wrapped(out, "        ", (char *)text.data, err);
    }
out:
    buf_release(&text);
    return rc;
}

enum varve_err
conf_write_help(const struct conf_program *program, struct buf *out, struct varve_error *err)
{
    enum varve_err rc;

    rc = buf_printf(out, err, "usage: %s %s\n%s\n\n", program->name, program->usage,
                    program->summary);
    for (size_t i = 0; i < program->option_count && rc == VARVE_OK; i++) {
        rc = write_option_help(&program->options[i], out, err);
    }
    if (rc == VARVE_OK && program->file != NULL) {
        rc = buf_printf(out, err,
                        "  --config FILE\n"
                        "        Configuration file. Default: %s.\n"
                        "  --dump-config\n"
                        "        Print the configuration in effect as such a file.\n",
                        program->file);
    }
    if (rc == VARVE_OK) {
        rc = buf_printf(out, err,
                        "  --help\n"
                        "        Print this text.\n"
                        "  --version\n"
                        "        Print the version.\n");
    }
    return rc;
}

enum varve_err
conf_write_dump(const struct conf_program *program, const void *values, struct buf *out,
                struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < program->option_count && rc == VARVE_OK; i++) {
        const struct conf_option *o = &program->options[i];
        bool unset = false;

        if (o->only_command_line) {
            continue;
        }
        rc = write_wrapped(out, "# ", o->help, err);
        if (o->type == CONF_STRING) {
            unset = *(char *const *)(const void *)((const uint8_t *)values + o->at) == NULL;
        }
        if (rc == VARVE_OK) {
            rc = buf_printf(out, err, "%s%s =", unset ? "#" : "", o->name);
        }
        if (rc == VARVE_OK) {
            size_t before = out->len;

            rc = buf_printf(out, err, " ");
            if (rc == VARVE_OK) {
                rc = conf_value_write(o, values, out, err);
            }
            if (out->len == before + 1) {
                out->len = before; /* no space behind "name =" */
            }
        }
        if (rc == VARVE_OK) {
            rc = buf_printf(out, err, "\n\n");
        }
    }
    return rc;
}

/* scdoc(5): '_' and '*' mark text and are escaped; a definition is a bold line and an indented one. */
static enum varve_err
write_escaped(struct buf *out, const char *text, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (; *text != '\0' && rc == VARVE_OK; text++) {
        if (strchr("_*\\", *text) != NULL) {
            rc = buf_append(out, "\\", 1, err);
        }
        if (rc == VARVE_OK) {
            rc = buf_append(out, text, 1, err);
        }
    }
    return rc;
}

enum varve_err
conf_write_manual(const struct conf_program *program, struct buf *out, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    struct buf text;

    buf_init(&text, 8192);
    for (size_t i = 0; i < program->option_count && rc == VARVE_OK; i++) {
        const struct conf_option *o = &program->options[i];

        buf_clear(&text);
        rc = buf_printf(out, err, "*%s%s* = _%s_\n\t", o->only_command_line ? "--" : "", o->name,
                        conf_value_word(o));
        if (rc == VARVE_OK) {
            rc = describe(o, &text, err);
        }
        if (rc == VARVE_OK) {
            rc = buf_append(&text, "", 1, err);
        }
        if (rc == VARVE_OK) {
            rc = write_escaped(out, (char *)text.data, err);
        }
        if (rc == VARVE_OK) {
            rc = buf_printf(out, err, "\n\n");
        }
    }
    buf_release(&text);
    return rc;
}
