/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CHOICE_CHOICE_H
#define VARVE_CAPTURE_CHOICE_CHOICE_H

#include "capture/capture.h"

/*
 * Several ways to freeze the vms of one host, as one capture: which one, is settled for each vm and run.
 * docs/design/capture-choice.md says by what, and what is never a reason to take another.
 *
 * Whose an id is.  Reference points and change ids begin with their family, a word of the members that share them
 * ("hash:" of capture/vss); those of the host itself have none.  Members of one family understand one another's:
 * going from one to the other stays incremental.  A change id of another family is VARVE_ERR_STALE, the disk is read as
 * a whole; a reference point is destroyed by whoever understands it, and so the old one goes after the first good run of the
 * new way.  A checkpoint's id is of the family of what is kept of it.
 *
 * Threads: as capture.h.
 */
#define CHOICE_MEMBERS_MAX 8u
#define CHOICE_RULES_MAX   256u
#define CHOICE_WHY_SIZE    160u

/* How a way suits a vm, apart from what passes by itself. */
enum choice_fit {
    CHOICE_FITS = 0,
    CHOICE_POORLY, /* it can be done, but no run is incremental: whatever fits is better */
    CHOICE_CANNOT
};

struct choice_member {
    const char *name;        /* what the operator calls it: the capture's own name; static */
    struct capture *capture; /* NULL: not to be had on this host */
    struct varve_error why;  /* then */
    const char *family;      /* "" the host's own ids; static */
    bool special; /* for vms of one kind: that others are not of it is not worth a word */
    /* NULL: every vm fits.  vm is as the first member that is there lists it. */
    enum choice_fit (*fits)(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE]);
    /* NULL: it is as the first member lists it.  Else makes it what this one would. */
    enum varve_err (*adapt)(struct capture_vm *vm, struct varve_error *err);
};

/* The operator's order on this host for one vm. */
struct choice_rule {
    const char *vm;     /* GUID or name, compared without case */
    const char *method; /* a member's name, or "auto" */
};

struct choice_options {
    struct choice_member members[CHOICE_MEMBERS_MAX]; /* the preferred first */
    size_t count;
    const char *method; /* for vms without a rule: a member's name, or "auto" */
    const struct choice_rule *rules;
    size_t rule_count;
};

/*
 * Takes the members' captures, also on failure.  VARVE_ERR_UNSUPPORTED: there is none, or options->method is not
 * there; VARVE_ERR_INVALID: a method that does not exist, with the ones that do.
 */
VARVE_CHECK enum varve_err capture_choice_open(struct capture **out,
                                               const struct choice_options *options,
                                               struct varve_error *err);

/* ---- choice_rules.c ---- */

/*
 * "web: vss, 9a1b...: refpoint": vm and method, split at the last colon before a comma.  A name with a comma is given
 * by its GUID.  *rules points into text, which is changed; both are the caller's, *rules to free().  NULL: no rules.
 */
VARVE_CHECK enum varve_err choice_rules_parse(struct choice_rule **rules, size_t *count, char *text,
                                              struct varve_error *err);

/* ---- choice_fit.c: what the Hyper-V members need ---- */

/* To be frozen without other vms: it shares no VHD set. */
enum choice_fit choice_fits_alone(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE]);
/* The same, and reference points and change tracking. */
enum choice_fit choice_fits_refpoint(const struct capture_vm *vm, char why[CHOICE_WHY_SIZE]);

#endif
