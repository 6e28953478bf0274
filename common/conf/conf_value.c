/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "conf/conf_internal.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* From the largest to the smallest; the last is what a number is when it is written out. */
static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
};

static const struct unit duration_units[] = {
    {"d", UINT64_C(86400000)},
    {"h", UINT64_C(3600000)},
    {"m", UINT64_C(60000)},
    {"s", UINT64_C(1000)},
    {"ms", 1},
};

#define SIZE_UNITS     (sizeof(size_units) / sizeof(size_units[0]))
#define DURATION_UNITS (sizeof(duration_units) / sizeof(duration_units[0]))

static const struct {
    const char *text;
    bool value;
} bool_texts[] = {
    {"yes", true}, {"no", false}, {"true", true}, {"false", false}, {"on", true}, {"off", false},
};

const char *
conf_value_word(const struct conf_option *o)
{
    if (o->value != NULL) {
        return o->value;
    }
    switch (o->type) {
    case CONF_STRING:
        return "TEXT";
    case CONF_BOOL:
        return "yes|no";
    case CONF_SIZE:
        return "SIZE";
    case CONF_DURATION:
        return "DURATION";
    case CONF_INTEGER:
        return "NUMBER";
    case CONF_ENUM:
        return "CHOICE";
    }
    return "VALUE";
}

static void *
field(const struct conf_option *o, void *values)
{
    return (uint8_t *)values + o->at;
}

static const void *
field_const(const struct conf_option *o, const void *values)
{
    return (const uint8_t *)values + o->at;
}

/* ---- reading ---- */

/* Digits at *s, which moves behind them. */
static bool
take_digits(const char **s, uint64_t *out)
{
    uint64_t value = 0;
    const char *p = *s;

    for (; *p >= '0' && *p <= '9'; p++) {
        if (!checked_mul_u64(value, 10, &value) ||
            !checked_add_u64(value, (uint64_t)(*p - '0'), &value)) {
            return false;
        }
    }
    if (p == *s) {
        return false;
    }
    *s = p;
    *out = value;
    return true;
}

/* "32MiB", "32 MiB", "0": a whole number and a unit. */
static bool
parse_amount(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
    const char *s = text;
    uint64_t number;

    if (!take_digits(&s, &number)) {
        return false;
    }
    if (number == 0 && *s == '\0') {
        *out = 0;
        return true;
    }
    while (*s == ' ') {
        s++;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(s, units[i].name) == 0) {
            return checked_mul_u64(number, units[i].factor, out) && *out <= INT64_MAX;
        }
    }
    return false;
}

static bool
parse_integer(const char *text, int64_t *out)
{
    bool negative = text[0] == '-';
    const char *s = negative ? text + 1 : text;
    uint64_t number;

    if (!take_digits(&s, &number) || *s != '\0' || number > INT64_MAX) {
        return false;
    }
    *out = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static enum varve_err
bad_value(const struct conf_option *o, const char *text, const char *way_out,
          struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_INVALID, "'%s' cannot be '%.60s': %s", o->name, text,
                           way_out);
}

static enum varve_err
out_of_bounds(const struct conf_option *o, const char *text, struct varve_error *err)
{
    struct varve_error inner;
    struct buf bounds;
    enum varve_err rc;

    buf_init(&bounds, 256);
    rc = conf_value_bounds(o, &bounds, &inner);
    if (rc != VARVE_OK) {
        bounds.len = 0;
    }
    (void)varve_error_set(err, VARVE_ERR_INVALID, "'%s' cannot be '%.60s': it must be %.*s",
                          o->name, text, (int)bounds.len,
                          bounds.data == NULL ? "" : (char *)bounds.data);
    buf_release(&bounds);
    return VARVE_ERR_INVALID;
}

static bool
in_bounds(const struct conf_option *o, int64_t value)
{
    return value >= o->min && (o->max == 0 || value <= o->max);
}

static int64_t
text_max(const struct conf_option *o)
{
    return o->max == 0 || o->max > (int64_t)CONF_VALUE_MAX ? (int64_t)CONF_VALUE_MAX : o->max;
}

/* What a configuration file can give back: see conf.h. */
static const char *
text_fault(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7F) {
            return "it holds a control character";
        }
        if (c == ' ' && (text[i + 1] == ';' || text[i + 1] == '#')) {
            return "';' and '#' behind a space begin a comment";
        }
    }
    if (len > 0 && (text[0] == ' ' || text[len - 1] == ' ' || text[0] == ';' || text[0] == '#')) {
        return "it must not begin or end with a space, nor begin with ';' or '#'";
    }
    return NULL;
}

static enum varve_err
set_string(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    char **to = field(o, values);
    size_t len = strlen(text);
    const char *fault = text_fault(text);
    char *copy;

    if (fault != NULL) {
        return bad_value(o, text, fault, err);
    }
    if ((int64_t)len < o->min || (int64_t)len > text_max(o)) {
        return out_of_bounds(o, text, err);
    }
    copy = strdup(text);
    if (copy == NULL) {
        return varve_error_nomem(err);
    }
    free(*to);
    *to = copy;
    return VARVE_OK;
}

static enum varve_err
set_bool(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    for (size_t i = 0; i < sizeof(bool_texts) / sizeof(bool_texts[0]); i++) {
        if (strcmp(text, bool_texts[i].text) == 0) {
            *(bool *)field(o, values) = bool_texts[i].value;
            return VARVE_OK;
        }
    }
    return bad_value(o, text, "write yes or no", err);
}

static enum varve_err
set_amount(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    bool is_size = o->type == CONF_SIZE;
    uint64_t amount;

    if (!parse_amount(text, is_size ? size_units : duration_units,
                      is_size ? SIZE_UNITS : DURATION_UNITS, &amount)) {
        return bad_value(o, text,
                         is_size ? "write a whole number of bytes, or one with KiB, MiB, GiB or TiB"
                                 : "write a whole number with ms, s, m, h or d",
                         err);
    }
    if (!in_bounds(o, (int64_t)amount)) {
        return out_of_bounds(o, text, err);
    }
    *(uint64_t *)field(o, values) = amount;
    return VARVE_OK;
}

static enum varve_err
set_integer(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    int64_t number;

    if (!parse_integer(text, &number)) {
        return bad_value(o, text, "write a whole number", err);
    }
    if (!in_bounds(o, number)) {
        return out_of_bounds(o, text, err);
    }
    *(int64_t *)field(o, values) = number;
    return VARVE_OK;
}

static enum varve_err
set_enum(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    for (unsigned i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(text, o->choices[i]) == 0) {
            *(unsigned *)field(o, values) = i;
            return VARVE_OK;
        }
    }
    return out_of_bounds(o, text, err);
}

enum varve_err
conf_value_set(const struct conf_option *o, void *values, const char *text, struct varve_error *err)
{
    switch (o->type) {
    case CONF_STRING:
        return set_string(o, values, text, err);
    case CONF_BOOL:
        return set_bool(o, values, text, err);
    case CONF_SIZE:
    case CONF_DURATION:
        return set_amount(o, values, text, err);
    case CONF_INTEGER:
        return set_integer(o, values, text, err);
    case CONF_ENUM:
        return set_enum(o, values, text, err);
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "option '%s' has no known type", o->name);
}

static void
set_zero(const struct conf_option *o, void *values)
{
    switch (o->type) {
    case CONF_STRING:
        *(char **)field(o, values) = NULL;
        break;
    case CONF_BOOL:
        *(bool *)field(o, values) = false;
        break;
    case CONF_SIZE:
    case CONF_DURATION:
        *(uint64_t *)field(o, values) = 0;
        break;
    case CONF_INTEGER:
        *(int64_t *)field(o, values) = 0;
        break;
    case CONF_ENUM:
        *(unsigned *)field(o, values) = 0;
        break;
    }
}

enum varve_err
conf_values_init(const struct conf_program *program, void *values, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; i < program->option_count; i++) {
        set_zero(&program->options[i], values);
    }
    for (size_t i = 0; i < program->option_count && rc == VARVE_OK; i++) {
        if (program->options[i].initial != NULL) {
            rc = conf_value_set(&program->options[i], values, program->options[i].initial, err);
        }
    }
    if (rc != VARVE_OK) {
        conf_release(program, values);
    }
    return rc;
}

void
conf_release(const struct conf_program *program, void *values)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (program->options[i].type == CONF_STRING) {
            char **text = field(&program->options[i], values);

            free(*text);
            *text = NULL;
        }
    }
}

/* ---- writing ---- */

/* With the largest unit that leaves a whole number. */
static enum varve_err
write_amount(struct buf *out, uint64_t amount, enum conf_type type, const char *gap,
             struct varve_error *err)
{
    const struct unit *units = type == CONF_SIZE ? size_units : duration_units;
    size_t last = (type == CONF_SIZE ? SIZE_UNITS : DURATION_UNITS) - 1;
    size_t i = 0;

    while (i < last && (amount == 0 || amount % units[i].factor != 0)) {
        i++;
    }
    if (amount == 0) {
        return buf_printf(out, err, "0");
    }
    return buf_printf(out, err, "%" PRIu64 "%s%s", amount / units[i].factor,
                      units[i].name[0] == '\0' ? "" : gap, units[i].name);
}

enum varve_err
conf_value_write(const struct conf_option *o, const void *values, struct buf *out,
                 struct varve_error *err)
{
    const void *from = field_const(o, values);
    const char *text;

    switch (o->type) {
    case CONF_STRING:
        text = *(char *const *)from;
        return buf_printf(out, err, "%s", text == NULL ? "" : text);
    case CONF_BOOL:
        return buf_printf(out, err, "%s", *(const bool *)from ? "yes" : "no");
    case CONF_SIZE:
    case CONF_DURATION:
        return write_amount(out, *(const uint64_t *)from, o->type, "", err);
    case CONF_INTEGER:
        return buf_printf(out, err, "%" PRId64, *(const int64_t *)from);
    case CONF_ENUM:
        return buf_printf(out, err, "%s", o->choices[*(const unsigned *)from]);
    }
    return varve_error_set(err, VARVE_ERR_INTERNAL, "option '%s' has no known type", o->name);
}

static enum varve_err
write_number(const struct conf_option *o, int64_t number, struct buf *out, struct varve_error *err)
{
    if (o->type == CONF_SIZE || o->type == CONF_DURATION) {
        return write_amount(out, (uint64_t)number, o->type, " ", err);
    }
    return buf_printf(out, err, "%" PRId64, number);
}

static enum varve_err
write_number_bounds(const struct conf_option *o, struct buf *out, struct varve_error *err)
{
    bool has_min = o->min != 0 || (o->max != 0 && o->type == CONF_INTEGER);
    enum varve_err rc = VARVE_OK;

    if (has_min && o->max != 0) {
        rc = write_number(o, o->min, out, err);
        if (rc == VARVE_OK) {
            rc = buf_printf(out, err, " to ");
        }
        if (rc == VARVE_OK) {
            rc = write_number(o, o->max, out, err);
        }
    } else if (o->max != 0) {
        rc = buf_printf(out, err, "at most ");
        if (rc == VARVE_OK) {
            rc = write_number(o, o->max, out, err);
        }
    } else if (has_min || o->type == CONF_INTEGER) {
        rc = buf_printf(out, err, "at least ");
        if (rc == VARVE_OK) {
            rc = write_number(o, o->min, out, err);
        }
    }
    if (rc == VARVE_OK && o->type == CONF_INTEGER && o->unit != NULL) {
        rc = buf_printf(out, err, " %s", o->unit);
    }
    return rc;
}

enum varve_err
conf_value_bounds(const struct conf_option *o, struct buf *out, struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;

    switch (o->type) {
    case CONF_BOOL:
        break;
    case CONF_STRING:
        if (o->min == 1 && o->max == 0) {
            rc = buf_printf(out, err, "not empty");
        } else if (o->min != 0 || o->max != 0) {
            rc = buf_printf(out, err, "%" PRId64 " to %" PRId64 " bytes long", o->min, text_max(o));
        }
        break;
    case CONF_SIZE:
    case CONF_DURATION:
    case CONF_INTEGER:
        rc = write_number_bounds(o, out, err);
        break;
    case CONF_ENUM:
        rc = buf_printf(out, err, "one of %s", o->choices[0]);
        for (size_t i = 1; o->choices[i] != NULL && rc == VARVE_OK; i++) {
            rc = buf_printf(out, err, ", %s", o->choices[i]);
        }
        break;
    }
    return rc;
}
