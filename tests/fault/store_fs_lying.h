/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_STORE_FS_LYING_H
#define VARVE_TESTS_FAULT_STORE_FS_LYING_H

#include "os/file.h"

/*
 * A file system whose syncs say VARVE_OK and do nothing: what a test of durability must catch.
 * Either kind of sync can be honest.  One at a time; borrows inner.
 */
struct fs *lying_fs(struct fs *inner, bool lie_file, bool lie_dir);

#endif
