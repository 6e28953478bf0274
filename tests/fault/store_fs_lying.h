/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_FS_LYING_H
#define VARVE_TESTS_FAULT_STORE_FS_LYING_H

#include "os/file.h"

/*
 * A file system whose syncs say VARVE_OK and do nothing: what a test of durability must catch.
 * The other kind of sync is honest.  One at a time; borrows inner.
 */
struct fs *lying_files(struct fs *inner);
struct fs *lying_folders(struct fs *inner);

#endif
