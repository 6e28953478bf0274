/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/choice/choice.h"

#include <stdlib.h>
#include <string.h>

#include "capture/choice/choice_internal.h"

void
choice_close(struct capture *base)
{
    struct choice *c = (struct choice *)base;
    size_t i;

    for (i = 0; i < c->count; i++) {
        capture_close(c->members[i].capture);
    }
    while (c->entries != NULL) {
        struct choice_entry *e = c->entries;

        c->entries = e->next;
        free(e);
    }
    for (i = 0; i < c->rule_count; i++) {
        free(c->rules[i].vm);
    }
    free(c->rules);
    mutex_destroy(&c->lock);
    free(c);
}

static enum varve_err
take_rules(struct choice *c, const struct choice_options *o, struct varve_error *err)
{
    size_t i;
    enum varve_err rc = VARVE_OK;

    if (o->rule_count > CHOICE_RULES_MAX) {
        return varve_error_set(err, VARVE_ERR_LIMIT,
                               "more than %u machines with a method of their own",
                               CHOICE_RULES_MAX);
    }
    c->rules = calloc(o->rule_count + 1, sizeof(*c->rules));
    if (c->rules == NULL) {
        return varve_error_nomem(err);
    }
    for (i = 0; rc == VARVE_OK && i < o->rule_count; i++) {
        struct choice_own_rule *r = &c->rules[i];
        size_t len = strlen(o->rules[i].vm) + 1;

        rc = choice_method(c, o->rules[i].method, &r->member, err);
        if (rc != VARVE_OK) {
            break;
        }
        r->vm = malloc(len);
        if (r->vm == NULL) {
            return varve_error_nomem(err);
        }
        memcpy(r->vm, o->rules[i].vm, len);
        r->is_id = guid_parse(&r->id, r->vm);
        c->rule_count = i + 1;
    }
    return rc;
}

/* One is there at least, and the one that all vms are to take. */
static enum varve_err
check_members(struct choice *c, struct varve_error *err)
{
    const struct choice_member *need = &c->members[c->method < CHOICE_MEMBERS_MAX ? c->method : 0];

    while (c->first < c->count && c->members[c->first].capture == NULL) {
        c->first++;
    }
    if (c->first == c->count || (c->method < CHOICE_MEMBERS_MAX && need->capture == NULL)) {
        *err = need->why;
        return err->code;
    }
    return VARVE_OK;
}

enum varve_err
capture_choice_open(struct capture **out, const struct choice_options *o, struct varve_error *err)
{
    struct choice *c = calloc(1, sizeof(*c));
    size_t i;
    enum varve_err rc;

    if (c == NULL) {
        for (i = 0; i < o->count; i++) {
            capture_close(o->members[i].capture);
        }
        return varve_error_nomem(err);
    }
    c->base.ops = &choice_ops;
    c->base.name = "choice";
    c->base.source = "choice";
    c->base.tracks = true;
    c->count = o->count;
    memcpy(c->members, o->members, o->count * sizeof(c->members[0]));
    mutex_init(&c->lock);
    rc = choice_method(c, o->method, &c->method, err);
    if (rc == VARVE_OK) {
        rc = take_rules(c, o, err);
    }
    if (rc == VARVE_OK) {
        rc = check_members(c, err);
    }
    if (rc != VARVE_OK) {
        choice_close(&c->base);
        return rc;
    }
    *out = &c->base;
    return VARVE_OK;
}
