/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "conf/conf_internal.h"

/*
 * The configuration file, line by line:
 *
 *     line    = blank | comment | "[" section "]" | name "=" value
 *     comment = ("#" | ";") anything; also behind a section or value, after white space
 *
 * White space around each part is dropped.  Nothing continues on the next line, nothing is quoted.
 */
#define LINE_MAX_LEN    (CONF_VALUE_MAX + 256u)
#define SECTION_MAX_LEN 63u

struct parse {
    const struct conf_program *program;
    void *values;
    bool *seen;
    unsigned line;                     /* from 1 */
    unsigned set_at[CONF_OPTIONS_MAX]; /* line that set the option, 0: none */
    char section[SECTION_MAX_LEN + 1];
    struct varve_error *err;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Drops white space at both ends of the string s, in place. */
static char *
trim(char *s)
{
    size_t len;

    while (is_blank(*s)) {
        s++;
    }
    len = strlen(s);
    while (len > 0 && is_blank(s[len - 1])) {
        len--;
    }
    s[len] = '\0';
    return s;
}

/* Ends s where a comment begins: at its start or after white space. */
static void
cut_comment(char *s)
{
    for (size_t i = 0; s[i] != '\0'; i++) {
        if ((s[i] == ';' || s[i] == '#') && (i == 0 || is_blank(s[i - 1]))) {
            s[i] = '\0';
            return;
        }
    }
}

static enum varve_err
unknown(struct parse *p, const char *name)
{
    const char *near = conf_nearest(p->program, name, false);

    if (near != NULL) {
        return varve_error_set(p->err, VARVE_ERR_INVALID,
                               "unknown option '%.80s'; did you mean '%s'?", name, near);
    }
    return varve_error_set(p->err, VARVE_ERR_INVALID, "unknown option '%.80s'; %s --help lists all",
                           name, p->program->name);
}

static enum varve_err
take_setting(struct parse *p, const char *name, const char *value)
{
    char full[SECTION_MAX_LEN + 1 + LINE_MAX_LEN + 1];
    const struct conf_option *o;
    enum varve_err rc;
    size_t i;

    (void)snprintf(full, sizeof(full), "%s%s%s", p->section, p->section[0] == '\0' ? "" : ".",
                   name);
    o = conf_find(p->program, full);
    if (o == NULL) {
        return unknown(p, full);
    }
    i = (size_t)(o - p->program->options);
    if (o->only_command_line) {
        return varve_error_set(p->err, VARVE_ERR_INVALID,
                               "'%s' is for the command line only: say --%s there", full, full);
    }
    if (p->set_at[i] != 0) {
        return varve_error_set(p->err, VARVE_ERR_INVALID,
                               "'%s' is set a second time; the first is in line %u", full,
                               p->set_at[i]);
    }
    rc = conf_value_set(o, p->values, value, p->err);
    if (rc == VARVE_OK) {
        p->set_at[i] = p->line;
        p->seen[i] = true;
    }
    return rc;
}

static enum varve_err
no_line(struct parse *p)
{
    return varve_error_set(p->err, VARVE_ERR_INVALID,
                           "neither 'name = value' nor '[section]' nor a comment");
}

static enum varve_err
take_line(struct parse *p, char *line)
{
    char *equals;

    cut_comment(line);
    line = trim(line);
    if (line[0] == '\0') {
        return VARVE_OK;
    }
    if (line[0] == '[') {
        size_t len = strlen(line);

        if (line[len - 1] != ']' || len < 3) {
            return no_line(p);
        }
        line[len - 1] = '\0';
        line = trim(line + 1);
        if (strlen(line) > SECTION_MAX_LEN) {
            return unknown(p, line);
        }
        memcpy(p->section, line, strlen(line) + 1);
        return VARVE_OK;
    }
    equals = strchr(line, '=');
    if (equals == NULL || equals == line) {
        return no_line(p);
    }
    *equals = '\0';
    return take_setting(p, trim(line), trim(equals + 1));
}

static enum varve_err
take_bytes(struct parse *p, const char *bytes, size_t len)
{
    char line[LINE_MAX_LEN + 1];

    if (memchr(bytes, '\0', len) != NULL) {
        return varve_error_set(p->err, VARVE_ERR_INVALID, "the line holds a zero byte");
    }
    if (len > LINE_MAX_LEN) {
        return varve_error_set(p->err, VARVE_ERR_INVALID,
                               "the line has %zu bytes; at most %u can be read", len, LINE_MAX_LEN);
    }
    memcpy(line, bytes, len);
    line[len] = '\0';
    return take_line(p, line);
}

enum varve_err
conf_file_apply(const struct conf_program *program, void *values, bool *seen, const char *file_name,
                const char *text, size_t len, struct varve_error *err)
{
    struct parse p = {
        .program = program,
        .values = values,
        .seen = seen,
        .err = err,
    };

    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3; /* the mark that some editors put in front of UTF-8 */
        len -= 3;
    }
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - text);

        p.line++;
        if (take_bytes(&p, text, line_len) != VARVE_OK) {
            return varve_error_prefix(err, "%s:%u", file_name, p.line);
        }
        line_len += end == NULL ? 0 : 1;
        text += line_len;
        len -= line_len;
    }
    return VARVE_OK;
}

enum varve_err
conf_parse_text(const struct conf_program *program, void *values, const char *file_name,
                const char *text, size_t len, struct varve_error *err)
{
    bool seen[CONF_OPTIONS_MAX] = {false};
    enum varve_err rc;

    rc = conf_values_init(program, values, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = conf_file_apply(program, values, seen, file_name, text, len, err);
    if (rc != VARVE_OK) {
        conf_release(program, values);
    }
    return rc;
}
