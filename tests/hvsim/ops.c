/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/ops.h"

#include <stdio.h>
#include <string.h>

#define PARAMETER_MAX 64u

const struct op *
ops_find(const char *name)
{
    static const struct op *const tables[] = {host_ops, vm_ops,  guest_ops, point_ops,
                                              test_ops, vss_ops, group_ops};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct op *op = tables[i]; op->name != NULL; op++) {
            if (strcmp(op->name, name) == 0) {
                return op;
            }
        }
    }
    return NULL;
}

/* Finds "name:T" in a parameter list; returns T, 0 when it is not there. */
static char
type_of(const char *parameters, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = parameters; *p != 0;) {
        const char *colon = strchr(p, ':');

        if ((size_t)(colon - p) == len && strncmp(p, name, len) == 0) {
            return colon[1];
        }
        p = strchr(colon, ' ');
        if (p == NULL) {
            break;
        }
        p++;
    }
    return 0;
}

static bool
type_fits(char type, const json_t *v)
{
    struct guid ignored;

    switch (type) {
    case 's':
        return json_is_string(v);
    case 'i':
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case 'b':
        return json_is_boolean(v);
    case 'g':
        return json_is_string(v) && guid_parse(&ignored, json_string_value(v));
    case 'a':
        return json_is_array(v);
    default:
        return json_is_object(v);
    }
}

static const char *
type_name(char type)
{
    return type == 's'   ? "a text"
           : type == 'i' ? "an integer of 0 or more"
           : type == 'b' ? "true or false"
           : type == 'g' ? "a GUID"
           : type == 'a' ? "an array"
                         : "an object";
}

static uint32_t
check_required(const char *parameters, const json_t *object, const char *what,
               struct sim_error *err)
{
    char name[PARAMETER_MAX];

    for (const char *p = parameters; *p != 0;) {
        const char *colon = strchr(p, ':');

        (void)snprintf(name, sizeof(name), "%.*s", (int)(colon - p), p);
        if (colon[2] == '!' && json_object_get(object, name) == NULL) {
            return sim_fail(err, SIM_INVALID, "%s needs '%s'", what, name);
        }
        p = strchr(colon, ' ');
        if (p == NULL) {
            break;
        }
        p++;
    }
    return SIM_OK;
}

uint32_t
ops_check_object(const char *parameters, const json_t *object, const char *what,
                 struct sim_error *err)
{
    const char *name = NULL;
    json_t *v = NULL;

    json_object_foreach((json_t *)object, name, v)
    {
        char type;

        if (strcmp(name, "id") == 0 || strcmp(name, "op") == 0) {
            continue;
        }
        type = type_of(parameters, name);
        if (type == 0) {
            return sim_fail(err, SIM_INVALID, "%s has no parameter '%.60s'", what, name);
        }
        if (!type_fits(type, v)) {
            return sim_fail(err, SIM_INVALID, "%s: '%.60s' must be %s", what, name,
                            type_name(type));
        }
    }
    return check_required(parameters, object, what, err);
}

uint32_t
ops_check(const struct op *op, const json_t *request, struct sim_error *err)
{
    return ops_check_object(op->parameters, request, op->name, err);
}
