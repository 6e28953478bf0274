/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CHOICE_INTERNAL_H
#define VARVE_CAPTURE_CHOICE_INTERNAL_H

#include "capture/choice/choice.h"

/* The ways a vm may take, the best first. */
struct choice_plan {
    size_t order[CHOICE_MEMBERS_MAX];
    size_t count;
    bool ordered;     /* by the operator: there is no other */
    char reason[240]; /* why the first; "" nothing was preferred to it */
};

/* What was settled for the run that a vm has. */
struct choice_entry {
    struct guid vm;
    struct guid run;
    struct choice_plan plan;
    struct choice_entry *next;
};

struct choice_own_rule {
    char *vm;
    struct guid id;
    bool is_id;
    size_t member; /* CHOICE_MEMBERS_MAX: auto */
};

struct choice {
    struct capture base;
    struct choice_member members[CHOICE_MEMBERS_MAX];
    size_t count;
    size_t first;  /* that is there */
    size_t method; /* a member, or CHOICE_MEMBERS_MAX: auto */
    struct choice_own_rule *rules;
    size_t rule_count;
    struct mutex lock; /* entries */
    struct choice_entry *entries;
};

void choice_close(struct capture *base);

/* ---- choice_plan.c ---- */
/* CHOICE_MEMBERS_MAX: auto.  VARVE_ERR_INVALID names the members. */
VARVE_CHECK enum varve_err choice_method(const struct choice *c, const char *name, size_t *out,
                                         struct varve_error *err);
/* vm is as the first member has it.  wish->name "" : no order for this run. */
VARVE_CHECK enum varve_err choice_make_plan(const struct choice *c, const struct capture_vm *vm,
                                            const struct capture_way *wish, struct choice_plan *out,
                                            struct varve_error *err);
VARVE_CHECK enum varve_err choice_choose(struct capture *c, const struct guid *vm,
                                         const struct guid *run, const struct capture_way *wish,
                                         struct capture_way *out, struct notes *notes,
                                         struct varve_error *err);
VARVE_CHECK enum varve_err choice_list(struct capture *c, struct capture_inventory *out,
                                       struct varve_error *err);
VARVE_CHECK enum varve_err choice_describe(struct capture *c, const struct guid *vm,
                                           struct capture_vm *out, struct varve_error *err);
/* The plan of the vm's run; false: none was made. */
bool choice_get_plan(struct choice *c, const struct guid *vm, struct choice_plan *out);
VARVE_CHECK enum varve_err choice_put_plan(struct choice *c, const struct guid *vm,
                                           const struct guid *run, const struct choice_plan *plan,
                                           struct varve_error *err);
void choice_forget(struct choice *c, const struct guid *run);

/* ---- choice_run.c ---- */
const char *choice_family(const struct choice *c, const char *id);
extern const struct capture_ops choice_ops;

#endif
