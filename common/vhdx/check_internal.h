/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_CHECK_INTERNAL_H
#define VARVE_VHDX_CHECK_INTERNAL_H

#include "vhdx/image_check.h"
#include "vhdx/image_internal.h"

/* One image_check() under way. */
struct checker {
    image_check_report report; /* NULL: nobody listens */
    void *arg;
    struct image_check_result out;
    const char *path;      /* the file that is looked at */
    const char *structure; /* of the last finding, to hold back the hundredth of a kind */
    const char *table;     /* what its block table is called */
    unsigned same;         /* findings of it in a row */
    uint64_t held_back;
    enum image_verdict held_weight;
};

void checker_find(struct checker *c, const char *structure, uint64_t offset,
                  enum image_verdict weight, const char *fmt, ...) VARVE_PRINTF(5, 6);

/* A fault of a block table, for struct table_check: arg is the checker. */
bool checker_table_fault(void *arg, uint64_t offset, const struct varve_error *what);

/* The error that refuses a file becomes a finding; that of the machine is returned. */
enum varve_err checker_refusal(struct checker *c, const struct layer_step *step,
                               const struct varve_error *err);

/*
 * One file of the format.  *out is NULL when it is so broken that nothing can be said about its
 * parent; f is taken only otherwise.
 */
VARVE_CHECK enum varve_err vhdx_check(struct checker *c, struct layer **out, struct layer_file *f,
                                      struct table_counts *counts, struct varve_error *err);
VARVE_CHECK enum varve_err vhd_check(struct checker *c, struct layer **out, struct layer_file *f,
                                     struct table_counts *counts, struct varve_error *err);
VARVE_CHECK enum varve_err vhd_set_check(struct checker *c, struct fs *fs, const char *path,
                                         struct varve_error *err);

#endif
