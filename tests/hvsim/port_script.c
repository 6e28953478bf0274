/* SPDX-License-Identifier: Apache-2.0 */
#include "hvsim/port_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hvsim/sim_base.h"

#define NO_ANSWER 0x800706BAu

void
port_script_init(struct port_script *s, const struct hv_link *link)
{
    memset(s, 0, sizeof(*s));
    s->link = *link;
    s->dead = &s->own_dead;
    mutex_init(&s->lock);
}

void
port_script_release(struct port_script *s)
{
    mutex_destroy(&s->lock);
    free(s->log);
}

void
port_script_clear_log(struct port_script *s)
{
    mutex_lock(&s->lock);
    s->count = 0;
    mutex_unlock(&s->lock);
}

void
port_script_violation(struct port_script *s, const char *fmt, ...)
{
    va_list ap;

    mutex_lock(&s->lock);
    if (s->violation[0] == '\0') {
        va_start(ap, fmt);
        (void)vsnprintf(s->violation, sizeof(s->violation), fmt, ap);
        va_end(ap);
    }
    mutex_unlock(&s->lock);
}

/* With the lock held. */
static const char *add_line(struct port_script *s, const char *fmt, va_list ap) VARVE_PRINTF(2, 0);

static const char *
add_line(struct port_script *s, const char *fmt, va_list ap)
{
    if (s->count % 256 == 0) {
        char(*grown)[96] = sim_alloc((s->count + 256) * sizeof(*grown));

        if (s->count > 0) {
            memcpy(grown, s->log, s->count * sizeof(*grown));
        }
        free(s->log);
        s->log = grown;
    }
    (void)vsnprintf(s->log[s->count], sizeof(s->log[0]), fmt, ap);
    return s->log[s->count++];
}

void
port_script_note(struct port_script *s, const char *fmt, ...)
{
    va_list ap;

    mutex_lock(&s->lock);
    va_start(ap, fmt);
    (void)add_line(s, fmt, ap);
    va_end(ap);
    mutex_unlock(&s->lock);
}

bool
port_script_call(struct port_script *s, bool *after, const char *fmt, ...)
{
    const char *line;
    bool happens = false;
    bool fails = false;
    va_list ap;

    mutex_lock(&s->lock);
    va_start(ap, fmt);
    line = add_line(s, fmt, ap);
    va_end(ap);
    *after = false;
    if (*s->dead) {
        fails = true;
    } else if (s->only[0] != '\0' && strcmp(s->only, line) != 0) {
        fails = false; /* another call is meant */
    } else if (s->nth == 1) {
        happens = s->mode == PORT_FAULT_EVENT;
        fails = !happens;
        *after = s->mode == PORT_FAULT_AFTER;
        *s->dead = s->die;
        s->times = s->times > 0 ? s->times - 1 : 0;
        s->nth = s->times > 0 ? 1 : 0;
    } else if (s->nth > 1) {
        s->nth--;
    }
    mutex_unlock(&s->lock);
    if (happens) {
        s->event(s->event_arg);
        fails = *s->dead;
    }
    return fails;
}

json_t *
port_script_ask(struct port_script *s, const char *op, json_t *params, uint32_t *number,
                char text[160])
{
    json_t *request = params != NULL ? params : json_object();
    json_t *reply = NULL;
    char *line;
    char *answer;

    (void)json_object_set_new(request, "id", json_integer(1));
    (void)json_object_set_new(request, "op", json_string(op));
    line = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    answer = line != NULL ? s->link.exchange(s->link.arg, line) : NULL;
    free(line);
    *number = NO_ANSWER;
    (void)snprintf(text, 160, "no answer");
    if (answer != NULL) {
        reply = json_loads(answer, 0, NULL);
        free(answer);
    }
    if (reply != NULL && !json_is_true(json_object_get(reply, "ok"))) {
        const char *said = json_string_value(json_object_get(reply, "error"));

        *number = (uint32_t)json_integer_value(json_object_get(reply, "hresult"));
        (void)snprintf(text, 160, "%s", said != NULL ? said : "refused");
        json_decref(reply);
        reply = NULL;
    }
    return reply;
}
