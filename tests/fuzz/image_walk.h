/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FUZZ_IMAGE_WALK_H
#define VARVE_TESTS_FUZZ_IMAGE_WALK_H

#include "os/file.h"

/*
 * What a fuzz target does with an image: opens it, maps it from end to end and reads here and there,
 * checks it, and ends the program when what came back cannot be: a run of no length, an error
 * without words, a check that does not agree with the opening.
 */
void image_walk(struct fs *fs, const char *path, unsigned flags);

#endif
