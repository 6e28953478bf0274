/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "capture/choice/choice_internal.h"

/* ---- what was ordered ---- */

enum varve_err
choice_method(const struct choice *c, const char *name, size_t *out, struct varve_error *err)
{
    char names[200] = CAPTURE_WAY_AUTO;
    size_t i;

    *out = CHOICE_MEMBERS_MAX;
    if (strcmp(name, CAPTURE_WAY_AUTO) == 0) {
        return VARVE_OK;
    }
    for (i = 0; i < c->count; i++) {
        size_t len = strlen(names);

        if (strcmp(c->members[i].name, name) == 0) {
            *out = i;
            return VARVE_OK;
        }
        (void)snprintf(names + len, sizeof(names) - len, ", %s", c->members[i].name);
    }
    return varve_error_set(err, VARVE_ERR_INVALID, "there is no method '%.40s' here: %s", name,
                           names);
}

static const struct choice_own_rule *
find_rule(const struct choice *c, const struct capture_vm *vm)
{
    size_t i;

    for (i = 0; i < c->rule_count; i++) {
        const struct choice_own_rule *r = &c->rules[i];

        if (r->is_id ? guid_equal(&r->id, &vm->id) : utf8_same_name(r->vm, vm->name)) {
            return r;
        }
    }
    return NULL;
}

/* ---- what fits ---- */

static void
add_reason(char reason[240], const char *name, const char *why)
{
    size_t len = strlen(reason);

    (void)snprintf(reason + len, 240 - len, "%snot %s: %s", len > 0 ? "; " : "", name, why);
}

static enum choice_fit
fit_of(const struct choice_member *m, const struct capture_vm *vm, char why[CHOICE_WHY_SIZE])
{
    why[0] = '\0';
    if (m->capture == NULL) {
        (void)snprintf(why, CHOICE_WHY_SIZE, "%.150s", m->why.msg);
        return CHOICE_CANNOT;
    }
    return m->fits != NULL ? m->fits(vm, why) : CHOICE_FITS;
}

static enum varve_err
plan_ordered(const struct choice *c, size_t member, const struct capture_vm *vm, const char *by,
             struct choice_plan *out, struct varve_error *err)
{
    const struct choice_member *m = &c->members[member];
    char why[CHOICE_WHY_SIZE];

    if (fit_of(m, vm, why) == CHOICE_CANNOT) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "method '%s', ordered %s, cannot be: %s",
                               m->name, by, why);
    }
    out->order[0] = member;
    out->count = 1;
    out->ordered = true;
    (void)snprintf(out->reason, sizeof(out->reason), "ordered %s", by);
    return VARVE_OK;
}

static enum varve_err
plan_auto(const struct choice *c, const struct capture_vm *vm, struct choice_plan *out,
          struct varve_error *err)
{
    char whys[CHOICE_MEMBERS_MAX][CHOICE_WHY_SIZE];
    enum choice_fit fits[CHOICE_MEMBERS_MAX];
    char all[240] = "";
    int grade;
    size_t i;

    for (i = 0; i < c->count; i++) {
        fits[i] = fit_of(&c->members[i], vm, whys[i]);
    }
    for (grade = CHOICE_FITS; grade < CHOICE_CANNOT; grade++) {
        for (i = 0; i < c->count; i++) {
            if ((int)fits[i] == grade) {
                out->order[out->count++] = i;
            }
        }
    }
    for (i = 0; i < c->count; i++) {
        /* What nobody configured is not missed. */
        if (fits[i] == CHOICE_FITS ||
            (c->members[i].capture == NULL && c->members[i].why.code == VARVE_ERR_NOT_FOUND)) {
            continue;
        }
        add_reason(all, c->members[i].name, whys[i]);
        if (out->count > 0 && i < out->order[0] && !c->members[i].special) {
            add_reason(out->reason, c->members[i].name, whys[i]);
        }
    }
    return out->count > 0 ? VARVE_OK
                          : varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                                            "the vm can be frozen in no way: %s", all);
}

enum varve_err
choice_make_plan(const struct choice *c, const struct capture_vm *vm,
                 const struct capture_way *wish, struct choice_plan *out, struct varve_error *err)
{
    const struct choice_own_rule *rule = find_rule(c, vm);
    size_t member = CHOICE_MEMBERS_MAX;
    enum varve_err rc = VARVE_OK;

    memset(out, 0, sizeof(*out));
    if (wish->name[0] != '\0') {
        rc = choice_method(c, wish->name, &member, err);
        if (rc == VARVE_OK && member < CHOICE_MEMBERS_MAX) {
            rc = plan_ordered(c, member, vm, "for this run", out, err);
        }
        if (rc == VARVE_OK && wish->settled) {
            (void)snprintf(out->reason, sizeof(out->reason), "%s", wish->reason);
        }
    } else if (rule != NULL) {
        member = rule->member;
        if (member < CHOICE_MEMBERS_MAX) {
            rc = plan_ordered(c, member, vm, "by agent.conf for this vm", out, err);
        }
    } else {
        member = c->method;
        if (member < CHOICE_MEMBERS_MAX) {
            rc = plan_ordered(c, member, vm, "by agent.conf", out, err);
        }
    }
    return rc == VARVE_OK && member == CHOICE_MEMBERS_MAX ? plan_auto(c, vm, out, err) : rc;
}

/* ---- for people ---- */

/* vm as the first member has it becomes what it is by its plan. */
static enum varve_err
adapt(const struct choice *c, struct capture_vm *vm, const struct choice_plan *plan,
      struct varve_error *err)
{
    const struct choice_member *m = &c->members[plan->order[0]];
    enum varve_err rc = m->adapt != NULL ? m->adapt(vm, err) : VARVE_OK;

    vm->capture = m->capture->name;
    vm->source = m->capture->source;
    if (rc == VARVE_OK && plan->reason[0] != '\0') {
        size_t size = strlen(vm->reason) + strlen(plan->reason) + 4;
        char *text = malloc(size);

        if (text == NULL) {
            return varve_error_nomem(err);
        }
        (void)snprintf(text, size, "%s (%s)", vm->reason, plan->reason);
        free(vm->reason);
        vm->reason = text;
    }
    return rc;
}

/* A vm that no way is open for is listed all the same, with what is in the way. */
static enum varve_err
refuse(struct capture_vm *vm, const struct varve_error *why, struct varve_error *err)
{
    size_t size = strlen(why->msg) + 1;
    size_t i;

    vm->capture = "none";
    vm->source = "none";
    free(vm->reason);
    vm->reason = malloc(size);
    if (vm->reason == NULL) {
        return varve_error_nomem(err);
    }
    memcpy(vm->reason, why->msg, size);
    for (i = 0; i < vm->disk_count; i++) {
        struct capture_disk *d = &vm->disks[i];

        if (d->problem == NULL) {
            d->problem = malloc(size);
            if (d->problem == NULL) {
                return varve_error_nomem(err);
            }
            memcpy(d->problem, why->msg, size);
            d->problem_code = why->code;
        }
    }
    return VARVE_OK;
}

static enum varve_err
settle_vm(const struct choice *c, struct capture_vm *vm, struct varve_error *err)
{
    const struct capture_way none = {.name = ""};
    struct choice_plan plan;
    struct varve_error why;

    return choice_make_plan(c, vm, &none, &plan, &why) == VARVE_OK ? adapt(c, vm, &plan, err)
                                                                   : refuse(vm, &why, err);
}

enum varve_err
choice_list(struct capture *base, struct capture_inventory *out, struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture *first = c->members[c->first].capture;
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc = first->ops->list(first, &inv, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    for (i = 0; rc == VARVE_OK && i < inv.count; i++) {
        rc = settle_vm(c, &inv.vms[i], err);
    }
    if (rc != VARVE_OK) {
        capture_inventory_release(&inv);
        return rc;
    }
    *out = inv;
    return VARVE_OK;
}

/* As the first member has it. */
static enum varve_err
look(struct choice *c, const struct guid *vm, struct capture_vm *out, struct varve_error *err)
{
    struct capture *first = c->members[c->first].capture;
    struct capture_inventory inv;
    size_t i;
    enum varve_err rc;

    if (first->ops->describe != NULL) {
        return first->ops->describe(first, vm, out, err);
    }
    rc = first->ops->list(first, &inv, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = varve_error_set(err, VARVE_ERR_NOT_FOUND, "this host has no such vm");
    for (i = 0; rc != VARVE_OK && i < inv.count; i++) {
        if (guid_equal(&inv.vms[i].id, vm)) {
            *out = inv.vms[i];
            memset(&inv.vms[i], 0, sizeof(inv.vms[i]));
            rc = VARVE_OK;
        }
    }
    capture_inventory_release(&inv);
    return rc;
}

enum varve_err
choice_describe(struct capture *base, const struct guid *vm, struct capture_vm *out,
                struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture_vm found;
    enum varve_err rc = look(c, vm, &found, err);

    if (rc == VARVE_OK) {
        rc = settle_vm(c, &found, err);
        if (rc != VARVE_OK) {
            capture_vm_release(&found);
            return rc;
        }
        *out = found;
    }
    return rc;
}

/* ---- runs ---- */

static void
tell(const struct choice *c, const struct capture_vm *vm, const struct capture_way *wish,
     const struct choice_plan *plan, struct notes *notes)
{
    const struct choice_own_rule *rule = find_rule(c, vm);

    if (wish->settled) {
        return; /* it was told */
    }
    if (wish->name[0] != '\0' && rule != NULL && rule->member != plan->order[0]) {
        notes_add(notes, "agent.conf orders method %s for this vm, the order for this run is %s",
                  rule->member < CHOICE_MEMBERS_MAX ? c->members[rule->member].name
                                                    : CAPTURE_WAY_AUTO,
                  wish->name);
    }
}

enum varve_err
choice_choose(struct capture *base, const struct guid *vm, const struct guid *run,
              const struct capture_way *wish, struct capture_way *out, struct notes *notes,
              struct varve_error *err)
{
    struct choice *c = (struct choice *)base;
    struct capture_way way = {.settled = true};
    struct capture_vm found;
    struct choice_plan plan;
    enum varve_err rc = look(c, vm, &found, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    rc = choice_make_plan(c, &found, wish, &plan, err);
    if (rc == VARVE_OK) {
        rc = choice_put_plan(c, vm, run, &plan, err);
    }
    if (rc == VARVE_OK) {
        tell(c, &found, wish, &plan, notes);
        (void)snprintf(way.name, sizeof(way.name), "%s", c->members[plan.order[0]].name);
        (void)snprintf(way.reason, sizeof(way.reason), "%s", plan.reason);
        *out = way;
    }
    capture_vm_release(&found);
    return rc;
}

bool
choice_get_plan(struct choice *c, const struct guid *vm, struct choice_plan *out)
{
    struct choice_entry *e;

    mutex_lock(&c->lock);
    for (e = c->entries; e != NULL && !guid_equal(&e->vm, vm); e = e->next) {
    }
    if (e != NULL) {
        *out = e->plan;
    }
    mutex_unlock(&c->lock);
    return e != NULL;
}

enum varve_err
choice_put_plan(struct choice *c, const struct guid *vm, const struct guid *run,
                const struct choice_plan *plan, struct varve_error *err)
{
    struct choice_entry *fresh = calloc(1, sizeof(*fresh));
    struct choice_entry *e;

    if (fresh == NULL) {
        return varve_error_nomem(err);
    }
    mutex_lock(&c->lock);
    for (e = c->entries; e != NULL && !guid_equal(&e->vm, vm); e = e->next) {
    }
    if (e == NULL) {
        e = fresh;
        fresh = NULL;
        e->next = c->entries;
        c->entries = e;
    }
    e->vm = *vm;
    e->run = *run;
    e->plan = *plan;
    mutex_unlock(&c->lock);
    free(fresh);
    return VARVE_OK;
}

void
choice_forget(struct choice *c, const struct guid *run)
{
    struct choice_entry **link;
    struct choice_entry *e;

    mutex_lock(&c->lock);
    for (link = &c->entries; *link != NULL && !guid_equal(&(*link)->run, run);
         link = &(*link)->next) {
    }
    e = *link;
    if (e != NULL) {
        *link = e->next;
    }
    mutex_unlock(&c->lock);
    free(e);
}
