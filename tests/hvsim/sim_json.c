/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/sim_json.h"

#include <string.h>

#include "base/time.h"

uint64_t
op_u64(const json_t *request, const char *name, uint64_t fallback)
{
    const json_t *v = json_object_get(request, name);

    return v != NULL ? (uint64_t)json_integer_value(v) : fallback;
}

const char *
op_text(const json_t *request, const char *name, const char *fallback)
{
    const json_t *v = json_object_get(request, name);

    return v != NULL ? json_string_value(v) : fallback;
}

bool
op_bool(const json_t *request, const char *name, bool fallback)
{
    const json_t *v = json_object_get(request, name);

    return v != NULL ? json_is_true(v) : fallback;
}

bool
op_has(const json_t *request, const char *name)
{
    return json_object_get(request, name) != NULL;
}

struct guid
op_guid(const json_t *request, const char *name)
{
    struct guid g = {{0}};
    const char *text = op_text(request, name, NULL);

    if (text != NULL && !guid_parse(&g, text)) {
        memset(&g, 0, sizeof(g));
    }
    return g;
}

void
reply_guid(json_t *o, const char *name, const struct guid *g)
{
    char text[GUID_TEXT_SIZE];

    guid_format_upper(g, text);
    (void)json_object_set_new(o, name, json_string(text));
}

void
reply_u64(json_t *o, const char *name, uint64_t v)
{
    (void)json_object_set_new(o, name, json_integer((json_int_t)v));
}

void
reply_text(json_t *o, const char *name, const char *v)
{
    (void)json_object_set_new(o, name, json_string(v));
}

void
reply_bool(json_t *o, const char *name, bool v)
{
    (void)json_object_set_new(o, name, json_boolean(v));
}

void
reply_time(json_t *o, const char *name, int64_t us)
{
    char text[TIME_TEXT_SIZE];

    time_format(us, text);
    reply_text(o, name, text);
}
