/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_VHDX_CHECK_AGREE_H
#define VARVE_TESTS_VHDX_CHECK_AGREE_H

#include "vhdx/image_check.h"

/*
 * Opens the image and checks it; ends the program when the two do not agree, as image_check.h promises:
 * broken if and only if it is refused.  Closes it again and returns what opening it returned.
 */
VARVE_CHECK enum varve_err open_and_check(struct fs *fs, const char *path, unsigned flags,
                                          struct varve_error *err);

/* Only the verdict; an error ends the program. */
enum image_verdict check_verdict(struct fs *fs, const char *path, unsigned flags);

#endif
